//! Failures at every hook and at every naming call: they leave exactly the source, and the lock is given back.

use crate::common::files_in;
use crate::common::rng::{Rng, seed};
use crate::interleavings::{habits, options};
use crate::setting;
use crate::steps::{End, FAILURE, Steps, no_word_of_wanted_panics};
use crate::world::World;
use couchstore::io::naming::{FileId, Naming, PosixNaming};
use couchstore::{ErrorCode, OnlineOptions, OnlineStats, Result, Swap, compact_online};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;

/// One compaction of a random history, the same for the same seed.
struct Run {
    world: World,
    options: OnlineOptions,
    percent: u64,
    filters: bool,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut rng = Rng::with_seed(seed);
        let (habits, options, percent) = (habits(&mut rng), options(&mut rng), rng.below(60));
        let filters = rng.percent(30);
        Run { world: World::new(rng, habits), options, percent, filters }
    }

    /// Compacts; returns how many hooks were called, too. A panic gives `None`.
    fn compact(&mut self, end: Option<(u64, End)>) -> (Option<Result<OnlineStats>>, u64) {
        let (source, target) = (self.world.source(), self.world.target());
        let mut steps = Steps { filters: self.filters, end, ..Steps::new(&mut self.world, self.percent) };
        let compaction = || compact_online(&source, &target, &self.options, &mut steps);
        let result = catch_unwind(AssertUnwindSafe(compaction)).ok();
        steps.check_released();
        (result, steps.calls)
    }

    /// The source is as the writer left it, alone, and can be compacted.
    fn check_nothing_happened(&mut self) {
        self.world.check_alone();
        self.options.naming = Arc::new(PosixNaming);
        self.percent = 0;
        self.compact(None).0.unwrap().unwrap();
    }
}

/// A compaction is ended at each of its hooks.
fn end_at_every_hook(seed: u64, end: End) -> u64 {
    let (result, calls) = Run::new(seed).compact(None);
    result.unwrap().unwrap();
    for call in 1..=calls {
        let mut run = Run::new(seed);
        let (result, called) = run.compact(Some((call, end)));
        if called < call {
            // Slowing down the writer depends on the clock, so a run may have fewer hooks than the one before.
            result.unwrap().unwrap();
            continue;
        }
        match end {
            End::Error => assert_eq!(result.unwrap().unwrap_err().code(), FAILURE, "hook {call}"),
            End::Panic => assert!(result.is_none(), "hook {call}"),
        }
        run.check_nothing_happened();
    }
    calls
}

#[test]
fn an_error_of_any_hook_leaves_the_source_alone() {
    let (first, histories) = (seed(), setting("COUCHSTORE_ONLINE_ABORTS", 60));
    let runs: u64 =
        (0..histories).map(|number| end_at_every_hook(first.wrapping_add(number), End::Error)).sum();
    println!("{histories} histories from seed {first}, ended at each of {runs} hooks");
}

#[test]
fn a_panic_of_any_hook_leaves_the_source_alone() {
    no_word_of_wanted_panics();
    let (first, histories) = (seed(), setting("COUCHSTORE_ONLINE_ABORTS", 60) / 4);
    let runs: u64 =
        (0..histories).map(|number| end_at_every_hook(first.wrapping_add(number), End::Panic)).sum();
    println!("{histories} histories from seed {first}, panicking at each of {runs} hooks");
}

/// Naming calls of a file system that lacks some, one of which fails.
#[derive(Default)]
struct Faulty {
    /// Neither files without a name.
    no_unnamed: bool,
    /// Nor flags of renaming.
    no_flags: bool,
    fail_at: Option<usize>,
    /// The calls so far.
    log: Mutex<Vec<&'static str>>,
}

impl Faulty {
    fn call<T>(&self, name: &'static str, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut log = self.log.lock().unwrap();
        log.push(name);
        if self.fail_at == Some(log.len()) { Err(io::Error::from_raw_os_error(libc::EIO)) } else { action() }
    }
}

/// A call that this file system may lack.
fn lacking<T>(lacks: bool, errno: i32, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if lacks { Err(io::Error::from_raw_os_error(errno)) } else { action() }
}

