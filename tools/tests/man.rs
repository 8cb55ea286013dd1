// SPDX-License-Identifier: Apache-2.0

//! Manual pages say what the help says.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{COUCH, OLDER_NAME, TOOLS, text, tool};
use std::path::Path;
use std::process::Command;

fn run(mut command: Command, option: &str) -> String {
    let output = command.arg(option).env("COLUMNS", "100").output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{command:?}");
    text(&output.stdout)
}

fn linked(name: &str) -> Command {
    let mut command = Command::new(tool(name, Path::new(".")).get_program());
    command.env_clear();
    command
}

/// The text of a page without what it looks like.
fn plain(page: &str) -> String {
    let without_fonts = page.replace("\\fB", "").replace("\\fI", "").replace("\\fR", "");
    without_fonts
        .replace("\\-", "-")
        .replace("\\*(Aq", "'")
        .replace("\\&", "")
        .replace("\\\\", "\\")
        .replace("\n.SH \"SEE ALSO\"\n", "\n.SH SEE ALSO\n")
}

/// The long options that lines of help begin with: "-o, --offset <OFFSET>   what it does".
fn options(help: &str) -> Vec<&str> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = lines.flat_map(|line| line.split("  ").next().unwrap().split_whitespace());
    words.filter(|word| word.starts_with("--")).collect()
}

fn section<'a>(page: &'a str, name: &str) -> &'a str {
    let begin = page.find(&format!("\n.SH {name}\n")).unwrap_or_else(|| panic!("no {name}: {page}"));
    let rest = &page[begin + 5..];
    rest.find("\n.SH ").map_or(rest, |end| &rest[..end])
}

#[test]
fn pages_of_tools_have_all_options_and_examples() {
    for name in TOOLS.into_iter().chain([OLDER_NAME]) {
        let page = plain(&run(linked(name), "--man-page"));
        let help = run(linked(name), "--help");
        assert!(page.contains(&format!("\n.TH {} 1 ", name.to_uppercase())), "{name}: {page}");
        assert!(section(&page, "NAME").contains(&format!("\n{name} - ")), "{name}: {page}");
        assert!(section(&page, "SYNOPSIS").contains(name), "{name}: {page}");
        let listed = section(&page, "OPTIONS");
        let options = options(help.split("\nExamples:\n").next().unwrap());
        assert!(options.len() >= 4, "{name}: {options:?}");
        for option in options {
            assert!(listed.contains(option.split(['=', '[']).next().unwrap()), "{name}: {option}: {listed}");
        }
        let examples = help.split("\nExamples:\n").nth(1).unwrap();
        let listed = section(&page, "EXAMPLES");
        let mut found = 0;
        for example in examples.lines().take_while(|line| !line.is_empty()) {
            // "  couch_map FILE   what it does", in one line or in two.
            let command = example.trim_start().split("  ").next().unwrap();
            assert!(listed.contains(command), "{name}: {command}: {listed}");
            found += 1;
        }
        assert!(found > 0, "{name}: {help}");
        assert!(section(&page, "SEE ALSO").contains("couch(1)"), "{name}: {page}");
    }
}

#[test]
fn the_page_of_the_program_lists_the_tools() {
    let page = plain(&run(Command::new(COUCH), "--man-page"));
    for name in TOOLS {
        assert!(section(&page, "TOOLS").contains(&format!("\n{name}\n")), "{name}: {page}");
        assert!(section(&page, "SEE ALSO").contains(&format!("{name}(1)")), "{name}: {page}");
    }
}

/// The option is for whoever makes packages.
#[test]
fn help_and_pages_do_not_speak_of_the_option() {
    for name in TOOLS.into_iter().chain([OLDER_NAME]) {
        assert!(!run(linked(name), "--help").contains("man-page"), "{name}");
        assert!(!run(linked(name), "--man-page").contains("man\\-page"), "{name}");
    }
    assert!(!run(Command::new(COUCH), "--help").contains("man-page"));
}
