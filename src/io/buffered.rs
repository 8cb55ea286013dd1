// SPDX-License-Identifier: Apache-2.0

//! Buffers between a couchstore file and its file handle.
//!
//! Of chunks just the bytes are read that are wanted, of headers a block. Where the caller has asked for buffers of
//! some sizes, reads come in aligned units of such a size, more at a time while they run on in order or when it is known
//! how much is about to be read. Appends gather in one contiguous write buffer that reads see through: a read never
//! flushes it. With buffering off every call goes straight to the handle.
//!
//! A failed flush keeps what was not written, for another try; [`Buffered::high_water`] tells which offsets may
//! have reached the disk.

#![forbid(unsafe_code)]

use super::exact::Place;
pub(crate) use super::exact::{GAP, MOST_AHEAD, Plan};
use super::naming::FileId;
pub(crate) use super::read_buffer::BufferSizes;
use super::read_buffer::ReadBuffer;
use super::scratch::{self, Scratch, Writing};
use super::stale::Watch;
use super::write_back::WriteBack;
use super::{FileHandle, FileStats, FileTag, IoError};
use crate::error::{Error, ErrorCode, Stale};
use crate::memory::{self, Room};
use std::ffi::CStr;
use std::sync::Arc;
use std::time::Instant;

/// The write buffer is flushed when it holds this many bytes.
const WRITE_CAPACITY: usize = 128 * 1024;
/// A write that keeps returning 0 is given up after this many in a row.
const MAX_ZERO_WRITES: u32 = 100;

/// One contiguous run of bytes that still have to be written at `start`.
#[derive(Default)]
struct WriteBuffer {
    start: u64,
    data: Vec<u8>,
}

impl WriteBuffer {
    fn end(&self) -> u64 {
        self.start + self.data.len() as u64
    }

    /// The buffered bytes from `offset` on; empty if that is outside.
    #[inline]
    fn get(&self, offset: u64) -> &[u8] {
        if offset < self.start {
            return &[];
        }
        self.data.get((offset - self.start) as usize..).unwrap_or_default()
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn no_memory(error: Error) -> IoError {
    IoError::new(error.code(), libc::ENOMEM)
}

/// How a file is buffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffering {
    /// Not at all.
    Off,
    /// What is read is what is wanted.
    Exact,
    /// In units of the caller's sizes.
    Units(BufferSizes),
}

/// What was read.
enum Reads {
    Off,
    /// In the memory for the work.
    Exact,
    Units(Box<ReadBuffer>),
}

/// Where bytes that [`Buffered::fetch`] has found are.
#[derive(Clone, Copy)]
pub(super) enum Found {
    /// In the write buffer.
    Pending,
    Read(Place),
}

/// A file handle with buffers.
pub(crate) struct Buffered {
    raw: Box<dyn FileHandle>,
    reads: Reads,
    /// Memory for the work, while there is any.
    scratch: Option<Box<Scratch>>,
    writing: Option<Box<Writing>>,
    writes: WriteBuffer,
    /// `Some` while writing is interrupted by syncs.
    write_back: Option<Box<WriteBack>>,
    high_water: u64,
    /// `Some` for writers that look at their file before they write.
    watch: Option<Box<Watch>>,
    /// The file was looked at in this call.
    looked: bool,
    stats: FileStats,
    last_os_error: i32,
}

impl Buffered {
    /// Puts buffers, or none, before a handle.
    #[inline]
    pub(crate) fn new(raw: Box<dyn FileHandle>, buffering: Buffering) -> Buffered {
        Buffered {
            raw,
            reads: match buffering {
                Buffering::Off => Reads::Off,
                Buffering::Exact => Reads::Exact,
                Buffering::Units(sizes) => Reads::Units(Box::new(ReadBuffer::new(sizes))),
            },
            scratch: None,
            writing: None,
            watch: None,
            looked: false,
            writes: WriteBuffer::default(),
            write_back: None,
            high_water: 0,
            stats: FileStats::default(),
            last_os_error: 0,
        }
    }

    /// Whether buffers are in use.
    pub(crate) fn is_buffered(&self) -> bool {
        !matches!(self.reads, Reads::Off)
    }

