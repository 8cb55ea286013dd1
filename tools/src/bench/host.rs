// SPDX-License-Identifier: Apache-2.0

//! Rows shaped as hosts work: every flush and every fetch opens the file anew, saves with a callback, writes a local
//! document and commits; compaction runs with a filter. All calls on files go through operations that forward them
//! ([`CountingOps`](super::ops::CountingOps)).

use super::compacting::Stoppable;
use super::corpus::{Batch, Corpus, Numbers};
use super::meter::{Measured, Stopwatch};
use super::reading::{Order, check_scan, run_scan};
use super::verify::same_number;
use super::workspace::{Base, COMPRESS, VBSTATE, VBSTATE_ID, Workspace, file_size, remove};
use crate::program::Failure;
use couchstore::{
    CompactHooks, CompactOptions, Db, DocInfoRef, LocalUpdate, OpenOptions, ScanOptions, Verdict,
    compact_with,
};
use std::hint::black_box;
use std::path::Path;

/// Ids that are looked up at once to fill a cache.
const GROUP: u64 = 1000;
/// Scans of a row.
const SCANS: u64 = 5;

/// How often a row does its work: so that about a fifth of all documents are met, but in this range.
fn rounds(workspace: &Workspace, size: u64, most: u64) -> u64 {
    (workspace.documents_of(workspace.settings.body_size) / 5 / size).clamp(20, most)
}

/// A file to read from, and the options to open it with. If there is a cache, it is warm.
fn source(workspace: &mut Workspace) -> Result<(Base, OpenOptions), Failure> {
    let base = workspace.base(workspace.settings.body_size, false)?;
    let options = workspace.options(false).read_only(true);
    warm(workspace, &base)?;
    Ok((base, options))
}

/// With a node cache: looks up every document by id and by sequence number, so that the rows tell what a host sees
/// that has been at work for a while.
fn warm(workspace: &Workspace, base: &Base) -> Result<(), Failure> {
    if !workspace.has_node_cache() {
        return Ok(());
    }
    let db = workspace.options(false).read_only(true).open(&base.path)?;
    let (documents, last) = (base.expected.documents(), db.info()?.last_sequence);
    let mut look = |info: &DocInfoRef<'_>| {
        black_box(info.db_seq);
        Ok(())
    };
    for start in (0..documents).step_by(GROUP as usize) {
        workspace.interrupt.check()?;
        let ids: Vec<_> = (start..documents.min(start + GROUP)).map(Corpus::id).collect();
        let ids: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
        db.docs_by_id(&ids, ScanOptions::default(), &mut look)?;
    }
    for start in (1..=last).step_by(GROUP as usize) {
        workspace.interrupt.check()?;
        let seqs: Vec<u64> = (start..=last.min(start + GROUP - 1)).collect();
        db.docs_by_seq(&seqs, ScanOptions::default(), &mut look)?;
    }
    Ok(db.close()?)
}

/// Opens the file, reads a local document, closes the file.
pub(super) fn vbstate(workspace: &mut Workspace) -> Result<Measured, Failure> {
    let (base, options) = source(workspace)?;
    let rounds = rounds(workspace, 1, 2000);
    let mut watch = Stopwatch::start(&workspace.ops);
    let mut right = 0;
    for _ in 0..rounds {
        workspace.interrupt.check()?;
        let state = watch.time(|| {
            let db = options.open(&base.path)?;
            let state = db.local(VBSTATE_ID)?;
            db.close()?;
            Ok::<_, couchstore::Error>(state)
        })?;
        right += u64::from(state.is_some_and(|state| state == VBSTATE));
    }
    same_number(right, rounds)?;
    let latency = watch.latency();
    let bytes = rounds * VBSTATE.len() as u64;
    Ok(Measured { file_size: file_size(&base.path)?, latency, ..watch.stop(rounds, bytes) })
}

/// Opens the file, looks up `size` random ids in one call and reads their bodies, closes the file.
pub(super) fn fetch(workspace: &mut Workspace, size: u64) -> Result<Measured, Failure> {
    let (base, options) = source(workspace)?;
    let rounds = rounds(workspace, size, 5000);
    let mut numbers = Numbers::new(workspace.settings.seed ^ 5);
    let mut watch = Stopwatch::start(&workspace.ops);
    let (mut documents, mut bytes) = (0, 0);
    for _ in 0..rounds {
        workspace.interrupt.check()?;
        let mut ids: Vec<_> =
            numbers.distinct(size, base.expected.documents()).into_iter().map(Corpus::id).collect();
        // The order in which they are shown.
        ids.sort_unstable();
        let borrowed: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
        let mut bodies = Vec::with_capacity(ids.len());
        watch.time(|| fetch_once(&options, &base.path, &borrowed, &mut bodies))?;
        same_number(bodies.len() as u64, ids.len() as u64)?;
        for (id, body) in ids.iter().zip(&bodies) {
            base.expected.check_body(id, body)?;
            bytes += (id.len() + body.len()) as u64;
        }
        documents += ids.len() as u64;
    }
    let latency = watch.latency();
    Ok(Measured { file_size: file_size(&base.path)?, latency, ..watch.stop(documents, bytes) })
}

