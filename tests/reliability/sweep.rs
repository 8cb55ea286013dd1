// SPDX-License-Identifier: Apache-2.0

//! Every call of every operation fails in every way.
//!
//! An operation is done once without a fault to see how many calls of each kind it makes and what it gives. Then it
//! is done again for each of these calls and each way in which that call can fail, once and from then on.

use crate::common::model::Model;
use crate::operations::{Kind, Operation, Scene, TARGET, World, all};
use crate::oracle::{NAME, check_file, check_going_on, check_handle};
use crate::run::{all_wanted, message, on_two_threads, report, seed, wanted};
use couchstore::io::sim::INJECTED;
use couchstore::io::sim::fault::{CallKind, Effect, Fault, LostPages, Repeat};
use couchstore::{Db, Direction, Document, ENCRYPTION, Error, ErrorCode, LocalUpdate, Result, SaveOptions};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The ways in which a call can fail.
fn effects(kind: CallKind) -> Vec<Effect> {
    use libc::{EDQUOT, EINTR, EIO, EMFILE, ENOSPC};
    match kind {
        CallKind::Open => [EIO, EMFILE, ENOSPC, EDQUOT].map(Effect::Error).to_vec(),
        CallKind::Read => vec![Effect::Error(EIO), Effect::Short, Effect::Zero, Effect::ShortThenError(EIO)],
        CallKind::Write => {
            let mut effects = [EIO, ENOSPC, EDQUOT].map(Effect::Error).to_vec();
            effects.extend([EIO, ENOSPC].map(Effect::PartialError));
            effects.extend([EIO, ENOSPC].map(Effect::ShortThenError));
            effects.extend([Effect::Short, Effect::Zero]);
            effects
        }
        CallKind::Sync => {
            let lost = LostPages::ALL.map(|lost| [EIO, ENOSPC, EDQUOT].map(|e| Effect::SyncError(e, lost)));
            lost.into_iter().flatten().chain([Effect::Error(EINTR)]).collect()
        }
        CallKind::Naming => {
            let done = [Effect::DoneThenError(EIO), Effect::AskedTwice, Effect::NotRemoved];
            [EIO, ENOSPC, EDQUOT, EINTR].map(Effect::Error).into_iter().chain(done).collect()
        }
        CallKind::Size | CallKind::Close | CallKind::Configure | CallKind::Any => vec![Effect::Error(EIO)],
    }
}

pub(crate) fn faults_of(kind: CallKind, calls: usize) -> Vec<Fault> {
    let repeats: &[Repeat] = match kind {
        // All calls fail from one on: as if the power had gone.
        CallKind::Any => &[Repeat::FromThenOn],
        // Whoever reads something else then, or goes back, fails again.
        CallKind::Read => &[Repeat::Once, Repeat::Twice, Repeat::FromThenOn],
        _ => &[Repeat::Once, Repeat::FromThenOn],
    };
    let mut faults = Vec::new();
    for index in 0..calls {
        for effect in effects(kind) {
            faults.extend(repeats.iter().map(|&repeat| Fault { kind, index, repeat, effect }));
        }
    }
    faults
}

/// One sweep over all operations in one world.
struct Sweep<'w> {
    world: &'w World,
    /// Files that have been checked already: most runs leave the same few behind.
    checked: Mutex<HashSet<u64>>,
    violations: AtomicU64,
}

/// A run whose operation has been done.
struct Done<'a> {
    scene: &'a Scene<'a>,
    operation: &'a Operation,
    result: &'a Result<String>,
    expected: &'a str,
    fault: Fault,
}

