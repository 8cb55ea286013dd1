// SPDX-License-Identifier: Apache-2.0

//! `couch_create`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{json_lines, text, tool};
use couchstore::{Db, Document, EncryptionKey, KeyDerivation, LocalUpdate, OpenOptions, SaveOptions};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

fn create(dir: &Path, arguments: &[&str]) {
    tool("couch_create", dir).args(arguments).assert().success().stderr("");
}

fn docs(dir: &Path, file: &str) -> Vec<Value> {
    let assert = tool("couch_dbdump", dir).args(["--json", file]).assert().success();
    json_lines(&assert.get_output().stdout)
}

fn count(dir: &Path, file: &str) -> u64 {
    Db::open(dir.join(file)).unwrap().info().unwrap().doc_count
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn files_are_like_kv_engines() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    create(dir, &["-k", "1000", "-v", "4", "-f", "100", "-d", "300"]);
    let files = ["0.couch.1", "1.couch.1", "2.couch.1", "3.couch.1"];
    assert_eq!(names(dir), files);
    assert_eq!(files.iter().map(|file| count(dir, file)).sum::<u64>(), 1000);
    let lines = docs(dir, "2.couch.1");
    for (line, seq) in lines.iter().zip(1..) {
        assert_eq!(line["seq"], seq);
        assert_eq!(
            (&line["datatype"], &line["size"], line["body"].is_object()),
            (&1.into(), &300.into(), true)
        );
    }
    let db = Db::open(dir.join("2.couch.1")).unwrap();
    let state: Value = serde_json::from_slice(&db.local(b"_local/vbstate").unwrap().unwrap()).unwrap();
    assert_eq!(state["state"], "active");
    assert_eq!(state["snap_end"], lines.len().to_string());
    assert_eq!(state["max_cas"], lines.last().unwrap()["cas"]);
    assert_eq!(state["collections_supported"], true);
    let mut check = tool("couch_check", dir);
    check.args(["0.couch.1"]).assert().success();
}

#[test]
fn keys_per_vbucket_counts_each() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), &["-k", "7", "--keys-per-vbucket", "-v", "16", "-f", "3"]);
    for vbucket in 0..16 {
        assert_eq!(count(dir.path(), &format!("{vbucket}.couch.1")), 7, "{vbucket}");
    }
}

#[test]
fn a_seed_makes_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let made = |name: &str, more: &[&str]| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        create(
            &folder,
            &[&["-k", "500", "-t", "binarycompress", "--timestamp", "1700000000000000000"], more].concat(),
        );
        std::fs::read(folder.join("0.couch.1")).unwrap()
    };
    assert_eq!(made("a", &[]), made("b", &[]));
    assert_eq!(made("c", &["--seed", "5"]), made("d", &["--seed", "5"]));
    assert_ne!(made("e", &["--seed", "5"]), made("f", &["--seed", "6"]));
    assert_eq!(made("g", &["-o", "."]), made("h", &[]), "the folder does not matter");
}

#[test]
fn types_of_documents() {
    let dir = tempfile::tempdir().unwrap();
    for (name, snappy, content_meta, datatype) in [
        ("binary", false, "0x03", 0),
        ("binarycompress", true, "0x83", 0),
        ("json", false, "0x00", 1),
        ("jsoncompress", true, "0x80", 1),
    ] {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        create(dir.path(), &["-k", "2", "-t", name, "-o", name, "-d", "1000"]);
        for line in docs(&folder, "0.couch.1") {
            let found = (
                line["snappy"].as_bool().unwrap_or(false),
                &line["content_meta"],
                &line["datatype"],
                &line["size"],
            );
            assert_eq!(found, (snappy, &content_meta.into(), &datatype.into(), &1000.into()), "{name}");
            assert_eq!(line["physical_size"].as_u64().unwrap() < 200, snappy, "{name}");
        }
    }
    create(dir.path(), &["-k", "2", "-t", "jsoncompress", "-l", "-d", "1000"]);
    assert!(docs(dir.path(), "0.couch.1")[0]["physical_size"].as_u64().unwrap() > 600);
}

#[test]
fn namespaces() {
    let dir = tempfile::tempdir().unwrap();
    let first_id = |arguments: &[&str]| {
        let folder = tempfile::tempdir_in(dir.path()).unwrap();
        create(folder.path(), &[&["-k", "1"], arguments].concat());
        let db = Db::open(folder.path().join("0.couch.1")).unwrap();
        let mut found = Vec::new();
        db.changes_since(0, couchstore::ScanOptions::default(), &mut |info| {
            found = info.id.to_vec();
            Ok(())
        })
        .unwrap();
        found
    };
    assert_eq!(first_id(&[]), b"\0K0");
    assert_eq!(first_id(&["-n"]), b"K0");
    assert_eq!(first_id(&["-i", "8"]), b"\x08K0");
    assert_eq!(first_id(&["-i", "0x80", "-s", "12"]), b"\x80\x01K12");
}

