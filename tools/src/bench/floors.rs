// SPDX-License-Identifier: Apache-2.0

//! Floors: what one thread of this machine needs for the bytes that a row reads and writes, whatever program moves them.
//!
//! Every step is measured by itself, in the run and on nodes and bodies of the rows' own file: opening and closing,
//! reading, checksums, inflating, copying, sorting, deflating, writing, syncs. A row's floor is their sum for its calls
//! and bytes: nothing overlaps, and nothing is spent on finding out what to do. [`material`](super::material) does the
//! measuring.

use super::meter::Measured;
use serde::Serialize;

/// In front of each chunk: its length and its checksum.
const CHUNK_PREFIX: f64 = 8.0;

/// What a call takes, and each byte of it, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) call: f64,
    pub(super) byte: f64,
}

impl Cost {
    /// From what calls of two sizes take.
    pub(super) fn of_two((small, short): (usize, f64), (large, long): (usize, f64)) -> Cost {
        let byte = ((long - short) / (large.saturating_sub(small).max(1)) as f64).max(0.0);
        Cost { call: (short - small as f64 * byte).max(0.0), byte }
    }

    fn of(self, calls: u64, bytes: f64) -> f64 {
        self.call * calls as f64 + self.byte * bytes
    }
}

/// What Snappy takes for each stored byte of nodes or bodies, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Codec {
    pub(super) inflate: f64,
    pub(super) deflate: f64,
    /// Bytes of one, stored, without what stands in front of it.
    pub(super) stored: f64,
    /// Inflated bytes by stored ones.
    pub(super) growth: f64,
}

/// What each step takes on this machine, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floors {
    /// Opening and closing a file.
    pub(super) open: f64,
    /// Bytes that are read at each open: those of the header, and what follows in its block.
    pub(super) header: u64,
    pub(super) read: Cost,
    pub(super) write: Cost,
    /// 0 without syncs.
    pub(super) sync: f64,
    /// CRC-32C, for each byte.
    pub(super) checksum: f64,
    /// For each byte.
    pub(super) copy: f64,
    pub(super) nodes: Codec,
    pub(super) bodies: Codec,
    /// For each id.
    pub(super) sort: f64,
    /// Bytes of the nodes that the file's trees consist of now.
    pub(super) by_id: u64,
    pub(super) by_seq: u64,
}

/// What a row does with bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bodies {
    Untouched,
    /// Each document's is read and inflated.
    Read,
    /// Each document's is deflated and written.
    Written,
    /// Each document's is copied as it is stored.
    Moved,
}

/// What a row reads at most, beside bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nodes {
    /// What it was seen to read.
    Seen,
    /// The by-id tree, once for all documents.
    ById,
    /// The by-sequence tree, once for all documents.
    BySeq,
}

/// What a row's work consists of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    pub(super) nodes: Nodes,
    pub(super) bodies: Bodies,
    /// Whether ids have to be brought into order.
    pub(super) sorts: bool,
}

/// A row's floor: all of it, what the row reaches of it, and its steps, in microseconds for each operation.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Floor {
    pub(super) microseconds_per_op: f64,
    /// 100: the row takes no longer than its floor.
    pub(super) percent: f64,
    open: f64,
    read: f64,
    checksum: f64,
    inflate: f64,
    copy: f64,
    sort: f64,
    deflate: f64,
    write: f64,
    sync: f64,
}

impl Floor {
    /// The steps that a row has, by name.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let Floor { open, read, checksum, inflate, copy, sort, deflate, write, sync, .. } = *self;
        let all = [
            ("open", open),
            ("read", read),
            ("checksum", checksum),
            ("inflate", inflate),
            ("copy", copy),
            ("sort", sort),
            ("deflate", deflate),
            ("write", write),
            ("sync", sync),
        ];
        all.into_iter().filter(|&(_, time)| time > 0.0)
    }
}

#[cfg(test)]
impl Floor {
    /// One with all steps, each of so many microseconds.
    pub(super) fn slow(each: f64) -> Floor {
        let all = Floor {
            open: each,
            read: each,
            checksum: each,
            inflate: each,
            copy: each,
            sort: each,
            deflate: each,
            write: each,
            sync: each,
            ..Floor::default()
        };
        all.by(1e6, 1e-3)
    }
}

