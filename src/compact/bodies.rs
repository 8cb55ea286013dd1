// SPDX-License-Identifier: Apache-2.0

//! How much of bodies is read.
//!
//! A file of a few kilobytes can have thousands of entries that all lead to one body, and its copy would have that body
//! as many times. Sound files have an entry for each body.

use crate::db::Db;
use crate::error::{Error, Result};
use crate::format::Malformed;

/// All bodies that are read may be this many times as large as their file, in sum.
const TIMES_THE_FILE: u64 = 4;

/// What may still be read of a file's bodies by whoever copies them.
#[derive(Debug)]
pub struct BodyLimit<'a> {
    source: &'a Db,
    /// Bytes that a chunk takes besides its body.
    overhead: u64,
    left: u64,
}

impl<'a> BodyLimit<'a> {
    /// The limit for one pass through the documents of `source`.
    pub fn new(source: &'a Db) -> BodyLimit<'a> {
        let overhead = source.file().with(|file| Ok(file.chunk_size(0)));
        let left = source.file().end().saturating_mul(TIMES_THE_FILE);
        // Of a file that is closed nothing is read.
        BodyLimit { source, overhead: overhead.unwrap_or(0), left }
    }

    /// Counts a body that was read at `position` and has so many bytes as it is stored. The error is no damage that
    /// can be stepped over: it does not end with one entry.
    pub fn count(&mut self, position: u64, stored: usize) -> Result<()> {
        if self.allows(stored) {
            return Ok(());
        }
        Err(self.exceeded(position))
    }

    /// The error for a body that was read at `position` and is too much.
    pub(super) fn exceeded(&self, position: u64) -> Error {
        let rule = Malformed("bodies of no more than four times the file in sum");
        self.source.file().malformed(position, rule)
    }

    /// Counts a body of so many bytes as it is stored. False: it is too much.
    pub(super) fn allows(&mut self, stored: usize) -> bool {
        let left = self.left.checked_sub(self.overhead + stored as u64);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}
