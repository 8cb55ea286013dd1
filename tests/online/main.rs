// SPDX-License-Identifier: Apache-2.0

//! Online compaction beside a writer.
//!
//! * [`world`]: a database with a writer, and a model of every header that the writer has committed
//! * [`steps`]: hooks that let the writer go on at each point where the compaction calls back, and end it at one of them
//! * [`interleavings`]: random histories: the result is what the source held at its last header
//! * [`aborts`]: failures at every hook and at every naming call leave the source and nothing else
//! * [`exclusion`]: what the answers of locking mean
//! * [`leftovers`]: processes that are killed at every naming call, and who removes what they leave
//! * [`swap`]: names, exclusion, files that are deleted or replaced meanwhile
//! * [`catching_up`]: what is done about changes meanwhile, and what it costs under the lock
//! * [`traps`]: histories that a replay by sequence number alone would get wrong
//! * [`threads`]: a writer, readers and a compaction in threads of their own
//! * [`schedules`]: the same as coroutines, in random schedules
//! * `disk`: a simulated disk with a source, a writer and a host (feature `sim`)
//! * `power`: the whole procedure on a simulated disk (feature `sim`)
//! * [`rounds`]: how many rounds there are, when writers are kept out, and what is told of it in the end
//! * [`cost`]: how long the lock is held, and what the writer feels (not part of the usual run)
//!
//! A failure prints the seed of its history: `COUCHSTORE_TEST_SEED=seed` runs that one.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod aborts;
mod catching_up;
mod cost;
#[cfg(feature = "sim")]
mod disk;
mod exclusion;
mod interleavings;
mod leftovers;
#[cfg(feature = "sim")]
mod power;
mod rounds;
mod schedules;
mod steps;
mod swap;
mod threads;
mod traps;
mod world;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}
