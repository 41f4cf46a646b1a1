# Making what the demo needs: packages, programs, images and the cluster, and removing all of it again.
# tests/cluster/cluster does the work; this only lets the two long builds run side by side.
# shellcheck shell=bash

builders=()

# Each builder leads a process group of its own, or its compilers would go on.
stop_builders() {
  local pid
  for pid in "${builders[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
}

prepare() {
  if uses_existing_cluster; then
    prepare_existing
  else
    prepare_own
  fi
  refuse_company
}

prepare_existing() {
  "$CLUSTER_COMMAND" up 2>&1 | streamed
  command -v jq >/dev/null || fail "jq is missing on this machine: apt-get install jq"
  "$CLUSTER_COMMAND" build kube helm 2>&1 | streamed
  # The user's own kubectl first, ours where there is none.
  export PATH=$PATH:$CLUSTER_DIR/bin
}

prepare_own() {
  local why
  check_builders
  # What can never work here is said before anything is installed or built.
  why=$("$CLUSTER_COMMAND" doctor --install 2> >(streamed)) || fail "this machine cannot run the cluster: $(tail -n 1 <<<"$why")"
  command -v jq >/dev/null || install_jq
  # The operator's image is Rust and the cluster's programs are Go: each leaves cores idle at its end.
  setsid "$CLUSTER_COMMAND" images operator shop > >(streamed) 2>&1 &
  builders+=($!)
  "$CLUSTER_COMMAND" up 2>&1 >/dev/null | streamed
  wait "${builders[0]}" || fail "the images could not be made; see above"
  builders=()
  export KUBECONFIG=$CLUSTER_DIR/kubeconfig PATH=$CLUSTER_DIR/bin:$PATH
  good "a Kubernetes $(kubectl version --output json | jq -r .serverVersion.gitVersion) cluster with Prometheus and Alertmanager"
}

check_builders() {
  local version
  [[ $EUID == 0 ]] || fail "root is needed to run containers; without root, try: make try"
  version=$(go env GOVERSION 2>/dev/null) || fail "Go is missing: install 1.21 or newer from https://go.dev/dl"
  version=${version#go1.}
  ((${version%%[!0-9]*} >= 21)) || fail "Go 1.$version is too old: install 1.21 or newer from https://go.dev/dl"
  command -v cargo >/dev/null || fail "Rust is missing: install 1.89 or newer from https://rustup.rs"
}

install_jq() {
  say "installing jq"
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends jq >"$CLUSTER_DIR/jq.log" 2>&1 ||
    fail "jq could not be installed; see $CLUSTER_DIR/jq.log"
}

# Two operators in one cluster would act on the same policies.
refuse_company() {
  local others
  others=$(kubectl get deployments --all-namespaces --selector app.kubernetes.io/name=grpc-hygiene --output json |
    jq -r --arg home "$HOME_NAMESPACE" '[.items[].metadata.namespace | select(. != $home)] | join(", ")')
  [[ -z $others ]] || fail "another grpc-hygiene runs in the namespace $others; two would act on the same policies"
}

# remove_demo: what an earlier demo left in the cluster. A namespace of that name that is not ours is left alone.
remove_demo() {
  local namespace gone=()
  for namespace in "$SHOP" "$HOME_NAMESPACE"; do
    kubectl get namespace "$namespace" >/dev/null 2>&1 || continue
    [[ $(kubectl get namespace "$namespace" --output 'jsonpath={.metadata.labels.grpc-hygiene\.io/demo}') == true ]] ||
      fail "there is a namespace $namespace that the demo did not make; it is left alone, so the demo cannot run here"
    gone+=("$namespace")
  done
  if ((${#gone[@]} == 0)); then return; fi
  say "removing what an earlier demo left: ${gone[*]}"
  if helm --namespace "$HOME_NAMESPACE" status "$RELEASE" >/dev/null 2>&1; then
    # Nothing of the shop stays, so there is nothing that the clean-up hook could clean.
    helm --namespace "$HOME_NAMESPACE" uninstall "$RELEASE" --no-hooks --wait --timeout 60s >/dev/null
  fi
  kubectl delete namespace "${gone[@]}" --timeout=90s >/dev/null
}

take_down() {
  if uses_existing_cluster; then
    prepare_existing
    remove_demo
    good "the namespaces $SHOP and $HOME_NAMESPACE are gone; nothing else was yours to lose"
  else
    "$CLUSTER_COMMAND" down --all 2>&1 | streamed
  fi
}
