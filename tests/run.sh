#!/usr/bin/env bash
# Runs the whole test suite: sudo bash tests/run.sh [ARGUMENTS FOR PYTEST]
# Installs what it needs (says what), and with no arguments also checks style, types, floors and docs.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../examples/setup.sh"

need_root tests/run.sh
cd "$checkout"
apt_install "the tests' root file system is made of it" busybox-static
apt_install "the tests' images are made with them" skopeo umoci zstd xz-utils
apt_install "the tests look at network namespaces with it" iproute2
command -v docker-registry >/dev/null || stop_registry=true
apt_install "the tests pull from and push to a real registry, and make certificates" docker-registry skopeo openssl
# The package starts a registry for the machine; the tests start one of their own.
[ -z "${stop_registry:-}" ] || ! command -v systemctl >/dev/null || systemctl disable -q --now docker-registry || true
make_venv dev
export PATH="$venv/bin:$PATH"

report=() failed=0
# step NAME COMMAND...: runs it, goes on when it fails, and remembers.
step() {
    local name=$1 status=0
    shift
    printf '\n== %s\n' "$name"
    "$@" || status=$?
    if [ $status = 0 ]; then report+=("ok      $name"); else report+=("FAILED  $name (exit code $status)") failed=1; fi
}

# tests NAME ARGUMENTS...: pytest, with its last line (the counts) in the report.
tests() {
    local name=$1 status=0 output
    shift
    output=$(mktemp)
    printf '\n== %s\n' "$name"
    python -m pytest "$@" 2>&1 | tee "$output" || status=$?
    # 5: the arguments chose no test of this half.
    case $status in
        0 | 5) report+=("ok      $name: $(tail -n 1 "$output" | tr -d =)") ;;
        *) report+=("FAILED  $name: $(tail -n 1 "$output" | tr -d =)") failed=1 ;;
    esac
    rm -f "$output"
}

if [ $# = 0 ]; then
    step "ruff check" ruff check
    step "ruff format" ruff format --check
    step "mypy" mypy
    step "floors" lint-imports
    for script in docs/generate*.py; do
        [ ! -e "$script" ] || step "$script" python "$script" --check
    done
fi
tests "unit tests" -q -n 2 -m "not root" "$@"
tests "root tests" -q -m root "$@"

printf '\n'
printf '%s\n' "${report[@]}"
exit $failed
