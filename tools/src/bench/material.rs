// SPDX-License-Identifier: Apache-2.0

//! Measuring what each step takes ([`Floors`]), on nodes and bodies of a file of documents.

use super::corpus::{Corpus, Numbers};
use super::floors::{Codec, Cost, Floors};
use super::workspace::{Base, Workspace, remove};
use crate::program::Failure;
use couchstore::inspect::{ChildInfo, Node, NodeVisitor, Tree, Visit, walk_nodes};
use couchstore::{Db, DocInfoRef, Error, ErrorCode, ScanOptions};
use std::fs::File;
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

/// Nodes of each tree, and bodies, that stand for all.
const SAMPLES: usize = 2000;
/// Each step is measured so many times; the shortest time counts.
const TIMES: usize = 7;
/// Sizes of reads and writes: of about a node, and of many.
const SMALL: usize = 512;
const LARGE: usize = 64 << 10;
const READS: u64 = 1000;
const OPENS: u64 = 200;
/// Bytes written with calls of each size.
const WRITTEN: usize = 4 << 20;
const SYNCS: usize = 15;
const MOST_IDS: u64 = 1_000_000;

/// What this machine needs for the steps of rows with bodies of this size.
pub(super) fn floors(workspace: &mut Workspace, body_size: usize) -> Result<Floors, Failure> {
    if let Some(&known) = workspace.floors.get(&body_size) {
        return Ok(known);
    }
    let floors = measure(workspace, body_size)?;
    workspace.floors.insert(body_size, floors);
    Ok(floors)
}

/// Measures all steps on the file that rows with bodies of this size start from.
fn measure(workspace: &mut Workspace, body_size: usize) -> Result<Floors, Failure> {
    let base = workspace.base(body_size, false)?;
    let before = workspace.ops.counts();
    let db = workspace.options(false).read_only(true).open(&base.path)?;
    let header_bytes = (workspace.ops.counts() - before).bytes_read;
    let (nodes, bodies) = (nodes(&db)?, bodies(&db)?);
    let header = db.header();
    let size_of = |tree| header.root(tree).map_or(0, |root| root.subtree_size);
    let named = |error: io::Error| Failure::Message(format!("floors: {error}"));
    let scratch = workspace.new_path();
    let write = writes(&scratch).map_err(named)?;
    let sync = if workspace.settings.sync { syncs(&scratch).map_err(named)? } else { 0.0 };
    remove(&scratch)?;
    Ok(Floors {
        open: shortest(OPENS, || opens(&base.path)).map_err(named)?,
        header: header_bytes,
        read: reads(&base).map_err(named)?,
        write,
        sync,
        checksum: checksum(&nodes)?,
        copy: copy(&nodes)?,
        nodes: codec(&nodes)?,
        bodies: codec(&bodies)?,
        sort: sort(base.expected.documents().min(MOST_IDS)),
        by_id: size_of(Tree::ById),
        by_seq: size_of(Tree::BySeq),
    })
}

