#!/usr/bin/env bash
# Brings what the emulated board boots: Debian's own armhf kernel, the modules that it
# needs in the order that they are loaded, and busybox. Kept under the target folder and
# brought once. Prints the folder. The board tests read it; nothing of it is shipped.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/common.sh
. cross/common.sh

modules=(failover net_failover virtio_mmio virtio_net virtio_blk crc32c_generic libcrc32c crc16 mbcache jbd2 ext4)
kernel=$out/kernel
if [ ! -f "$kernel/complete" ]; then
    work=$out/kernel.new
    rm -rf "$work" "$kernel"
    mkdir -p "$work/packages" "$work/modules"
    image=$(apt-cache depends linux-image-armmp:armhf | awk '/Depends: linux-image/ { print $2; exit }')
    [ -n "$image" ] || fail "apt knows no armhf kernel: dpkg --add-architecture armhf && apt-get update"
    (cd "$work/packages" && apt-get -qq download "$image" busybox-static:armhf >&2)
    for package in "$work"/packages/*.deb; do
        dpkg-deb -x "$package" "$work/tree"
    done
    cp "$work"/tree/boot/vmlinuz-* "$work/vmlinuz"
    cp "$work/tree/bin/busybox" "$work/busybox"
    number=10
    for module in "${modules[@]}"; do
        file=$(find "$work/tree/lib/modules" -name "$module.ko")
        [ -n "$file" ] || fail "$image has no module $module"
        cp "$file" "$work/modules/$number-$module.ko"
        number=$((number + 1))
    done
    printf '%s\n' "${image%:*}" >"$work/complete"
    rm -rf "$work/tree" "$work/packages"
    mv "$work" "$kernel"
fi
printf '%s\n' "$kernel"
