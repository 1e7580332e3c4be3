# Locks of a folder that is root's alone: whoever may open a file may also lock it. Given: lock (the folder).
# Ends with 75 if somebody has one of them, and as flock does (126, 127: there is none) if that cannot tell.

# util-linux before 2.25 takes no 0 for a time; 1 is its answer that somebody has it, all else that it cannot tell
take() { # SECONDS DESCRIPTOR
  if [ "$1" = 0 ]; then flock -n "$2"; else flock -w "$1" "$2"; fi
  taken=$?
  [ "$taken" -le 1 ] || exit "$taken"
  return "$taken"
}
# the process that has a lock, unless it is root's and runs a script of ours; Linux before 4.1 does not tell
stranger() { # NAME
  timeout 5 find /proc/[0-9]*/fd -lname "${lock}[/.]$1*" 2>/dev/null | {
    found=
    while IFS=/ read -r _ _ pid _ fd; do
      grep -qs '^lock:.*FLOCK' "/proc/$pid/fdinfo/$fd" || continue
      [ "$(stat -c %u "/proc/$pid" 2>/dev/null)" != 0 ] || ! grep -aqs 'kn\.[a-z%]' "/proc/$pid/cmdline" || exit
      found=$pid
    done
    echo "$found"
  }
}
# says who is in the way, and ends
refused() { # NAME WHAT: how it is told if a script of ours has the lock
  found=$(stranger "$1")
  [ -z "$found" ] || echo "kn.stranger=$found"
  [ -z "$found" ] || set -- "$1" "locked by a process that is not fab's: PID $found"
  printf '%s\n' "kn.held=$2"
  printf '%s\n' "$2" >&2
  exit 75
}
