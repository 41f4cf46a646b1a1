# The light layer: a real API server with its controllers but no node, as plain processes on loopback, without root.
# Nothing runs a pod here: tests write pods and their status themselves. It is apart from the big cluster; both can run.
# shellcheck shell=bash disable=SC2034

API_DIR=$CLUSTER_DIR/api
API_CONTROLLERS='*,-pod-garbage-collector-controller,-node-lifecycle-controller,-taint-eviction-controller'

as_api_layer() {
  RECORDS=$API_DIR/pids
  LOGS=$API_DIR/logs
}

# A free port of loopback below the range the kernel gives to clients.
free_port() {
  local port
  while true; do
    port=$((20000 + RANDOM % 10000))
    if ! port_is_open 127.0.0.1 "$port"; then
      echo "$port"
      return
    fi
  done
}

api_is_ready() { "$BIN/kubectl" --kubeconfig "$API_DIR/kubeconfig" --request-timeout=5s get --raw /readyz; }

api_up() {
  build_tools kube
  command -v openssl >/dev/null || fail "openssl is missing: apt-get install openssl"
  take_lock api
  as_api_layer
  if ! { is_running etcd && is_running kube-apiserver && is_running kube-controller-manager && api_is_ready >/dev/null 2>&1; }; then
    stop_api_processes
    start_api_processes
  fi
  say "the API server is ready"
  echo "export KUBECONFIG=$API_DIR/kubeconfig"
}

start_api_processes() {
  local etcd_port peer_port port token
  etcd_port=$(free_port) peer_port=$(free_port) port=$(free_port)
  mkdir -p "$API_DIR/etcd" "$API_DIR/pki"
  chmod 700 "$API_DIR/etcd" "$API_DIR/pki"
  token=$(openssl rand -hex 16)
  echo "$token,admin,admin,system:masters" >"$API_DIR/pki/tokens.csv"
  openssl genrsa -out "$API_DIR/pki/service-accounts.key" 2048 2>/dev/null
  start_etcd "http://127.0.0.1:$etcd_port" "http://127.0.0.1:$peer_port" "$API_DIR/etcd"
  ready etcd 30 etcd_is_healthy "$etcd_port"
  # Without the service account admission a test may make a pod in a namespace that it made an instant ago.
  start kube-apiserver "$BIN/kube-apiserver" --etcd-servers="http://127.0.0.1:$etcd_port" --bind-address=127.0.0.1 \
    --advertise-address=127.0.0.1 --secure-port="$port" --cert-dir="$API_DIR/pki" --token-auth-file="$API_DIR/pki/tokens.csv" \
    --authorization-mode=RBAC --disable-admission-plugins=ServiceAccount --service-cluster-ip-range=10.97.0.0/16 \
    --endpoint-reconciler-type=none --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$API_DIR/pki/service-accounts.key" --service-account-signing-key-file="$API_DIR/pki/service-accounts.key" \
    --audit-policy-file="$HERE/config/audit-policy.yaml" --audit-log-path="$API_DIR/audit.log" --allow-privileged=true --profiling=false
  ready kube-apiserver 60 test -s "$API_DIR/pki/apiserver.crt"
  (umask 077 && write_kubeconfig "https://127.0.0.1:$port" "$API_DIR/pki/apiserver.crt" "$token" >"$API_DIR/kubeconfig")
  ready kube-apiserver 60 api_is_ready
  start kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig="$API_DIR/kubeconfig" --secure-port=0 \
    --leader-elect=false --service-account-private-key-file="$API_DIR/pki/service-accounts.key" \
    --root-ca-file="$API_DIR/pki/apiserver.crt" --controllers="$API_CONTROLLERS" --profiling=false
  ready kube-controller-manager 30 "$BIN/kubectl" --kubeconfig "$API_DIR/kubeconfig" get serviceaccount default
}

stop_api_processes() {
  local name
  for name in kube-controller-manager kube-apiserver etcd; do stop "$name"; done
  rm -rf "$API_DIR"/{etcd,pki,pids,kubeconfig,audit*.log}
}

api_down() {
  take_lock api
  (as_api_layer && stop_api_processes)
  say "the API server is down"
}
