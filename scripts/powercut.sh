#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Cuts the power of databases on ext4, XFS and btrfs for SECONDS_ALL (default 600), then leaves out syncs on purpose, which
# has to be noticed. With arguments: only what they say, see powercut/src/main.rs. "make powercut" calls it.
#
# Needed: root, /dev/fuse, loop devices, mkfs.ext4, mkfs.xfs (Debian: xfsprogs), mkfs.btrfs (btrfs-progs). Without them it
# says "not done" and why, and ends with 77. Images with violations go to powercut/found (not in the repository).
set -eu
cd "$(dirname "$0")/../powercut"

cargo build --quiet --release --locked
program=${CARGO_TARGET_DIR:-target}/release/couchstore-powercut
if [ $# -gt 0 ]; then
    exec "$program" "$@"
fi
"$program" --seconds "${SECONDS_ALL:-600}"
"$program" --sabotage --seconds 300
