// SPDX-License-Identifier: Apache-2.0

//! `couch_compact`: compaction.
//!
//! * [`purge`]: tombstones that are left out
//! * [`hooks`]: what happens meanwhile
//! * [`summary`]: before and after

mod hooks;
mod purge;
mod summary;

use crate::carry::Carry;
use crate::exit;
use crate::found::{open_trees, open_trees_with};
use crate::help::Help;
use crate::interrupt::Interrupt;
use crate::keys::{KeyArgs, Keys};
use crate::output::Output;
use crate::program::{Failure, Tool};
use crate::progress;
use crate::text::parse_bytes;
use clap::Parser;
use couchstore::{
    CompactOptions, FormatVersion, OnlineOptions, OnlineStats, OpenOptions, Swap, compact_online,
    compact_unseen,
};
use hooks::Hooks;
use purge::{Purge, Purging};
use std::path::{Path, PathBuf};
use std::time::Instant;
use summary::{Figures, Summary};

/// Sizes of nodes that make sense.
const NODE_SIZES: std::ops::RangeInclusive<u64> = 64..=1 << 20;

const HELP: Help = Help {
    examples: &[
        ("couch_compact 0.couch.1 0.couch.2", "copy what is in use to a new file"),
        ("couch_compact -p 1700000000 0.couch.1 0.couch.2", "without tombstones older than this"),
        ("couch_compact -d -s 5000 0.couch.1 0.couch.2", "without any tombstones up to this number"),
        ("couch_compact --online 0.couch.1 0.couch.2", "while another program saves to the file"),
        ("couch_compact --online 0.couch.1", "the result takes the file's place"),
        ("couch_compact -u old.couch new.couch", "to the newest version of the format"),
    ],
    notes: &[
        "OUT must not exist. After an error or Ctrl-C there is no OUT, and IN is as it was. An encrypted IN needs its \
         key; OUT is encrypted with the first key that is given, whether IN is encrypted or not.",
        "Purging raises the purge sequence to the highest sequence number of what was left out. The time of a deletion \
         is that in kv-engine's revision metadata; tombstones without one are kept by -p.",
        "With --online OUT has everything that was committed to IN until the end. Programs that go on saving to IN after \
         that do not save to OUT: without OUT, nothing may have IN open for writing. Tombstones that are committed \
         meanwhile are kept.",
        "IN is read to its newest header. If it is damaged: couch_dbck.",
    ],
};

/// Compact a database file
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// The file to compact
    #[arg(value_name = "IN")]
    source: PathBuf,

    /// The new file; with --online it may be left out
    #[arg(value_name = "OUT", required_unless_present = "online")]
    target: Option<PathBuf>,

    /// Leave out tombstones of documents that were deleted before this time
    #[arg(short, long, value_name = "UNIX TIME")]
    purge_before: Option<u64>,

    /// Leave out only tombstones with sequence numbers up to this one; with -p or -d
    #[arg(short = 's', long, value_name = "SEQ")]
    purge_only_upto_seq: Option<u64>,

    /// Leave out all tombstones
    #[arg(short, long, conflicts_with = "purge_before")]
    dropdeletes: bool,

    /// Give OUT the newest version of the format although IN is of version 11
    #[arg(short, long)]
    upgrade: bool,

    /// Follow what another program commits to IN meanwhile; without OUT, take IN's place
    #[arg(long)]
    online: bool,

    /// Memory for sorting ids; beyond that, temporary files beside OUT are used [default: 48M]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory: Option<u64>,

    /// Threads to use: with 2, and if nothing is purged, one reads IN while another makes OUT
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    threads: u32,

    /// Make OUT durable after every so many bytes, instead of all at once at the end
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    sync_bytes: Option<u64>,

    /// Size of tree nodes beyond which they are split: that with which other programs open IN, which the file does not
    /// tell [default: 1279]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    node_size: Option<u64>,

    /// Tell what the compaction has come to: sizes, counts and sequence numbers before and after
    #[arg(long)]
    summary: bool,

    /// Print the summary as one JSON object, and nothing else
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    keys: KeyArgs,
}

