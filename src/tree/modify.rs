//! Applying a batch of changes to a tree: one pass from the root down and up again.

use super::read::Guarded;
use super::writer::{Child, NodeWriter};
use super::{NodeSizes, TreeKind};
use crate::error::Result;
use crate::format::docinfo::seq_value_id;
use crate::format::header::NodeRef;
use crate::format::node::{ChildPointer, Entries, Entry, NodeKind};
use crate::io::shared::SharedFile;
use crate::memory;
use std::ops::Range;

/// What to do at a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edit<'a> {
    /// Put this value; entries that the tree has with this key go.
    Insert(&'a [u8]),
    /// Put this value; entries that the tree has with this key stay, unless another action removes them.
    InsertBeside(&'a [u8]),
    /// Remove the entry with this key.
    Remove,
    /// Remove the by-sequence entry with this key that belongs to this document: several documents may share a
    /// sequence number.
    RemoveDocument(&'a [u8]),
}

/// A change at a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Action<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) edit: Edit<'a>,
}

/// Is told, in key order, of each insert: its index among the actions and the value that it replaces.
pub(crate) type OnInsert<'a> = &'a mut dyn FnMut(usize, Option<&[u8]>) -> Result<()>;

/// Applies `actions`, in ascending key order (removals before inserts of the same key), to the tree at `root`.
/// Returns the new root, `None` for an empty tree.
pub(crate) fn modify(
    file: &SharedFile,
    tree: TreeKind,
    sizes: NodeSizes,
    root: Option<&NodeRef>,
    actions: &[Action<'_>],
    on_insert: OnInsert<'_>,
) -> Result<Option<NodeRef>> {
    debug_assert!(actions.is_sorted_by_key(|action| action.key));
    if actions.is_empty() {
        return Ok(root.cloned());
    }
    let mut change = Change {
        file,
        guarded: Guarded::new(file),
        tree,
        sizes,
        actions,
        handled: memory::filled(false, actions.len())?,
        on_insert,
    };
    let replaced = match root {
        Some(root) => change.node(root.position, u64::MAX, 0..actions.len(), 0)?,
        None => Some(change.empty_leaf()?),
    };
    let Some(mut children) = replaced else { return Ok(root.cloned()) };
    while children.len() > 1 {
        children = change.parents(&children)?;
    }
    Ok(children.pop().map(|child| child.node))
}

struct Change<'a, 'f> {
    file: &'a SharedFile,
    guarded: Guarded<'a>,
    tree: TreeKind,
    sizes: NodeSizes,
    actions: &'a [Action<'a>],
    /// Actions that found their place.
    handled: Vec<bool>,
    on_insert: OnInsert<'f>,
}

impl<'a> Change<'a, '_> {
    fn action(&self, index: usize) -> Option<&'a Action<'a>> {
        self.actions.get(index)
    }

    fn writer(&self, kind: NodeKind) -> NodeWriter<'a> {
        NodeWriter::new(self.file, self.tree, kind, self.sizes)
    }

    /// Applies the actions of `range` to the node at `position`. `None`: nothing changed. Otherwise the nodes that
    /// take its place, none if it became empty.
    fn node(
        &mut self,
        position: u64,
        parent: u64,
        range: Range<usize>,
        depth: usize,
    ) -> Result<Option<Vec<Child>>> {
        let (kind, node) = self.guarded.read(position, parent, depth)?;
        match kind {
            NodeKind::Interior if node.len() > 1 => self.interior(&node, position, range, depth),
            // A node without entries is as good as an empty leaf.
            NodeKind::Leaf | NodeKind::Interior => self.leaf(&node, position, range),
        }
    }

    fn interior(
        &mut self,
        node: &[u8],
        position: u64,
        range: Range<usize>,
        depth: usize,
    ) -> Result<Option<Vec<Child>>> {
        let mut writer = self.writer(NodeKind::Interior);
        let mut changed = false;
        let mut start = range.start;
        let mut entries = Entries::of(node).peekable();
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|rule| self.file.malformed(position, rule))?;
            // The last child also takes what lies behind all keys.
            let end =
                if entries.peek().is_none() { range.end } else { self.end_of(start..range.end, entry.key) };
            let replaced = if start < end {
                let pointer = ChildPointer::parse(entry.value);
                let pointer = pointer.map_err(|rule| self.file.malformed(position, rule))?;
                self.node(pointer.position, position, start..end, depth + 1)?
            } else {
                None
            };
            match replaced {
                None => writer.push(entry.key, entry.value)?,
                Some(children) => {
                    changed = true;
                    for child in &children {
                        writer.push_child(child)?;
                    }
                }
            }
            if changed {
                writer.split_if_large()?;
            }
            start = self.first_open(start..end, entry.key);
        }
        if !changed {
            return Ok(None);
        }
        let mut written = writer.take_written();
        if depth == 0 && written.is_empty() {
            // A root with one child is not needed: the child becomes the root.
            if let Some(child) = writer.only_child() {
                return Ok(Some(vec![child]));
            }
        }
        writer.write_rest()?;
        let mut rest = writer.take_written();
        memory::reserve(&mut written, rest.len())?;
        written.append(&mut rest);
        Ok(Some(written))
    }

    /// Index behind the last action of `range` with a key up to `key`.
    fn end_of(&self, range: Range<usize>, key: &[u8]) -> usize {
        let actions = self.actions.get(range.clone()).unwrap_or_default();
        range.start + actions.partition_point(|action| action.key <= key)
    }

    /// First action of `range`, just offered to a child with this highest key, that the next child has to see too.
    /// Several entries with one sequence number may be spread over children: a removal looks on for its entry,
    /// and an insert for more entries that it replaces.
    fn first_open(&self, range: Range<usize>, highest: &[u8]) -> usize {
        let actions = self.actions.get(range.clone()).unwrap_or_default();
        let handled = self.handled.get(range.clone()).unwrap_or_default();
        let open = actions.iter().zip(handled).position(|(action, &handled)| {
            action.key == highest
                && match action.edit {
                    Edit::RemoveDocument(_) => !handled,
                    Edit::Insert(_) => self.tree == TreeKind::BySeq,
                    Edit::Remove | Edit::InsertBeside(_) => false,
                }
        });
        open.map_or(range.end, |offset| range.start + offset)
    }

    fn empty_leaf(&mut self) -> Result<Vec<Child>> {
        let empty = [NodeKind::Leaf as u8];
        Ok(self.leaf(&empty, 0, 0..self.actions.len())?.unwrap_or_default())
    }

    fn leaf(&mut self, node: &[u8], position: u64, range: Range<usize>) -> Result<Option<Vec<Child>>> {
        let mut leaf = Leaf { writer: self.writer(NodeKind::Leaf), changed: false };
        let mut next = range.start;
        // The value that the inserts at the key at hand replace.
        let mut replaced: Option<Entry<'_>> = None;
        for entry in Entries::of(node) {
            let entry = entry.map_err(|rule| self.file.malformed(position, rule))?;
            while next < range.end && self.action(next).is_some_and(|action| action.key < entry.key) {
                self.insert(&mut leaf, next, replaced)?;
                next += 1;
            }
            if self.keeps(&entry, position, next..range.end)? {
                leaf.keep(&entry)?;
            } else {
                leaf.changed = true;
                replaced = Some(entry);
            }
        }
        while next < range.end {
            self.insert(&mut leaf, next, replaced)?;
            next += 1;
        }
        if !leaf.changed {
            return Ok(None);
        }
        leaf.writer.write_rest()?;
        Ok(Some(leaf.writer.take_written()))
    }

    /// Whether an entry of the tree stays, given the actions from its key on.
    fn keeps(&mut self, entry: &Entry<'_>, position: u64, range: Range<usize>) -> Result<bool> {
        let mut keep = true;
        for index in range {
            let Some(action) = self.action(index).filter(|action| action.key == entry.key) else { break };
            let goes = match action.edit {
                Edit::Insert(_) => true,
                Edit::InsertBeside(_) => false,
                Edit::Remove => {
                    self.mark_handled(index);
                    true
                }
                Edit::RemoveDocument(id) => {
                    let owner =
                        seq_value_id(entry.value).map_err(|rule| self.file.malformed(position, rule))?;
                    let goes = owner == id;
                    if goes {
                        self.mark_handled(index);
                    }
                    goes
                }
            };
            keep &= !goes;
        }
        Ok(keep)
    }

    fn mark_handled(&mut self, index: usize) {
        if let Some(handled) = self.handled.get_mut(index) {
            *handled = true;
        }
    }

    /// Puts the new entry of an insert; removals are done once the scan has passed their key.
    fn insert(&mut self, leaf: &mut Leaf<'_>, index: usize, replaced: Option<Entry<'_>>) -> Result<()> {
        let Some(action) = self.action(index) else { return Ok(()) };
        let (Edit::Insert(value) | Edit::InsertBeside(value)) = action.edit else { return Ok(()) };
        if self.handled.get(index) == Some(&true) {
            // It is in the leaf before, and only looks for more entries to replace.
            return Ok(());
        }
        self.mark_handled(index);
        let old = replaced.filter(|entry| entry.key == action.key);
        (self.on_insert)(index, old.map(|entry| entry.value))?;
        leaf.changed = true;
        leaf.writer.push(action.key, value)?;
        leaf.writer.split_if_large()
    }

    /// Writes the nodes that point to these.
    fn parents(&self, children: &[Child]) -> Result<Vec<Child>> {
        let mut writer = self.writer(NodeKind::Interior);
        for child in children {
            writer.push_child(child)?;
            writer.split_if_large()?;
        }
        writer.write_rest()?;
        Ok(writer.take_written())
    }
}

/// A leaf while it is rewritten.
struct Leaf<'a> {
    writer: NodeWriter<'a>,
    changed: bool,
}

impl Leaf<'_> {
    fn keep(&mut self, entry: &Entry<'_>) -> Result<()> {
        self.writer.push(entry.key, entry.value)?;
        // Nothing is written before the first change: an unchanged leaf stays where it is.
        if self.changed { self.writer.split_if_large() } else { Ok(()) }
    }
}
