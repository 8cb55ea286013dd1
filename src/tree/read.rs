//! Reading trees: a cursor that goes forward through the entries, and counting by reduce values.

mod plan;

use super::MAX_DEPTH;
use super::cache::Node;
use super::cache::file::{Reading, TreeFile};
use super::reduce::parse_count;
use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::chunk::PREFIX;
use crate::format::header::NodeRef;
use crate::format::ints::MAX_KEY;
use crate::format::node::{ChildPointer, ENTRY_PREFIX, Entries, Entry, NodeKind, compare_keys, entry_at};
use crate::io::buffered::Plan;
use crate::io::file::Hint;
use crate::io::shared::StoredNode;
use crate::memory;
use plan::{Plans, Wanted};
use std::ops::{Deref, Range};

/// What a cursor came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A child that can be entered; [`Cursor::child`] describes it.
    Node,
    /// An entry of a leaf: [`Cursor::entry`].
    Entry,
    /// The end of the tree.
    End,
}

/// What is known of a child before it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildInfo<'a> {
    /// Its depth: 0 is the root.
    pub(crate) depth: usize,
    /// File offset of its chunk.
    pub(crate) position: u64,
    /// The highest key below it; unknown for the root.
    pub(crate) key: Option<&'a [u8]>,
    /// Disk size of the subtree.
    pub(crate) subtree_size: u64,
    /// Reduce value over it.
    pub(crate) reduce: &'a [u8],
}

const OUT_OF_ORDER: Malformed = Malformed("a child that lies before its parent");

/// All pointer nodes from the root to a leaf, inflated: they are in memory at the same time.
const LONGEST_WAY: usize = 32 << 20;

/// Guards a traversal of a file that may be malicious: nodes must lie before their parents, depth is limited, the
/// pointer nodes on the way to a leaf are no larger than [`LONGEST_WAY`], and all nodes together cannot be larger than
/// the file, since a traversal comes to each of them once. This holds for nodes that are kept in memory as well.
pub(crate) struct Guarded<'a> {
    file: &'a TreeFile,
    reading: Reading,
    budget: u64,
    /// Lengths of the pointer nodes on the way to where the traversal is.
    way: Vec<usize>,
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
        Guarded { file, reading, budget: file.end(), way: Vec::new() }
    }

    /// Finds a node, in memory or in the file.
    pub(super) fn read(&mut self, child: Child) -> Result<(NodeKind, Node)> {
        self.read_into(child, Vec::new())
    }

    /// As [`Guarded::read`], with memory that is not needed any more.
    fn read_into(&mut self, child: Child, memory: Vec<u8>) -> Result<(NodeKind, Node)> {
        // Only pointer nodes have hints of whole subtrees.
        let may_be_kept = match self.reading {
            Reading::Verifying => false,
            Reading::Scanning => !matches!(child.hint, Hint::Size(_)),
            Reading::Seeking => true,
        };
        if may_be_kept && let Some(node) = self.file.kept(child.position) {
            self.check(child)?;
            let (kind, stored_size) = (node.kind(), node.stored_size());
            let node = Node::Kept(node);
            self.count(child, kind, &node, stored_size)?;
            return Ok((kind, node));
        }
        let (kind, stored) = self.read_file(child, memory)?;
        Ok((kind, self.file.keep(child.position, kind, stored, self.reading)))
    }

    /// Reads nodes ahead, but those that will be found in memory.
    fn read_ahead(&self, mut nodes: Vec<(u64, u64)>) -> Result<()> {
        if self.reading == Reading::Seeking {
            nodes.retain(|&(position, _)| self.file.kept(position).is_none());
        }
        self.file.read_ahead(Plan::Nodes, &nodes)
    }

    /// Finds a node before it is entered, and what it takes in the file. It is not counted yet.
    fn look_ahead(&self, position: u64, parent: u64) -> Result<(Node, u64)> {
        if position >= parent {
            return Err(self.file.malformed(position, OUT_OF_ORDER));
        }
        if self.reading != Reading::Verifying
            && let Some(node) = self.file.kept(position)
        {
            let stored_size = node.stored_size();
            return Ok((Node::Kept(node), stored_size));
        }
        let stored = self.file.read_node(position, Hint::None, Vec::new())?;
        let stored_size = stored.stored_size;
        // Kept now or never: until it is entered the handle may have gone elsewhere.
        let node = match NodeKind::of(&stored.bytes) {
            Ok(kind) => self.file.keep(position, kind, stored, self.reading),
            Err(_) => Node::Read(stored.bytes),
        };
        Ok((node, stored_size))
    }

    /// Goes on with a node that was found before.
    fn enter(&mut self, child: Child, (node, stored_size): (Node, u64)) -> Result<(NodeKind, Node)> {
        self.check(child)?;
        let kind = self.judge(child, &node, stored_size)?;
        Ok((kind, node))
    }

    /// Reads a node from the file.
    pub(crate) fn read_stored(&mut self, child: Child) -> Result<(NodeKind, StoredNode)> {
        self.read_file(child, Vec::new())
    }

    fn read_file(&mut self, child: Child, memory: Vec<u8>) -> Result<(NodeKind, StoredNode)> {
        self.check(child)?;
        let stored = self.file.read_node(child.position, child.hint, memory)?;
        let kind = self.judge(child, &stored.bytes, stored.stored_size)?;
        Ok((kind, stored))
    }

    /// The kind of a node that was read. It is counted.
    fn judge(&mut self, child: Child, node: &[u8], stored_size: u64) -> Result<NodeKind> {
        let kind = NodeKind::of(node).map_err(|rule| self.file.malformed(child.position, rule))?;
        self.count(child, kind, node, stored_size)?;
        Ok(kind)
    }

    fn broken(&self, child: Child, rule: &'static str) -> Result<()> {
        Err(self.file.malformed(child.position, Malformed(rule)))
    }

    /// Whether it may be read.
    fn check(&self, child: Child) -> Result<()> {
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
    fn count(&mut self, child: Child, kind: NodeKind, node: &[u8], stored_size: u64) -> Result<()> {
        self.budget = self.budget.saturating_sub(PREFIX as u64 + stored_size);
        if kind == NodeKind::Interior {
            self.way.truncate(child.depth);
            self.way.push(node.len());
            if self.way.iter().sum::<usize>() > LONGEST_WAY {
                return self.broken(child, "pointer nodes of at most 32 MiB on the way to a leaf");
            }
        }
        Ok(())
    }
}

