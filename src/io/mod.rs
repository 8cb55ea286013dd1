// SPDX-License-Identifier: Apache-2.0

//! Files: the seam to whoever does the system calls, and the layers on top of it.
//!
//! What flows through here, from top to bottom when something is written, and back up when it is read:
//!
//! ```text
//! tree, db            positions and contents of chunks
//!   shared            the cell that handles and traversals have the file in
//!   file              contents: block-type bytes, lengths and checksums, the cipher, headers, the append position
//!   buffered          bytes: the write buffer, which reads see through; below it
//!     exact             what a read or a plan has asked for, as it is (scratch: the memory)
//!     read_buffer       or whole units, of sizes that the caller has asked for
//!   posix, foreign, object      calls: of the system, of C's and of C++'s operations
//! ```
//!
//! Its parts, in this order:
//!
//! * `shared`: a file behind a cell, for trees and databases
//! * `file`: a couchstore file: blocks, chunks, headers, the append position; `tail`: where it ends and is appended to
//! * `buffered`: a write buffer that reads see through, and read buffers; `exact`: what was read exactly, and what a plan has
//!   read ahead; `read_buffer`: units of sizes that the caller has asked for; `scratch`: the memory for all that, kept from one
//!   handle to the next; `alike`: nodes that the thread has inflated before; `write_back`: when to sync what is written beside others' commits
//! * [`FileOps`] and [`FileHandle`]: what the library needs of a file system; callers may bring their own. [`posix`]: the
//!   default; [`foreign`]: a C caller's `couch_file_ops`; `object`: a C++ caller's `FileOpsInterface`
//!
//! And what belongs to files without being on that way:
//!
//! * [`naming`]: the system calls that give files names; `folder`: what has become of names when such a call fails; `temp`:
//!   temporary files, and those that dead processes have left
//! * [`rights`]: who may use a file that takes another one's place; `acl`: permissions, and what is left of them
//! * [`stale`]: whether the file behind a handle still is what its writer takes it for; `stamp`: by what a file is known again
//! * `room`: how much more fits into a file system; `environment`: variables
//! * `sim` (only for tests, feature `sim`): a disk in memory that fails on demand and loses power

mod acl;
mod alike;
pub(crate) mod buffered;
pub(crate) mod environment;
mod exact;
pub(crate) mod file;

pub(crate) mod folder;
pub mod foreign;
pub mod naming;
#[cfg(feature = "cxx-shim")]
pub(crate) mod object;
pub mod posix;
mod read_buffer;
pub mod rights;
pub(crate) mod room;
mod scratch;
pub(crate) mod shared;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod stale;
pub(crate) mod stamp;
pub(crate) mod tail;
pub(crate) mod temp;
mod write_back;

use crate::error::ErrorCode;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;

/// Why a call of the file operations failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoError {
    /// Returned to the caller of the library as it is.
    pub code: ErrorCode,
    /// `errno`, 0 if unknown.
    pub os_error: i32,
    /// The failure is that of a sync (a periodic one may happen inside a write): the operating system may have
    /// dropped written data, so nothing more may be written through this handle.
    pub sync_failed: bool,
    /// The name to be opened leads to something that is no regular file.
    pub not_regular: bool,
}

impl IoError {
    /// A failure with this code and `errno`.
    pub const fn new(code: ErrorCode, os_error: i32) -> IoError {
        IoError { code, os_error, sync_failed: false, not_regular: false }
    }
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct OpenMode {
    /// Only read.
    pub read_only: bool,
    /// Create the file if it does not exist.
    pub create: bool,
    /// Fail if the file exists.
    pub exclusive: bool,
    /// The library will put no buffer between itself and the handle.
    pub unbuffered: bool,
}

/// What the accesses that follow are for; a hint that file operations may use for statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FileTag {
    /// The search for a header.
    Empty = 0,
    /// A file header.
    FileHeader = 1,
    /// A node of a tree.
    BTree = 2,
    /// A document's body.
    Document = 3,
    /// Nothing in particular.
    Unknown = 4,
}

/// Opens files. One object may serve many handles in many threads.
pub trait FileOps: Send + Sync {
    /// Opens or creates `name`.
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError>;

