// SPDX-License-Identifier: Apache-2.0

//! A store on a simulated disk: every call of the disk fails once, or all do from one on, in a history of writes with a
//! compaction in it. After each write snapshots show one whole write, no older than what was acknowledged; after a power
//! cut the file holds one, too; and once the disk works again, so does the store.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forwarding::{Call, Forwarding};
use common::temp_dir;
use couchstore::io::sim::SimDisk;
use couchstore::io::sim::fault::{CallKind, Effect, Fault, LostPages, Repeat};
use couchstore::{Error, OpenOptions, Result, Snapshot, Store, StoreOptions};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const NAME: &str = "store.couch";
const DOCUMENTS: usize = 12;
const ROUNDS: u64 = 6;
const COMPACTED_AFTER: u64 = 3;

/// Whose file operations they are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ground {
    /// A caller's, on files in memory.
    Callers,
    /// The library's own, on real files.
    Own,
}

struct World {
    disk: SimDisk,
    folder: Option<tempfile::TempDir>,
    ground: Ground,
    store: Option<Store>,
    /// The last write that was acknowledged, and the last one that was tried.
    acknowledged: u64,
    tried: u64,
}

fn write(store: &Store, round: u64) -> Result<()> {
    store.write(|batch| {
        let body = round.to_string();
        // Some that are longer than a buffer.
        let long = body.repeat(9000);
        for number in 0..DOCUMENTS {
            batch.put(format!("{number:02}"), if number == 5 { long.as_str() } else { body.as_str() });
        }
        batch.put_local("_local/round", body);
        Ok(())
    })
}

/// Which write a snapshot shows; all of it.
fn round_of(snapshot: &Snapshot) -> Result<u64> {
    let number = |text: Vec<u8>| String::from_utf8(text).unwrap().parse().unwrap();
    let round = snapshot.local("_local/round")?.map_or(0, number);
    let mut documents = 0;
    for found in snapshot.iter().bodies() {
        let (info, body) = found?;
        let expected = round.to_string().repeat(if info.id == b"05" { 9000 } else { 1 });
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        documents += 1;
    }
    assert_eq!(documents, if round == 0 { 0 } else { DOCUMENTS });
    Ok(round)
}

fn options(disk: &SimDisk, ground: Ground) -> StoreOptions {
    let ops = if ground == Ground::Own { disk.default_ops() } else { disk.ops() };
    StoreOptions::new().open(OpenOptions::new().file_ops(ops).naming(disk.naming()))
}