struct Frame {
    node: Node,
    kind: NodeKind,
    position: u64,
    /// Offset of the current entry, of its value, and of the entry behind it.
    current: usize,
    value: usize,
    next: usize,
    /// What is below it was read ahead.
    planned: bool,
}

impl Frame {
    fn new(node: Node, kind: NodeKind, position: u64) -> Frame {
        Frame { node, kind, position, current: 1, value: 1, next: 1, planned: false }
    }

    /// The entry that [`Frame::advance`] has come to.
    fn entry(&self) -> Result<Entry<'_>, Malformed> {
        let key = self.node.get(self.current + ENTRY_PREFIX..self.value);
        match (key, self.node.get(self.value..self.next)) {
            (Some(key), Some(value)) => Ok(Entry { key, value }),
            _ => Err(Malformed("an entry")),
        }
    }

    fn child(&self) -> Result<ChildPointer<'_>, Malformed> {
        ChildPointer::parse(self.entry()?.value)
    }

    /// Goes to the next entry, with a key of at least `from` if that is given.
    fn advance(&mut self, from: Option<&[u8]>) -> Result<bool, Malformed> {
        if let (Node::Kept(node), Some(from)) = (&self.node, from) {
            self.next = node.seek(self.next, from);
        }
        let node: &[u8] = &self.node;
        loop {
            self.current = self.next;
            let Some((entry, next)) = entry_at(node, self.current)? else { return Ok(false) };
            self.next = next;
            if from.is_none_or(|from| compare_keys(entry.key, from).is_ge()) {
                self.value = next - entry.value.len();
                return Ok(true);
            }
        }
    }
}

/// A leaf that a cursor has come to.
pub(crate) struct Leaf<'a> {
    node: &'a [u8],
    /// Offset of the first entry that is to be visited.
    first: usize,
    /// Where it stands in the file.
    pub(crate) position: u64,
}

