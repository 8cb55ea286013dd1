// SPDX-License-Identifier: Apache-2.0

//! Entries in memory, in the order of adding, and sorted.
//!
//! Their bytes lie in pieces, and where they stand is noted in chunks; both are of a fixed size, so that growing copies
//! nothing and what is reserved is what is counted. Each chunk is sorted by itself, while its bytes are still at hand
//! in the processor's cache: it is a run.

use super::merge::{CommonPrefix, OnSorted, Run, Sorted, key_prefix, merge};
use crate::error::Result;
use crate::memory;
use crate::prefetch::prefetch;

/// Lengths of key and value before each entry.
const LENGTHS: usize = 8;
/// Most entries are no longer.
const USUAL_ENTRY: usize = 128;
/// Bytes of a piece and of a chunk: a part of the budget, within these limits.
const SMALLEST: usize = 4 << 10;
const LARGEST_PIECE: usize = 256 << 10;
const LARGEST_CHUNK: usize = 64 << 10;
const PARTS: usize = 8;

/// Where an entry stands, behind the prefix of its key: u64 prefix, u32 piece, u32 offset.
/// As one number, so that most comparisons take no more than that; of equal prefixes the one that was added first comes
/// first.
#[derive(Clone, Copy)]
struct Record(u128);

impl Record {
    fn new(prefix: u64, piece: u32, offset: u32) -> Record {
        Record(u128::from(prefix) << 64 | u128::from(u64::from(piece) << 32 | u64::from(offset)))
    }

    fn prefix(self) -> u64 {
        (self.0 >> 64) as u64
    }

    fn with_prefix(self, prefix: u64) -> Record {
        Record(u128::from(prefix) << 64 | u128::from(self.0 as u64))
    }

    fn piece(self) -> usize {
        (self.0 as u64 >> 32) as usize
    }

    fn offset(self) -> usize {
        self.0 as u32 as usize
    }
}

/// Entries that are sorted together.
struct Chunk {
    records: Vec<Record>,
    /// From where on their prefixes are of their keys: where keys began to differ when the first one came.
    skip: usize,
}

/// Entries in memory.
pub(super) struct Gathered {
    piece_size: usize,
    records_in_chunk: usize,
    /// Lengths of key and value, key, value, one entry behind the other.
    pieces: Vec<Vec<u8>>,
    /// All but the last are sorted.
    chunks: Vec<Chunk>,
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

    /// Bytes that have to be reserved for one more entry with a key and a value of this length in sum.
    pub(super) fn needs(&self, length: usize) -> usize {
        let piece = if self.has_room(length) { 0 } else { self.size_of_piece(length) };
        let chunk = if self.has_record() { 0 } else { self.records_in_chunk * size_of::<Record>() };
        piece + chunk
    }

    #[inline]
    fn has_room(&self, length: usize) -> bool {
        self.pieces.last().is_some_and(|piece| piece.capacity() - piece.len() >= LENGTHS + length)
    }

    fn size_of_piece(&self, length: usize) -> usize {
        self.piece_size.max(LENGTHS + length)
    }

    #[inline]
    fn has_record(&self) -> bool {
        self.chunks.last().is_some_and(|chunk| chunk.records.len() < self.records_in_chunk)
    }

    /// Whether nothing has to be reserved for one more entry of this length.
    #[inline]
    pub(super) fn is_ready_for(&self, length: usize) -> bool {
        self.has_room(length) && self.has_record()
    }

    /// Adds an entry, for which there is room; its value, of this length, is appended by `put`.
    #[inline]
    pub(super) fn add(
        &mut self,
        key: &[u8],
        value_length: usize,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        self.common.add(key)?;
        let index = self.pieces.len().saturating_sub(1);
        let (Some(piece), Some(chunk)) = (self.pieces.last_mut(), self.chunks.last_mut()) else {
            return Ok(());
        };
        let prefix = key_prefix(key, chunk.skip);
        chunk.records.push(Record::new(prefix, index as u32, piece.len() as u32));
        piece.extend_from_slice(&((key.len() as u64) << 32 | value_length as u64).to_be_bytes());
        piece.extend_from_slice(key);
        put(piece);
        Ok(())
    }

