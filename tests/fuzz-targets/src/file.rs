// SPDX-License-Identifier: Apache-2.0

//! A whole file, and all that can be done with one: open, scan, walk, go through its headers, compact, recover.

use crate::common::memory::Memory;
use crate::common::store::{Query, Store, Tree};
use crate::common::temp_dir;
use clap::Parser as _;
use couchstore::inspect::{Headers, Node, NodeVisitor, Tree as Kind, walk_nodes};
use couchstore::{CompactOptions, Db, Direction, OpenOptions, Result, ScanOptions, compact};
use couchstore_tools::dbck;
use couchstore_tools::interrupt::Interrupt;
use couchstore_tools::output::Output;

const NAME: &str = "file.couch";
const TARGET: &str = "target.couch";
/// Larger files take too long for one run.
const LARGEST: usize = 1 << 20;
/// Memory for sorting: so little that some of it happens on disk.
const BUDGET: usize = 1 << 14;

/// A file of these bytes.
pub fn whole_file(data: &[u8]) {
    if data.len() > LARGEST {
        return;
    }
    let memory = Memory::default();
    memory.put(NAME, data.to_vec());
    for options in [memory.options(), memory.options().recovery(true), memory.options().unbuffered(true)] {
        if let Ok(db) = options.clone().read_only(true).open(NAME) {
            read_all(&db);
            go_through_headers(&db, &options);
        }
    }
    copy(&memory);
    recover(data);
}

/// Asks for everything that the handle shows.
fn read_all(db: &Db) {
    for tolerate_corruption in [false, true] {
        let options = ScanOptions::new().tolerate_corruption(tolerate_corruption);
        let _ = db.documents(&Query::AllDocs(vec![]), options);
        for info in db.documents(&Query::ChangesSince(0), options).unwrap_or_default() {
            let _ = (db.body_of(&info, false), db.body_of(&info, true));
            let _ = (db.by_id(&info.id), db.by_seq(info.db_seq));
        }
        let _ = db.documents(&Query::SeqRange(3, Some(9)), options);
    }
    for (id, _) in db.locals_from(b"").unwrap_or_default() {
        let _ = db.local_doc(&id);
    }
    for tree in Tree::ALL {
        let _ = db.walk(tree);
    }
    let _ = (db.figures(), db.count(0, u64::MAX), db.count(2, 7));
}

/// Looks at all nodes, whatever is in them.
struct Everything;

impl NodeVisitor for Everything {
    fn node(&mut self, node: &Node<'_>) -> Result<()> {
        let _ = (node.items().count(), node.reduce());
        Ok(())
    }

    fn damaged(&mut self, _: &couchstore::inspect::ChildInfo<'_>, _: couchstore::Error) -> Result<()> {
        Ok(())
    }
}

fn go_through_headers(db: &Db, options: &OpenOptions) {
    for found in Headers::backward(db).take(50) {
        let Ok(header) = found.header else { continue };
        for tree in [Kind::ById, Kind::BySeq, Kind::Local] {
            let _ = walk_nodes(db, tree, header.root(tree), &mut Everything);
        }
    }
    let Ok(moving) = options.clone().read_only(true).open(NAME) else { return };
    for _ in 0..20 {
        if moving.seek(Direction::Backward).is_err() {
            break;
        }
        let _ = moving.figures();
    }
    let _ = (moving.seek(Direction::Forward), moving.seek_first_header_containing(2, 3));
    let _ = (moving.seek_offset(0), moving.seek(Direction::End));
}

/// Compacts it. What a copy holds can be read, whatever the source was.
fn copy(memory: &Memory) {
    for (recovery, drop_deletes) in [(false, false), (true, true)] {
        let file_ops = memory.ops();
        let options = CompactOptions::new()
            .recovery(recovery)
            .drop_deletes(drop_deletes)
            .memory_budget(BUDGET)
            .file_ops(file_ops);
        let Ok(db) = memory.options().recovery(recovery).open(NAME) else { continue };
        let copied = compact(&db, TARGET, &options);
        match memory.options().read_only(true).open(TARGET) {
            Ok(target) => {
                let all = target
                    .documents(&Query::ChangesSince(0), ScanOptions::default())
                    .expect("a copy's documents");
                assert_eq!(target.count(0, u64::MAX), Ok(all.len() as u64), "a copy's count");
                target.documents(&Query::AllDocs(vec![]), ScanOptions::default()).expect("a copy's ids");
                target.locals_from(b"").expect("a copy's local documents");
            }
            Err(error) => assert!(copied.is_err(), "a copy that cannot be opened: {error}"),
        }
        memory.remove(TARGET);
    }
}

/// `couch_dbck`.
fn recover(data: &[u8]) {
    let folder = temp_dir();
    let (source, target) = (folder.path().join(NAME), folder.path().join(TARGET));
    std::fs::write(&source, data).unwrap();
    let arguments = [
        "couch_dbck".as_ref(),
        "--stale".as_ref(),
        "--json".as_ref(),
        source.as_os_str(),
        target.as_os_str(),
    ];
    let args = dbck::Args::try_parse_from(arguments).expect("arguments");
    if args.run_into(Output::nowhere(), Interrupt::never()).is_ok() {
        let db = Db::open(&target).expect("what was recovered");
        db.documents(&Query::ChangesSince(0), ScanOptions::default()).expect("documents that were recovered");
        db.documents(&Query::AllDocs(vec![]), ScanOptions::default()).expect("ids that were recovered");
    }
}
