// SPDX-License-Identifier: Apache-2.0

//! Seeds, numbers of runs, and where they are printed.

use std::any::Any;
use std::io::Write;
use std::sync::Mutex;

/// The seed of the short forms, so that everybody runs the same.
const DEFAULT_SEED: u64 = 20_260_101;

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// The seed: from `COUCHSTORE_SIM_SEED`, or always the same one.
pub(crate) fn seed() -> u64 {
    number_from("COUCHSTORE_SIM_SEED").unwrap_or(DEFAULT_SEED)
}

/// Whether this run is wanted: all are, unless `COUCHSTORE_SIM_RUN` names one.
pub(crate) fn wanted(run: u64) -> bool {
    number_from("COUCHSTORE_SIM_RUN").is_none_or(|only| only == run)
}

/// The numbers of so many runs, or only that of the run that is wanted.
pub(crate) fn runs(count: u64) -> Vec<u64> {
    number_from("COUCHSTORE_SIM_RUN").map_or_else(|| (0..count).collect(), |only| vec![only])
}

/// Whether all runs are wanted, so that their number means something.
pub(crate) fn all_wanted() -> bool {
    std::env::var_os("COUCHSTORE_SIM_RUN").is_none()
}

/// Says how to repeat a run, should it fail.
pub(crate) struct Replay {
    /// What runs.
    pub(crate) name: String,
    /// The seed that the run's numbers come from.
    pub(crate) seed: u64,
    /// Its number.
    pub(crate) run: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Replay { name, seed, run } = self;
            report(&format!("FAILED: {name}; again: COUCHSTORE_SIM_SEED={seed} COUCHSTORE_SIM_RUN={run}"));
        }
    }
}

/// Prints a line, also from a test that passes: the figures belong into the output of `make check`.
pub(crate) fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "reliability: {line}");
}

/// Does something with each of the items on two threads, and returns the sum of the results.
pub(crate) fn on_two_threads<T: Send>(items: Vec<T>, action: impl Fn(T) -> u64 + Sync) -> u64 {
    let queue = Mutex::new(items);
    let work = || {
        let mut sum = 0;
        loop {
            let next = queue.lock().unwrap().pop();
            let Some(item) = next else { return sum };
            sum += action(item);
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let own = work();
        match other.join() {
            Ok(sum) => own + sum,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text")
}
