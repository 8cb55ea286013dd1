// SPDX-License-Identifier: Apache-2.0

//! What an encrypted file looks like, and that nothing in it can be read or changed.

use crate::common::memory::Memory;
use crate::support::{
    Contents, DERIVATIONS, NAME, SECRETS, contents, creating, filled, keys, open, shows, some_keys,
};
use couchstore::{COMPRESSED, Document, ErrorCode, SaveOptions};

const NONE: SaveOptions = SaveOptions::new();

#[test]
fn the_first_header_follows_in_the_next_block() {
    let memory = Memory::default();
    let db = memory.options().create(true).keys(some_keys()).open(NAME).unwrap();
    assert_eq!(db.header_position(), 4096);
    db.close().unwrap();
    let file = memory.bytes(NAME);
    assert_eq!((file.len(), file[0], file[4096]), (4096 + 48, 2, 1));
    assert_eq!(file[4096 + 42..], [0xff; 6], "no header before it, and the bit of metadata");
}

#[test]
fn without_a_first_header_chunks_follow_at_once() {
    let memory = Memory::default();
    let options = memory.options().create(true).no_commit_at_create(true);
    let db = options.keys(some_keys()).open(NAME).unwrap();
    assert_eq!(db.info().unwrap().file_size, 9 + 2 + 8 + 1 + 32);
    db.save(&[Document::new(b"id", b"body")], NONE).unwrap();
    assert_eq!(db.doc_info(b"id").unwrap().unwrap().body_position, 52);
    db.commit().unwrap();
    assert_eq!(db.header_position(), 4096);
    db.close().unwrap();
    let db = open(&memory, some_keys()).unwrap();
    assert_eq!(db.get(b"id").unwrap().unwrap(), b"body");
    assert_eq!(memory.bytes(NAME)[4096 + 9 + 33..4096 + 9 + 39], [0, 0, 0, 0, 0, 1]);
}

#[test]
fn a_chunk_is_twenty_bytes_longer_than_its_body() {
    let memory = Memory::default();
    let db = memory.options().create(true).keys(some_keys()).open(NAME).unwrap();
    let compressed = Document { content_meta: COMPRESSED, ..Document::new(b"c", b"") };
    let documents = [Document::new(b"a", b"world"), Document::new(b"b", b""), compressed];
    db.save(&documents, NONE.compress(true)).unwrap();
    let infos = [b"a", b"b", b"c"].map(|id| db.doc_info(id).unwrap().unwrap());
    assert_eq!(infos.each_ref().map(|info| info.physical_size), [25, 20, 21]);
    let positions = infos.each_ref().map(|info| info.body_position);
    assert_eq!(positions, [4144, 4144 + 25, 4144 + 45]);
    assert_eq!([b"a", b"b", b"c"].map(|id| db.get(id).unwrap().unwrap()), [&b"world"[..], b"", b""]);
    db.commit().unwrap();
    let file = memory.bytes(NAME);
    assert_eq!(file[4144..4148], [0, 0, 0, 21]);
    assert_eq!(file[4169..4173], [0, 0, 0, 16]);
}

#[test]
fn bodies_across_blocks_and_at_their_boundaries_come_back() {
    let memory = Memory::default();
    let db = memory.options().create(true).keys(some_keys()).open(NAME).unwrap();
    for length in 3800..4200 {
        let body: Vec<u8> = (0..length).map(|at| at as u8).collect();
        db.save(&[Document::new(b"id", &body)], NONE).unwrap();
        assert_eq!(db.get(b"id").unwrap().unwrap(), body);
    }
    db.commit().unwrap();
    db.close().unwrap();
    assert_eq!(open(&memory, some_keys()).unwrap().get(b"id").unwrap().unwrap().len(), 4199);
}

#[test]
fn no_part_of_a_document_can_be_read_from_the_file() {
    let visible = |memory: &Memory| {
        let file = memory.bytes(NAME);
        SECRETS.map(|secret| shows(&file, secret))
    };
    assert_eq!(visible(&filled(None)), [true; SECRETS.len()]);
    for derivation in DERIVATIONS {
        let memory = filled(keys("id", 7, derivation));
        assert_eq!(visible(&memory), [false; SECRETS.len()]);
        assert!(!shows(&memory.bytes(NAME), "\u{7}\u{7}\u{7}\u{7}"), "nor of the key");
    }
}

