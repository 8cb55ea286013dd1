// SPDX-License-Identifier: Apache-2.0

//! `couch_dbck`: what can be read is recovered, exactly, and nothing else.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::child::{process, signal};
use common::forge::{Entry, Forge};
use common::history::State;
use common::place::{KEY, OneKey, Place};
use common::{text, tool};
use couchstore::inspect::Tree;
use couchstore::{Db, Direction, Document, ENCRYPTION, KeyStore, LocalUpdate, OpenOptions, SaveOptions};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;

/// Saves bodies under ids and commits.
fn save(db: &Db, docs: &[(&str, Option<&str>)]) {
    let documents: Vec<_> = docs
        .iter()
        .map(|(id, body)| match body {
            Some(body) => Document::new(id.as_bytes(), body.as_bytes()),
            None => Document::deletion(id.as_bytes()),
        })
        .collect();
    db.save(&documents, SaveOptions::default()).unwrap();
    db.commit().unwrap();
}

fn save_local(db: &Db, docs: &[(&str, Option<&str>)]) {
    let updates: Vec<_> = docs
        .iter()
        .map(|(id, body)| LocalUpdate { id: id.as_bytes(), body: body.map(str::as_bytes) })
        .collect();
    db.save_local(&updates).unwrap();
    db.commit().unwrap();
}

/// Ids and bodies; `None`: deleted.
fn contents(db: &Db) -> BTreeMap<String, Option<String>> {
    let mut all = BTreeMap::new();
    let options = couchstore::ScanOptions::default();
    db.all_docs(b"", options, &mut |info| {
        let body = if info.deleted { None } else { Some(text(&db.body(info)?)) };
        all.insert(text(info.id), body);
        Ok(())
    })
    .unwrap();
    all
}

fn map(docs: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    docs.iter().map(|(id, body)| ((*id).to_owned(), body.map(str::to_owned))).collect()
}

fn local(db: &Db) -> BTreeMap<String, Option<String>> {
    let mut all = BTreeMap::new();
    db.scan_local(b"", &mut |id, body| {
        all.insert(text(id), Some(text(body)));
        Ok(())
    })
    .unwrap();
    all
}

fn body_at(db: &Db, id: &str) -> u64 {
    db.doc_info(id.as_bytes()).unwrap().unwrap().body_position + 8
}

/// An offset within the root of a tree.
fn root_at(db: &Db, tree: Tree) -> u64 {
    db.header().root(tree).unwrap().position + 10
}

// ---- sound files --------------------------------------------------------------------------------------------------

/// Fills a file with everything that documents can have.
fn fill(db: &Db) {
    let docs = [
        Document { rev_meta: b"meta", rev_seq: 7, content_meta: 3, ..Document::new(b"a", b"body") },
        Document { deleted: true, rev_seq: 9, ..Document::new(b"b", b"a body and deleted") },
        Document::deletion(b"c"),
        Document { content_meta: 0x80, ..Document::new(b"d", &[b'x'; 1000]) },
        Document::new(b"e", b""),
    ];
    db.save(&docs, SaveOptions::new().compress(true)).unwrap();
    db.save_local(&[LocalUpdate { id: b"_local/1", body: Some(b"one") }]).unwrap();
    db.set_purge_seq(3);
    db.commit_with(4711, None).unwrap();
}

/// Everything but positions.
fn compare(source: &Db, target: &Db) {
    assert_eq!(State::of(source), State::of(target));
    let (a, b) = (source.info().unwrap(), target.info().unwrap());
    assert_eq!((a.last_sequence, a.purge_seq, a.timestamp), (b.last_sequence, b.purge_seq, b.timestamp));
    assert_eq!((a.version, a.doc_count, a.deleted_count), (b.version, b.doc_count, b.deleted_count));
    assert_eq!(source.encryption_key_id(), target.encryption_key_id());
}

#[test]
fn sound_files_are_copied() {
    let keys: Option<Arc<dyn KeyStore>> = Some(Arc::new(OneKey));
    let plain = OpenOptions::new().create(true);
    for (options, arguments) in [
        (plain.clone(), &[][..]),
        (plain.clone(), &["--stale"][..]),
        (plain.clone().legacy_crc(true), &[][..]),
        (plain.clone().keys(keys.filter(|_| ENCRYPTION)), &["--with-key", KEY][..]),
    ] {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        let source = options.open(place.path("f")).unwrap();
        fill(&source);
        let (summary, target) = place.recover(arguments);
        compare(&source, &target);
        assert_eq!(summary["in_header"], 5);
        assert_eq!(summary["recovered"], 5);
        assert_eq!(summary["lost"], 0);
        assert_eq!(summary["local_documents"], 1);
    }
}

