// SPDX-License-Identifier: Apache-2.0

//! Threads that the host does not notice: no signal is delivered to one, and it uses Rust's allocator alone.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::thread::{Builder, JoinHandle};

/// Starts a thread with all signals blocked. An error: it cannot be made; `work` was not begun.
///
/// Not a scoped one: a scope asks for the handle of the thread that makes it, which Rust makes for a host's thread and
/// keeps until that ends.
pub(crate) fn spawn_quietly<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    #[cfg(test)]
    if tests::REFUSED.get() {
        return Err(io::Error::from_raw_os_error(libc::EAGAIN));
    }
    // A new thread has the mask of the one that makes it.
    let _blocked = SignalsBlocked::new()?;
    Builder::new().name("couchstore".into()).spawn(|| {
        IS_QUIET.set(true);
        work()
    })
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread was started here: whoever waits for it learns of its panics.
pub(crate) fn is_quiet() -> bool {
    IS_QUIET.get()
}

/// All signals are blocked in this thread, until the mask is put back.
struct SignalsBlocked {
    before: libc::sigset_t,
}

impl SignalsBlocked {
    fn new() -> io::Result<SignalsBlocked> {
        let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: places for two sets; the first one is filled in before it is used.
        let error = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr())
        };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: filled in by the call, which has succeeded.
        Ok(SignalsBlocked { before: unsafe { before.assume_init() } })
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: a set that this thread had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    thread_local! {
        /// No thread can be made by this one.
        pub(crate) static REFUSED: Cell<bool> = const { Cell::new(false) };
    }

    /// Signals that are blocked in this thread.
    fn blocked() -> usize {
        let mut mask = MaybeUninit::uninit();
        // SAFETY: a place for the set; nothing is changed.
        let mask = unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), mask.as_mut_ptr());
            mask.assume_init()
        };
        // SAFETY: a set that was filled in.
        (1..32).filter(|&signal| unsafe { libc::sigismember(&raw const mask, signal) } == 1).count()
    }

    #[test]
    fn signals_are_blocked_there_and_not_here() {
        let before = blocked();
        let there = spawn_quietly(blocked).unwrap().join().unwrap();
        // All but those that cannot be blocked.
        assert_eq!(there, 29);
        assert_eq!(blocked(), before);
        assert!(before < there);
    }
}
