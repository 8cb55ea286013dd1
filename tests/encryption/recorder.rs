// SPDX-License-Identifier: Apache-2.0

//! File operations that note every byte handed to them, and fail if an offset is ever given another one.
//!
//! That is more than is needed: what must not happen is that one position is encrypted twice, and where it does, the
//! bytes differ. The first byte of a block is left out, because commits change it.

use crate::common::raw::BLOCK;
use couchstore::io::{FileHandle, FileOps, FileTag, IoError, OpenMode};
use std::ffi::CStr;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Ledger {
    /// `None`: never handed over.
    bytes: Vec<Option<u8>>,
    violations: Vec<u64>,
    written: u64,
}

impl Ledger {
    fn note(&mut self, offset: u64, bytes: &[u8]) {
        let start = offset as usize;
        if self.bytes.len() < start + bytes.len() {
            self.bytes.resize(start + bytes.len(), None);
        }
        for (at, (old, &new)) in (offset..).zip(self.bytes[start..].iter_mut().zip(bytes)) {
            if !at.is_multiple_of(BLOCK) && old.is_some_and(|old| old != new) {
                self.violations.push(at);
            }
            *old = Some(new);
        }
        self.written += bytes.len() as u64;
    }
}

/// Others' operations, recorded; for one file. Clones share the record.
#[derive(Clone)]
pub(crate) struct Recorder {
    inner: Arc<dyn FileOps>,
    ledger: Arc<Mutex<Ledger>>,
}

impl Recorder {
    /// `found`: what the file holds already.
    pub(crate) fn new(inner: Arc<dyn FileOps>, found: &[u8]) -> Recorder {
        let recorder = Recorder { inner, ledger: Arc::default() };
        recorder.ledger.lock().unwrap().note(0, found);
        recorder
    }

    pub(crate) fn ops(&self) -> Arc<dyn FileOps> {
        Arc::new(self.clone())
    }

    /// Forgets what never reached the file, which has `size` bytes: nobody has seen that, and whoever opens the
    /// file cannot know of it.
    pub(crate) fn reopened(&self, size: usize) {
        self.ledger.lock().unwrap().bytes.truncate(size);
    }

    /// Offsets that were given different bytes.
    pub(crate) fn violations(&self) -> Vec<u64> {
        self.ledger.lock().unwrap().violations.clone()
    }

    pub(crate) fn written(&self) -> u64 {
        self.ledger.lock().unwrap().written
    }
}

impl FileOps for Recorder {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        let inner = self.inner.open(name, mode)?;
        Ok(Box::new(Recorded { inner, ledger: self.ledger.clone() }))
    }

    fn exists(&self, name: &CStr) -> bool {
        self.inner.exists(name)
    }

    fn remove(&self, name: &CStr) {
        self.inner.remove(name);
    }
}

struct Recorded {
    inner: Box<dyn FileHandle>,
    ledger: Arc<Mutex<Ledger>>,
}

impl FileHandle for Recorded {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        self.inner.pread(buf, offset)
    }

    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        self.ledger.lock().unwrap().note(offset, buf);
        self.inner.pwrite(buf, offset)
    }

    fn size(&mut self) -> Result<u64, IoError> {
        self.inner.size()
    }

    fn sync(&mut self) -> Result<(), IoError> {
        self.inner.sync()
    }

    fn close(&mut self) -> Result<(), IoError> {
        self.inner.close()
    }

    fn tag(&mut self, tag: FileTag) {
        self.inner.tag(tag);
    }
}
