// SPDX-License-Identifier: Apache-2.0

//! Opening files for reading.

use crate::failure::Failure;
use crate::keys::Keys;
use couchstore::{Db, OpenOptions};
use std::fs::FileType;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// Opens a file for reading.
pub fn open(path: &Path, keys: &Keys) -> Result<Db, Failure> {
    open_with(path, keys, OpenOptions::new())
}

/// Opens a file for reading, stepping over damaged headers at its end.
pub fn open_for_recovery(path: &Path, keys: &Keys) -> Result<Db, Failure> {
    open_with(path, keys, OpenOptions::new().recovery(true))
}

/// Opens a file for reading with these options.
pub fn open_with(path: &Path, keys: &Keys, options: OpenOptions) -> Result<Db, Failure> {
    if let Some(what) = std::fs::metadata(path).ok().and_then(|found| no_file(found.file_type())) {
        return Err(Failure::Message(format!("{}: is {what}", path.display())));
    }
    Ok(options.read_only(true).keys(keys.store()).open(path)?)
}

/// What cannot be a database. The library would notice a directory only when it reads, and wait for a pipe's writer.
fn no_file(kind: FileType) -> Option<&'static str> {
    if kind.is_dir() {
        Some("a directory")
    } else if kind.is_fifo() || kind.is_socket() {
        Some("a pipe or socket, not a file")
    } else {
        None
    }
}
