//! Whether the file behind an open handle still is the one that its name leads to.

#![forbid(unsafe_code)]

use super::naming::FileId;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// Which file this name leads to; `None` if to none.
pub(crate) fn file_named(name: &CStr) -> io::Result<Option<FileId>> {
    match std::fs::metadata(OsStr::from_bytes(name.to_bytes())) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        Err(error) => Err(error),
    }
}
