//! The public operations, each as something that can be prepared, done, and done again.

use crate::common::model::{Doc, Model};
use crate::history::{History, Transaction};
use crate::oracle::{NAME, options};
use couchstore::io::sim::SimDisk;
use couchstore::io::sim::random::Random;
use couchstore::{
    COMPRESSED, CompactHooks, CompactOptions, Db, Direction, DocInfoRef, Document, OpenOptions, Result,
    SaveOptions, ScanOptions, Verdict, WalkItem, compact, compact_with, replay,
};
use std::ffi::CString;
use std::fmt::Write;

/// Name of the second file: targets of compactions.
pub(crate) const TARGET: &str = "target.couch";
/// How many commits the file has seen.
const COMMITS: u64 = 5;

/// The file that all operations begin with, and what is done to it.
pub(crate) struct World {
    pub(crate) unbuffered: bool,
    /// The commits that are in the file.
    pub(crate) base: History,
    pub(crate) bytes: Vec<u8>,
    /// The next one, for operations that change something.
    pub(crate) next: Transaction,
}

impl World {
    pub(crate) fn new(unbuffered: bool, legacy: bool) -> World {
        let disk = SimDisk::new();
        let mut random = Random::new(7);
        let base = History::random(&mut random, Model::default(), COMMITS);
        let db = options(&disk).legacy_crc(legacy).create(true).open(NAME).unwrap();
        for transaction in &base.transactions {
            transaction.save(&db).unwrap();
            transaction.commit(&db).unwrap();
        }
        db.close().unwrap();
        let mut next = Transaction::random(&mut random, COMMITS + 1);
        next.docs.push(Doc::new(b"doc-3", &[3; 9000]));
        next.locals = vec![(b"_local/1".to_vec(), Some(vec![1; 200])), (b"_local/2".to_vec(), None)];
        World { unbuffered, base, bytes: disk.bytes(NAME).unwrap(), next }
    }

    /// The state before the operation.
    pub(crate) fn before(&self) -> &Model {
        self.base.last()
    }

    fn only_docs(&self) -> Transaction {
        Transaction { locals: vec![], ..self.next.clone() }
    }

    fn only_locals(&self) -> Transaction {
        Transaction { docs: vec![], ..self.next.clone() }
    }

    /// Bodies that do not fit into the write buffer together.
    fn large(&self) -> Transaction {
        let doc = |id: &[u8], length| Doc::new(id, &Random::new(9).noise(length));
        let docs = vec![doc(b"large-1", 90_000), doc(b"large-2", 150_000), doc(b"small", 9)];
        Transaction { docs, ..self.only_docs() }
    }

    fn compressed(&self) -> Transaction {
        let body = b"lorem ipsum dolor sit amet ".repeat(90);
        let doc = |id: &[u8]| Doc { content_meta: COMPRESSED, ..Doc::new(id, &body) };
        Transaction { docs: vec![doc(b"doc-1"), doc(b"text"), Doc::deletion(b"doc-2")], ..self.only_docs() }
    }
}

/// A run of an operation: the world on a disk of its own.
pub(crate) struct Scene<'w> {
    pub(crate) world: &'w World,
    pub(crate) disk: SimDisk,
}

impl<'w> Scene<'w> {
    pub(crate) fn new(world: &'w World) -> Scene<'w> {
        let disk = SimDisk::new();
        disk.put(NAME, world.bytes.clone());
        Scene { world, disk }
    }

    fn options(&self) -> OpenOptions {
        options(&self.disk).unbuffered(self.world.unbuffered)
    }

    fn open(&self) -> Db {
        self.options().open(NAME).unwrap()
    }

    fn compact_options(&self) -> CompactOptions {
        CompactOptions {
            file_ops: self.disk.ops(),
            unbuffered: self.world.unbuffered,
            ..CompactOptions::default()
        }
    }
}

/// What an operation does, which decides what must hold afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Reads, and leaves the handle where it is.
    Reads,
    /// Moves the handle; a read that fails may have another way to go on.
    Seeks,
    /// Changes what the handle sees.
    Changes,
    /// Makes changes durable.
    Commits,
    /// Makes several steps; after a failure the changes that were made have to be discarded.
    Steps,
    /// Creates the file, through the caller's file operations.
    Creates,
    /// Creates the file atomically.
    Bootstraps,
    /// Creates the other file.
    Compacts,
    /// Ends the use of the handle.
    Closes,
}

