// SPDX-License-Identifier: Apache-2.0

//! Every call of creation and of compaction fails in every way, with the library's own file operations: on the simulated
//! disk in a real folder. (For compaction beside a writer see `tests/online/power.rs`.)

use crate::common::naming::names_in;
use crate::folders::{COMMITS, NAME, Scene, TARGET, Work};
use crate::oracle::check_file;
use crate::run::{Replay, all_wanted, on_two_threads, report, seed, wanted};
use crate::sweep::faults_of;
use couchstore::io::sim::INJECTED;
use couchstore::io::sim::fault::{CallKind, Effect, Fault, Repeat};
use couchstore::io::sim::random::Random;
use couchstore::{CompactOptions, Db, Error, ErrorCode, Result, compact};

/// Calls on names whose outcome can be seen afterwards.
const VISIBLE: [&str; 5] = ["link unnamed", "rename exclusive", "rename", "link", "unlink"];

/// A run whose work has been done.
struct Done {
    scene: Scene,
    fault: Fault,
    result: Result<()>,
    calls: Vec<&'static str>,
}

/// Everything that a work calls.
fn faults(seed: u64, work: Work) -> Vec<Fault> {
    let scene = Scene::new(&mut Random::new(seed), work);
    scene.disk.set_fault(None);
    scene.act().unwrap();
    let kinds = CallKind::ALL.into_iter().chain([CallKind::Any]);
    kinds.flat_map(|kind| faults_of(kind, scene.disk.calls(kind))).collect()
}

fn run(seed: u64, work: Work, fault: Fault) {
    let scene = Scene::new(&mut Random::new(seed), work);
    scene.disk.set_fault(Some(fault));
    let result = scene.act();
    assert!(scene.disk.hits() > 0, "the fault has happened");
    let calls = scene.disk.naming_calls();
    let failed_syncs = scene.disk.failed_syncs() + scene.disk.failed_name_syncs();
    assert!(result.is_err() || failed_syncs == 0, "a failed sync was swallowed");
    scene.disk.set_fault(None);
    assert_eq!(scene.disk.open_handles(), 0, "handles that were not released");
    let done = Done { scene, fault, result, calls };
    done.judge();
    done.check_disks();
    done.commit();
    done.go_on();
}

impl Done {
    fn only_an_answer_is_lost(&self) -> bool {
        let Fault { kind, index, repeat, effect } = self.fault;
        let lost = matches!(effect, Effect::DoneThenError(_) | Effect::AskedTwice);
        kind == CallKind::Naming && repeat == Repeat::Once && lost && VISIBLE.contains(&self.calls[index])
    }

    fn is_unknown(&self) -> bool {
        matches!(self.result, Err(Error::Naming { .. }))
    }

    fn judge(&self) {
        let Err(error) = &self.result else { return };
        assert!(!self.only_an_answer_is_lost(), "nothing has failed: {error}");
        let ends_early = self.fault.effect == Effect::Zero && error.code() == ErrorCode::READ;
        let given_up = self.fault.effect == Effect::Zero && error.code() == ErrorCode::WRITE;
        let naming = matches!(self.fault.kind, CallKind::Naming | CallKind::Any);
        let named = naming && error.code() == ErrorCode::OPEN_FILE;
        assert!(error.code() == INJECTED || named || ends_early || given_up, "{error}");
    }

    /// The folder as everybody sees it, and as each power cut leaves it.
    fn check_disks(&self) {
        let Done { scene, fault, result, .. } = self;
        let (name, states) = match scene.work {
            Work::Create => (NAME, &scene.history.states[..2]),
            _ => (TARGET, &scene.history.states[COMMITS as usize..=COMMITS as usize]),
        };
        for disk in scene.disk.after_power_cuts().into_iter().chain([scene.disk.as_seen()]) {
            if scene.work != Work::Create {
                check_file(
                    &disk.bytes(NAME).expect("the source"),
                    false,
                    &scene.history.states,
                    COMMITS as usize,
                );
            }
            match disk.bytes(name) {
                Some(bytes) => {
                    let least = usize::from(result.is_ok() && scene.work == Work::Create);
                    check_file(&bytes, false, states, least);
                }
                None => assert!(result.is_err(), "no file"),
            }
            // What is made first is created; what fails later, in committing to it, leaves it.
            let undone = result.is_err() && !self.is_unknown() && scene.work != Work::Create;
            assert!(!(undone && disk.bytes(name).is_some()), "a target after a failure");
        }
        let alone = fault.repeat == Repeat::Once && !self.is_unknown() && fault.effect != Effect::NotRemoved;
        for other in scene.disk.names() {
            assert!(!alone || [NAME, TARGET].contains(&other.as_str()), "foreign file {other}");
        }
    }

    /// Whoever opens the file now and commits finds that after a power cut.
    fn commit(&self) {
        let scene = &self.scene;
        if !scene.path(NAME).exists() {
            return;
        }
        let db = scene.options().open(scene.path(NAME)).expect("open again");
        let next = db.info().unwrap().purge_seq + 1;
        scene.commit(&db, next, true).expect("a commit");
        drop(db);
        // If it could not be said that the name is durable, a commit does not make it so.
        let left = scene.disk.after_power_cut(self.result.is_err());
        check_file(&left.bytes(NAME).expect("the file"), false, &scene.history.states, next as usize);
    }

    /// The same is done again in what was left, with nothing that fails; then nothing else is there.
    fn go_on(&self) {
        let folder = self.scene.folder.path();
        let source = Db::create(folder.join(NAME)).expect("open or create");
        compact(&source, folder.join("again"), &CompactOptions::default()).expect("compact again");
        for name in names_in(folder) {
            assert!([NAME, TARGET, "again"].contains(&name.as_str()), "left for good: {name}");
        }
    }
}

fn sweep_of(seed: u64, work: Work) -> u64 {
    let mut runs = 0;
    for (number, fault) in (0..).zip(faults(seed, work)) {
        if wanted(number) {
            let _replay = Replay { name: format!("{work:?} with {fault:?}"), seed, run: number };
            run(seed, work, fault);
            runs += 1;
        }
    }
    runs
}

/// Everything, with a history from this seed.
pub(crate) fn sweep(seed: u64) -> u64 {
    on_two_threads(vec![Work::Create, Work::Compact], |work| sweep_of(seed, work))
}

#[test]
fn faults_of_files_without_names() {
    let start = std::time::Instant::now();
    let runs = sweep(seed());
    report(&format!(
        "faults in folders: {runs} runs in {:.1} s, 0 violations",
        start.elapsed().as_secs_f64()
    ));
    assert!(!all_wanted() || runs >= 500, "{runs} runs");
}
