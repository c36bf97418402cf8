#!/usr/bin/env bash
# Installs, upgrades, removes and purges the amd64 package in a clean Debian 12, as a site
# would, and checks what is there after each. Needs root (chroot), debootstrap and the
# package (cross/package.sh x86_64-unknown-linux-musl). The clean Debian is made once, under
# the target folder; each run works on a copy. Called by .ci/test.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=cross/common.sh
. cross/common.sh

[ "$(id -u)" = 0 ] || fail "cross/install-test.sh needs root, for chroot"
[ "$(dpkg --print-architecture)" = amd64 ] || fail "cross/install-test.sh installs the amd64 package: it needs an amd64 machine"
version=$(version)
package=$out/packages/gateway-min_${version}_amd64.deb
[ -f "$package" ] || fail "$package is missing: cross/package.sh x86_64-unknown-linux-musl"

clean=$out/debian-12.tar
if [ ! -f "$clean" ]; then
    made=$(mktemp -d)
    debootstrap --variant=minbase --include=systemd,procps bookworm "$made" >&2
    tar --create --one-file-system --numeric-owner --directory "$made" --file "$clean.new" .
    mv "$clean.new" "$clean"
    rm -rf "$made"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debian=$work/root
mkdir "$debian"
tar --extract --numeric-owner --directory "$debian" --file "$clean"
# Temporary folders are their owner's alone; a root is everybody's.
chmod 755 "$debian"

passed=0
# check WHAT COMMAND…: one thing that has to be so.
check() {
    local what=$1
    shift
    "$@" || fail "$what: not so ($*)"
    echo "  $what"
    passed=$((passed + 1))
}
# within COMMAND…: in the Debian, with no variable of ours, and with /proc for as long as it
# takes: it is mounted for this command alone.
within() {
    # shellcheck disable=SC2016
    unshare --mount env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive \
        sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$debian" "$@"
}
is() {
    [ "$(within stat -c '%U:%G %a' "$1")" = "$2" ]
}
absent() {
    [ ! -e "$debian$1" ]
}
same() {
    cmp -s "$debian$1" "$2"
}
# The gateway's own verdict on its settings, as its user, by the unit's EnvironmentFile.
settings_say() {
    local status=0
    within sh -c 'set -a; . /etc/default/gateway-min; exec setpriv --reuid gateway-min --regid gateway-min --clear-groups gateway-min --check' \
        >"$work/said" 2>&1 || status=$?
    if [ "$status" != "$1" ] || ! grep -q "$2" "$work/said"; then
        cat "$work/said" >&2
        return 1
    fi
}
files() {
    (cd "$debian" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./run -o -path ./tmp -o -path ./var/lib/dpkg -o -path ./var/log \
        -o -path ./var/cache \) -prune -o -printf '%p\n' | sort)
}

# The next version: the same program, other settings as shipped.
next=$work/gateway-min-next.deb
dpkg-deb -R "$package" "$work/next"
sed -i "s/^Version: .*/Version: $version+next/" "$work/next/DEBIAN/control"
echo "# A line that the next version has." >>"$work/next/etc/default/gateway-min"
printf next >>"$work/next/usr/bin/gateway-min"
(cd "$work/next" && find . -type f -not -path './DEBIAN/*' -printf '%P\n' | sort | xargs md5sum >DEBIAN/md5sums)
dpkg-deb --root-owner-group -Zgzip --build "$work/next" "$next" >/dev/null
cp "$package" "$debian/tmp/now.deb"
cp "$next" "$debian/tmp/next.deb"
files >"$work/before"

echo "installing:"
within dpkg -i /tmp/now.deb >"$work/log" 2>&1 || { cat "$work/log" && fail "dpkg could not install it"; }
check "says what is left to do" grep -q "set GATEWAY_ID in /etc/default/gateway-min" "$work/log"
check "says its version" test "$(within gateway-min --version)" = "gateway-min $version"
check "the program is root's" is /usr/bin/gateway-min "root:root 755"
check "there is a user of its own, who cannot log in" test "$(within getent passwd gateway-min | cut -d: -f7)" = /usr/sbin/nologin
check "keys are root's to change" is /etc/gateway-min/keys.d "root:root 755"
check "the certificate's folder is for its group" is /etc/gateway-min/tls "root:gateway-min 750"
check "not enabled before it is set up" absent /etc/systemd/system/multi-user.target.wants/gateway-min.service
check "systemd finds no fault in the unit" within systemd-analyze verify /lib/systemd/system/gateway-min.service
check "the settings are a conffile" grep -qx /etc/default/gateway-min "$debian/var/lib/dpkg/info/gateway-min.conffiles"
check "dpkg finds every file as packaged" test -z "$(within dpkg --verify gateway-min)"
check "the licences of rustls are told" grep -q "^rustls " "$debian/usr/share/doc/gateway-min/copyright"
check "as shipped, the id is missing" settings_say 78 GATEWAY_ID

check "what it keeps is its own" is /var/lib/gateway-min "gateway-min:gateway-min 700"