impl<'a> Leaf<'a> {
    /// The entries that are to be visited; ends after the first malformed one.
    #[inline]
    pub(crate) fn entries(&self) -> Entries<'a> {
        self.entries_from(self.first)
    }

    /// Those from this offset on.
    pub(crate) fn entries_from(&self, offset: usize) -> Entries<'a> {
        Entries::behind(self.node, offset)
    }
}

/// The error for asking a cursor what it is at before it came to anything.
fn nothing_here() -> Error {
    Error::Internal("a cursor that stands at nothing".into())
}

/// Goes through a tree in key order.
///
/// After an error it can go on: what could not be read is stepped over.
pub(crate) struct Cursor<'a> {
    guarded: Guarded<'a>,
    root: Option<NodeRef>,
    /// Whether the child at hand (the root if there are no frames) may be entered.
    at_child: bool,
    frames: Vec<Frame>,
    /// Entries with smaller keys are not visited.
    from: Vec<u8>,
    /// An entry with such a key was visited: all that come behind have larger ones.
    has_begun: bool,
    /// Memory of nodes that were left.
    spare: Vec<Vec<u8>>,
    /// Depth of the leaves, once one was read.
    leaves: Option<usize>,
    plans: Plans<'a>,
}

/// Few trees are deeper than this.
const USUAL_DEPTH: usize = 6;

/// Memory of larger nodes is given back when they are left.
const LARGEST_SPARE: usize = 16 << 10;

