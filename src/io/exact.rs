// SPDX-License-Identifier: Apache-2.0

//! What was read of a file without being rounded up to units: the last piece, and pieces read ahead by a plan.

#![forbid(unsafe_code)]

use crate::error::Result;
use crate::memory;
use std::cell::Cell;
use std::ops::Range;

/// A piece that is kept is no longer than this.
const KEPT: usize = 32 << 10;
/// Where plans follow each other, so many bytes more are read at first.
const FIRST_MORE: u64 = 8 << 10;
/// Pieces of a plan with no more than this between them are read at once,
pub(crate) const GAP: u64 = 16 << 10;
/// or, where that comes to too much, with a half of it, and so on down to this,
const SMALL_GAP: u64 = 256;
/// up to this many bytes, which is also what plans of a kind keep at most.
pub(crate) const MOST_AHEAD: u64 = 256 << 10;

/// Bytes of a file, as they stand there.
#[derive(Default)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) bytes: Vec<u8>,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// What there is from `offset` on; empty if nothing is.
    #[inline]
    fn get(&self, offset: u64) -> &[u8] {
        let at = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.bytes.get(at..)).unwrap_or_default()
    }

    fn overlaps(&self, start: u64, end: u64) -> bool {
        self.start < end && start < self.end()
    }
}

/// What a plan has read: several pieces in one buffer.
#[derive(Default)]
pub(super) struct Ahead {
    pub(super) bytes: Vec<u8>,
    /// The pieces, in ascending order: both of their starts and of their ends.
    pieces: Vec<AheadPiece>,
    /// Where the last plan ended, if it was one range.
    end: u64,
    /// Bytes behind it that are read too, as long as plans go on where the last one has ended.
    more: u64,
    /// The piece where something was found last.
    recent: Cell<usize>,
}

#[derive(Clone, Copy)]
struct AheadPiece {
    start: u64,
    /// Where it begins in the buffer, and its length.
    at: usize,
    length: usize,
}

impl AheadPiece {
    /// Where in the buffer its bytes from `offset` on are, if there are so many.
    #[inline]
    fn range(&self, offset: u64, least: usize) -> Option<Range<usize>> {
        let skipped = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let left = self.length.checked_sub(skipped)?;
        (left >= least).then(|| self.at + skipped..self.at + self.length)
    }

    /// Whether it has so many bytes from `offset` on.
    #[inline]
    fn holds(&self, offset: u64, least: usize) -> bool {
        self.range(offset, least).is_some()
    }

    fn overlaps(&self, start: u64, end: u64) -> bool {
        self.start < end && start < self.start + self.length as u64
    }
}

impl Ahead {
    /// Puts those of these ranges first that are not here, in ascending order, and returns their count. The others are in no order.
    fn put_missing_first(&self, ranges: &mut [Range<u64>]) -> usize {
        ranges.sort_unstable_by_key(|range| range.start);
        let (mut pieces, mut nearest) = (self.pieces.iter().peekable(), None);
        let mut missing = 0;
        for index in 0..ranges.len() {
            let range = &ranges[index];
            // Of those that begin no later the last one reaches furthest.
            while let Some(piece) = pieces.next_if(|piece| piece.start <= range.start) {
                nearest = Some(piece);
            }
            let length = range.end.saturating_sub(range.start) as usize;
            if !nearest.is_some_and(|piece| piece.holds(range.start, length)) {
                ranges.swap(index, missing);
                missing += 1;
            }
        }
        missing
    }

    /// What is to be read for a plan, near ranges as one: what it wants and is not here. If that is most of it, or would leave
    /// less room beside what is here than the plan spares, all of that goes, and everything that is wanted is to be read.
    pub(super) fn make_room(&mut self, plan: Plan, wanted: &mut [Range<u64>]) -> Result<Vec<Range<u64>>> {
        let missing = self.put_missing_first(wanted);
        if missing == 0 {
            return Ok(Vec::new());
        }
        if missing * 2 <= wanted.len() {
            let joined = join(&mut wanted[..missing])?;
            if length_of(&joined) + plan.spares() <= self.room() {
                return Ok(joined);
            }
        }
        self.bytes.clear();
        self.pieces.clear();
        join(wanted)
    }

