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
use crate::error::{Error, Result};
use crate::format::node::{ChildPointer, NodeKind, entry_at};
use crate::io::buffered::Plan;
use crate::memory;
use std::collections::VecDeque;

/// Leaves of a plan take about as much in the file. They are read with what is between them, which is no more than
/// [`crate::io`] keeps of a plan.
const ENOUGH: u64 = 112 << 10;
/// Leaves with no more than this between them are read as one even by those who do not want what is there: with each page of
/// the file there comes one of them.
const NEAR: u64 = 4 << 10;
/// Where bodies are wanted, that is what is there.
const NEAR_WITH_BODIES: u64 = 16 << 10;
/// If no more than this is between, there are bodies that will be read before the leaf behind them, and that leaf with them.
const WITHIN_BODIES: u64 = 256 << 10;
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

/// Nodes that are to be read at once, in the order of their keys.
#[derive(Default)]
struct Load {
    /// Their positions and sizes.
    nodes: Vec<(u64, u64)>,
    /// What they take in the file, with what is between near ones.
    length: u64,
    /// Where the last one ends.
    end: Option<u64>,
    with_bodies: bool,
}

impl Load {
    /// What is between the last one and one at this position, if that stands behind it.
    fn between(&self, position: u64) -> Option<u64> {
        position.checked_sub(self.end?)
    }

    fn add(&mut self, position: u64, size: u64) -> Result<()> {
        let near = if self.with_bodies { NEAR_WITH_BODIES } else { NEAR };
        let between = self.between(position).filter(|between| *between <= near);
        self.length = self.length.saturating_add(between.unwrap_or(0)).saturating_add(size);
        self.end = Some(position.saturating_add(size));
        memory::push(&mut self.nodes, (position, size))
    }

    /// Whether it ends before a node at this position.
    fn is_complete_before(&self, position: u64) -> bool {
        let comes_with_bodies = |between| (NEAR_WITH_BODIES + 1..=WITHIN_BODIES).contains(&between);
        self.length >= ENOUGH || self.with_bodies && self.between(position).is_some_and(comes_with_bodies)
    }
}

/// What a cursor has planned.
#[derive(Default)]
pub(super) struct Plans<'a> {
    pub(super) wanted: Wanted<'a>,
    /// Index of the key that is looked for.
    pub(super) key: usize,
    /// Bodies are wanted as well.
    pub(super) with_bodies: bool,
    /// So many of the leaves that come next and are not in memory are planned.
    left: usize,
    /// The pointer nodes that come next and were looked at for a plan.
    upcoming: VecDeque<Upcoming>,
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
                return Some(upcoming.node);
            }
        }
        None
    }

    /// Whether the leaves of a pointer node with this highest key are worth a plan.
    fn are_many(&self, highest: Option<&[u8]>) -> bool {
        let Wanted::Keys(keys) = self.wanted else { return true };
        let last = keys.get(self.key.saturating_add(FEWEST_KEYS - 1));
        last.is_some_and(|last| highest.is_none_or(|highest| *last <= highest))
    }

    /// Adds those children of a node that are wanted, from the one at byte `offset` on and from the key of index `key` on,
    /// which goes on. False: no more are wanted behind them, or there is no room for them.
    fn add_children(&self, node: &[u8], offset: usize, key: &mut usize, load: &mut Load) -> Result<bool> {
        let mut offset = offset;
        // A node that is damaged from somewhere on is read up to there; whoever comes there meets the error.
        while let Ok(Some((entry, next))) = entry_at(node, offset) {
            let Ok(child) = ChildPointer::parse(entry.value) else { return Ok(false) };
            if load.is_complete_before(child.position) {
                return Ok(false);
            }
            offset = next;
            if let Wanted::Keys(keys) = self.wanted {
                let rest = keys.get(*key..).unwrap_or_default();
                let held = rest.iter().take_while(|key| **key <= entry.key).count();
                if rest.is_empty() {
                    return Ok(false);
                }
                if held == 0 {
                    continue;
                }
                *key += held;
            }
            load.add(child.position, child.subtree_size)?;
            if let Wanted::All(Some(until)) = &self.wanted
                && *entry.key >= **until
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Cursor<'_> {
    /// A leaf is about to be read: reads ahead those that come next, from that one on, unless it was read already.
    pub(super) fn plan(&mut self, position: u64, size: u64) -> Result<()> {
        if self.plans.left > 0 {
            self.plans.left -= 1;
            return Ok(());
        }
        let above = self.frames.len().checked_sub(2).and_then(|above| self.frames.get(above));
        let highest = above.and_then(|above| above.entry().ok()).map(|entry| entry.key);
        let Some(frame) = self.frames.last() else { return Ok(()) };
        if self.guarded.file.has_read(position, size).is_some() || !self.plans.are_many(highest) {
            return Ok(());
        }
        let mut leaves = Load { with_bodies: self.plans.with_bodies, ..Load::default() };
        let mut key = self.plans.key;
        let goes_on = self.plans.add_children(&frame.node, frame.current, &mut key, &mut leaves)?;
        // If the plan fails, none is made again for these.
        self.plans.left = leaves.nodes.len();
        if goes_on {
            self.plan_wider(key, &mut leaves)?;
        }
        let planned = self.guarded.read_ahead(Plan::Leaves, leaves.nodes)?;
        self.plans.left = planned.saturating_sub(1);
        Ok(())
    }

    /// Adds the leaves of the pointer nodes that come next, from the key of index `key` on.
    fn plan_wider(&mut self, key: usize, leaves: &mut Load) -> Result<()> {
        let width = self.plans.width;
        self.plans.width = (width * 2).clamp(1, WIDEST);
        self.look_at_siblings(width, key, leaves.length)?;
        let mut key = key;
        for Upcoming { node, .. } in self.plans.upcoming.iter().take(width) {
            let goes_on = match node {
                Ok((node, _)) if is_small_interior(node) => {
                    self.plans.add_children(node, 1, &mut key, leaves)?
                }
                _ => false,
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Looks at up to `width` of the pointer nodes that come next, unless that was done: at no more than there is room for in
    /// a plan that has so many bytes already.
    fn look_at_siblings(&mut self, width: usize, key: usize, length: u64) -> Result<()> {
        let above = self.frames.len().checked_sub(2).and_then(|above| self.frames.get(above));
        let Some(above) = above else { return Ok(()) };
        let (parent, mut key) = (above.position, key);
        let mut siblings = Load { length, ..Load::default() };
        self.plans.add_children(&above.node, above.next, &mut key, &mut siblings)?;
        let mut siblings = siblings.nodes;
        siblings.truncate(width);
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
            self.plans.upcoming.push_back(Upcoming { position, node });
        }
        Ok(())
    }
}

fn is_small_interior(node: &[u8]) -> bool {
    node.first() == Some(&(NodeKind::Interior as u8)) && node.len() <= LARGEST
}
