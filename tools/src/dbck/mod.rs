// SPDX-License-Identifier: Apache-2.0

//! `couch_dbck`: saves what can be read of a damaged file.
//!
//! * [`history`]: the headers of the file, and which of them are older states of it
//! * [`rescue`]: the documents of a header
//! * [`local`]: local documents; with [`ranges`], where some may be missing
//! * [`shelter`]: where they are kept until the new file is complete
//! * [`log`]: what the user is told

mod history;
mod local;
mod log;
mod ranges;
mod rescue;
mod shelter;

use crate::help::Help;
use crate::interrupt::Interrupt;
use crate::keys::{KeyArgs, Keys};
use crate::open::open_for_recovery;
use crate::output::Output;
use crate::program::{Failure, Tool};
use clap::Parser;
use couchstore::inspect::{DocCounts, FileHeader, Tree, parse_count};
use couchstore::{Db, ErrorCode};
use history::{damaged_behind, older};
use local::rescue_local;
use log::{How, Log, Summary};
use ranges::Ranges;
use rescue::Rescue;
use shelter::Shelter;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const HELP: Help = Help {
    examples: &[
        ("couch_dbck 0.couch.1", "recover into 0.couch.1.recovered"),
        ("couch_dbck -s -v --report 0.couch.1 new.couch", "also search older headers, and tell all"),
    ],
    notes: &[
        "What is recovered: of the newest header that can be read, every document that one of the two indexes leads to \
         and whose body is sound, and the local documents. Bodies are copied as they are stored. With -s, documents that \
         were lost come back in their newest version that an older header leads to; deletions stay deletions, if need be \
         without the body that they had. Update and purge sequence, timestamp and encryption key are those of the file; \
         its version too, but 12 and 13 become 14.",
        "Memory does not grow with the file; the target's directory needs room for two copies of the documents. An \
         existing target is never touched. Exit code 0: the target was written, however much was lost, even if nobody \
         reads the output to its end; 1: there is no target, or it was written but standard output could not be.",
    ],
};

/// Recover what can be read of a damaged database file
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// The damaged file; it is only read
    #[arg(value_name = "SRC")]
    source: PathBuf,

    /// The file to be made, which must not exist [default: SRC.recovered]
    #[arg(value_name = "DST")]
    target: Option<PathBuf>,

    /// Search older headers for what the newest one has lost
    #[arg(short, long)]
    stale: bool,

    /// Tell of every damaged header, node and body, and of every document that comes back from an older header
    #[arg(short, long)]
    verbose: bool,

    /// Tell on standard output what was found and lost, in place of what couchstore's tool says
    #[arg(long)]
    report: bool,

    /// Tell everything but that as JSON: an object for each thing told with -v, and with --report one that sums up
    #[arg(short, long)]
    json: bool,

    #[command(flatten)]
    keys: KeyArgs,
}

impl Args {
    fn target(&self) -> PathBuf {
        self.target.clone().unwrap_or_else(|| {
            let mut name = OsString::from(&self.source);
            name.push(".recovered");
            name.into()
        })
    }

    /// Recovers, and tells it there, unless the user has enough of it.
    pub fn run_into(self, mut output: Output, interrupt: Interrupt) -> Result<(), Failure> {
        let keys = self.keys.load()?;
        let target = self.target();
        // Not to find out after all the work.
        if target.symlink_metadata().is_ok() {
            return Err(Failure::Message(format!("{}: exists already", target.display())));
        }
        let how = How { report: self.report, verbose: self.verbose, json: self.json };
        let mut log = Log::new(&mut output, how, interrupt);
        log.begin(&self.source, &target)?;
        let opened = open_for_recovery(&self.source, &keys);
        // The original ends without a word.
        let source = opened.map_err(|failure| if self.report { failure } else { unsaid(failure) })?;
        let recovered = recover(&source, &keys, &target, self.stale, &mut log);
        let summary = log.result(recovered)?;
        if self.report {
            log::show(&mut output, &self.source, &target, &summary, self.json)?;
        } else {
            log::show_as_original(&summary, self.stale);
        }
        output.finish()
    }
}

impl Tool for Args {
    const NAME: &'static str = "couch_dbck";
    const HELP: Help = HELP;

    fn run(self) -> Result<(), Failure> {
        self.run_into(Output::new(), Interrupt::listen()?)
    }
}

/// A file without a header that can be read, as the original says it.
fn unsaid(failure: Failure) -> Failure {
    match failure {
        Failure::Library(error) if matches!(error.code, ErrorCode::NO_HEADER | ErrorCode::CORRUPT) => {
            Failure::Original { words: String::new(), more: Some(error.message) }
        }
        other => other,
    }
}

/// Makes the target.
fn recover(
    source: &Db,
    keys: &Keys,
    target: &Path,
    stale: bool,
    log: &mut Log<'_>,
) -> Result<Summary, Failure> {
    let shelter = Shelter::new(source, keys, target)?;
    let mut current = (source.header_position(), source.header());
    let expected = documents_in(&current.1);
    log.begin_bar(expected, "recovering");
    let mut summary = Summary { header_position: current.0, in_header: expected, ..Summary::default() };
    damaged_behind(source, current.0, log)?;
    let mut rescue = Rescue::new(source, &shelter, stale);
    let mut wanted = Ranges::everything();
    loop {
        summary.headers_read += 1;
        let (position, header) = &current;
        let before = rescue.older();
        rescue.header(*position, header, log)?;
        summary.from_each.extend(Some(rescue.older() - before).filter(|&count| count > 0));
        summary.local_documents += rescue_local(source, &shelter, header, &mut wanted, log)?;
        if !stale {
            break;
        }
        match older(source, &current, log)? {
            Some(next) => {
                if current.1.previous_header() != Some(next.0) {
                    rescue.doubt();
                }
                current = next;
            }
            None => break,
        }
    }
    summary.recovered = rescue.newest();
    summary.from_older_headers = rescue.older();
    summary.lost = expected.saturating_sub(summary.recovered + summary.from_older_headers);
    summary.live = rescue.live();
    summary.index_error = log.index_error();
    summary.damaged = log.damaged();
    check_key(source, &summary)?;
    shelter.finish(&source.header(), log)?;
    Ok(summary)
}

/// Files whose key is derived from the user's open with any key; then nothing in them can be read.
fn check_key(source: &Db, summary: &Summary) -> Result<(), Failure> {
    let Summary { recovered, from_older_headers, local_documents, damaged, .. } = summary;
    let nodes = damaged.nodes + damaged.local_nodes;
    if source.encryption_key_id().is_some()
        && nodes > 0
        && recovered + from_older_headers + local_documents == 0
    {
        return Err(Failure::Message(
            "nothing can be decrypted: the key is wrong, or the trees are damaged; --stale searches older ones".into(),
        ));
    }
    Ok(())
}

/// Number of documents that a header claims to have, as far as its reduce values can be read.
fn documents_in(header: &FileHeader) -> u64 {
    let by_id = header.root(Tree::ById).and_then(|root| DocCounts::parse(&root.reduce).ok());
    let by_seq = header.root(Tree::BySeq).and_then(|root| parse_count(&root.reduce).ok());
    by_id.map_or(0, |counts| counts.live + counts.deleted).max(by_seq.unwrap_or(0))
}
