// SPDX-License-Identifier: Apache-2.0

//! Failures at every hook and at every naming call: they leave exactly the source, and the lock is given back.

use crate::common::files_in;
use crate::common::naming::{Failure, Fault, Faulty, Lacks, Then, is_displaced, names_in};
use crate::common::rng::{Rng, seed};
use crate::interleavings::{habits, options};
use crate::setting;
use crate::steps::{End, FAILURE, Steps, no_word_of_wanted_panics};
use crate::world::World;
use couchstore::io::naming::PosixNaming;
use couchstore::{
    CompactOptions, Db, Error, ErrorCode, OnlineOptions, OnlineStats, Result, Swap, compact, compact_online,
};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

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
        self.options.compact.naming = Arc::new(PosixNaming);
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

/// What a compaction with faults has come to.
struct Outcome {
    run: Run,
    swap: Swap,
    result: Result<OnlineStats>,
    log: Vec<&'static str>,
    published: u32,
}

/// Compacts the history of a seed on such a file system.
fn compact_on(seed: u64, swap: Swap, lacks: Lacks, fault: Option<Fault>) -> Outcome {
    let naming = Faulty::new(lacks, fault);
    let mut run = Run::new(seed);
    run.options.swap = swap;
    run.options.compact.naming = naming.clone();
    let (source, target) = (run.world.source(), run.world.target());
    let mut steps = Steps { filters: run.filters, ..Steps::new(&mut run.world, run.percent) };
    let result = compact_online(&source, &target, &run.options, &mut steps);
    steps.check_released();
    let published = steps.published;
    Outcome { run, swap, result, log: naming.log(), published }
}

impl Outcome {
    fn check(mut self, fault: Fault) {
        let case = format!("{:?} {fault:?}: {:?} {:?}", self.swap, self.result, self.log);
        assert!(self.result.is_ok() || !fault.is_harmless(&self.log), "{case}");
        match &self.result {
            Err(Error::Naming { code, .. }) => {
                assert!(!fault.can_be_undone(&self.log), "{case}");
                assert_eq!((*code, self.published), (ErrorCode::OPEN_FILE, 0), "{case}");
                self.check_nothing_lost();
            }
            Err(error) => {
                let found = (error.code(), error.os_error());
                assert_eq!(found, (ErrorCode::OPEN_FILE, Some(fault.failure.errno())), "{case}");
                if fault.then == Then::Nothing {
                    self.run.check_nothing_happened();
                } else {
                    self.check_nothing_lost();
                }
            }
            Ok(_) => {
                assert_eq!(self.published, 1, "{case}");
                self.check_leftovers(fault, &case);
            }
        }
    }

    /// Whatever the name leads to holds all commits, and the source itself still has a name.
    fn check_nothing_lost(&self) {
        let world = &self.run.world;
        world.check_untouched();
        let found = Db::open(world.source()).unwrap().info().unwrap();
        assert_eq!(found.last_sequence, world.committed().update_seq);
        let names = names_in(world.folder.path());
        let ids = names.iter().map(|name| std::fs::metadata(world.folder.path().join(name)).unwrap().ino());
        let source = std::fs::metadata(world.lasting_path()).unwrap().ino();
        assert!(ids.into_iter().any(|id| id == source), "the source has lost its last name: {names:?}");
    }

    /// All that may fail unnoticed is removing the file that was replaced. The next compaction does it.
    fn check_leftovers(&mut self, fault: Fault, case: &str) {
        let kept = if self.swap == Swap::Replace { 1 } else { 2 };
        let left = self.run.world.temporaries();
        assert_eq!(files_in(self.run.world.folder.path()), kept + left.len(), "{case}");
        let removing = self.swap == Swap::Replace && ["identify", "unlink"].contains(&self.log[fault.at]);
        let lost_answer = matches!(fault.failure, Failure::Done(_)) && self.log[fault.at] == "unlink";
        let expected = usize::from(removing && !lost_answer);
        if fault.then == Then::Nothing {
            assert!(left.len() <= expected && left.iter().all(|name| is_displaced(name)), "{left:?} {case}");
        }
        if fault.then == Then::NoIdentity {
            assert!(left.len() <= 1, "{left:?} {case}");
        }
        let again = self.run.world.folder.path().join("again");
        compact(&Db::open(self.run.world.source()).unwrap(), again, &CompactOptions::default()).unwrap();
        assert!(self.run.world.temporaries().is_empty(), "{case}");
    }
}

/// Lets each naming call of one history fail.
fn fail_every_naming_call(seed: u64, swap: Swap, lacks: Lacks, failure: Failure, then: Then) -> usize {
    let Outcome { result, log, .. } = compact_on(seed, swap, lacks, None);
    result.unwrap();
    for at in 0..log.len() {
        let fault = Fault { at, failure, then };
        let outcome = compact_on(seed, swap, lacks, Some(fault));
        if outcome.log.len() <= at {
            // Slowing down the writer depends on the clock: see above.
            outcome.result.unwrap();
            continue;
        }
        outcome.check(fault);
    }
    log.len()
}

#[test]
fn a_failure_of_any_naming_call_leaves_the_source_alone() {
    let first = seed();
    let mut calls = 0;
    for (number, lacks) in (0..10).flat_map(|number| Lacks::ways().map(move |lacks| (number, lacks))) {
        for swap in [Swap::None, Swap::Replace] {
            let failure =
                if number % 2 == 0 { Failure::NotDone(libc::EIO) } else { Failure::Done(libc::EIO) };
            for then in [Then::Nothing, Then::NoIdentity] {
                calls += fail_every_naming_call(first.wrapping_add(number), swap, lacks, failure, then);
            }
        }
    }
    println!("{calls} naming calls failed");
}

/// The switch-over fails on every kind of file system.
#[test]
fn a_failing_switch_over_takes_the_name_back() {
    no_word_of_wanted_panics();
    for lacks in Lacks::ways() {
        for swap in [Swap::None, Swap::Replace] {
            for end in [End::Error, End::Panic] {
                let new = || {
                    let mut run = Run::new(1);
                    run.percent = 0;
                    run.options.swap = swap;
                    run.options.compact.naming = Faulty::new(lacks, None);
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

/// It fails, and so does taking the name back: the host must not go on as if nothing had happened.
#[test]
fn a_switch_over_that_cannot_be_undone_is_told() {
    for (lacks, swap) in Lacks::ways().flat_map(|lacks| [(lacks, Swap::None), (lacks, Swap::Replace)]) {
        let new = |fault| {
            let mut run = Run::new(1);
            run.percent = 0;
            run.options.swap = swap;
            let naming = Faulty::new(lacks, fault);
            run.options.compact.naming = naming.clone();
            (run, naming)
        };
        let (mut run, naming) = new(None);
        let (_, calls) = run.compact(None);
        // The durable name is the last thing before the switch-over.
        let at = naming.log().iter().rposition(|&call| call == "sync directory").unwrap() + 1;
        for failure in [Failure::NotDone(libc::EIO), Failure::Done(libc::EIO)] {
            let (mut run, naming) = new(Some(Fault { at, failure, then: Then::Everything }));
            let (result, _) = run.compact(Some((calls, End::Error)));
            let error = result.unwrap().unwrap_err();
            assert!(error.to_string().contains("the outcome is unknown"), "{error}");
            assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::EIO)));
            let (world, tried) = (&run.world, naming.log());
            let left = names_in(world.folder.path());
            assert_eq!(left.len(), 2, "nothing is removed: {left:?}");
            assert!(tried.len() <= at + 3, "nothing more is tried: {:?}", &tried[at..]);
            world.check_untouched();
        }
    }
}
