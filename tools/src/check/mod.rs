//! `couch_check`: reads everything in a file and says what is wrong.
//!
//! * [`walk`]: the nodes of the trees
//! * [`bodies`]: the bodies
//! * [`sums`], [`agree`]: whether both indexes hold the same
//! * [`places`]: whether chunks overlap
//! * [`headers`]: what headers say about each other
//! * [`file`]: all of that for one file
//! * [`problem`]: what is wrong

mod agree;
mod bodies;
mod file;
mod headers;
mod places;
mod problem;
mod sums;
mod walk;

use crate::help::Help;
use crate::interrupt::Interrupt;
use crate::keys::KeyArgs;
use crate::output::Output;
use crate::program::{Failure, Tool, for_each_file, say_plainly};
use crate::text::{lossless_path, printable, printable_path};
use clap::Parser;
use couchstore::inspect::Tree;
use couchstore::{Error, ErrorCode};
use file::Summary;
use indicatif::ProgressBar;
use places::Places;
use problem::{Problem, Problems};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const HELP: Help = Help {
    examples: &[
        ("couch_check 0.couch.1", "all nodes and bodies of the newest header"),
        ("couch_check --report 0.couch.1", "every problem with its place, and a summary"),
        ("couch_check --report --all-headers 0.couch.1", "every header of the file"),
        ("couch_check --json --threads 8 *.couch.*", "one JSON object for each problem and file"),
    ],
    notes: &[
        "What is checked: checksums, the form of nodes and entries, that what is pointed to lies before what points to \
         it, the order of keys, highest keys, sizes and reduce values in pointers, that both indexes hold the same \
         documents, bodies and their sizes, that compressed bodies inflate, that nothing overlaps, sequence numbers, and \
         pointers between headers. Documents that share a sequence number are no problem: callers that choose the \
         numbers may save such.",
        "Nothing is printed about a file without problems. Else there is, on standard error, what couchstore's tool says \
         of what it cannot read, and the problems that it does not look for.",
        "Memory does not grow with the file. Exit code 1: there is a problem, or a file cannot be read.",
    ],
};

/// Check database files: read everything and say what is wrong
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Database files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Check the trees of every header, not only those of the newest one
    #[arg(short, long)]
    all_headers: bool,

    /// Threads that read bodies [default: one for each processor, at most 8]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Show so many problems of a file at most
    #[arg(short, long, value_name = "N", default_value_t = 100)]
    max_problems: usize,

    /// Tell of every problem and sum up, on standard output
    #[arg(long)]
    report: bool,

    /// Print the report as JSON: an object for each problem, and one that sums up
    #[arg(short, long)]
    json: bool,

    #[command(flatten)]
    keys: KeyArgs,
}

impl Args {
    fn threads(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, |number| number.get().min(8));
        self.threads.map_or_else(processors, usize::from)
    }
}

/// What all parts of a check use.
struct Shared<'a> {
    problems: &'a Problems,
    bar: &'a ProgressBar,
    places: &'a Places,
    large: bodies::Large,
    /// See [`bodies::may_have_moved`].
    bodies_moved: bool,
    interrupt: &'a Interrupt,
    stopped: AtomicBool,
}

impl Shared<'_> {
    /// An error if the check is to end before it is done.
    fn proceed(&self) -> couchstore::Result<()> {
        if self.stopped.load(Ordering::Relaxed) || self.interrupt.check().is_err() {
            return Err(Error::Callback(ErrorCode::CANCEL));
        }
        Ok(())
    }

    /// Ends the check.
    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

fn tree_name(tree: Tree) -> &'static str {
    match tree {
        Tree::ById => "by-id",
        Tree::BySeq => "by-seq",
        Tree::Local => "local",
    }
}

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
