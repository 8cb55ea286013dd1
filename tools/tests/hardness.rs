// SPDX-License-Identifier: Apache-2.0

//! What users, files and the system may do to `couch_map`, `couch_bench` and what all tools share.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::child::{process, signal};
use common::forge::Forge;
use common::rng::Rng;
use common::{json_lines, text, tool};
use couchstore::inspect::Tree;
use couchstore::{Db, Document, SaveOptions};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const KEY: &str = "a:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
const WRONG_KEY: &str = "a:QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";

/// A folder with a file of a few commits.
fn sample(options: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    tool("couch_create", dir.path()).args(["-k", "300", "-f", "100"]).args(options).assert().success();
    std::fs::rename(dir.path().join("0.couch.1"), dir.path().join("a.couch")).unwrap();
    dir
}

/// Runs a line of shell with the tool as `$0`.
fn shell(name: &str, dir: &Path, line: &str) -> Output {
    let program = common::program(name);
    Command::new("sh").current_dir(dir).args(["-c", line]).arg(program).output().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn full_disks_are_told_of_whatever_is_printed() {
    let dir = sample(&[]);
    for line in [
        "$0 --help",
        "$0 --version",
        "$0 --completions bash",
        "$0 --completions zsh",
        "$0 a.couch",
        "$0 a.couch --json",
        "$0 a.couch -o -",
    ] {
        let output = shell("couch_map", dir.path(), &format!("{line} > /dev/full"));
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(text(&output.stderr).starts_with("couch_map: standard output: "), "{line}");
    }
    let output = shell("couch_bench", dir.path(), "$0 --quick --rows open --dir . > /dev/full");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(names(dir.path()), ["a.couch"]);
}

#[test]
fn help_may_be_read_in_part() {
    let output = shell("couch_map", Path::new("."), "{ $0 --help; echo $? >&2; } | head -c 1");
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("S".to_owned(), "0\n".to_owned()));
}

#[test]
fn closed_outputs_are_no_reason_to_panic() {
    let dir = sample(&[]);
    for (line, code) in
        [("$0 a.couch >&-", 0), ("$0 a.couch 2>&-", 0), ("$0 nothing 2>&-", 1), ("$0 nothing >&- 2>&-", 1)]
    {
        assert_eq!(shell("couch_map", dir.path(), line).status.code(), Some(code), "{line}");
    }
}

#[test]
fn errors_are_one_line_whatever_the_name() {
    let dir = tempfile::tempdir().unwrap();
    tool("couch_map", dir.path())
        .arg("two\nlines\x1b[2J")
        .assert()
        .code(1)
        .stderr("couch_map: two\\x0alines\\x1b[2J: cannot open: No such file or directory (os error 2)\n");
    // The tools that go on with the next file.
    let assert = tool("couch_dbinfo", dir.path()).args(["a\nb", "c\rd"]).assert().code(1);
    let said = text(&assert.get_output().stderr);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("\"a\\x0ab\": ") && said.contains("\"c\\x0dd\": "), "{said}");
}

#[test]
fn names_cannot_speak_to_the_terminal() {
    let dir = sample(&[]);
    let name = OsStr::from_bytes(b"\xff\x1b[2J\n.couch");
    std::fs::rename(dir.path().join("a.couch"), dir.path().join(name)).unwrap();
    let assert = tool("couch_map", dir.path()).arg(name).assert().success();
    let picture = text(&assert.get_output().stdout);
    assert!(picture.starts_with("\\xff\\x1b[2J\\x0a.couch: "), "{picture}");
    let assert = tool("couch_map", dir.path()).arg(name).arg("--json").assert().success();
    let figures = json_lines(&assert.get_output().stdout).remove(0);
    assert_eq!(figures["file"], "\\xff\\x1b[2J\\x0a.couch");
    std::fs::create_dir(dir.path().join("d\n")).unwrap();
    let arguments = ["--quick", "--rows", "open", "--sync", "none", "--dir", "d\n"];
    let assert = tool("couch_bench", dir.path()).args(arguments).assert().success();
    assert!(text(&assert.get_output().stdout).starts_with("directory d\\x0a\nsyncs none, "));
}

#[test]
fn nobody_waits_for_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap().success());
    for name in ["couch_map", "couch_check", "couch_dbinfo", "couch_dbdump"] {
        let mut command = tool(name, dir.path());
        let assert = command.arg("pipe").timeout(Duration::from_secs(60)).assert().code(1).stdout("");
        let said = text(&assert.get_output().stderr);
        assert!(said.contains("pipe: is a pipe or socket"), "{said}");
    }
}

