#!/usr/bin/env bash
# Runs a real server, redis, out of Debian's (or Ubuntu's) own packages: sudo bash examples/real-server.sh
# No container engine, no registry, and nothing is installed on this machine. Everything is gone at the end.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
source "$checkout/examples/own-node.sh"

need_root examples/real-server.sh
command -v apt-get >/dev/null || die "there is no apt-get here; docs/images.md tells of other ways to get an image"
make_venv
own_place real-server

# -- how apt sees it: an empty machine ------------------------------------------------------------------------------

# Empty but for what only serves to install packages, which a container never does.
mkdir -p packages/partial rootfs
for package in init-system-helpers sysvinit-utils lsb-base adduser debconf; do
    printf 'Package: %s\nStatus: install ok installed\nArchitecture: all\nMulti-Arch: foreign\n' $package
    printf 'Version: 999\nMaintainer: nobody\nDescription: left out\n\n'
done >packages/status
cat >apt.conf <<END
Dir::State::status "$work/packages/status";
Dir::State::extended_states "$work/packages/extended_states";
Dir::Cache "$work/packages";
Dir::Cache::archives "$work/packages";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
END
export APT_CONFIG=$work/apt.conf
download="apt-get -qq -y --download-only install redis-server"

title "Redis and the libraries it needs, as Debian's packages: downloaded, not installed."
if ! run "$download"; then
    run "apt-get -qq update" # the list of packages is old, or there is none yet
    run "$download"
fi
run "ls packages | grep -F .deb | cut -d_ -f1 | paste -sd' '"

title "A root file system: the packages unpacked into a directory, and who is who in it."
run 'mkdir -p rootfs/{etc,data,tmp,usr/{bin,sbin,lib,lib64}} && (cd rootfs && ln -s usr/{bin,sbin,lib,lib64} .)'
run 'for deb in packages/*.deb; do dpkg-deb --fsys-tarfile $deb | tar -x -C rootfs --keep-directory-symlink; done'
run 'rm -r rootfs/usr/share && chmod 1777 rootfs/tmp'
run "printf '%s\n' root:x:0:0::/:/sbin/nologin redis:x:100:100::/data:/sbin/nologin > rootfs/etc/passwd"
run "printf '%s\n' root:x:0: redis:x:100: > rootfs/etc/group"

title "An image: the directory, and what to run in it, as whom."
run "minikube-lite image build-from-dir rootfs redis:local --entrypoint redis-server \\
    --cmd '--dir /data --appendonly yes' --user redis --workdir /data --expose 6379"
run "minikube-lite image list"

title "A node, and a pod that runs the image."
start_node
run "cat examples/real-server.yaml"
run "minikube-lite apply -f examples/real-server.yaml --wait --timeout=15s"
until_true "minikube-lite exec redis -- redis-cli ping"

title "It serves."
run "minikube-lite exec redis -- redis-cli ping"
run "minikube-lite exec redis -- redis-cli set greeting 'hello from redis'"
run "minikube-lite exec redis -- redis-cli get greeting"
run "minikube-lite exec redis -- redis-cli info server | grep -E 'redis_version|process_id'"

title "It ends: the pod starts it again, and the data is still there."
run "minikube-lite exec redis -- redis-cli shutdown || true"
until_true "minikube-lite get pod redis -o json | grep -q '\"restartCount\": 1' && minikube-lite exec redis -- redis-cli ping"
run "minikube-lite get pods"
run "minikube-lite exec redis -- redis-cli get greeting"
run "minikube-lite logs redis | grep -v WARNING | tail -n 4"

title "The pod goes, the image goes, and nothing is left."
run "minikube-lite delete -f examples/real-server.yaml"
run "minikube-lite image remove redis:local"
stop_node
