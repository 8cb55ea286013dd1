// SPDX-License-Identifier: Apache-2.0

//! File operations that count what they do, and may leave out syncs.

use couchstore::io::naming::FileId;
use couchstore::io::posix::PosixOps;
use couchstore::io::{FileHandle, FileOps, FileTag, IoError, OpenMode};
use serde::Serialize;
use std::ffi::CStr;
use std::ops::{AddAssign, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// System calls on database files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) opens: u64,
    pub(super) reads: u64,
    pub(super) bytes_read: u64,
    pub(super) writes: u64,
    pub(super) bytes_written: u64,
    /// Also those that were left out.
    pub(super) syncs: u64,
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, before: Counts) -> Counts {
        Counts {
            opens: self.opens - before.opens,
            reads: self.reads - before.reads,
            bytes_read: self.bytes_read - before.bytes_read,
            writes: self.writes - before.writes,
            bytes_written: self.bytes_written - before.bytes_written,
            syncs: self.syncs - before.syncs,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.opens += more.opens;
        self.reads += more.reads;
        self.bytes_read += more.bytes_read;
        self.writes += more.writes;
        self.bytes_written += more.bytes_written;
        self.syncs += more.syncs;
    }
}

#[derive(Debug, Default)]
struct Counters {
    opens: AtomicU64,
    reads: AtomicU64,
    bytes_read: AtomicU64,
    writes: AtomicU64,
    bytes_written: AtomicU64,
    syncs: AtomicU64,
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// The library's own file operations, counted.
#[derive(Debug)]
pub(super) struct CountingOps {
    counters: Arc<Counters>,
    sync: bool,
}

impl CountingOps {
    /// Without `sync`, syncs are counted and left out.
    pub(super) fn new(sync: bool) -> CountingOps {
        CountingOps { counters: Arc::default(), sync }
    }

    /// What was done so far.
    pub(super) fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { opens, reads, bytes_read, writes, bytes_written, syncs } = &*self.counters;
        Counts {
            opens: get(opens),
            reads: get(reads),
            bytes_read: get(bytes_read),
            writes: get(writes),
            bytes_written: get(bytes_written),
            syncs: get(syncs),
        }
    }
}

impl FileOps for CountingOps {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        count(&self.counters.opens, 1);
        let file = PosixOps.open(name, mode)?;
        Ok(Box::new(CountedFile { file, counters: Arc::clone(&self.counters), sync: self.sync }))
    }
}

struct CountedFile {
    file: Box<dyn FileHandle>,
    counters: Arc<Counters>,
    sync: bool,
}

impl FileHandle for CountedFile {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        count(&self.counters.reads, 1);
        let read = self.file.pread(buf, offset)?;
        count(&self.counters.bytes_read, read as u64);
        Ok(read)
    }

    fn pread_onto(&mut self, buf: &mut Vec<u8>, most: usize, offset: u64) -> Result<usize, IoError> {
        count(&self.counters.reads, 1);
        let read = self.file.pread_onto(buf, most, offset)?;
        count(&self.counters.bytes_read, read as u64);
        Ok(read)
    }

    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        count(&self.counters.writes, 1);
        let written = self.file.pwrite(buf, offset)?;
        count(&self.counters.bytes_written, written as u64);
        Ok(written)
    }

    fn size(&mut self) -> Result<u64, IoError> {
        self.file.size()
    }

    fn sync(&mut self) -> Result<(), IoError> {
        count(&self.counters.syncs, 1);
        if self.sync { self.file.sync() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), IoError> {
        self.file.close()
    }

    fn tag(&mut self, tag: FileTag) {
        self.file.tag(tag);
    }

    fn identity(&self) -> Option<FileId> {
        self.file.identity()
    }

    fn free_buffers(&mut self) {
        self.file.free_buffers();
    }
}
