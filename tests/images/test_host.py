"""The built-in image `host`: programs without secrets, proven by really changing root into it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from minikube_lite.images import host
from minikube_lite.images.image import Image
from minikube_lite.images.store import ImageStore


def machine(root: Path, merged: bool = True) -> Path:
    """The root of another machine, with secrets in its /etc."""
    for name in (
        "usr/bin",
        "usr/lib",
        "usr/local/etc",
        "etc/alternatives",
        "etc/ssl/certs",
        "etc/ssl/private",
        "home/me",
    ):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib"):
        if merged:
            (root / name).symlink_to(f"usr/{name}")
        else:
            (root / name).mkdir()
    for name in ("shadow", "passwd", "machine-id", "ld.so.cache", "ssl/private/key.pem", "ssl/certs/snakeoil.pem"):
        (root / "etc" / name).write_text(f"secret of {name}")
    (root / "etc/ssl/certs/ca-certificates.crt").write_text("-----BEGIN CERTIFICATE-----")
    (root / "lib64").symlink_to("/opt/elsewhere")
    return root


def test_the_skeleton_has_no_secret_of_the_host(tmp_path: Path) -> None:
    target = tmp_path / "skeleton"
    target.mkdir()
    host.build(target, machine(tmp_path / "machine"))
    texts = {path: path.read_text() for path in target.rglob("*") if path.is_file() and not path.is_symlink()}
    assert [path.name for path, text in texts.items() if "secret" in text] == ["ld.so.cache"]
    assert not list(target.glob("etc/shadow*")) + list(target.glob("etc/machine-id")) + list(target.glob("home/*"))
    assert sorted(os.listdir(target / "etc/ssl")) == ["certs"]
    assert (target / "etc/passwd").read_text().startswith("root:x:0:0:")
    assert os.readlink(target / "bin") == "usr/bin"
    assert not os.path.lexists(target / "lib64")
    assert oct((target / "tmp").stat().st_mode) == "0o41777"
    assert oct((target / "root").stat().st_mode) == "0o40700"


def test_a_bundle_with_a_private_key_in_it_is_not_copied(tmp_path: Path) -> None:
    root, target = machine(tmp_path / "machine"), tmp_path / "skeleton"
    with open(root / "etc/ssl/certs/ca-certificates.crt", "a") as bundle:
        bundle.write("-----BEGIN RSA PRIVATE KEY-----")
    target.mkdir()
    host.build(target, root)
    assert not list(target.glob("etc/ssl/certs/*"))


def test_a_machine_that_has_not_merged_usr_binds_each_directory(tmp_path: Path) -> None:
    root, target = machine(tmp_path / "machine", merged=False), tmp_path / "skeleton"
    target.mkdir()
    host.build(target, root)
    mounts = host.mounts(root, mountinfo="")
    assert [mount["destination"] for mount in mounts] == ["/usr", "/bin", "/lib", "/usr/local/etc"]
    assert all((target / mount["destination"].lstrip("/")).is_dir() for mount in mounts[:3])
    assert all({"ro", "nosuid", "nodev"} <= set(mount["options"]) for mount in mounts)


def test_what_is_mounted_below_usr_is_bound_read_only_on_its_own(tmp_path: Path) -> None:
    line = "36 35 98:0 / {} rw,noatime master:1 - ext3 /dev/root rw"
    mountinfo = "\n".join(
        line.format(at) for at in ("/", "/usr", "/usr/share", "/usr2", "/usr/no\\040such", "/usr/lib")
    )
    mounts = host.mounts(machine(tmp_path / "machine"), mountinfo=mountinfo)
    assert [mount["destination"] for mount in mounts] == ["/usr", "/usr/lib", "/usr/share", "/usr/local/etc"]
    assert {mount["options"][0] for mount in mounts[:3]} == {"bind"}


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "etc/ld.so.cache").write_text("more libraries"),
        lambda root: (root / "etc/alternatives/awk").symlink_to("/usr/bin/mawk"),
        lambda root: (root / "lib32").symlink_to("usr/lib32"),
        lambda root: (root / "etc/ssl/certs/ca-certificates.crt").unlink(),
    ],
)
def test_the_skeleton_is_made_anew_when_the_machine_changes(tmp_path: Path, change: Callable[[Path], object]) -> None:
    root = machine(tmp_path / "machine")
    before = host.fingerprint(root)
    (root / "etc/shadow").write_text("new password")
    assert host.fingerprint(root) == before
    change(root)
    assert host.fingerprint(root) != before


def test_it_is_made_once(store: ImageStore, tmp_path: Path) -> None:
    assert not store.is_cheap("host", tmp_path)
    image = store.resolve("host", tmp_path)
    inode = image.layers[0].stat().st_ino
    assert store.is_cheap("host", tmp_path)
    assert store.resolve("host", tmp_path) == image
    assert image.layers[0].stat().st_ino == inode


def inside(image: Image, tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script on the image: its mounts in a mount namespace of their own, then chroot."""
    root, upper, work = (tmp_path / name for name in ("root", "upper", "work"))
    for path in (root, upper, work):
        path.mkdir(exist_ok=True)
    lines = [f"mount -t overlay overlay -o lowerdir={image.layers[0]},upperdir={upper},workdir={work} {root}"]
    for mount in image.mounts:
        at, options = f"{root}{mount['destination']}", [*mount["options"]]
        if mount["type"] == "bind":
            options.remove("bind")
            lines += [f"mount --bind {mount['source']} {at}", f"mount -o remount,bind,{','.join(options)} {at}"]
        else:
            lines.append(f"mount -t {mount['type']} -o {','.join(options)} {mount['source']} {at}")
    lines += [f"mount -t proc proc {root}/proc", f"touch {root}/dev/null; mount --bind /dev/null {root}/dev/null"]
    lines.append(f"exec env -i {shlex.join(image.config['Env'])} chroot {root} /bin/sh -c {shlex.quote(script)}")
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", "\n".join(lines)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.root
def test_its_programs_work(store: ImageStore, tmp_path: Path) -> None:
    image = store.resolve("host", tmp_path)
    script = (
        "set -e; ls -ld / /tmp; ps ax | wc -l; echo a b | awk '{print $2}'; id; ls /etc /home /root; cat /etc/hosts"
    )
    ran = inside(image, tmp_path, script)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("drwxr-xr-x")
    assert lines[1].startswith("drwxrwxrwt")
    assert int(lines[2]) <= 6
    assert lines[3:5] == ["b", "uid=0(root) gid=0(root) groups=0(root)"]
    assert ran.stderr == ""


