# What tests/run and tests/lint share: our shell scripts, found by their first line, and what shellcheck says of them.
# shellcheck shell=bash

# The scripts that git knows, of bash and sh.
our_scripts() {
  git -C "$REPO" ls-files --cached --others --exclude-standard | while read -r file; do
    if [[ $file == *.sh || ($file != *.* && -f $REPO/$file) || $file == .ci/run ]] && is_script "$REPO/$file"; then echo "$file"; fi
  done
}

is_script() {
  local first
  IFS= read -r first <"$1" 2>/dev/null || return 1
  [[ $first =~ ^\#!.*[/\ ](ba)?sh$ || $1 == *.sh ]]
}

check_scripts() {
  local scripts
  mapfile -t scripts < <(our_scripts)
  ((${#scripts[@]} > 3)) || {
    echo "only ${#scripts[@]} scripts were found: is this a git working tree?" >&2
    return 1
  }
  # From each script's own folder, for the files it reads are named from there.
  local script result=0
  for script in "${scripts[@]}"; do
    (cd "$REPO/$(dirname "$script")" && shellcheck --external-sources "$(basename "$script")") || result=1
  done
  return "$result"
}
