// SPDX-License-Identifier: Apache-2.0

//! Keys that a program of the server hands out: here a stand-in for it.

#![cfg(feature = "encryption")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{install, text, tool};
use std::path::Path;

const SECRET: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";

/// Checks its arguments, wants the password "open", and knows the key "my:key".
const PROGRAM: &str = r#"#!/bin/sh
echo run >> "$PWD/runs"
[ "$1 $3 $5 $4" = "--gosecrets --config --key-ids the config" ] || { echo "called with $*"; exit 9; }
[ -x "$2" ] && [ "$2" = "$(dirname "$0")/gosecrets" ] || exit 8
if [ "$7" = --stdin-password ]; then read -r password; fi
[ "$password" = open ] || exit 2
case $6 in
my:key) echo '{"my:key": {"result": "raw-aes-gcm", "response": {"key": "SECRET"}}}' ;;
*) echo "{\"$6\": {\"result\": \"error\", \"response\": \"never heard of it\"}}" ;;
esac
"#;

/// A folder with the programs, an encrypted file "mine", and one whose key the program does not know, "other".
fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("bin")).unwrap();
    let script = dir.path().join("script");
    std::fs::write(&script, PROGRAM.replace("SECRET", SECRET)).unwrap();
    for name in ["dump-keys", "gosecrets"] {
        install(&script, &dir.path().join("bin").join(name));
    }
    std::fs::remove_file(script).unwrap();
    for (name, id) in [("mine", "my:key"), ("other", "other")] {
        let key = format!("{id}:{SECRET}");
        tool("couch_create", dir.path()).args(["-k", "10", "--with-key", &key]).assert().success();
        std::fs::rename(dir.path().join("0.couch.1"), dir.path().join(name)).unwrap();
    }
    dir
}

const OPTIONS: [&str; 4] = ["--with-dump-keys", "bin/dump-keys", "--with-gosecrets", "the config"];

fn run(dir: &Path, name: &str, arguments: &[&str], stdin: &str) -> (i32, String, String) {
    let mut command = tool(name, dir);
    let output = command.args(OPTIONS).args(arguments).write_stdin(stdin).output().unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_program_is_asked_for_keys() {
    let dir = place();
    let dir = dir.path();
    for (password, stdin) in [("open", ""), ("-", "open\n")] {
        for (name, more) in [
            ("couch_dbinfo", &[][..]),
            ("couch_dbdump", &["--no-body"]),
            ("couch_check", &[]),
            ("couch_dbck", &["recovered"]),
            ("couch_compact", &["compacted"]),
        ] {
            let arguments = [&["--password", password, "mine"][..], more].concat();
            let (code, _, stderr) = run(dir, name, &arguments, stdin);
            assert_eq!(code, 0, "{name}: {stderr}");
        }
        let (_, shown, _) =
            run(dir, "couch_dbinfo", &["--password", password, "mine", "compacted", "recovered"], stdin);
        assert_eq!(shown.matches("   Encryption key: my:key\n").count(), 3, "copies are encrypted: {shown}");
        for made in ["compacted", "recovered"] {
            std::fs::remove_file(dir.join(made)).unwrap();
        }
    }
}

#[test]
fn keys_that_are_given_are_not_asked_for() {
    let dir = place();
    let key = format!("other:{SECRET}");
    let (code, _, stderr) = run(dir.path(), "couch_dbinfo", &["--with-key", &key, "other"], "");
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(!dir.path().join("runs").exists());
    // Nor is one that is known already.
    let (code, _, _) = run(dir.path(), "couch_dbdump", &["--password", "open", "mine", "mine"], "");
    let runs = std::fs::read_to_string(dir.path().join("runs")).unwrap();
    assert_eq!((code, runs.lines().count()), (0, 1));
}

#[test]
fn why_there_is_no_key_is_said() {
    let dir = place();
    let dir = dir.path();
    for (arguments, said) in [
        (&["mine"][..], "couch_dbinfo: incorrect password\n"),
        (&["--password", "wrong", "mine"], "couch_dbinfo: incorrect password\n"),
        (&["--password", "open", "other"], "couch_dbinfo: key \"other\": error: \"never heard of it\"\n"),
        (&["--with-gosecrets", "another", "mine"], "the argument '--with-gosecrets <FILE>' cannot be used"),
    ] {
        let (code, stdout, stderr) = run(dir, "couch_dbinfo", arguments, "");
        assert!(code != 0 && stdout.is_empty() && stderr.contains(said), "{arguments:?}: {stderr}");
        assert!(!stderr.contains(SECRET));
    }
    let other = ["--with-dump-keys", "bin/dump-keys", "--with-gosecrets", "another", "mine"];
    let assert = tool("couch_dbinfo", dir).args(other).assert().code(1);
    let said = text(&assert.get_output().stderr);
    assert!(said.starts_with("couch_dbinfo: bin/dump-keys failed: called with --gosecrets"), "{said}");
    std::fs::remove_file(dir.join("bin/gosecrets")).unwrap();
    let (code, _, stderr) = run(dir, "couch_dbinfo", &["mine"], "");
    assert_eq!((code, stderr.as_str()), (1, "couch_dbinfo: bin/gosecrets: no such program\n"));
}
