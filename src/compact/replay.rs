// SPDX-License-Identifier: Apache-2.0

//! Bringing a copy up to date: what was committed to a file after the header that the copy was made from.

use super::bodies::BodyLimit;
use super::hooks::ReplayHooks;
use super::locals::{Locals, replay_locals};
use crate::db::Db;
use crate::db::get::owned;
use crate::db::save::{Document, Others};
use crate::db::scan::ScanOptions;
use crate::error::{Error, Result};
use crate::format::docinfo::{DocInfo, DocInfoRef};
use crate::format::header::FileHeader;
use crate::memory;

/// Puts into `target` what was committed to `source` after the header that `source` stands on, up to the header at
/// `end_offset`, and commits it with that header's timestamp. `source` is left at that header. On failure nothing
/// has changed.
///
/// `source` must know of that header: after others have appended, it is moved there and back by
/// [`Direction::End`](crate::Direction::End) and [`Db::seek_offset`].
///
/// Documents and local documents are put in batches that take about `flush_threshold` bytes of memory at most.
pub fn replay(
    source: &Db,
    target: &Db,
    end_offset: u64,
    hooks: &mut dyn ReplayHooks,
    flush_threshold: usize,
) -> Result<()> {
    replay_or_tell(source, target, end_offset, hooks, flush_threshold, &mut false)
}

/// As [`replay`]; `cannot_move` becomes true if the source could not be moved to the header at `end_offset`.
pub(crate) fn replay_or_tell(
    source: &Db,
    target: &Db,
    end_offset: u64,
    hooks: &mut dyn ReplayHooks,
    flush_threshold: usize,
    cannot_move: &mut bool,
) -> Result<()> {
    replay_with((source, target), end_offset, hooks, (flush_threshold, Locals::Compared), cannot_move)
}

/// As [`replay`], but of local documents only those are looked at that have changed in the source.
pub(super) fn replay_changes(
    source: &Db,
    target: &Db,
    end_offset: u64,
    hooks: &mut dyn ReplayHooks,
    flush_threshold: usize,
) -> Result<()> {
    replay_with((source, target), end_offset, hooks, (flush_threshold, Locals::Changed), &mut false)
}

fn replay_with(
    (source, target): (&Db, &Db),
    end_offset: u64,
    hooks: &mut dyn ReplayHooks,
    how: (usize, Locals),
    cannot_move: &mut bool,
) -> Result<()> {
    source.check_open()?;
    target.check_open()?;
    let base = source.snapshot();
    let before = target.snapshot();
    let _latch = target.latch_if_panicking();
    let end_offset =
        i64::try_from(end_offset).map_err(|_| Error::InvalidArguments("expected an offset below 2^63"));
    let moved = end_offset.and_then(|offset| source.seek_offset(offset));
    *cannot_move = moved.is_err();
    let replayed = moved.and_then(|()| replay_from((source, target), &base.header, hooks, how));
    if replayed.is_err() {
        // So that it can be tried again: what was put is forgotten, and the source stands where it stood. From memory:
        // what made the replay fail may make reading the header fail, too.
        target.update_state(|state| *state = before);
        source.update_state(|state| *state = base);
    }
    replayed
}

/// Puts what was committed between the header `base` and the one that the source stands on now.
fn replay_from(
    (source, target): (&Db, &Db),
    base: &FileHeader,
    hooks: &mut dyn ReplayHooks,
    (flush_threshold, locals): (usize, Locals),
) -> Result<()> {
    replay_locals((source, target), base.local.as_ref(), locals, hooks, flush_threshold)?;
    replay_documents((source, target), base.update_seq.saturating_add(1), hooks, flush_threshold)?;
    let end = source.snapshot().header;
    target.set_purge_seq(end.purge_seq);
    hooks.precommit(source, target)?;
    target.commit_with(end.timestamp, None)
}

fn replay_documents(
    (source, target): (&Db, &Db),
    first: u64,
    hooks: &mut dyn ReplayHooks,
    flush_threshold: usize,
) -> Result<()> {
    let mut batch = Batch { target, flush_threshold, documents: Vec::new(), bytes: 0, put_last: None };
    let mut bodies = BodyLimit::new(source);
    source.changes_since(first, ScanOptions::default(), &mut |info| {
        // The hook sees what was put so far, so that is as much as the threshold says.
        batch.make_room(Batch::size_of(info, info.physical_size as usize))?;
        if !hooks.before_document(source, target, info)? {
            return Ok(());
        }
        let mut body = None;
        if info.body_position != 0 {
            let stored = source.stored_body(info)?;
            bodies.count(info.body_position, stored.len())?;
            body = Some(stored);
        }
        batch.add(info, body)
    })?;
    batch.put()
}

/// Memory for a document in a batch and while it is saved, besides its strings.
const COST_OF_DOCUMENT: usize = 768;
/// So often its id and rev_meta are in memory then.
const COPIES: usize = 4;

/// Documents that wait to be put into the target.
struct Batch<'a> {
    target: &'a Db,
    flush_threshold: usize,
    documents: Vec<(DocInfo, Option<Vec<u8>>)>,
    bytes: usize,
    /// Sequence number of the last document that was put.
    put_last: Option<u64>,
}

impl Batch<'_> {
    /// Memory that a document takes.
    fn size_of(info: &DocInfoRef<'_>, body: usize) -> usize {
        COST_OF_DOCUMENT + COPIES * (info.id.len() + info.rev_meta.len()) + body
    }

    /// Puts what waits if there is no room for so many bytes more.
    fn make_room(&mut self, bytes: usize) -> Result<()> {
        if self.bytes + bytes > self.flush_threshold { self.put() } else { Ok(()) }
    }

    fn add(&mut self, info: &DocInfoRef<'_>, body: Option<Vec<u8>>) -> Result<()> {
        // The entry need not tell the truth about the size.
        let bytes = Batch::size_of(info, body.as_ref().map_or(0, Vec::len));
        self.make_room(bytes)?;
        self.bytes += bytes;
        memory::push(&mut self.documents, (owned(info)?, body))
    }

    fn put(&mut self) -> Result<()> {
        let Some((last, _)) = self.documents.last() else { return Ok(()) };
        let last = last.db_seq;
        let documents =
            memory::collect(self.documents.iter().map(|(info, body)| Document::of(info, body.as_deref())))?;
        // Bodies are put as they are stored: compressed ones stay as they are.
        self.target.save_as_they_are(&documents, self.put_last.map_or(Others::Go, Others::StayAt))?;
        drop(documents);
        self.documents.clear();
        self.bytes = 0;
        self.put_last = Some(last);
        Ok(())
    }
}
