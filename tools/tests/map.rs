// SPDX-License-Identifier: Apache-2.0

//! `couch_map`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forge::Forge;
use common::golden::Golden;
use common::{assert_expected, json_lines, text, tool};
use couchstore::inspect::Tree;
use couchstore::{
    CompactOptions, Db, Document, EncryptionKey, KeyDerivation, LocalUpdate, OpenOptions, SaveOptions,
    compact,
};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::{contains, ends_with, starts_with};
use serde_json::Value;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use tempfile::TempDir;

const BASE64_KEY: &str = "key:QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
const KINDS: [&str; 9] =
    ["body", "by_id", "by_seq", "local", "header", "other_headers", "damaged", "later", "garbage"];

/// Loads documents, then updates and deletes some of them, a commit after each round. The same bytes each time.
fn fill(db: &Db, documents: usize, rounds: usize) {
    for round in 0..=rounds {
        let step = if round == 0 { 1 } else { 7 + round };
        let numbers: Vec<usize> = (0..documents).step_by(step).collect();
        let ids: Vec<String> = numbers.iter().map(|number| format!("id-{number:05}")).collect();
        let bodies: Vec<Vec<u8>> =
            numbers.iter().map(|number| vec![round as u8; 20 + number * 37 % 400]).collect();
        let mut docs: Vec<_> =
            ids.iter().zip(&bodies).map(|(id, body)| Document::new(id.as_bytes(), body)).collect();
        if round == 2 {
            docs.iter_mut().step_by(3).for_each(|doc| *doc = Document::deletion(doc.id));
        }
        db.save(&docs, SaveOptions::default()).unwrap();
        db.save_local(&[LocalUpdate { id: b"_local/state", body: Some(&[b'l'; 300]) }]).unwrap();
        db.commit_with(42, None).unwrap();
    }
}

/// A folder with a file, opened with these options.
fn sample(options: &OpenOptions, documents: usize, rounds: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let db = options.clone().create(true).open(dir.path().join("a.couch")).unwrap();
    fill(&db, documents, rounds);
    db.close().unwrap();
    dir
}

fn fragmented() -> TempDir {
    sample(&OpenOptions::new(), 1000, 4)
}

/// The figures of a file that is in order.
fn figures(dir: &Path, arguments: &[&str]) -> Value {
    let assert = tool("couch_map", dir).arg("--json").args(arguments).assert().success().stderr("");
    checked(json_lines(&assert.get_output().stdout).remove(0))
}

/// The figures of a damaged file.
fn damaged_figures(dir: &Path, arguments: &[&str]) -> Value {
    let assert = tool("couch_map", dir)
        .arg("--json")
        .args(arguments)
        .assert()
        .code(1)
        .stderr(contains("damaged places"));
    let figures = checked(json_lines(&assert.get_output().stdout).remove(0));
    assert_ne!(figures["damaged_places"], 0);
    figures
}

fn bytes(figures: &Value, kind: &str) -> u64 {
    figures["bytes"][kind].as_u64().unwrap()
}

/// Every byte counts once, in the whole file and in the commits.
fn checked(figures: Value) -> Value {
    let size = figures["file_size"].as_u64().unwrap();
    assert_eq!(KINDS.iter().map(|kind| bytes(&figures, kind)).sum::<u64>(), size);
    let commits = figures["commits"].as_array().unwrap();
    let mut end = 0;
    for commit in commits {
        assert_eq!(commit["start"], end);
        end = commit["end"].as_u64().unwrap();
        let sum: u64 = KINDS.iter().map(|kind| commit["bytes"][kind].as_u64().unwrap()).sum();
        assert_eq!(sum, end - commit["start"].as_u64().unwrap());
    }
    assert_eq!(end, size);
    let headers: u64 = commits.iter().map(|commit| commit["headers"].as_u64().unwrap()).sum();
    assert_eq!(figures["headers"], headers);
    figures
}

