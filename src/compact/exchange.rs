// SPDX-License-Identifier: Apache-2.0

//! What the two threads of a compaction hand to each other: documents in batches one way, and the other way what the
//! caller's file operations are to do, whose calls all stay on the caller's thread.

use crate::error::{Error, ErrorCode, Result};
use crate::format::docinfo::DocInfoRef;
use crate::io::file::{Body, DbFile};
use crate::io::{FileHandle, FileTag, IoError};
use crate::memory;
use crate::tsan;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A batch is handed over when it has so many bytes. A body that is larger is a batch of its own.
pub(super) const FULL_BATCH: usize = 128 << 10;
/// So many batches wait at most.
const MOST_WAITING: usize = 2;

/// Documents, one after the other: what is stored of each body, and behind it its by-sequence entry.
#[derive(Default)]
pub(super) struct Batch {
    items: Vec<Item>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Item {
    Body { length: usize, crc: Option<u32> },
    Entry { key: [u8; 6], length: usize },
}

/// What comes next in a batch.
pub(super) enum Next<'a> {
    /// A body, and its checksum in the source.
    Body(&'a [u8], Option<u32>),
    /// Key and value of an entry. Its body's position is not known yet.
    Entry([u8; 6], &'a [u8]),
}

impl Batch {
    /// A body that is a batch of its own.
    pub(super) fn of(body: Body) -> Batch {
        let item = Item::Body { length: body.bytes.len(), crc: body.crc };
        Batch { items: vec![item], bytes: body.bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether it is full with so many bytes more.
    pub(super) fn is_full_with(&self, more: usize) -> bool {
        self.bytes.len() + more > FULL_BATCH
    }

    pub(super) fn push_body(&mut self, stored: &[u8], crc: Option<u32>) -> Result<()> {
        memory::reserve(&mut self.bytes, stored.len())?;
        self.bytes.extend_from_slice(stored);
        memory::push(&mut self.items, Item::Body { length: stored.len(), crc })
    }

    pub(super) fn push_entry(&mut self, key: [u8; 6], info: &DocInfoRef<'_>) -> Result<()> {
        let length = info.by_seq_length();
        memory::reserve(&mut self.bytes, length)?;
        info.encode_by_seq(&mut self.bytes);
        memory::push(&mut self.items, Item::Entry { key, length })
    }

    /// All that is in it, in order.
    pub(super) fn contents(&self) -> impl Iterator<Item = Next<'_>> {
        let mut rest = &self.bytes[..];
        let mut take = move |length| {
            let (now, later) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = later;
            now
        };
        self.items.iter().map(move |item| match *item {
            Item::Body { length, crc } => Next::Body(take(length), crc),
            Item::Entry { key, length } => Next::Entry(key, take(length)),
        })
    }

    fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
    }
}

/// A call of the file operations.
enum Request {
    Write { bytes: Vec<u8>, offset: u64 },
    Sync,
    Tag(FileTag),
}

/// How it ended: a count for a write; and the memory of its bytes.
type Reply = (Result<usize, IoError>, Vec<u8>);

#[derive(Default)]
struct State {
    /// The target, until the second thread has taken it.
    file: Option<Box<DbFile>>,
    batches: VecDeque<Batch>,
    /// Batches that were handed over and are not done.
    undone: usize,
    /// For the next batch.
    spare: Option<Batch>,
    /// No more batches come.
    complete: bool,
    /// The caller's thread has given up.
    given_up: bool,
    request: Option<Request>,
    reply: Option<Reply>,
    all_there: bool,
    ticks: u32,
    ended: bool,
}

/// What both threads share.
#[derive(Default)]
pub(super) struct Exchange {
    state: Mutex<State>,
    changed: Condvar,
    /// Bytes of the target so far.
    end: AtomicU64,
}

/// The state, locked.
struct Locked<'a> {
    exchange: &'a Exchange,
    state: MutexGuard<'a, State>,
}

impl Exchange {
    fn lock(&self) -> Locked<'_> {
        let state = self.state.lock();
        tsan::taken(&self.state);
        Locked { exchange: self, state }
    }
}

