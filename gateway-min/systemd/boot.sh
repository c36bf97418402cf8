#!/usr/bin/env bash
# Boots a Debian 12 with systemd in a container and tries the unit there: ready, reload, a
# fault that is mended, the watchdog, an orderly stop, a port below 1024.
#
#   cargo build -p gateway-min && sudo gateway-min/systemd/boot.sh target/debug/gateway-min
#
# Needs root, Linux, and Debian's packages debootstrap and systemd-container. The container
# has a network of its own. What stays is the root in $ROOT (by default beside the program)
# and its two logs: the next run is short. Ends with the number of things seen, or at the
# first that was otherwise.
set -euo pipefail
program=$(realpath "${1:?the program}")
cd "$(dirname "$0")"
root=${ROOT:-$(dirname "$program")/systemd-root}

fail() {
    echo "FAILED: $*" >&2
    if [ -n "${leader:-}" ]; then
        inside journalctl --no-pager --unit gateway-min | tail -40 >&2
    fi
    exit 1
}
for tool in debootstrap systemd-nspawn nsenter openssl; do
    command -v "$tool" >/dev/null || fail "$tool is missing"
done
[ "$(id -u)" = 0 ] || fail "this takes root"

if [ ! -f "$root/made" ]; then
    [ ! -e "$root" ] || fail "$root is there, and is none that was made here to the end: remove it"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,curl,procps,openssl \
        bookworm "$root" >"$root.log" || fail "debootstrap: see $root.log"
    : >"$root/made"
fi
rm -rf "$root/etc/gateway-min" "$root/etc/systemd/system/gateway-min.service.d" "$root/var/lib/gateway-min"
install -D -m 755 "$program" "$root/usr/bin/gateway-min"
install -D -m 644 gateway-min.service "$root/lib/systemd/system/gateway-min.service"
install -D -m 644 gateway-min.sysusers "$root/usr/lib/sysusers.d/gateway-min.conf"
install -D -m 644 gateway-min.tmpfiles "$root/usr/lib/tmpfiles.d/gateway-min.conf"
sed 's/^#GATEWAY_ID=/GATEWAY_ID=/' gateway-min.default >"$root/etc/default/gateway-min"
: >"$root/etc/machine-id"

SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --directory="$root" --boot --private-network \
    --register=no --keep-unit --machine="gateway-min-$$" --console=pipe </dev/null >"$root.boot" 2>&1 &
nspawn=$!
# shellcheck disable=SC2329 # called by the trap
end() {
    kill "$nspawn" 2>/dev/null || true
    wait "$nspawn" || true
}
trap end EXIT

# until_true SECONDS COMMAND...: asks again until it is so.
until_true() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || return 1
        read -rt 0.1 <> <(:) || true
    done
}
inside() {
    nsenter --target "$leader" --mount --uts --ipc --net --pid --root --wd -- \
        env -i PATH=/usr/bin:/usr/sbin:/bin:/sbin LC_ALL=C.UTF-8 "$@"
}
seen=0
# saw WHAT COMMAND...: the command succeeds within half a minute.
saw() {
    local what=$1
    shift
    until_true 40 "$@" || fail "$what"
    seen=$((seen + 1))
    echo "seen: $what"
}
property() { inside systemctl show gateway-min --property "$1" --value; }
has() { [ "$(property "$1")" = "$2" ]; }
logged() { inside journalctl --no-pager --unit gateway-min | grep -F -- "$1"; }

# shellcheck disable=SC2329 # called by until_true
booted() { leader=$(pgrep --parent "$nspawn") && inside systemctl is-system-running --wait; }
until_true 60 booted || fail "no boot: see $root.boot"
leader=$(pgrep --parent "$nspawn")
inside systemctl --version | head -1

inside systemd-sysusers
inside systemd-tmpfiles --create gateway-min.conf
key=$(openssl genpkey -algorithm ed25519)
printf '%s\n' "$key" | openssl pkey -pubout >"$root/etc/gateway-min/keys.d/manage.pem"
chmod 644 "$root/etc/gateway-min/keys.d/manage.pem"

# Type=notify: this returns when it is ready.
inside systemctl start gateway-min
saw "active after the start" has ActiveState active
saw "its status line" has StatusText ready
saw "an answer of its health path" inside curl --fail --silent http://127.0.0.1:9090/healthcheck/ready
pid=$(property MainPID)
status=$(inside cat "/proc/$pid/status")
for line in "NoNewPrivs:.1" "Seccomp:.2" "CapBnd:.0*" "CapEff:.0*"; do
    saw "its process has $line" grep -qx "$line" <<<"$status"
done
saw "its own folder for its own eyes" [ "$(inside stat --format '%U %a' /var/lib/gateway-min)" = "gateway-min 700" ]
inside systemctl --no-pager status gateway-min | sed -n '1,12p'

echo garbage >"$root/etc/gateway-min/keys.d/zz.pem"
inside systemctl reload gateway-min
saw "a bad key in the status line" has StatusText "ready, and degraded: keys_invalid"
rm "$root/etc/gateway-min/keys.d/zz.pem"
inside systemctl reload gateway-min
saw "that it is good again" has StatusText ready
saw "the same process" has MainPID "$pid"

mkdir -p "$root/etc/systemd/system/gateway-min.service.d"
printf '[Service]\nWatchdogSec=3s\nTimeoutAbortSec=2s\nRestartSec=1s\n' \
    >"$root/etc/systemd/system/gateway-min.service.d/try.conf"
inside systemctl daemon-reload
inside systemctl restart gateway-min
pid=$(property MainPID)
inside kill -STOP "$pid"
saw "the watchdog's restart" has NRestarts 1
saw "that it serves again" has StatusText ready
saw "the reason" logged "Watchdog timeout"

inside sed -i 's/^GATEWAY_ID=/#GATEWAY_ID=/' /etc/default/gateway-min
inside systemctl restart --no-block gateway-min
saw "a start that fails" logged "GATEWAY_ID: required, and not set"
saw "another try" has SubState auto-restart
inside sed -i 's/^#GATEWAY_ID=/GATEWAY_ID=/' /etc/default/gateway-min
saw "a start by itself once the setting is there" has StatusText ready

# The drop-in of docs/operations.md.
awk '/^### A port below 1024/ { found = 1 } found && /^```/ { if (block++) exit; next } block' \
    ../docs/operations.md >"$root/etc/systemd/system/gateway-min.service.d/port.conf"
echo GATEWAY_LISTEN=127.0.0.1:443 >>"$root/etc/default/gateway-min"
inside systemctl daemon-reload
inside systemctl restart gateway-min
saw "a port below 1024" inside curl --fail --silent http://127.0.0.1:443/healthcheck/ready

inside systemctl stop gateway-min
saw "an orderly stop" has Result success
saw "its exit code" has ExecMainStatus 0
saw "its last line" logged "stopped: "
echo "$seen things were as they should be"
