// SPDX-License-Identifier: Apache-2.0

//! A handle and where it stands in the file's history.

use crate::common::model::{Entry, Model};
use crate::common::store::Query;
use crate::engine::Handle;
use couchstore::{Direction, DocInfo, ErrorCode, ScanOptions};

/// A header that was committed.
#[derive(Clone)]
pub(crate) struct Committed {
    pub(crate) position: u64,
    pub(crate) timestamp: u64,
    pub(crate) model: Model,
    /// Index of the header that it is based on.
    pub(crate) parent: Option<usize>,
}

/// The headers of a file.
#[derive(Clone)]
pub(crate) struct History {
    pub(crate) version: u8,
    pub(crate) headers: Vec<Committed>,
    /// The first header was made with the file: it says itself that there is none before.
    pub(crate) created: bool,
}

impl History {
    pub(crate) fn last(&self) -> usize {
        self.headers.len() - 1
    }

    /// Where a move backward leads to. Files before version 14 do not tell what a header is based on.
    fn before(&self, index: usize) -> Option<usize> {
        if self.version >= 14 { self.headers[index].parent } else { index.checked_sub(1) }
    }

    /// All headers that this one is based on, itself first.
    pub(crate) fn ancestors(&self, index: usize) -> Vec<usize> {
        std::iter::successors(Some(index), |&index| self.headers[index].parent).collect()
    }

    /// Where [`Handle::seek_containing`] leads to; `None` if the sequence numbers do not ascend.
    fn containing(&self, current: usize, seq: u64, unit: u64) -> Option<usize> {
        let headers = &self.headers[..=current];
        if !headers.is_sorted_by_key(|header| header.model.update_seq) {
            return None;
        }
        let first = headers.iter().position(|header| header.model.update_seq >= seq);
        let Some(first) = first.filter(|_| unit > 1) else { return Some(first.unwrap_or(current)) };
        let interval = |index: usize| headers[index].timestamp / unit;
        Some(
            (first..=current).take_while(|&index| interval(index) == interval(first)).last().unwrap_or(first),
        )
    }
}

/// A handle on a file.
pub(crate) struct Standing<H> {
    pub(crate) handle: H,
    /// What it shows.
    pub(crate) model: Model,
    /// The header that it stands on.
    pub(crate) current: usize,
    /// How many headers lie within the size of the file that it knows.
    pub(crate) seen: usize,
}

impl<H: Handle> Standing<H> {
    /// A handle that was just opened.
    pub(crate) fn opened(handle: H, history: &History) -> Standing<H> {
        Standing::at(history.last(), handle, history)
    }

    /// A handle on this header.
    pub(crate) fn at(index: usize, handle: H, history: &History) -> Standing<H> {
        let mut standing =
            Standing { handle, model: Model::default(), current: index, seen: history.headers.len() };
        standing.stand_on(history, index);
        standing
    }

    /// The handle stands on this header now, without uncommitted changes.
    pub(crate) fn stand_on(&mut self, history: &History, index: usize) {
        self.current = index;
        self.model = history.headers[index].model.clone();
        let figures = self.handle.figures().expect("figures");
        assert_eq!(figures.header_position, history.headers[index].position, "position of the header");
        assert_eq!(figures.timestamp, history.headers[index].timestamp, "timestamp of the header");
        assert_eq!(figures.version, history.version, "version of the header");
    }

    /// What it shows, as a copy would have it.
    pub(crate) fn state(&self, history: &History) -> Committed {
        Committed { model: self.model.clone(), ..history.headers[self.current].clone() }
    }

    fn goal(&self, history: &History, direction: Direction) -> Option<usize> {
        match direction {
            Direction::Backward => history.before(self.current),
            Direction::Forward => Some(self.current + 1).filter(|&next| next < self.seen),
            Direction::End => Some(history.last()),
        }
    }