impl Naming for Faulty {
    fn open_directory(&self, path: &Path) -> io::Result<File> {
        self.call("open_directory", || PosixNaming.open_directory(path))
    }
    fn create_unnamed(&self, directory: &File) -> io::Result<File> {
        self.call("create_unnamed", || {
            lacking(self.no_unnamed, libc::EOPNOTSUPP, || PosixNaming.create_unnamed(directory))
        })
    }
    fn create_named(&self, directory: &File, name: &CStr) -> io::Result<File> {
        self.call("create_named", || PosixNaming.create_named(directory, name))
    }
    fn link_unnamed(&self, file: &File, directory: &File, name: &CStr) -> io::Result<()> {
        self.call("link_unnamed", || PosixNaming.link_unnamed(file, directory, name))
    }
    fn rename_exclusive(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.call("rename_exclusive", || {
            lacking(self.no_flags, libc::EINVAL, || PosixNaming.rename_exclusive(directory, from, to))
        })
    }
    fn rename(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.call("rename", || PosixNaming.rename(directory, from, to))
    }
    fn exchange(&self, directory: &File, one: &CStr, other: &CStr) -> io::Result<()> {
        self.call("exchange", || {
            lacking(self.no_flags, libc::EINVAL, || PosixNaming.exchange(directory, one, other))
        })
    }
    fn link(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.call("link", || PosixNaming.link(directory, from, to))
    }
    fn unlink(&self, directory: &File, name: &CStr) -> io::Result<()> {
        self.call("unlink", || PosixNaming.unlink(directory, name))
    }
    fn sync_directory(&self, directory: &File) -> io::Result<()> {
        self.call("sync_directory", || PosixNaming.sync_directory(directory))
    }
    fn identify(&self, directory: &File, name: &CStr) -> io::Result<FileId> {
        self.call("identify", || PosixNaming.identify(directory, name))
    }
}

/// Lets each naming call of one history fail.
fn fail_every_naming_call(seed: u64, swap: Swap, no_unnamed: bool, no_flags: bool) -> usize {
    let run_with = |fail_at| {
        let naming = Arc::new(Faulty { no_unnamed, no_flags, fail_at, ..Faulty::default() });
        let mut run = Run::new(seed);
        run.options.swap = swap;
        run.options.naming = naming.clone();
        let (result, _) = run.compact(None);
        let log = naming.log.lock().unwrap().clone();
        (run, result.unwrap(), log)
    };
    let (_, result, log) = run_with(None);
    result.unwrap();
    for call in 1..=log.len() {
        let (mut run, result, log) = run_with(Some(call));
        if log.len() < call {
            // See above.
            result.unwrap();
            continue;
        }
        if let Err(error) = result {
            assert_eq!(error.code(), ErrorCode::OPEN_FILE, "call {call}: {log:?}");
            assert_eq!(error.os_error(), Some(libc::EIO), "call {call}: {log:?}");
            run.check_nothing_happened();
        } else {
            // All that may fail unnoticed is removing a temporary name that is no longer needed.
            assert!(["identify", "unlink"].contains(&log[call - 1]), "call {call}: {log:?}");
            let kept = if swap == Swap::Replace { 1 } else { 2 };
            assert_eq!(files_in(run.world.folder.path()), kept + 1);
            assert_eq!(run.world.temporaries().len(), 1);
        }
    }
    log.len()
}

#[test]
fn a_failure_of_any_naming_call_leaves_the_source_alone() {
    let first = seed();
    let mut calls = 0;
    for number in 0..10 {
        for (no_unnamed, no_flags) in [(false, false), (true, false), (false, true), (true, true)] {
            for swap in [Swap::None, Swap::Replace] {
                calls += fail_every_naming_call(first.wrapping_add(number), swap, no_unnamed, no_flags);
            }
        }
    }
    println!("{calls} naming calls failed");
}

/// The switch-over fails on every kind of file system.
#[test]
fn a_failing_switch_over_takes_the_name_back() {
    no_word_of_wanted_panics();
    for (no_unnamed, no_flags) in [(false, false), (true, false), (false, true), (true, true)] {
        for swap in [Swap::None, Swap::Replace] {
            for end in [End::Error, End::Panic] {
                let new = || {
                    let mut run = Run::new(1);
                    run.percent = 0;
                    run.options.swap = swap;
                    run.options.naming = Arc::new(Faulty { no_unnamed, no_flags, ..Faulty::default() });
                    run
                };
                // The last hook of all.
                let (_, calls) = new().compact(None);
                let mut run = new();
                run.compact(Some((calls, end)));
                run.check_nothing_happened();
            }
        }
    }
}
