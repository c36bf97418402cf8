#!/usr/bin/env bash
# Prints the licences of everything in a target's program, each text once: the gateway, the
# crates of its tree, Rust's standard library, the C library.
#
#     cross/licences.sh TARGET [--features LIST]
#
# Names the crates that come without a text. cross/package.sh puts what it prints into
# every package.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/common.sh
. cross/common.sh

target=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/texts"

cat <<TEXT
gateway-min is under the MIT licence. What it is built from:

TEXT
# Crates by name, version, licence and the folder of their source.
cargo metadata --locked --format-version 1 --filter-platform "$target" --manifest-path gateway-min/Cargo.toml "$@" |
    python3 -c '
import json, os, sys
for package in json.load(sys.stdin)["packages"]:
    folder = os.path.dirname(package["manifest_path"])
    print(package["name"], package["version"], folder, package["license"] or "-", sep="\t")
' >"$work/all"
cargo tree --locked --package gateway-min --edges normal --target "$target" --prefix none --format '{p}' "$@" |
    awk '{ sub(/^v/, "", $2); print $1 "\t" $2 }' | sort -u >"$work/tree"
while IFS=$'\t' read -r name version; do
    line=$(awk -F '\t' -v name="$name" -v version="$version" '$1 == name && $2 == version' "$work/all")
    IFS=$'\t' read -r _ _ folder licence <<<"$line"
    printf '%-22s %-10s %s\n' "$name" "$version" "$licence"
    [ "$name" != gateway-min ] || folder=$root
    found=no
    for text in "$folder"/LICEN[SC]E* "$folder"/COPYING* "$folder"/COPYRIGHT* "$folder"/UNLICENSE*; do
        [ -f "$text" ] || continue
        found=yes
        sum=$(sha256sum <"$text" | cut -c1-64)
        cp "$text" "$work/texts/$sum"
        printf '%s %s\n' "$name" "$version" >>"$work/texts/$sum.of"
    done
    [ $found = yes ] || printf '%s %s (%s)\n' "$name" "$version" "$licence" >>"$work/without"
done <"$work/tree"
cat <<TEXT
Rust standard library             MIT OR Apache-2.0
musl libc                         MIT, Copyright (c) 2005-2020 Rich Felker, et al.
TEXT
case $(of "$target" compiler) in
gcc:*) echo "libgcc                            GPL-3.0-or-later WITH GCC-exception-3.1" ;;
zig:*) echo "libunwind, compiler-rt (LLVM, Zig) Apache-2.0 WITH LLVM-exception; MIT" ;;
esac
if [ -s "$work/without" ]; then
    printf '\nThese crates come without a text of their own; their licences are as named above:\n\n'
    sed 's/^/  /' "$work/without"
fi
for text in "$work"/texts/*.of; do
    printf '\n--------------------------------------------------------------------------\n'
    sort -u "$text"
    printf '\n'
    cat "${text%.of}"
done
