// SPDX-License-Identifier: Apache-2.0

//! Applying a batch of changes to a tree: one pass from the root down and up again.

use super::cache::Node;
use super::cache::file::{Reading, TreeFile};
use super::read::{Child, Guarded};
use super::writer::{NodeWriter, Pointers};
use super::{NodeSizes, TreeKind};
use crate::error::Result;
use crate::format::docinfo::seq_value_id;
use crate::format::header::NodeRef;
use crate::format::node::{ChildPointer, Entry, NodeKind, Sought, Spot, compare_keys, entry_at};
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

/// Applies `actions` to the tree at `root`. They are in ascending key order; of one key first the removals, those of
/// documents in ascending order of ids, then the inserts. Returns the new root, `None` for an empty tree.
pub(crate) fn modify(
    file: &TreeFile,
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
    let groups = groups(actions)?;
    let has_removals = groups.iter().any(|group| group.open > 0);
    let mut change = Change {
        file,
        guarded: Guarded::new(file, Reading::Seeking),
        tree,
        sizes,
        actions,
        groups,
        done: memory::filled(false, if has_removals { actions.len() } else { 0 })?,
        on_insert,
        written: Pointers::default(),
    };
    let all = 0..change.groups.len();
    let changed = match root {
        Some(root) => change.node(Child::root(root.position), all)?,
        None => change.leaf(&[NodeKind::Leaf as u8], Child::root(0), all)?,
    };
    if changed { change.root() } else { Ok(root.cloned()) }
}

/// The actions at one key. There may be very many: callers may give one sequence number to any number of documents.
struct Group<'a> {
    key: &'a [u8],
    /// Indexes of its actions, removals first, and of the first insert.
    actions: Range<usize>,
    inserts: usize,
    /// Entries that the tree has with this key go: at least one action says so of all of them.
    replaces: bool,
    /// Removals of documents that have not found their entry yet.
    open: usize,
    /// The inserts are done.
    inserted: bool,
}

fn groups<'a>(actions: &[Action<'a>]) -> Result<Vec<Group<'a>>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    memory::reserve_exact(&mut groups, actions.len())?;
    for (index, &Action { key, edit }) in actions.iter().enumerate() {
        if groups.last().is_none_or(|last| compare_keys(last.key, key).is_ne()) {
            groups.push(Group {
                key,
                actions: index..index,
                inserts: index,
                replaces: false,
                open: 0,
                inserted: false,
            });
        }
        if let Some(group) = groups.last_mut() {
            group.add(edit);
        }
    }
    debug_assert!(groups.iter().all(|group| group.is_in_order(actions)));
    Ok(groups)
}

impl Group<'_> {
    fn add(&mut self, edit: Edit<'_>) {
        self.actions.end += 1;
        self.replaces |= matches!(edit, Edit::Insert(_) | Edit::Remove);
        self.open += usize::from(matches!(edit, Edit::RemoveDocument(_)));
        if is_removal(edit) {
            self.inserts = self.actions.end;
        }
    }

    /// Whether the removals come first, those of documents in ascending order of ids.
    fn is_in_order(&self, actions: &[Action<'_>]) -> bool {
        let removals = actions.get(self.actions.start..self.inserts).unwrap_or_default();
        removals.iter().all(|action| is_removal(action.edit))
            && removals.iter().is_sorted_by_key(|action| removed_id(action.edit))
    }
}

fn is_removal(edit: Edit<'_>) -> bool {
    matches!(edit, Edit::Remove | Edit::RemoveDocument(_))
}

/// The document that an action removes, none for other actions.
fn removed_id(edit: Edit<'_>) -> &[u8] {
    #[cfg(test)]
    tests::COMPARED.set(tests::COMPARED.get() + 1);
    match edit {
        Edit::RemoveDocument(id) => id,
        Edit::Insert(_) | Edit::InsertBeside(_) | Edit::Remove => &[],
    }
}

