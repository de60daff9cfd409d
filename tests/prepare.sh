# Sourced by tests/run, tests/demo and tests/bench: the workspace's root, the build folder, the Debian packages.
# shellcheck shell=bash
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Outside the checkout: RocksDB alone compiles for a quarter of an hour on two cores, so its build outlives a clone.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/forebay/target}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"

PACKAGES=(
    build-essential pkg-config protobuf-compiler clang libclang-dev libslurm-dev        # to build
    slurmctld slurmd slurm-client munge fuse3 iproute2                # to run Slurm and mounts in namespaces
    git python3 python3-venv sqlite3 fio attr acl lua5.3 rsync make postgresql  # what the tests run on a mount
)

step() { printf '\n== %s\n' "$*" >&2; }
fail() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

# Installs what is missing, and asks the network for nothing when nothing is.
install_packages() {
    local package missing=()
    command -v dpkg-query >/dev/null || fail "this needs Debian 12 or a system with its package tools"
    for package in "${PACKAGES[@]}"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ "${#missing[@]}" -eq 0 ] && return 0
    [ "$(id -u)" = 0 ] || fail "not installed: ${missing[*]}; run this as root, or apt-get install them"
    step "install ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q -o DPkg::Lock::Timeout=300 update >&2
    apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}" >&2
}

need_root() { [ "$(id -u)" = 0 ] || fail "needs root: it makes namespaces and mounts of its own (and changes nothing outside them)"; }

# Runs program $1 of the tests crate with the other arguments, after building everything.
build_and_exec() {
    local program=$1
    shift
    need_root
    install_packages
    step "build"
    cargo build --workspace
    [ -x "$CARGO_TARGET_DIR/debug/$program" ] || fail "the workspace builds no $program: tests/src/bin/$program.rs is missing"
    exec "$CARGO_TARGET_DIR/debug/$program" "$@"
}