    /// Whether reads are exact: then chunks come from [`Buffered::fetch`].
    pub(crate) fn is_exact(&self) -> bool {
        matches!(self.reads, Reads::Exact)
    }

    /// Memory for a node.
    pub(super) fn node_memory(&mut self) -> Room {
        self.scratch().node()
    }

    /// Takes memory of a node that is not needed any more.
    pub(super) fn keep_node_memory(&mut self, memory: Room) {
        if let Some(scratch) = &mut self.scratch {
            scratch.keep_node(memory);
        }
    }

    /// Memory for the work.
    #[inline]
    pub(super) fn scratch(&mut self) -> &mut Scratch {
        self.scratch.get_or_insert_with(scratch::take)
    }

    /// Memory for writing.
    pub(super) fn writing(&mut self) -> &mut Writing {
        self.writing.get_or_insert_with(scratch::take_for_writing)
    }

    /// Memory for the work, if there is any yet.
    pub(super) fn scratch_in_use(&self) -> Option<&Scratch> {
        self.scratch.as_deref()
    }

    /// Gives the memory for the work back, and forgets what was read. `secret`: the file is encrypted.
    pub(super) fn release(&mut self, secret: bool) {
        if self.writes.data.is_empty() && self.writes.data.capacity() > 0 {
            self.writing().buffer = std::mem::take(&mut self.writes.data);
        }
        if let Some(writing) = self.writing.take() {
            scratch::give_back_for_writing(writing, secret);
        }
        if let Some(scratch) = self.scratch.take() {
            scratch::give_back(scratch, secret);
        }
    }

    /// `errno` of the last failed call, 0 if none failed.
    pub(crate) fn last_os_error(&self) -> i32 {
        self.last_os_error
    }

    /// Sets what [`Buffered::last_os_error`] gives.
    pub(crate) fn set_last_os_error(&mut self, os_error: i32) {
        self.last_os_error = os_error;
    }

    /// What was asked of the handle so far.
    pub(crate) fn stats(&self) -> FileStats {
        self.stats
    }

    fn noted<T>(last_os_error: &mut i32, result: Result<T, IoError>) -> Result<T, IoError> {
        if let Err(error) = &result {
            *last_os_error = error.os_error;
        }
        result
    }

    /// First offset that waits in the write buffer, `u64::MAX` if nothing does.
    pub(crate) fn flushed_end(&self) -> u64 {
        if self.writes.data.is_empty() { u64::MAX } else { self.writes.start }
    }

    /// First offset that certainly never reached the disk, nor is beyond anything that did.
    pub(crate) fn high_water(&self) -> u64 {
        self.high_water
    }

    /// Offset behind what waits in the write buffer, 0 if nothing does.
    pub(crate) fn pending_end(&self) -> u64 {
        if self.writes.data.is_empty() { 0 } else { self.writes.end() }
    }

    /// Writes all of `bytes` at `offset`, into the buffer if there is one.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), IoError> {
        if !self.is_buffered() {
            if !self.looked {
                self.look()?;
                self.looked = true;
            }
            return self.write_raw(offset, bytes).1;
        }
        self.check_refused()?;
        if !self.writes.data.is_empty() && offset != self.writes.end() {
            let end = offset + bytes.len() as u64;
            if offset >= self.writes.start && end <= self.writes.end() {
                let at = (offset - self.writes.start) as usize;
                self.writes.data[at..at + bytes.len()].copy_from_slice(bytes);
                return Ok(());
            }
            self.flush()?;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.writes.data.len() >= WRITE_CAPACITY {
                self.flush()?;
            }
            if self.writes.data.is_empty() {
                self.writes.start = offset + (bytes.len() - rest.len()) as u64;
                if self.writes.data.capacity() == 0 {
                    self.writes.data = std::mem::take(&mut self.writing().buffer);
                }
                memory::reserve_exact(&mut self.writes.data, WRITE_CAPACITY).map_err(no_memory)?;
            }
            let (now, later) = rest.split_at(rest.len().min(WRITE_CAPACITY - self.writes.data.len()));
            self.writes.data.extend_from_slice(now);
            rest = later;
        }
        Ok(())
    }

