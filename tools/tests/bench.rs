// SPDX-License-Identifier: Apache-2.0

//! `couch_bench`. What it measures is not looked at: only that every row is there and was verified.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::child::{process, signal};
use common::{json_lines, text, tool};
use predicates::str::{contains, starts_with};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const ROWS: [&str; 29] = [
    "open",
    "vbstate",
    "fetch-1",
    "fetch-200",
    "keys",
    "changes",
    "backfill",
    "compact-hook",
    "flush-1",
    "flush-100",
    "flush-1000",
    "load",
    "load-ordered",
    "update",
    "commit",
    "get",
    "multiget",
    "scan-seq",
    "scan-id",
    "scan-seq-bodies",
    "scan-id-bodies",
    "compact-128",
    "compact-256",
    "compact-1k",
    "compact-16k",
    "load-encrypted",
    "scan-encrypted",
    "saves-compacting",
    "saves-replaying",
];

/// Those that this build can measure.
fn all_rows() -> Vec<&'static str> {
    ROWS.into_iter().filter(|row| couchstore::ENCRYPTION || !row.ends_with("-encrypted")).collect()
}

/// The rows of a run in an empty folder, which is empty again afterwards.
fn rows(arguments: &[&str]) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let mut command = tool("couch_bench", dir.path());
    let assert = command.args(["--json", "--dir", "."]).args(arguments).assert().success().stderr("");
    assert!(is_empty(dir.path()));
    json_lines(&assert.get_output().stdout)
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("{field}: {row}"))
}

#[test]
fn every_row_is_measured_and_verified() {
    let rows = rows(&["--quick"]);
    assert_eq!(rows.iter().map(|row| row["row"].as_str().unwrap()).collect::<Vec<_>>(), all_rows());
    for row in &rows {
        assert_eq!((&row["verified"], &row["sync"]), (&true.into(), &"real".into()));
        assert!(
            row["seconds"].as_f64().unwrap() > 0.0 && number(row, "ops") > 0 && number(row, "file_size") > 0,
            "{row}"
        );
        assert!(row["peak_memory"].is_null() || number(row, "peak_memory") > 100_000);
    }
    let row = |name: &str| rows.iter().find(|row| row["row"] == name).unwrap();
    assert_eq!((number(row("load"), "ops"), number(row("load"), "syncs")), (2000, 2));
    assert_eq!(number(row("load"), "bytes_written"), number(row("load"), "file_size") + 1);
    assert!(number(row("load-ordered"), "bytes_written") < number(row("load"), "bytes_written"));
    assert_eq!((number(row("commit"), "ops"), number(row("commit"), "syncs")), (200, 400));
    assert_eq!((number(row("get"), "ops"), number(row("get"), "bytes_written")), (2000, 0));
    assert!(row("scan-seq")["write_amplification"].is_null());
    assert!(row("update")["write_amplification"].as_f64().unwrap() > 0.5);
    assert_eq!(
        (number(row("compact-16k"), "documents"), number(row("compact-16k"), "body_size")),
        (125, 16384)
    );
    assert!(row("saves-compacting")["latency_us"]["p99_alone"].is_f64());
    assert!(row("saves-replaying")["latency_us"]["p99_alone"].is_f64());
    for shares in ["shares", "shares_alone"] {
        let shares = row("saves-compacting")["latency_us"][shares].as_array().unwrap();
        assert!(shares.is_sorted_by(|a, b| a.as_f64() <= b.as_f64()) && shares.len() == 13, "{shares:?}");
    }
    assert!(row("load")["floor"].is_null());
}

/// A file is opened for every flush and every fetch, and a flush has two syncs.
#[test]
fn host_shaped_rows_open_the_file_anew() {
    let rows =
        rows(&["--docs", "10k", "--rows", "open,vbstate,fetch-1,fetch-200,backfill,flush-1,flush-100"]);
    let seen: Vec<_> = rows.iter().map(|row| ["opens", "syncs"].map(|field| number(row, field))).collect();
    assert_eq!(seen, [[200, 0], [2000, 0], [2000, 0], [20, 0], [5, 0], [1000, 2000], [20, 40]]);
    let done: Vec<_> = rows.iter().map(|row| number(row, "ops")).collect();
    assert_eq!((done[0], done[1], done[2], done[4], done[5]), (200, 2000, 2000, 50_000, 1000));
    // A document that is chosen twice is there once.
    assert!((3800..=4000).contains(&done[3]) && (1950..=2000).contains(&done[6]), "{done:?}");
    assert!(rows[6]["write_amplification"].as_f64().unwrap() > 1.0 && rows[6]["latency_us"]["p50"].is_f64());
}

/// It is warm: the header and the body are all that a fetch reads, and a flush the header.
#[test]
fn a_shared_node_cache_saves_reads() {
    let rows_with = |more: &[&str]| rows(&[&["--docs", "10k", "--rows", "fetch-1,flush-1"], more].concat());
    let (without, with) = (rows_with(&[]), rows_with(&["--node-cache", "64M"]));
    assert!(without[0]["node_cache"].is_null() && number(&with[0], "node_cache") == 64 << 20);
    let all = |rows: &[Value], most: [u64; 2]| {
        rows.iter().zip(most).all(|(row, most)| number(row, "reads") <= most * number(row, "ops"))
    };
    assert!(all(&with, [2, 2]), "{with:?}");
    assert!(!all(&without[..1], [3, 0]) && !all(&without[1..], [5, 0]), "{without:?}");
}

