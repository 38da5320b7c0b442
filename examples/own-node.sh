# A node of its own in a temporary directory, for the examples that show something: sourced by them after setup.sh.
# Everything they start is below $work, and is gone at the end, also after Ctrl-C.

# own_place NAME: makes $work and goes there. From now on `minikube-lite` means the node in it.
own_place() {
    node='' cgroup=''
    work=$(mktemp -d "/tmp/minikube-lite-$1.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    cd "$work"
    mkdir manifests root
    ln -s "$checkout/examples" examples
    export MINIKUBE_LITE_ROOT=$work/root PATH="$venv/bin:$PATH"
    cgroup=$(python -P -c 'import sys; from minikube_lite.node.paths import Paths; print(Paths(sys.argv[1]).cgroup)' "$MINIKUBE_LITE_ROOT")
}

# -- cleaning up ----------------------------------------------------------------------------------------------------

cgroups_left() { find $(awk '$0 ~ / - cgroup2? / {print $5}' /proc/self/mountinfo) -maxdepth 1 -name "${cgroup#/}"; }
mounts_left() { awk -v work="$work/" 'index($5, work) == 1 {print $5}' /proc/self/mountinfo; }
processes_left() { cgroups_left | while read -r each; do find "$each" -name cgroup.procs -exec cat {} +; done | sort -un; }

clean_up() {
    local status=$?
    trap '' INT TERM
    trap - EXIT
    [ $status = 0 ] || printf '\n%s stops here (exit code %s), cleaning up\n' "$0" $status >&2
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

start_node() {
    printf '$ sudo minikube-lite run manifests/ &\n'
    minikube-lite run manifests/ >node.log 2>&1 &
    node=$!
    until_true "minikube-lite get pods || ! kill -0 $node"
    kill -0 "$node" || exit 1
}

# stop_node: when its pods are gone; fails if it leaves anything.
stop_node() {
    kill -TERM "$node"
    wait "$node" || { printf 'the node ended with exit code %s\n' $? >&2 && exit 1; }
    node=
    printf 'processes left: %s, mounts left: %s, cgroups left: %s\n' \
        "$(processes_left | wc -l)" "$(mounts_left | wc -l)" "$(cgroups_left | wc -l)"
    [ -z "$(processes_left)$(mounts_left)$(cgroups_left)" ] || exit 1
}
