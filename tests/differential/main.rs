// SPDX-License-Identifier: Apache-2.0

//! Every setting gives the same answers: random sequences of calls, compared with the model, each run in two ways that
//! must not differ in a byte.
//!
//! Here in Rust; `tests/cxx-consumer/tests/differential.rs` does the same in C and C++ with these modules.
//!
//! * `case`: settings and operations, which are the input
//! * `engine`: the library as a language has it; `rust`: as Rust has it
//! * `handle`: a handle and where it stands; `world`: a file with two of them
//! * `play`: a case from the beginning to the end
//!
//! `COUCHSTORE_DIFFERENTIAL_CASES` is the number of cases.

#![allow(clippy::unwrap_used, reason = "tests")]

mod case;
#[path = "../common/mod.rs"]
mod common;
mod engine;
mod handle;
mod play;
mod rust;
mod world;

use common::property::check;

#[test]
fn two_ways_give_the_same_answers_and_bytes() {
    check(play::cases(700), &case::case(true), |case| {
        let [first, second] = case.settings.ways;
        let traces = [
            play::play(&rust::Rust, &case, [first, second]),
            play::play(&rust::Rust, &case, [second, first]),
        ];
        assert_eq!(traces[0], traces[1], "the bytes of both ways");
    });
}
