// SPDX-License-Identifier: Apache-2.0

//! Mutants of the library, all of them in one build.
//!
//! A mutant is a small change that makes a program wrong, such as `<` for `<=`. cargo-mutants lists them, and would build the
//! library and its tests for each, which takes a minute or two. This program writes all of them into one copy of the
//! library, where the environment variable `COUCHSTORE_MUTANT` switches one on by its number, and builds that once. For each
//! mutant it runs the tests that get to it, the short ones first, until one fails.
//!
//! * `list`: the mutants
//! * `place`, `write`: where they go in a source file, and the file with them
//! * `copy`, `cargo`: the copy of the repository; what does not compile is left out, as the compiler's errors tell
//! * `switch`: not part of this program, but of the copy
//! * `tests`: which tests get to which mutants
//! * `results`: what came of them; `harmless.txt` says why some may survive, `open.txt` has those that nobody has looked into
//!
//! Not tried this way: what the compiler evaluates (`const fn`, patterns), and the chains of `if let`. It ends with 0 if none
//! survive but those that stand in these files, with 1 if others do, and with 77 if it could not be done.

mod cargo;
mod copy;
mod list;
mod place;
mod results;
mod tests;
mod write;

use cargo::{Cargo, Program};
use clap::Parser;
use copy::Copy;
use indicatif::{ProgressBar, ProgressStyle};
use list::Mutant;
use results::{Known, Outcome, Results};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tests::{Ended, Runner, Test, batches};

/// Tries mutants of the library. What is known of them from an earlier run is kept, as long as the sources are the same.
#[derive(Debug, Parser)]
struct Cli {
    /// For how long mutants are tried; building comes on top.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// For how long tests are run for each mutant.
    #[arg(long, default_value_t = 60)]
    each: u64,
    /// Only tests of these programs, by name; that of the unit tests is "couchstore".
    #[arg(long, value_delimiter = ',')]
    test: Vec<String>,
    /// Folders of src/.
    #[arg(long, value_delimiter = ',', default_value = "format,tree,db,compact")]
    folder: Vec<String>,
    /// Only mutants with this, or one of several such texts, in their names, whatever is known of them.
    #[arg(long)]
    only: Vec<String>,
    /// Tries those again that were not found, and are not known to be harmless.
    #[arg(long)]
    again: bool,
    /// Lists those that are not tried, and why.
    #[arg(long)]
    left_out: bool,
    /// Where the copy and the results are.
    #[arg(long, default_value = "work")]
    work: PathBuf,
    /// Where the copy is built [default: in the former].
    #[arg(long)]
    target: Option<PathBuf>,
}

const NOT_DONE: u8 = 77;
/// All folders: numbers of mutants do not depend on what is tried.
const FOLDERS: [&str; 4] = ["format", "tree", "db", "compact"];

fn main() -> ExitCode {
    let cli = Cli::parse();
    match try_mutants(&cli) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            println!("mutants: not done: {why}");
            ExitCode::from(NOT_DONE)
        }
    }
}

fn bar(length: u64, title: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len}, {wide_msg}") {
        bar.set_style(style);
    }
    bar.with_prefix(title.to_owned())
}