#[test]
fn pictures_and_documents_of_others_are_not_overwritten() {
    let dir = sample(&[]);
    for foreign in [
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<project/>\n",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"><desc>Art</desc></svg>\n",
        "x",
    ] {
        let path = dir.path().join("foreign");
        std::fs::write(&path, foreign).unwrap();
        tool("couch_map", dir.path()).args(["a.couch", "-o", "foreign"]).assert().code(1).stdout("");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), foreign);
    }
}

#[test]
fn a_picture_is_replaced_at_once() {
    let dir = sample(&[]);
    let picture = dir.path().join("a.svg");
    let draw = |target: &str| tool("couch_map", dir.path()).args(["a.couch", "-o", target]).assert();
    draw("a.svg").success();
    std::fs::set_permissions(&picture, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("a.svg", dir.path().join("link.svg")).unwrap();
    draw("link.svg").success();
    assert!(dir.path().join("link.svg").is_symlink());
    assert_eq!(std::fs::metadata(&picture).unwrap().permissions().mode() & 0o777, 0o640);
    let before = std::fs::read(&picture).unwrap();
    // No file may grow beyond a block of 512 bytes (1024 with some shells): as if the disk was full.
    for target in ["a.svg", "new.svg"] {
        let line = format!("trap '' XFSZ; ulimit -f 1; $0 a.couch -o {target}");
        let output = shell("couch_map", dir.path(), &line);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.starts_with(&format!("couch_map: {target}: ")) && said.lines().count() == 1, "{said}");
    }
    assert_eq!(std::fs::read(&picture).unwrap(), before);
    assert_eq!(names(dir.path()), ["a.couch", "a.svg", "link.svg"]);
}

#[test]
fn new_pictures_can_be_read_by_those_the_mask_allows() {
    let dir = sample(&[]);
    let output = shell("couch_map", dir.path(), "umask 027; $0 a.couch -o a.svg");
    assert!(output.status.success());
    let mode = std::fs::metadata(dir.path().join("a.svg")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
#[cfg_attr(not(feature = "encryption"), ignore = "needs encryption")]
fn a_wrong_key_does_not_show_a_file_of_garbage() {
    let dir = sample(&["--with-key", KEY]);
    let said = "couch_map: a.couch: nothing can be decrypted: the key is wrong, or the file damaged\n";
    for options in [&[][..], &["--json"], &["-o", "a.svg"]] {
        let mut command = tool("couch_map", dir.path());
        let assert = command.args(["a.couch", "--with-key", WRONG_KEY]).args(options).assert();
        assert.code(1).stdout("").stderr(said);
    }
    assert_eq!(names(dir.path()), ["a.couch"]);
}

#[test]
fn offsets_without_a_header_are_told_apart() {
    let dir = sample(&[]);
    let size = std::fs::metadata(dir.path().join("a.couch")).unwrap().len();
    let refuse = |offset: &str, said: &str| {
        let mut command = tool("couch_map", dir.path());
        let assert = command.args(["a.couch", "--header-offset", offset]).assert().code(1).stdout("");
        assert.stderr(format!("couch_map: a.couch: {said}\n"));
    };
    refuse("4097", "no header at offset 4097");
    refuse(
        "0x7fffffffffffffff",
        &format!("offset {} is behind the end, the file has {size} bytes", i64::MAX),
    );
}

/// The library refuses to give figures of a file whose root makes no sense, but an older header may be sound.
#[test]
fn an_older_header_can_be_shown_behind_a_root_that_makes_no_sense() {
    let mut forge = Forge::new();
    let doc = forge.doc("a", 1, b"body");
    let sound = forge.small(&[&doc]);
    let mut by_id = forge.leaf(Tree::ById, &[&doc]);
    by_id.reduce.pop();
    forge.header(1, None, Some(&by_id), None);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), &forge.bytes).unwrap();
    let offset = sound.to_string();
    tool("couch_map", dir.path()).args(["f", "--header-offset", &offset]).assert().success().stderr("");
}

#[test]
fn a_false_metadata_header_is_damage() {
    let mut forge = Forge::new();
    forge.bytes[0] = 2;
    let doc = forge.doc("a", 1, b"body");
    forge.small(&[&doc]);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), &forge.bytes).unwrap();
    let assert = tool("couch_map", dir.path()).args(["f", "--json"]).assert().code(1);
    let figures = json_lines(&assert.get_output().stdout).remove(0);
    assert_eq!((&figures["damaged_places"], &figures["documents"]), (&1.into(), &1.into()));
    assert_eq!(figures["bytes"]["damaged"], 4096);
}

