// SPDX-License-Identifier: Apache-2.0

//! Telling the host how far a compaction is, at bounded intervals.

use super::copy::CompactHooks;
use crate::error::Result;

/// Told after so many documents or entries, or bytes of them.
const STEP: u64 = 1000;
const STEP_BYTES: u64 = 16 << 20;

/// How many documents are done, of how many, and what was done since this was told.
pub(super) struct Progress {
    done: u64,
    total: u64,
    steps: Steps,
}

impl Progress {
    /// Nothing is done yet.
    pub(super) fn new(total: u64) -> Progress {
        Progress { done: 0, total, steps: Steps::default() }
    }

    /// So many documents have to be caught up with. They do not count, unless nothing else does.
    pub(super) fn catch_up_with(&mut self, count: u64) {
        if self.total == 0 {
            self.total = count;
        }
    }

    /// A document is caught up with.
    pub(super) fn one_caught_up(&mut self) {
        self.done = self.total.min(self.done + 1);
    }

    /// A document is done.
    pub(super) fn one_done(&mut self) {
        self.done += 1;
    }

    /// All documents are done.
    pub(super) fn all_done(&mut self) {
        self.done = self.total;
    }

    /// An entry was dealt with, and so many bytes. `end`: how many the target has.
    #[inline]
    pub(super) fn step(
        &mut self,
        bytes: usize,
        end: impl FnOnce() -> u64,
        hooks: &mut dyn CompactHooks,
    ) -> Result<()> {
        if self.steps.are_many(bytes) { self.tell_more(end(), hooks) } else { Ok(()) }
    }

    /// Tells, but not if nothing is done: to the host that is the beginning.
    pub(super) fn tell_more(&self, end: u64, hooks: &mut dyn CompactHooks) -> Result<()> {
        if self.done > 0 { self.tell(end, hooks) } else { Ok(()) }
    }

    pub(super) fn tell(&self, end: u64, hooks: &mut dyn CompactHooks) -> Result<()> {
        hooks.progress(self.done, self.total, end)
    }
}

/// What was done since it was told.
#[derive(Default)]
pub(super) struct Steps {
    entries: u64,
    bytes: u64,
}

impl Steps {
    /// Adds an entry and so many bytes. Whether it is time to tell.
    #[inline]
    pub(super) fn are_many(&mut self, bytes: usize) -> bool {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let many = self.entries >= STEP || self.bytes >= STEP_BYTES;
        if many {
            *self = Steps::default();
        }
        many
    }
}
