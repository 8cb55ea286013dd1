// SPDX-License-Identifier: Apache-2.0

//! File operations as hosts have them: they hand on what they are asked.

use couchstore::io::naming::FileId;
use couchstore::io::posix::PosixOps;
use couchstore::io::stale::FileStatus;
use couchstore::io::{FileHandle, FileOps, FileTag, IoError, OpenMode};
use std::ffi::CStr;
use std::ops::Range;
use std::sync::Arc;

/// What is about to be called.
#[derive(Debug)]
pub(crate) enum Call {
    Open,
    /// Which bytes.
    Read(Range<u64>),
    Write(Range<u64>),
    Size,
    Sync,
    Close,
    Status,
}

/// What a test does before a call, which is not made if this fails.
type Before = dyn Fn(Call) -> Result<(), IoError> + Send + Sync;

/// File operations on top of others.
#[derive(Clone)]
pub(crate) struct Forwarding {
    ops: Arc<dyn FileOps>,
    before: Arc<Before>,
    /// They tell which file of the operating system it is, as the library's own do.
    shows_file: bool,
}

impl Default for Forwarding {
    /// On top of the library's own.
    fn default() -> Forwarding {
        Forwarding { ops: Arc::new(PosixOps), before: Arc::new(|_| Ok(())), shows_file: false }
    }
}

impl Forwarding {
    pub(crate) fn on(ops: Arc<dyn FileOps>) -> Forwarding {
        Forwarding { ops, ..Forwarding::default() }
    }

    pub(crate) fn before(
        self,
        before: impl Fn(Call) -> Result<(), IoError> + Send + Sync + 'static,
    ) -> Forwarding {
        Forwarding { before: Arc::new(before), ..self }
    }

    pub(crate) fn shows_file(self) -> Forwarding {
        Forwarding { shows_file: true, ..self }
    }
}

struct ForwardingFile {
    file: Box<dyn FileHandle>,
    before: Arc<Before>,
    shows_file: bool,
}

fn bytes(buf: &[u8], offset: u64) -> Range<u64> {
    offset..offset.saturating_add(buf.len() as u64)
}

impl FileOps for Forwarding {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        (self.before)(Call::Open)?;
        let (before, shows_file) = (self.before.clone(), self.shows_file);
        Ok(Box::new(ForwardingFile { file: self.ops.open(name, mode)?, before, shows_file }))
    }
    fn exists(&self, name: &CStr) -> bool {
        self.ops.exists(name)
    }
    fn remove(&self, name: &CStr) {
        self.ops.remove(name);
    }
}

impl FileHandle for ForwardingFile {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        (self.before)(Call::Read(bytes(buf, offset)))?;
        self.file.pread(buf, offset)
    }
    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        (self.before)(Call::Write(bytes(buf, offset)))?;
        self.file.pwrite(buf, offset)
    }
    fn size(&mut self) -> Result<u64, IoError> {
        (self.before)(Call::Size)?;
        self.file.size()
    }
    fn sync(&mut self) -> Result<(), IoError> {
        (self.before)(Call::Sync)?;
        self.file.sync()
    }
    fn close(&mut self) -> Result<(), IoError> {
        (self.before)(Call::Close)?;
        self.file.close()
    }
    fn tag(&mut self, tag: FileTag) {
        self.file.tag(tag);
    }
    fn identity(&self) -> Option<FileId> {
        self.shows_file.then(|| self.file.identity()).flatten()
    }
    fn status(&self) -> Option<Result<FileStatus, IoError>> {
        if !self.shows_file {
            return None;
        }
        match (self.before)(Call::Status) {
            Ok(()) => self.file.status(),
            Err(error) => Some(Err(error)),
        }
    }
}
