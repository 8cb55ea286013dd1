// SPDX-License-Identifier: Apache-2.0

//! What callers may do during a replay, and during an online compaction.

use super::copy::CompactHooks;
use crate::db::Db;
use crate::error::Result;
use crate::format::docinfo::DocInfoRef;

/// What a caller may do during a replay. Each method may use both handles and sees what was put into the target so
/// far; its error ends the replay.
pub trait ReplayHooks {
    /// Called before a document is put into the target; `false` leaves it out.
    fn before_document(&mut self, source: &Db, target: &Db, info: &DocInfoRef<'_>) -> Result<bool> {
        let _ = (source, target, info);
        Ok(true)
    }

    /// Called before a local document is put into the target, with its id and the length of its body, by [`replay`](crate::replay)
    /// also if the target already has it; `false` leaves it out.
    fn before_local(&mut self, source: &Db, target: &Db, id: &[u8], length: usize) -> Result<bool> {
        let _ = (source, target, id, length);
        Ok(true)
    }

    /// Called right before the commit; may change what it will hold.
    fn precommit(&mut self, source: &Db, target: &Db) -> Result<()> {
        let _ = (source, target);
        Ok(())
    }
}

impl ReplayHooks for () {}

/// What the host does during an online compaction, besides the hooks of copying and of replaying.
pub trait OnlineHooks: CompactHooks + ReplayHooks {
    /// Whether the host counts on [`ReplayHooks::precommit`]: then it is called, and its commit made, also if nothing
    /// was committed meanwhile. Else it is called only before the commits of replays.
    fn counts_on_precommit(&self) -> bool {
        false
    }

    /// Keeps writers from saving and committing until [`OnlineHooks::unlock`]. Called once at the end; before that
    /// for short times if writers are faster than the catching up, and again if the source turns out to be rewound.
    /// Whoever holds the lock must not wait for this compaction.
    fn lock(&mut self) {}

    /// As [`OnlineHooks::lock`], for locks that may fail. After an error the lock is not held, and the compaction ends.
    fn try_lock(&mut self) -> Result<()> {
        self.lock();
        Ok(())
    }

    /// Lets writers go on. Called after every [`OnlineHooks::lock`], whatever happens between.
    fn unlock(&mut self) {}

    /// Called under the lock once the result is complete and durable under its final name: the host switches over.
    /// An error undoes everything.
    fn publish(&mut self, source: &Db, target: &Db) -> Result<()> {
        let _ = (source, target);
        Ok(())
    }
}
