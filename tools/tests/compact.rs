// SPDX-License-Identifier: Apache-2.0

//! `couch_compact`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forge::{Entry, Forge};
use common::{damage, json_lines, sample, text, tool};
use couchstore::inspect::Tree;
use couchstore::{Db, Document, FormatVersion, LocalUpdate, OpenOptions, SaveOptions, ScanOptions};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A folder with "a.couch": 100 documents saved twice; 20 of them are deleted, number n at time 1000 + n.
fn fill(db: &Db) {
    for round in 0..2u8 {
        let ids: Vec<_> = (0..100).map(|number| format!("id-{number:03}")).collect();
        let body = [b'a' + round; 500];
        let docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), &body)).collect();
        db.save(&docs, SaveOptions::default()).unwrap();
        db.commit_with(sample::TIME, None).unwrap();
    }
    let dead: Vec<_> =
        (0..20).map(|number| (format!("id-{number:03}"), sample::rev_meta(1, 1000 + number, 0))).collect();
    let docs: Vec<_> = dead
        .iter()
        .map(|(id, meta)| Document { rev_meta: meta, ..Document::deletion(id.as_bytes()) })
        .collect();
    db.save(&docs, SaveOptions::default()).unwrap();
    db.save_local(&[LocalUpdate { id: b"_local/x", body: Some(b"1") }]).unwrap();
    db.set_purge_seq(3);
    db.commit_with(sample::TIME + 1, None).unwrap();
}

fn sample_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fill(&Db::create(dir.path().join("a.couch")).unwrap());
    dir
}

/// Compacts and returns the JSON summary.
fn compact(dir: &Path, arguments: &[&str]) -> Value {
    let assert = tool("couch_compact", dir).arg("--json").args(arguments).assert().success().stderr("");
    json_lines(&assert.get_output().stdout).remove(0)
}

/// Everything but places.
fn contents(path: &Path) -> Vec<String> {
    let db = Db::open(path).unwrap();
    let mut lines = Vec::new();
    db.changes_since(0, ScanOptions::default(), &mut |info| {
        let body = db.body(info).ok();
        lines.push(format!("{:?} {} {} {:?} {body:?}", info.id, info.db_seq, info.deleted, info.rev_meta));
        Ok(())
    })
    .unwrap();
    db.scan_local(b"", &mut |id, body| {
        lines.push(format!("{id:?} {body:?}"));
        Ok(())
    })
    .unwrap();
    lines
}

fn info(path: &Path) -> couchstore::Info {
    Db::open(path).unwrap().info().unwrap()
}

#[test]
fn a_copy_holds_the_same_and_is_smaller() {
    let dir = sample_dir();
    let (a, b) = (dir.path().join("a.couch"), dir.path().join("b.couch"));
    let before = std::fs::read(&a).unwrap();
    let summary = compact(dir.path(), &["a.couch", "b.couch"]);
    assert_eq!(contents(&a), contents(&b));
    assert_eq!(std::fs::read(&a).unwrap(), before);
    assert!(info(&b).file_size < info(&a).file_size / 2);
    assert_eq!(summary["before"]["file_size"], info(&a).file_size);
    assert_eq!(summary["after"]["file_size"], info(&b).file_size);
    assert_eq!(
        (&summary["before"]["deleted_count"], &summary["after"]["purge_seq"]),
        (&20.into(), &3.into())
    );
    assert_eq!((&summary["source"], &summary["target"]), (&"a.couch".into(), &"b.couch".into()));
}

#[test]
fn the_summary_is_for_people() {
    let dir = sample_dir();
    let assert = tool("couch_compact", dir.path())
        .args(["--summary", "-p", "1010", "a.couch", "b.couch"])
        .assert()
        .success();
    let out = text(&assert.get_output().stdout);
    let (lines, time) = out.rsplit_once("   time: ").unwrap();
    assert!(time.ends_with(" s\n"), "{time}");
    common::assert_expected("compact.txt", lines);
}

#[test]
fn old_tombstones_are_purged() {
    let dir = sample_dir();
    let summary = compact(dir.path(), &["-p", "1005", "a.couch", "b.couch"]);
    assert_eq!((&summary["purged"], &summary["after"]["deleted_count"]), (&5.into(), &15.into()));
    // The tombstones have the sequence numbers 201 to 220.
    assert_eq!(info(&dir.path().join("b.couch")).purge_seq, 205);
    let summary = compact(dir.path(), &["-p", "1005", "-s", "203", "a.couch", "c.couch"]);
    assert_eq!((&summary["purged"], &summary["after"]["purge_seq"]), (&3.into(), &203.into()));
    let summary = compact(dir.path(), &["-p", "5", "a.couch", "d.couch"]);
    assert_eq!((&summary["purged"], &summary["after"]["purge_seq"]), (&0.into(), &3.into()));
    assert_eq!(summary["after"]["doc_count"], 80);
}