    /// Bytes that may be read beside those that are here.
    fn room(&self) -> u64 {
        MOST_AHEAD.saturating_sub(self.bytes.len() as u64)
    }

    /// Makes the last of the joined ranges longer if plans follow each other in the file, by twice as much each time.
    pub(super) fn go_on(&mut self, plan: Plan, joined: &mut [Range<u64>]) {
        let Some(limit) = plan.limit() else { return };
        let [range] = joined else {
            (self.end, self.more) = (0, 0);
            return;
        };
        let follows = range.start <= self.end.saturating_add(GAP) && range.end > self.end && self.end > 0;
        // Where another plan has read on already there is nothing to be gained.
        let follows = follows && self.find(range.end, 1).is_none();
        let room = self.room().saturating_sub(range.end.saturating_sub(range.start));
        self.more = if follows { (self.more * 2).clamp(FIRST_MORE, MOST_AHEAD).min(room) } else { 0 };
        range.end = range.end.saturating_add(self.more).min(limit.max(range.end));
        self.end = range.end;
    }

    /// The bytes from `at` to the end of the buffer were read at `start`.
    pub(super) fn note(&mut self, start: u64, at: usize) -> Result<()> {
        let new = AheadPiece { start, at, length: self.bytes.len() - at };
        let place = self.pieces.partition_point(|piece| piece.start < start);
        // Less was read than was asked for.
        let before = place.checked_sub(1).and_then(|before| self.pieces.get(before));
        if before.is_some_and(|before| before.holds(start, new.length)) {
            return Ok(());
        }
        // A piece within it would only hide it.
        let behind = self.pieces.iter().skip(place);
        let within = behind.take_while(|piece| new.holds(piece.start, piece.length)).count();
        memory::reserve(&mut self.pieces, 1)?;
        self.pieces.splice(place..place + within, [new]);
        Ok(())
    }

    #[inline]
    fn get(&self, index: usize, offset: u64) -> &[u8] {
        let Some(piece) = self.pieces.get(index) else { return &[] };
        let bytes = self.bytes.get(piece.at..piece.at + piece.length).unwrap_or_default();
        let skipped = offset.checked_sub(piece.start).and_then(|skipped| usize::try_from(skipped).ok());
        skipped.and_then(|skipped| bytes.get(skipped..)).unwrap_or_default()
    }

    /// At least `least` bytes from `offset` on, if they are in the piece where something was found last.
    #[inline]
    fn recent(&self, offset: u64, least: usize) -> Option<&[u8]> {
        self.bytes.get(self.pieces.get(self.recent.get())?.range(offset, least)?)
    }

    /// The piece with at least `least` bytes from `offset` on.
    fn find(&self, offset: u64, least: usize) -> Option<usize> {
        let recent = self.recent.get();
        if self.pieces.get(recent).is_some_and(|piece| piece.holds(offset, least)) {
            return Some(recent);
        }
        let index = self.pieces.partition_point(|piece| piece.start <= offset).checked_sub(1)?;
        self.pieces.get(index).filter(|piece| piece.holds(offset, least))?;
        self.recent.set(index);
        Some(index)
    }
}

/// What a plan is for. Nodes and bodies are kept apart, since bodies are read between leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Pointer nodes that are looked at before the leaves below them are planned.
    Pointers,
    Leaves {
        /// Others may be wanted behind them, but only before this place.
        before: u64,
    },
    Bodies,
}

impl Plan {
    /// Room that is left for the next plan.
    fn spares(self) -> u64 {
        match self {
            // Leaves are planned next. Where all stand in order some are among what was read, and the others must not drive them
            // out.
            Plan::Pointers => MOST_AHEAD / 2,
            Plan::Leaves { .. } | Plan::Bodies => 0,
        }
    }

    /// What stands behind may be wanted next, but only before this place. `None`: it says nothing of where plans go on.
    fn limit(self) -> Option<u64> {
        match self {
            Plan::Pointers => None,
            Plan::Leaves { before } => Some(before),
            Plan::Bodies => Some(u64::MAX),
        }
    }
}

/// Everything that is kept.
#[derive(Default)]
pub(super) struct Pieces {
    last: Piece,
    nodes: Ahead,
    bodies: Ahead,
}

/// Where something is kept.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Last,
    Nodes(usize),
    Bodies(usize),
}

