// SPDX-License-Identifier: Apache-2.0

//! The command line of `couch_check`.

use crate::help::Help;
use crate::keys::KeyArgs;
use clap::Parser;
use std::path::PathBuf;

pub(super) const HELP: Help = Help {
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
    pub(super) files: Vec<PathBuf>,

    /// Check the trees of every header, not only those of the newest one
    #[arg(short, long)]
    pub(super) all_headers: bool,

    /// Threads that read bodies [default: one for each processor, at most 8]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,

    /// Show so many problems of a file at most
    #[arg(short, long, value_name = "N", default_value_t = 100)]
    pub(super) max_problems: usize,

    /// Tell of every problem and sum up, on standard output
    #[arg(long)]
    pub(super) report: bool,

    /// Print the report as JSON: an object for each problem, and one that sums up
    #[arg(short, long)]
    pub(super) json: bool,

    #[command(flatten)]
    pub(super) keys: KeyArgs,
}

impl Args {
    pub(super) fn threads(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, |number| number.get().min(8));
        self.threads.map_or_else(processors, usize::from)
    }
}