impl Locked<'_> {
    /// Waits until something has changed.
    fn wait(&mut self) {
        tsan::about_to_give_up(&self.exchange.state);
        self.exchange.changed.wait(&mut self.state);
        tsan::taken(&self.exchange.state);
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        tsan::about_to_give_up(&self.exchange.state);
    }
}

/// What the caller's thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// There is room for one more batch.
    Room,
    /// All batches are done.
    Idle,
    /// The second thread has come further, or has ended.
    News,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// What was waited for.
    Reached,
    /// The by-sequence tree is complete.
    AllThere,
    /// So many entries more are in the by-id tree that the host should be told.
    Tick,
    /// The second thread has ended.
    Ended,
}

/// The error of whichever thread goes on although the other one has ended; nobody sees it.
pub(super) fn left_alone() -> Error {
    Error::Internal("the other thread of a compaction has ended".into())
}

// ---- the caller's thread ---------------------------------------------------------------------------------------

impl Exchange {
    /// Hands the target over.
    pub(super) fn give_file(&self, file: Box<DbFile>) {
        self.end.store(file.end(), Relaxed);
        self.lock().file = Some(file);
        self.changed.notify_all();
    }

    /// Hands a batch over, and returns an empty one; see [`Wait::Room`].
    pub(super) fn give(&self, batch: Batch) -> Batch {
        let mut state = self.lock();
        state.batches.push_back(batch);
        state.undone += 1;
        let mut spare = state.spare.take().unwrap_or_default();
        drop(state);
        self.changed.notify_all();
        spare.clear();
        spare
    }

    /// No more batches come.
    pub(super) fn complete(&self) {
        self.lock().complete = true;
        self.changed.notify_all();
    }

    /// Ends the second thread soon.
    pub(super) fn give_up(&self) {
        self.lock().given_up = true;
        self.changed.notify_all();
    }

    /// Waits, and does meanwhile with `raw` what is asked of the file operations.
    pub(super) fn wait(&self, wait: Wait, raw: &mut Option<Box<dyn FileHandle>>) -> News {
        let mut state = self.lock();
        loop {
            if let Some(request) = state.request.take() {
                drop(state);
                let reply = answer(request, raw);
                state = self.lock();
                state.reply = Some(reply);
                self.changed.notify_all();
            }
            if let Some(news) = state.news(wait) {
                return news;
            }
            state.wait();
        }
    }

    /// Bytes of the target so far.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Relaxed)
    }
}

impl State {
    fn news(&mut self, wait: Wait) -> Option<News> {
        if self.request.is_some() {
            return None;
        }
        if wait == Wait::News {
            if std::mem::take(&mut self.all_there) {
                return Some(News::AllThere);
            }
            if std::mem::take(&mut self.ticks) > 0 {
                return Some(News::Tick);
            }
        }
        if self.ended {
            return Some(News::Ended);
        }
        let reached = match wait {
            Wait::Room => self.batches.len() < MOST_WAITING,
            Wait::Idle => self.undone == 0,
            Wait::News => false,
        };
        reached.then_some(News::Reached)
    }
}

fn answer(request: Request, raw: &mut Option<Box<dyn FileHandle>>) -> Reply {
    let Some(raw) = raw else { return (Err(IoError::new(ErrorCode::INTERNAL, 0)), Vec::new()) };
    match request {
        Request::Write { bytes, offset } => (raw.pwrite(&bytes, offset), bytes),
        Request::Sync => (raw.sync().map(|()| 0), Vec::new()),
        Request::Tag(tag) => {
            raw.tag(tag);
            (Ok(0), Vec::new())
        }
    }
}

// ---- the second thread -----------------------------------------------------------------------------------------

