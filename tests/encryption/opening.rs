// SPDX-License-Identifier: Apache-2.0

//! Right and wrong keys, and key stores that fail.

use crate::common::memory::Memory;
use crate::common::{files_in, temp_dir};
use crate::support::{DERIVATIONS, NAME, Noting, contents, creating, filled, key, keys, open, some_keys};
use couchstore::{Direction, EncryptionKey, Error, ErrorCode, KeyDerivation, KeyStoreFailed};

#[test]
fn the_right_key_opens_a_file_of_either_kind() {
    for derivation in DERIVATIONS {
        let memory = filled(keys("right", 1, derivation));
        // What counts is what the file says, not the derivation of the key that is given.
        for given in DERIVATIONS {
            let db = open(&memory, keys("right", 1, given)).unwrap();
            assert_eq!(db.encryption_key_id().as_deref(), Some(&b"right"[..]));
            assert_eq!(contents(&db).unwrap().len(), 5);
        }
    }
    let plain = filled(None);
    assert_eq!(open(&plain, some_keys()).unwrap().encryption_key_id(), None);
}

#[test]
fn a_wrong_key_is_noticed_at_open_or_by_the_first_read() {
    let memory = filled(keys("id", 1, KeyDerivation::None));
    let error = open(&memory, keys("id", 2, KeyDerivation::None)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::DECRYPT);

    let memory = filled(keys("id", 1, KeyDerivation::KeyBased));
    let db = open(&memory, keys("id", 2, KeyDerivation::KeyBased)).unwrap();
    assert_eq!(db.info().unwrap().last_sequence, 2);
    assert_eq!(contents(&db).unwrap_err().code(), ErrorCode::CHECKSUM_FAIL);
    assert_eq!(db.get(b"secret-id-1").unwrap_err().code(), ErrorCode::CHECKSUM_FAIL);
}

#[test]
fn without_the_key_of_the_stored_id_there_is_no_opening() {
    let memory = filled(keys("id", 1, KeyDerivation::None));
    let answers = [Err(KeyStoreFailed), Ok(None), Ok(Some(key("other", 1, KeyDerivation::None)))];
    for answer in answers {
        let store = Noting::new(answer);
        let error = open(&memory, Some(store.clone())).unwrap_err();
        assert_eq!(error.code(), ErrorCode::NO_ENCRYPTION_KEY);
        assert_eq!(store.asked(), ["id"]);
    }
    assert_eq!(open(&memory, None).unwrap_err().code(), ErrorCode::NO_ENCRYPTION_KEY);
}

#[test]
fn a_plain_file_asks_for_no_key() {
    let memory = filled(None);
    let store = Noting::new(Err(KeyStoreFailed));
    open(&memory, Some(store.clone())).unwrap();
    assert!(store.asked().is_empty());
}

#[test]
fn the_store_is_asked_once_and_decides_whether_a_new_file_is_encrypted() {
    let given = key("new", 3, KeyDerivation::KeyBased);
    for (answer, id) in [(Ok(Some(given)), Some("new")), (Ok(None), None)] {
        let store = Noting::new(answer);
        let db = creating(Some(store.clone())).file_ops(Memory::default().ops()).open(NAME).unwrap();
        assert_eq!(db.encryption_key_id().as_deref(), id.map(str::as_bytes));
        assert_eq!(store.asked(), [""]);
    }
}

#[test]
fn an_empty_file_becomes_an_encrypted_one() {
    let memory = Memory::default();
    memory.put(NAME, vec![]);
    let db = open(&memory, some_keys()).unwrap();
    assert_eq!(db.encryption_key_id().as_deref(), Some(&b"some key"[..]));
    assert_eq!(db.header_position(), 4096);
}

/// Creating must fail with this code, and leave nothing.
fn creating_fails(answer: Result<Option<EncryptionKey>, KeyStoreFailed>, legacy: bool, code: ErrorCode) {
    let dir = temp_dir();
    let options = creating(Some(Noting::new(answer))).legacy_crc(legacy);
    let error = options.open(dir.path().join(NAME)).unwrap_err();
    assert_eq!((error.code(), files_in(dir.path())), (code, 0));
}

#[test]
fn what_makes_no_files() {
    for derivation in DERIVATIONS {
        let fit = EncryptionKey::new("x", &[1; 32], derivation).unwrap();
        creating_fails(Ok(Some(fit)), true, ErrorCode::INVALID_ARGUMENTS);
        for id in ["x", &"x".repeat(255)] {
            let memory = filled(keys(id, 1, derivation));
            open(&memory, keys(id, 1, derivation)).unwrap();
        }
    }
    creating_fails(Err(KeyStoreFailed), false, ErrorCode::ENCRYPT);
}

#[test]
fn going_back_from_the_first_header_leaves_the_handle_there() {
    let memory = filled(some_keys());
    let db = open(&memory, some_keys()).unwrap();
    db.seek(Direction::Backward).unwrap();
    assert_eq!(db.header_position(), 4096);
    assert!(matches!(db.seek(Direction::Backward), Err(Error::DbNoLongerValid(_))));
    assert_eq!((db.header_position(), contents(&db).unwrap().len()), (4096, 0));
    db.seek(Direction::Forward).unwrap();
    assert_eq!(contents(&db).unwrap().len(), 5);
    assert!(matches!(db.seek_offset(0), Err(Error::NoHeader { .. })), "the metadata header is none");
    assert_eq!(contents(&db).unwrap().len(), 5);
}

#[test]
fn nothing_that_can_be_printed_shows_a_key() {
    let secret = b"0123456789abcdefghijklmnopqrstuv";
    let wrapped = EncryptionKey::new("id", secret, KeyDerivation::None).unwrap();
    let memory = filled(Some(std::sync::Arc::new(wrapped.clone())));
    let other = EncryptionKey::new("id", b"vutsrqponmlkjihgfedcba9876543210", KeyDerivation::None).unwrap();
    let error = open(&memory, Some(std::sync::Arc::new(other))).unwrap_err();
    let options = creating(Some(std::sync::Arc::new(wrapped.clone())));
    let printed = format!("{wrapped:?} {options:?} {error:?} {error}");
    for part in ["0123", "cdef", "vuts", "3210", "48, 49", "118, 117"] {
        assert!(!printed.contains(part), "{printed}");
    }
    assert!(printed.contains("EncryptionKey"));
}
