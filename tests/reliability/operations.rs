// SPDX-License-Identifier: Apache-2.0

//! The public operations, each as something that can be prepared, done, and done again.

mod reading;
mod writing;

use crate::common::model::{Doc, Model};
use crate::history::{History, Transaction};
use crate::oracle::{NAME, keys, new_file, options};
use couchstore::io::sim::SimDisk;
use couchstore::io::sim::random::Random;
use couchstore::{COMPRESSED, CompactOptions, Db, Direction, DocInfoRef, OpenOptions, Result, WalkItem};
use std::ffi::CString;
use std::fmt::Write;

/// Name of the second file: targets of compactions.
pub(crate) const TARGET: &str = "target.couch";
/// How many commits the file has seen.
const COMMITS: u64 = 5;

/// The file that all operations begin with, and what is done to it.
pub(crate) struct World {
    pub(crate) unbuffered: bool,
    pub(crate) encrypted: bool,
    /// The commits that are in the file.
    pub(crate) base: History,
    pub(crate) bytes: Vec<u8>,
    /// The next one, for operations that change something.
    pub(crate) next: Transaction,
}

impl World {
    /// A file of the newest version, an encrypted one, or one of version 11.
    pub(crate) fn new(seed: u64, unbuffered: bool, encrypted: bool, legacy: bool) -> World {
        let disk = SimDisk::new();
        let mut random = Random::new(seed);
        let base = History::random(&mut random, Model::default(), COMMITS, encrypted);
        let db = new_file(&disk, encrypted).legacy_crc(legacy).open(NAME).unwrap();
        for transaction in &base.transactions {
            transaction.save(&db).unwrap();
            transaction.commit(&db).unwrap();
        }
        db.close().unwrap();
        let mut next = Transaction { encrypted, ..Transaction::random(&mut random, COMMITS + 1) };
        next.docs.push(Doc::new(b"doc-3", &[3; 9000]));
        next.locals = vec![(b"_local/1".to_vec(), Some(vec![1; 200])), (b"_local/2".to_vec(), None)];
        World { unbuffered, encrypted, base, bytes: disk.bytes(NAME).unwrap(), next }
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
        CompactOptions::new()
            .file_ops(self.disk.ops())
            .unbuffered(self.world.unbuffered)
            .keys(keys(self.world.encrypted))
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
    /// Whether it may succeed although a call has failed.
    pub(crate) fn is_resourceful(&self) -> bool {
        self.kind == Kind::Seeks || ["reopen", "commit, and try the second sync again"].contains(&self.name)
    }

    /// Whether it moves a handle to another header. Such a call has other ways to go on when a read fails; and if it
    /// cannot even go back, the handle is lost.
    pub(crate) fn moves(&self) -> bool {
        self.kind == Kind::Seeks || ["reopen", "replay", "commit after going back"].contains(&self.name)
    }
}

/// A file and its states before and after.
type Changes = fn(&World) -> (&'static str, Model, Model);

/// An operation.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Opens the handle that it works with.
    pub(crate) prepare: fn(&Scene<'_>) -> Option<Db>,
    /// Does it; the text holds everything that was read.
    pub(crate) act: fn(&Scene<'_>, Option<&Db>) -> Result<String>,
    /// The file that it changes, the state before, and the state once it has succeeded and been committed.
    pub(crate) changes: Option<Changes>,
}

fn none(_: &Scene<'_>) -> Option<Db> {
    None
}

#[allow(clippy::unnecessary_wraps, reason = "the signature of all preparations")]
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
    [
        opening(),
        reading::reading(),
        reading::scanning(),
        reading::seeking(),
        writing::changing(),
        writing::committing(),
        writing::compacting(),
    ]
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
                let options = new_file(&scene.disk, scene.world.encrypted);
                let db = options.unbuffered(scene.world.unbuffered).open(NAME)?;
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
                let options = new_file(&scene.disk, scene.world.encrypted).unbuffered(scene.world.unbuffered);
                let db = options.naming(scene.disk.naming()).bootstrap(true).open(NAME)?;
                let info = format!("{:?}", db.info()?);
                db.close()?;
                Ok(info)
            },
            changes: None,
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
