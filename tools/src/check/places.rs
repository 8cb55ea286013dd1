// SPDX-License-Identifier: Apache-2.0

//! Where the chunks of the newest header lie: no two may share a byte, and no block that one runs into may look like
//! another kind of block.

use super::problem::{Problem, Problems};
use crate::interrupt::Interrupt;
use crate::program::Failure;
use couchstore::Db;
use couchstore::inspect::BLOCK_SIZE;
use parking_lot::Mutex;
use std::ops::Range;

/// Most ranges in memory; 64 MB. Chunks that touch are joined, so only very large files with many holes have more.
const MOST: usize = 4 << 20;

/// The places of chunks.
#[derive(Default)]
pub(super) struct Places(Mutex<Ranges>);

#[derive(Default)]
struct Ranges {
    ranges: Vec<Range<u64>>,
    /// There were too many: what has been seen is forgotten, and no more is looked at.
    given_up: bool,
}

impl Places {
    /// Adds the places of some chunks.
    pub(super) fn add(&self, places: impl IntoIterator<Item = Range<u64>>, problems: &Problems) {
        let mut ranges = self.0.lock();
        if ranges.given_up {
            return;
        }
        ranges.ranges.extend(places);
        if ranges.ranges.len() >= MOST {
            ranges.join(problems);
            // With less room than that left, it would be sorted over and over.
            if ranges.ranges.len() > MOST / 2 {
                *ranges = Ranges { ranges: Vec::new(), given_up: true };
            }
        }
    }

    /// Once all are there: whether all could be compared.
    pub(super) fn finish(self, db: &Db, interrupt: &Interrupt, problems: &Problems) -> Result<bool, Failure> {
        let mut ranges = self.0.into_inner();
        ranges.join(problems);
        for range in &ranges.ranges {
            interrupt.check()?;
            check_blocks(db, range, problems)?;
        }
        Ok(!ranges.given_up)
    }
}

impl Ranges {
    /// Sorts the ranges, tells of those that overlap, and joins those that touch.
    fn join(&mut self, problems: &Problems) {
        self.ranges.sort_unstable_by_key(|range| (range.start, range.end));
        self.ranges.dedup_by(|next, last| {
            if next.start < last.end {
                let (start, end) = (next.start, next.end.min(last.end));
                let reason = format!("the bytes up to {end} belong to more than one chunk");
                problems.add(Problem::of_header(start, reason));
            } else if next.start > last.end {
                return false;
            }
            last.end = last.end.max(next.end);
            true
        });
    }
}

/// Whoever reads a chunk steps over the type bytes of blocks in it. But the search for a header would find them.
fn check_blocks(db: &Db, range: &Range<u64>, problems: &Problems) -> couchstore::Result<()> {
    let first = range.start.next_multiple_of(BLOCK_SIZE);
    for position in (first..range.end).step_by(BLOCK_SIZE as usize) {
        match db.block_type(position)? {
            Some(0) | None => {}
            Some(other) => problems
                .add(Problem::of_header(position, format!("block type {other} within data, expected 0"))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn problems_of(ranges: &[Range<u64>]) -> Vec<String> {
        let (problems, places) = (Problems::new(10), Places::default());
        places.add(ranges.iter().cloned(), &problems);
        places.0.into_inner().join(&problems);
        problems.finish().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn chunks_may_touch_but_not_overlap() {
        assert!(problems_of(&[20..30, 0..10, 10..20, 40..50]).is_empty());
        assert_eq!(
            problems_of(&[0..10, 5..15]),
            ["offset 5: the bytes up to 10 belong to more than one chunk"]
        );
        assert_eq!(problems_of(&[0..99, 5..15, 15..20]).len(), 2);
        assert_eq!(problems_of(&[7..9, 7..9]), ["offset 7: the bytes up to 9 belong to more than one chunk"]);
    }

    #[test]
    fn too_many_holes_are_not_an_error() {
        let (problems, places) = (Problems::new(10), Places::default());
        places.add((0..MOST as u64).map(|number| 10 * number..10 * number + 5), &problems);
        places.add(Some(0..1), &problems);
        assert!(places.0.into_inner().given_up);
        assert_eq!(problems.finish().1, 0);
    }
}