impl Sweep<'_> {
    fn operation(&self, operation: &Operation) -> u64 {
        let scene = Scene::new(self.world);
        let handle = (operation.prepare)(&scene);
        scene.disk.set_fault(None);
        let expected = (operation.act)(&scene, handle.as_ref()).expect(operation.name);
        let mut faults = Vec::new();
        for kind in CallKind::ALL.into_iter().chain([CallKind::Any]) {
            faults.extend(faults_of(kind, scene.disk.calls(kind)));
        }
        let mut runs = 0;
        for (number, &fault) in (0..).zip(&faults) {
            if wanted(number) {
                let World { unbuffered, encrypted, .. } = self.world;
                let name = operation.name;
                let name = format!("{name} with {fault:?}, unbuffered {unbuffered}, encrypted {encrypted}");
                // After a violation the sweep goes on: the other runs tell more about what is wrong.
                let run = AssertUnwindSafe(|| self.run(operation, fault, &expected));
                if let Err(panic) = std::panic::catch_unwind(run) {
                    self.violations.fetch_add(1, Ordering::Relaxed);
                    report(&format!("FAILED: {name}: {}; COUCHSTORE_SIM_RUN={number}", message(&*panic)));
                }
                runs += 1;
            }
        }
        runs
    }

    fn run(&self, operation: &Operation, fault: Fault, expected: &str) {
        let scene = Scene::new(self.world);
        let handle = (operation.prepare)(&scene);
        scene.disk.set_fault(Some(fault));
        let result = (operation.act)(&scene, handle.as_ref());
        let done = Done { scene: &scene, operation, result: &result, expected, fault };
        done.judge();
        let latched = scene.disk.failed_syncs() > 0 && result.is_err();
        let after_cut = scene.disk.after_power_cut(fault.index.is_multiple_of(2));
        scene.disk.set_fault(None);
        match operation.kind {
            Kind::Creates | Kind::Bootstraps => done.check_creation(&after_cut),
            Kind::Compacts => self.check_compaction(&done, handle.as_ref().unwrap()),
            Kind::Closes => {}
            _ => done.check_handle(handle.as_ref().unwrap(), latched),
        }
        let committed = handle.as_ref().is_some_and(|db| done.commits(db, latched));
        drop(handle);
        if self.world.encrypted {
            assert_eq!(scene.disk.rewritten_bytes(NAME), 0, "a nonce that is used twice");
            assert_eq!(scene.disk.rewritten_bytes(TARGET), 0, "a nonce that is used twice");
        }
        assert_eq!(scene.disk.open_handles(), 0, "handles that were not released");
        self.check_files(&done, committed);
        if latched && let Some((name, before, after)) = operation.changes.map(|changes| changes(self.world)) {
            check_going_on(&scene.disk, name, &[before, after]);
        }
    }

    /// Checks all files of the disk, as they are and as they were after a power cut.
    fn check_files(&self, done: &Done<'_>, committed: bool) {
        let Done { scene, operation, .. } = done;
        if matches!(operation.kind, Kind::Creates | Kind::Bootstraps) {
            return;
        }
        let mut expected = vec![(NAME, vec![self.world.before().clone()], 0)];
        if let Some((name, before, after)) = operation.changes.map(|changes| changes(self.world)) {
            expected.retain(|&(other, ..)| other != name);
            expected.push((name, vec![before, after], usize::from(committed)));
        }
        let after_cut = scene.disk.after_power_cut(false);
        for (name, states, least) in expected {
            self.check(&scene.disk.bytes(name).expect("the file"), &states, least);
            self.check(&after_cut.bytes(name).expect("the file, after a power cut"), &states, least);
        }
        let compacted = operation.kind == Kind::Compacts;
        let others: &[&str] =
            if compacted || scene.disk.names().len() > 1 { &[NAME, TARGET] } else { &[NAME] };
        assert_eq!(scene.disk.names(), others, "no foreign files");
    }

    fn check(&self, bytes: &[u8], states: &[Model], least: usize) {
        let mut hasher = DefaultHasher::new();
        (bytes, least, states.len(), states[0].purge_seq).hash(&mut hasher);
        for state in states {
            state.update_seq.hash(&mut hasher);
            format!("{:?}", state.by_seq.values().next_back()).hash(&mut hasher);
        }
        if self.checked.lock().unwrap().insert(hasher.finish()) {
            check_file(bytes, false, states, least);
        }
    }

    fn check_compaction(&self, done: &Done<'_>, source: &Db) {
        let Done { scene, operation, result, expected, .. } = done;
        if result.is_err() {
            assert_eq!(scene.disk.names(), [NAME], "no target after a failure");
            let again = (operation.act)(scene, Some(source)).expect("compact again");
            assert_eq!(&again, expected);
        }
        self.world.before().check(source);
        // The source takes changes as before.
        self.world.next.save(source).expect("save after a compaction");
        source.seek(Direction::End).expect("discard");
    }
}

