# Sets minikube-lite up in the checkout's own .venv. Sourced by examples/tour.sh and tests/run.sh, after `set -eu`.
# Says what it installs; does nothing, quickly, when all is there.

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "this starts real containers and needs root: sudo bash $1"
    [ "$(uname -s)" = Linux ] || die "this needs Linux: containers are made by its kernel"
}

# apt_install WHY PACKAGE...: the packages that are not there yet.
apt_install() {
    local why=$1 package missing=()
    shift
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "install these by hand, there is no apt-get here: ${missing[*]} ($why)"
    say "installing with apt-get: ${missing[*]} ($why)"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null; } ||
        die "apt-get could not install ${missing[*]}"
}

# A Python of at least 3.11, as the path of the real program (pyenv's `python3` is a slow script in front of it).
find_python() {
    local candidate
    for candidate in /usr/bin/python3 /usr/bin/python3.{14,13,12,11} python3 python3.{14,13,12,11}; do
        "$candidate" -I -c 'import sys; sys.version_info >= (3, 11) or sys.exit(1); print(sys.executable)' 2>/dev/null &&
            return 0
    done
    return 1
}

# make_venv [EXTRA]: .venv with the project in it, installed so that it runs from the checkout.
make_venv() {
    local extra=${1:-} python version wanted
    venv=$checkout/.venv
    wanted=$(cksum <"$checkout/pyproject.toml")
    if [ "$(cat "$venv/.made-for${extra:+-$extra}" 2>/dev/null)" = "$wanted" ] && "$venv/bin/python" -c '' 2>/dev/null; then
        return 0
    fi
    python=$(find_python) || { apt_install "no Python 3.11 or newer found" python3 && python=$(find_python); } ||
        die "minikube-lite needs Python 3.11 or newer; $(python3 --version 2>&1) is all there is"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        apt_install "$python cannot make a virtual environment without it" "python$version-venv"
    fi
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
        { say "making $venv with $python" && "$python" -m venv --clear "$venv"; }
    say "installing minikube-lite${extra:+ with its $extra tools} and what it needs into $venv"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -e "$checkout${extra:+[$extra]}"
    printf '%s\n' "$wanted" >"$venv/.made-for"
    [ -z "$extra" ] || printf '%s\n' "$wanted" >"$venv/.made-for-$extra"
}
