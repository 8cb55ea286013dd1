#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Everything that must hold before a change is good. Each step says its number and the time so far. The first failure
# ends it, and is repeated at the end with what to do.
#
#   scripts/check.sh [quick|full|all]
#
#   quick   for a developer's loop: formats, lints, the Rust tests but the long ones, the C tests without valgrind
#   full    (default) what continuous integration runs
#   all     what takes longer, too, or needs root, the network or further programs: see the list of steps below
#
# Environment: JOBS, the number of parallel jobs (default: one per processor); CMAKE_BUILD_DIR (default: build);
# KEEP_GOING=1: a failed step does not end it, all of them are repeated at the end.
set -eu
cd "$(dirname "$0")/.."

scope=${1:-full}
case $scope in
    quick | full | all) ;;
    *)
        echo "usage: $0 [quick|full|all]" >&2
        exit 2
        ;;
esac
if ! command -v cargo >/dev/null 2>&1; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
fi
jobs=${JOBS:-$(nproc 2>/dev/null || echo 2)}
build=${CMAKE_BUILD_DIR:-build}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# ---- The steps: name, what to do if it fails, and the function that does it ----

case $scope in
    quick) steps="programs format_rust format_c clippy rust_tests c_build c_tests" ;;
    full | all)
        steps="programs format_rust format_c spdx deny clippy rust_tests rust_docs node_cache c_build c_tests versions"
        steps="$steps python_tests counts"
        ;;
esac
if [ "$scope" = all ]; then
    steps="$steps features build_matrix cargo_c packages crates wheel licences api miri asan tsan torture powercut mutants"
    steps="$steps differential fuzz"
fi

describe() {
    case $1 in
        programs) title="needed programs" hint="install what is named above" ;;
        format_rust) title="format of the Rust files, and docs made of them" hint="make fmt, or the script named above" ;;
        format_c) title="format of the C and C++ files" hint="make fmt" ;;
        spdx) title="licence of each source file" hint="scripts/spdx.sh --add" ;;
        deny) title="licences and sources of packages" hint="make deny; what the lists lack: make licences" ;;
        versions) title="one version everywhere" hint="mend the version in the places named above" ;;
        packages) title="packages for Debian" hint="these alone: scripts/deb-test.sh" ;;
        crates) title="crates" hint="these alone: scripts/publish-test.sh" ;;
        wheel) title="Python wheel" hint="this alone: scripts/wheel.sh test" ;;
        licences) title="texts of licences" hint="make licences" ;;
        api) title="Rust API and ABI since the newest tag" hint="make semver, make abi; docs/versioning.md says what follows" ;;
        clippy) title="clippy" hint="mend what is named above; to see it again: make lint" ;;
        rust_tests) title="Rust tests" hint="the failed ones alone: cargo test $cargo_tests NAME" ;;
        node_cache) title="tests with nodes that all handles share"
            hint="again: COUCHSTORE_NODE_CACHE=1G cargo test $cargo_tests --test NAME; also with 3000 instead of 1G" ;;
        rust_docs) title="Rust documentation" hint="mend the links and comments named above" ;;
        c_build) title="C and C++ build" hint="to see it again: cmake --build $build" ;;
        c_tests) title="C, C++, package and ABI tests"
            hint="the failed ones alone: ctest --test-dir $build --rerun-failed --output-on-failure" ;;
        python_tests) title="Python package" hint="these tests alone: scripts/python-tests.sh $build/libcouchstore.so" ;;
        counts) title="instructions of host-shaped work" hint="the same again: make counts" ;;
        features) title="features of the crate" hint="the command that failed stands above" ;;
        build_matrix) title="ways to build" hint="again: ctest --test-dir $build-matrix -L build --output-on-failure" ;;
        cargo_c) title="cargo-c package" hint="these alone: scripts/cargo-c-test.sh" ;;
        miri) title="Miri" hint="again: make miri" ;;
        asan) title="AddressSanitizer and UndefinedBehaviorSanitizer" hint="again: make asan" ;;
        tsan) title="ThreadSanitizer" hint="again: make tsan" ;;
        torture) title="power cuts, faults and kills for five minutes"
            hint="the seed stands above; docs/reliability.md says how to repeat it" ;;
        powercut) title="power cuts on real file systems"
            hint="seed and image stand above; docs/reliability.md says how to repeat it" ;;
        mutants) title="mutants of the library for ten minutes"
            hint="what survives needs a test, or a line in mutants/harmless.txt; docs/reliability.md says how to try it again" ;;
        differential) title="differential tests, many cases"
            hint="the seed stands above: COUCHSTORE_TEST_SEED and COUCHSTORE_DIFFERENTIAL_CASES repeat it" ;;
        fuzz) title="fuzzing for a minute each" hint="docs/reliability.md says what to do with fuzz/artifacts" ;;
    esac
}