impl<'a> Cursor<'a> {
    /// A cursor before the first entry with a key of at least `from`.
    pub(crate) fn new(
        file: &'a TreeFile,
        root: Option<&NodeRef>,
        from: &[u8],
        reading: Reading,
    ) -> Cursor<'a> {
        Cursor {
            guarded: Guarded::new(file, reading),
            root: root.cloned(),
            at_child: false,
            frames: Vec::with_capacity(USUAL_DEPTH),
            from: bound(from).to_vec(),
            has_begun: false,
            spare: Vec::new(),
            leaves: None,
            plans: Plans::default(),
        }
    }

    /// As [`Cursor::new`], to visit all entries, up to the key `until` if that is given.
    pub(crate) fn of_all(
        file: &'a TreeFile,
        root: Option<&NodeRef>,
        from: &[u8],
        until: Option<&[u8]>,
        reading: Reading,
    ) -> Cursor<'a> {
        let mut cursor = Cursor::new(file, root, from, reading);
        cursor.plans.wanted = Wanted::All(until.map(|key| bound(key).to_vec()));
        cursor
    }

    /// As [`Cursor::new`], to look for these keys, which are in ascending order, with [`Cursor::look_for`].
    pub(crate) fn of_keys(file: &'a TreeFile, root: Option<&NodeRef>, keys: &'a [&'a [u8]]) -> Cursor<'a> {
        let mut cursor = Cursor::new(file, root, &[], Reading::Seeking);
        cursor.plans.wanted = Wanted::Keys(keys);
        cursor
    }

    /// Goes on to the key of this index, and entries behind it. Only forward.
    pub(crate) fn look_for(&mut self, index: usize) {
        let Wanted::Keys(keys) = self.plans.wanted else { return };
        self.plans.key = index;
        self.skip_to(keys.get(index).copied().unwrap_or_default());
    }

    /// The next leaf; that at hand is left.
    pub(crate) fn next_leaf(&mut self) -> Result<Option<Leaf<'_>>> {
        if self.frames.last().is_some_and(|frame| frame.kind == NodeKind::Leaf) {
            self.leave();
        }
        if !self.find_entry()? {
            return Ok(None);
        }
        let leaf = self.frames.last();
        Ok(leaf.map(|frame| Leaf { node: &frame.node, first: frame.current, position: frame.position }))
    }

    /// Leaves out entries with smaller keys from here on. Only forward.
    pub(crate) fn skip_to(&mut self, key: &[u8]) {
        self.from.clear();
        self.from.extend_from_slice(bound(key));
        self.has_begun = false;
    }

    /// Goes on to the next child or entry. A child that was not entered is stepped over.
    pub(crate) fn advance(&mut self) -> Result<Event> {
        if self.frames.is_empty() {
            // Only the root is at this level.
            let first = !self.at_child && self.root.is_some();
            self.at_child = first;
            if first {
                return Ok(Event::Node);
            }
            self.root = None;
            return Ok(Event::End);
        }
        while let Some(frame) = self.frames.last_mut() {
            match frame.advance((!self.has_begun).then_some(&self.from)) {
                Ok(true) => {
                    self.at_child = frame.kind == NodeKind::Interior;
                    if self.at_child {
                        return Ok(Event::Node);
                    }
                    self.has_begun = true;
                    return Ok(Event::Entry);
                }
                Ok(false) => {}
                Err(rule) => {
                    let error = self.guarded.file.malformed(frame.position, rule);
                    self.leave();
                    return Err(error);
                }
            }
            self.leave();
        }
        Ok(Event::End)
    }

    fn leave(&mut self) {
        if let Some(Frame { node: Node::Read(node), .. }) = self.frames.pop()
            && node.capacity() <= LARGEST_SPARE
        {
            self.spare.push(node);
        }
        if self.frames.is_empty() {
            self.at_child = true;
        }
    }

    /// Describes the child that the last event was about.
    pub(crate) fn child(&self) -> Result<ChildInfo<'_>> {
        let depth = self.frames.len();
        match self.frames.last() {
            None => {
                let root = self.root.as_ref().ok_or_else(nothing_here)?;
                let NodeRef { position, subtree_size, ref reduce } = *root;
                Ok(ChildInfo { depth, position, key: None, subtree_size, reduce })
            }
            Some(frame) => {
                let rule = |rule| self.guarded.file.malformed(frame.position, rule);
                let key = Some(frame.entry().map_err(rule)?.key);
                let ChildPointer { position, subtree_size, reduce } = frame.child().map_err(rule)?;
                Ok(ChildInfo { depth, position, key, subtree_size, reduce })
            }
        }
    }

    /// Reads the child that the last event was about, so that its entries come next.
    pub(crate) fn enter(&mut self) -> Result<()> {
        let (position, subtree_size, parent) = match self.frames.last() {
            None => self
                .root
                .as_ref()
                .map_or((0, 0, u64::MAX), |root| (root.position, root.subtree_size, u64::MAX)),
            Some(frame) => {
                let rule = |rule| self.guarded.file.malformed(frame.position, rule);
                let child = frame.child().map_err(rule)?;
                (child.position, child.subtree_size, frame.position)
            }
        };
        let depth = self.frames.len();
        if self.plans.are_made() && self.leaves == Some(depth) {
            // Whoever steps over the error comes to this very child, which may be whole.
            self.plan().inspect_err(|_| self.put_back())?;
        }
        let hint =
            if self.leaves == Some(depth) { Hint::Size(subtree_size) } else { Hint::Subtree(subtree_size) };
        let child = Child { position, parent, depth, hint };
        let planned = if self.leaves == Some(depth + 1) { self.plans.take(position) } else { None };
        let is_planned = planned.is_some();
        let (kind, node) = match planned {
            Some(found) => self.guarded.enter(child, found?)?,
            None => self.guarded.read_into(child, self.spare.pop().unwrap_or_default())?,
        };
        if kind == NodeKind::Leaf {
            self.leaves = Some(depth);
        }
        self.frames.push(Frame { planned: is_planned, ..Frame::new(node, kind, position) });
        Ok(())
    }

    /// The entry that the last event was about.
    pub(crate) fn entry(&self) -> Result<Entry<'_>> {
        let Some(frame) = self.frames.last() else { return Err(nothing_here()) };
        frame.entry().map_err(|rule| self.guarded.file.malformed(frame.position, rule))
    }

    /// Offset of the node that holds the current entry.
    pub(crate) fn position(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.position)
    }

    /// Where the current entry stands: the offset of its node, and its own in that.
    pub(crate) fn place(&self) -> (u64, usize) {
        self.frames.last().map_or((0, 0), |frame| (frame.position, frame.current))
    }

    /// Depth of the current entry: that of its node and one.
    pub(crate) fn depth(&self) -> usize {
        self.frames.len()
    }

    /// The next entry and the offset of its node, entering whatever children there are on the way.
    pub(crate) fn next_entry(&mut self) -> Result<Option<(Entry<'_>, u64)>> {
        if self.find_entry()? { Ok(Some((self.entry()?, self.position()))) } else { Ok(None) }
    }

    /// Goes on to the next entry, entering whatever children there are on the way; `false`: there is none.
    pub(crate) fn find_entry(&mut self) -> Result<bool> {
        loop {
            match self.advance()? {
                Event::Node => self.enter()?,
                Event::Entry => return Ok(true),
                Event::End => return Ok(false),
            }
        }
    }

    /// Puts the current entry back: it comes again.
    pub(crate) fn put_back(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.next = frame.current;
        }
    }
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        let left = self.frames.drain(..).map(|frame| frame.node.into_memory());
        for memory in left.chain(self.spare.drain(..)) {
            self.guarded.file.keep_node_memory(memory);
        }
        if self.plans.are_made() {
            self.guarded.file.rest();
            self.guarded.file.trim();
        }
    }
}

