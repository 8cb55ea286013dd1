// SPDX-License-Identifier: Apache-2.0

//! What the user is told, and the end that a user may ask for.

use crate::carry::Carry;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::program::{Failure, say_plainly};
use crate::progress;
use crate::text::{lossless, lossless_path, printable, printable_path};
use couchstore::inspect::Tree;
use couchstore::{DocInfoRef, Error, ErrorCode};
use indicatif::ProgressBar;
use serde::Serialize;
use std::io::Write as _;
use std::path::Path;

/// How much was damaged.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Damaged {
    pub(super) headers: u64,
    pub(super) nodes: u64,
    /// Nodes of the tree of local documents: nobody knows what was in them.
    pub(super) local_nodes: u64,
    pub(super) bodies: u64,
}

/// What has become of the documents.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Offset of the newest header that can be read.
    pub(super) header_position: u64,
    /// Headers in whose trees documents were looked for.
    pub(super) headers_read: u64,
    /// Documents, deleted ones too, that the newest header has.
    pub(super) in_header: u64,
    /// Those of them that were recovered.
    pub(super) recovered: u64,
    /// Those of these that are not deleted.
    #[serde(skip)]
    pub(super) live: u64,
    /// What came back from each older header from which something did, the newest first.
    #[serde(skip)]
    pub(super) from_each: Vec<u64>,
    /// Why the first damaged node of the indexes cannot be read.
    #[serde(skip)]
    pub(super) index_error: Option<ErrorCode>,
    pub(super) from_older_headers: u64,
    pub(super) lost: u64,
    pub(super) local_documents: u64,
    pub(super) damaged: Damaged,
}

/// One thing told with --verbose.
#[derive(Serialize)]
struct Event<'a> {
    what: &'a str,
    position: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    reason: String,
}

/// Tells the user.
pub(super) struct Log<'a> {
    output: &'a mut Output,
    how: How,
    /// Standard output still takes something.
    is_heard: bool,
    interrupt: Interrupt,
    carry: Carry,
    bar: ProgressBar,
    damaged: Damaged,
    index_error: Option<ErrorCode>,
}

/// How the user is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// Our own report, in place of what the original says.
    pub(super) report: bool,
    pub(super) verbose: bool,
    pub(super) json: bool,
}

