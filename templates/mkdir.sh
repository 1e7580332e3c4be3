# The section "create the folders" alone.
account "$user" && folders "$user" || exit
# the service that still runs as somebody else keeps its logs until it is restarted
pid=$(main)
if [ "${pid:-0}" -eq 0 ] || [ "$(stat -c %U "/proc/$pid")" = "${user:-root}" ]; then logs_for "$user"; fi
