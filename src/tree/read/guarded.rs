// SPDX-License-Identifier: Apache-2.0

//! Reading nodes of a file that may be malicious.

use super::super::MAX_DEPTH;
use super::super::cache::Node;
use super::super::cache::file::{Reading, TreeFile};
use super::super::footing::Footing;
use crate::error::Result;
use crate::format::Malformed;
use crate::format::chunk::PREFIX;
use crate::format::node::NodeKind;
use crate::io::buffered::Plan;
use crate::io::file::Hint;
use crate::io::shared::StoredNode;
use crate::memory::Room;

const OUT_OF_ORDER: Malformed = Malformed("a child that lies before its parent");

/// Few trees are deeper than this.
const USUAL_DEPTH: usize = 6;

/// All pointer nodes from the root to a leaf, inflated: they are in memory at the same time.
const LONGEST_WAY: usize = 32 << 20;

/// Guards a traversal of a file that may be malicious: nodes must lie before their parents, depth is limited, the
/// pointer nodes on the way to a leaf are no larger than [`LONGEST_WAY`], and all nodes together cannot be larger than
/// the file, since a traversal comes to each of them once. This holds for nodes that are kept in memory as well. And what
/// has been given up since it began is not read any more ([`Footing`]).
pub(crate) struct Guarded<'a> {
    pub(super) file: &'a TreeFile,
    pub(super) footing: Footing<'a>,
    reading: Reading,
    budget: u64,
    way: Way,
}

/// Lengths of the pointer nodes on the way to where a traversal is, by depth. What is behind the last one counted is old.
#[derive(Default)]
struct Way {
    usual: [usize; USUAL_DEPTH],
    deeper: Vec<usize>,
}

impl Way {
    /// Comes to a node of this depth, and returns the sum down to it.
    #[inline]
    fn count(&mut self, depth: usize, length: usize) -> usize {
        let Some(place) = self.usual.get_mut(depth) else {
            self.deeper.truncate(depth - USUAL_DEPTH);
            self.deeper.push(length);
            return self.usual.iter().chain(&self.deeper).sum();
        };
        *place = length;
        self.usual.iter().take(depth + 1).sum()
    }
}

/// A node that is about to be read.
#[derive(Clone, Copy)]
pub(crate) struct Child {
    pub(crate) position: u64,
    /// Where the node is that points to it; `u64::MAX`: a header does.
    pub(crate) parent: u64,
    pub(crate) depth: usize,
    /// What is known of its size.
    pub(crate) hint: Hint,
}

impl Child {
    /// The root that is at this position.
    pub(crate) fn root(position: u64) -> Child {
        Child { position, parent: u64::MAX, depth: 0, hint: Hint::None }
    }

    /// The one at this position, to which this node points.
    pub(crate) fn below(self, position: u64) -> Child {
        Child { position, parent: self.position, depth: self.depth + 1, hint: Hint::None }
    }
}

