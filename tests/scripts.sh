# What tests/run and tests/lint share: our shell scripts, found by name or first line, and what shellcheck says of them.
# shellcheck shell=bash

# The scripts of the working tree, tracked or about to be.
our_scripts() {
  local file
  git -C "$REPO" ls-files --cached --others --exclude-standard | while read -r file; do
    if is_script "$REPO/$file"; then echo "$file"; fi
  done
}

is_script() {
  [[ -f $1 ]] && { [[ $1 == *.sh ]] || head -c 64 "$1" | head -n 1 | grep -aqE '^#!.*[/ ](ba)?sh$'; }
}

# Each from its own folder, for the files it reads are named from there.
check_scripts() {
  local script scripts result=0
  mapfile -t scripts < <(our_scripts)
  if ((${#scripts[@]} == 0)); then
    echo "no script was found: is this a git working tree?" >&2
    return 1
  fi
  for script in "${scripts[@]}"; do
    (cd "$REPO/$(dirname "$script")" && shellcheck --external-sources "$(basename "$script")") || result=1
  done
  return "$result"
}