impl Operation {
    /// Whether it moves a handle to another header. Such a call has other ways to go on when a read fails; and if it
    /// cannot even go back, the handle is lost.
    pub(crate) fn moves(&self) -> bool {
        self.kind == Kind::Seeks || ["reopen", "replay", "commit after going back"].contains(&self.name)
    }
}

/// An operation.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Opens the handle that it works with.
    pub(crate) prepare: fn(&Scene<'_>) -> Option<Db>,
    /// Does it; the text holds everything that was read.
    pub(crate) act: fn(&Scene<'_>, Option<&Db>) -> Result<String>,
    /// The file that it changes, the state before, and the state once it has succeeded and been committed.
    pub(crate) changes: Option<fn(&World) -> (&'static str, Model, Model)>,
}

fn none(_: &Scene<'_>) -> Option<Db> {
    None
}

fn open(scene: &Scene<'_>) -> Option<Db> {
    Some(scene.open())
}

fn reads(name: &'static str, act: fn(&Scene<'_>, Option<&Db>) -> Result<String>) -> Operation {
    Operation { name, kind: Kind::Reads, prepare: open, act, changes: None }
}

fn seeks(name: &'static str, act: fn(&Scene<'_>, Option<&Db>) -> Result<String>) -> Operation {
    Operation { name, kind: Kind::Seeks, prepare: open, act, changes: None }
}

/// The handle that was prepared.
fn db(handle: Option<&Db>) -> &Db {
    handle.expect("a handle")
}

fn show(out: &mut String, info: &DocInfoRef<'_>) {
    let _ = write!(out, "{info:?} ");
}

/// Shows a document with its body.
fn show_all(out: &mut String, db: &Db, info: &DocInfoRef<'_>) -> Result<()> {
    show(out, info);
    if info.body_position != 0 {
        let _ = write!(out, "{:?} ", db.body(info)?);
    }
    Ok(())
}

fn show_item(out: &mut String, depth: usize, item: &WalkItem<'_>) {
    let _ = write!(out, "{depth} {item:?} ");
}

fn position(db: &Db) -> String {
    db.header_position().to_string()
}

/// All operations.
pub(crate) fn all() -> Vec<Operation> {
    [opening(), reading(), scanning(), seeking(), changing(), committing(), compacting()]
        .into_iter()
        .flatten()
        .collect()
}

fn opening() -> Vec<Operation> {
    vec![
        Operation {
            name: "open",
            kind: Kind::Closes,
            prepare: none,
            act: |scene, _| {
                let db = scene.options().open(NAME)?;
                let info = format!("{:?}", db.info()?);
                db.close()?;
                Ok(info)
            },
            changes: None,
        },
        Operation {
            name: "open read-only, with all switches, and close",
            kind: Kind::Closes,
            prepare: none,
            act: |scene, _| {
                let db = scene.options().read_only(true).periodic_sync(Some(1 << 20)).open(NAME)?;
                let info = format!("{:?}", db.info()?);
                db.close()?;
                Ok(info)
            },
            changes: None,
        },
        Operation {
            name: "reopen",
            kind: Kind::Closes,
            prepare: open,
            act: |scene, handle| {
                db(handle).reopen(&CString::new(NAME).unwrap(), &scene.options())?;
                Ok(position(db(handle)))
            },
            changes: None,
        },
        Operation {
            name: "close",
            kind: Kind::Closes,
            prepare: |scene| {
                let db = scene.open();
                scene.world.next.save(&db).unwrap();
                Some(db)
            },
            act: |_, handle| db(handle).close().map(|()| String::new()),
            changes: None,
        },
        Operation {
            name: "create and close",
            kind: Kind::Creates,
            prepare: |scene| {
                scene.disk.delete(NAME);
                None
            },
            act: |scene, _| {
                let db = scene.options().create(true).open(NAME)?;
                db.close()?;
                Ok(String::new())
            },
            changes: None,
        },
        Operation {
            name: "create atomically",
            kind: Kind::Bootstraps,
            prepare: |scene| {
                scene.disk.delete(NAME);
                None
            },
            act: |scene, _| {
                let options = scene.options().naming(scene.disk.naming()).bootstrap(true);
                let db = options.create(true).open(NAME)?;
                let info = format!("{:?}", db.info()?);
                db.close()?;
                Ok(info)
            },
            changes: None,
        },
    ]
}

