// SPDX-License-Identifier: Apache-2.0

//! The revision metadata as kv-engine writes it:
//!
//! ```text
//! u64 CAS | u32 expiry, or time of deletion | u32 flags                                      16 bytes
//! ... | u8 1 | u8 datatype                                                                   18 bytes
//! ... | u8 1 | u8 datatype | u8 conflict resolution                                          19 bytes
//! ... | u8 1 | u8 datatype | u8 sync-write operation | 6 bytes: level, or prepared sequence  25 bytes
//! ```
//!
//! Layouts to come begin like these: what is longer is read as far as it is known.

use couchstore::DocInfoRef;
use serde::Serialize;

/// The byte that says: a datatype follows.
const HAS_DATATYPE: u8 = 1;
/// In the same byte: the document is deleted because it had expired.
const EXPIRED: u8 = 0x80;

/// Bits of the datatype.
pub mod datatype {
    /// The body is JSON.
    pub const JSON: u8 = 1;
    /// The body was given compressed.
    pub const SNAPPY: u8 = 2;
    /// Extended attributes come before the body.
    pub const XATTR: u8 = 4;

    /// "json", "xattr"; "raw" if no bit is set.
    pub fn names(datatype: u8) -> Vec<&'static str> {
        const NAMES: [(u8, &str); 3] = [(SNAPPY, "snappy"), (JSON, "json"), (XATTR, "xattr")];
        let known = JSON | SNAPPY | XATTR;
        let set = NAMES.into_iter().filter(|(bit, _)| datatype & bit != 0).map(|(_, name)| name);
        let mut names: Vec<_> = set.collect();
        if datatype & !known != 0 {
            names.push("unknown");
        }
        if names.is_empty() { vec!["raw"] } else { names }
    }

    /// "json,xattr"
    pub fn text(datatype: u8) -> String {
        names(datatype).join(",")
    }
}

/// A write that had to reach other nodes before it counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "operation")]
pub enum SyncWrite {
    /// Prepared, not decided yet.
    Pending {
        /// Durability level: 1 majority, 2 majority and persist on active, 3 persist to majority.
        level: u8,
    },
    /// Committed.
    Commit {
        /// Sequence number of what was prepared.
        prepared_seq: u64,
    },
    /// Given up.
    Abort {
        /// Sequence number of what was prepared.
        prepared_seq: u64,
    },
    /// Something newer than this tool.
    Other {
        /// Number of the operation.
        code: u8,
    },
}

/// What the revision metadata says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevMeta {
    /// Changes with every change of the document.
    pub cas: u64,
    /// When the document expires, in seconds since the epoch, 0 for never; if it is deleted, when that was.
    pub expiry: u32,
    /// The client's.
    pub flags: u32,
    /// Bits of [`datatype`].
    pub datatype: Option<u8>,
    /// If it is deleted: because it had expired.
    pub has_expired: bool,
    /// Conflict resolution mode, in files of old releases.
    pub conflict_resolution: Option<u8>,
    /// Only for sync writes.
    pub sync_write: Option<SyncWrite>,
}

impl RevMeta {
    /// Reads revision metadata; `None` if it is too short.
    pub fn parse(bytes: &[u8]) -> Option<RevMeta> {
        let (cas, rest) = bytes.split_first_chunk()?;
        let (expiry, rest) = rest.split_first_chunk()?;
        let (flags, rest) = rest.split_first_chunk()?;
        let plain = RevMeta {
            cas: u64::from_be_bytes(*cas),
            expiry: u32::from_be_bytes(*expiry),
            flags: u32::from_be_bytes(*flags),
            ..RevMeta::default()
        };
        let [code, datatype, rest @ ..] = rest else { return Some(plain) };
        if code & !EXPIRED != HAS_DATATYPE {
            return Some(plain);
        }
        let typed = RevMeta { datatype: Some(*datatype), has_expired: code & EXPIRED != 0, ..plain };
        Some(match *rest {
            [mode] => RevMeta { conflict_resolution: Some(mode), ..typed },
            [operation, a, b, c, d, e, f] => {
                RevMeta { sync_write: Some(SyncWrite::parse(operation, [a, b, c, d, e, f])), ..typed }
            }
            _ => typed,
        })
    }

    /// That of a document.
    pub fn of(info: &DocInfoRef<'_>) -> Option<RevMeta> {
        RevMeta::parse(info.rev_meta)
    }

    /// The layout of 18 bytes.
    pub fn encode(&self) -> [u8; 18] {
        let mut out = [0; 18];
        out[..8].copy_from_slice(&self.cas.to_be_bytes());
        out[8..12].copy_from_slice(&self.expiry.to_be_bytes());
        out[12..16].copy_from_slice(&self.flags.to_be_bytes());
        out[16] = HAS_DATATYPE;
        out[17] = self.datatype.unwrap_or(0);
        out
    }
}

impl SyncWrite {
    fn parse(operation: u8, details: [u8; 6]) -> SyncWrite {
        let [a, b, c, d, e, f] = details;
        let prepared_seq = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        match operation {
            0 => SyncWrite::Pending { level: a },
            1 => SyncWrite::Commit { prepared_seq },
            2 => SyncWrite::Abort { prepared_seq },
            code => SyncWrite::Other { code },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: [u8; 25] = [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0, 0, 0, 4, 1, 5, 1, 0, 0, 0, 0, 1, 0];

    #[test]
    fn every_layout_is_read() {
        let plain = RevMeta { cas: 258, expiry: 3, flags: 4, ..RevMeta::default() };
        assert_eq!(RevMeta::parse(&FULL[..16]), Some(plain));
        let typed = RevMeta { datatype: Some(5), ..plain };
        assert_eq!(RevMeta::parse(&FULL[..18]), Some(typed));
        assert_eq!(typed.encode(), FULL[..18]);
        assert_eq!(RevMeta::parse(&FULL[..19]), Some(RevMeta { conflict_resolution: Some(1), ..typed }));
        let sync_write = Some(SyncWrite::Commit { prepared_seq: 256 });
        assert_eq!(RevMeta::parse(&FULL), Some(RevMeta { sync_write, ..typed }));
    }

    #[test]
    fn other_layouts_are_read_as_far_as_they_are_known() {
        for length in [0, 1, 15] {
            assert_eq!(RevMeta::parse(&FULL[..length]), None, "{length}");
        }
        let plain = RevMeta { cas: 258, expiry: 3, flags: 4, ..RevMeta::default() };
        assert_eq!(RevMeta::parse(&FULL[..17]), Some(plain));
        let typed = RevMeta { datatype: Some(5), ..plain };
        for length in [20, 21, 24] {
            assert_eq!(RevMeta::parse(&FULL[..length]), Some(typed), "{length}");
        }
        let mut other = FULL;
        other[16] = 2;
        assert_eq!(RevMeta::parse(&other[..18]), Some(plain));
        other[16] = 0x81;
        assert_eq!(RevMeta::parse(&other[..18]), Some(RevMeta { has_expired: true, ..typed }));
    }

    #[test]
    fn datatypes_have_names() {
        let names = [0, 1, 2, 3, 4, 5, 7, 8, 9].map(datatype::text);
        let expected =
            ["raw", "json", "snappy", "snappy,json", "xattr", "json,xattr", "snappy,json,xattr", "unknown"];
        assert_eq!(names[..8], expected);
        assert_eq!(names[8], "json,unknown");
    }
}
