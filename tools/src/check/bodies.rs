// SPDX-License-Identifier: Apache-2.0

//! Bodies are read by threads of their own, each with its own handle.

use super::problem::{Problem, reason_of, show_id};
use super::shared::Shared;
use crate::keys::Keys;
use crate::open::open_for_recovery;
use crate::program::Failure;
use couchstore::inspect::{BLOCK_SIZE, FileHeader, Tree, extent, is_size_of};
use couchstore::{COMPRESSED, Db, DocInfo, DocInfoRef, Error};
use parking_lot::Mutex;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender};

/// Documents handed over at once, and bytes of their ids.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 64 << 10;

/// Sizes of chunks beside their bodies: plain and encrypted. Compaction copies the sizes of its source's index, so
/// either may stand in either kind of file.
const OVERHEADS: [u64; 2] = [8, 20];

/// Documents of which the bodies are to be checked.
pub(super) struct Batch {
    documents: Vec<DocInfo>,
    /// Whether they are of the newest header: only of that one all bodies come, and each once.
    of_newest: bool,
}

/// Hands documents to the threads.
pub(super) struct Feed {
    sender: SyncSender<Batch>,
    documents: Vec<DocInfo>,
    /// Bytes of their ids.
    bytes: usize,
    of_newest: bool,
}

impl Feed {
    pub(super) fn new(sender: SyncSender<Batch>) -> Feed {
        Feed { sender, documents: Vec::with_capacity(BATCH), bytes: 0, of_newest: true }
    }

    /// What comes from here on is of older headers.
    pub(super) fn end_newest(&mut self) {
        self.flush();
        self.of_newest = false;
    }

    /// The body of this document is to be checked.
    pub(super) fn add(&mut self, info: &DocInfoRef<'_>) {
        self.documents.push((DocInfoRef { rev_meta: &[], ..*info }).to_owned());
        self.bytes += info.id.len();
        if self.documents.len() == BATCH || self.bytes > BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands on what waits. The threads go on receiving until there is no feed left, whatever happens.
    pub(super) fn flush(&mut self) {
        let documents = std::mem::replace(&mut self.documents, Vec::with_capacity(BATCH));
        self.bytes = 0;
        if !documents.is_empty() {
            let _ = self.sender.send(Batch { documents, of_newest: self.of_newest });
        }
    }
}

/// Checks bodies until no more come. After a failure it tells the others to stop, and only receives.
pub(super) fn work(
    path: &Path,
    keys: &Keys,
    shared: &Shared<'_>,
    batches: &Mutex<Receiver<Batch>>,
) -> Result<(), Failure> {
    let receive = || batches.lock().recv();
    let mut result = open_for_recovery(path, keys);
    while let Ok(batch) = receive() {
        if let Ok(db) = &result
            && let Err(error) = check_batch(db, shared, &batch)
        {
            result = Err(error.into());
        }
        if result.is_err() {
            shared.stop();
        }
    }
    result.map(drop)
}

fn check_batch(db: &Db, shared: &Shared<'_>, batch: &Batch) -> couchstore::Result<()> {
    let mut places = Vec::with_capacity(batch.documents.len());
    for info in &batch.documents {
        shared.proceed()?;
        let stored = check(db, shared, &info.borrowed())?;
        places.extend(stored.map(|length| place(db, info.body_position, length)));
        shared.bar.inc(info.physical_size);
    }
    if batch.of_newest {
        shared.places.add(places, shared.problems);
    }
    Ok(())
}

/// Whether bodies may lie elsewhere than where their sizes were counted: compaction copies the sizes of its source's
/// index. Files that it makes begin without a header, all others with one that is behind nothing but the metadata.
pub(super) fn may_have_moved(db: &Db) -> bool {
    let says_it_is_first =
        |header: FileHeader| header.previous.is_some() && header.previous_header().is_none();
    db.header_at(0).is_err() && !db.header_at(BLOCK_SIZE).is_ok_and(says_it_is_first)
}

/// Where a chunk with so many bytes in it lies.
fn place(db: &Db, position: u64, length: u64) -> Range<u64> {
    let [plain, encrypted] = OVERHEADS;
    extent(position, length + if db.encryption_key_id().is_some() { encrypted } else { plain })
}

/// Checks one body. Returns how many bytes are stored, unless it cannot be read; errors are those that are not the
/// file's fault.
fn check(db: &Db, shared: &Shared<'_>, info: &DocInfoRef<'_>) -> couchstore::Result<Option<u64>> {
    let problem = |reason: String| {
        let document = format!("body of document {}, sequence {}", show_id(info.id), info.db_seq);
        let position = info.body_position;
        shared.problems.add(Problem::of_tree(Tree::BySeq, position, format!("{document}: {reason}")));
    };
    let mut turn = shared.large.wait(info.physical_size);
    let stored = match db.stored_body(info) {
        Ok(stored) => stored,
        Err(error) => return damage(error, problem).map(|()| None),
    };
    let length = stored.len() as u64;
    let counted_at = (!shared.bodies_moved).then_some(info.body_position);
    if !OVERHEADS.iter().any(|overhead| is_size_of(info.physical_size, length + overhead, counted_at)) {
        problem(format!("physical size {} for {length} bytes stored", info.physical_size));
    }
    // Its entry may have said less.
    turn = turn.or_else(|| shared.large.wait(length));
    if info.content_meta & COMPRESSED != 0
        && let Err(error) = db.inflate_body(info, &stored)
    {
        damage(error, problem)?;
    }
    drop(turn);
    Ok(Some(length))
}

fn damage(error: Error, problem: impl Fn(String)) -> couchstore::Result<()> {
    if !error.is_damage() || error.position().is_none() {
        return Err(error);
    }
    problem(reason_of(&error));
    Ok(())
}
