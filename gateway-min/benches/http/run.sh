#!/usr/bin/env bash
# Cost and speed of `POST /do` beside HAProxy's `jwt_verify`, over loopback with wrk.
#
#   gateway-min/benches/http/run.sh            everything: some five minutes
#   gateway-min/benches/http/run.sh journal FOLDER    accepted messages, journal in FOLDER
#
# The server has one core and wrk the other. Contenders take turns, each turn on a server
# of its own, and every count that wrk gives is compared with the server's. ROUNDS, SECS
# and MESSAGES change the size.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-5} secs=${SECS:-3} messages=${MESSAGES:-120000}
# The most that a gateway remembers.
capacity=262144

fail() {
    echo "$*" >&2
    exit 1
}
[ "$(uname)" = Linux ] || fail "CPU time is read from /proc: this needs Linux"
missing=()
for tool in cargo wrk haproxy taskset curl; do
    command -v "$tool" >/dev/null 2>&1 || missing+=("$tool")
done
[ ${#missing[@]} = 0 ] || fail "missing: ${missing[*]} (Debian: apt-get install wrk haproxy util-linux curl)"
[ "$(nproc)" -ge 2 ] || fail "this needs two cores"
[ "$messages" -le "$capacity" ] || fail "MESSAGES: a gateway remembers $capacity at most"

target=${CARGO_TARGET_DIR:-}
cargo build --quiet --release --locked --manifest-path ../../Cargo.toml --package gateway-min
cargo build --quiet --release --locked --bin http
gateway=${target:-../../target}/release/gateway-min
tool=${target:-target}/release/http

work=$(mktemp -d)
server='' journal=''
end_server() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
# shellcheck disable=SC2317 # called by the trap
tidy() {
    end_server
    rm -rf "$work" ${journal:+"$journal"}
}
trap tidy EXIT
chmod 700 "$work"
ticks=$(getconf CLK_TCK)

start_gateway() {
    # There before it is looked into.
    : >"$work/log"
    taskset -c 0 env -i GATEWAY_LISTEN=127.0.0.1:0 GATEWAY_ID=screening-gateway \
        GATEWAY_ISSUER=http://localhost:8080 JWT_PUBLIC_KEY="$work/eddsa.jwk" GATEWAY_PER_ADDRESS=64 \
        GATEWAY_REPLAY_CAPACITY=$capacity "$@" "$gateway" >/dev/null 2>"$work/log" &
    server=$!
    address=
    for _ in $(seq 1000); do
        address=$(sed -n 's/.*listening on //p' "$work/log")
        [ -z "$address" ] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.01
    done
    fail "the gateway did not start: $(cat "$work/log")"
}

start_haproxy() {
    local port
    port=$("$tool" port)
    address=127.0.0.1:$port
    PORT=$port PUBLIC_KEY=$work/es256.pem taskset -c 0 haproxy -db -q -f http/haproxy.cfg 2>"$work/log" &
    server=$!
    for _ in $(seq 1000); do
        [ "$(curl -s -o /dev/null -w '%{http_code}' "http://$address/")" != 405 ] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.01
    done
    fail "HAProxy did not start: $(cat "$work/log")"
}

# User and system time of the server, in microseconds. Its name has no space.
cpu() {
    awk -v ticks="$ticks" '{ printf "%d", ($14 + $15) * 1e6 / ticks }' "/proc/$server/stat"
}

metric() {
    curl -sf "http://$address/metrics" | awk -v name="$1" '$1 == name { print $2 }'
}

# load CONNECTIONS ARGUMENTS…: sets answers, refused, p50, p99, most, rate, and cost, the
# server's CPU microseconds an answer.
load() {
    local connections=$1 before after errors duration
    shift
    before=$(cpu)
    taskset -c 1 wrk -t1 -c"$connections" -d"${secs}s" -s http/load.lua "http://$address" -- "$@" >"$work/wrk" 2>&1 ||
        fail "wrk: $(cat "$work/wrk")"
    after=$(cpu)
    read -r answers refused errors p50 p99 most duration < <(sed -n 's/^result //p' "$work/wrk") ||
        fail "wrk: $(cat "$work/wrk")"
    [ "$errors" = 0 ] || fail "$errors socket errors: $(cat "$work/wrk")"
    cost=$(awk -v cpu=$((after - before)) -v n="$answers" 'BEGIN { printf "%.1f", cpu / n }')
    rate=$(awk -v n="$answers" -v secs="$duration" 'BEGIN { printf "%.0f", n / secs }')
}

# That what was measured is what was meant: `wrk` reports the answers that it read; up to
# one more for each connection may have been under way when it ended.
is_about() {
    if [ "$2" -lt "$answers" ] || [ "$2" -gt $((answers + connections)) ]; then
        fail "$1: $2 by the gateway's count, $answers by wrk's"
    fi
}

# turn SERVER HOW: one turn of it, a line of the results.
turn() {
    case $1 in
        gateway) start_gateway && load "$connections" gateway "$2" "$work/eddsa.txt" ;;
        haproxy) start_haproxy && load "$connections" haproxy "$2" "$work/es256.txt" ;;
    esac
    case $1-$2 in
        gateway-distinct) is_about accepted "$(metric 'gateway_messages_total{outcome="accepted"}')" ;;
        # All but the first.
        gateway-same) is_about duplicates $(($(metric 'gateway_messages_total{outcome="duplicate"}') + 1)) ;;
        gateway-forged) is_about forged "$(metric 'gateway_refusals_total{code="bad_signature"}')" ;;
    esac
    case $2 in
        forged) [ "$refused" = "$answers" ] || fail "$1 took forged messages" ;;
        *) [ "$refused" = 0 ] || fail "$1 refused $refused good messages of $answers" ;;
    esac
    end_server
    echo "$1 $2 $connections $cost $rate $p50 $p99 $most" >>"$work/turns"
}

