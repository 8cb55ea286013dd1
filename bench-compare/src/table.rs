// SPDX-License-Identifier: Apache-2.0

//! The tables, in Markdown.

use crate::run::{Measured, Work};
use crate::store::Syncs;

/// What a row says, how it is read, and how it is shown.
type Row = (&'static str, fn(&Measured) -> f64, fn(f64) -> String);

const ROWS: [Row; 11] = [
    ("close and open", |measured| measured.open, per_second),
    ("load, a commit per batch", |measured| measured.load, per_second),
    ("random update, a commit per tenth of that batch", |measured| measured.update, per_second),
    ("commit of one document", |measured| measured.commit, per_second),
    ("get by a random id", |measured| measured.get, per_second),
    ("scan by id, with bodies", |measured| measured.scan, per_second),
    ("scan in the order of changes, with bodies", |measured| measured.changes, per_second),
    ("compaction", |measured| measured.compact, per_second),
    ("file after the load", |measured| measured.loaded_size, megabytes),
    ("file after the updates", |measured| measured.updated_size, megabytes),
    ("file after compaction", |measured| measured.compacted_size, megabytes),
];

pub(crate) fn print(work: &Work, syncs: Syncs, columns: &[(&'static str, Measured)]) {
    let Work { documents, body_size, batch } = work;
    let syncs = match syncs {
        Syncs::Real => "every commit waits for the disk",
        Syncs::None => "without syncs",
    };
    println!(
        "{documents} documents of {body_size} bytes, batches of {batch}, {syncs}; operations per second, of documents \
         where a row has many:\n"
    );
    println!("| | {} |", columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "---:|".repeat(columns.len()));
    for (name, figure, show) in ROWS {
        let cells: Vec<_> = columns.iter().map(|(_, measured)| show(figure(measured))).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
    println!();
}

/// Three digits, with a unit.
fn per_second(value: f64) -> String {
    let (value, unit) = match value {
        0.0 => return "-".to_owned(),
        value if value >= 1e6 => (value / 1e6, " M"),
        value if value >= 1e3 => (value / 1e3, " k"),
        value => (value, ""),
    };
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}{unit}")
}

fn megabytes(value: f64) -> String {
    format!("{:.1} MB", value / 1e6)
}
