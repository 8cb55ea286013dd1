#!/bin/sh
# Everything that must hold before a change is good. Stops at the first failure.
#
# Environment: JOBS, the number of parallel jobs (default: one per processor); CMAKE_BUILD_DIR (default: build).
set -eu
cd "$(dirname "$0")/.."

if ! command -v cargo >/dev/null 2>&1; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
fi
jobs=${JOBS:-$(nproc 2>/dev/null || echo 2)}
build=${CMAKE_BUILD_DIR:-build}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

heading() {
    printf '\n==== %s\n' "$1"
}

# quietly COMMAND...: shows the output only if the command fails.
quietly() {
    if ! "$@" >"$log" 2>&1; then
        cat "$log"
        printf '\nfailed: %s\n' "$*" >&2
        exit 1
    fi
}

heading "programs"
scripts/setup.sh check

heading "format of the Rust files"
cargo fmt --all --check

heading "format of the C and C++ files"
scripts/format.sh --check

heading "clippy"
cargo clippy --quiet --workspace --all-targets --all-features --locked -- -D warnings

heading "Rust tests"
cargo test --quiet --workspace --locked --features header,sim,cxx --profile test-release

heading "Rust documentation"
quietly env RUSTDOCFLAGS="${RUSTDOCFLAGS:-} -D warnings" cargo doc --workspace --no-deps --locked

heading "C and C++ build"
quietly cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE="${CMAKE_BUILD_TYPE:-Release}" -DCOUCHSTORE_BUILD_TESTS=ON
quietly cmake --build "$build" -j "$jobs"

heading "C, C++, package and ABI tests"
ctest --test-dir "$build" -j "$jobs" --output-on-failure

heading "Python package"
CMAKE_BUILD_DIR=$build scripts/python-tests.sh "$build/libcouchstore.so"

printf '\nmake check: all passed\n'