fn size_of(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// Writes an SVG, and reads it.
fn svg(dir: &Path, file: &str, arguments: &[&str]) -> String {
    tool("couch_map", dir)
        .arg(file)
        .args(["-o", "map.svg"])
        .args(arguments)
        .assert()
        .success()
        .stdout("")
        .stderr("");
    std::fs::read_to_string(dir.join("map.svg")).unwrap()
}

/// The texts of all elements of this name.
fn texts(svg: &str, element: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let found =
        document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", element)));
    found.map(|node| node.text().unwrap_or_default().to_owned()).collect()
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = std::fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn the_svg_has_a_legend_and_titles() {
    let dir = fragmented();
    let svg = svg(dir.path(), "a.couch", &[]);
    let labels = texts(&svg, "text");
    for wanted in [
        "a.couch",
        "document bodies",
        "by-id nodes",
        "by-seq nodes",
        "local nodes",
        "this header",
        "garbage",
        "of the file is live",
    ] {
        assert!(labels.iter().any(|label| label == wanted), "{wanted}: {labels:?}");
    }
    assert!(!labels.iter().any(|label| label == "damaged"));
    let titles = texts(&svg, "title");
    assert!(
        titles
            .iter()
            .any(|title| title.starts_with("blocks 0 to 1, offsets 0 to 8,192\ndocument bodies: 4.7 kB ("))
    );
    assert!(titles.iter().any(|title| title.ends_with("\nheader 6 of the file")));
    assert!(texts(&svg, "desc")[0].starts_with("Map of the couchstore file a.couch, "));
    assert!(!svg.contains("<script"));
}

#[test]
fn every_cell_of_the_map_is_drawn_once() {
    let dir = fragmented();
    let svg = svg(dir.path(), "a.couch", &["--columns", "10"]);
    let document = roxmltree::Document::parse(&svg).unwrap();
    let number =
        |node: roxmltree::Node<'_, '_>, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
    let is_cells = |node: &roxmltree::Node<'_, '_>| {
        let title = node.children().find(|child| child.tag_name().name() == "title");
        title.and_then(|title| title.text()).is_some_and(|text| text.starts_with("block"))
    };
    // Those of the map come first, the chart of commits has bars with the same kinds of titles.
    let frame = document.descendants().position(|node| node.attribute("class") == Some("frame")).unwrap();
    let groups = document.descendants().take(frame).filter(is_cells);
    let area: f64 = groups
        .flat_map(|group| {
            group.children().filter(|child| child.tag_name().name() == "rect").collect::<Vec<_>>()
        })
        .map(|rect| number(rect, "width") * number(rect, "height"))
        .sum();
    let blocks = u32::try_from(size_of(&dir.path().join("a.couch")).div_ceil(4096)).unwrap();
    let cell = 102.4 * 102.4;
    assert!((area / cell - f64::from(blocks)).abs() < 0.5, "{} cells of {blocks}", area / cell);
}

#[test]
fn names_are_escaped() {
    let dir = tempfile::tempdir().unwrap();
    let name = "<b>&\"'\u{1}é.couch";
    fill(&Db::create(dir.path().join(name)).unwrap(), 10, 0);
    let svg = svg(dir.path(), name, &[]);
    assert!(texts(&svg, "text").contains(&"<b>&\"'\u{fffd}é.couch".to_owned()));
    let bytes = std::ffi::OsStr::from_bytes(b"\xff.couch");
    fill(&Db::create(dir.path().join(bytes)).unwrap(), 10, 0);
    tool("couch_map", dir.path()).arg(bytes).args(["-o", "map.svg"]).assert().success();
    assert!(
        texts(&std::fs::read_to_string(dir.path().join("map.svg")).unwrap(), "text")
            .contains(&"\u{fffd}.couch".to_owned())
    );
}

#[test]
fn the_smallest_file_with_a_document() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::create(dir.path().join("a.couch")).unwrap();
    db.save(&[Document { rev_seq: 1, ..Document::new(b"hello", b"world") }], SaveOptions::default()).unwrap();
    db.commit_with(42, None).unwrap();
    let figures = figures(dir.path(), &["a.couch"]);
    assert_eq!(figures["file_size"], 4189);
    assert_eq!(
        (bytes(&figures, "body"), bytes(&figures, "header"), bytes(&figures, "other_headers")),
        (13, 93, 48)
    );
    let nodes = db.header().by_id.unwrap().subtree_size + db.header().by_seq.unwrap().subtree_size;
    assert_eq!(bytes(&figures, "by_id") + bytes(&figures, "by_seq"), nodes);
    assert_eq!(bytes(&figures, "garbage"), 4189 - 13 - 93 - 48 - nodes);
    assert_eq!(figures["commits"][0]["end"], 48);
    assert_eq!(figures["body_sizes"], serde_json::json!([{ "from": 12, "below": 14, "bodies": 1 }]));
    assert_eq!(
        (&figures["documents"], &figures["deleted"], &figures["headers"]),
        (&1.into(), &0.into(), &2.into())
    );
}

#[test]
fn a_new_file_is_all_header() {
    let dir = tempfile::tempdir().unwrap();
    Db::create(dir.path().join("a.couch")).unwrap();
    let figures = figures(dir.path(), &["a.couch"]);
    assert_eq!((bytes(&figures, "header"), &figures["live_percent"]), (48, &100.0.into()));
    assert!(texts(&svg(dir.path(), "a.couch", &[]), "text").contains(&"no bodies".to_owned()));
    tool("couch_map", dir.path()).arg("a.couch").assert().success().stdout(contains("\n 0 H\n"));
}

/// A body that runs over two block boundaries takes their type bytes too.
#[test]
fn chunks_are_counted_with_the_type_bytes_in_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut forge = Forge::new();
    let doc = forge.doc("a", 1, &[7; 8200]);
    let by_id = forge.leaf(Tree::ById, &[&doc]);
    let by_seq = forge.leaf(Tree::BySeq, &[&doc]);
    forge.header(1, Some(&by_seq), Some(&by_id), None);
    std::fs::write(dir.path().join("a.couch"), &forge.bytes).unwrap();
    let figures = figures(dir.path(), &["a.couch"]);
    // It begins at a boundary, and meets two more.
    assert_eq!(bytes(&figures, "body"), 8208 + 3);
    assert_eq!((bytes(&figures, "by_id"), bytes(&figures, "by_seq")), (by_id.size, by_seq.size));
}

