# Bringing the cluster up. Every step does nothing when it is done already, so the same command starts a cluster,
# repairs one that lost a part, and picks up what an unclean stop left.
# shellcheck shell=bash

ADDONS=(coredns prometheus alertmanager)

cluster_up() {
  (($# == 0)) || fail "up takes no arguments, not '$*'"
  if uses_existing_cluster; then
    check_existing_cluster
    return
  fi
  take_lock cluster
  doctor --install
  build_tools
  make_images base
  say "starting the control plane"
  make_certificates
  make_tokens
  start_network
  start_control_plane
  say "starting the node"
  start_containerd
  load_images
  start_node
  # It needs some seconds of its own, and pods need what it makes.
  ready kube-controller-manager 30 kube get serviceaccount default
  start_addons
  say "the cluster is up"
  cat <<HELP
export KUBECONFIG=$ADMIN_KUBECONFIG
export PATH=$BIN:\$PATH
HELP
}

check_existing_cluster() {
  local kubectl
  kubectl=$(command -v kubectl || true)
  if [[ -z $kubectl ]]; then
    build_tools kube
    kubectl=$BIN/kubectl
  fi
  KUBECONFIG=$USERS_KUBECONFIG "$kubectl" --request-timeout=10s get --raw /readyz >/dev/null ||
    fail "CLUSTER=existing, but the current kubeconfig (${USERS_KUBECONFIG:-~/.kube/config}) does not answer; try: kubectl get nodes"
  say "the cluster of the current kubeconfig answers"
}

# A changed manifest changes its own pods' annotation, so that a new configuration restarts them.
start_addons() {
  local addon file
  for addon in "${ADDONS[@]}"; do
    file=$HERE/manifests/$addon.yaml
    render "$file" HASH="$(hash_of "$file" "$CLUSTER_DIR/images/$addon.stamp")" DNS_IP="$DNS_IP" |
      kube apply --server-side --force-conflicts -f - >"$LOGS/apply-$addon.log" || fail "could not apply $file"
  done
  for addon in kube-system/deployment/coredns monitoring/deployment/prometheus monitoring/statefulset/alertmanager; do
    kube --namespace "${addon%%/*}" rollout status "${addon#*/}" --timeout=120s >/dev/null ||
      fail "${addon##*/} did not become ready; look: $BIN/kubectl --kubeconfig $ADMIN_KUBECONFIG -n ${addon%%/*} describe pods"
    say "${addon##*/} is ready"
  done
}
