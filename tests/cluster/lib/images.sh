# Container images without a registry: buildah makes them, an OCI archive in .cluster/images carries them into containerd.
# An image is made again only when what goes into it changed, and loaded again only when it was made again.
# shellcheck shell=bash disable=SC2034

ARCHIVES=$CLUSTER_DIR/images
BUILDAH=$CLUSTER_DIR/buildah
SHOP_VERSIONS=(1.45 1.75 1.85)
IMAGE_GROUPS=(base shop etcd runtime-base operator)
# What `COPY . .` of the Dockerfile sees; .dockerignore lets nothing else through.
OPERATOR_INPUTS=("$REPO"/{Dockerfile,.dockerignore,Cargo.toml,Cargo.lock,src,benches,crds,tests/simulation/clock})

reference_of() {
  case $1 in
    shop-*) echo "localhost/shop:grpc-${1#shop-}" ;;
    runtime-base) echo localhost/runtime-base:bookworm ;;
    operator) echo localhost/grpc-hygiene:dev ;;
    *) echo "localhost/$1:local" ;;
  esac
}

# Everything of buildah is in our folder, so that `down --all` leaves nothing. The kernel's overlayfs, which the doctor
# has tried and containerd needs as well; chroot, which needs no runtime.
bud() {
  mkdir -p "$BUILDAH/tmp"
  TMPDIR=$BUILDAH/tmp BUILDAH_ISOLATION=chroot \
    buildah --root "$BUILDAH/root" --runroot "$BUILDAH/run" --storage-driver overlay "$@"
}

# changed NAME HASH: whether the image must be made (again).
changed() { [[ ! -e $ARCHIVES/$1.tar || $(cat "$ARCHIVES/$1.stamp" 2>/dev/null) != "$2" ]]; }

# export_image NAME HASH: the image of buildah's store becomes an archive.
export_image() {
  rm -f "$ARCHIVES/$1.tar.new"
  bud push --quiet "$(reference_of "$1")" "oci-archive:$ARCHIVES/$1.tar.new:$(reference_of "$1")"
  mv -f "$ARCHIVES/$1.tar.new" "$ARCHIVES/$1.tar"
  echo "$2" >"$ARCHIVES/$1.stamp"
}

# local_image NAME TREE [buildah config arguments]: an image of one folder's content and nothing else, in buildah's store.
local_image() {
  local name=$1 tree=$2 container
  shift 2
  container=$(bud from scratch)
  bud copy --quiet "$container" "$tree" / >/dev/null
  bud config --label org.opencontainers.image.title="$name" "$@" "$container"
  bud commit --quiet --rm "$container" "$(reference_of "$name")" >/dev/null
  # Each commit leaves the former image without a name.
  bud rmi --prune >/dev/null 2>&1 || true
}

# tree_image NAME HASH TREE [buildah config arguments]: the same, and an archive of it for the cluster.
tree_image() {
  local name=$1 hash=$2 tree=$3 began=$SECONDS
  shift 3
  local_image "$name" "$tree" "$@"
  export_image "$name" "$hash"
  say "image $(reference_of "$name") made in $((SECONDS - began)) s"
}

# program_image NAME PROGRAM USER FILE...: static programs at the root of an otherwise empty image.
program_image() {
  local name=$1 program=$2 user=$3 hash tree
  shift 3
  hash=$(echo "$(hash_of "$@") $user" | sha256sum | cut -c1-16)
  changed "$name" "$hash" || return 0
  tree=$WORK/$name
  mkdir -p "$tree"
  cp -L "$@" "$tree/"
  if [[ ! -e $tree/$program ]]; then mv "$tree/$(basename "$1")" "$tree/$program"; fi
  tree_image "$name" "$hash" "$tree" --entrypoint "[\"/$program\"]" --user "$user"
}

make_base() {
  build_tools kube pause coredns prometheus alertmanager
  program_image pause pause 65535:65535 "$BIN/pause"
  # Root, for port 53; its pod drops every other capability.
  program_image coredns coredns 0:0 "$BIN/coredns"
  program_image prometheus prometheus 65534:65534 "$BIN/prometheus" "$BIN/promtool"
  program_image alertmanager alertmanager 65534:65534 "$BIN/alertmanager" "$BIN/amtool"
  make_toolbox
}