#[test]
fn live_data_is_what_the_library_says() {
    for options in [OpenOptions::new(), OpenOptions::new().legacy_crc(true)] {
        let dir = sample(&options, 1000, 4);
        let figures = figures(dir.path(), &["a.couch"]);
        let info = Db::open(dir.path().join("a.couch")).unwrap().info().unwrap();
        assert_eq!(
            (&figures["documents"], &figures["deleted"]),
            (&info.doc_count.into(), &info.deleted_count.into())
        );
        let live: u64 = ["body", "by_id", "by_seq", "local"].iter().map(|kind| bytes(&figures, kind)).sum();
        // The library leaves the type byte of each block out.
        assert!(
            live >= info.space_used && live - info.space_used <= info.file_size / 4096,
            "{live} {}",
            info.space_used
        );
        assert!(bytes(&figures, "garbage") > info.file_size / 10);
        assert_eq!(figures["headers"], 6);
    }
}

#[test]
fn a_compacted_file_has_no_garbage_but_what_is_left_over() {
    let dir = fragmented();
    let source = Db::open(dir.path().join("a.couch")).unwrap();
    compact(&source, dir.path().join("b.couch"), &CompactOptions::default()).unwrap();
    let figures = figures(dir.path(), &["b.couch"]);
    assert!(bytes(&figures, "garbage") <= 4096, "{figures}");
    assert_eq!(bytes(&figures, "other_headers"), 0);
}

