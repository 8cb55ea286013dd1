// SPDX-License-Identifier: Apache-2.0

//! How fast the core is: `cargo bench --bench core`, or with a part of a name to run only some.
//!
//! Files lie in `/dev/shm` where there is one, so that figures tell what the library does and not how fast the disk
//! syncs. All documents are prepared before the clock runs. `docs/benchmarks.md` has the figures.

#![allow(clippy::unwrap_used, reason = "benchmarks")]
#![allow(missing_docs, reason = "criterion's macro makes a function without documentation")]

mod shared;

use couchstore::{CompactOptions, Db, SaveOptions, ScanOptions, compact};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use shared::{COUNT, Loaded, Numbers, all_documents, borrowed, folder, load, loaded, look, settings};
use std::hint::black_box;

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
            black_box(db.get(&document.id).unwrap().unwrap())
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
