// SPDX-License-Identifier: Apache-2.0

//! What the workloads commit: the same for the same seed and number, so that whoever checks knows it.

use crate::common::model::{Doc, Model};
use crate::disk::BODY_PATTERN;
use couchstore::io::sim::random::Random;

#[path = "../../tests/reliability/history.rs"]
#[allow(dead_code, reason = "the simulated disk uses the rest of it")]
mod shared;
pub(crate) use shared::{Transaction, small_nodes};

/// No workload commits so often.
const MOST: u64 = 500;

/// Whether the databases of this seed are encrypted: half of them are.
pub(crate) fn is_encrypted(seed: u64) -> bool {
    !seed.is_multiple_of(2)
}

/// The seed next to this one whose databases are not encrypted.
pub(crate) fn plain(seed: u64) -> u64 {
    seed - seed % 2
}

/// The transaction with this number, from 1. Some of its bodies are such that a disk knows them.
pub(crate) fn transaction(seed: u64, number: u64) -> Transaction {
    let mut random = Random::for_run(seed, number);
    let mut transaction =
        Transaction { encrypted: is_encrypted(seed), ..Transaction::random(&mut random, number) };
    for large in 0..=random.below(3) {
        let id = format!("large-{}", (number + large) % 8);
        let length = 100 + random.below(20_000) as usize;
        let body: Vec<_> = BODY_PATTERN.iter().copied().cycle().take(length).collect();
        transaction.docs.push(Doc::new(id.as_bytes(), &body));
    }
    transaction
}

/// What a database holds after each commit.
pub(crate) struct States {
    seed: u64,
    known: Vec<Model>,
}

impl States {
    pub(crate) fn new(seed: u64) -> States {
        States { seed, known: vec![Model::default()] }
    }

    /// Whether they are those of encrypted databases.
    pub(crate) fn are_encrypted(&self) -> bool {
        is_encrypted(self.seed)
    }

    /// Whether they come from this seed.
    pub(crate) fn are_of(&self, seed: u64) -> bool {
        self.seed == seed
    }

    /// The state after a commit; `None` if no workload commits so often.
    pub(crate) fn after(&mut self, commit: u64) -> Option<&Model> {
        while commit <= MOST && self.known.len() as u64 <= commit {
            let next = transaction(self.seed, self.known.len() as u64);
            let last = self.known.last()?;
            self.known.push(next.applied_to(last));
        }
        self.known.get(commit as usize)
    }
}