    /// Moves it. Returns whether it stands on a header anew: not if it is plain that there is none before.
    pub(crate) fn seek(&mut self, history: &History, direction: Direction) -> bool {
        let goal = self.goal(history, direction);
        let result = self.handle.seek_to(direction);
        if let Some(goal) = goal {
            result.expect("a move to a header");
            if direction == Direction::End {
                self.seen = history.headers.len();
            }
            self.stand_on(history, goal);
            return true;
        }
        let first = direction == Direction::Backward && history.created;
        let second_block = first && history.headers[0].position > 0;
        let code = if second_block { ErrorCode::DB_NO_LONGER_VALID } else { ErrorCode::NO_HEADER };
        assert_eq!(result, Err(code), "a move to where no header is");
        if !first {
            self.stand_on(history, self.current);
        }
        !first
    }

    /// Moves it by the calls that lose the handle when they fail. Returns whether it is still there.
    pub(crate) fn step(&mut self, history: &History, direction: Direction) -> bool {
        let goal = self.goal(history, direction);
        let result = self.handle.step(direction);
        match goal {
            Some(goal) => {
                result.expect("a step to a header");
                self.stand_on(history, goal);
            }
            None => assert_eq!(result, Err(ErrorCode::DB_NO_LONGER_VALID), "a step to where no header is"),
        }
        goal.is_some()
    }

    /// Moves it to this header.
    pub(crate) fn seek_to(&mut self, history: &History, index: usize) -> bool {
        let result = self.handle.seek_to_offset(history.headers[index].position);
        if index < self.seen {
            result.expect("a move to the position of a header");
            self.stand_on(history, index);
        } else {
            assert_eq!(result, Err(ErrorCode::NO_HEADER), "a move beyond the known end");
        }
        index < self.seen
    }

    pub(crate) fn seek_containing(&mut self, history: &History, header: usize, unit: u64) -> bool {
        let seq = history.headers[header].model.update_seq;
        let Some(goal) = history.containing(self.current, seq, unit) else { return false };
        self.handle.seek_containing(seq, unit).expect("a move to a sequence number");
        self.stand_on(history, goal);
        true
    }

    /// Compares all that it shows.
    pub(crate) fn check(&self) {
        self.model.check(&self.handle);
    }

    /// Compares one answer.
    pub(crate) fn read(&self, query: &Query, options: ScanOptions) {
        let mut found = self.handle.documents(query, options).expect("documents");
        if matches!(query, Query::ChangesSince(_) | Query::Seqs(_) | Query::SeqRange(..)) {
            assert!(found.is_sorted_by_key(|info| info.db_seq), "in order of sequence numbers");
            // Those that share a number come in any order.
            found.sort_by(|a, b| (a.db_seq, &a.id).cmp(&(b.db_seq, &b.id)));
        }
        for info in &mut found {
            info.body_position = 0;
        }
        let expected = self.model.documents(query, options);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query:?} {options:?}");
    }

    /// Compares what single lookups give.
    pub(crate) fn get(&self, id: &[u8], local: &[u8]) {
        let not_found = ErrorCode::DOC_NOT_FOUND;
        let without_position = |info| DocInfo { body_position: 0, ..info };
        let entry = self.model.by_id.get(id);
        let expected = entry.map(|entry| entry.info.clone()).ok_or(not_found);
        assert_eq!(self.handle.by_id(id).map(without_position), expected, "by id");
        let body = entry.and_then(Entry::plain).ok_or(not_found);
        assert_eq!(self.handle.body_by_id(id), body, "body by id");
        let local_body = self.model.local.get(local).cloned().ok_or(not_found);
        assert_eq!(self.handle.local_doc(local), local_body, "local document");
        let seq = entry.map_or(self.model.update_seq + 1, |entry| entry.info.db_seq);
        let mut sharing =
            self.model.by_seq.range((seq, vec![])..(seq + 1, vec![])).map(|(_, entry)| &entry.info);
        let expected = sharing.next().cloned().ok_or(not_found);
        if sharing.next().is_none() {
            assert_eq!(self.handle.by_seq(seq).map(without_position), expected, "by sequence number");
        }
        let after = self.model.local.range(local.to_vec()..).map(|(id, body)| (id.clone(), body.clone()));
        assert_eq!(self.handle.locals_from(local), Ok(after.collect()), "local documents from there on");
    }
}
