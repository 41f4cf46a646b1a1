# Telling a story on a terminal: chapters, sentences, commands with their real output, and waiting that shows progress.
# Colours and moving lines only where a terminal is; elsewhere every line stands still, for a log is read later.
# shellcheck shell=bash

bold='' dim='' green='' red='' blue='' plain='' moving=''
if [[ -t 1 && ${TERM:-dumb} != dumb ]]; then
  moving=yes
  if [[ -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' blue=$'\e[34m' plain=$'\e[0m'
  fi
fi
STORY=${0##*/}
TOLD_FROM=$SECONDS
WIDTH=104
chapter_number=0

chapter() {
  chapter_number=$((chapter_number + 1))
  printf '\n%s%d  %s%s  %s%s%s\n\n' "$bold" "$chapter_number" "$1" "$plain" "$dim" "$(clock $((SECONDS - TOLD_FROM)))" "$plain"
}

# say LINE...: an empty one is an empty line.
say() { printf '%s\n' "$@" | indented; }

good() { printf '   %sok%s  %s\n' "$green" "$plain" "$*"; }

# clock SECONDS: 4:05
clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# Three blanks in front, none at the end (tables fill their lines up), and sentences broken at the width of a page.
indented() {
  awk -v width="$WIDTH" '{
    sub(/ +$/, "")
    match($0, /^ */)
    blanks = substr($0, 1, RLENGTH) "  "
    # A table is better cut by the terminal than broken by us.
    while (length($0) > width && !/[^ ]  +[^ ].*[^ ]  +[^ ]/) {
      cut = width
      while (cut > length(blanks) && substr($0, cut, 1) != " ") cut--
      if (cut <= length(blanks)) break
      print "   " substr($0, 1, cut - 1)
      $0 = blanks substr($0, cut + 1)
    }
    print ($0 == "" ? "" : "   " $0)
  }'
}

# streamed: the same for lines that must appear as they come; awk would keep them until it has many.
streamed() {
  local line
  while IFS= read -r line; do printf '   %s\n' "$line"; done
}

# show COMMAND...: the command as one would type it, and what it says.
show() {
  local word line=''
  for word in "$@"; do
    if [[ $word == *' '* ]]; then word="'$word'"; fi
    line+="$word "
  done
  # A long command goes on in the next line, as one would type it.
  if ((${#line} > WIDTH)); then line=${line/ -p / $'\\\n'       -p }; fi
  typed "${line% }"
  "$@" 2>&1 | indented
}

# typed TEXT: the command as one would type it; for commands whose output is shortened before it is shown.
typed() { printf '   %s$ %s%s\n' "$blue" "$1" "$plain"; }

# One line that is written over while a person waits.
passing() { if [[ -n $moving ]]; then printf '\r\e[2K   %s%s%s' "$dim" "$*" "$plain"; fi; }
passed() { if [[ -n $moving ]]; then printf '\r\e[2K'; fi; }

# wait_until SECONDS WHAT COMMAND...: polls the command until it succeeds, at most so long; fails with WHAT.
wait_until() {
  local limit=$1 what=$2 began=$SECONDS told=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS - began >= limit)); then
      passed
      fail "after $limit s it is still not true that $what"
    fi
    passing "waiting until $what ($((SECONDS - began)) s)"
    if [[ -z $moving ]] && ((SECONDS - told >= 30)); then
      told=$SECONDS
      say "... waiting until $what ($((SECONDS - began)) s)"
    fi
    sleep 0.5
  done
  passed
}

fail() {
  printf '\n%s%s: %s%s\n' "$red" "$STORY" "$*" "$plain" >&2
  exit 1
}
