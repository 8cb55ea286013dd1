// SPDX-License-Identifier: Apache-2.0

//! Reading by plan: leaves that come next are read before they are entered, near ones at once.
//!
//! A file that is written to again and again has the leaves of one pointer node in many places, and beside each of them
//! leaves of the pointer nodes that follow. So a plan reaches over several pointer nodes; those are read before it, and
//! kept until the cursor enters them. Plans begin small: whoever scans may want a few entries only.
//!
//! A file that was compacted has its leaves in order, with bodies between them if the tree is that by sequence number. There
//! a plan reaches as far as leaves and what is between them can be read at once; and as long as what comes next was read
//! already, be it with bodies, none is made.

use super::super::cache::Node;
use super::Cursor;
use super::load::Load;
use crate::error::{Error, Result};
use crate::format::chunk::PREFIX;
use crate::format::node::{ChildPointer, NodeKind, compare_keys, entry_at};
use crate::io::buffered::Plan;
use crate::memory;
use std::collections::VecDeque;

/// Fewer keys than this below a pointer node are looked up one by one.
const FEWEST_KEYS: usize = 4;
/// A plan reaches over no more pointer nodes,
const WIDEST: usize = 16;
/// which are about as large.
const POINTER_NODE: u64 = 1311;
/// The leaves of a pointer node that is much larger are planned when it is entered.
const LARGEST: usize = 64 << 10;

/// A pointer node that was read before it is entered, or what is wrong with it.
pub(super) struct Upcoming {
    pub(super) position: u64,
    /// With what it takes in the file.
    pub(super) node: Result<(Node, u64)>,
}

/// Which leaves a cursor will come to.
#[derive(Default)]
pub(super) enum Wanted<'a> {
    /// Nobody knows.
    #[default]
    Unknown,
    /// All, up to the one that holds this key if that is given.
    All(Option<Vec<u8>>),
    /// Those that hold these keys, which are in ascending order.
    Keys(&'a [&'a [u8]]),
}

/// How far a plan reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// To the last child of a node: it may go on with the next one.
    NodesEnd,
    /// It has enough.
    Enough,
    /// No more are wanted, or nothing is known of what comes.
    End,
}

/// What a cursor has planned.
#[derive(Default)]
pub(super) struct Plans<'a> {
    pub(super) wanted: Wanted<'a>,
    /// Index of the key that is looked for.
    pub(super) key: usize,
    /// Bodies are wanted as well.
    pub(super) with_bodies: bool,
    /// Leaves up to the one with this highest key are planned. None are before the first plan.
    planned: Option<Vec<u8>>,
    /// A pointer node, by its position, and whether its leaves are worth a plan: decided at the first of them that is missing.
    judged: Option<(u64, bool)>,
    /// The pointer nodes that come next and were looked at for a plan, below the one at this position.
    upcoming: VecDeque<Upcoming>,
    parent: u64,
    /// Pointer nodes of the last plan.
    width: usize,
}