/// The shortest of some runs, in seconds for each of the `count` things that one run does.
fn shortest<E>(count: u64, mut run: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let mut best = f64::INFINITY;
    for _ in 0..TIMES {
        let started = Instant::now();
        run()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(best / count.max(1) as f64)
}

/// Pieces of data, inflated and as they are stored.
struct Samples {
    inflated: Vec<Vec<u8>>,
    stored: Vec<Vec<u8>>,
}

impl Samples {
    fn new(inflated: Vec<Vec<u8>>) -> Result<Samples, Failure> {
        let mut encoder = snap::raw::Encoder::new();
        let stored = inflated.iter().map(|bytes| encoder.compress_vec(bytes)).collect::<Result<_, _>>();
        Ok(Samples { inflated, stored: stored.map_err(|error| snappy(&error))? })
    }

    fn stored_bytes(&self) -> u64 {
        bytes_of(&self.stored)
    }
}

fn bytes_of(pieces: &[Vec<u8>]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

fn snappy(error: &snap::Error) -> Failure {
    Failure::Message(format!("floors: {error}"))
}

/// Takes the first nodes of a tree.
#[derive(Default)]
struct Sampler(Vec<Vec<u8>>);

impl NodeVisitor for Sampler {
    fn child(&mut self, _child: &ChildInfo<'_>) -> couchstore::Result<Visit> {
        Ok(if self.0.len() < SAMPLES { Visit::Enter } else { Visit::Skip })
    }

    fn node(&mut self, node: &Node<'_>) -> couchstore::Result<()> {
        self.0.push(node.bytes.to_vec());
        Ok(())
    }
}

fn nodes(db: &Db) -> Result<Samples, Failure> {
    let (header, mut all) = (db.header(), Vec::new());
    for tree in [Tree::ById, Tree::BySeq] {
        let mut sampler = Sampler::default();
        walk_nodes(db, tree, header.root(tree), &mut sampler)?;
        all.append(&mut sampler.0);
    }
    Samples::new(all)
}

fn bodies(db: &Db) -> Result<Samples, Failure> {
    let mut bodies = Vec::new();
    let mut take = |info: &DocInfoRef<'_>| {
        bodies.push(db.body(info)?);
        // Enough: the scan ends here.
        if bodies.len() < SAMPLES { Ok(()) } else { Err(Error::Callback(ErrorCode::CANCEL)) }
    };
    match db.all_docs(b"", ScanOptions::default(), &mut take) {
        Err(Error::Callback(ErrorCode::CANCEL)) => {}
        scanned => scanned?,
    }
    Samples::new(bodies)
}

fn opens(path: &Path) -> io::Result<()> {
    (0..OPENS).try_for_each(|_| File::open(path).map(|file| drop(black_box(file))))
}

fn reads(base: &Base) -> io::Result<Cost> {
    let file = File::open(&base.path)?;
    let end = file.metadata()?.len();
    let mut numbers = Numbers::new(base.expected.corpus.seed);
    let mut buffer = vec![0; LARGE];
    let mut time = |size: usize| {
        let size = size.min(end as usize);
        let seconds = shortest(READS, || {
            (0..READS).try_for_each(|_| {
                let at = numbers.below(end - size as u64 + 1);
                file.read_exact_at(&mut buffer[..size], at)
            })
        })?;
        Ok::<_, io::Error>((size, seconds))
    };
    Ok(Cost::of_two(time(SMALL)?, time(LARGE)?))
}

/// Appends to a new file, as databases do.
fn writes(path: &Path) -> io::Result<Cost> {
    let buffer = vec![0xa5; LARGE];
    let time = |size: usize| {
        let count = (WRITTEN / size) as u64;
        let seconds = shortest(count, || {
            let file = File::create(path)?;
            (0..count).try_for_each(|at| file.write_all_at(&buffer[..size], at * size as u64))
        })?;
        Ok::<_, io::Error>((size, seconds))
    };
    Ok(Cost::of_two(time(SMALL)?, time(LARGE)?))
}

/// The sync of a block that was appended; the one in the middle, as no two take the same time.
fn syncs(path: &Path) -> io::Result<f64> {
    let file = File::create(path)?;
    let mut times = Vec::new();
    for at in 0..SYNCS {
        file.write_all_at(&[0xa5; 4096], at as u64 * 4096)?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[SYNCS / 2])
}

fn checksum(nodes: &Samples) -> Result<f64, Failure> {
    shortest(nodes.stored_bytes(), || {
        for node in &nodes.stored {
            black_box(crc_fast::crc32_iscsi(node));
        }
        Ok(())
    })
}

fn copy(nodes: &Samples) -> Result<f64, Failure> {
    let mut target = Vec::with_capacity(LARGE);
    shortest(bytes_of(&nodes.inflated), || {
        for node in &nodes.inflated {
            target.clear();
            target.extend_from_slice(black_box(node));
        }
        Ok(())
    })
}

fn codec(samples: &Samples) -> Result<Codec, Failure> {
    let stored = samples.stored_bytes();
    let longest = samples.inflated.iter().map(Vec::len).max().unwrap_or(0);
    let mut target = vec![0; snap::raw::max_compress_len(longest)];
    let mut decoder = snap::raw::Decoder::new();
    let inflate = shortest(stored, || {
        samples.stored.iter().try_for_each(|piece| decoder.decompress(piece, &mut target).map(drop))
    });
    let mut encoder = snap::raw::Encoder::new();
    let deflate = shortest(stored, || {
        samples.inflated.iter().try_for_each(|piece| encoder.compress(piece, &mut target).map(drop))
    });
    Ok(Codec {
        inflate: inflate.map_err(|error| snappy(&error))?,
        deflate: deflate.map_err(|error| snappy(&error))?,
        stored: stored as f64 / samples.stored.len().max(1) as f64,
        growth: bytes_of(&samples.inflated) as f64 / stored.max(1) as f64,
    })
}

/// Pairs of eight bytes of an id, and where the rest is.
fn sort(ids: u64) -> f64 {
    let key = |number: u64| {
        let id = Corpus::id(number);
        let digits = id.last_chunk::<16>().and_then(|digits| digits.first_chunk::<8>());
        (digits.map_or(0, |digits| u64::from_be_bytes(*digits)), number)
    };
    let unsorted: Vec<(u64, u64)> = (0..ids).map(key).collect();
    let mut best = f64::INFINITY;
    for _ in 0..TIMES {
        let mut sorted = unsorted.clone();
        let started = Instant::now();
        sorted.sort_unstable();
        best = best.min(started.elapsed().as_secs_f64());
        black_box(&sorted);
    }
    best / ids.max(1) as f64
}
