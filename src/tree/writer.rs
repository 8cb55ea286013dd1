//! Gathers entries and writes them as nodes of the right size.

use super::cache::file::TreeFile;
use super::reduce::Sums;
use super::{NodeSizes, TreeKind};
use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::header::NodeRef;
use crate::format::ints::{MAX_KEY, MAX_U48, MAX_VALUE, put_u12_u28};
use crate::format::node::{ChildPointer, ENTRY_PREFIX, NodeKind, POINTER_FIXED, entry_at, put_pointer};
use crate::memory;
use std::ops::Range;

/// Memory of a node that was larger than this is given back before the next one is read.
const LARGE: usize = 64 << 10;

/// Sizes of subtrees are stored in 48 bits; this leaves room for the node above. Only pointers that lie say more.
const LARGEST_SUBTREE: u64 = MAX_U48 - (1 << 32);

/// Memory that a writer begins with: most nodes need no more.
const FIRST: usize = 4 << 10;
const FIRST_ENTRIES: usize = 64;

/// Where an entry ends, and what it adds to the sums of its node.
#[derive(Clone, Copy)]
struct Mark {
    end: usize,
    sums: Sums,
}

/// Pointers to written nodes, as entries of the node above: encoded one behind the other.
#[derive(Default)]
pub(super) struct Pointers {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

impl Pointers {
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.marks.clear();
    }

    /// Adds the pointer to the node at `position`, which with all below it takes `size` bytes of the disk.
    fn push(
        &mut self,
        tree: TreeKind,
        key: &[u8],
        position: u64,
        (size, mut sums): (u64, Sums),
    ) -> Result<()> {
        let value_length = POINTER_FIXED + tree.reduce_length();
        memory::reserve(&mut self.bytes, ENTRY_PREFIX + key.len() + value_length)?;
        put_u12_u28(&mut self.bytes, key.len(), value_length);
        self.bytes.extend_from_slice(key);
        put_pointer(&mut self.bytes, position, size, tree.reduce_length());
        tree.put_reduce(&sums, &mut self.bytes);
        sums.below = size;
        memory::push(&mut self.marks, Mark { end: self.bytes.len(), sums })
    }

    fn pop(&mut self) -> bool {
        let popped = self.marks.pop().is_some();
        self.bytes.truncate(self.marks.last().map_or(0, |mark| mark.end));
        popped
    }

    /// Adds those of `other`, and takes them from there.
    pub(super) fn append(&mut self, other: &mut Pointers) -> Result<()> {
        if self.marks.is_empty() {
            std::mem::swap(self, other);
            return Ok(());
        }
        let start = self.bytes.len();
        memory::reserve(&mut self.bytes, other.bytes.len())?;
        memory::reserve(&mut self.marks, other.marks.len())?;
        self.bytes.extend_from_slice(&other.bytes);
        self.marks.extend(other.marks.iter().map(|mark| Mark { end: start + mark.end, ..*mark }));
        other.clear();
        Ok(())
    }

    /// The only pointer, as what can be a root; `None` if there are more or none.
    pub(super) fn only(&self) -> Option<NodeRef> {
        let (Ok(Some((entry, _))), 1) = (entry_at(&self.bytes, 0), self.len()) else { return None };
        let ChildPointer { position, subtree_size, reduce } = ChildPointer::parse(entry.value).ok()?;
        Some(NodeRef { position, subtree_size, reduce: reduce.into() })
    }
}

/// What an entry adds to the sums of its node. One that breaks a rule was carried over from a damaged file: that matters
/// if it is to be written, and is noted in `broken`.
#[inline]
fn weigh(tree: TreeKind, kind: NodeKind, value: &[u8], broken: &mut Option<Malformed>) -> Sums {
    tree.weigh(kind, value).unwrap_or_else(|rule| {
        broken.get_or_insert(rule);
        Sums::default()
    })
}

/// Neighbouring entries of a node that stay as they are: they are copied in one piece.
pub(super) struct Run<'a> {
    node: &'a [u8],
    range: Range<usize>,
}