impl<'a> Guarded<'a> {
    pub(crate) fn new(file: &'a TreeFile, reading: Reading) -> Guarded<'a> {
        if reading == Reading::Seeking {
            file.begin_descent();
        }
        Guarded { file, footing: Footing::new(file), reading, budget: file.end(), way: Way::default() }
    }

    /// Finds a node, in memory or in the file.
    pub(in super::super) fn read(&mut self, child: Child) -> Result<(NodeKind, Node)> {
        self.read_into(child, Room::default())
    }

    /// As [`Guarded::read`], with memory that is not needed any more.
    pub(super) fn read_into(&mut self, child: Child, memory: Room) -> Result<(NodeKind, Node)> {
        match self.find(child)? {
            Some(found) => Ok(found),
            None => self.read_missing(child, memory),
        }
    }

    /// Finds a node in memory.
    #[inline]
    pub(super) fn find(&mut self, child: Child) -> Result<Option<(NodeKind, Node)>> {
        // Only pointer nodes have hints of whole subtrees.
        let is_leaf = matches!(child.hint, Hint::Size(_));
        let Some(node) = self.file.kept(child.position, self.reading, is_leaf) else { return Ok(None) };
        self.check(child)?;
        let (kind, stored_size) = (node.kind(), node.stored_size());
        let node = Node::Kept(node);
        self.count(child, kind, &node, stored_size)?;
        Ok(Some((kind, node)))
    }

    /// As [`Guarded::read_into`], for a node that is not in memory.
    #[inline]
    pub(super) fn read_missing(&mut self, child: Child, memory: Room) -> Result<(NodeKind, Node)> {
        let (kind, stored) = self.read_file(child, memory)?;
        Ok((kind, self.file.keep(child.position, kind, stored, self.reading)))
    }

    /// Reads leaves or pointer nodes ahead, but those that will be found in memory.
    pub(super) fn read_ahead(&self, plan: Plan, mut nodes: Vec<(u64, u64)>) -> Result<()> {
        let are_leaves = plan != Plan::Pointers;
        nodes.retain(|&(position, _)| self.file.kept(position, self.reading, are_leaves).is_none());
        self.file.read_ahead(plan, &nodes)
    }

    /// Finds a node before it is entered, and what it takes in the file. It is not counted yet.
    pub(super) fn look_ahead(&self, position: u64, parent: u64) -> Result<(Node, u64)> {
        if position >= parent {
            return Err(self.file.malformed(position, OUT_OF_ORDER));
        }
        if let Some(node) = self.file.kept(position, self.reading, false) {
            let stored_size = node.stored_size();
            return Ok((Node::Kept(node), stored_size));
        }
        let stored = self.file.read_node(position, Hint::None, Room::default())?;
        let stored_size = stored.stored_size;
        // Kept now or never: until it is entered the handle may have gone elsewhere.
        let node = match NodeKind::of(&stored.bytes) {
            Ok(kind) => self.file.keep(position, kind, stored, self.reading),
            Err(_) => Node::Read(stored.bytes),
        };
        Ok((node, stored_size))
    }

    /// Goes on with a node that was found before.
    pub(super) fn enter(
        &mut self,
        child: Child,
        (node, stored_size): (Node, u64),
    ) -> Result<(NodeKind, Node)> {
        self.check(child)?;
        let kind = self.judge(child, &node, stored_size)?;
        Ok((kind, node))
    }

    /// Reads a node from the file.
    pub(crate) fn read_stored(&mut self, child: Child) -> Result<(NodeKind, StoredNode)> {
        self.read_file(child, Room::default())
    }

    #[inline]
    fn read_file(&mut self, child: Child, memory: Room) -> Result<(NodeKind, StoredNode)> {
        self.check(child)?;
        let stored = self.file.read_node(child.position, child.hint, memory)?;
        let kind = self.judge(child, &stored.bytes, stored.stored_size)?;
        Ok((kind, stored))
    }

    /// The kind of a node that was read. It is counted.
    #[inline]
    fn judge(&mut self, child: Child, node: &[u8], stored_size: u64) -> Result<NodeKind> {
        let kind = NodeKind::of(node).map_err(|rule| self.file.malformed(child.position, rule))?;
        self.count(child, kind, node, stored_size)?;
        Ok(kind)
    }

    fn broken(&self, child: Child, rule: &'static str) -> Result<()> {
        Err(self.file.malformed(child.position, Malformed(rule)))
    }

    /// Whether it may be read.
    #[inline]
    fn check(&self, child: Child) -> Result<()> {
        self.footing.check(child.position)?;
        if child.position >= child.parent {
            return Err(self.file.malformed(child.position, OUT_OF_ORDER));
        }
        if child.depth > MAX_DEPTH {
            return self.broken(child, "a tree of at most 200 levels");
        }
        if self.budget == 0 {
            return self.broken(child, "nodes that are not larger than the file in sum");
        }
        Ok(())
    }

    /// Counts a node that was found.
    #[inline]
    fn count(&mut self, child: Child, kind: NodeKind, node: &[u8], stored_size: u64) -> Result<()> {
        self.budget = self.budget.saturating_sub(PREFIX as u64 + stored_size);
        if kind == NodeKind::Interior && self.way.count(child.depth, node.len()) > LONGEST_WAY {
            return self.broken(child, "pointer nodes of at most 32 MiB on the way to a leaf");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::Db;
    use std::os::unix::fs::FileExt;

    fn database(folder: &tempfile::TempDir) -> Db {
        let db = Db::create(folder.path().join("a.couch")).unwrap();
        for number in 0..100 {
            db.put(format!("document {number}"), "body").unwrap();
        }
        db.commit().unwrap();
        db
    }

    #[test]
    fn what_may_be_entered_and_what_not() {
        let folder = tempfile::tempdir().unwrap();
        let db = database(&folder);
        let mut guarded = Guarded::new(db.file(), Reading::Verifying);
        let child = |depth, position| Child { position, parent: 1000, depth, hint: Hint::None };
        for (depth, position, may) in [
            (0, 0, true),
            (MAX_DEPTH, 999, true),
            (MAX_DEPTH + 1, 0, false),
            (0, 1000, false),
            (0, 1001, false),
        ] {
            assert_eq!(guarded.check(child(depth, position)).is_ok(), may, "{depth} {position}");
        }
        guarded.budget = 0;
        assert!(guarded.check(child(0, 0)).is_err());
    }

    #[test]
    fn pointer_nodes_on_the_way_have_a_longest_sum() {
        let folder = tempfile::tempdir().unwrap();
        let db = database(&folder);
        let node = vec![0; LONGEST_WAY + 1];
        let way = |lengths: &[(NodeKind, usize)]| {
            let mut guarded = Guarded::new(db.file(), Reading::Verifying);
            lengths.iter().enumerate().try_for_each(|(depth, &(kind, length))| {
                let child = Child { position: 0, parent: 1, depth, hint: Hint::None };
                guarded.count(child, kind, node.get(..length).unwrap(), 0)
            })
        };
        let (interior, leaf) = (NodeKind::Interior, NodeKind::Leaf);
        assert!(way(&[(interior, 5), (interior, LONGEST_WAY - 5)]).is_ok());
        assert!(way(&[(interior, 5), (interior, LONGEST_WAY - 4)]).is_err());
        assert!(way(&[(interior, LONGEST_WAY + 1)]).is_err());
        assert!(way(&[(interior, LONGEST_WAY), (leaf, LONGEST_WAY + 1)]).is_ok());
    }

    /// What is looked at before it is entered, too.
    #[test]
    fn who_verifies_finds_nothing_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let db = database(&folder);
        let root = db.by_id_root().unwrap().position;
        for number in 0..100 {
            db.get(format!("document {number}").as_bytes()).unwrap();
        }
        assert!(db.file().kept(root, Reading::Seeking, false).is_some());
        let file = std::fs::File::options().write(true).open(folder.path().join("a.couch")).unwrap();
        file.write_all_at(&[0xff; 20], root + PREFIX as u64).unwrap();
        db.file().rest();
        let look = |reading| Guarded::new(db.file(), reading).look_ahead(root, u64::MAX);
        assert!(look(Reading::Verifying).is_err());
        for reading in [Reading::Scanning, Reading::Seeking] {
            assert!(look(reading).is_ok());
        }
        // Nor do scans find what is known to be a leaf, if the handle keeps it for itself.
        for (reading, hint, is_found) in [
            (Reading::Verifying, Hint::Subtree(0), false),
            (Reading::Scanning, Hint::Subtree(0), true),
            (Reading::Scanning, Hint::Size(0), false),
            (Reading::Seeking, Hint::Size(0), true),
        ] {
            let read = Guarded::new(db.file(), reading).read(Child { hint, ..Child::root(root) });
            assert_eq!(read.is_ok(), is_found, "{reading:?} {hint:?}");
        }
    }

    #[test]
    fn the_way_to_a_node_is_as_long_as_what_is_above_it() {
        let mut way = Way::default();
        // Down to where depths are unusual, and further.
        let sums: Vec<_> = (0..10).map(|depth| way.count(depth, 1 << depth)).collect();
        assert_eq!(sums, [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023]);
        // Back up, and down another way.
        assert_eq!(way.count(7, 1000), 127 + 1000);
        assert_eq!(way.count(8, 1), 127 + 1001);
        assert_eq!(way.count(2, 100), 3 + 100);
        assert_eq!(way.count(3, 5), 3 + 105);
    }
}
