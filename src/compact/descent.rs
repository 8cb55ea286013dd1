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

use crate::db::scan::seq_key;
use crate::error::{Error, ErrorCode, Result};
use crate::format::docinfo::{DocInfoRef, seq_value_id};
use crate::format::header::FileHeader;
use crate::io::shared::SharedFile;
use crate::tree::diff::{Difference, diff};
use crate::tree::read::{Cursor, count_range};
use crate::tree::reduce::DocCounts;

/// Whether a replay leads from `old` to `new`, two headers of `file`. Costs as much as their differences.
pub(crate) fn leads_to(file: &SharedFile, old: &FileHeader, new: &FileHeader) -> Result<bool> {
    if new.update_seq < old.update_seq {
        return Ok(false);
    }
    let entries = |header: &FileHeader, min, max| {
        count_range(file, header.by_seq.as_ref(), &seq_key(min), &seq_key(max))
    };
    let before = entries(old, 0, u64::MAX)?;
    // Documents that lost their sequence number earlier are in the by-id tree only.
    let all_have_numbers = count_documents(file, old)? == before;
    let (mut differ, mut replaced, mut all_newer) = (0, 0, true);
    let mut look = |difference: &Difference<'_>| {
        differ += 1;
        all_newer = match difference.new {
            Some(value) => seq_of(file, difference.key, value)? > old.update_seq,
            None => false,
        };
        if let Some(value) = difference.old {
            let seq = seq_of(file, difference.key, value)?;
            replaced += u64::from(all_have_numbers || has_entry(file, old, seq, difference.key)?);
        }
        // Enough is known: the error only ends the comparison.
        if all_newer { Ok(()) } else { Err(Error::Callback(ErrorCode::CANCEL)) }
    };
    let result = diff(file, old.by_id.as_ref(), new.by_id.as_ref(), &mut look);
    if !all_newer {
        return Ok(false);
    }
    result?;
    let above = if new.update_seq == old.update_seq {
        0
    } else {
        entries(new, old.update_seq.saturating_add(1), u64::MAX)?
    };
    Ok(above == differ && entries(new, 0, old.update_seq)? + replaced == before)
}

fn seq_of(file: &SharedFile, id: &[u8], value: &[u8]) -> Result<u64> {
    DocInfoRef::parse_by_id(id, value).map(|info| info.db_seq).map_err(|rule| file.malformed(0, rule))
}

fn count_documents(file: &SharedFile, header: &FileHeader) -> Result<u64> {
    let Some(root) = &header.by_id else { return Ok(0) };
    let counts = DocCounts::parse(&root.reduce).map_err(|rule| file.malformed(root.position, rule))?;
    Ok(counts.live + counts.deleted)
}

/// Whether the by-sequence tree has this document under this number, which several may share.
fn has_entry(file: &SharedFile, header: &FileHeader, seq: u64, id: &[u8]) -> Result<bool> {
    let key = seq_key(seq);
    let mut cursor = Cursor::new(file, header.by_seq.as_ref(), &key);
    while let Some((entry, position)) = cursor.next_entry()? {
        if entry.key != key {
            break;
        }
        if seq_value_id(entry.value).map_err(|rule| file.malformed(position, rule))? == id {
            return Ok(true);
        }
    }
    Ok(false)
}
