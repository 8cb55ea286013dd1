// SPDX-License-Identifier: Apache-2.0

//! A compaction with a second thread: the caller's reads the source, decides and calls hooks; the second one makes the
//! target of it, both trees and their sorting included. The bytes are the same as with one thread.
//!
//! A hook that is shown documents is shown the target as well, as it is at that moment: with such hooks there is no
//! second thread. With the library's own file operations it writes by itself; with a caller's the calls stay on the
//! caller's thread. No signal is delivered to it. Whatever ends either of them ends both.

use super::copying::Copy;
use super::exchange::{Batch, Exchange, FULL_BATCH, News, Next, Remote, Wait, left_alone};
use super::sort::SortPlace;
use super::trees::{Plan, Roots, Sink, Step, Trees};
use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::docinfo::DocInfoRef;
use crate::io::FileHandle;
use crate::io::file::{Body, DbFile};
use crate::io::shared::SharedFile;
use crate::memory;
use crate::quiet_thread::spawn_quietly;
use crate::tree::build::DISORDER;
use crate::tree::cache::file::TreeFile;
use std::cmp::Ordering;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Stands for the position of a body as long as the second thread has not put it.
const UNKNOWN: u64 = 1;

/// Copies of fewer documents are not worth a thread.
const WORTH_IT: u64 = 100;

/// Whether a second thread is to be used for so many documents.
pub(super) fn is_wanted(threads: usize, documents: u64) -> bool {
    let machine = || std::thread::available_parallelism().map_or(1, usize::from);
    threads > 1 && documents >= WORTH_IT && machine() > 1
}

/// Copies documents with a second thread; `None`: it cannot be made, and nothing was done.
pub(super) fn copy_beside(copy: &mut Copy<'_>, plan: Plan<'_>) -> Result<Option<Roots>> {
    let exchange = Arc::new(Exchange::default());
    let Ok(thread) = spawn_quietly(work(&exchange, plan)) else { return Ok(None) };
    let mut stream = Stream::new(exchange, thread);
    stream.hand_over(copy)?;
    let copied = copy.copy_to(&mut stream).and_then(|()| copy.wait_for(&mut stream));
    let built = stream.end_both(copy, copied.is_err());
    match copied {
        // That of the second thread was first.
        Err(_) if stream.is_alone => built,
        Err(error) => Err(error),
        Ok(()) => built,
    }
    .map(Some)
}

/// The target, and what came of it.
type Done = (Option<Box<DbFile>>, Result<Roots>);

