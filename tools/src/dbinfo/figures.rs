// SPDX-License-Identifier: Apache-2.0

//! The figures of one header.

use super::trees::Trees;
use crate::program::Failure;
use crate::text::{lossless, lossless_path};
use couchstore::inspect::{Checksum, DocCounts, FileHeader, NodeRef, Tree};
use couchstore::{Db, FormatVersion};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Files of time zones have a few kilobytes.
const LARGEST_ZONE: u64 = 1 << 20;

/// What `couch_dbinfo` tells of a header.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    /// Name of the file as it was given.
    pub(super) file: String,
    /// Offset of the header.
    pub(super) header_position: u64,
    /// Version of the file format.
    pub(super) version: u8,
    pub(super) update_seq: u64,
    pub(super) purge_seq: u64,
    /// As stored, a string because programs that read JSON may lose digits of large numbers; none before version 13.
    pub(super) timestamp: Option<String>,
    /// The timestamp as nanoseconds since the epoch.
    pub(super) time: Option<String>,
    /// Kind of the checksums.
    pub(super) crc: String,
    /// Id of the key that the file is encrypted with.
    pub(super) encryption_key_id: Option<String>,
    pub(super) doc_count: u64,
    pub(super) deleted_count: u64,
    /// Bytes of bodies.
    pub(super) data_size: u64,
    /// Bytes of bodies and nodes.
    pub(super) space_used: u64,
    /// Bytes of nodes, in all trees and in each.
    pub(super) btree_size: u64,
    pub(super) by_id_size: u64,
    pub(super) by_seq_size: u64,
    pub(super) local_size: u64,
    /// Offset of the header before, if the header tells.
    pub(super) previous_header: Option<u64>,
    /// Size of the whole file, in bytes.
    pub(super) file_size: u64,
    /// Percent of the bytes before the header that it does not refer to.
    pub(super) fragmentation: f64,
    /// The timestamp as text shows it.
    #[serde(skip)]
    pub(super) shown_time: String,
    /// Only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trees: Option<Trees>,
}

impl Figures {
    pub(super) fn of(
        path: &Path,
        db: &Db,
        position: u64,
        header: &FileHeader,
        is_local: bool,
    ) -> Result<Figures, Failure> {
        let counts = match header.root(Tree::ById) {
            Some(root) => DocCounts::parse(&root.reduce).map_err(|rule| {
                Failure::Message(format!("{}: header at {position}: expected {rule}", path.display()))
            })?,
            None => DocCounts::default(),
        };
        let size = |tree| header.root(tree).map_or(0, |root: &NodeRef| root.subtree_size);
        let (by_id_size, by_seq_size, local_size) = (size(Tree::ById), size(Tree::BySeq), size(Tree::Local));
        let btree_size = by_id_size + by_seq_size + local_size;
        let timestamp = (header.version >= FormatVersion::V13).then_some(header.timestamp);
        Ok(Figures {
            file: lossless_path(path),
            header_position: position,
            version: header.version as u8,
            update_seq: header.update_seq,
            purge_seq: header.purge_seq,
            timestamp: timestamp.map(|timestamp| timestamp.to_string()),
            time: timestamp.and_then(|timestamp| time(timestamp, is_local)),
            crc: Checksum::of(header.version).to_string(),
            encryption_key_id: db.encryption_key_id().map(|id| lossless(&id)),
            doc_count: counts.live,
            deleted_count: counts.deleted,
            data_size: counts.size,
            space_used: counts.size.saturating_add(btree_size),
            btree_size,
            by_id_size,
            by_seq_size,
            local_size,
            previous_header: header.previous_header(),
            file_size: db.info()?.file_size,
            fragmentation: fragmentation(counts.size + btree_size, position),
            shown_time: if is_local { local_time(header.timestamp) } else { None }
                .unwrap_or_else(|| header.timestamp.to_string()),
            trees: None,
        })
    }
}

/// Percent of the bytes before the header that are not in use.
fn fragmentation(used: u64, before: u64) -> f64 {
    crate::text::share(before.saturating_sub(used), before)
}

/// A timestamp in the form of RFC 3339; `None` if it is no time of this calendar.
fn time(timestamp: u64, local: bool) -> Option<String> {
    let time = Timestamp::from_nanosecond(i128::from(timestamp)).ok()?;
    if !local {
        return Some(time.to_string());
    }
    let zoned = time.to_zoned(local_zone());
    Some(zoned.timestamp().display_with_offset(zoned.offset()).to_string())
}

/// A timestamp as the original shows local time: with microseconds, and "Z" for UTC.
pub(super) fn local_time(timestamp: u64) -> Option<String> {
    let zoned = Timestamp::from_nanosecond(i128::from(timestamp)).ok()?.to_zoned(local_zone());
    let form = if zoned.offset().is_zero() { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%S.%6f%:z" };
    Some(zoned.strftime(form).to_string())
}

/// The time zone of the system, or of `TZ`. That may be the name of a file; devices and pipes would be read without end.
fn local_zone() -> TimeZone {
    let Some(name) = std::env::var_os("TZ") else { return TimeZone::system() };
    let name = name.as_bytes();
    let path = Path::new(OsStr::from_bytes(name.strip_prefix(b":").unwrap_or(name)));
    let is_readable = |found: &Metadata| found.is_file() && found.len() <= LARGEST_ZONE;
    match std::fs::metadata(path) {
        Ok(found) if !is_readable(&found) => {
            let zone = path.to_str().filter(|_| path.is_relative());
            zone.and_then(|zone| TimeZone::get(zone).ok()).unwrap_or_else(TimeZone::unknown)
        }
        _ => TimeZone::system(),
    }
}
