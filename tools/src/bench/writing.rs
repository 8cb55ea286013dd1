// SPDX-License-Identifier: Apache-2.0

//! Rows that save documents.

use super::corpus::{Corpus, Numbers};
use super::meter::{Measured, Stopwatch};
use super::verify::Expected;
use super::workspace::{COMPRESS, Chosen, Workspace, all, file_size, remove, updates};
use crate::program::Failure;
use couchstore::Db;
use std::path::Path;

/// Documents of the row of commits: a tenth of all, but in this range.
const COMMITS: std::ops::RangeInclusive<u64> = 20..=1000;

/// All documents into a new file, a commit after each batch.
pub(super) fn load(workspace: &mut Workspace, encrypted: bool) -> Result<Measured, Failure> {
    let batches = all(workspace.documents_of(workspace.settings.body_size), workspace.settings.batch);
    load_batches(workspace, encrypted, batches)
}

/// The same in the order of ids.
pub(super) fn load_ordered(workspace: &mut Workspace) -> Result<Measured, Failure> {
    let numbers = Corpus::in_order_of_ids(workspace.documents_of(workspace.settings.body_size));
    let first_versions = |batch: &[u64]| batch.iter().map(|&number| (number, 0)).collect();
    let batches = numbers.chunks(workspace.settings.batch.max(1)).map(first_versions);
    load_batches(workspace, false, batches)
}

fn load_batches(
    workspace: &mut Workspace,
    encrypted: bool,
    batches: impl Iterator<Item = Chosen>,
) -> Result<Measured, Failure> {
    let path = workspace.new_path();
    let expected = workspace.expected(workspace.settings.body_size);
    let db = workspace.options(encrypted).create(true).open(&path)?;
    let measured = save(workspace, &db, expected.corpus, batches)?;
    finish(workspace, db, &path, &expected, encrypted, &measured)
}

/// Half of the documents again, in no order.
pub(super) fn update(workspace: &mut Workspace) -> Result<Measured, Failure> {
    let half = workspace.documents_of(workspace.settings.body_size).div_ceil(2);
    let batch = workspace.settings.batch;
    save_again(workspace, half, batch)
}

/// One document for each commit.
pub(super) fn commit(workspace: &mut Workspace) -> Result<Measured, Failure> {
    let tenth = workspace.documents_of(workspace.settings.body_size) / 10;
    save_again(workspace, tenth.clamp(*COMMITS.start(), *COMMITS.end()), 1)
}

fn save_again(workspace: &mut Workspace, count: u64, batch: usize) -> Result<Measured, Failure> {
    let base = workspace.base(workspace.settings.body_size, false)?;
    let mut copy = workspace.copy_of(&base)?;
    let numbers = Numbers::new(workspace.settings.seed ^ 1);
    let db = workspace.options(false).open(&copy.path)?;
    let corpus = copy.expected.corpus;
    let measured = save(workspace, &db, corpus, updates(&mut copy.expected, numbers, count, batch))?;
    finish(workspace, db, &copy.path, &copy.expected, false, &measured)
}

/// Saves batch after batch. Only saving and committing is timed, each batch by itself.
fn save(
    workspace: &Workspace,
    db: &Db,
    corpus: Corpus,
    batches: impl Iterator<Item = Chosen>,
) -> Result<Measured, Failure> {
    let mut watch = Stopwatch::start(&workspace.ops);
    let (mut documents, mut bytes) = (0, 0);
    for batch in batches {
        workspace.interrupt.check()?;
        documents += batch.len() as u64;
        let batch = corpus.batch(batch);
        bytes += batch.bytes();
        let given = batch.documents();
        watch.time(|| db.save(&given, COMPRESS).and_then(|_| db.commit()))?;
    }
    let latency = watch.latency();
    Ok(Measured { latency, ..watch.stop(documents, bytes) })
}

/// Compares what was written with what was to be, and cleans up.
fn finish(
    workspace: &Workspace,
    db: Db,
    path: &Path,
    expected: &Expected,
    encrypted: bool,
    measured: &Measured,
) -> Result<Measured, Failure> {
    db.close()?;
    drop(db);
    let file_size = file_size(path)?;
    expected.check(&workspace.options(encrypted).read_only(true).open(path)?, &workspace.interrupt)?;
    remove(path)?;
    Ok(Measured { file_size, ..*measured })
}
