# Asks endpoints for /readyz, all at once, with what the node has for it. It only reads.
# Given: targets (each NUMBER,HOST,PORT), seconds that each may take.
say() { printf 'kn.%s=%s\n' "$1" "$2"; }
tool=
for name in curl openssl bash; do
  if command -v "$name" >/dev/null; then tool=$name; break; fi
done
say tool "$tool"

# shellcheck disable=SC2016 # bash's own
ask() {
  case $1 in *:*) at="[$1]:$2" ;; *) at=$1:$2 ;; esac
  case $tool in
    curl)
      { said=$(curl -gvski --noproxy '*' --max-time "$seconds" "https://$at/readyz" 2>&1 >&3); } 3>&1
      curled=$?
      # why it could not connect, or not in TLS: without -v it does not say
      case $curled in 7 | 35) printf '%s' "${said##*Connected to}" ;; esac
      return "$curled"
      ;;
    openssl)
      printf 'GET /readyz HTTP/1.0\r\nHost: %s\r\n\r\n' "$at" |
        timeout "$seconds" openssl s_client -quiet -connect "$at" 2>&1
      ;;
    bash) timeout "$seconds" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1 ;;
  esac
}

for target in ${tool:+$targets}; do
  {
    address=${target#*,}
    answer=$(ask "${address%,*}" "${address##*,}"; printf '\n%s' "$?")
    status=$(printf '%s\n' "$answer" | tail -n 1)
    # no longer than what a pipe takes in one piece: others write to it at the same time
    text=$(printf '%s' "${answer%"$status"}" | head -c 2800 | base64 | tr -d '\n')
    say "cell.${target%%,*}" "$status $(date +%s.%N) $text"
  } &
done
wait