    /// The write buffer, to append exactly `length` bytes that are to be written at `offset`, if they follow what is
    /// there and fit in.
    #[inline]
    pub(crate) fn room_in_buffer(&mut self, offset: u64, length: usize) -> Option<&mut Vec<u8>> {
        let room = WRITE_CAPACITY.min(self.writes.data.capacity()).saturating_sub(self.writes.data.len());
        let follows = !self.writes.data.is_empty() && offset == self.writes.end();
        if !follows || length > room || !self.is_buffered() || self.refused().is_some() {
            return None;
        }
        Some(&mut self.writes.data)
    }

    /// Writes everything, continuing after short writes. Also returns how much was written.
    fn write_raw(&mut self, offset: u64, bytes: &[u8]) -> (usize, Result<(), IoError>) {
        let mut done = 0;
        let mut zeros = 0;
        let end = offset + bytes.len() as u64;
        self.high_water = self.high_water.max(end);
        if let Some(watch) = &mut self.watch {
            watch.writing(end);
        }
        while done < bytes.len() {
            self.stats.write_count += 1;
            let result = self.raw.pwrite(&bytes[done..], offset + done as u64);
            let n = match Buffered::noted(&mut self.last_os_error, result) {
                Ok(n) => n.min(bytes.len() - done),
                Err(error) => return (done, Err(error)),
            };
            zeros = if n == 0 { zeros + 1 } else { 0 };
            if zeros > MAX_ZERO_WRITES {
                return (done, Err(IoError::new(ErrorCode::WRITE, 0)));
            }
            self.stats.write_bytes += n as u64;
            done += n;
            if let Some(watch) = &mut self.watch {
                watch.written(offset + done as u64);
            }
        }
        (done, self.sync_if_due(done as u64))
    }

    /// From now on the file is looked at before it is written: once in a call if there are no buffers, else before
    /// the write buffer is handed over. It has this name.
    pub(crate) fn watch(&mut self, name: Arc<CStr>) {
        self.watch = Some(Box::new(Watch::new(name)));
    }

    /// What is known of the file before it is written, if it is watched.
    pub(crate) fn watched(&mut self) -> Option<&mut Watch> {
        self.watch.as_deref_mut()
    }

    /// Why the file is not written any more, if it is not.
    pub(crate) fn refused(&self) -> Option<Stale> {
        self.watch.as_deref().and_then(Watch::refused)
    }

    /// A call of the caller's begins.
    pub(crate) fn begin_call(&mut self) {
        self.looked = false;
    }

    fn check_refused(&mut self) -> Result<(), IoError> {
        if self.refused().is_none() {
            return Ok(());
        }
        let stale = IoError::new(ErrorCode::DB_NO_LONGER_VALID, libc::ESTALE);
        Buffered::noted(&mut self.last_os_error, Err(stale))
    }

    /// Refuses to write to a file that is not as this handle has left it.
    fn look(&mut self) -> Result<(), IoError> {
        self.check_refused()?;
        let (Some(watch), Some(status)) = (&mut self.watch, self.raw.status()) else { return Ok(()) };
        let status = Buffered::noted(&mut self.last_os_error, status)?;
        if watch.judge(&status).is_ok() { Ok(()) } else { self.check_refused() }
    }

    /// Hands the write buffer to the handle. What could not be written stays for another try.
    pub(crate) fn flush(&mut self) -> Result<(), IoError> {
        if self.writes.data.is_empty() {
            return Ok(());
        }
        self.look()?;
        let mut data = std::mem::take(&mut self.writes.data);
        let start = self.writes.start;
        let (done, result) = self.write_raw(start, &data);
        let end = start + data.len() as u64;
        if let Some(scratch) = &mut self.scratch {
            scratch.pieces.invalidate(start, end);
        }
        if let Reads::Units(units) = &mut self.reads {
            units.invalidate(start, end);
        }
        data.drain(..done);
        self.writes.data = data;
        self.writes.start = start + done as u64;
        result
    }

