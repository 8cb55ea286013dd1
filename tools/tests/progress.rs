// SPDX-License-Identifier: Apache-2.0

//! Progress is for people: it goes to a terminal or nowhere.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{program, text, tool};
use std::path::Path;
use std::process::{Command, Stdio};

/// What takes long enough for a bar, and its word.
const LONG: [(&str, &[&str], &str); 8] = [
    ("couch_create", &["-k", "60000", "-f", "1000"], "creating"),
    ("couch_check", &["0.couch.1"], "checking"),
    ("couch_check", &["--all-headers", "--json", "0.couch.1"], "checking"),
    ("couch_map", &["0.couch.1", "--color=never"], "map"),
    ("couch_compact", &["0.couch.1", "target"], "compacting"),
    ("couch_compact", &["0.couch.1", "--online"], "compacting"),
    ("couch_dbck", &["--report", "0.couch.1", "target"], "recovering"),
    ("couch_bench", &["--quick", "--dir", ".", "--sync", "none", "--rows", "load,get,open"], "get"),
];

/// Runs each in a folder with a file, in which nothing is left but that.
fn for_each(mut run: impl FnMut(&Path, &str, &[&str], &str)) {
    let dir = tempfile::tempdir().unwrap();
    for (name, arguments, word) in LONG {
        run(dir.path(), name, arguments, word);
        let _ = std::fs::remove_file(dir.path().join("target"));
    }
}

#[test]
fn pipes_and_files_get_no_progress() {
    for_each(|dir, name, arguments, _| {
        let mut command = tool(name, dir);
        // Nor does a terminal that is only said to be there.
        let assert =
            command.env("TERM", "xterm-256color").env("CLICOLOR_FORCE", "1").args(arguments).assert();
        let output = assert.success().get_output().clone();
        assert_eq!(text(&output.stderr), "", "{name}");
        let shown = text(&output.stdout);
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{name}: {shown:?}");
    });
}

/// Runs a line of shell in a new terminal and returns what it shows.
fn in_terminal(dir: &Path, name: &str, line: &str) -> String {
    let mut command = Command::new("script");
    command.current_dir(dir).args(["-qec", line, "/dev/null"]).env("TOOL", program(name));
    command.env("TERM", "xterm").env("SHELL", "/bin/sh").stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stdout));
    text(&output.stdout)
}

#[test]
fn terminals_get_progress() {
    for_each(|dir, name, arguments, word| {
        let line = format!("stty cols 80; \"$TOOL\" {} >/dev/null", arguments.join(" "));
        let shown = in_terminal(dir, name, &line);
        assert!(shown.contains(word) && shown.contains('%'), "{name}: {shown:?}");
        let shown = shown.replace("\r\n", "\n");
        // The bar goes away in the end: the last thing shown is an empty line.
        let last = shown.rsplit(['\r', '\n']).next().unwrap();
        assert!(!last.contains('%'), "{name}: {shown:?}");
    });
}

/// Standard output being a terminal is no reason to write bars into a file of errors.
#[test]
fn progress_depends_on_standard_error_alone() {
    for_each(|dir, name, arguments, _| {
        let line = format!("stty cols 80; \"$TOOL\" {} 2>errors", arguments.join(" "));
        let shown = in_terminal(dir, name, &line);
        assert!(!shown.contains('\r') || !shown.replace("\r\n", "\n").contains('\r'), "{name}: {shown:?}");
        assert_eq!(std::fs::read_to_string(dir.join("errors")).unwrap(), "", "{name}");
        std::fs::remove_file(dir.join("errors")).unwrap();
    });
}
