// SPDX-License-Identifier: Apache-2.0

//! The book of who has which bytes, by ranges of the file. Its size depends on the number of ranges only.

use super::kind::{Bytes, Kind};
use std::ops::Range;

/// Who says that bytes are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Of(Kind),
    /// A body that the by-sequence tree points to. It is the same as one of the by-id tree, unless that is damaged.
    BodyBySeq,
}

/// A range of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub(super) range: Range<u64>,
    /// Complete, with garbage, only after [`Ledger::close`].
    pub(super) bytes: Bytes,
    /// Bodies that the by-sequence tree points to, until [`Ledger::close`].
    bodies_by_seq: u64,
    /// Bytes that have been claimed although they may belong to something else.
    doubtful: u64,
    /// Headers that begin in it, those that cannot be read left out.
    pub(super) headers: u64,
    /// Whether the header that is shown begins in it.
    pub(super) shown_header: bool,
}

impl Part {
    pub(super) fn new(range: Range<u64>) -> Part {
        Part { range, ..Part::default() }
    }

    pub(super) fn size(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    pub(super) fn add(&mut self, claim: Claim, bytes: u64) {
        match claim {
            Claim::Of(kind) => self.bytes.add(kind, bytes),
            Claim::BodyBySeq => self.bodies_by_seq = self.bodies_by_seq.saturating_add(bytes),
        }
    }

    /// Takes in the part right behind this one.
    pub(super) fn append(&mut self, next: &Part) {
        self.range.end = next.range.end;
        self.bytes.add_all(&next.bytes);
        self.bodies_by_seq += next.bodies_by_seq;
        self.doubtful += next.doubtful;
        self.headers += next.headers;
        self.shown_header |= next.shown_header;
    }

    /// Makes the sum over all kinds the size of the part, and returns by how many bytes what is in use exceeds it.
    /// That happens only in damaged files.
    fn close(&mut self) -> u64 {
        let missing = self.bodies_by_seq.saturating_sub(self.bytes.get(Kind::Body));
        self.bytes.add(Kind::Body, missing);
        let mut excess = self.bytes.total().saturating_sub(self.size());
        let not_in_use = excess.min(self.doubtful);
        excess -= not_in_use - self.bytes.trim(Kind::Body, not_in_use);
        // How far damage reaches is a guess, so it gives way without a word.
        for kind in [Kind::Damaged, Kind::Later] {
            excess = self.bytes.trim(kind, excess);
        }
        let overlapping = excess;
        for kind in Kind::ALL {
            excess = self.bytes.trim(kind, excess);
        }
        self.bytes.add(Kind::Garbage, self.size() - self.bytes.total());
        overlapping
    }
}

/// A division of the file into ranges that follow each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    parts: Vec<Part>,
}

impl Ledger {
    /// From parts that follow each other.
    pub(super) fn new(parts: Vec<Part>) -> Ledger {
        Ledger { parts }
    }

    /// Divides `size` bytes into parts of `part_size`, the last one as long as it needs.
    pub(super) fn uniform(size: u64, part_size: u64) -> Ledger {
        let starts = (0..size).step_by(part_size.max(1) as usize);
        let part = |start: u64| Part::new(start..start.saturating_add(part_size).min(size));
        Ledger { parts: starts.map(part).collect() }
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Notes that a range is in use. What lies beyond the file is left out.
    pub(super) fn add(&mut self, range: &Range<u64>, claim: Claim) {
        self.for_each_part(range, |part, bytes| part.add(claim, bytes));
    }

    /// Notes that this range of a body may not be in use.
    pub(super) fn doubt(&mut self, range: &Range<u64>) {
        self.for_each_part(range, |part, bytes| part.doubtful = part.doubtful.saturating_add(bytes));
    }

    /// Calls `action` for the parts that a range meets, with how many of its bytes are in each.
    fn for_each_part(&mut self, range: &Range<u64>, action: impl Fn(&mut Part, u64)) {
        let first = self.parts.partition_point(|part| part.range.end <= range.start);
        for part in self.parts.iter_mut().skip(first) {
            if part.range.start >= range.end {
                break;
            }
            let bytes = part.range.end.min(range.end) - part.range.start.max(range.start);
            action(part, bytes);
        }
    }

    /// Notes that a header begins here.
    pub(super) fn header_at(&mut self, position: u64, shown: bool) {
        let index = self.parts.partition_point(|part| part.range.end <= position);
        if let Some(part) = self.parts.get_mut(index) {
            part.headers += 1;
            part.shown_header |= shown;
        }
    }

    /// Calls garbage what nobody has claimed. Returns how many bytes have been claimed more than once.
    pub(super) fn close(&mut self) -> u64 {
        self.parts.iter_mut().map(Part::close).sum()
    }

    /// The bytes of the whole file.
    pub(super) fn total(&self) -> Bytes {
        let mut total = Bytes::default();
        self.parts.iter().for_each(|part| total.add_all(&part.bytes));
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: Claim = Claim::Of(Kind::Body);

    #[test]
    fn a_range_is_divided_among_the_parts_that_it_meets() {
        let mut ledger = Ledger::uniform(25, 10);
        ledger.add(&(8..23), BODY);
        ledger.add(&(24..99), Claim::Of(Kind::ById));
        assert_eq!(ledger.close(), 0);
        let bytes = |kind| ledger.parts().iter().map(|part| part.bytes.get(kind)).collect::<Vec<_>>();
        assert_eq!(bytes(Kind::Body), [2, 10, 3]);
        assert_eq!(bytes(Kind::ById), [0, 0, 1]);
        assert_eq!(bytes(Kind::Garbage), [8, 0, 1]);
    }

    #[test]
    fn the_sum_is_the_size_whatever_is_claimed() {
        let mut ledger = Ledger::uniform(10, 10);
        ledger.add(&(0..8), BODY);
        ledger.add(&(2..10), Claim::Of(Kind::BySeq));
        ledger.add(&(0..10), Claim::Of(Kind::Damaged));
        assert_eq!(ledger.close(), 6);
        assert_eq!(ledger.total().total(), 10);
        assert_eq!(ledger.total().get(Kind::Damaged), 0);
    }

    #[test]
    fn bodies_that_both_trees_point_to_count_once() {
        let mut ledger = Ledger::uniform(10, 5);
        ledger.add(&(0..5), BODY);
        ledger.add(&(0..10), Claim::BodyBySeq);
        assert_eq!(ledger.close(), 0);
        assert_eq!(ledger.total().get(Kind::Body), 10);
    }

    #[test]
    fn what_is_doubtful_gives_way() {
        let mut ledger = Ledger::uniform(10, 10);
        ledger.add(&(0..6), BODY);
        ledger.doubt(&(5..6));
        ledger.add(&(5..10), Claim::Of(Kind::ById));
        assert_eq!(ledger.clone().close(), 0);
        ledger.add(&(3..5), Claim::Of(Kind::Local));
        assert_eq!(ledger.close(), 2);
        assert_eq!(ledger.total().total(), 10);
    }

    #[test]
    fn an_empty_file_has_no_parts() {
        assert!(Ledger::uniform(0, 4096).parts().is_empty());
    }
}
