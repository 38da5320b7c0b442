# Asks the kernel from inside a container how much CPU its PID 1 gets: bash cpu-share.sh [SECONDS]
# Fields 14 and 15 of /proc/1/stat are its time in user and kernel mode, field 22 its start, in 1/100 s (proc(5)).
used() {
    set -- $(cat /proc/1/stat)
    echo $((${14} + ${15}))
}
seconds=${1:-5}
set -- $(cat /proc/1/stat)
started=${22} before=$(used)
sleep "$seconds"
got=$(($(used) - before))
echo "PID 1 (started at tick $started) got $got of the $((seconds * 100)) ticks in $seconds s: $((got * 10 / seconds))m"
