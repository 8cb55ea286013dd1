// SPDX-License-Identifier: Apache-2.0

//! Bytes behind the newest header that never reached the disk: of a commit whose sync has failed, or of a process that
//! died and whose pages the kernel could not write. The file system may keep their last block "unwritten": what is put
//! beside them is lost, though its sync succeeds. Whoever works on the file afterwards must not lose anything by it.

use crate::common::model::{Doc, Model};
use crate::common::raw::BLOCK;
use crate::history::{History, Transaction};
use crate::oracle::{NAME, check_file, check_handle, new_file, options};
use crate::run::{Replay, report, runs, seed};
use couchstore::io::sim::SimDisk;
use couchstore::io::sim::crash::{Log, Shape, Size};
use couchstore::io::sim::fault::{CallKind, Effect, Fault, LostPages, Repeat};
use couchstore::io::sim::random::Random;
use couchstore::{Db, Direction, OpenOptions};
use std::ffi::CString;

const WORKLOADS: u64 = 20;
const COMMITS: u64 = 3;

/// Whose bytes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leftover {
    FailedCommit,
    /// A process saved without committing.
    Abandoned,
}

/// How a handle gets to know where the file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Open,
    /// The newest header is damaged, too.
    Recovery,
    Reopen,
    SeekEnd,
    /// It goes back and forth before it writes.
    Rewound,
}

const STARTS: [Start; 5] = [Start::Open, Start::Recovery, Start::Reopen, Start::SeekEnd, Start::Rewound];

#[derive(Clone, Copy, Debug)]
struct Case {
    leftover: Leftover,
    start: Start,
    unbuffered: bool,
    encrypted: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for leftover in [Leftover::FailedCommit, Leftover::Abandoned] {
        for start in STARTS {
            for number in 0..4 {
                let (unbuffered, encrypted) = (number & 1 != 0, number & 2 != 0);
                cases.push(Case { leftover, start, unbuffered, encrypted });
            }
        }
    }
    cases
}

/// A disk with a durable database.
struct Scene {
    disk: SimDisk,
    /// The states that the file was committed at.
    states: Vec<Model>,
    case: Case,
}

impl Scene {
    fn new(random: &mut Random, case: Case) -> Scene {
        let disk = SimDisk::new();
        let history = History::random(random, Model::default(), COMMITS, case.encrypted);
        let db = new_file(&disk, case.encrypted).open(NAME).unwrap();
        for transaction in &history.transactions {
            transaction.save(&db).unwrap();
            transaction.commit(&db).unwrap();
        }
        let header = db.header_position() as usize;
        drop(db);
        let (mut bytes, mut states) = (disk.bytes(NAME).unwrap(), history.states);
        if case.start == Start::Recovery {
            bytes[header + 6] ^= 1;
            states.pop();
        }
        disk.put(NAME, bytes);
        Scene { disk, states, case }
    }

    fn options(&self) -> OpenOptions {
        options(&self.disk).unbuffered(self.case.unbuffered).recovery(self.case.start == Start::Recovery)
    }

    fn state(&self) -> &Model {
        self.states.last().unwrap()
    }

    fn transaction(&self, random: &mut Random, number: u64) -> Transaction {
        Transaction { encrypted: self.case.encrypted, ..Transaction::random(random, number) }
    }

    /// Writes what never reaches the disk, from a block of its own on.
    fn leave(&self, random: &mut Random) {
        let mut lost = self.transaction(random, self.state().purge_seq + 1);
        let length = BLOCK + random.below(BLOCK);
        lost.docs.push(Doc::new(b"lost", &random.noise(length as usize)));
        let db = self.options().unbuffered(true).open(NAME).unwrap();
        lost.save(&db).unwrap();
        match self.case.leftover {
            Leftover::FailedCommit => {
                let effect = Effect::SyncError(libc::EIO, LostPages::Unwritten);
                let fault = Fault { kind: CallKind::Sync, index: 0, repeat: Repeat::Once, effect };
                self.disk.set_fault(Some(fault));
                lost.commit(&db).unwrap_err();
                self.disk.set_fault(None);
            }
            Leftover::Abandoned => self.disk.fail_write_back(NAME, LostPages::Unwritten),
        }
    }