#[test]
fn empty_files_stay_empty() {
    let (place, source) = Place::new();
    let (_, target) = place.recover(&["-s"]);
    compare(&source, &target);
}

#[test]
fn text_is_as_documented() {
    let (place, db) = Place::new();
    save(&db, &[("a", Some("one")), ("b", Some("old"))]);
    save(&db, &[("b", Some("new"))]);
    place.damage(&[body_at(&db, "b"), root_at(&db, Tree::BySeq)]);
    let run = |options: &[&str]| {
        let assert = tool("couch_dbck", place.dir.path())
            .args(["--report", "f"])
            .args(options)
            .assert()
            .success()
            .stderr("");
        std::fs::remove_file(place.path("f.recovered")).unwrap();
        text(&assert.get_output().stdout)
    };
    common::assert_expected("dbck.txt", &run(&[]));
    common::assert_expected("dbck-stale.txt", &run(&["-s", "-v"]));
    common::assert_expected("dbck.json", &run(&["-s", "-v", "-j"]));
}

// ---- damage -------------------------------------------------------------------------------------------------------

#[test]
fn a_lost_body_comes_back_from_an_older_header() {
    let (place, db) = Place::new();
    save(&db, &[("a", Some("1")), ("b", Some("1"))]);
    save(&db, &[("b", Some("2"))]);
    save(&db, &[("b", Some("3"))]);
    place.damage(&[body_at(&db, "b")]);
    let (summary, target) = place.recover(&[]);
    assert_eq!(contents(&target), map(&[("a", Some("1"))]));
    assert_eq!(summary["lost"], 1);
    assert_eq!(summary["damaged"]["bodies"], 1);
    let (summary, target) = place.recover(&["--stale"]);
    assert_eq!(contents(&target), map(&[("a", Some("1")), ("b", Some("2"))]));
    assert_eq!(summary["lost"], 0);
    assert_eq!(summary["from_older_headers"], 1);
    // The number of the lost version is not given to another.
    assert_eq!(target.info().unwrap().last_sequence, 4);
}

#[test]
fn deletions_stay_deletions() {
    let (place, db) = Place::new();
    save(&db, &[("a", Some("1")), ("b", Some("1"))]);
    save(&db, &[("b", None)]);
    place.damage(&[root_at(&db, Tree::BySeq)]);
    let (_, target) = place.recover(&["--stale"]);
    assert_eq!(contents(&target), map(&[("a", Some("1")), ("b", None)]));
}

#[test]
fn one_index_is_enough() {
    for tree in [Tree::ById, Tree::BySeq] {
        let (place, db) = Place::new();
        let all = [("a", Some("1")), ("b", Some("2")), ("c", None)];
        save(&db, &all);
        let before = State::of(&db);
        place.damage(&[root_at(&db, tree)]);
        let (summary, target) = place.recover(&[]);
        assert_eq!(State::of(&target), before);
        assert_eq!((&summary["lost"], &summary["damaged"]["nodes"]), (&0.into(), &1.into()));
    }
}

#[test]
fn without_both_indexes_older_headers_help() {
    let (place, db) = Place::new();
    save(&db, &[("a", Some("1")), ("b", Some("1"))]);
    save(&db, &[("b", Some("2"))]);
    place.damage(&[root_at(&db, Tree::ById), root_at(&db, Tree::BySeq)]);
    let (summary, target) = place.recover(&[]);
    assert_eq!(contents(&target), map(&[]));
    assert_eq!(summary["lost"], 2);
    let (summary, target) = place.recover(&["-s"]);
    assert_eq!(contents(&target), map(&[("a", Some("1")), ("b", Some("1"))]));
    assert_eq!(summary["from_older_headers"], 2);
}