fn reading() -> Vec<Operation> {
    vec![
        reads("get", |_, handle| {
            let mut out = String::new();
            for number in [1, 4, 9, 16] {
                match db(handle).get(format!("doc-{number}").as_bytes()) {
                    Ok(body) => write!(out, "{body:?}").unwrap(),
                    Err(couchstore::Error::DocNotFound) => out.push_str("none "),
                    Err(error) => return Err(error),
                }
            }
            Ok(out)
        }),
        reads("docinfo by sequence", |scene, handle| {
            let seq = scene.world.before().update_seq;
            let mut out = String::new();
            db(handle).with_doc_info_by_seq(seq, |info| {
                show(&mut out, info);
                Ok(())
            })?;
            Ok(out)
        }),
        reads("local document", |_, handle| {
            let mut out = String::new();
            for number in 0..4 {
                match db(handle).local(format!("_local/{number}").as_bytes()) {
                    Ok(body) => write!(out, "{body:?}").unwrap(),
                    Err(couchstore::Error::DocNotFound) => out.push_str("none "),
                    Err(error) => return Err(error),
                }
            }
            Ok(out)
        }),
        reads("documents by id", |_, handle| {
            let mut out = String::new();
            let ids: [&[u8]; 4] = [b"doc-20", b"doc-3", b"nothing", b"doc-11"];
            db(handle)
                .docs_by_id(&ids, ScanOptions::default(), &mut |info| show_all(&mut out, db(handle), info))?;
            Ok(out)
        }),
        reads("documents by sequence", |_, handle| {
            let mut out = String::new();
            db(handle).docs_by_seq(&[17, 3, 8, 900], ScanOptions::default(), &mut |info| {
                show(&mut out, info);
                Ok(())
            })?;
            Ok(out)
        }),
        reads("count of changes", |_, handle| Ok(format!("{}", db(handle).changes_count(5, 12)?))),
    ]
}

fn scanning() -> Vec<Operation> {
    vec![
        reads("scan by sequence", |_, handle| {
            let mut out = String::new();
            db(handle)
                .changes_since(2, ScanOptions::default(), &mut |info| show_all(&mut out, db(handle), info))?;
            Ok(out)
        }),
        reads("scan by id", |_, handle| {
            let mut out = String::new();
            let options = ScanOptions { no_deletes: true, ..ScanOptions::default() };
            db(handle).all_docs(b"doc-1", options, &mut |info| show_all(&mut out, db(handle), info))?;
            Ok(out)
        }),
        reads("range of ids", |_, handle| {
            let mut out = String::new();
            db(handle).docs_in_range(b"doc-1", Some(b"doc-2"), ScanOptions::default(), &mut |info| {
                show(&mut out, info);
                Ok(())
            })?;
            Ok(out)
        }),
        reads("scan of local documents", |_, handle| {
            let mut out = String::new();
            db(handle).scan_local(b"", &mut |id, body| {
                write!(out, "{id:?} {body:?}").unwrap();
                Ok(())
            })?;
            Ok(out)
        }),
        reads("walk by id", |_, handle| {
            let mut out = String::new();
            db(handle).walk_by_id(b"", ScanOptions::default(), &mut |depth, item| {
                show_item(&mut out, depth, item);
                Ok(())
            })?;
            Ok(out)
        }),
        reads("walk by sequence, and of local documents", |_, handle| {
            let mut out = String::new();
            let mut add = |depth: usize, item: &WalkItem<'_>| {
                show_item(&mut out, depth, item);
                Ok(())
            };
            db(handle).walk_by_seq(0, ScanOptions::default(), &mut add)?;
            db(handle).walk_local(b"", ScanOptions::default(), &mut add)?;
            Ok(out)
        }),
    ]
}

