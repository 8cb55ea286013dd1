// SPDX-License-Identifier: Apache-2.0

//! Local documents of a replay: they have no sequence numbers that would tell which have changed.

use super::hooks::ReplayHooks;
use crate::db::Db;
use crate::db::local::LocalUpdate;
use crate::error::Result;
use crate::format::Malformed;
use crate::format::header::NodeRef;
use crate::memory;
use crate::tree::cache::file::{Reading, TreeFile};
use crate::tree::diff::diff;
use crate::tree::read::Cursor;
use std::cmp::Ordering;

/// Changes are put when they have more bytes than this, whatever the caller's threshold: while they are put, some of
/// them are in memory several times.
const MOST_BYTES: usize = 4 << 20;
/// Memory for a change, besides its bytes, while it waits and while it is put.
const COST_OF_CHANGE: usize = 256;

/// How a replay finds out what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locals {
    /// All of the source's documents are compared with the target's. What somebody else has changed in the target
    /// becomes what it is in the source.
    Compared,
    /// The source's two trees are compared, of which most nodes are the same ones: the cost is that of the changes.
    Changed,
}

/// Local documents that wait to be put into the target.
struct Changes<'a> {
    target: &'a Db,
    threshold: usize,
    waiting: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    bytes: usize,
}

impl<'a> Changes<'a> {
    fn new(target: &'a Db, flush_threshold: usize) -> Changes<'a> {
        let threshold = flush_threshold.min(MOST_BYTES);
        Changes { target, threshold, waiting: Vec::new(), bytes: 0 }
    }

    /// `None`: it is gone.
    fn add(&mut self, id: &[u8], body: Option<&[u8]>) -> Result<()> {
        let bytes = COST_OF_CHANGE + id.len() + body.map_or(0, <[u8]>::len);
        if self.bytes + bytes > self.threshold {
            self.put()?;
        }
        if bytes > self.threshold {
            return self.target.save_local(&[LocalUpdate { id, body }]);
        }
        self.bytes += bytes;
        let change = (memory::copy(id)?, body.map(memory::copy).transpose()?);
        memory::push(&mut self.waiting, change)
    }

    fn put(&mut self) -> Result<()> {
        let updates = self.waiting.iter().map(|(id, body)| LocalUpdate { id, body: body.as_deref() });
        let updates = memory::collect(updates)?;
        self.target.save_local(&updates)?;
        drop(updates);
        self.waiting.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// Brings the target's local documents up to those of `source`, which were those below the root `base` before: those
/// that are gone since are removed, those that only the target has stay.
pub(super) fn replay_locals(
    (source, target): (&Db, &Db),
    base: Option<&NodeRef>,
    how: Locals,
    hooks: &mut dyn ReplayHooks,
    flush_threshold: usize,
) -> Result<()> {
    let mut changes = Changes::new(target, flush_threshold);
    match how {
        Locals::Compared => compare(source, base, hooks, &mut changes)?,
        Locals::Changed => {
            let end = source.local_root();
            diff(source.file(), base, end.as_ref(), &mut |change| match change.new {
                Some(body) if !hooks.before_local(source, target, change.key, body.len())? => Ok(()),
                body => changes.add(change.key, body),
            })?;
        }
    }
    changes.put()
}

/// One merge of three scans.
fn compare(
    source: &Db,
    base: Option<&NodeRef>,
    hooks: &mut dyn ReplayHooks,
    changes: &mut Changes<'_>,
) -> Result<()> {
    let target = changes.target;
    let mut before = Scan::new(source.file(), base, b"")?;
    let mut end = Scan::new(source.file(), source.local_root().as_ref(), b"")?;
    let mut present = Present { target, root: None, scan: Scan::new(target.file(), None, b"")? };
    loop {
        let order = match (before.entry()?, end.entry()?) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((before, _)), Some((id, _))) => before.cmp(id),
        };
        if let (Ordering::Less, Some((id, _))) = (order, before.entry()?) {
            if present.body(id)?.is_some() {
                changes.add(id, None)?;
            }
        } else if let Some((id, body)) = end.entry()?
            && hooks.before_local(source, target, id, body.len())?
            && present.body(id)? != Some(body)
        {
            changes.add(id, Some(body))?;
        }
        if order != Ordering::Greater {
            before.advance()?;
        }
        if order != Ordering::Less {
            end.advance()?;
        }
    }
}

/// A tree's entries in ascending order.
struct Scan<'a> {
    file: &'a TreeFile,
    cursor: Cursor<'a>,
    is_at_entry: bool,
    /// The key before this one.
    last_key: Vec<u8>,
}

impl<'a> Scan<'a> {
    fn new(file: &'a TreeFile, root: Option<&NodeRef>, from: &[u8]) -> Result<Scan<'a>> {
        let cursor = Cursor::new(file, root, from, Reading::Verifying);
        let mut scan = Scan { file, cursor, is_at_entry: true, last_key: Vec::new() };
        scan.advance()?;
        Ok(scan)
    }

    /// The document at hand; `None` at the end.
    fn entry(&self) -> Result<Option<(&[u8], &[u8])>> {
        if !self.is_at_entry {
            return Ok(None);
        }
        self.cursor.entry().map(|entry| Some((entry.key, entry.value)))
    }

    fn advance(&mut self) -> Result<()> {
        let next = self.cursor.next_entry()?;
        self.is_at_entry = next.is_some();
        if let Some((entry, position)) = next {
            if entry.key < self.last_key.as_slice() {
                return Err(self
                    .file
                    .malformed(position, Malformed("a key that is not below the one before it")));
            }
            self.last_key.clear();
            self.last_key.extend_from_slice(entry.key);
        }
        Ok(())
    }
}

/// The target's local documents, which are asked for in ascending order of ids.
struct Present<'a> {
    target: &'a Db,
    /// Where the root is that `scan` goes through.
    root: Option<u64>,
    scan: Scan<'a>,
}

impl Present<'_> {
    fn body(&mut self, id: &[u8]) -> Result<Option<&[u8]>> {
        let root = self.target.local_root();
        let position = root.as_ref().map(|root| root.position);
        if position != self.root {
            // Changes were put, or a hook has put something.
            self.scan = Scan::new(self.target.file(), root.as_ref(), id)?;
            self.root = position;
        }
        while self.scan.entry()?.is_some_and(|(key, _)| key < id) {
            self.scan.advance()?;
        }
        Ok(self.scan.entry()?.filter(|(key, _)| *key == id).map(|(_, body)| body))
    }
}