    /// Takes back what is buffered from `offset` on and was not handed to the file operations yet. Returns the
    /// first offset, `offset` or above, that certainly never reached the disk.
    pub(crate) fn take_back(&mut self, offset: u64) -> u64 {
        if let Some(scratch) = &mut self.scratch {
            // The last piece may end with bytes of the write buffer.
            scratch.pieces.clear();
        }
        if offset <= self.writes.start {
            self.writes.data.clear();
        } else {
            self.writes.data.truncate((offset - self.writes.start) as usize);
        }
        offset.max(self.high_water)
    }

    /// Makes everything that was flushed durable.
    pub(crate) fn sync_flushed(&mut self) -> Result<(), IoError> {
        self.stats.sync_count += 1;
        let start = Instant::now();
        let result = self.raw.sync().map_err(|error| IoError { sync_failed: true, ..error });
        if let Some(write_back) = &mut self.write_back {
            write_back.synced(start, Instant::now());
        }
        Buffered::noted(&mut self.last_os_error, result)
    }

    /// From now on, or no longer, what is written is synced a little at a time: see [`WriteBack`].
    pub(crate) fn set_write_back(&mut self, on: bool) {
        self.write_back = on.then(Box::default);
    }

    fn sync_if_due(&mut self, written: u64) -> Result<(), IoError> {
        let Some(write_back) = &mut self.write_back else { return Ok(()) };
        if write_back.is_due(written, Instant::now()) { self.sync_flushed() } else { Ok(()) }
    }

    /// Size of the file on disk.
    pub(crate) fn size(&mut self) -> Result<u64, IoError> {
        Buffered::noted(&mut self.last_os_error, self.raw.size())
    }

    /// Forgets everything that was read.
    pub(crate) fn forget_reads(&mut self) {
        if let Some(scratch) = &mut self.scratch {
            scratch.pieces.clear();
        }
        if let Reads::Units(units) = &mut self.reads {
            units.clear();
        }
    }

    /// Gives memory back, as [`Buffered::release`]; bytes that still have to be written stay.
    pub(crate) fn free_buffers(&mut self, secret: bool) {
        self.release(secret);
        self.forget_reads();
        self.writes.data.shrink_to_fit();
        self.raw.free_buffers();
    }

    /// Flushes and closes. The handle is closed even if flushing fails; the first error is returned. What a refused
    /// file did not get, it does not get now either: its owner knows.
    pub(crate) fn close(&mut self) -> Result<(), IoError> {
        let flushed = if self.refused().is_some() { Ok(()) } else { self.flush() };
        let closed = Buffered::noted(&mut self.last_os_error, self.raw.close());
        flushed.and(closed)
    }

    /// Switches something on in the file operations.
    pub(crate) fn configure(
        &mut self,
        set: impl FnOnce(&mut dyn FileHandle) -> Result<(), IoError>,
    ) -> Result<(), IoError> {
        Buffered::noted(&mut self.last_os_error, set(self.raw.as_mut()))
    }

    /// Puts another handle on the same file behind the buffers, and returns the one that was there.
    pub(crate) fn replace_handle(&mut self, raw: Box<dyn FileHandle>) -> Box<dyn FileHandle> {
        std::mem::replace(&mut self.raw, raw)
    }

    /// Which file of the operating system this is, if any.
    pub(crate) fn identity(&self) -> Option<FileId> {
        self.raw.identity()
    }

    /// The operating system's file behind the handle, if any.
    pub(crate) fn os_file(&self) -> Option<&std::fs::File> {
        self.raw.os_file()
    }

    /// The statistics object of the file operations; NULL if they have none.
    #[cfg_attr(not(feature = "cxx-shim"), allow(dead_code, reason = "only C++ has such objects"))]
    pub(crate) fn stats_object(&mut self) -> *mut std::ffi::c_void {
        self.raw.stats_object()
    }

    /// Says that nothing of the file will be read for now.
    pub(crate) fn evict(&mut self) {
        self.raw.evict();
    }

    /// Says what the accesses that follow are for.
    pub(crate) fn tag(&mut self, tag: FileTag) {
        self.raw.tag(tag);
    }
}

mod reads;
#[cfg(test)]
mod tests;
