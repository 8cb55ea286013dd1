// SPDX-License-Identifier: Apache-2.0

//! Sorting entries by key within a memory budget.
//!
//! Entries gather in memory. When they exceed the budget they are sorted and appended to an unnamed file as a run; at
//! the end the runs are merged, if they are many in several passes: reading one takes memory, too. Entries with the
//! same key come in the order of adding.

use super::gather::Gathered;
pub(crate) use super::merge::OnSorted;
use super::merge::merge;
use super::spill::Spill;
use crate::error::Result;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// `tick` is called after so many entries.
const TICK_STEP: u64 = 1000;

/// Where to sort, and how much memory to use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SortPlace<'a> {
    /// For files without names.
    pub(crate) directory: &'a Path,
    /// Bytes of memory.
    pub(crate) budget: usize,
    /// What goes to disk is encrypted.
    pub(crate) secret: bool,
}

/// Called now and then; an error ends the sorting.
pub(crate) type OnTick<'a> = &'a mut dyn FnMut() -> Result<()>;

/// Sorts entries by key.
pub(crate) struct Sorter {
    directory: PathBuf,
    budget: usize,
    secret: bool,
    gathered: Gathered,
    spill: Option<Spill>,
}

impl Sorter {
    /// A sorter without entries.
    pub(crate) fn new(place: SortPlace<'_>) -> Sorter {
        let SortPlace { directory, budget, secret } = place;
        Sorter {
            directory: directory.to_owned(),
            budget,
            secret,
            gathered: Gathered::new(budget),
            spill: None,
        }
    }

    /// Adds an entry.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.add_with(key, value.len(), |out| out.extend_from_slice(value))
    }

    /// Adds an entry whose value, of this length, is appended by `put`.
    pub(crate) fn add_with(
        &mut self,
        key: &[u8],
        value_length: usize,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        let length = key.len() + value_length;
        if !self.gathered.is_ready_for(length) {
            self.make_room(length)?;
        }
        self.gathered.add(key, value_length, put)
    }

    #[cold]
    fn make_room(&mut self, length: usize) -> Result<()> {
        let exceeds = self.gathered.reserved() + self.gathered.needs(length) > self.budget;
        if exceeds && !self.gathered.is_empty() {
            self.spill_run()?;
        }
        self.gathered.reserve(length)
    }

    fn spill_run(&mut self) -> Result<()> {
        let mut spill = match self.spill.take() {
            Some(spill) => spill,
            None => Spill::new(&self.directory, self.secret)?,
        };
        let mut run = spill.begin_run()?;
        self.gathered.drain_sorted(&mut |entry| run.add(entry))?;
        run.finish()?;
        self.spill = Some(spill);
        Ok(())
    }

    /// Ends adding: from here on the entries can be handed out in one go. This takes a while if there are many.
    pub(crate) fn prepare(&mut self, tick: OnTick<'_>) -> Result<()> {
        if self.spill.is_some() && !self.gathered.is_empty() {
            self.spill_run()?;
        }
        while let Some(spill) = &self.spill {
            let groups = groups(spill, self.budget);
            if groups.len() <= 1 {
                break;
            }
            let merged = self.merge_groups(spill, &groups, tick)?;
            self.spill = Some(merged);
        }
        Ok(())
    }

    /// Makes one run of each group, in a file of their own.
    fn merge_groups(&self, spill: &Spill, groups: &[Range<usize>], tick: OnTick<'_>) -> Result<Spill> {
        let mut merged = Spill::new(&self.directory, self.secret)?;
        let mut count: u64 = 0;
        for group in groups {
            let mut run = merged.begin_run()?;
            merge(&mut spill.readers(group.clone()), self.gathered.common_prefix(), &mut |entry| {
                count += 1;
                if count.is_multiple_of(TICK_STEP) {
                    tick()?;
                }
                run.add(entry)
            })?;
            run.finish()?;
        }
        Ok(merged)
    }

    /// Hands all entries to `take`, in ascending order of keys.
    pub(crate) fn finish(mut self, take: OnSorted<'_>) -> Result<()> {
        self.prepare(&mut || Ok(()))?;
        match &self.spill {
            Some(spill) => merge(&mut spill.readers(0..spill.runs()), self.gathered.common_prefix(), take),
            None => self.gathered.drain_sorted(take),
        }
    }
}

