# OpenSSH: one command a host, 32 at a time, each over a master connection (ControlMaster). Given: hosts.json.
cd "$(dirname "$1")" || exit
mkdir said
sed -n 's/^Host //p' ssh_config | xargs -P 32 -n 1 sh -c \
  'exec ssh -F ssh_config -o ControlMaster=auto -o ControlPath=%C -o ControlPersist=60 "$0" survey 2>&1 >"said/$0"' || exit
cd said || exit
grep -l kn.end= -- * | sed 's/^/answered /'