/// What the second thread does.
fn work(exchange: &Arc<Exchange>, plan: Plan<'_>) -> impl FnOnce() -> Done + Send + 'static {
    let (exchange, directory) = (Arc::clone(exchange), plan.place.directory.to_owned());
    let Plan { nodes, place: SortPlace { budget, secret, .. }, same_checksum } = plan;
    move || {
        let _end = exchange.until_end();
        let Some(file) = exchange.take_file() else { return (None, Err(left_alone())) };
        let file = TreeFile::new(file, 0);
        let place = SortPlace { directory: &directory, budget, secret };
        let built = build(&exchange, &file, Plan { nodes, place, same_checksum });
        (file.take(), built)
    }
}

fn build(exchange: &Exchange, file: &TreeFile, plan: Plan<'_>) -> Result<Roots> {
    let mut trees = Trees::new(file, plan);
    // Of the last body.
    let mut position = 0;
    while let Some(batch) = exchange.take()? {
        for next in batch.contents() {
            match next {
                Next::Body(stored, crc) => position = trees.put_body(stored, crc)?,
                Next::Entry(key, value) => {
                    let malformed = |rule| file.malformed(file.end(), rule);
                    let order = trees.accepts(&key).map_err(malformed)?;
                    let mut info = DocInfoRef::parse_by_seq(&key, value).map_err(malformed)?;
                    if info.body_position != 0 {
                        info.body_position = position;
                    }
                    trees.add(order, &key, Some(value), &info)?;
                }
            }
        }
        exchange.done(batch, file.end());
    }
    trees.finish(&mut |step| match step {
        Step::AllThere => exchange.all_there(file.end()),
        Step::Further => exchange.tick(file.end()),
    })
}

/// Documents on their way to the second thread, which ends at the latest when this is dropped.
pub(super) struct Stream {
    exchange: Arc<Exchange>,
    /// `None`: it has ended.
    thread: Option<JoinHandle<Done>>,
    /// The handle of a caller's operations.
    raw: Option<Box<dyn FileHandle>>,
    batch: Batch,
    last_key: Option<[u8; 6]>,
    /// The second thread has ended too early.
    is_alone: bool,
}

impl Stream {
    fn new(exchange: Arc<Exchange>, thread: JoinHandle<Done>) -> Stream {
        let (raw, batch, last_key) = (None, Batch::default(), None);
        Stream { exchange, thread: Some(thread), raw, batch, last_key, is_alone: false }
    }

    /// Hands the target over.
    fn hand_over(&mut self, copy: &Copy<'_>) -> Result<()> {
        let target: &SharedFile = copy.target.file();
        let mut file = target.take().ok_or(Error::FileClosed)?;
        if !copy.options.file_ops.is_default() {
            let remote = Box::new(Remote::new(Arc::clone(&self.exchange)));
            self.raw = Some(file.io().replace_handle(remote));
        }
        self.exchange.give_file(file);
        Ok(())
    }

    /// Waits for the end of the second thread, which is near or (`gives_up`) wanted. The target is the caller's thread's
    /// again.
    fn end_both(&mut self, copy: &Copy<'_>, gives_up: bool) -> Result<Roots> {
        if gives_up {
            self.exchange.give_up();
        }
        let Some(thread) = self.thread.take() else { return Err(left_alone()) };
        let (file, built) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if let Some(mut file) = file {
            if let Some(raw) = self.raw.take() {
                file.io().replace_handle(raw);
            }
            let target: &SharedFile = copy.target.file();
            target.replace(file);
        }
        built
    }

    fn wait(&mut self, wait: Wait) -> Result<()> {
        match self.exchange.wait(wait, &mut self.raw) {
            News::Ended => {
                self.is_alone = true;
                Err(left_alone())
            }
            _ => Ok(()),
        }
    }

    fn send(&mut self) -> Result<()> {
        if !self.batch.is_empty() {
            self.wait(Wait::Room)?;
            self.batch = self.exchange.give(std::mem::take(&mut self.batch));
        }
        Ok(())
    }

    /// All documents are there.
    pub(super) fn complete(&mut self) -> Result<()> {
        self.send()?;
        self.exchange.complete();
        Ok(())
    }

    /// Waits until the second thread has come further.
    pub(super) fn news(&mut self) -> News {
        self.exchange.wait(Wait::News, &mut self.raw)
    }
}

impl Sink for Stream {
    fn accepts(&self, key: &[u8]) -> Result<Ordering, Malformed> {
        let order = self.last_key.map_or(Ordering::Less, |last| last[..].cmp(key));
        if order == Ordering::Greater { Err(DISORDER) } else { Ok(order) }
    }

    fn put_body(&mut self, stored: &[u8], crc: Option<u32>) -> Result<u64> {
        if stored.len() > FULL_BATCH {
            return self.put_own(Body { bytes: memory::copy(stored)?, crc });
        }
        if self.batch.is_full_with(stored.len()) {
            self.send()?;
        }
        self.batch.push_body(stored, crc)?;
        Ok(UNKNOWN)
    }

    fn put_own(&mut self, body: Body) -> Result<u64> {
        self.send()?;
        self.wait(Wait::Room)?;
        let spare = self.exchange.give(Batch::of(body));
        self.batch = spare;
        // Only one large body is in memory at a time.
        self.wait(Wait::Idle)?;
        Ok(UNKNOWN)
    }

    fn add(&mut self, _: Ordering, key: &[u8], _: Option<&[u8]>, info: &DocInfoRef<'_>) -> Result<()> {
        let key = key.try_into().map_err(|_| Error::Internal("a sequence key of another length".into()))?;
        self.last_key = Some(key);
        // Deleted documents have no bodies: there may be very many of them in a row.
        if self.batch.is_full_with(info.longest_value()) {
            self.send()?;
        }
        self.batch.push_entry(key, info)
    }

    fn end(&self) -> u64 {
        self.exchange.end()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Something else is under way already: how these end does not matter.
        if let Some(thread) = self.thread.take() {
            self.exchange.give_up();
            let _ = thread.join();
        }
        if let Some(mut raw) = self.raw.take() {
            let _ = raw.close();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use crate::compact::copy::{CompactOptions, compact};
    use crate::quiet_thread::tests::REFUSED;
    use crate::{Db, Document, SaveOptions};

    #[test]
    fn where_no_thread_can_be_made_all_is_done_without() {
        let dir = tempfile::tempdir().unwrap();
        let source = Db::create(dir.path().join("source")).unwrap();
        let ids: Vec<_> = (0..1000).map(|number| format!("{number:04}")).collect();
        let documents: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), b"body")).collect();
        source.save(&documents, SaveOptions::default()).unwrap();
        source.commit().unwrap();
        let files = [(1, false), (2, false), (2, true)].map(|(threads, refused)| {
            REFUSED.set(refused);
            let target = dir.path().join("target");
            compact(&source, &target, &CompactOptions { threads, ..CompactOptions::default() }).unwrap();
            let bytes = std::fs::read(&target).unwrap();
            std::fs::remove_file(target).unwrap();
            bytes
        });
        REFUSED.set(false);
        assert!(files[0] == files[1] && files[0] == files[2]);
    }
}
