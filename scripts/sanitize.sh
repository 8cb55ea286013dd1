#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The C and C++ tests with the library and all tests instrumented: Rust, C++ and C, by the sanitizers of the C compiler.
#
#   scripts/sanitize.sh address    AddressSanitizer, leaks, and (C and C++) UndefinedBehaviorSanitizer
#   scripts/sanitize.sh thread     ThreadSanitizer, the tests with threads
#
# Both worlds use the C compiler's runtime: what rustc's instrumentation calls is there by the same names. RUSTC_BOOTSTRAP
# makes a stable toolchain take the flag. Rust's standard library is built anew for threads, if its source is there
# (rustup component add rust-src); otherwise what is not generic in it is not instrumented. AWS-LC never is.
#
# Environment: CC and CXX (default: cc and c++); JOBS; CMAKE_BUILD_DIR (default: build): "-address" or "-thread" is added;
# SANITIZE_TESTS, a regular expression of CTest's that chooses others; SANITIZE_OPTIONS, more options for CMake.
set -eu
cd "$(dirname "$0")/.."

kind=${1:-}
jobs=${JOBS:-$(nproc 2>/dev/null || echo 2)}
build=${CMAKE_BUILD_DIR:-build}-$kind
host=$(rustc -vV | sed -n 's/^host: //p')

# What each leaves out, and why:
#   memory           has an allocator of its own, as the sanitizers do
#   limits           measures how much memory the process has, of which the sanitizers take most
#   ctypes, host     Python, which has no runtime of a sanitizer; and a build of its own
case $kind in
    address)
        flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
        tests='^(c|cxx|golden)\.'
        left_out='^c\.(memory|limits)$|^cxx\.(ctypes|host)$'
        ;;
    thread)
        flags="-fsanitize=thread"
        # Those that make threads.
        tests='^c\.(callbacks|errors|latency|node_cache|online|online_threads|reasons|turns|turns_callbacks)$'
        tests="$tests|^cxx\.(functions|promises)"
        left_out='^$'
        ;;
    *)
        echo "usage: $0 address|thread" >&2
        exit 2
        ;;
esac
tests=${SANITIZE_TESTS:-$tests}
# What the instrumentation adds to <regex> looks uninitialized to gcc 12.
flags="$flags -fno-omit-frame-pointer -g1 -Wno-maybe-uninitialized"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$kind -Cforce-frame-pointers=yes"
if [ "$kind" = thread ]; then
    if [ -d "$(rustc --print sysroot)/lib/rustlib/src/rust/library" ]; then
        export CARGO_UNSTABLE_BUILD_STD=std,panic_unwind
    elif rustc -C help | grep -q unsafe-allow-abi-mismatch; then
        # Newer compilers have to be told that crates with and without the instrumentation may be mixed.
        RUSTFLAGS="$RUSTFLAGS -Cunsafe-allow-abi-mismatch=sanitizer"
    fi
fi
link=
if [ "$kind" = thread ]; then
    mkdir -p "$build"
    link=$(cd "$build" && pwd)/tsan_memory.o
    "${CC:-cc}" -std=c11 -O2 -fPIC -fno-builtin -Wall -Wextra -c capi-tests/tsan_memory.c -o "$link"
fi
# Options are words, and meant to be split.
# shellcheck disable=SC2086
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCOUCHSTORE_BUILD_TESTS=ON -DCOUCHSTORE_BUILD_TOOLS=OFF \
    -DCOUCHSTORE_VALGRIND=OFF -DCOUCHSTORE_CARGO_TARGET="$host" -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags" \
    -DCMAKE_SHARED_LINKER_FLAGS="$link" -DCMAKE_EXE_LINKER_FLAGS="$link" \
    ${SANITIZE_OPTIONS:-} >"$log" 2>&1 || { cat "$log"; exit 1; }
cmake --build "$build" -j "$jobs"

# What takes long takes ten times as long: small loops, as under valgrind.
export COUCHSTORE_TEST_SCALE=small
options="exitcode=66 abort_on_error=0 allocator_may_return_null=1"
export ASAN_OPTIONS="$options detect_stack_use_after_return=1 strict_string_checks=1 ${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1 ${UBSAN_OPTIONS:-}"
export TSAN_OPTIONS="exitcode=66 halt_on_error=1 suppressions=$PWD/scripts/tsan.suppressions ${TSAN_OPTIONS:-}"
# The addresses of a randomized layout may collide with the sanitizer's own.
setarch "$(uname -m)" -R ctest --test-dir "$build" -j "$jobs" --output-on-failure -R "$tests" -E "$left_out"
