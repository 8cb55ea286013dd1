// SPDX-License-Identifier: Apache-2.0

//! Whether a later header of a file leads on from an earlier one, so that a replay by sequence number gets from one to
//! the other.
//!
//! A replay puts every document that the by-sequence tree has above the earlier header's sequence number; that removes
//! what the copy had of those documents. It is right if and only if
//!
//! 1. every document that differs is such a document, and none is gone
//! 2. the by-sequence tree lacks none of them: they are as many
//! 3. below, it lacks what they had there before, and nothing else
//!
//! All three hold as long as the source only grows. The first fails if the writer has gone back to an older header
//! and on from there. The others fail if the caller gives documents sequence numbers that are in use: that removes
//! another document from the by-sequence tree, which alone decides what a copy gets, and leaves it in the other.

use super::sort::{OnTick, SortPlace, Sorter};
use crate::db::scan::seq_key;
use crate::error::{Error, ErrorCode, Result};
use crate::format::docinfo::{DocInfoRef, seq_value_id};
use crate::format::header::{FileHeader, NodeRef};
use crate::tree::cache::file::{Reading, TreeFile};
use crate::tree::diff::{Difference, diff};
use crate::tree::read::{Cursor, count_range};
use crate::tree::reduce::DocCounts;

/// `tick` is called after so many differences.
const TICK_STEP: u64 = 1000;

/// Whether a replay leads from `old` to `new`, two headers of `file`. Costs as much as their differences.
pub(super) fn leads_to(
    file: &TreeFile,
    (old, new): (&FileHeader, &FileHeader),
    place: SortPlace<'_>,
    tick: OnTick<'_>,
) -> Result<bool> {
    if new.update_seq < old.update_seq {
        return Ok(false);
    }
    let entries = |header: &FileHeader, min, max| {
        count_range(file, header.by_seq.as_ref(), &seq_key(min), &seq_key(max))
    };
    let before = entries(old, 0, u64::MAX)?;
    // Documents that lost their sequence number earlier are in the by-id tree only.
    let all_have_numbers = count_documents(file, old)? == before;
    let mut replaced_entries = Entries::new(place);
    let (mut differ, mut replaced, mut all_newer) = (0, 0, true);
    let mut look = |difference: &Difference<'_>| {
        differ += 1;
        if u64::is_multiple_of(differ, TICK_STEP) {
            tick()?;
        }
        all_newer = match difference.new {
            Some(value) => seq_of(file, difference.key, value)? > old.update_seq,
            None => false,
        };
        if let Some(value) = difference.old {
            let seq = seq_of(file, difference.key, value)?;
            if all_have_numbers {
                replaced += 1;
            } else {
                replaced_entries.add(seq, difference.key)?;
            }
        }
        // Enough is known: the error only ends the comparison.
        if all_newer { Ok(()) } else { Err(Error::Callback(ErrorCode::CANCEL)) }
    };
    let result = diff(file, old.by_id.as_ref(), new.by_id.as_ref(), &mut look);
    if !all_newer {
        return Ok(false);
    }
    result?;
    replaced += replaced_entries.found_in(file, old.by_seq.as_ref(), tick)?;
    let above = if new.update_seq == old.update_seq {
        0
    } else {
        entries(new, old.update_seq.saturating_add(1), u64::MAX)?
    };
    Ok(above == differ && entries(new, 0, old.update_seq)? + replaced == before)
}

/// Sequence number and id of documents. They are looked up in one go, in the order of the by-sequence tree: one by one
/// that could cost any number of passes through a tree, and as much again for each that shares its number.
struct Entries<'a> {
    sorter: Sorter,
    place: SortPlace<'a>,
}

/// Where a key in the second sort comes from.
const ASKED_FOR: &[u8] = b"?";
const IN_TREE: &[u8] = b"!";

