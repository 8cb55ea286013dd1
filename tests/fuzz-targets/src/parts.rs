// SPDX-License-Identifier: Apache-2.0

//! Header, chunk, node and entries by themselves: what can be read is encoded to the same bytes again.

use crate::common::memory::Memory;
use crate::input::Input;
use couchstore::{COMPRESSED, DocInfoRef, fuzzing};

/// The body of a file header, and of a metadata header.
pub fn header(data: &[u8]) {
    let mut input = Input(data);
    let position = input.number() as u64 * 4096;
    if let Some(again) = fuzzing::header_again(input.0, position) {
        assert_eq!(again, input.0, "a header");
    }
    if let Some(again) = fuzzing::metadata_again(input.0) {
        // What follows is ignored.
        assert!(input.0.starts_with(&again), "a metadata header");
    }
}

/// A chunk somewhere in a file, read as a document's body.
pub fn chunk(data: &[u8]) {
    if let Some(&prefix) = data.first_chunk::<8>() {
        for again in fuzzing::prefixes_again(prefix).into_iter().flatten() {
            assert_eq!(again, prefix, "the prefix of a chunk");
        }
    }
    let mut input = Input(data);
    let position = input.number() as u64;
    let memory = Memory::default();
    let first = crate::common::forge::empty_file(14);
    let mut bytes = input.0.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    bytes.iter_mut().step_by(4096).for_each(|marker| *marker = 0);
    bytes.extend(first);
    memory.put("file", bytes);
    let Ok(db) = memory.options().read_only(true).open("file") else { return };
    for content_meta in [0, COMPRESSED] {
        let info = DocInfoRef { body_position: position, content_meta, ..DocInfoRef::default() };
        let _ = (db.stored_body(&info), db.body(&info));
    }
}

/// A node.
pub fn node(data: &[u8]) {
    if let Some(again) = fuzzing::node_again(data) {
        assert_eq!(again, data, "a node");
    }
}

/// The entries of a document in both indexes.
pub fn document(data: &[u8]) {
    let mut input = Input(data);
    let length = usize::from(input.byte());
    let key = input.bytes(length);
    let value = input.0;
    if let Some(again) = fuzzing::by_id_again(key, value) {
        assert_eq!(again, value, "a by-id entry");
    }
    if let Some(again) = fuzzing::by_seq_again(key, value) {
        assert_eq!(again, value, "a by-sequence entry");
    }
}
