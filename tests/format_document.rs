// SPDX-License-Identifier: Apache-2.0

//! The test vectors of `docs/format.md` are what the library reads and writes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forge::Forge;
use common::raw;
use couchstore::inspect::Tree;
use couchstore::{
    Db, Document, FormatVersion, LocalUpdate, OpenOptions, Result, SaveOptions, ScanOptions, WalkItem,
};
use std::path::PathBuf;

/// A test vector: bytes where they stand; what is not said is zero.
struct Vector {
    start: usize,
    bytes: Vec<u8>,
}

/// All vectors of the document, by name.
fn vectors() -> Vec<(String, Vector)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/format.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut blocks = text.split("```vector ").skip(1);
    let block = |block: &str| {
        let (name, rest) = block.split_once('\n').unwrap();
        (name.to_owned(), parse(rest.split_once("```").expect("an end").0))
    };
    let found: Vec<_> = blocks.by_ref().map(block).collect();
    assert!(found.iter().all(|(name, _)| NAMES.contains(&name.as_str())), "a vector that nobody looks at");
    found
}

/// All that is looked at below.
const NAMES: [&str; 15] = [
    "first-header-14",
    "first-header-11",
    "header-12",
    "header-13",
    "one-document",
    "leaf-by-id",
    "leaf-by-sequence",
    "compressed-body",
    "leaf-of-local-documents",
    "newest-header",
    "interior-by-id",
    "chunk-over-a-boundary",
    "encrypted-wrapped",
    "encrypted-derived",
    "derived-key",
];

fn parse(text: &str) -> Vector {
    let mut vector = Vector { start: 0, bytes: Vec::new() };
    for line in text.lines() {
        let mut line = line.trim_start();
        if let Some(rest) = line.strip_prefix('@') {
            let (offset, rest) = rest.split_once(' ').unwrap();
            let offset = usize::from_str_radix(offset, 16).unwrap();
            if vector.bytes.is_empty() {
                vector.start = offset;
            }
            assert!(offset >= vector.start + vector.bytes.len(), "{line}");
            vector.bytes.resize(offset - vector.start, 0);
            line = rest;
        }
        let digits: String = line.split("  ").next().unwrap_or_default().split(' ').collect();
        let pairs = digits.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect(line);
        vector.bytes.extend(pairs.map(byte));
    }
    vector
}

fn vector(name: &str) -> Vector {
    let mut found = vectors();
    let at = found.iter().position(|(other, _)| other == name).expect(name);
    found.swap_remove(at).1
}

fn bytes(name: &str) -> Vec<u8> {
    let Vector { start, bytes } = vector(name);
    assert_eq!(start, 0, "{name}");
    bytes
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(common::temp_dir())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("a.couch")
    }

    /// The file of these bytes.
    fn open(&self, bytes: &[u8]) -> Db {
        std::fs::write(self.path(), bytes).unwrap();
        OpenOptions::new().read_only(true).open(self.path()).unwrap()
    }

    fn read(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }
}

const DOCUMENT: Document<'_> = Document {
    id: b"hello",
    body: Some(b"world"),
    rev_seq: 1,
    rev_meta: b"",
    db_seq: 0,
    deleted: false,
    content_meta: 0,
};

#[test]
fn all_vectors_are_there() {
    let found: Vec<_> = vectors().into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, NAMES);
}

#[test]
fn new_files() {
    for (name, legacy) in [("first-header-14", false), ("first-header-11", true)] {
        let folder = Folder::new();
        OpenOptions::new().create(true).legacy_crc(legacy).open(folder.path()).unwrap().close().unwrap();
        assert_eq!(folder.read(), bytes(name), "{name}");
    }
}

#[test]
fn headers_of_the_versions_between() {
    for (name, version, timestamp) in
        [("header-12", FormatVersion::V12, 0), ("header-13", FormatVersion::V13, 42)]
    {
        let info = Folder::new().open(&bytes(name)).info().unwrap();
        assert_eq!((info.version, info.timestamp), (version, timestamp), "{name}");
        assert_eq!((info.last_sequence, info.purge_seq), (5, 2), "{name}");
    }
}

