// SPDX-License-Identifier: Apache-2.0

//! What all tools have in common.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{TOOLS, text, tool};
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The tools that read a file, and what comes behind its name.
const READERS: [(&str, &[&str]); 6] = [
    ("couch_check", &[]),
    ("couch_compact", &["target"]),
    ("couch_dbck", &["target"]),
    ("couch_dbdump", &[]),
    ("couch_dbinfo", &[]),
    ("couch_map", &[]),
];

const KEY: &str = "a:key:QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
const WRONG_SECRET: &str = "a:key:QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";

#[test]
fn help_has_examples() {
    for name in TOOLS {
        let assert = tool(name, Path::new(".")).arg("--help").assert().success().stderr("");
        let help = text(&assert.get_output().stdout);
        assert!(help.contains(&format!("Examples:\n  {name}")), "{help}");
        assert!(help.contains("--with-key") && help.contains("--completions <SHELL>"), "{help}");
        assert!(help.contains(&format!("Usage: {name}")), "{help}");
    }
}

/// The help of a tool, as long or short as asked for, on a terminal of this width.
fn help_at(name: &str, asked: &str, width: usize) -> String {
    let mut command = tool(name, Path::new("."));
    let assert = command.arg(asked).env("COLUMNS", width.to_string()).write_stdin("").assert().success();
    text(&assert.get_output().stdout)
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Text is broken into lines once: each line is as full as it can be, and none is too long. Lines that begin with
/// options or examples are not followed by more of the same text.
fn assert_wrapped_once(help: &str, width: usize) {
    let lines: Vec<_> = help.lines().map(str::trim_end).collect();
    for line in &lines {
        assert!(line.chars().count() <= width, "{line}\nis longer than {width}:\n{help}");
    }
    for (line, next) in lines.iter().zip(&lines[1..]) {
        let is_text = matches!(indent_of(line), 0 | 10..) && indent_of(line) == indent_of(next);
        if !is_text || line.is_empty() || next.is_empty() || next.trim_start().starts_with("- ") {
            continue;
        }
        let word = next.split_whitespace().next().unwrap();
        let with_word = line.chars().count() + 1 + word.chars().count();
        assert!(with_word > width || line.ends_with(':'), "{word} fits behind\n{line}\nin {width}:\n{help}");
    }
}

#[test]
fn help_is_wrapped_once_for_the_width_of_the_terminal() {
    for name in TOOLS {
        for width in [60, 80, 100] {
            for asked in ["--help", "-h"] {
                assert_wrapped_once(&help_at(name, asked, width), width);
            }
        }
        let widest = help_at(name, "--help", 100);
        for width in [120, 1000] {
            assert_eq!(
                help_at(name, "--help", width),
                widest,
                "{name}: lines longer than 100 are hard to read"
            );
        }
        assert_ne!(help_at(name, "--help", 80), widest, "{name}");
    }
}

#[test]
fn versions() {
    for name in TOOLS {
        let expected = format!("{name} {}\n", env!("CARGO_PKG_VERSION"));
        tool(name, Path::new(".")).arg("--version").assert().success().stdout(expected).stderr("");
    }
}

#[test]
fn completions_for_every_shell() {
    for name in TOOLS {
        for (shell, sign) in [("bash", "complete -F"), ("zsh", "#compdef"), ("fish", "complete -c")] {
            let assert =
                tool(name, Path::new(".")).args(["--completions", shell]).assert().success().stderr("");
            let script = text(&assert.get_output().stdout);
            assert!(
                script.contains(sign) && script.contains(name) && script.contains("with-key"),
                "{name} {shell}"
            );
        }
        tool(name, Path::new(".")).args(["--completions", "cobol"]).assert().code(2).stdout("");
    }
}

#[test]
fn unknown_options_are_usage_errors() {
    for name in TOOLS {
        let assert = tool(name, Path::new(".")).arg("--no-such-option").assert().code(2).stdout("");
        assert!(text(&assert.get_output().stderr).contains("--no-such-option"), "{name}");
    }
}

/// The exit code of a tool for failures.
fn failed(name: &str) -> i32 {
    if name == "couch_compact" { 255 } else { 1 }
}

/// Runs a reader on a file that it cannot read: one line on stderr that names the file, behind what the original says;
/// nothing else, and no target.
fn assert_refused(dir: &Path, name: &str, options: &[&str], file: &str, more: &[&str]) -> String {
    let mut command = tool(name, dir);
    let assert = command.args(options).args(["--explain", file]).args(more).assert();
    let assert = assert.code(failed(name)).stdout("");
    let all = text(&assert.get_output().stderr);
    let said = format!("{}\n", all.lines().last().unwrap_or_default());
    let is_the_originals = |line: &str| {
        ["Failed to open \"", "Couchstore error: ", "Recover from file ", file]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let others = all.lines().count() - 1;
    assert!(others <= 1 && all.lines().take(others).all(is_the_originals), "{name} {file}: {all}");
    assert!(said.starts_with(&format!("{name}: ")) && said.contains(file), "{name} {file}: {said}");
    assert!(!dir.join("target").exists(), "{name} {file}");
    said
}

#[test]
fn what_is_no_database_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::create_dir(dir.join("folder")).unwrap();
    std::fs::write(dir.join("empty"), "").unwrap();
    std::fs::write(dir.join("one-byte"), "x").unwrap();
    std::fs::write(dir.join("text"), "just text\n".repeat(1000)).unwrap();
    std::fs::write(dir.join("unreadable"), "").unwrap();
    std::fs::set_permissions(dir.join("unreadable"), std::fs::Permissions::from_mode(0o000)).unwrap();
    // Permissions mean nothing to root: for it the file is just empty.
    let unreadable = std::fs::File::open(dir.join("unreadable")).is_err();
    for (name, more) in READERS {
        for file in ["missing", "folder", "empty", "one-byte", "text", "unreadable"] {
            let said = assert_refused(dir, name, &[], file, more);
            let reason = match file {
                "missing" => "No such file",
                "folder" => "directory",
                "unreadable" if unreadable => "ermission denied",
                _ => continue,
            };
            assert!(said.contains(reason), "{name}: {said}");
        }
    }
}

/// A name that a terminal would obey, and that is not UTF-8.
const STRANGE: &[u8] = b"a\x1b[2J\n\xc2\x9b\xff.couch";
const SHOWN: &str = "a\\x1b[2J\\x0a\\xc2\\x9b\\xff.couch";

fn assert_harmless(name: &str, bytes: &[u8]) {
    let shown = String::from_utf8_lossy(bytes);
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{name}: {shown:?}");
}

#[test]
fn strange_names_are_shown_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, strange) = (dir.path(), OsStr::from_bytes(STRANGE));
    let assert = tool("couch_create", dir).args(["-k", "100", "-o"]).arg(strange).assert().success();
    assert!(text(&assert.get_output().stdout).contains(SHOWN));
    assert_harmless("couch_create", &assert.get_output().stdout);
    let mut command = tool("couch_bench", dir);
    let assert = command.args(["--quick", "--rows", "open", "--dir"]).arg(strange).assert().success();
    assert_harmless("couch_bench", &assert.get_output().stdout);
    let file = dir.join(strange).join(strange);
    std::fs::rename(dir.join(strange).join("0.couch.1"), &file).unwrap();
    let sound = std::fs::read(&file).unwrap();
    let db = couchstore::Db::open(&file).unwrap();
    let body = db.header().by_id.unwrap().position - 100;
    for (name, more) in READERS {
        for damaged in [false, true] {
            std::fs::write(&file, &sound).unwrap();
            if damaged {
                common::damage(&file, body);
            }
            for options in [&[][..], &["--json"], &["-v"]] {
                if options == ["-v"] && name != "couch_dbck"
                    || options == ["--json"] && name == "couch_dbdump"
                {
                    continue;
                }
                let mut command = tool(name, &dir.join(strange));
                let output = command.args(options).arg(strange).args(more).output().unwrap();
                let said = [output.stdout.as_slice(), &output.stderr].concat();
                assert_harmless(name, &said);
                // A dump shows bodies as they are.
                let in_json = SHOWN.replace('\\', "\\\\");
                let name_shown = if options == ["--json"] { in_json.as_str() } else { SHOWN };
                assert!(
                    output.stdout.is_empty() || text(&said).contains(name_shown) || damaged,
                    "{name}: {}",
                    text(&said)
                );
                let _ = std::fs::remove_file(dir.join(strange).join("target"));
            }
        }
    }
}

