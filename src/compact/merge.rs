//! Merging sorted runs of entries, wherever they are.

use crate::error::Result;
use crate::memory;

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

/// Eight bytes of a key as a number, from byte `skip` on, which is where keys begin to differ: decides most comparisons
/// without looking at the key.
pub(super) fn key_prefix(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    if let Some(first) = rest.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(rest) {
        *to = *from;
    }
    u64::from_be_bytes(first)
}

/// How many bytes all keys begin with alike.
#[derive(Default)]
pub(super) struct CommonPrefix {
    /// As many bytes as all keys so far have in common; `None` before the first key.
    bytes: Option<Vec<u8>>,
}

impl CommonPrefix {
    pub(super) fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }

    /// Notes a key.
    pub(super) fn add(&mut self, key: &[u8]) -> Result<()> {
        let Some(bytes) = &mut self.bytes else {
            self.bytes = Some(memory::copy(key)?);
            return Ok(());
        };
        if !key.starts_with(bytes) {
            let alike = bytes.iter().zip(key).take_while(|(a, b)| a == b).count();
            bytes.truncate(alike);
        }
        Ok(())
    }
}

/// A run that is at an entry: the prefix of its key, and its number.
#[derive(Clone, Copy)]
struct Head {
    prefix: u64,
    run: usize,
}

/// Runs in a heap: each is at a key that is not above those of its two followers; of equal keys that of the earliest
/// run comes first.
struct Heap<'a, R> {
    runs: &'a mut [R],
    heads: Vec<Head>,
    skip: usize,
}

impl<R: Run> Heap<'_, R> {
    fn is_before(&self, a: Head, b: Head) -> bool {
        if a.prefix != b.prefix {
            return a.prefix < b.prefix;
        }
        (self.runs[a.run].key(), a.run) < (self.runs[b.run].key(), b.run)
    }

    /// Moves the run at `place`, which went to another key, down to where it belongs.
    fn sift_down(&mut self, mut place: usize) {
        let head = self.heads[place];
        while let Some(&left) = self.heads.get(2 * place + 1) {
            let mut lower = (2 * place + 1, left);
            if let Some(&right) = self.heads.get(2 * place + 2)
                && self.is_before(right, left)
            {
                lower = (2 * place + 2, right);
            }
            if !self.is_before(lower.1, head) {
                break;
            }
            self.heads[place] = lower.1;
            place = lower.0;
        }
        self.heads[place] = head;
    }

    /// The run with the lowest key goes to its next entry.
    fn advance(&mut self) -> Result<()> {
        let head = &mut self.heads[0];
        let run = &mut self.runs[head.run];
        if run.advance()? {
            head.prefix = key_prefix(run.key(), self.skip);
        } else {
            self.heads.swap_remove(0);
        }
        if !self.heads.is_empty() {
            self.sift_down(0);
        }
        Ok(())
    }
}

/// Hands on the entries of all runs in ascending order of keys; those with equal keys in the order of their runs. All
/// keys have the first `skip` bytes in common.
pub(super) fn merge<R: Run>(runs: &mut [R], skip: usize, take: OnSorted<'_>) -> Result<()> {
    let mut heads = Vec::with_capacity(runs.len());
    for (index, run) in runs.iter_mut().enumerate() {
        if run.advance()? {
            heads.push(Head { prefix: key_prefix(run.key(), skip), run: index });
        }
    }
    let mut heap = Heap { runs, heads, skip };
    for place in (0..heap.heads.len() / 2).rev() {
        heap.sift_down(place);
    }
    while let Some(head) = heap.heads.first() {
        let run = &heap.runs[head.run];
        take(run.key(), run.value())?;
        heap.advance()?;
    }
    Ok(())
}