#[test]
fn existing_files_are_left_alone_unless_reused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("1.couch.1"), "mine").unwrap();
    let assert = tool("couch_create", dir).args(["-v", "3", "-k", "10"]).assert().code(1).stdout("");
    assert_eq!(text(&assert.get_output().stderr).lines().count(), 1);
    assert_eq!(names(dir), ["1.couch.1"], "what was created before is removed");
    assert_eq!(std::fs::read(dir.join("1.couch.1")).unwrap(), b"mine");
    tool("couch_create", dir).args(["-v", "3", "-k", "10", "-r"]).assert().code(1).stdout("");
    assert_eq!(names(dir), ["1.couch.1"]);

    std::fs::remove_file(dir.join("1.couch.1")).unwrap();
    create(dir, &["-k", "10"]);
    create(dir, &["-k", "10", "-s", "5", "-r"]);
    assert_eq!(count(dir, "0.couch.1"), 15);
    assert_eq!(docs(dir, "0.couch.1").last().unwrap()["seq"], 20);
}

#[test]
#[cfg_attr(not(feature = "encryption"), ignore = "needs encryption")]
fn encrypted_files() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path(), &["-k", "10", "--with-key", "k:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="]);
    let key = EncryptionKey::new("k", &[b'A'; 32], KeyDerivation::KeyBased).unwrap();
    let db = OpenOptions::new().keys(Some(Arc::new(key))).open(dir.path().join("0.couch.1")).unwrap();
    assert_eq!(db.encryption_key_id(), Some(b"k".to_vec()));
    assert_eq!(db.get(b"\0K3").unwrap().unwrap().len(), 256);
}

#[test]
fn nonsense_is_refused() {
    let too_many = ["-k", "18446744073709551615", "--keys-per-vbucket", "-v", "2"];
    let beyond = ["-s", "18446744073709551615", "-k", "2"];
    for wrong in [
        &["-v", "0"][..],
        &["-v", "40000"],
        &["-f", "0"],
        &["-t", "xml"],
        &["-d", "999999999"],
        &["-n", "-i", "3"],
        &too_many,
        &beyond,
    ] {
        let dir = tempfile::tempdir().unwrap();
        tool("couch_create", dir.path()).args(wrong).assert().code(2).stdout("");
        assert!(names(dir.path()).is_empty(), "{wrong:?}");
    }
}

#[test]
fn numbers_may_run_out() {
    let dir = tempfile::tempdir().unwrap();
    // 21 numbers are left, four of them for vbucket 2.
    let arguments = ["-s", "18446744073709551595", "-k", "5", "-v", "4", "--keys-per-vbucket"];
    let assert = tool("couch_create", dir.path()).args(arguments).assert().code(1).stdout("");
    assert_eq!(
        text(&assert.get_output().stderr),
        "couch_create: there are not enough numbers for all documents\n"
    );
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_missing_folder_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("file"), "").unwrap();
    for folder in ["new", "one/two/three/", "./four/../five", &format!("{}/six", dir.display())] {
        create(dir, &["-k", "3", "-o", folder]);
        assert_eq!(count(&dir.join(folder), "0.couch.1"), 3, "{folder}");
    }
    for folder in ["file", "file/below"] {
        let assert = tool("couch_create", dir).args(["-k", "3", "-o", folder]).assert().code(1).stdout("");
        assert.stderr("couch_create: file: cannot create: File exists (os error 17)\n");
    }
}

/// What was made for files that could not be made goes away, and nothing else.
#[test]
fn folders_of_a_failure_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::create_dir(dir.join("old")).unwrap();
    // No file may grow beyond a block of 512 bytes (1024 with some shells).
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" -k 100 -o old/new/newer";
    let mut command = Command::new("sh");
    let output = command.current_dir(dir).args(["-c", script]).arg(common::program("couch_create")).output();
    assert_eq!(output.unwrap().status.code(), Some(1));
    assert_eq!(names(dir), ["old"]);
    assert_eq!(names(&dir.join("old")), [""; 0]);
}

