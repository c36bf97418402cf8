#!/usr/bin/env bash
# Makes a target's packages a second time, from a clone of the last commit in another folder,
# and compares each byte with those that cross/package.sh made. Both have to be made from the
# same commit.
#
#     cross/reproduce.sh TARGET
#
# Called by .ci/test for one target.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/common.sh
. cross/common.sh

target=${1:?which target?}
of "$target" package >/dev/null
git diff --quiet HEAD -- cross gateway-min Cargo.toml Cargo.lock .cargo ||
    fail "what is not committed is not in a clone: commit it first"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone --quiet --no-hardlinks . "$work/another folder"
mkdir -p "$work/another folder/target/cross"
# The tools are the same.
[ ! -e "$out/zig" ] || ln -s "$out/zig" "$work/another folder/target/cross/zig"
mapfile -t made < <(env -u CARGO_TARGET_DIR "$work/another folder/cross/package.sh" "$target")
for package in "${made[@]}"; do
    name=$(basename "$package")
    cmp "$out/packages/$name" "$package" || fail "$name is not the same from another folder"
    sha256sum "$out/packages/$name"
done
echo "test result: ok. ${#made[@]} passed; 0 failed;"
