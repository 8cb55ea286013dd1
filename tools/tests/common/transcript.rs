// SPDX-License-Identifier: Apache-2.0

//! Transcripts of the original's tools: command lines with what they print and their exit codes.
//!
//! The archive is not part of this repository: it is looked for where [`super::golden`] looks.

use super::golden;
use super::program;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What one command line gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Standard output with "| " before each line, then standard error with "! ".
    pub(crate) text: String,
    pub(crate) code: i32,
}

/// One command line, and what the original does.
#[derive(Debug)]
pub(crate) struct Entry {
    /// As in the transcript: the tool's name, its arguments.
    pub(crate) command: String,
    pub(crate) original: Outcome,
    /// The folder with the files.
    pub(crate) folder: PathBuf,
}

/// The unpacked archive.
pub(crate) struct Transcripts {
    dir: tempfile::TempDir,
}

impl Transcripts {
    /// `None`, with a word on stderr, if there is none here.
    pub(crate) fn find() -> Option<Transcripts> {
        let place = golden::place();
        let folder = if place.is_file() { place.parent().unwrap() } else { &place };
        let archive = folder.join("tools.tar.xz");
        if !archive.is_file() {
            eprintln!(
                "SKIPPED: no transcripts of the original's tools; set COUCHSTORE_GOLDEN to the folder with tools.tar.xz"
            );
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        golden::unpack(&archive, dir.path());
        Some(Transcripts { dir })
    }

    /// All entries of a folder of the archive, file by file.
    pub(crate) fn entries(&self, folder: &str) -> Vec<Entry> {
        let folder = self.dir.path().join("tools").join(folder);
        let mut texts: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        texts.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
        texts.sort();
        texts.iter().flat_map(|path| parse(&std::fs::read_to_string(path).unwrap(), &folder)).collect()
    }
}

fn parse(text: &str, folder: &Path) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            let original = Outcome { text: String::new(), code: 0 };
            entries.push(Entry { command: command.to_owned(), original, folder: folder.to_owned() });
            continue;
        }
        let entry = entries.last_mut().expect("a command line comes first");
        match line.strip_prefix("= ") {
            Some(code) => entry.original.code = code.parse().unwrap(),
            None => entry.original.text.extend([line, "\n"]),
        }
    }
    entries
}

impl Entry {
    /// What our tool of that name does.
    pub(crate) fn run(&self) -> Outcome {
        let remove_targets = || {
            for entry in self.folder.read_dir().unwrap().map(|entry| entry.unwrap()) {
                let name = entry.file_name().into_string().unwrap();
                if name == "out.couch" || name.ends_with(".recovered") {
                    std::fs::remove_file(entry.path()).unwrap();
                }
            }
        };
        remove_targets();
        let words: Vec<_> = self.command.split_whitespace().collect();
        let mut command = Command::new(program(words[0]));
        command.args(&words[1..]).current_dir(&self.folder).env("TZ", "UTC").env("LC_ALL", "C");
        let output = command.env_remove("ITERATE_HEADERS").output().unwrap();
        remove_targets();
        Outcome::of(&output)
    }
}

impl Outcome {
    fn of(output: &Output) -> Outcome {
        let mut text = String::new();
        for (mark, bytes) in [("| ", &output.stdout), ("! ", &output.stderr)] {
            for line in lines(&escaped(bytes)) {
                text.extend([mark, &line, "\n"]);
            }
        }
        Outcome { text, code: output.status.code().unwrap_or(-1) }
    }
}

/// Bytes that are not UTF-8 as the transcripts show them.
fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out
}

/// Lines end where the transcripts' do: also at control characters that separate.
fn lines(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n");
    let separates = |character| {
        matches!(
            character,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    text.split_terminator(separates).map(str::to_owned).collect()
}