#[test]
fn an_older_header_has_later_data_behind_it() {
    let dir = fragmented();
    let db = Db::open(dir.path().join("a.couch")).unwrap();
    db.rewind().unwrap();
    let position = db.header_position();
    let older = figures(dir.path(), &["a.couch", "--header-offset", &format!("{position:#x}")]);
    assert_eq!(older["header_position"], position);
    assert!(bytes(&older, "later") > 4096);
    let same = figures(dir.path(), &["a.couch", "--header-offset", &position.to_string()]);
    assert_eq!(older, same);
    tool("couch_map", dir.path())
        .args(["a.couch", "--header-offset", "4097"])
        .assert()
        .code(1)
        .stderr(starts_with("couch_map: "));
}

#[test]
#[cfg_attr(not(feature = "encryption"), ignore = "needs encryption")]
fn encrypted_files_need_their_key() {
    let key = EncryptionKey::new("key", &[0x42; 32], KeyDerivation::KeyBased).unwrap();
    let dir = sample(&OpenOptions::new().keys(Some(Arc::new(key))), 500, 2);
    let with_key = figures(dir.path(), &["a.couch", "--with-key", BASE64_KEY]);
    assert_eq!(with_key["encrypted"], true);
    assert!(bytes(&with_key, "header") > 105, "the metadata header counts as well");
    assert_eq!(with_key, figures(dir.path(), &["a.couch", "--with-key", BASE64_KEY, "--bodies"]));
    tool("couch_map", dir.path())
        .arg("a.couch")
        .assert()
        .code(1)
        .stderr(ends_with("encrypted, and no key for it: expected the key \"key\", none was given\n"));
}

#[test]
fn a_damaged_leaf_is_shown_and_its_bodies_are_found_by_sequence() {
    let dir = fragmented();
    let before = figures(dir.path(), &["a.couch"]);
    let path = dir.path().join("a.couch");
    let root = Db::open(&path).unwrap().header().by_id.unwrap();
    // What lies right before the root is a leaf of the same tree.
    overwrite(&path, root.position - 20, b"XXXX");
    let after = damaged_figures(dir.path(), &["a.couch"]);
    assert!(bytes(&after, "damaged") > 0 && bytes(&after, "by_id") < bytes(&before, "by_id"));
    assert_eq!(bytes(&after, "body"), bytes(&before, "body"));
    assert_eq!(after["body_sizes"], before["body_sizes"]);
    tool("couch_map", dir.path()).args(["a.couch", "-o", "map.svg"]).assert().code(1).stdout("");
    let labels = texts(&std::fs::read_to_string(dir.path().join("map.svg")).unwrap(), "text");
    assert!(labels.contains(&"damaged".to_owned()), "{labels:?}");
}

#[test]
fn damaged_bodies_are_found_if_they_are_read() {
    let dir = fragmented();
    let db = Db::open(dir.path().join("a.couch")).unwrap();
    let mut position = 0;
    db.with_doc_info_by_id(b"id-00399", |info| {
        position = info.body_position;
        Ok(())
    })
    .unwrap();
    overwrite(&dir.path().join("a.couch"), position + 10, b"XXXX");
    assert_eq!(bytes(&figures(dir.path(), &["a.couch"]), "damaged"), 0);
    let found = damaged_figures(dir.path(), &["a.couch", "--bodies"]);
    assert!(bytes(&found, "damaged") > 20);
    assert_eq!(found["damaged_places"], 1);
}

#[test]
fn behind_a_damaged_header_the_one_before_is_shown() {
    let dir = fragmented();
    let path = dir.path().join("a.couch");
    let db = Db::open(&path).unwrap();
    let (damaged, before) = (db.header_position(), db.info().unwrap().previous_header.unwrap());
    overwrite(&path, damaged + 20, b"XXXX");
    let found = damaged_figures(dir.path(), &["a.couch"]);
    assert_eq!(found["header_position"], before);
    assert!(bytes(&found, "later") > 0 && bytes(&found, "damaged") > 0);
}