impl<'a> Run<'a> {
    pub(super) fn of(node: &'a [u8]) -> Run<'a> {
        Run { node, range: 1..1 }
    }

    /// Leaves out what is in the node up to byte `offset`. What was in the run has been put.
    pub(super) fn skip_to(&mut self, offset: usize) {
        self.range = offset..offset;
    }
}

/// Pending entries of one level of a tree.
pub(super) struct NodeWriter<'a> {
    file: &'a TreeFile,
    tree: TreeKind,
    kind: NodeKind,
    threshold: usize,
    /// The node as it would be written now: kind, then entries.
    node: Vec<u8>,
    /// One for each entry. Those of a run stand here before its bytes are in `node`.
    marks: Vec<Mark>,
    /// A rule that an entry breaks: nothing more can be written.
    broken: Option<Malformed>,
    written: Pointers,
    /// Of the last node that was written as it filled up: all but the last entry, and their marks.
    before_last: (Vec<u8>, Vec<Mark>),
}

impl<'a> NodeWriter<'a> {
    pub(super) fn new(file: &'a TreeFile, tree: TreeKind, kind: NodeKind, sizes: NodeSizes) -> Self {
        let mut node = Vec::with_capacity(FIRST);
        node.push(kind as u8);
        NodeWriter {
            file,
            tree,
            kind,
            threshold: match kind {
                NodeKind::Interior => sizes.interior,
                NodeKind::Leaf => sizes.leaf,
            },
            node,
            marks: Vec::with_capacity(FIRST_ENTRIES),
            broken: None,
            written: Pointers::default(),
            before_last: (Vec::new(), Vec::new()),
        }
    }

    /// Makes it as good as new, for another node of this kind. False if it has more memory than is worth keeping.
    pub(super) fn renew(&mut self) -> bool {
        self.node.truncate(1);
        self.marks.clear();
        self.broken = None;
        self.written.clear();
        self.node.capacity() <= LARGE && self.written.bytes.capacity() <= LARGE
    }

