# The programs the cluster is made of, each from its own Go module in tools/, because their dependency trees disagree.
# A program is built once and again only when its module or these settings change.
# shellcheck shell=bash disable=SC2034

KUBE_VERSION=v1.34.4
TOOLS=(kube prometheus coredns alertmanager helm pause)
KUBE_NAMES=(etcd kubectl kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy)

# Sets programs, packages, flags and tags for one tool. Versions are stamped, or the programs say v0.0.0.
tool_settings() {
  local stamp
  tags='' flags='-s -w' packages=(.) programs=("$1")
  case $1 in
    kube)
      for stamp in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $stamp.gitVersion=$KUBE_VERSION -X $stamp.gitMajor=1 -X $stamp.gitMinor=34 -X $stamp.gitTreeState=clean"
      done
      ;;
    prometheus)
      programs=(prometheus promtool)
      packages=(github.com/prometheus/prometheus/cmd/{prometheus,promtool})
      # All other service discoveries bring their clouds' libraries: a third of the build time with only this one.
      tags=remove_all_sd,enable_kubernetes_sd
      flags+=" -X github.com/prometheus/common/version.Version=3.16.0"
      ;;
    alertmanager)
      programs=(alertmanager amtool)
      packages=(github.com/prometheus/alertmanager/cmd/{alertmanager,amtool})
      flags+=" -X github.com/prometheus/common/version.Version=0.28.1"
      ;;
    helm)
      packages=(helm.sh/helm/v3/cmd/helm)
      flags+=" -X helm.sh/helm/v3/internal/version.version=v3.22.0"
      # What `helm template` and `helm lint` assume when there is no cluster to ask.
      for stamp in pkg/chartutil pkg/lint/rules; do
        flags+=" -X helm.sh/helm/v3/$stamp.k8sVersionMajor=1 -X helm.sh/helm/v3/$stamp.k8sVersionMinor=34"
      done
      ;;
  esac
}

tool_hash() {
  local tags flags packages programs
  tool_settings "$1"
  # The module's hash alone would miss a changed flag.
  echo "$(cd "$HERE/tools/$1" && hash_of .) $tags $flags" | sha256sum | cut -c1-16
}

tool_is_current() {
  local tags flags packages programs program
  tool_settings "$1"
  for program in "${programs[@]}"; do
    [[ -x $BIN/$program ]] || return 1
  done
  [[ $(cat "$BIN/.stamps/$1" 2>/dev/null) == $(tool_hash "$1") ]]
}

build_tool() {
  local name=$1 tags flags packages programs began=$SECONDS log=$LOGS/build-$1.log fresh=$CLUSTER_DIR/bin.new/$1
  tool_settings "$name"
  mkdir -p "$fresh"
  if ! (cd "$HERE/tools/$name" &&
    CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -mod=readonly" GOWORK=off \
      go build -trimpath -buildvcs=false -tags "$tags" -ldflags "$flags" -o "$fresh/" "${packages[@]}") >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    say "$name: the build failed, see $log"
    return 1
  fi
  mv -f "$fresh"/* "$BIN/"
  rm -rf "$fresh"
  tool_hash "$name" >"$BIN/.stamps/$name"
  say "$name: built in $((SECONDS - began)) s"
}

# The one Kubernetes program answers to the name it is started under.
link_names() {
  local name
  for name in "${KUBE_NAMES[@]}"; do ln -sfn kube "$BIN/$name"; done
}

# build_tools [NAME...]: two at a time, for a large one alone leaves a core idle at its end. In a subshell, which
# gives the lock back at its end.
build_tools() (
  local name missing=() failed=0
  (($#)) || set -- "${TOOLS[@]}"
  take_lock build
  mkdir -p "$BIN/.stamps" "$LOGS"
  for name in "$@"; do
    [[ -d $HERE/tools/$name ]] || fail "there is no tool '$name'; the tools are: ${TOOLS[*]}"
    tool_is_current "$name" || missing+=("$name")
  done
  if ((${#missing[@]})); then
    command -v go >/dev/null || fail "Go is needed to build ${missing[*]}: install Go 1.21 or newer from https://go.dev/dl (a newer toolchain is then fetched by itself)"
    say "building ${missing[*]} (the first time takes about 12 minutes on two cores; progress in $LOGS/build-*.log)"
    for name in "${missing[@]}"; do
      while (($(jobs -rp | wc -l) >= 2)); do wait -n || failed=1; done
      build_tool "$name" &
    done
    while (($(jobs -rp | wc -l))); do wait -n || failed=1; done
    # Jobs that ended between two looks are collected here.
    wait
    for name in "${missing[@]}"; do tool_is_current "$name" || failed=1; done
    ((failed == 0)) || fail "not everything could be built"
  fi
  if [[ -x $BIN/kube ]]; then link_names; fi
)
