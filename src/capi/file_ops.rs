// SPDX-License-Identifier: Apache-2.0

//! The library's own file operations as a C struct, for callers that want to wrap them.

use super::guard::guard_value;
use super::types::{
    couch_file_handle, couch_file_ops, couchstore_error_info_t, couchstore_error_t, cs_off_t,
};
use crate::error::{Error, ErrorCode, Result};
use crate::io::foreign::{COUCH_FILE_OPS_VERSION, ForeignOps};
use crate::io::posix::{PosixFile, PosixOps};
use crate::io::{FileHandle, FileOps, IoError, OpenMode};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

/// The caller's file operations. The library's own struct stands for its own implementation.
///
/// # Safety
/// The pointer contract of `capi`, and that of `file_ops.h` for the functions in the struct.
pub(super) unsafe fn to_rust(ops: *const couch_file_ops) -> Result<Arc<dyn FileOps>> {
    if std::ptr::eq(ops, &raw const DEFAULT_OPS.0) {
        return Ok(Arc::new(PosixOps));
    }
    if ops.is_null() {
        return Err(Error::InvalidArguments("expected file operations, got NULL"));
    }
    // SAFETY: the contract above. Only the version is read before the layout is known.
    unsafe {
        if (*ops).version != COUCH_FILE_OPS_VERSION {
            return Err(Error::InvalidArguments("expected file operations of version 5"));
        }
        let ops = ForeignOps::new(*ops);
        Ok(Arc::new(
            ops.ok_or(Error::InvalidArguments("expected file operations with all functions but advise"))?,
        ))
    }
}

/// A handle of the C struct: `None` until opened.
type Slot = Option<PosixFile>;

struct Shared(couch_file_ops);

// SAFETY: function pointers and a NULL cookie, never changed.
unsafe impl Sync for Shared {}

static DEFAULT_OPS: Shared = Shared(couch_file_ops {
    version: COUCH_FILE_OPS_VERSION,
    constructor: Some(constructor),
    open: Some(open),
    close: Some(close),
    pread: Some(pread),
    pwrite: Some(pwrite),
    goto_eof: Some(goto_eof),
    sync: Some(sync),
    advise: Some(advise),
    destructor: Some(destructor),
    cookie: std::ptr::null_mut(),
});

/// The library's own file operations; in C by the name couchstore_get_default_file_ops(). A caller's
/// operations may call them.
///
/// @return a constant struct, which lives as long as the library
#[unsafe(no_mangle)]
pub extern "C" fn couchstore_c_get_default_file_ops() -> *const couch_file_ops {
    &raw const DEFAULT_OPS.0
}

/// Runs an operation on an open handle: its result as C wants it, and the reason of a failure.
///
/// # Safety
/// `handle` was made by `constructor` and not destroyed; `info` is NULL or valid.
unsafe fn operate(
    info: *mut couchstore_error_info_t,
    handle: couch_file_handle,
    action: impl FnOnce(&mut PosixFile) -> Result<i64, IoError>,
) -> i64 {
    // SAFETY: the contract above; a handle is used by one thread at a time.
    let slot = unsafe { handle.cast::<Slot>().as_mut() };
    let closed = IoError::new(ErrorCode::FILE_CLOSED, libc::EBADF);
    let result = guard_value(Err(IoError::new(ErrorCode::INTERNAL, 0)), || match slot {
        Some(Some(file)) => action(file),
        _ => Err(closed),
    });
    result.unwrap_or_else(|error| {
        // SAFETY: the contract above.
        if let Some(info) = unsafe { info.as_mut() } {
            info.error = error.os_error;
        }
        i64::from(error.code.0)
    })
}

unsafe extern "C" fn constructor(
    _info: *mut couchstore_error_info_t,
    _cookie: *mut c_void,
) -> couch_file_handle {
    Box::into_raw(Box::new(Slot::None)).cast()
}

