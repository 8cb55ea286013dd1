// SPDX-License-Identifier: Apache-2.0

//! `couch_bench`: how fast the library is.
//!
//! * [`corpus`]: the documents; [`verify`]: comparing files with them
//! * [`ops`] and [`meter`]: counting and timing; [`workspace`]: where files are, and the file that most rows start from
//! * [`rows`]: the rows, which [`host`] measures as hosts work, and [`writing`], [`reading`], [`compacting`] and [`online`]
//!   with one handle
//! * [`floors`]: what this machine needs for the same bytes, measured by [`material`]
//! * [`report`]: table and JSON

mod compacting;
mod corpus;
mod floors;
mod host;
mod material;
mod meter;
mod online;
mod ops;
mod reading;
mod report;
mod rows;
mod verify;
mod workspace;
mod writing;

use crate::help::Help;
use crate::interrupt::Interrupt;
use crate::keys::KeyArgs;
use crate::output::Output;
use crate::program::{Failure, Tool};
use crate::text::{printable_path, size};
use clap::{Parser, ValueEnum};
use couchstore::NodeCache;
use meter::Measured;
use report::Line;
use rows::Row;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use workspace::{Settings, Workspace, documents_of};

const HELP: Help = Help {
    examples: &[
        ("couch_bench --quick", "all rows, with few documents"),
        ("couch_bench --dir /dev/shm --docs 500k", "in memory, where syncs cost nothing"),
        ("couch_bench --dir /mnt/disk --rows commit,load", "two rows on a disk"),
        ("couch_bench --sync none --json > today.json", "without syncs, an object for each row"),
        ("couch_bench --docs 10k,100k,1M --rows load,get", "whether the time per document stays"),
        ("couch_bench --floors --sync none", "and what this machine needs for the same bytes"),
    ],
    notes: &[
        "Documents are prepared and every body is compared off the clock. The MB/s are those of ids, metadata and \
         bodies; \"ampl\" is bytes written by bytes given; memory is the peak while a row ran. Files are removed at the \
         end.",
    ],
};

/// Measure how fast the library is
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Few documents, a few seconds
    #[arg(long, conflicts_with = "docs")]
    quick: bool,

    /// Documents in a file, or several numbers to run all rows with each; "k" and "M" may follow. Files of bodies
    /// larger than 1 KiB have fewer
    #[arg(long, visible_alias = "scale", value_name = "N,...", value_delimiter = ',', value_parser = parse_number)]
    docs: Vec<u64>,

    /// Size of bodies in bytes, where the row does not say it
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    body_size: u32,

    /// Documents that are saved with one commit
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: u32,

    /// Where files are made: on a disk, or in memory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Only these rows
    #[arg(long, value_enum, value_name = "ROW,...", value_delimiter = ',')]
    rows: Vec<Row>,

    /// Whether commits wait for the disk
    #[arg(long, value_enum, value_name = "real|none", default_value_t = Sync::Real)]
    sync: Sync,

    /// Run each row so many times and show the one in the middle
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,

    /// Other documents for each number
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Let all handles share a cache of nodes of this size, which is warm when a host-shaped row begins; "K", "M" and "G"
    /// may follow
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    node_cache: Option<u64>,

    /// Measure what this machine needs for the same bytes as well, and tell what each row reaches of that
    #[arg(long)]
    floors: bool,

    /// Print one JSON object for each row
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    keys: KeyArgs,
}

impl Args {
    /// The numbers of documents to run the rows with.
    fn documents(&self) -> Vec<u64> {
        match &self.docs {
            _ if self.quick => vec![QUICK_DOCUMENTS],
            given if given.is_empty() => vec![DOCUMENTS],
            given => given.clone(),
        }
    }

    /// Fails if a batch would need more memory than computers have.
    fn check(&self) -> Result<(), Failure> {
        let most = self.documents().into_iter().max().unwrap_or(0);
        let body = u64::from(self.body_size);
        let bytes = documents_of(most, body).min(u64::from(self.batch)).saturating_mul(body);
        if bytes > MOST_BATCH_BYTES {
            let (bytes, most) = (size(bytes), size(MOST_BATCH_BYTES));
            return Err(Failure::Usage(format!("a batch would take {bytes} of memory; {most} are allowed")));
        }
        Ok(())
    }

    fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings {
            documents: DOCUMENTS,
            body_size: self.body_size as usize,
            batch: self.batch as usize,
            seed: self.seed,
            sync: self.sync == Sync::Real,
            node_cache: self.node_cache.map(|bytes| Arc::new(NodeCache::new(bytes))),
            keys: self.keys.load()?.store(),
        })
    }

    fn print_heading(&self, directory: &Path, output: &mut Output) -> Result<(), Failure> {
        let (directory, sync) = (printable_path(directory), self.sync.name());
        let Args { body_size, batch, seed, .. } = self;
        writeln!(
            output,
            "directory {directory}\nsyncs {sync}, bodies of {body_size} bytes, batches of {batch}, seed {seed}\n"
        )?;
        write!(output, "{}", Line::heading())?;
        Ok(output.flush()?)
    }
}

