//! Sorting entries by key within a memory budget.
//!
//! Entries gather in memory. When they exceed the budget they are sorted and appended to an unnamed file as a run;
//! at the end the runs are merged. Of entries with the same key the last one added stays.

use super::spill::Spill;
use crate::error::{Error, ErrorCode, Operation, Result};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::{Path, PathBuf};

/// Entries are kept in pieces of this size, so that growing never copies them.
const PIECE: usize = 1 << 20;

/// Takes the sorted entries: key and value.
pub(crate) type OnSorted<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

/// Where an entry stands in memory.
#[derive(Clone, Copy)]
struct Record {
    /// First eight bytes of the key: decides most comparisons without looking at the key.
    prefix: u64,
    piece: u32,
    offset: u32,
    key_length: u32,
    value_length: u32,
}

/// Sorts entries by key.
pub(crate) struct Sorter {
    directory: PathBuf,
    budget: usize,
    /// What goes to disk is encrypted.
    secret: bool,
    pieces: Vec<Vec<u8>>,
    /// Bytes reserved for `pieces`.
    reserved: usize,
    records: Vec<Record>,
    spill: Option<Spill>,
}

fn key_prefix(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    let n = key.len().min(8);
    first[..n].copy_from_slice(&key[..n]);
    u64::from_be_bytes(first)
}

impl Sorter {
    /// A sorter that uses about `budget` bytes of memory and beyond that files in `directory`, encrypted ones if the
    /// entries are `secret`.
    pub(crate) fn new(directory: &Path, budget: usize, secret: bool) -> Sorter {
        Sorter {
            directory: directory.to_owned(),
            budget,
            secret,
            pieces: Vec::new(),
            reserved: 0,
            records: Vec::new(),
            spill: None,
        }
    }

