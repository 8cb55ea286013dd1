// SPDX-License-Identifier: Apache-2.0

//! File operations as hosts have them.

use couchstore::io::posix::PosixOps;
use couchstore::io::{FileHandle, FileOps, FileTag, IoError, OpenMode};
use std::ffi::CStr;

/// File operations of a caller's, which hand on what they are asked.
pub(crate) struct Forwarding;

struct ForwardingFile(Box<dyn FileHandle>);

impl FileOps for Forwarding {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        Ok(Box::new(ForwardingFile(PosixOps.open(name, mode)?)))
    }
}

impl FileHandle for ForwardingFile {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        self.0.pread(buf, offset)
    }
    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        self.0.pwrite(buf, offset)
    }
    fn size(&mut self) -> Result<u64, IoError> {
        self.0.size()
    }
    fn sync(&mut self) -> Result<(), IoError> {
        self.0.sync()
    }
    fn close(&mut self) -> Result<(), IoError> {
        self.0.close()
    }
    fn tag(&mut self, tag: FileTag) {
        self.0.tag(tag);
    }
}
