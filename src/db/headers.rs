// SPDX-License-Identifier: Apache-2.0

//! Finding headers in a file, and moving a handle from one to another.

use super::{Db, State};
use crate::error::{Error, Found, Result, Sought};
use crate::format::Malformed;
use crate::format::block::{BLOCK_SIZE, BlockType, boundary_at_or_below, is_boundary};
use crate::format::header::{FileHeader, FormatVersion, NO_PREVIOUS};
use crate::io::file::{DbFile, MarkedBlock};
use crate::io::tail::Tail;

/// Whether the file's version, and with it the checksum, is known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Known,
    Unknown,
}

/// Where to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the next header in the file.
    Forward,
    /// To the header before this one.
    Backward,
    /// To the newest header, which others may have written since.
    End,
}

fn no_header(file: &DbFile, sought: Sought) -> Error {
    Error::NoHeader { file: file.name(), sought, cause: None }
}

/// The newest header of the file.
pub(crate) fn find_last(file: &mut DbFile, kind: Kind, recovery: bool) -> Result<Box<State>> {
    let sought = Sought::Anywhere(file.end());
    match file.end().checked_sub(2) {
        Some(last) => find_at_or_below(file, last, sought, kind, recovery),
        None => Err(no_header(file, sought)),
    }
}

/// The newest header at or below `from`. A damaged one ends the search, unless `recovery` says to go on. `sought` is
/// for the error.
fn find_at_or_below(
    file: &mut DbFile,
    from: u64,
    sought: Sought,
    kind: Kind,
    recovery: bool,
) -> Result<Box<State>> {
    let mut from = from;
    let mut last_error = None;
    let mut looked_like_one = None;
    loop {
        let (position, found) = match file.marked_block_at_or_below(from, recovery) {
            Ok(None) => break,
            Ok(Some(block)) => (block.position, read_marked(file, block, kind)),
            // A block of which not even the first byte can be read.
            Err(error) => (boundary_at_or_below(error.position().unwrap_or(0).min(from)), Err(error)),
        };
        match found {
            Ok(found) => return Ok(found),
            Err(Error::NoHeader { cause, .. }) => looked_like_one = cause,
            Err(error) if recovery && error.is_damage() => last_error = Some(error),
            Err(error) => return Err(error),
        }
        match position.checked_sub(BLOCK_SIZE) {
            Some(next) => from = next,
            None => break,
        }
    }
    let no_header = || Error::NoHeader { file: file.name(), sought, cause: looked_like_one };
    Err(last_error.unwrap_or_else(no_header))
}

/// Reads the header of a block whose type byte is not that of data.
#[inline]
fn read_marked(file: &mut DbFile, block: MarkedBlock, kind: Kind) -> Result<Box<State>> {
    let MarkedBlock { position, marker } = block;
    if marker != BlockType::Header as u8 {
        let rule = Malformed("0, 1 or 2 as the first byte of the block");
        return Err(file.found_instead(position, rule, Found::BlockType(marker)));
    }
    let parse = |file: &DbFile, body: &[u8]| {
        let (place, header) = (Box::new_uninit(), FileHeader::empty(FormatVersion::NEWEST));
        let mut state = Box::write(place, State { header, position: Some(position) });
        file.parse_header(body, position, &mut state.header)?;
        Ok(state)
    };
    match file.with_header_chunk(position, kind == Kind::Unknown, parse) {
        // Files compacted by an old release begin with a header's type byte in front of data.
        Err(error) if position == 0 && error.is_damage() => {
            let (file, sought) = (file.name(), Sought::At(0));
            Err(Error::NoHeader { file, sought, cause: Some(Box::new(error)) })
        }
        found => found?,
    }
}

/// Reads the header at `position`; an error if there is none.
pub(crate) fn read_at(file: &mut DbFile, position: u64, kind: Kind) -> Result<Box<State>> {
    match file.block_type(position)? {
        Some(marker) if marker == BlockType::Header as u8 => {
            read_marked(file, MarkedBlock { position, marker }, kind)
        }
        _ => Err(no_header(file, Sought::At(position as i64))),
    }
}

/// The first header at or above `from` and below `limit`.
fn find_at_or_above(file: &mut DbFile, from: u64, limit: u64) -> Result<Box<State>> {
    let mut position = from;
    while position < limit {
        match file.block_type(position)? {
            Some(marker) => match BlockType::from_byte(marker) {
                Some(BlockType::Data | BlockType::Metadata) => {}
                Some(BlockType::Header) | None => {
                    return read_marked(file, MarkedBlock { position, marker }, Kind::Known);
                }
            },
            None => break,
        }
        position += BLOCK_SIZE;
    }
    Err(no_header(file, Sought::AtOrAbove(from)))
}