impl Done<'_> {
    /// Whether the result is the failure that was injected, or right.
    fn judge(&self) {
        let Done { scene, operation, result, expected, fault } = self;
        assert!(scene.disk.hits() > 0, "the fault has happened");
        let failures = scene.disk.failures();
        // These have other ways to go on when something fails. Reopening closes the old file whatever happens.
        let resourceful = operation.is_resourceful();
        let named = fault.kind == CallKind::Naming;
        // A header that is searched for is another one where the file seems to end early.
        let other = operation.kind == Kind::Seeks && fault.effect == Effect::Zero;
        match result {
            Ok(text) => {
                assert!(failures == 0 || resourceful || named, "a failure was swallowed");
                assert!(text == *expected || other, "what was read: {text} instead of {expected}");
            }
            Err(error) => self.judge_error(error, failures),
        }
    }

    fn judge_error(&self, error: &Error, failures: usize) {
        let Done { operation, fault, .. } = self;
        assert_ne!(error.code(), ErrorCode::DOC_NOT_FOUND, "unreadable is not absent");
        if operation.moves() && error.code() == ErrorCode::DB_NO_LONGER_VALID {
            return;
        }
        if failures > 0 {
            let naming = fault.kind == CallKind::Naming || fault.kind == CallKind::Any;
            let named = naming && operation.kind == Kind::Bootstraps && error.code() == ErrorCode::OPEN_FILE;
            assert!(error.code() == INJECTED || named, "not the code that was injected: {error}");
            let errno = match fault.effect {
                Effect::Error(errno)
                | Effect::PartialError(errno)
                | Effect::ShortThenError(errno)
                | Effect::SyncError(errno, _)
                | Effect::DoneThenError(errno) => errno,
                Effect::Short | Effect::Zero | Effect::AskedTwice | Effect::NotRemoved => 0,
            };
            assert_eq!(error.os_error(), Some(errno));
            return;
        }
        match (fault.kind, fault.effect, fault.repeat) {
            // The file seems to end early.
            (CallKind::Read, Effect::Zero, _) => {
                let seeks = operation.moves() && error.code() == ErrorCode::NO_HEADER;
                assert!(error.code() == ErrorCode::READ || seeks, "{error}");
            }
            // Given up after many tries.
            (CallKind::Write, Effect::Zero, Repeat::FromThenOn) => {
                assert_eq!(error.code(), ErrorCode::WRITE);
            }
            _ => panic!("nothing failed, but: {error}"),
        }
    }

    /// What the handle must still be able to do.
    fn check_handle(&self, db: &Db, latched: bool) {
        let Done { scene, operation, result, expected, .. } = self;
        if db.is_closed() {
            assert!(operation.moves(), "closed");
            return;
        }
        if latched {
            check_latched(db);
            return;
        }
        if result.is_err() {
            match operation.kind {
                Kind::Changes => scene.world.before().check(db),
                Kind::Steps => db.seek(Direction::End).expect("discard what was done"),
                _ => {}
            }
            if operation.kind == Kind::Steps && self.is_done(db) {
                return;
            }
            let again = (operation.act)(scene, Some(db)).expect("again, without a fault");
            assert_eq!(&again, expected, "again");
        }
        if matches!(operation.kind, Kind::Reads | Kind::Seeks) {
            db.seek(Direction::End).expect("to the end");
            scene.world.before().check(db);
        }
    }

    /// Whether the file has the last commit although a failure was reported: the write of the header's type byte may
    /// fail after it was carried out.
    fn is_done(&self, db: &Db) -> bool {
        let (_, _, after) = self.operation.changes.unwrap()(self.scene.world);
        let flipped = matches!(self.fault.effect, Effect::PartialError(_));
        flipped && db.info().unwrap().purge_seq == after.purge_seq
    }

    /// Commits what the operation has done, where it does not do that itself. Returns whether it is durable.
    fn commits(&self, db: &Db, latched: bool) -> bool {
        if self.operation.changes.is_none() || db.is_closed() {
            return false;
        }
        if self.operation.kind == Kind::Changes && !latched {
            self.scene.world.next.commit(db).expect("commit");
        }
        if latched {
            // What is committed can be read all the same; whether that includes the last commit is open.
            db.seek(Direction::End).expect("to the end");
            let (name, before, after) = self.operation.changes.unwrap()(self.scene.world);
            check_handle(db, self.scene.disk.bytes(name).unwrap(), &[before, after], 0);
        }
        // What is visible only because a write failed too late is not durable yet.
        let visible_only = self.operation.kind == Kind::Steps && self.result.is_err() && self.is_done(db);
        !latched && !visible_only
    }

    fn check_creation(&self, after_cut: &couchstore::io::sim::SimDisk) {
        let Done { scene, operation, result, fault, .. } = self;
        let names = scene.disk.names();
        let empty = [Model::default()];
        let atomic = operation.kind == Kind::Bootstraps;
        if result.is_ok() {
            assert_eq!(names, [NAME]);
            check_file(&scene.disk.bytes(NAME).unwrap(), false, &empty, 0);
            if atomic {
                let durable = scene.disk.after_power_cut(false).bytes(NAME).expect("there after a power cut");
                check_file(&durable, false, &empty, 0);
            }
            return;
        }
        // A temporary name stays only if it could not be removed.
        let stuck =
            fault.repeat == Repeat::FromThenOn && matches!(fault.kind, CallKind::Naming | CallKind::Any);
        for name in names.iter().filter(|name| *name != NAME) {
            assert!(stuck && name.starts_with(".couchstore-"), "foreign file {name}");
        }
        for disk in [&scene.disk, after_cut] {
            match disk.bytes(NAME) {
                Some(bytes) if atomic => drop(check_file(&bytes, false, &empty, 0)),
                // In place through the caller's operations: a failing close leaves what was written.
                Some(_) => assert!(fault.kind != CallKind::Open, "no file"),
                None => {}
            }
        }
        if !stuck && !names.contains(&NAME.to_owned()) {
            (operation.act)(scene, None).expect("create again");
        }
    }
}

