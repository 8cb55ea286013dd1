// SPDX-License-Identifier: Apache-2.0

//! The host's lock, and how writers are slowed down that an online compaction cannot catch up with.

use super::hooks::OnlineHooks;
use crate::error::Result;
use std::time::{Duration, Instant};

/// How long writers are kept out at a stretch to slow them down. If that does not help, twice as long in the next
/// round, and so on.
pub(super) const SHORTEST_STRETCH: Duration = Duration::from_millis(2);
const LONGEST_STRETCH: Duration = Duration::from_millis(16);
/// How long they may go on between two stretches, at least.
const PAUSE: Duration = Duration::from_millis(1);
/// So many rounds at most are looked ahead.
const FORESEEN: u32 = 64;

/// The host's hooks, and its lock, which is given back whatever happens.
pub(super) struct Lock<'a> {
    pub(super) hooks: &'a mut dyn OnlineHooks,
    taken: Option<Instant>,
    released: Option<Instant>,
    longest: Duration,
}

impl<'a> Lock<'a> {
    pub(super) fn new(hooks: &'a mut dyn OnlineHooks) -> Lock<'a> {
        Lock { hooks, taken: None, released: None, longest: Duration::ZERO }
    }

    pub(super) fn take(&mut self) -> Result<()> {
        if self.taken.is_none() {
            self.hooks.try_lock()?;
            self.taken = Some(Instant::now());
        }
        Ok(())
    }

    pub(super) fn release(&mut self) {
        if let Some(taken) = self.taken.take() {
            self.longest = self.longest.max(taken.elapsed());
            self.hooks.unlock();
            self.released = Some(Instant::now());
        }
    }

    pub(super) fn is_taken(&self) -> bool {
        self.taken.is_some()
    }

    /// How long it was held at a stretch so far, at most.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }

    /// Takes the lock for so long and gives it back for a pause, in turn. To be called all the time.
    pub(super) fn alternate(&mut self, stretch: Duration) -> Result<()> {
        match (self.taken, self.released) {
            (Some(taken), _) if taken.elapsed() >= stretch => self.release(),
            (None, Some(released)) if released.elapsed() < PAUSE => {}
            (Some(_), _) => {}
            (None, _) => self.take()?,
        }
        Ok(())
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

/// Judges from round to round whether the compaction catches up.
pub(super) struct Pace {
    /// What may be left for the time under the lock, in bytes.
    little: u64,
    last_delta: Option<u64>,
    outrun: u32,
}

impl Pace {
    pub(super) fn new(little: u64) -> Pace {
        Pace { little, last_delta: None, outrun: 0 }
    }

    /// Before a round that has `delta` bytes to catch up with, and that `rounds_left` may follow: for how long at a
    /// stretch writers have to be kept out meanwhile.
    pub(super) fn stretch(&mut self, delta: u64, rounds_left: u32) -> Option<Duration> {
        let last = self.last_delta.replace(delta);
        let outrun =
            last.is_some_and(|last| left_after(last, delta, rounds_left.saturating_add(1)) > self.little);
        // Little enough can be done under the lock after all.
        if !outrun || delta <= self.little.saturating_mul(2) {
            return None;
        }
        let stretch = SHORTEST_STRETCH.saturating_mul(1 << self.outrun.min(8));
        self.outrun += 1;
        Some(stretch.min(LONGEST_STRETCH))
    }
}

/// What is left after so many rounds, each of which leaves as large a part as the one that has led from `last` to
/// `delta`.
fn left_after(last: u64, delta: u64, rounds: u32) -> u64 {
    if delta >= last {
        return delta;
    }
    let mut left = delta;
    for _ in 0..rounds.min(FORESEEN) {
        let next = u128::from(left) * u128::from(delta) / u128::from(last);
        left = u64::try_from(next).unwrap_or(left);
    }
    left
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::compact::copy::CompactHooks;
    use crate::compact::hooks::ReplayHooks;

    struct Host;

    impl CompactHooks for Host {}
    impl ReplayHooks for Host {}
    impl OnlineHooks for Host {}

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn the_lock_is_held_for_a_stretch_and_given_back_for_a_pause() {
        let mut host = Host;
        let mut lock = Lock::new(&mut host);
        lock.alternate(HOUR).unwrap();
        assert!(lock.is_taken(), "at the beginning");
        lock.alternate(HOUR).unwrap();
        assert!(lock.is_taken(), "the stretch is not over");
        lock.alternate(Duration::ZERO).unwrap();
        assert!(!lock.is_taken(), "the stretch is over");
        // No time has passed since what has yet to come.
        lock.released = Some(Instant::now() + HOUR);
        lock.alternate(Duration::ZERO).unwrap();
        assert!(!lock.is_taken(), "the pause is not over");
        lock.released = Instant::now().checked_sub(2 * PAUSE);
        lock.alternate(HOUR).unwrap();
        assert!(lock.is_taken(), "the pause is over");
    }

    #[test]
    fn the_longest_time_counts() {
        let mut host = Host;
        let mut lock = Lock::new(&mut host);
        for held in [PAUSE, 2 * PAUSE, PAUSE] {
            lock.taken = Instant::now().checked_sub(held);
            lock.release();
        }
        assert!(lock.longest() >= 2 * PAUSE);
    }

    const LITTLE: u64 = 1 << 20;
    const MUCH: u64 = 1 << 30;

    #[test]
    fn rounds_that_will_do_keep_nobody_out() {
        let mut pace = Pace::new(LITTLE);
        // Each leaves half: 1 GiB becomes 1 MiB in ten of them.
        for round in 0..10 {
            assert_eq!(pace.stretch(MUCH >> round, 9 - round), None, "round {round}");
        }
    }

    #[test]
    fn too_few_rounds_keep_writers_out_longer_and_longer() {
        let mut pace = Pace::new(LITTLE);
        let stretches: Vec<_> = (0..6).map(|round| pace.stretch(MUCH >> round, 0)).collect();
        let milliseconds = [2, 4, 8, 16, 16].map(|time| Some(Duration::from_millis(time)));
        assert_eq!(stretches[0], None);
        assert_eq!(stretches[1..], milliseconds);
    }

    #[test]
    fn writers_as_fast_as_the_rounds_are_kept_out_however_many_rounds_are_left() {
        let mut pace = Pace::new(LITTLE);
        pace.stretch(MUCH, u32::MAX);
        assert!(pace.stretch(MUCH - 1, u32::MAX).is_some());
        assert!(pace.stretch(MUCH - 1, u32::MAX).is_some());
        assert!(pace.stretch(2 * MUCH, u32::MAX).is_some());
    }

    #[test]
    fn a_little_is_left_for_the_lock() {
        let mut pace = Pace::new(LITTLE);
        pace.stretch(2 * LITTLE, 0);
        assert_eq!(pace.stretch(2 * LITTLE, 0), None);
        assert!(pace.stretch(2 * LITTLE + 1, 0).is_some());
    }
}