fn seeking() -> Vec<Operation> {
    vec![
        seeks("seek backward", |_, handle| {
            db(handle).seek(Direction::Backward)?;
            Ok(position(db(handle)))
        }),
        seeks("seek to the end", |_, handle| {
            db(handle).seek(Direction::End)?;
            Ok(position(db(handle)))
        }),
        Operation {
            prepare: |scene| {
                let db = scene.open();
                db.seek(Direction::Backward).unwrap();
                db.seek(Direction::Backward).unwrap();
                Some(db)
            },
            ..seeks("seek forward", |_, handle| {
                db(handle).seek(Direction::Forward)?;
                Ok(position(db(handle)))
            })
        },
        seeks("seek to an offset", |scene, handle| {
            db(handle).seek_offset(previous_header(scene.world))?;
            Ok(position(db(handle)))
        }),
        seeks("rewind, step forward", |_, handle| {
            db(handle).rewind()?;
            db(handle).rewind()?;
            db(handle).fast_forward()?;
            Ok(position(db(handle)))
        }),
        seeks("seek to a sequence", |_, handle| {
            db(handle).seek_first_header_containing(9, 3)?;
            Ok(position(db(handle)))
        }),
    ]
}

macro_rules! transaction {
    ($name:literal, $which:ident) => {
        Operation {
            name: $name,
            kind: Kind::Changes,
            prepare: open,
            act: |scene, handle| scene.world.$which().save(db(handle)).map(|()| String::new()),
            changes: Some(|world| (NAME, world.before().clone(), world.$which().applied_to(world.before()))),
        }
    };
}

fn changing() -> Vec<Operation> {
    vec![
        transaction!("save", only_docs),
        transaction!("save compressed", compressed),
        transaction!("save large bodies", large),
        transaction!("save local documents", only_locals),
        Operation {
            name: "save, and be told",
            kind: Kind::Changes,
            prepare: open,
            act: |scene, handle| {
                let docs = scene.world.only_docs().docs;
                let documents: Vec<Document<'_>> = docs.iter().map(Doc::document).collect();
                let mut told = String::new();
                let options = SaveOptions { compress: true, ..SaveOptions::default() };
                db(handle).save_and_tell(&documents, options, &mut |_, new, index| {
                    write!(told, "{index} {:?} ", new.id).unwrap();
                    Ok(())
                })?;
                db(handle).set_purge_seq(scene.world.next.number);
                Ok(told)
            },
            changes: Some(|world| {
                (NAME, world.before().clone(), world.only_docs().applied_to(world.before()))
            }),
        },
    ]
}

fn whole_transaction(world: &World) -> (&'static str, Model, Model) {
    (NAME, world.before().clone(), world.next.applied_to(world.before()))
}