# Medians of the turns of SERVER, HOW and CONNECTIONS, one for each column from the fourth.
medians() {
    local column
    for column in 4 5 6 7 8; do
        awk -v a="$1" -v b="$2" -v c="$3" -v column=$column '$1 == a && $2 == b && $3 == c { print $column }' "$work/turns" |
            sort -g | awk '{ all[NR] = $1 } END { printf "%s ", all[int((NR + 1) / 2)] }'
    done
    echo
}

echo "$(date -u +%Y-%m-%dT%H:%MZ), load $(cut -d' ' -f1-3 /proc/loadavg), $(haproxy -v | head -1 | cut -d' ' -f1-3), $rounds rounds of $secs s"
"$tool" messages "$messages" "$work"

if [ "${1:-}" = journal ]; then
    folder=${2:?the folder for the journal}
    echo
    echo "| journal | connections | CPU µs an answer | answers a second | median µs | 99 % µs | most µs |"
    echo "|---|---|---|---|---|---|---|"
    for connections in 1 8 64; do
        for _ in $(seq "$rounds"); do
            journal=$(mktemp -d "$folder/journal.XXXXXX")
            start_gateway GATEWAY_JOURNAL="$journal" GATEWAY_JOURNAL_MAX_MB=1024
            load "$connections" gateway distinct "$work/eddsa.txt"
            is_about accepted "$(metric 'gateway_messages_total{outcome="accepted"}')"
            [ "$refused" = 0 ] || fail "$refused good messages of $answers refused"
            end_server
            rm -rf "$journal"
            echo "journal distinct $connections $cost $rate $p50 $p99 $most" >>"$work/turns"
        done
        read -r cost rate p50 p99 most < <(medians journal distinct "$connections")
        echo "| $(stat -f -c %T "$folder") | $connections | $cost | $rate | $p50 | $p99 | $most |"
    done
    exit 0
fi

connections=8
for _ in $(seq "$rounds"); do
    "$tool" verification 20000 >>"$work/verifications"
    for connections in 8 1; do
        turn gateway distinct
        turn haproxy distinct
    done
    connections=8
    for how in same forged; do
        turn gateway $how
        turn haproxy $how
    done
done
verification=$(sort -g "$work/verifications" | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }')
echo
echo "| messages | connections | server | CPU µs an answer | answers a second | median µs | 99 % µs | most µs |"
echo "|---|---|---|---|---|---|---|---|"
while read -r how connections; do
    for name in gateway haproxy; do
        read -r cost rate p50 p99 most < <(medians $name "$how" "$connections")
        echo "| $how | $connections | $name | $cost | $rate | $p50 | $p99 | $most |"
    done
done <<<"distinct 8
distinct 1
same 8
forged 8"

read -r ours rate _ < <(medians gateway distinct 8)
read -r theirs _ < <(medians haproxy distinct 8)
read -r _ _ median _ < <(medians gateway distinct 1)
echo
awk -v ours="$ours" -v theirs="$theirs" -v verification="$verification" -v median="$median" '
    function say(what, is, budget) {
        printf "| %s | %.2f | %.2f | %s |\n", what, is, budget, is <= budget ? "met" : "missed"
    }
    BEGIN {
        print "One verification: " verification " µs of CPU.\n"
        print "| what | measured | budget | |"
        print "|---|---|---|---|"
        say("CPU µs an accepted message beyond verification", ours - verification, 15)
        say("CPU an accepted message ÷ HAProxy", ours / theirs, 0.45)
        say("median µs of an answer beyond verification, one connection", median - verification, 100)
    }'

echo
echo "| GET | bytes | connections | median µs | 99 % µs | most µs | |"
echo "|---|---|---|---|---|---|---|"
start_gateway
for path in / /healthcheck/live /healthcheck/ready /metrics /nowhere; do
    bytes=$(curl -s -o /dev/null -w '%{size_download}' "http://$address$path")
    for connections in 1 8; do
        load $connections get $path
        [ "$path" = /nowhere ] || [ "$refused" = 0 ] || fail "$path: $refused of $answers refused"
        echo "| $path | $bytes | $connections | $p50 | $p99 | $most | $([ "$p99" -lt 40000 ] && echo "no stall" || echo "stalls") |"
    done
done
end_server

echo
"$tool" starts 20 "$gateway" "$work/eddsa.jwk" | sort -g |
    awk '{ all[NR] = $1 } END { printf "20 starts, process to first answer: median %.1f ms, slowest %.1f ms (budget 50)\n", (all[10] + all[11]) / 2, all[20] }'
echo "load at the end $(cut -d' ' -f1-3 /proc/loadavg)"
