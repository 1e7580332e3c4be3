# The service's sessions that are not its clients', counted by peer, as the kernel writes addresses. It only reads.
# Given: ports (hexadecimal) of the listeners that hosts.toml names.

# what old workers still hold counts, too: whatever process is in the unit's cgroup
sockets_of_all() {
  for process in $(of_unit); do
    sockets "$process" | tr ' ' '\n'
  done | sort -u | sed -n 's/^socket:.\([0-9]*\).$/\1 0/p'
}
# inode, 1, port here, peer, state
sockets_of_kernel() {
  for table in /proc/net/tcp /proc/net/tcp6; do
    [ ! -r "$table" ] || cat "$table"
  done | sed -n 's/^ *[0-9]*: [^ ]*:\([^ ]*\) \([^ ]*\) \([^ ]*\) [^ ]* [^ ]* [^ ]* *[0-9]* *[0-9]* \([1-9][0-9]*\) .*/\4 1 \1 \2 \3/p'
}

# sorted, a socket of the service is before its line of the kernel's
mine=$({ sockets_of_all; sockets_of_kernel; } | sort | sed -n '$!N; s/^\([0-9]*\) 0\n\1 1 //p; D')
listeners=$(printf '%s\n' "$mine" | sed -n 's/ [^ ]* 0A$//p')
# sessions that somebody opened to a listener are the other half; 1, 4, 5, 8: open, or closed in one direction
# shellcheck disable=SC2086 # words
printf '%s\n' "$mine" | grep -v "$(printf '^%s \n' $ports $listeners)" |
  sed -n 's/^[^ ]* \([^ ]*\) 0[1458]$/\1/p' | sort | uniq -c | sed 's/^ *\([0-9]*\) \(.*\)/kn.peer.\2=\1/'
