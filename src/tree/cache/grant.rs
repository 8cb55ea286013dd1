// SPDX-License-Identifier: Apache-2.0

//! How much memory the handles of a process take for nodes, together, beyond the little that each of them has anyway.

use std::sync::atomic::{AtomicU64, Ordering};

/// What they have together at most, in bytes.
pub(super) const ALL_HANDLES: u64 = 64 << 20;
/// So much is asked for at a time.
const STEP: u64 = 64 << 10;

/// What has been granted to handles of this process.
static GRANTED: AtomicU64 = AtomicU64::new(0);

/// One handle's part; given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Granted(u64);

impl Granted {
    pub(super) fn bytes(&self) -> u64 {
        self.0
    }

    /// Asks for another [`STEP`]. False: the handles have all that they may have.
    pub(super) fn ask_for_more(&mut self) -> bool {
        let more = |granted: u64| Some(granted + STEP).filter(|&sum| sum <= ALL_HANDLES);
        let granted = GRANTED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        self.0 += if granted { STEP } else { 0 };
        granted
    }

    pub(super) fn give_back(&mut self) {
        GRANTED.fetch_sub(std::mem::take(&mut self.0), Ordering::Relaxed);
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.give_back();
    }
}
