// SPDX-License-Identifier: Apache-2.0

//! Scripts that were written for the original's tools go on working: the same command lines print the same, line by
//! line, and end with the same exit codes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::transcript::{Entry, Transcripts};
use std::collections::BTreeMap;

/// Command lines that differ on purpose: "COMMAND | EXIT CODE | REASON". Nothing else may.
const DIFFERENT: &str = include_str!("expected/transcripts-different.txt");

/// Outputs that are equal. May only grow.
const EQUAL: usize = 139;

/// The exit codes and reasons of command lines that differ.
fn different() -> BTreeMap<&'static str, (i32, &'static str)> {
    let lines = DIFFERENT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let fields = lines.map(|line| line.split(" | ").collect::<Vec<_>>());
    fields.map(|fields| (fields[0], (fields[1].parse().unwrap(), fields[2]))).collect()
}

/// What is wrong with our output for this command line.
fn verdict(entry: &Entry, equal: &mut usize, different: &mut BTreeMap<&str, (i32, &str)>) -> Option<String> {
    let ours = entry.run();
    let is_equal = ours == entry.original;
    *equal += usize::from(is_equal);
    let command = &entry.command;
    match different.remove(command.as_str()) {
        None if is_equal => None,
        None => {
            let pair = format!(
                "{}= {}\nours:\n{}= {}",
                entry.original.text, entry.original.code, ours.text, ours.code
            );
            Some(format!("$ {command}\n{}", first_difference(&pair)))
        }
        Some(_) if is_equal => Some(format!("$ {command}\nis equal; take it out of the table\n")),
        Some((code, _)) if code == ours.code => None,
        Some((code, _)) => Some(format!("$ {command}\nexit code {}, expected {code}\n", ours.code)),
    }
}

/// The first lines of what the original and ours print that are not the same.
fn first_difference(pair: &str) -> String {
    let (original, ours) = pair.split_once("\nours:\n").unwrap();
    let equal = original.lines().zip(ours.lines()).take_while(|(a, b)| a == b).count();
    let some =
        |text: &str| text.lines().skip(equal).take(3).fold(String::new(), |all, line| all + line + "\n");
    format!("line {}, expected:\n{}found:\n{}", equal + 1, some(original), some(ours))
}

#[test]
fn command_lines_of_the_original_print_the_same() {
    let Some(transcripts) = Transcripts::find() else { return };
    let (mut equal, mut different, mut wrong) = (0, different(), Vec::new());
    let entries: Vec<_> =
        ["host", "damaged"].into_iter().flat_map(|folder| transcripts.entries(folder)).collect();
    for entry in &entries {
        wrong.extend(verdict(entry, &mut equal, &mut different));
    }
    println!("{equal} of {} outputs equal", entries.len());
    assert!(wrong.is_empty(), "{equal} equal, {} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(different.is_empty(), "in the table, but not in the transcripts: {different:?}");
    assert!(equal >= EQUAL, "{equal} outputs equal, there were {EQUAL}");
}
