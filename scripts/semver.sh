#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Whether what has changed since the newest tag fits the version: see docs/versioning.md.
#
#   scripts/semver.sh rust    the Rust API, with cargo-semver-checks (cargo install --locked cargo-semver-checks)
#   scripts/semver.sh abi     libcouchstore.so, with abidiff (Debian: abigail-tools)
#
# Says "not done" where there is no tag, or the program is missing.
#
# Environment: CMAKE_BUILD_DIR (default: build), besides which is built; JOBS; ABI_OPTIONS, further options for CMake;
# BASE, the tag or commit to compare with.
set -eu
cd "$(dirname "$0")/.."

build=$(realpath -m "${CMAKE_BUILD_DIR:-build}-abi")
what=${1:-}
case $what in
    rust | abi) ;;
    *)
        echo "usage: $0 rust|abi" >&2
        exit 2
        ;;
esac

not_done() {
    echo "$what: not done: $*"
    exit 77
}
base=${BASE:-$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)}
[ -n "$base" ] || not_done "there is no tag to compare with"

if [ "$what" = rust ]; then
    cargo semver-checks --version >/dev/null 2>&1 || not_done "cargo-semver-checks is missing"
    exec cargo semver-checks --baseline-rev "$base" -p couchstore --default-features
fi

command -v abidiff >/dev/null 2>&1 || not_done "abidiff is missing (Debian: abigail-tools)"
work=$(mktemp -d)
trap 'git worktree remove --force "$work/base" 2>/dev/null || true; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$work/base" "$base"

# Both are built alike, with all types known to the debug information.
for tree in "$work/base" .; do
    folder=$build/$([ "$tree" = . ] && echo new || echo base)
    # Options are words, and meant to be split.
    # shellcheck disable=SC2086
    cmake -S "$tree" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCOUCHSTORE_BUILD_TOOLS=OFF \
        ${ABI_OPTIONS:-} >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    cmake --build "$folder" -j "${JOBS:-2}" --target couchstore
done

# abidiff's answer is bits: 1 and 2 are failures of its own, 4 a change, 8 one that breaks programs. What is added is none.
set +e
abidiff --no-added-syms --headers-dir1 "$work/base/include" --headers-dir2 include \
    "$build/base/libcouchstore.so" "$build/new/libcouchstore.so"
code=$?
set -e
if [ $((code & 3)) != 0 ]; then
    echo "abi: abidiff failed ($code)" >&2
    exit 1
elif [ $((code & 12)) != 0 ]; then
    echo "abi: it has changed since $base: docs/versioning.md says what follows" >&2
    exit 1
fi
echo "abi: no program that was built with $base is broken"
