// SPDX-License-Identifier: Apache-2.0

//! What encryption costs: `cargo bench --bench encrypted`.
//!
//! Documents of 16 KiB, so that the figures tell how fast bodies are encrypted, decrypted and moved. Each benchmark
//! runs on a file that is not encrypted, too. Files lie in `/dev/shm` where there is one.

#![allow(clippy::unwrap_used, reason = "benchmarks")]
#![allow(missing_docs, reason = "criterion's macro makes a function without documentation")]

mod shared;

use couchstore::{
    CompactOptions, Db, Document, EncryptionKey, KeyDerivation, KeyStore, OpenOptions, SaveOptions,
    ScanOptions, compact,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use shared::folder;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const COUNT: u64 = 4000;
const BODY: usize = 16 << 10;

/// None for a plain file.
fn keys(encrypted: bool) -> Option<Arc<dyn KeyStore>> {
    encrypted.then(|| Arc::new(EncryptionKey::new("key", &[7; 32], KeyDerivation::KeyBased).unwrap()) as _)
}

fn load(path: &Path, encrypted: bool) -> Db {
    let _ = std::fs::remove_file(path);
    let db = OpenOptions::new().create(true).keys(keys(encrypted)).open(path).unwrap();
    let body: Vec<u8> = (0..BODY as u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    let ids: Vec<_> = (0..COUNT).map(|number| format!("{number:08}").into_bytes()).collect();
    for batch in ids.chunks(500) {
        let documents: Vec<_> = batch.iter().map(|id| Document::new(id, &body)).collect();
        db.save(&documents, SaveOptions::default()).unwrap();
    }
    db.commit().unwrap();
    db
}

fn encryption(criterion: &mut Criterion) {
    let dir = folder();
    let (path, target) = (dir.path().join("db"), dir.path().join("target"));
    let mut group = criterion.benchmark_group("16 KiB");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Bytes(COUNT * BODY as u64));
    for (kind, encrypted) in [("plain", false), ("encrypted", true)] {
        let db = load(&path, encrypted);
        group.bench_function(format!("scan with bodies, {kind}"), |bencher| {
            bencher.iter(|| {
                db.changes_since(0, ScanOptions::default(), &mut |info| {
                    black_box(db.body(info)?);
                    Ok(())
                })
            });
        });
        let options = CompactOptions::new().keys(keys(encrypted));
        group.bench_function(format!("compact, {kind}"), |bencher| {
            bencher.iter_batched(
                || drop(std::fs::remove_file(&target)),
                |()| compact(&db, &target, &options).unwrap(),
                BatchSize::PerIteration,
            );
        });
        drop(db);
        group
            .bench_function(format!("load, {kind}"), |bencher| bencher.iter(|| drop(load(&path, encrypted))));
    }
    group.finish();
}

criterion_group!(benches, encryption);
criterion_main!(benches);
