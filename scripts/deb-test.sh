#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Debian's packages: made, looked at by lintian, installed into a new system in a folder, used there, and removed again.
#
# It takes root, dpkg, lintian and debootstrap (which it installs with apt-get, if they are missing), and the mirror that
# apt has for this release of Debian.
#
# Environment: CMAKE_BUILD_DIR (default: build), besides which is built; JOBS; DEB_OPTIONS, further options for CMake;
# MIRROR, the mirror to take.
set -eu
cd "$(dirname "$0")/.."

build=${CMAKE_BUILD_DIR:-build}-deb
log=$(mktemp)
root=
cleanup() {
    rm -f "$log" "$build"/*.tar.part
    if [ -n "$root" ]; then
        umount -q "$root/proc" "$root/sys" 2>/dev/null || true
        rm -rf --one-file-system "$root"
    fi
}
trap cleanup EXIT

fail() {
    echo "packages for Debian: $*" >&2
    exit 1
}
not_done() {
    echo "packages for Debian: not done: $*"
    exit 77
}
# quietly COMMAND...: shows what it says only if it fails.
quietly() {
    "$@" >"$log" 2>&1 || { cat "$log" >&2; fail "failed: $*"; }
}
inside() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# ---- What it takes ----

[ "$(id -u)" = 0 ] || not_done "installing into a folder takes root"
command -v apt-get >/dev/null 2>&1 || not_done "this is no Debian"
missing=
for program in lintian debootstrap dpkg-shlibdeps; do
    command -v $program >/dev/null 2>&1 || missing="$missing $program"
done
if [ -n "$missing" ]; then
    echo "Installing:$missing"
    apt-get update >"$log" 2>&1 || true
    quietly env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends lintian debootstrap dpkg-dev
fi
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
# The words are meant to stay as they are: apt replaces them.
# shellcheck disable=SC2016
mirror=${MIRROR:-$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(SITE)' 'Created-By: Packages' |
    sed -n "s/^$release main //p" | head -n 1)}
[ -n "$mirror" ] || not_done "apt has no mirror for $release"

# ---- Making them ----

# Options are words, and meant to be split.
# shellcheck disable=SC2086
quietly cmake -S . -B "$build" -G Ninja -DCOUCHSTORE_DEBIAN=ON -DCMAKE_BUILD_TYPE=Release ${DEB_OPTIONS:-}
cmake --build "$build" -j "${JOBS:-2}"
rm -f "$build"/*.deb
(cd "$build" && quietly cpack -G DEB)
version=$(sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)
names="libcouchstore1 libcouchstore1-dbgsym libcouchstore-dev couchstore-tools"
files=
for name in $names; do
    set -- "$build/${name}_$version"-*.deb
    [ -e "$1" ] && [ $# = 1 ] || fail "no package $name of version $version"
    files="$files $1"
done

# Root is welcome here: nothing is built by it.
# shellcheck disable=SC2086
lintian --allow-root --fail-on error $files || fail "lintian has found errors"

# ---- A new system ----

root=$(mktemp -d)
chmod 755 "$root"
# The next time it is unpacked.
archive=$build/$release.tar
if [ -e "$archive" ]; then
    tar -C "$root" -xf "$archive"
else
    echo "A new $release from $mirror"
    quietly debootstrap --variant=minbase "$release" "$root" "$mirror"
    [ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    quietly inside apt-get update
    quietly inside apt-get install -y --no-install-recommends g++ pkg-config dpkg-dev man-db
    quietly inside apt-get clean
    tar -C "$root" --one-file-system -cf "$archive.part" .
    mv "$archive.part" "$archive"
fi

# All files but those that every installation writes.
listing() {
    inside find / -xdev \( -path /proc -o -path /sys -o -path /tmp -o -path /var/cache -o -path /var/log -o \
        -path /var/lib/apt \) -prune -o \( -type f -o -type l -o -type d \) -print | LC_ALL=C sort
}
listing >"$root/tmp/before"

mkdir "$root/tmp/packages"
# shellcheck disable=SC2086
cp $files "$root/tmp/packages"
(cd "$root" && quietly inside sh -c 'apt-get install -y --no-install-recommends /tmp/packages/*.deb')

# ---- Using them ----

cp capi-tests/consumer/consumer.c capi-tests/consumer/consumer.cc capi-tests/consumer/steps.inc "$root/tmp"
cat >"$root/tmp/use.sh" <<'END'
set -eux
cd /tmp
ldconfig -p | grep 'libcouchstore.so.1 .*/lib/'
warnings="-Wall -Wextra -Wpedantic -Werror"
gcc -std=c11 $warnings -o c-shared consumer.c $(pkg-config --cflags --libs couchstore)
g++ -std=c++17 $warnings -o cxx-shared consumer.cc $(pkg-config --cflags --libs couchstore)
gcc -std=c11 $warnings -o c-static consumer.c $(pkg-config --cflags --libs couchstore-static)
g++ -std=c++17 $warnings -o cxx-static consumer.cc $(pkg-config --cflags --libs couchstore-static)
for program in c-shared cxx-shared c-static cxx-static; do
    ./$program $program.couch
done
ldd c-shared | grep 'libcouchstore.so.1 => /.*libcouchstore.so.1 '
if ldd c-static | grep libcouchstore; then exit 1; fi

# Packages of programs get the right dependency.
mkdir -p debian
printf 'Source: test\n\nPackage: test\nArchitecture: any\n' >debian/control
dpkg-shlibdeps -O c-shared | grep "libcouchstore1 (>= $1)"

# Debuggers find names and lines by the build ID.
library=$(dpkg -L libcouchstore1 | grep 'libcouchstore.so.1$')
id=$(readelf --notes "$library" | sed -n 's/.*Build ID: //p')
debug=/usr/lib/debug/.build-id/$(echo "$id" | sed 's|^..|&/|').debug
[ -e "$debug" ]
# Not by any link, but by the file itself: binutils do not look there.
address=$(nm -D "$library" | sed -n 's/ T couchstore_open_db$//p')
addr2line -e "$debug" -f "0x$address" | grep couchstore_open_db
if nm "$library" 2>&1 | grep -q ' T '; then exit 1; fi

for tool in couch couch_bench couch_check couch_compact couch_create couch_dbck couch_dbdiff couch_dbdump couch_dbinfo \
    couch_map couch_recommit dbdiff; do
    $tool --version | grep "$1"
    man -w 1 $tool
    man 1 $tool 2>"$tool.warnings" | grep "^ *$tool  *- "
    [ ! -s "$tool.warnings" ]
done
for file in *.couch; do
    couch_check "$file"
    couch_dbinfo "$file"
done
couch_compact c-shared.couch compacted.couch
dbdiff c-shared.couch compacted.couch

for package in libcouchstore1 libcouchstore-dev couchstore-tools; do
    zcat /usr/share/doc/$package/THIRD-PARTY-LICENSES.gz | grep '^  parking_lot '
    grep '^License: Apache-2.0' /usr/share/doc/$package/copyright
done
END
quietly inside sh /tmp/use.sh "$version"

# ---- Removing them ----

# shellcheck disable=SC2086
quietly inside dpkg --purge $names
listing >"$root/tmp/after"
diff "$root/tmp/before" "$root/tmp/after" >&2 || fail "something is left (>) or gone (<) after the packages were removed"
if inside ldconfig -p | grep libcouchstore >&2; then
    fail "the cache of the dynamic linker has the library still"
fi
echo "packages for Debian: passed"
