// SPDX-License-Identifier: Apache-2.0

//! Reading by plan in files made to go wrong: how long it takes, and how much memory.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::alloc::{self, Counting};
use common::forge::{self, Forge, be};
use common::forwarding::{Call, Forwarding};
use common::memory::Memory;
use couchstore::io::IoError;
use couchstore::{Db, Error, ErrorCode, OpenOptions, ScanOptions};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[global_allocator]
static COUNTING: Counting = Counting;

const NAME: &str = "forged.couch";
/// Pointer nodes with two leaves each.
const POINTERS: u64 = 8;

/// A file whose tree by sequence number has [`POINTERS`] pointer nodes: the highest keys of the two leaves of each are 100, 200
/// and so on, and so much more or less. So much of nothing is between all nodes that none are read as one.
struct Tree {
    file: Forge,
    top: Vec<(Vec<u8>, Vec<u8>)>,
    pointers: Vec<Range<u64>>,
}

fn pointer(position: u64, size: u64) -> Vec<u8> {
    [be(position, 6), be(size, 6), be(5, 2), be(1, 5)].concat()
}

impl Tree {
    fn new(second: i64) -> Tree {
        let mut tree = Tree { file: Forge::new(), top: Vec::new(), pointers: Vec::new() };
        for number in 1..=POINTERS {
            let keys = [100 * number, (100 * number).wrapping_add_signed(second)];
            let leaves = keys.map(|seq| (be(seq, 6), pointer(tree.leaf(seq), 60)));
            let start = tree.far_away();
            let node = tree.file.node(0, &leaves.to_vec());
            tree.pointers.push(start..tree.file.position());
            tree.top.push((be(100 * number + 50, 6), pointer(node, 200)));
        }
        tree
    }

    /// A place with nothing near it.
    fn far_away(&mut self) -> u64 {
        self.file.chunk(&vec![0x5a; 20_000]);
        self.file.position()
    }

    fn leaf(&mut self, seq: u64) -> u64 {
        self.far_away();
        let value = forge::by_seq_value(format!("id {seq}").as_bytes(), 0, 0);
        self.file.node(1, &vec![(be(seq, 6), value)])
    }

    fn into_file(mut self) -> Memory {
        self.far_away();
        let root = self.file.node(0, &self.top);
        self.far_away();
        let by_id = self.file.node(1, &vec![(b"id".to_vec(), forge::by_id_value(0, 0))]);
        self.file.header(1000, &forge::by_seq_root(root), &forge::by_id_root(by_id), &[]);
        let memory = Memory::default();
        memory.put(NAME, self.file.bytes);
        memory
    }
}

/// Opens a file where this range cannot be read, and counts reads.
fn open_with_bad(memory: &Memory, bad: Range<u64>) -> (Db, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let counter = reads.clone();
    let ops = Forwarding::on(memory.ops()).before(move |call| match call {
        Call::Read(range) => {
            assert!(counter.fetch_add(1, Ordering::Relaxed) < 1000, "it goes on and on");
            let is_bad = range.start < bad.end && bad.start < range.end;
            if is_bad { Err(IoError::new(ErrorCode::READ, libc::EIO)) } else { Ok(()) }
        }
        _ => Ok(()),
    });
    let db = OpenOptions::new().file_ops(Arc::new(ops)).read_only(true).open(NAME).unwrap();
    reads.store(0, Ordering::Relaxed);
    (db, reads)
}

/// Whoever steps over damage comes back to the leaf for which a plan was made that has failed. Also where leaves are out of order,
/// so that the plan is for none that is wanted.
#[test]
fn a_plan_that_fails_is_not_made_again() {
    for second in [-3, 0, 3] {
        for bad in 0..POINTERS as usize {
            let tree = Tree::new(second);
            let unreadable = tree.pointers.get(bad).unwrap().clone();
            let memory = tree.into_file();
            let (db, reads) = open_with_bad(&memory, unreadable);
            let options = ScanOptions::new().tolerate_corruption(true);
            let seqs: Vec<_> =
                (1..=POINTERS).flat_map(|number| (0..20).map(move |k| 100 * number + k)).collect();
            for scan in 0..2 {
                reads.store(0, Ordering::Relaxed);
                let mut shown = 0;
                let visit = &mut |_: &couchstore::DocInfoRef<'_>| {
                    shown += 1;
                    Ok(())
                };
                let ended = match scan {
                    0 => db.changes_since(0, options, visit),
                    _ => db.docs_by_seq(&seqs, options, visit),
                };
                assert!(matches!(ended, Err(Error::Io { os_error: libc::EIO, .. })), "{ended:?}");
                let (shown, reads) = (shown, reads.load(Ordering::Relaxed));
                assert!(shown >= POINTERS - 1 && reads < 60, "{second} {bad} {scan}: {shown}, {reads} reads");
            }
        }
    }
}

/// Nodes that were looked at for a plan count nowhere yet: no more than one of them may be large.
#[test]
fn pointer_nodes_that_were_looked_at_take_little_memory() {
    const LARGE: usize = 8 << 20;
    let mut tree = Tree::new(3);
    let large: Vec<_> = (0..6).map(|_| tree.file.raw_node(&vec![0; LARGE])).collect();
    for (number, position) in large.into_iter().enumerate() {
        tree.top.push((be(10_000 + number as u64, 6), pointer(position, 200)));
    }
    let memory = tree.into_file();
    let db = memory.options().read_only(true).open(NAME).unwrap();
    let mut shown = 0;
    let (ended, peak) = alloc::peak_of_thread(|| {
        db.changes_since(0, ScanOptions::new().tolerate_corruption(true), &mut |_| {
            shown += 1;
            Ok(())
        })
    });
    assert!(ended.is_err() && shown == 2 * POINTERS, "{ended:?}, {shown}");
    assert!(peak > LARGE && peak < 3 * LARGE, "{peak}");
}
