// SPDX-License-Identifier: Apache-2.0

//! `couch_dbinfo`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::golden::Golden;
use common::{assert_expected, json_lines, text, tool};
use couchstore::{
    Db, Document, EncryptionKey, KeyDerivation, KeyStore, KeyStoreFailed, LocalUpdate, OpenOptions,
    SaveOptions,
};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// New Year 2026, noon, in nanoseconds.
const NOON: u64 = 1_767_268_800_000_000_000;

/// Saves and commits three times; nothing in the file depends on when or where it is made.
fn fill(db: &Db) {
    for round in 0..3u64 {
        let ids: Vec<_> = (0..40 + round).map(|number| format!("id-{number:03}")).collect();
        let mut docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), &[b'x'; 100])).collect();
        docs[0] = Document::deletion(b"id-000");
        db.save(&docs, SaveOptions::default()).unwrap();
        db.save_local(&[LocalUpdate { id: b"_local/state", body: Some(b"{}") }]).unwrap();
        db.set_purge_seq(round);
        db.commit_with(NOON + round, None).unwrap();
    }
}

/// A folder with one file of four headers: the first one, and three commits.
fn sample() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::create(dir.path().join("0.couch.1")).unwrap();
    fill(&db);
    db.close().unwrap();
    dir
}

fn stdout_of(dir: &Path, arguments: &[&str]) -> String {
    let assert = tool("couch_dbinfo", dir).args(arguments).assert().success().stderr("");
    text(&assert.get_output().stdout)
}

/// The positions of the headers that are shown.
fn positions(dir: &Path, arguments: &[&str]) -> Vec<u64> {
    let assert = tool("couch_dbinfo", dir).arg("--json").args(arguments).assert().success();
    let lines = json_lines(&assert.get_output().stdout);
    lines.iter().map(|line| line["header_position"].as_u64().unwrap()).collect()
}

/// Changes a byte.
fn damage(path: &Path, offset: u64) {
    let mut file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&[byte[0] ^ 0x55]).unwrap();
}

#[test]
fn text_is_as_documented() {
    let dir = sample();
    assert_expected("dbinfo.txt", &stdout_of(dir.path(), &["0.couch.1"]));
    assert_expected("dbinfo-trees.txt", &stdout_of(dir.path(), &["--trees", "0.couch.1"]));
    assert_expected("dbinfo-all.txt", &stdout_of(dir.path(), &["-i", "0.couch.1"]));
    assert_expected("dbinfo.json", &stdout_of(dir.path(), &["--json", "--trees", "0.couch.1"]));
}

#[test]
fn headers_are_iterated_in_both_directions() {
    let dir = sample();
    let dir = dir.path();
    let backward = positions(dir, &["-i", "0.couch.1"]);
    assert_eq!(backward.len(), 4);
    assert!(backward.is_sorted_by(|a, b| a > b));
    let mut forward = backward.clone();
    forward.reverse();
    for arguments in [
        &["-i", "backward", "0.couch.1"][..],
        &["0.couch.1", "--iterate-headers"],
        &["-ibackward", "0.couch.1"],
        &["-il", "0.couch.1"],
        &["-li", "0.couch.1"],
        &["-il", "--", "0.couch.1"],
    ] {
        assert_eq!(positions(dir, arguments), backward, "{arguments:?}");
    }
    for arguments in [
        &["-i", "forward", "0.couch.1"][..],
        &["-iforward", "0.couch.1"],
        &["--iterate-headers=forward", "0.couch.1"],
    ] {
        assert_eq!(positions(dir, arguments), forward, "{arguments:?}");
    }
    let second = backward[2].to_string();
    assert_eq!(positions(dir, &["-i", "-o", &second, "0.couch.1"]), backward[2..]);
    assert_eq!(positions(dir, &["-iforward", "-o", &second, "0.couch.1"]), forward[1..]);
    assert_eq!(positions(dir, &["-lio", &second, "0.couch.1"]), backward[2..]);
}

#[test]
fn environment_asks_for_all_headers() {
    let dir = sample();
    let count = |arguments: &[&str]| {
        let mut command = tool("couch_dbinfo", dir.path());
        let assert = command.env("ITERATE_HEADERS", "1").arg("--json").args(arguments).assert().success();
        json_lines(&assert.get_output().stdout).len()
    };
    assert_eq!(count(&["0.couch.1"]), 4);
    assert_eq!(count(&["-iforward", "0.couch.1"]), 4);
}

