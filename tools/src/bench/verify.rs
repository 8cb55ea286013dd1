// SPDX-License-Identifier: Apache-2.0

//! Comparing every document of a file with what it has to be. Never on the clock.

use super::corpus::Corpus;
use crate::carry::Carry;
use crate::interrupt::Interrupt;
use crate::program::Failure;
use couchstore::{Db, DocInfoRef, ScanOptions};

/// What a file has to hold: the version of each document, by number.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) corpus: Corpus,
    pub(super) versions: Vec<u32>,
}

impl Expected {
    /// All documents in their first version.
    pub(super) fn first_versions(corpus: Corpus, documents: u64) -> Expected {
        Expected { corpus, versions: vec![0; documents as usize] }
    }

    pub(super) fn documents(&self) -> u64 {
        self.versions.len() as u64
    }

    /// The version that a document has now.
    pub(super) fn version(&self, number: u64) -> u32 {
        self.versions.get(number as usize).copied().unwrap_or(0)
    }

    /// A document that is saved anew: its number and its next version, which is expected from now on.
    pub(super) fn next_version(&mut self, number: u64) -> (u64, u32) {
        if let Some(version) = self.versions.get_mut(number as usize) {
            *version += 1;
        }
        (number, self.version(number))
    }

    /// Whether this is the body of the document with this id.
    pub(super) fn check_body(&self, id: &[u8], body: &[u8]) -> Result<u64, Failure> {
        let number = Corpus::number(id);
        let version = number.and_then(|number| self.versions.get(number as usize));
        match (number, version) {
            (Some(number), Some(&version)) if self.corpus.body(number, version) == body => Ok(number),
            (_, None) => Err(wrong(id, "was never saved")),
            _ => Err(wrong(id, "has not the body that was saved")),
        }
    }

    /// Reads the whole file and compares every body.
    pub(super) fn check(&self, db: &Db, interrupt: &Interrupt) -> Result<(), Failure> {
        let mut tally = Tally::new(self, db);
        let mut check = |info: &DocInfoRef<'_>| {
            interrupt.check()?;
            tally.add(info)
        };
        let mut carry = Carry::default();
        let scanned = db.changes_since(0, ScanOptions::default(), &mut |info| carry.take(check(info)));
        carry.result(scanned)?;
        same_number(tally.shown, self.documents())?;
        same_number(db.info()?.doc_count, self.documents())
    }
}

/// Compares documents one after another: each is shown once, with the right body.
pub(super) struct Tally<'a> {
    expected: &'a Expected,
    db: &'a Db,
    seen: Vec<bool>,
    /// Documents so far.
    pub(super) shown: u64,
}

impl<'a> Tally<'a> {
    pub(super) fn new(expected: &'a Expected, db: &'a Db) -> Tally<'a> {
        Tally { expected, db, seen: vec![false; expected.versions.len()], shown: 0 }
    }

    pub(super) fn add(&mut self, info: &DocInfoRef<'_>) -> Result<(), Failure> {
        let number = self.expected.check_body(info.id, &self.db.body(info)?)?;
        match self.seen.get_mut(number as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(wrong(info.id, "was shown twice")),
        }
        self.shown += 1;
        Ok(())
    }
}

/// An error unless a row has dealt with as many documents as there are.
pub(super) fn same_number(found: u64, expected: u64) -> Result<(), Failure> {
    if found == expected {
        return Ok(());
    }
    Err(Failure::Message(format!("verification failed: {found} documents instead of {expected}")))
}

fn wrong(id: &[u8], what: &str) -> Failure {
    Failure::Message(format!("verification failed: document {} {what}", String::from_utf8_lossy(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_bodies_are_found() {
        let corpus = Corpus { seed: 3, body_size: 50 };
        let mut expected = Expected::first_versions(corpus, 2);
        assert_eq!(expected.next_version(1), (1, 1));
        assert!(expected.check_body(&Corpus::id(1), &corpus.body(1, 1)).is_ok());
        for (number, version) in [(1, 0), (0, 1)] {
            assert!(expected.check_body(&Corpus::id(number), &corpus.body(number, version)).is_err());
        }
        assert!(expected.check_body(&Corpus::id(2), &corpus.body(2, 0)).is_err());
    }
}