/// After a failed sync the handle takes no more changes, and says so.
fn check_latched(db: &Db) {
    let refused = [
        db.save(&[Document::new(b"a", b"a")], SaveOptions::default()).map(drop),
        db.save_local(&[LocalUpdate { id: b"a", body: Some(b"a") }]),
        db.commit(),
    ];
    for result in refused {
        let error = result.expect_err("a write on a latched handle");
        assert!(matches!(error, Error::Latched { .. }), "{error}");
        assert_eq!(error.code(), ErrorCode::WRITE);
    }
}

/// Sweeps over everything and returns the number of runs.
pub(crate) fn sweep(seed: u64) -> u64 {
    let mut worlds = Vec::new();
    for unbuffered in [false, true] {
        for (encrypted, legacy) in [(false, false), (true, false), (false, true)] {
            if !encrypted || ENCRYPTION {
                worlds.push(World::new(seed, unbuffered, encrypted, legacy));
            }
        }
    }
    let sweeps: Vec<_> = worlds
        .iter()
        .map(|world| Sweep { world, checked: Mutex::default(), violations: AtomicU64::new(0) })
        .collect();
    let operations = all();
    let pairs = sweeps.iter().flat_map(|sweep| operations.iter().map(move |operation| (sweep, operation)));
    let runs = on_two_threads(pairs.collect(), |(sweep, operation)| sweep.operation(operation));
    let violations: u64 = sweeps.iter().map(|sweep| sweep.violations.load(Ordering::Relaxed)).sum();
    assert_eq!(violations, 0, "violations in {runs} runs; again: COUCHSTORE_SIM_SEED={seed}");
    runs
}

#[test]
fn fault_sweep() {
    let start = Instant::now();
    let runs = sweep(seed());
    report(&format!("fault sweep: {runs} runs in {:.1} s, 0 violations", start.elapsed().as_secs_f64()));
    assert!(!all_wanted() || runs >= 20_000, "{runs} runs");
}