#[test]
fn closed_pipes_end_quietly() {
    let dir = tempfile::tempdir().unwrap();
    tool("couch_create", dir.path()).args(["-k", "20000"]).assert().success();
    let many = vec!["0.couch.1"; 2000];
    for (name, arguments) in [
        ("couch_dbdump", &["0.couch.1"][..]),
        ("couch_dbdump", &["--json", "0.couch.1"]),
        ("couch_dbdump", &["--tree", "id", "0.couch.1"]),
        ("couch_dbdump", &["--map", "0.couch.1"]),
        ("couch_dbinfo", &many),
    ] {
        let mut command = Command::new(common::program(name));
        command.current_dir(dir.path()).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut first = String::new();
        BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(!first.is_empty());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "", "{name} {arguments:?}");
        assert!(child.wait().unwrap().success(), "{name} {arguments:?}");
    }
}

#[test]
fn full_disks_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    tool("couch_create", dir.path()).args(["-k", "10"]).assert().success();
    for name in ["couch_dbdump", "couch_dbinfo"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(common::program(name));
        let output = command.current_dir(dir.path()).arg("0.couch.1").stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(text(&output.stderr).starts_with(&format!("{name}: standard output: ")), "{name}");
    }
}

#[test]
#[cfg_attr(not(feature = "encryption"), ignore = "needs encryption")]
fn keys_come_from_everywhere_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tool("couch_create", dir).args(["-k", "100", "--with-key", KEY]).assert().success();
    std::fs::write(dir.join("keys"), format!("# ours\nother:{}\n{KEY}\n", &KEY[6..])).unwrap();
    for (name, more) in READERS {
        let run = |with_key: &str, stdin: &str| {
            let _ = std::fs::remove_file(dir.join("target"));
            let mut command = tool(name, dir);
            command.args(["--with-key", with_key, "0.couch.1"]).args(more).write_stdin(stdin);
            let assert = command.assert().success();
            assert!(name == "couch_dbck" || assert.get_output().stderr.is_empty(), "{name}");
        };
        run(KEY, "");
        run("@keys", "");
        run("@-", KEY);
        let _ = std::fs::remove_file(dir.join("target"));
        assert_refused(dir, name, &[], "0.couch.1", more);
        let other_id = KEY.replace("a:key", "b:key");
        assert_refused(dir, name, &["--with-key", &other_id], "0.couch.1", more);
    }
}

