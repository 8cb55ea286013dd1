// SPDX-License-Identifier: Apache-2.0

//! A C caller's file operations: the struct `couch_file_ops` of `file_ops.h`, version 5.
//!
//! # The contract with the caller
//!
//! The struct and its functions stay as they are until every handle opened with them is freed; a handle is given to
//! one function at a time, and only to functions of the struct that made it.

#![allow(non_camel_case_types, reason = "the names of the C header")]

use super::{FileHandle, FileOps, IoError, OpenMode};
use crate::error::ErrorCode;
use std::ffi::{CStr, c_char, c_int, c_void};

/// `couchstore_error_info_t`: where a function leaves the reason of its failure.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct couchstore_error_info_t {
    /// An `errno` value.
    pub error: c_int,
}

/// `couch_file_handle`: a file as the caller's functions see it.
pub type couch_file_handle = *mut c_void;

/// `couch_file_ops`: see `file_ops.h` for the contract of each function.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "described in file_ops.h")]
pub struct couch_file_ops {
    pub version: u64,
    pub constructor:
        Option<unsafe extern "C" fn(*mut couchstore_error_info_t, cookie: *mut c_void) -> couch_file_handle>,
    pub open: Option<
        unsafe extern "C" fn(
            *mut couchstore_error_info_t,
            *mut couch_file_handle,
            path: *const c_char,
            oflag: c_int,
        ) -> c_int,
    >,
    pub close: Option<unsafe extern "C" fn(*mut couchstore_error_info_t, couch_file_handle)>,
    pub pread: Option<
        unsafe extern "C" fn(
            *mut couchstore_error_info_t,
            couch_file_handle,
            buf: *mut c_void,
            nbytes: usize,
            offset: i64,
        ) -> isize,
    >,
    pub pwrite: Option<
        unsafe extern "C" fn(
            *mut couchstore_error_info_t,
            couch_file_handle,
            buf: *const c_void,
            nbytes: usize,
            offset: i64,
        ) -> isize,
    >,
    pub goto_eof: Option<unsafe extern "C" fn(*mut couchstore_error_info_t, couch_file_handle) -> i64>,
    pub sync: Option<unsafe extern "C" fn(*mut couchstore_error_info_t, couch_file_handle) -> c_int>,
    pub advise: Option<
        unsafe extern "C" fn(
            *mut couchstore_error_info_t,
            couch_file_handle,
            offset: i64,
            len: i64,
            advice: c_int,
        ) -> c_int,
    >,
    pub destructor: Option<unsafe extern "C" fn(*mut couchstore_error_info_t, couch_file_handle)>,
    pub cookie: *mut c_void,
}

/// The version of [`couch_file_ops`] that is understood.
pub const COUCH_FILE_OPS_VERSION: u64 = 5;

impl couch_file_ops {
    /// Whether the struct has the known layout and all functions that are needed.
    pub fn is_complete(&self) -> bool {
        self.version == COUCH_FILE_OPS_VERSION
            && self.constructor.is_some()
            && self.open.is_some()
            && self.close.is_some()
            && self.pread.is_some()
            && self.pwrite.is_some()
            && self.goto_eof.is_some()
            && self.sync.is_some()
            && self.destructor.is_some()
    }
}

/// File operations that call a [`couch_file_ops`].
#[derive(Clone, Copy, Debug)]
pub struct ForeignOps {
    ops: couch_file_ops,
}

// SAFETY: the struct holds function pointers, which may be called from any thread by the contract of file_ops.h, and
// a cookie that is only handed to them.
unsafe impl Send for ForeignOps {}
// SAFETY: as above; the library never changes the struct.
unsafe impl Sync for ForeignOps {}

impl ForeignOps {
    /// Wraps a struct; `None` if it is not complete.
    ///
    /// # Safety
    ///
    /// The functions follow the contract of this module and of `file_ops.h`.
    pub unsafe fn new(ops: couch_file_ops) -> Option<ForeignOps> {
        ops.is_complete().then_some(ForeignOps { ops })
    }
}

/// A file opened by the caller's functions.
struct ForeignFile {
    ops: couch_file_ops,
    handle: couch_file_handle,
}

// SAFETY: a file handle may move between threads; it is used by one at a time because all use takes `&mut self`.
unsafe impl Send for ForeignFile {}

const MISSING: IoError = IoError::new(ErrorCode::INVALID_ARGUMENTS, 0);

/// Turns a result of a caller's function into ours: negative numbers are couchstore codes.
pub(super) fn length(result: i64, info: couchstore_error_info_t) -> Result<u64, IoError> {
    u64::try_from(result).map_err(|_| {
        let code = i32::try_from(result).unwrap_or(ErrorCode::READ.0);
        IoError::new(ErrorCode(code), info.error)
    })
}

