#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Tries mutants of the library for SECONDS_ALL (default 600), building not counted, those of FOLDER (format, tree, db or
# compact) or of all four. With arguments: only what they say, see mutants/src/main.rs. "make mutants" calls it.
#
# Needed: cargo-mutants (cargo install --locked cargo-mutants), which lists them. Without it the script says "not done", and
# ends with 77. What is known already is kept in mutants/work (not in the repository).
set -eu
cd "$(dirname "$0")/../mutants"

if ! command -v cargo-mutants >/dev/null; then
    echo "mutants: not done: there is no cargo-mutants (cargo install --locked cargo-mutants)"
    exit 77
fi
cargo build --quiet --release --locked
program=${CARGO_TARGET_DIR:-target}/release/couchstore-mutants
if [ $# -gt 0 ]; then
    exec "$program" "$@"
fi
exec "$program" --seconds "${SECONDS_ALL:-600}" ${FOLDER:+--folder "$FOLDER"}
