// SPDX-License-Identifier: Apache-2.0

//! `couch_check`: the program, and files that the library and the original have made.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::checked::check_with;
use common::forge::Forge;
use common::golden::Golden;
use common::history::History;
use common::rng::Rng;
use common::{json_lines, text, tool};
use couchstore::{Db, Document, LocalUpdate, SaveOptions};
use std::ops::Range;
use std::path::Path;

#[test]
fn the_number_of_problems_is_limited() {
    let mut forge = Forge::created();
    let mut docs: Vec<_> = (0..300).map(|seq| forge.doc(&format!("id-{seq:03}"), seq, b"12345")).collect();
    for doc in &mut docs {
        doc.size += 1;
    }
    forge.small(&docs.iter().collect::<Vec<_>>());
    let (lines, code) = check_with(&forge, &[]);
    assert_eq!((lines.len(), code), (102, 1));
    assert_eq!(lines[100], "and 200 more");
    assert!(lines[101].starts_with("300 problems; "), "{}", lines[101]);
    let (lines, _) = check_with(&forge, &["--max-problems", "3"]);
    assert_eq!(lines[3], "and 297 more");
}

#[test]
fn json_has_an_object_for_each_problem_and_one_that_sums_up() {
    let mut forge = Forge::created();
    let mut doc = forge.doc("a", 1, b"12345");
    doc.size += 1;
    let header = forge.small(&[&doc]);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), &forge.bytes).unwrap();
    let assert = tool("couch_check", dir.path()).args(["--json", "f"]).assert().code(1).stderr("");
    let problem = "body of document \"a\", sequence 1: physical size 14 for 5 bytes stored";
    assert_eq!(
        json_lines(&assert.get_output().stdout),
        [
            serde_json::json!({"file": "f", "position": doc.position, "tree": "by-seq", "problem": problem}),
            serde_json::json!({
                "file": "f", "problems": 1, "header_position": header, "headers": 1, "documents": 1, "deleted": 0,
                "local_documents": 0, "nodes": 2, "bodies": 1, "overlaps_checked": true
            }),
        ]
    );
}

#[test]
fn files_that_cannot_be_checked() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("empty"), b"").unwrap();
    let mut forge = Forge::new();
    forge.header(0, None, None, None);
    std::fs::write(dir.path().join("fine"), &forge.bytes).unwrap();
    let mut command = tool("couch_check", dir.path());
    let assert = command.args(["--report", "--explain", "none", "empty", ".", "fine"]).assert().code(1);
    let output = assert.get_output();
    let name = "couch_check: ";
    assert_eq!(
        text(&output.stderr).lines().collect::<Vec<_>>(),
        [
            "none: couchstore_open_db returned error: couchstore_error_t:no such file last_error:'' \
             last_os_error:errno = 2: 'No such file or directory'"
                .to_owned(),
            format!("{name}none: cannot open: No such file or directory (os error 2)"),
            "empty: couchstore_open_db returned error: couchstore_error_t:no header in non-empty file last_error:'' \
             last_os_error:errno = 0: 'Success'"
                .to_owned(),
            format!("{name}empty: no header, the file is empty"),
            format!("{name}.: is a directory"),
        ]
    );
    assert!(text(&output.stdout).starts_with("fine: no problems; 1 headers, 0 documents"));
    tool("couch_check", dir.path()).assert().code(1);
    tool("couch_check", dir.path()).args(["--threads", "0", "fine"]).assert().code(2);
}

/// A file with several levels, many headers, deletions and local documents, as the library makes it.
fn make(path: &Path) {
    let db = Db::create(path).unwrap();
    for round in 0..20u8 {
        let body = [round; 50];
        let ids: Vec<_> =
            (0..300).map(|number| format!("id-{:04}", number * 7 * (u32::from(round) + 1) % 1000)).collect();
        let mut docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), &body)).collect();
        for doc in docs.iter_mut().step_by(5) {
            *doc = Document::deletion(doc.id);
        }
        for doc in docs.iter_mut().step_by(3) {
            doc.content_meta = 0x80;
        }
        db.save(&docs, SaveOptions::new().compress(true)).unwrap();
        let id = format!("_local/{}", round % 7);
        db.save_local(&[LocalUpdate { id: id.as_bytes(), body: (round < 15).then_some(b"body") }]).unwrap();
        db.commit().unwrap();
    }
    db.close().unwrap();
}