impl Plans<'_> {
    pub(super) fn are_made(&self) -> bool {
        !matches!(self.wanted, Wanted::Unknown)
    }

    /// The node at `position`, if it was read for a plan.
    pub(super) fn take(&mut self, position: u64) -> Option<Result<(Node, u64)>> {
        while let Some(upcoming) = self.upcoming.pop_front() {
            if upcoming.position == position {
                self.judged = Some((position, true));
                return Some(upcoming.node);
            }
        }
        None
    }

    fn are_planned_up_to(&self, key: &[u8]) -> bool {
        self.planned.as_deref().is_some_and(|planned| compare_keys(key, planned).is_le())
    }

    fn note_planned(&mut self, key: &[u8]) {
        if !self.are_planned_up_to(key) {
            let planned = self.planned.get_or_insert_default();
            planned.clear();
            planned.extend_from_slice(key);
        }
    }

    /// Whether the leaves of a pointer node with this highest key are worth a plan.
    fn are_many(&self, highest: Option<&[u8]>) -> bool {
        let Wanted::Keys(keys) = self.wanted else { return true };
        let last = keys.get(self.key.saturating_add(FEWEST_KEYS - 1));
        last.is_some_and(|last| highest.is_none_or(|highest| *last <= highest))
    }

    /// Adds those children of a node that are wanted, from the one at byte `offset` on and from the key of index `key` on,
    /// which goes on.
    fn add_children(&self, node: &[u8], offset: usize, key: &mut usize, load: &mut Load) -> Result<Reach> {
        let (mut offset, mut highest) = (offset, &[][..]);
        let reach = loop {
            // A node that is damaged from somewhere on is read up to there; whoever comes there meets the error.
            let Ok(found) = entry_at(node, offset) else { break Reach::End };
            let Some((entry, next)) = found else { break Reach::NodesEnd };
            let Ok(child) = ChildPointer::parse(entry.value) else { break Reach::End };
            if load.has_enough() || load.comes_with_bodies(&child, node, next) {
                break Reach::Enough;
            }
            offset = next;
            if let Wanted::Keys(keys) = self.wanted {
                let rest = keys.get(*key..).unwrap_or_default();
                if rest.is_empty() {
                    break Reach::End;
                }
                let held = rest.iter().take_while(|key| **key <= entry.key).count();
                if held == 0 {
                    continue;
                }
                *key += held;
            }
            load.add(&child)?;
            // In a damaged file that need not be the last one.
            if compare_keys(entry.key, highest).is_gt() {
                highest = entry.key;
            }
            if let Wanted::All(Some(until)) = &self.wanted
                && *entry.key >= **until
            {
                break Reach::End;
            }
        };
        load.note_key(highest);
        Ok(reach)
    }
}

impl Cursor<'_> {
    /// A leaf is about to be read: reads ahead those that come next, from that one on, unless it was read already.
    pub(super) fn plan(&mut self, position: u64, size: u64) -> Result<()> {
        let Some(frame) = self.frames.last() else { return Ok(()) };
        let Ok(entry) = frame.entry() else { return Ok(()) };
        let file = self.guarded.file;
        if self.plans.are_planned_up_to(entry.key)
            || !file.reads_by_plan()
            || file.has_read(position, size.max(PREFIX as u64)).is_some()
        {
            return Ok(());
        }
        // Whatever becomes of this plan: none is made again for this leaf.
        self.plans.note_planned(entry.key);
        if !self.is_worth_a_plan() {
            return Ok(());
        }
        let Some(frame) = self.frames.last() else { return Ok(()) };
        let mut leaves = Load::of_leaves(self.plans.with_bodies);
        let mut key = self.plans.key;
        let mut reach = self.plans.add_children(&frame.node, frame.current, &mut key, &mut leaves)?;
        self.plans.note_planned(leaves.highest());
        if reach == Reach::NodesEnd {
            reach = self.plan_wider(key, &mut leaves)?;
            self.plans.note_planned(leaves.highest());
        }
        // The node above was looked at, too.
        let ends_above = || self.frames.iter().rev().skip(2).all(|frame| frame.next >= frame.node.len());
        let are_last = reach == Reach::End || reach == Reach::NodesEnd && ends_above();
        // All that belongs to a tree lies before its root.
        let root = self.root.as_ref().map_or(0, |root| root.position);
        let before = if are_last { 0 } else { root };
        self.guarded.read_ahead(Plan::Leaves { before }, leaves.into_nodes())
    }

    /// Whether enough is wanted below the pointer node at hand.
    fn is_worth_a_plan(&mut self) -> bool {
        let Some(frame) = self.frames.last() else { return false };
        if let Some((position, are_many)) = self.plans.judged
            && position == frame.position
        {
            return are_many;
        }
        let above = self.frames.len().checked_sub(2).and_then(|above| self.frames.get(above));
        let highest = above.and_then(|above| above.entry().ok()).map(|entry| entry.key);
        let are_many = self.plans.are_many(highest);
        self.plans.judged = Some((frame.position, are_many));
        are_many
    }

    /// Adds the leaves of the pointer nodes that come next, from the key of index `key` on.
    fn plan_wider(&mut self, key: usize, leaves: &mut Load) -> Result<Reach> {
        let width = self.plans.width;
        self.plans.width = (width * 2).clamp(1, WIDEST);
        let reach = self.look_at_siblings(width, key, leaves.length())?;
        let mut key = key;
        for Upcoming { node, .. } in self.plans.upcoming.iter().take(width) {
            let Ok((node, _)) = node else { return Ok(Reach::End) };
            if !is_small_interior(node) {
                return Ok(Reach::Enough);
            }
            match self.plans.add_children(node, 1, &mut key, leaves)? {
                Reach::NodesEnd => {}
                reach => return Ok(reach),
            }
        }
        Ok(if self.plans.upcoming.len() > width { Reach::Enough } else { reach })
    }

    /// Looks at up to `width` of the pointer nodes that come next, unless that was done: at no more than there is room for in
    /// a plan that has so many bytes already.
    fn look_at_siblings(&mut self, width: usize, key: usize, length: u64) -> Result<Reach> {
        let above = self.frames.len().checked_sub(2).and_then(|above| self.frames.get(above));
        let Some(above) = above else { return Ok(Reach::NodesEnd) };
        let (parent, mut key) = (above.position, key);
        // Those below others were stepped over.
        if std::mem::replace(&mut self.plans.parent, parent) != parent {
            self.plans.upcoming.clear();
        }
        let mut siblings = Load::of_pointers(width, length);
        let reach = self.plans.add_children(&above.node, above.next, &mut key, &mut siblings)?;
        let mut siblings = siblings.into_nodes();
        siblings.retain(|&(position, _)| !self.plans.upcoming.iter().any(|known| known.position == position));
        // Their sizes in the node above are those of all that is below them.
        for (_, size) in &mut siblings {
            *size = POINTER_NODE;
        }
        self.guarded.read_ahead(Plan::Pointers, memory::copy(&siblings)?)?;
        for (position, _) in siblings {
            let node = match self.guarded.look_ahead(position, parent) {
                // It ends the scan. What is damaged is met when the cursor comes there.
                Err(error @ Error::Io { .. }) => return Err(error),
                node => node,
            };
            let is_small = node.as_ref().is_ok_and(|(node, _)| is_small_interior(node));
            self.plans.upcoming.push_back(Upcoming { position, node });
            // No plan reaches over others, and they may take much memory.
            if !is_small {
                return Ok(Reach::Enough);
            }
        }
        Ok(reach)
    }
}