/// What can be read of a file, whatever is wrong with it.
fn read_all(memory: &Memory, recovery: bool) -> couchstore::Result<Contents> {
    let db = memory.options().keys(some_keys()).recovery(recovery).open(NAME)?;
    contents(&db)
}

#[test]
fn every_changed_byte_is_noticed_or_changes_nothing() {
    let memory = filled(some_keys());
    let expected = read_all(&memory, false).unwrap();
    let file = memory.file(NAME).unwrap();
    let length = file.lock().unwrap().len();
    let (mut noticed, mut harmless) = (0, 0);
    for at in 0..length {
        for mask in [0x01, 0x80, 0xff] {
            file.lock().unwrap()[at] ^= mask;
            for recovery in [false, true] {
                match read_all(&memory, recovery) {
                    Ok(found) => {
                        // Instead of a damaged header there may be the older, empty one.
                        assert!(found == expected || found.is_empty(), "byte {at}, mask {mask:#x}");
                        harmless += 1;
                    }
                    Err(error) => {
                        assert!(error.code() != ErrorCode::ALLOC_FAIL, "byte {at}, mask {mask:#x}");
                        noticed += 1;
                    }
                }
            }
            file.lock().unwrap()[at] ^= mask;
        }
    }
    assert_eq!(read_all(&memory, false).unwrap(), expected);
    println!("{noticed} changes noticed, {harmless} harmless");
    assert!(noticed > 1000);
}

#[test]
fn changed_lengths_of_chunks_are_malformed() {
    let memory = filled(some_keys());
    let file = memory.file(NAME).unwrap();
    let position =
        open(&memory, some_keys()).unwrap().doc_info(b"secret-id-1").unwrap().unwrap().body_position;
    let field = position as usize..position as usize + 4;
    for length in [0, 15, 0x8000_0010_u32] {
        file.lock().unwrap()[field.clone()].copy_from_slice(&length.to_be_bytes());
        let db = open(&memory, some_keys()).unwrap();
        assert_eq!(db.get(b"secret-id-1").unwrap_err().code(), ErrorCode::CORRUPT, "{length:#x}");
    }
    for length in [0x7fff_ffff_u32, 100_000] {
        file.lock().unwrap()[field.clone()].copy_from_slice(&length.to_be_bytes());
        let db = open(&memory, some_keys()).unwrap();
        assert_eq!(db.get(b"secret-id-1").unwrap_err().code(), ErrorCode::READ, "{length:#x}");
    }
}

#[test]
fn chunks_cannot_change_places() {
    let memory = Memory::default();
    let db = memory.options().create(true).keys(some_keys()).open(NAME).unwrap();
    db.save(&[Document::new(b"a", b"11"), Document::new(b"b", b"22")], NONE).unwrap();
    let [a, b] = [b"a", b"b"].map(|id| db.doc_info(id).unwrap().unwrap().body_position as usize);
    db.commit().unwrap();
    drop(db);
    let file = memory.file(NAME).unwrap();
    let moved = file.lock().unwrap()[a..a + 22].to_vec();
    file.lock().unwrap()[b..b + 22].copy_from_slice(&moved);
    let db = open(&memory, some_keys()).unwrap();
    assert_eq!(db.get(b"b").unwrap_err().code(), ErrorCode::CHECKSUM_FAIL);
    assert_eq!(db.get(b"a").unwrap().unwrap(), b"11");
}

#[test]
fn two_files_of_one_key_have_keys_of_their_own() {
    for derivation in DERIVATIONS {
        let [a, b] = [(); 2].map(|()| filled(keys("id", 7, derivation)).bytes(NAME));
        assert_eq!(a.len(), b.len());
        let context = 9 + 5..9 + 5 + 32;
        assert_ne!(a[context.clone()], b[context]);
        // The first chunk stands at the same place, and has the same body.
        assert_ne!(a[4148..4164], b[4148..4164]);
    }
}

#[test]
fn the_default_file_operations_write_the_same() {
    let dir = crate::common::temp_dir();
    let path = dir.path().join(NAME);
    let db = creating(some_keys()).open(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 4096 + 48);
    crate::support::fill(&db);
    db.close().unwrap();
    let memory = Memory::default();
    memory.put(NAME, std::fs::read(&path).unwrap());
    assert_eq!(contents(&open(&memory, some_keys()).unwrap()).unwrap().len(), 5);
}
