// SPDX-License-Identifier: Apache-2.0

//! What several of the integration tests share.
//!
//! * [`rng`]: random numbers that can be replayed
//! * [`property`]: properties of random values, with the smallest that fails
//! * [`model`]: what a database should hold, kept in ordinary maps
//! * [`store`]: what can be asked of a database, whatever the language
//! * [`memory`]: file operations on files in memory
//! * [`naming`]: naming calls that fail, or are missing
//! * [`watched`]: file operations that log every call and fail on demand
//! * [`raw`]: a second reader of the file format, which shares no code with the library
//! * [`forge`]: writes files byte by byte, sensible and hostile ones
//! * [`forwarding`]: file operations that hand every call on
//! * [`world`]: a small database on such operations
//! * [`alloc`]: counts the bytes that are reserved

#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(unused_imports, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub(crate) mod alloc;
pub(crate) mod forge;
pub(crate) mod forwarding;
pub(crate) mod memory;
pub(crate) mod model;
pub(crate) mod naming;
pub(crate) mod property;
pub(crate) mod raw;
pub(crate) mod rng;
pub(crate) mod store;
pub(crate) mod watched;
pub(crate) mod world;

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A temporary folder, in memory where the system has such a place and `TMPDIR` names no other: syncs cost nothing there.
pub(crate) fn temp_dir() -> tempfile::TempDir {
    let in_memory = Path::new("/dev/shm");
    let is_free = std::env::var_os("TMPDIR").is_none() && in_memory.is_dir();
    let dir = if is_free { tempfile::tempdir_in(in_memory) } else { tempfile::tempdir() };
    dir.expect("temporary folder")
}

/// Number of files in a folder, whatever their names.
pub(crate) fn files_in(dir: &Path) -> usize {
    std::fs::read_dir(dir).expect("folder").count()
}

/// The file in this folder that compaction sorts in: the process has it open, and it has no name. The target, which has none
/// yet either, has little in it so far.
pub(crate) fn sort_file_in(folder: &Path) -> Option<File> {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let in_folder = links.filter(|link| std::fs::read_link(link).is_ok_and(|to| to.starts_with(folder)));
    let unnamed = in_folder.filter(|link| std::fs::metadata(link).unwrap().nlink() == 0);
    let link = unnamed.max_by_key(|link| std::fs::metadata(link).unwrap().len())?;
    Some(File::options().read(true).write(true).open(link).unwrap())
}
