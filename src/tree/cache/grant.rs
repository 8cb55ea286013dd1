// SPDX-License-Identifier: Apache-2.0

//! How much memory the handles of a process take for nodes, together, beyond the little that each of them has anyway.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// So much is asked for at a time.
const STEP: u64 = 64 << 10;

/// What handles have together.
#[derive(Debug)]
pub(super) struct Pool {
    /// In bytes, at most.
    most: u64,
    granted: AtomicU64,
}

/// What all handles of a process have, in bytes.
pub(super) const OF_A_PROCESS: u64 = 64 << 20;
static ALL_HANDLES: Pool = Pool::new(OF_A_PROCESS);

impl Pool {
    pub(super) const fn new(most: u64) -> Pool {
        Pool { most, granted: AtomicU64::new(0) }
    }
}

/// One handle's part; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Granted {
    pool: &'static Pool,
    bytes: Cell<u64>,
}

impl Default for Granted {
    fn default() -> Granted {
        Granted::of(&ALL_HANDLES)
    }
}

impl Granted {
    pub(super) fn of(pool: &'static Pool) -> Granted {
        Granted { pool, bytes: Cell::new(0) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Asks for another [`STEP`]. False: the handles have all that they may have.
    pub(super) fn ask_for_more(&self) -> bool {
        self.ask_for(STEP)
    }

    /// Asks for so much more, in steps. False: the handles would have more than they may.
    pub(super) fn ask_for(&self, bytes: u64) -> bool {
        let steps = bytes.next_multiple_of(STEP);
        let more = |granted: u64| Some(granted + steps).filter(|&sum| sum <= self.pool.most);
        let granted = self.pool.granted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        self.bytes.set(self.bytes.get() + if granted { steps } else { 0 });
        granted
    }

    pub(super) fn give_back(&self) {
        self.pool.granted.fetch_sub(self.bytes.take(), Ordering::Relaxed);
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.give_back();
    }
}
