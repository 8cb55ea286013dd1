// SPDX-License-Identifier: Apache-2.0

//! What errors say besides file and offset, and their longer sentences.

#![allow(clippy::trivially_copy_pass_by_ref, reason = "the derived sentences hand all fields over like this")]

use super::{ErrorCode, Operation};
use std::fmt::{Display, Formatter, Result};
use std::sync::Arc;

/// What stands where bytes break a rule of the format, if there is more to say than that rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// There is no more to say.
    Unsaid,
    /// The first byte of a block, where it is of no known type.
    BlockType(u8),
    /// The length that a header states of itself, in bytes.
    HeaderLength(u32),
    /// So many bytes that should be compressed.
    Uncompressed(usize),
    /// A node without any bytes.
    EmptyNode,
}

impl Display for Found {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Found::Unsaid => Ok(()),
            Found::BlockType(byte) => write!(f, ", found {byte}"),
            Found::HeaderLength(length) => write!(f, ", found {length}"),
            Found::Uncompressed(length) => write!(f, ", found {length} other bytes"),
            Found::EmptyNode => f.write_str(", found none"),
        }
    }
}

/// Where a header was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sought {
    /// At this offset.
    At(i64),
    /// At the blocks that begin at or below this offset.
    AtOrBelow(u64),
    /// At the blocks that begin at or above this offset.
    AtOrAbove(u64),
    /// In the whole file, which has so many bytes.
    Anywhere(u64),
}

impl Display for Sought {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Sought::At(offset) => write!(f, "no header at offset {offset}, expected one"),
            Sought::AtOrBelow(offset) => write!(f, "no header at or below offset {offset}, expected one"),
            Sought::AtOrAbove(offset) => write!(f, "no header at or above offset {offset}, expected one"),
            Sought::Anywhere(0) => f.write_str("no header, the file is empty"),
            Sought::Anywhere(size) => write!(
                f,
                "not a couchstore file: no header in its {size} bytes, expected one at a multiple of 4096"
            ),
        }
    }
}

/// Why there is no key for an encrypted file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoKey {
    /// The header speaks of a metadata header at offset 0, and there is none.
    NoMetadata,
    /// The file was opened without a key store.
    NoStore(Arc<str>),
    /// The key store has no key of this id.
    Unknown(Arc<str>),
    /// The key store failed when it was asked for this id.
    StoreFailed(Arc<str>),
}

impl Display for NoKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            NoKey::NoMetadata => f.write_str("expected a metadata header at offset 0"),
            NoKey::NoStore(id) => write!(f, "expected the key {id:?}, none was given"),
            NoKey::Unknown(id) => write!(f, "expected the key {id:?}, the key store has none of this id"),
            NoKey::StoreFailed(id) => write!(f, "expected the key {id:?}, the key store failed"),
        }
    }
}

/// Only the offsets of reads and writes mean something. The system knows the reason better than the code.
pub(super) fn io(
    operation: &Operation,
    file: &Arc<str>,
    position: &u64,
    code: &ErrorCode,
    os_error: &i32,
    f: &mut Formatter<'_>,
) -> Result {
    write!(f, "{file}: {operation}")?;
    if matches!(operation, Operation::Read | Operation::Write) {
        write!(f, " at offset {position}")?;
    }
    match os_error {
        0 => write!(f, " failed: {code}"),
        _ => write!(f, " failed: {}", std::io::Error::from_raw_os_error(*os_error)),
    }
}

/// A block of no known type says that the file may be something else altogether.
pub(super) fn corrupt(
    file: &Arc<str>,
    position: &u64,
    expected: &&'static str,
    found: &Found,
    f: &mut Formatter<'_>,
) -> Result {
    match (found, position) {
        (Found::BlockType(_), 0) => {
            write!(f, "{file}: not a couchstore file: expected {expected} at offset 0{found}")
        }
        (Found::BlockType(_), _) => {
            write!(
                f,
                "{file}: expected {expected} at offset {position}{found}: damaged, or not a couchstore file"
            )
        }
        _ => write!(f, "{file}: malformed data at offset {position}: expected {expected}{found}"),
    }
}