impl<'a> Entries<'a> {
    fn new(place: SortPlace<'a>) -> Entries<'a> {
        // Two sorts, of which one is filled while the other is emptied.
        let place = SortPlace { budget: place.budget / 2, ..place };
        Entries { sorter: Sorter::new(place), place }
    }

    fn add(&mut self, seq: u64, id: &[u8]) -> Result<()> {
        self.sorter.add(&[&seq_key(seq), id].concat(), &[])
    }

    /// How many of them the by-sequence tree at `root` has.
    fn found_in(mut self, file: &TreeFile, root: Option<&NodeRef>, tick: OnTick<'_>) -> Result<u64> {
        self.sorter.prepare(tick)?;
        let mut both = Sorter::new(self.place);
        let mut cursor = Cursor::new(file, root, &[], Reading::Verifying);
        let mut last_seq = Vec::new();
        self.sorter.finish(&mut |entry| {
            let key = entry.key();
            both.add(key, ASKED_FOR)?;
            let (seq, _) = key.split_at(seq_key(0).len());
            if last_seq == seq {
                return Ok(());
            }
            last_seq = seq.to_vec();
            cursor.skip_to(seq);
            // Documents that share a number come in any order.
            while let Some((entry, position)) = cursor.next_entry()? {
                if entry.key != seq {
                    cursor.put_back();
                    break;
                }
                let id = seq_value_id(entry.value).map_err(|rule| file.malformed(position, rule))?;
                both.add(&[seq, id].concat(), IN_TREE)?;
            }
            Ok(())
        })?;
        both.prepare(tick)?;
        count_in_both(both)
    }
}

/// Number of keys that were asked for and are in the tree.
fn count_in_both(both: Sorter) -> Result<u64> {
    let (mut count, mut last_key) = (0, Vec::new());
    let (mut asked_for, mut in_tree) = (false, false);
    both.finish(&mut |entry| {
        let (key, origin) = entry.split();
        if last_key != key {
            count += u64::from(asked_for && in_tree);
            (asked_for, in_tree) = (false, false);
            last_key = key.to_vec();
        }
        asked_for |= origin == ASKED_FOR;
        in_tree |= origin == IN_TREE;
        Ok(())
    })?;
    Ok(count + u64::from(asked_for && in_tree))
}

fn seq_of(file: &TreeFile, id: &[u8], value: &[u8]) -> Result<u64> {
    DocInfoRef::parse_by_id(id, value).map(|info| info.db_seq).map_err(|rule| file.malformed(0, rule))
}

fn count_documents(file: &TreeFile, header: &FileHeader) -> Result<u64> {
    let Some(root) = &header.by_id else { return Ok(0) };
    let counts = DocCounts::parse(&root.reduce).map_err(|rule| file.malformed(root.position, rule))?;
    Ok(counts.live + counts.deleted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Db, Document, OpenOptions, SaveOptions};

    fn save(db: &Db, range: std::ops::Range<u32>, db_seq: impl Fn(u32) -> u64) {
        let ids: Vec<_> = range.clone().map(|number| format!("{number:06}")).collect();
        let document =
            |(number, id)| Document { db_seq: db_seq(number), ..Document::new(str::as_bytes(id), b"x") };
        let documents: Vec<_> = range.zip(ids.iter().map(String::as_str)).map(document).collect();
        db.save(&documents, SaveOptions { compress: false, keep_sequences: true }).unwrap();
    }

    /// Whether a replay leads from one state to the next. Finding that out must not take more than reading the file once.
    fn compare(numbers: fn(u32) -> u64, last: impl Fn(&Db)) -> bool {
        const COUNT: u32 = 3000;
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions::new().create(true).unbuffered(true);
        let db = options.open(dir.path().join("a.couch")).unwrap();
        save(&db, 0..COUNT, numbers);
        // The second takes the number of the first, which stays in the by-id tree alone.
        save(&db, 900_000..900_001, |_| 1_000_000);
        save(&db, 900_001..900_002, |_| 1_000_000);
        db.commit().unwrap();
        let old = db.snapshot().header;
        save(&db, 0..COUNT, |number| 1_000_001 + u64::from(number));
        last(&db);
        db.commit().unwrap();
        let before = db.file_stats().unwrap().read_bytes;
        let place = SortPlace { directory: dir.path(), budget: 64 << 10, secret: false };
        let mut ticks = 0;
        let result = leads_to(db.file(), (&old, &db.snapshot().header), place, &mut || {
            ticks += 1;
            Ok(())
        });
        assert!(ticks >= 3, "{ticks}");
        let read = db.file_stats().unwrap().read_bytes - before;
        assert!(read < db.file().end(), "{read} bytes read of {}", db.file().end());
        result.unwrap()
    }

    #[test]
    fn entries_are_looked_up_in_one_pass() {
        let numbers: [fn(u32) -> u64; 3] =
            [|_| 7, |number| u64::from(number) + 1, |number| u64::from(number % 10)];
        for numbers in numbers {
            assert!(compare(numbers, |_| {}));
            // One that had lost its entry is changed.
            assert!(compare(numbers, |db| save(db, 900_000..900_001, |_| 2_000_000)));
            // Somebody else's entry below is gone.
            assert!(!compare(numbers, |db| {
                save(db, 900_002..900_003, |_| 1_000_000);
                save(db, 900_002..900_003, |_| 2_000_000);
            }));
        }
    }
}
