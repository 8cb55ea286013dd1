// SPDX-License-Identifier: Apache-2.0

//! `couch_create`: files like kv-engine's, with made-up documents.
//!
//! * [`content`]: what bodies hold
//! * [`listed`]: which vbuckets get a file
//! * [`maker`]: keys, files, commits

mod content;
mod listed;
mod maker;

use crate::help::Help;
use crate::interrupt::Interrupt;
use crate::keys::KeyArgs;
use crate::output::Output;
use crate::program::{Failure, Tool};
use crate::progress;
use crate::text::printable_path;
use clap::{Parser, value_parser};
use content::{Content, DocType};
use listed::Listed;
use maker::{Maker, Plan};
use std::io::Write as _;
use std::path::PathBuf;

/// A body may be nearly this long.
const LONGEST_BODY: i64 = (1 << 28) - 1024;

/// So many a server has.
const VBUCKETS: u16 = 1024;

const HELP: Help = Help {
    examples: &[
        ("couch_create -k 100000", "0.couch.1 with 100,000 documents, here"),
        ("couch_create -o data -v 1024 -k 1000000", "1024 files with 1,000,000 documents in all"),
        ("couch_create -v 4 -k 1000 --keys-per-vbucket", "4 files with 1000 documents each"),
        ("couch_create -k 1000 0a 1r", "vbucket 0, active, and 1, a replica, of 1024"),
        ("couch_create -k 1000 -s 500 -r", "update 500 to 999, add 1000 to 1499"),
        ("couch_create -t jsoncompress -d 2048 -i 0x8", "compressed JSON of 2 kB, in collection 8"),
        ("couch_create --seed 7 --timestamp 42", "the same bytes every time"),
    ],
    notes: &[
        "The files are DIR/0.couch.1, DIR/1.couch.1 and so on. Keys are K0, K1 and so on; a key is in the file in which \
         clients of a server with so many vbuckets look for it. Each file has a local document _local/vbstate. The \
         documents depend on the seed and on nothing else, so files with the same options and --timestamp are the same, \
         byte for byte, unless they are encrypted.",
        "Existing files are left alone, unless -r says to add to them. After an error or Ctrl-C what is new is removed.",
    ],
};

/// Make database files for tests
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Number of documents
    #[arg(short, long, value_name = "NUMBER", default_value_t = 10_000)]
    keys: u64,

    /// The number of documents is for each vbucket
    #[arg(long)]
    keys_per_vbucket: bool,

    /// Make files of these vbuckets alone, with "a" (active, the default), "r" (replica), "p" (pending) or "d" (dead)
    /// behind their numbers
    #[arg(value_name = "VBUCKET", value_parser = listed::parse)]
    vbuckets: Vec<Listed>,

    /// Number of vbuckets, over which keys are spread: one file each, or one for each that is listed [default: 1, or
    /// 1024 if there is a list]
    #[arg(short, long, value_name = "NUMBER", value_parser = value_parser!(u16).range(1..=32768))]
    vbc: Option<u16>,

    /// Documents in one commit
    #[arg(short = 'f', long, value_name = "NUMBER", default_value_t = 512, value_parser = value_parser!(u32).range(1..))]
    keys_per_flush: u32,

    /// Length of bodies in bytes
    #[arg(short, long, value_name = "BYTES", default_value_t = 256, value_parser = value_parser!(u32).range(0..LONGEST_BODY))]
    doc_len: u32,

    /// Type of documents
    #[arg(short = 't', long, value_name = "TYPE", default_value = "json")]
    doc_type: DocType,

    /// Number of the first document
    #[arg(short, long, value_name = "NUMBER", default_value_t = 0)]
    start_key: u64,

    /// Make bodies that are hard to compress
    #[arg(short, long)]
    low_compression: bool,

    /// Ids do not begin with a collection
    #[arg(short, long, conflicts_with = "namespace_id")]
    no_namespace: bool,

    /// Number of the collection that ids begin with, decimal or 0x and hexadecimal
    #[arg(short = 'i', long, value_name = "NUMBER", default_value = "0", value_parser = parse_collection)]
    namespace_id: u32,

    /// Add to existing files
    #[arg(short, long)]
    reuse: bool,

    /// Where randomness begins
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,

    /// Timestamp of all commits, in nanoseconds since the epoch, instead of the clock
    #[arg(long, value_name = "NANOSECONDS")]
    timestamp: Option<u64>,

    /// Folder for the files; it is made if it is missing
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,

    #[command(flatten)]
    crypto: KeyArgs,
}

fn parse_collection(text: &str) -> Result<u32, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| "not a number of 32 bits".to_owned())
}

impl Args {
    fn plan(&self) -> Result<Plan, Failure> {
        let vbuckets = self.vbc.unwrap_or(if self.vbuckets.is_empty() { 1 } else { VBUCKETS });
        let mut numbers: Vec<_> = self.vbuckets.iter().map(|listed| listed.vbucket).collect();
        numbers.sort_unstable();
        if numbers.is_sorted_by(|a, b| a < b) && numbers.last().is_none_or(|&last| last < vbuckets) {
            return Ok(self.plan_for(vbuckets));
        }
        Err(Failure::Usage(format!("list vbuckets once, with numbers below {vbuckets}")))
    }

    fn plan_for(&self, vbuckets: u16) -> Plan {
        Plan {
            vbuckets,
            listed: self.vbuckets.clone(),
            keys: self.keys,
            keys_per_vbucket: self.keys_per_vbucket,
            start_key: self.start_key,
            keys_per_flush: self.keys_per_flush as usize,
        }
    }

    fn content(&self) -> Content {
        Content {
            doc_type: self.doc_type,
            length: self.doc_len as usize,
            low_compression: self.low_compression,
            seed: self.seed,
        }
    }
}

impl Tool for Args {
    const NAME: &'static str = "couch_create";
    const HELP: Help = HELP;

    fn run(self) -> Result<(), Failure> {
        let plan = self.plan()?;
        let count = if plan.listed.is_empty() { usize::from(plan.vbuckets) } else { plan.listed.len() };
        let total = plan.total().filter(|total| total.checked_add(self.start_key).is_some());
        let total = total.ok_or_else(|| Failure::Usage("more documents than there are numbers".into()))?;
        let keys = self.crypto.load()?;
        let mut maker = Maker {
            dir: &self.output,
            plan,
            content: self.content(),
            collection: (!self.no_namespace).then_some(self.namespace_id),
            timestamp: self.timestamp,
            reuse: self.reuse,
            keys: &keys,
            interrupt: Interrupt::listen()?,
            bar: progress::bar(total, "creating"),
            created: Vec::new(),
        };
        maker.run()?;
        maker.bar.finish_and_clear();
        let mut output = Output::new();
        let dir = printable_path(&self.output);
        let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        writeln!(output, "Saved {total} documents in {files} in {dir}")?;
        output.finish()
    }
}
