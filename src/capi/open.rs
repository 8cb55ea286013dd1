// SPDX-License-Identifier: Apache-2.0

//! Opening and closing.

use super::file_ops;
use super::flags;
use super::guard::{guard, guard_db, guard_last};
use super::latency::Call;
use super::ptr::{self, Out};
use super::types::{Handle, couch_file_ops, couchstore_error_t, couchstore_open_flags};
use crate::db::Db;
use crate::db::open::OpenOptions;
use crate::error::{Error, ErrorCode, Result};
use std::ffi::{CStr, c_char};

#[inline]
pub(super) fn open(options: &OpenOptions, filename: &CStr, out: &Out<*mut Handle>) -> Result<()> {
    let db = options.open_boxed(filename)?;
    out.set(Box::into_raw(Handle::own(db)));
    Ok(())
}

/// Opens a file with the library's own file operations.
///
/// The handle stands on the newest header. With COUCHSTORE_OPEN_FLAG_CREATE a file that does not
/// exist is created with a first header in it; an existing empty file is given one too, unless it is
/// opened read-only.
///
/// @param filename name of the file
/// @param flags    COUCHSTORE_OPEN_* values, or-ed together; 0: an existing file, for reading and
///                 writing
/// @param db       receives the handle, which is closed with couchstore_close_file() and freed with
///                 couchstore_free_db(); untouched on failure
/// @return COUCHSTORE_ERROR_NO_SUCH_FILE: it does not exist; COUCHSTORE_ERROR_OPEN_FILE: it cannot be
///         opened, is no regular file (a device, a FIFO: errno is EINVAL), or exists and
///         COUCHSTORE_OPEN_FLAG_EXCL was given; COUCHSTORE_ERROR_NO_HEADER: it is no database;
///         COUCHSTORE_ERROR_CORRUPT, COUCHSTORE_ERROR_CHECKSUM_FAIL, COUCHSTORE_ERROR_READ: its newest
///         header is damaged (see COUCHSTORE_OPEN_RECOVERY_MODE); COUCHSTORE_ERROR_READ with errno
///         EISDIR: a directory, read-only; COUCHSTORE_ERROR_HEADER_VERSION: it is of an unknown
///         version; COUCHSTORE_ERROR_NO_ENCRYPTION_KEY: it is encrypted
///         (COUCHSTORE_ERROR_NOT_SUPPORTED if this library was built without encryption);
///         COUCHSTORE_ERROR_INVALID_ARGUMENTS: flags that exclude each other, or
///         COUCHSTORE_OPEN_WITH_LEGACY_CRC for a file of version 12 or newer
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_open_db"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_open_db(
    filename: *const c_char,
    flags: couchstore_open_flags,
    db: *mut *mut Handle,
) -> couchstore_error_t {
    guard(Call::OpenDb, || {
        // SAFETY: the pointer contract of `capi`.
        let (filename, out) = unsafe { (ptr::name(filename)?, Out::new(db)?) };
        open(&flags::open_options(flags), filename, &out)
    })
}

/// Opens a file with the caller's file operations; in C by the name couchstore_open_db_ex().
///
/// As couchstore_open_db(), with this difference: the first header of a new file waits in the write
/// buffer until the first commit or close (unless COUCHSTORE_OPEN_FLAG_UNBUFFERED is given).
///
/// @param ops file operations of version 5, with all functions but advise; they must stay as they
///            are until the handle is freed. The ones of couchstore_get_default_file_ops() are
///            fine too.
/// @return what the operations returned, if they failed; COUCHSTORE_ERROR_INVALID_ARGUMENTS: ops is
///         NULL or not complete; COUCHSTORE_ERROR_NOT_SUPPORTED: flags ask for what version 5 does not
///         have (periodic sync, tracing, write validation, mprotect); otherwise as
///         couchstore_open_db()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_c_open_db_ex(
    filename: *const c_char,
    flags: couchstore_open_flags,
    ops: *const couch_file_ops,
    db: *mut *mut Handle,
) -> couchstore_error_t {
    guard(Call::OpenDbEx, || {
        // SAFETY: the pointer contract of `capi`.
        let (filename, ops, out) = unsafe { (ptr::name(filename)?, file_ops::to_rust(ops)?, Out::new(db)?) };
        open(&flags::open_options(flags).file_ops(ops), filename, &out)
    })
}