impl Exchange {
    /// Waits for the target; `None`: it does not come.
    pub(super) fn take_file(&self) -> Option<Box<DbFile>> {
        let mut state = self.lock();
        loop {
            if let Some(file) = state.file.take() {
                return Some(file);
            }
            if state.given_up {
                return None;
            }
            state.wait();
        }
    }

    /// Waits for the next batch; `None`: that was the last one.
    pub(super) fn take(&self) -> Result<Option<Batch>> {
        let mut state = self.lock();
        loop {
            if state.given_up {
                return Err(left_alone());
            }
            if let Some(batch) = state.batches.pop_front() {
                drop(state);
                self.changed.notify_all();
                return Ok(Some(batch));
            }
            if state.complete {
                return Ok(None);
            }
            state.wait();
        }
    }

    /// A batch is done; the target has so many bytes now.
    pub(super) fn done(&self, batch: Batch, end: u64) {
        self.end.store(end, Relaxed);
        let mut state = self.lock();
        state.undone -= 1;
        if batch.bytes.capacity() <= 2 * FULL_BATCH {
            state.spare = Some(batch);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Tells that the by-sequence tree is complete.
    pub(super) fn all_there(&self, end: u64) -> Result<()> {
        self.tell(end, |state| state.all_there = true)
    }

    /// Tells how far it has come.
    pub(super) fn tick(&self, end: u64) -> Result<()> {
        self.tell(end, |state| state.ticks += 1)
    }

    fn tell(&self, end: u64, set: impl FnOnce(&mut State)) -> Result<()> {
        self.end.store(end, Relaxed);
        let mut state = self.lock();
        set(&mut state);
        let given_up = state.given_up;
        drop(state);
        self.changed.notify_all();
        if given_up { Err(left_alone()) } else { Ok(()) }
    }

    /// The second thread ends when the result is dropped.
    pub(super) fn until_end(&self) -> UntilEnd<'_> {
        UntilEnd(self)
    }

    fn ask(&self, request: Request) -> Reply {
        let mut state = self.lock();
        state.request = Some(request);
        self.changed.notify_all();
        loop {
            if let Some(reply) = state.reply.take() {
                return reply;
            }
            if state.given_up {
                // It may be that nobody does it, or that it is being done: what comes of the target does not matter.
                return (Err(IoError::new(ErrorCode::CANCEL, 0)), Vec::new());
            }
            state.wait();
        }
    }
}

/// See [`Exchange::until_end`].
pub(super) struct UntilEnd<'a>(&'a Exchange);

impl Drop for UntilEnd<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

/// The handle of a caller's operations, as the second thread has it: the calls are made by the caller's thread.
pub(super) struct Remote {
    exchange: Arc<Exchange>,
    /// Memory for what is written.
    spare: Vec<u8>,
}

impl Remote {
    pub(super) fn new(exchange: Arc<Exchange>) -> Remote {
        Remote { exchange, spare: Vec::new() }
    }
}

impl FileHandle for Remote {
    fn pread(&mut self, _buf: &mut [u8], _offset: u64) -> Result<usize, IoError> {
        // Trees are built without any reading.
        Err(IoError::new(ErrorCode::INTERNAL, 0))
    }

    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        let no_memory = |error: Error| IoError::new(error.code(), libc::ENOMEM);
        memory::reserve_exact(&mut bytes, buf.len()).map_err(no_memory)?;
        bytes.extend_from_slice(buf);
        let (written, bytes) = self.exchange.ask(Request::Write { bytes, offset });
        self.spare = bytes;
        written
    }

    fn size(&mut self) -> Result<u64, IoError> {
        Err(IoError::new(ErrorCode::INTERNAL, 0))
    }

    fn sync(&mut self) -> Result<(), IoError> {
        self.exchange.ask(Request::Sync).0.map(|_| ())
    }

    fn close(&mut self) -> Result<(), IoError> {
        Ok(())
    }

    fn tag(&mut self, tag: FileTag) {
        let _ = self.exchange.ask(Request::Tag(tag));
    }
}
