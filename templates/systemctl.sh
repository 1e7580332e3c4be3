# Does something to the service; if that fails, the end of the journal says why.
# Given: verb, unit. Ends as systemctl does.
systemctl "$verb" "$unit" && exit 0
status=$?
journalctl -u "$unit" -n 8 --no-pager -o cat >&2
exit "$status"
