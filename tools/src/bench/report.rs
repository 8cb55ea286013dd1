//! How results are shown: a line of a table, or an object.

use super::meter::{Latency, Measured};
use super::ops::Counts;
use crate::output::Output;
use crate::program::Failure;
use crate::text::{grouped, size};
use serde::Serialize;
use std::io::Write as _;

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
    sync: &'static str,
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
            sync,
            verified: true,
        }
    }

    /// Names of the columns.
    pub(super) fn print_heading(output: &mut Output) -> Result<(), Failure> {
        writeln!(
            output,
            "{:<16} {:>10} {:>10} {:>12} {:>9} {:>8} {:>9} {:>5} {:>9} {:>9} {:>8} {:>8} {:>6}",
            "row",
            "documents",
            "seconds",
            "ops/s",
            "us/op",
            "MB/s",
            "written",
            "ampl",
            "file",
            "memory",
            "reads",
            "writes",
            "syncs"
        )?;
        Ok(())
    }

    pub(super) fn print(&self, output: &mut Output) -> Result<(), Failure> {
        let dash = || "-".to_owned();
        writeln!(
            output,
            "{:<16} {:>10} {:>10.4} {:>12.0} {:>9.2} {:>8} {:>9} {:>5} {:>9} {:>9} {:>8} {:>8} {:>6}",
            self.row,
            grouped(self.documents),
            self.seconds,
            self.ops_per_second,
            self.microseconds_per_op,
            if self.user_bytes > 0 { format!("{:.1}", self.mb_per_second) } else { dash() },
            if self.counts.bytes_written > 0 { size(self.counts.bytes_written) } else { dash() },
            self.write_amplification.map_or_else(dash, |factor| format!("{factor:.2}")),
            size(self.file_size),
            self.peak_memory.map_or_else(dash, size),
            self.counts.reads,
            self.counts.writes,
            self.counts.syncs,
        )?;
        if let Some(Latency { p50, p99, max, p99_alone }) = self.latency_us {
            let alone =
                p99_alone.map_or_else(String::new, |p99| format!("; without compaction p99 {p99:.0} us"));
            writeln!(output, "{:<16} p50 {p50:.0} us, p99 {p99:.0} us, longest {max:.0} us{alone}", "")?;
        }
        Ok(())
    }
}
