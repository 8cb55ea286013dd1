// SPDX-License-Identifier: Apache-2.0

//! Which entries of the two indexes disagree. Only for those of which the fingerprints differ: it takes a lookup
//! for each entry.

use super::bodies::Feed;
use super::problem::{Problem, show_id};
use super::shared::Shared;
use couchstore::inspect::{FileHeader, Item, Node, NodeVisitor, Tree, walk_nodes};
use couchstore::{Db, DocInfo, DocInfoRef, ScanOptions};

/// Entries that are looked up at once, by number and by the bytes of their strings.
const BATCH: usize = 10_000;
const BATCH_BYTES: usize = 16 << 20;

/// Damage has been reported already.
const TOLERANT: ScanOptions = ScanOptions::new().tolerate_corruption(true);

/// Whether all of each tree could be read: only then an entry is known not to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Whole {
    pub(super) by_id: bool,
    pub(super) by_seq: bool,
}

/// Compares the trees of the header on which the handle stands. Bodies of documents that only the by-id tree has go
/// to `feed`.
pub(super) fn compare(
    db: &Db,
    header: &FileHeader,
    whole: Whole,
    shared: &Shared<'_>,
    feed: &mut Feed,
) -> couchstore::Result<()> {
    for tree in [Tree::BySeq, Tree::ById] {
        let mut compare = Compare { db, shared, whole, feed, tree, batch: Vec::new(), bytes: 0 };
        walk_nodes(db, tree, header.root(tree), &mut compare)?;
        compare.flush()?;
    }
    Ok(())
}

/// How the other tree's entry compares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Other {
    Missing,
    Differs(String),
    Equal,
}

/// An entry and the offset of its node.
struct Waiting {
    info: DocInfo,
    position: u64,
    other: Other,
    /// How often the other tree has it.
    times: u64,
}

struct Compare<'a> {
    db: &'a Db,
    shared: &'a Shared<'a>,
    whole: Whole,
    feed: &'a mut Feed,
    /// The tree that is walked; entries are looked up in the other one.
    tree: Tree,
    batch: Vec<Waiting>,
    bytes: usize,
}

impl NodeVisitor for Compare<'_> {
    fn node(&mut self, node: &Node<'_>) -> couchstore::Result<()> {
        self.shared.proceed()?;
        for (_, item) in node.items().flatten() {
            if let Item::Document(info) = item {
                self.bytes += info.id.len() + info.rev_meta.len();
                let position = node.info.position;
                let info = info.to_owned();
                self.batch.push(Waiting { info, position, other: Other::Missing, times: 0 });
            }
            if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn damaged(
        &mut self,
        _: &couchstore::inspect::ChildInfo<'_>,
        _: couchstore::Error,
    ) -> couchstore::Result<()> {
        Ok(())
    }
}

impl Compare<'_> {
    fn flush(&mut self) -> couchstore::Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        let looked_up = match self.tree {
            Tree::BySeq => self.look_up_by_id(&mut batch),
            _ => self.look_up_by_seq(&mut batch),
        };
        match looked_up {
            Err(error) if !error.is_damage() => return Err(error),
            _ => {}
        }
        for waiting in &batch {
            self.judge(waiting);
        }
        Ok(())
    }

    fn look_up_by_id(&self, batch: &mut [Waiting]) -> couchstore::Result<()> {
        batch.sort_by(|a, b| a.info.id.cmp(&b.info.id));
        let ids: Vec<_> = batch.iter().map(|waiting| waiting.info.id.clone()).collect();
        let ids: Vec<_> = ids.iter().map(Vec::as_slice).collect();
        self.db.docs_by_id(&ids, TOLERANT, &mut |found| {
            let first = batch.partition_point(|waiting| waiting.info.id.as_slice() < found.id);
            let same = batch[first..].iter_mut().take_while(|waiting| waiting.info.id == found.id);
            same.for_each(|waiting| waiting.meet(found));
            Ok(())
        })
    }

    fn look_up_by_seq(&self, batch: &mut [Waiting]) -> couchstore::Result<()> {
        batch.sort_by_key(|waiting| waiting.info.db_seq);
        let seqs: Vec<_> = batch.iter().map(|waiting| waiting.info.db_seq).collect();
        self.db.docs_by_seq(&seqs, TOLERANT, &mut |found| {
            let first = batch.partition_point(|waiting| waiting.info.db_seq < found.db_seq);
            let same = batch[first..].iter_mut().take_while(|waiting| waiting.info.db_seq == found.db_seq);
            // Documents may share a sequence number.
            same.filter(|waiting| waiting.info.id == found.id).for_each(|waiting| waiting.meet(found));
            Ok(())
        })
    }

    fn judge(&mut self, Waiting { info, position, other, times }: &Waiting) {
        let (other_tree, other_whole) = match self.tree {
            Tree::BySeq => ("by-id", self.whole.by_id),
            _ => ("by-seq", self.whole.by_seq),
        };
        let name = format!("document {}, sequence {}", show_id(&info.id), info.db_seq);
        let reason = match (self.tree, other) {
            // If it is the other way round, the by-id tree has a key twice, which its walk has told.
            (Tree::ById, Other::Equal) if *times > 1 => format!("{name}: {times} times in the by-seq tree"),
            (_, Other::Missing) if other_whole => format!("{name}: not in the {other_tree} tree"),
            (Tree::ById, Other::Missing) if info.body_position != 0 => {
                // The by-sequence tree may have lost it, and then its body has not been looked at yet.
                return self.feed.add(&info.borrowed());
            }
            (Tree::BySeq, Other::Differs(fields)) => {
                format!("{name}: differs from the by-id tree in {fields}")
            }
            _ => return,
        };
        self.shared.problems.add(Problem::of_tree(self.tree, *position, reason));
    }
}

impl Waiting {
    /// Takes note of an entry that the other tree has; of several the best counts.
    fn meet(&mut self, found: &DocInfoRef<'_>) {
        if is_undecoded(found) {
            return;
        }
        self.times += 1;
        let fields = differences(&self.info.borrowed(), found);
        let other = if fields.is_empty() { Other::Equal } else { Other::Differs(fields) };
        if other > self.other {
            self.other = other;
        }
    }
}

/// Whether this is how a tolerant lookup shows an entry of which it knows nothing but the key.
fn is_undecoded(info: &DocInfoRef<'_>) -> bool {
    let DocInfoRef { id, rev_meta, .. } = *info;
    *info == DocInfoRef { id, rev_meta, ..DocInfoRef::default() }
}

/// Names of the fields that differ, with their values.
fn differences(a: &DocInfoRef<'_>, b: &DocInfoRef<'_>) -> String {
    let numbers = [
        ("sequence", a.db_seq, b.db_seq),
        ("rev_seq", a.rev_seq, b.rev_seq),
        ("deleted", u64::from(a.deleted), u64::from(b.deleted)),
        ("content_meta", u64::from(a.content_meta), u64::from(b.content_meta)),
        ("body position", a.body_position, b.body_position),
        ("physical size", a.physical_size, b.physical_size),
    ];
    let mut fields: Vec<_> = numbers
        .iter()
        .filter(|(_, a, b)| a != b)
        .map(|(name, a, b)| format!("{name} ({a}, there {b})"))
        .collect();
    if a.rev_meta != b.rev_meta {
        fields.push("rev_meta".to_owned());
    }
    fields.join(", ")
}