/// Runs that can be merged at a time within the budget: neighbours, so that equal keys stay in order, and at least two,
/// so that they become fewer.
fn groups(spill: &Spill, budget: usize) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let (mut start, mut cost) = (0, 0);
    for run in 0..spill.runs() {
        let more = spill.cost_of_reading(run);
        if run - start >= 2 && cost + more > budget {
            groups.push(start..run);
            (start, cost) = (run, 0);
        }
        cost += more;
    }
    groups.push(start..spill.runs());
    groups
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Key and value.
    type Entries = Vec<(Vec<u8>, Vec<u8>)>;

    /// Smallest pieces: runs of about 4 KiB, which are merged in pairs.
    const TINY: usize = 1;

    fn sorter(directory: &Path, budget: usize, secret: bool) -> Sorter {
        Sorter::new(SortPlace { directory, budget, secret })
    }

    fn sorted(budget: usize, secret: bool, entries: &Entries) -> (Entries, usize) {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = sorter(dir.path(), budget, secret);
        for (key, value) in entries {
            sorter.add(key, value).unwrap();
        }
        let runs = sorter.spill.as_ref().map_or(0, Spill::runs);
        let mut out = Vec::new();
        sorter
            .finish(&mut |entry| {
                let (key, value) = entry.split();
                out.push((key.to_vec(), value.to_vec()));
                Ok(())
            })
            .unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        (out, runs)
    }

    fn entries(count: u32) -> Entries {
        let key = |i: u32| format!("key-{}", i.wrapping_mul(2_654_435_761) % (count * 3 / 4)).into_bytes();
        (0..count).map(|i| (key(i), [&i.to_be_bytes()[..], &vec![7; (i % 200) as usize]].concat())).collect()
    }

    #[test]
    fn in_memory_and_with_runs_as_a_stable_sort() {
        let entries = entries(40_000);
        let mut model = entries.clone();
        model.sort_by(|a, b| a.0.cmp(&b.0));
        let (in_memory, runs) = sorted(usize::MAX, false, &entries);
        assert_eq!(runs, 0);
        assert!(in_memory == model);
        for secret in [false, crate::ENCRYPTION] {
            let (merged, runs) = sorted(1 << 20, secret, &entries);
            assert!(runs > 1 && merged == model, "{runs} runs");
            // Many runs, which are merged two and two, over and over.
            let (merged, runs) = sorted(TINY, secret, &entries);
            assert!(runs > 1000 && merged == model, "{runs} runs");
        }
    }

    /// What keys have in common is left out of comparisons: it gets shorter after parts have been sorted, in memory and
    /// on disk, down to nothing.
    #[test]
    fn keys_with_more_and_then_less_in_common() {
        let prefixes: [&[u8]; 5] = [b"a long beginning\0", b"a long beginning", b"a long", b"a", b""];
        let mut entries = Vec::new();
        for (step, prefix) in prefixes.iter().enumerate() {
            for i in 0..6000_u32 {
                let number = i.wrapping_mul(2_654_435_761) % 4001;
                // Some are the beginning itself, some end within the bytes that are compared first.
                let rest = &number.to_be_bytes()[4 - (number % 5) as usize..];
                entries.push(([prefix, rest].concat(), vec![step as u8, i as u8]));
            }
        }
        let mut model = entries.clone();
        model.sort_by(|a, b| a.0.cmp(&b.0));
        for budget in [usize::MAX, 256 << 10, TINY] {
            let (merged, _) = sorted(budget, false, &entries);
            assert!(merged == model, "{budget}");
        }
    }

    #[test]
    fn entries_larger_than_pieces_and_frames() {
        let large = |length: usize| (0..length).map(|i| i as u8).collect::<Vec<u8>>();
        let entries = vec![
            (b"b".to_vec(), large(3 << 20)),
            (b"a".to_vec(), large(2 << 20)),
            (vec![], vec![]),
            (vec![9; 100_000], large(100_000)),
        ];
        let mut model = entries.clone();
        model.sort();
        for budget in [TINY, usize::MAX] {
            let (merged, _) = sorted(budget, false, &entries);
            assert!(merged == model);
        }
    }

    #[test]
    fn a_tick_that_fails_ends_a_pass() {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = sorter(dir.path(), TINY, false);
        for (key, value) in &entries(5000) {
            sorter.add(key, value).unwrap();
        }
        let error = sorter.prepare(&mut || Err(crate::Error::Callback(crate::ErrorCode::CANCEL)));
        assert_eq!(error.unwrap_err().code(), crate::ErrorCode::CANCEL);
    }

    #[test]
    fn a_pass_ticks_once_per_thousand_entries() {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = sorter(dir.path(), TINY, false);
        for (key, value) in &entries(5000) {
            sorter.add(key, value).unwrap();
        }
        let runs = sorter.spill.as_ref().map_or(0, Spill::runs) + 1;
        let mut ticks = 0;
        sorter
            .prepare(&mut || {
                ticks += 1;
                Ok(())
            })
            .unwrap();
        // Each pass but the last, which hands out, halves the number of runs.
        assert!(ticks > 0 && ticks % 5 == 0 && ticks <= 5 * runs.ilog2(), "{ticks} {runs}");
    }

    #[test]
    fn the_budget_counts_what_is_reserved() {
        let dir = tempfile::tempdir().unwrap();
        for (budget, length) in [(64 << 10, 10), (64 << 10, 3000), (1 << 20, 50), (1 << 20, 100_000)] {
            let mut sorter = sorter(dir.path(), budget, false);
            for i in 0..20_000_u32 {
                sorter.add(&i.to_be_bytes(), &vec![1; length]).unwrap();
                assert!(sorter.gathered.reserved() <= budget);
                if sorter.spill.as_ref().is_some_and(|spill| spill.runs() > 2) {
                    break;
                }
            }
            assert!(sorter.spill.is_some(), "{budget} {length}");
        }
    }
}
