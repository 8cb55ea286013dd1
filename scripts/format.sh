#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Formats the C and C++ files with clang-format. With --check it changes nothing, names the files that are not
# formatted, and fails if there are any. The generated header couch_api.h is left alone.
set -eu
cd "$(dirname "$0")/.."

case ${1:-} in
    "" | --check) mode=${1:-} ;;
    *)
        echo "usage: $0 [--check]" >&2
        exit 2
        ;;
esac

result=0
for file in $(find include cxx capi-tests examples host tests -type f \( -name '*.h' -o -name '*.c' -o -name '*.cc' \) \
    ! -name couch_api.h 2>/dev/null | sort); do
    if [ -z "$mode" ]; then
        clang-format -i "$file"
    elif ! clang-format --dry-run -Werror "$file" >/dev/null 2>&1; then
        echo "$file: not formatted (make fmt)"
        result=1
    fi
done
exit $result