    /// Adds an entry; keys come in ascending order.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.push_with(key, value.len(), |node| node.extend_from_slice(value))
    }

    /// Adds an entry whose value, of this length, is appended by `put`.
    #[inline]
    pub(super) fn push_with(
        &mut self,
        key: &[u8],
        value_length: usize,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        if key.len() > MAX_KEY || value_length > MAX_VALUE {
            return Err(Error::InvalidArguments(
                "expected a key of at most 4095 bytes and a value below 2^28 bytes",
            ));
        }
        memory::reserve(&mut self.node, ENTRY_PREFIX + key.len() + value_length)?;
        put_u12_u28(&mut self.node, key.len(), value_length);
        self.node.extend_from_slice(key);
        let start = self.node.len();
        put(&mut self.node);
        let value = self.node.get(start..).unwrap_or_default();
        let sums = weigh(self.tree, self.kind, value, &mut self.broken);
        memory::push(&mut self.marks, Mark { end: self.node.len(), sums })
    }

    /// Adds the next entry of a run, which ends at byte `end` of its node. Its bytes come with the others':
    /// [`NodeWriter::put_run`].
    #[inline]
    pub(super) fn keep(&mut self, run: &mut Run<'_>, end: usize, value: &[u8]) -> Result<()> {
        let length = end.saturating_sub(run.range.end);
        run.range.end = end;
        self.mark(self.end() + length, value)
    }

    /// Brings the bytes of a run; it goes on behind them.
    pub(super) fn put_run(&mut self, run: &mut Run<'_>) -> Result<()> {
        let bytes = run.node.get(run.range.clone()).unwrap_or_default();
        run.range.start = run.range.end;
        memory::reserve(&mut self.node, bytes.len())?;
        self.node.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn mark(&mut self, end: usize, value: &[u8]) -> Result<()> {
        let sums = weigh(self.tree, self.kind, value, &mut self.broken);
        memory::push(&mut self.marks, Mark { end, sums })
    }

    /// Adds the pointers to these nodes.
    pub(super) fn push_pointers(&mut self, pointers: &Pointers) -> Result<()> {
        let start = self.node.len();
        memory::reserve(&mut self.node, pointers.bytes.len())?;
        memory::reserve(&mut self.marks, pointers.marks.len())?;
        self.node.extend_from_slice(&pointers.bytes);
        self.marks.extend(pointers.marks.iter().map(|mark| Mark { end: start + mark.end, ..*mark }));
        Ok(())
    }

    /// Adds the pointers to these nodes one by one, and writes whenever enough of them have come together:
    /// [`NodeWriter::is_filled`].
    pub(super) fn fill_with(&mut self, pointers: &Pointers) -> Result<()> {
        let mut start = 0;
        for mark in &pointers.marks {
            let entry = pointers.bytes.get(start..mark.end).unwrap_or_default();
            memory::reserve(&mut self.node, entry.len())?;
            self.node.extend_from_slice(entry);
            memory::push(&mut self.marks, Mark { end: self.node.len(), ..*mark })?;
            start = mark.end;
            if self.is_filled() {
                self.write_filled()?;
            }
        }
        Ok(())
    }

    /// The key that was added last: it is pending, or stands in the pointer to the last of the written nodes.
    #[inline]
    pub(super) fn last_key(&self) -> Option<&[u8]> {
        let (bytes, marks, first) = match self.marks.len() {
            0 => (&self.written.bytes, &self.written.marks, 0),
            _ => (&self.node, &self.marks, 1),
        };
        let before = marks.len().checked_sub(2).and_then(|before| marks.get(before));
        let start = before.map_or(first, |mark| mark.end);
        entry_at(bytes, start).ok().flatten().map(|(entry, _)| entry.key)
    }

    /// Number of entries that are not written yet.
    pub(super) fn pending(&self) -> usize {
        self.marks.len()
    }

    /// Where the pending entries end.
    #[inline]
    fn end(&self) -> usize {
        self.marks.last().map_or(1, |mark| mark.end)
    }

    fn two_thirds(&self) -> usize {
        self.threshold * 2 / 3
    }

    /// Fewest entries of a node: a pointer node with one child only would add a level for nothing.
    fn fewest(&self) -> usize {
        match self.kind {
            NodeKind::Interior => 2,
            NodeKind::Leaf => 1,
        }
    }

    /// Whether [`NodeWriter::split_if_large`] has something to do.
    #[inline]
    pub(super) fn is_large(&self) -> bool {
        self.end() - 1 > self.threshold && self.pending() > 3
    }

    /// The rule for changed nodes: with more than 3 entries over the threshold, nodes of at least two thirds of it
    /// are written from the front.
    pub(super) fn split_if_large(&mut self) -> Result<()> {
        // Entries up to `done`, bytes up to `start` are written; they are dropped once, at the end.
        let (mut done, mut start) = (0, 1);
        while self.pending() - done > 3 && self.node.len() - start > self.threshold {
            let enough = start + self.two_thirds();
            let pending = self.marks.get(done..).unwrap_or_default();
            let count = pending.iter().take_while(|mark| mark.end < enough).count() + 1;
            let first = done;
            done += count.max(self.fewest());
            start = self.write_slice(start, first..done)?;
        }
        self.forget(done, start);
        Ok(())
    }

    /// The rule for bulk building: a node is written as soon as it is over two thirds of the threshold.
    #[inline]
    pub(super) fn is_filled(&self) -> bool {
        self.node.len() - 1 > self.two_thirds() && self.pending() >= self.fewest()
    }

    /// Writes what is pending, as a node that has filled up.
    pub(super) fn write_filled(&mut self) -> Result<()> {
        // In the by-sequence tree no entry takes another one's place.
        if self.kind == NodeKind::Leaf && self.tree != TreeKind::BySeq {
            self.keep_before_last();
        }
        self.write_rest()?;
        if self.node.capacity() > LARGE {
            self.node = vec![self.kind as u8];
        }
        Ok(())
    }

    /// They are less than two thirds of the threshold, however large the last entry is.
    fn keep_before_last(&mut self) {
        let kept = self.pending().saturating_sub(1);
        let kept_marks = self.marks.get(..kept).unwrap_or_default();
        let entries = self.node.get(..kept_marks.last().map_or(1, |mark| mark.end)).unwrap_or_default();
        let (node, marks) = &mut self.before_last;
        node.clear();
        node.extend_from_slice(entries);
        marks.clear();
        marks.extend_from_slice(kept_marks);
    }

    /// Takes the last entry back, also out of a node that [`NodeWriter::write_filled`] has just written: that
    /// node is forgotten then.
    pub(super) fn take_back_last(&mut self) {
        if self.marks.pop().is_some() {
            self.node.truncate(self.end());
        } else if self.written.pop() {
            let (node, marks) = &self.before_last;
            self.node.clone_from(node);
            self.marks.clone_from(marks);
        }
    }

    /// Writes all pending entries, if any, as one node.
    pub(super) fn write_rest(&mut self) -> Result<()> {
        let count = self.pending();
        if count > 0 {
            let end = self.write_slice(1, 0..count)?;
            self.forget(count, end);
        }
        Ok(())
    }

    /// Writes a node of these entries, which begin at byte `start`; returns the byte behind them.
    fn write_slice(&mut self, start: usize, entries: Range<usize>) -> Result<usize> {
        if let Some(rule) = self.broken {
            return Err(self.file.malformed(self.file.end(), rule));
        }
        let mut sums = Sums::default();
        let (mut last, mut end) = (start, start);
        let marks = self.marks.get(entries).unwrap_or_default();
        for mark in marks {
            sums.add(&mark.sums);
            (last, end) = (end, mark.end);
        }
        if sums.below > LARGEST_SUBTREE {
            return self.file.with(|file| Err(file.too_big(file.end())));
        }
        // The byte before the entries is not needed any more: it ends one that is written.
        if let Some(kind) = start.checked_sub(1).and_then(|before| self.node.get_mut(before)) {
            *kind = self.kind as u8;
        }
        let node = self.node.get(start - 1..end).unwrap_or_default();
        let ends = marks.iter().map(|mark| mark.end + 1 - start);
        let chunk = self.file.append_node(node, self.kind, ends)?;
        let key = match entry_at(&self.node, last) {
            Ok(Some((entry, _))) => entry.key,
            _ => &[],
        };
        self.written.push(self.tree, key, chunk.position, (chunk.size + sums.below, sums))?;
        Ok(end)
    }

    /// Drops the first `count` entries, which end at byte `end`.
    fn forget(&mut self, count: usize, end: usize) {
        if count == 0 {
            return;
        }
        self.node.drain(1..end);
        self.marks.drain(..count);
        for later in &mut self.marks {
            later.end -= end - 1;
        }
    }

    /// Whether there are nodes that were written since they were last taken.
    #[inline]
    pub(super) fn has_written(&self) -> bool {
        self.written.len() > 0
    }

    /// The nodes written since they were last taken.
    pub(super) fn written(&mut self) -> &mut Pointers {
        &mut self.written
    }

    /// Hands the only pending entry on as a pointer to what can be a root. False if there are more or fewer, or if it
    /// was carried over from a damaged file: a header has no room for just any reduce value.
    pub(super) fn take_only_child(&mut self) -> Result<bool> {
        let ([mark], Ok(Some((entry, _)))) = (self.marks.as_slice(), entry_at(&self.node, 1)) else {
            return Ok(false);
        };
        let fits = |pointer: ChildPointer<'_>| pointer.reduce.len() == self.tree.reduce_length();
        if !ChildPointer::parse(entry.value).is_ok_and(fits) {
            return Ok(false);
        }
        let mark = Mark { end: mark.end - 1, ..*mark };
        let bytes = memory::copy(self.node.get(1..).unwrap_or_default())?;
        self.written = Pointers { bytes, marks: vec![mark] };
        self.forget(1, self.node.len());
        Ok(true)
    }
}