impl World {
    /// A store with one write.
    fn new(ground: Ground) -> World {
        let folder = (ground == Ground::Own).then(temp_dir);
        let disk = match &folder {
            Some(folder) => SimDisk::in_folder(folder.path()).unwrap(),
            None => SimDisk::new(),
        };
        let path = folder.as_ref().map_or_else(|| PathBuf::from(NAME), |folder| folder.path().join(NAME));
        let store = options(&disk, ground).open_store(path).unwrap();
        disk.naming().sync_directory(&File::open("/dev/null").unwrap()).unwrap();
        let mut world = World { disk, folder, ground, store: Some(store), acknowledged: 0, tried: 0 };
        world.write().unwrap();
        world
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn write(&mut self) -> Result<()> {
        self.tried += 1;
        write(self.store(), self.tried)?;
        self.acknowledged = self.tried;
        Ok(())
    }

    /// What snapshots show, if they can be read.
    fn check(&mut self) {
        match round_of(&self.store().snapshot()) {
            Ok(round) => {
                assert!(
                    (self.acknowledged..=self.tried).contains(&round),
                    "{round} of {}",
                    self.acknowledged
                );
                // What was shown is not taken back.
                self.acknowledged = self.acknowledged.max(round);
            }
            Err(error) => assert!(self.disk.failures() > 0, "{error}"),
        }
    }

    fn run(&mut self) {
        let before = self.store().snapshot();
        while self.tried < ROUNDS {
            let written = self.write();
            assert!(written.is_ok() || self.disk.hits() > 0, "{written:?}");
            self.check();
            if self.tried == COMPACTED_AFTER {
                let compacted = self.store().compact();
                assert!(compacted.is_ok() || self.disk.hits() > 0, "{compacted:?}");
                self.check();
            }
        }
        match round_of(&before) {
            Ok(round) => assert_eq!(round, 1),
            // A caller's operations cannot open again what a compaction has replaced.
            Err(error) => {
                assert!(self.disk.failures() > 0 || matches!(error, Error::Stale { .. }), "{error}");
            }
        }
    }

    /// After a power cut, whatever becomes of the names, the file holds one whole write.
    fn check_power_cuts(&self) {
        for disk in self.disk.after_power_cuts() {
            let store = options(&disk, Ground::Callers).create(false).open_store(NAME).unwrap();
            let round = round_of(&store.snapshot()).unwrap();
            assert!((self.acknowledged..=self.tried).contains(&round), "{round}, not {}", self.acknowledged);
        }
    }
}

/// Plays the history with a fault, and what comes after it. Returns how many calls of the kind there were.
fn play(ground: Ground, fault: Option<Fault>, kind: CallKind) -> usize {
    let mut world = World::new(ground);
    world.disk.set_fault(fault);
    world.run();
    let calls = world.disk.calls(kind);
    let shown = world.acknowledged;
    // What only snapshots have shown may be in the page cache alone.
    let failed_syncs = world.disk.failed_syncs();
    let failed_name_syncs = world.disk.failed_name_syncs();
    world.disk.set_fault(None);
    if failed_syncs == 0 {
        world.check_power_cuts();
    }
    // The disk is well again. A store whose file was lost to it says so, and opens again what is there.
    if world.write().is_err() {
        world.store().reopen().unwrap();
        world.write().unwrap();
    }
    assert!(world.acknowledged > shown);
    world.check();
    assert_eq!(round_of(&world.store().snapshot()).unwrap(), world.tried);
    // If neither moving the name nor moving it back could be made durable, and a failed sync of the folder is final, only
    // another compaction settles where the name leads.
    let unsettled = fault.is_some_and(|fault| fault.repeat == Repeat::FromThenOn) && failed_name_syncs > 0;
    if !unsettled {
        world.check_power_cuts();
    }
    world.store().compact().unwrap();
    assert_eq!(round_of(&world.store().snapshot()).unwrap(), world.tried);
    world.check_power_cuts();
    world.store = None;
    assert_eq!(world.disk.open_handles(), 0);
    let mut names = world.disk.names();
    // The old file keeps another name if that could not be taken from it: the next compaction in the folder removes it.
    names.retain(|name| kind != CallKind::Naming || !name.starts_with(".couchstore-"));
    assert_eq!(names, [NAME]);
    let path = world.folder.as_ref().map_or_else(|| PathBuf::from(NAME), |folder| folder.path().join(NAME));
    let store = options(&world.disk, world.ground).open_store(path).unwrap();
    assert_eq!(round_of(&store.snapshot()).unwrap(), world.tried);
    calls
}

fn sweep(ground: Ground, kind: CallKind, effects: &[Effect], repeats: &[Repeat]) {
    let calls = play(ground, None, kind);
    assert!(calls > 0, "{kind:?}");
    let every = calls.div_ceil(40);
    for &effect in effects {
        for &repeat in repeats {
            for index in (0..calls).step_by(every).chain([calls - 1]) {
                let fault = Fault { kind, index, repeat, effect };
                let result = std::panic::catch_unwind(|| play(ground, Some(fault), kind));
                assert!(result.is_ok(), "{ground:?} {fault:?}");
            }
        }
    }
}

/// Operations of a caller's that panic in a sync: the write that has met it is told, the store takes the next ones.
#[test]
fn panics_in_a_commit() {
    let folder = temp_dir();
    let path = folder.path().join(NAME);
    let is_to_panic = Arc::new(AtomicBool::new(false));
    let armed = is_to_panic.clone();
    let ops = Forwarding::default().before(move |call| {
        assert!(!matches!(call, Call::Sync) || !armed.swap(false, Ordering::SeqCst), "on purpose");
        Ok(())
    });
    for group_commit in [true, false] {
        let options = StoreOptions::new().group_commit(group_commit);
        let options = options.open(OpenOptions::new().file_ops(Arc::new(ops.clone())));
        let store = options.open_store(&path).unwrap();
        write(&store, 1).unwrap();
        is_to_panic.store(true, Ordering::SeqCst);
        let error = write(&store, 2).unwrap_err();
        assert!(matches!(error, Error::Internal(_)), "{error}");
        assert!(!is_to_panic.load(Ordering::SeqCst));
        // Whether it has become durable nobody knows; what snapshots show is a whole write.
        assert!((1..=2).contains(&round_of(&store.snapshot()).unwrap()));
        write(&store, 3).unwrap();
        assert_eq!(round_of(&store.snapshot()).unwrap(), 3);
        store.compact().unwrap();
        assert_eq!(round_of(&store.snapshot()).unwrap(), 3);
        drop(store);
        assert_eq!(round_of(&Store::open(&path).unwrap().snapshot()).unwrap(), 3);
        std::fs::remove_file(&path).unwrap();
    }
}

const BOTH: [Repeat; 2] = [Repeat::Once, Repeat::FromThenOn];

#[test]
fn writes_fail() {
    for ground in [Ground::Callers, Ground::Own] {
        sweep(
            ground,
            CallKind::Write,
            &[Effect::Error(libc::ENOSPC), Effect::PartialError(libc::EIO)],
            &BOTH,
        );
    }
}

#[test]
fn syncs_fail() {
    for ground in [Ground::Callers, Ground::Own] {
        let effects = LostPages::ALL.map(|lost| Effect::SyncError(libc::EIO, lost));
        sweep(ground, CallKind::Sync, &effects, &BOTH);
    }
}

#[test]
fn reads_and_opening_fail() {
    for ground in [Ground::Callers, Ground::Own] {
        for kind in [CallKind::Read, CallKind::Open] {
            if ground == Ground::Callers || kind == CallKind::Read {
                sweep(ground, kind, &[Effect::Error(libc::EIO)], &BOTH);
            }
        }
    }
}

#[test]
fn names_fail() {
    let effects = [Effect::Error(libc::EIO), Effect::DoneThenError(libc::EIO)];
    sweep(Ground::Callers, CallKind::Naming, &effects, &[Repeat::Once]);
    sweep(Ground::Own, CallKind::Naming, &effects, &BOTH);
}
