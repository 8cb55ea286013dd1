// SPDX-License-Identifier: Apache-2.0

//! The frame of every C function: panics stay inside, errors become codes, `errno` tells the reason.

use super::call;
use super::handle::{Handle, Published};
use super::latency;
use super::ptr::no_handle;
use super::types::couchstore_error_t;
use crate::db::Db;
use crate::error::internal_error;
use crate::error::{Error, ErrorCode, Result};
use crate::quiet_thread;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::ptr::NonNull;
use std::sync::Once;

/// What a C function returns, and leaves behind. Told to the caller when the locks are given up.
struct Outcome {
    code: ErrorCode,
    os_error: i32,
    /// `None`: nothing.
    said: Option<Box<Said>>,
}

/// What there is to be said of a failure.
enum Said {
    /// Kept for whoever asks.
    Reason(Error),
    /// A defect of the library's: the host is told, too.
    Panic(String),
}

impl Outcome {
    const SUCCESS: Outcome = Outcome { code: ErrorCode::SUCCESS, os_error: 0, said: None };

    #[inline]
    fn of(result: &Result<()>) -> Outcome {
        match result {
            Ok(()) => Outcome::SUCCESS,
            Err(error) => Outcome::failed(error),
        }
    }

    fn failed(error: &Error) -> Outcome {
        let said = match error {
            // Absence is no failure, and what a callback says it knows itself.
            Error::DocNotFound | Error::Callback(_) => None,
            error => Some(Box::new(Said::Reason(error.clone()))),
        };
        Outcome { code: error.code(), os_error: error.os_error().unwrap_or(0), said }
    }

    #[cold]
    fn of_failure(db: Option<&Db>, failed: Result<Result<()>, String>) -> Outcome {
        match failed {
            Ok(result) => {
                if let (Some(db), Some(os_error)) = (db, result.as_ref().err().and_then(Error::os_error)) {
                    db.set_last_os_error(os_error);
                }
                Outcome::of(&result)
            }
            Err(text) => {
                if let Some(db) = db {
                    db.latch_after_panic();
                }
                Outcome::panicked(text)
            }
        }
    }

    fn panicked(text: String) -> Outcome {
        Outcome { code: ErrorCode::INTERNAL, os_error: 0, said: Some(Box::new(Said::Panic(text))) }
    }

    /// Of a call that was refused.
    #[cold]
    fn refused(error: Error) -> Outcome {
        Outcome::of(&Err(error))
    }

    #[inline]
    fn tell(self) -> couchstore_error_t {
        match self {
            Outcome { code, os_error: 0, said: None } => code.0,
            outcome => outcome.leave_behind(),
        }
    }

    #[cold]
    fn leave_behind(self) -> couchstore_error_t {
        match self.said.as_deref() {
            None => {}
            Some(Said::Reason(error @ Error::Internal(_))) => internal_error::report(error),
            Some(Said::Reason(error)) => internal_error::keep(error),
            Some(Said::Panic(text)) => internal_error::report_panic(text),
        }
        if self.os_error != 0 {
            LAST_OS_ERROR.set(self.os_error);
            // SAFETY: the location of this thread's errno is always valid.
            unsafe { *libc::__errno_location() = self.os_error };
        }
        self.code.0
    }
}

thread_local! {
    static LAST_OS_ERROR: Cell<i32> = const { Cell::new(0) };
}

/// `errno` of the last call on this thread that failed for a reason of the operating system's; 0: none did.
pub(super) fn last_os_error() -> i32 {
    LAST_OS_ERROR.get()
}

/// Runs the body of a C function that takes no handle.
pub(super) fn guard(call: latency::Call, body: impl FnOnce() -> Result<()>) -> couchstore_error_t {
    // SAFETY: no handles.
    unsafe { call::with([None, None], |_| run(call, None, body), Outcome::refused) }.tell()
}

/// Runs the body of a C function that tells of failures: its own are no news.
pub(super) fn guard_answer(call: latency::Call, body: impl FnOnce() -> Result<()>) -> couchstore_error_t {
    // SAFETY: no handles.
    unsafe { call::with([None, None], |_| run(call, None, body), Outcome::refused) }.code.0
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
        None => Outcome::of(&Err(no_handle())),
    };
    // SAFETY: the contract above.
    unsafe { call::with(handles, work, Outcome::refused) }.tell()
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
    guard(call, || unsafe { handle.as_ref() }.ok_or_else(no_handle)?.ask(answer))
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
    match unsafe { call::with([None, None], |_| catch(body).map_err(Some), |_| Err(None)) } {
        Ok(value) => value,
        Err(panicked) => {
            if let Some(text) = panicked {
                internal_error::report_panic(&text);
            }
            otherwise
        }
    }
}

