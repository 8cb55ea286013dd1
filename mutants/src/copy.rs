// SPDX-License-Identifier: Apache-2.0

//! The copy of the repository that has all mutants.

use crate::list::Mutant;
use crate::place::{Edit, place};
use crate::write::{around, before, within, write};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What all source files with mutants call.
const SWITCH: &str = include_str!("switch.rs");

const NOT_COMPILED: &str = "does not compile";

struct Source {
    text: String,
    edits: Vec<Edit>,
}

pub(crate) struct Copy {
    folder: PathBuf,
    sources: BTreeMap<String, Source>,
    /// Mutants that are not tried, and why.
    pub(crate) left_out: BTreeMap<usize, String>,
}

fn told<T>(result: std::io::Result<T>, path: &Path) -> Result<T, String> {
    result.map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a file unless it is the same: what is newer is compiled again.
fn update(path: &Path, content: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    told(path.parent().map_or(Ok(()), fs::create_dir_all), path)?;
    told(fs::write(path, content), path)
}

/// The files of the repository that its version control knows, or would take.
fn files(root: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(str::to_owned).collect())
}

/// Removes what was copied before and is not in the repository any more: cargo would take it for another test.
fn remove_others(copy: &Path, folder: &str, files: &BTreeSet<String>) -> Result<(), String> {
    let path = copy.join(folder);
    if !path.is_dir() {
        return Ok(());
    }
    for entry in told(fs::read_dir(&path), &path)? {
        let entry = told(entry, &path)?;
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            remove_others(copy, &name, files)?;
        } else if !files.contains(&name) && name != "src/mutant.rs" {
            told(fs::remove_file(entry.path()), &entry.path())?;
        }
    }
    Ok(())
}

impl Copy {
    /// Copies the repository, and writes the mutants into it.
    pub(crate) fn make(root: &Path, folder: &Path, mutants: &[Mutant]) -> Result<Copy, String> {
        let mut by_file: BTreeMap<&str, Vec<&Mutant>> = BTreeMap::new();
        for mutant in mutants {
            by_file.entry(&mutant.file).or_default().push(mutant);
        }
        let (mut sources, mut left_out) = (BTreeMap::new(), BTreeMap::new());
        for (file, mutants) in by_file {
            let text = told(fs::read_to_string(root.join(file)), Path::new(file))?;
            let placed = place(&text, &mutants)?;
            left_out.extend(placed.left_out.into_iter().map(|(id, why)| (id, why.to_owned())));
            sources.insert(file.to_owned(), Source { text, edits: placed.edits });
        }
        let copy = Copy { folder: folder.to_owned(), sources, left_out };
        let files: BTreeSet<_> = files(root)?.into_iter().filter(|file| root.join(file).is_file()).collect();
        for cargo_looks_there in ["src", "tests", "tools", "benches", "examples"] {
            remove_others(folder, cargo_looks_there, &files)?;
        }
        for file in files {
            let (from, to) = (root.join(&file), folder.join(&file));
            if !copy.sources.contains_key(&file) && file != "src/lib.rs" {
                update(&to, &told(fs::read(&from), &from)?)?;
                let permissions = told(fs::metadata(&from), &from)?.permissions();
                told(fs::set_permissions(&to, permissions), &to)?;
            }
        }
        let library = told(fs::read_to_string(root.join("src/lib.rs")), Path::new("src/lib.rs"))?;
        // Mutants that can be seen to be wrong are no errors here.
        let library = format!(
            "#![allow(arithmetic_overflow, unconditional_panic, warnings)]\n{library}\nmod mutant;\n"
        );
        update(&folder.join("src/lib.rs"), library.as_bytes())?;
        update(&folder.join("src/mutant.rs"), SWITCH.as_bytes())?;
        Ok(copy)
    }

    /// Leaves out what does not compile, until all does. `show` is called with the count before each attempt. The file
    /// `notes` has what was left out before of the same sources, as `stamp` says.
    pub(crate) fn until_it_compiles(
        &mut self,
        (notes, stamp): (&Path, u64),
        check: impl Fn() -> Result<Vec<Finding>, String>,
        show: impl Fn(usize),
    ) -> Result<(), String> {
        let known = fs::read_to_string(notes).unwrap_or_default();
        let mut known = known.lines().map_while(|line| line.parse::<u64>().ok());
        if known.next() == Some(stamp) {
            self.left_out.extend(known.map(|id| (id as usize, NOT_COMPILED.to_owned())));
        }
        loop {
            self.write_sources()?;
            show(self.left_out.len());
            let findings = check()?;
            if findings.is_empty() {
                let ids = self.left_out.iter().filter(|(_, why)| *why == NOT_COMPILED);
                let lines: Vec<_> = std::iter::once(stamp).chain(ids.map(|(id, _)| *id as u64)).collect();
                let lines: Vec<_> = lines.iter().map(u64::to_string).collect();
                return told(fs::write(notes, lines.join("\n")), notes);
            }
            let found: BTreeSet<_> = findings.iter().flat_map(|finding| self.meant(finding)).collect();
            if found.is_empty() {
                let first = findings.into_iter().next().map(|finding| finding.text);
                return Err(format!("the copy does not compile: {}", first.unwrap_or_default()));
            }
            self.left_out.extend(found.into_iter().map(|id| (id, NOT_COMPILED.to_owned())));
        }
    }

    fn write_sources(&self) -> Result<(), String> {
        self.sources.iter().try_for_each(|(file, source)| {
            let text = write(&source.text, &source.edits, |id| self.left_out.contains_key(&id));
            update(&self.folder.join(file), text.as_bytes())
        })
    }

    /// The mutants that an error of the compiler is about: those around it, or those that return from the function, or those
    /// within, or the one before the place where the compiler would mend it.
    fn meant(&self, finding: &Finding) -> Vec<usize> {
        let ways: [Way; 3] =
            [|text, bytes| around(text, bytes, false), |text, bytes| around(text, bytes, true), within];
        ways.into_iter()
            .find_map(|way| self.found(&finding.places, way))
            .unwrap_or_else(|| self.found(finding.mended.as_slice(), before).unwrap_or_default())
    }

    fn found(&self, places: &[(String, Range<usize>)], way: Way) -> Option<Vec<usize>> {
        let at = |(file, bytes): &(String, Range<usize>)| {
            let source = self.sources.get(file)?;
            let text = write(&source.text, &source.edits, |id| self.left_out.contains_key(&id));
            Some(way(&text, bytes)).filter(|found| !found.is_empty())
        };
        let found: Vec<_> = places.iter().filter_map(at).collect();
        // Rather one of a mutant alone than one of all of an expression.
        found.iter().find(|found| found.len() == 1).or(found.first()).cloned()
    }
}

/// How the mutants are found that stand at some bytes of a text.
type Way = fn(&str, &Range<usize>) -> Vec<usize>;

/// An error of the compiler.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) text: String,
    /// Where, the main places first; bytes of files.
    pub(crate) places: Vec<(String, Range<usize>)>,
    /// The last that the compiler speaks of.
    pub(crate) mended: Option<(String, Range<usize>)>,
}