/// Opens a file with the caller's file operations or, if there is none, creates it atomically: the
/// operations write and sync a file with a temporary name in the same directory, the library gives
/// it its name and syncs the directory.
///
/// After success the file is there, complete and durable; after a failure, or when the process dies
/// at any moment, there is no file of this name. (couchstore_open_db() promises the same with
/// COUCHSTORE_OPEN_FLAG_CREATE; couchstore_open_db_ex() creates the file in place.)
///
/// @param flags as for couchstore_open_db(); COUCHSTORE_OPEN_FLAG_CREATE is implied
/// @param ops   as for couchstore_open_db_ex(); NULL: the default ones. They must reach the files that
///              the operating system knows by the same names.
/// @return as couchstore_open_db_ex()
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_bootstrap_db"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_bootstrap_db(
    filename: *const c_char,
    flags: couchstore_open_flags,
    ops: *const couch_file_ops,
    db: *mut *mut Handle,
) -> couchstore_error_t {
    guard(Call::BootstrapDb, || {
        let mut options = flags::open_options(flags).create(true).bootstrap(true);
        if !ops.is_null() {
            // SAFETY: the pointer contract of `capi`.
            options = options.file_ops(unsafe { file_ops::to_rust(ops) }?);
        }
        // SAFETY: the pointer contract of `capi`.
        let (filename, out) = unsafe { (ptr::name(filename)?, Out::new(db)?) };
        open(&options, filename, &out)
    })
}

/// Writes what is buffered and closes the file. The handle stays: it must be freed with
/// couchstore_free_db(), and until then most functions return COUCHSTORE_ERROR_FILE_CLOSED.
///
/// Documents that were saved and not committed are lost.
///
/// @return COUCHSTORE_SUCCESS also for a handle that is closed already. The file is closed even if an
///         error is returned.
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_close_file"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_close_file(db: *mut Handle) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::CloseFile, db, Db::close) }
}

/// Frees a handle.
///
/// @param db closed with couchstore_close_file() before; NULL is fine
/// @return COUCHSTORE_ERROR_INVALID_ARGUMENTS: the file is not closed, or this is called from a
///         callback of a call on the handle; then the handle stays valid
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_free_db"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_free_db(db: *mut Handle) -> couchstore_error_t {
    if db.is_null() {
        return ErrorCode::SUCCESS.0;
    }
    let check = |db: &Db| {
        if db.is_closed() {
            Ok(())
        } else {
            Err(Error::InvalidArguments("expected a handle that couchstore_close_file() has closed"))
        }
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_last(Call::FreeDb, db, check, |code| code == ErrorCode::SUCCESS.0) }.code
}

/// Closes the file and frees the handle, whatever the result.
///
/// @return what couchstore_close_file() gives. COUCHSTORE_ERROR_INVALID_ARGUMENTS: called from a
///         callback of a call on the handle; only then it is neither closed nor freed
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_close_db"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_close_db(db: *mut Handle) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_last(Call::CloseFile, db, Db::close, |_| true) }.code
}

/// Closes the file and keeps the handle, for couchstore_reopen_file(). The same as
/// couchstore_close_file().
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_drop_file"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_drop_file(db: *mut Handle) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { couchstore_close_file(db) }
}

/// Opens a file again under an existing handle, for example after it was renamed. It must have the
/// header that the handle stood on: the same sequence number at the same position.
///
/// @param db       closed or not
/// @param filename the file's name now
/// @param flags    as for couchstore_open_db()
/// @return COUCHSTORE_ERROR_DB_NO_LONGER_VALID: it could not be opened or is another file; then the
///         handle is closed
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_reopen_file"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_reopen_file(
    db: *mut Handle,
    filename: *const c_char,
    flags: couchstore_open_flags,
) -> couchstore_error_t {
    let body = |db: &Db| {
        // SAFETY: the pointer contract of `capi`.
        let filename = unsafe { ptr::name(filename) }?;
        db.reopen(filename, &flags::open_options(flags))
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::ReopenFile, db, body) }
}

/// The open flags that ask for a sync after every so many bytes written (the field
/// COUCHSTORE_OPEN_WITH_PERIODIC_SYNC).
///
/// @param bytes rounded up to KiB, then down to a power of two, at most 2^40; 0 counts as 1 KiB
/// @return the bits to be or-ed into the flags
#[unsafe(no_mangle)]
pub extern "C" fn couchstore_encode_periodic_sync_flags(bytes: u64) -> couchstore_open_flags {
    flags::encode_periodic_sync(bytes)
}
