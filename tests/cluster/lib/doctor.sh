# What this host must have, and what is missing. It changes nothing, but for `up`, which lets it install Debian packages.
# shellcheck shell=bash

CANNOT_RUN_CONTAINERS=3
# command=Debian package; the CNI plugins are no command and come apart.
PACKAGES=(containerd=containerd runc=runc iptables=iptables buildah=buildah conntrack=conntrack ip=iproute2 openssl=openssl
  sysctl=procps flock=util-linux awk=mawk cc=gcc)

missing_packages() {
  local pair
  for pair in "${PACKAGES[@]}"; do
    command -v "${pair%%=*}" >/dev/null || echo "${pair#*=}"
  done
  cni_plugins >/dev/null || echo containernetworking-plugins
  [[ -e /etc/ssl/certs/ca-certificates.crt ]] || echo ca-certificates
}

# Prints the first reason why this host cannot run containers, whatever is installed on it; nothing when it can.
why_no_containers() {
  local holder
  if [[ $(uname -s) != Linux ]]; then
    echo "this is $(uname -s), and containers need Linux"
  elif [[ $EUID != 0 ]]; then
    echo "not root: containers, their network and their cgroups need it (try sudo)"
  elif ! cgroups_are_writable; then
    echo "cgroups are not writable: mount /sys/fs/cgroup, or give this container --privileged"
  elif ! unshare --mount --net --pid --fork true 2>/dev/null; then
    echo "namespaces cannot be made: this looks like a container without --privileged"
  elif ! overlay_mounts; then
    echo "overlayfs cannot be mounted under $CLUSTER_DIR: set CLUSTER_DIR to a folder of an ordinary file system"
  elif ! ip link show "$BRIDGE" >/dev/null 2>&1 && ! { ip link add "$BRIDGE" type bridge && ip link del "$BRIDGE"; } 2>/dev/null && command -v ip >/dev/null; then
    echo "the kernel makes no network bridge: modprobe bridge br_netfilter"
  elif command -v iptables >/dev/null && ! iptables -w -t nat -S >/dev/null 2>&1; then
    echo "iptables has no nat table: modprobe iptable_nat or nf_tables"
  elif ((${#CLUSTER_DIR} > 64)); then
    echo "the path $CLUSTER_DIR is longer than 64 characters, too long for the sockets in it: set CLUSTER_DIR"
  elif holder=$(foreign_listener); then
    echo "$holder"
  fi
}

cgroups_are_writable() {
  local folder=/sys/fs/cgroup probe
  if [[ -d $folder/memory ]]; then folder=$folder/memory; fi
  probe=$folder/grpc-hygiene-probe-$$
  mkdir "$probe" 2>/dev/null && rmdir "$probe"
}

overlay_mounts() {
  local probe=$CLUSTER_DIR/overlay-probe result=0
  modprobe overlay 2>/dev/null || true
  mkdir -p "$probe"/{lower,upper,work,merged}
  unshare --mount mount -t overlay overlay -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" "$probe/merged" 2>/dev/null || result=1
  rm -rf "$probe"
  return "$result"
}

# Another's runtime or kubelet on what we need, and what to do: we never touch those.
foreign_listener() {
  local other
  if ! is_running containerd && other=$(other_cluster); then
    echo "the test cluster of another working tree runs on this host: stop it with CLUSTER_DIR=$other tests/cluster/cluster down"
  elif ! is_running containerd && containerd_answers; then
    echo "a containerd that is not ours answers on $RUNTIME_SOCKET; stop it, or use its cluster with CLUSTER=existing"
  elif ! is_running kubelet && port_is_open 127.0.0.1 10248; then
    echo "a kubelet that is not ours runs on this host; stop it, or use its cluster with CLUSTER=existing"
  else
    return 1
  fi
}

# The state folder of a cluster like ours that is not this one: network, ports and socket are the same for all.
other_cluster() {
  local folder config
  for folder in /proc/[0-9]*; do
    config=$({ tr '\0' '\n' <"$folder/cmdline"; } 2>/dev/null | grep -x '/.*/containerd\.toml') || continue
    if [[ -d ${config%/*}/pids && ${config%/*} != "$CLUSTER_DIR" ]]; then
      echo "${config%/*}"
      return
    fi
  done
  return 1
}

containerd_answers() { [[ -S $RUNTIME_SOCKET ]] && command -v ctr >/dev/null && timeout 5 ctr --address "$RUNTIME_SOCKET" version >/dev/null 2>&1; }

port_is_open() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# Packages must not start services: ours are started here, and a second containerd would take our socket.
install_packages() {
  local policy=/usr/sbin/policy-rc.d ours=''
  say "installing $*"
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    ours=1
    say "(their services are kept from starting by a $policy for the time being)"
  fi
  mkdir -p "$LOGS"
  {
    apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
  } >"$LOGS/apt-install.log" 2>&1 || {
    if [[ -n $ours ]]; then rm -f "$policy"; fi
    tail -n 10 "$LOGS/apt-install.log" >&2
    fail "could not install $*; see $LOGS/apt-install.log"
  }
  if [[ -n $ours ]]; then rm -f "$policy"; fi
}

has_go() {
  local version
  version=$(go env GOVERSION 2>/dev/null) || return 1
  version=${version#go1.}
  ((${version%%[!0-9]*} >= 21))
}

# doctor [--install]: with --install it is quiet about what is well.
doctor() {
  local install=${1:-} reason missing verdict=ok
  mapfile -t missing < <(missing_packages)
  if ((${#missing[@]})) && [[ $(uname -s) == Linux && $EUID == 0 ]] && command -v apt-get >/dev/null; then
    if [[ $install == --install ]]; then
      install_packages "${missing[@]}"
      missing=()
    else
      echo "packages    missing: ${missing[*]} (\`up\` installs them)"
    fi
  elif ((${#missing[@]})); then
    verdict="missing on this host: ${missing[*]} (names of Debian packages); install them and try again"
    echo "packages    $verdict"
  elif [[ -z $install ]]; then
    echo "packages    ok"
  fi
  report_builders "$install"
  reason=$(why_no_containers)
  if [[ -z $reason && $verdict != ok ]]; then reason=$verdict; fi
  if [[ -n $reason ]]; then
    echo "containers  no"
    echo "$reason"
    exit "$CANNOT_RUN_CONTAINERS"
  fi
  if [[ -z $install ]]; then echo "containers  this host can run them"; fi
}

report_builders() {
  if [[ -n $1 ]]; then return; fi
  if has_go; then
    echo "go          $(go env GOVERSION)"
  else
    echo "go          missing or older than 1.21: install it from https://go.dev/dl (a newer toolchain is then fetched by itself)"
  fi
  if command -v cargo >/dev/null; then
    echo "cargo       $(cargo --version)"
  else
    echo "cargo       missing: install it from https://rustup.rs (needed for the operator and its image)"
  fi
}
