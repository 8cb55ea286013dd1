// SPDX-License-Identifier: Apache-2.0

//! What was not committed may be given up while somebody goes through it.

use super::cache::file::TreeFile;
use crate::error::{Error, Result};

/// What a traversal stands on, as it was when that began. What was committed then stays where it is. What was not may be
/// given up by a callback, or by another thread while a callback runs; then something else may get its place in the file.
#[derive(Clone, Copy)]
pub(crate) struct Footing<'a> {
    file: &'a TreeFile,
    committed: u64,
    discards: u64,
}

impl<'a> Footing<'a> {
    pub(crate) fn new(file: &'a TreeFile) -> Footing<'a> {
        Footing { file, committed: file.committed(), discards: file.discards() }
    }

    /// Fails if what was at this position may be something else by now. Needs nothing but what other threads may change
    /// meanwhile.
    #[inline]
    pub(crate) fn check(self, position: u64) -> Result<()> {
        if position >= self.committed && self.file.discards() != self.discards {
            return Err(given_up());
        }
        Ok(())
    }
}

/// The error for going on in what is not there any more.
#[cold]
pub(crate) fn given_up() -> Error {
    Error::InvalidArguments("expected uncommitted changes to be gone through before they are discarded")
}
