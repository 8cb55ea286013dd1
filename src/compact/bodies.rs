//! How much of bodies is read.
//!
//! A file of a few kilobytes can have thousands of entries that all lead to one body, and its copy would have that body
//! as many times. Sound files have an entry for each body.

use crate::db::Db;
use crate::error::Result;
use crate::format::Malformed;

/// All bodies that are read may be this many times as large as their file, in sum.
const TIMES_THE_FILE: u64 = 4;

/// What may still be read of a file's bodies by whoever copies them.
#[derive(Debug)]
pub struct BodyLimit<'a> {
    source: &'a Db,
    left: u64,
}

impl<'a> BodyLimit<'a> {
    /// The limit for one pass through the documents of `source`.
    pub fn new(source: &'a Db) -> BodyLimit<'a> {
        BodyLimit { source, left: source.file().end().saturating_mul(TIMES_THE_FILE) }
    }

    /// Counts a body that was read at `position` and has so many bytes as it is stored. The error is no damage that
    /// can be stepped over: it does not end with one entry.
    pub fn count(&mut self, position: u64, stored: usize) -> Result<()> {
        let file = self.source.file();
        let size = file.with(|file| Ok(file.chunk_size(stored as u64)))?;
        let rule = Malformed("bodies of no more than four times the file in sum");
        self.left = self.left.checked_sub(size).ok_or_else(|| file.malformed(position, rule))?;
        Ok(())
    }
}