/// The library's own tests keep two encrypted files. A build without encryption refuses them, and keys for new files.
#[test]
fn without_encryption_all_tools_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let key = "kept:S0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0s=";
    let left_out = "this build of the library has no encryption\n";
    for file in ["encrypted-wrapped.couch", "encrypted-derived.couch"] {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(file);
        std::fs::copy(kept, dir.join(file)).unwrap();
        for (name, more) in READERS {
            if couchstore::ENCRYPTION {
                let assert = tool(name, dir).args(["--with-key", key, file]).args(more).assert().success();
                assert!(name == "couch_dbck" || assert.get_output().stderr.is_empty(), "{name}");
                let _ = std::fs::remove_file(dir.join("target"));
            } else {
                for options in [&[][..], &["--with-key", key]] {
                    let said = assert_refused(dir, name, options, file, more);
                    assert!(said.ends_with(left_out), "{said}");
                }
            }
        }
    }
    let new = tempfile::tempdir().unwrap();
    let writers = [
        ("couch_create", &["-k", "1"][..]),
        ("couch_bench", &["--quick", "--dir", ".", "--rows", "load-encrypted"]),
    ];
    for (name, more) in writers {
        let assert = tool(name, new.path()).args(["--with-key", key]).args(more).assert();
        if couchstore::ENCRYPTION {
            assert.success();
        } else {
            let said = text(&assert.code(1).get_output().stderr);
            assert!(said.ends_with(left_out) && said.lines().count() == 1, "{name}: {said}");
            assert_eq!(std::fs::read_dir(new.path()).unwrap().count(), 0, "{name}");
        }
    }
}

#[test]
#[cfg_attr(not(feature = "encryption"), ignore = "needs encryption")]
fn a_wrong_key_is_an_error_without_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tool("couch_create", dir).args(["-k", "100", "--with-key", KEY]).assert().success();
    for (name, more) in [("couch_check", &[][..]), ("couch_compact", &["target"]), ("couch_dbdump", &[])] {
        let mut command = tool(name, dir);
        let assert =
            command.args(["--with-key", WRONG_SECRET, "0.couch.1"]).args(more).assert().code(failed(name));
        let said = text(&assert.get_output().stderr);
        assert!(!said.contains("QkJC"), "{name}: {said}");
        assert!(!dir.join("target").exists());
        if name != "couch_check" {
            let expected = "0.couch.1: nothing can be decrypted: the key is wrong, or the file damaged";
            assert_eq!(said, format!("{name}: {expected}\n"));
        }
    }
}

#[test]
fn malformed_keys_are_refused_without_showing_them() {
    for name in TOOLS {
        for secret in ["QkJCQkJC*", "QkJCQkJC"] {
            let given = format!("id:{secret}");
            let mut command = tool(name, Path::new("."));
            let file =
                if matches!(name, "couch_create" | "couch_bench") { &[][..] } else { &["file", "target"] };
            let file = if name == "couch_recommit" {
                &["--file", "file"]
            } else if matches!(name, "couch_compact" | "couch_dbck" | "couch_dbdiff") {
                file
            } else {
                &file[..file.len().min(1)]
            };
            let assert = command.args(["--with-key", &given]).args(file).assert().code(2).stdout("");
            let said = text(&assert.get_output().stderr);
            assert!(said.contains("--with-key") && !said.contains("QkJC"), "{name}: {said}");
        }
    }
}
