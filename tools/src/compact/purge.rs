// SPDX-License-Identifier: Apache-2.0

//! Which tombstones a compaction leaves out.

use crate::couchbase::rev_meta::RevMeta;
use couchstore::{Db, DocInfoRef, Verdict};

/// A rule for tombstones. Documents that are not deleted are always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Purge {
    /// Only those that were deleted before this time, in seconds since the epoch; `None`: all.
    pub(super) before: Option<u64>,
    /// Only those with a sequence number up to here.
    pub(super) up_to_seq: u64,
}

impl Purge {
    fn applies_to(&self, info: &DocInfoRef<'_>) -> bool {
        let is_old = match self.before {
            None => true,
            // Of what is too short to say a time nobody knows whether it is old.
            Some(before) => RevMeta::of(info).is_some_and(|meta| u64::from(meta.expiry) < before),
        };
        info.deleted && is_old && info.db_seq <= self.up_to_seq
    }
}

/// A purge under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Purging {
    rule: Option<Purge>,
    /// Tombstones that were left out.
    pub(super) purged: u64,
    highest_seq: u64,
}

impl Purging {
    pub(super) fn new(rule: Option<Purge>) -> Purging {
        Purging { rule, ..Purging::default() }
    }

    /// Begins anew.
    pub(super) fn restart(&mut self) {
        *self = Purging::new(self.rule);
    }

    pub(super) fn decide(&mut self, info: &DocInfoRef<'_>) -> Verdict {
        if !self.rule.is_some_and(|rule| rule.applies_to(info)) {
            return Verdict::Keep;
        }
        self.purged += 1;
        self.highest_seq = self.highest_seq.max(info.db_seq);
        Verdict::Drop
    }

    /// Readers must be able to tell that tombstones are missing.
    pub(super) fn raise_purge_seq(&self, target: &Db) {
        let current = target.header().purge_seq;
        target.set_purge_seq(current.max(self.highest_seq));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tombstone(db_seq: u64, rev_meta: &[u8]) -> DocInfoRef<'_> {
        DocInfoRef { id: b"id", db_seq, rev_meta, deleted: true, ..DocInfoRef::default() }
    }

    #[test]
    fn old_tombstones_up_to_a_sequence_are_dropped() {
        let at = |expiry| RevMeta { expiry, ..RevMeta::default() }.encode();
        let mut purging = Purging::new(Some(Purge { before: Some(100), up_to_seq: 10 }));
        assert_eq!(purging.decide(&tombstone(3, &at(99))), Verdict::Drop);
        assert_eq!(purging.decide(&tombstone(10, &at(0))), Verdict::Drop);
        assert_eq!(purging.decide(&tombstone(4, &at(100))), Verdict::Keep, "not before");
        assert_eq!(purging.decide(&tombstone(11, &at(99))), Verdict::Keep, "too new");
        assert_eq!(purging.decide(&tombstone(5, b"strange")), Verdict::Keep, "no time");
        for length in [16, 17, 20, 21, 24, 30] {
            let meta = [&at(99)[..16], &[2; 14]].concat();
            assert_eq!(purging.decide(&tombstone(1, &meta[..length])), Verdict::Drop, "{length}");
        }
        assert_eq!(purging.decide(&tombstone(1, &[0; 15])), Verdict::Keep);
        let live = DocInfoRef { deleted: false, ..tombstone(3, &[0; 18]) };
        assert_eq!(purging.decide(&live), Verdict::Keep);
        assert_eq!((purging.purged, purging.highest_seq), (8, 10));
    }

    #[test]
    fn without_a_time_all_tombstones_go() {
        let mut purging = Purging::new(Some(Purge { before: None, up_to_seq: u64::MAX }));
        assert_eq!(purging.decide(&tombstone(5, b"strange")), Verdict::Drop);
        let mut purging = Purging::new(None);
        assert_eq!(purging.decide(&tombstone(5, b"strange")), Verdict::Keep);
    }
}
