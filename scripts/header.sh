#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Generates include/libcouchstore/couch_api.h from src/capi. The build script does the work; cargo's messages
# say where it left the file.
set -eu
cd "$(dirname "$0")/.."

header=$(cargo build --quiet --locked --features header --message-format=json-render-diagnostics |
    sed -n 's/.*"COUCHSTORE_GENERATED_HEADER","\([^"]*\)".*/\1/p')
if [ ! -f "$header" ]; then
    echo "the build script made no couch_api.h" >&2
    exit 1
fi
cp "$header" include/libcouchstore/couch_api.h
echo "include/libcouchstore/couch_api.h is up to date"
