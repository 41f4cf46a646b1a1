# Images unpacked from Debian packages: the runtime base of glibc programs, the builder of the operator's image, and
# a toolbox for looking around. Packages are unpacked, not installed: no maintainer script runs.
# shellcheck shell=bash disable=SC2034

RUNTIME_PACKAGES=(libc6 libgcc-s1 ca-certificates tzdata)
BUILDER_PACKAGES=(dash coreutils gcc libc6-dev ca-certificates)

# A host's package lists may be absent, or older than its archive: the second try is after an update.
download() (
  cd "$1" || exit
  shift
  apt-get download --option APT::Sandbox::User=root "$@" >"$LOGS/apt-download.log" 2>&1
)

# unpack TREE PACKAGE...: downloads and unpacks onto a merged-usr tree.
unpack() {
  local tree=$1 downloads folder package
  shift
  command -v apt-get >/dev/null || fail "base images are made of Debian packages, and this host has no apt-get"
  mkdir -p "$tree"/usr/{bin,sbin,lib,lib64} "$tree"/{etc,tmp}
  chmod 1777 "$tree/tmp"
  for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$tree/$folder"; done
  downloads=$tree.packages
  mkdir -p "$downloads"
  download "$downloads" "$@" || { apt-get update >"$LOGS/apt-update.log" 2>&1 && download "$downloads" "$@"; } ||
    fail "could not download $*; see $LOGS/apt-download.log"
  for package in "$downloads"/*.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x -C "$tree" --keep-directory-symlink; done
  rm -rf "$tree"/usr/share/{doc,man,locale,info,lintian,bug}
  # What the package's maintainer script would do.
  mkdir -p "$tree/etc/ssl/certs"
  cat "$tree"/usr/share/ca-certificates/mozilla/*.crt >"$tree/etc/ssl/certs/ca-certificates.crt" 2>/dev/null || true
}

# with_dependencies PACKAGE...: the closure of Depends, by name; names that others only provide have no entry of their own.
with_dependencies() {
  local names
  compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || apt-get update >"$LOGS/apt-update.log" 2>&1
  mapfile -t names < <(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances "$@" | grep '^[a-z0-9]' | sort -u)
  { apt-cache show --no-all-versions "${names[@]}" 2>/dev/null || true; } | sed -n 's/^Package: //p' | sort -u
}

make_runtime_base() {
  local hash tree
  hash=$(echo "1 ${RUNTIME_PACKAGES[*]}" | sha256sum | cut -c1-16)
  changed runtime-base "$hash" || return 0
  tree=$WORK/runtime-base
  unpack "$tree" "${RUNTIME_PACKAGES[@]}"
  rm -rf "$tree"/usr/{share/ca-certificates,sbin/*,lib/*/gconv}
  printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$tree/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' >"$tree/etc/group"
  tree_image runtime-base "$hash" "$tree" --user 65532:65532 --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
}

# gcc, libc's headers and the host's own Rust toolchain: what the official rust image has, of it what the build uses.
# It stays in buildah's store, for containers are never started from it.
make_rust_builder() {
  local hash tree sysroot
  command -v rustc >/dev/null || fail "Rust is needed for the operator's image: install it from https://rustup.rs"
  hash=$(echo "1 ${BUILDER_PACKAGES[*]} $(cd "$REPO" && rustc -vV)" | sha256sum | cut -c1-16)
  if [[ $(cat "$ARCHIVES/rust-builder.stamp" 2>/dev/null) == "$hash" ]] && bud inspect --type image localhost/rust-builder:local >/dev/null 2>&1; then
    return 0
  fi
  say "making the Rust builder image"
  sysroot=$(cd "$REPO" && rustc --print sysroot)
  tree=$WORK/rust-builder
  # shellcheck disable=SC2046
  unpack "$tree" $(with_dependencies "${BUILDER_PACKAGES[@]}")
  ln -sf dash "$tree/usr/bin/sh"
  ln -sf gcc "$tree/usr/bin/cc"
  mkdir -p "$tree"/usr/local/{bin,lib,cargo}
  cp -L "$sysroot"/bin/{cargo,rustc} "$tree/usr/local/bin/"
  cp -a "$sysroot"/lib/*.so* "$tree/usr/local/lib/"
  mkdir -p "$tree/usr/local/lib/rustlib"
  cp -a "$sysroot/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')" "$tree/usr/local/lib/rustlib/"
  local_image rust-builder "$tree" --env CARGO_HOME=/usr/local/cargo --env PATH=/usr/local/bin:/usr/bin:/bin
  echo "$hash" >"$ARCHIVES/rust-builder.stamp"
}

# A shell, nslookup and wget in a pod: kubectl run -it --image=localhost/toolbox:local --image-pull-policy=Never t -- sh
make_toolbox() {
  local hash=1 tree name
  changed toolbox "$hash" || return 0
  tree=$WORK/toolbox
  unpack "$tree" busybox-static
  for name in $("$tree/bin/busybox" --list); do
    if [[ $name != busybox ]]; then ln -s busybox "$tree/usr/bin/$name"; fi
  done
  tree_image toolbox "$hash" "$tree" --user 65532:65532 --cmd sh
}
