// SPDX-License-Identifier: Apache-2.0

//! An allocator that counts, for tests of how much memory something takes.
//!
//! A test binary installs it with `#[global_allocator] static COUNTING: Counting = Counting;`. Without that the
//! figures stay 0, so tests that rely on them check that something was counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

thread_local! {
    static THREAD_LIVE: Cell<isize> = const { Cell::new(0) };
    static THREAD_PEAK: Cell<isize> = const { Cell::new(0) };
}
static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

/// The system's allocator, counted.
pub(crate) struct Counting;

fn count(change: isize) {
    PEAK.fetch_max(LIVE.fetch_add(change, Relaxed) + change, Relaxed);
    // Threads that are ending have no such variables any more.
    let _ = THREAD_LIVE.try_with(|live| {
        live.set(live.get() + change);
        let _ = THREAD_PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is handed on to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of this same method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both blocks may exist for a moment.
        count(new_size.cast_signed());
        count(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// Runs `action` and returns the most bytes that this thread had reserved meanwhile, beyond those at the start.
pub(crate) fn peak_of_thread<T>(action: impl FnOnce() -> T) -> (T, usize) {
    let before = THREAD_LIVE.get();
    THREAD_PEAK.set(before);
    let result = action();
    (result, (THREAD_PEAK.get() - before).max(0).cast_unsigned())
}

/// The same for the whole process; tests that use it must not run side by side.
pub(crate) fn peak_of_process<T>(action: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = action();
    (result, (PEAK.load(Relaxed) - before).max(0).cast_unsigned())
}

/// Runs `action` and returns how many bytes it has left reserved in the whole process.
pub(crate) fn held_by_process<T>(action: impl FnOnce() -> T) -> (T, isize) {
    let before = LIVE.load(Relaxed);
    let result = action();
    (result, LIVE.load(Relaxed) - before)
}
