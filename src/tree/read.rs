// SPDX-License-Identifier: Apache-2.0

//! Reading trees: a cursor that goes forward through the entries.
//!
//! * [`guarded`]: how nodes are read, whatever for
//! * [`find`]: single keys, and counting by reduce values
//! * [`plan`]: leaves that are read before the cursor comes to them; [`load`]: how many at once

mod find;
mod guarded;
mod load;
mod plan;

use super::cache::Node;
use super::cache::file::{Reading, TreeFile};
use super::footing::Footing;
use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::header::NodeRef;
use crate::format::ints::MAX_KEY;
use crate::format::node::{ChildPointer, ENTRY_PREFIX, Entries, Entry, NodeKind, compare_keys, entry_at};
use crate::io::file::Hint;
use crate::memory::Room;
pub(crate) use find::{Found, Root, count_range, lookup};
pub(crate) use guarded::{Child, Guarded};
use plan::{Plans, Wanted};

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

struct Frame {
    node: Node,
    kind: NodeKind,
    position: u64,
    /// Offset of the current entry, of its value, and of the entry behind it.
    current: usize,
    value: usize,
    next: usize,
}

impl Frame {
    fn new(node: Node, kind: NodeKind, position: u64) -> Frame {
        Frame { node, kind, position, current: 1, value: 1, next: 1 }
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
        if let Some(from) = from {
            self.next = self.node.seek(self.next, from)?;
        }
        self.current = self.next;
        let Some((entry, next)) = entry_at(&self.node, self.current)? else { return Ok(false) };
        self.next = next;
        self.value = next - entry.value.len();
        Ok(true)
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
    spare: Vec<Room>,
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

    /// What it stands on.
    pub(crate) fn footing(&self) -> Footing<'a> {
        self.guarded.footing
    }

    /// Goes on to the key of this index, and entries behind it. Only forward.
    pub(crate) fn look_for(&mut self, index: usize) {
        let Wanted::Keys(keys) = self.plans.wanted else { return };
        self.plans.key = index;
        let key = keys.get(index).copied().unwrap_or_default();
        self.skip_to(key);
        while self.has_no_keys_from(key) {
            self.leave();
        }
    }

    /// Whether the node at hand, as the pointer to it says, has smaller keys only.
    fn has_no_keys_from(&self, key: &[u8]) -> bool {
        let [.., above, _] = self.frames.as_slice() else { return false };
        above.entry().is_ok_and(|entry| compare_keys(entry.key, key).is_lt())
    }

    /// The next leaf; that at hand is left. `with_bodies`: those of its documents are going to be read, too.
    pub(crate) fn next_leaf(&mut self, with_bodies: bool) -> Result<Option<Leaf<'_>>> {
        self.plans.with_bodies = with_bodies;
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
            && node.size() <= LARGEST_SPARE
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
        let hint =
            if self.leaves == Some(depth) { Hint::Size(subtree_size) } else { Hint::Subtree(subtree_size) };
        let (kind, node) = self.bring(Child { position, parent, depth, hint })?;
        if kind == NodeKind::Leaf {
            self.leaves = Some(depth);
        }
        self.frames.push(Frame::new(node, kind, position));
        Ok(())
    }

    /// Finds a child, in memory or in the file. Of the leaves those that come behind it are read with it.
    fn bring(&mut self, child: Child) -> Result<(NodeKind, Node)> {
        if self.leaves == Some(child.depth + 1)
            && let Some(found) = self.plans.take(child.position)
        {
            return self.guarded.enter(child, found?);
        }
        if let Some(found) = self.guarded.find(child)? {
            return Ok(found);
        }
        if self.plans.are_made()
            && let Hint::Size(size) = child.hint
        {
            // Whoever steps over the error comes to this very child, which may be whole.
            self.plan(child.position, size).inspect_err(|_| self.put_back())?;
        }
        self.guarded.read_missing(child, self.spare.pop().unwrap_or_default())
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
