#!/usr/bin/env bash
# Sizes of the gateway's programs, and memory on the emulated board.
#
#     cross/sizes.sh           prints cross/sizes.md, which takes an hour: every target with
#                              every set of features, what the room goes to, and the board
#                              after 100,000 requests (packages and kernel have to be there)
#     cross/sizes.sh --check   fails where a program of ARMv7 is larger than its budget
#
# Called by .ci/test, with --check, behind cross/package.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/common.sh
. cross/common.sh

# What design and README promise of ARMv7, in bytes: 450 KB for intake alone, 1.6 MB for
# everything.
declare -A budget=([intake]=460800 [everything]=1677721)
declare -A features=(
    [intake]="--no-default-features --features daemon,tables"
    [default]=""
    [everything]="--features tls"
)
armv7="armv7-unknown-linux-musleabihf"

# size_of TARGET SET: bytes of the stripped program.
size_of() {
    # shellcheck disable=SC2086
    stat -c %s "$(cross/build.sh ${features[$2]} "$1" 2>/dev/null)"
}

if [ "${1:-}" = --check ]; then
    for set in intake everything; do
        size=$(size_of $armv7 $set)
        echo "$armv7, $set: $size bytes of ${budget[$set]}"
        [ "$size" -le "${budget[$set]}" ] || fail "larger than its budget by $((size - budget[$set])) bytes"
    done
    echo "test result: ok. 2 passed; 0 failed;"
    exit
fi

# What a build without stripping says of functions, as "crate bytes" lines and names.
symbols() {
    local program
    # shellcheck disable=SC2086
    program=$(CARGO_PROFILE_RELEASE_STRIP=none cross/build.sh ${features[$1]} $armv7 2>/dev/null)
    nm --print-size --size-sort --radix=d --demangle=rust "$program" | awk '$3 ~ /^[tTrRdDbBwW]$/'
}
# The crate that a demangled name begins with, behind the brackets of an implementation.
by_crate() {
    awk '{
        bytes = $2 + 0
        name = $0
        sub(/^[0-9]+ [0-9]+ . /, "", name)
        gsub(/^[<&*]+|^(mut|dyn) /, "", name)
        sub(/^.* as /, "", name)
        crate = name ~ /^[a-z_0-9]+(\[[0-9a-f]+\])?::/ ? name : "C and assembly"
        sub(/(\[[0-9a-f]+\])?::.*/, "", crate)
        sum[crate] += bytes
    }
    END { for (crate in sum) print sum[crate], crate }' | sort -rn
}

cat <<TEXT
# Sizes and memory

Printed by \`cross/sizes.sh\` on $(date -u +%Y-%m-%d), version $(version), from commit $(git log -1 --format=%h), with
$(/usr/bin/rustc --version 2>/dev/null || rustc --version). The board is qemu $(qemu-system-arm --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p') (\`-M virt -cpu cortex-a7 -m 128 -smp 1\`) with Debian's armmp
kernel, on a shared x86-64 machine with 2 cores: sizes and memory are exact, times are rough.

## Programs, in bytes

*Intake* takes messages and keeps them in the log alone (\`--no-default-features --features daemon,tables\`).
*Default* has the journal and delivery too. *Everything* has TLS as well, and is what the packages have.

| target | intake | default | everything |
|---|---|---|---|
TEXT
while read -r target; do
    row="| \`$target\` |"
    for set in intake default everything; do
        row="$row $(size_of "$target" $set) |"
    done
    printf '%s\n' "$row"
done < <(targets)
cat <<TEXT

Budgets of ARMv7: intake ${budget[intake]}, everything ${budget[everything]} (\`cross/sizes.sh --check\`, in \`.ci/test\`).

## What the room goes to

By \`nm --size-sort\` on ARMv7's program, not stripped; a function that was inlined counts for
the one that it is in, and constants without a name for nobody.
TEXT
for set in intake everything; do
    symbols $set >"$out/symbols"
    printf '\n### %s: crates\n\n| bytes | crate |\n|---|---|\n' "${set^}"
    by_crate <"$out/symbols" | awk 'NR <= 16 { bytes = $1; $1 = ""; print "| " bytes " |" $0 " |" }'
    printf '\n### %s: largest functions and constants\n\n| bytes | name |\n|---|---|\n' "${set^}"
    sort -k2,2nr "$out/symbols" |
        awk 'NR <= 16 { bytes = $2 + 0; $1 = $2 = $3 = ""; sub(/^ +/, ""); print "| " bytes " | `" substr($0, 1, 90) "` |" }'
done
rm "$out/symbols"
cat <<TEXT

## Memory on the board

The armhf package with its own settings: the journal on (in the board's memory here), TLS not
set up. Budgets: 1,536 KiB idle, 2,560 after 100,000 requests, 5,120 after all 64 slots were used
(\`tests/machine.rs\`, with 10,000 requests).

TEXT
cargo run --quiet --release --locked --package board -- memory 100000
