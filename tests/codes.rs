// SPDX-License-Identifier: Apache-2.0

//! Codes that a caller's file operations return: every code of `error.h`, out of every kind of call, in every
//! operation of the library. What it makes of them depends on the code alone, and on nothing else:
//!
//! | call | code | what the library does |
//! |---|---|---|
//! | read | ALLOC_FAIL, HEADER_VERSION, CANCEL | ends at once |
//! | read | any other | takes it for damage: goes on where damage may be stepped over or there is another way, else ends |
//! | open | NO_SUCH_FILE | there is no such file |
//! | all others | any | ends at once |
//!
//! Whatever ends an operation is returned as it is, and nothing is ever taken to be absent because of a code.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::watched::{Effect, Fault, Kind};
use common::world::{NAME, World, docs};
use couchstore::{
    CompactOptions, Db, Direction, Document, Error, ErrorCode, LocalUpdate, Result, SaveOptions, ScanOptions,
    compact, replay,
};
use std::cell::RefCell;
use std::fmt::Write;

const TARGET: &str = "target.couch";
const KINDS: [Kind; 6] = [Kind::Open, Kind::Read, Kind::Write, Kind::Size, Kind::Sync, Kind::Close];

/// All of `error.h`, and one that is in no header.
fn codes() -> impl Iterator<Item = ErrorCode> {
    (-23..=-1).map(ErrorCode).chain([ErrorCode::INTERNAL, ErrorCode(-4711)])
}

/// The table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Ends,
    Damage,
}

fn rule(kind: Kind, code: ErrorCode) -> Rule {
    let final_codes = [ErrorCode::ALLOC_FAIL, ErrorCode::HEADER_VERSION, ErrorCode::CANCEL];
    if kind == Kind::Read && !final_codes.contains(&code) { Rule::Damage } else { Rule::Ends }
}

/// What an operation does about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// It ends.
    Ends,
    /// It goes on and returns the last one.
    SteppedOver,
    /// There is another way to find a header, or the handle goes back to where it stood.
    OtherWay,
    /// As before, but whatever fails closes the handle.
    OtherWayOrClosed,
}

struct Operation {
    name: &'static str,
    damage: Damage,
    /// Where the handle is put before.
    begin: Option<Direction>,
    /// What it has shown goes into the text.
    act: fn(&World, &Db, &RefCell<String>) -> Result<()>,
}

const TOLERANT: ScanOptions = ScanOptions::new().tolerate_corruption(true);

fn show(out: &RefCell<String>, what: &impl std::fmt::Debug) {
    write!(out.borrow_mut(), "{what:?} ").unwrap();
}

fn compact_options(world: &World, recovery: bool) -> CompactOptions {
    let (file_ops, unbuffered) = (world.watched.ops(), world.unbuffered);
    CompactOptions::new().recovery(recovery).file_ops(file_ops).unbuffered(unbuffered)
}

fn operation(
    name: &'static str,
    damage: Damage,
    act: fn(&World, &Db, &RefCell<String>) -> Result<()>,
) -> Operation {
    Operation { name, damage, begin: None, act }
}

/// From the header before the newest.
fn from_before(
    name: &'static str,
    damage: Damage,
    act: fn(&World, &Db, &RefCell<String>) -> Result<()>,
) -> Operation {
    Operation { begin: Some(Direction::Backward), ..operation(name, damage, act) }
}