/// Bits are turned, bytes overwritten, ends cut off: there is a picture whose bytes add up, or one line that says why
/// not.
#[test]
fn damaged_files_are_shown_or_refused() {
    let plain = sample(&[]);
    let encrypted = if couchstore::ENCRYPTION { sample(&["--with-key", KEY]) } else { sample(&[]) };
    let mut rng = Rng::new();
    for round in 0..200_u32 {
        let dir = if round % 3 == 0 { &encrypted } else { &plain };
        let mut bytes = std::fs::read(dir.path().join("a.couch")).unwrap();
        let mut below = |limit: usize| rng.index(limit);
        match round % 4 {
            0 => bytes.truncate(below(bytes.len() + 1)),
            1 => (0..20).for_each(|_| {
                let at = below(bytes.len());
                bytes[at] ^= 1 << below(8);
            }),
            2 => (0..3).for_each(|_| {
                let block = below(bytes.len() / 4096) * 4096;
                bytes[block] = [0, 1, 2, 3, 255][below(5)];
            }),
            _ => {
                let at = below(bytes.len());
                let end = (at + below(5000)).min(bytes.len());
                bytes[at..end].fill(below(256) as u8);
            }
        }
        std::fs::write(dir.path().join("x"), &bytes).unwrap();
        let mut command = tool("couch_map", dir.path());
        command.args(["x", "--with-key", KEY, "--json"]).timeout(Duration::from_secs(120));
        let output = command.args(["--bodies"].iter().take((round % 2) as usize)).output().unwrap();
        assert_reasonable(&output, bytes.len());
    }
}

fn assert_reasonable(output: &Output, size: usize) {
    let (code, said) = (output.status.code(), text(&output.stderr));
    assert!(matches!(code, Some(0 | 1)), "{code:?} {said}");
    assert_eq!(said.lines().count(), usize::from(code == Some(1)), "{said}");
    if let Some(figures) = json_lines(&output.stdout).first() {
        let bytes = figures["bytes"].as_object().unwrap();
        assert_eq!(bytes.values().map(|bytes| bytes.as_u64().unwrap()).sum::<u64>(), size as u64);
        assert_eq!(figures["damaged_places"] != 0, code == Some(1), "{said}");
    } else {
        assert_eq!(code, Some(1));
    }
}

#[test]
fn files_may_grow_while_they_are_looked_at() {
    let dir = sample(&[]);
    let db = Db::open(dir.path().join("a.couch")).unwrap();
    let child = |options: &[&str]| {
        let mut command = Command::new(common::program("couch_map"));
        command.current_dir(dir.path()).arg("a.couch").args(options);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for _ in 0..10 {
        let mut child = child(&["--json"]);
        let mut number = 0_u32;
        while child.try_wait().unwrap().is_none() {
            number += 1;
            db.save(&[Document::new(&number.to_be_bytes(), b"body")], SaveOptions::default()).unwrap();
            db.commit().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    }
}

/// A terminal that is closed sends a signal, and often the shell does so too.
#[test]
fn closed_terminals_leave_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["--docs", "1M", "--batch", "500", "--rows", "load", "--sync", "none", "--dir", "."];
    let mut command = process("couch_bench", dir.path());
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    while names(dir.path()).is_empty() {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(1));
    }
    signal("HUP", child.id());
    signal("HUP", child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(names(dir.path()).is_empty());
}

#[test]
fn signals_that_were_ignored_at_the_start_stay_so() {
    let dir = tempfile::tempdir().unwrap();
    let line = "trap '' HUP INT; $0 --docs 20k --rows load --sync none --dir . & \
                while ! ls couch_bench-* >/dev/null 2>&1; do :; done; kill -HUP $!; kill -INT $!; wait $!";
    let output = shell("couch_bench", dir.path(), line);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    assert!(text(&output.stdout).contains("load "));
}

#[test]
fn a_batch_has_to_fit_into_memory() {
    let dir = tempfile::tempdir().unwrap();
    let huge =
        ["--docs", "100M", "--batch", "1000000", "--body-size", "1048576", "--rows", "load", "--dir", "."];
    let assert = tool("couch_bench", dir.path()).args(huge).assert().code(2).stdout("");
    assert.stderr("couch_bench: a batch would take 95.367 GB of memory; 4.000 GB are allowed\n");
}
