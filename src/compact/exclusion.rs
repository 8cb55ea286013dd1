// SPDX-License-Identifier: Apache-2.0

//! Keeping a second compaction from a file.

use super::options::{OnlineOptions, Swap};
use crate::db::leftovers::newest_header;
use crate::io::folder::Failure;
use crate::io::naming::{FileId, has_no_locks, identity, is_locked, leads_to};
use crate::io::temp;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const ONLY_READABLE: &str = "the file may only be read, and this file system locks none but files that may be written: \
     a second compaction could not be kept out";

/// An advisory lock on the source, given back when dropped, also by a process that dies.
pub(super) struct Exclusion {
    file: File,
    /// The file that is locked.
    pub(super) id: FileId,
}

impl Exclusion {
    /// Where the newest header of the file is, if it can be read.
    pub(super) fn newest_header(&self) -> Option<u64> {
        Some(newest_header(self.file.try_clone().ok()?)?.0)
    }
}

impl Drop for Exclusion {
    fn drop(&mut self) {
        temp::release(&self.file);
    }
}

/// Keeps other compactions from the source. `None`: there is nothing that could be locked.
pub(super) fn exclude_others(source: &Path, options: &OnlineOptions) -> Result<Option<Exclusion>, Failure> {
    let own_operations = !options.compact.file_ops.is_default();
    loop {
        let (file, writable) = match open(source) {
            Ok(opened) => opened,
            // A file that only the caller's operations know.
            Err(error) if own_operations && is_absent(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match options.compact.naming.try_lock(&file) {
            Ok(()) => {}
            Err(error) if is_locked(&error) => return Err(io::Error::from_raw_os_error(libc::EBUSY).into()),
            Err(error) if has_no_locks(&error) => return Ok(None),
            // NFS wants the right to write.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) && !writable => {
                return match options.swap {
                    Swap::None => Ok(None),
                    Swap::Replace => Err(Failure::Lacking(ONLY_READABLE, error)),
                };
            }
            Err(error) => return Err(error.into()),
        }
        let exclusion = Exclusion { id: identity(&file)?, file };
        // Between opening and locking another compaction may have replaced the file: then its lock is worth nothing.
        if leads_to(source, exclusion.id)? {
            return Ok(Some(exclusion));
        }
    }
}

/// Opens a file, if possible for writing too: whether that is so.
fn open(source: &Path) -> io::Result<(File, bool)> {
    let open = |write| {
        // A FIFO must not keep anybody waiting.
        OpenOptions::new()
            .read(true)
            .write(write)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(source)
    };
    open(true).map(|file| (file, true)).or_else(|_| open(false).map(|file| (file, false)))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG))
}