/// Returns how many survive that are not known to.
fn try_mutants(cli: &Cli) -> Result<usize, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no repository")?;
    let harmless = Known::harmless(&root.join("mutants/harmless.txt"))?;
    let open = Known::open(&root.join("mutants/open.txt"))?;
    let mutants = list::list(root, &FOLDERS.map(str::to_owned))?;
    std::fs::create_dir_all(&cli.work).map_err(|error| error.to_string())?;
    let work = cli.work.canonicalize().map_err(|error| error.to_string())?;
    let target = cli.target.clone().unwrap_or_else(|| work.join("target"));
    let cargo = Cargo { folder: work.join("tree"), target };

    let mut copy = Copy::make(root, &cargo.folder, &mutants)?;
    let shown = bar(mutants.len() as u64, "mutants: looking for what compiles");
    let sources = hash(root, &mutants)?;
    let notes = work.join("not-compiled");
    copy.until_it_compiles(
        (&notes, sources),
        || cargo.check(),
        |left_out| shown.set_message(format!("{left_out} left out")),
    )?;
    shown.set_message("building");
    let programs = cargo.build(&cli.test)?;
    shown.finish_and_clear();
    let runner = Runner::new(&work)?;
    let tests = reach(&runner, &programs, &work)?;

    let mut results = Results::open(&work.join("results.txt"), sources, |key| {
        cli.again && !harmless.has(key) && cli.folder.iter().any(|folder| is_in(key, folder))
    })?;
    let mut wanted: Vec<_> = mutants.iter().filter(|mutant| is_wanted(cli, mutant)).collect();
    wanted.sort_by_key(|mutant| cli.folder.iter().position(|folder| is_in(&mutant.file, folder)));
    let tried = Trial { cli, copy: &copy, runner: &runner, programs: &programs, tests: &tests };
    tried.try_all(&wanted, &mut results)?;
    Ok(tell(&wanted, &copy, &results, (&harmless, &open), cli))
}

fn is_wanted(cli: &Cli, mutant: &Mutant) -> bool {
    let is_meant = cli.only.is_empty()
        || cli.only.iter().any(|text| mutant.name.contains(text) || mutant.key.contains(text));
    is_meant && cli.folder.iter().any(|folder| is_in(&mutant.file, folder))
}

/// Whether a file, or the mutant whose name begins with it, is in a folder of src/.
fn is_in(file: &str, folder: &str) -> bool {
    file.starts_with(&format!("src/{folder}/"))
}

/// A number for the sources that have mutants, without the tests at their ends.
fn hash(root: &Path, mutants: &[Mutant]) -> Result<u64, String> {
    let mut hasher = DefaultHasher::new();
    let files: std::collections::BTreeSet<_> = mutants.iter().map(|mutant| &mutant.file).collect();
    for file in files {
        let text = std::fs::read_to_string(root.join(file)).map_err(|error| error.to_string())?;
        text.split("\n#[cfg(test)]\nmod tests").next().hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// What each test reaches. That of programs that are as before is taken from a file.
fn reach(runner: &Runner, programs: &[Program], work: &Path) -> Result<Vec<Test>, String> {
    let shown = bar(programs.len() as u64, "mutants: looking which tests reach them");
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for (index, program) in programs.iter().enumerate() {
        shown.set_position(index as u64);
        let notes = work.join(format!("reached-{}", program.name));
        let built = std::fs::metadata(&program.path).and_then(|file| file.modified());
        let stamp = format!("{} {built:?}", program.path.display());
        if let Some(tests) = known(&notes, &stamp, index) {
            all.extend(tests);
            continue;
        }
        let (tests, left_out) = runner.reach(index, program, |name| {
            shown.set_message(format!("{} {name}", program.name));
        });
        let lines = tests.iter().map(line);
        let text: Vec<_> = std::iter::once(stamp).chain(lines).collect();
        std::fs::write(&notes, text.join("\n")).map_err(|error| error.to_string())?;
        all.extend(tests);
        failed.extend(left_out);
    }
    shown.finish_and_clear();
    for test in failed {
        println!("mutants: left out, as it fails or takes too long without any: {test}");
    }
    Ok(all)
}

fn line(test: &Test) -> String {
    let ids: Vec<_> = test.reached.iter().map(ToString::to_string).collect();
    format!("{}\t{}\t{}", test.name, test.time.as_micros(), ids.join(","))
}

fn known(notes: &Path, stamp: &str, program: usize) -> Option<Vec<Test>> {
    let text = std::fs::read_to_string(notes).ok()?;
    let mut lines = text.lines();
    lines.next().filter(|first| *first == stamp)?;
    lines
        .map(|line| {
            let mut fields = line.split('\t');
            let name = fields.next()?.to_owned();
            let time = Duration::from_micros(fields.next()?.parse().ok()?);
            let reached = fields.next()?.split(',').filter_map(|id| id.parse().ok()).collect();
            Some(Test { program, name, time, reached })
        })
        .collect()
}

struct Trial<'a> {
    cli: &'a Cli,
    copy: &'a Copy,
    runner: &'a Runner,
    programs: &'a [Program],
    tests: &'a [Test],
}

impl Trial<'_> {
    /// Tries mutants as long as there is time.
    fn try_all(&self, wanted: &[&Mutant], results: &mut Results) -> Result<(), String> {
        let shown = bar(wanted.len() as u64, "mutants");
        let end = Instant::now() + Duration::from_secs(self.cli.seconds);
        let mut survived = 0;
        for mutant in wanted {
            shown.inc(1);
            let is_known = results.outcomes.contains_key(&mutant.key) && self.cli.only.is_empty();
            if is_known || self.copy.left_out.contains_key(&mutant.id) {
                continue;
            }
            if Instant::now() >= end {
                break;
            }
            shown.set_message(format!("{survived} survived, {}", mutant.key));
            let (outcome, by) = self.outcome(mutant);
            survived += usize::from(outcome != Outcome::Found);
            results.note(mutant, outcome, &by)?;
        }
        shown.finish_and_clear();
        Ok(())
    }

    fn outcome(&self, mutant: &Mutant) -> (Outcome, String) {
        let batches = batches(self.tests, mutant.id, Duration::from_secs(self.cli.each));
        let outcome = if batches.is_empty() { Outcome::NotReached } else { Outcome::Survived };
        let try_batch = |batch: &tests::Batch<'_>| {
            let program = self.programs.get(batch.program)?;
            match self.runner.try_tests(program, &batch.names, mutant.id, batch.limit) {
                Ended::Passed => None,
                Ended::Failed(by) => Some((Outcome::Found, by)),
            }
        };
        batches.iter().find_map(try_batch).unwrap_or((outcome, String::new()))
    }
}