impl Pieces {
    /// What is kept there from `offset` on.
    pub(super) fn at(&self, place: Place, offset: u64) -> &[u8] {
        match place {
            Place::Last => self.last.get(offset),
            Place::Nodes(index) => self.nodes.get(index, offset),
            Place::Bodies(index) => self.bodies.get(index, offset),
        }
    }

    /// Whether any plan has read anything.
    #[inline]
    pub(super) fn has_read_ahead(&self) -> bool {
        !self.nodes.pieces.is_empty() || !self.bodies.pieces.is_empty()
    }

    /// What this plan has read.
    pub(super) fn ahead(&mut self, plan: Plan) -> &mut Ahead {
        match plan {
            Plan::Pointers | Plan::Leaves { .. } => &mut self.nodes,
            Plan::Bodies => &mut self.bodies,
        }
    }

    /// Where at least `least` bytes from `offset` on are kept.
    #[inline(never)]
    pub(super) fn find(&self, offset: u64, least: usize) -> Option<Place> {
        if self.last.get(offset).len() >= least {
            return Some(Place::Last);
        }
        let bodies = self.bodies.find(offset, least).map(Place::Bodies);
        bodies.or_else(|| self.nodes.find(offset, least).map(Place::Nodes))
    }

    /// At least `least` bytes from `offset` on, if they are kept.
    #[inline]
    pub(super) fn get(&self, offset: u64, least: usize) -> Option<&[u8]> {
        // Who has read bodies ahead asks for them most often.
        if let Some(found) = self.bodies.recent(offset, least) {
            return Some(found);
        }
        let found = self.last.get(offset);
        if found.len() >= least {
            return Some(found);
        }
        if let Some(found) = self.nodes.recent(offset, least) {
            return Some(found);
        }
        let place = self.find(offset, least)?;
        Some(self.at(place, offset))
    }

    /// The last piece, to be read anew or to be continued. If it did not begin at `offset` it is empty.
    #[inline]
    pub(super) fn begin(&mut self, offset: u64) -> &mut Piece {
        if self.last.start != offset {
            self.last.start = offset;
            self.last.bytes.clear();
        }
        &mut self.last
    }

    /// Lets the last piece go if it is large.
    pub(super) fn trim(&mut self) {
        if self.last.bytes.capacity() > KEPT {
            self.last = Piece::default();
        }
    }

    /// Forgets what overlaps the range.
    pub(super) fn invalidate(&mut self, start: u64, end: u64) {
        if self.last.overlaps(start, end) {
            self.last.bytes.clear();
        }
        for ahead in [&mut self.nodes, &mut self.bodies] {
            ahead.pieces.retain(|piece| !piece.overlaps(start, end));
        }
    }

    /// Forgets what plans have read, and gives the memory back.
    pub(super) fn forget_ahead(&mut self) {
        for ahead in [&mut self.nodes, &mut self.bodies] {
            if ahead.bytes.capacity() > 0 || ahead.pieces.capacity() > 0 {
                *ahead = Ahead::default();
            }
            (ahead.end, ahead.more) = (0, 0);
        }
    }

    /// Forgets everything and gives the memory back.
    pub(super) fn clear(&mut self) {
        *self = Pieces::default();
    }

    /// How much memory is held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.last.bytes.capacity() + self.nodes.bytes.capacity() + self.bodies.bytes.capacity()
    }
}

/// What ranges take, together.
pub(super) fn length_of(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum()
}

/// Joins ranges of the file that are about to be read, in any order, to those that are read at once: where that comes to
/// more than a plan keeps, only nearer ones. What is beyond even so, or alone as long, is left out.
fn join(wanted: &mut [Range<u64>]) -> Result<Vec<Range<u64>>> {
    wanted.sort_unstable_by_key(|range| range.start);
    let mut joined = Vec::new();
    let mut gap = GAP;
    while !join_near(wanted, gap, &mut joined)? && gap > 0 {
        gap = if gap > SMALL_GAP { gap / 2 } else { 0 };
    }
    Ok(joined)
}