fn reading() -> Vec<Operation> {
    use Damage::{Ends, SteppedOver};
    vec![
        operation("get", Ends, |_, db, out| db.get(b"c").map(|body| show(out, &body))),
        operation("get what is not there", Ends, |_, db, out| {
            db.get(b"nothing").map(|body| show(out, &body))
        }),
        operation("local document", Ends, |_, db, out| db.local(b"x\x05").map(|body| show(out, &body))),
        operation("by sequence", Ends, |_, db, out| {
            db.with_doc_info_by_seq(3, |info| {
                show(out, info);
                Ok(())
            })
        }),
        operation("scan", Ends, |_, db, out| {
            db.changes_since(0, ScanOptions::default(), &mut |info| {
                show(out, &db.body(info)?);
                Ok(())
            })
        }),
        operation("tolerant scan", SteppedOver, |_, db, out| {
            db.changes_since(0, TOLERANT, &mut |info| {
                show(out, info);
                Ok(())
            })
        }),
        operation("tolerant scan by id", SteppedOver, |_, db, out| {
            db.all_docs(b"", TOLERANT, &mut |info| {
                show(out, info);
                Ok(())
            })
        }),
        operation("tolerant walk", SteppedOver, |_, db, out| {
            db.walk_by_id(b"", TOLERANT, &mut |depth, item| {
                show(out, &(depth, item));
                Ok(())
            })
        }),
        operation("tolerant look-ups", SteppedOver, |_, db, out| {
            db.docs_by_id(&[b"a", b"f", b"nothing", b"q"], TOLERANT, &mut |info| {
                show(out, info);
                Ok(())
            })
        }),
        operation("count", Ends, |_, db, out| db.changes_count(3, 9).map(|count| show(out, &count))),
        operation("local documents", Ends, |_, db, out| {
            db.scan_local(b"", &mut |id, body| {
                show(out, &(id, body));
                Ok(())
            })
        }),
    ]
}

fn moving() -> Vec<Operation> {
    use Damage::{OtherWay, OtherWayOrClosed};
    vec![
        operation("backward", OtherWay, |_, db, _| db.seek(Direction::Backward)),
        operation("to the end", OtherWay, |_, db, _| db.seek(Direction::End)),
        operation("to an offset", OtherWay, |_, db, _| db.seek_offset(4096)),
        operation("to a sequence", OtherWay, |_, db, _| db.seek_first_header_containing(3, 2)),
        operation("rewind", OtherWayOrClosed, |_, db, _| db.rewind()),
        from_before("forward", OtherWay, |_, db, _| db.seek(Direction::Forward)),
        from_before("fast-forward", OtherWayOrClosed, |_, db, _| db.fast_forward()),
        operation("reopen", OtherWayOrClosed, |world, db, _| db.reopen(&c_name(NAME), &world.options())),
    ]
}

fn c_name(name: &str) -> std::ffi::CString {
    std::ffi::CString::new(name).unwrap()
}

fn writing() -> Vec<Operation> {
    use Damage::{Ends, OtherWay, SteppedOver};
    vec![
        operation("open", Ends, |world, _, _| world.options().open(NAME).and_then(|db| db.close())),
        operation("open with periodic sync", Ends, |world, _, _| {
            world.options().periodic_sync(Some(4096)).open(NAME).and_then(|db| db.close())
        }),
        operation("open, recovering", SteppedOver, |world, _, out| {
            let db = world.options().recovery(true).open(NAME)?;
            show(out, &db.header_position());
            db.close()
        }),
        operation("create", Ends, |world, _, _| {
            world.options().create(true).open(TARGET).and_then(|db| db.close())
        }),
        operation("save", Ends, |_, db, _| {
            let docs = docs(8, 10);
            let documents: Vec<_> = docs.iter().map(common::model::Doc::document).collect();
            db.save(&documents, SaveOptions::default()).map(drop)
        }),
        operation("save much", Ends, |_, db, _| {
            db.save(&[Document::new(b"large", &[7; 300_000])], SaveOptions::default()).map(drop)
        }),
        operation("save a local document", Ends, |_, db, _| {
            db.save_local(&[LocalUpdate { id: b"new", body: Some(&[3; 5000]) }])
        }),
        operation("commit", Ends, |_, db, _| db.commit()),
        operation("close", Ends, |_, db, _| db.close()),
        operation("compact", Ends, |world, db, _| compact(db, TARGET, &compact_options(world, false))),
        operation("compact, recovering", SteppedOver, |world, db, out| {
            let result = compact(db, TARGET, &compact_options(world, true));
            if let Ok(target) = world.memory.options().open(TARGET) {
                target.all_docs(b"", ScanOptions::default(), &mut |info| {
                    show(out, &info.id);
                    Ok(())
                })?;
            }
            result
        }),
        from_before("replay", OtherWay, |world, db, _| {
            let source = world.memory.options().open(NAME)?;
            let end = source.header_position();
            source.seek(Direction::Backward)?;
            let options = CompactOptions::new().file_ops(world.memory.ops());
            compact(&source, TARGET, &options)?;
            let target = world.memory.options().open(TARGET)?;
            replay(db, &target, end, &mut (), 500)
        }),
    ]
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    result: Result<(), ErrorCode>,
    shown: String,
    /// Calls of the kind after the one that failed.
    later: usize,
    closed: bool,
    /// Where the handle stands, and where it stood before.
    position: u64,
    start: u64,
}

