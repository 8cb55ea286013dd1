//! All headers of a file, damaged ones too.

use crate::db::Db;
use crate::db::headers::{Kind, read_at};
use crate::error::Result;
use crate::format::block::{BLOCK_SIZE, BlockType, boundary_at_or_above};
use crate::format::header::{FileHeader, NodeRef};
use crate::io::file::MarkedBlock;
use crate::tree::TreeKind;

/// A block that claims to begin with a header.
#[derive(Debug)]
pub struct FoundHeader {
    /// Offset of the block.
    pub position: u64,
    /// The header, or why it cannot be read.
    pub header: Result<FileHeader>,
}

/// Where the search goes on.
#[derive(Clone, Copy, Debug)]
enum Next {
    AtOrBelow(u64),
    AtOrAbove(u64),
    End,
}

/// Goes through the blocks that claim to begin with a header, up to the file's end as it was at open.
///
/// A file is searched block by block: headers that a rewind has abandoned are found too. If the file cannot be read,
/// that is the last item.
#[derive(Debug)]
pub struct Headers<'a> {
    db: &'a Db,
    next: Next,
}

impl<'a> Headers<'a> {
    /// From the newest one to the first.
    pub fn backward(db: &'a Db) -> Headers<'a> {
        Headers { db, next: db.file().end().checked_sub(2).map_or(Next::End, Next::AtOrBelow) }
    }

    /// From the newest one at or below `from` to the first. `from` must lie within the file.
    pub fn backward_from(db: &'a Db, from: u64) -> Headers<'a> {
        Headers { db, next: Next::AtOrBelow(from) }
    }

    /// From the first one at or above `from` to the newest.
    pub fn forward_from(db: &'a Db, from: u64) -> Headers<'a> {
        Headers { db, next: Next::AtOrAbove(boundary_at_or_above(from)) }
    }

    fn at_or_above(&self, from: u64) -> Result<Option<u64>> {
        let is_data =
            |marker: u8| matches!(BlockType::from_byte(marker), Some(BlockType::Data | BlockType::Metadata));
        self.db.file().with(|file| {
            let mut position = from;
            while position < file.end() {
                match file.block_type(position)? {
                    Some(marker) if is_data(marker) => position += BLOCK_SIZE,
                    Some(_) => return Ok(Some(position)),
                    None => break,
                }
            }
            Ok(None)
        })
    }

    fn search(&self) -> Result<Option<u64>> {
        match self.next {
            Next::AtOrBelow(from) => {
                let block = self.db.file().with(|file| file.marked_block_at_or_below(from))?;
                Ok(block.map(|MarkedBlock { position, .. }| position))
            }
            Next::AtOrAbove(from) => self.at_or_above(from),
            Next::End => Ok(None),
        }
    }
}

impl Iterator for Headers<'_> {
    type Item = FoundHeader;

    fn next(&mut self) -> Option<FoundHeader> {
        let (Next::AtOrBelow(from) | Next::AtOrAbove(from)) = self.next else { return None };
        let position = match self.search() {
            Ok(found) => found?,
            Err(error) => {
                self.next = Next::End;
                return Some(FoundHeader { position: from, header: Err(error) });
            }
        };
        self.next = match self.next {
            Next::AtOrAbove(_) => Next::AtOrAbove(position + BLOCK_SIZE),
            _ => position.checked_sub(BLOCK_SIZE).map_or(Next::End, Next::AtOrBelow),
        };
        Some(FoundHeader { position, header: self.db.header_at(position) })
    }
}

impl FileHeader {
    /// The root of a tree; `None` if it is empty.
    pub fn root(&self, tree: TreeKind) -> Option<&NodeRef> {
        match tree {
            TreeKind::ById => self.by_id.as_ref(),
            TreeKind::BySeq => self.by_seq.as_ref(),
            TreeKind::Local => self.local.as_ref(),
        }
    }
}

impl Db {
    /// The header that the handle stands on, with the changes that are not committed yet.
    pub fn header(&self) -> FileHeader {
        self.snapshot().header
    }

    /// Reads the header at this offset. The handle stays where it is.
    pub fn header_at(&self, position: u64) -> Result<FileHeader> {
        self.file().with(|file| read_at(file, position, Kind::Known))
    }
}