impl Args {
    /// How IN is opened.
    fn source_options(&self) -> OpenOptions {
        match self.node_size.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)) {
            Some(bytes) => OpenOptions::new().node_sizes(bytes, bytes),
            None => OpenOptions::new(),
        }
    }

    fn purge(&self) -> Result<Option<Purge>, Failure> {
        let up_to_seq = self.purge_only_upto_seq.unwrap_or(u64::MAX);
        match (self.purge_before, self.dropdeletes, self.purge_only_upto_seq) {
            (Some(before), _, _) => Ok(Some(Purge { before: Some(before), up_to_seq })),
            (None, true, _) => Ok(Some(Purge { before: None, up_to_seq })),
            (None, false, None) => Ok(None),
            (None, false, Some(_)) => Err(Failure::Usage("--purge-only-upto-seq needs -p or -d".into())),
        }
    }

    fn options(&self, keys: &Keys) -> CompactOptions {
        let default = CompactOptions::default();
        let memory = self.memory.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let budget = memory.unwrap_or(default.memory_budget);
        default
            // Beside the filter, which does the purging, this raises the purge sequence by one, purged or not.
            .drop_deletes(self.dropdeletes)
            .upgrade(self.upgrade)
            .periodic_sync(self.sync_bytes)
            .keys(keys.store())
            .memory_budget(budget)
            .threads(usize::try_from(self.threads).unwrap_or(usize::MAX))
    }
}

impl Tool for Args {
    const NAME: &'static str = "couch_compact";
    const HELP: Help = HELP;
    const FAILED: u8 = exit::COMPACTION_FAILED;

    fn run(self) -> Result<(), Failure> {
        let purge = self.purge()?;
        if self.threads == 0 {
            return Err(Failure::Usage("--threads: at least 1".into()));
        }
        if self.sync_bytes == Some(0) {
            return Err(Failure::Usage("--sync-bytes: at least 1".into()));
        }
        if self.node_size.is_some_and(|bytes| !NODE_SIZES.contains(&bytes)) {
            return Err(Failure::Usage("--node-size: from 64 bytes to 1M".into()));
        }
        let keys = self.keys.load()?;
        let mut hooks = Hooks {
            purging: Purging::new(purge),
            looks_at_all: purge.is_some() || self.threads == 1,
            bar: progress::bar(0, "compacting"),
            interrupt: Interrupt::listen()?,
            carry: Carry::default(),
        };
        let mut output = Output::new();
        if !self.json {
            summary::purge(&mut output, self.purge_before, self.purge_only_upto_seq)?;
        }
        let compacted = compact(&self, &keys, &mut hooks);
        hooks.bar.finish_and_clear();
        match &compacted {
            Ok(summary) if self.json => output.json(summary)?,
            Ok(summary) => summary.text(&mut output, self.summary)?,
            Err(_) => {}
        }
        output.finish()?;
        compacted.map(drop).map_err(|failure| {
            failure.in_original_words(|error| format!("Couchstore error: {}", error.text()))
        })
    }
}

fn compact(args: &Args, keys: &Keys, hooks: &mut Hooks) -> Result<Summary, Failure> {
    let started = Instant::now();
    let source = &args.source;
    let target = args.target.as_ref().unwrap_or(source);
    let db = open_trees_with(source, keys, args.source_options())?;
    let before = Figures::of(&db)?;
    if args.target.is_some() && is_there(target) {
        return Err(Failure::Message(format!("{}: exists, and is not replaced", target.display())));
    }
    if keys.encrypt() && db.header().version == FormatVersion::V11 && !args.upgrade {
        let source = source.display();
        return Err(Failure::Message(format!(
            "{source}: version 11 cannot be encrypted; upgrade it with -u"
        )));
    }
    let options = args.options(keys);
    let stats = if args.online {
        drop(db);
        Some(online(args, options, hooks)?)
    } else {
        let result = compact_unseen(&db, target, &options, hooks);
        std::mem::take(&mut hooks.carry).result(result)?;
        None
    };
    let after = Figures::of(&open_trees(target, keys)?)?;
    let summary = Summary::new([source, target], [before, after], hooks.purging.purged, started.elapsed());
    Ok(match stats {
        Some(stats) => summary.online(&stats),
        None => summary,
    })
}

fn online(args: &Args, compact: CompactOptions, hooks: &mut Hooks) -> Result<OnlineStats, Failure> {
    let swap = if args.target.is_some() { Swap::None } else { Swap::Replace };
    let target = args.target.as_ref().unwrap_or(&args.source);
    let result = compact_online(
        &args.source,
        target,
        &OnlineOptions::new().compact(compact).source(args.source_options()).swap(swap),
        hooks,
    );
    std::mem::take(&mut hooks.carry).result(result)
}

/// Symbolic links that lead nowhere count: nothing is created through them.
fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