/// What came of it, and the calls of each kind that it made.
fn run(world: &World, operation: &Operation, fault: Option<Fault>) -> (Outcome, [usize; KINDS.len()]) {
    world.memory.put(NAME, world.original.clone());
    world.memory.remove(TARGET);
    let db = world.open();
    if let Some(direction) = operation.begin {
        db.seek(direction).unwrap();
    }
    let start = db.header_position();
    world.watched.take_log();
    world.watched.set_fault(fault);
    let shown = RefCell::new(String::new());
    let result = (operation.act)(world, &db, &shown);
    let later = world.watched.calls_after_fault();
    let counts = KINDS.map(|kind| world.watched.count(kind));
    if let (Err(error), Some(Fault { effect: Effect::FailWith(code), .. })) = (&result, fault) {
        let is_absence = matches!(error, Error::DocNotFound | Error::NoHeader { .. });
        assert!(!is_absence, "{}: {code} is not absence", operation.name);
    }
    world.watched.set_fault(None);
    let outcome = Outcome {
        result: result.map_err(|error| error.code()),
        shown: shown.into_inner(),
        later: later.unwrap_or(usize::MAX),
        closed: db.is_closed(),
        position: db.header_position(),
        start,
    };
    (outcome, counts)
}

struct Case<'a> {
    world: &'a World,
    operation: &'a Operation,
    kind: Kind,
    index: usize,
}

impl Case<'_> {
    fn run(&self, code: ErrorCode) -> Outcome {
        let fault = Fault { kind: self.kind, index: self.index, times: 1, effect: Effect::FailWith(code) };
        run(self.world, self.operation, Some(fault)).0
    }

    /// One code after the other.
    fn check(&self) {
        // What damage leads to, whatever its code.
        let damaged = self.run(ErrorCode::READ);
        for code in codes() {
            let outcome = self.run(code);
            let context = || format!("{}: {:?} {} gives {code}", self.operation.name, self.kind, self.index);
            match (rule(self.kind, code), self.operation.damage) {
                (Rule::Ends, damage) | (Rule::Damage, damage @ Damage::Ends) => {
                    assert_ended(&outcome, code, damage, &context());
                }
                (Rule::Damage, damage) => {
                    let expected = with_code(&damaged, code);
                    assert_eq!(outcome, expected, "{}", context());
                    if damage == Damage::SteppedOver && outcome.result.is_err() {
                        assert_eq!(outcome.result, Err(code), "{}", context());
                    }
                }
            }
        }
    }
}

/// The same outcome of a failure with another code.
fn with_code(outcome: &Outcome, code: ErrorCode) -> Outcome {
    let result = match outcome.result {
        Err(ErrorCode::READ) => Err(code),
        other => other,
    };
    Outcome { result, ..outcome.clone() }
}

fn assert_ended(outcome: &Outcome, code: ErrorCode, damage: Damage, context: &str) {
    let lost = damage == Damage::OtherWayOrClosed && outcome.closed;
    let expected = if lost { ErrorCode::DB_NO_LONGER_VALID } else { code };
    assert_eq!(outcome.result, Err(expected), "{context}");
    if !outcome.closed {
        assert_eq!(outcome.position, outcome.start, "{context}: where it stood");
    }
    // A handle that moves reads its own header again.
    if matches!(damage, Damage::Ends | Damage::SteppedOver) {
        assert_eq!(outcome.later, 0, "{context}: no further call");
    }
}