/// Tells what came of all, by folder.
fn tell(
    wanted: &[&Mutant],
    copy: &Copy,
    results: &Results,
    (harmless, open): (&Known, &Known),
    cli: &Cli,
) -> usize {
    let mut rows: BTreeMap<&str, [usize; 6]> = BTreeMap::new();
    let mut unexplained = 0;
    for mutant in wanted {
        let folder = mutant.file.split('/').nth(1).unwrap_or_default();
        let row = rows.entry(folder).or_default();
        row[0] += 1;
        let column = match results.outcomes.get(&mutant.key) {
            Some(Outcome::Found) => 1,
            Some(_) if harmless.has(&mutant.key) => 2,
            Some(_) if open.has(&mutant.key) => 3,
            Some(outcome) => {
                let how = if *outcome == Outcome::NotReached { "not reached" } else { "survived" };
                println!("mutants: {how}: {} (COUCHSTORE_MUTANT={})", mutant.name, mutant.id);
                unexplained += 1;
                4
            }
            None => 5,
        };
        row[column] += 1;
    }
    if cli.only.is_empty() {
        for pattern in harmless.stale(wanted, &cli.folder) {
            println!("mutants: harmless.txt has what there is not: {pattern}");
        }
    }
    println!("folder      mutants  found  harmless  open  other survivors  not tried");
    for (folder, [all, found, known, open, others, rest]) in rows {
        println!("{folder:10} {all:8} {found:6} {known:9} {open:5} {others:16} {rest:10}");
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for mutant in wanted {
        let Some(why) = copy.left_out.get(&mutant.id) else { continue };
        *reasons.entry(why).or_default() += 1;
        if cli.left_out {
            println!("mutants: not tried: {}: {why}", mutant.name);
        }
    }
    let reasons: Vec<_> = reasons.iter().map(|(why, count)| format!("{why} {count}")).collect();
    println!("of those not tried: {}", if reasons.is_empty() { "none".into() } else { reasons.join(", ") });
    unexplained
}
