# Runs a script in a process group that ends when our side of the connection does. sshd leaves a command running when
# its channel closes; all that the command can notice is the end of its standard input.
# Given: script. Ends as that does.
exec 3<&0
setsid sh -c "$script" </dev/null 3<&- &
job=$!
( cat <&3 >/dev/null; kill -TERM "-$job" ) >/dev/null 2>&1 &
watch=$!
wait "$job"
status=$?
kill "$watch" 2>/dev/null
exit "$status"