/// Two documents that share a body: no byte counts twice.
#[test]
fn what_overlaps_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut forge = Forge::new();
    let one = forge.doc("a", 1, &[7; 4000]);
    let mut two = forge.doc("b", 2, b"short");
    (two.position, two.size) = (one.position, one.size);
    forge.small(&[&one, &two]);
    std::fs::write(dir.path().join("a.couch"), &forge.bytes).unwrap();
    let found = damaged_figures(dir.path(), &["a.couch"]);
    assert!(found["damage"][0].as_str().unwrap().contains("lays claim to"), "{found}");
}

#[test]
fn a_root_that_makes_no_sense_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut forge = Forge::new();
    let doc = forge.doc("a", 1, b"body");
    let mut by_id = forge.leaf(Tree::ById, &[&doc]);
    by_id.reduce.truncate(3);
    let by_seq = forge.leaf(Tree::BySeq, &[&doc]);
    forge.header(1, Some(&by_seq), Some(&by_id), None);
    std::fs::write(dir.path().join("a.couch"), &forge.bytes).unwrap();
    let found = damaged_figures(dir.path(), &["a.couch"]);
    assert!(found["damage"][0].as_str().unwrap().starts_with("by-id root: expected "), "{found}");
    // It begins at a boundary: a type byte more.
    assert_eq!(bytes(&found, "body"), 13);
}

/// Sizes and positions beyond the file, and bodies that are larger than the file in sum.
#[test]
fn impossible_sizes_are_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let mut forge = Forge::new();
    let mut docs: Vec<_> = (1..20).map(|seq| forge.doc(&format!("{seq:02}"), seq, b"x")).collect();
    for doc in &mut docs {
        doc.size = (1 << 28) - 1;
    }
    docs[0].position = (1 << 47) - 1;
    let docs: Vec<_> = docs.iter().collect();
    forge.small(&docs);
    std::fs::write(dir.path().join("a.couch"), &forge.bytes).unwrap();
    let found = damaged_figures(dir.path(), &["a.couch"]);
    assert!(found["damage"].to_string().contains("larger than the file"), "{found}");
}

#[test]
fn golden_files_add_up() {
    let Some(golden) = Golden::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut shown = 0;
    for name in golden.names() {
        let mut command = tool("couch_map", dir.path());
        let output =
            command.arg("--json").arg(golden.path(&name)).args(golden.key_options(&name)).output().unwrap();
        match output.status.code() {
            Some(0) => {}
            Some(1) => assert!(name.starts_with("damaged"), "{name}: {}", text(&output.stderr)),
            other => panic!("{name}: {other:?}"),
        }
        if let Some(line) = json_lines(&output.stdout).pop() {
            checked(line);
            shown += 1;
        }
    }
    assert!(shown > 20, "{shown}");
}

#[test]
fn large_files_have_cells_of_several_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::create(dir.path().join("a.couch")).unwrap();
    let body = vec![b'x'; 100_000];
    let ids: Vec<String> = (0..500).map(|number| format!("{number:04}")).collect();
    for id in &ids {
        db.save(&[Document::new(id.as_bytes(), &body)], SaveOptions::default()).unwrap();
        db.commit().unwrap();
    }
    let size = size_of(&dir.path().join("a.couch"));
    assert!(size > 8192 * 4096);
    let whole = figures(dir.path(), &["a.couch"]);
    assert_eq!(whole["cell_size"], 8192);
    assert_eq!(whole["cells"], size.div_ceil(8192));
    assert!(whole["commits"].as_array().unwrap().len() <= 130);
    let few = figures(dir.path(), &["a.couch", "--cells", "10"]);
    assert!(few["cells"].as_u64().unwrap() <= 10);
    assert_eq!(few["bytes"], whole["bytes"]);
    let picture = svg(dir.path(), "a.couch", &[]);
    assert!(texts(&picture, "text").iter().any(|label| label.starts_with("Each cell is 2 blocks, 8.0 kB.")));
    assert!(picture.len() < 3_000_000, "{}", picture.len());
    assert!(svg(dir.path(), "a.couch", &["--cells", "10"]).len() < 100_000);
}

