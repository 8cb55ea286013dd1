// SPDX-License-Identifier: Apache-2.0

//! Every language gives the same answers: the random sequences of `tests/differential` in C, plain and in C++, where a
//! class hands the file operations on, compared with the model and with the bytes that Rust writes. Runs with the
//! feature `cxx`.

#![cfg(feature = "cxx")]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../../differential/case.rs"]
mod case;
#[path = "../../../common/mod.rs"]
mod common;
#[path = "../../../differential/engine.rs"]
mod engine;
mod foreign;
#[path = "../../../differential/handle.rs"]
mod handle;
#[path = "../../../differential/play.rs"]
mod play;
#[path = "../../../differential/rust.rs"]
mod rust;
#[path = "../../../differential/world.rs"]
mod world;

use common::property::check;
use couchstore_cxx_consumer::executor::{Executor, cxx, plain_c};
use foreign::Foreign;

/// What the language gives in one way, and Rust in the other.
fn compare(language: &'static Executor) {
    check(play::cases(150), &case::case(false), |case| {
        let [first, second] = case.settings.ways;
        let traces = [
            play::play(&Foreign(language), &case, [first, second]),
            play::play(&rust::Rust, &case, [second, first]),
        ];
        assert_eq!(traces[0], traces[1], "the bytes of both languages");
    });
}

#[test]
fn c_gives_the_same_answers_and_bytes() {
    compare(plain_c());
}

#[test]
fn cxx_gives_the_same_answers_and_bytes() {
    compare(cxx());
}
