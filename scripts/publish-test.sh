#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What "cargo publish" would send to crates.io: the crates couchstore and couchstore-tools are made, unpacked and compiled
# from what is in them, the tools against that very couchstore. Nothing is sent.
#
# Environment: CARGO_TARGET_DIR (default: target); PUBLISH_OPTIONS, further options for cargo (--no-default-features: no
# C library is compiled).
set -eu
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "crates: $*" >&2
    exit 1
}

# What is not committed would be left out or stop cargo; in a copy for tests it may be.
# Options are words, and meant to be split.
# shellcheck disable=SC2086
cargo publish --dry-run --locked --allow-dirty -p couchstore -p couchstore-tools ${PUBLISH_OPTIONS:-}

version=$(sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)
for name in couchstore couchstore-tools; do
    # Where a dry run leaves it depends on the version of cargo.
    crate=
    for folder in "$target/package" "$target/package/tmp-crate"; do
        [ ! -e "$folder/$name-$version.crate" ] || crate=$folder/$name-$version.crate
    done
    [ -n "$crate" ] || fail "cargo has left no $name-$version.crate in $target/package"
    tar -xzf "$crate" -C "$work"
    (cd "$work/$name-$version" && find . -type f | sed 's|^\./||' | LC_ALL=C sort) >"$work/$name.list"
    for needed in LICENSE README.md src/lib.rs Cargo.lock; do
        case $name/$needed in
            couchstore-tools/README.md) needed=tools.md ;;
        esac
        grep -qxF "$needed" "$work/$name.list" || fail "$name lacks $needed"
    done
    if grep -E '^(tests|benches|capi-tests|scripts|docs|fuzz|python)/|\.(couch|svg|sh|py)$' "$work/$name.list"; then
        fail "$name has files of the repository that no crate needs"
    fi
    echo "$name: $(wc -l <"$work/$name.list") files, $(wc -c <"$crate") bytes"
done
for needed in THIRD-PARTY-LICENSES include/libcouchstore/couch_db.h cxx/sources.txt host/couchstore/src/node_types.cc; do
    grep -qxF "$needed" "$work/couchstore.list" || fail "couchstore lacks $needed"
done

# The features that take more than Rust: the C++ API is compiled from what the crate has, and the header is made from it.
(cd "$work/couchstore-$version" && CARGO_TARGET_DIR="$work/target" cargo check --quiet --no-default-features \
    --features cxx,header --lib)
cmp "$work/couchstore-$version/include/libcouchstore/couch_api.h" \
    "$(find "$work/target" -name couch_api.h -path '*/out/*' | head -n 1)" || fail "the crate makes another header than it has"
echo "crates: passed"