/// What the library makes of the first document.
fn write_one(folder: &Folder) -> Db {
    let db = Db::create(folder.path()).unwrap();
    db.save(&[DOCUMENT], SaveOptions::default()).unwrap();
    db.commit_with(42, None).unwrap();
    db
}

#[test]
fn a_file_with_one_document() {
    let expected = bytes("one-document");
    let folder = Folder::new();
    let db = folder.open(&expected);
    assert_eq!(db.get(b"hello").unwrap().as_deref(), Some(&b"world"[..]));
    let info = db.info().unwrap();
    assert_eq!((info.last_sequence, info.doc_count, info.deleted_count), (1, 1, 0));
    assert_eq!((info.timestamp, info.previous_header, info.space_used), (42, Some(0), 13 + 2 * 43));
    drop(db);

    let written = Folder::new();
    write_one(&written);
    assert_eq!(written.read(), expected);

    let file = raw::File::new(expected);
    let node = |position| snap::raw::Decoder::new().decompress_vec(&file.chunk(position)).unwrap();
    assert_eq!(file.chunk(0x30), b"world");
    assert_eq!(node(0x3d), bytes("leaf-by-id"));
    assert_eq!(node(0x68), bytes("leaf-by-sequence"));
}

#[test]
fn a_second_commit() {
    let folder = Folder::new();
    let db = write_one(&folder);
    let body = [b'z'; 100];
    let zs = Document {
        rev_meta: b"meta",
        content_meta: couchstore::COMPRESSED | 3,
        rev_seq: 2,
        ..Document::new(b"zs", &body)
    };
    let gone = Document { rev_seq: 2, ..Document::deletion(b"hello") };
    db.save(&[gone, zs], SaveOptions::new().compress(true)).unwrap();
    db.save_local(&[LocalUpdate { id: b"_local/state", body: Some(b"{}") }]).unwrap();
    db.set_purge_seq(7);
    db.commit_with(43, None).unwrap();
    let local = db.header().root(Tree::Local).unwrap().position;
    drop(db);

    let written = folder.read();
    for name in ["compressed-body", "newest-header"] {
        let Vector { start, bytes } = vector(name);
        assert_eq!(written[start..start + bytes.len()], bytes, "{name}");
    }
    let file = raw::File::new(written);
    assert_eq!(snap::raw::Decoder::new().decompress_vec(&file.chunk(0x105d)).unwrap(), body);
    let leaf = snap::raw::Decoder::new().decompress_vec(&file.chunk(local)).unwrap();
    assert_eq!(leaf, bytes("leaf-of-local-documents"));
}

/// A forged file whose tree by id has this root.
fn with_root(forge: &mut Forge, root: u64, subtree_size: u64) -> Folder {
    let pointer = [&root.to_be_bytes()[2..], &subtree_size.to_be_bytes()[2..], &[0; 16]].concat();
    forge.header(2, &[], &pointer, &[]);
    let folder = Folder::new();
    std::fs::write(folder.path(), &forge.bytes).unwrap();
    folder
}

#[test]
fn an_interior_node() {
    let interior = bytes("interior-by-id");
    let leaf = bytes("leaf-by-id");
    let mut forge = Forge::new();
    for (position, id) in [(4096, &b"hello"[..]), (8192, b"zs")] {
        forge.bytes.resize(position, 0);
        let value = leaf[11..].to_vec();
        assert_eq!(forge.node(1, &vec![(id.to_vec(), value)]), position as u64);
    }
    let root = forge.raw_node(&interior);
    let folder = with_root(&mut forge, root, 100);
    let db = Db::open(folder.path()).unwrap();
    let mut shown = Vec::new();
    db.walk_by_id(b"", ScanOptions::default(), &mut |depth, item| {
        shown.push(match item {
            WalkItem::Node { subtree_size, reduce } => (depth, *subtree_size, reduce.to_vec()),
            WalkItem::Document(info) => (depth, info.physical_size, info.id.to_vec()),
        });
        Result::Ok(())
    })
    .unwrap();
    let reduce = [&[0, 0, 0, 0, 1][..], &[0; 5], &[0, 0, 0, 0, 0, 13]].concat();
    let below = |id: &[u8]| [(1, 0x2b, reduce.clone()), (2, 13, id.to_vec())];
    let expected = [&[(0, 100, vec![0; 16])][..], &below(b"hello"), &below(b"zs")].concat();
    assert_eq!(shown, expected);
}