#[test]
fn the_picture_for_terminals() {
    let dir = fragmented();
    let assert = tool("couch_map", dir.path()).arg("a.couch").assert().success().stderr("");
    assert_expected("map.txt", &text(&assert.get_output().stdout));
    let narrow =
        tool("couch_map", dir.path()).args(["a.couch", "--width", "16", "--color=never"]).assert().success();
    assert_expected("map-narrow.txt", &text(&narrow.get_output().stdout));
    let coloured = tool("couch_map", dir.path()).args(["a.couch", "--color", "always"]).assert().success();
    let coloured = text(&coloured.get_output().stdout);
    assert!(coloured.contains("\x1b[38;2;255;255;255;48;2;0;158;115mB"), "{coloured}");
    assert_eq!(coloured.matches("48;2;").count(), coloured.matches("\x1b[0m").count());
}

#[test]
fn several_outputs_at_once() {
    let dir = fragmented();
    let both = tool("couch_map", dir.path()).args(["a.couch", "--json", "-o", "map.svg"]).assert().success();
    assert_eq!(json_lines(&both.get_output().stdout).len(), 1);
    let file = std::fs::read_to_string(dir.path().join("map.svg")).unwrap();
    let stdout = tool("couch_map", dir.path()).args(["a.couch", "-o", "-"]).assert().success();
    assert_eq!(text(&stdout.get_output().stdout), file);
    for other in ["--json", "--terminal"] {
        tool("couch_map", dir.path()).args(["a.couch", "-o", "-", other]).assert().code(2);
    }
}

#[test]
fn only_an_svg_is_overwritten() {
    let dir = fragmented();
    let path = dir.path().join("a.couch");
    let before = std::fs::read(&path).unwrap();
    tool("couch_map", dir.path())
        .args(["a.couch", "-o", "a.couch"])
        .assert()
        .code(1)
        .stderr("couch_map: a.couch: exists and is no picture of this program, so it is not overwritten\n");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    svg(dir.path(), "a.couch", &["--cells", "5"]);
    let small = size_of(&dir.path().join("map.svg"));
    svg(dir.path(), "a.couch", &[]);
    assert!(size_of(&dir.path().join("map.svg")) > small);
    let missing = tool("couch_map", dir.path()).args(["a.couch", "-o", "no/map.svg"]).assert().code(1);
    missing.stderr(starts_with("couch_map: no/map.svg: "));
}

#[test]
fn files_that_cannot_be_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("empty"), b"").unwrap();
    std::fs::write(dir.path().join("text"), b"no database\n".repeat(1000)).unwrap();
    for name in ["empty", "text", "missing", "."] {
        let one_line = contains("\n").count(1);
        tool("couch_map", dir.path())
            .arg(name)
            .assert()
            .code(1)
            .stdout("")
            .stderr(starts_with("couch_map: ").and(one_line));
    }
    tool("couch_map", dir.path()).assert().code(1).stdout("");
    for wrong in [
        vec!["--json"],
        vec!["a", "--columns", "0"],
        vec!["a", "--cells", "0"],
        vec!["a", "--header-offset", "x"],
    ] {
        tool("couch_map", dir.path()).args(wrong).assert().code(2).stdout("");
    }
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let dir = fragmented();
    let program = common::program("couch_map");
    let mut child = std::process::Command::new(program)
        .arg(dir.path().join("a.couch"))
        .args(["-o", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}
