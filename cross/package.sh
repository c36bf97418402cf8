#!/usr/bin/env bash
# Makes the packages of some targets, or of all: a Debian package and a tarball each, the
# same bytes from the same commit with the same tools.
#
#     cross/package.sh [--install] [TARGET…]
#
# The program in them is the gateway with TLS. Prints the path of each. --install is
# build.sh's. The board tests and people take them from target/cross/packages.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/common.sh
. cross/common.sh

install=()
wanted=()
for argument; do
    case $argument in
    --install) install=(--install) ;;
    -*) fail "no option $argument: see the head of cross/package.sh" ;;
    *) wanted+=("$argument") ;;
    esac
done
[ ${#wanted[@]} -gt 0 ] || mapfile -t wanted < <(targets)

version=$(version)
SOURCE_DATE_EPOCH=$(commit_secs)
export SOURCE_DATE_EPOCH
packages=$out/packages
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$packages"
# Modes are what is said here, whatever the umask.
umask 022
sed -n "1s/^gateway-min ($version).*/ok/p" cross/debian/changelog | grep -q ok ||
    fail "cross/debian/changelog begins with another version than $version"

for target in "${wanted[@]}"; do
    program=$(cross/build.sh "${install[@]}" --features tls "$target")
    tree=$work/$target/gateway-min-$version-$target
    install -D -m 755 "$program" "$tree/usr/bin/gateway-min"
    units=gateway-min/systemd/gateway-min
    install -D -m 644 $units.service "$tree/lib/systemd/system/gateway-min.service"
    install -D -m 644 $units.sysusers "$tree/usr/lib/sysusers.d/gateway-min.conf"
    install -D -m 644 $units.tmpfiles "$tree/usr/lib/tmpfiles.d/gateway-min.conf"
    install -D -m 644 $units.default "$tree/etc/default/gateway-min"
    doc=$tree/usr/share/doc/gateway-min
    mkdir -p "$doc"
    cross/licences.sh "$target" --features tls >"$doc/copyright"
    gzip -9n <cross/debian/changelog >"$doc/changelog.gz"
    sed -e "s/@VERSION@/$version/; s/@TARGET@/$target/" -e "s|@BOARDS@|$(of "$target" boards)|" \
        cross/INSTALL >"$tree/INSTALL"
    find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    tarball=$packages/gateway-min-$version-$target.tar.gz
    tar --create --directory "$work/$target" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu \
        --file - "gateway-min-$version-$target" | gzip -9n >"$tarball"

    rm "$tree/INSTALL"
    mkdir -p "$tree/DEBIAN" "$tree/etc/gateway-min/keys.d"
    # Both are armhf to dpkg; the versions keep them apart.
    debian=$version
    case $target in arm-*) debian=$version+armv6 ;; esac
    package=$(of "$target" package)
    cat >"$tree/DEBIAN/control" <<CONTROL
Package: gateway-min
Version: $debian
Architecture: $package
Maintainer: The site gateway contributors <gateway-min@localhost>
Installed-Size: $(du --apparent-size -k -s --exclude=DEBIAN "$tree" | cut -f1)
Depends: procps, systemd (>= 252) | systemd-standalone-sysusers, systemd (>= 252) | systemd-standalone-tmpfiles
Section: net
Priority: optional
Description: small gateway for signed messages of a hospital site
 Takes messages that a web app on the internet signed and a browser carried, checks each
 with public keys alone, keeps it once, logs it, and says what became of it.
 .
 This package is for: $(of "$target" boards).
CONTROL
    echo /etc/default/gateway-min >"$tree/DEBIAN/conffiles"
    (cd "$tree" && find . -type f -not -path './DEBIAN/*' -printf '%P\n' | sort | xargs md5sum >DEBIAN/md5sums)
    for script in preinst postinst prerm postrm; do
        sed "s/@TARGET@/$target/" "cross/debian/$script" >"$tree/DEBIAN/$script"
        chmod 755 "$tree/DEBIAN/$script"
    done
    find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    deb=$packages/gateway-min_${debian}_$package.deb
    dpkg-deb --root-owner-group -Zxz --build "$tree" "$deb" >/dev/null
    printf '%s\n' "$deb" "$tarball"
done