#[test]
fn one_header_at_an_offset() {
    let dir = sample();
    let all = positions(dir.path(), &["-i", "0.couch.1"]);
    for position in &all {
        assert_eq!(positions(dir.path(), &["-o", &position.to_string(), "0.couch.1"]), [*position]);
        assert_eq!(positions(dir.path(), &["-o", &format!("{position:#x}"), "0.couch.1"]), [*position]);
    }
    for offset in ["100", "4096"] {
        let assert = tool("couch_dbinfo", dir.path()).args(["-o", offset, "0.couch.1"]).assert();
        let message = format!("couch_dbinfo: 0.couch.1: no header at offset {offset}\n");
        assert.code(1).stdout("").stderr(message);
    }
    for arguments in [&["-o", "9223372036854775807"][..], &["-i", "-o", "0x10000000"]] {
        let assert = tool("couch_dbinfo", dir.path()).arg("0.couch.1").args(arguments).assert();
        assert.code(1).stdout("").stderr(predicates::str::contains("is behind the end"));
    }
    tool("couch_dbinfo", dir.path()).args(["-o", "1x", "0.couch.1"]).assert().code(2);
    tool("couch_dbinfo", dir.path()).args(["-o", "-1", "0.couch.1"]).assert().code(2);
}

#[test]
fn timestamps_in_local_time() {
    let dir = sample();
    let mut command = tool("couch_dbinfo", dir.path());
    let assert = command.args(["-l", "0.couch.1"]).env("TZ", "IST-5:30").assert().success();
    let shown = text(&assert.get_output().stdout);
    assert!(shown.contains("   timestamp: 2026-01-01T17:30:00.000000+05:30\n"), "{shown}");
}

#[test]
fn what_is_no_time_zone_means_utc() {
    let dir = sample();
    let fifo = std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap();
    assert!(fifo.success());
    let endless = std::fs::File::create(dir.path().join("endless")).unwrap();
    endless.set_len(1 << 50).or_else(|_| endless.set_len(1 << 40)).unwrap();
    std::fs::write(dir.path().join("text"), "no time zone").unwrap();
    for zone in
        ["/dev/zero", ":/dev/zero", "pipe", ":pipe", "./pipe", "endless", ".", "text", "none", "/dev/null"]
    {
        let mut command = tool("couch_dbinfo", dir.path());
        // Without a limit, one that is read without end would never fail.
        command.args(["-l", "0.couch.1"]).env("TZ", zone).timeout(Duration::from_secs(120));
        let shown = text(&command.assert().success().stderr("").get_output().stdout);
        let expected = "   timestamp: 2026-01-01T12:00:00.000000Z\n";
        assert!(shown.contains(expected), "{zone}: {shown}");
    }
}

#[test]
fn an_error_in_one_file_does_not_hide_the_others() {
    let dir = sample();
    std::fs::write(dir.path().join("empty"), b"").unwrap();
    std::fs::write(dir.path().join("text"), [b'x'; 30]).unwrap();
    let files = ["none", "empty", "text", ".", "0.couch.1"];
    let assert = tool("couch_dbinfo", dir.path()).args(files).assert().code(1);
    assert_expected("dbinfo.txt", &text(&assert.get_output().stdout));
    assert_expected("dbinfo-errors.txt", &text(&assert.get_output().stderr));
}

#[test]
fn no_file_is_a_wrong_call() {
    let dir = sample();
    tool("couch_dbinfo", dir.path()).assert().code(1);
    tool("couch_dbinfo", dir.path()).arg("-i").assert().code(2);
    tool("couch_dbinfo", dir.path()).args(["--nonsense", "0.couch.1"]).assert().code(2);
}

#[test]
fn damaged_headers_are_listed() {
    let dir = sample();
    let all = positions(dir.path(), &["-i", "0.couch.1"]);
    let path = dir.path().join("0.couch.1");
    damage(&path, all[0] + 20);
    damage(&path, all[2] + 20);
    let assert = tool("couch_dbinfo", dir.path()).arg("0.couch.1").assert().code(1).stdout("");
    assert.stderr("Failed to open \"0.couch.1\": checksum fail\n");
    let assert =
        tool("couch_dbinfo", dir.path()).args(["--explain", "0.couch.1"]).assert().code(1).stdout("");
    let stderr = text(&assert.get_output().stderr);
    assert!(stderr.contains("\ncouch_dbinfo: 0.couch.1: checksum of the"), "{stderr}");
    assert!(stderr.contains("couch_dbck recovers it"), "{stderr}");
    let assert = tool("couch_dbinfo", dir.path()).args(["-i", "--json", "0.couch.1"]).assert().code(1);
    let shown: Vec<_> = json_lines(&assert.get_output().stdout);
    let shown: Vec<_> = shown.iter().map(|line| line["header_position"].as_u64().unwrap()).collect();
    assert_eq!(shown, [all[1], all[3]]);
    let stderr = text(&assert.get_output().stderr);
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    for position in [all[0], all[2]] {
        assert!(
            stderr.contains(&format!("couch_dbinfo: header at {position}: 0.couch.1: checksum")),
            "{stderr}"
        );
    }
    // A header that is asked for by its offset is shown whatever became of the newest one.
    assert_eq!(positions(dir.path(), &["-o", &all[1].to_string(), "0.couch.1"]), [all[1]]);
}