/// Joins those of the sorted ranges with no more than `gap` bytes between them. False: not all had room.
fn join_near(wanted: &[Range<u64>], gap: u64, joined: &mut Vec<Range<u64>>) -> Result<bool> {
    joined.clear();
    let mut total = 0;
    for range in wanted {
        let length = range.end.saturating_sub(range.start);
        if length == 0 || length > MOST_AHEAD {
            continue;
        }
        let last = joined.last_mut().filter(|last| range.start <= last.end.saturating_add(gap));
        let more = last.as_ref().map_or(length, |last| range.end.saturating_sub(last.end));
        if total + more > MOST_AHEAD {
            return Ok(false);
        }
        total += more;
        match last {
            Some(last) => last.end = last.end.max(range.end),
            None => memory::push(joined, range.clone())?,
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::single_range_in_vec_init, reason = "tests")]
    use super::*;

    const LEAVES: Plan = Plan::Leaves { before: u64::MAX };

    #[test]
    fn near_ranges_are_read_at_once() {
        let mut wanted = [90_000..91_000, 100..200, 16_000..17_000, 200..300];
        assert_eq!(join(&mut wanted).unwrap(), [100..17_000, 90_000..91_000]);
        assert_eq!(join(&mut [5..5]).unwrap(), []);
        assert_eq!(join(&mut [0..10, 3..4, 2..12]).unwrap(), [0..12]);
        assert_eq!(join(&mut [0..10, 10 + GAP..20 + GAP]).unwrap(), [0..20 + GAP]);
        assert_eq!(join(&mut [0..10, 11 + GAP..20 + GAP]).unwrap(), [0..10, 11 + GAP..20 + GAP]);
    }

    #[test]
    fn a_plan_is_bounded() {
        let mut many: Vec<_> = (0..1000).map(|index| index * 1000..index * 1000 + 1000).collect();
        assert_eq!(join(&mut many).unwrap(), [0..MOST_AHEAD / 1000 * 1000]);
        assert_eq!(join(&mut [0..MOST_AHEAD + 1, 7..u64::MAX, 5..9]).unwrap(), [5..9]);
        let mut far: Vec<_> = (0..1000).map(|index| index << 20..(index << 20) + 1000).collect();
        let total: u64 = join(&mut far).unwrap().iter().map(|range| range.end - range.start).sum();
        assert!(total <= MOST_AHEAD);
        // With all that is between them these would be too many.
        let mut scattered: Vec<_> = (0..200).map(|index| index * 5000..index * 5000 + 1000).collect();
        assert_eq!(join(&mut scattered).unwrap(), scattered);
    }

    /// Reads for a plan what is to be read of these ranges. Each byte is the last one of its offset.
    fn read(pieces: &mut Pieces, plan: Plan, wanted: &mut [Range<u64>]) -> Vec<Range<u64>> {
        let ahead = pieces.ahead(plan);
        let ranges = ahead.make_room(plan, wanted).unwrap();
        for range in &ranges {
            let at = ahead.bytes.len();
            ahead.bytes.extend(range.clone().map(|offset| offset as u8));
            ahead.note(range.start, at).unwrap();
        }
        ranges
    }

    fn assert_holds(pieces: &Pieces, range: Range<u64>) {
        let length = (range.end - range.start) as usize;
        let expected: Vec<_> = range.clone().map(|offset| offset as u8).collect();
        let found = pieces.find(range.start, length).map(|place| &pieces.at(place, range.start)[..length]);
        assert!(found == Some(&expected), "{range:?}");
        assert!(
            pieces.get(range.start, length).is_some_and(|bytes| bytes[..length] == expected),
            "{range:?}"
        );
    }

    #[test]
    fn plans_read_what_is_missing() {
        const MUCH: u64 = 100_000;
        let (mut pieces, plan) = (Pieces::default(), LEAVES);
        assert_eq!(read(&mut pieces, plan, &mut [0..100, 50_000..50_100]), [0..100, 50_000..50_100]);
        assert_eq!(read(&mut pieces, plan, &mut [50_010..50_090, 0..100]), []);
        // Half of them are here, in part with others between that are not.
        assert_eq!(
            read(&mut pieces, plan, &mut [90..110, 50_000..50_100, 10..20, 49_990..49_995]),
            [90..110, 49_990..49_995]
        );
        assert_eq!(
            read(&mut pieces, plan, &mut [0..100, 99..101, 49_000..49_001, 50_000..50_050]),
            [49_000..49_001]
        );
        for range in [0..100, 90..110, 99..101, 49_000..49_001, 49_990..49_995, 50_000..50_100] {
            assert_holds(&pieces, range);
        }
        // What is read around others takes their place.
        let around = 40_000..60_000;
        assert_eq!(
            read(&mut pieces, plan, &mut [0..10, 5..20, around.clone()]),
            std::slice::from_ref(&around)
        );
        assert_holds(&pieces, around);
        assert_holds(&pieces, 0..100);
        // Most are missing: nothing else is left.
        let most = [0..10, MUCH..MUCH + 10, 2 * MUCH..2 * MUCH + 10];
        assert_eq!(read(&mut pieces, plan, &mut most.clone()), most);
        assert!(pieces.find(50, 1).is_none() && pieces.find(50_000, 1).is_none());
        for range in most {
            assert_holds(&pieces, range);
        }
    }

    #[test]
    fn what_plans_keep_has_a_bound() {
        let mut pieces = Pieces::default();
        let all: Vec<_> = (0..100).map(|index| index << 15..(index << 15) + 20_000).collect();
        for at in 0..all.len() - 2 {
            for plan in [Plan::Pointers, LEAVES, Plan::Bodies] {
                let wanted = &all[at..at + 2];
                read(&mut pieces, plan, &mut wanted.to_vec());
                for range in wanted {
                    assert_holds(&pieces, range.clone());
                }
                assert!(pieces.ahead(plan).bytes.len() as u64 <= MOST_AHEAD - plan.spares(), "{at} {plan:?}");
            }
        }
    }

    #[test]
    fn plans_that_follow_each_other_grow_up_to_what_is_here() {
        let mut pieces = Pieces::default();
        let grown = |pieces: &mut Pieces, range: Range<u64>| {
            let mut joined = [range];
            pieces.ahead(LEAVES).go_on(LEAVES, &mut joined);
            joined[0].end
        };
        assert_eq!(grown(&mut pieces, 0..1000), 1000);
        assert_eq!(grown(&mut pieces, 1000..2000), 2000 + FIRST_MORE);
        let next = 2000 + FIRST_MORE;
        assert_eq!(grown(&mut pieces, next..next + 10), next + 10 + 2 * FIRST_MORE);
        let next = next + 10 + 2 * FIRST_MORE;
        read(&mut pieces, Plan::Pointers, &mut [next + 10..next + 1000]);
        assert_eq!(grown(&mut pieces, next..next + 10), next + 10);
        // Not behind where nothing is wanted.
        let next = next + 20;
        for (before, end) in [(0, next), (next - 5, next), (next + 7, next + 7)] {
            let mut joined = [next - 10..next];
            let ahead = pieces.ahead(LEAVES);
            (ahead.end, ahead.more) = (next - 10, FIRST_MORE);
            ahead.pieces.clear();
            ahead.go_on(Plan::Leaves { before }, &mut joined);
            assert_eq!(joined, [next - 10..end]);
        }
        // Elsewhere.
        assert_eq!(grown(&mut pieces, 1 << 30..1 << 31), 1 << 31);
    }

    #[test]
    fn what_is_kept_is_found_until_it_is_overwritten() {
        let mut pieces = Pieces::default();
        pieces.begin(10).bytes = vec![1; 10];
        for (plan, start) in [(LEAVES, 100), (Plan::Bodies, 150), (Plan::Pointers, 200)] {
            let ahead = pieces.ahead(plan);
            let at = ahead.bytes.len();
            ahead.bytes.extend([2; 10]);
            ahead.note(start, at).unwrap();
        }
        assert!(
            pieces.find(9, 1).is_none() && pieces.find(10, 11).is_none() && pieces.find(110, 1).is_none()
        );
        for (offset, byte) in [(10, 1), (19, 1), (100, 2), (159, 2), (209, 2)] {
            assert_eq!(pieces.at(pieces.find(offset, 1).unwrap(), offset).first(), Some(&byte));
        }
        pieces.invalidate(20, 100);
        assert!(pieces.find(10, 10).is_some() && pieces.find(100, 10).is_some());
        pieces.invalidate(19, 101);
        assert!(
            pieces.find(10, 1).is_none() && pieces.find(100, 1).is_none() && pieces.find(200, 10).is_some()
        );

        pieces.clear();
        assert!(pieces.find(150, 1).is_none() && pieces.held() == 0);
    }
}
