# Has systemd read the unit files; says whether ours had changed since it last did. Given: unit, unit_path.
changed=0
systemctl show -p NeedDaemonReload "$unit" | grep -q =yes && changed=1
systemctl show -p LoadState "$unit" | grep -q not-found && [ -e "$unit_path" ] && changed=1
systemctl daemon-reload && echo "kn.changed=$changed"
