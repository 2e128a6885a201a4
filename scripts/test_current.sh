#!/usr/bin/env bash
# Runs pytest on the `current` dependency set: test_current.sh [PYTEST ARGUMENTS...]
#
# Natively where that set fits the machine (glibc 2.39 and newer). Elsewhere as root inside a Debian 13 root that
# debootstrap makes in build/trixie-root (about 6 GB with the packages; later runs reuse it). All mounts live in a mount
# namespace of this command, so that they are gone when it ends, however it ends.
#
# PYTHON         a Python 3.11 to try first
# DEBIAN_MIRROR  where debootstrap fetches from
set -euo pipefail
cd "$(dirname "$0")/.."

REPO=$PWD
ROOT=$REPO/build/trixie-root
INSIDE=/project/$(basename "$REPO") # the checkout, inside the root
VENV=/opt/hrlrec/venv               # its environment, inside the root
# What a copied Python and the one source build need.
PACKAGES=ca-certificates,g++,libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8t64,libsqlite3-0,libssl3t64,libuuid1,zlib1g

say() { printf 'test-current: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

run_natively() {
    scripts/setup.sh
    exec .venv/bin/python -m pytest "$@"
}

make_root() {
    [ ! -d "$ROOT" ] || return 0
    say "making a Debian 13 root in build/trixie-root (about a minute; log: build/trixie-root.log)"
    rm -rf "$ROOT.partial"
    mkdir -p "$ROOT.partial"
    # shellcheck disable=SC2086 # an unset mirror must be no argument at all
    debootstrap --variant=minbase --include="$PACKAGES" trixie "$ROOT.partial" ${DEBIAN_MIRROR:-} \
        >"$ROOT.log" 2>&1 </dev/null || die "debootstrap failed, see build/trixie-root.log; behind a mirror set DEBIAN_MIRROR=URL"
    mv "$ROOT.partial" "$ROOT"
}

# What to copy of a Python: its whole prefix, or of one that shares /usr with the system only its own parts.
python_parts() {
    "$1" - <<'PARTS'
import os, sys, sysconfig
parts = [sys.base_prefix]
if sys.base_prefix in ("/usr", "/usr/local"):
    names = ("stdlib", "platstdlib", "include", "platinclude")
    library = os.path.join(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LDLIBRARY"))
    parts = [os.path.realpath(sys.executable), library, "/usr/share/python-wheels", *map(sysconfig.get_path, names)]
    parts += [os.path.realpath(library), sysconfig.get_config_h_filename()]
print("\n".join(sorted({part.lstrip("/") for part in parts if os.path.exists(part)})))
PARTS
}

copy_python() {
    local python=$1
    [ "$(cat "$ROOT/opt/hrlrec/python.stamp" 2>/dev/null)" != "$python" ] || return 0
    say "copying $python into it"
    python_parts "$python" | tar -C / -cf - --exclude=__pycache__ --exclude=site-packages --verbatim-files-from -T - | tar -C "$ROOT" -xf - --keep-directory-symlink
    chroot "$ROOT" "$python" -c "import bz2, ctypes, lzma, readline, sqlite3, ssl, zlib" ||
        die "$python does not run inside Debian 13: name a self-contained one with PYTHON=PATH (for example from 'uv python install 3.11')"
    mkdir -p "$ROOT/opt/hrlrec"
    echo "$python" >"$ROOT/opt/hrlrec/python.stamp"
}

# bind PATH TARGET [ro]: PATH of this machine at TARGET inside the root.
bind() {
    local source=$1 target=$ROOT$2
    if [ -d "$source" ]; then mkdir -p "$target"; else mkdir -p "$(dirname "$target")" && touch "$target"; fi
    mount --bind "$source" "$target"
    [ "${3:-}" != ro ] || mount -o remount,bind,ro "$target"
}

pip_files() {
    local file
    for file in "${PIP_CONFIG_FILE:-}" /etc/xdg/pip/pip.conf /etc/pip.conf "$HOME/.pip/pip.conf" "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf"; do
        if [ -f "$file" ]; then echo "$file"; fi
    done
}

# Every file, folder and local index that pip's configuration or the environment names, certificates included.
pip_places() {
    local word
    {
        pip_files | while read -r file; do sed -n 's/^[^#;=]*=//p; s/^[[:space:]]\{1,\}//p' "$file"; done
        env | sed -n 's/^PIP_[A-Z_]*=//p; s/^SSL_CERT_[A-Z]*=//p; s/^REQUESTS_CA_BUNDLE=//p; s/^CURL_CA_BUNDLE=//p'
    } | tr -s ' \t' '\n' | while read -r word; do
        case $word in
        # An index page may link to files beside its folder.
        file:///*) word=$(dirname "${word#file://}") ;;
        /*) ;;
        *) continue ;;
        esac
        if [ -e "$word" ] && [ "$word" != / ]; then echo "$word"; fi
    done | sort -u
}

# The network's names, pip's configuration and the certificates of this machine, read-only.
share_configuration() {
    local place
    cp -L /etc/resolv.conf "$ROOT/etc/resolv.conf"
    cp -L /etc/hosts "$ROOT/etc/hosts"
    { pip_files; pip_places; echo /etc/ssl/certs; } | sort -u | while read -r place; do
        # A place inside an earlier one is there already.
        if [ -e "$place" ] && ! [ "$place" -ef "$ROOT$place" ]; then bind "$place" "$place" ro; fi
    done
}

mount_all() {
    bind "$REPO" "$INSIDE"
    if [ -d "$REPO/../shared/data" ]; then bind "$REPO/../shared/data" "${INSIDE%/*}/shared/data" ro; fi
    share_configuration
    mount --rbind /proc "$ROOT/proc"
    mount --rbind /dev "$ROOT/dev"
}

inside() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    chroot "$ROOT" /usr/bin/env HRLREC_VENV="$VENV" PYTHON="$python" PYTHONDONTWRITEBYTECODE=1 TMPDIR=/tmp \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        /bin/bash -c 'cd "$1" && shift && exec "$@"' - "$INSIDE" "$@"
}

lock=$(scripts/setup.sh --print-lock)
[ "$lock" != current ] || run_natively "$@"
[ "$(id -u)" = 0 ] || die "this machine's glibc is older than 2.39, so the tests run inside a Debian 13 root, which only root can make: sudo make test-current"
command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
if [ -z "${HRLREC_IN_NAMESPACE:-}" ]; then
    HRLREC_IN_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
fi

python=$(scripts/setup.sh --print-python 3.11)
make_root
copy_python "$python"
mount_all
inside scripts/setup.sh
inside "$VENV/bin/python" -m pytest -p no:cacheprovider "$@"
