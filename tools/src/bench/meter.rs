// SPDX-License-Identifier: Apache-2.0

//! Measuring: time, system calls, memory.

use super::ops::{CountingOps, Counts};
use serde::Serialize;
use std::time::{Duration, Instant};

const FEWEST_LAPS: usize = 20;

/// Adds up what the timed parts of a row cost. Nothing else counts.
#[derive(Debug)]
pub(super) struct Stopwatch<'a> {
    ops: &'a CountingOps,
    laps: Vec<Duration>,
    counts: Counts,
    /// Most memory before the last [`Stopwatch::aside`].
    peak: Option<u64>,
}

impl<'a> Stopwatch<'a> {
    /// A stopwatch that counts the calls of `ops`. The peak of memory starts anew.
    pub(super) fn start(ops: &'a CountingOps) -> Stopwatch<'a> {
        reset_peak_memory();
        Stopwatch { ops, laps: Vec::new(), counts: Counts::default(), peak: None }
    }

    /// Does something, on the clock.
    pub(super) fn time<T>(&mut self, action: impl FnOnce() -> T) -> T {
        let counts = self.ops.counts();
        let started = Instant::now();
        let result = action();
        self.laps.push(started.elapsed());
        self.counts += self.ops.counts() - counts;
        result
    }

    /// Does something off the clock, the memory of which does not count.
    pub(super) fn aside<T>(&mut self, action: impl FnOnce() -> T) -> T {
        self.peak = self.peak.max(peak_memory());
        let result = action();
        reset_peak_memory();
        result
    }

    /// What was measured. Call it before anything else takes memory.
    pub(super) fn stop(self, ops: u64, user_bytes: u64) -> Measured {
        Measured {
            ops,
            seconds: self.laps.iter().sum::<Duration>().as_secs_f64(),
            user_bytes,
            file_size: 0,
            peak_memory: self.peak.max(peak_memory()),
            counts: self.counts,
            latency: None,
        }
    }

    /// How long the timed parts took, each by itself; `None` if there are too few to say more than their sum does.
    pub(super) fn latency(&self) -> Option<Latency> {
        if self.laps.len() < FEWEST_LAPS { None } else { Latency::of(self.laps.clone()) }
    }
}

/// What a row of the table is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) ops: u64,
    pub(super) seconds: f64,
    /// Ids, metadata and bodies that were given or shown to the user.
    pub(super) user_bytes: u64,
    pub(super) file_size: u64,
    /// Most memory that the process had, in bytes, if the system tells.
    pub(super) peak_memory: Option<u64>,
    pub(super) counts: Counts,
    pub(super) latency: Option<Latency>,
}

/// Percentiles that are told to machines.
pub(super) const SHARES: [f64; 13] =
    [1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9, 100.0];

/// How long single operations took, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
    /// How long it took at most to do this share of the operations: those of [`SHARES`].
    pub(super) shares: [f64; SHARES.len()],
    /// The same without a compaction beside it, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shares_alone: Option<[f64; SHARES.len()]>,
    /// The 99th percentile without a compaction beside it, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p99_alone: Option<f64>,
}

impl Latency {
    /// `None` if there are no times.
    pub(super) fn of(mut times: Vec<Duration>) -> Option<Latency> {
        times.sort_unstable();
        let micros = |time: &Duration| time.as_secs_f64() * 1e6;
        let at = |percent: usize| times.get(times.len() * percent / 100).map(micros);
        let max = times.last().map(micros)?;
        let at_share =
            |percent: f64| times.get((times.len() as f64 * percent / 100.0) as usize).map_or(max, micros);
        let shares = SHARES.map(at_share);
        Some(Latency { p50: at(50)?, p99: at(99)?, max, shares, shares_alone: None, p99_alone: None })
    }

    /// Beside a compaction, compared with those without one.
    pub(super) fn beside(self, alone: Option<Latency>) -> Latency {
        Latency {
            p99_alone: alone.map(|alone| alone.p99),
            shares_alone: alone.map(|alone| alone.shares),
            ..self
        }
    }
}

/// Linux: makes the peak what the process has now. Without it, the peak is that of the whole run.
fn reset_peak_memory() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Most memory that the process had since [`reset_peak_memory`], in bytes; `None` where the system does not tell.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let times = (1..=200).rev().map(Duration::from_micros).collect();
        let latency = Latency::of(times);
        let rounded = latency.map(|latency| [latency.p50, latency.p99, latency.max].map(f64::round));
        assert_eq!(rounded, Some([101.0, 199.0, 200.0]));
        let shares = latency.map(|latency| [0, 4, 12].map(|at| latency.shares[at].round()));
        assert_eq!(shares, Some([3.0, 101.0, 200.0]));
        assert_eq!(Latency::of(Vec::new()), None);
    }

    #[test]
    fn only_timed_parts_count() {
        let ops = CountingOps::new(false);
        let mut watch = Stopwatch::start(&ops);
        assert_eq!(watch.time(|| 7), 7);
        let measured = watch.stop(3, 5);
        assert_eq!((measured.ops, measured.user_bytes, measured.counts), (3, 5, Counts::default()));
    }
}