    /// Adds an entry.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let length = key.len() + value.len();
        let has_room = |piece: &Vec<u8>| piece.capacity() - piece.len() >= length;
        if !self.pieces.last().is_some_and(has_room) {
            let size = PIECE.max(length);
            if self.memory() + size > self.budget && !self.records.is_empty() {
                self.spill_run()?;
            }
            self.pieces.push(Vec::with_capacity(size));
            self.reserved += size;
        }
        let piece = self.pieces.len() - 1;
        let bytes = &mut self.pieces[piece];
        self.records.push(Record {
            prefix: key_prefix(key),
            piece: piece as u32,
            offset: bytes.len() as u32,
            key_length: key.len() as u32,
            value_length: value.len() as u32,
        });
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Ok(())
    }

    fn memory(&self) -> usize {
        self.reserved + self.records.len() * size_of::<Record>()
    }

    fn key(&self, record: &Record) -> &[u8] {
        let start = record.offset as usize;
        &self.pieces[record.piece as usize][start..start + record.key_length as usize]
    }

    fn value(&self, record: &Record) -> &[u8] {
        let start = (record.offset + record.key_length) as usize;
        &self.pieces[record.piece as usize][start..start + record.value_length as usize]
    }

    fn sort(&mut self) {
        let mut records = std::mem::take(&mut self.records);
        records.sort_unstable_by(|a, b| {
            let by_key = a.prefix.cmp(&b.prefix).then_with(|| self.key(a).cmp(self.key(b)));
            // Records are in the order of adding, so their places tell which of equal keys came last.
            by_key.then_with(|| (a.piece, a.offset).cmp(&(b.piece, b.offset)))
        });
        self.records = records;
    }

    fn failed(&self, operation: Operation, error: &io::Error) -> Error {
        let code = if operation == Operation::Read { ErrorCode::READ } else { ErrorCode::WRITE };
        let file = format!("temporary file in {}", self.directory.display()).into();
        Error::Io { operation, file, position: 0, code, os_error: error.raw_os_error().unwrap_or(0) }
    }

    fn spill_run(&mut self) -> Result<()> {
        self.sort();
        let mut spill = if let Some(spill) = self.spill.take() {
            spill
        } else {
            let spill = Spill::new(&self.directory, self.secret);
            spill.map_err(|error| self.failed(Operation::Open, &error))?
        };
        let entries = self.records.iter().map(|record| (self.key(record), self.value(record)));
        let written = spill.write_run(entries);
        written.map_err(|error| self.failed(Operation::Write, &error))?;
        self.spill = Some(spill);
        self.records.clear();
        self.pieces.clear();
        self.reserved = 0;
        Ok(())
    }

    /// Hands all entries to `take`, in ascending order of keys, each key once.
    pub(crate) fn finish(mut self, take: OnSorted<'_>) -> Result<()> {
        if self.spill.is_some() && !self.records.is_empty() {
            self.spill_run()?;
        }
        match self.spill.take() {
            Some(spill) => self.merge(&spill, take),
            None => self.finish_in_memory(take),
        }
    }

    fn finish_in_memory(mut self, take: OnSorted<'_>) -> Result<()> {
        self.sort();
        for (index, record) in self.records.iter().enumerate() {
            let key = self.key(record);
            let replaced = self.records.get(index + 1).is_some_and(|next| self.key(next) == key);
            if !replaced {
                take(key, self.value(record))?;
            }
        }
        Ok(())
    }

    fn merge(&self, spill: &Spill, take: OnSorted<'_>) -> Result<()> {
        let failed = |error: io::Error| self.failed(Operation::Read, &error);
        let mut runs = spill.readers();
        let mut heap = BinaryHeap::new();
        for (index, run) in runs.iter_mut().enumerate() {
            if let Some((key, value)) = run.next().map_err(failed)? {
                heap.push(Reverse((key, index, value)));
            }
        }
        while let Some(Reverse((key, index, value))) = heap.pop() {
            if let Some((next_key, next_value)) = runs[index].next().map_err(failed)? {
                heap.push(Reverse((next_key, index, next_value)));
            }
            // Later runs hold what was added later.
            let replaced = heap.peek().is_some_and(|Reverse((next, ..))| *next == key);
            if !replaced {
                take(&key, &value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::BTreeMap;

    use super::super::spill::OwnedEntry;

    type Entries = Vec<OwnedEntry>;

    fn sorted(budget: usize, entries: &[OwnedEntry]) -> (Entries, usize) {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(dir.path(), budget, budget % 2 == 1 && crate::ENCRYPTION);
        for (key, value) in entries {
            sorter.add(key, value).unwrap();
        }
        let runs = sorter.spill.as_ref().map_or(0, Spill::runs);
        let mut out = Vec::new();
        sorter
            .finish(&mut |key, value| {
                out.push((key.to_vec(), value.to_vec()));
                Ok(())
            })
            .unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        (out, runs)
    }

    fn entries(count: u32) -> Entries {
        let key = |i: u32| format!("key-{}", i.wrapping_mul(2_654_435_761) % (count * 3 / 4)).into_bytes();
        (0..count).map(|i| (key(i), vec![i as u8; (i % 200) as usize])).collect()
    }

    #[test]
    fn in_memory_and_with_runs_agree_with_a_map() {
        let entries = entries(40_000);
        let model: BTreeMap<_, _> = entries.iter().cloned().collect();
        let model: Vec<_> = model.into_iter().collect();
        let (in_memory, runs) = sorted(usize::MAX, &entries);
        assert_eq!(runs, 0);
        assert!(in_memory == model);
        let (merged, runs) = sorted(2 << 20, &entries);
        assert!(runs > 1 && merged == model);
        let (merged, runs) = sorted((2 << 20) + 1, &entries);
        assert!(runs > 1, "{runs} runs");
        assert!(merged == model);
    }

    #[test]
    fn entries_larger_than_a_piece() {
        let entries =
            [(b"b".to_vec(), vec![1; 3 * PIECE]), (b"a".to_vec(), vec![2; 2 * PIECE]), (vec![], vec![])];
        let (merged, _) = sorted(PIECE, &entries);
        let keys: Vec<_> = merged.iter().map(|(key, value)| (key.as_slice(), value.len())).collect();
        assert_eq!(keys, [(&b""[..], 0), (b"a", 2 * PIECE), (b"b", 3 * PIECE)]);
    }
}
