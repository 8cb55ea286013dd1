#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The C tests with threads under ThreadSanitizer: gcc or clang instruments the test programs, and watches every lock and
# every allocation of the library, too. The library's own code is not instrumented; it tells of the locks of handles, so
# that whatever they do not keep apart is noticed: calls of the caller's file operations, and of the C library by the
# library. Stops at the first report.
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
# A build without encryption leaves out the tests that need it.
encryption=0
if grep -q '^COUCHSTORE_ENCRYPTION:BOOL=\(ON\|1\|TRUE\|YES\)$' "$build/CMakeCache.txt"; then
    encryption=1
fi
for test in online_threads turns turns_callbacks; do
    "$cc" -std=c11 -g -O1 -fsanitize=thread -DHAS_ENCRYPTION=$encryption -I include -I capi-tests \
        "capi-tests/test_$test.c" capi-tests/testlib*.c \
        -L "$build" -lcouchstore -Wl,-rpath,"$(cd "$build" && pwd)" -pthread -o "$folder/test_$test"
    mkdir "$folder/work.$test"
    # The addresses of a randomized layout may collide with the sanitizer's own.
    TSAN_OPTIONS="halt_on_error=1 exitcode=66 ${TSAN_OPTIONS:-}" \
        setarch "$(uname -m)" -R "$folder/test_$test" "$folder/work.$test"
done
echo "ThreadSanitizer: no reports"
