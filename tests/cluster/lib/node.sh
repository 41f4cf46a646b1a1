# The node: network, containerd, kubelet, kube-proxy; and how each is undone again.
# What lives outside of the state folder (a bridge, iptables rules, cgroups, mounts) carries our name and is removed by name.
# shellcheck shell=bash disable=SC2034

NETWORK=grpc-hygiene-test
BRIDGE=ghtest0
RUNTIME_SOCKET=/run/containerd/containerd.sock
# Sockets and fifos of the runtime: on /run, for it must not survive a reboot.
RUNTIME_STATE=/run/grpc-hygiene-test
RUNTIME_ROOT=$CLUSTER_DIR/containerd
KUBELET_ROOT=$CLUSTER_DIR/kubelet
# There from the first change of this host until all are undone.
HOST_CHANGED=$CLUSTER_DIR/host-is-changed

cni_plugins() {
  local folder
  for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    if [[ -x $folder/bridge && -x $folder/host-local ]]; then
      echo "$folder"
      return
    fi
  done
  return 1
}

containerd_ctl() { ctr --address "$RUNTIME_SOCKET" --namespace k8s.io "$@"; }

# firewall_rules -C|-I|-D: for a host whose default is to drop: our pods may talk to each other and to the API server.
firewall_rules() {
  local rule result=0
  for rule in "INPUT -i" "FORWARD -i" "FORWARD -o"; do
    # shellcheck disable=SC2086
    iptables -w "$1" $rule "$BRIDGE" -m comment --comment "$NETWORK" -j ACCEPT 2>/dev/null || result=1
  done
  return "$result"
}

start_network() {
  mkdir -p "$CLUSTER_DIR/cni"
  touch "$HOST_CHANGED"
  render "$HERE/config/network.conflist" NETWORK="$NETWORK" BRIDGE="$BRIDGE" IPAM="$CLUSTER_DIR/cni/ipam" \
    POD_RANGE="$POD_RANGE" GATEWAY="$GATEWAY" SERVICE_RANGE="$SERVICE_RANGE" >"$CLUSTER_DIR/cni/10-bridge.conflist"
  modprobe br_netfilter 2>/dev/null || true
  if ! ip link show "$BRIDGE" >/dev/null 2>&1; then ip link add "$BRIDGE" type bridge; fi
  ip addr replace "$GATEWAY/${POD_RANGE#*/}" dev "$BRIDGE"
  ip link set "$BRIDGE" up
  # Without it a reply between two pods of the bridge goes past the service's address translation.
  [[ $(cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null) == 1 ]] || sysctl -qw net.bridge.bridge-nf-call-iptables=1
  if [[ $(cat /proc/sys/net/ipv4/ip_forward) == 0 ]]; then
    touch "$CLUSTER_DIR/forwarding-was-off"
    sysctl -qw net.ipv4.ip_forward=1
  fi
  firewall_rules -C || {
    firewall_rules -D || true
    firewall_rules -I
  }
}

start_containerd() {
  mkdir -p "$RUNTIME_ROOT" "$RUNTIME_STATE" /run/containerd
  render "$HERE/config/containerd.toml" ROOT="$RUNTIME_ROOT" STATE="$RUNTIME_STATE" SOCKET="$RUNTIME_SOCKET" \
    CNI_BIN="$(cni_plugins)" CNI_CONF="$CLUSTER_DIR/cni" | configure containerd "$CLUSTER_DIR/containerd.toml"
  start containerd containerd --config "$CLUSTER_DIR/containerd.toml"
  ready containerd 30 containerd_is_ready
}

# It answers before its part for kubelets does, and a kubelet that comes too early ends.
containerd_is_ready() {
  containerd_ctl version && grep -q 'Start streaming server' "$LOGS/containerd.log"
}

start_kubelet() {
  mkdir -p "$KUBELET_ROOT" "$LOGS/pods"
  : >"$CLUSTER_DIR/resolv.conf"
  render "$HERE/config/kubelet.yaml" GATEWAY="$GATEWAY" DNS_IP="$DNS_IP" PKI="$PKI" SOCKET="$RUNTIME_SOCKET" ROOT="$KUBELET_ROOT" \
    RESOLV_CONF="$CLUSTER_DIR/resolv.conf" POD_LOGS="$LOGS/pods" | configure kubelet "$CLUSTER_DIR/kubelet.yaml"
  # cAdvisor stretches its housekeeping at random up to twofold: 3 s gives a new sample to most scrapes of 5 s.
  start kubelet "$BIN/kubelet" --config="$CLUSTER_DIR/kubelet.yaml" --kubeconfig="$PKI/kubelet.kubeconfig" \
    --root-dir="$KUBELET_ROOT" --cert-dir="$KUBELET_ROOT/pki" --node-ip="$GATEWAY" --hostname-override="$NODE_NAME" \
    --housekeeping-interval=3s
}