#[test]
fn damaged_headers_are_stepped_over() {
    let (place, db) = Place::new();
    save(&db, &[("a", Some("1"))]);
    let first = db.header_position();
    save(&db, &[("a", Some("2"))]);
    save(&db, &[("a", Some("3"))]);
    place.damage(&[db.header_position() + 20]);
    let (summary, target) = place.recover(&[]);
    assert_eq!(contents(&target), map(&[("a", Some("2"))]));
    assert_eq!(summary["damaged"]["headers"], 1);
    // With the one before damaged too, its pointers lead nowhere.
    db.seek(Direction::Backward).unwrap();
    place.damage(&[db.header_position() + 20]);
    let (summary, target) = place.recover(&["-s"]);
    assert_eq!(contents(&target), map(&[("a", Some("1"))]));
    assert_eq!(summary["header_position"], first);
    assert_eq!(summary["damaged"]["headers"], 2);
}

#[test]
fn a_damaged_header_between_does_not_end_the_search() {
    let (place, db) = Place::new();
    save(&db, &[("a", Some("1"))]);
    save(&db, &[("a", Some("2"))]);
    let between = db.header_position();
    let second = body_at(&db, "a");
    save(&db, &[("a", Some("3"))]);
    place.damage(&[between + 20, second, body_at(&db, "a")]);
    let (summary, target) = place.recover(&["-s"]);
    assert_eq!(contents(&target), map(&[("a", Some("1"))]));
    assert_eq!(summary["damaged"]["headers"], 1);
}

#[test]
fn abandoned_histories_stay_abandoned() {
    for version in [13, 14] {
        let mut forge = Forge { version, ..Forge::new() };
        let kept = forge.doc("kept", 1, b"1");
        let rolled_back = forge.doc("rolled back", 2, b"2");
        let broken = forge.doc("broken", 3, b"3");
        let first = forge.small(&[&kept]);
        forge.small(&[&kept, &rolled_back, &broken]);
        // A rewind to the first header; then the next commit. In version 13 the numbers tell that.
        forge.previous = first << 1;
        let again = Entry { seq: 2, ..forge.doc("again", 2, b"4") };
        forge.small(&[&kept, &again]);
        forge.bytes[again.position as usize + 8] ^= 1;
        let place = Place::with(&forge.bytes);
        let (summary, target) = place.recover(&["-s"]);
        assert_eq!(contents(&target), map(&[("kept", Some("1"))]), "version {version}");
        assert_eq!(summary["lost"], 1);
    }
}

#[test]
fn local_documents_come_back_where_the_tree_is_damaged() {
    let (place, db) = Place::new();
    save_local(&db, &[("_local/a", Some("1")), ("_local/b", Some("1")), ("_local/c", Some("1"))]);
    save_local(&db, &[("_local/b", None)]);
    save_local(&db, &[("_local/c", Some("2"))]);
    // What was removed does not come back.
    let (_, target) = place.recover(&["-s"]);
    assert_eq!(local(&target), map(&[("_local/a", Some("1")), ("_local/c", Some("2"))]));
    place.damage(&[root_at(&db, Tree::Local)]);
    let (summary, target) = place.recover(&[]);
    assert_eq!(local(&target), map(&[]));
    assert_eq!(summary["damaged"]["local_nodes"], 1);
    // Nor does it if the newest tree cannot be read: the one before says that it is gone.
    let (summary, target) = place.recover(&["-s"]);
    assert_eq!(local(&target), map(&[("_local/a", Some("1")), ("_local/c", Some("1"))]));
    assert_eq!(summary["local_documents"], 2);
}

#[test]
fn documents_that_share_a_sequence_number_stay_together() {
    // Half of them is found by sequence, the others, in another leaf that is damaged, by id.
    let mut forge = Forge::new();
    let docs = ["a", "b", "c", "d"].map(|id| forge.doc(id, 5, id.as_bytes()));
    let [a, b, c, d] = &docs;
    let leaves = [forge.leaf(Tree::BySeq, &[a, c]), forge.leaf(Tree::BySeq, &[b, d])];
    let by_seq = forge.interior(Tree::BySeq, &leaves.each_ref());
    let by_id = forge.leaf(Tree::ById, &docs.each_ref());
    forge.header(5, Some(&by_seq), Some(&by_id), None);
    forge.bytes[leaves[1].position as usize + 10] ^= 1;
    let place = Place::with(&forge.bytes);
    let (summary, target) = place.recover(&[]);
    assert_eq!(summary["recovered"], 4);
    let all = [("a", Some("a")), ("b", Some("b")), ("c", Some("c")), ("d", Some("d"))];
    assert_eq!(contents(&target), map(&all));
    assert_eq!(target.changes_count(5, 5).unwrap(), 4);
}

