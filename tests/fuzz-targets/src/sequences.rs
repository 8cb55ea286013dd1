// SPDX-License-Identifier: Apache-2.0

//! The random sequences of `tests/differential`. Four bytes are the seed of the settings, and every four more of one
//! operation: so operations can be added, left out, and brought into another order.

use crate::case::{Case, op, settings};
use crate::{play, rust};
use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Longer sequences take too long for one run.
const MOST_OPERATIONS: usize = 60;

/// What a strategy gives for this seed.
fn value<S: Strategy>(strategy: &S, seed: &[u8]) -> S::Value {
    let mut bytes = [0; 32];
    bytes[..seed.len()].copy_from_slice(seed);
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    strategy.new_tree(&mut runner).expect("a value for any seed").current()
}

/// A case of the differential test, in both ways.
pub fn sequences(data: &[u8]) {
    let mut seeds = data.chunks(4);
    let Some(first) = seeds.next() else { return };
    let operation = op();
    let ops = seeds.take(MOST_OPERATIONS).map(|seed| value(&operation, seed)).collect();
    let case = Case { settings: value(&settings(true), first), ops };
    let [first, second] = case.settings.ways;
    let bytes = play::play(&rust::Rust, &case, [first, second]);
    assert_eq!(bytes, play::play(&rust::Rust, &case, [second, first]), "the bytes of both ways");
}
