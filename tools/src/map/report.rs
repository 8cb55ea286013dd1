// SPDX-License-Identifier: Apache-2.0

//! The figures behind a picture, for programs.

use super::histogram::{NodeFill, SizeBar};
use super::kind::Bytes;
use super::ledger::Part;
use super::survey::Survey;
use crate::text::{lossless_path, share};
use serde::Serialize;
use std::path::Path;

/// Everything but the cells.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    file: String,
    file_size: u64,
    header_position: u64,
    version: u8,
    update_seq: u64,
    encrypted: bool,
    documents: u64,
    deleted: u64,
    headers: u64,
    live_bytes: u64,
    live_percent: f64,
    fragmentation_percent: f64,
    bytes: Bytes,
    cell_size: u64,
    cells: usize,
    commits: Vec<Commits>,
    node_fill: &'a NodeFill,
    body_sizes: Vec<SizeBar>,
    damaged_places: u64,
    damage: &'a [String],
}

/// What some commits have written.
#[derive(Debug, Serialize)]
struct Commits {
    start: u64,
    end: u64,
    headers: u64,
    bytes: Bytes,
}

impl<'a> Report<'a> {
    pub(super) fn of(path: &Path, survey: &'a Survey) -> Report<'a> {
        let bytes = survey.total();
        let live_percent = share(bytes.live(), survey.file_size);
        let commits = |part: &Part| Commits {
            start: part.range.start,
            end: part.range.end,
            headers: part.headers,
            bytes: part.bytes,
        };
        Report {
            file: lossless_path(path),
            file_size: survey.file_size,
            header_position: survey.header_position,
            version: survey.header.version as u8,
            update_seq: survey.header.update_seq,
            encrypted: survey.encrypted,
            documents: survey.documents.live,
            deleted: survey.documents.deleted,
            headers: survey.headers,
            live_bytes: bytes.live(),
            live_percent,
            fragmentation_percent: 100.0 - live_percent,
            bytes,
            cell_size: survey.cell_size,
            cells: survey.cells.parts().len(),
            commits: survey.commits.parts().iter().map(commits).collect(),
            node_fill: &survey.node_fill,
            body_sizes: survey.body_sizes.bars(),
            damaged_places: survey.damage.count,
            damage: &survey.damage.examples,
        }
    }
}
