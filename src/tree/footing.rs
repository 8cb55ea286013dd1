// SPDX-License-Identifier: Apache-2.0

//! What was not committed may be given up while somebody goes through it.

use super::cache::file::TreeFile;
use crate::error::{Error, Result};

/// What stood in a file at some time. What was committed then stays where it is. What was not may be given up, by a callback
/// of a traversal or by another thread while one runs; then something else may get its place in the file.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    committed: u64,
    discards: u64,
}

impl Standing {
    pub(crate) fn of(file: &TreeFile) -> Standing {
        Standing { committed: file.committed(), discards: file.discards() }
    }

    /// Fails if what was at this position may be something else by now. Needs nothing but what other threads may change
    /// meanwhile.
    #[inline]
    pub(crate) fn check(self, file: &TreeFile, position: u64) -> Result<()> {
        if position >= self.committed && file.discards() != self.discards {
            return Err(given_up());
        }
        Ok(())
    }
}

/// What a traversal stands on, as it was when that began.
#[derive(Clone, Copy)]
pub(crate) struct Footing<'a> {
    file: &'a TreeFile,
    then: Standing,
}

impl<'a> Footing<'a> {
    pub(crate) fn new(file: &'a TreeFile) -> Footing<'a> {
        Footing { file, then: Standing::of(file) }
    }

    /// As [`Standing::check`].
    #[inline]
    pub(crate) fn check(self, position: u64) -> Result<()> {
        self.then.check(self.file, position)
    }
}

/// The error for going on in what is not there any more.
#[cold]
fn given_up() -> Error {
    Error::InvalidArguments("expected uncommitted changes to be gone through before they are discarded")
}
