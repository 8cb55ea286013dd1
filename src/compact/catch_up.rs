// SPDX-License-Identifier: Apache-2.0

//! Bringing the copy of an online compaction up to what was committed to its source meanwhile.
//!
//! A writer may rewind the source and go on from an older header; then the copy holds changes that are no longer
//! part of the history, and a replay by sequence number would miss others. So before each replay both headers are
//! compared ([`leads_to`]). The comparison skips what both share, so it costs as much as the replay itself.

use super::copy::{documents_in, is_secret};
use super::descent::leads_to;
use super::hooks::ReplayHooks;
use super::options::OnlineOptions;
use super::pace::Lock;
use super::progress::Progress;
use super::replay::replay_changes;
use super::sort::SortPlace;
use crate::db::headers::Direction;
use crate::db::hidden::Hidden;
use crate::db::scan::seq_key;
use crate::db::{Db, State};
use crate::error::Result;
use crate::format::docinfo::DocInfoRef;
use crate::io::naming::FileId;
use crate::tree::read::count_range;
use std::path::Path;
use std::time::Duration;

/// Memory for documents that a replay gathers before it saves them, in bytes.
const FLUSH_THRESHOLD: usize = 16 << 20;

/// As [`FLUSH_THRESHOLD`], while writers are slowed down: saving what was gathered may happen under the lock.
const BRAKING_FLUSH_THRESHOLD: usize = 512 << 10;

/// A copy of the source's state at one of its headers.
pub(super) struct Copied {
    pub(super) source: Db,
    /// Which file of the operating system the source is, if any.
    pub(super) source_file: Option<FileId>,
    pub(super) target: Db,
    pub(super) hidden: Hidden,
    /// The header of the source that the target is up to date with; the source handle stands there.
    pub(super) base: State,
    /// Nothing was replayed yet.
    is_first: bool,
    progress: Progress,
}

/// How a round ended.
pub(super) enum Round {
    /// The copy is as new as the source's newest header.
    UpToDate,
    /// The source was rewound: the copy is worthless.
    Rewound,
}

impl Copied {
    /// `target` has what `source` stands on.
    pub(super) fn new(source: Db, source_file: Option<FileId>, target: Db, hidden: Hidden) -> Copied {
        let base = source.snapshot();
        let mut progress = Progress::new(documents_in(&base.header));
        progress.all_done();
        Copied { source, source_file, target, hidden, base, is_first: true, progress }
    }

    /// The newest header of the source. Leaves the source handle at the header that the copy is up to date with.
    pub(super) fn newest(&self) -> Result<State> {
        self.source.seek(Direction::End)?;
        let newest = self.source.snapshot();
        self.back_to_base()?;
        Ok(newest)
    }

    fn back_to_base(&self) -> Result<()> {
        let base = self.base.position.unwrap_or(0);
        self.source.seek_offset(base as i64)
    }

    /// How much the source has grown since the header that the copy is up to date with.
    pub(super) fn delta(&self, newest: &State) -> u64 {
        newest.position.unwrap_or(0).saturating_sub(self.base.position.unwrap_or(0))
    }

    /// Under the lock, where little is left, a single sync is the fastest.
    pub(super) fn stop_write_back(&self) -> Result<()> {
        self.target.file().with(|file| {
            file.io().set_write_back(false);
            Ok(())
        })
    }

    /// Brings the copy up to the source's newest header. Whether there is anything to do is decided by the header's
    /// position: a header may change local documents alone, without any sequence number. With `stretch` writers are
    /// slowed down meanwhile: see [`Lock::alternate`].
    pub(super) fn replay_up_to(
        &mut self,
        newest: &State,
        lock: &mut Lock<'_>,
        options: &OnlineOptions,
        (directory, stretch): (&Path, Option<Duration>),
    ) -> Result<Round> {
        if newest.position == self.base.position {
            return Ok(Round::UpToDate);
        }
        let first = self.base.header.update_seq.saturating_add(1);
        let changed = newest.header.by_seq.as_ref();
        let changed = count_range(self.source.file(), changed, &seq_key(first), &seq_key(u64::MAX))?;
        self.progress.catch_up_with(changed);
        self.tell(lock)?;
        let secret = is_secret(&self.source, &self.target)?;
        let place = SortPlace { directory, budget: options.compact.memory_budget, secret };
        let headers = (&self.base.header, &newest.header);
        if !leads_to(self.source.file(), headers, place, &mut || self.tell(lock))? {
            return Ok(Round::Rewound);
        }
        let end = newest.position.unwrap_or(0);
        let drop_deletes = options.compact.drop_deletes;
        let mut hooks = Finishing { lock, stretch, drop_deletes, progress: &mut self.progress };
        let threshold = if stretch.is_some() { BRAKING_FLUSH_THRESHOLD } else { FLUSH_THRESHOLD };
        replay_changes(&self.source, &self.target, end, &mut hooks, threshold)?;
        self.base = newest.clone();
        self.is_first = false;
        Ok(Round::UpToDate)
    }

    fn tell(&self, lock: &mut Lock<'_>) -> Result<()> {
        self.progress.tell_more(self.target.file().end(), lock.hooks)
    }

    /// A host that counts on the hook before the last commit gets one, also if there was nothing to replay.
    pub(super) fn commit_for_hook(&self, lock: &mut Lock<'_>) -> Result<()> {
        if !self.is_first || !lock.hooks.counts_on_precommit() {
            return Ok(());
        }
        ReplayHooks::precommit(lock.hooks, &self.source, &self.target)?;
        self.target.commit_with(self.base.header.timestamp, None)
    }
}

/// The hooks of a replay, and what the copy's header takes from the source's besides.
struct Finishing<'a, 'b> {
    lock: &'a mut Lock<'b>,
    stretch: Option<Duration>,
    drop_deletes: bool,
    progress: &'a mut Progress,
}

impl Finishing<'_, '_> {
    fn step(&mut self, target: &Db, bytes: usize) -> Result<()> {
        if let Some(stretch) = self.stretch {
            self.lock.alternate(stretch)?;
        }
        self.progress.step(bytes, || target.file().end(), self.lock.hooks)
    }
}

impl ReplayHooks for Finishing<'_, '_> {
    fn before_document(&mut self, source: &Db, target: &Db, info: &DocInfoRef<'_>) -> Result<bool> {
        self.progress.one_caught_up();
        self.step(target, info.physical_size as usize)?;
        self.lock.hooks.before_document(source, target, info)
    }

    fn before_local(&mut self, source: &Db, target: &Db, id: &[u8], length: usize) -> Result<bool> {
        self.step(target, length)?;
        self.lock.hooks.before_local(source, target, id, length)
    }

    fn precommit(&mut self, source: &Db, target: &Db) -> Result<()> {
        if self.stretch.is_some() {
            // The commit waits for the disk, which needs no lock.
            self.lock.release();
        }
        let end = source.snapshot().header;
        target.update_state(|state| {
            state.header.update_seq = end.update_seq;
            state.header.purge_seq = end.purge_seq_of_copy(self.drop_deletes);
        });
        ReplayHooks::precommit(self.lock.hooks, source, target)
    }
}
