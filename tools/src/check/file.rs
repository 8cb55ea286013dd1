// SPDX-License-Identifier: Apache-2.0

//! The check of one file.

use super::agree::{self, Whole};
use super::args::Args;
use super::bodies::{self, Feed};
use super::headers::{Chain, check_previous};
use super::places::Places;
use super::problem::{Call, Problem, Problems, reason_of};
use super::shared::{Large, Shared};
use super::sums::Memory;
use super::walk::{Found, TreeCheck};
use crate::found::FoundHeaders;
use crate::interrupt::Interrupt;
use crate::keys::Keys;
use crate::open::open_for_recovery;
use crate::program::{Failure, start_thread};
use crate::progress;
use crate::text::printable_path;
use couchstore::inspect::{FileHeader, FoundHeader, Headers, Tree, walk_nodes};
use couchstore::{Db, Error, OpenOptions};
use parking_lot::Mutex;
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread::ScopedJoinHandle;

/// What there is in a file, as its newest header sees it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Offset of that header.
    header_position: u64,
    headers: u64,
    documents: u64,
    deleted: u64,
    local_documents: u64,
    /// Nodes that were read, of all headers.
    nodes: u64,
    bodies: u64,
    /// Whether it was checked that no chunks overlap: not if there are too many holes between them.
    overlaps_checked: bool,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Summary { headers, documents, deleted, local_documents, nodes, bodies, .. } = self;
        write!(f, "{headers} headers, {documents} documents, {deleted} deleted, {bodies} bodies, ")?;
        write!(f, "{local_documents} local documents, {nodes} nodes")?;
        f.write_str(if self.overlaps_checked { "" } else { "; too many holes to check for overlaps" })
    }
}

/// Checks a file. An error is what kept the check from being done.
pub(super) fn check(
    path: &Path,
    args: &Args,
    keys: &Keys,
    interrupt: &Interrupt,
    problems: &Problems,
) -> Result<Summary, Failure> {
    let db = open(path, keys, problems)?;
    let bar = progress::bar(db.info().map_or(0, |info| info.space_used), "checking");
    let places = Places::default();
    let stopped = AtomicBool::new(false);
    let bodies_moved = bodies::may_have_moved(&db);
    let threads = args.threads();
    let large = Large::new(threads);
    let shared = Shared { problems, bar: &bar, places: &places, large, bodies_moved, interrupt, stopped };
    let (sender, receiver) = mpsc::sync_channel(2 * threads);
    let receiver = Mutex::new(receiver);
    let (checked, worked) = std::thread::scope(|scope| {
        let work = || bodies::work(path, keys, &shared, &receiver);
        let workers: Vec<_> = (0..threads).map(|_| start_thread(scope, work)).collect();
        if workers.iter().any(Result::is_err) {
            shared.stop();
        }
        let check = FileCheck {
            db: &db,
            shared: &shared,
            feed: Feed::new(sender),
            memory: Memory::new(args.all_headers),
            summary: Summary::default(),
        };
        let checked = check.run(args.all_headers);
        let join = |worker: Result<ScopedJoinHandle<'_, _>, Failure>| {
            worker?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let worked: Result<Vec<()>, Failure> = workers.into_iter().map(join).collect();
        (checked, worked)
    });
    interrupt.check()?;
    // What has stopped a thread has stopped the walk as well, and is the reason.
    worked?;
    let overlaps_checked = places.finish(&db, interrupt, problems)?;
    Ok(Summary { overlaps_checked, ..checked? })
}

/// Opens a file; if its newest header is damaged, that is a problem, and the newest one that can be read counts.
fn open(path: &Path, keys: &Keys, problems: &Problems) -> Result<Db, Failure> {
    let recovered = open_for_recovery(path, keys).map_err(|failure| {
        failure.in_original_words(|error| format!("{}: {}", printable_path(path), Call::Open.words(error)))
    })?;
    match OpenOptions::new().read_only(true).node_cache(None).keys(keys.store()).open(path) {
        Ok(db) => Ok(db),
        Err(error) if error.is_damage() => {
            let position = error.position().unwrap_or(0);
            let problem = Problem::of_header(position, format!("header: {}", reason_of(&error)));
            problems.add(problem.failing(Some(Call::Open), error));
            Ok(recovered)
        }
        Err(error) => Err(error.into()),
    }
}

struct FileCheck<'a> {
    db: &'a Db,
    shared: &'a Shared<'a>,
    feed: Feed,
    memory: Memory,
    summary: Summary,
}

impl FileCheck<'_> {
    fn run(mut self, all_headers: bool) -> couchstore::Result<Summary> {
        self.summary.header_position = self.db.header_position();
        if all_headers {
            self.all_headers()?;
        } else {
            let (position, header) = (self.db.header_position(), self.db.header());
            self.header(position, &header)?;
        }
        self.feed.flush();
        Ok(self.summary)
    }

    fn all_headers(&mut self) -> couchstore::Result<()> {
        let mut chain = Chain::new(self.db);
        for FoundHeader { position, header } in FoundHeaders(Headers::backward(self.db)) {
            match header {
                Ok(header) => {
                    chain.add(position, &header, self.shared.problems);
                    self.db.seek_offset(position as i64)?;
                    self.header(position, &header)?;
                }
                Err(error) if error.is_damage() || matches!(error, Error::NoHeader { .. }) => {
                    let at = error.position().unwrap_or(position);
                    let reason = match error {
                        Error::NoHeader { .. } => "a block of type 0, 1 or 2 expected".to_owned(),
                        error => reason_of(&error),
                    };
                    self.shared.problems.add(Problem::of_header(at, format!("header: {reason}")));
                }
                Err(Error::HeaderVersion { version, .. }) => {
                    let reason = format!("header: version {version}, expected 11 to 14");
                    self.shared.problems.add(Problem::of_header(position, reason));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Checks one header and its trees. The handle stands on it.
    fn header(&mut self, position: u64, header: &FileHeader) -> couchstore::Result<()> {
        check_previous(self.db, position, header, self.shared.problems);
        let by_id = self.tree(Tree::ById, position, header)?;
        let by_seq = self.tree(Tree::BySeq, position, header)?;
        let local = self.tree(Tree::Local, position, header)?;
        let whole = Whole { by_id: by_id.whole, by_seq: by_seq.whole };
        if (by_id.sum != by_seq.sum || !whole.by_id || !whole.by_seq)
            && self.memory.is_new_difference(by_id.sum, by_seq.sum, whole)
        {
            agree::compare(self.db, header, whole, self.shared, &mut self.feed)?;
        }
        self.feed.end_newest();
        let summary = &mut self.summary;
        summary.headers += 1;
        summary.nodes += by_id.nodes + by_seq.nodes + local.nodes;
        if position == summary.header_position {
            summary.documents = by_seq.sum.count.saturating_sub(by_seq.deleted);
            summary.deleted = by_seq.deleted;
            summary.local_documents = local.sum.count;
            summary.bodies = by_seq.bodies;
        }
        Ok(())
    }

    fn tree(&mut self, tree: Tree, position: u64, header: &FileHeader) -> couchstore::Result<Found> {
        let feed = (tree == Tree::BySeq).then_some(&mut self.feed);
        let header_of = (position, self.summary.headers == 0);
        let mut check = TreeCheck::new(self.shared, tree, header_of, &mut self.memory, feed);
        walk_nodes(self.db, tree, header.root(tree), &mut check)?;
        Ok(check.finish(header.update_seq))
    }
}
