// SPDX-License-Identifier: Apache-2.0

//! `couch_dbdump`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::golden::Golden;
use common::{assert_expected, damage, json_lines, sample, text, tool};
use couchstore::{Db, Document, LocalUpdate, SaveOptions};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A folder with "a.couch", which holds documents of every kind.
fn every_kind() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    sample::every_kind(&dir.path().join("a.couch"));
    dir
}

fn stdout_of(dir: &Path, arguments: &[&str]) -> String {
    let assert = tool("couch_dbdump", dir).args(arguments).assert().success().stderr("");
    text(&assert.get_output().stdout)
}

fn lines_of(dir: &Path, arguments: &[&str]) -> Vec<Value> {
    json_lines(stdout_of(dir, &[&["--json"], arguments].concat()).as_bytes())
}

fn ids(lines: &[Value]) -> Vec<String> {
    lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn text_reads_as_it_always_did() {
    let dir = tempfile::tempdir().unwrap();
    sample::pymc0(&dir.path().join("0.couch.1"));
    assert_expected("dbdump-pymc0.txt", &stdout_of(dir.path(), &["0.couch.1"]));
}

#[test]
fn everything_is_as_documented() {
    let dir = every_kind();
    // The bodies are bytes, which the file of expected output is not: JSON shows them, and hexadecimal text.
    assert_expected("dbdump.json", &stdout_of(dir.path(), &["--json", "a.couch"]));
    assert_expected("dbdump-hex.txt", &stdout_of(dir.path(), &["--hex-body", "a.couch"]));
    assert_expected("dbdump-no-body.txt", &stdout_of(dir.path(), &["--no-body", "--byid", "a.couch"]));
    assert_expected("dbdump-tree.txt", &stdout_of(dir.path(), &["--tree", "seq", "a.couch"]));
    assert_expected("dbdump-tree.json", &stdout_of(dir.path(), &["--tree", "local", "--json", "a.couch"]));
    assert_expected("dbdump-map.txt", &stdout_of(dir.path(), &["--map", "a.couch"]));
    assert_expected(
        "dbdump-headers.txt",
        &stdout_of(dir.path(), &["--dump-headers", "--iterate-headers", "--local", "--details", "a.couch"]),
    );
    assert_expected("dbdump-local.txt", &stdout_of(dir.path(), &["--local", "a.couch"]));
}

#[test]
fn json_keys_come_in_order() {
    let dir = every_kind();
    let out = stdout_of(dir.path(), &["--json", "--no-namespace", "a.couch"]);
    let keys =
        ["body", "cas", "content_meta", "datatype", "datatype_as_text", "expiry", "file_offset", "flags"];
    let more = ["id", "physical_size", "rev", "seq", "size"];
    let line = out.lines().next().unwrap();
    let places: Vec<_> =
        keys.iter().chain(&more).map(|key| line.find(&format!("\"{key}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{line}");
    assert!(!line.contains("\"deleted\":"), "{line}");
    let deleted = out.lines().find(|line| line.contains("\"id\":\"deleted\"")).unwrap();
    assert!(deleted.contains("\"deleted\":\"explicit\""), "{deleted}");
    assert!(deleted.contains("\"delete_time\":1600000000,") && !deleted.contains("expiry"), "{deleted}");
}

#[test]
fn bodies_go_to_pipes_byte_for_byte() {
    let dir = every_kind();
    let dump = |option: &str| {
        let mut command = tool("couch_dbdump", dir.path());
        command.args(["--no-namespace", option, "a.couch"]).assert().success().get_output().stdout.clone()
    };
    let out = dump("--raw-body");
    assert!(out.windows(15).any(|part| part == b"data: text\x1b[2J\n"), "control characters");
    assert!(out.windows(9).any(|part| part == b"data: \xff\0\n"), "bytes");
    assert!(text(&out.iter().map(|byte| byte & 0x7f).collect::<Vec<_>>()).contains("id: resolved\\a\n"));
    let out = dump("--byseq");
    assert!(out.windows(8).any(|part| part == b"data: \xff\n"), "as the original, up to a zero byte");
}

#[test]
fn order_and_choice() {
    let dir = every_kind();
    let dir = dir.path();
    let by_seq = lines_of(dir, &["a.couch"]);
    assert_eq!(
        by_seq.iter().map(|line| line["seq"].as_u64().unwrap()).collect::<Vec<_>>(),
        (1..=12).collect::<Vec<_>>()
    );
    assert_eq!(lines_of(dir, &["--byseq", "a.couch"]), by_seq);
    let by_id = ids(&lines_of(dir, &["--byid", "--no-namespace", "a.couch"]));
    assert!(by_id.is_sorted() && by_id.len() == 12, "{by_id:?}");
    assert_eq!(ids(&lines_of(dir, &["--no-namespace", "--key", "packed", "a.couch"])), ["packed"]);
    assert_eq!(lines_of(dir, &["--no-body", "a.couch"])[0]["body"], Value::Null);
    let local = lines_of(dir, &["--local", "--key", "_local/a", "a.couch"]);
    assert_eq!(local[0]["value"], serde_json::json!({}));
    for missing in [&["--key", "nothing", "a.couch"][..], &["--local", "--key", "nothing", "a.couch"]] {
        let assert = tool("couch_dbdump", dir).arg("--json").args(missing).assert();
        let said = "Failed to dump database \"a.couch\": document not found\n";
        assert.code(1).stdout("").stderr(said);
        let assert = tool("couch_dbdump", dir).args(["--json", "--explain"]).args(missing).assert();
        assert.code(1).stdout("").stderr(format!("{said}couch_dbdump: a.couch: no document nothing\n"));
    }
}

#[test]
fn older_headers_are_dumped() {
    let dir = every_kind();
    let dir = dir.path();
    let positions = |arguments: &[&str]| {
        let lines = lines_of(dir, &[&["--dump-headers", "--details"], arguments, &["a.couch"]].concat());
        let positions = lines.iter().filter_map(|line| line.get("header_position"));
        positions.map(|position| position.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = [8192, 4096, 0].map(|position| format!("{position:#018x}"));
    assert_eq!(positions(&["--iterate-headers"]), all);
    assert_eq!(positions(&[]), all[..1]);
    assert_eq!(positions(&["--header-offset", "4096"]), all[1..2]);
    let at = |offset: &str| lines_of(dir, &["--header-offset", offset, "a.couch"]).len();
    assert_eq!([at("0x2000"), at("4096"), at("0")], [12, 11, 0]);
    assert_eq!(lines_of(dir, &["--iterate-headers", "a.couch"]).len(), 12 + 11);
    for wrong in ["1", "12288", "0xfffffff000"] {
        tool("couch_dbdump", dir).args(["--header-offset", wrong, "a.couch"]).assert().code(1).stdout("");
    }
    damage(&dir.join("a.couch"), 8192 + 30);
    tool("couch_dbdump", dir).arg("a.couch").assert().code(1).stdout("");
    let assert = tool("couch_dbdump", dir).args(["--json", "--iterate-headers", "a.couch"]).assert().code(1);
    assert_eq!(json_lines(&assert.get_output().stdout).len(), 11);
    assert_eq!(text(&assert.get_output().stderr).lines().count(), 1);
}

#[test]
fn collections_are_decoded_unless_told_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tool("couch_create", dir).args(["-k", "3", "-i", "0x123"]).assert().success();
    assert_eq!(
        ids(&lines_of(dir, &["0.couch.1"])),
        ["(collection:0x123)K0", "(collection:0x123)K1", "(collection:0x123)K2"]
    );
    assert_eq!(lines_of(dir, &["--collection", "291", "--key", "K1", "0.couch.1"]).len(), 1);
    tool("couch_dbdump", dir).args(["--key", "K1", "0.couch.1"]).assert().code(1);
    let raw = lines_of(dir, &["--no-namespace", "--details", "0.couch.1"]);
    assert_eq!(raw[0]["id"], "\u{fffd}\u{2}K0");
    assert_eq!((&raw[0]["id_hex"], &raw[0]["id_not_utf8"]), (&"a3024b30".into(), &true.into()));
    sample::pymc0(&dir.join("plain"));
    assert_eq!(ids(&lines_of(dir, &["--no-namespace", "plain"])), ["pymc0"]);
    for decoded in [&["--namespace", "plain"][..], &["plain"]] {
        assert_eq!(ids(&lines_of(dir, decoded)), ["(collection:0x70)ymc0"]);
    }
}

#[test]
fn hostile_text_never_reaches_a_terminal_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::create(dir.path().join("a.couch")).unwrap();
    let nasty = "\u{1b}]0;x\u{7}\u{9b}31m\u{7f}";
    db.save(&[Document::new(nasty.as_bytes(), nasty.as_bytes())], SaveOptions::default()).unwrap();
    let json = serde_json::to_vec(nasty).unwrap();
    db.save_local(&[LocalUpdate { id: nasty.as_bytes(), body: Some(&json) }]).unwrap();
    db.commit().unwrap();
    for arguments in [&["--json"][..], &["--json", "--local"], &["--no-body"], &["--no-body", "--local"]] {
        for more in [&[][..], &["--tree", "id"], &["--map"]] {
            if !more.is_empty() && arguments.contains(&"--local") {
                continue;
            }
            let out = stdout_of(dir.path(), &[arguments, more, &["a.couch"]].concat());
            assert!(out.chars().all(|c| c == '\n' || !c.is_control()), "{out:?}");
        }
    }
    let line = &lines_of(dir.path(), &["--no-namespace", "a.couch"])[0];
    assert_eq!((&line["id"], &line["body"]), (&nasty.into(), &nasty.into()), "nothing is lost");
}

#[test]
fn damage_is_told_of_and_stepped_over() {
    let dir = every_kind();
    let dir = dir.path();
    let file = dir.join("a.couch");
    let offset =
        lines_of(dir, &["--no-namespace", "--key", "json", "a.couch"])[0]["file_offset"].as_u64().unwrap();
    damage(&file, offset + 10);
    let assert = tool("couch_dbdump", dir).args(["--json", "--no-namespace", "a.couch"]).assert().code(1);
    let lines = json_lines(&assert.get_output().stdout);
    assert_eq!(lines.len(), 12);
    assert_eq!((lines[0].get("size"), &lines[0]["body"]), (None, &Value::Null));
    let shown = tool("couch_dbdump", dir).arg("a.couch").assert().code(1);
    let shown = String::from_utf8_lossy(&shown.get_output().stdout).into_owned();
    assert!(shown.contains("     could not read document body: checksum fail\n"), "{shown}");
    let said = text(&assert.get_output().stderr);
    assert!(
        said.starts_with("couch_dbdump: document json, seq 1: a.couch: checksum of the 9 bytes"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
    tool("couch_dbdump", dir).args(["--no-body", "a.couch"]).assert().success();

    let root = lines_of(dir, &["--tree", "seq", "a.couch"])[0]["position"].as_u64().unwrap();
    damage(&file, root + 10);
    for arguments in [&[][..], &["--tree", "seq"], &["--map"]] {
        let assert = tool("couch_dbdump", dir).args(arguments).arg("a.couch").assert().code(1);
        assert_eq!(text(&assert.get_output().stderr).lines().count(), 1, "{arguments:?}");
    }
    let by_id = tool("couch_dbdump", dir).args(["--byid", "--no-body", "a.couch"]).assert().success();
    assert!(text(&by_id.get_output().stdout).ends_with("\nTotal docs: 12\n"));
}

#[test]
fn one_bad_file_does_not_keep_the_others_from_being_dumped() {
    let dir = every_kind();
    let assert = tool("couch_dbdump", dir.path()).args(["--json", "missing", "a.couch"]).assert().code(1);
    assert_eq!(json_lines(&assert.get_output().stdout).len(), 12);
    assert!(text(&assert.get_output().stderr).starts_with("Failed to open \"missing\": "));
}

#[test]
fn options_that_exclude_each_other() {
    for wrong in [&["--byid", "--byseq"][..], &["--tree", "id", "--local"], &["--map", "--key", "x"]] {
        tool("couch_dbdump", Path::new(".")).args(wrong).arg("a.couch").assert().code(2).stdout("");
    }
    tool("couch_dbdump", Path::new(".")).assert().code(1).stdout("");
    tool("couch_dbdump", Path::new(".")).arg("--json").assert().code(2).stdout("");
}

#[test]
fn tree_may_have_a_value_or_be_followed_by_a_file() {
    let dir = every_kind();
    let dir = dir.path();
    let of = |arguments: &[&str]| stdout_of(dir, &[arguments, &["a.couch"]].concat());
    assert_eq!(of(&["--tree"]), of(&["--tree", "seq"]));
    assert_eq!(of(&["--byid", "--tree"]), of(&["--tree=id"]));
    assert_eq!(of(&["--local", "--tree"]), of(&["--tree", "local"]));
    assert_ne!(of(&["--tree"]), of(&["--tree=id"]));
}

#[test]
fn views_are_not_supported() {
    let dir = every_kind();
    let assert = tool("couch_dbdump", dir.path()).args(["--view", "a.couch"]).assert().code(1).stdout("");
    assert.stderr("couch_dbdump: view files are not supported\n");
}

#[test]
fn files_of_the_original() {
    let Some(golden) = Golden::find() else { return };
    for name in golden.names() {
        let expected = golden.dump(&name);
        let opens = expected.iter().any(|line| line == "open 0");
        let path = golden.path(&name);
        let mut command = tool("couch_dbdump", Path::new("."));
        let output = command
            .args(["--json", "--details"])
            .args(golden.key_options(&name))
            .arg(&path)
            .output()
            .unwrap();
        let readable = opens && expected.iter().any(|line| line == "changes_since 0");
        assert_eq!(output.status.code(), Some(i32::from(!readable)), "{name}");
        let first_dump = expected.iter().take_while(|line| !line.starts_with("changes_since"));
        let wanted: Vec<(u64, String)> =
            first_dump.filter(|line| line.starts_with("doc ")).map(|line| seq_and_id(line)).collect();
        let found: Vec<_> = json_lines(&output.stdout).iter().map(seq_and_hex).collect();
        assert_eq!(found, wanted, "{name}");
    }
}

/// From a line "doc SEQ ID-HEX ...".
fn seq_and_id(line: &str) -> (u64, String) {
    let mut fields = line.split(' ').skip(1);
    let seq = fields.next().unwrap().parse().unwrap();
    (seq, fields.next().unwrap().replace('-', ""))
}

fn seq_and_hex(line: &Value) -> (u64, String) {
    let id = line["id"].as_str().unwrap();
    let hex = id.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    (line["seq"].as_u64().unwrap(), line["id_hex"].as_str().map_or(hex, str::to_owned))
}

#[test]
fn a_full_disk_behind_standard_output_is_told_once() {
    let dir = every_kind();
    for more in [&[][..], &["--json"], &["--map"], &["--iterate-headers"]] {
        let mut command = Command::new(common::program("couch_dbdump"));
        command.current_dir(dir.path()).args(more).args(["a.couch"; 40]);
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{more:?}");
        let said = text(&output.stderr);
        assert!(said.starts_with("couch_dbdump: standard output: ") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_key_may_be_any_bytes() {
    let dir = every_kind();
    let mut command = tool("couch_dbdump", dir.path());
    let assert = command
        .args(["--json", "--details", "--no-namespace", "--key"])
        .arg(OsStr::from_bytes(b"strange\xff"));
    let assert = assert.arg("a.couch").assert();
    let lines = json_lines(&assert.success().get_output().stdout);
    assert_eq!((lines.len(), &lines[0]["id_hex"]), (1, &"737472616e6765ff".into()));
    let db = Db::open(dir.path().join("a.couch")).unwrap();
    db.save_local(&[LocalUpdate { id: b"\xfe", body: Some(b"1") }]).unwrap();
    db.save(&[Document::new(b"\x08\xff", b"1")], SaveOptions::default()).unwrap();
    db.commit().unwrap();
    for (more, key) in [("--local", &b"\xfe"[..]), ("--collection=8", b"\xff")] {
        let mut command = tool("couch_dbdump", dir.path());
        command.arg(more).arg("--key").arg(OsStr::from_bytes(key)).arg("a.couch").assert().success();
    }
}

#[test]
fn local_documents_beside_damage_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a");
    let db = Db::create(&file).unwrap();
    let ids: Vec<_> = (0..100).map(|number| format!("_local/{number:02}")).collect();
    let body = [b'1'; 100];
    let updates: Vec<_> = ids.iter().map(|id| LocalUpdate { id: id.as_bytes(), body: Some(&body) }).collect();
    db.save_local(&updates).unwrap();
    db.commit().unwrap();
    let shown = lines_of(dir.path(), &["--local", "a"]);
    assert_eq!(ids, self::ids(&shown));
    let nodes = lines_of(dir.path(), &["--tree", "local", "a"]);
    let second = nodes.iter().filter(|node| node["kind"] == "leaf").nth(1).unwrap();
    damage(&file, second["position"].as_u64().unwrap() + 9);
    let assert = tool("couch_dbdump", dir.path()).args(["--local", "--json", "a"]).assert().code(1);
    let left = json_lines(&assert.get_output().stdout);
    assert!((80..100).contains(&left.len()) && left[left.len() - 1]["id"] == "_local/99", "{}", left.len());
    assert_eq!(text(&assert.get_output().stderr).lines().count(), 1);
}

#[test]
fn complaints_about_a_header_say_where_it_is() {
    let dir = every_kind();
    let arguments = ["--iterate-headers", "--no-namespace", "--key", "last", "a.couch"];
    let assert = tool("couch_dbdump", dir.path()).args(arguments).assert().code(1);
    let said = text(&assert.get_output().stderr);
    let expected = [4096, 0].map(|at| format!("couch_dbdump: header at {at}: a.couch: no document last\n"));
    assert_eq!(said, expected.concat());
}

/// What a server has beside documents of clients: system events, prepared writes, documents that have expired.
#[test]
fn what_servers_write_is_named_and_found() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::create(dir.path().join("a")).unwrap();
    let ids: [(&[u8], &str); 5] = [
        (b"\x00\x08K", "(collection:0x0:default)\u{8}K"),
        (b"\x01\x00\x16_collection", "(system-event-key:collection:0x16)_collection"),
        (b"\x01\x01\x08_scope", "(system-event-key:scope:0x8)_scope"),
        (b"\x02\x00K", "(prepare:collection:0x0:default)K"),
        (b"\x16K", "(collection:0x16)K"),
    ];
    let docs = ids.map(|(id, _)| Document { rev_meta: &[1; 21], ..Document::new(id, b"{\"a\": 1.5}") });
    db.save(&docs, SaveOptions::default()).unwrap();
    let expired = [&[0; 16][..], &[0x81, 1]].concat();
    db.save(&[Document { rev_meta: &expired, ..Document::deletion(b"\x16L") }], SaveOptions::default())
        .unwrap();
    db.commit().unwrap();
    let lines = lines_of(dir.path(), &["--byid", "a"]);
    assert_eq!(self::ids(&lines)[..5], ids.map(|(_, shown)| shown.to_owned()));
    assert_eq!(lines[0]["body"], serde_json::json!({"a": 1.5}));
    assert_eq!(lines[0]["datatype_as_text"], serde_json::json!(["json"]));
    assert_eq!(lines[5]["deleted"], "TTL");
    for (arguments, shown) in [
        (&["--system", "--collection", "22", "--key", "_collection"][..], ids[1].1),
        (&["--system", "--collection", "8", "--key", "_scope"], ids[2].1),
        (&["--prepare", "--key", "K"], ids[3].1),
        (&["--collection", "22", "--key", "K"], ids[4].1),
    ] {
        assert_eq!(self::ids(&lines_of(dir.path(), &[arguments, &["a"]].concat())), [shown], "{arguments:?}");
    }
    // As the original reads numbers.
    tool("couch_dbdump", dir.path()).args(["--collection", "0x16", "--key", "K", "a"]).assert().code(1);
}