impl Floors {
    /// The floor of a row that was measured. `documents`: how many the file has.
    pub(super) fn of(&self, work: Work, measured: &Measured, documents: u64) -> Floor {
        let (counts, ops) = (measured.counts, measured.ops as f64);
        let body = self.bodies.stored + CHUNK_PREFIX;
        let body_bytes = |does: bool| if does { ops * body } else { 0.0 };
        let read_bodies = body_bytes(matches!(work.bodies, Bodies::Read | Bodies::Moved));
        let written_bodies = body_bytes(matches!(work.bodies, Bodies::Written | Bodies::Moved));
        let headers = (counts.opens * self.header) as f64;
        let seen = (counts.bytes_read as f64 - headers - read_bodies).max(0.0);
        let times = ops / documents.max(1) as f64;
        let read_nodes = match work.nodes {
            Nodes::Seen => seen,
            Nodes::ById => seen.min(self.by_id as f64 * times),
            Nodes::BySeq => seen.min(self.by_seq as f64 * times),
        };
        let written_nodes = (counts.bytes_written as f64 - written_bodies).max(0.0);
        // With a cache of nodes, bodies are all that is read.
        let read = (headers + read_nodes + read_bodies).min(counts.bytes_read as f64);
        let written = counts.bytes_written as f64;
        // A body that is moved was checked when it was read.
        let summed = if work.bodies == Bodies::Moved { written_nodes } else { written };
        let inflates = f64::from(u8::from(work.bodies == Bodies::Read));
        let deflates = f64::from(u8::from(work.bodies == Bodies::Written));
        let sorted = f64::from(u8::from(work.sorts)) * ops;
        Floor {
            open: self.open * counts.opens as f64,
            read: self.read.of(counts.reads, read),
            checksum: self.checksum * (read + summed),
            inflate: self.nodes.inflate * read_nodes + self.bodies.inflate * read_bodies * inflates,
            // New nodes are put together from old ones.
            copy: self.copy * self.nodes.growth * written_nodes,
            sort: self.sort * sorted,
            deflate: self.nodes.deflate * written_nodes + self.bodies.deflate * written_bodies * deflates,
            write: self.write.of(counts.writes, written),
            sync: self.sync * counts.syncs as f64,
            ..Floor::default()
        }
        .by(ops, measured.seconds)
    }
}

impl Floor {
    /// From seconds of all operations to microseconds of one, with sum and share.
    fn by(self, ops: f64, seconds: f64) -> Floor {
        let sum: f64 = self.steps().map(|(_, time)| time).sum();
        let each = |time: f64| time * 1e6 / ops.max(1.0);
        Floor {
            microseconds_per_op: each(sum),
            percent: 100.0 * sum / seconds.max(1e-9),
            open: each(self.open),
            read: each(self.read),
            checksum: each(self.checksum),
            inflate: each(self.inflate),
            copy: each(self.copy),
            sort: each(self.sort),
            deflate: each(self.deflate),
            write: each(self.write),
            sync: each(self.sync),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ops::Counts;
    use super::*;

    fn measured(counts: Counts) -> Measured {
        Measured {
            ops: 10,
            seconds: 1.0,
            user_bytes: 0,
            file_size: 0,
            peak_memory: None,
            counts,
            latency: None,
        }
    }

    #[test]
    fn calls_of_two_sizes_tell_what_a_call_and_a_byte_take() {
        let cost = Cost::of_two((100, 3.0), (300, 5.0));
        assert!((cost.call - 2.0).abs() < 1e-9 && (cost.byte - 0.01).abs() < 1e-9, "{cost:?}");
    }

    #[test]
    fn a_floor_is_the_sum_of_its_steps() {
        let bodies = Codec { inflate: 0.001, stored: 92.0, ..Codec::default() };
        let nodes = Codec { inflate: 0.002, ..Codec::default() };
        let floors =
            Floors { read: Cost { call: 0.01, byte: 0.0 }, bodies, nodes, by_seq: 100, ..Floors::default() };
        let counts = Counts { reads: 10, bytes_read: 1500, ..Counts::default() };
        let work = Work { nodes: Nodes::Seen, bodies: Bodies::Read, sorts: false };
        // 10 bodies of 100 bytes with their prefixes, 500 bytes of nodes.
        let floor = floors.of(work, &measured(counts), 10);
        assert!((floor.percent - 100.0 * (0.1 + 1.0 + 1.0)).abs() < 1e-6, "{floor:?}");
        assert!((floor.microseconds_per_op - 210_000.0).abs() < 1e-3, "{floor:?}");
        assert_eq!(floor.steps().map(|(name, _)| name).collect::<Vec<_>>(), ["read", "inflate"]);
        // Of what a scan reads, the tree is all that it needs.
        let scan = Work { nodes: Nodes::BySeq, ..work };
        let floor = floors.of(scan, &measured(counts), 10);
        assert!((floor.percent - 100.0 * (0.1 + 1.0 + 0.2)).abs() < 1e-6, "{floor:?}");
    }
}