# make_shop [VERSION...]: the workloads, each version of grpc-go its own image.
make_shop() {
  local hash version
  hash=$(hash_of "$REPO/tests/workloads")
  [[ -x $REPO/tests/workloads/build ]] || fail "tests/workloads/build is not there, so the shop images cannot be made"
  mkdir -p "$CLUSTER_DIR/shop"
  if [[ $(cat "$CLUSTER_DIR/shop/stamp" 2>/dev/null) != "$hash" ]]; then
    say "building the workloads"
    "$REPO/tests/workloads/build" "$CLUSTER_DIR/shop" "${SHOP_VERSIONS[@]}" >&2
    echo "$hash" >"$CLUSTER_DIR/shop/stamp"
  fi
  for version in "${SHOP_VERSIONS[@]}"; do
    program_image "shop-$version" shop 65532:65532 "$CLUSTER_DIR/shop/shop-$version"
  done
}

# An etcd for tenants, the very program that the cluster's own is, under the name it must be started by; and its clients,
# which Go builds again in a second when nothing changed.
make_etcd() {
  build_tools kube
  program_image etcd etcd 65532:65532 "$BIN/kube"
  mkdir -p "$CLUSTER_DIR/shop"
  "$REPO/tests/workloads/build" "$CLUSTER_DIR/shop" locks >&2
  program_image locks locks 65532:65532 "$CLUSTER_DIR/shop/locks"
}

# The operator's image from the very Dockerfile users build, on locally made bases. Crates come as on this host: its
# cargo configuration and certificates are mounted while building and are not in any layer.
make_operator() {
  take_lock image-runtime-base
  local hash began=$SECONDS configuration mounts=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)
  make_runtime_base
  make_rust_builder
  hash=$(echo "$(hash_of "${OPERATOR_INPUTS[@]}") $(cat "$ARCHIVES/"{runtime-base,rust-builder}.stamp)" | sha256sum | cut -c1-16)
  changed operator "$hash" || return 0
  for configuration in "${CARGO_HOME:-$HOME/.cargo}"/config{.toml,}; do
    if [[ -e $configuration ]]; then mounts+=(--volume "$configuration:/usr/local/cargo/${configuration##*/}:ro"); fi
  done
  say "building the operator's image (progress in $LOGS/image-operator.log)"
  bud build --quiet --pull-never --file "$REPO/Dockerfile" "${mounts[@]}" \
    --build-arg BUILDER_IMAGE=localhost/rust-builder:local --build-arg RUNTIME_IMAGE="$(reference_of runtime-base)" \
    --tag "$(reference_of operator)" "$REPO" >"$LOGS/image-operator.log" 2>&1 || {
    tail -n 30 "$LOGS/image-operator.log" >&2
    fail "the operator's image could not be built, see $LOGS/image-operator.log"
  }
  export_image operator "$hash"
  bud rmi --prune >/dev/null 2>&1 || true
  say "image $(reference_of operator) made in $((SECONDS - began)) s"
}

# make_group GROUP: under a lock of its own, for bringing the cluster up need not wait for the operator's long build.
make_group() (
  take_lock "image-$1"
  WORK=$(mktemp -d "$ARCHIVES/work.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  case $1 in
    base) make_base ;;
    shop | workloads) make_shop ;;
    etcd) make_etcd ;;
    runtime-base) make_runtime_base ;;
    operator) make_operator ;;
    *) fail "there is no image group '$1'; the groups are: ${IMAGE_GROUPS[*]}" ;;
  esac
)

make_images() {
  local group
  (($#)) || set -- "${IMAGE_GROUPS[@]}"
  command -v buildah >/dev/null || fail "buildah is missing: apt-get install buildah (or: tests/cluster/cluster up)"
  [[ $EUID == 0 ]] || fail "making images needs root"
  mkdir -p "$ARCHIVES" "$LOGS"
  for group in "$@"; do make_group "$group"; done
  if is_running containerd; then load_images; fi
}

# Loads every archive that containerd does not hold in this very state. What is loaded survives `down`, as containerd's
# store does.
load_images() {
  local archive name
  mkdir -p "$RUNTIME_ROOT/loaded"
  for archive in "$ARCHIVES"/*.tar; do
    [[ -e $archive ]] || continue
    name=$(basename "$archive" .tar)
    cmp -s "$ARCHIVES/$name.stamp" "$RUNTIME_ROOT/loaded/$name" && continue
    containerd_ctl images import "$archive" >"$LOGS/load-$name.log" 2>&1 || fail "containerd refuses $archive, see $LOGS/load-$name.log"
    cp "$ARCHIVES/$name.stamp" "$RUNTIME_ROOT/loaded/$name"
    say "loaded $(reference_of "$name")"
  done
}
