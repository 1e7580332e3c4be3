# Who uses the service on this node: processes that have sessions with its listeners; of kubelet and kube-proxy also
# those straight with apiservers, and each `server:` of their kubeconfigs, of which nothing else is told. It only reads.
# Given: ports (hexadecimal) of the listeners that hosts.toml names, listen (a regular expression of their addresses as
# the kernel writes them), apiserver_ports (hexadecimal).
any_of() { IFS='|' && printf %s "$*"; } # a part of a regular expression; for a subshell

name=
read -r name 2>/dev/null < /proc/sys/kernel/hostname
say hostname "$name"

# --- what kubelet and kube-proxy are told ---

told() { # words of a command line, one a line
  kubeconfig='' config='' before=''
  while IFS= read -r word; do
    case $before in --kubeconfig | --config) word=$before=$word ;; esac
    case $word in [!-]*=--*) word=--${word#*=--} ;; esac # of a unit's Environment=
    before=$word
    case $word in
      --kubeconfig=*) kubeconfig=${word#*=} ;;
      --config=*) config=${word#*=} ;;
    esac
  done
}
# a path as the process WHO means it, which may be in a container; of one that does not run, as it is
meant() { # WHO PATH
  case $1 in
    *[!0-9]*) root='' here=/ ;;
    *) root=/proc/$1/root here=/proc/$1/cwd/ ;;
  esac
  case $2 in
    /*) printf '%s\n' "$root$2" ;;
    *) printf '%s\n' "$here$2" ;;
  esac
}
# what a line of YAML or JSON says of KEY, behind its number; a comment says nothing
values_of() { # FILE KEY
  some "$1" 16 | tr -d "\"'" | grep -an "$2" | head -n 50 |
    sed -n "/^[0-9]*:[[:space:]]*#/d; s/^\([0-9]*\):\(.*[[:space:]{,]\)\{0,1\}$2[[:space:]]*:[[:space:]]*\([^[:space:],}]\{1,300\}\).*/\1 \3/p" |
    head -n 5
}
tell() { # WHO: a PID, or the name of what does not run
  if [ -z "$kubeconfig" ] && [ -n "$config" ]; then
    kubeconfig=$(values_of "$(meant "$1" "$config")" kubeconfig | sed -n '1s/^[0-9]* //p')
  fi
  [ -n "$kubeconfig" ] || return 0
  say "kubeconfig.$1" "$(printf %.300s "$kubeconfig")"
  # all names at once: a dead resolver is waited for no longer than for one
  values_of "$(meant "$1" "$kubeconfig")" server | {
    while read -r number value; do
      host=${value#*://} && host=${host%%/*}
      case $host in *@*) secret=${host%@*}@ && host=${host##*@} value=${value%%"$secret"*}${value#*"$secret"} ;; esac
      say "server.$1.$number" "$value"
      host=${host%:*}
      case " $hosts " in *" $host "*) continue ;; esac
      case $host in '' | -* | *[!A-Za-z0-9.-]*) continue ;; esac
      case ${host##*.} in '' | *[!0-9]*) say "address.$host" "$(resolved "$host")" & ;; esac # no address of IPv4
    done
    wait
  }
}
resolved() { timeout 5 getent ahosts "$1" 2>/dev/null | while read -r address _; do printf '%s ' "$address"; done; }

# root's, in the node's own network: whoever else calls a process so means nothing
pids='' running=' '
for process in $(pids_in "$(grep -lsxE 'kubelet|kube-proxy' /proc/[0-9]*/comm)"); do
  [ "$(owner "$process")" = 0 ] && [ "/proc/$process/ns/net" -ef /proc/self/ns/net ] || continue
  name=
  read -r name 2>/dev/null < "/proc/$process/comm" || continue
  pids="$pids $process" running="$running$name "
  say "kube.$process" "$name"
  [ "/proc/$process/root" -ef / ] || say "contained.$process" 1
  told <<END
$(head -c 65536 "/proc/$process/cmdline" 2>/dev/null | tr '\0' '\n')
END
  tell "$process"
done
for name in kubelet kube-proxy; do
  case $running in *" $name "*) continue ;; esac
  for folder in /etc/systemd/system /run/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
    [ -e "$folder/$name.service" ] || continue
    told <<END
$(systemctl show -p ExecStart,Environment "$name.service" 2>/dev/null | tr ' "' '\n')
END
    tell "$name"
    break
  done
done

# --- who has sessions ---

# shellcheck disable=SC2086 # words
of_listeners=$(any_of $ports) of_apiservers=$(any_of $apiserver_ports)
# inode, 1, local address, remote address of what is established
rows=$(
  for table in /proc/net/tcp /proc/net/tcp6; do
    [ ! -r "$table" ] || cat "$table"
  done | sed -n 's/^ *[0-9]*: \([^ ]*\) \([^ ]*\) 01 [^ ]* [^ ]* [^ ]* *[0-9]* *[0-9]* \([1-9][0-9]*\) .*/\3 1 \1 \2/p' |
    grep -E ":($of_listeners) |:($of_listeners|$of_apiservers)\$"
)
# where the service was reached are addresses of this node; a socket of IPv6 has one of IPv4 as ::ffff:ADDRESS
mapped='0{16}(F{4}0{4}|0{4}F{4})'
at=$(printf '%s\n' "$rows" | sed -n -E "s/^[0-9]+ 1 ($mapped)?($listen) .*/\3/p" | sort -u)
# shellcheck disable=SC2086 # words
at=$(any_of $at)
with_listener() { grep "$@" -E " ($mapped)?(${at:-none})\$"; }
held() { # FOLDERS like /proc/PID/fd: PID, local address, remote address; sorted, a socket is before its row
  {
    find "$@" -lname 'socket:\[*\]' -printf '%p %l\n' 2>/dev/null |
      sed -n 's,^/proc/\([0-9]*\)/fd/[0-9]* socket:.\([0-9]*\).$,\2 0 \1,p'
    printf '%s\n' "$rows"
  } | sort | sed -n '$!N; s/^\([0-9]*\) 0 \([0-9]*\)\n\1 1 /\2 /p; D'
}
lines() { printf '%s\n' "$1" | grep -c .; }

clients=$(printf '%s\n' "$rows" | with_listener)
all=$(lines "$clients")
set --
for process in $pids; do set -- "$@" "/proc/$process/fd"; done
theirs=$([ "$#" = 0 ] || held "$@")
found=$(printf '%s\n' "$theirs" | with_listener)
if [ "$all" != "$(lines "$found")" ]; then found=$(held /proc/[0-9]*/fd | with_listener); fi
say clients "$all"
printf '%s\n' "$found" | sed -n 's/ .*//p' | sort | uniq -c | sort -rn | head -n 100 |
  while read -r count process; do
    name=
    read -r name 2>/dev/null < "/proc/$process/comm"
    say "client.$process" "$count $name"
  done
# with an address of the node itself it is a probe of kubelet's, of an apiserver that runs there
printf '%s\n' "$theirs" | with_listener -v |
  sed -e '/^[0-9]* \([^:]*\):[^ ]* \1:/d' -n -e 's/^\([0-9]*\) [^ ]* /\1./p' |
  sort | uniq -c | sort -rn | head -n 100 | while read -r count session; do say "straight.$session" "$count"; done
