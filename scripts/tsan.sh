#!/bin/sh
# The C stress test of online compaction under ThreadSanitizer: gcc or clang instruments the test program, and watches
# every lock and every allocation of the library, too. Stops at the first report.
#
# Environment: CC, the C compiler (default: cc); CMAKE_BUILD_DIR, a build of the libraries (default: build).
set -eu
cd "$(dirname "$0")/.."

cc=${CC:-cc}
build=${CMAKE_BUILD_DIR:-build}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

if [ ! -e "$build/libcouchstore.so" ]; then
    echo "$build/libcouchstore.so is missing: make build" >&2
    exit 2
fi
"$cc" -std=c11 -g -O1 -fsanitize=thread -I include -I capi-tests \
    capi-tests/test_online_threads.c capi-tests/testlib*.c \
    -L "$build" -lcouchstore -Wl,-rpath,"$(cd "$build" && pwd)" -pthread -o "$folder/test_online_threads"
mkdir "$folder/work"
# The addresses of a randomized layout may collide with the sanitizer's own.
TSAN_OPTIONS="halt_on_error=1 exitcode=66 ${TSAN_OPTIONS:-}" \
    setarch "$(uname -m)" -R "$folder/test_online_threads" "$folder/work"
echo "ThreadSanitizer: no reports"
