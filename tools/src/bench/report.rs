// SPDX-License-Identifier: Apache-2.0

//! How results are shown: a line of a table, or an object.

use super::floors::Floor;
use super::meter::{Latency, Measured};
use super::ops::Counts;
use crate::text::{grouped, size};
use serde::Serialize;

/// Steps of a floor that fit into a line.
const STEPS_IN_A_LINE: usize = 4;

/// A row of the table.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    row: String,
    /// Documents in the file.
    documents: u64,
    body_size: usize,
    ops: u64,
    seconds: f64,
    ops_per_second: f64,
    microseconds_per_op: f64,
    /// Of what the user gives or gets; 0 if that is nothing.
    mb_per_second: f64,
    user_bytes: u64,
    /// Bytes written by bytes that the user gave; nothing for rows that do not write.
    write_amplification: Option<f64>,
    file_size: u64,
    peak_memory: Option<u64>,
    #[serde(flatten)]
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<Floor>,
    sync: &'static str,
    /// Bytes of the cache that all handles share.
    node_cache: Option<u64>,
    verified: bool,
}

impl Line {
    /// Of a row that was measured. Rows whose documents are wrong never come here.
    pub(super) fn new(
        row: String,
        documents: u64,
        body_size: usize,
        sync: &'static str,
        measured: &Measured,
    ) -> Line {
        let Measured { ops, seconds, user_bytes, file_size, peak_memory, counts, latency } = *measured;
        let seconds_or_little = seconds.max(1e-9);
        let written = counts.bytes_written;
        Line {
            row,
            documents,
            body_size,
            ops,
            seconds,
            ops_per_second: ops as f64 / seconds_or_little,
            microseconds_per_op: seconds * 1e6 / ops.max(1) as f64,
            mb_per_second: user_bytes as f64 / seconds_or_little / 1e6,
            user_bytes,
            write_amplification: (written > 0 && user_bytes > 0).then(|| written as f64 / user_bytes as f64),
            file_size,
            peak_memory,
            counts,
            latency_us: latency,
            floor: None,
            sync,
            node_cache: None,
            verified: true,
        }
    }

    /// With the size of a cache that all handles share.
    pub(super) fn with_node_cache(self, node_cache: Option<u64>) -> Line {
        Line { node_cache, ..self }
    }

    /// With what this machine needs for the same bytes.
    pub(super) fn with_floor(self, floor: Option<Floor>) -> Line {
        Line { floor, ..self }
    }

    /// Names of the columns. A row has two lines, so that it fits into any terminal.
    pub(super) fn heading() -> String {
        let first = ["row", "documents", "seconds", "ops/s", "us/op", "MB/s", "memory"];
        let second = ["written", "ampl", "file", "reads", "writes", "syncs"];
        lines(first.map(str::to_owned), second.map(str::to_owned))
    }

    /// The row in the table.
    pub(super) fn text(&self) -> String {
        let dash = || "-".to_owned();
        let Counts { bytes_written, reads, writes, syncs, .. } = self.counts;
        let first = [
            self.row.clone(),
            grouped(self.documents),
            format!("{:.4}", self.seconds),
            format!("{:.0}", self.ops_per_second),
            format!("{:.2}", self.microseconds_per_op),
            if self.user_bytes > 0 { format!("{:.1}", self.mb_per_second) } else { dash() },
            self.peak_memory.map_or_else(dash, size),
        ];
        let second = [
            if bytes_written > 0 { size(bytes_written) } else { dash() },
            self.write_amplification.map_or_else(dash, |factor| format!("{factor:.2}")),
            size(self.file_size),
            reads.to_string(),
            writes.to_string(),
            syncs.to_string(),
        ];
        let more = [self.latency_us.map(latency), self.floor.as_ref().map(floor)];
        lines(first, second) + &more.into_iter().flatten().collect::<String>()
    }
}

fn lines(first: [String; 7], second: [String; 6]) -> String {
    let [row, documents, seconds, per_second, each, megabytes, memory] = first;
    let [written, amplification, file, reads, writes, syncs] = second;
    format!(
        "{row:<16} {documents:>11} {seconds:>10} {per_second:>10} {each:>10} {megabytes:>7} {memory:>10}\n\
         {:17}{written:>10} {amplification:>8} {file:>10} {reads:>10} {writes:>10} {syncs:>10}\n",
        ""
    )
}

fn latency(Latency { p50, p99, max, p99_alone, .. }: Latency) -> String {
    let alone = p99_alone.map_or_else(String::new, |p99| format!("; p99 alone {p99:.0} us"));
    format!("{:4}p50 {p50:.0} us, p99 {p99:.0} us, longest {max:.0} us{alone}\n", "")
}

/// The steps are those of one operation, in microseconds.
fn floor(floor: &Floor) -> String {
    let Floor { percent, microseconds_per_op, .. } = floor;
    let mut text = format!("    {percent:.0} % of the floor, which is {microseconds_per_op:.2} us/op:\n");
    let steps: Vec<_> = floor.steps().map(|(name, time)| format!("{name} {time:.2}")).collect();
    for some in steps.chunks(STEPS_IN_A_LINE) {
        text.extend(["      ", &some.join(", "), "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day of work on the largest files that can be asked for.
    #[test]
    fn the_table_fits_into_a_terminal() {
        let counts = Counts {
            reads: 1_000_000_000,
            writes: 1_000_000_000,
            bytes_written: 999_900_000_000,
            syncs: 100_000_000,
            ..Counts::default()
        };
        let latency = Latency { p50: 1e6, p99: 1e6, max: 1e7, p99_alone: Some(1e6), ..Latency::default() };
        let measured = Measured {
            ops: 100_000_000,
            seconds: 86_400.0,
            user_bytes: 99_990_000_000,
            file_size: 999_900_000_000,
            peak_memory: Some(999_900_000_000),
            counts,
            latency: Some(latency),
        };
        let row = Line::new("saves-compacting".to_owned(), 100_000_000, 1 << 20, "real", &measured);
        let floor = Floor::slow(100_000.0);
        let table = Line::heading() + &row.with_floor(Some(floor)).text();
        assert_eq!(table.lines().count(), 9, "{table}");
        assert!(table.lines().all(|line| line.len() <= 80), "{table}");
        let widths: Vec<_> = table.lines().take(4).map(str::len).collect();
        assert!(widths[0] == widths[2] && widths[1] == widths[3], "{table}");
    }
}
