#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Every source file says under which licence it is, in one of its first five lines.
#
#   scripts/spdx.sh          names the files that do not, and fails if there are any
#   scripts/spdx.sh --add    adds the line to them, first, or behind "#!..."
#
# Looked at are the files that git knows, and new ones that it does not ignore. Not: the generated header (cbindgen.toml
# gives it the line), and what is compared byte for byte.
set -eu
cd "$(dirname "$0")/.."

licence="SPDX-License-Identifier: Apache-2.0"
case ${1:-} in
    "" | --add) mode=${1:-} ;;
    *)
        echo "usage: $0 [--add]" >&2
        exit 2
        ;;
esac

# What a line of comment begins with in a file of this name; empty: it is no source file.
comment_of() {
    case $1 in
        */couch_api.h | tests/data/* | fuzz/corpus/* | tools/tests/expected/*) ;;
        *.rs | *.c | *.cc | *.h | *.inc) echo "//" ;;
        *.cmake | */CMakeLists.txt | CMakeLists.txt | *.sh | *.py | *.pyi | *.yml | .ci/run | Makefile) echo "#" ;;
        *.cmake.in) echo "#" ;;
    esac
}

# separated COMMENT: standard input behind the line, kept apart from it: within a comment by an empty line of comment.
separated() {
    IFS= read -r next || return 0
    case $next in
        "") ;;
        "$1 "* | "$1") echo "$1" ;;
        *) echo ;;
    esac
    printf '%s\n' "$next"
    cat
}

# with_line FILE COMMENT: the file with the line, on standard output.
with_line() {
    {
        case $(head -c 2 "$1") in
            "#!")
                IFS= read -r first
                printf '%s\n' "$first"
                ;;
        esac
        echo "$2 $licence"
        separated "$2"
    } <"$1"
}

result=0
temporary=$(mktemp)
trap 'rm -f "$temporary" "$temporary.list"' EXIT
git ls-files --cached --others --exclude-standard >"$temporary.list" 2>/dev/null || true
if [ ! -s "$temporary.list" ]; then
    echo "licences of source files: not done: this is no work tree of git, or there is no git"
    exit 77
fi
while read -r file; do
    [ -f "$file" ] && [ ! -L "$file" ] || continue
    comment=$(comment_of "$file")
    [ -n "$comment" ] || continue
    if head -n 5 "$file" | grep -q "$licence"; then
        continue
    elif [ "$mode" = --add ]; then
        with_line "$file" "$comment" >"$temporary"
        # Into the file that is there: it keeps its rights.
        cat "$temporary" >"$file"
        echo "$file: added"
    else
        echo "$file: no SPDX line (scripts/spdx.sh --add)"
        result=1
    fi
done <"$temporary.list"
exit $result
