// SPDX-License-Identifier: Apache-2.0

//! Reading by plan: leaves that come next are read before they are entered, near ones at once.
//!
//! A file that is written to again and again has the leaves of one pointer node in many places, and beside each of them
//! leaves of the pointer nodes that follow. So a plan reaches over several pointer nodes; those are read before it, and
//! kept until the cursor enters them. Plans begin small: whoever scans may want a few entries only.

use super::super::cache::Node;
use super::Cursor;
use crate::error::{Error, Result};
use crate::format::node::{ChildPointer, NodeKind, entry_at};
use crate::memory;
use std::collections::VecDeque;

/// Leaves of a plan take about as much in the file. They are read with what is between them, which is no more than
/// [`crate::io`] keeps of a plan.
const ENOUGH: u64 = 112 << 10;
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

/// What a cursor has planned.
#[derive(Default)]
pub(super) struct Plans<'a> {
    pub(super) wanted: Wanted<'a>,
    /// Index of the key that is looked for.
    pub(super) key: usize,
    /// The pointer nodes that come next; their leaves are planned.
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

    /// Adds positions and sizes of those children of a node that are wanted, from the one at byte `offset` on and from
    /// the key of index `key` on, which goes on. False: no more are wanted behind them.
    fn add_children(
        &self,
        node: &[u8],
        offset: usize,
        key: &mut usize,
        children: &mut Vec<(u64, u64)>,
    ) -> Result<bool> {
        let mut offset = offset;
        // A node that is damaged from somewhere on is read up to there; whoever comes there meets the error.
        while let Ok(Some((entry, next))) = entry_at(node, offset) {
            let Ok(child) = ChildPointer::parse(entry.value) else { return Ok(false) };
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
            memory::push(children, (child.position, child.subtree_size))?;
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
    /// Reads ahead the leaves that come next, once for each node above them.
    pub(super) fn plan(&mut self) -> Result<()> {
        let above = self.frames.len().checked_sub(2).and_then(|above| self.frames.get(above));
        let highest = above.and_then(|above| above.entry().ok()).map(|entry| entry.key);
        let are_many = self.plans.are_many(highest);
        let Some(frame) = self.frames.last_mut().filter(|frame| !frame.planned) else { return Ok(()) };
        frame.planned = true;
        if !are_many {
            return Ok(());
        }
        let (mut leaves, mut key) = (Vec::new(), self.plans.key);
        let goes_on = self.plans.add_children(&frame.node, frame.current, &mut key, &mut leaves)?;
        if goes_on {
            self.plan_wider(key, &mut leaves)?;
        }
        self.guarded.read_ahead(NodeKind::Leaf, leaves)
    }

    /// Adds the leaves of the pointer nodes that come next, from the key of index `key` on.
    fn plan_wider(&mut self, key: usize, leaves: &mut Vec<(u64, u64)>) -> Result<()> {
        let width = self.plans.width;
        self.plans.width = (width * 2).clamp(1, WIDEST);
        let Some(above) = self.frames.len().checked_sub(2).and_then(|above| self.frames.get(above)) else {
            return Ok(());
        };
        let (mut siblings, mut key_above, mut key) = (Vec::new(), key, key);
        self.plans.add_children(&above.node, above.next, &mut key_above, &mut siblings)?;
        siblings.truncate(width);
        let parent = above.position;
        // Their sizes in the node above are those of all that is below them.
        for (_, size) in &mut siblings {
            *size = POINTER_NODE;
        }
        self.guarded.read_ahead(NodeKind::Interior, memory::copy(&siblings)?)?;
        let mut planned: u64 = leaves.iter().map(|&(_, size)| size).sum();
        for (position, _) in siblings {
            if planned >= ENOUGH {
                break;
            }
            let node = match self.guarded.look_ahead(position, parent) {
                // It ends the scan. What is damaged is met when the cursor comes there.
                Err(error @ Error::Io { .. }) => return Err(error),
                node => node,
            };
            let first = leaves.len();
            let goes_on = match &node {
                Ok((node, _)) if is_small_interior(node) => {
                    self.plans.add_children(node, 1, &mut key, leaves)?
                }
                _ => false,
            };
            self.plans.upcoming.push_back(Upcoming { position, node });
            if !goes_on {
                break;
            }
            planned += leaves.iter().skip(first).map(|&(_, size)| size).sum::<u64>();
        }
        Ok(())
    }
}

fn is_small_interior(node: &[u8]) -> bool {
    node.first() == Some(&(NodeKind::Interior as u8)) && node.len() <= LARGEST
}