/// As much of a key as tells whether others are smaller: none in a tree is longer than [`MAX_KEY`].
fn bound(key: &[u8]) -> &[u8] {
    key.get(..=MAX_KEY).unwrap_or(key)
}

/// A value in the node where it was found, which may be large: it is not copied.
pub(crate) struct Found {
    node: Node,
    range: Range<usize>,
}

impl Deref for Found {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.node.get(self.range.clone()).unwrap_or_default()
    }
}

impl Found {
    /// The value alone. One that makes up most of its node keeps the node's memory.
    pub(crate) fn into_vec(self) -> Result<Vec<u8>> {
        match self.node {
            Node::Read(mut node) if self.range.len() >= node.len() / 2 => {
                node.truncate(self.range.end);
                node.drain(..self.range.start);
                Ok(node)
            }
            node => memory::copy(node.get(self.range).unwrap_or_default()),
        }
    }
}

/// The value stored under `key`.
pub(crate) fn lookup(file: &TreeFile, root: Option<&NodeRef>, key: &[u8]) -> Result<Found> {
    let mut cursor = Cursor::new(file, root, key, Reading::Seeking);
    let length = match cursor.next_entry()? {
        Some((entry, _)) if entry.key == key => entry.value.len(),
        _ => return Err(Error::DocNotFound),
    };
    let Some(Frame { node, next, .. }) = cursor.frames.pop() else { return Err(nothing_here()) };
    // An entry ends with its value.
    Ok(Found { node, range: next - length..next })
}

/// Number of entries of the by-sequence tree with keys from `min` to `max`, both included: subtrees that lie inside
/// are counted by their reduce values.
pub(crate) fn count_range(file: &TreeFile, root: Option<&NodeRef>, min: &[u8], max: &[u8]) -> Result<u64> {
    let Some(root) = root else { return Ok(0) };
    if min > max {
        return Ok(0);
    }
    let mut guarded = Guarded::new(file, Reading::Seeking);
    count_node(&mut guarded, Child::root(root.position), min, max)
}

fn count_node(guarded: &mut Guarded<'_>, child: Child, min: &[u8], max: &[u8]) -> Result<u64> {
    let (kind, node) = guarded.read(child)?;
    let broken = |rule| guarded.file.malformed(child.position, rule);
    let mut count = 0;
    let mut partial = Vec::new();
    let mut lowest: Option<&[u8]> = None;
    for entry in Entries::of(&node) {
        let entry = entry.map_err(broken)?;
        match kind {
            NodeKind::Leaf => count += u64::from(entry.key >= min && entry.key <= max),
            NodeKind::Interior => {
                let begins_before_end = lowest.is_none_or(|lowest| lowest <= max);
                if entry.key >= min && begins_before_end {
                    let pointer = ChildPointer::parse(entry.value).map_err(broken)?;
                    if entry.key <= max && lowest.is_some_and(|lowest| lowest >= min) {
                        count += parse_count(pointer.reduce).map_err(broken)?;
                    } else {
                        memory::push(&mut partial, pointer.position)?;
                    }
                }
                lowest = Some(entry.key);
            }
        }
    }
    for position in partial {
        count += count_node(guarded, child.below(position), min, max)?;
    }
    Ok(count)
}