unsafe extern "C" fn open(
    info: *mut couchstore_error_info_t,
    handle: *mut couch_file_handle,
    path: *const c_char,
    oflag: c_int,
) -> couchstore_error_t {
    if handle.is_null() || path.is_null() {
        return ErrorCode::INVALID_ARGUMENTS.0;
    }
    // SAFETY: not NULL; valid by the contract of file_ops.h.
    let (slot, path) = unsafe { ((*handle).cast::<Slot>().as_mut(), CStr::from_ptr(path)) };
    let Some(slot) = slot else { return ErrorCode::INVALID_ARGUMENTS.0 };
    let mode = OpenMode {
        read_only: oflag & libc::O_ACCMODE == libc::O_RDONLY,
        create: oflag & libc::O_CREAT != 0,
        exclusive: oflag & libc::O_EXCL != 0,
        unbuffered: false,
    };
    match PosixFile::open(path, mode) {
        Ok(file) => {
            *slot = Some(file);
            ErrorCode::SUCCESS.0
        }
        Err(error) => {
            // SAFETY: NULL or valid by the contract of file_ops.h.
            if let Some(info) = unsafe { info.as_mut() } {
                info.error = error.os_error;
            }
            error.code.0
        }
    }
}

unsafe extern "C" fn close(info: *mut couchstore_error_info_t, handle: couch_file_handle) {
    // SAFETY: the contract of file_ops.h.
    unsafe { operate(info, handle, |file| file.close().map(|()| 0)) };
}

unsafe extern "C" fn pread(
    info: *mut couchstore_error_info_t,
    handle: couch_file_handle,
    buf: *mut c_void,
    nbytes: usize,
    offset: cs_off_t,
) -> isize {
    let read = |file: &mut PosixFile| {
        if nbytes == 0 {
            return Ok(0);
        }
        // SAFETY: valid for writes of `nbytes` by the contract of file_ops.h.
        let buf = unsafe { std::slice::from_raw_parts_mut(buf.cast::<u8>(), nbytes) };
        file.pread(buf, offset as u64).map(|n| n as i64)
    };
    // SAFETY: the contract of file_ops.h.
    unsafe { operate(info, handle, read) as isize }
}

unsafe extern "C" fn pwrite(
    info: *mut couchstore_error_info_t,
    handle: couch_file_handle,
    buf: *const c_void,
    nbytes: usize,
    offset: cs_off_t,
) -> isize {
    let write = |file: &mut PosixFile| {
        if nbytes == 0 {
            return Ok(0);
        }
        // SAFETY: valid for reads of `nbytes` by the contract of file_ops.h.
        let buf = unsafe { std::slice::from_raw_parts(buf.cast::<u8>(), nbytes) };
        file.pwrite(buf, offset as u64).map(|n| n as i64)
    };
    // SAFETY: the contract of file_ops.h.
    unsafe { operate(info, handle, write) as isize }
}

unsafe extern "C" fn goto_eof(info: *mut couchstore_error_info_t, handle: couch_file_handle) -> cs_off_t {
    // SAFETY: the contract of file_ops.h.
    unsafe { operate(info, handle, |file| file.size().map(|size| size as i64)) }
}

unsafe extern "C" fn sync(
    info: *mut couchstore_error_info_t,
    handle: couch_file_handle,
) -> couchstore_error_t {
    // SAFETY: the contract of file_ops.h.
    unsafe { operate(info, handle, |file| file.sync().map(|()| 0)) as c_int }
}

unsafe extern "C" fn advise(
    info: *mut couchstore_error_info_t,
    handle: couch_file_handle,
    offset: cs_off_t,
    len: cs_off_t,
    advice: c_int,
) -> couchstore_error_t {
    // SAFETY: the contract of file_ops.h.
    unsafe { operate(info, handle, |file| file.advise(offset, len, advice).map(|()| 0)) as c_int }
}

unsafe extern "C" fn destructor(_info: *mut couchstore_error_info_t, handle: couch_file_handle) {
    if !handle.is_null() {
        // SAFETY: made by `constructor`, and by the contract of file_ops.h destroyed once.
        drop(unsafe { Box::from_raw(handle.cast::<Slot>()) });
    }
}
