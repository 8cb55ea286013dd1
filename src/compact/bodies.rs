//! How much of bodies is read.
//!
//! A file of a few kilobytes can have thousands of entries that all lead to one body, and its copy would have that body
//! as many times. Sound files have an entry for each body.

use crate::error::Result;
use crate::format::Malformed;
use crate::io::file::Body;
use crate::io::shared::SharedFile;

/// All bodies that are read may be this many times as large as their file, in sum.
const TIMES_THE_FILE: u64 = 4;

/// What may still be read of a file's bodies.
pub(crate) struct BodyLimit<'a> {
    file: &'a SharedFile,
    left: u64,
}

impl<'a> BodyLimit<'a> {
    /// The limit for one pass through the documents of `file`.
    pub(crate) fn new(file: &'a SharedFile) -> BodyLimit<'a> {
        BodyLimit { file, left: file.end().saturating_mul(TIMES_THE_FILE) }
    }

    /// Counts a body that was read at `position`. No recovery steps over this error: it does not end with one entry.
    pub(crate) fn count(&mut self, position: u64, body: &Body) -> Result<()> {
        let size = self.file.with(|file| Ok(file.chunk_size(body.bytes.len() as u64)))?;
        let left = self.left.checked_sub(size).ok_or_else(|| {
            self.file.malformed(position, Malformed("bodies of no more than four times the file in sum"))
        })?;
        self.left = left;
        Ok(())
    }
}
