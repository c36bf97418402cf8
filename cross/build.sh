#!/usr/bin/env bash
# Builds the gateway for a board: one static file, the same bytes from the same commit
# with the same tools, wherever the folder lies.
#
#     cross/build.sh [--install] [--features LIST] [--no-default-features] TARGET…
#
# With rustup's library of the target where it is installed (rustup target add TARGET);
# else with Debian's compiler, which builds the standard library too. --install brings
# what that needs, through apt-get and, for zig, pip. Prints the path of each program.
# Called by people and by cross/package.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/common.sh
. cross/common.sh
# shellcheck source=cross/toolchain.sh
. cross/toolchain.sh

install=no
features=()
wanted=()
while [ $# -gt 0 ]; do
    case $1 in
    --install) install=yes ;;
    --features) features+=(--features "${2:?--features needs a list}") && shift ;;
    --no-default-features) features+=(--no-default-features) ;;
    -*) fail "no option $1: see the head of cross/build.sh" ;;
    *) wanted+=("$1") ;;
    esac
    shift
done
[ ${#wanted[@]} -gt 0 ] || fail "which target? cross/targets has: $(targets | xargs)"

for target in "${wanted[@]}"; do
    [ "$install" = no ] || install_toolchain "$target"
    use_toolchain "$target"
    cross_cargo build --release --package gateway-min "${features[@]}" >&2
    printf '%s\n' "$out/$target/release/gateway-min"
done
