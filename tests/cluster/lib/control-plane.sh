# etcd, API server, controller manager and scheduler, their certificates, tokens and kubeconfigs.
# The API server listens on the bridge's gateway address: reachable from this host and its pods, from nowhere else.
# shellcheck shell=bash disable=SC2034

GATEWAY=10.244.0.1
POD_RANGE=10.244.0.0/24
SERVICE_RANGE=10.96.0.0/16
API_SERVICE_IP=10.96.0.1
DNS_IP=10.96.0.10
API_URL=https://$GATEWAY:6443
# Not etcd's own ports: this host may run another.
ETCD_URL=http://127.0.0.1:23790
ETCD_PEER_URL=http://127.0.0.1:23800
NODE_NAME=node-1
PKI=$CLUSTER_DIR/pki

# certificate NAME SUBJECT USAGE [ALTERNATIVE NAMES]: a key and a certificate of our own authority.
certificate() {
  local name=$1 subject=$2 usage=$3 names=${4:-}
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$PKI/$name.key" -subj "$subject" 2>/dev/null |
    openssl x509 -req -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 3650 -out "$PKI/$name.crt" 2>/dev/null \
      -extfile <(printf 'keyUsage=digitalSignature\nextendedKeyUsage=%s\n%s' "$usage" "${names:+subjectAltName=$names}")
}

make_certificates() {
  [[ -e $PKI/done ]] && return
  mkdir -p "$PKI"
  chmod 700 "$PKI"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=test-cluster \
    -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$PKI/ca.key" -out "$PKI/ca.crt" 2>/dev/null
  certificate apiserver /CN=kube-apiserver serverAuth \
    "IP:$GATEWAY,IP:$API_SERVICE_IP,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  certificate kubelet "/CN=$NODE_NAME" serverAuth "IP:$GATEWAY,DNS:$NODE_NAME"
  # What the API server shows to the kubelet for logs, exec and port-forward.
  certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver clientAuth
  openssl genrsa -out "$PKI/service-accounts.key" 2048 2>/dev/null
  touch "$PKI/done"
}

# The names Kubernetes' own roles are bound to; everybody has a token of this cluster's life.
make_tokens() {
  local user component name group
  [[ -e $PKI/tokens.csv ]] && return
  for user in "admin,admin,system:masters" "kubelet,system:node:$NODE_NAME,system:nodes" \
    "kube-controller-manager,system:kube-controller-manager," "kube-scheduler,system:kube-scheduler," "kube-proxy,system:kube-proxy,"; do
    IFS=, read -r component name group <<<"$user"
    printf '%s,%s,%s%s\n' "$(openssl rand -hex 16)" "$name" "$component" "${group:+,$group}"
  done >"$PKI/tokens.csv"
  for user in admin kubelet kube-controller-manager kube-scheduler kube-proxy; do
    write_kubeconfig "$API_URL" "$PKI/ca.crt" "$(awk -F, -v uid="$user" '$3 == uid { print $1 }' "$PKI/tokens.csv")" >"$PKI/$user.kubeconfig"
  done
  install -m 600 "$PKI/admin.kubeconfig" "$ADMIN_KUBECONFIG"
}

# write_kubeconfig URL CA TOKEN: self-contained, so that a copy of the file works anywhere on this host.
write_kubeconfig() {
  cat <<YAML
apiVersion: v1
kind: Config
clusters:
- name: grpc-hygiene-test
  cluster: {server: "$1", certificate-authority-data: $(base64 -w0 "$2")}
users:
- name: user
  user: {token: "$3"}
contexts:
- name: grpc-hygiene-test
  context: {cluster: grpc-hygiene-test, user: user}
current-context: grpc-hygiene-test
YAML
}

kube() { "$BIN/kubectl" --kubeconfig "$ADMIN_KUBECONFIG" "$@"; }

# start_etcd CLIENT_URL PEER_URL DATA: without fsync, for the data need not survive the host's crash.
start_etcd() {
  start etcd "$BIN/etcd" --data-dir "$3" --listen-client-urls "$1" --advertise-client-urls "$1" \
    --listen-peer-urls "$2" --initial-advertise-peer-urls "$2" --initial-cluster "default=$2" \
    --unsafe-no-fsync --auto-compaction-retention=10m --quota-backend-bytes=2147483648 --log-level=warn
}

start_control_plane() {
  mkdir -p "$CLUSTER_DIR/etcd"
  chmod 700 "$CLUSTER_DIR/etcd"
  start_etcd "$ETCD_URL" "$ETCD_PEER_URL" "$CLUSTER_DIR/etcd"
  ready etcd 30 etcd_is_healthy "${ETCD_URL##*:}"
  start kube-apiserver "$BIN/kube-apiserver" --etcd-servers="$ETCD_URL" --bind-address="$GATEWAY" --advertise-address="$GATEWAY" \
    --secure-port=6443 --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --token-auth-file="$PKI/tokens.csv" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --service-cluster-ip-range="$SERVICE_RANGE" --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$PKI/service-accounts.key" --service-account-signing-key-file="$PKI/service-accounts.key" \
    --kubelet-client-certificate="$PKI/apiserver-kubelet-client.crt" --kubelet-client-key="$PKI/apiserver-kubelet-client.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --audit-policy-file="$HERE/config/audit-policy.yaml" --audit-log-path="$CLUSTER_DIR/audit.log" \
    --audit-log-maxsize=500 --audit-log-maxbackup=1 --allow-privileged=true --profiling=false
  ready kube-apiserver 60 kube get --raw /readyz
  start kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig="$PKI/kube-controller-manager.kubeconfig" \
    --bind-address=127.0.0.1 --leader-elect=false --use-service-account-credentials=true \
    --service-account-private-key-file="$PKI/service-accounts.key" --root-ca-file="$PKI/ca.crt" \
    --allocate-node-cidrs=false --profiling=false
  start kube-scheduler "$BIN/kube-scheduler" --kubeconfig="$PKI/kube-scheduler.kubeconfig" \
    --bind-address=127.0.0.1 --leader-elect=false --profiling=false
}

etcd_is_healthy() { page_says "$1" /health '"health":"true"'; }
