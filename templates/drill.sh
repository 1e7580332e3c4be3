# Has the packets between this node and one apiserver vanish, and nobody else's. Each action is a run of its own:
#   look   sees which tool can do it, and removes what an earlier drill has left
#   cut    arms a timer that heals the node by itself, then cuts
#   heal   removes everything, and looks that it is gone
# Given: action, flows (lines of IP version, address, port), seconds (until the timer).
name=kube-nginx-drill into=KUBE-NGINX-DRILL-IN outof=KUBE-NGINX-DRILL-OUT
say() { printf 'kn.%s=%s\n' "$1" "$2"; }

# replies come in, and requests go out: whoever else talks to an apiserver on this very node is left alone
of_nft() {
  echo "add table inet $name"
  for hook in input output; do
    echo "add chain inet $name $hook { type filter hook $hook priority 0; policy accept; }"
  done
  printf '%s\n' "$flows" | while read -r version address port; do
    ip=ip; [ "$version" = 4 ] || ip=ip6
    echo "add rule inet $name input $ip saddr $address tcp sport $port drop"
    echo "add rule inet $name output $ip daddr $address tcp dport $port drop"
  done
}
cut_with_iptables() {
  for iptables in $tools; do
    "$iptables" -w -N "$into" && "$iptables" -w -N "$outof" || return
  done
  printf '%s\n' "$flows" | while read -r version address port; do
    iptables=$(tool_for "$version")
    "$iptables" -w -A "$into" -p tcp -s "$address" --sport "$port" -j DROP &&
      "$iptables" -w -A "$outof" -p tcp -d "$address" --dport "$port" -j DROP || exit
  done || return
  for iptables in $tools; do
    "$iptables" -w -I INPUT 1 -j "$into" && "$iptables" -w -I OUTPUT 1 -j "$outof" || return
  done
}
tool_for() { if [ "$1" = 4 ]; then command -v iptables; else command -v ip6tables; fi; }

choose() {
  undo='' tools=''
  if tool=$(command -v nft); then
    tools=$tool undo="$tool delete table inet $name" kind=nft
    there || { of_nft; echo "delete table inet $name"; } | "$tool" -f /dev/stdin && return
  fi
  kind=iptables undo='' tools=''
  for version in $(printf '%s\n' "$flows" | cut -d' ' -f1 | sort -u); do
    tool=$(tool_for "$version") && "$tool" -w -S OUTPUT >/dev/null || return
    tools="$tools $tool"
    undo="$undo$tool -w -D INPUT -j $into; $tool -w -D OUTPUT -j $outof; "
    undo="$undo$tool -w -F $into; $tool -w -F $outof; $tool -w -X $into; $tool -w -X $outof; "
  done
  undo=${undo%; }
}
there() {
  if [ "$kind" = nft ]; then
    "$tool" list table inet "$name" >/dev/null 2>&1
  else
    for iptables in $tools; do "$iptables" -w -S | grep -q -e "$into" -e "$outof" && return; done
    return 1
  fi
}
disarm() {
  systemctl stop "$name.timer" "$name.service" 2>/dev/null
  systemctl reset-failed "$name.timer" "$name.service" 2>/dev/null
}
heal() {
  sh -c "$undo" 2>/dev/null
  if there; then
    sh -c "$undo"; echo "the rules are still there" >&2
    exit 71
  fi
  disarm
}
arm() {
  disarm
  # systemd would look for variables and percents of its own: there are none in it
  told=$(systemd-run --unit="$name" --on-active="$seconds" --timer-property=AccuracySec=100ms \
    /bin/sh -c "$undo; exit 0" 2>&1) && systemctl is-active "$name.timer" >/dev/null && return
  printf '%s\n' "$told" 'the timer that would heal the node could not be armed' >&2
  disarm
  exit 72
}

choose || exit 70
say undo "$undo"
case $action in
  look)
    say tool "$kind"
    if there; then heal; say leftover 1; fi ;;
  cut)
    there && heal
    arm
    if [ "$kind" = nft ]; then of_nft | "$tool" -f /dev/stdin; else cut_with_iptables; fi || { heal; exit 73; }
    say cut 1
    there || { heal; exit 73; } ;;
  heal)
    there && say healed 1
    heal ;;
esac
:
