// SPDX-License-Identifier: Apache-2.0

//! Checks forged files.

use super::forge::Forge;
use super::{text, tool};

/// The lines that `couch_check` prints about a forged file, without its name, and its exit code.
pub(crate) fn check_with(forge: &Forge, options: &[&str]) -> (Vec<String>, i32) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), &forge.bytes).unwrap();
    let assert = tool("couch_check", dir.path()).args(["--report", "f"]).args(options).assert().stderr("");
    let output = assert.get_output();
    let lines =
        text(&output.stdout).lines().map(|line| line.strip_prefix("f: ").unwrap().to_owned()).collect();
    (lines, output.status.code().unwrap())
}

/// The problems of a file; none: it must have been praised.
pub(crate) fn problems_with(forge: &Forge, options: &[&str]) -> Vec<String> {
    let (mut lines, code) = check_with(forge, options);
    let last = lines.pop().unwrap();
    let said = match lines.len() {
        0 => "no problems; ".to_owned(),
        1 => "1 problem; ".to_owned(),
        number => format!("{number} problems; "),
    };
    assert!(last.starts_with(&said), "{last}");
    assert_eq!(code, i32::from(!lines.is_empty()));
    lines
}

#[track_caller]
pub(crate) fn expect(forge: &Forge, problems: &[String]) {
    assert_eq!(problems_with(forge, &[]), problems);
    assert_eq!(problems_with(forge, &["--threads", "1"]), problems);
    assert_eq!(problems_with(forge, &["--all-headers"]), problems);
}

/// For files whose problems bring others with them.
#[track_caller]
pub(crate) fn expect_among(forge: &Forge, problems: &[String]) {
    let found = problems_with(forge, &[]);
    for problem in problems {
        assert!(found.contains(problem), "{problem} in {found:?}");
    }
}