#[test]
fn sequence_numbers_may_run_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("0.couch.1");
    let db = Db::create(&file).unwrap();
    let last = Document { db_seq: (1 << 48) - 3, ..Document::new(b"last", b"1") };
    db.save(&[last], SaveOptions::new().keep_sequences(true)).unwrap();
    db.commit().unwrap();
    create(dir.path(), &["-n", "-r", "-k", "2"]);
    let before = std::fs::read(&file).unwrap();
    let mut command = tool("couch_create", dir.path());
    command.args(["-n", "-r", "-k", "1", "-s", "2"]).assert().code(1).stdout("");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    tool("couch_check", dir.path()).arg("0.couch.1").assert().success();
}

#[test]
fn files_that_are_added_to_keep_their_state() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::create(dir.path().join("0.couch.1")).unwrap();
    let state =
        br#"{"state":"replica","max_cas":"18000000000000000000","collections_supported":true,"manifest":7}"#;
    db.save_local(&[LocalUpdate { id: b"_local/vbstate", body: Some(state) }]).unwrap();
    db.commit().unwrap();
    drop(db);
    create(dir.path(), &["-r", "-k", "3"]);
    let db = Db::open(dir.path().join("0.couch.1")).unwrap();
    let state: Value = serde_json::from_slice(&db.local(b"_local/vbstate").unwrap().unwrap()).unwrap();
    assert_eq!((&state["state"], &state["manifest"]), (&"replica".into(), &7.into()));
    assert_eq!((&state["snap_end"], &state["max_cas"]), (&"3".into(), &"18000000000000000000".into()));
}

#[test]
fn ids_with_and_without_collections_are_not_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    create(dir, &["-k", "3", "-n"]);
    let before = std::fs::read(dir.join("0.couch.1")).unwrap();
    let assert = tool("couch_create", dir).args(["-r", "-k", "3", "-v", "2"]).assert().code(1).stdout("");
    let expected = "couch_create: ./0.couch.1: its ids do not begin with a collection; add to it with -n\n";
    assert_eq!(text(&assert.get_output().stderr), expected);
    assert_eq!(names(dir), ["0.couch.1"]);
    assert_eq!(std::fs::read(dir.join("0.couch.1")).unwrap(), before);
    create(dir, &["-k", "3", "-o", ".", "-r", "-n", "-s", "3"]);
    std::fs::remove_file(dir.join("0.couch.1")).unwrap();
    create(dir, &["-k", "3", "-i", "8"]);
    tool("couch_create", dir).args(["-r", "-n"]).assert().code(1).stdout("");
    create(dir, &["-k", "3", "-r", "-i", "9"]);
    assert_eq!(count(dir, "0.couch.1"), 6);
}

#[test]
fn large_commits_take_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let tool = common::program("couch_create");
    // 200 MB of bodies in one commit, in 128 MiB of address space.
    let script = "ulimit -v 131072; exec \"$0\" -k 20000 -f 20000 -d 10000 -t binarycompress";
    let output = Command::new("sh").current_dir(dir.path()).args(["-c", script]).arg(tool).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(count(dir.path(), "0.couch.1"), 20_000);
}

#[test]
fn listed_vbuckets_alone_get_files() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    create(dir, &["-k", "20", "0a", "700r", "3d"]);
    assert_eq!(names(dir), ["0.couch.1", "3.couch.1", "700.couch.1"]);
    let state = |file: &str| -> Value {
        let db = Db::open(dir.join(file)).unwrap();
        serde_json::from_slice(&db.local(b"_local/vbstate").unwrap().unwrap()).unwrap()
    };
    let states = ["0.couch.1", "3.couch.1", "700.couch.1"].map(|file| state(file)["state"].clone());
    assert_eq!(states, ["active", "dead", "replica"]);
    assert_eq!(
        ["0", "3", "700"].iter().map(|number| count(dir, &format!("{number}.couch.1"))).sum::<u64>(),
        20
    );
    // Keys are where clients of a server with 1024 vbuckets look for them.
    for line in docs(dir, "700.couch.1") {
        let key = line["id"].as_str().unwrap().rsplit(')').next().unwrap();
        assert_eq!((crc32fast::hash(key.as_bytes()) >> 16 & 0x7fff) % 1024, 700, "{key}");
    }
    let assert =
        tool("couch_create", dir).args(["-v", "8", "--keys-per-vbucket", "-k", "2", "7", "8"]).assert();
    assert.code(2).stdout("").stderr("couch_create: list vbuckets once, with numbers below 8\n");
    tool("couch_create", dir).args(["1", "1"]).assert().code(2);
    tool("couch_create", dir).args(["1x"]).assert().code(2);
}
