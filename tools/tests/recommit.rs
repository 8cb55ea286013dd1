// SPDX-License-Identifier: Apache-2.0

//! `couch_recommit`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{damage, text, tool};
use couchstore::inspect::{FileHeader, NodeRef};
use couchstore::{Db, Document, LocalUpdate, SaveOptions};
use std::path::Path;

/// A file of two commits, and the headers of both.
fn two_commits(path: &Path) -> [FileHeader; 2] {
    let db = Db::create(path).unwrap();
    [0u8, 1].map(|round| {
        let ids: Vec<_> = (0..300).map(|number| format!("{round}-{number:03}")).collect();
        let docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), b"body")).collect();
        db.save(&docs, SaveOptions::default()).unwrap();
        db.save_local(&[LocalUpdate { id: b"_local/x", body: Some(&[b'0' + round]) }]).unwrap();
        db.commit().unwrap();
        db.header()
    })
}

fn at(root: Option<&NodeRef>) -> String {
    root.unwrap().position.to_string()
}

#[test]
fn older_roots_are_those_of_a_new_header() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let [old, new] = two_commits(&path);
    let mut command = tool("couch_recommit", dir.path());
    command.args([
        "--file",
        "f",
        "--byid",
        &at(old.by_id.as_ref()),
        "--byseq",
        &at(old.by_seq.as_ref()),
        "--local",
        &at(old.local.as_ref()),
    ]);
    let assert = command.assert().success().stderr("");
    assert!(text(&assert.get_output().stdout).starts_with("Committed f: header at "));
    let db = Db::open(&path).unwrap();
    let header = db.header();
    assert_eq!((&header.by_id, &header.by_seq, &header.local), (&old.by_id, &old.by_seq, &old.local));
    assert_eq!(header.update_seq, new.update_seq, "no number is given out again");
    assert_eq!((db.info().unwrap().doc_count, db.local(b"_local/x").unwrap().unwrap()), (300, b"0".to_vec()));
    tool("couch_check", dir.path()).arg("f").assert().success().stderr("");
}

#[test]
fn trees_without_an_offset_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let [old, new] = two_commits(&path);
    let local = format!("{:#x}", old.local.as_ref().unwrap().position);
    tool("couch_recommit", dir.path()).args(["--file", "f", "--local", &local]).assert().success();
    let header = Db::open(&path).unwrap().header();
    assert_eq!((&header.by_id, &header.by_seq, &header.local), (&new.by_id, &new.by_seq, &old.local));
    tool("couch_check", dir.path()).arg("f").assert().success();
}

/// What a lost header referred to is found by `couch_dbdump --map` or from outside.
#[test]
fn a_damaged_header_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let [_, new] = two_commits(&path);
    let position = Db::open(&path).unwrap().header_position();
    damage(&path, position + 20);
    assert!(Db::open(&path).is_err());
    let mut command = tool("couch_recommit", dir.path());
    command.args([
        "--file",
        "f",
        "--byid",
        &at(new.by_id.as_ref()),
        "--byseq",
        &at(new.by_seq.as_ref()),
        "--local",
        &at(new.local.as_ref()),
    ]);
    command.assert().success();
    let db = Db::open(&path).unwrap();
    assert_eq!((db.info().unwrap().doc_count, db.header().update_seq), (600, 600));
    tool("couch_check", dir.path()).arg("f").assert().success();
}

#[test]
fn what_is_no_sound_tree_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let [old, _] = two_commits(&path);
    damage(&path, old.by_id.as_ref().unwrap().position + 12);
    let before = std::fs::read(&path).unwrap();
    let body = Db::open(&path).unwrap().doc_info(b"1-000").unwrap().unwrap().body_position.to_string();
    for arguments in
        [["--byid", &at(old.by_id.as_ref())], ["--byid", "7"], ["--byseq", &body], ["--local", "99999999"]]
    {
        let mut command = tool("couch_recommit", dir.path());
        let assert = command.args(["--file", "f"]).args(arguments).assert().code(1).stdout("");
        assert_eq!(text(&assert.get_output().stderr).lines().count(), 1);
        assert!(std::fs::read(&path).unwrap() == before, "{arguments:?}");
    }
    tool("couch_recommit", dir.path()).assert().code(1);
    tool("couch_recommit", dir.path()).args(["--byid", "7"]).assert().code(2);
}
