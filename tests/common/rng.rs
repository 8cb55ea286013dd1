// SPDX-License-Identifier: Apache-2.0

//! Random numbers with a seed that is printed when a test fails.
//!
//! `COUCHSTORE_TEST_SEED=123 cargo test ...` runs the same sequence again.

use std::hash::{BuildHasher, Hasher};

/// The seed of this run: from the environment, or a new one.
pub(crate) fn seed() -> u64 {
    match std::env::var("COUCHSTORE_TEST_SEED") {
        Ok(text) => text.parse().expect("COUCHSTORE_TEST_SEED is a number"),
        Err(_) => std::hash::RandomState::new().build_hasher().finish(),
    }
}

/// A small generator (splitmix64): good enough to shuffle documents, and the same everywhere.
pub(crate) struct Rng {
    seed: u64,
    state: u64,
}

impl Rng {
    /// A generator with the seed of this run.
    pub(crate) fn new() -> Rng {
        Rng::with_seed(seed())
    }

    /// A generator with this seed.
    pub(crate) fn with_seed(seed: u64) -> Rng {
        Rng { seed, state: seed }
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    /// An index of something with `length` elements.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Bytes that cannot be compressed.
    pub(crate) fn noise(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.number() as u8).collect()
    }

    /// Bytes that can be compressed.
    pub(crate) fn text(&mut self, length: usize) -> Vec<u8> {
        const WORDS: [&[u8]; 4] = [b"lorem ", b"ipsum ", b"dolor ", b"sit amet "];
        let mut text = Vec::with_capacity(length + 10);
        while text.len() < length {
            text.extend_from_slice(WORDS[self.index(4)]);
        }
        text.truncate(length);
        text
    }
}

impl Drop for Rng {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to run this again: COUCHSTORE_TEST_SEED={}", self.seed);
        }
    }
}
