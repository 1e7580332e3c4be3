# Makes the directories, and the service's own user where there is one. Given: user (may be empty).
set -e
if [ -n "$user" ] && ! id -u "$user" >/dev/null 2>&1; then
  useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
fi
mkdir -p "$prefix/conf" "$prefix/logs" "$prefix/sbin"
if [ -n "$user" ]; then
  [ "$(stat -c %U "$prefix/logs")" = "$user" ] || chown "$user:$user" "$prefix/logs"
  # an earlier service that ran as root has left its pid file and its log there
  find "$prefix/logs" -mindepth 1 -maxdepth 1 -type f -links 1 ! -user "$user" -exec chown -h "$user:$user" {} +
fi
