// SPDX-License-Identifier: Apache-2.0

//! Every call of the file operations fails once, and for good, in every operation of the library: the error comes
//! back as it is, the file opens at a state that was committed, and the operation can be tried again. Failed syncs are in `failed_sync.rs`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::model::Doc;
use common::watched::{Effect, FAILURE, Fault, Kind};
use common::world::{NAME, World, docs};
use couchstore::{
    CompactOptions, Db, Direction, Document, Error, ErrorCode, Result, SaveOptions, ScanOptions, compact,
    replay,
};

const TARGET: &str = "target.couch";
const KINDS: [Kind; 6] = [Kind::Open, Kind::Read, Kind::Write, Kind::Size, Kind::Sync, Kind::Close];

/// An operation: what is prepared, what is done, and what must hold afterwards.
struct Operation<P, A> {
    name: &'static str,
    prepare: P,
    act: A,
    /// What must hold once it has succeeded.
    check: fn(&World, &Db),
    /// Whether trying again on the same handle must succeed.
    again: bool,
}

fn no_check(_: &World, _: &Db) {}

fn faults(kind: Kind, index: usize) -> Vec<Fault> {
    let fault = |effect, times| Fault { kind, index, times, effect };
    let mut faults = vec![fault(Effect::Fail, 1), fault(Effect::Fail, usize::MAX)];
    if matches!(kind, Kind::Read | Kind::Write) {
        faults.push(fault(Effect::HalfThenFail, 1));
    }
    faults
}

/// Runs the operation once for each call that it makes and each way in which that can fail. Returns how often.
fn sweep<P, A>(operation: &Operation<P, A>) -> usize
where
    P: Fn(&World) -> Db,
    A: Fn(&World, &Db) -> Result<()>,
{
    let mut runs = 0;
    for unbuffered in [false, true] {
        let world = World::new(unbuffered);
        let db = (operation.prepare)(&world);
        world.watched.take_log();
        (operation.act)(&world, &db).expect(operation.name);
        (operation.check)(&world, &db);
        let counts = KINDS.map(|kind| world.watched.count(kind));
        drop(db);
        for (kind, count) in KINDS.into_iter().zip(counts) {
            for fault in (0..count).flat_map(|index| faults(kind, index)) {
                run(&world, operation, fault);
                runs += 1;
            }
        }
    }
    println!("{}: {runs} runs", operation.name);
    runs
}

fn run<P, A>(world: &World, operation: &Operation<P, A>, fault: Fault)
where
    P: Fn(&World) -> Db,
    A: Fn(&World, &Db) -> Result<()>,
{
    let context = format!("{} with {fault:?}, unbuffered {}", operation.name, world.unbuffered);
    world.memory.put(NAME, world.original.clone());
    world.memory.remove(TARGET);
    *world.after.borrow_mut() = world.before.clone();
    let db = (operation.prepare)(world);
    world.watched.take_log();
    world.watched.set_fault(Some(fault));
    let result = (operation.act)(world, &db);
    match (world.watched.calls_after_fault(), &result) {
        (Some(later), Err(error)) => {
            // A seek that fails loads the old header again; if that fails too the handle is of no use any more.
            let seeks = operation.name.contains("seek");
            let lost = seeks && error.code() == ErrorCode::DB_NO_LONGER_VALID;
            assert!(lost || error.code() == FAILURE, "{context}: the code as it is: {error}");
            assert!(seeks || later == 0, "{context}: {later} further calls of the kind");
        }
        (None, Ok(())) => {}
        (hit, result) => panic!("{context}: {hit:?} {result:?}"),
    }
    if fault.times == 1 || result.is_ok() {
        world.watched.set_fault(None);
        if result.is_ok() {
            (operation.check)(world, &db);
        } else if operation.again && fault.kind != Kind::Sync {
            world.memory.remove(TARGET);
            (operation.act)(world, &db).unwrap_or_else(|error| panic!("{context}: again: {error}"));
            (operation.check)(world, &db);
        }
    }
    drop(db);
    world.watched.set_fault(None);
    let after = world.after.borrow().clone();
    world.check_file(NAME, &[&world.before, &after]);
}

#[test]
fn opening() {
    let act = |world: &World, _: &Db| world.options().open(NAME).and_then(|db| db.close());
    // The handle that is prepared is of no use here.
    let prepare = |world: &World| world.memory.options().read_only(true).open(NAME).unwrap();
    assert!(sweep(&Operation { name: "open and close", prepare, act, check: no_check, again: true }) > 10);
}

#[test]
fn saving() {
    let act = |_: &World, db: &Db| {
        let docs = docs(8, 10);
        let documents: Vec<_> = docs.iter().map(Doc::document).collect();
        db.save(&documents, SaveOptions::default()).map(drop)
    };
    // What is not committed is seen by this handle only.
    let check = |world: &World, db: &Db| {
        let mut model = world.before.clone();
        model.save(&docs(8, 10), SaveOptions::default());
        model.check(db);
    };
    let runs = sweep(&Operation { name: "save", prepare: World::open, act, check, again: true });
    assert!(runs > 50, "{runs}");
}

