// SPDX-License-Identifier: Apache-2.0

//! `couch_check`: reads everything in a file and says what is wrong.
//!
//! * [`walk`]: the nodes of the trees
//! * [`bodies`]: the bodies
//! * [`sums`], [`agree`]: whether both indexes hold the same
//! * [`places`]: whether chunks overlap
//! * [`headers`]: what headers say about each other
//! * [`args`]: the command line
//! * [`file`]: all of that for one file
//! * [`problem`]: what is wrong; [`shared`]: what all of these share

mod agree;
mod args;
mod bodies;
mod file;
mod headers;
mod places;
mod problem;
mod shared;
mod sums;
mod walk;

pub use args::Args;

use crate::help::Help;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::program::{Failure, Tool, for_each_file, say_plainly};
use crate::text::{lossless_path, printable, printable_path};
use args::HELP;
use file::Summary;
use problem::{Problem, Problems};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

impl Tool for Args {
    const NAME: &'static str = "couch_check";
    const HELP: Help = HELP;

    fn run(self) -> Result<(), Failure> {
        let keys = self.keys.load()?;
        let interrupt = Interrupt::listen()?;
        let mut output = Output::new();
        let result = for_each_file(&self.files, |path| {
            let problems = Problems::new(self.max_problems);
            let summary = file::check(path, &self, &keys, &interrupt, &problems)?;
            let (kept, count) = problems.finish();
            if self.report || self.json {
                for problem in &kept {
                    show_problem(&mut output, path, problem, self.json)?;
                }
                show_summary(&mut output, path, &summary, (count, kept.len() as u64), self.json)?;
                output.flush()?;
            } else {
                complain_of(path, &kept, count);
            }
            if count == 0 { Ok(()) } else { Err(Failure::Reported) }
        });
        if let Err(Failure::ClosedPipe) = result {
            return result;
        }
        output.finish()?;
        result
    }
}

#[derive(Serialize)]
struct JsonProblem<'a> {
    file: String,
    position: u64,
    tree: Option<&'a str>,
    problem: &'a str,
}

#[derive(Serialize)]
struct JsonSummary<'a> {
    file: String,
    problems: u64,
    #[serde(flatten)]
    summary: &'a Summary,
}

fn show_problem(out: &mut Output, path: &Path, problem: &Problem, json: bool) -> Result<(), Failure> {
    if !json {
        // Reasons may name the file as well.
        let problem = printable(problem.to_string().as_bytes());
        return Ok(writeln!(out, "{}: {problem}", printable_path(path))?);
    }
    let Problem { position, tree, reason, .. } = problem;
    let file = lossless_path(path);
    out.json(&JsonProblem { file, position: *position, tree: *tree, problem: reason })
}

/// Says on standard error what is wrong: of what keeps the original's tool from reading the file, what that says; else
/// what that does not look at.
fn complain_of(path: &Path, kept: &BTreeSet<Problem>, count: u64) {
    let file = printable_path(path);
    let calls: BTreeMap<_, _> =
        kept.iter().rev().flat_map(|problem| &problem.call).map(|(a, b)| (a, b)).collect();
    for words in calls.values() {
        say_plainly(&format!("{file}: {words}"));
    }
    let others = kept.iter().filter(|problem| problem.call.is_none());
    others.for_each(|problem| say_plainly(&format!("{file}: {problem}")));
    if count > kept.len() as u64 {
        say_plainly(&format!("{file}: and {} more", count - kept.len() as u64));
    }
}

/// The last line about a file. `count` and `shown` are the numbers of problems.
fn show_summary(
    out: &mut Output,
    path: &Path,
    summary: &Summary,
    (count, shown): (u64, u64),
    json: bool,
) -> Result<(), Failure> {
    if json {
        return out.json(&JsonSummary { file: lossless_path(path), problems: count, summary });
    }
    let file = printable_path(path);
    if count > shown {
        writeln!(out, "{file}: and {} more", count - shown)?;
    }
    let found = match count {
        0 => "no problems".to_owned(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    Ok(writeln!(out, "{file}: {found}; {summary}")?)
}
