// SPDX-License-Identifier: Apache-2.0

//! Building a tree bottom-up from entries in key order, for compaction.
//!
//! A tree whose keys are in disorder loses documents: look-ups go past them. So the order is checked here, wherever
//! the entries come from. The by-sequence tree may have several entries with one key; in the others the last stays.

use super::cache::file::TreeFile;
use super::writer::{NodeWriter, Pointers};
use super::{NodeSizes, TreeKind};
use crate::error::Result;
use crate::format::Malformed;
use crate::format::header::NodeRef;
use crate::format::node::{NodeKind, key_head};
use std::cmp::Ordering;

/// The rule that keys in disorder break.
pub(crate) const DISORDER: Malformed = Malformed("a key that is not below the one before it");

/// Memory of a node that was larger than this is given back before the next one is gathered.
const LARGE: usize = 64 << 10;

/// Takes entries in ascending key order and writes nodes as they fill up.
pub(crate) struct TreeBuilder<'a> {
    file: &'a TreeFile,
    tree: TreeKind,
    sizes: NodeSizes,
    /// The leaves' level first. Levels come into being when the one below has written its first node.
    levels: Vec<NodeWriter<'a>>,
    /// What was written and is not handed up yet: the last leaf, if no entry is pending.
    written: Pointers,
    spare: Pointers,
    /// Head of the key that was added last; `None`: none was.
    last_head: Option<u128>,
    /// Of the last leaf that was written as it filled up: all but the last entry.
    before_last: Vec<u8>,
}

impl<'a> TreeBuilder<'a> {
    /// A builder that appends to `file`.
    pub(crate) fn new(file: &'a TreeFile, tree: TreeKind, sizes: NodeSizes) -> TreeBuilder<'a> {
        TreeBuilder {
            file,
            tree,
            sizes,
            levels: vec![NodeWriter::new(file, tree, NodeKind::Leaf, sizes, <_>::default())],
            written: Pointers::default(),
            spare: Pointers::default(),
            last_head: None,
            before_last: Vec::new(),
        }
    }

    /// The key that was added last.
    #[cold]
    fn last_key(&self) -> Option<&[u8]> {
        self.levels.first().and_then(NodeWriter::last_key).or_else(|| self.written.first_key())
    }

    /// Whether an entry with this key may come next: the last one's is not higher. Says how it is compared to this one's,
    /// for [`TreeBuilder::add_accepted`].
    #[inline]
    pub(crate) fn accepts(&self, key: &[u8]) -> Result<Ordering, Malformed> {
        let order = match self.last_head.map(|last| last.cmp(&key_head(key))) {
            None => Ordering::Less,
            Some(Ordering::Equal) => self.last_key().map_or(Ordering::Less, |last| last.cmp(key)),
            Some(order) => order,
        };
        if order == Ordering::Greater { Err(DISORDER) } else { Ok(order) }
    }

    /// Adds an entry. One with the same key as the last takes its place, but in the by-sequence tree.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let order = self.accepts(key).map_err(|rule| self.file.malformed(self.file.end(), rule))?;
        self.add_accepted(order, key, value.len(), |node| {
            node.extend_from_slice(key);
            node.extend_from_slice(value);
        })
    }

    /// As [`TreeBuilder::add`], for a key of this length that stands right before its value.
    pub(crate) fn add_joined(&mut self, entry: &[u8], key_length: usize) -> Result<()> {
        let (key, value) = entry.split_at_checked(key_length).unwrap_or_default();
        let order = self.accepts(key).map_err(|rule| self.file.malformed(self.file.end(), rule))?;
        self.add_accepted(order, key, value.len(), |node| node.extend_from_slice(entry))
    }

    /// As [`TreeBuilder::add`], once it is known that the key may come next: it and the value, of this length, are appended to
    /// their node by `put`.
    #[inline]
    pub(crate) fn add_accepted(
        &mut self,
        order: Ordering,
        key: &[u8],
        value_length: usize,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        let replaces = order == Ordering::Equal && self.tree != TreeKind::BySeq;
        // Only if nothing is replaced it is certain that the last entry stays.
        if !replaces && !self.written.is_empty() {
            self.hand_up(0)?;
        }
        let Some(leaves) = self.levels.first_mut() else { return Ok(()) };
        if replaces && !leaves.take_back_last() {
            self.written.clear();
            leaves.resume(&self.before_last);
        }
        self.last_head = Some(key_head(key));
        leaves.push_with(key.len(), value_length, put)?;
        if leaves.is_filled() { self.write_leaf() } else { Ok(()) }
    }

    /// Writes a leaf that has filled up.
    fn write_leaf(&mut self) -> Result<()> {
        let Some(leaves) = self.levels.first_mut() else { return Ok(()) };
        // In the by-sequence tree no entry takes another one's place.
        if self.tree != TreeKind::BySeq {
            // They are less than two thirds of the threshold, however large the last entry is.
            self.before_last.clear();
            self.before_last.extend_from_slice(leaves.before_last());
        }
        leaves.write_rest(&mut self.written)?;
        leaves.let_go_if_larger(LARGE);
        Ok(())
    }

    /// Hands the written nodes of a level to the level above, and so on upwards.
    fn hand_up(&mut self, mut level: usize) -> Result<()> {
        while !self.written.is_empty() {
            level += 1;
            if level == self.levels.len() {
                let above =
                    NodeWriter::new(self.file, self.tree, NodeKind::Interior, self.sizes, <_>::default());
                self.levels.push(above);
            }
            if let Some(above) = self.levels.get_mut(level) {
                above.fill_with(&self.written, &mut self.spare)?;
            }
            self.written.clear();
            std::mem::swap(&mut self.written, &mut self.spare);
        }
        Ok(())
    }

    /// Writes what is pending and returns the root, `None` for an empty tree.
    pub(crate) fn finish(mut self) -> Result<Option<NodeRef>> {
        let mut level = 0;
        loop {
            let is_top = level + 1 == self.levels.len();
            let Some(writer) = self.levels.get_mut(level) else { return Ok(None) };
            // A top level that points to one child is not needed: the child is the root.
            if is_top && level > 0 && writer.take_only_child(&mut self.written)? {
                return Ok(self.written.only());
            }
            writer.write_rest(&mut self.written)?;
            self.hand_up(level)?;
            level += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::cache::file::Reading;
    use super::super::read::Cursor;
    use super::*;
    use crate::Db;

    /// Wherever it stands in its leaf, and however many leaves were written before.
    #[test]
    fn the_last_entry_gives_way_to_one_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::create(dir.path().join("a.couch")).unwrap();
        let sizes = NodeSizes { interior: 100, leaf: 100 };
        for count in 1..100 {
            let keys: Vec<_> = (0..count).map(|number| format!("{number:04}").into_bytes()).collect();
            let mut builder = TreeBuilder::new(db.file(), TreeKind::Local, sizes);
            for key in &keys {
                builder.add(key, b"old").unwrap();
            }
            let last = keys.last().unwrap();
            builder.add(last, b"new").unwrap();
            let root = builder.finish().unwrap();
            let mut cursor = Cursor::new(db.file(), root.as_ref(), &[], Reading::Verifying);
            let mut found = Vec::new();
            while let Some((entry, _)) = cursor.next_entry().unwrap() {
                assert_eq!(entry.value, if entry.key == last { b"new" } else { b"old" });
                found.push(entry.key.to_vec());
            }
            assert_eq!(found, keys);
        }
    }
}