    /// A handle that has just learnt where the file ends. `leave` is called before that.
    fn handle(&self, leave: impl FnOnce()) -> Db {
        if matches!(self.case.start, Start::Open | Start::Recovery | Start::Rewound) {
            leave();
            let db = self.options().open(NAME).unwrap();
            if self.case.start == Start::Rewound {
                db.seek(Direction::Backward).unwrap();
                db.seek(Direction::Forward).unwrap();
            }
            return db;
        }
        let db = self.options().open(NAME).unwrap();
        leave();
        match self.case.start {
            Start::SeekEnd => db.seek(Direction::End).unwrap(),
            _ => db.reopen(&CString::new(NAME).unwrap(), &self.options()).unwrap(),
        }
        db
    }

    fn bytes(&self) -> Vec<u8> {
        self.disk.bytes(NAME).unwrap()
    }
}

/// Some of what the disk may hold if the power goes meanwhile.
fn check_images(random: &mut Random, log: &Log, states: &[Model], case: Case) {
    let mut shapes = Shape::all();
    // Garbage may look like a damaged header: that is for the crash images.
    shapes.retain(|shape| shape.size != Size::FirstGarbage);
    log.each_instant(|instant| {
        if random.percent(90) {
            return;
        }
        let shape = shapes[random.below(shapes.len() as u64) as usize];
        let image = instant.image(shape, random);
        let least = instant.marked.saturating_sub(states[0].purge_seq);
        check_file(&image, case.start == Start::Recovery, states, least as usize);
    });
}

fn check(random: &mut Random, case: Case) {
    let scene = Scene::new(random, case);
    let db = scene.handle(|| scene.leave(random));
    let before = scene.bytes();
    check_handle(&db, before.clone(), std::slice::from_ref(scene.state()), 0);
    assert_eq!(db.info().unwrap().file_size, before.len() as u64, "still the file's size");

    // Two commits, so that appending goes on after the first.
    let mut states = vec![scene.state().clone()];
    scene.disk.record(NAME);
    for _ in 0..2 {
        let state = states.last().unwrap();
        let further = scene.transaction(random, state.purge_seq + 1);
        further.save(&db).unwrap();
        further.commit(&db).unwrap();
        scene.disk.mark(further.number);
        states.push(further.applied_to(state));
        let durable = scene.disk.after_power_cut(false).bytes(NAME).unwrap();
        check_file(&durable, false, &states[states.len() - 1..], 0);
    }
    check_images(random, &scene.disk.take_log(), &states, case);
    drop(db);
    assert!(scene.bytes().starts_with(&before), "nothing is overwritten");
    if case.encrypted {
        assert_eq!(scene.disk.rewritten_bytes(NAME), 0, "a nonce that is used twice");
    }
    scene.disk.evict();
    check_file(&scene.bytes(), false, &states[2..], 0);
    assert_eq!(scene.disk.open_handles(), 0);
}

/// All cases for so many workloads.
pub(crate) fn unwritten_blocks(seed: u64, workloads: u64) -> u64 {
    let mut count = 0;
    for run in runs(workloads) {
        for case in cases() {
            let _replay = Replay { name: format!("unwritten blocks: {case:?}"), seed, run };
            check(&mut Random::for_run(seed, run), case);
            count += 1;
        }
    }
    count
}

#[test]
fn nothing_is_lost_in_blocks_that_stay_unwritten() {
    let runs = unwritten_blocks(seed(), WORKLOADS);
    report(&format!("blocks that stay unwritten: {runs} runs, 0 violations"));
}
