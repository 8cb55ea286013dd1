// SPDX-License-Identifier: Apache-2.0

//! What came of each mutant, kept in a file, and why some are harmless.

use crate::list::Mutant;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Found,
    Survived,
    /// No test gets there.
    NotReached,
}

impl Outcome {
    const ALL: [(Outcome, &'static str); 3] =
        [(Outcome::Found, "found"), (Outcome::Survived, "survived"), (Outcome::NotReached, "not reached")];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(outcome, _)| *outcome == self).map_or("", |(_, name)| name)
    }
}

/// The file of results: a line with a number that stands for the sources, then one for each mutant.
pub(crate) struct Results {
    path: PathBuf,
    pub(crate) outcomes: BTreeMap<String, Outcome>,
}

impl Results {
    /// Takes earlier results if the sources are the same. Those of mutants that were not found are left out if they are to be
    /// tried `again`.
    pub(crate) fn open(path: &Path, sources: u64, again: impl Fn(&str) -> bool) -> Result<Results, String> {
        let old = fs::read_to_string(path).unwrap_or_default();
        let head = format!("{sources:016x}");
        let mut lines = vec![head.clone()];
        let mut outcomes = BTreeMap::new();
        let same = old.lines().next() == Some(&head);
        for line in old.lines().skip(1).filter(|_| same) {
            let mut fields = line.split('\t');
            let (Some(name), Some(key)) = (fields.next(), fields.next()) else { continue };
            let Some((outcome, _)) = Outcome::ALL.iter().find(|(_, word)| *word == name) else { continue };
            if *outcome == Outcome::Found || !again(key) {
                lines.push(line.to_owned());
                outcomes.insert(key.to_owned(), *outcome);
            }
        }
        fs::write(path, lines.join("\n") + "\n").map_err(|error| error.to_string())?;
        Ok(Results { path: path.to_owned(), outcomes })
    }

    /// Notes what came of a mutant. `by`: the test that found it.
    pub(crate) fn note(&mut self, mutant: &Mutant, outcome: Outcome, by: &str) -> Result<(), String> {
        let Mutant { key, name, id, .. } = mutant;
        let line = format!("{}\t{key}\t{id}\t{name}\t{by}\n", outcome.name());
        let file = fs::OpenOptions::new().append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(|error| error.to_string())?;
        self.outcomes.insert(key.clone(), outcome);
        Ok(())
    }
}

/// Mutants that are known to survive: `harmless.txt` has those that change nothing that a test could or should see, each with
/// " -- " and the reason behind it, `open.txt` those of which nobody has found out. "**" stands for any text; "#" begins a
/// comment.
pub(crate) struct Known {
    patterns: Vec<String>,
}

impl Known {
    pub(crate) fn harmless(path: &Path) -> Result<Known, String> {
        Known::read(path, |line| match line.split_once(" -- ") {
            Some((pattern, why)) if !why.trim().is_empty() => Ok(pattern.trim().to_owned()),
            _ => Err(format!("expected a mutant, \" -- \" and why it is harmless: {line}")),
        })
    }

    pub(crate) fn open(path: &Path) -> Result<Known, String> {
        Known::read(path, |line| Ok(line.to_owned()))
    }

    fn read(path: &Path, pattern: impl Fn(&str) -> Result<String, String>) -> Result<Known, String> {
        let failed = |error: String| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(Known { patterns: lines.map(|line| pattern(line).map_err(failed)).collect::<Result<_, _>>()? })
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern, key))
    }

    /// The patterns of some folders that fit no mutant.
    pub(crate) fn stale<'a>(&'a self, mutants: &[&Mutant], folders: &[String]) -> BTreeSet<&'a str> {
        let is_meant = |pattern: &&String| {
            folders
                .iter()
                .any(|folder| pattern.starts_with("**") || pattern.starts_with(&format!("src/{folder}/")))
        };
        let fits = |pattern: &&String| mutants.iter().any(|mutant| matches(pattern, &mutant.key));
        self.patterns.iter().filter(is_meant).filter(|pattern| !fits(pattern)).map(String::as_str).collect()
    }
}

/// Whether a text is what a pattern says. One star is an operator.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, behind)) = pattern.split_once("**") else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| matches(behind, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        assert!(matches("src/a.rs: replace * with + in f", "src/a.rs: replace * with + in f"));
        assert!(!matches("src/a.rs: replace * with + in f", "src/a.rs: replace * with + in f #2"));
        assert!(matches("src/a.rs: replace ** in f**", "src/a.rs: replace * with + in f #2"));
        assert!(matches("src/a.rs: **", "src/a.rs: "));
        assert!(!matches("**in g", "src/a.rs: in f"));
    }
}
