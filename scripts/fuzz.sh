#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Fuzzes with libFuzzer: SECONDS (default 60) for each target, or for TARGET alone. "make fuzz" calls it.
#
# Needed: a C++ compiler, for libFuzzer, and Rust's sanitizer runtimes, which every toolchain brings. RUSTC_BOOTSTRAP
# makes a stable one take the flags. What is new goes to fuzz/found/TARGET (not in the repository), what fails to
# fuzz/artifacts/TARGET; docs/reliability.md says what to do with it.
set -eu
cd "$(dirname "$0")/../fuzz"

seconds=${SECONDS_EACH:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
if [ -n "${TARGET:-}" ]; then
    targets=$TARGET
else
    targets=$(for file in fuzz_targets/*.rs; do basename "$file" .rs; done)
fi

flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags="$flags -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags="$flags -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Zsanitizer=address --cfg fuzzing"
export RUSTC_BOOTSTRAP=1
echo "building the targets"
RUSTFLAGS="$flags" cargo build --quiet --release --locked --target "$host"
programs=${CARGO_TARGET_DIR:-target}/$host/release

number=0
# The targets are words.
# shellcheck disable=SC2086
count=$(printf '%s\n' $targets | wc -l)
for target in $targets; do
    number=$((number + 1))
    echo "==== [$number/$count] $target for $seconds s"
    mkdir -p "found/$target" "artifacts/$target"
    # 1 GiB is far more than any target needs; what takes 25 s hangs. The progress is libFuzzer's: runs, coverage, corpus.
    "$programs/$target" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="artifacts/$target/" "found/$target" "corpus/$target"
done
