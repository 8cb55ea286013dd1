// SPDX-License-Identifier: Apache-2.0

//! What file systems do to the pages of a file whose sync has failed, and that nothing acknowledged is lost by it.
//!
//! After a failed sync the pages are clean, whatever became of their content: the next sync succeeds and proves
//! nothing. So a handle takes no more changes then, and a fresh one begins with what the file really holds.

use crate::common::model::Model;
use crate::history::{History, Transaction};
use crate::oracle::{NAME, check_file, check_handle, new_file, options};
use crate::run::{Replay, report, runs, seed};
use couchstore::io::sim::fault::{CallKind, Effect, Fault, LostPages, Repeat};
use couchstore::io::sim::random::Random;
use couchstore::io::sim::{INJECTED, SimDisk};
use couchstore::{Db, Direction, ENCRYPTION, Error, OpenOptions};

const WORKLOADS: u64 = 20;

/// One way in which it can go.
#[derive(Clone, Copy, Debug)]
struct Case {
    lost: LostPages,
    errno: i32,
    /// Which sync fails: the first or the second of the commit.
    sync: usize,
    unbuffered: bool,
    /// Whether memory pressure drops the clean pages afterwards.
    evict: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for lost in LostPages::ALL {
        for errno in [libc::EIO, libc::ENOSPC, libc::EDQUOT] {
            for number in 0..8 {
                let (sync, unbuffered, evict) = (number & 1, number & 2 != 0, number & 4 != 0);
                cases.push(Case { lost, errno, sync, unbuffered, evict });
            }
        }
    }
    cases
}

/// A disk with a durable database, and a transaction to come.
struct Scene {
    disk: SimDisk,
    history: History,
    case: Case,
}

impl Scene {
    fn new(random: &mut Random, case: Case) -> Scene {
        let disk = SimDisk::new();
        let encrypted = random.percent(30) && ENCRYPTION;
        let mut history = History::random(random, Model::default(), 3, encrypted);
        let db = new_file(&disk, encrypted).open(NAME).unwrap();
        for transaction in &history.transactions {
            transaction.save(&db).unwrap();
            transaction.commit(&db).unwrap();
        }
        drop(db);
        disk.put(NAME, disk.bytes(NAME).unwrap());
        history.push(Transaction { encrypted, ..Transaction::random(random, 4) });
        Scene { disk, history, case }
    }

    fn options(&self) -> OpenOptions {
        options(&self.disk).unbuffered(self.case.unbuffered)
    }

    fn next(&self) -> &Transaction {
        &self.history.transactions[3]
    }

    /// The states before and after the commit whose sync fails.
    fn states(&self) -> &[Model] {
        &self.history.states[3..]
    }

    fn fail_sync(&self, index: usize) {
        let effect = Effect::SyncError(self.case.errno, self.case.lost);
        self.disk.set_fault(Some(Fault { kind: CallKind::Sync, index, repeat: Repeat::Once, effect }));
    }

    /// Memory pressure, and the end of the fault.
    fn settle(&self) {
        self.disk.set_fault(None);
        if self.case.evict {
            self.disk.evict();
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.disk.bytes(NAME).unwrap()
    }

    /// Opens the file again, works on, and pulls the plug: everything is there.
    fn check_reopened(&self) {
        let states = self.states();
        let db = self.options().open(NAME).unwrap();
        let found = check_handle(&db, self.bytes(), states, 0);
        if self.case.sync == 0 {
            assert_eq!(found, 0, "what was not made durable is not shown");
        }
        let further = Transaction { number: states[found].purge_seq + 1, ..self.next().clone() };
        further.save(&db).unwrap();
        further.commit(&db).unwrap();
        drop(db);
        let expected = [further.applied_to(&states[found])];
        for evict in [false, true] {
            if evict {
                self.disk.evict();
            }
            check_file(&self.bytes(), false, &expected, 0);
        }
        check_file(&self.disk.after_power_cut(false).bytes(NAME).unwrap(), false, &expected, 0);
        assert_eq!(self.disk.open_handles(), 0);
    }
}

fn assert_latched(db: &Db, transaction: &Transaction) {
    for result in [transaction.save(db), transaction.save_locals(db), transaction.commit(db)] {
        match result {
            Err(Error::Latched { .. }) => {}
            Ok(()) if transaction.locals.is_empty() => {}
            other => panic!("a write after a failed sync: {other:?}"),
        }
    }
}

fn failed_commit(random: &mut Random, case: Case) {
    let scene = Scene::new(random, case);
    let db = scene.options().open(NAME).unwrap();
    scene.next().save(&db).unwrap();
    scene.fail_sync(case.sync);
    let error = scene.next().commit(&db).unwrap_err();
    assert_eq!((error.code(), error.os_error()), (INJECTED, Some(case.errno)));
    scene.settle();
    assert_latched(&db, scene.next());
    // What is committed can be read, by this handle too.
    db.seek(Direction::End).unwrap();
    check_handle(&db, scene.bytes(), scene.states(), 0);
    assert_latched(&db, scene.next());
    scene.disk.set_fault(None);
    db.close().unwrap();
    assert_eq!(scene.disk.calls(CallKind::Write), 0, "nothing more is written, not even by close");
    // Power may go right here.
    let durable = scene.disk.after_power_cut(false).bytes(NAME).unwrap();
    check_file(&durable, false, scene.states(), 0);
    scene.check_reopened();
}

/// A caller who wants the second sync to be tried again gets the byte written again first.
fn retried_sync(random: &mut Random, case: Case) {
    let scene = Scene::new(random, case);
    let db = scene.options().open(NAME).unwrap();
    scene.next().save(&db).unwrap();
    scene.fail_sync(1);
    let mut asked = 0;
    let mut retry = |errno| {
        asked += 1;
        assert_eq!(errno, case.errno);
        true
    };
    db.commit_with(4, Some(&mut retry)).unwrap();
    assert_eq!(asked, 1);
    scene.settle();
    let durable = scene.disk.after_power_cut(false).bytes(NAME).unwrap();
    check_file(&durable, false, scene.states(), 1);
    scene.next().save_locals(&db).unwrap();
    db.commit().unwrap();
}

/// A periodic sync that fails inside a save is a failed sync, too.
fn failed_periodic_sync(random: &mut Random, case: Case) {
    let scene = Scene::new(random, case);
    // Unbuffered, so that the save itself writes.
    let db = scene.options().unbuffered(true).periodic_sync(Some(64)).open(NAME).unwrap();
    scene.fail_sync(0);
    let error = scene.next().save(&db).unwrap_err();
    assert_eq!(error.code(), INJECTED);
    scene.settle();
    assert_latched(&db, scene.next());
    db.seek(Direction::End).unwrap();
    assert_eq!(check_handle(&db, scene.bytes(), scene.states(), 0), 0);
    drop(db);
    scene.check_reopened();
}

/// All cases for so many workloads.
pub(crate) fn failed_syncs(seed: u64, workloads: u64) -> u64 {
    let mut count = 0;
    for run in runs(workloads) {
        for case in cases() {
            let _replay = Replay { name: format!("failed sync: {case:?}"), seed, run };
            for test in [failed_commit, retried_sync, failed_periodic_sync] {
                test(&mut Random::for_run(seed, run), case);
                count += 1;
            }
        }
    }
    count
}

#[test]
fn nothing_is_lost_by_failed_syncs() {
    let runs = failed_syncs(seed(), WORKLOADS);
    report(&format!("failed syncs, four kinds of file systems: {runs} runs, 0 violations"));
}
