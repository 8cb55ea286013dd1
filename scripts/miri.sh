#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Unit tests under Miri, which finds undefined behaviour in Rust code as it runs: those that make no calls of the system
# that Miri does not know. It takes a nightly toolchain with the component miri ("rustup toolchain install nightly
# --component miri"); without one nothing is done, and the exit code is 77.
set -eu
cd "$(dirname "$0")/.."

if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "miri: not done: no nightly toolchain with Miri"
    exit 77
fi
# Names of tests begin with these.
tests="format:: error::codes error::convert error::internal_error capi::flags capi::turn"
# Files in temporary folders, and their times, are those of the system.
export MIRIFLAGS="-Zmiri-disable-isolation ${MIRIFLAGS:-}"
# Words, and meant to be split.
# shellcheck disable=SC2086
cargo +nightly miri test --locked --no-default-features --features sim --lib -- $tests