#[test]
fn all_tombstones_are_dropped() {
    let dir = sample_dir();
    let summary = compact(dir.path(), &["-d", "a.couch", "b.couch"]);
    assert_eq!((&summary["purged"], &summary["after"]["deleted_count"]), (&20.into(), &0.into()));
    assert_eq!((&summary["after"]["purge_seq"], &summary["after"]["doc_count"]), (&220.into(), &80.into()));
    let summary = compact(dir.path(), &["-d", "b.couch", "c.couch"]);
    assert_eq!((&summary["purged"], &summary["after"]["purge_seq"]), (&0.into(), &221.into()));
}

#[test]
fn versions() {
    let dir = tempfile::tempdir().unwrap();
    fill(&OpenOptions::new().create(true).legacy_crc(true).open(dir.path().join("old")).unwrap());
    compact(dir.path(), &["old", "still-old"]);
    compact(dir.path(), &["-u", "old", "new"]);
    assert_eq!(info(&dir.path().join("still-old")).version, FormatVersion::V11);
    assert_eq!(info(&dir.path().join("new")).version, FormatVersion::V14);
    assert_eq!(contents(&dir.path().join("old")), contents(&dir.path().join("new")));
}

#[test]
fn online_without_target_replaces_the_file() {
    let dir = sample_dir();
    let a = dir.path().join("a.couch");
    let (before, size) = (contents(&a), info(&a).file_size);
    let summary = compact(dir.path(), &["--online", "a.couch"]);
    assert_eq!(contents(&a), before);
    assert!(info(&a).file_size < size / 2);
    assert_eq!((&summary["before"]["file_size"], &summary["catch_up_rounds"]), (&size.into(), &0.into()));
    compact(dir.path(), &["--online", "-p", "2000", "a.couch", "b.couch"]);
    assert_eq!(info(&dir.path().join("b.couch")).deleted_count, 0);
    assert_eq!(info(&dir.path().join("b.couch")).purge_seq, 220);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary files");
}

#[test]
fn online_follows_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    tool("couch_create", dir.path()).args(["-k", "50000", "-n"]).assert().success();
    let mut command = Command::new(common::program("couch_compact"));
    command.current_dir(dir.path()).args(["--online", "0.couch.1", "b.couch"]).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let db = Db::open(dir.path().join("0.couch.1")).unwrap();
    while child.try_wait().unwrap().is_none() {
        let seq = db.save(&[Document::new(b"mine", b"1")], SaveOptions::default()).unwrap();
        db.save_local(&[LocalUpdate { id: b"_local/seq", body: Some(seq[0].to_string().as_bytes()) }])
            .unwrap();
        db.commit().unwrap();
    }
    assert!(child.wait().unwrap().success());
    // What the result holds is one of the states that were committed, whole.
    let b = Db::open(dir.path().join("b.couch")).unwrap();
    let seq = b.info().unwrap().last_sequence;
    assert!((50_000..=db.info().unwrap().last_sequence).contains(&seq));
    if seq > 50_000 {
        assert_eq!(b.local(b"_local/seq").unwrap().unwrap(), seq.to_string().as_bytes());
        assert_eq!(b.doc_info(b"mine").unwrap().unwrap().db_seq, seq);
    }
    assert_eq!(b.info().unwrap().doc_count, 50_000 + u64::from(seq > 50_000));
}

#[test]
fn little_memory_and_frequent_syncs_change_nothing() {
    let dir = sample_dir();
    compact(dir.path(), &["a.couch", "b.couch"]);
    compact(dir.path(), &["--memory", "1K", "--sync-bytes", "4K", "a.couch", "c.couch"]);
    let [b, c] = ["b.couch", "c.couch"].map(|name| std::fs::read(dir.path().join(name)).unwrap());
    assert_eq!(b, c);
}

#[test]
#[cfg_attr(not(feature = "encryption"), ignore = "needs encryption")]
fn encryption_follows_the_first_key() {
    let dir = sample_dir();
    let key = |id: &str| format!("{id}:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=");
    compact(dir.path(), &["--with-key", &key("k1"), "a.couch", "b.couch"]);
    compact(dir.path(), &["--with-key", &key("k2"), "--with-key", &key("k1"), "b.couch", "c.couch"]);
    let mut command = tool("couch_compact", dir.path());
    command.args(["--with-key", &key("k1"), "c.couch", "d.couch"]).assert().code(255).stdout("");
    compact(dir.path(), &["--with-key", &key("k2"), "c.couch", "d.couch"]);
}

/// What a failed compaction says; there must be nothing new in the folder.
fn refused(dir: &Path, arguments: &[&str], code: i32) -> String {
    let files = || std::fs::read_dir(dir).unwrap().count();
    let before = files();
    let assert = tool("couch_compact", dir).arg("--explain").args(arguments).assert().code(code).stdout("");
    assert_eq!(files(), before, "{arguments:?}");
    text(&assert.get_output().stderr)
}

#[test]
fn nothing_is_overwritten() {
    let dir = sample_dir();
    let dir = dir.path();
    std::fs::write(dir.join("mine"), "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", dir.join("link")).unwrap();
    let before = std::fs::read(dir.join("a.couch")).unwrap();
    for target in ["mine", "link", "a.couch", "./a.couch"] {
        for more in [&[][..], &["--online"]] {
            let said = refused(dir, &[more, &["a.couch", target]].concat(), 255);
            assert_eq!(said, format!("couch_compact: {target}: exists, and is not replaced\n"));
        }
    }
    assert_eq!(std::fs::read(dir.join("mine")).unwrap(), b"mine");
    assert_eq!(std::fs::read(dir.join("a.couch")).unwrap(), before);
}

