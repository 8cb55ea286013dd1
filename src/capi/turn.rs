// SPDX-License-Identifier: Apache-2.0

//! The lock under which threads take turns on a handle. The thread whose turn it is may take it again.
//!
//! A scan gives it up for the documents of each leaf, and takes it again before the next. So a thread says who it is, which a
//! call has found out once.

use super::call;
use parking_lot::RawMutex;
use parking_lot::lock_api::RawMutex as _;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A thread that is alive; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ThreadId(usize);

impl ThreadId {
    /// This thread, by something of its own that stays where it is.
    #[inline]
    pub(super) fn of<T>(own: &T) -> ThreadId {
        ThreadId(std::ptr::from_ref(own).addr())
    }

    pub(super) fn current() -> ThreadId {
        call::this_thread()
    }
}

/// See the module.
pub(super) struct Turn {
    raw: RawMutex,
    /// The thread whose turn it is; 0: nobody's. Only that thread sets it, so it is right where it matters: whether it is
    /// the one that asks.
    owner: AtomicUsize,
    /// How often that thread has taken it.
    depth: Cell<usize>,
}

// SAFETY: the depth is used only by the thread whose turn it is.
unsafe impl Send for Turn {}
// SAFETY: as above.
unsafe impl Sync for Turn {}

impl Default for Turn {
    fn default() -> Turn {
        Turn { raw: RawMutex::INIT, owner: AtomicUsize::new(0), depth: Cell::new(0) }
    }
}

impl Turn {
    /// Waits until it is this thread's turn.
    #[inline]
    pub(super) fn take(&self, thread: ThreadId) {
        if self.owner.load(Ordering::Relaxed) == thread.0 {
            self.depth.set(self.depth.get() + 1);
            return;
        }
        self.raw.lock();
        self.owner.store(thread.0, Ordering::Relaxed);
        self.depth.set(1);
    }

    /// Takes back one [`Turn::take`].
    ///
    /// # Safety
    /// It is this thread's turn.
    #[inline]
    pub(super) unsafe fn give_up(&self) {
        let depth = self.depth.get() - 1;
        self.depth.set(depth);
        if depth == 0 {
            self.owner.store(0, Ordering::Relaxed);
            // SAFETY: the contract above.
            unsafe { self.raw.unlock() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_at_a_time_and_that_as_often_as_it_likes() {
        struct Counted(Turn, Cell<u64>);
        // SAFETY: the count is used only under the lock.
        unsafe impl Sync for Counted {}
        let counted = Counted(Turn::default(), Cell::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let counted = &counted;
                    for round in 0..2000_u64 {
                        let times = 1 + round % 3;
                        for _ in 0..times {
                            counted.0.take(ThreadId::current());
                        }
                        let count = counted.1.get();
                        if round % 100 == 0 {
                            std::thread::yield_now();
                        }
                        counted.1.set(count + 1);
                        for _ in 0..times {
                            // SAFETY: taken above, as often.
                            unsafe { counted.0.give_up() };
                        }
                    }
                });
            }
        });
        assert_eq!(counted.1.get(), 8000);
    }
}