#[test]
fn a_chunk_over_a_boundary() {
    let Vector { start, bytes } = vector("chunk-over-a-boundary");
    let mut forge = Forge::new();
    forge.bytes.resize(start, 0);
    assert_eq!(forge.chunk(b"world"), start as u64);
    assert_eq!(forge.bytes[start..], bytes);
    let mut value = self::bytes("leaf-by-id")[11..].to_vec();
    value[10..16].copy_from_slice(&(start as u64).to_be_bytes()[2..]);
    let root = forge.node(1, &vec![(b"hello".to_vec(), value)]);
    let folder = with_root(&mut forge, root, 43);
    assert_eq!(Db::open(folder.path()).unwrap().get(b"hello").unwrap().as_deref(), Some(&b"world"[..]));

    // And so it is written.
    let folder = Folder::new();
    let db = Db::create(folder.path()).unwrap();
    let filler = vec![0; start - 48 - 8];
    db.save(&[Document::new(b"filler", &filler), Document::new(b"hello", b"world")], SaveOptions::default())
        .unwrap();
    db.commit().unwrap();
    assert_eq!(folder.read()[start..start + bytes.len()], bytes);
}

#[cfg(feature = "encryption")]
mod encrypted {
    use super::*;
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use aws_lc_rs::hmac;
    use couchstore::{EncryptionKey, KeyDerivation};
    use std::sync::Arc;

    const SECRET: [u8; 32] = [0x42; 32];
    const BODY: usize = 0x1030;

    /// What the bytes are with this key, as the format says it.
    fn decrypted(key: &[u8], nonce: [u8; 12], additional: &[u8], sealed: &[u8]) -> Vec<u8> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.open_in_place(nonce, Aad::from(additional), &mut sealed).unwrap().to_vec()
    }

    fn body_with(key: &[u8], file: &[u8]) -> Vec<u8> {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&(BODY as u64).to_be_bytes());
        decrypted(key, nonce, b"", &file[BODY + 4..])
    }

    #[test]
    fn both_kinds_of_keys() {
        for name in ["encrypted-wrapped", "encrypted-derived"] {
            let file = bytes(name);
            let context = &file[17..];
            let key = if name == "encrypted-wrapped" {
                decrypted(&SECRET, context[..12].try_into().unwrap(), b"key-1", &context[12..60])
            } else {
                let counter = [0, 0, 0, 1];
                let message = [&counter[..], b"FileKey\0couchstore/", &context[..32], &[0, 0, 1, 0]].concat();
                let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), &message);
                assert_eq!(key.as_ref(), bytes("derived-key"));
                key.as_ref().to_vec()
            };
            assert_eq!(body_with(&key, &file), b"world", "{name}");
        }
    }

    /// The library finds the same key: a file with this metadata and this body gives the document.
    #[test]
    fn the_library_reads_them() {
        for name in ["encrypted-wrapped", "encrypted-derived"] {
            let folder = Folder::new();
            let start = &bytes(name)[..BODY];
            std::fs::write(folder.path(), start).unwrap();
            let key = EncryptionKey::new("key-1", &SECRET, KeyDerivation::None).unwrap();
            let options = OpenOptions::new().keys(Some(Arc::new(key)));
            let db = options.open(folder.path()).unwrap();
            assert_eq!(db.encryption_key_id().as_deref(), Some(&b"key-1"[..]), "{name}");
            // The file ends with its header: what is saved goes on there, where the vector has the body.
            db.save(&[DOCUMENT], SaveOptions::default()).unwrap();
            db.commit().unwrap();
            assert_eq!(db.get(b"hello").unwrap().as_deref(), Some(&b"world"[..]));
            drop(db);
            let written = folder.read();
            assert_eq!(written[BODY..bytes(name).len()], bytes(name)[BODY..], "{name}");
        }
    }
}
