// SPDX-License-Identifier: Apache-2.0

//! A file with documents of every kind, the same bytes every time.

use couchstore::{COMPRESSED, Db, Document, LocalUpdate, SaveOptions};
use std::path::Path;

/// Timestamp of the first commit.
pub(crate) const TIME: u64 = 1_700_000_000_000_000_000;

/// Revision metadata of 18 bytes.
pub(crate) fn rev_meta(cas: u64, expiry: u32, datatype: u8) -> Vec<u8> {
    let mut out = cas.to_be_bytes().to_vec();
    out.extend(expiry.to_be_bytes());
    out.extend([0, 0, 0, 2, 1, datatype]);
    out
}

/// The document that posts about the original show.
pub(crate) fn pymc0(path: &Path) {
    let db = Db::create(path).unwrap();
    let mut meta = rev_meta(1_437_603_128_446_980_096, 0, 1);
    meta[15] = 0;
    let doc = Document {
        rev_seq: 1,
        rev_meta: &meta,
        content_meta: 131,
        ..Document::new(b"pymc0", br#"{"value":1}"#)
    };
    db.save(&[doc], SaveOptions::new().compress(true)).unwrap();
    db.commit_with(TIME, None).unwrap();
}

/// Twelve documents in two commits; the sequence numbers are those of the array.
pub(crate) fn every_kind(path: &Path) {
    let db = Db::create(path).unwrap();
    let (json, raw, xattr) = (rev_meta(1, 0, 1), rev_meta(2, 77, 0), rev_meta(3, 0, 5));
    let (snappy, dead) = (rev_meta(4, 0, 3), rev_meta(5, 1_600_000_000, 0));
    let old = &raw[..16];
    let resolved = [&raw[..], &[1]].concat();
    let prepared = [&raw[..], &[0, 1, 0, 0, 0, 0, 0]].concat();
    let committed = [&raw[..], &[1, 0, 0, 0, 0, 1, 0]].concat();
    let packed = snap::raw::Encoder::new().compress_vec(br#"{"packed":true}"#).unwrap();
    let with = |id: &'static [u8], body: &'static [u8]| Document { rev_seq: 7, ..Document::new(id, body) };
    let docs = [
        Document { rev_meta: &json, ..with(b"json", br#"{"a":"b"}"#) },
        Document {
            rev_meta: &json,
            content_meta: COMPRESSED,
            ..with(b"compressed", b"[1,1,1,1,1,1,1,1,1,1]")
        },
        Document { rev_meta: old, content_meta: 3, ..with(b"old", b"text\x1b[2J\n") },
        Document { rev_meta: &resolved, content_meta: 3, ..with(b"resolved\x07", b"\xff\0") },
        Document { rev_meta: &prepared, ..with(b"prepared", b"1") },
        Document { rev_meta: &committed, ..with(b"committed", b"") },
        Document { rev_meta: b"strange", ..with(b"strange\xff", b"text") },
        Document { rev_meta: &xattr, ..with(b"xattr", b"\0\0\0\x0b\0\0\0\x07_a\x00123\x00{\"b\":1}") },
        Document { rev_meta: &snappy, rev_seq: 1, ..Document::new(b"packed", &packed) },
        Document { rev_meta: &dead, rev_seq: 2, ..Document::deletion(b"deleted") },
        Document { rev_meta: &dead, deleted: true, ..with(b"deleted with body", b"old") },
    ];
    db.save(&docs, SaveOptions::new().compress(true)).unwrap();
    db.commit_with(TIME, None).unwrap();
    db.save(&[Document::new(b"last", b"one")], SaveOptions::default()).unwrap();
    db.save_local(&[LocalUpdate { id: b"_local/a", body: Some(b"{}") }]).unwrap();
    db.commit_with(TIME + 1, None).unwrap();
}
