// SPDX-License-Identifier: Apache-2.0

//! Looking for single keys, and counting by reduce values.

use super::super::cache::Node;
use super::super::cache::file::{Reading, TreeFile};
use super::super::reduce::parse_count;
use super::guarded::{Child, Guarded};
use crate::error::{Error, Result};
use crate::format::header::NodeRef;
use crate::format::node::{ChildPointer, Entries, NodeKind, entry_at};
use crate::io::file::Hint;
use crate::memory::{self, Room};
use std::ops::{Deref, Range};

/// Where a tree begins: all that a look-up takes of its root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Root {
    pub(crate) position: u64,
    subtree_size: u64,
}

impl From<&NodeRef> for Root {
    fn from(&NodeRef { position, subtree_size, .. }: &NodeRef) -> Root {
        Root { position, subtree_size }
    }
}

/// A value in the node where it was found, which may be large: it is not copied.
pub(crate) struct Found<'a> {
    file: &'a TreeFile,
    node: Node,
    range: Range<usize>,
    position: u64,
}

impl Deref for Found<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.node.get(self.range.clone()).unwrap_or_default()
    }
}

impl Drop for Found<'_> {
    fn drop(&mut self) {
        if let Node::Read(memory) = &mut self.node {
            self.file.keep_node_memory(std::mem::take(memory));
        }
    }
}

impl Found<'_> {
    /// Offset of its node.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The value alone. One that makes up most of its node keeps the node's memory.
    pub(crate) fn into_vec(mut self) -> Result<Vec<u8>> {
        let Range { start, end } = self.range;
        match &mut self.node {
            Node::Read(node) if end - start >= node.size() / 2 => {
                let mut node = std::mem::take(node).into_vec();
                node.truncate(end);
                node.drain(..start);
                Ok(node)
            }
            node => memory::copy(node.get(start..end).unwrap_or_default()),
        }
    }
}

/// The value stored under `key`: the first one, if there are several.
pub(crate) fn lookup<'a>(file: &'a TreeFile, root: Option<Root>, key: &[u8]) -> Result<Found<'a>> {
    let Some(root) = root else { return Err(Error::DocNotFound) };
    let mut guarded = Guarded::new(file, Reading::Seeking);
    let mut child = Child { hint: Hint::Subtree(root.subtree_size), ..Child::root(root.position) };
    let mut memory = Room::default();
    loop {
        let (kind, node) = guarded.read_into(child, memory)?;
        let malformed = |rule| file.malformed(child.position, rule);
        let start = node.seek(1, key).map_err(malformed)?;
        let entry = entry_at(&node, start).map_err(malformed)?;
        let is_interior = kind == NodeKind::Interior;
        let Some((entry, end)) = entry.filter(|(entry, _)| is_interior || entry.key == key) else {
            file.keep_node_memory(node.into_memory());
            return Err(Error::DocNotFound);
        };
        if !is_interior {
            // An entry ends with its value.
            let range = end - entry.value.len()..end;
            return Ok(Found { file, node, range, position: child.position });
        }
        let pointer = ChildPointer::parse(entry.value).map_err(malformed)?;
        child = Child { hint: Hint::Subtree(pointer.subtree_size), ..child.below(pointer.position) };
        memory = node.into_memory();
    }
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
    // Counts of a damaged file may be of any size.
    let mut count = 0_u64;
    let mut partial = Vec::new();
    let mut lowest: Option<&[u8]> = None;
    for entry in Entries::of(&node) {
        let entry = entry.map_err(broken)?;
        match kind {
            NodeKind::Leaf => count = count.saturating_add(u64::from(entry.key >= min && entry.key <= max)),
            NodeKind::Interior => {
                let begins_before_end = lowest.is_none_or(|lowest| lowest <= max);
                if entry.key >= min && begins_before_end {
                    let pointer = ChildPointer::parse(entry.value).map_err(broken)?;
                    if entry.key <= max && lowest.is_some_and(|lowest| lowest >= min) {
                        count = count.saturating_add(parse_count(pointer.reduce).map_err(broken)?);
                    } else {
                        memory::push(&mut partial, pointer.position)?;
                    }
                }
                lowest = Some(entry.key);
            }
        }
    }
    for position in partial {
        count = count.saturating_add(count_node(guarded, child.below(position), min, max)?);
    }
    Ok(count)
}
