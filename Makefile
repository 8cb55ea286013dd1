# SPDX-License-Identifier: Apache-2.0
#
# The usual tasks. "make" alone lists them.
#
# Variables: JOBS (parallel jobs), BUILD (folder of the CMake build), FILE (for demo), QUICK (for check), SECONDS (for
# torture, fuzz, powercut and mutants), TARGET (for fuzz), FOLDER (for mutants), DISK and LARGE (for bench, plots and compare).

BUILD ?= build
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CARGO ?= $(shell command -v cargo 2>/dev/null || echo "$${CARGO_HOME:-$$HOME/.cargo}/bin/cargo")
FILE ?=
QUICK ?=
SECONDS ?= 600
TARGET ?=
FOLDER ?=
DISK ?=
LARGE ?=

# Measures, and shows the tables.
measure = CARGO="$(CARGO)" scripts/benchmarks.py measure $(if $(DISK),--dir "$(DISK)") $(1)

# Configures with further options; shows what CMake says only if it fails.
configure = out=$$(cmake -S . -B "$(BUILD)" -G Ninja -DCMAKE_BUILD_TYPE=Release $(1) 2>&1) || { echo "$$out"; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help demo check check-all build test lint deny advisories licences semver abi deb wheel header torture powercut \
	mutants fuzz miri asan tsan coverage bench plots compare figures criterion counts fmt clean

help: ## list the tasks
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 17

demo: ## build and run the demo on a new database; FILE=path: on an existing one (which is only read)
	@scripts/setup.sh demo
	@$(call configure,-DCOUCHSTORE_BUILD_EXAMPLES=ON -DCOUCHSTORE_BUILD_TESTS=OFF)
	@cmake --build "$(BUILD)" -j $(JOBS) --target couchstore_demo
	@"$(BUILD)/examples/couchstore_demo" $(if $(FILE),"$(FILE)")

check: ## everything that must hold: format, lints, tests, documentation, C tests, package, ABI; QUICK=1: a short form
	@JOBS=$(JOBS) CMAKE_BUILD_DIR=$(BUILD) scripts/check.sh $(if $(QUICK),quick,full)

check-all: ## the same and what takes longer, or needs root, the network or further programs
	@JOBS=$(JOBS) CMAKE_BUILD_DIR=$(BUILD) scripts/check.sh all

build: ## build the libraries, the tools and the example with CMake
	@scripts/setup.sh demo
	@$(call configure,-DCOUCHSTORE_BUILD_EXAMPLES=ON -DCOUCHSTORE_BUILD_TESTS=OFF)
	@cmake --build "$(BUILD)" -j $(JOBS)

test: ## run the Rust tests, the C tests and the Python tests
	@scripts/setup.sh check
	$(CARGO) test --workspace --locked --features header,sim,cxx --profile test-release
	@$(call configure,-DCOUCHSTORE_BUILD_TESTS=ON)
	@cmake --build "$(BUILD)" -j $(JOBS)
	ctest --test-dir "$(BUILD)" -j $(JOBS) --output-on-failure
	CMAKE_BUILD_DIR="$(BUILD)" scripts/python-tests.sh "$(BUILD)/libcouchstore.so"

lint: ## check the format, and lint the Rust code
	@scripts/setup.sh check
	$(CARGO) fmt --all --check
	scripts/format.sh --check
	scripts/spdx.sh
	$(CARGO) clippy --workspace --all-targets --all-features --locked --profile test-release -- -D warnings

deny: ## check licences, duplicates and sources of all packages, by deny.toml; and whether the lists of licences are stale
	@CMAKE_BUILD_DIR="$(BUILD)" scripts/deny.sh
	@CARGO="$(CARGO)" scripts/licences.py check

advisories: ## look for known vulnerabilities in packages; takes their database from the network
	@CMAKE_BUILD_DIR="$(BUILD)" scripts/deny.sh advisories

licences: ## make THIRD-PARTY-LICENSES and packaging/copyright anew; takes cargo-about
	@CARGO="$(CARGO)" scripts/licences.py write

semver: ## compare the Rust API with that of the newest tag; takes cargo-semver-checks
	@scripts/semver.sh rust

abi: ## compare the ABI of libcouchstore.so with that of the newest tag; takes abidiff
	@CMAKE_BUILD_DIR="$(BUILD)" JOBS=$(JOBS) scripts/semver.sh abi

deb: ## make packages for Debian, in BUILD-deb
	@scripts/setup.sh demo
	@cmake -S . -B "$(BUILD)-deb" -G Ninja -DCOUCHSTORE_DEBIAN=ON -DCMAKE_BUILD_TYPE=Release
	@cmake --build "$(BUILD)-deb" -j $(JOBS)
	@cd "$(BUILD)-deb" && cpack -G DEB

wheel: ## make a Python wheel that contains the library, in BUILD-wheel/dist
	@scripts/setup.sh demo
	@CMAKE_BUILD_DIR="$(BUILD)" JOBS=$(JOBS) scripts/wheel.sh

header: ## generate include/libcouchstore/couch_api.h from src/capi
	@scripts/header.sh

torture: ## prove the promises for SECONDS (default 600): power cuts, faults, kills; see docs/reliability.md
	COUCHSTORE_TORTURE_SECONDS=$(SECONDS) $(CARGO) test --quiet --locked --features sim --profile test-release \
		--test reliability -- --exact torture::torture --nocapture
	COUCHSTORE_TORTURE_SECONDS=$$(($(SECONDS) / 10)) $(CARGO) test --quiet --locked -p couchstore-tools \
		--profile test-release --test killed_dbck -- --exact torture --nocapture

powercut: ## cut the power of databases on ext4, XFS and btrfs for SECONDS (default 600); needs root; see docs/reliability.md
	@SECONDS_ALL=$(SECONDS) scripts/powercut.sh

mutants: ## try mutants of the library, or of FOLDER in src, for SECONDS (default 600); see docs/reliability.md
	@SECONDS_ALL=$(SECONDS) FOLDER=$(FOLDER) scripts/mutants.sh

fuzz: ## fuzz each target, or TARGET alone, for SECONDS (default 600); see docs/reliability.md
	@SECONDS_EACH=$(SECONDS) TARGET=$(TARGET) scripts/fuzz.sh

miri: ## run unit tests under Miri, with a nightly toolchain
	@scripts/miri.sh

asan: ## run the C and C++ tests with all code under AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/setup.sh check
	@JOBS=$(JOBS) CMAKE_BUILD_DIR=$(BUILD) scripts/sanitize.sh address

tsan: ## run the C and C++ tests with threads under ThreadSanitizer, with the library as it is and instrumented
	@scripts/setup.sh check
	@$(call configure,)
	@cmake --build "$(BUILD)" -j $(JOBS) --target couchstore
	@CMAKE_BUILD_DIR=$(BUILD) scripts/tsan.sh
	@JOBS=$(JOBS) CMAKE_BUILD_DIR=$(BUILD) scripts/sanitize.sh thread

coverage: ## count which lines the tests run; writes build-coverage/html and the table of errors
	@scripts/setup.sh check
	@scripts/coverage.py --errors docs/errors.md

bench: ## measure work as hosts do it, with one handle, on a disk (DISK=folder), beside compactions; see docs/benchmarks.md
	@$(call measure,host cached handle disk beside)
	@scripts/benchmarks.py show

plots: ## measure with 10 000 to 1 000 000 documents (LARGE=1: 10 000 000), and draw docs/plots
	@$(call measure,$(if $(LARGE),--large) scale)
	@scripts/benchmarks.py draw

compare: ## measure redb and LMDB beside couchstore; cargo fetches them
	@$(call measure,compare)
	@scripts/benchmarks.py show compare

figures: ## put what was measured into docs/benchmarks.md and docs/plots
	@scripts/benchmarks.py write

criterion: ## run the programs in benches/ and compare with the run before
	$(CARGO) bench --locked

counts: ## count instructions and system calls of host-shaped work, and compare with the figures kept
	@scripts/setup.sh check
	@$(call configure,)
	@cmake --build "$(BUILD)" -j $(JOBS) --target couchstore
	@scripts/counts.py --build "$(BUILD)"

fmt: ## format the Rust, C and C++ files
	$(CARGO) fmt --all
	scripts/format.sh

clean: ## remove everything that was built
	$(CARGO) clean
	rm -rf "$(BUILD)" "$(BUILD)"-* fuzz/target powercut/target mutants/target mutants/work bench-compare/target
