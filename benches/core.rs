//! How fast the core is: `cargo bench --bench core`, or with a part of a name to run only some.
//!
//! Files lie in `/dev/shm` where there is one, so that figures tell what the library does and not how fast the disk
//! syncs. All documents are prepared before the clock runs. `docs/benchmarks.md` has the figures.

#![allow(clippy::unwrap_used, reason = "benchmarks")]
#![allow(missing_docs, reason = "criterion's macro makes a function without documentation")]

use couchstore::{CompactOptions, Db, DocInfoRef, Document, Result, SaveOptions, ScanOptions, compact};
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

/// Documents of the database that most benchmarks work on.
const COUNT: u64 = 100_000;
const BODY: usize = 256;

/// What a scan does with an entry that it is not interested in.
#[allow(clippy::unnecessary_wraps, reason = "the signature of a callback")]
fn look(info: &DocInfoRef<'_>) -> Result<()> {
    black_box(info.db_seq);
    Ok(())
}

type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// A document, prepared.
struct Prepared {
    id: Vec<u8>,
    body: Vec<u8>,
}

/// A small generator of numbers (splitmix64): the same ones in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn document(&mut self, number: u64) -> Prepared {
        // Ids in no order, but the same id for the same number.
        let id = format!("{:012x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16).into_bytes();
        Prepared { id, body: (0..BODY).map(|_| self.next() as u8).collect() }
    }

    fn updates(&mut self, count: usize) -> Vec<Prepared> {
        let any = |numbers: &mut Numbers| numbers.next() % COUNT;
        (0..count)
            .map(|_| {
                let number = any(self);
                self.document(number)
            })
            .collect()
    }
}

fn all_documents() -> Vec<Prepared> {
    let mut numbers = Numbers(1);
    (0..COUNT).map(|number| numbers.document(number)).collect()
}

fn borrowed(documents: &[Prepared]) -> Vec<Document<'_>> {
    let entry = |document| Document { rev_meta: b"0123456789abcdef", rev_seq: 1, ..document };
    documents.iter().map(|prepared| entry(Document::new(&prepared.id, &prepared.body))).collect()
}

fn folder() -> tempfile::TempDir {
    let in_memory = Path::new("/dev/shm");
    if in_memory.is_dir() { tempfile::tempdir_in(in_memory) } else { tempfile::tempdir() }.unwrap()
}

fn load(db: &Db, documents: &[Document<'_>]) {
    for batch in documents.chunks(10_000) {
        db.save(batch, SaveOptions::default()).unwrap();
        db.commit().unwrap();
    }
}

/// A database with all documents.
struct Loaded {
    dir: tempfile::TempDir,
    documents: Vec<Prepared>,
    db: Db,
}

fn loaded() -> Loaded {
    let (dir, documents) = (folder(), all_documents());
    let db = Db::create(dir.path().join("loaded")).unwrap();
    load(&db, &borrowed(&documents));
    Loaded { dir, documents, db }
}

fn settings(group: &mut Group<'_>, elements: u64) {
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(elements));
}

fn writing(criterion: &mut Criterion) {
    let dir = folder();
    let documents = all_documents();
    let all = borrowed(&documents);
    let path = dir.path().join("db");

    let mut group = criterion.benchmark_group("load");
    settings(&mut group, COUNT);
    let create = || {
        let _ = std::fs::remove_file(&path);
        Db::create(&path).unwrap()
    };
    group.bench_function("batches of 10000", |bencher| {
        bencher.iter_batched_ref(create, |db| load(db, &all), BatchSize::PerIteration);
    });
    group.finish();

    let mut group = criterion.benchmark_group("update");
    settings(&mut group, 1000);
    let db = create();
    load(&db, &all);
    let mut numbers = Numbers(2);
    group.bench_function("random, batches of 1000", |bencher| {
        bencher.iter_batched_ref(
            || numbers.updates(1000),
            |updates| {
                db.save(&borrowed(updates), SaveOptions::default()).unwrap();
                db.commit().unwrap();
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();

    let mut group = criterion.benchmark_group("commit");
    settings(&mut group, 1);
    let db = create();
    load(&db, &all);
    group.bench_function("one document", |bencher| {
        bencher.iter_batched_ref(
            || numbers.updates(1),
            |updates| {
                db.save(&borrowed(updates), SaveOptions::default()).unwrap();
                db.commit().unwrap();
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let Loaded { documents, db, dir } = loaded();
    let mut numbers = Numbers(3);

    let mut group = criterion.benchmark_group("get");
    settings(&mut group, 1);
    group.bench_function("one document", |bencher| {
        bencher.iter(|| {
            let document = &documents[(numbers.next() % COUNT) as usize];
            black_box(db.get(&document.id).unwrap())
        });
    });
    settings(&mut group, 1000);
    group.bench_function("1000 entries by id", |bencher| {
        let mut pick = || documents[(numbers.next() % COUNT) as usize].id.as_slice();
        bencher.iter_batched_ref(
            || (0..1000).map(|_| pick()).collect::<Vec<_>>(),
            |ids| {
                db.docs_by_id(ids, ScanOptions::default(), &mut look).unwrap();
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();

    let mut group = criterion.benchmark_group("scan");
    settings(&mut group, COUNT);
    group.bench_function("by sequence", |bencher| {
        bencher.iter(|| db.changes_since(0, ScanOptions::default(), &mut look));
    });
    group.bench_function("by id", |bencher| {
        bencher.iter(|| db.all_docs(b"", ScanOptions::default(), &mut look));
    });
    group.bench_function("by sequence, with bodies", |bencher| {
        bencher.iter(|| {
            db.changes_since(0, ScanOptions::default(), &mut |info| {
                black_box(db.body(info)?);
                Ok(())
            })
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("open");
    settings(&mut group, 1);
    group.bench_function("open and close", |bencher| {
        bencher.iter(|| Db::open(dir.path().join("loaded")).unwrap().close());
    });
    group.finish();
}

fn compaction(criterion: &mut Criterion) {
    let Loaded { dir, db, .. } = loaded();
    let target = dir.path().join("target");
    let mut group = criterion.benchmark_group("compact");
    settings(&mut group, COUNT);
    group.bench_function("100000 documents", |bencher| {
        bencher.iter_batched(
            || drop(std::fs::remove_file(&target)),
            |()| compact(&db, &target, &CompactOptions::default()).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, writing, reading, compaction);
criterion_main!(benches);