#[test]
fn damaged_trees_matter_only_if_they_are_read() {
    let dir = sample();
    let path = dir.path().join("0.couch.1");
    let root = Db::open(&path).unwrap().header().by_id.unwrap().position;
    damage(&path, root + 10);
    assert_expected("dbinfo.txt", &stdout_of(dir.path(), &["0.couch.1"]));
    let assert = tool("couch_dbinfo", dir.path()).args(["--trees", "0.couch.1"]).assert().code(1).stdout("");
    let stderr = text(&assert.get_output().stderr);
    assert!(stderr.contains(&format!("bytes at offset {root} is not")), "{stderr}");
}

#[test]
fn a_header_without_counts_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("short.couch");
    let db = Db::create(&path).unwrap();
    db.save(&[Document::new(b"a", b"b")], SaveOptions::default()).unwrap();
    db.commit().unwrap();
    db.close().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    // The by-id root loses its last byte: one less in its size, in the header's length, and another checksum.
    bytes.pop();
    let header = &mut bytes[4096..];
    header[4] -= 1;
    header[1 + 8 + 22] -= 1;
    let crc = crc_fast::crc32_iscsi(&header[9..]);
    header[5..9].copy_from_slice(&crc.to_be_bytes());
    std::fs::write(&path, bytes).unwrap();
    let assert = tool("couch_dbinfo", dir.path()).arg("short.couch").assert().code(1).stdout("");
    assert.stderr("couch_dbinfo: short.couch: header at 4096: expected a by-id reduce value of 16 bytes\n");
}

#[test]
fn files_of_version_11_have_no_timestamp() {
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions::new().create(true).legacy_crc(true);
    fill(&options.open(dir.path().join("old.couch")).unwrap());
    let shown = stdout_of(dir.path(), &["old.couch"]);
    assert!(shown.contains("   file format version: 11\n"), "{shown}");
    assert!(shown.contains("   crc: CRC-32\n"), "{shown}");
    assert!(shown.contains("   timestamp: 0\n"), "{shown}");
}

/// A key store with one key.
struct OneKey(EncryptionKey);

impl KeyStore for OneKey {
    fn key(&self, _id: &[u8]) -> Result<Option<EncryptionKey>, KeyStoreFailed> {
        Ok(Some(self.0.clone()))
    }
}

#[test]
#[cfg_attr(not(feature = "encryption"), ignore = "needs encryption")]
fn encrypted_files_need_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let key = OneKey(EncryptionKey::new("my:key", &[0x42; 32], KeyDerivation::KeyBased).unwrap());
    let options = OpenOptions::new().create(true).keys(Some(Arc::new(key)));
    fill(&options.open(dir.path().join("secret.couch")).unwrap());
    let assert =
        tool("couch_dbinfo", dir.path()).args(["--explain", "secret.couch"]).assert().code(1).stdout("");
    let expected = "expected the key \"my:key\", none was given";
    assert.stderr(format!(
        "Failed to open \"secret.couch\": encryption key not found\n\
         couch_dbinfo: secret.couch: encrypted, and no key for it: {expected}\n"
    ));
    let key = "my:key:QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
    let shown = stdout_of(dir.path(), &["--with-key", key, "--trees", "secret.couch"]);
    assert!(shown.contains("   Encryption key: my:key\n"), "{shown}");
    let mut command = tool("couch_dbinfo", dir.path());
    command
        .args(["--with-key", "@-", "secret.couch"])
        .write_stdin(format!("# mine\n{key}\n"))
        .assert()
        .success();
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let dir = sample();
    let mut command = std::process::Command::new(common::program("couch_dbinfo"));
    let many = vec!["0.couch.1"; 3000];
    command.current_dir(dir.path()).args(many).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut start = [0; 7];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    assert_eq!(&start, b"DB Info");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn figures_are_those_of_the_original() {
    let Some(golden) = Golden::find() else { return };
    let mut compared = 0;
    for name in golden.names() {
        let dump = golden.dump(&name);
        let mut command = tool("couch_dbinfo", Path::new("/"));
        let assert = command.arg("--json").arg(golden.path(&name)).args(golden.key_options(&name)).assert();
        if dump[0] != "open 0" {
            assert.code(1);
            continue;
        }
        let output = assert.success();
        let found = &json_lines(&output.get_output().stdout)[0];
        let words: Vec<_> = dump[1].split(' ').collect();
        let used = ["data_size", "btree_size"].iter().map(|key| found[key].as_u64().unwrap()).sum::<u64>();
        let found = format!(
            "header {} v{} seq {} purge {} ts {} docs {} deleted {} space {used} file {}",
            found["header_position"],
            found["version"],
            found["update_seq"],
            found["purge_seq"],
            found["timestamp"].as_str().unwrap_or("0"),
            found["doc_count"],
            found["deleted_count"],
            found["file_size"]
        );
        assert_eq!(found, words.join(" "), "{name}");
        compared += 1;
    }
    assert!(compared >= 20, "{compared} files");
}
