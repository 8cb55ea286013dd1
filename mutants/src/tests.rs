// SPDX-License-Identifier: Apache-2.0

//! The tests, which mutants each of them reaches, and running them.

use crate::cargo::Program;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// No test may take longer with nothing switched on.
const LONGEST: Duration = Duration::from_secs(10);

/// A test, of which is known what it reaches.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    /// Index of the program.
    pub(crate) program: usize,
    pub(crate) name: String,
    pub(crate) time: Duration,
    pub(crate) reached: BTreeSet<usize>,
}

/// How a run of tests ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Passed,
    /// The name of the test, or what happened to the program.
    Failed(String),
}

/// Runs programs in a folder of their own.
pub(crate) struct Runner {
    /// For temporary files of tests.
    scratch: PathBuf,
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

impl Runner {
    /// With a folder in memory, where there is such a place, or below `work`. What killed tests leave there is removed.
    pub(crate) fn new(work: &Path) -> Result<Runner, String> {
        let in_memory = Path::new("/dev/shm");
        let parent = if in_memory.is_dir() { in_memory } else { work };
        let scratch = parent.join(format!("couchstore-mutants-{}", std::process::id()));
        fs::create_dir_all(&scratch).map_err(|error| error.to_string())?;
        Ok(Runner { scratch })
    }

    /// Runs a program for some time, with bounds for what a mutant may take of memory, disk and time.
    fn run(
        &self,
        program: &Program,
        arguments: &[&str],
        variable: (&str, &str),
        limit: Duration,
    ) -> Option<Output> {
        let bounds = "ulimit -c 0; ulimit -v 12000000; ulimit -f 4000000; exec timeout -s KILL \"$@\"";
        Command::new("sh")
            .args(["-c", bounds, "sh"])
            .arg(format!("{:.3}", limit.as_secs_f64()))
            .arg(&program.path)
            .args(arguments)
            .current_dir(&program.folder)
            .env("TMPDIR", &self.scratch)
            .env("CARGO_MANIFEST_DIR", &program.folder)
            .env(variable.0, variable.1)
            .output()
            .ok()
    }

    /// Runs tests with a mutant switched on; 0: none.
    pub(crate) fn try_tests(&self, program: &Program, names: &[&str], id: usize, limit: Duration) -> Ended {
        let arguments: Vec<_> = ["--exact", "--test-threads=1"].iter().chain(names).copied().collect();
        let begin = Instant::now();
        let Some(output) = self.run(program, &arguments, ("COUCHSTORE_MUTANT", &id.to_string()), limit)
        else {
            return Ended::Failed("cannot be started".into());
        };
        if output.status.success() {
            return Ended::Passed;
        }
        // What a killed test leaves.
        let _ = fs::remove_dir_all(&self.scratch).and_then(|()| fs::create_dir_all(&self.scratch));
        let text = String::from_utf8_lossy(&output.stdout);
        let failed = text.lines().find_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
        let ended = if begin.elapsed() >= limit { "too long" } else { "aborted" };
        Ended::Failed(format!("{} {}", program.name, failed.unwrap_or(ended)))
    }

    /// Runs each test of a program by itself. Those that fail or take too long are left out, by name.
    pub(crate) fn reach(
        &self,
        index: usize,
        program: &Program,
        show: impl Fn(&str),
    ) -> (Vec<Test>, Vec<String>) {
        let listed = self.run(program, &["--list", "--format", "terse"], ("COUCHSTORE_MUTANT", "0"), LONGEST);
        let text =
            listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let (mut tests, mut left_out) = (Vec::new(), Vec::new());
        for name in text.lines().filter_map(|line| line.strip_suffix(": test")) {
            show(name);
            let notes = self.scratch.join("reached");
            let _ = fs::remove_file(&notes);
            let variable = ("COUCHSTORE_MUTANTS_REACHED", &*notes.to_string_lossy());
            let begin = Instant::now();
            self.run(program, &["--exact", name], variable, LONGEST);
            let is_short = begin.elapsed() < LONGEST;
            let reached = fs::read_to_string(&notes).unwrap_or_default();
            let reached: BTreeSet<_> = reached.lines().filter_map(|line| line.parse().ok()).collect();
            let begin = Instant::now();
            if reached.is_empty() {
            } else if is_short && self.try_tests(program, &[name], 0, LONGEST) == Ended::Passed {
                tests.push(Test { program: index, name: name.to_owned(), time: begin.elapsed(), reached });
            } else {
                left_out.push(format!("{} {name}", program.name));
            }
        }
        (tests, left_out)
    }
}

/// Tests that are run together.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) program: usize,
    pub(crate) names: Vec<&'a str>,
    pub(crate) limit: Duration,
}

/// The tests that reach a mutant, the short ones first, several of a program together. They take so long at most, if nothing
/// is switched on.
pub(crate) fn batches(tests: &[Test], id: usize, longest: Duration) -> Vec<Batch<'_>> {
    let mut reaching: Vec<_> = tests.iter().filter(|test| test.reached.contains(&id)).collect();
    // Tests that take up to 40, 80, 160.. ms: a process takes its time, too.
    let class =
        |test: &Test| (test.time.as_millis() as u64 / 40).checked_ilog2().map_or(0, |class| class + 1);
    reaching.sort_by_key(|test| (class(test), test.program, test.time));
    let mut sum = Duration::ZERO;
    let within = reaching.iter().take_while(|test| {
        sum += test.time;
        sum <= longest
    });
    let count = within.count().max(1).min(reaching.len());
    reaching[..count]
        .chunk_by(|a, b| class(a) == class(b) && a.program == b.program)
        .map(|tests| Batch {
            program: tests.first().map_or(0, |test| test.program),
            names: tests.iter().map(|test| &*test.name).collect(),
            limit: tests.iter().map(|test| test.time).sum::<Duration>() * 10 + Duration::from_secs(3),
        })
        .collect()
}