fn find_before(file: &mut DbFile, position: u64, previous: Option<u64>) -> Result<Box<State>> {
    if let Some(previous) = previous.filter(|&previous| previous < position && is_boundary(previous)) {
        match read_at(file, previous, Kind::Known) {
            Ok(found) => return Ok(found),
            Err(error) if error.is_final() => return Err(error),
            Err(_) => {}
        }
    }
    match position.checked_sub(BLOCK_SIZE) {
        Some(from) => find_at_or_below(file, from, Sought::AtOrBelow(from), Kind::Known, false),
        None => Err(no_header(file, Sought::AtOrBelow(0))),
    }
}

/// Finds the newest header of the file as it is now, and discards what is not committed. `own` is the position of the
/// handle's header.
fn load_newest(file: &mut DbFile, own: Option<u64>) -> Result<Box<State>> {
    let size = file.size()?;
    file.io().forget_reads();
    // The first header of a file, or the byte that a file without header begins with, may still wait in the write
    // buffer. All else there belongs to what this discards.
    let own_is_pending = own.is_none_or(|position| position >= file.io().flushed_end());
    let (readable, safe) = if own_is_pending {
        let readable = size.max(file.io().pending_end());
        (readable, readable.max(file.io().high_water()))
    } else {
        (size, size.max(file.io().take_back(0)))
    };
    file.set_tail(Tail::own(readable));
    let found = find_last(file, Kind::Known, false)?;
    file.renew_watch(size);
    // Positions that may have been encrypted and written must not be encrypted again.
    let end = if file.encryption().is_some() { safe } else { readable };
    file.set_tail(Tail::found(end, found.committed_end()));
    Ok(found)
}

impl Db {
    /// Moves the handle to the header at this offset and discards uncommitted changes.
    ///
    /// On failure the header that the handle stood on is loaded again; if even that fails the file is closed and
    /// the result is [`Error::DbNoLongerValid`]. Offsets that are not aligned, or beyond the end, leave the handle
    /// alone.
    pub fn seek_offset(&self, offset: i64) -> Result<()> {
        self.check_open()?;
        if offset % BLOCK_SIZE as i64 != 0 {
            return Err(Error::InvalidArguments("expected an offset that is a multiple of 4096"));
        }
        if offset >= self.file.end() as i64 {
            return Err(self.no_header(Sought::At(offset)));
        }
        let _exclusive = self.begin_exclusive()?;
        self.load(|file| {
            let position = u64::try_from(offset).map_err(|_| no_header(file, Sought::At(offset)))?;
            read_at(file, position, Kind::Known)
        })
    }

    /// Moves the handle to another header and discards uncommitted changes. Failures are those of
    /// [`Db::seek_offset`].
    ///
    /// What is saved after a move to the end may get the place of what that has discarded. So whoever is going through
    /// uncommitted changes when it is made gets [`Error::InvalidArguments`].
    pub fn seek(&self, direction: Direction) -> Result<()> {
        self.check_open()?;
        let _exclusive = self.begin_exclusive()?;
        let State { header, position } = self.snapshot();
        match (direction, position) {
            (Direction::End, _) => self.seek_end(),
            (Direction::Backward, Some(0)) => Err(self.no_header(Sought::AtOrBelow(0))),
            (Direction::Backward, Some(position)) if header.previous == Some(NO_PREVIOUS) => Err(
                Error::DbNoLongerValid(Box::new(self.no_header(Sought::AtOrBelow(position - BLOCK_SIZE)))),
            ),
            (Direction::Backward, Some(position)) => {
                self.load(|file| find_before(file, position, header.previous))
            }
            (Direction::Forward, Some(position)) => self.load(|file| {
                let limit = file.end();
                find_at_or_above(file, position + BLOCK_SIZE, limit)
            }),
            (_, None) => self.load(|file| Err(no_header(file, Sought::Anywhere(file.end())))),
        }
    }

    /// Moves back to the newest header that is not newer than `timestamp`, or to the oldest.
    #[cfg(feature = "cxx-shim")]
    pub(crate) fn seek_back_to(&self, timestamp: u64) -> Result<()> {
        while self.snapshot().header.timestamp > timestamp {
            match self.seek(Direction::Backward) {
                Err(Error::NoHeader { .. }) => break,
                // It says itself that it is the first.
                Err(Error::DbNoLongerValid(_)) if !self.is_closed() => break,
                moved => moved?,
            }
        }
        Ok(())
    }

