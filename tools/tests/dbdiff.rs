// SPDX-License-Identifier: Apache-2.0

//! `couch_dbdiff`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{damage, text, tool};
use couchstore::{CompactOptions, Db, Document, SaveOptions};
use std::path::Path;

fn save(path: &Path, docs: &[Document<'_>], compress: bool) {
    let db = Db::open(path).or_else(|_| Db::create(path)).unwrap();
    db.save(docs, SaveOptions::new().compress(compress)).unwrap();
    db.commit().unwrap();
    db.close().unwrap();
}

/// What is printed and the exit code.
fn diff(dir: &Path, arguments: &[&str]) -> (String, i32) {
    let assert = tool("dbdiff", dir).args(arguments).assert().stderr("");
    let output = assert.get_output();
    (text(&output.stdout), output.status.code().unwrap())
}

#[test]
fn what_differs_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (same, loose) = (Document::new(b"same", b"1"), Document::new(b"packed", &[b'x'; 300]));
    save(&dir.join("a"), &[same, Document { content_meta: 0x80, ..loose }], true);
    save(&dir.join("b"), &[same, loose], false);
    assert_eq!(diff(dir, &["a", "a"]), (String::new(), 0), "a file with itself");
    assert_eq!(diff(dir, &["a", "b"]), (String::new(), 0), "how bodies are stored does not count");
    let a = [Document::new(b"body", b"1"), Document::new(b"\x08k\x8f", b"1"), Document::new(b"only a", b"")];
    save(&dir.join("a"), &a, false);
    let meta = Document { rev_seq: 2, rev_meta: b"m", ..Document::new(b"meta", b"1") };
    save(&dir.join("a"), &[meta, Document::new(b"gone", b"1")], false);
    let b = [Document::new(b"body", b"2"), Document::new(b"meta", b"1"), Document::deletion(b"gone")];
    save(&dir.join("b"), &b, false);
    let expected = "Document \"0x080x6b0xffffff8f\" is missing from \"b\"\n\
                    Document \"body\" differs: body\n\
                    Document \"gone\" differs: deletion, body\n\
                    Document \"meta\" differs: revision, revision metadata\n\
                    Document \"only a\" is missing from \"b\"\n";
    assert_eq!(diff(dir, &["a", "b"]), (expected.to_owned(), 1));
    assert_eq!(diff(dir, &["-q", "a", "b"]), (String::new(), 1));
    let (said, code) = diff(dir, &["b", "a"]);
    assert!(said.ends_with("Document \"only a\" is missing from \"b\"\n") && code == 1, "{said}");
}

/// More documents than are looked up at once.
#[test]
fn large_files_are_compared_to_their_ends() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tool("couch_create", dir).args(["-k", "25000", "-d", "10"]).assert().success();
    let db = Db::open(dir.join("0.couch.1")).unwrap();
    couchstore::compact(&db, dir.join("copy"), &CompactOptions::default()).unwrap();
    assert_eq!(diff(dir, &["0.couch.1", "copy"]), (String::new(), 0));
    for id in [&b"\x00K0"[..], b"\x00K9999"] {
        save(&dir.join("copy"), &[Document::new(id, b"other")], false);
    }
    let (said, code) = diff(dir, &["copy", "0.couch.1"]);
    assert_eq!((said.lines().count(), code), (2, 1), "{said}");
}

#[test]
fn what_cannot_be_read_is_no_difference() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    save(&dir.join("a"), &[Document::new(b"a", &[b'x'; 50])], false);
    std::fs::copy(dir.join("a"), dir.join("b")).unwrap();
    damage(
        &dir.join("b"),
        Db::open(dir.join("b")).unwrap().doc_info(b"a").unwrap().unwrap().body_position + 20,
    );
    let assert = tool("dbdiff", dir).args(["a", "b"]).assert().code(1).stdout("");
    let said = text(&assert.get_output().stderr);
    assert!(said.starts_with("dbdiff: b: checksum of the 50 bytes"), "{said}");
    let assert = tool("dbdiff", dir).args(["a", "none"]).assert().code(1).stdout("");
    assert.stderr("Failed to open \"none\": no such file\n");
}