impl<'a> Log<'a> {
    pub(super) fn new(output: &'a mut Output, how: How, interrupt: Interrupt) -> Log<'a> {
        Log {
            output,
            how,
            is_heard: true,
            interrupt,
            carry: Carry::default(),
            bar: ProgressBar::hidden(),
            damaged: Damaged::default(),
            index_error: None,
        }
    }

    pub(super) fn begin(&mut self, source: &Path, target: &Path) -> Result<(), Failure> {
        let (source, target) = (printable_path(source), printable_path(target));
        if !self.how.report {
            say_plainly(&format!("Recover from file {source} to file {target}"));
        } else if !self.how.json {
            let told = writeln!(self.output, "Recovering from file {source} to file {target}");
            // At once: the work may take long, and is in vain if nothing can be told.
            let told = told.and_then(|()| self.output.flush());
            self.unless_closed(told.map_err(Failure::from))?;
        }
        Ok(())
    }

    /// The recovery goes on if nobody listens any more.
    fn unless_closed(&mut self, told: Result<(), Failure>) -> Result<(), Failure> {
        match told {
            Err(Failure::ClosedPipe) => {
                self.is_heard = false;
                Ok(())
            }
            told => told,
        }
    }

    /// A new progress bar, up to `total`.
    pub(super) fn begin_bar(&mut self, total: u64, what: &'static str) {
        self.bar = progress::bar(total, what);
    }

    pub(super) fn advance_bar(&mut self, done: u64) {
        self.bar.set_position(done);
    }

    /// What the recovery has come to: a failure to tell something is that of the recovery.
    pub(super) fn result(self, recovered: Result<Summary, Failure>) -> Result<Summary, Failure> {
        self.bar.finish_and_clear();
        self.carry.result(Ok(()))?;
        recovered
    }

    /// An error if the recovery is to end.
    pub(super) fn proceed(&mut self) -> couchstore::Result<()> {
        self.carry.take(self.interrupt.check())
    }

    pub(super) fn damaged(&self) -> Damaged {
        self.damaged
    }

    pub(super) fn index_error(&self) -> Option<ErrorCode> {
        self.index_error
    }

    /// A header cannot be read.
    pub(super) fn header(&mut self, position: u64, error: &Error) -> couchstore::Result<()> {
        self.damaged.headers += 1;
        self.tell("damaged header", position, None, error.to_string())
    }

    /// A node, or part of it, cannot be read.
    pub(super) fn node(
        &mut self,
        tree: Tree,
        position: u64,
        code: ErrorCode,
        reason: String,
    ) -> couchstore::Result<()> {
        if tree != Tree::Local {
            self.index_error.get_or_insert(code);
        }
        let what = match tree {
            Tree::ById => "damaged by-id node",
            Tree::BySeq => "damaged by-seq node",
            Tree::Local => "damaged local node",
        };
        self.damaged.nodes += u64::from(tree != Tree::Local);
        self.damaged.local_nodes += u64::from(tree == Tree::Local);
        self.tell(what, position, None, reason)
    }

    /// The body of a document cannot be read.
    pub(super) fn body(&mut self, info: &DocInfoRef<'_>, reason: String) -> couchstore::Result<()> {
        self.damaged.bodies += 1;
        self.tell("damaged body", info.body_position, Some(info), reason)
    }

    /// A document is taken from an older header.
    pub(super) fn comes_back(&mut self, header: u64, info: &DocInfoRef<'_>) -> couchstore::Result<()> {
        self.tell("older version", info.body_position, Some(info), format!("from the header at {header}"))
    }

    fn tell(
        &mut self,
        what: &str,
        position: u64,
        info: Option<&DocInfoRef<'_>>,
        reason: String,
    ) -> couchstore::Result<()> {
        if !self.how.verbose || !self.is_heard {
            return Ok(());
        }
        let id = info.map(|info| lossless(info.id));
        let seq = info.map(|info| info.db_seq);
        let told = if self.how.json {
            self.output.json(&Event { what, position, id, seq, reason })
        } else {
            let document = match (&id, seq) {
                (Some(id), Some(seq)) => format!(" of document {id:?}, sequence {seq}"),
                _ => String::new(),
            };
            // The reason may name the file.
            let reason = printable(reason.as_bytes());
            writeln!(self.output, "{what} at {position}{document}: {reason}").map_err(Failure::from)
        };
        let told = self.unless_closed(told);
        self.carry.take(told)
    }
}

#[derive(Serialize)]
struct JsonSummary<'a> {
    source: String,
    target: String,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// Sums up as the original does.
pub(super) fn show_as_original(summary: &Summary, stale: bool) {
    let Damaged { bodies, .. } = summary.damaged;
    say_plainly(&match summary.index_error {
        None => "No corruption detected in index.".to_owned(),
        Some(code) => {
            let text = code.text().to_string_lossy();
            format!("Corrupted index node detected (error code {}, {text}).", code.0)
        }
    });
    say_plainly(&format!("Total {} documents are referred to by index.", summary.in_header));
    say_plainly(&match bodies {
        0 => "No corruption detected in documents.".to_owned(),
        bodies => format!("Total {bodies} documents are corrupted."),
    });
    say_plainly(&format!("Total {} documents recovered.", summary.live));
    if !stale || summary.from_older_headers == 0 {
        return;
    }
    say_plainly("We are going to recover missing documents from stale commits..");
    for (number, count) in (1..).zip(&summary.from_each) {
        say_plainly(&format!("{count} documents recovered from stale header #{number}."));
    }
    say_plainly(&format!("Total {} documents recovered from stale headers.", summary.from_older_headers));
}

/// Sums up in a report.
pub(super) fn show(
    out: &mut Output,
    source: &Path,
    target: &Path,
    summary: &Summary,
    json: bool,
) -> Result<(), Failure> {
    if json {
        let (source, target) = (lossless_path(source), lossless_path(target));
        return out.json(&JsonSummary { source, target, summary });
    }
    let Summary { header_position, headers_read, in_header, recovered, from_older_headers, .. } = summary;
    let Damaged { headers, nodes, local_nodes, bodies } = summary.damaged;
    writeln!(out, "   header at {header_position}, {headers_read} headers searched")?;
    writeln!(out, "   documents: {in_header}")?;
    writeln!(out, "   recovered: {recovered}")?;
    writeln!(out, "   from older headers: {from_older_headers}")?;
    writeln!(out, "   lost: {}", summary.lost)?;
    writeln!(out, "   local documents recovered: {}", summary.local_documents)?;
    writeln!(
        out,
        "   damaged: {headers} headers, {nodes} nodes, {local_nodes} local nodes, {bodies} bodies"
    )?;
    writeln!(out, "Recovery completed")?;
    Ok(())
}