pub(super) fn status(code: c_int, info: couchstore_error_info_t) -> Result<(), IoError> {
    if code == 0 { Ok(()) } else { Err(IoError::new(ErrorCode(code), info.error)) }
}

pub(super) fn open_flags(mode: OpenMode) -> c_int {
    let mut flags = if mode.read_only { libc::O_RDONLY } else { libc::O_RDWR };
    if mode.create {
        flags |= libc::O_CREAT;
    }
    if mode.exclusive {
        flags |= libc::O_EXCL;
    }
    flags
}

impl FileOps for ForeignOps {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        let mut info = couchstore_error_info_t::default();
        let ops = self.ops;
        let (constructor, open) = (ops.constructor.ok_or(MISSING)?, ops.open.ok_or(MISSING)?);
        // SAFETY: the contract of the module; `info` is valid for the call.
        let handle = unsafe { constructor(&raw mut info, ops.cookie) };
        if handle.is_null() && mode.unbuffered {
            return Err(IoError::new(ErrorCode::ALLOC_FAIL, info.error));
        }
        // From here on dropping it runs the destructor, also if open fails.
        let mut file = ForeignFile { ops, handle };
        // SAFETY: the contract of the module; `handle` was made by the constructor of the same struct, and the name
        // is terminated.
        let code = unsafe { open(&raw mut info, &raw mut file.handle, name.as_ptr(), open_flags(mode)) };
        status(code, info)?;
        Ok(Box::new(file))
    }
}

impl FileHandle for ForeignFile {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        let mut info = couchstore_error_info_t::default();
        let pread = self.ops.pread.ok_or(MISSING)?;
        // SAFETY: the contract of the module; `buf` is valid for writes of its length.
        let result =
            unsafe { pread(&raw mut info, self.handle, buf.as_mut_ptr().cast(), buf.len(), offset as i64) };
        length(result as i64, info).map(|n| n as usize)
    }

    fn pread_onto(&mut self, buf: &mut Vec<u8>, most: usize, offset: u64) -> Result<usize, IoError> {
        let mut info = couchstore_error_info_t::default();
        let pread = self.ops.pread.ok_or(MISSING)?;
        let room = buf.spare_capacity_mut();
        let size = most.min(room.len());
        // SAFETY: the contract of the module; there is room for so many bytes.
        let result =
            unsafe { pread(&raw mut info, self.handle, room.as_mut_ptr().cast(), size, offset as i64) };
        let n = (length(result as i64, info)? as usize).min(size);
        // SAFETY: room as above, and by the contract of file_ops.h as many bytes were filled in as the result says.
        unsafe { buf.set_len(buf.len() + n) };
        Ok(n)
    }

    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        let mut info = couchstore_error_info_t::default();
        let pwrite = self.ops.pwrite.ok_or(MISSING)?;
        // SAFETY: the contract of the module; `buf` is valid for reads of its length.
        let result =
            unsafe { pwrite(&raw mut info, self.handle, buf.as_ptr().cast(), buf.len(), offset as i64) };
        length(result as i64, info).map(|n| n as usize)
    }

    fn size(&mut self) -> Result<u64, IoError> {
        let mut info = couchstore_error_info_t::default();
        let goto_eof = self.ops.goto_eof.ok_or(MISSING)?;
        // SAFETY: the contract of the module.
        let result = unsafe { goto_eof(&raw mut info, self.handle) };
        length(result, info)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        let mut info = couchstore_error_info_t::default();
        let sync = self.ops.sync.ok_or(MISSING)?;
        // SAFETY: the contract of the module.
        let code = unsafe { sync(&raw mut info, self.handle) };
        status(code, info)
    }

    fn close(&mut self) -> Result<(), IoError> {
        let mut info = couchstore_error_info_t::default();
        let close = self.ops.close.ok_or(MISSING)?;
        // SAFETY: the contract of the module; called at most once.
        unsafe { close(&raw mut info, self.handle) };
        Ok(())
    }

    fn evict(&mut self) {
        let mut info = couchstore_error_info_t::default();
        if let Some(advise) = self.ops.advise {
            // SAFETY: the contract of the module.
            unsafe { advise(&raw mut info, self.handle, 0, 0, libc::POSIX_FADV_DONTNEED) };
        }
    }
}

impl Drop for ForeignFile {
    fn drop(&mut self) {
        let mut info = couchstore_error_info_t::default();
        if let Some(destructor) = self.ops.destructor {
            // SAFETY: the contract of the module; nothing uses the handle after this.
            unsafe { destructor(&raw mut info, self.handle) };
        }
    }
}
