// SPDX-License-Identifier: Apache-2.0

//! What a handle's header says.

use super::{Db, State};
use crate::error::Result;
use crate::format::header::{FormatVersion, tree_size};
use crate::format::ints::MAX_U48;
use crate::tree::reduce::DocCounts;
use std::cell::Ref;

/// Figures of a database as its handle sees it, uncommitted changes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Version of the file format.
    pub version: FormatVersion,
    /// Highest sequence number used.
    pub last_sequence: u64,
    /// The caller's purge sequence.
    pub purge_seq: u64,
    /// Timestamp of the header; 0 in files below version 13.
    pub timestamp: u64,
    /// Number of documents that are not deleted.
    pub doc_count: u64,
    /// Number of deleted documents that are still in the trees.
    pub deleted_count: u64,
    /// Bytes taken by what can be reached from the header: bodies and nodes, without block-type bytes.
    pub space_used: u64,
    /// Size of the file up to which this handle reads and where it appends; 0 when closed.
    pub file_size: u64,
    /// Offset of the header.
    pub header_position: u64,
    /// Offset of the header before, if the header tells (version 14, not the first one).
    pub previous_header: Option<u64>,
}

/// Tells whether anything has changed of what can be asked of a handle: as long as it stays the same, so do
/// [`Db::info`], the name, the id of the key and the last OS error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Counts all that changes the state, the name and the key.
    changes: u64,
    /// Where the file ends; [`CLOSED`] if it is.
    end: u64,
    /// `errno` of the last failed call on the file, and of that on one that has been closed.
    os_errors: (i32, i32),
}

/// No file ends there.
const CLOSED: u64 = u64::MAX;

impl Stamp {
    /// Whether state, name and key are what they were.
    pub(crate) fn only_file_changed(&self, earlier: &Stamp) -> bool {
        self.changes == earlier.changes
    }

    /// Where the file ends now, if that is all that has changed.
    #[inline]
    pub(crate) fn only_end_moved(&self, earlier: &Stamp) -> Option<u64> {
        let same = self.changes == earlier.changes && self.os_errors == earlier.os_errors;
        (same && self.end != CLOSED && earlier.end != CLOSED).then_some(self.end)
    }
}

impl Db {
    /// See [`Stamp`].
    #[inline]
    pub(crate) fn stamp(&self) -> Stamp {
        let (end, os_error) = self.file.end_and_os_error().unwrap_or((CLOSED, 0));
        Stamp { changes: self.changes.get(), end, os_errors: (os_error, self.closed_os_error.get()) }
    }

    /// Two numbers: as long as they stay the same, so does the [`Stamp`].
    #[inline]
    pub(crate) fn uses(&self) -> (u64, u64) {
        (self.changes.get(), self.file.uses())
    }

    /// Figures of this handle's header.
    #[inline]
    pub fn info(&self) -> Result<Info> {
        let state = self.state.borrow();
        let State { header, position } = &**state;
        let counts = match &header.by_id {
            Some(root) => {
                let rule = |rule| self.file.malformed(root.position, rule);
                DocCounts::parse(&root.reduce).map_err(rule)?
            }
            None => DocCounts::default(),
        };
        let trees = [&header.by_id, &header.by_seq, &header.local];
        let trees: u64 = trees.into_iter().map(|root| tree_size(root.as_ref())).sum();
        Ok(Info {
            version: header.version,
            last_sequence: header.update_seq,
            purge_seq: header.purge_seq,
            timestamp: header.timestamp,
            doc_count: counts.live,
            deleted_count: counts.deleted,
            space_used: counts.size + trees,
            file_size: self.file.end(),
            header_position: position.unwrap_or(0),
            previous_header: header.previous_header(),
        })
    }

    /// Id of the key that the file is encrypted with; `None` if it is not encrypted.
    pub fn encryption_key_id(&self) -> Option<Vec<u8>> {
        let id = self.key_id_ref();
        (!id.is_empty()).then(|| id.clone())
    }

    /// The id, borrowed; empty if the file is not encrypted. It changes only by [`Db::reopen`].
    pub(crate) fn key_id_ref(&self) -> Ref<'_, Vec<u8>> {
        self.key_id.borrow()
    }

    /// Offset of the header that the handle stands on.
    pub fn header_position(&self) -> u64 {
        self.state.borrow().position.unwrap_or(0)
    }

    /// Sets the purge sequence that the next commit stores: modulo 2^48.
    pub fn set_purge_seq(&self, purge_seq: u64) {
        self.update_state(|state| state.header.purge_seq = purge_seq & MAX_U48);
    }
}