start_kube_proxy() {
  render "$HERE/config/kube-proxy.yaml" POD_RANGE="$POD_RANGE" NODE_NAME="$NODE_NAME" GATEWAY="$GATEWAY" PKI="$PKI" |
    configure kube-proxy "$CLUSTER_DIR/kube-proxy.yaml"
  start kube-proxy "$BIN/kube-proxy" --config="$CLUSTER_DIR/kube-proxy.yaml"
}

# The API server believes a dead kubelet for 40 s: ask the kubelet as well.
node_is_ready() {
  page_says 10248 /healthz '^ok' &&
    [[ $(kube get node "$NODE_NAME" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]
}

start_node() {
  start_kubelet
  start_kube_proxy
  ready kubelet 90 node_is_ready
}

# Kills what runs in the pods' cgroups, in every hierarchy: containers outlive a dead shim.
kill_pod_processes() {
  local group pid
  find /sys/fs/cgroup -type d -path '*/kubepods*' -prune 2>/dev/null | while read -r group; do
    find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u | while read -r pid; do
      kill -KILL "$pid" 2>/dev/null || true
    done
  done
}

remove_containers() {
  local id netns
  is_running containerd || return 0
  for id in $(containerd_ctl containers ls -q); do
    netns=$(containerd_ctl containers info "$id" 2>/dev/null | grep -o '"/var/run/netns/cni-[^"]*"' | tr -d '"' | sort -u || true)
    containerd_ctl tasks rm --force "$id" >/dev/null 2>&1 || true
    containerd_ctl containers rm "$id" >/dev/null 2>&1 || true
    if [[ -n $netns ]]; then ip netns del "${netns##*/}" 2>/dev/null || true; fi
    rm -f /var/lib/cni/results/*-"$id"-*
  done
}

# The shims of this containerd: the socket in their arguments is ours alone while the cluster is up.
kill_shims() {
  local folder
  for folder in /proc/[0-9]*; do
    # A process may end while we look at it.
    if { tr '\0' ' ' <"$folder/cmdline"; } 2>/dev/null | grep -q "containerd-shim.*-namespace k8s.io .*-address $RUNTIME_SOCKET "; then
      kill -KILL "${folder#/proc/}" 2>/dev/null || true
    fi
  done
}

unmount_all() {
  local mount
  awk -v a="$CLUSTER_DIR/" -v b="$RUNTIME_STATE/" 'index($5, a) == 1 || index($5, b) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
    while read -r mount; do umount "$mount" 2>/dev/null || umount --lazy "$mount" 2>/dev/null || true; done
}

remove_cgroups() {
  find /sys/fs/cgroup -depth -type d \( -path '*/kubepods' -o -path '*/kubepods/*' -o -path '*/k8s.io' -o -path '*/k8s.io/*' \) \
    -exec rmdir {} + 2>/dev/null || true
}

remove_network() {
  local chain
  if [[ -x $BIN/kube-proxy ]]; then "$BIN/kube-proxy" --cleanup >/dev/null 2>&1 || true; fi
  # What kube-proxy's own cleanup forgets.
  for chain in INPUT OUTPUT; do iptables -w -D "$chain" -j KUBE-FIREWALL 2>/dev/null || true; done
  iptables -w -F KUBE-FIREWALL 2>/dev/null || true
  iptables -w -X KUBE-FIREWALL 2>/dev/null || true
  firewall_rules -D || true
  ip link del "$BRIDGE" 2>/dev/null || true
  rm -f /var/lib/cni/results/"$NETWORK"-* /var/lib/kubelet/device-plugins/kubelet.sock
  find /var/log/containers -lname "$LOGS/*" -delete 2>/dev/null || true
  rmdir /var/lib/cni/results /var/lib/cni /var/log/containers /var/lib/kubelet/device-plugins /var/lib/kubelet 2>/dev/null || true
  if [[ -e $CLUSTER_DIR/forwarding-was-off ]]; then
    sysctl -qw net.ipv4.ip_forward=0
    rm -f "$CLUSTER_DIR/forwarding-was-off"
  fi
}
