// SPDX-License-Identifier: Apache-2.0

//! The work, on the clock; and what it has come to, compared off it.

use crate::corpus::{Corpus, Numbers};
use crate::store::{Kind, Result, Store, Syncs};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

const SEED: u64 = 1;
/// One-document commits, and look-ups.
const COMMITS: u64 = 300;
const GETS: u64 = 100_000;
const OPENS: u32 = 20;

/// How much there is to do.
pub(crate) struct Work {
    pub(crate) documents: u64,
    pub(crate) body_size: usize,
    pub(crate) batch: usize,
}

/// Operations for each second, and bytes of the file. What a database does not have is 0.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) open: f64,
    pub(crate) load: f64,
    pub(crate) update: f64,
    pub(crate) commit: f64,
    pub(crate) get: f64,
    pub(crate) scan: f64,
    pub(crate) changes: f64,
    pub(crate) compact: f64,
    pub(crate) loaded_size: f64,
    pub(crate) updated_size: f64,
    pub(crate) compacted_size: f64,
}

/// A figure of a [`Measured`].
pub(crate) type Figure = fn(&mut Measured) -> &mut f64;

const FIGURES: [Figure; 11] = [
    |measured| &mut measured.open,
    |measured| &mut measured.load,
    |measured| &mut measured.update,
    |measured| &mut measured.commit,
    |measured| &mut measured.get,
    |measured| &mut measured.scan,
    |measured| &mut measured.changes,
    |measured| &mut measured.compact,
    |measured| &mut measured.loaded_size,
    |measured| &mut measured.updated_size,
    |measured| &mut measured.compacted_size,
];

/// Each figure by itself: the one in the middle.
pub(crate) fn middle(mut runs: Vec<Measured>) -> Measured {
    let mut result = Measured::default();
    for figure in FIGURES {
        let mut values: Vec<f64> = runs.iter_mut().map(|run| *figure(run)).collect();
        values.sort_by(f64::total_cmp);
        *figure(&mut result) = values.get(values.len() / 2).copied().unwrap_or(0.0);
    }
    result
}

/// Does all of it with a new database.
pub(crate) fn measure(work: &Work, kind: Kind, syncs: Syncs, folder: &Path) -> Result<Measured> {
    let folder = tempfile::Builder::new().prefix("compare-").tempdir_in(folder)?;
    let corpus = Corpus { seed: SEED, body_size: work.body_size };
    let mut run = Run {
        store: kind.create(folder.path(), syncs)?,
        corpus,
        versions: vec![0; work.documents as usize],
        numbers: Numbers::new(SEED),
    };
    let mut result = Measured { load: run.load(work.batch)?, ..Measured::default() };
    result.loaded_size = run.store.size()? as f64;
    result.update = run.update(work.documents / 2, (work.batch / 10).max(1))?;
    result.updated_size = run.store.size()? as f64;
    result.commit = run.update(COMMITS.min(work.documents), 1)?;
    result.open = run.open()?;
    result.get = run.get()?;
    result.scan = run.scan(|store, visit| store.scan(visit))?;
    if kind != Kind::Redb && kind != Kind::Lmdb {
        result.changes = run.scan(|store, visit| store.changes(visit).unwrap_or(Ok(())))?;
    }
    let started = Instant::now();
    run.store.compact()?;
    result.compact = work.documents as f64 / started.elapsed().as_secs_f64();
    result.compacted_size = run.store.size()? as f64;
    run.check()?;
    Ok(result)
}

struct Run {
    store: Box<dyn Store>,
    corpus: Corpus,
    /// Of each document.
    versions: Vec<u32>,
    numbers: Numbers,
}

/// What was done while the clock ran.
#[derive(Default)]
struct Watch {
    done: u64,
    time: Duration,
}

impl Watch {
    fn per_second(&self) -> f64 {
        self.done as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

type Scan = fn(&dyn Store, crate::store::Visit<'_>) -> Result<()>;

impl Run {
    fn documents(&self) -> u64 {
        self.versions.len() as u64
    }

    fn load(&mut self, batch: usize) -> Result<f64> {
        let (documents, mut watch) = (self.documents(), Watch::default());
        for start in (0..documents).step_by(batch) {
            self.save((start..documents.min(start + batch as u64)).collect(), &mut watch)?;
        }
        Ok(watch.per_second())
    }

    /// Saves random documents again.
    fn update(&mut self, count: u64, batch: usize) -> Result<f64> {
        let mut watch = Watch::default();
        for done in (0..count).step_by(batch) {
            let chosen = self.numbers.distinct((batch as u64).min(count - done), self.documents());
            for &number in &chosen {
                self.versions[number as usize] += 1;
            }
            self.save(chosen, &mut watch)?;
        }
        Ok(watch.per_second())
    }

    /// Saves a batch, prepared before the clock runs.
    fn save(&mut self, numbers: Vec<u64>, watch: &mut Watch) -> Result<()> {
        let versions = numbers.into_iter().map(|number| (number, self.versions[number as usize]));
        let batch = self.corpus.batch(versions);
        let documents = batch.documents();
        let started = Instant::now();
        self.store.save(&documents)?;
        watch.time += started.elapsed();
        watch.done += documents.len() as u64;
        Ok(())
    }

    fn open(&mut self) -> Result<f64> {
        let started = Instant::now();
        (0..OPENS).try_for_each(|_| self.store.reopen())?;
        Ok(f64::from(OPENS) / started.elapsed().as_secs_f64())
    }

    fn get(&mut self) -> Result<f64> {
        let gets = GETS.min(self.documents());
        let documents = self.documents();
        let ids: Vec<_> = (0..gets).map(|_| Corpus::id(self.numbers.below(documents))).collect();
        let mut bytes = 0;
        let started = Instant::now();
        self.store.get(&ids, &mut |_, body| bytes += black_box(body).len())?;
        let time = started.elapsed();
        expect(bytes as u64, gets * self.corpus.body_size as u64)?;
        Ok(gets as f64 / time.as_secs_f64())
    }

    fn scan(&self, scan: Scan) -> Result<f64> {
        let mut bytes = 0;
        let started = Instant::now();
        scan(&*self.store, &mut |id, body| {
            // The last byte: databases that only map the file would read nothing of it otherwise.
            black_box((id.last(), body.last()));
            bytes += body.len();
        })?;
        let time = started.elapsed();
        expect(bytes as u64, self.documents() * self.corpus.body_size as u64)?;
        Ok(self.documents() as f64 / time.as_secs_f64())
    }

    /// Every document is there, in its last version.
    fn check(&self) -> Result<()> {
        let mut right = 0;
        self.store.scan(&mut |id, body| {
            let version =
                Corpus::number(id).and_then(|number| Some((number, *self.versions.get(number as usize)?)));
            right +=
                u64::from(version.is_some_and(|(number, version)| self.corpus.body(number, version) == body));
        })?;
        expect(right, self.documents())
    }
}

fn expect(found: u64, expected: u64) -> Result<()> {
    if found == expected { Ok(()) } else { Err(format!("{found} found, {expected} expected").into()) }
}
