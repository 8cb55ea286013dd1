//! Whether the file behind an open handle still is the one that its name leads to.

#![forbid(unsafe_code)]

use super::naming::{FileId, file_at};
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Which file this name leads to; `None` if to none.
pub(crate) fn file_named(name: &CStr) -> io::Result<Option<FileId>> {
    file_at(Path::new(OsStr::from_bytes(name.to_bytes())))
}
