#!/usr/bin/env bash
# Makes the environments of this checkout. Run by `make setup`; a second run with nothing to do takes no time.
#
#   setup.sh                       .venv from the lock that fits this machine, then the project itself (editable)
#   setup.sh lint                  .venv-lint with ruff and mypy
#   setup.sh --print-lock          which dependency set fits this machine: current or compat
#   setup.sh --print-python [X.Y]  the Python interpreter that would be used (uv may fetch one)
#
# PYTHON       an interpreter to try first
# HRLREC_VENV  where to make the environment instead of .venv
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

glibc_version() {
    # "glibc 2.36" from getconf; nothing on musl and macOS.
    getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc \([0-9.]*\).*/\1/p'
}

pick_lock() {
    local version minor
    [ "$(uname -sm)" = "Linux x86_64" ] || die "TFX has wheels for x86_64 Linux only: run this in a Debian or Ubuntu container (docker run --platform linux/amd64)"
    version=$(glibc_version || true)
    [ -n "$version" ] || die "this system has no glibc and TensorFlow needs it: use Debian, Ubuntu, Fedora or another glibc Linux (for example in a container)"
    minor=${version#2.}
    minor=${minor%%.*}
    [ "$minor" -ge 28 ] || die "glibc $version is too old, 2.28 is the least: use Debian 10, Ubuntu 20.04 or newer (for example in a container)"
    if [ "$minor" -ge 39 ]; then echo current; else echo compat; fi
}

python_of_lock() { if [ "$1" = current ]; then echo 3.11; else echo 3.10; fi; }

# real_python NAME X.Y: the path of the interpreter behind NAME, or nothing. A name on PATH proves little (a pyenv shim can
# exist and exit 127): it must run, be the right version, be able to make environments with pip, and have the C headers
# for the one package that is built from source.
real_python() {
    "$1" - "$2" 2>/dev/null <<'PROBE'
import ensurepip, os, sys, sysconfig, venv
if sys.implementation.name != "cpython" or "%d.%d" % sys.version_info[:2] != sys.argv[1]:
    sys.exit(1)
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    sys.exit(1)
print(os.path.realpath(sys.executable))
PROBE
}

# candidates X.Y: where a Python may be, one path per line, in the order in which they are tried.
candidates() {
    local name folder root
    local IFS=:
    for name in "python$1" python3 python; do
        for folder in $PATH; do
            echo "$folder/$name"
        done
    done
    root=$(pyenv root 2>/dev/null || true)
    for folder in ${root:+"$root"/versions/*/bin}; do
        echo "$folder/python$1"
    done
}

find_python() {
    local wanted=$1 candidate
    if [ -n "${PYTHON:-}" ]; then
        real_python "$PYTHON" "$wanted" && return
        say "PYTHON=$PYTHON is not a Python $wanted with venv and headers; looking further"
    fi
    while read -r candidate; do
        if [ -x "$candidate" ] && real_python "$candidate" "$wanted"; then return; fi
    done < <(candidates "$wanted")
    if command -v uv >/dev/null 2>&1; then
        # Only uv's own interpreters: those on PATH were tried, and a broken shim there would stop uv.
        uv python install --quiet "$wanted" >/dev/null 2>&1 || true
        candidate=$(UV_PYTHON_PREFERENCE=only-managed uv python find "$wanted" 2>/dev/null || true)
        if [ -n "$candidate" ] && real_python "$candidate" "$wanted"; then return; fi
    fi
    die "found no Python $wanted with venv and headers: install python$wanted, python$wanted-venv and python$wanted-dev (or 'pyenv install $wanted', or uv), or name one with PYTHON=/path/to/python$wanted"
}

# only_one_at_a_time DIR: two set-ups of one environment wait for each other.
only_one_at_a_time() {
    command -v flock >/dev/null 2>&1 || return 0
    mkdir -p "$(dirname "$1")"
    exec 9>"$1.lock"
    flock --nonblock 9 || {
        say "another set-up of $1 is at work; waiting for it"
        flock 9
    }
}

# new_environment DIR: an empty environment; what an interrupted set-up or another lock left there goes.
new_environment() {
    local folder=$1 wanted=$2 python
    python=$(find_python "$wanted")
    say "making $folder with $python ($("$python" --version))"
    if [ -e "$folder" ] && [ ! -f "$folder/pyvenv.cfg" ] && [ -n "$(ls -A "$folder")" ]; then
        die "$folder exists and is not a virtual environment: move it away"
    fi
    rm -rf "$folder"
    "$python" -m venv "$folder"
}

# quiet_pip DIR ARGS...: pip with everything it says in DIR/setup.log; the screen sees errors only.
quiet_pip() {
    local folder=$1
    shift
    if ! "$folder/bin/python" -m pip --disable-pip-version-check --no-input "$@" >>"$folder/setup.log" 2>&1 </dev/null; then
        grep -i -m 5 '^ *error' "$folder/setup.log" >&2 || tail -n 5 "$folder/setup.log" >&2
        die "pip failed: all it said is in $folder/setup.log; the same command starts again"
    fi
}

setup_project() {
    local lock wanted venv requirements lock_sum project_sum
    lock=$(pick_lock)
    wanted=$(python_of_lock "$lock")
    venv=${HRLREC_VENV:-.venv}
    requirements=requirements/$lock.lock
    lock_sum=$(cksum <"$requirements")
    project_sum=$(cat setup.py pyproject.toml hrlrec_tf/version.py | cksum)
    # The stamps are written last: without them nothing here is trusted.
    if [ "$(cat "$venv/hrlrec-lock.stamp" 2>/dev/null)" != "$lock $lock_sum" ]; then
        command -v g++ >/dev/null 2>&1 || die "one dependency (pyfarmhash) is built from source: install a C++ compiler, for example with 'apt-get install g++'"
        new_environment "$venv" "$wanted"
        say "installing $(grep -c == "$requirements") packages from $requirements, 2 to 5 minutes (log: $venv/setup.log)"
        quiet_pip "$venv" install --upgrade "$(grep '^pip==' "$requirements")"
        quiet_pip "$venv" install -r "$requirements"
        quiet_pip "$venv" check
        echo "$lock $lock_sum" >"$venv/hrlrec-lock.stamp"
    fi
    if [ "$(cat "$venv/hrlrec-project.stamp" 2>/dev/null)" != "$project_sum" ]; then
        say "installing this checkout into $venv"
        quiet_pip "$venv" install --no-deps --no-build-isolation -e .
        echo "$project_sum" >"$venv/hrlrec-project.stamp"
    fi
}

setup_lint() {
    local venv=.venv-lint sum
    sum=$(cksum <requirements/lint.txt)
    [ "$(cat "$venv/hrlrec-lock.stamp" 2>/dev/null)" != "$sum" ] || return 0
    new_environment "$venv" "$(python_of_lock "$(pick_lock)")"
    say "installing ruff and mypy"
    quiet_pip "$venv" install -r requirements/lint.txt
    echo "$sum" >"$venv/hrlrec-lock.stamp"
}

case "${1:-}" in
--print-lock) pick_lock ;;
--print-python)
    lock=$(pick_lock)
    find_python "${2:-$(python_of_lock "$lock")}"
    ;;
lint)
    only_one_at_a_time .venv-lint
    setup_lint
    ;;
"")
    only_one_at_a_time "${HRLREC_VENV:-.venv}"
    setup_project
    ;;
*) die "unknown argument '$1'; see the head of scripts/setup.sh" ;;
esac
