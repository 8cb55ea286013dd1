// SPDX-License-Identifier: Apache-2.0

//! When to sync a large file that is being written beside other files on the same disk.
//!
//! A commit to one of those waits for the sync that is under way, so syncs should be short: of little data each. Where
//! the disk takes long for a sync of any size, they should be few. So there is one after [`LEAST`] bytes, but not
//! before a quarter of the time has passed that the sync before took; after [`MOST`] bytes in any case.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

const LEAST: u64 = 512 << 10;
const MOST: u64 = 4 << 20;

/// What was written since the last sync, and how long that one took.
#[derive(Default)]
pub(super) struct WriteBack {
    written: u64,
    last: Option<(Instant, Duration)>,
}

impl WriteBack {
    /// Notes that bytes were written. Whether it is time for a sync.
    pub(super) fn is_due(&mut self, bytes: u64, now: Instant) -> bool {
        self.written = self.written.saturating_add(bytes);
        let has_paused = self.last.is_none_or(|(end, took)| now.duration_since(end) >= took / 4);
        self.written >= MOST || (self.written >= LEAST && has_paused)
    }

    /// Notes a sync.
    pub(super) fn synced(&mut self, start: Instant, end: Instant) {
        *self = WriteBack { written: 0, last: Some((end, end.duration_since(start))) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn quick_syncs_are_small() {
        let (mut pace, start) = (WriteBack::default(), Instant::now());
        assert!(!pace.is_due(LEAST - 1, start));
        assert!(pace.is_due(1, start));
        pace.synced(start, start + MILLISECOND);
        assert!(!pace.is_due(LEAST - 1, start + 2 * MILLISECOND));
        assert!(pace.is_due(1, start + 2 * MILLISECOND));
    }

    #[test]
    fn slow_syncs_are_few() {
        let (mut pace, start) = (WriteBack::default(), Instant::now());
        let end = start + 40 * MILLISECOND;
        pace.synced(start, end);
        assert!(!pace.is_due(LEAST, end + MILLISECOND));
        assert!(!pace.is_due(0, end + 9 * MILLISECOND));
        assert!(pace.is_due(0, end + 10 * MILLISECOND));
        assert!(pace.is_due(MOST - LEAST, end + MILLISECOND));
    }
}