cargo_tests="--workspace --locked --features header,sim,cxx --profile test-release"
# The long programs of the Rust tests, left out by "quick".
long_tests="reliability online dbck_random check_forged"
# Those that need a feature which they alone are built with: no other program could be named beside them.
own_feature_tests="node_cache_schedules"

programs() {
    scripts/setup.sh check
}

format_rust() {
    cargo fmt --all --check
    scripts/unsafe.py --check
    scripts/pictures.py --check
}

format_c() {
    scripts/format.sh --check
}

spdx() {
    scripts/spdx.sh
}

# Ends with 77, "not done", where cargo-deny cannot be had.
deny() {
    scripts/licences.py check
    CMAKE_BUILD_DIR=$build scripts/deny.sh
}

clippy() {
    # With the profile of the tests: what build scripts compile, AWS-LC above all, is compiled once for both.
    cargo clippy --workspace --all-targets --all-features --locked --profile test-release -- -D warnings
    # Workspaces of their own, which nothing above builds: their lock files must follow this one's dependencies.
    for folder in fuzz bench-compare powercut mutants; do
        cargo metadata --locked --format-version 1 --manifest-path $folder/Cargo.toml >/dev/null
    done
}

rust_tests() {
    if [ "$scope" = quick ]; then
        # Options are words, and meant to be split.
        # shellcheck disable=SC2046,SC2086
        cargo test $cargo_tests --no-fail-fast --lib --bins $(quick_tests)
    else
        # shellcheck disable=SC2086
        cargo test $cargo_tests --no-fail-fast
    fi
}

# The test programs but the long ones, as options of cargo's.
quick_tests() {
    for file in tests/*.rs tests/*/main.rs tools/tests/*.rs; do
        case $file in
            */main.rs) name=$(basename "$(dirname "$file")") ;;
            *) name=$(basename "$file" .rs) ;;
        esac
        case " $long_tests $own_feature_tests " in
            *" $name "*) ;;
            *) echo "--test $name" ;;
        esac
    done
}

rust_docs() {
    RUSTDOCFLAGS="${RUSTDOCFLAGS:-} -D warnings" cargo doc --workspace --no-deps --locked --profile test-release
}

# Nothing may differ, with a cache of all nodes and with one of hardly any.
node_cache() {
    tests="--test golden --test properties --test headers --test stale --test failed_sync --test round_trip --test replay"
    [ "$scope" != all ] || tests="$tests --test reliability --test online --test differential"
    for bytes in 1G 3000; do
        echo "COUCHSTORE_NODE_CACHE=$bytes cargo test $cargo_tests $tests"
        # shellcheck disable=SC2086
        COUCHSTORE_NODE_CACHE=$bytes cargo test $cargo_tests --no-fail-fast $tests || return 1
    done
    if [ "$scope" = all ]; then
        COUCHSTORE_SCHEDULES=5000 cargo test --locked --features shuttle --profile test-release --test node_cache_schedules
    fi
}

c_build() {
    valgrind=ON
    [ "$scope" != quick ] || valgrind=OFF
    cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE="${CMAKE_BUILD_TYPE:-Release}" -DCOUCHSTORE_BUILD_TESTS=ON \
        -DCOUCHSTORE_VALGRIND=$valgrind >"$log" 2>&1 || { cat "$log"; return 1; }
    cmake --build "$build" -j "$jobs"
}

c_tests() {
    if [ "$scope" = quick ]; then
        ctest --test-dir "$build" -j "$jobs" --output-on-failure -E '^(valgrind|package|cxx\.host|abi\.noop)'
    else
        ctest --test-dir "$build" -j "$jobs" --output-on-failure
    fi
}

versions() {
    CMAKE_BUILD_DIR=$build scripts/version-test.sh
}

python_tests() {
    CMAKE_BUILD_DIR=$build scripts/python-tests.sh "$build/libcouchstore.so"
}

counts() {
    scripts/counts.py --build "$build"
}

