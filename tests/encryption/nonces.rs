// SPDX-License-Identifier: Apache-2.0

//! No position is encrypted twice, whatever fails and however the handle goes on.

use crate::common::memory::Memory;
use crate::common::rng::Rng;
use crate::common::watched::{Effect, Fault, Kind, Watched};
use crate::recorder::Recorder;
use crate::support::{NAME, contents, open, some_keys};
use couchstore::{Db, Direction, Document, LocalUpdate, OpenOptions, SaveOptions};

/// A file whose operations fail on demand and are recorded.
struct World {
    memory: Memory,
    watched: Watched,
    recorder: Recorder,
    unbuffered: bool,
    rng: Rng,
    saves: u64,
}

/// What may be done to a handle; most of it may fail.
#[derive(Clone, Copy, Debug)]
enum Step {
    Small,
    Large,
    Local,
    Commit,
    Seek(Direction),
    Reopen,
}

use Step::{Commit, Large, Local, Reopen, Seek, Small};

/// Histories that meet all ways of going on after a failure.
const HISTORIES: [&[Step]; 7] = [
    &[Small, Commit, Small, Small, Commit, Small],
    &[Large, Large, Seek(Direction::End), Large, Commit, Small, Commit],
    &[
        Large,
        Small,
        Large,
        Local,
        Commit,
        Seek(Direction::Backward),
        Large,
        Commit,
        Seek(Direction::End),
        Small,
    ],
    &[Small, Commit, Large, Reopen, Small, Large, Commit, Reopen, Small, Commit],
    &[Commit, Commit, Seek(Direction::End), Small, Seek(Direction::Backward), Small, Commit, Commit],
    &[Local, Commit, Large, Seek(Direction::End), Small, Commit, Local, Seek(Direction::End), Local, Commit],
    &[
        Large,
        Seek(Direction::Forward),
        Large,
        Seek(Direction::End),
        Seek(Direction::End),
        Large,
        Reopen,
        Small,
    ],
];

impl World {
    fn new(unbuffered: bool) -> World {
        let memory = Memory::default();
        let watched = Watched::new(memory.ops());
        let recorder = Recorder::new(watched.ops(), b"");
        World { memory, watched, recorder, unbuffered, rng: Rng::new(), saves: 0 }
    }

    fn open(&self) -> couchstore::Result<Db> {
        let size = self.memory.file(NAME).map_or(0, |file| file.lock().unwrap().len());
        self.recorder.reopened(size);
        let options = OpenOptions::new().create(size == 0).unbuffered(self.unbuffered);
        options.file_ops(self.recorder.ops()).keys(some_keys()).open(NAME)
    }

    /// Content that was never there before.
    fn noise(&mut self, length: u64) -> Vec<u8> {
        self.saves += 1;
        self.rng.noise(length as usize)
    }

    fn step(&mut self, db: &Db, step: Step) -> couchstore::Result<()> {
        match step {
            Small | Large => {
                let count = if matches!(step, Large) { 4 } else { 2 };
                let length = if matches!(step, Large) { 50_000 } else { 1500 };
                let bodies: Vec<_> = (0..count).map(|_| self.noise(length)).collect();
                let ids: Vec<_> = (0..count).map(|n| format!("{}-{n}", self.saves % 7)).collect();
                let pairs = ids.iter().zip(&bodies);
                let documents: Vec<_> = pairs.map(|(id, body)| Document::new(id.as_bytes(), body)).collect();
                db.save(&documents, SaveOptions::default()).map(drop)
            }
            Local => {
                let body = self.noise(200);
                db.save_local(&[LocalUpdate { id: b"_local/x", body: Some(&body) }])
            }
            Commit => db.commit(),
            Seek(direction) => db.seek(direction),
            Reopen => Ok(()),
        }
    }

    /// Goes through a history, come what may; a handle that cannot go on is opened again.
    fn run(&mut self, history: &[Step]) {
        let mut handle = self.open().ok();
        for &step in history {
            let db = match handle.take() {
                Some(db) => db,
                None => match self.open() {
                    Ok(db) => db,
                    Err(_) => continue,
                },
            };
            let _ = self.step(&db, step);
            if matches!(step, Reopen) {
                let _ = db.close();
            } else if db.info().is_ok_and(|info| info.file_size > 0) {
                handle = Some(db);
            }
        }
        drop(handle);
    }

    /// What is in the file must be whole, and take further work.
    fn finish(&mut self) {
        self.watched.set_fault(None);
        if let Ok(db) = self.open() {
            contents(&db).expect("all chunks can be decrypted");
            self.step(&db, Small).unwrap();
            db.commit().unwrap();
            db.close().unwrap();
            contents(&open(&self.memory, some_keys()).unwrap()).unwrap();
        }
    }
}

#[test]
fn no_position_is_encrypted_twice_whatever_call_fails() {
    let mut runs = 0;
    let mut bytes = 0;
    for unbuffered in [false, true] {
        for (number, history) in HISTORIES.iter().enumerate() {
            for (kind, effect) in [
                (Kind::Write, Effect::Fail),
                (Kind::Write, Effect::HalfThenFail),
                (Kind::Write, Effect::FailedSync),
                (Kind::Sync, Effect::Fail),
                (Kind::Size, Effect::Fail),
                (Kind::Read, Effect::Fail),
            ] {
                let mut world = World::new(unbuffered);
                world.run(history);
                // Unbuffered writes are many, and alike: some of them.
                let calls = world.watched.count(kind);
                for index in (0..calls).step_by((calls / 60).max(1)) {
                    for times in [1, 3] {
                        let mut world = World::new(unbuffered);
                        world.watched.set_fault(Some(Fault { kind, index, times, effect }));
                        world.run(history);
                        world.finish();
                        let violations = world.recorder.violations();
                        let name = format!("{number} {unbuffered} {kind:?} {effect:?} {index} {times}");
                        assert!(violations.is_empty(), "{name}: {:?}", &violations[..1]);
                        runs += 1;
                        bytes += world.recorder.written();
                    }
                }
            }
        }
    }
    println!("{runs} runs, {bytes} bytes written, 0 offsets with two contents");
    assert!(runs >= 1000, "{runs} runs");
}

/// The write buffer still holds the file's first header when its first flush fails.
#[test]
fn seeking_to_the_end_after_a_failed_flush_of_a_new_file() {
    for effect in [Effect::Fail, Effect::HalfThenFail] {
        let mut world = World::new(false);
        let db = world.open().unwrap();
        world.watched.set_fault(Some(Fault { kind: Kind::Write, index: 0, times: 1, effect }));
        world.step(&db, Large).unwrap_err();
        db.seek(Direction::End).unwrap();
        world.step(&db, Large).unwrap();
        db.commit().unwrap();
        assert_eq!(world.recorder.violations(), [0; 0]);
        assert_eq!(contents(&db).unwrap().len(), 8);
    }
}

/// A save fails because an earlier one cannot be flushed, and is tried again with other content.
#[test]
fn a_save_that_is_tried_again_goes_elsewhere() {
    for unbuffered in [false, true] {
        let mut world = World::new(unbuffered);
        let db = world.open().unwrap();
        for _ in 0..3 {
            let fault = Fault { kind: Kind::Write, index: 0, times: 1, effect: Effect::HalfThenFail };
            world.watched.set_fault(Some(fault));
            world.step(&db, Large).unwrap_err();
        }
        world.watched.set_fault(None);
        world.step(&db, Large).unwrap();
        db.commit().unwrap();
        assert_eq!(world.recorder.violations(), [0; 0]);
        assert_eq!(contents(&db).unwrap().len(), 8);
    }
}