/// More than the write buffer holds: writes fail in the middle of the save.
#[test]
fn saving_large_documents() {
    let bodies = |_: &World, db: &Db| {
        let bodies: Vec<_> = (0..5).map(|number| vec![number; 70_000]).collect();
        let ids = [b"c", b"p", b"q", b"r", b"s"];
        let docs: Vec<_> = ids.into_iter().zip(&bodies).map(|(id, body)| Document::new(id, body)).collect();
        db.save(&docs, SaveOptions::default()).map(drop)
    };
    let check = |_: &World, db: &Db| {
        assert_eq!(db.get(b"r").unwrap().unwrap(), vec![3; 70_000]);
        assert_eq!(db.changes_count(0, u64::MAX).unwrap(), 19);
    };
    let runs =
        sweep(&Operation { name: "save large", prepare: World::open, act: bodies, check, again: true });
    assert!(runs > 100, "{runs}");
}

#[test]
fn saving_local_documents() {
    let act = |_: &World, db: &Db| {
        let update = couchstore::LocalUpdate { id: b"_local/new", body: Some(&[3; 5000]) };
        db.save_local(&[update])
    };
    assert!(
        sweep(&Operation {
            name: "save local documents",
            prepare: World::open,
            act,
            check: no_check,
            again: true
        }) > 10
    );
}

#[test]
fn committing() {
    let prepare = |world: &World| {
        let db = world.open();
        let docs = docs(8, 10);
        db.save(&docs.iter().map(Doc::document).collect::<Vec<_>>(), SaveOptions::default()).unwrap();
        world.after.borrow_mut().save(&docs, SaveOptions::default());
        db
    };
    let act = |_: &World, db: &Db| db.commit();
    assert!(sweep(&Operation { name: "commit", prepare, act, check: no_check, again: true }) > 10);
}

#[test]
fn reading() {
    let everything = |info: &couchstore::DocInfoRef<'_>, db: &Db| db.body(info).map(drop);
    let act = |_: &World, db: &Db| {
        db.get(b"c")?;
        db.changes_since(0, ScanOptions::default(), &mut |info| everything(info, db))?;
        db.all_docs(b"b", ScanOptions::default(), &mut |info| everything(info, db))?;
        db.walk_by_id(b"", ScanOptions::default(), &mut |_, _| Ok(()))?;
        db.docs_by_id(&[b"a", b"k"], ScanOptions::default(), &mut |_| Ok(()))?;
        db.changes_count(3, 9)?;
        db.scan_local(b"", &mut |_, _| Ok(()))?;
        db.local(b"x\x05").map(drop)
    };
    assert!(sweep(&Operation { name: "read", prepare: World::open, act, check: no_check, again: true }) > 50);
}

#[test]
fn compacting() {
    let act = |world: &World, db: &Db| {
        let options = CompactOptions::new().file_ops(world.watched.ops()).unbuffered(world.unbuffered);
        compact(db, TARGET, &options)
    };
    let check = |world: &World, _: &Db| world.check_file(TARGET, &[&world.before.compacted(false)]);
    assert!(sweep(&Operation { name: "compact", prepare: World::open, act, check, again: true }) > 50);
}

#[test]
fn replaying() {
    // The handle is the target: a copy of the first commit.
    let prepare = |world: &World| {
        let source = world.memory.options().open(NAME).unwrap();
        source.seek(Direction::Backward).unwrap();
        compact(&source, TARGET, &CompactOptions::new().file_ops(world.memory.ops())).unwrap();
        world.options().open(TARGET).unwrap()
    };
    let act = |world: &World, target: &Db| {
        let source = world.memory.options().open(NAME).unwrap();
        let end = source.header_position();
        source.seek(Direction::Backward).unwrap();
        replay(&source, target, end, &mut (), 500)
    };
    let check = |world: &World, target: &Db| world.before.check(target);
    // Batches that were put before the failure stay in the handle, so a second try needs a fresh target.
    assert!(sweep(&Operation { name: "replay into", prepare, act, check, again: false }) > 50);
}

#[test]
fn replaying_from_a_source_that_fails() {
    let prepare = |world: &World| {
        let source = world.open();
        source.seek(Direction::Backward).unwrap();
        let options = CompactOptions::new().file_ops(world.memory.ops());
        compact(&source, TARGET, &options).unwrap();
        source
    };
    let act = |world: &World, source: &Db| {
        let target = world.memory.options().open(TARGET).unwrap();
        let end = world.memory.options().open(NAME).unwrap().header_position();
        replay(source, &target, end, &mut (), 500)
    };
    assert!(
        sweep(&Operation { name: "replay from, with its seek", prepare, act, check: no_check, again: false })
            > 10
    );
}

/// Seeks have another way to go on when a read fails, so their results differ; the handle's state must not.
#[test]
fn seeking() {
    for unbuffered in [false, true] {
        for direction in [Direction::Backward, Direction::End] {
            for (index, times) in (0..12).flat_map(|index| [(index, 1), (index, usize::MAX)]) {
                let world = World::new(unbuffered);
                let db = world.open();
                let newest = db.header_position();
                for kind in [Kind::Read, Kind::Size] {
                    world.watched.set_fault(Some(Fault { kind, index, times, effect: Effect::Fail }));
                    let result = db.seek(direction);
                    world.watched.set_fault(None);
                    match result {
                        Ok(()) => assert_eq!(db.header_position() == newest, direction == Direction::End),
                        Err(Error::DbNoLongerValid(_)) => assert!(db.is_closed()),
                        Err(error) => {
                            assert_eq!((error.code(), db.header_position()), (FAILURE, newest));
                            world.before.check(&db);
                        }
                    }
                    if db.is_closed() || db.seek(Direction::End).is_err() {
                        break;
                    }
                }
            }
        }
    }
}
