// SPDX-License-Identifier: Apache-2.0

//! Compiling the copy.

use crate::copy::Finding;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) struct Cargo {
    /// The copy.
    pub(crate) folder: PathBuf,
    pub(crate) target: PathBuf,
}

/// A program of tests.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Where its package is: tests run there.
    pub(crate) folder: PathBuf,
}

/// What the tests are compiled with. What the mutants are in need not be fast, but soon compiled.
const OPTIONS: [&str; 8] = [
    "--locked",
    "--profile",
    "test-release",
    "--features",
    "sim",
    "--config",
    "profile.test-release.package.couchstore.opt-level=1",
    "--message-format=json",
];

impl Cargo {
    fn run(&self, arguments: &[&str]) -> Result<(bool, Vec<Value>), String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(arguments)
            .args(OPTIONS)
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &self.target)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cargo: {error}"))?;
        let lines = output.stdout.split(|byte| *byte == b'\n');
        Ok((output.status.success(), lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()))
    }

    /// The errors of the library, and of what there is of it for tests only; none if it compiles.
    pub(crate) fn check(&self) -> Result<Vec<Finding>, String> {
        let (passed, messages) = self.run(&["check", "--quiet", "--lib", "--tests"])?;
        if passed {
            return Ok(Vec::new());
        }
        let errors = messages.iter().map(|message| &message["message"]);
        let found: Vec<_> = errors.filter(|message| message["level"] == "error").map(finding).collect();
        if found.is_empty() { Err("the copy does not compile".into()) } else { Ok(found) }
    }

    /// Builds the programs of tests with these names, or all.
    pub(crate) fn build(&self, names: &[String]) -> Result<Vec<Program>, String> {
        let mut arguments = vec!["test", "--quiet", "--no-run", "-p", "couchstore"];
        for name in names {
            arguments.extend(if name == "couchstore" { vec!["--lib"] } else { vec!["--test", name] });
        }
        if names.is_empty() {
            arguments.extend(["--lib", "--tests"]);
        }
        let (passed, messages) = self.run(&arguments)?;
        if !passed {
            let errors = messages.iter().map(|message| &message["message"]["rendered"]);
            return Err(errors.filter_map(Value::as_str).collect());
        }
        Ok(messages.iter().filter_map(program).collect())
    }
}

fn program(message: &Value) -> Option<Program> {
    let path = Some(message).filter(|message| message["profile"]["test"] == true)?["executable"].as_str()?;
    let name = message["target"]["name"].as_str()?.to_owned();
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    Some(Program { name, path: path.into(), folder })
}

fn finding(message: &Value) -> Finding {
    let mut places = Vec::new();
    collect(message, &mut places);
    let mended = places.last().map(|(_, place)| place.clone());
    places.sort_by_key(|(main, _)| !main);
    Finding {
        text: message["rendered"].as_str().unwrap_or_default().to_owned(),
        places: places.into_iter().map(|(_, place)| place).collect(),
        mended,
    }
}

type Place = (String, std::ops::Range<usize>);

/// The places of a message and of those below it, and whether they are main ones.
fn collect(message: &Value, places: &mut Vec<(bool, Place)>) {
    for span in message["spans"].as_array().into_iter().flatten() {
        let byte = |name: &str| span[name].as_u64().unwrap_or_default() as usize;
        let file = span["file_name"].as_str().unwrap_or_default().to_owned();
        places.push((span["is_primary"] == true, (file, byte("byte_start")..byte("byte_end"))));
    }
    for child in message["children"].as_array().into_iter().flatten() {
        collect(child, places);
    }
}
