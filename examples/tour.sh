#!/usr/bin/env bash
# Shows minikube-lite doing its job, for real, on this machine: sudo bash examples/tour.sh
# Everything it starts is its own (a node with a temporary --root) and is gone at the end, also after Ctrl-C.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
source "$checkout/examples/own-node.sh"

need_root examples/tour.sh
make_venv

own_place tour

title "The node: it watches a directory, and the directory is all there is to it."
start_node

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

title "An image: a directory and a few flags make one. The pod says no command; the image does."
run "mkdir tools && cp -L --parents \$(ldd /bin/{bash,ls,sleep} | grep -o '/[^ :]*' | sort -u) tools/"
run "minikube-lite image build-from-dir tools tools:1 --user 1000 --workdir /srv --entrypoint '/bin/bash -c' \\
    --cmd '[\"echo user \$UID in \$PWD sees \$(ls /); exec sleep infinity\"]'"
run "minikube-lite image list"
run "cat examples/image.yaml"
run "minikube-lite apply -f examples/image.yaml --wait"
run "minikube-lite logs image"

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
stop_node