fn fetch_once(
    options: &OpenOptions,
    path: &Path,
    ids: &[&[u8]],
    bodies: &mut Vec<Vec<u8>>,
) -> couchstore::Result<()> {
    let db = options.open(path)?;
    db.docs_by_id(ids, ScanOptions::default(), &mut |info| {
        bodies.push(db.body(info)?);
        Ok(())
    })?;
    db.close()
}

/// Opens the file, scans all of it, closes it.
pub(super) fn scan(workspace: &mut Workspace, order: Order, bodies: bool) -> Result<Measured, Failure> {
    let (base, options) = source(workspace)?;
    let mut watch = Stopwatch::start(&workspace.ops);
    let (mut found, mut bytes) = (0, 0);
    for _ in 0..SCANS {
        workspace.interrupt.check()?;
        watch.time(|| {
            let db = options.open(&base.path)?;
            run_scan(&db, order, &mut |info| {
                found += 1;
                bytes += (info.id.len() + info.rev_meta.len()) as u64;
                if bodies {
                    bytes += black_box(db.body(info)?).len() as u64;
                }
                Ok(())
            })?;
            db.close()
        })?;
    }
    let measured = Measured { file_size: file_size(&base.path)?, ..watch.stop(found, bytes) };
    same_number(found, base.expected.documents() * SCANS)?;
    check_scan(&base.expected, &options.open(&base.path)?, order, &workspace.interrupt)?;
    Ok(measured)
}

/// A host that looks at every document of a compaction, and keeps it.
struct KeepsAll<'a>(Stoppable<'a>);

impl CompactHooks for KeepsAll<'_> {
    fn filters(&self) -> bool {
        true
    }

    fn filter(
        &mut self,
        _target: &Db,
        info: &DocInfoRef<'_>,
        _body: Option<&[u8]>,
    ) -> couchstore::Result<Verdict> {
        black_box(info.db_seq);
        Ok(Verdict::Keep)
    }

    fn progress(&mut self, done: u64, total: u64, bytes: u64) -> couchstore::Result<()> {
        self.0.progress(done, total, bytes)
    }
}

/// Opens the file, compacts it with a filter that keeps everything, closes it.
pub(super) fn compact(workspace: &mut Workspace) -> Result<Measured, Failure> {
    let (base, options) = source(workspace)?;
    let target = workspace.new_path();
    let compact = CompactOptions::new().file_ops(workspace.ops.clone());
    let mut hooks = KeepsAll(Stoppable(&workspace.interrupt));
    let mut watch = Stopwatch::start(&workspace.ops);
    let compacted = watch.time(|| {
        let db = options.open(&base.path)?;
        compact_with(&db, &target, &compact, &mut hooks)?;
        db.close()
    });
    workspace.interrupt.check()?;
    compacted?;
    let corpus = base.expected.corpus;
    let documents = base.expected.documents();
    let measured = watch.stop(documents, documents * corpus.bytes_of_one());
    let file_size = file_size(&target)?;
    base.expected.check(&options.open(&target)?, &workspace.interrupt)?;
    remove(&target)?;
    Ok(Measured { file_size, ..measured })
}

/// Opens the file, saves `size` random documents with a callback and a local one, commits, asks for the state, closes
/// the file.
pub(super) fn flush(workspace: &mut Workspace, size: u64) -> Result<Measured, Failure> {
    let base = workspace.base(workspace.settings.body_size, false)?;
    let mut copy = workspace.copy_of(&base)?;
    warm(workspace, &copy)?;
    let options = workspace.options(false);
    let rounds = rounds(workspace, size, 1000);
    let mut numbers = Numbers::new(workspace.settings.seed ^ 6);
    let mut watch = Stopwatch::start(&workspace.ops);
    let (mut documents, mut bytes, mut replaced) = (0, 0, 0);
    for _ in 0..rounds {
        workspace.interrupt.check()?;
        let chosen = numbers.distinct(size, copy.expected.documents());
        documents += chosen.len() as u64;
        let versions: Vec<_> = chosen.into_iter().map(|number| copy.expected.next_version(number)).collect();
        let batch = copy.expected.corpus.batch(versions);
        bytes += batch.bytes() + (VBSTATE_ID.len() + VBSTATE.len()) as u64;
        replaced += watch.time(|| flush_once(&options, &copy.path, &batch))?;
    }
    let latency = watch.latency();
    let measured = watch.stop(documents, bytes);
    same_number(replaced, documents)?;
    let file_size = file_size(&copy.path)?;
    copy.expected.check(&options.read_only(true).open(&copy.path)?, &workspace.interrupt)?;
    remove(&copy.path)?;
    Ok(Measured { file_size, latency, ..measured })
}

/// Returns how many of the documents have replaced another.
fn flush_once(options: &OpenOptions, path: &Path, batch: &Batch) -> couchstore::Result<u64> {
    let db = options.open(path)?;
    let mut replaced = 0;
    db.save_and_tell(&batch.documents(), COMPRESS, &mut |old, _, _| {
        replaced += u64::from(old.is_some());
        Ok(())
    })?;
    db.save_local(&[LocalUpdate { id: VBSTATE_ID, body: Some(&VBSTATE) }])?;
    db.commit()?;
    black_box(db.info()?);
    db.close()?;
    Ok(replaced)
}
