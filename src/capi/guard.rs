//! The frame of every C function: panics stay inside, errors become codes, `errno` tells the reason.

use super::latency::{self, Call};
use super::types::{Db, couchstore_error_t};
use crate::error::{Error, ErrorCode, Result};
use crate::internal_error;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs the body of a C function that takes no handle.
pub(super) fn guard(call: Call, body: impl FnOnce() -> Result<()>) -> couchstore_error_t {
    run(call, body).map_or_else(|()| ErrorCode::INTERNAL.0, |result| finish(&result))
}

/// Runs the body of a C function that tells of failures: its own are no news.
pub(super) fn guard_answer(call: Call, body: impl FnOnce() -> Result<()>) -> couchstore_error_t {
    let code = |result: Result<()>| result.map_or_else(|error| error.code(), |()| ErrorCode::SUCCESS);
    run(call, body).map_or(ErrorCode::INTERNAL, code).0
}

/// Runs the body of a C function on a handle. A panic latches the handle: what was being changed may be half done.
///
/// # Safety
/// `db` follows the pointer contract of `capi`.
pub(super) unsafe fn guard_db(
    call: Call,
    db: *const Db,
    body: impl FnOnce(&Db) -> Result<()>,
) -> couchstore_error_t {
    // SAFETY: the contract above.
    let db = match unsafe { super::ptr::db(db) } {
        Ok(db) => db,
        Err(error) => return finish(&Err(error)),
    };
    if let Ok(result) = run(call, || body(db)) {
        if let Some(os_error) = result.as_ref().err().and_then(Error::os_error) {
            db.set_last_os_error(os_error);
        }
        finish(&result)
    } else {
        db.latch_after_panic();
        ErrorCode::INTERNAL.0
    }
}

/// Runs something that returns no code; a panic gives `otherwise`.
pub(super) fn guard_value<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        report_panic(payload);
        otherwise
    })
}

fn run(call: Call, body: impl FnOnce() -> Result<()>) -> Result<Result<()>, ()> {
    let timer = latency::start(call);
    let result = catch_unwind(AssertUnwindSafe(body));
    timer.stop();
    result.map_err(report_panic)
}

#[allow(clippy::needless_pass_by_value, reason = "the payload must be taken to be forgotten")]
fn report_panic(payload: Box<dyn std::any::Any + Send>) {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    internal_error::report_panic(text.unwrap_or("no message"));
    // Dropping a payload may panic again, and that would abort the host.
    std::mem::forget(payload);
}

fn finish(result: &Result<()>) -> couchstore_error_t {
    let Err(error) = result else { return ErrorCode::SUCCESS.0 };
    if let Some(os_error) = error.os_error() {
        set_errno(os_error);
        LAST_OS_ERROR.set(os_error);
    }
    // Absence is no failure, and what a callback says it knows itself.
    if !matches!(error, Error::DocNotFound | Error::Callback(_)) {
        internal_error::keep(error);
    }
    error.code().0
}

thread_local! {
    static LAST_OS_ERROR: Cell<i32> = const { Cell::new(0) };
}

/// `errno` of the last call on this thread that failed for a reason of the operating system's; 0: none did.
pub(super) fn last_os_error() -> i32 {
    LAST_OS_ERROR.get()
}

/// Refuses a call that has not begun.
pub(super) fn refuse(reason: &'static str) -> couchstore_error_t {
    finish(&Err(Error::InvalidArguments(reason)))
}

fn set_errno(os_error: i32) {
    if os_error != 0 {
        // SAFETY: the location of this thread's errno is always valid.
        unsafe { *libc::__errno_location() = os_error };
    }
}

/// The code of a callback as a result: negative numbers are errors.
pub(super) fn callback_result(code: i32) -> Result<i32> {
    if code < 0 { Err(Error::Callback(ErrorCode(code))) } else { Ok(code) }
}