    /// Whether this is the library's own implementation: then a new file's header is written at once, for others
    /// it waits in the write buffer until the first commit or close, as their callers expect.
    fn is_default(&self) -> bool {
        false
    }

    /// Takes over a file that the library's own calls have made. Only operations that pass for the library's own are
    /// asked to ([`FileOps::is_default`]).
    fn take_over(&self, file: File) -> Box<dyn FileHandle> {
        Box::new(posix::PosixFile::from(file))
    }

    /// Whether something has this name; asked before a file is created in place. The default looks at the real file
    /// system.
    fn exists(&self, name: &CStr) -> bool {
        std::fs::symlink_metadata(OsStr::from_bytes(name.to_bytes())).is_ok()
    }

    /// Removes a file that was created in place and could not be finished. There is nobody to tell if this fails.
    /// The default removes it from the real file system.
    fn remove(&self, name: &CStr) {
        let _ = std::fs::remove_file(OsStr::from_bytes(name.to_bytes()));
    }
}

/// An open file. Used by one thread at a time; dropping it releases it, also if it was never closed.
pub trait FileHandle: Send {
    /// Reads at `offset`; may read less than asked for, 0 only at the end of the file.
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError>;
    /// As [`FileHandle::pread`], at most `most` bytes, to be appended to `buf`.
    fn pread_onto(&mut self, buf: &mut Vec<u8>, most: usize, offset: u64) -> Result<usize, IoError> {
        let length = buf.len();
        buf.resize(length + most, 0);
        let result = self.pread(&mut buf[length..], offset);
        let n = result.as_ref().map_or(0, |&n| n.min(most));
        buf.truncate(length + n);
        result.map(|_| n)
    }
    /// Writes at `offset`; may write less than given, also 0.
    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError>;
    /// Size of the file in bytes.
    fn size(&mut self) -> Result<u64, IoError>;
    /// Returns once everything written is durable.
    fn sync(&mut self) -> Result<(), IoError>;
    /// Closes the file; called at most once.
    fn close(&mut self) -> Result<(), IoError>;

    /// Asks for an automatic sync after every `bytes` bytes written.
    fn set_periodic_sync(&mut self, bytes: u64) -> Result<(), IoError> {
        let _ = bytes;
        Err(IoError::new(ErrorCode::NOT_SUPPORTED, 0))
    }
    /// Asks for tracing.
    fn set_tracing(&mut self) -> Result<(), IoError> {
        Err(IoError::new(ErrorCode::NOT_SUPPORTED, 0))
    }
    /// Asks for writes to be read back and compared.
    fn set_write_validation(&mut self) -> Result<(), IoError> {
        Err(IoError::new(ErrorCode::NOT_SUPPORTED, 0))
    }
    /// Asks for the write buffer's pages to be guarded.
    fn set_mprotect(&mut self) -> Result<(), IoError> {
        Err(IoError::new(ErrorCode::NOT_SUPPORTED, 0))
    }
    /// Says what the accesses that follow are for.
    fn tag(&mut self, tag: FileTag) {
        let _ = tag;
    }
    /// Which file of the operating system this is; `None` if it is none.
    fn identity(&self) -> Option<naming::FileId> {
        None
    }
    /// The operating system's file behind this handle; `None` for files of a caller's operations.
    fn os_file(&self) -> Option<&File> {
        None
    }
    /// What the operating system says of the file; `None` if it is none of the operating system's. Then the library
    /// does not notice when somebody else replaces or writes it.
    fn status(&self) -> Option<Result<stale::FileStatus, IoError>> {
        None
    }
    /// Says that nothing of the file will be read for now. Only a hint: nobody is told if it fails.
    fn evict(&mut self) {}
    /// Asks for memory that is held for speed alone to be released.
    fn free_buffers(&mut self) {}
    /// The caller's own statistics object for this file (`FileOpsInterface::FHStats`), NULL if it has none.
    fn stats_object(&mut self) -> *mut std::ffi::c_void {
        std::ptr::null_mut()
    }
}

/// Counts of what was asked of the file operations since open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FileStats {
    /// Reads.
    pub read_count: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes.
    pub write_count: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Syncs.
    pub sync_count: u64,
}