@pytest.mark.root
@pytest.mark.parametrize(
    ("program", "script"),
    [
        (
            "python3",
            "/usr/bin/python3 -c 'import ssl, sqlite3, json; print(len(ssl.create_default_context().get_ca_certs()))'",
        ),
        ("perl", "/usr/bin/perl -MPOSIX -e 'print POSIX::getpid()'"),
        ("curl", "/usr/bin/curl --version"),
        ("bash", "/usr/bin/bash -lc 'echo $PATH'"),
        ("getent", "/usr/bin/getent passwd nobody"),
    ],
)
def test_a_program_that_is_installed_works_in_it(store: ImageStore, tmp_path: Path, program: str, script: str) -> None:
    if not shutil.which(program, path="/usr/bin"):
        pytest.skip(f"{program} is not installed")
    ran = inside(store.resolve("host", tmp_path), tmp_path, script)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.root
def test_nothing_of_the_host_can_be_written_or_gained(store: ImageStore, tmp_path: Path) -> None:
    image = store.resolve("host", tmp_path)
    ran = inside(
        image,
        tmp_path,
        "touch /usr/x /usr/bin/x /bin/x; ls -A /usr/local/etc; touch /etc/x /x; cat /proc/self/mountinfo",
    )
    assert ran.stderr.count("Read-only file system") == 3
    assert not Path("/usr/x").exists()
    assert (tmp_path / "upper/etc/x").exists()
    assert not (image.layers[0] / "etc/x").exists()
    for line in ran.stdout.splitlines():
        if line.split(" ")[4] in ("/usr", "/bin", "/lib"):
            assert {"ro", "nosuid", "nodev"} <= set(line.split(" ")[5].split(","))