    fn seek_end(&self) -> Result<()> {
        let own = self.snapshot().position;
        self.load(|file| {
            let old = file.tail();
            if old.append_at() > self.file.committed() {
                self.file.note_discarded();
            }
            // The old header was found within the old size, and so it is again.
            load_newest(file, own).inspect_err(|_| file.set_tail(old))
        })
    }

    /// Puts the handle on the header that `find` finds, or back on the current one.
    fn load(&self, find: impl FnOnce(&mut DbFile) -> Result<Box<State>>) -> Result<()> {
        self.file.forget_all();
        let found = self.file.with(find);
        let error = match found {
            Ok(found) => {
                self.file.moved_to(found.committed_end());
                self.update_state(|state| *state = *found);
                return Ok(());
            }
            Err(error) => error,
        };
        let reloaded = match self.snapshot().position {
            Some(position) => self.file.with(|file| read_at(file, position, Kind::Known)),
            None => return Err(self.lost(error)),
        };
        match reloaded {
            Ok(found) => {
                self.update_state(|state| *state = *found);
                Err(error)
            }
            Err(error) => Err(self.lost(error)),
        }
    }

    /// Closes the file, for this reason.
    fn lost(&self, cause: Error) -> Error {
        let _ = self.close();
        Error::DbNoLongerValid(Box::new(cause))
    }

    fn no_header(&self, sought: Sought) -> Error {
        Error::NoHeader { file: self.name(), sought, cause: None }
    }

    /// Moves to the previous header; on any failure the file is closed and the result is
    /// [`Error::DbNoLongerValid`].
    pub fn rewind(&self) -> Result<()> {
        self.seek_or_close(Direction::Backward)
    }

    /// Moves to the next header; on any failure the file is closed and the result is [`Error::DbNoLongerValid`].
    pub fn fast_forward(&self) -> Result<()> {
        self.seek_or_close(Direction::Forward)
    }

    fn seek_or_close(&self, direction: Direction) -> Result<()> {
        self.seek(direction).map_err(|error| match error {
            Error::DbNoLongerValid(cause) => self.lost(*cause),
            error => self.lost(error),
        })
    }

    /// Moves to the first header, up to the current one, whose sequence number has reached `seq`; stays if there is
    /// none. With `granularity` above 1 it goes on from there to the last header whose timestamp lies in the same
    /// interval of so many units.
    pub fn seek_first_header_containing(&self, seq: u64, granularity: u64) -> Result<()> {
        self.check_open()?;
        if granularity == 0 {
            return Err(Error::InvalidArguments("expected a granularity of at least 1"));
        }
        let _exclusive = self.begin_exclusive()?;
        let current =
            self.snapshot().position.ok_or_else(|| self.no_header(Sought::Anywhere(self.file.end())))?;
        self.load(|file| {
            let first = first_reaching(file, current, seq)?;
            last_of_interval(file, first, current, granularity)
        })
    }
}

/// Bisects the file for the first header that has reached `seq`.
fn first_reaching(file: &mut DbFile, current: u64, seq: u64) -> Result<Box<State>> {
    let (mut low, mut high) = (0, current);
    // Not the handle's copy, which may have uncommitted changes.
    let mut best = read_at(file, current, Kind::Known)?;
    if best.header.update_seq < seq {
        return Ok(best);
    }
    while low < high {
        let middle = boundary_at_or_below(u64::midpoint(low, high));
        match find_at_or_above(file, middle, high) {
            Ok(found) if found.header.update_seq >= seq => {
                best = found;
                high = middle;
            }
            Ok(found) => low = found.at() + BLOCK_SIZE,
            Err(Error::NoHeader { .. }) => high = middle,
            Err(error) => return Err(error),
        }
    }
    Ok(best)
}

fn last_of_interval(
    file: &mut DbFile,
    first: Box<State>,
    current: u64,
    granularity: u64,
) -> Result<Box<State>> {
    let mut best = first;
    if granularity == 1 {
        return Ok(best);
    }
    let timestamp = best.header.timestamp;
    let end = (timestamp - timestamp % granularity).saturating_add(granularity);
    loop {
        match find_at_or_above(file, best.at() + BLOCK_SIZE, current + 1) {
            Ok(next) if next.header.timestamp < end => best = next,
            Ok(_) | Err(Error::NoHeader { .. }) => return Ok(best),
            Err(error) => return Err(error),
        }
    }
}
