//! Applying a batch of changes to a tree: one pass from the root down and up again.

use super::cache::file::{Reading, TreeFile};
use super::read::{Child, Guarded};
use super::writer::{NodeWriter, Pointers, Run};
use super::{NodeSizes, TreeKind};
use crate::error::Result;
use crate::format::docinfo::seq_value_id;
use crate::format::header::NodeRef;
use crate::format::node::{ChildPointer, Entry, NodeKind, compare_keys, entry_at};
use crate::memory;
use std::cmp::Ordering;
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
    let mut change = Change {
        file,
        guarded: Guarded::new(file, Reading::Seeking),
        tree,
        sizes,
        actions,
        groups: groups(actions)?,
        done: memory::filled(false, actions.len())?,
        on_insert,
        spare: Spare::default(),
    };
    let mut nodes = Pointers::default();
    let changed = match root {
        Some(root) => change.node(Child::root(root.position), 0..change.groups.len(), &mut nodes)?,
        None => change.empty_leaf(&mut nodes)?,
    };
    if !changed {
        return Ok(root.cloned());
    }
    while nodes.len() > 1 {
        change.parents(&mut nodes)?;
    }
    Ok(nodes.only())
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
    let mut groups = Vec::new();
    memory::reserve_exact(&mut groups, actions.len())?;
    let mut start = 0;
    for same in actions.chunk_by(|a, b| a.key == b.key) {
        let is_removal = |edit| matches!(edit, Edit::Remove | Edit::RemoveDocument(_));
        let removals = same.partition_point(|action| is_removal(action.edit));
        debug_assert!(same.iter().skip(removals).all(|action| !is_removal(action.edit)));
        debug_assert!(same.iter().take(removals).is_sorted_by_key(|action| removed_id(action.edit)));
        let counts =
            |matches: fn(&Edit<'_>) -> bool| same.iter().filter(|action| matches(&action.edit)).count();
        let group = Group {
            key: same.first().map_or(&[], |action| action.key),
            actions: start..start + same.len(),
            inserts: start + removals,
            replaces: counts(|edit| matches!(edit, Edit::Insert(_) | Edit::Remove)) > 0,
            open: counts(|edit| matches!(edit, Edit::RemoveDocument(_))),
            inserted: false,
        };
        memory::push(&mut groups, group)?;
        start += same.len();
    }
    Ok(groups)
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
    /// Removals of documents that found their entry.
    done: Vec<bool>,
    on_insert: OnInsert<'f>,
    spare: Spare<'a>,
}

/// Memory of nodes that are done, for those that follow.
#[derive(Default)]
struct Spare<'a> {
    interiors: Vec<NodeWriter<'a>>,
    leaves: Vec<NodeWriter<'a>>,
    pointers: Vec<Pointers>,
}

impl<'a> Spare<'a> {
    fn writers(&mut self, kind: NodeKind) -> &mut Vec<NodeWriter<'a>> {
        match kind {
            NodeKind::Interior => &mut self.interiors,
            NodeKind::Leaf => &mut self.leaves,
        }
    }
}

