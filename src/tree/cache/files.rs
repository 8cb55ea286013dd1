// SPDX-License-Identifier: Apache-2.0

//! Whether the file that is opened is the one that shared nodes are from.
//!
//! Of each file its newest header and what the operating system said of it are recorded when a handle opens it or
//! commits to it. As long as all of that is the same, or the file has only grown behind the recorded header, positions
//! mean what they meant. Whenever that is not certain the file gets a new *generation*: nodes belong to one, and those
//! of older ones are not found any more.

use crate::io::stamp::{FileKey, FileStamp, Place};
use crate::sync::Mutex;
use quick_cache::UnitWeighter;
use quick_cache::unsync::Cache;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many files are known; of one that was forgotten, nodes are read anew.
const FILES: usize = 16 << 10;

/// Which generation a node belongs to: one file from one moment on. Never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Generation(u64);

impl Generation {
    fn new() -> Generation {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Generation(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A header as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderBytes {
    pub(crate) position: u64,
    pub(crate) bytes: Arc<[u8]>,
}

/// What was last known of a file.
#[derive(Clone, Debug)]
pub(super) struct Record {
    header: HeaderBytes,
    stamp: FileStamp,
    /// A change of the file is certain to show in its stamp.
    settled: bool,
    generation: Generation,
    /// Handles of this generation that have begun to write what is not committed yet.
    writers: u32,
    /// Whoever has committed the header has made this record.
    committed: bool,
}

/// The files of a cache.
#[derive(Debug)]
pub(super) struct Files {
    records: Mutex<Cache<FileKey, Record>>,
}

/// What is to be made of a file that is opened.
#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    Same,
    /// Its newest header is another one, which lies behind the recorded one: that has to be looked at.
    Grown,
    Other,
    /// It was looked at before the record was made, or a handle of this process is writing to it.
    Unclear,
}

impl Record {
    pub(super) fn header(&self) -> &HeaderBytes {
        &self.header
    }

    fn judge(&self, stamp: &FileStamp, header: &HeaderBytes) -> Judgement {
        if self.stamp.changed_after(stamp) {
            return Judgement::Unclear;
        }
        if self.header == *header && self.writers > 0 && self.stamp != *stamp {
            // The writer's commit makes a new record.
            return Judgement::Unclear;
        }
        if self.header == *header {
            return if self.settled && self.stamp == *stamp { Judgement::Same } else { Judgement::Other };
        }
        let is_newer = header.position > self.header.position && stamp.size() >= self.stamp.size();
        if is_newer { Judgement::Grown } else { Judgement::Other }
    }
}

impl Default for Files {
    fn default() -> Files {
        Files {
            records: Mutex::new(Cache::with(
                FILES,
                FILES as u64,
                UnitWeighter,
                <_>::default(),
                <_>::default(),
            )),
        }
    }
}

impl Files {
    /// What is known of this file now.
    pub(super) fn known(&self, key: &FileKey) -> Option<Record> {
        self.records.lock().get(key).cloned()
    }

    /// The generation of a file that was opened at this header, when that was `known`; `None`: its nodes are not shared.
    /// `stands` reads the file: whether this header stands in it.
    pub(super) fn open(
        &self,
        known: Option<&Record>,
        (stamp, place): (&FileStamp, Place<'_>),
        header: &HeaderBytes,
        stands: impl FnOnce(&HeaderBytes) -> bool,
    ) -> Option<Generation> {
        // Not locked while the file is read.
        let judgement = known.map_or(Judgement::Other, |known| known.judge(stamp, header));
        let kept = match (judgement, known) {
            (Judgement::Unclear, _) => return None,
            (Judgement::Same, Some(known)) => return Some(known.generation),
            (Judgement::Grown, Some(known)) => stands(&known.header).then_some(known.generation),
            _ => None,
        };
        self.record((stamp, place), header, known, kept, false)
    }

    /// The file was committed to, by a handle of this generation whose header before was `before`. Whether the nodes that
    /// it has written may be shared.
    pub(super) fn commit(
        &self,
        at: (&FileStamp, Place<'_>),
        header: &HeaderBytes,
        before: &HeaderBytes,
        generation: Generation,
    ) -> bool {
        let stamp = at.0;
        // Twice, since somebody else may have opened the file in between.
        (0..2).any(|_| {
            let known = self.known(stamp.key());
            // If it does not follow, somebody else has committed meanwhile: perhaps to the same positions. That others have
            // opened the file at this very header already is fine.
            let follows = known.as_ref().is_some_and(|known| {
                let is_next = known.header == *before || known.header == *header && !known.committed;
                known.generation == generation && is_next && !known.stamp.changed_after(stamp)
            });
            let recorded = self.record(at, header, known.as_ref(), follows.then_some(generation), true);
            follows && recorded.is_some()
        })
    }

    /// A handle of this generation begins to write, or no longer writes without a commit.
    pub(super) fn count_writer(&self, key: &FileKey, generation: Generation, begins: bool) {
        let mut records = self.records.lock();
        if let Some(mut record) = records.get_mut(key)
            && record.generation == generation
        {
            let writers = record.writers;
            record.writers = if begins { writers.saturating_add(1) } else { writers.saturating_sub(1) };
        }
    }

    /// Puts a record in the place of the `known` one, unless another was put there meanwhile.
    fn record(
        &self,
        (stamp, place): (&FileStamp, Place<'_>),
        header: &HeaderBytes,
        known: Option<&Record>,
        generation: Option<Generation>,
        committed: bool,
    ) -> Option<Generation> {
        let generation = generation.unwrap_or_else(Generation::new);
        let settled = stamp.is_settled(place);
        let mut records = self.records.lock();
        let now = records.get(stamp.key());
        let is_known = match (now, known) {
            (Some(now), Some(known)) => now.generation == known.generation && now.header == known.header,
            (None, None) => true,
            _ => false,
        };
        if !is_known || now.is_some_and(|now| now.stamp.changed_after(stamp)) {
            return None;
        }
        let writers = now.filter(|now| now.generation == generation).map_or(0, |now| now.writers);
        let (header, stamp) = (header.clone(), stamp.clone());
        let key = *stamp.key();
        records.insert(key, Record { header, stamp, settled, generation, writers, committed });
        Some(generation)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Nothing: what was changed long ago is settled all the same.
    const PLACE: Place<'_> = Place::Named(c"/there is no such file");

    fn header(position: u64, bytes: &[u8]) -> HeaderBytes {
        HeaderBytes { position, bytes: bytes.into() }
    }

    fn record(settled: bool, writers: u32) -> Record {
        let (header, stamp) = (header(4096, b"header"), FileStamp::made_up(9000, 100));
        Record { header, stamp, settled, generation: Generation::new(), writers, committed: false }
    }

    #[test]
    fn a_file_is_judged_by_its_header_and_its_stamp() {
        let (same, newer) = (header(4096, b"header"), header(8192, b"header"));
        let stamp = FileStamp::made_up;
        for (settled, writers, found, (size, changed), expected) in [
            (true, 0, &same, (9000, 100), Judgement::Same),
            (true, 1, &same, (9000, 100), Judgement::Same),
            (false, 0, &same, (9000, 100), Judgement::Other),
            // It has changed, and nobody here is writing; or somebody is.
            (true, 0, &same, (9001, 101), Judgement::Other),
            (true, 0, &same, (9000, 101), Judgement::Other),
            (true, 0, &same, (9001, 100), Judgement::Other),
            (true, 1, &same, (9001, 101), Judgement::Unclear),
            (true, 1, &same, (9001, 100), Judgement::Unclear),
            // Looked at before the record was made.
            (true, 0, &same, (9000, 99), Judgement::Unclear),
            (true, 0, &newer, (9999, 99), Judgement::Unclear),
            // There is another header.
            (true, 0, &newer, (9001, 101), Judgement::Grown),
            (false, 0, &newer, (9001, 101), Judgement::Grown),
            (true, 1, &newer, (9001, 101), Judgement::Grown),
            (true, 0, &newer, (9000, 101), Judgement::Grown),
            (true, 0, &newer, (8999, 101), Judgement::Other),
            (true, 0, &header(4096, b"another"), (9001, 101), Judgement::Other),
            (true, 1, &header(4096, b"another"), (9001, 101), Judgement::Other),
            (true, 0, &header(0, b"header"), (9001, 101), Judgement::Other),
        ] {
            let judged = record(settled, writers).judge(&stamp(size, changed), found);
            assert_eq!(judged, expected, "{settled} {writers} {found:?} {size} {changed}");
        }
    }

    /// A file of which a handle knows this generation.
    fn known(files: &Files, at: &FileStamp, header: &HeaderBytes) -> Generation {
        let known = files.known(at.key());
        files.open(known.as_ref(), (at, PLACE), header, |_| unreachable!()).unwrap()
    }

    #[test]
    fn a_file_that_has_grown_keeps_its_generation_if_the_old_header_stands() {
        for stands in [true, false] {
            let files = Files::default();
            let (old, new) = (header(4096, b"old"), header(8192, b"new"));
            let first = known(&files, &FileStamp::made_up(5000, 100), &old);
            assert_eq!(known(&files, &FileStamp::made_up(5000, 100), &old), first);
            let grown = FileStamp::made_up(9000, 101);
            let before = files.known(grown.key());
            let looked_at = |header: &HeaderBytes| {
                assert_eq!(*header, old);
                stands
            };
            let second = files.open(before.as_ref(), (&grown, PLACE), &new, looked_at).unwrap();
            assert_eq!(second == first, stands);
            // From now on this is what is known.
            assert_eq!(known(&files, &grown, &new), second);
        }
    }

    #[test]
    fn a_commit_that_follows_keeps_the_generation() {
        let (old, new) = (header(4096, b"old"), header(8192, b"new"));
        let (before, after) = (FileStamp::made_up(5000, 100), FileStamp::made_up(9000, 101));
        let at = (&after, PLACE);
        let opened = || {
            let files = Files::default();
            let generation = known(&files, &before, &old);
            (files, generation)
        };
        let (files, generation) = opened();
        assert!(files.commit(at, &new, &old, generation));
        assert_eq!(known(&files, &after, &new), generation);
        // Somebody has opened the file at the new header before the commit is told of.
        let (files, generation) = opened();
        let between = files.known(after.key());
        assert_eq!(files.open(between.as_ref(), at, &new, |_| true), Some(generation));
        assert!(files.commit(at, &new, &old, generation));
        assert_eq!(known(&files, &after, &new), generation);
        // Somebody else has committed the same header, or another one; the writer knows another file; or none is known.
        let (files, generation) = opened();
        assert!(files.commit(at, &new, &old, generation));
        assert!(!files.commit(at, &new, &old, generation));
        assert_ne!(known(&files, &after, &new), generation);
        let (files, generation) = opened();
        assert!(!files.commit(at, &new, &header(0, b"older"), generation));
        let (files, generation) = opened();
        assert!(!files.commit(at, &new, &old, Generation::new()));
        assert_ne!(known(&files, &after, &new), generation);
        assert!(!Files::default().commit(at, &new, &old, generation));
        // The file was looked at before what is known of it.
        let (files, generation) = opened();
        assert!(!files.commit((&FileStamp::made_up(9000, 99), PLACE), &new, &old, generation));
        assert_eq!(known(&files, &before, &old), generation);
    }

    #[test]
    fn a_record_takes_the_place_of_the_known_one_only() {
        let (old, new) = (header(4096, b"old"), header(8192, b"new"));
        let (before, after) = (FileStamp::made_up(5000, 100), FileStamp::made_up(9000, 101));
        let files = Files::default();
        let generation = known(&files, &before, &old);
        files.count_writer(before.key(), generation, true);
        files.count_writer(before.key(), Generation::new(), true);
        let known = files.known(before.key()).unwrap();
        assert_eq!(known.writers, 1);
        let others = [
            Record { generation: Generation::new(), ..known.clone() },
            Record { header: new.clone(), ..known.clone() },
        ];
        for other in others.iter().map(Some).chain([None]) {
            assert_eq!(files.record((&after, PLACE), &new, other, Some(generation), false), None);
        }
        // Those who write go on with their generation, and are nobody in another one.
        assert!(files.record((&after, PLACE), &new, Some(&known), Some(generation), false).is_some());
        let known = files.known(before.key()).unwrap();
        assert_eq!((&known.header, known.writers), (&new, 1));
        assert!(files.record((&after, PLACE), &new, Some(&known), None, false).is_some());
        assert_eq!(files.known(before.key()).unwrap().writers, 0);
        let empty = Files::default();
        assert_eq!(empty.record((&after, PLACE), &new, Some(&known), None, false), None);
    }
}
