// SPDX-License-Identifier: Apache-2.0

//! One program, many names.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{COUCH, install, program, text, tool};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

const SHORT: [&str; 10] =
    ["bench", "check", "compact", "create", "dbck", "dbdiff", "dbdump", "dbinfo", "map", "recommit"];

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), text(&stdout), text(&stderr))
}

/// What every tool says of a file that is not there, by the way it was started.
fn complaint(command: &mut Command) -> String {
    let (code, stdout, stderr) = run(command.args(["--explain", "/nowhere/file"]));
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    stderr
}

/// All names of all tools are in the help of the program, and what it says is not in a tool's.
fn assert_lists_tools(shown: &str, name: &str) {
    assert!(shown.contains(&format!("Usage: {name} [OPTIONS] [TOOL]")), "{shown}");
    for tool in SHORT {
        assert!(
            shown.lines().any(|line| line.trim_start().starts_with(&format!("{tool} "))),
            "{tool}: {shown}"
        );
    }
}

#[test]
fn the_name_of_the_program_says_which_tool_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let said = "Failed to open \"/nowhere/file\": no such file\n\
                couch_dbinfo: /nowhere/file: cannot open: No such file or directory (os error 2)\n";
    let link = program("couch_dbinfo");
    assert_eq!(complaint(&mut Command::new(&link)), said);
    symlink(&link, dir.path().join("couch_dbinfo")).unwrap();
    assert_eq!(complaint(Command::new("./couch_dbinfo").current_dir(dir.path())), said, "a relative name");
    assert_eq!(complaint(Command::new("couch_dbinfo").env("PATH", dir.path())), said, "found in PATH");
    std::fs::create_dir(dir.path().join("copies")).unwrap();
    let copy = dir.path().join("copies/couch_dbinfo");
    install(Path::new(COUCH), &copy);
    assert_eq!(complaint(&mut Command::new(&copy)), said, "a copy");
    assert_eq!(complaint(Command::new(COUCH).arg0("couch_dbinfo")), said);
    assert_eq!(complaint(Command::new(COUCH).arg0("some/where//couch_dbinfo")), said);
}

#[test]
fn every_tool_is_a_command_as_well() {
    for short in SHORT {
        let long = format!("couch_{short}");
        let help = text(&tool(&long, Path::new(".")).arg("--help").assert().get_output().stdout);
        for asked in [short, &long] {
            let (code, stdout, stderr) = run(Command::new(COUCH).args([asked, "--help"]));
            assert_eq!((code, stderr.as_str()), (Some(0), ""));
            assert!(stdout.contains(&format!("Usage: couch {short}")), "{stdout}");
            let with_links = |shown: String, tool: &&str| {
                shown.replace(&format!("couch {tool}"), &format!("couch_{tool}"))
            };
            assert_eq!(SHORT.iter().fold(stdout, with_links), help);
        }
        let (code, version, _) = run(Command::new(COUCH).args([short, "--version"]));
        assert_eq!((code, version), (Some(0), format!("{long} {}\n", env!("CARGO_PKG_VERSION"))));
        let (code, script, _) = run(Command::new(COUCH).args([short, "--completions", "bash"]));
        assert_eq!(code, Some(0));
        assert!(script.contains(&format!("complete -F _{long}")), "{script}");
        let (code, _, stderr) = run(Command::new(COUCH).args([short, "--no-such-option"]));
        assert_eq!(code, Some(2));
        assert!(stderr.contains("--no-such-option"), "{stderr}");
    }
    let said = "Failed to open \"/nowhere/file\": no such file\n\
                couch dbinfo: /nowhere/file: cannot open: No such file or directory (os error 2)\n";
    assert_eq!(complaint(Command::new(COUCH).arg("dbinfo")), said);
    assert_eq!(complaint(Command::new(COUCH).arg("couch_dbinfo")), said);
    let usage = run(Command::new(COUCH).args(["dbinfo"]));
    assert_eq!(usage, (Some(1), String::new(), "couch dbinfo: no FILE was given; see --help\n".to_owned()));
}

#[test]
fn without_a_tool_the_program_lists_them() {
    let (code, stdout, stderr) = run(Command::new(COUCH).arg("--help"));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_lists_tools(&stdout, "couch");
    let (code, stdout, stderr) = run(&mut Command::new(COUCH));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert_lists_tools(&stderr, "couch");
    let (code, stdout, _) = run(Command::new(COUCH).arg("--version"));
    assert_eq!((code, stdout), (Some(0), format!("couch {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, stdout, stderr) = run(Command::new(COUCH).arg("--no-such-option"));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("--no-such-option"), "{stderr}");
    for (shell, sign) in
        [("bash", "complete -F _couch "), ("zsh", "#compdef couch"), ("fish", "complete -c couch ")]
    {
        let (code, script, _) = run(Command::new(COUCH).args(["--completions", shell]));
        assert_eq!(code, Some(0), "{shell}");
        assert!(script.contains(sign) && script.contains("dbinfo"), "{shell}");
    }
}

#[test]
fn unknown_names_are_told_which_tools_there_are() {
    for (name, said) in [
        (OsStr::new("couch_frob"), "couch_frob"),
        (OsStr::new("/usr/bin/frob"), "frob"),
        (OsStr::new("couch_dbinfo2"), "couch_dbinfo2"),
        (OsStr::new("COUCH_DBINFO"), "COUCH_DBINFO"),
        (OsStr::new(""), "couch"),
        (OsStr::new("/"), "couch"),
        (OsStr::new(".."), "couch"),
        (OsStr::from_bytes(b"fr\xffob\x1b"), "fr\\xffob\\x1b"),
    ] {
        let (code, stdout, stderr) = run(Command::new(COUCH).arg0(name).arg("frobnicate"));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{name:?}: {stderr}");
        assert!(stderr.starts_with(&format!("{said}: there is no tool frobnicate\n")), "{name:?}: {stderr}");
        assert_lists_tools(&stderr, said);
        // Whatever its name is, the program has its commands.
        let (code, stdout, _) = run(Command::new(COUCH).arg0(name).args(["map", "--version"]));
        assert_eq!((code, stdout), (Some(0), format!("couch_map {}\n", env!("CARGO_PKG_VERSION"))));
    }
    let (code, _, stderr) = run(Command::new(COUCH).arg(OsStr::from_bytes(b"\xff\n\x1b[2J")));
    assert_eq!(code, Some(2));
    assert!(!stderr.contains('\x1b'), "{stderr:?}");
}

/// The original's tool for this is called so.
#[test]
fn dbdiff_is_a_link_of_its_own() {
    let dir = Path::new(".");
    let help = text(&tool("dbdiff", dir).arg("--help").assert().success().get_output().stdout);
    assert!(help.contains("Usage: dbdiff "), "{help}");
    let script = tool("dbdiff", dir).args(["--completions", "bash"]).assert().success();
    assert!(text(&script.get_output().stdout).contains("complete -F _dbdiff"));
    let (code, _, stderr) = run(Command::new(COUCH).arg0("dbinfo").arg("--version"));
    assert_eq!(code, Some(0), "{stderr}");
}