#[test]
fn the_newer_of_two_versions_counts() {
    for newer_by_id in [false, true] {
        let mut forge = Forge::new();
        let (old, new) = (forge.doc("a", 1, b"old"), forge.doc("a", 2, b"new"));
        let (by_id, by_seq) = if newer_by_id { (&new, &old) } else { (&old, &new) };
        let (by_id, by_seq) = (forge.leaf(Tree::ById, &[by_id]), forge.leaf(Tree::BySeq, &[by_seq]));
        forge.header(2, Some(&by_seq), Some(&by_id), None);
        let (summary, target) = Place::with(&forge.bytes).recover(&[]);
        assert_eq!(contents(&target), map(&[("a", Some("new"))]));
        assert_eq!(summary["recovered"], 1);
    }
}

#[test]
fn live_documents_without_body_are_lost() {
    let mut forge = Forge::new();
    let doc = Entry { deleted: false, ..Entry::deletion("a", 1) };
    forge.small(&[&doc]);
    let (summary, target) = Place::with(&forge.bytes).recover(&[]);
    assert_eq!(contents(&target), map(&[]));
    assert_eq!(summary["lost"], 1);
}

// ---- the program --------------------------------------------------------------------------------------------------

#[test]
fn an_existing_target_is_left_alone() {
    let (place, db) = Place::new();
    save(&db, &[("a", Some("1"))]);
    std::fs::write(place.path("f.recovered"), b"mine").unwrap();
    let assert = tool("couch_dbck", place.dir.path()).arg("f").assert().code(1).stdout("");
    assert.stderr("couch_dbck: f.recovered: exists already\n");
    assert_eq!(std::fs::read(place.path("f.recovered")).unwrap(), b"mine");
    tool("couch_dbck", place.dir.path()).args(["f", "f"]).assert().code(1);
    std::os::unix::fs::symlink("nowhere", place.path("link")).unwrap();
    tool("couch_dbck", place.dir.path()).args(["f", "link"]).assert().code(1);
    assert_eq!(place.files(), ["f", "f.recovered", "link"]);
}

#[test]
fn failures_leave_nothing() {
    let (place, db) = Place::new();
    save(&db, &[("a", Some("1"))]);
    std::fs::write(place.path("text"), b"no database").unwrap();
    std::fs::write(place.path("empty"), b"").unwrap();
    for arguments in [&["none"][..], &["text"], &["empty"], &["."], &["f", "nowhere/g"]] {
        let mut command = tool("couch_dbck", place.dir.path());
        let assert = command.args(["--report", "--explain"]).args(arguments).assert().code(1);
        let stderr = text(&assert.get_output().stderr);
        assert!(stderr.starts_with("couch_dbck: ") && stderr.lines().count() == 1, "{stderr}");
        let assert = tool("couch_dbck", place.dir.path()).args(arguments).assert().code(1).stdout("");
        let stderr = text(&assert.get_output().stderr);
        assert!(stderr.starts_with(&format!("Recover from file {} to file ", arguments[0])), "{stderr}");
    }
    tool("couch_dbck", place.dir.path()).assert().code(1);
    assert_eq!(place.files(), ["empty", "f", "text"]);
}

#[test]
#[cfg_attr(not(feature = "encryption"), ignore = "needs encryption")]
fn an_encrypted_file_needs_its_key() {
    let place = Place { dir: tempfile::tempdir().unwrap() };
    let options = OpenOptions::new().create(true).keys(Some(Arc::new(OneKey)));
    fill(&options.open(place.path("f")).unwrap());
    tool("couch_dbck", place.dir.path()).arg("f").assert().code(1);
    assert_eq!(place.files(), ["f"]);
}

#[test]
fn an_interrupt_leaves_nothing() {
    let (place, db) = Place::new();
    let ids: Vec<_> = (0..100_000).map(|number| format!("id-{number}")).collect();
    let docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), id.as_bytes())).collect();
    db.save(&docs, SaveOptions::default()).unwrap();
    db.commit().unwrap();
    let mut command = process("couch_dbck", place.dir.path());
    command.arg("f").stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    while place.files().len() == 1 {
        std::thread::yield_now();
    }
    signal("TERM", child.id());
    // It may have been done already.
    match child.wait().unwrap().code() {
        Some(130) => assert_eq!(place.files(), ["f"]),
        Some(0) => assert_eq!(place.files(), ["f", "f.recovered"]),
        other => panic!("{other:?}"),
    }
}
