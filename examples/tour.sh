#!/usr/bin/env bash
# Shows minikube-lite doing its job, for real, on this machine: sudo bash examples/tour.sh
# Everything it starts is its own (a node with a temporary --root) and is gone at the end, also after Ctrl-C.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

need_root examples/tour.sh
make_venv

work=$(mktemp -d /tmp/minikube-lite-tour.XXXXXX)
cd "$work"
mkdir manifests root
ln -s "$checkout/examples" examples
export MINIKUBE_LITE_ROOT=$work/root PATH="$venv/bin:$PATH"
node=

# -- cleaning up ----------------------------------------------------------------------------------------------------

cgroup=$(python -P -c 'import sys; from minikube_lite.node.paths import Paths; print(Paths(sys.argv[1]).cgroup)' "$MINIKUBE_LITE_ROOT")

cgroups_left() { find $(awk '$0 ~ / - cgroup2? / {print $5}' /proc/self/mountinfo) -maxdepth 1 -name "${cgroup#/}"; }
mounts_left() { awk -v work="$work/" 'index($5, work) == 1 {print $5}' /proc/self/mountinfo; }
processes_left() { cgroups_left | while read -r each; do find "$each" -name cgroup.procs -exec cat {} +; done | sort -un; }

clean_up() {
    local status=$?
    trap '' INT TERM
    trap - EXIT
    [ $status = 0 ] || printf '\nthe tour stops here (exit code %s), cleaning up\n' $status >&2
    if [ -n "$node" ] && kill -0 "$node" 2>/dev/null; then
        rm -f "$work"/manifests/*
        for _ in $(seq 100); do
            [ -n "$(minikube-lite get pods -A -o name 2>/dev/null)" ] || break
            sleep 0.1
        done
        kill -TERM "$node" 2>/dev/null || true
        wait "$node" 2>/dev/null || true
    fi
    # Whatever the node did not manage; nothing, if all is well.
    for pid in $(processes_left); do kill -KILL "$pid" 2>/dev/null || true; done
    mounts_left | sort -r | while read -r each; do umount -l "$each" || true; done
    cgroups_left | while read -r each; do find "$each" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
    if [ $status != 0 ] && [ -s "$work/node.log" ]; then
        printf 'the last lines of the node'\''s log:\n' >&2
        tail -n 20 "$work/node.log" >&2
    fi
    if [ -z "$(mounts_left)" ]; then rm -rf --one-file-system "$work"; fi
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# -- the session ----------------------------------------------------------------------------------------------------

title() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
[ -t 1 ] || title() { printf '\n# %s\n' "$*"; }

# run COMMAND LINE: shown as typed, then done.
run() {
    printf '$ %s\n' "$1"
    bash -o pipefail -c "$1"
}

# until_true COMMAND LINE: a fact that takes a moment; 15 seconds at most.
until_true() {
    for _ in $(seq 300); do
        if bash -c "$1" >/dev/null 2>&1; then return 0; fi
        sleep 0.05
    done
    printf 'waited 15 s in vain for: %s\n' "$1" >&2
    return 1
}

title "The node: it watches a directory, and the directory is all there is to it."
printf '$ sudo minikube-lite run manifests/ &\n'
minikube-lite run manifests/ >node.log 2>&1 &
node=$!
until_true "minikube-lite get pods || ! kill -0 $node"
kill -0 "$node" || exit 1

title "A pod is a file. Drop it in, and it runs."
run "cat examples/hello.yaml"
run "cp examples/hello.yaml manifests/"
until_true "minikube-lite get pod hello"
run "minikube-lite wait --for=condition=Ready pod/hello --timeout=15s"
run "minikube-lite get pods"
run "minikube-lite logs hello"

title "It is a container: a host name, processes, and files of its own."
run "minikube-lite exec hello -- hostname"
run "minikube-lite exec hello -- ps -o pid,args"
run "minikube-lite exec hello -- ls /"

title "A CPU limit. This loop would take a whole CPU; it may have 200m, a fifth of one."
run "minikube-lite apply -f examples/cpu-limit.yaml --wait"
cpu_files='cd /sys/fs/cgroup; grep -H . cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu.max 2>/dev/null || :'
run "minikube-lite exec cpu-limit -- sh -c '$cpu_files'"
run "minikube-lite exec -i cpu-limit -- bash -s 5 < examples/cpu-share.sh"

title "Edit the limit: the kernel has it at once, and it is still the same process."
run "sed -i 's/cpu: 200m/cpu: 500m/' manifests/cpu-limit.yaml"
until_true "minikube-lite exec cpu-limit -- sh -c '$cpu_files' | grep -q 50000"
run "minikube-lite exec cpu-limit -- sh -c '$cpu_files'"
run "minikube-lite exec -i cpu-limit -- bash -s 5 < examples/cpu-share.sh"

title "Two containers in one pod share the network; a job ends; a crash is restarted, later and later."
run "minikube-lite apply -f examples/two-containers.yaml -f examples/job.yaml -f examples/crash.yaml"
until_true "minikube-lite logs two-containers -c client | grep -q served"
until_true "minikube-lite get pods | grep -q Completed"
until_true "minikube-lite get pods | grep -q CrashLoopBackOff"
run "minikube-lite logs two-containers -c client"
run "minikube-lite logs job"
run "minikube-lite get pods"

title "A typo is an error with a place and a suggestion, and what runs keeps running."
run "sed 's/command:/comand:/' examples/hello.yaml > typo.yaml"
run "minikube-lite validate typo.yaml || echo exit code \$?"
run "cp typo.yaml manifests/hello.yaml"
until_true "minikube-lite get pod hello -o json | grep -q InvalidManifest || minikube-lite events | grep -q InvalidManifest"
run "minikube-lite get pods hello"
run "minikube-lite events | grep InvalidManifest"

title "Remove the files: processes, mounts and cgroups go with them."
run "rm manifests/*.yaml"
until_true "[ -z \"\$(minikube-lite get pods -A -o name)\" ]"
run "minikube-lite get pods"
kill -TERM "$node"
wait "$node" || { printf 'the node ended with exit code %s\n' $? >&2 && exit 1; }
node=
printf 'processes left: %s, mounts left: %s, cgroups left: %s\n' \
    "$(processes_left | wc -l)" "$(mounts_left | wc -l)" "$(cgroups_left | wc -l)"
[ -z "$(processes_left)$(mounts_left)$(cgroups_left)" ] || exit 1