fn is_small_interior(node: &[u8]) -> bool {
    node.first() == Some(&(NodeKind::Interior as u8)) && node.len() <= LARGEST
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::format::node::push_entry;

    fn node_of(children: &[(&str, u64, u64)]) -> Vec<u8> {
        let mut node = vec![NodeKind::Interior as u8];
        for (key, position, size) in children {
            let mut value = position.to_be_bytes()[2..].to_vec();
            value.extend_from_slice(&size.to_be_bytes()[2..]);
            value.extend_from_slice(&[0, 0]);
            push_entry(&mut node, key.as_bytes(), &value);
        }
        node
    }

    /// Otherwise one plan after the other would be made for leaves that are planned already.
    #[test]
    fn leaves_are_planned_up_to_the_highest_of_their_keys() {
        let mut plans = Plans { wanted: Wanted::All(None), ..Plans::default() };
        let mut load = Load::of_leaves(false);
        for node in [node_of(&[("b", 1, 1), ("f", 2, 1), ("a", 3, 1)]), node_of(&[("c", 4, 1), ("e", 5, 1)])]
        {
            assert!(plans.add_children(&node, 1, &mut 0, &mut load).unwrap() == Reach::NodesEnd);
            assert_eq!(load.highest(), b"f");
        }
        plans.note_planned(load.highest());
        plans.note_planned(b"c");
        assert!(plans.are_planned_up_to(b"f") && !plans.are_planned_up_to(b"g"));
    }

    /// Whatever sizes they claim.
    #[test]
    fn a_plan_has_enough_at_some_time() {
        let plans = Plans { wanted: Wanted::All(None), ..Plans::default() };
        for size in [0, 1, 500, 1 << 40, (1 << 48) - 1] {
            let children: Vec<_> = (0..50_000).map(|number| ("k", number << 20, size)).collect();
            let mut load = Load::of_leaves(true);
            let reach = plans.add_children(&node_of(&children), 1, &mut 0, &mut load).unwrap();
            let count = load.into_nodes().len();
            assert!(reach == Reach::Enough && (1..=16_000).contains(&count), "{size}: {count}");
        }
    }
}
