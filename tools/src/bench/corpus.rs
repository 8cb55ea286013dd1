// SPDX-License-Identifier: Apache-2.0

//! The documents: the same ones for the same seed, so that none need to be kept to compare them later.

use couchstore::{COMPRESSED, Document};
use std::fmt::Write as _;

/// Ids are numbers times this, modulo 2^64: in no order, and each only once.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// [`SPREAD`] times this is 1, modulo 2^64.
const GATHER: u64 = 0xf1de_83e1_9937_733d;

const ID_PREFIX: &[u8] = b"user::";
/// The prefix and sixteen digits.
const ID_LENGTH: usize = 22;
/// Bytes of revision metadata: as many as couchbase has.
const REV_META: usize = 18;

/// A small generator of numbers (splitmix64): the same ones in each run.
#[derive(Clone, Debug)]
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Numbers {
        Numbers(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(SPREAD);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// Up to `count` different numbers below `limit`, in order.
    pub(super) fn distinct(&mut self, count: u64, limit: u64) -> Vec<u64> {
        let mut chosen: Vec<u64> = (0..count).map(|_| self.below(limit)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }
}

/// All documents of a file. A document has a number and a version, from which everything else follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corpus {
    pub(super) seed: u64,
    pub(super) body_size: usize,
}

impl Corpus {
    /// The id of a document.
    pub(super) fn id(number: u64) -> Vec<u8> {
        format!("user::{:016x}", number.wrapping_mul(SPREAD)).into_bytes()
    }

    /// The numbers of the first `documents` documents in the order of their ids.
    pub(super) fn in_order_of_ids(documents: u64) -> Vec<u64> {
        let mut spread: Vec<u64> = (0..documents).map(|number| number.wrapping_mul(SPREAD)).collect();
        spread.sort_unstable();
        spread.into_iter().map(|spread| spread.wrapping_mul(GATHER)).collect()
    }

    /// The number of the document with this id.
    pub(super) fn number(id: &[u8]) -> Option<u64> {
        let digits = std::str::from_utf8(id.strip_prefix(ID_PREFIX)?).ok()?;
        u64::from_str_radix(digits, 16).ok().map(|spread| spread.wrapping_mul(GATHER))
    }

    /// The body of a document: JSON-like text that compresses to about half of its size.
    pub(super) fn body(&self, number: u64, version: u32) -> Vec<u8> {
        let start =
            self.seed ^ number.wrapping_mul(SPREAD).rotate_left(17) ^ u64::from(version).rotate_left(40);
        let mut numbers = Numbers::new(start);
        let mut text = String::with_capacity(self.body_size + 64);
        while text.len() < self.body_size {
            let field = text.len() % 97;
            // Writing to a string cannot fail.
            let _ = write!(text, "{{\"f{field}\":\"{:016x}\",\"g\":{number}}},", numbers.next());
        }
        text.truncate(self.body_size);
        text.into_bytes()
    }

    /// Bytes of a document that the user gives: id, metadata, body.
    pub(super) fn bytes_of_one(&self) -> u64 {
        (ID_LENGTH + REV_META + self.body_size) as u64
    }

    /// Prepares documents: number and version of each.
    pub(super) fn batch(&self, documents: impl IntoIterator<Item = (u64, u32)>) -> Batch {
        let prepare = |(number, version)| Prepared {
            id: Corpus::id(number),
            body: self.body(number, version),
            rev_meta: [number as u8; REV_META],
            rev_seq: u64::from(version) + 1,
        };
        Batch(documents.into_iter().map(prepare).collect())
    }
}

/// A document that is ready to be saved.
struct Prepared {
    id: Vec<u8>,
    body: Vec<u8>,
    rev_meta: [u8; REV_META],
    rev_seq: u64,
}

impl Prepared {
    fn document(&self) -> Document<'_> {
        let Prepared { id, body, rev_meta, rev_seq } = self;
        Document { rev_meta, rev_seq: *rev_seq, content_meta: COMPRESSED, ..Document::new(id, body) }
    }
}

/// Documents that are ready to be saved.
pub(super) struct Batch(Vec<Prepared>);

impl Batch {
    pub(super) fn documents(&self) -> Vec<Document<'_>> {
        self.0.iter().map(Prepared::document).collect()
    }

    /// Bytes that the user gives: ids, metadata, bodies.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|prepared| (prepared.id.len() + prepared.body.len() + REV_META) as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_their_number() {
        for number in [0, 1, 99_999, u64::MAX] {
            assert_eq!(Corpus::number(&Corpus::id(number)), Some(number));
            assert_eq!(Corpus::id(number).len(), ID_LENGTH);
        }
        assert_eq!(Corpus::number(b"somebody else"), None);
        let ordered = Corpus::in_order_of_ids(100);
        assert!(ordered.iter().map(|&number| Corpus::id(number)).is_sorted());
        assert!((0..100).all(|number| ordered.contains(&number)));
    }

    #[test]
    fn bodies_differ_by_number_and_version_only() {
        let corpus = Corpus { seed: 1, body_size: 100 };
        assert_eq!(corpus.body(5, 0), corpus.body(5, 0));
        assert_eq!(corpus.body(5, 0).len(), 100);
        assert_ne!(corpus.body(5, 0), corpus.body(5, 1));
        assert_ne!(corpus.body(5, 0), corpus.body(6, 0));
        assert_ne!(corpus.body(5, 0), Corpus { seed: 2, ..corpus }.body(5, 0));
    }
}
