//! What one handle keeps for itself.

use super::node::KeptNode;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of nodes that a handle keeps while nothing goes on. With its table it comes to no more than 48 KiB.
const IDLE: u64 = 40 << 10;
/// Bytes of nodes that it keeps at most while it works.
const MOST: u64 = 1 << 20;
/// It asks for so many more bytes at a time.
const STEP: u64 = 64 << 10;
/// What the handles of a process keep together beyond what each of them has anyway.
const ALL_HANDLES: u64 = 64 << 20;
/// Nodes are about this large; decides how much is remembered of those that had to go.
const USUAL_NODE: u64 = 1 << 10;

/// Bytes that handles of this process have been granted.
static GRANTED: AtomicU64 = AtomicU64::new(0);

/// A handle that is opened for one flush or one fetch goes down its trees no more often than this: what it read would
/// not be asked for again.
const FIRST_DESCENTS: u32 = 4;

#[derive(Clone, Copy)]
struct ByMemory;

impl Weighter<u64, Arc<KeptNode>> for ByMemory {
    fn weight(&self, _: &u64, node: &Arc<KeptNode>) -> u64 {
        node.weight()
    }
}

type Table = Cache<u64, Arc<KeptNode>, ByMemory>;

/// The nodes of one handle, by position.
#[derive(Default)]
pub(super) struct OwnNodes {
    table: Option<Box<Table>>,
    /// How often its trees were gone down.
    descents: u32,
    /// What of [`ALL_HANDLES`] is this handle's.
    granted: u64,
}

fn table(capacity: u64) -> Box<Table> {
    Box::new(Cache::with_weighter((MOST / USUAL_NODE) as usize, capacity, ByMemory))
}

impl OwnNodes {
    /// A tree is about to be gone down.
    pub(super) fn begin_descent(&mut self) {
        self.descents = self.descents.saturating_add(1);
    }

    /// Whether it is worth while to keep nodes.
    pub(super) fn is_active(&self) -> bool {
        self.descents > FIRST_DESCENTS
    }

    pub(super) fn get(&self, position: u64) -> Option<Arc<KeptNode>> {
        self.table.as_ref()?.get(&position).cloned()
    }

    pub(super) fn insert(&mut self, position: u64, node: Arc<KeptNode>) {
        let table = self.table.get_or_insert_with(|| table(IDLE));
        let capacity = table.capacity();
        if table.weight() + node.weight() > capacity && capacity < MOST && grant() {
            self.granted += STEP;
            table.set_capacity(IDLE + self.granted);
        }
        table.insert(position, node);
    }

    /// Forgets the nodes from this position on.
    pub(super) fn forget_from(&mut self, position: u64) {
        if let Some(table) = &mut self.table {
            table.retain(|&at, _| at < position);
        }
    }

    /// Takes all nodes out.
    pub(super) fn take_all(&mut self) -> Vec<(u64, Arc<KeptNode>)> {
        self.table.as_mut().map(|table| table.drain().collect()).unwrap_or_default()
    }

    /// Nothing goes on: keeps no more than a handle may that does nothing.
    pub(super) fn trim(&mut self) {
        if self.granted == 0 {
            return;
        }
        if let Some(mut full) = self.table.take() {
            full.set_capacity(IDLE);
            // A new table: the old one has room for many more.
            let mut rest = table(IDLE);
            for (position, node) in full.drain() {
                rest.insert(position, node);
            }
            self.table = Some(rest);
        }
        self.give_back();
    }

    fn give_back(&mut self) {
        GRANTED.fetch_sub(std::mem::take(&mut self.granted), Ordering::Relaxed);
    }

    #[cfg(test)]
    fn weight(&self) -> u64 {
        self.table.as_ref().map_or(0, |table| table.weight())
    }
}

/// Asks for one more [`STEP`].
fn grant() -> bool {
    let more = |granted: u64| Some(granted + STEP).filter(|&sum| sum <= ALL_HANDLES);
    GRANTED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

impl Drop for OwnNodes {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::format::node::{NodeKind, push_entry};

    fn node(length: usize) -> Arc<KeptNode> {
        let mut bytes = vec![NodeKind::Leaf as u8];
        push_entry(&mut bytes, b"key", &vec![0; length]);
        Arc::new(KeptNode::new(bytes, 0).unwrap())
    }

    /// One test, since what all handles have together is one number.
    #[test]
    fn no_handle_keeps_more_than_it_may_and_all_together_do_not_either() {
        let mut handles: Vec<_> = (0..100).map(|_| OwnNodes::default()).collect();
        for own in &mut handles {
            for position in 0..2000 {
                own.insert(position, node(1000));
                assert!(own.weight() <= IDLE + own.granted && own.weight() <= MOST + IDLE);
            }
        }
        let total: u64 = handles.iter().map(OwnNodes::weight).sum();
        assert!(total <= ALL_HANDLES + 100 * IDLE, "{total}");
        assert!(handles.first().unwrap().weight() > MOST / 2);
        assert!(handles.last().unwrap().weight() <= IDLE);
        for own in &mut handles {
            own.trim();
            assert!(own.weight() <= IDLE && own.granted == 0);
        }
        assert!(handles.first().unwrap().weight() > IDLE / 2);
        let own = handles.first_mut().unwrap();
        own.insert(7, node(10 << 20));
        assert!(own.get(7).is_none() && own.weight() <= MOST, "what is too large is not kept");
        own.insert(5, node(10));
        own.insert(9, node(10));
        own.forget_from(9);
        assert!(own.get(5).is_some() && own.get(9).is_none());
    }
}
