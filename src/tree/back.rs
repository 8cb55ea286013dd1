// SPDX-License-Identifier: Apache-2.0

//! Reading trees backwards.
//!
//! The entries of a node can be found from its beginning only. So whoever goes backwards notes where each of them begins
//! when a node is entered, and takes the last one first. Every node is read once.

use super::cache::Node;
use super::cache::file::{Reading, TreeFile};
use super::read::{Child, Guarded};
use crate::error::Result;
use crate::format::Malformed;
use crate::format::header::NodeRef;
use crate::format::node::{ChildPointer, Entries, Entry, NodeKind, compare_keys, entry_at};
use crate::io::file::Hint;
use crate::memory;

/// Where an entry stands: the file offset of its leaf, and its offset in that.
pub(crate) type Place = (u64, usize);

/// A node that was entered.
struct Frame {
    node: Node,
    kind: NodeKind,
    position: u64,
    /// Where the entries begin that were not visited yet.
    starts: Vec<usize>,
}

/// Goes through a tree in descending order of keys; entries of the same key come in reverse order, too.
pub(crate) struct BackCursor<'a> {
    file: &'a TreeFile,
    guarded: Guarded<'a>,
    root: Option<NodeRef>,
    frames: Vec<Frame>,
    /// Entries with larger keys are not visited.
    until: Option<Vec<u8>>,
}

impl<'a> BackCursor<'a> {
    /// A cursor behind the last entry with a key of at most `until`.
    pub(crate) fn new(file: &'a TreeFile, root: Option<&NodeRef>, until: Option<&[u8]>) -> BackCursor<'a> {
        BackCursor {
            file,
            guarded: Guarded::new(file, Reading::Scanning),
            root: root.cloned(),
            frames: Vec::new(),
            until: until.map(<[u8]>::to_vec),
        }
    }

    /// The entry before, and where it stands.
    pub(crate) fn next_entry(&mut self) -> Result<Option<(Entry<'_>, Place)>> {
        if let Some(root) = self.root.take() {
            self.enter(Child { hint: Hint::Subtree(root.subtree_size), ..Child::root(root.position) })?;
        }
        let place = loop {
            let depth = self.frames.len();
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            let Some(start) = frame.starts.pop() else {
                self.frames.pop();
                continue;
            };
            if frame.kind == NodeKind::Leaf {
                break (frame.position, start);
            }
            let child = entry_in(&frame.node, start).and_then(|entry| ChildPointer::parse(entry.value));
            let child = child.map_err(|rule| self.file.malformed(frame.position, rule))?;
            let (position, hint) = (child.position, Hint::Subtree(child.subtree_size));
            let parent = frame.position;
            self.enter(Child { position, parent, depth, hint })?;
        };
        let (position, start) = place;
        let node = self.frames.last().map_or(&[][..], |frame| &frame.node);
        let entry = entry_in(node, start).map_err(|rule| self.file.malformed(position, rule))?;
        Ok(Some((entry, place)))
    }

    fn enter(&mut self, child: Child) -> Result<()> {
        let (kind, node) = self.guarded.read(child)?;
        let mut starts = Vec::new();
        let mut entries = Entries::of(&node);
        loop {
            let start = entries.offset();
            let Some(entry) = entries.next() else { break };
            let key = entry.map_err(|rule| self.file.malformed(child.position, rule))?.key;
            let is_above = self.until.as_deref().is_some_and(|until| compare_keys(key, until).is_gt());
            if is_above && kind == NodeKind::Leaf {
                break;
            }
            memory::push(&mut starts, start)?;
            if is_above {
                // The key of a child is the highest below it: there may be smaller ones, but not below the next child.
                break;
            }
        }
        self.frames.push(Frame { node, kind, position: child.position, starts });
        Ok(())
    }
}

fn entry_in(node: &[u8], start: usize) -> Result<Entry<'_>, Malformed> {
    let (entry, _) = entry_at(node, start)?.ok_or(Malformed("an entry"))?;
    Ok(entry)
}
