#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What cargo-c installs (package.metadata.capi in Cargo.toml): a C program finds it with pkg-config, and runs with the
# shared and with the static library. Ends with 77, "not done", where cargo-c is not installed.
#
# Environment: CC (default: cc); CARGO_TARGET_DIR, below which is built; CARGO_C_OPTIONS (default: --debug
# --no-default-features, which builds in a minute).
set -eu
cd "$(dirname "$0")/.."

if ! cargo cinstall --version >/dev/null 2>&1; then
    echo "not done: cargo-c is not installed (cargo install cargo-c)"
    exit 77
fi
cc=${CC:-cc}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

fail() {
    echo "cargo-c: $*" >&2
    exit 1
}

# The words of the options are meant to be split.
# shellcheck disable=SC2086
cargo cinstall --quiet --locked ${CARGO_C_OPTIONS:---debug --no-default-features} \
    --prefix="$root/usr" --libdir="$root/usr/lib"

# Nothing in it may be taken for the library that takes couchstore's place.
for name in libcouchstore.so libcouchstore.a pkgconfig/couchstore.pc; do
    [ ! -e "$root/usr/lib/$name" ] || fail "$name is installed"
done
library=$root/usr/lib/libcouchstore_c.so
[ -e "$library" ] || fail "no libcouchstore_c.so"
soname=$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
case $soname in
    libcouchstore_c.so.*) ;;
    *) fail "the SONAME is '$soname'" ;;
esac

# All functions of the header are exported, and nothing else is.
header=$root/usr/include/libcouchstore/couch_api.h
nm -D --defined-only --format=posix "$library" | sed 's/ .*//' | LC_ALL=C sort >"$root/exported"
# Comments speak of functions, too; inline functions have no place there.
sed '/^ \*/d' "$header" | grep -o 'couchstore_[a-z0-9_]*(' | tr -d '(' | LC_ALL=C sort -u >"$root/declared"
diff "$root/declared" "$root/exported" >&2 || fail "declared (<) and exported (>) functions differ"

export PKG_CONFIG_PATH="$root/usr/lib/pkgconfig"
version=$(sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)
[ "$(pkg-config --modversion couchstore_c)" = "$version" ] || fail "pkg-config has another version than $version"

# The words of the flags are meant to be split.
# shellcheck disable=SC2046
"$cc" -std=c11 -Wall -Wextra -Werror -o "$root/shared" capi-tests/consumer/consumer.c \
    $(pkg-config --cflags --libs couchstore_c)
LD_LIBRARY_PATH="$root/usr/lib" "$root/shared" "$root/shared.couch"
# shellcheck disable=SC2046
"$cc" -std=c11 -Wall -Wextra -Werror -o "$root/static" capi-tests/consumer/consumer.c \
    $(pkg-config --cflags couchstore_c) "$root/usr/lib/libcouchstore_c.a" \
    $(pkg-config --static --libs-only-l couchstore_c | sed 's/-lcouchstore_c//')
"$root/static" "$root/static.couch"
echo "cargo-c: passed"
