// SPDX-License-Identifier: Apache-2.0

//! How fast the library is as hosts use it: `cargo bench --bench host`.
//!
//! Every flush and every fetch opens the file anew, saves with a callback, writes a local document and commits;
//! compaction runs with a filter. All file operations are the caller's own, and forward to the library's. Fetches and
//! flushes run with the cache of nodes that handles can share as well. Files lie in `/dev/shm` where there is one. All
//! documents are prepared before the clock runs.

#![allow(clippy::unwrap_used, reason = "benchmarks")]
#![allow(missing_docs, reason = "criterion's macro makes a function without documentation")]

mod shared;

use couchstore::io::naming::FileId;
use couchstore::io::posix::PosixOps;
use couchstore::io::{FileHandle, FileOps, FileTag, IoError, OpenMode};
use couchstore::{
    CompactHooks, CompactOptions, Db, DocInfoRef, LocalUpdate, NodeCache, OpenOptions, Result, SaveOptions,
    ScanOptions, Verdict, compact_with,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use shared::{COUNT, Loaded, Numbers, Prepared, borrowed, loaded, look, settings};
use std::ffi::CStr;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

const STATE: LocalUpdate<'_> = LocalUpdate { id: b"_local/vbstate", body: Some(&[b's'; 300]) };

/// File operations of a host: each call is passed on.
struct Forward;

impl FileOps for Forward {
    fn open(&self, name: &CStr, mode: OpenMode) -> std::result::Result<Box<dyn FileHandle>, IoError> {
        Ok(Box::new(Forwarded(PosixOps.open(name, mode)?)))
    }
}

struct Forwarded(Box<dyn FileHandle>);

impl FileHandle for Forwarded {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> std::result::Result<usize, IoError> {
        self.0.pread(buf, offset)
    }

    fn pread_onto(
        &mut self,
        buf: &mut Vec<u8>,
        most: usize,
        offset: u64,
    ) -> std::result::Result<usize, IoError> {
        self.0.pread_onto(buf, most, offset)
    }

    fn pwrite(&mut self, buf: &[u8], offset: u64) -> std::result::Result<usize, IoError> {
        self.0.pwrite(buf, offset)
    }

    fn size(&mut self) -> std::result::Result<u64, IoError> {
        self.0.size()
    }

    fn sync(&mut self) -> std::result::Result<(), IoError> {
        self.0.sync()
    }

    fn close(&mut self) -> std::result::Result<(), IoError> {
        self.0.close()
    }

    fn tag(&mut self, tag: FileTag) {
        self.0.tag(tag);
    }

    fn identity(&self) -> Option<FileId> {
        self.0.identity()
    }
}

/// A file that was loaded, with the state of a host in it, and how the host opens it.
struct Host {
    loaded: Loaded,
    options: OpenOptions,
}

/// What names of benchmarks say, and bytes of the cache of nodes that all handles share.
const CACHES: [(&str, Option<u64>); 2] = [("", None), (", shared cache", Some(64 << 20))];

impl Host {
    fn new(cache: Option<u64>) -> Host {
        let loaded = loaded();
        loaded.db.save_local(&[STATE]).unwrap();
        loaded.db.commit().unwrap();
        loaded.db.close().unwrap();
        let cache = cache.map(|bytes| Arc::new(NodeCache::new(bytes)));
        let host = Host { loaded, options: OpenOptions::new().file_ops(Arc::new(Forward)).node_cache(cache) };
        host.look_up_all();
        host
    }

    /// Each document by id and by sequence number: if there is a cache, it is warm.
    fn look_up_all(&self) {
        let ids: Vec<&[u8]> = self.loaded.documents.iter().map(|document| document.id.as_slice()).collect();
        let seqs: Vec<u64> = (1..=COUNT).collect();
        self.with(true, |db| {
            ids.chunks(1000).try_for_each(|ids| db.docs_by_id(ids, ScanOptions::default(), &mut look))?;
            seqs.chunks(1000).try_for_each(|seqs| db.docs_by_seq(seqs, ScanOptions::default(), &mut look))
        });
    }

    /// Opens the file, does something with it, closes it.
    fn with<T>(&self, read_only: bool, work: impl FnOnce(&Db) -> Result<T>) -> T {
        let path = self.loaded.dir.path().join("loaded");
        let db = self.options.clone().read_only(read_only).open(path).unwrap();
        let result = work(&db).unwrap();
        db.close().unwrap();
        result
    }

    fn flush(&self, documents: &[Prepared]) {
        let mut replaced = 0;
        self.with(false, |db| {
            db.save_and_tell(&borrowed(documents), SaveOptions::default(), &mut |old, _, _| {
                replaced += usize::from(old.is_some());
                Ok(())
            })?;
            db.save_local(&[STATE])?;
            db.commit()
        });
        assert!(replaced > 0);
    }

    fn fetch(&self, ids: &[&[u8]]) {
        self.with(true, |db| {
            db.docs_by_id(ids, ScanOptions::default(), &mut |info| {
                black_box(db.body(info)?);
                Ok(())
            })
        });
    }
}

fn opening(criterion: &mut Criterion) {
    let host = Host::new(None);
    let mut group = criterion.benchmark_group("host open");
    settings(&mut group, 1);
    group.bench_function("open", |bencher| bencher.iter(|| host.with(true, |_| Ok(()))));
    group.bench_function("vbstate", |bencher| {
        bencher.iter(|| host.with(true, |db| db.local(STATE.id)));
    });
    group.finish();
}

fn fetching(criterion: &mut Criterion) {
    let mut numbers = Numbers(5);
    let mut group = criterion.benchmark_group("host fetch");
    for (kind, cache) in CACHES {
        let host = Host::new(cache);
        for size in [1, 200] {
            settings(&mut group, size);
            let mut pick = || host.loaded.documents[(numbers.next() % COUNT) as usize].id.as_slice();
            group.bench_function(format!("{size}{kind}"), |bencher| {
                bencher.iter_batched(
                    || (0..size).map(|_| pick()).collect::<Vec<_>>(),
                    |ids| host.fetch(&ids),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

fn scanning(criterion: &mut Criterion) {
    let host = Host::new(None);
    let mut group = criterion.benchmark_group("host scan");
    settings(&mut group, COUNT);
    let options = ScanOptions::default();
    group.bench_function("keys", |bencher| {
        bencher.iter(|| host.with(true, |db| db.all_docs(b"", options, &mut look)));
    });
    group.bench_function("changes", |bencher| {
        bencher.iter(|| host.with(true, |db| db.changes_since(0, options, &mut look)));
    });
    group.bench_function("backfill", |bencher| {
        bencher.iter(|| {
            host.with(true, |db| {
                db.changes_since(0, options, &mut |info| {
                    black_box(db.body(info)?);
                    Ok(())
                })
            });
        });
    });
    group.finish();
}

/// Looks at every document, and keeps it.
struct KeepsAll;

impl CompactHooks for KeepsAll {
    fn filters(&self) -> bool {
        true
    }

    fn filter(&mut self, _: &Db, info: &DocInfoRef<'_>, _: Option<&[u8]>) -> Result<Verdict> {
        look(info).map(|()| Verdict::Keep)
    }
}

fn compaction(criterion: &mut Criterion) {
    let host = Host::new(None);
    let target = host.loaded.dir.path().join("target");
    let options = CompactOptions::new().file_ops(Arc::new(Forward));
    let run = |target: &Path| host.with(true, |db| compact_with(db, target, &options, &mut KeepsAll));
    let mut group = criterion.benchmark_group("host compact");
    settings(&mut group, COUNT);
    group.bench_function("with a filter", |bencher| {
        bencher.iter_batched(
            || drop(std::fs::remove_file(&target)),
            |()| run(&target),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn flushing(criterion: &mut Criterion) {
    let mut numbers = Numbers(6);
    let mut group = criterion.benchmark_group("host flush");
    for (kind, cache) in CACHES {
        for size in [1, 100, 1000] {
            let host = Host::new(cache);
            settings(&mut group, size);
            group.bench_function(format!("{size}{kind}"), |bencher| {
                bencher.iter_batched_ref(
                    || numbers.updates(size as usize),
                    |documents| host.flush(documents),
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, opening, fetching, scanning, compaction, flushing);
criterion_main!(benches);