#[test]
fn floors_stand_beside_rows_of_one_thread() {
    let table =
        ["--quick", "--floors", "--rows", "open,fetch-1,backfill,compact-256,flush-1,saves-compacting"];
    let rows = rows(&table);
    let steps = |at: usize| {
        let floor = rows[at]["floor"].as_object().unwrap();
        assert!(floor["percent"].as_f64().unwrap() > 0.0, "{floor:?}");
        let steps =
            floor.iter().filter(|(name, _)| !["percent", "microseconds_per_op"].contains(&name.as_str()));
        let (mut names, mut sum) = (Vec::new(), 0.0);
        for (name, time) in steps.filter(|(_, time)| time.as_f64() > Some(0.0)) {
            sum += time.as_f64().unwrap();
            names.push(name.as_str());
        }
        assert!((sum - floor["microseconds_per_op"].as_f64().unwrap()).abs() < 1e-6 * sum, "{floor:?}");
        names.sort_unstable();
        names
    };
    assert_eq!(steps(0), ["checksum", "open", "read"]);
    assert_eq!(steps(1), ["checksum", "inflate", "open", "read"]);
    assert_eq!(steps(2), ["checksum", "inflate", "open", "read"]);
    let writing = ["checksum", "copy", "deflate", "inflate", "open", "read", "sort", "sync", "write"];
    assert_eq!((steps(3), steps(4)), (writing.to_vec(), writing.to_vec()));
    assert!(rows[5]["floor"].is_null());
}

#[test]
fn rows_numbers_and_sizes_can_be_chosen() {
    let rows = rows(&[
        "--docs",
        "500,1k",
        "--rows",
        "scan-id,load",
        "--body-size",
        "50",
        "--batch",
        "100",
        "--repeat",
        "3",
    ]);
    let shown: Vec<_> =
        rows.iter().map(|row| (row["row"].as_str().unwrap(), number(row, "documents"))).collect();
    assert_eq!(shown, [("scan-id", 500), ("load", 500), ("scan-id", 1000), ("load", 1000)]);
    assert_eq!(number(&rows[3], "syncs"), 20);
    // 22 bytes of id, 18 of metadata.
    assert_eq!((number(&rows[3], "user_bytes"), number(&rows[2], "user_bytes")), (90 * 1000, 40 * 1000));
}

#[test]
fn one_document_is_enough() {
    assert_eq!(rows(&["--docs", "1", "--sync", "none"]).len(), all_rows().len());
}

#[test]
fn without_syncs_they_are_counted_all_the_same() {
    let rows = rows(&["--quick", "--sync", "none", "--rows", "load"]);
    assert_eq!((number(&rows[0], "syncs"), &rows[0]["sync"]), (2, &"none".into()));
}

#[test]
#[cfg_attr(not(feature = "encryption"), ignore = "needs encryption")]
fn encrypted_rows_take_the_users_key() {
    let key = "key:QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
    assert_eq!(rows(&["--quick", "--rows", "load-encrypted,scan-encrypted", "--with-key", key]).len(), 2);
}

/// A document that is chosen twice for a batch is saved once, so the number of saves depends on the choice.
#[test]
fn the_same_seed_gives_the_same_work() {
    let saves = |seed: &str| number(&rows(&["--quick", "--rows", "update", "--seed", seed])[0], "ops");
    assert_eq!(saves("5"), saves("5"));
    assert_ne!(saves("5"), saves("6"));
}

#[test]
fn the_table_has_a_heading_and_a_line_for_each_row() {
    let dir = tempfile::tempdir().unwrap();
    let assert =
        tool("couch_bench", dir.path()).args(["--quick", "--dir", ".", "--rows", "load,commit"]).assert();
    let table = text(&assert.success().stderr("").get_output().stdout);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "directory .");
    assert_eq!(lines[1], "syncs real, bodies of 256 bytes, batches of 10000, seed 1");
    assert!(lines[3].starts_with("row ") && lines[3].ends_with(" memory"), "{table}");
    assert!(lines[4].trim_start().starts_with("written ") && lines[4].ends_with(" syncs"), "{table}");
    assert!(lines[5].starts_with("load  ") && lines[7].starts_with("commit  "), "{table}");
    assert!(lines[9].trim_start().starts_with("p50 ") && lines.len() == 10, "{table}");
    let widths: Vec<usize> = lines[3..9].iter().map(|line| line.len()).collect();
    assert!(widths.iter().all(|&width| width == widths[0] && width <= 80), "{table}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for wrong in [
        vec!["--rows", "nothing"],
        vec!["--docs", "0"],
        vec!["--docs", "many"],
        vec!["--batch", "0"],
        vec!["--sync", "some"],
        vec!["--quick", "--docs", "5"],
        vec!["--node-cache", "much"],
        vec!["--with-key", "nonsense"],
    ] {
        tool("couch_bench", dir.path()).args(wrong).assert().code(2).stdout("");
    }
    let missing = tool("couch_bench", dir.path()).args(["--quick", "--dir", "missing"]).assert().code(1);
    missing.stderr(starts_with("couch_bench: missing: "));
    tool("couch_bench", dir.path()).arg("--help").assert().success().stdout(contains("--rows commit,load"));
}

#[test]
fn ctrl_c_leaves_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let child = process("couch_bench", dir.path())
        .args(["--docs", "1M", "--batch", "500", "--rows", "load", "--sync", "none", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while is_empty(dir.path()) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    signal("INT", child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(130), "couch_bench: interrupted\n".to_owned())
    );
    assert!(is_empty(dir.path()));
}
