// SPDX-License-Identifier: Apache-2.0

//! What a compaction has come to.

use crate::output::Output;
use crate::program::Failure;
use crate::text::{lossless_path, printable, share, size};
use couchstore::{Db, OnlineStats};
use serde::Serialize;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// What is going to be purged, as the original tells it.
pub(super) fn purge(output: &mut Output, before: Option<u64>, up_to_seq: Option<u64>) -> Result<(), Failure> {
    if let Some(before) = before {
        writeln!(output, "Purging items before timestamp {before}")?;
    }
    if let Some(seq) = up_to_seq {
        writeln!(output, "Purging items only up-to seq {seq}")?;
    }
    Ok(())
}

/// Figures of a file.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Figures {
    file_size: u64,
    data_size: u64,
    doc_count: u64,
    deleted_count: u64,
    update_seq: u64,
    purge_seq: u64,
    version: u8,
}

impl Figures {
    pub(super) fn of(db: &Db) -> Result<Figures, Failure> {
        let info = db.info()?;
        Ok(Figures {
            file_size: info.file_size,
            data_size: info.space_used,
            doc_count: info.doc_count,
            deleted_count: info.deleted_count,
            update_seq: info.last_sequence,
            purge_seq: info.purge_seq,
            version: info.version as u8,
        })
    }
}

/// Before and after.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    source: String,
    target: String,
    before: Figures,
    after: Figures,
    purged: u64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    catch_up_rounds: Option<u32>,
}

impl Summary {
    pub(super) fn new(names: [&Path; 2], figures: [Figures; 2], purged: u64, took: Duration) -> Summary {
        let [source, target] = names.map(lossless_path);
        let [before, after] = figures;
        Summary { source, target, before, after, purged, seconds: took.as_secs_f64(), catch_up_rounds: None }
    }

    /// Adds what only an online compaction has.
    pub(super) fn online(self, stats: &OnlineStats) -> Summary {
        Summary { catch_up_rounds: Some(stats.rounds), ..self }
    }

    /// As the original tells it, and with `full` all the rest.
    pub(super) fn text(&self, output: &mut Output, full: bool) -> Result<(), Failure> {
        let Summary { source, target, before, after, .. } = self;
        let saved = 100.0 - share(after.file_size, before.file_size);
        let [source, target] = [source, target].map(|name| printable(name.as_bytes()));
        let [file_before, file_after] = [before.file_size, after.file_size].map(size);
        let [data_before, data_after] = [before.data_size, after.data_size].map(size);
        writeln!(output, "Compacted {source} -> {target}")?;
        if !full {
            return Ok(());
        }
        writeln!(output, "   file size: {file_before} -> {file_after} ({saved:.1} % less)")?;
        writeln!(output, "   data size: {data_before} -> {data_after}")?;
        writeln!(output, "   doc count: {} -> {}", before.doc_count, after.doc_count)?;
        writeln!(output, "   deleted doc count: {} -> {}", before.deleted_count, after.deleted_count)?;
        writeln!(output, "   update_seq: {} -> {}", before.update_seq, after.update_seq)?;
        writeln!(output, "   purge_seq: {} -> {}", before.purge_seq, after.purge_seq)?;
        if before.version != after.version {
            writeln!(output, "   file format version: {} -> {}", before.version, after.version)?;
        }
        writeln!(output, "   purged tombstones: {}", self.purged)?;
        if let Some(rounds) = self.catch_up_rounds {
            writeln!(output, "   rounds of catching up: {rounds}")?;
        }
        Ok(writeln!(output, "   time: {:.1} s", self.seconds)?)
    }
}
