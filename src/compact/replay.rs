//! Bringing a copy up to date: what was committed to a file after the header that the copy was made from.

use crate::db::Db;
use crate::db::local::LocalUpdate;
use crate::db::save::{Document, SaveOptions};
use crate::db::scan::ScanOptions;
use crate::error::{Error, Result};
use crate::format::docinfo::{DocInfo, DocInfoRef};

/// What a caller may do during a replay. Each method may use both handles and sees what was put into the target so
/// far; its error ends the replay.
pub trait ReplayHooks {
    /// Called before a document is put into the target; `false` leaves it out.
    fn before_document(&mut self, source: &Db, target: &Db, info: &DocInfoRef<'_>) -> Result<bool> {
        let _ = (source, target, info);
        Ok(true)
    }

    /// Called before a local document is put into the target, with its id and the length of its body, also if the
    /// target already has it; `false` leaves it out.
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

/// Puts into `target` what was committed to `source` after the header that `source` stands on, up to the header at
/// `end_offset`, and commits it with that header's timestamp. `source` is left at that header. On failure nothing
/// has changed.
///
/// `source` must know of that header: after others have appended, it is moved there and back by
/// [`Direction::End`](crate::Direction::End) and [`Db::seek_offset`].
///
/// Documents are put in batches of about `flush_threshold` bytes at most.
pub fn replay(
    source: &Db,
    target: &Db,
    end_offset: u64,
    hooks: &mut dyn ReplayHooks,
    flush_threshold: usize,
) -> Result<()> {
    source.check_open()?;
    target.check_open()?;
    let end_offset =
        i64::try_from(end_offset).map_err(|_| Error::InvalidArguments("expected an offset below 2^63"))?;
    let base = source.snapshot();
    let before = target.snapshot();
    let _latch = target.latch_if_panicking();
    let replayed = replay_from_base(source, target, end_offset, hooks, flush_threshold);
    if replayed.is_err() {
        // So that it can be tried again: what was put is forgotten, and the source stands where it stood.
        target.update_state(|state| *state = before);
        if let Some(position) = base.position {
            let _ = source.seek_offset(position as i64);
        }
    }
    replayed
}

fn replay_from_base(
    source: &Db,
    target: &Db,
    end_offset: i64,
    hooks: &mut dyn ReplayHooks,
    flush_threshold: usize,
) -> Result<()> {
    let first = source.snapshot().header.update_seq.saturating_add(1);
    let mut base_locals = Vec::new();
    source.scan_local(b"", &mut |id, _| {
        base_locals.push(id.to_vec());
        Ok(())
    })?;
    source.seek_offset(end_offset)?;
    let mut replay = Replay { source, target, hooks, flush_threshold };
    replay.locals(base_locals)?;
    replay.documents(first)?;
    let end = source.snapshot().header;
    target.set_purge_seq(end.purge_seq);
    replay.hooks.precommit(source, target)?;
    target.commit_with(end.timestamp, None)
}

struct Replay<'a> {
    source: &'a Db,
    target: &'a Db,
    hooks: &'a mut dyn ReplayHooks,
    flush_threshold: usize,
}

impl Replay<'_> {
    /// Local documents: those that differ are put, those that are gone since the base are removed, those that only
    /// the target has stay.
    fn locals(&mut self, base: Vec<Vec<u8>>) -> Result<()> {
        let mut gone = base.into_iter().peekable();
        let mut changes: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        self.source.scan_local(b"", &mut |id, body| {
            while let Some(removed) = gone.next_if(|old| old.as_slice() < id) {
                changes.push((removed, None));
            }
            gone.next_if(|old| old.as_slice() == id);
            if self.hooks.before_local(self.source, self.target, id, body.len())?
                && !self.has_local(id, body)?
            {
                changes.push((id.to_vec(), Some(body.to_vec())));
            }
            Ok(())
        })?;
        changes.extend(gone.map(|removed| (removed, None)));
        let updates: Vec<_> =
            changes.iter().map(|(id, body)| LocalUpdate { id, body: body.as_deref() }).collect();
        self.target.save_local(&updates)
    }

    fn has_local(&self, id: &[u8], body: &[u8]) -> Result<bool> {
        match self.target.local(id) {
            Ok(found) => Ok(found == body),
            Err(Error::DocNotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn documents(&mut self, first: u64) -> Result<()> {
        let (source, target) = (self.source, self.target);
        let mut batch = Batch::default();
        source.changes_since(first, ScanOptions::default(), &mut |info| {
            // Documents that share a sequence number belong into one batch: a later one would replace them.
            let size = Batch::size_of(info);
            if batch.bytes + size > self.flush_threshold && !batch.ends_with(info.db_seq) {
                batch.put_into(target)?;
            }
            if !self.hooks.before_document(source, target, info)? {
                return Ok(());
            }
            let body = match info.body_position {
                0 => None,
                _ => Some(source.stored_body(info)?),
            };
            batch.add(info.to_owned(), body, size);
            Ok(())
        })?;
        batch.put_into(target)
    }
}

#[derive(Default)]
struct Batch {
    documents: Vec<(DocInfo, Option<Vec<u8>>)>,
    bytes: usize,
}

impl Batch {
    /// Memory that a document takes in a batch.
    fn size_of(info: &DocInfoRef<'_>) -> usize {
        size_of::<DocInfo>() + info.id.len() + info.rev_meta.len() + info.physical_size as usize
    }

    fn add(&mut self, info: DocInfo, body: Option<Vec<u8>>, size: usize) {
        self.bytes += size;
        self.documents.push((info, body));
    }

    fn ends_with(&self, seq: u64) -> bool {
        self.documents.last().is_some_and(|(info, _)| info.db_seq == seq)
    }

    fn put_into(&mut self, target: &Db) -> Result<()> {
        let documents: Vec<Document<'_>> =
            self.documents.iter().map(|(info, body)| Document::of(info, body.as_deref())).collect();
        // Bodies are put as they are stored: compressed ones stay as they are.
        target.save(&documents, SaveOptions { compress: false, keep_sequences: true })?;
        drop(documents);
        *self = Batch::default();
        Ok(())
    }
}
