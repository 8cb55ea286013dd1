//! A compaction with a second thread: the caller's reads the source, decides and calls hooks; the second one makes the
//! target of it, both trees and their sorting included. The bytes are the same as with one thread.
//!
//! A hook that is shown documents is shown the target as well, as it is at that moment: with such hooks there is no
//! second thread. With the library's own file operations it writes by itself; with a caller's the calls stay on the
//! caller's thread. No signal is delivered to it. Whatever ends either of them ends both.

use super::copying::Copy;
use super::exchange::{Batch, Exchange, FULL_BATCH, News, Next, Remote, Wait, left_alone};
use super::progress::Steps;
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
    std::thread::scope(|scope| {
        let shared = &exchange;
        let Ok(worker) = spawn_quietly(scope, move || work(shared, plan)) else { return Ok(None) };
        // From here on the second thread ends whatever happens: see `Drop`.
        let mut stream = Stream::new(&exchange);
        stream.hand_over(copy)?;
        let copied = copy.copy_to(&mut stream).and_then(|()| copy.wait_for(&mut stream));
        if copied.is_err() {
            exchange.give_up();
        }
        let (file, built) = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        stream.take_back(copy, file);
        match copied {
            Err(error) if !stream.is_alone => Err(error),
            _ => built.map(Some),
        }
    })
}

/// What the second thread does. Returns the target and what came of it.
fn work(exchange: &Exchange, plan: Plan<'_>) -> (Option<DbFile>, Result<Roots>) {
    let _end = exchange.until_end();
    let Some(file) = exchange.take_file() else { return (None, Err(left_alone())) };
    let file = TreeFile::new(file);
    let built = build(exchange, &file, plan);
    (file.take(), built)
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
    let mut steps = Steps::default();
    trees.finish(&mut |step| match step {
        Step::AllThere => exchange.all_there(file.end()),
        Step::Sorting => exchange.tick(file.end()),
        Step::Entry(bytes) if steps.are_many(bytes) => exchange.tick(file.end()),
        Step::Entry(_) => Ok(()),
    })
}

/// Documents on their way to the second thread.
pub(super) struct Stream<'a> {
    exchange: &'a Arc<Exchange>,
    /// The handle of a caller's operations.
    raw: Option<Box<dyn FileHandle>>,
    batch: Batch,
    last_key: Option<[u8; 6]>,
    /// The second thread has ended too early.
    is_alone: bool,
}

impl<'a> Stream<'a> {
    fn new(exchange: &'a Arc<Exchange>) -> Stream<'a> {
        Stream { exchange, raw: None, batch: Batch::default(), last_key: None, is_alone: false }
    }

    /// Hands the target over.
    fn hand_over(&mut self, copy: &Copy<'_>) -> Result<()> {
        let target: &SharedFile = copy.target.file();
        let mut file = target.take().ok_or(Error::FileClosed)?;
        if !copy.options.file_ops.is_default() {
            let remote = Box::new(Remote::new(Arc::clone(self.exchange)));
            self.raw = Some(file.io().replace_handle(remote));
        }
        self.exchange.give_file(file);
        Ok(())
    }

    /// The target is the caller's thread's again.
    fn take_back(&mut self, copy: &Copy<'_>, file: Option<DbFile>) {
        let Some(mut file) = file else { return };
        if let Some(raw) = self.raw.take() {
            file.io().replace_handle(raw);
        }
        let target: &SharedFile = copy.target.file();
        target.replace(file);
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

impl Sink for Stream<'_> {
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
        self.batch.push_entry(key, info)
    }

    fn end(&self) -> u64 {
        self.exchange.end()
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.exchange.give_up();
    }
}
