# Has one apiserver die for this node, and for nobody else: its packets vanish, or, with hang=1, it accepts connections,
# acknowledges what it is sent, and no answer comes in. Each action is a run of its own:
#   look   sees which tools can do it, and removes what an earlier drill has left
#   cut    arms a timer that heals the node by itself, then makes the rules
#   heal   removes everything, and looks that it is gone
# Given: action, hang, flows (lines of IP version, address, port), tools (what look said), seconds (until the timer), lock.
# Ends with 70 if there is no tool, 71 if rules are still there, 72 if there is no timer, 73 if it could not be cut.
record=$lock/drill # which tools have made rules since all was last seen to be clean
name=kube-nginx-drill into=KUBE-NGINX-DRILL-IN outof=KUBE-NGINX-DRILL-OUT
say() { printf 'kn.%s=%s\n' "$1" "$2"; }

# bytes of an acknowledgement without data, with the longest options there are
bare=100

# replies come in, and requests go out: whoever else talks to an apiserver on this very node is left alone
of_nft() {
  echo "add table inet $1"
  for hook in input output; do
    echo "add chain inet $1 $hook { type filter hook $hook priority 0; policy accept; }"
  done
  printf '%s\n' "$flows" | while read -r version address port; do
    ip=ip; [ "$version" = 4 ] || ip=ip6
    from="add rule inet $1 input $ip saddr $address tcp sport $port"
    if [ "$hang" = 1 ]; then
      # the last packet of an answer has PSH, and those before it are full
      echo "$from tcp flags & (fin | rst | psh) != 0x0 drop"
      echo "$from meta length > $bare drop"
      continue
    fi
    echo "$from drop"
    echo "add rule inet $1 output $ip daddr $address tcp dport $port drop"
  done
}
of_iptables() {
  for tool in $tools; do echo "$tool -w -N $into; $tool -w -N $outof"; done
  printf '%s\n' "$flows" | while read -r version address port; do
    tool=$(tool_for "$version")
    from="$tool -w -A $into -p tcp -s $address --sport $port"
    if [ "$hang" = 1 ]; then
      for flag in FIN RST PSH; do echo "$from --tcp-flags $flag $flag -j DROP"; done
      echo "$from -m length --length $((bare + 1)):65535 -j DROP"
      continue
    fi
    echo "$from -j DROP"
    echo "$tool -w -A $outof -p tcp -d $address --dport $port -j DROP"
  done
  for tool in $tools; do echo "$tool -w -I INPUT 1 -j $into; $tool -w -I OUTPUT 1 -j $outof"; done
}
tool_for() { if [ "$1" = 4 ]; then command -v iptables; else command -v ip6tables; fi; }

# nft first, and then iptables is not touched: it may make tables, and load modules, when it is but asked
choose() {
  if tool=$(command -v nft) &&
    { of_nft "$name-trial"; echo "delete table inet $name-trial"; } | soon "$tool" -f /dev/stdin; then
    tools=$tool
    return
  fi
  for version in $(printf '%s\n' "$flows" | cut -d' ' -f1 | sort -u); do
    { tool=$(tool_for "$version") && soon "$tool" -w -S OUTPUT >/dev/null; } || { tools=''; return; }
    tools="${tools:+$tools }$tool"
  done
}
# iptables waits for others without limit, and rules that come after the timer would stay
soon() { timeout -k 1 4 "$@"; }
make() {
  case $tools in
    */nft) of_nft "$name" | soon "$tools" -f /dev/stdin ;;
    *) soon sh -ec "$(of_iptables)" ;;
  esac
}
undo_all() {
  for tool in $all; do
    case $tool in
      */nft) printf '%s; ' "$tool delete table inet $name" ;;
      *) printf "$tool -w %s; " "-D INPUT -j $into" "-D OUTPUT -j $outof" "-F $into" "-F $outof" "-X $into" "-X $outof" ;;
    esac
  done
}
# what cannot be listed may be there
there() {
  for tool in $all; do
    case $tool in
      */nft) listed=$(soon "$tool" list tables) ;;
      *) listed=$(soon "$tool" -w -S) ;;
    esac || return 0
    printf '%s\n' "$listed" | grep -q -e "inet $name\$" -e "$into" -e "$outof" && return
  done
  return 1
}
# only when all is seen to be clean: nothing else would heal the node
disarm() {
  systemctl stop "$name.timer" "$name.service" 2>/dev/null
  systemctl reset-failed "$name.timer" "$name.service" 2>/dev/null
  : > "$record"
}
heal() {
  sh -c "$undo" 2>/dev/null
  if there; then
    sh -c "$undo"; echo "the rules are still there" >&2
    exit 71
  fi
  say healed 1
  disarm
}
arm() {
  # systemd would look for variables and percents of its own: there are none in it
  told=$(systemd-run --unit="$name" --on-active="$seconds" --timer-property=AccuracySec=100ms \
    /bin/sh -c "$undo; exit 0" 2>&1) && systemctl is-active "$name.timer" >/dev/null && return
  printf '%s\n' "$told" 'the timer that would heal the node could not be armed' >&2
  disarm
  exit 72
}

exec 9<>"$record"
take 15 9 || refused drill 'an earlier action of a drill is not over there yet'
[ "$action" != look ] || choose
# paths of programs: they become commands
all=$(printf '%s\n' "$(cat "$record") $tools" | grep -o '/[a-zA-Z0-9/._-]*/\(nft\|ip6\{0,1\}tables\)' | sort -u)
undo=$(undo_all) undo=${undo%; }
say undo "$undo"
case $action in
  look)
    ! there || heal
    say tools "$tools"
    [ -n "$tools" ] || exit 70 ;;
  cut)
    if there; then heal; else disarm; fi
    printf '%s\n' "$tools" > "$record"
    arm
    make || { heal; exit 73; }
    say cut 1
    there || { heal; exit 73; } ;;
  heal)
    if there; then heal; else disarm; fi ;;
esac
:
