// SPDX-License-Identifier: Apache-2.0

//! The door of the fuzz harness to what is private: parsing and encoding by themselves, and sorting. Feature `fuzz`;
//! nobody else may use it.

#![allow(missing_docs, reason = "for the harness alone, which says what it wants")]

use crate::compact::sort::{SortPlace, Sorter};
use crate::error::Result;
use crate::format::chunk::{ChunkPrefix, ENCRYPTED_PREFIX, PREFIX, parse_encrypted};
use crate::format::docinfo::{DocInfoRef, parse_seq_key, seq_value_id};
use crate::format::header::FileHeader;
use crate::format::metadata::Metadata;
use crate::format::node::{ChildPointer, Entries, NodeKind, push_entry};
use crate::tree::TreeKind;
use std::path::Path;

/// A header's body, read and encoded again.
pub fn header_again(body: &[u8], position: u64) -> Option<Vec<u8>> {
    FileHeader::parse(body, position).ok().map(|header| header.encode())
}

/// A metadata header's body, read and encoded again.
pub fn metadata_again(body: &[u8]) -> Option<Vec<u8>> {
    let _ = Metadata::version_of(body);
    Metadata::parse(body).ok().map(|metadata| metadata.encode())
}

/// The prefixes of a data chunk and of a header chunk, read and encoded again.
pub fn prefixes_again(bytes: [u8; PREFIX]) -> [Option<[u8; PREFIX]>; 2] {
    let _ = ChunkPrefix::parse_metadata(bytes);
    let [a, b, c, d, ..] = bytes;
    let encrypted: [u8; ENCRYPTED_PREFIX] = [a, b, c, d];
    let _ = parse_encrypted(encrypted);
    let data = ChunkPrefix::parse_data(bytes).ok().map(ChunkPrefix::encode_data);
    [data, ChunkPrefix::parse_header(bytes).ok().map(ChunkPrefix::encode_header)]
}

/// A node, read and encoded again; its reduce values are computed, too.
pub fn node_again(node: &[u8]) -> Option<Vec<u8>> {
    for tree in [TreeKind::ById, TreeKind::BySeq, TreeKind::Local] {
        let _ = tree.reduce(node);
    }
    let kind = NodeKind::of(node).ok()?;
    let mut again = vec![kind as u8];
    for entry in Entries::of(node) {
        let entry = entry.ok()?;
        let _ = ChildPointer::parse(entry.value);
        push_entry(&mut again, entry.key, entry.value);
    }
    Some(again)
}

/// The value of a by-id entry, read and encoded again.
pub fn by_id_again(key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let mut again = Vec::new();
    DocInfoRef::parse_by_id(key, value).ok()?.encode_by_id(&mut again);
    Some(again)
}

/// The value of a by-sequence entry, read and encoded again.
pub fn by_seq_again(key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let (_, id) = (parse_seq_key(key), seq_value_id(value));
    let info = DocInfoRef::parse_by_seq(key, value).ok()?;
    assert_eq!(id.ok(), Some(info.id), "both readers of the id agree");
    let mut again = Vec::new();
    info.encode_by_seq(&mut again);
    Some(again)
}

/// A key and a value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Sorts by key with so much memory.
pub fn sort(directory: &Path, budget: usize, secret: bool, pairs: &[Pair]) -> Result<Vec<Pair>> {
    let mut sorter = Sorter::new(SortPlace { directory, budget, secret });
    for (key, value) in pairs {
        sorter.add(key, value)?;
    }
    let mut result = Vec::new();
    sorter.finish(&mut |entry| {
        let (key, value) = entry.split();
        result.push((key.to_vec(), value.to_vec()));
        Ok(())
    })?;
    Ok(result)
}