echo "setting up:"
openssl genpkey -algorithm ed25519 -out "$work/private.pem"
(umask 022 && openssl pkey -in "$work/private.pem" -pubout -out "$debian/etc/gateway-min/keys.d/manage.pem")
sed -i 's/^#GATEWAY_ID=.*/GATEWAY_ID=screening-gateway/' "$debian/etc/default/gateway-min"
check "id and key are all that it needs" settings_say 0 ""
cross/echo.sh "$work/private.pem" screening-gateway >"$work/echo"
within sh -c 'set -a; . /etc/default/gateway-min; exec gateway-min verify' <"$work/echo" >"$work/verdict"
check "a test message is accepted" grep -q '^{"outcome":"accepted".*"echo"' "$work/verdict"
within install -d -o gateway-min -g gateway-min -m 700 /var/lib/gateway-min/journal
echo segment >"$debian/var/lib/gateway-min/journal/0001"
within systemctl --root=/ --quiet enable gateway-min.service
cp "$debian/etc/default/gateway-min" "$work/settings"
cp "$debian/etc/gateway-min/keys.d/manage.pem" "$work/key"

kept() {
    check "$1 keeps the settings" same /etc/default/gateway-min "$work/settings"
    check "$1 keeps the key" same /etc/gateway-min/keys.d/manage.pem "$work/key"
    check "$1 keeps the journal" same /var/lib/gateway-min/journal/0001 <(echo segment)
    check "$1 keeps the journal's owner" is /var/lib/gateway-min/journal "gateway-min:gateway-min 700"
}
echo "upgrading, with settings that both sides changed:"
within dpkg --force-confold -i /tmp/next.deb >"$work/log" 2>&1 || { cat "$work/log" && fail "dpkg could not upgrade it"; }
check "the new program is there" test "$(tail -c 4 "$debian/usr/bin/gateway-min")" = next
check "nobody is told to set it up again" test "$(grep -c "left to do" "$work/log")" = 0
kept "upgrading"
check "it is still enabled" test -L "$debian/etc/systemd/system/multi-user.target.wants/gateway-min.service"

echo "going back:"
within dpkg --force-confold -i /tmp/now.deb >"$work/log" 2>&1 || { cat "$work/log" && fail "dpkg could not go back"; }
check "the old program is there" same /usr/bin/gateway-min <(dpkg-deb --fsys-tarfile "$package" | tar -xO ./usr/bin/gateway-min)
kept "going back"

echo "removing:"
within dpkg -r gateway-min >"$work/log" 2>&1 || { cat "$work/log" && fail "dpkg could not remove it"; }
check "the program is gone" absent /usr/bin/gateway-min
check "the unit is gone" absent /lib/systemd/system/gateway-min.service
kept "removing"
within dpkg -i /tmp/now.deb >"$work/log" 2>&1 || { cat "$work/log" && fail "dpkg could not install it again"; }
kept "installing again"
check "with them it is ready to start" settings_say 0 ""

echo "purging:"
within dpkg -P gateway-min >"$work/log" 2>&1 || { cat "$work/log" && fail "dpkg could not purge it"; }
check "settings are gone" absent /etc/default/gateway-min
check "keys are gone" absent /etc/gateway-min
check "the journal is gone" absent /var/lib/gateway-min
files >"$work/after"
# Its user stays, and the databases of users have backups.
diff "$work/before" "$work/after" | grep '^[<>]' | grep -vE '^> \./etc/(passwd|group|shadow|gshadow)-$' >"$work/left" || true
check "nothing is left or missing" diff /dev/null "$work/left"

echo "without dpkg, by the words of INSTALL:"
tarball=gateway-min-$version-x86_64-unknown-linux-musl
tar --extract --directory "$debian/tmp" --file "$out/packages/$tarball.tar.gz"
# Its first block of commands, but for what speaks to a running systemd: a chroot has none.
sed -n 's/ && systemctl daemon-reload//; /^    /p; /^Then /q' "$debian/tmp/$tarball/INSTALL" >"$debian/tmp/commands"
within sh -e -c "cd /tmp/$tarball && . /tmp/commands" >"$work/log" 2>&1 || { cat "$work/log" && fail "INSTALL does not hold"; }
check "says its version" test "$(within gateway-min --version)" = "gateway-min $version"
check "systemd finds no fault in the unit" within systemd-analyze verify /etc/systemd/system/gateway-min.service
check "keys are root's to change" is /etc/gateway-min/keys.d "root:root 755"
check "as shipped, the id is missing" settings_say 78 GATEWAY_ID

echo "on the wrong board:"
mkdir "$work/bin"
printf '#!/bin/sh\necho armv6l\n' >"$work/bin/uname"
chmod 755 "$work/bin/uname"
sed 's/@TARGET@/armv7-unknown-linux-musleabihf/' cross/debian/preinst >"$work/preinst"
check "ARMv6 refuses the package for ARMv7" test "$(PATH=$work/bin:$PATH sh "$work/preinst" install 2>&1 | head -1)" = \
    "gateway-min: this package is for ARMv7 and later, this board is ARMv6."
sed 's/@TARGET@/arm-unknown-linux-musleabihf/' cross/debian/preinst >"$work/preinst"
check "and takes its own" env "PATH=$work/bin:$PATH" sh "$work/preinst" install

echo "test result: ok. $passed passed; 0 failed;"