features() {
    for options in "--no-default-features" "--no-default-features --features sim" "--features cxx"; do
        echo "cargo test $options"
        # shellcheck disable=SC2086
        cargo test --locked --profile test-release --no-fail-fast $options || return 1
    done
    # The workspaces beside this one use its public interface.
    for folder in bench-compare powercut; do
        cargo clippy --locked --all-targets --manifest-path $folder/Cargo.toml -- -D warnings || return 1
    done
}

build_matrix() {
    cmake -S . -B "$build-matrix" -G Ninja -DCOUCHSTORE_BUILD_TESTS=ON -DCOUCHSTORE_VALGRIND=OFF \
        -DCOUCHSTORE_BUILD_MATRIX_TESTS=ON >"$log" 2>&1 || { cat "$log"; return 1; }
    cmake --build "$build-matrix" -j "$jobs" && ctest --test-dir "$build-matrix" -L build --output-on-failure
}

cargo_c() {
    scripts/cargo-c-test.sh
}

packages() {
    CMAKE_BUILD_DIR=$build JOBS=$jobs scripts/deb-test.sh
}

crates() {
    scripts/publish-test.sh
}

wheel() {
    CMAKE_BUILD_DIR=$build JOBS=$jobs scripts/wheel.sh test
}

licences() {
    scripts/licences.py same
}

# Ends with 77, "not done", if one of the two is not done and none has failed.
api() {
    missing=0
    scripts/semver.sh rust || { missing=$?; [ "$missing" = 77 ] || return "$missing"; }
    CMAKE_BUILD_DIR=$build JOBS=$jobs scripts/semver.sh abi || return
    return "$missing"
}

# Ends with 77, "not done", where there is no nightly toolchain.
miri() {
    scripts/miri.sh
}

asan() {
    JOBS=$jobs CMAKE_BUILD_DIR=$build scripts/sanitize.sh address
}

tsan() {
    CMAKE_BUILD_DIR=$build scripts/tsan.sh
    JOBS=$jobs CMAKE_BUILD_DIR=$build scripts/sanitize.sh thread
}

torture() {
    # shellcheck disable=SC2086
    COUCHSTORE_SCHEDULES_SECONDS=120 cargo test $cargo_tests --test online schedules
    make torture SECONDS=300
}

# Ends with 77, "not done", where file systems cannot be mounted.
powercut() {
    cargo fmt --check --manifest-path powercut/Cargo.toml
    cargo clippy --manifest-path powercut/Cargo.toml --release --all-targets --locked -- -D warnings
    cargo test --manifest-path powercut/Cargo.toml --release --locked
    SECONDS_ALL=180 scripts/powercut.sh
}

# Ends with 77, "not done", where there is no cargo-mutants.
mutants() {
    cargo fmt --check --manifest-path mutants/Cargo.toml
    cargo clippy --manifest-path mutants/Cargo.toml --release --all-targets --locked -- -D warnings
    cargo test --manifest-path mutants/Cargo.toml --release --locked
    scripts/mutants.sh
}

differential() {
    # shellcheck disable=SC2086
    COUCHSTORE_DIFFERENTIAL_CASES=20000 cargo test $cargo_tests --test differential
}

fuzz() {
    make fuzz SECONDS=60
}

# ---- Running them ----

begin=$(date +%s)
elapsed() {
    seconds=$(($(date +%s) - begin))
    printf '%d:%02d' $((seconds / 60)) $((seconds % 60))
}

# What failed, and what could not be done here, to be repeated at the end.
failures=
not_done=
number=0
# shellcheck disable=SC2086
count=$(printf '%s\n' $steps | wc -l)
for step in $steps; do
    number=$((number + 1))
    describe "$step"
    printf '\n==== [%d/%d] %s  (%s so far)\n' "$number" "$count" "$title" "$(elapsed)"
    # In a subshell, and not in the condition of an "if": there "set -e" would be off.
    set +e
    (
        set -e
        "$step"
    )
    code=$?
    set -e
    if [ "$code" = 77 ]; then
        not_done="$not_done
  step $number, $title: not done; why stands above"
    elif [ "$code" != 0 ]; then
        failures="$failures
  step $number, $title: ended with $code
      what to do: $hint"
        [ -n "${KEEP_GOING:-}" ] || break
    fi
done

if [ -n "$failures" ]; then
    printf '\n==== FAILED after %s%s\n' "$(elapsed)" "$failures" >&2
    exit 1
fi
if [ -n "$not_done" ]; then
    printf '\n==== no step failed in %s, but:%s\n' "$(elapsed)" "$not_done"
    exit 0
fi
printf '\n==== all %d steps passed in %s\n' "$count" "$(elapsed)"
