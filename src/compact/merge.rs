//! Merging sorted runs of entries, wherever they are.

use crate::error::Result;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

/// Takes sorted entries: key and value.
pub(crate) type OnSorted<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// Entries in ascending order of keys, one at a time.
pub(super) trait Run {
    /// Goes to the next entry, at first to the first one; false: there is none.
    fn advance(&mut self) -> Result<bool>;
    /// Key of the entry at hand.
    fn key(&self) -> &[u8];
    /// Its value.
    fn value(&self) -> &[u8];
}

/// First eight bytes of a key as a number: decides most comparisons without looking at the key.
pub(super) fn key_prefix(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    let n = key.len().min(8);
    first[..n].copy_from_slice(&key[..n]);
    u64::from_be_bytes(first)
}

/// The key that a run is at.
struct Head {
    prefix: u64,
    key: Vec<u8>,
    run: usize,
}

impl Head {
    fn set(&mut self, key: &[u8]) {
        self.prefix = key_prefix(key);
        self.key.clear();
        self.key.extend_from_slice(key);
    }
}

impl Ord for Head {
    /// The heap gives the greatest: that is the lowest key, and of equal ones that of the earliest run.
    fn cmp(&self, other: &Head) -> Ordering {
        let by_key = self.prefix.cmp(&other.prefix).then_with(|| self.key.cmp(&other.key));
        by_key.then(self.run.cmp(&other.run)).reverse()
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

/// Hands on the entries of all runs in ascending order of keys; those with equal keys in the order of their runs.
pub(super) fn merge(runs: &mut [impl Run], take: OnSorted<'_>) -> Result<()> {
    let mut heads = BinaryHeap::with_capacity(runs.len());
    for (index, run) in runs.iter_mut().enumerate() {
        if run.advance()? {
            let mut head = Head { prefix: 0, key: Vec::new(), run: index };
            head.set(run.key());
            heads.push(head);
        }
    }
    while let Some(mut head) = heads.peek_mut() {
        let run = &mut runs[head.run];
        take(run.key(), run.value())?;
        if run.advance()? {
            head.set(run.key());
        } else {
            PeekMut::pop(head);
        }
    }
    Ok(())
}
