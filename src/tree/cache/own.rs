// SPDX-License-Identifier: Apache-2.0

//! What one handle keeps for itself.

use super::grant::Granted;
use super::node::KeptNode;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use std::sync::Arc;

/// Bytes of nodes that a handle keeps while nothing goes on. With its table it comes to no more than 48 KiB.
const IDLE: u64 = 40 << 10;
/// Bytes of nodes that it keeps at most while it works.
const MOST: u64 = 1 << 20;
/// Nodes are about this large; decides how much is remembered of those that had to go.
const USUAL_NODE: u64 = 1 << 10;

#[derive(Clone, Copy)]
struct ByMemory;

impl Weighter<u64, Arc<KeptNode>> for ByMemory {
    fn weight(&self, _: &u64, node: &Arc<KeptNode>) -> u64 {
        node.weight()
    }
}

type Table = Cache<u64, Arc<KeptNode>, ByMemory>;

/// The nodes of one handle, by position.
pub(super) struct OwnNodes {
    table: Table,
    granted: Granted,
}

fn table(capacity: u64) -> Table {
    Cache::with_weighter((MOST / USUAL_NODE) as usize, capacity, ByMemory)
}

impl Default for OwnNodes {
    fn default() -> OwnNodes {
        OwnNodes::with(Granted::default())
    }
}

impl OwnNodes {
    fn with(granted: Granted) -> OwnNodes {
        OwnNodes { table: table(IDLE), granted }
    }

    pub(super) fn get(&self, position: u64) -> Option<Arc<KeptNode>> {
        self.table.get(&position).cloned()
    }

    pub(super) fn insert(&mut self, position: u64, node: Arc<KeptNode>) {
        let capacity = self.table.capacity();
        if self.table.weight() + node.weight() > capacity && capacity < MOST && self.granted.ask_for_more() {
            self.table.set_capacity(IDLE + self.granted.bytes());
        }
        self.table.insert(position, node);
    }

    /// Forgets the nodes from this position on.
    pub(super) fn forget_from(&mut self, position: u64) {
        self.table.retain(|&at, _| at < position);
    }

    /// Nothing goes on: keeps no more than a handle may that does nothing.
    pub(super) fn trim(&mut self) {
        if self.granted.bytes() == 0 {
            return;
        }
        self.table.set_capacity(IDLE);
        // A new table: the old one has room for many more.
        let mut full = std::mem::replace(&mut self.table, table(IDLE));
        for (position, node) in full.drain() {
            self.table.insert(position, node);
        }
        self.granted.give_back();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::grant::{OF_A_PROCESS, Pool};
    use super::*;
    use crate::format::node::{NodeKind, push_entry};

    fn node(length: usize) -> Arc<KeptNode> {
        let mut bytes = vec![NodeKind::Leaf as u8];
        push_entry(&mut bytes, b"key", &vec![0; length]);
        Arc::new(KeptNode::new(&bytes, 0).unwrap())
    }

    #[test]
    fn no_handle_keeps_more_than_it_may_and_all_together_do_not_either() {
        // Not that of the process: other tests would go without meanwhile.
        static POOL: Pool = Pool::new(OF_A_PROCESS);
        let mut handles: Vec<_> = (0..100).map(|_| OwnNodes::with(Granted::of(&POOL))).collect();
        for own in &mut handles {
            for position in 0..2000 {
                own.insert(position, node(1000));
                assert!(
                    own.table.weight() <= IDLE + own.granted.bytes() && own.table.weight() <= MOST + IDLE
                );
            }
        }
        let total: u64 = handles.iter().map(|own| own.table.weight()).sum();
        assert!(total <= OF_A_PROCESS + 100 * IDLE, "{total}");
        assert!(handles.first().unwrap().table.weight() > MOST / 2);
        assert!(handles.last().unwrap().table.weight() <= IDLE);
        for own in &mut handles {
            own.trim();
            assert!(own.table.weight() <= IDLE && own.granted.bytes() == 0);
        }
        assert!(handles.first().unwrap().table.weight() > IDLE / 2);
        let own = handles.first_mut().unwrap();
        own.insert(7, node(10 << 20));
        assert!(own.get(7).is_none() && own.table.weight() <= MOST + IDLE, "what is too large is not kept");
        own.insert(5, node(10));
        own.insert(9, node(10));
        own.forget_from(9);
        assert!(own.get(5).is_some() && own.get(9).is_none());
    }
}
