// SPDX-License-Identifier: Apache-2.0

//! What happens during a compaction besides copying: purging, the progress bar, and looking for Ctrl-C.

use super::purge::Purging;
use crate::carry::Carry;
use crate::interrupt::Interrupt;
use couchstore::{CompactHooks, Db, DocInfoRef, OnlineHooks, ReplayHooks, Result, Verdict};
use indicatif::ProgressBar;

pub(super) struct Hooks {
    pub(super) purging: Purging,
    /// Each document is shown to the filter.
    pub(super) looks_at_all: bool,
    pub(super) bar: ProgressBar,
    pub(super) interrupt: Interrupt,
    pub(super) carry: Carry,
}

impl CompactHooks for Hooks {
    /// Also without purging, unless a second thread could be used: bodies may be large, and progress is told after many
    /// of them.
    fn filters(&self) -> bool {
        self.looks_at_all
    }

    fn filter(&mut self, _target: &Db, info: &DocInfoRef<'_>, _body: Option<&[u8]>) -> Result<Verdict> {
        self.carry.take(self.interrupt.check())?;
        Ok(self.purging.decide(info))
    }

    fn progress(&mut self, done: u64, total: u64, _bytes: u64) -> Result<()> {
        // An online compaction may begin anew. A damaged count of none is told at the end, too.
        if done == 0 && total > 0 {
            self.purging.restart();
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.carry.take(self.interrupt.check())
    }

    fn precommit(&mut self, _source: &Db, target: &Db) -> Result<()> {
        self.purging.raise_purge_seq(target);
        self.carry.take(self.interrupt.check())
    }
}

/// Catching up keeps all tombstones: what they delete may have been copied before.
impl ReplayHooks for Hooks {
    fn before_document(&mut self, _source: &Db, _target: &Db, _info: &DocInfoRef<'_>) -> Result<bool> {
        self.carry.take(self.interrupt.check())?;
        Ok(true)
    }

    fn precommit(&mut self, _source: &Db, target: &Db) -> Result<()> {
        self.purging.raise_purge_seq(target);
        self.carry.take(self.interrupt.check())
    }
}

/// Writers in other processes cannot be locked out from here.
impl OnlineHooks for Hooks {}
