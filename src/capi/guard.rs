//! The frame of every C function: panics stay inside, errors become codes, `errno` tells the reason.

use super::call;
use super::handle::{Handle, Published};
use super::latency;
use super::ptr::NULL;
use super::types::couchstore_error_t;
use crate::db::Db;
use crate::error::{Error, ErrorCode, Result};
use crate::internal_error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

/// What a C function returns, and leaves in `errno`. Told to the caller when the locks are given up.
struct Outcome {
    code: ErrorCode,
    os_error: i32,
    /// What the library has to say of itself.
    internal: Option<String>,
}

impl Outcome {
    /// `db`: what the function was called on.
    fn of(result: &Result<()>, db: Option<&Db>) -> Outcome {
        let Err(error) = result else { return Outcome::with(ErrorCode::SUCCESS) };
        let os_error = error.os_error().unwrap_or_else(|| match (error, db) {
            // What made it so is known to the handle alone.
            (Error::DbNoLongerValid, Some(db)) => db.last_os_error(),
            _ => 0,
        });
        let internal = if let Error::Internal(text) = error { Some(text.clone()) } else { None };
        Outcome { code: error.code(), os_error, internal }
    }

    fn with(code: ErrorCode) -> Outcome {
        Outcome { code, os_error: 0, internal: None }
    }

    fn panicked(text: String) -> Outcome {
        Outcome { internal: Some(text), ..Outcome::with(ErrorCode::INTERNAL) }
    }

    fn tell(self) -> couchstore_error_t {
        if let Some(text) = self.internal {
            internal_error::report(format_args!("{text}"));
        }
        if self.os_error != 0 {
            // SAFETY: the location of this thread's errno is always valid.
            unsafe { *libc::__errno_location() = self.os_error };
        }
        self.code.0
    }
}

/// Runs the body of a C function that takes no handle.
pub(super) fn guard(call: latency::Call, body: impl FnOnce() -> Result<()>) -> couchstore_error_t {
    // SAFETY: no handles.
    let outcome = unsafe { call::with([None, None], |_| run(call, None, body)) };
    outcome.unwrap_or_else(|refused| Outcome::of(&Err(refused), None)).tell()
}

/// Runs the body of a C function on a handle. A panic latches the handle: what was being changed may be half done.
///
/// # Safety
/// `handle` follows the pointer contract of `capi`.
pub(super) unsafe fn guard_db(
    call: latency::Call,
    handle: *const Handle,
    body: impl FnOnce(&Db) -> Result<()>,
) -> couchstore_error_t {
    // SAFETY: the contract above.
    unsafe { guard_dbs(call, handle, std::ptr::null(), |db, _| body(db)) }
}

/// Runs the body of a C function on two handles; the second may be NULL.
///
/// # Safety
/// Both follow the pointer contract of `capi`.
pub(super) unsafe fn guard_dbs(
    call: latency::Call,
    first: *const Handle,
    second: *const Handle,
    body: impl FnOnce(&Db, Option<&Db>) -> Result<()>,
) -> couchstore_error_t {
    let handles = [first, second].map(|handle| NonNull::new(handle.cast_mut()));
    let work = |[db, other]: [Option<&Db>; 2]| match db {
        Some(db) => run(call, Some(db), || body(db, other)),
        None => Outcome::of(&Err(NULL), None),
    };
    // SAFETY: the contract above.
    let outcome = unsafe { call::with(handles, work) };
    outcome.unwrap_or_else(|refused| Outcome::of(&Err(refused), None)).tell()
}

/// How [`guard_last`] ended.
pub(super) struct Last {
    pub(super) code: couchstore_error_t,
    pub(super) freed: bool,
}

/// Runs the body of a C function after which the handle may be gone: it is freed if `ends` says so of the result.
/// Within another call on the handle that is refused, and nothing is done.
///
/// # Safety
/// `handle` follows the pointer contract of `capi`.
pub(super) unsafe fn guard_last(
    call: latency::Call,
    handle: *mut Handle,
    body: impl FnOnce(&Db) -> Result<()>,
    ends: fn(couchstore_error_t) -> bool,
) -> Last {
    let mut refused = true;
    let checked = |db: &Db| {
        // SAFETY: live, and locked by this call.
        if !unsafe { (*handle).inside() }.is_only_call() {
            return Err(Error::InvalidArguments("the end of a handle within a call on it"));
        }
        refused = false;
        body(db)
    };
    // SAFETY: the contract above.
    let code = unsafe { guard_db(call, handle, checked) };
    let freed = !refused && ends(code);
    if freed {
        // SAFETY: made by `Handle::own`, no call is under way, and by the contract nobody uses it again.
        drop(unsafe { Box::from_raw(handle) });
    }
    Last { code, freed }
}

/// Answers a question about a handle from what was published of it, without waiting for a call of another thread.
///
/// # Safety
/// `handle` follows the pointer contract of `capi`.
pub(super) unsafe fn guard_ask(
    call: latency::Call,
    handle: *const Handle,
    answer: impl FnOnce(&Published) -> Result<()>,
) -> couchstore_error_t {
    // SAFETY: the contract above.
    guard(call, || unsafe { handle.as_ref() }.ok_or(NULL)?.ask(answer))
}

/// As [`guard_ask`], for what returns no code; without a handle, or after a panic, it gives `otherwise`.
///
/// # Safety
/// `handle` follows the pointer contract of `capi`.
pub(super) unsafe fn ask_value<T>(
    handle: *const Handle,
    otherwise: T,
    answer: impl FnOnce(&Published) -> T,
) -> T {
    // SAFETY: the contract above.
    match unsafe { handle.as_ref() } {
        Some(handle) => guard_value(otherwise, || handle.ask(answer)),
        None => otherwise,
    }
}

/// Runs something that returns no code; a panic gives `otherwise`.
pub(super) fn guard_value<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    // SAFETY: no handles.
    match unsafe { call::with([None, None], |_| catch(body)) } {
        Ok(Ok(value)) => value,
        Ok(Err(text)) => {
            internal_error::report(format_args!("{text}"));
            otherwise
        }
        Err(_) => otherwise,
    }
}

fn run(call: latency::Call, db: Option<&Db>, body: impl FnOnce() -> Result<()>) -> Outcome {
    let timer = latency::start(call);
    let result = catch(body);
    timer.stop();
    match result {
        Ok(result) => Outcome::of(&result, db),
        Err(text) => {
            if let Some(db) = db {
                db.latch_after_panic();
            }
            Outcome::panicked(text)
        }
    }
}

/// Runs something; a panic gives its text.
fn catch<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = format!("panic: {}", text.unwrap_or("no message"));
        // Dropping a payload may panic again, and that would abort the host.
        std::mem::forget(payload);
        text
    })
}

/// The code of a callback as a result: negative numbers are errors.
pub(super) fn callback_result(code: i32) -> Result<i32> {
    if code < 0 { Err(Error::Callback(ErrorCode(code))) } else { Ok(code) }
}
