//! Bodies are read by threads of their own, each with its own handle.

use super::Shared;
use super::problem::{Problem, position_of, reason_of, show_id};
use crate::keys::Keys;
use crate::program::{Failure, open_for_recovery};
use couchstore::inspect::{Tree, extent};
use couchstore::{COMPRESSED, Db, DocInfo, DocInfoRef, Error};
use parking_lot::Mutex;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender};

/// Documents handed over at once.
const BATCH: usize = 256;

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
    of_newest: bool,
}

impl Feed {
    pub(super) fn new(sender: SyncSender<Batch>) -> Feed {
        Feed { sender, documents: Vec::with_capacity(BATCH), of_newest: true }
    }

    /// What comes from here on is of older headers.
    pub(super) fn end_newest(&mut self) {
        self.flush();
        self.of_newest = false;
    }

    /// The body of this document is to be checked.
    pub(super) fn add(&mut self, info: &DocInfoRef<'_>) {
        self.documents.push((DocInfoRef { rev_meta: &[], ..*info }).to_owned());
        if self.documents.len() == BATCH {
            self.flush();
        }
    }

    /// Hands on what waits. The threads go on receiving until there is no feed left, whatever happens.
    pub(super) fn flush(&mut self) {
        let documents = std::mem::replace(&mut self.documents, Vec::with_capacity(BATCH));
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
    let stored = match db.stored_body(info) {
        Ok(stored) => stored,
        Err(error) => return damage(error, problem).map(|()| None),
    };
    let length = stored.len() as u64;
    if !OVERHEADS.iter().any(|overhead| length + overhead == info.physical_size) {
        problem(format!("physical size {} for {length} bytes stored", info.physical_size));
    }
    if info.content_meta & COMPRESSED != 0
        && let Err(error) = db.inflate_body(info, &stored)
    {
        damage(error, problem)?;
    }
    Ok(Some(length))
}

fn damage(error: Error, problem: impl Fn(String)) -> couchstore::Result<()> {
    if !error.is_damage() || position_of(&error).is_none() {
        return Err(error);
    }
    problem(reason_of(&error));
    Ok(())
}
