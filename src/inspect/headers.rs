// SPDX-License-Identifier: Apache-2.0

//! All headers of a file, damaged ones too.

use crate::db::Db;
use crate::db::headers::{Kind, read_at};
use crate::error::{Error, Result};
use crate::format::block::{BLOCK_SIZE, BlockType, boundary_at_or_above, is_boundary};
use crate::format::chunk::PREFIX;
use crate::format::header::{FileHeader, NodeRef};
use crate::io::file::{DbFile, MarkedBlock};
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
/// A file is searched block by block: headers that a rewind has abandoned are found too. A block whose first byte
/// cannot be read is an item, too; any other failure of the search is the last item.
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

    /// From the newest one at or below `from` to the first. An error if the block of `from` is not in the file.
    pub fn backward_from(db: &'a Db, from: u64) -> Headers<'a> {
        Headers { db, next: Next::AtOrBelow(from) }
    }

    /// From the first one at or above `from` to the newest; none if `from` does not lie within the file.
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
                let block = self.db.file().with(|file| file.marked_block_at_or_below(from, true))?;
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
        let (position, unreadable) = match self.search() {
            Ok(found) => (found?, None),
            Err(error @ Error::Io { position, .. }) if error.is_damage() => (position, Some(error)),
            Err(error) => {
                self.next = Next::End;
                return Some(FoundHeader { position: from, header: Err(error) });
            }
        };
        self.next = match self.next {
            Next::AtOrAbove(_) => Next::AtOrAbove(position + BLOCK_SIZE),
            _ => position.checked_sub(BLOCK_SIZE).map_or(Next::End, Next::AtOrBelow),
        };
        let header = unreadable.map_or_else(|| self.db.header_at(position), Err);
        Some(FoundHeader { position, header })
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

    /// Where the file ends as far as the handle knows it: as at open, unless it has written. Unlike [`Db::info`] this
    /// never fails: the header may hold anything.
    pub fn file_end(&self) -> u64 {
        self.file().end()
    }

    /// Disk size of the metadata header at offset 0, without block-type bytes; `None` if there is none.
    pub fn metadata_size(&self) -> Result<Option<u64>> {
        let metadata = self.file().with(DbFile::read_metadata)?;
        Ok(metadata.map(|metadata| (PREFIX + metadata.encode().len()) as u64))
    }

    /// The type byte of the block at this offset, a multiple of [`BLOCK_SIZE`]; `None` behind the file's end.
    pub fn block_type(&self, position: u64) -> Result<Option<u8>> {
        check_aligned(position)?;
        self.file().with(|file| file.block_type(position))
    }

    /// Reads the header at this offset, a multiple of [`BLOCK_SIZE`]. The handle stays where it is.
    pub fn header_at(&self, position: u64) -> Result<FileHeader> {
        check_aligned(position)?;
        self.file().with(|file| read_at(file, position, Kind::Known)).map(|found| found.header)
    }
}

fn check_aligned(position: u64) -> Result<()> {
    if is_boundary(position) {
        return Ok(());
    }
    Err(Error::InvalidArguments("an offset that is not a multiple of the block size"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::inspect::extent;
    use crate::{Document, LocalUpdate, OpenOptions, SaveOptions};
    use std::path::PathBuf;

    fn path_in(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("a.couch")
    }

    /// The length of the header-like chunk whose block begins at `position`, as it stands in the file.
    fn length_in_file(bytes: &[u8], position: u64) -> u64 {
        let at = position as usize + 1;
        u64::from(u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()))
    }

    /// A file ends with its newest header, whose length field counts the checksum but not itself.
    fn assert_ends_with_its_header(db: &Db, path: &std::path::Path) {
        let bytes = std::fs::read(path).unwrap();
        let (position, size) = (db.header_position(), db.header().stored_size());
        assert_eq!(size, length_in_file(&bytes, position) + 4);
        assert_eq!(extent(position, size), position..bytes.len() as u64);
    }

    #[test]
    fn stored_sizes_are_those_in_the_file() {
        for legacy in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let path = path_in(&dir);
            let db = OpenOptions::new().create(true).legacy_crc(legacy).open(&path).unwrap();
            assert_ends_with_its_header(&db, &path);
            let empty = db.header().stored_size();
            db.save(&[Document::new(b"id", b"body")], SaveOptions::default()).unwrap();
            db.commit().unwrap();
            assert_ends_with_its_header(&db, &path);
            // Two roots with their reduce values.
            assert_eq!(db.header().stored_size(), empty + (12 + 5) + (12 + 16));
            db.save_local(&[LocalUpdate { id: b"_local/a", body: Some(b"1") }]).unwrap();
            db.commit().unwrap();
            assert_ends_with_its_header(&db, &path);
            assert_eq!(db.header().stored_size(), empty + (12 + 5) + (12 + 16) + 12);
        }
    }

    #[test]
    #[cfg(feature = "encryption")]
    fn only_encrypted_files_have_metadata() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_in(&dir);
        assert_eq!(Db::create(dir.path().join("plain")).unwrap().metadata_size().unwrap(), None);
        let key = crate::EncryptionKey::new("the key", &[0x42; 32], crate::KeyDerivation::KeyBased).unwrap();
        let options = OpenOptions::new().create(true).keys(Some(std::sync::Arc::new(key)));
        let db = options.open(&path).unwrap();
        let size = db.metadata_size().unwrap().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(size, length_in_file(&bytes, 0) + 4);
        let behind = extent(0, size).end as usize;
        // The context ends with random bytes, then the block is empty.
        assert!(bytes[behind - 8..behind].iter().any(|&byte| byte != 0));
        assert!(bytes[behind..BLOCK_SIZE as usize].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn the_end_stays_that_of_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_in(&dir);
        let writer = Db::create(&path).unwrap();
        let reader = Db::open(&path).unwrap();
        let end = std::fs::metadata(&path).unwrap().len();
        assert_eq!((writer.file_end(), reader.file_end()), (end, end));
        writer.save(&[Document::new(b"id", b"body")], SaveOptions::default()).unwrap();
        writer.commit().unwrap();
        assert_eq!((writer.file_end(), reader.file_end()), (std::fs::metadata(&path).unwrap().len(), end));
    }
}