#[test]
fn files_of_the_library_have_no_problems() {
    let dir = tempfile::tempdir().unwrap();
    make(&dir.path().join("f"));
    let reader = Db::open(dir.path().join("f")).unwrap();
    couchstore::compact(&reader, dir.path().join("compacted"), &couchstore::CompactOptions::default())
        .unwrap();
    let assert =
        tool("couch_check", dir.path()).args(["--report", "-a", "f", "compacted"]).assert().success();
    let shown = text(&assert.get_output().stdout);
    assert!(shown.contains("f: no problems; 21 headers, "), "{shown}");
    assert!(shown.contains("compacted: no problems; 1 headers, "), "{shown}");
}

#[test]
fn older_headers_cost_little() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::create(dir.path().join("f")).unwrap();
    let ids: Vec<_> = (0..2000).map(|number| format!("id-{number:04}")).collect();
    let docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), b"body")).collect();
    db.save(&docs, SaveOptions::default()).unwrap();
    for doc in docs.iter().step_by(50) {
        db.save(&[*doc], SaveOptions::default()).unwrap();
        db.commit().unwrap();
    }
    let assert = tool("couch_check", dir.path()).args(["-a", "--json", "f"]).assert().success();
    let checked = json_lines(&assert.get_output().stdout)[0]["nodes"].as_u64().unwrap();
    let assert = tool("couch_dbinfo", dir.path()).args(["-i", "--trees", "--json", "f"]).assert().success();
    let all: u64 = json_lines(&assert.get_output().stdout)
        .iter()
        .flat_map(|header| ["by_id", "by_seq", "local"].map(|tree| header["trees"][tree].clone()))
        .flat_map(|tree| ["interior", "leaf"].map(|kind| tree[kind]["count"].as_u64().unwrap()))
        .sum();
    // Most nodes of a header are also those of the next one.
    assert!(checked < all / 5, "{checked} of {all}");
}

/// All that the newest header of a file refers to.
fn in_use(path: &Path) -> Vec<Range<u64>> {
    let history = History::of(path);
    let newest = &history.headers[0];
    let ways = newest.docs.values().flat_map(|(_, ways)| ways.iter().flatten());
    let mut extents: Vec<_> = ways.chain(&newest.local_nodes).chain([&newest.extent]).cloned().collect();
    extents.sort_by_key(|extent| (extent.start, extent.end));
    extents.dedup();
    extents
}

#[test]
fn no_damaged_byte_stays_unnoticed() {
    let mut rng = Rng::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    make(&path);
    let bytes = std::fs::read(&path).unwrap();
    let extents = in_use(&path);
    for _ in 0..200 {
        let extent = &extents[rng.index(extents.len())];
        let offset = extent.start + rng.below(extent.end - extent.start);
        let is_header = offset >= extents[extents.len() - 1].start;
        // Without its type byte there is no header.
        if is_header && offset.is_multiple_of(4096) {
            continue;
        }
        let mut damaged = bytes.clone();
        damaged[offset as usize] ^= 1 << rng.below(8);
        std::fs::write(&path, damaged).unwrap();
        let output = tool("couch_check", dir.path()).args(["--report", "f"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{offset} in {extent:?}: {}", text(&output.stdout));
        let shown = text(&output.stdout) + &text(&output.stderr);
        let at = if offset.is_multiple_of(4096) { offset } else { extent.start };
        let named = [at, at + 1].map(|at| shown.contains(&format!("offset {at}: ")));
        assert!(is_header || named.contains(&true), "{offset} in {extent:?}: {shown}");
    }
}

#[test]
fn damage_that_nothing_refers_to_is_no_problem() {
    let mut rng = Rng::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    make(&path);
    let bytes = std::fs::read(&path).unwrap();
    let extents = in_use(&path);
    let previous = History::of(&path).headers[1].extent.clone();
    let is_in_use = |offset| extents.iter().chain([&previous]).any(|extent| extent.contains(&offset));
    for _ in 0..50 {
        let offset = rng.below(bytes.len() as u64);
        if !offset.is_multiple_of(4096) && !is_in_use(offset) {
            let mut damaged = bytes.clone();
            damaged[offset as usize] ^= 1 << rng.below(8);
            std::fs::write(&path, damaged).unwrap();
            tool("couch_check", dir.path()).arg("f").assert().success();
        }
    }
}

#[test]
fn files_of_the_original_have_no_problems() {
    let Some(golden) = Golden::find() else { return };
    let mut compared = 0;
    for name in golden.names() {
        let opens = golden.dump(&name)[0] == "open 0";
        let mut command = tool("couch_check", Path::new("/"));
        let assert =
            command.arg("--all-headers").arg(golden.path(&name)).args(golden.key_options(&name)).assert();
        let is_sound = opens && !name.ends_with("-root-crc");
        let output = assert.get_output();
        assert_eq!(output.status.code(), Some(i32::from(!is_sound)), "{name}: {}", text(&output.stdout));
        compared += 1;
    }
    assert!(compared >= 32, "{compared} files");
}
