//! Entries in memory, in the order of adding, and sorted.
//!
//! Their bytes lie in pieces, and where they stand is noted in chunks; both are of a fixed size, so that growing copies
//! nothing and what is reserved is what is counted. Each chunk is sorted by itself, while its bytes are still at hand
//! in the processor's cache: it is a run.

use super::merge::{CommonPrefix, OnSorted, Run, key_prefix, merge};
use crate::error::Result;
use crate::memory;

/// Lengths of key and value before each entry.
const LENGTHS: usize = 8;
/// Bytes of a piece and of a chunk: a part of the budget, within these limits.
const SMALLEST: usize = 4 << 10;
const LARGEST_PIECE: usize = 256 << 10;
const LARGEST_CHUNK: usize = 64 << 10;
const PARTS: usize = 8;

/// Where an entry stands.
struct Record {
    /// Of its key, once its chunk is complete.
    prefix: u64,
    piece: u32,
    offset: u32,
}

/// Entries in memory.
pub(super) struct Gathered {
    piece_size: usize,
    records_in_chunk: usize,
    /// Lengths of key and value, key, value, one entry behind the other.
    pieces: Vec<Vec<u8>>,
    /// All but the last are sorted.
    chunks: Vec<Vec<Record>>,
    /// Bytes reserved for both.
    reserved: usize,
    /// Of all keys so far, also of those that are not in memory any more.
    common: CommonPrefix,
}

impl Gathered {
    /// Nothing yet; `budget`: bytes of memory that are meant to be used.
    pub(super) fn new(budget: usize) -> Gathered {
        let part = budget / PARTS;
        Gathered {
            piece_size: part.clamp(SMALLEST, LARGEST_PIECE),
            records_in_chunk: part.clamp(SMALLEST, LARGEST_CHUNK) / size_of::<Record>(),
            pieces: Vec::new(),
            chunks: Vec::new(),
            reserved: 0,
            common: CommonPrefix::default(),
        }
    }

    /// So many bytes all keys begin with alike.
    pub(super) fn common_prefix(&self) -> usize {
        self.common.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes reserved.
    pub(super) fn reserved(&self) -> usize {
        self.reserved
    }

    /// Bytes that have to be reserved for one more entry of this length.
    pub(super) fn needs(&self, key: &[u8], value: &[u8]) -> usize {
        let piece = if self.has_room(key, value) { 0 } else { self.size_of_piece(key, value) };
        let chunk = if self.has_record() { 0 } else { self.records_in_chunk * size_of::<Record>() };
        piece + chunk
    }

    fn has_room(&self, key: &[u8], value: &[u8]) -> bool {
        let length = LENGTHS + key.len() + value.len();
        self.pieces.last().is_some_and(|piece| piece.capacity() - piece.len() >= length)
    }

    fn size_of_piece(&self, key: &[u8], value: &[u8]) -> usize {
        self.piece_size.max(LENGTHS + key.len() + value.len())
    }

    fn has_record(&self) -> bool {
        self.chunks.last().is_some_and(|chunk| chunk.len() < self.records_in_chunk)
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.common.add(key)?;
        self.reserve(key, value)?;
        let index = self.pieces.len() - 1;
        let (Some(piece), Some(chunk)) = (self.pieces.last_mut(), self.chunks.last_mut()) else {
            return Ok(());
        };
        chunk.push(Record { prefix: 0, piece: index as u32, offset: piece.len() as u32 });
        piece.extend_from_slice(&(key.len() as u32).to_be_bytes());
        piece.extend_from_slice(&(value.len() as u32).to_be_bytes());
        piece.extend_from_slice(key);
        piece.extend_from_slice(value);
        Ok(())
    }

    fn reserve(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let needs = self.needs(key, value);
        if !self.has_room(key, value) {
            let mut piece = Vec::new();
            memory::reserve_exact(&mut piece, self.size_of_piece(key, value))?;
            self.pieces.push(piece);
        }
        if !self.has_record() {
            self.sort_last_chunk();
            let mut chunk = Vec::new();
            memory::reserve_exact(&mut chunk, self.records_in_chunk)?;
            self.chunks.push(chunk);
        }
        self.reserved += needs;
        Ok(())
    }

    /// Key and value of an entry.
    fn entry(&self, record: &Record) -> (&[u8], &[u8]) {
        let bytes = &self.pieces[record.piece as usize][record.offset as usize..];
        let (lengths, bytes) = bytes.split_at(LENGTHS);
        let [a, b, c, d, e, f, g, h] = *lengths else { return (&[], &[]) };
        let key = u32::from_be_bytes([a, b, c, d]) as usize;
        let value = u32::from_be_bytes([e, f, g, h]) as usize;
        let (key, bytes) = bytes.split_at(key);
        (key, &bytes[..value])
    }

    fn sort_last_chunk(&mut self) {
        let Some(mut chunk) = self.chunks.pop() else { return };
        // Only now it is known where the keys begin to differ.
        let skip = self.common.len();
        for record in &mut chunk {
            record.prefix = key_prefix(self.entry(record).0, skip);
        }
        chunk.sort_unstable_by(|a, b| {
            let by_key = a.prefix.cmp(&b.prefix).then_with(|| self.entry(a).0.cmp(self.entry(b).0));
            // Equal keys stay in the order of adding.
            by_key.then_with(|| (a.piece, a.offset).cmp(&(b.piece, b.offset)))
        });
        self.chunks.push(chunk);
    }

    /// Hands on all entries in ascending order of keys, those with equal keys in the order of adding, and gives the
    /// memory back.
    pub(super) fn drain_sorted(&mut self, take: OnSorted<'_>) -> Result<()> {
        self.sort_last_chunk();
        let run = |chunk| Chunk { gathered: self, records: <[Record]>::iter(chunk), key: &[], value: &[] };
        let mut runs: Vec<_> = self.chunks.iter().map(|chunk| run(chunk)).collect();
        merge(&mut runs, self.common.len(), take)?;
        drop(runs);
        self.pieces.clear();
        self.chunks.clear();
        self.reserved = 0;
        Ok(())
    }
}

/// A sorted chunk.
struct Chunk<'a> {
    gathered: &'a Gathered,
    records: std::slice::Iter<'a, Record>,
    key: &'a [u8],
    value: &'a [u8],
}

impl Run for Chunk<'_> {
    fn advance(&mut self) -> Result<bool> {
        let Some(record) = self.records.next() else { return Ok(false) };
        (self.key, self.value) = self.gathered.entry(record);
        Ok(true)
    }

    fn key(&self) -> &[u8] {
        self.key
    }

    fn value(&self) -> &[u8] {
        self.value
    }
}
