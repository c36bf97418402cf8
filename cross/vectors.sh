#!/usr/bin/env bash
# Runs the judging core's tests on targets, under the emulators of their least processors:
# Wycheproof's vectors, the refusals, other libraries' tokens, keys, and random tokens
# against a second verifier. The same tests as on the host, compiled as the program is but
# for link-time optimization, which would take minutes for each, and with the assertions
# that the tests need.
#
#     cross/vectors.sh [TARGET…]
#
# Called by .ci/test.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/common.sh
. cross/common.sh
# shellcheck source=cross/toolchain.sh
. cross/toolchain.sh

wanted=("$@")
[ ${#wanted[@]} -gt 0 ] || mapfile -t wanted < <(targets)
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true
for target in "${wanted[@]}"; do
    use_toolchain "$target"
    # Beside the program's, which it would otherwise replace.
    export CARGO_TARGET_DIR=$out/vectors
    upper=$(printf %s "$target" | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${upper}_RUNNER=$(of "$target" emulator) -cpu $(of "$target" cpu)"
    echo "$target:"
    cross_cargo test --release --no-fail-fast --package gateway-min \
        --lib --test differential --test interop --test keys --test refusals
done
