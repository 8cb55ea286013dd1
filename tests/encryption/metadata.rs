// SPDX-License-Identifier: Apache-2.0

//! Damaged and foreign metadata headers.

use crate::common::memory::Memory;
use crate::support::{NAME, contents, filled, keys, open, some_keys};
use couchstore::{ErrorCode, KeyDerivation};

const BLOCK: usize = 4096;

/// The body of the metadata header of a file.
fn body_of(file: &[u8]) -> Vec<u8> {
    let length = u32::from_be_bytes(file[1..5].try_into().unwrap()) as usize;
    file[9..9 + length - 4].to_vec()
}

/// Block 0 with such a body, in front of the rest of a file.
fn with_body(file: &[u8], body: &[u8]) -> Memory {
    let mut block = vec![2];
    block.extend((body.len() as u32 + 4).to_be_bytes());
    block.extend(crc_fast::crc32_iscsi(body).to_be_bytes());
    block.extend_from_slice(body);
    block.resize(BLOCK, 0);
    in_memory(&[&block, &file[BLOCK..]].concat())
}

fn in_memory(bytes: &[u8]) -> Memory {
    let memory = Memory::default();
    memory.put(NAME, bytes.to_vec());
    memory
}

fn code(memory: &Memory) -> ErrorCode {
    open(memory, some_keys()).unwrap_err().code()
}

#[test]
fn the_body_is_version_id_and_context() {
    for (derivation, version, context) in [(KeyDerivation::None, 0, 60), (KeyDerivation::KeyBased, 1, 32)] {
        let file = filled(keys("some key", 7, derivation)).bytes(NAME);
        let body = body_of(&file);
        assert_eq!(body[..10], [&[version, 8][..], b"some key"].concat());
        assert_eq!((usize::from(body[10]), body.len()), (context, 11 + context));
        assert_eq!(crc_fast::crc32_iscsi(&body).to_be_bytes(), file[5..9]);
        assert_eq!(file[0], 2);
    }
}

#[test]
fn every_shorter_body_is_refused_and_longer_ones_are_fine() {
    for derivation in [KeyDerivation::None, KeyDerivation::KeyBased] {
        let file = filled(keys("some key", 7, derivation)).bytes(NAME);
        let body = body_of(&file);
        for length in 1..body.len() {
            assert_eq!(code(&with_body(&file, &body[..length])), ErrorCode::CORRUPT, "{length} bytes");
        }
        assert_eq!(code(&with_body(&file, b"")), ErrorCode::NOT_SUPPORTED);
        let longer = with_body(&file, &[&body[..], b"something"].concat());
        assert_eq!(contents(&open(&longer, some_keys()).unwrap()).unwrap().len(), 5);
    }
}

#[test]
fn a_wrapped_key_of_another_length_cannot_be_decrypted() {
    let file = filled(keys("some key", 7, KeyDerivation::None)).bytes(NAME);
    let body = body_of(&file);
    for length in 0..60 {
        let mut shorter = body[..11 + length].to_vec();
        shorter[10] = length as u8;
        assert_eq!(code(&with_body(&file, &shorter)), ErrorCode::DECRYPT, "{length} bytes");
    }
}

#[test]
fn unknown_versions_are_refused_whatever_follows() {
    let file = filled(some_keys()).bytes(NAME);
    for version in [2, 3, 255] {
        let mut body = body_of(&file);
        body[0] = version;
        assert_eq!(code(&with_body(&file, &body)), ErrorCode::NOT_SUPPORTED);
        assert_eq!(code(&with_body(&file, &[version])), ErrorCode::NOT_SUPPORTED);
    }
}

#[test]
fn without_an_id_the_file_is_not_encrypted() {
    // A header that speaks of metadata, in a file whose metadata names no key.
    let mut file = filled(None).bytes(NAME);
    let header = BLOCK;
    assert_eq!(file[header], 1);
    let length = u32::from_be_bytes(file[header + 1..header + 5].try_into().unwrap()) as usize - 4;
    let body = header + 9..header + 9 + length;
    file[body.start + 38] |= 1;
    let crc = crc_fast::crc32_iscsi(&file[body]).to_be_bytes();
    file[header + 5..header + 9].copy_from_slice(&crc);
    // The documents begin behind the 48 bytes of the first header, and so the metadata has room.
    file[..15].copy_from_slice(&[2, 0, 0, 0, 10, 0, 0, 0, 0, 1, 0, 3, b'a', b'b', b'c']);
    let crc = crc_fast::crc32_iscsi(&file[9..15]).to_be_bytes();
    file[5..9].copy_from_slice(&crc);
    let db = open(&in_memory(&file), None).unwrap();
    assert_eq!((db.encryption_key_id(), contents(&db).unwrap().len()), (None, 5));
}

#[test]
fn header_and_block_0_must_agree() {
    let mut file = filled(some_keys()).bytes(NAME);
    for marker in [0, 1, 3] {
        file[0] = marker;
        assert_eq!(code(&in_memory(&file)), ErrorCode::NO_ENCRYPTION_KEY);
    }
    // The other way round the header counts.
    let mut file = filled(None).bytes(NAME);
    file[0] = 2;
    assert_eq!(open(&in_memory(&file), some_keys()).unwrap().encryption_key_id(), None);
}

#[test]
fn lengths_and_checksums_are_checked() {
    let file = filled(some_keys()).bytes(NAME);
    for length in [0_u32, 3, 4097, u32::MAX] {
        let mut changed = file.clone();
        changed[1..5].copy_from_slice(&length.to_be_bytes());
        assert_eq!(code(&in_memory(&changed)), ErrorCode::CORRUPT, "{length}");
    }
    let mut changed = file;
    changed[10] ^= 1;
    assert_eq!(code(&in_memory(&changed)), ErrorCode::CHECKSUM_FAIL);
}