#[test]
fn nonsense_is_refused() {
    let dir = sample_dir();
    for wrong in [
        &["a.couch"][..],
        &["-s", "5", "a.couch", "b"],
        &["-d", "-p", "5", "a.couch", "b"],
        &["-p", "yesterday", "a.couch", "b"],
        &["--memory", "1T", "a.couch", "b"],
        &["--sync-bytes", "0", "a.couch", "b"],
    ] {
        refused(dir.path(), wrong, 2);
    }
    assert_eq!(refused(dir.path(), &["a.couch", "missing/b"], 255).lines().count(), 2);
}

#[test]
fn damage_leaves_no_target() {
    let dir = sample_dir();
    let a = dir.path().join("a.couch");
    let db = Db::open(&a).unwrap();
    let position = db.doc_info(b"id-050").unwrap().unwrap().body_position;
    drop(db);
    damage(&a, position + 20);
    for arguments in
        [&["a.couch", "b.couch"][..], &["--online", "a.couch", "b.couch"], &["--online", "a.couch"]]
    {
        let said = refused(dir.path(), arguments, 255);
        let start = "Couchstore error: checksum fail\ncouch_compact: a.couch: checksum of the ";
        assert!(said.starts_with(start) && said.lines().count() == 2, "{said}");
    }
}

/// The largest sequence number.
const MAX_SEQ: u64 = (1 << 48) - 1;

#[test]
fn a_purge_sequence_that_cannot_grow_stays() {
    let dir = sample_dir();
    let db = Db::open(dir.path().join("a.couch")).unwrap();
    db.set_purge_seq(MAX_SEQ);
    db.commit().unwrap();
    for (target, more) in [("b", &["--online"][..]), ("c", &[])] {
        let summary = compact(dir.path(), &[more, &["-d", "a.couch", target]].concat());
        assert_eq!((&summary["purged"], &summary["after"]["purge_seq"]), (&20.into(), &MAX_SEQ.into()));
    }
}

#[test]
fn purging_is_recorded_also_if_the_index_counts_no_documents() {
    let dir = tempfile::tempdir().unwrap();
    let mut forge = Forge::new();
    let doc = Entry::deletion("a", 7);
    let (mut by_seq, by_id) = (forge.leaf(Tree::BySeq, &[&doc]), forge.leaf(Tree::ById, &[&doc]));
    by_seq.reduce = vec![0; 5];
    forge.header(7, Some(&by_seq), Some(&by_id), None);
    std::fs::write(dir.path().join("a"), &forge.bytes).unwrap();
    let summary = compact(dir.path(), &["-d", "a", "b"]);
    assert_eq!((&summary["purged"], &summary["after"]["purge_seq"]), (&1.into(), &7.into()));
}

#[test]
#[cfg_attr(not(feature = "encryption"), ignore = "needs encryption")]
fn version_11_is_not_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    fill(&OpenOptions::new().create(true).legacy_crc(true).open(dir.path().join("old")).unwrap());
    let key = ["--with-key", "k:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="];
    for more in [&["old", "new"][..], &["--online", "old", "new"], &["--online", "old"]] {
        let said = refused(dir.path(), &[&key, more].concat(), 255);
        assert_eq!(said, "couch_compact: old: version 11 cannot be encrypted; upgrade it with -u\n");
    }
    compact(dir.path(), &[&key[..], &["-u", "old", "new"]].concat());
    assert!(matches!(Db::open(dir.path().join("new")), Err(couchstore::Error::NoEncryptionKey { .. })));
}

/// The sizes of nodes are not in the file.
#[test]
fn nodes_of_a_given_size() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::create(dir.path().join("a.couch")).unwrap();
    let ids: Vec<_> = (0..3000).map(|number| format!("id-{number:05}")).collect();
    let docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), b"body")).collect();
    db.save(&docs, SaveOptions::default()).unwrap();
    db.commit().unwrap();
    let nodes = |name: &str| {
        let mut nodes = 0;
        let mut count = |_: usize, item: &couchstore::WalkItem<'_>| {
            nodes += u32::from(matches!(item, couchstore::WalkItem::Node { .. }));
            Ok(())
        };
        let db = Db::open(dir.path().join(name)).unwrap();
        db.walk_by_id(b"", ScanOptions::default(), &mut count).unwrap();
        nodes
    };
    compact(dir.path(), &["a.couch", "usual"]);
    compact(dir.path(), &["--node-size", "16K", "a.couch", "large"]);
    compact(dir.path(), &["--online", "--node-size", "16K", "a.couch", "online"]);
    assert!(nodes("large") * 5 < nodes("usual"));
    assert_eq!(nodes("large"), nodes("online"));
    for wrong in ["0", "63", "2M", "x"] {
        tool("couch_compact", dir.path()).args(["--node-size", wrong, "a.couch", "b"]).assert().code(2);
    }
}
