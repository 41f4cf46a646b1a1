# Stopping the cluster and showing its state. Down removes everything but binaries, images and logs.
# shellcheck shell=bash

cluster_down() {
  local all=${1:-} name
  [[ -z $all || $all == --all ]] || fail "down takes --all or nothing, not '$all'"
  if uses_existing_cluster; then
    say "CLUSTER=existing: nothing of it is ours to stop"
    return
  fi
  take_lock cluster
  # The kubelet first, or it starts again what is removed; then the containers, while the runtime still answers.
  stop kube-proxy
  stop kubelet
  # A runtime that died left its containers behind, and only it can take them down in order.
  if [[ -e $RECORDS/containerd ]]; then
    say "removing the containers"
    (start_containerd) || true
  fi
  remove_containers
  for name in $(recorded); do
    say "stopping $name"
    stop "$name"
  done
  undo_host_changes
  rm -rf "$KUBELET_ROOT" "$PKI" "$CLUSTER_DIR"/{etcd,cni,pids} "$ADMIN_KUBECONFIG" "$CLUSTER_DIR"/{audit*.log,resolv.conf,*.yaml,containerd.toml}
  if [[ $all == --all ]]; then
    api_down
    rm -rf "$BIN" "$LOGS" "$RUNTIME_ROOT" "$CLUSTER_DIR"/{bin.new,images,buildah,shop,api,locks}
    rmdir "$CLUSTER_DIR" 2>/dev/null || true
  fi
  say "the cluster is down"
}

# What is found by a general name (a pod's cgroup, a shim, a chain) is ours only if we made such things here, and nobody
# else's runtime or kubelet has come since.
undo_host_changes() {
  local stranger
  [[ -e $HOST_CHANGED ]] || return 0
  if stranger=$(foreign_listener); then
    say "$stranger, so cgroups, processes and iptables rules are left as they are"
    return
  fi
  kill_shims
  kill_pod_processes
  unmount_all
  remove_cgroups
  remove_network
  rm -rf "$RUNTIME_STATE" "$HOST_CHANGED"
}

cluster_status() {
  local name pid
  if uses_existing_cluster; then
    check_existing_cluster
    return
  fi
  if [[ -z $(recorded) ]]; then
    echo "the cluster is down; start it with: tests/cluster/cluster up"
    return
  fi
  for name in $(recorded | sort); do
    if pid=$(pid_of "$name"); then
      printf '%-24s running  pid %-7s since %s\n' "$name" "$pid" "$(ps -o lstart= -p "$pid")"
    else
      printf '%-24s DEAD     see %s; "up" starts it again\n' "$name" "$LOGS/$name.log"
    fi
  done
  if kube --request-timeout=5s get --raw /readyz >/dev/null 2>&1; then
    echo
    kube get nodes -o wide
    echo
    kube get pods --all-namespaces -o wide
  else
    echo "the API server does not answer"
  fi
  echo
  echo "export KUBECONFIG=$ADMIN_KUBECONFIG"
}