struct Change<'a, 'f> {
    file: &'a TreeFile,
    guarded: Guarded<'a>,
    tree: TreeKind,
    sizes: NodeSizes,
    actions: &'a [Action<'a>],
    groups: Vec<Group<'a>>,
    /// By action: removals of documents that found their entry. Nothing if there are no such actions.
    done: Vec<bool>,
    on_insert: OnInsert<'f>,
    /// The nodes that were written, until they are put into the node above: those of a node that is being rewritten behind
    /// those of the nodes before it, those of its child behind its own.
    written: Pointers,
}

/// A node while it is rewritten.
struct Rewriting<'a, 'n> {
    node: &'n [u8],
    kind: NodeKind,
    place: Child,
    /// Where the entry begins that is looked at.
    at: usize,
    /// Where those begin that were neither put into the writer nor dropped.
    rest: usize,
    /// `None`: nothing has changed yet.
    writer: Option<NodeWriter<'a>>,
}

impl<'n> Rewriting<'_, 'n> {
    fn new(node: &'n [u8], kind: NodeKind, place: Child) -> Self {
        Rewriting { node, kind, place, at: 1, rest: 1, writer: None }
    }
}

impl<'a> Change<'a, '_> {
    /// The key of the first group of these.
    #[inline]
    fn key(&self, groups: &Range<usize>) -> Option<&'a [u8]> {
        self.groups.get(groups.start..groups.end)?.first().map(|group| group.key)
    }

    fn writer(&self, kind: NodeKind, source: Option<u64>) -> NodeWriter<'a> {
        NodeWriter::new(self.file, self.tree, kind, self.sizes, (self.file.memory_to_write(), source))
    }

    /// The entry that is looked at, and where it ends.
    #[inline]
    fn entry<'n>(&self, old: &Rewriting<'_, 'n>) -> Result<Option<(Entry<'n>, usize)>> {
        entry_at(old.node, old.at).map_err(|rule| self.file.malformed(old.place.position, rule))
    }

    fn seek(&self, old: &Rewriting<'_, '_>, key: &[u8]) -> Result<Spot> {
        Sought::new(key).find(old.node, old.at).map_err(|rule| self.file.malformed(old.place.position, rule))
    }

    /// The entries before the one that is looked at stay. Returns what they were put into: something changes here.
    fn keep_before<'w>(&self, old: &'w mut Rewriting<'a, '_>) -> Result<&'w mut NodeWriter<'a>> {
        let &mut Rewriting { node, kind, place, at, .. } = old;
        let kept = std::mem::replace(&mut old.rest, at)..at;
        let writer = old.writer.get_or_insert_with(|| self.writer(kind, Some(place.position)));
        writer.put(node.get(kept).unwrap_or_default())?;
        Ok(writer)
    }

    /// Writes the rest of a node that has changed. Whether it has.
    fn finish(&mut self, mut old: Rewriting<'a, '_>) -> Result<bool> {
        if old.writer.is_none() {
            // It may be damaged nevertheless.
            while let Some((_, behind)) = self.entry(&old)? {
                old.at = behind;
            }
            return Ok(false);
        }
        let is_root = old.kind == NodeKind::Interior && old.place.depth == 0;
        old.at = old.node.len();
        let writer = self.keep_before(&mut old)?;
        writer.split_if_large(&mut self.written)?;
        // A root with one child is not needed: the child becomes the root.
        if !(is_root && self.written.is_empty() && writer.take_only_child(&mut self.written)?) {
            writer.write_rest(&mut self.written)?;
        }
        self.give_back(old.writer);
        Ok(true)
    }

    fn give_back(&self, writer: Option<NodeWriter<'a>>) {
        if let Some(writer) = writer {
            self.file.keep_memory_to_write(writer.into_memory());
        }
    }

    /// Applies the groups of `range` to a node. False: nothing changed. Otherwise the nodes that take its place were written,
    /// none if it became empty.
    fn node(&mut self, child: Child, range: Range<usize>) -> Result<bool> {
        let (kind, node) = self.guarded.read(child)?;
        let changed = match kind {
            NodeKind::Interior if node.len() > 1 => self.interior(&node, child, range)?,
            // A node without entries is as good as an empty leaf.
            NodeKind::Leaf | NodeKind::Interior => self.leaf(&node, child, range)?,
        };
        if changed {
            self.file.note_replaced(child.position);
        }
        if let Node::Read(memory) = node {
            self.file.keep_node_memory(memory);
        }
        Ok(changed)
    }

    fn interior(&mut self, node: &[u8], place: Child, range: Range<usize>) -> Result<bool> {
        let mut old = Rewriting::new(node, NodeKind::Interior, place);
        let mut open = range;
        while let Some(key) = self.key(&open) {
            let Spot { at, before } = self.seek(&old, key)?;
            // The last child also takes what lies behind all keys.
            old.at = if at == node.len() { before } else { at };
            let Some((entry, behind)) = self.entry(&old)? else { break };
            let end = if behind == node.len() { open.end } else { self.end_of(&open, entry.key) };
            self.child(&mut old, (entry, behind), open.start..end)?;
            open.start = self.first_open(open.start..end, entry.key);
            old.at = behind;
        }
        self.finish(old)
    }

    /// Applies the groups of `range` to the child that is looked at, whose entry ends at byte `behind`.
    fn child(
        &mut self,
        old: &mut Rewriting<'a, '_>,
        (entry, behind): (Entry<'_>, usize),
        range: Range<usize>,
    ) -> Result<()> {
        let pointer = ChildPointer::parse(entry.value);
        let pointer = pointer.map_err(|rule| self.file.malformed(old.place.position, rule))?;
        if old.writer.is_some() {
            // What is before the child is written before what is below it.
            self.keep_before(old)?.split_if_large(&mut self.written)?;
        }
        let below = self.written.end();
        if self.node(old.place.below(pointer.position), range)? {
            self.keep_before(old)?.put(self.written.behind(below))?;
            self.written.go_back_to(below);
            old.rest = behind;
        }
        Ok(())
    }

    /// Index behind the last of these groups with a key up to `key`; the first one has such a key.
    fn end_of(&self, open: &Range<usize>, key: &[u8]) -> usize {
        let others = self.groups.get(open.start + 1..open.end).unwrap_or_default();
        open.start + 1 + others.partition_point(|group| compare_keys(group.key, key).is_le())
    }

    /// First group of `range`, just offered to a child with this highest key, that the next child has to see too.
    /// Several entries with one sequence number may be spread over children: a removal looks on for its entry,
    /// and an insert for more entries that it replaces.
    fn first_open(&self, range: Range<usize>, highest: &[u8]) -> usize {
        let last = range.end.checked_sub(1).filter(|last| range.contains(last));
        let group = last.and_then(|last| self.groups.get(last));
        let is_open = group.is_some_and(|group| {
            let looks_on = group.open > 0 || (group.replaces && self.tree == TreeKind::BySeq);
            looks_on && group.key == highest
        });
        if is_open { range.end - 1 } else { range.end }
    }

    fn leaf(&mut self, node: &[u8], place: Child, range: Range<usize>) -> Result<bool> {
        let mut old = Rewriting::new(node, NodeKind::Leaf, place);
        let mut open = range;
        // The value that the inserts at the key at hand replace.
        let mut replaced: Option<Entry<'_>> = None;
        while let Some(key) = self.key(&open) {
            old.at = self.seek(&old, key)?.at;
            match self.entry(&old)? {
                Some((entry, behind)) if entry.key == key => {
                    if self.removes(open.start, &entry, place.position)? {
                        self.keep_before(&mut old)?;
                        old.rest = behind;
                        replaced = Some(entry);
                    }
                    old.at = behind;
                }
                _ => {
                    self.insert(&mut old, open.start, replaced)?;
                    open.start += 1;
                }
            }
        }
        self.finish(old)
    }

    /// Whether an entry of the tree with the key of this group goes.
    fn removes(&mut self, group: usize, entry: &Entry<'_>, position: u64) -> Result<bool> {
        let Some(group) = self.groups.get_mut(group) else { return Ok(false) };
        let removals = self.actions.get(group.actions.start..group.inserts).unwrap_or_default();
        if !matches!(removals.first().map(|action| action.edit), Some(Edit::RemoveDocument(_))) {
            return Ok(group.replaces);
        }
        let owner = seq_value_id(entry.value).map_err(|rule| self.file.malformed(position, rule))?;
        let Ok(found) = removals.binary_search_by_key(&owner, |action| removed_id(action.edit)) else {
            return Ok(group.replaces);
        };
        if let Some(done) = self.done.get_mut(group.actions.start + found)
            && !std::mem::replace(done, true)
        {
            group.open = group.open.saturating_sub(1);
        }
        Ok(true)
    }

    /// Puts the new entries of a group; its removals are done once the scan has passed their key.
    fn insert(
        &mut self,
        old: &mut Rewriting<'a, '_>,
        group: usize,
        replaced: Option<Entry<'_>>,
    ) -> Result<()> {
        let Some(group) = self.groups.get_mut(group) else { return Ok(()) };
        if std::mem::replace(&mut group.inserted, true) {
            // They are in the leaf before, and only look for more entries to replace.
            return Ok(());
        }
        for index in group.inserts..group.actions.end {
            let Some(&Action { key, edit }) = self.actions.get(index) else { break };
            let (Edit::Insert(value) | Edit::InsertBeside(value)) = edit else { continue };
            let before = replaced.filter(|entry| entry.key == key);
            (self.on_insert)(index, before.map(|entry| entry.value))?;
            let writer = self.keep_before(old)?;
            writer.push(key, value)?;
            writer.split_if_large(&mut self.written)?;
        }
        Ok(())
    }

    /// Writes the nodes above those that were written, up to the root. `None`: the tree is empty.
    fn root(&mut self) -> Result<Option<NodeRef>> {
        loop {
            let root = self.written.only();
            if root.is_some() || self.written.is_empty() {
                return Ok(root);
            }
            let mut writer = self.writer(NodeKind::Interior, None);
            writer.put(self.written.behind(0))?;
            self.written.clear();
            writer.split_if_large(&mut self.written)?;
            writer.write_rest(&mut self.written)?;
            self.give_back(Some(writer));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use crate::{Db, Document, SaveOptions, ScanOptions};
    use std::cell::Cell;

    thread_local! {
        /// Removals that were looked at.
        pub(super) static COMPARED: Cell<u64> = const { Cell::new(0) };
    }

    /// Many documents under one sequence number move together: to another one, to several, and back to one.
    #[test]
    fn what_shares_a_number_moves_in_little_more_than_linear_work() {
        const COUNT: u64 = 20_000;
        let dir = tempfile::tempdir().unwrap();
        let db = Db::create(dir.path().join("a.couch")).unwrap();
        // In the order of ids, and against it.
        let ids: Vec<_> = (0..COUNT).map(|number| format!("{:08}", number * 7919 % COUNT)).collect();
        let numbers: [fn(u64) -> u64; 5] = [|_| 5, |_| 6, |_| 6, |number| 7 + number % 3, |_| 11];
        for number_of in numbers {
            let document =
                |number: u64, id| Document { db_seq: number_of(number), ..Document::new(id, b"x") };
            let documents: Vec<_> =
                (0..).zip(&ids).map(|(number, id)| document(number, id.as_bytes())).collect();
            COMPARED.set(0);
            db.save(&documents, SaveOptions { compress: false, keep_sequences: true }).unwrap();
            let compared = COMPARED.get();
            assert!(compared < COUNT * 40, "{compared} comparisons for {COUNT} documents");
            let mut found = Vec::new();
            db.changes_since(0, ScanOptions::default(), &mut |info| {
                found.push((info.id.to_vec(), info.db_seq));
                Ok(())
            })
            .unwrap();
            found.sort();
            let mut expected: Vec<_> =
                (0..).zip(&ids).map(|(number, id)| (id.clone().into_bytes(), number_of(number))).collect();
            expected.sort();
            assert!(found == expected);
        }
    }
}