/// What happens when the library wants data to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sync {
    /// The operating system is asked, and waits for the disk.
    Real,
    /// Nothing.
    None,
}

impl Sync {
    fn name(self) -> &'static str {
        match self {
            Sync::Real => "real",
            Sync::None => "none",
        }
    }
}

/// Documents in a file unless the user says otherwise.
const DOCUMENTS: u64 = 100_000;
const QUICK_DOCUMENTS: u64 = 2000;
const MOST_DOCUMENTS: u64 = 100_000_000;
/// Bodies of a batch, all of which are in memory.
const MOST_BATCH_BYTES: u64 = 4 << 30;

fn parse_number(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1000),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1_000_000)),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    let rule = || format!("not a number from 1 to {MOST_DOCUMENTS}, such as 5000, 100k or 1M");
    number.filter(|number| (1..=MOST_DOCUMENTS).contains(number)).ok_or_else(rule)
}

/// Bytes, in units of 1024 if a letter follows.
fn parse_size(text: &str) -> Result<u64, String> {
    let shift = match text.as_bytes().last() {
        Some(b'k' | b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        _ => 0,
    };
    let digits = if shift > 0 { &text[..text.len() - 1] } else { text };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    number
        .filter(|&number| number > 0)
        .ok_or_else(|| "not a number of bytes, such as 4096, 512K or 64M".into())
}

impl Tool for Args {
    const NAME: &'static str = "couch_bench";
    const HELP: Help = HELP;

    fn run(self) -> Result<(), Failure> {
        self.check()?;
        let rows = if self.rows.is_empty() { &Row::all() } else { &self.rows };
        let directory = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let mut settings = self.settings()?;
        let interrupt = Interrupt::listen()?;
        let mut output = Output::new();
        if !self.json {
            self.print_heading(&directory, &mut output)?;
        }
        let documents = self.documents();
        let bar = crate::progress::bar((rows.len() * documents.len()) as u64, "rows");
        for documents in documents {
            settings.documents = documents;
            let mut workspace = Workspace::new(settings.clone(), &directory, interrupt.clone())?;
            for &row in rows {
                bar.set_message(row.name());
                bar.tick();
                let line = line(row, &mut workspace, &self)?;
                bar.suspend(|| print(&mut output, &line, self.json))?;
                bar.inc(1);
            }
            workspace.close()?;
        }
        output.finish()
    }
}

fn line(row: Row, workspace: &mut Workspace, args: &Args) -> Result<Line, Failure> {
    let measured = measure(row, workspace, args.repeat)?;
    let body_size = row.body_size(workspace);
    let documents = workspace.documents_of(body_size);
    let floor = match row.work() {
        Some(work) if args.floors => {
            Some(material::floors(workspace, body_size)?.of(work, &measured, documents))
        }
        _ => None,
    };
    let line = Line::new(row.name(), documents, body_size, args.sync.name(), &measured);
    Ok(line.with_node_cache(args.node_cache).with_floor(floor))
}

/// Shows a row as soon as it is measured.
fn print(output: &mut Output, line: &Line, json: bool) -> Result<(), Failure> {
    if json {
        output.json(line)?;
    } else {
        write!(output, "{}", line.text())?;
    }
    Ok(output.flush()?)
}

/// Runs a row a few times and returns the run of median length.
fn measure(row: Row, workspace: &mut Workspace, times: u32) -> Result<Measured, Failure> {
    let mut runs = Vec::new();
    for _ in 0..times {
        workspace.interrupt.check()?;
        workspace.clear_node_cache();
        let named = |failure: Failure| failure.map_message(|message| format!("{}: {message}", row.name()));
        runs.push(row.run(workspace).map_err(named)?);
    }
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let middle = runs.len() / 2;
    runs.into_iter().nth(middle).ok_or_else(|| Failure::Usage("--repeat is 0".into()))
}

#[cfg(test)]
mod tests {
    use super::{parse_number, parse_size};

    #[test]
    fn numbers_may_have_a_unit() {
        assert_eq!(parse_number("5000"), Ok(5000));
        assert_eq!(parse_number("10k"), Ok(10_000));
        assert_eq!(parse_number("1M"), Ok(1_000_000));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("64M"), Ok(64 << 20));
        for wrong in ["", "M", "0", "64T", "18446744073709551615G", "µ"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "k", "0", "-1", "1G", "99999999999999999999k"] {
            assert!(parse_number(wrong).is_err(), "{wrong}");
        }
    }
}