impl<'a> Change<'a, '_> {
    fn key(&self, group: usize) -> Option<&'a [u8]> {
        self.groups.get(group).map(|group| group.key)
    }

    fn writer(&mut self, kind: NodeKind) -> NodeWriter<'a> {
        let spare = self.spare.writers(kind).pop();
        spare.unwrap_or_else(|| NodeWriter::new(self.file, self.tree, kind, self.sizes))
    }

    fn give_back(&mut self, kind: NodeKind, mut writer: NodeWriter<'a>) {
        if writer.renew() {
            self.spare.writers(kind).push(writer);
        }
    }

    /// Applies the groups of `range` to a node. False: nothing changed. Otherwise the nodes that take
    /// its place are added to `out`, none if it became empty.
    fn node(&mut self, child: Child, range: Range<usize>, out: &mut Pointers) -> Result<bool> {
        let (kind, node) = self.guarded.read(child)?;
        let changed = self.change(kind, &node, child, range, out)?;
        if changed {
            self.file.note_replaced(child.position);
        }
        self.file.keep_node_memory(node.into_memory());
        Ok(changed)
    }

    /// Writes what takes the place of this node, if anything does.
    fn change(
        &mut self,
        kind: NodeKind,
        node: &[u8],
        child: Child,
        range: Range<usize>,
        out: &mut Pointers,
    ) -> Result<bool> {
        match kind {
            NodeKind::Interior if node.len() > 1 => {
                let mut writer = self.writer(kind);
                let mut children = self.spare.pointers.pop().unwrap_or_default();
                let changed = self.interior(node, child, range, &mut writer, &mut children)?;
                if changed {
                    out.append(writer.written())?;
                }
                children.clear();
                self.spare.pointers.push(children);
                self.give_back(kind, writer);
                Ok(changed)
            }
            // A node without entries is as good as an empty leaf.
            NodeKind::Leaf | NodeKind::Interior => self.leaf(node, child.position, range, out),
        }
    }

    /// Writes what takes the place of this node. `children`: memory for the nodes below.
    fn interior(
        &mut self,
        node: &[u8],
        place: Child,
        range: Range<usize>,
        writer: &mut NodeWriter<'a>,
        children: &mut Pointers,
    ) -> Result<bool> {
        let malformed = |rule| self.file.malformed(place.position, rule);
        let mut run = Run::of(node);
        let mut changed = false;
        let (mut start, mut offset) = (range.start, 1);
        while let Some((entry, behind)) = entry_at(node, offset).map_err(malformed)? {
            offset = behind;
            // The last child also takes what lies behind all keys.
            let is_last = behind == node.len();
            let end = if is_last { range.end } else { self.end_of(start..range.end, entry.key) };
            let mut replaced = false;
            if start < end {
                let pointer = ChildPointer::parse(entry.value).map_err(malformed)?;
                children.clear();
                replaced = self.node(place.below(pointer.position), start..end, children)?;
                start = self.first_open(start..end, entry.key);
            }
            if replaced {
                changed = true;
                writer.put_run(&mut run)?;
                run.skip_to(behind);
                writer.push_pointers(children)?;
            } else {
                writer.keep(&mut run, behind, entry.value)?;
            }
            if changed && writer.is_large() {
                writer.put_run(&mut run)?;
                writer.split_if_large()?;
            }
        }
        if !changed {
            return Ok(false);
        }
        writer.put_run(&mut run)?;
        // A root with one child is not needed: the child becomes the root.
        let is_lone = place.depth == 0 && writer.written().len() == 0 && writer.take_only_child()?;
        if !is_lone {
            writer.write_rest()?;
        }
        Ok(true)
    }

    /// Index behind the last group of `range` with a key up to `key`.
    fn end_of(&self, range: Range<usize>, key: &[u8]) -> usize {
        let groups = self.groups.get(range.clone()).unwrap_or_default();
        // Most children have no group.
        match groups.first() {
            Some(first) if compare_keys(first.key, key).is_le() => {
                range.start + groups.partition_point(|group| compare_keys(group.key, key).is_le())
            }
            _ => range.start,
        }
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

    fn empty_leaf(&mut self, out: &mut Pointers) -> Result<bool> {
        let empty = [NodeKind::Leaf as u8];
        self.leaf(&empty, 0, 0..self.groups.len(), out)
    }

    fn leaf(&mut self, node: &[u8], position: u64, range: Range<usize>, out: &mut Pointers) -> Result<bool> {
        let mut leaf = Leaf { writer: self.writer(NodeKind::Leaf), run: Run::of(node), changed: false };
        let mut open = range.clone();
        // The value that the inserts at the key at hand replace.
        let mut replaced: Option<Entry<'_>> = None;
        let mut offset = 1;
        while let Some((entry, behind)) =
            entry_at(node, offset).map_err(|rule| self.file.malformed(position, rule))?
        {
            offset = behind;
            let meets = self.insert_below(entry.key, &mut leaf, &mut open, replaced)?;
            if meets && self.removes(open.start, &entry, position)? {
                leaf.remove(behind)?;
                replaced = Some(entry);
            } else {
                leaf.keep(&entry, behind)?;
            }
        }
        for group in open {
            self.insert(&mut leaf, group, replaced)?;
        }
        let Leaf { mut writer, mut run, changed } = leaf;
        if changed {
            writer.put_run(&mut run)?;
            writer.write_rest()?;
            out.append(writer.written())?;
        }
        self.give_back(NodeKind::Leaf, writer);
        Ok(changed)
    }

    /// Puts the new entries of all open groups with lower keys than `key`. Whether the next group is the one at `key`.
    fn insert_below(
        &mut self,
        key: &[u8],
        leaf: &mut Leaf<'a, '_>,
        open: &mut Range<usize>,
        replaced: Option<Entry<'_>>,
    ) -> Result<bool> {
        while open.start < open.end {
            match self.key(open.start).map_or(Ordering::Greater, |next| compare_keys(next, key)) {
                Ordering::Less => self.insert(leaf, open.start, replaced)?,
                order => return Ok(order == Ordering::Equal),
            }
            open.start += 1;
        }
        Ok(false)
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
    fn insert(&mut self, leaf: &mut Leaf<'a, '_>, group: usize, replaced: Option<Entry<'_>>) -> Result<()> {
        let Some(group) = self.groups.get_mut(group) else { return Ok(()) };
        if std::mem::replace(&mut group.inserted, true) {
            // They are in the leaf before, and only look for more entries to replace.
            return Ok(());
        }
        for index in group.inserts..group.actions.end {
            let Some(action) = self.actions.get(index) else { break };
            let (Edit::Insert(value) | Edit::InsertBeside(value)) = action.edit else { continue };
            let old = replaced.filter(|entry| entry.key == action.key);
            (self.on_insert)(index, old.map(|entry| entry.value))?;
            leaf.put(action.key, value)?;
        }
        Ok(())
    }

    /// Writes the nodes that point to these, and puts them in their place.
    fn parents(&mut self, nodes: &mut Pointers) -> Result<()> {
        let mut writer = self.writer(NodeKind::Interior);
        writer.push_pointers(nodes)?;
        writer.split_if_large()?;
        writer.write_rest()?;
        nodes.clear();
        nodes.append(writer.written())?;
        self.give_back(NodeKind::Interior, writer);
        Ok(())
    }
}

/// A leaf while it is rewritten.
struct Leaf<'a, 'n> {
    writer: NodeWriter<'a>,
    /// Entries of the old leaf since the last change.
    run: Run<'n>,
    changed: bool,
}

impl Leaf<'_, '_> {
    /// The next entry of the old leaf, which ends at byte `behind`, stays.
    fn keep(&mut self, entry: &Entry<'_>, behind: usize) -> Result<()> {
        self.writer.keep(&mut self.run, behind, entry.value)?;
        // Nothing is written before the first change: an unchanged leaf stays where it is.
        if self.changed { self.split_if_large() } else { Ok(()) }
    }

    /// The next entry of the old leaf, which ends at byte `behind`, goes.
    fn remove(&mut self, behind: usize) -> Result<()> {
        self.changed = true;
        self.writer.put_run(&mut self.run)?;
        self.run.skip_to(behind);
        Ok(())
    }

    /// A new entry.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.changed = true;
        self.writer.put_run(&mut self.run)?;
        self.writer.push(key, value)?;
        self.split_if_large()
    }

    fn split_if_large(&mut self) -> Result<()> {
        if self.writer.is_large() {
            self.writer.put_run(&mut self.run)?;
            self.writer.split_if_large()?;
        }
        Ok(())
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