fn sweep(operations: &[Operation]) {
    let mut runs = 0;
    for unbuffered in [false, true] {
        let world = World::new(unbuffered);
        for operation in operations {
            let (good, counts) = run(&world, operation, None);
            assert_eq!(good.result, Ok(()), "{}", operation.name);
            for (kind, count) in KINDS.into_iter().zip(counts) {
                if operation.name == "reopen" && kind == Kind::Close {
                    // What closing the old file says is of no interest.
                    continue;
                }
                for index in 0..count {
                    Case { world: &world, operation, kind, index }.check();
                    runs += codes().count();
                }
            }
        }
    }
    println!("{runs} runs");
    assert!(runs > 1000, "{runs} runs");
}

#[test]
fn codes_of_reading_operations() {
    sweep(&reading());
}

#[test]
fn codes_of_moving_operations() {
    sweep(&moving());
}

#[test]
fn codes_of_writing_operations() {
    sweep(&writing());
}

/// Damage is stepped over by tolerant operations, also if it has such a code, and final codes are not.
#[test]
fn tolerant_scans_go_on_behind_damage_only() {
    let world = World::new(true);
    let db = world.open();
    for (code, goes_on) in [
        (ErrorCode::READ, true),
        (ErrorCode::DOC_NOT_FOUND, true),
        (ErrorCode::NO_HEADER, true),
        (ErrorCode::ALLOC_FAIL, false),
        (ErrorCode::CANCEL, false),
        (ErrorCode::HEADER_VERSION, false),
    ] {
        let mut shown = 0;
        // Behind the root: the first leaf.
        world.watched.set_fault(Some(Fault {
            kind: Kind::Read,
            index: 2,
            times: 1,
            effect: Effect::FailWith(code),
        }));
        let result = db.all_docs(b"", TOLERANT, &mut |_| {
            shown += 1;
            Ok(())
        });
        assert_eq!(result.unwrap_err().code(), code);
        assert_eq!(shown > 0, goes_on, "{code}: {shown}");
    }
}

/// Old releases put a header's type byte in front of data: at position 0 a damaged header is none. It is one, and
/// unreadable, if memory has run out.
#[test]
fn a_damaged_header_at_position_0() {
    for code in codes() {
        let world = World::new(true);
        let db = world.open();
        let effect = Effect::FailWith(code);
        world.watched.set_fault(Some(Fault { kind: Kind::Read, index: 1, times: 1, effect }));
        let expected = if rule(Kind::Read, code) == Rule::Ends { code } else { ErrorCode::NO_HEADER };
        assert_eq!(db.seek_offset(0).unwrap_err().code(), expected);
    }
}

/// A file that cannot be opened because it does not exist is created; one that cannot be read is not.
#[test]
fn only_opening_tells_that_a_file_is_missing() {
    let dir = common::temp_dir();
    for kind in [Kind::Size, Kind::Read] {
        let path = dir.path().join(format!("{kind:?}"));
        Db::create(&path).unwrap().close().unwrap();
        let watched = common::watched::Watched::new(std::sync::Arc::new(couchstore::io::posix::PosixOps));
        let effect = Effect::FailWith(ErrorCode::NO_SUCH_FILE);
        watched.set_fault(Some(Fault { kind, index: 0, times: usize::MAX, effect }));
        let options = couchstore::OpenOptions::new().create(true).bootstrap(true).file_ops(watched.ops());
        assert_eq!(options.open(&path).unwrap_err().code(), ErrorCode::NO_SUCH_FILE);
        assert_eq!(watched.count(Kind::Open), 1, "opened once, and not created");
    }
    assert_eq!(common::files_in(dir.path()), 2);
}
