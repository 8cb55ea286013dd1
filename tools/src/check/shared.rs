// SPDX-License-Identifier: Apache-2.0

//! What all parts of the check of a file share.

use super::places::Places;
use super::problem::Problems;
use crate::interrupt::Interrupt;
use couchstore::{Error, ErrorCode};
use indicatif::ProgressBar;
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, Ordering};

/// Memory for the bodies that all threads have at hand, in bytes. Those that may take more come one at a time.
const AT_ONCE: u64 = 16 << 20;
/// Inflating makes no more than so many times as much of a body.
const DENSEST: u64 = 22;

/// What the parts of a check are given.
pub(super) struct Shared<'a> {
    pub(super) problems: &'a Problems,
    pub(super) bar: &'a ProgressBar,
    pub(super) places: &'a Places,
    pub(super) large: Large,
    /// See [`super::bodies::may_have_moved`].
    pub(super) bodies_moved: bool,
    pub(super) interrupt: &'a Interrupt,
    pub(super) stopped: AtomicBool,
}

impl Shared<'_> {
    /// An error if the check is to end before it is done.
    pub(super) fn proceed(&self) -> couchstore::Result<()> {
        if self.stopped.load(Ordering::Relaxed) || self.interrupt.check().is_err() {
            return Err(Error::Callback(ErrorCode::CANCEL));
        }
        Ok(())
    }

    /// Ends the check.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Bodies that are large: while one is read and inflated, the other threads keep to those that are not.
pub(super) struct Large {
    /// Bytes as they are stored.
    from: u64,
    turn: Mutex<()>,
}

impl Large {
    pub(super) fn new(threads: usize) -> Large {
        Large { from: AT_ONCE / (1 + DENSEST) / threads.max(1) as u64, turn: Mutex::new(()) }
    }

    /// Waits for the turn of a body with so many bytes; `None`: it is not large.
    pub(super) fn wait(&self, bytes: u64) -> Option<MutexGuard<'_, ()>> {
        (bytes > self.from).then(|| self.turn.lock())
    }
}
