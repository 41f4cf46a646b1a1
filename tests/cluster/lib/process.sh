# Processes that outlive this script. Each is recorded as pid and start time, so that a pid which the kernel has given
# to a stranger since is never taken for ours, nor killed. RECORDS is the folder of the layer (cluster or api).
# shellcheck shell=bash disable=SC2034

RECORDS=$CLUSTER_DIR/pids

# The time the process started, in clock ticks since boot; empty when there is no such process.
# The command's name (second field) may hold spaces, so count from behind it.
start_time_of() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  read -ra fields <<<"${stat##*) }"
  # A zombie is a dead process whose parent has not looked yet.
  if [[ ${fields[0]} != Z ]]; then echo "${fields[19]}"; fi
}

# Prints the pid of a recorded process if it still runs.
pid_of() {
  local pid started
  read -r pid started 2>/dev/null <"$RECORDS/$1" || return 1
  [[ -n $started && $(start_time_of "$pid") == "$started" ]] && echo "$pid"
}

is_running() { pid_of "$1" >/dev/null; }

# start NAME COMMAND...: runs the command in the background unless it runs already. The log keeps one old generation.
start() {
  local name=$1 log=$LOGS/$1.log pid descriptor
  shift
  if is_running "$name"; then return; fi
  mkdir -p "$LOGS" "$RECORDS"
  if [[ -s $log ]]; then mv -f "$log" "$log.old"; fi
  (
    # Locks belong to this script: a daemon that inherits them would hold them for ever.
    for descriptor in /proc/self/fd/*; do
      descriptor=${descriptor##*/}
      if ((descriptor > 2 && descriptor != 255)); then eval "exec $descriptor>&-"; fi
    done
    exec setsid "$@" </dev/null >"$log" 2>&1
  ) &
  pid=$!
  disown "$pid"
  echo "$pid $(start_time_of "$pid")" >"$RECORDS/$name"
}

# configure NAME FILE: writes the configuration from stdin if it is another one, and stops the process that has read the
# old. An unchanged file must not even be touched: kube-proxy ends when its file is.
configure() {
  local text
  text=$(cat)
  if [[ -e $2 && $(cat "$2") == "$text" ]]; then return; fi
  if is_running "$1"; then say "the configuration of $1 changed"; fi
  stop "$1"
  echo "$text" >"$2"
}

# check_alive NAME: fails with the end of its log when the process is gone.
check_alive() {
  is_running "$1" && return
  printf 'cluster: %s ended; the end of %s:\n' "$1" "$LOGS/$1.log" >&2
  tail -n 8 "$LOGS/$1.log" >&2
  return 1
}

# ready NAME SECONDS COMMAND...: waits until the command succeeds while the process lives.
ready() {
  local name=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    check_alive "$name" || exit 1
    if ((SECONDS >= deadline)); then fail "$name is not ready; see $LOGS/$name.log"; fi
    sleep 0.1
  done
  say "$name is ready"
}

# stop NAME: asks, waits up to 10 s, then kills.
stop() {
  local pid deadline=$((SECONDS + 10))
  if pid=$(pid_of "$1"); then
    kill -TERM "$pid" 2>/dev/null || true
    while is_running "$1"; do
      if ((SECONDS >= deadline)); then kill -KILL "$pid" 2>/dev/null || true; fi
      sleep 0.05
    done
  fi
  rm -f "$RECORDS/$1"
}

# Names of recorded processes, newest first.
recorded() {
  if [[ -d $RECORDS ]]; then ls -t "$RECORDS"; fi
}
