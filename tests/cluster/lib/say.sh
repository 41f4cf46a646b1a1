# Talking to the person: progress with elapsed seconds, errors that say what to do. And small helpers without state.
# shellcheck shell=bash disable=SC2034

# Progress on stderr, so that stdout stays for results.
say() { printf '[%3ds] %s\n' "$SECONDS" "$*" >&2; }

fail() {
  printf 'cluster: %s\n' "$*" >&2
  exit 1
}

# wait_for SECONDS WHAT COMMAND...: polls until the command succeeds; fails with WHAT at the deadline.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      printf 'cluster: gave up waiting until %s; the logs are in %s\n' "$what" "$LOGS" >&2
      return 1
    fi
    sleep 0.2
  done
}

# page_says PORT PATH TEXT: whether a plain page on loopback holds the text; for health checks, without curl.
page_says() (
  exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
  printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3
  grep -q "$3" <&3
)

# hash_of PATH...: one hash of the names and contents of all files under the paths, missing ones left out.
hash_of() {
  local path
  for path in "$@"; do
    if [[ -e $path ]]; then
      find -L "$path" -type f -print0
    fi
  done | LC_ALL=C sort -z | xargs -0 --no-run-if-empty sha256sum | sha256sum | cut -c1-16
}

# render TEMPLATE NAME=VALUE...: prints the file with every @NAME@ replaced.
render() {
  local template=$1 pair script=''
  shift
  for pair in "$@"; do
    script+="s|@${pair%%=*}@|${pair#*=}|g;"
  done
  sed "$script" "$template"
}

# take_lock NAME: one command of a kind at a time; the lock goes with this process, which may ask for it again.
declare -A HELD=()
take_lock() {
  local lock=$CLUSTER_DIR/locks/$1 descriptor
  [[ -z ${HELD[$1]:-} ]] || return 0
  HELD[$1]=yes
  mkdir -p "$CLUSTER_DIR/locks"
  exec {descriptor}>>"$lock"
  if ! flock --nonblock "$descriptor"; then
    say "waiting for process $(cat "$lock"), which holds the lock '$1'"
    flock "$descriptor"
  fi
  echo "$$ ($0 $COMMAND)" >"$lock"
}

uses_existing_cluster() { [[ ${CLUSTER:-} == existing ]]; }
