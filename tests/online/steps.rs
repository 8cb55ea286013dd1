// SPDX-License-Identifier: Apache-2.0

//! Hooks that let the writer go on at each point where the compaction calls back, and end it at one of them.

use crate::world::World;
use couchstore::{CompactHooks, Db, DocInfoRef, Error, ErrorCode, OnlineHooks, ReplayHooks, Result, Verdict};

/// The code of failures that were asked for.
pub(crate) const FAILURE: ErrorCode = ErrorCode(-77);

/// How a hook ends the compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Error,
    Panic,
}

/// Keeps panics that were asked for from being printed.
pub(crate) fn no_word_of_wanted_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<ErrorCode>() {
                print(info);
            }
        }));
    });
}

pub(crate) struct Steps<'a> {
    pub(crate) world: &'a mut World,
    /// In so many of a hundred hooks the writer does something.
    pub(crate) percent: u64,
    /// Whether documents are looked at one by one.
    pub(crate) filters: bool,
    /// The hook that ends the compaction: its number.
    pub(crate) end: Option<(u64, End)>,
    /// Hooks called so far that can end it.
    pub(crate) calls: u64,
    pub(crate) locked: bool,
    pub(crate) locks: u32,
    pub(crate) unlocks: u32,
    pub(crate) published: u32,
    /// Sequence of the header that the copy began with.
    pub(crate) copied_seq: u64,
    pub(crate) copying: bool,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(world: &'a mut World, percent: u64) -> Steps<'a> {
        Steps {
            world,
            percent,
            filters: false,
            end: None,
            calls: 0,
            locked: false,
            locks: 0,
            unlocks: 0,
            published: 0,
            copied_seq: 0,
            copying: false,
        }
    }

    /// A point of the compaction.
    fn point(&mut self) -> Result<()> {
        let times = if self.world.rng.percent(self.percent) { 1 + self.world.rng.below(3) } else { 0 };
        for _ in 0..times {
            if !self.locked {
                self.world.step();
            }
        }
        self.calls += 1;
        match self.end {
            Some((at, End::Error)) if at == self.calls => Err(Error::Callback(FAILURE)),
            Some((at, End::Panic)) if at == self.calls => std::panic::panic_any(FAILURE),
            _ => Ok(()),
        }
    }

    /// Fails unless the lock was given back each time.
    pub(crate) fn check_released(&self) {
        assert_eq!(self.locks, self.unlocks, "locked and unlocked");
        assert!(!self.locked);
    }
}

impl CompactHooks for Steps<'_> {
    fn filters(&self) -> bool {
        self.filters
    }

    fn filter(&mut self, _: &Db, _: &DocInfoRef<'_>, _: Option<&[u8]>) -> Result<Verdict> {
        self.point()?;
        Ok(Verdict::Keep)
    }

    fn progress(&mut self, done: u64, _: u64, _: u64) -> Result<()> {
        // An empty source has nothing done at the end, too.
        if done == 0 && !std::mem::replace(&mut self.copying, true) {
            self.copied_seq = self.world.committed().update_seq;
        }
        self.point()
    }

    fn copied(&mut self, _: &Db) -> Result<()> {
        self.copying = false;
        self.point()
    }

    fn precommit(&mut self, _: &Db, _: &Db) -> Result<()> {
        self.point()
    }
}

impl ReplayHooks for Steps<'_> {
    fn before_document(&mut self, _: &Db, _: &Db, _: &DocInfoRef<'_>) -> Result<bool> {
        self.point()?;
        Ok(true)
    }

    fn before_local(&mut self, _: &Db, _: &Db, _: &[u8], _: usize) -> Result<bool> {
        self.point()?;
        Ok(true)
    }

    fn precommit(&mut self, _: &Db, _: &Db) -> Result<()> {
        self.point()
    }
}

impl OnlineHooks for Steps<'_> {
    fn counts_on_precommit(&self) -> bool {
        true
    }

    fn lock(&mut self) {
        assert!(!self.locked, "locked twice");
        // The last chance of a writer that had the lock.
        if self.world.rng.percent(self.percent) {
            self.world.step();
        }
        self.locked = true;
        self.locks += 1;
    }

    fn unlock(&mut self) {
        assert!(self.locked, "unlocked without a lock");
        self.locked = false;
        self.unlocks += 1;
    }

    fn publish(&mut self, source: &Db, target: &Db) -> Result<()> {
        assert!(self.locked, "publishing needs the lock");
        self.published += 1;
        assert!(target.is_current().unwrap().unwrap(), "published under its final name");
        assert_eq!(source.info().unwrap().last_sequence, target.info().unwrap().last_sequence);
        self.point()
    }
}