fn run(call: latency::Call, db: Option<&Db>, body: impl FnOnce() -> Result<()>) -> Outcome {
    let timer = latency::start(call);
    let result = catch(body);
    timer.stop();
    match result {
        Ok(Ok(())) => Outcome::SUCCESS,
        failed => Outcome::of_failure(db, failed),
    }
}

/// Keeps panics of the library within calls off the host's standard error: their text goes to the handler of internal
/// errors. All other panics are left to the hook that was there before. A program that uses the library from Rust makes
/// no such calls, and keeps its hook.
fn keep_quiet() {
    static INSTALLED: Once = Once::new();
    // While a panic unwinds hooks cannot be set.
    if INSTALLED.is_completed() || std::thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            if !call::note_panic(place) && !quiet_thread::is_quiet() {
                previous(panic);
            }
        }));
    });
}

/// Runs something in a call; a panic gives its text.
fn catch<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    keep_quiet();
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no message");
        let place = call::take_panic().map(|place| format!(" ({place})")).unwrap_or_default();
        let text = format!("{text}{place}");
        // Dropping a payload may panic again, and that would abort the host.
        std::mem::forget(payload);
        text
    })
}

/// The code of a callback as a result: negative numbers are errors.
pub(super) fn callback_result(code: i32) -> Result<i32> {
    if code < 0 { Err(Error::Callback(ErrorCode(code))) } else { Ok(code) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::error::internal_error::{last_internal_error, set_on_internal_error};
    use parking_lot::Mutex;
    use std::process::{Command, Output};
    use std::sync::Arc;

    const ROLE: &str = "COUCHSTORE_TEST_PANICS";

    /// Runs the test of this name in a process of its own.
    fn in_process(name: &str) -> Output {
        let name = format!("capi::guard::tests::{name}");
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &name, "--nocapture"]).env(ROLE, "1").output().unwrap()
    }

    fn is_child() -> bool {
        std::env::var_os(ROLE).is_some()
    }

    #[test]
    fn a_panic_is_told_to_the_handler_and_not_to_the_host() {
        if is_child() {
            let told = Arc::new(Mutex::new(Vec::new()));
            let handler = Arc::clone(&told);
            set_on_internal_error(Some(Arc::new(move |text: &str| {
                handler.lock().push(text.to_owned());
            })));
            assert_eq!(guard(latency::Call::OpenDb, || panic!("inside a call")), -100);
            assert_eq!(guard_value(7, || panic!("inside a {}", "value")), 7);
            let told = told.lock();
            assert_eq!(told.len(), 2);
            assert!(told[0].starts_with("panic: inside a call (src/capi/guard.rs:"), "{}", told[0]);
            assert!(told[1].starts_with("panic: inside a value ("), "{}", told[1]);
            assert_eq!(last_internal_error(), format!("'{}'", told[1]));
            return;
        }
        let output = in_process("a_panic_is_told_to_the_handler_and_not_to_the_host");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }

    #[test]
    fn panics_of_others_are_left_to_their_hook() {
        if is_child() {
            let caught = |text: &'static str| drop(catch_unwind(|| panic!("{text}")).unwrap_err());
            guard(latency::Call::OpenDb, || {
                call::callback(|| caught("of a callback"));
                Ok(())
            });
            caught("of the program");
            std::thread::spawn(move || caught("of another thread")).join().unwrap();
            guard(latency::Call::OpenDb, || panic!("of the library"));
            return;
        }
        let output = in_process("panics_of_others_are_left_to_their_hook");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        for other in ["of a callback", "of the program", "of another thread"] {
            assert!(text.contains(other), "{text}");
        }
        assert!(!text.contains("of the library"), "{text}");
    }

    #[test]
    fn what_ends_the_process_is_told() {
        struct PanicsAgain;
        impl Drop for PanicsAgain {
            fn drop(&mut self) {
                panic!("while unwinding");
            }
        }
        if is_child() {
            guard(latency::Call::OpenDb, || {
                let _again = PanicsAgain;
                panic!("the first one")
            });
            return;
        }
        let output = in_process("what_ends_the_process_is_told");
        assert!(!output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("while unwinding"), "{text}");
    }
}