    /// Makes room for an entry of this length.
    pub(super) fn reserve(&mut self, length: usize) -> Result<()> {
        let needs = self.needs(length);
        if !self.has_room(length) {
            let mut piece = Vec::new();
            memory::reserve_exact(&mut piece, self.size_of_piece(length))?;
            self.pieces.push(piece);
        }
        if !self.has_record() {
            self.sort_last_chunk();
            let mut records = Vec::new();
            memory::reserve_exact(&mut records, self.records_in_chunk)?;
            self.chunks.push(Chunk { records, skip: self.common.len() });
        }
        self.reserved += needs;
        Ok(())
    }

    /// An entry and all that stands behind it.
    #[inline]
    fn bytes_of(&self, record: Record) -> &[u8] {
        self.pieces[record.piece()].get(record.offset()..).unwrap_or_default()
    }

    /// An entry.
    #[inline]
    fn entry(&self, record: Record) -> Sorted<'_> {
        let bytes = self.bytes_of(record);
        let Some((lengths, bytes)) = bytes.split_first_chunk::<LENGTHS>() else { return Sorted::default() };
        let lengths = u64::from_be_bytes(*lengths);
        let key_length = (lengths >> 32) as usize;
        Sorted { bytes: &bytes[..key_length + lengths as u32 as usize], key_length }
    }

    fn sort_last_chunk(&mut self) {
        let Some(mut chunk) = self.chunks.pop() else { return };
        // Only now it is known where the keys begin to differ, but nearly always it was before.
        let skip = self.common.len();
        if std::mem::replace(&mut chunk.skip, skip) != skip {
            for record in &mut chunk.records {
                *record = record.with_prefix(key_prefix(self.entry(*record).key(), skip));
            }
        }
        chunk.records.sort_unstable_by_key(|record| record.0);
        for alike in
            chunk.records.chunk_by_mut(|a, b| a.prefix() == b.prefix()).filter(|alike| alike.len() > 1)
        {
            // Equal keys stay in the order of adding.
            alike.sort_unstable_by(|a, b| self.entry(*a).key().cmp(self.entry(*b).key()).then(a.0.cmp(&b.0)));
        }
        self.chunks.push(chunk);
    }

    /// Hands on all entries in ascending order of keys, those with equal keys in the order of adding, and gives the
    /// memory back.
    pub(super) fn drain_sorted(&mut self, take: OnSorted<'_>) -> Result<()> {
        self.sort_last_chunk();
        let mut runs = memory::collect(self.chunks.iter().map(|chunk| SortedChunk {
            gathered: self,
            skip: chunk.skip,
            records: chunk.records.iter(),
            record: Record(0),
        }))?;
        merge(&mut runs, self.common.len(), take)?;
        drop(runs);
        self.pieces.clear();
        self.chunks.clear();
        self.reserved = 0;
        Ok(())
    }
}

/// A sorted chunk.
struct SortedChunk<'a> {
    gathered: &'a Gathered,
    skip: usize,
    records: std::slice::Iter<'a, Record>,
    /// Of the entry at hand.
    record: Record,
}

impl Run for SortedChunk<'_> {
    #[inline]
    fn advance(&mut self, skip: usize) -> Result<Option<u64>> {
        let Some(record) = self.records.next() else { return Ok(None) };
        self.record = *record;
        // It is read when its turn comes, which with many runs is a while; it stands anywhere, and waiting for memory then would
        // take longer than all else that is done with it here.
        prefetch(self.gathered.bytes_of(*record), USUAL_ENTRY);
        // Keys that came later may have had less in common.
        let is_known = skip == self.skip;
        Ok(Some(if is_known { record.prefix() } else { key_prefix(self.entry().key(), skip) }))
    }

    #[inline]
    fn entry(&self) -> Sorted<'_> {
        self.gathered.entry(self.record)
    }
}
