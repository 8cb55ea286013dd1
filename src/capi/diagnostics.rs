// SPDX-License-Identifier: Apache-2.0

//! What went wrong.

use super::guard::{guard_answer, guard_value, last_os_error};
use super::latency::Call;
use super::types::{Handle, couchstore_error_t, couchstore_internal_error_fn};
use crate::error::internal_error::{last_internal_error, set_on_internal_error};
use crate::error::{Error, ErrorCode, Result};
use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

/// The meaning of an error code, in English.
///
/// @return a constant string, for unknown codes too
#[unsafe(no_mangle)]
pub extern "C" fn couchstore_strerror(errcode: couchstore_error_t) -> *const c_char {
    ErrorCode(errcode).text().as_ptr()
}

/// Copies a text to the caller's buffer, cut to fit and terminated.
///
/// # Safety
/// `buf` is NULL or valid for writes of `size` bytes.
pub(super) unsafe fn give(text: &str, buf: *mut c_char, size: usize) -> Result<()> {
    if buf.is_null() || size == 0 {
        return Err(Error::InvalidArguments("expected room for a text"));
    }
    let length = text.len().min(size - 1);
    // SAFETY: by the contract there is room for `length` bytes and the terminator.
    unsafe {
        buf.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), length);
        buf.add(length).write(0);
    }
    Ok(())
}

/// The text of an operating system error number.
fn os_error_text(os_error: i32) -> String {
    let mut buffer = [0_u8; 256];
    // SAFETY: strerror_r writes at most the given size, terminated, into the buffer.
    let failed = unsafe { libc::strerror_r(os_error, buffer.as_mut_ptr().cast(), buffer.len()) } != 0;
    let length = buffer.iter().position(|&byte| byte == 0).unwrap_or(0);
    if failed && length == 0 {
        return "unknown error".into();
    }
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// The reason of the last failed system call on this handle: "errno = N: 'text'". N is 0 if none
/// failed.
///
/// @param db   NULL: of the last call on this thread that failed for such a reason, with whatever
///             handle or none; so after an open that failed
/// @param buf  receives the text, cut to fit and terminated
/// @param size of buf in bytes
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_last_os_error(
    db: *const Handle,
    buf: *mut c_char,
    size: usize,
) -> couchstore_error_t {
    guard_answer(Call::LastOsError, || {
        // SAFETY: the pointer contract of `capi`.
        let handle = unsafe { db.as_ref() };
        let os_error = handle.map_or_else(last_os_error, |handle| handle.ask(|known| known.last_os_error));
        let text = format!("errno = {os_error}: '{}'", os_error_text(os_error));
        // SAFETY: the pointer contract of `capi`.
        unsafe { give(&text, buf, size) }
    })
}

/// The reason of the last call on this thread that failed, in quotes: 'text'. It says which check
/// failed where in the file, in couchstore's words where those are known; '' if there was none.
/// Success does not clear it, nor do COUCHSTORE_ERROR_DOC_NOT_FOUND and what callbacks returned
/// replace it.
///
/// @param db   not used; NULL is fine, so after an open that failed
/// @param buf  receives the text, at most 251 bytes, cut to fit and terminated
/// @param size of buf in bytes
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_last_internal_error(
    db: *const Handle,
    buf: *mut c_char,
    size: usize,
) -> couchstore_error_t {
    let _ = db;
    // SAFETY: the pointer contract of `capi`.
    guard_answer(Call::LastInternalError, || unsafe { give(&last_internal_error(), buf, size) })
}

/// A C handler of internal errors.
struct Handler {
    function: unsafe extern "C" fn(*const c_char, usize, *mut c_void),
    ctx: *mut c_void,
}

// SAFETY: by the contract of couchstore_set_on_internal_error the function may be called on any thread with its ctx.
unsafe impl Send for Handler {}
// SAFETY: as above.
unsafe impl Sync for Handler {}

impl Handler {
    fn call(&self, text: &str) {
        // Terminated as well as measured, for handlers that log it as a string.
        let text = CString::new(text.replace('\0', "")).unwrap_or_default();
        // SAFETY: the pointer contract of `capi`; the text lives through the call.
        unsafe { (self.function)(text.as_ptr(), text.as_bytes().len(), self.ctx) };
    }
}

/// Sets the function that is told of damage and defects in the process, on the thread where they are
/// found, at the end of the call or before its next callback: of what couchstore has texts for, and of
/// failures of the library itself (COUCHSTORE_ERROR_INTERNAL), of which nothing is written to standard
/// error. Other failures are texts of couchstore_last_internal_error() alone.
///
/// @param handler may be called on several threads at once. It may use the library as callbacks may,
///                but a call of it that meets damage calls it again. At most 1000 errors are told at a
///                time. NULL: nobody is told
/// @param ctx     passed to handler
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_set_on_internal_error"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_set_on_internal_error(
    handler: couchstore_internal_error_fn,
    ctx: *mut c_void,
) {
    guard_value((), || {
        set_on_internal_error(handler.map(|function| -> crate::error::internal_error::Handler {
            let handler = Handler { function, ctx };
            Arc::new(move |text: &str| handler.call(text))
        }));
    });
}