fn committing() -> Vec<Operation> {
    vec![
        Operation {
            name: "commit",
            kind: Kind::Commits,
            prepare: |scene| {
                let db = scene.open();
                scene.world.next.save(&db).unwrap();
                Some(db)
            },
            act: |scene, handle| scene.world.next.commit(db(handle)).map(|()| String::new()),
            changes: Some(whole_transaction),
        },
        Operation {
            name: "save and commit",
            kind: Kind::Steps,
            prepare: open,
            act: |scene, handle| {
                scene.world.next.save(db(handle))?;
                scene.world.next.commit(db(handle)).map(|()| String::new())
            },
            changes: Some(whole_transaction),
        },
        Operation {
            name: "save and commit with periodic syncs",
            kind: Kind::Steps,
            prepare: |scene| Some(scene.options().periodic_sync(Some(1000)).open(NAME).unwrap()),
            act: |scene, handle| {
                scene.world.next.save(db(handle))?;
                scene.world.next.commit(db(handle)).map(|()| String::new())
            },
            changes: Some(whole_transaction),
        },
        Operation {
            name: "commit after going back",
            kind: Kind::Steps,
            prepare: open,
            act: |scene, handle| {
                db(handle).seek(Direction::End)?;
                db(handle).seek_offset(db(handle).header_position() as i64)?;
                scene.world.next.save(db(handle))?;
                scene.world.next.commit(db(handle)).map(|()| String::new())
            },
            changes: Some(whole_transaction),
        },
    ]
}

/// Drops every third document, and asks for the bodies of others.
struct Filter;

impl CompactHooks for Filter {
    fn filters(&self) -> bool {
        true
    }

    fn filter(&mut self, _: &Db, info: &DocInfoRef<'_>, body: Option<&[u8]>) -> Result<Verdict> {
        Ok(match info.db_seq % 3 {
            0 => Verdict::Drop,
            1 if body.is_none() => Verdict::NeedBody,
            _ => Verdict::Keep,
        })
    }
}

/// The target of a compaction, as text.
fn describe_target(scene: &Scene<'_>) -> Result<String> {
    let disk = scene.disk.after_power_cut(true);
    let db = options(&disk).open(TARGET)?;
    let mut out = format!("{:?} ", db.info()?);
    db.changes_since(0, ScanOptions::default(), &mut |info| show_all(&mut out, &db, info))?;
    db.all_docs(b"", ScanOptions::default(), &mut |info| {
        show(&mut out, info);
        Ok(())
    })?;
    Ok(out)
}

/// The newest state but one in the target, which is opened.
fn old_target(scene: &Scene<'_>) -> Option<Db> {
    let source = scene.open();
    source.seek(Direction::Backward).unwrap();
    compact(&source, TARGET, &scene.compact_options()).unwrap();
    scene.disk.put(TARGET, scene.disk.bytes(TARGET).unwrap());
    Some(scene.options().open(TARGET).unwrap())
}

fn compacting() -> Vec<Operation> {
    vec![
        Operation {
            name: "compact",
            kind: Kind::Compacts,
            prepare: open,
            act: |scene, handle| {
                compact(db(handle), TARGET, &scene.compact_options())?;
                describe_target(scene)
            },
            changes: None,
        },
        Operation {
            name: "compact with filter and periodic syncs",
            kind: Kind::Compacts,
            prepare: open,
            act: |scene, handle| {
                let options = CompactOptions {
                    drop_deletes: true,
                    periodic_sync: Some(3000),
                    ..scene.compact_options()
                };
                compact_with(db(handle), TARGET, &options, &mut Filter)?;
                describe_target(scene)
            },
            changes: None,
        },
        Operation {
            name: "replay",
            kind: Kind::Steps,
            prepare: old_target,
            act: |scene, handle| {
                let source = scene.options().open(NAME)?;
                let end = source.header_position();
                source.seek_offset(previous_header(scene.world))?;
                replay(&source, db(handle), end, &mut (), 500)?;
                source.close()?;
                Ok(String::new())
            },
            changes: Some(|world| {
                let states = &world.base.states;
                (TARGET, states[states.len() - 2].clone(), world.before().clone())
            }),
        },
    ]
}

/// Offset of the header before the newest.
fn previous_header(world: &World) -> i64 {
    let disk = SimDisk::new();
    disk.put(NAME, world.bytes.clone());
    let db = options(&disk).open(NAME).unwrap();
    db.seek(Direction::Backward).unwrap();
    db.header_position() as i64
}
