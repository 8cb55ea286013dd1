// SPDX-License-Identifier: Apache-2.0

//! Whether the file behind an open handle still is what its writer takes it for.
//!
//! A writer appends where it knows the file to end. If the file was replaced meanwhile (by a compaction, by another
//! process), what it writes goes to a file that nobody will open again; if another writer has appended, it would
//! overwrite that; if the file was cut, it would leave a hole. So before bytes are written the handle is looked at
//! once (`Watch::judge`), and nothing is written to a file that is not as the handle left it. Between the look and the
//! write somebody may still be faster: this finds mistakes, it is no lock.
//!
//! A file that was removed may be written as long as nothing else has its name: programs use such files.

#![forbid(unsafe_code)]

use super::naming::{FileId, file_at};
use crate::error::Stale;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// What the operating system says of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// Size in bytes.
    pub size: u64,
    /// It has a name.
    pub linked: bool,
    /// Which file it is.
    pub id: FileId,
}

/// What a writer knows of its file.
pub(crate) struct Watch {
    name: Arc<CStr>,
    /// It has got its name, and should keep it.
    named: bool,
    /// The file is at least this long,
    least: u64,
    /// and at most that.
    most: u64,
    refused: Option<Stale>,
}

impl Watch {
    /// Of an empty file that has this name.
    pub(crate) fn new(name: Arc<CStr>) -> Watch {
        Watch { name, named: true, least: 0, most: 0, refused: None }
    }

    /// Whether the file has its name already.
    pub(crate) fn set_named(&mut self, named: bool) {
        self.named = named;
    }

    /// The file has this size, and its owner has looked at what is in it.
    pub(crate) fn renew(&mut self, size: u64) {
        (self.least, self.most, self.refused) = (size, size, None);
    }

    /// Bytes up to `end` are about to be written.
    pub(crate) fn writing(&mut self, end: u64) {
        self.most = self.most.max(end);
    }

    /// Bytes up to `end` have been written.
    pub(crate) fn written(&mut self, end: u64) {
        self.least = self.least.max(end);
    }

    /// Why the file is not written any more, if it is not.
    pub(crate) fn refused(&self) -> Option<Stale> {
        self.refused
    }

    /// Whether the file is as it was left. Otherwise it stays refused until [`Watch::renew`].
    pub(crate) fn judge(&mut self, status: &FileStatus) -> Result<(), Stale> {
        let FileStatus { size: found, linked, id } = *status;
        let (least, most) = (self.least, self.most);
        if !(least..=most).contains(&found) {
            self.refused = Some(Stale::Size { found, least, most });
        } else if !linked && self.named && self.leads_elsewhere(id) {
            self.refused = Some(Stale::Replaced);
        }
        self.refused.map_or(Ok(()), Err)
    }

    fn leads_elsewhere(&self, own: FileId) -> bool {
        matches!(file_named(&self.name), Ok(Some(found)) if found != own)
    }
}

/// Which file this name leads to; `None` if to none.
fn file_named(name: &CStr) -> io::Result<Option<FileId>> {
    file_at(Path::new(OsStr::from_bytes(name.to_bytes())))
}
