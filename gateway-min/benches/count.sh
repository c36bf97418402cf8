#!/usr/bin/env bash
# Instructions a call under callgrind, by difference: 30 calls less 10, over 20. The same
# binary and input give the same count on a quiet and on a busy machine.
set -euo pipefail
cd "$(dirname "$0")"
command -v valgrind >/dev/null 2>&1 || { echo "valgrind is missing" >&2; exit 1; }
cargo build --quiet --release --bin count
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/count "$1" "$2" 2>&1 |
        awk '/Collected/ { print $NF }'
}
echo "| contender | instructions a call |"
echo "|---|---|"
for contender in verify-{ours,dalek,dalek-strict,ring,aws-lc} token-{ours,jsonwebtoken,jwt-simple,jwt-compact}; do
    few=$(count "$contender" 10)
    many=$(count "$contender" 30)
    echo "| $contender | $(((many - few) / 20)) |"
done
