// SPDX-License-Identifier: Apache-2.0

//! The mutants, as cargo-mutants lists them.

use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Point {
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Span {
    pub(crate) start: Point,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
pub(crate) enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
    #[serde(other)]
    Other,
}

/// What cargo-mutants says of a mutant.
#[derive(Clone, Debug, Deserialize)]
struct Listed {
    file: String,
    name: String,
    genre: Genre,
    replacement: String,
    span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Mutant {
    /// What switches it on; from 1.
    pub(crate) id: usize,
    pub(crate) file: String,
    /// With line and column.
    pub(crate) name: String,
    /// The name without line and column; "#2" and so on where a function has several that look the same.
    pub(crate) key: String,
    pub(crate) genre: Genre,
    pub(crate) replacement: String,
    pub(crate) span: Span,
}

/// Asks cargo-mutants for the mutants of some folders of src/. An error: it is not there.
pub(crate) fn list(root: &Path, folders: &[String]) -> Result<Vec<Mutant>, String> {
    let mut command = Command::new("cargo-mutants");
    command.current_dir(root).args(["mutants", "--list", "--json"]);
    for folder in folders {
        command.arg("-f").arg(format!("src/{folder}/**"));
    }
    let output = command.output().map_err(|error| format!("cargo-mutants cannot be started ({error})"))?;
    if !output.status.success() {
        return Err(format!("cargo-mutants: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let listed: Vec<Listed> = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let mut seen = HashMap::new();
    Ok(listed.into_iter().enumerate().map(|(index, listed)| named(index + 1, listed, &mut seen)).collect())
}

fn named(id: usize, listed: Listed, seen: &mut HashMap<String, usize>) -> Mutant {
    let Listed { file, name, genre, replacement, span } = listed;
    let place = format!("{file}:{}:{}: ", span.start.line, span.start.column);
    let what = name.strip_prefix(&place).unwrap_or(&name);
    let mut key = format!("{file}: {what}");
    let count = seen.entry(key.clone()).or_default();
    *count += 1;
    if *count > 1 {
        key = format!("{key} #{count}");
    }
    Mutant { id, file, name, key, genre, replacement, span }
}
