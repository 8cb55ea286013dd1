// SPDX-License-Identifier: Apache-2.0

//! Commits while the same file is compacted.

use super::compacting::Stoppable;
use super::corpus::Numbers;
use super::meter::{Latency, Measured, Stopwatch};
use super::ops::CountingOps;
use super::workspace::{Base, COMPRESS, Workspace, file_size, remove};
use crate::program::{Failure, start_thread};
use couchstore::{
    CompactHooks, CompactOptions, Db, Direction, OnlineHooks, OnlineOptions, OpenOptions, ReplayHooks,
    compact_online, compact_with, replay,
};
use parking_lot::{Mutex, MutexGuard};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Documents that the writer saves with each commit, and its pause between two commits.
const DOCUMENTS: u64 = 10;
const PAUSE: Duration = Duration::from_millis(1);
/// Commits without a compaction.
const ALONE: usize = 100;
/// The file is compacted until there are so many commits beside a compaction, or so many times.
const ENOUGH: usize = 300;
const MOST_ROUNDS: usize = 10;

/// Who does what an online compaction takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// One call of the library's.
    OneCall,
    /// The host, which copies, replays until little is left, and the rest under its lock.
    Host,
}

/// The host's copy is synced after so many bytes.
const SYNC_EVERY: u64 = 1 << 20;
/// So much may be left for the lock, in bytes; and so often it catches up before at most.
const LITTLE: u64 = 1 << 20;
const MOST_REPLAYS: usize = 10;
/// Memory for documents that are replayed, in bytes.
const REPLAYED: usize = 16 << 20;

/// What writer and compaction share.
#[derive(Default)]
struct Shared {
    /// Held by the writer while it saves and commits, and by the compaction when it wants to be alone.
    lock: Mutex<()>,
    finished: AtomicBool,
}

impl Shared {
    fn take(&self) -> MutexGuard<'_, ()> {
        self.lock.lock()
    }

    fn is_finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst)
    }

    fn finish(&self) {
        self.finished.store(true, Ordering::SeqCst);
    }
}

struct Hooks<'a> {
    shared: &'a Shared,
    held: Option<MutexGuard<'a, ()>>,
    stoppable: Stoppable<'a>,
}

impl CompactHooks for Hooks<'_> {
    fn progress(&mut self, _done: u64, _total: u64, _bytes: u64) -> couchstore::Result<()> {
        self.stoppable.check()
    }
}

impl ReplayHooks for Hooks<'_> {}

impl OnlineHooks for Hooks<'_> {
    fn lock(&mut self) {
        self.held = Some(self.shared.take());
    }

    fn unlock(&mut self) {
        self.held = None;
    }

    fn publish(&mut self, _source: &Db, _target: &Db) -> couchstore::Result<()> {
        // The writer holds no lock now. It sees this before its next commit, so the result has all that it wrote.
        self.shared.finish();
        Ok(())
    }
}

/// Saves documents again and again.
struct Writer {
    base: Base,
    numbers: Numbers,
}

impl Writer {
    /// Commits until there are `most` or it is told to stop. Returns how long each took, waiting for the lock
    /// included, and the bytes that were saved.
    fn run(
        &mut self,
        options: &OpenOptions,
        shared: &Shared,
        most: usize,
    ) -> couchstore::Result<(Vec<Duration>, u64)> {
        let db = options.open(&self.base.path)?;
        let (mut times, mut bytes) = (Vec::new(), 0);
        while times.len() < most {
            let chosen = self.choose();
            let batch = self.base.expected.corpus.batch(chosen.iter().copied());
            let documents = batch.documents();
            let started = Instant::now();
            let held = shared.take();
            if shared.is_finished() {
                break;
            }
            db.save(&documents, COMPRESS)?;
            db.commit()?;
            drop(held);
            times.push(started.elapsed());
            for (number, _) in chosen {
                self.base.expected.next_version(number);
            }
            bytes += batch.bytes();
            std::thread::sleep(PAUSE);
        }
        db.close()?;
        Ok((times, bytes))
    }

    /// Documents for the next commit, with the versions that they will have.
    fn choose(&mut self) -> Vec<(u64, u32)> {
        let expected = &self.base.expected;
        let numbers = self.numbers.distinct(DOCUMENTS, expected.documents());
        numbers.into_iter().map(|number| (number, expected.version(number) + 1)).collect()
    }
}

/// An online compaction by the host.
fn by_host(
    source: &OpenOptions,
    (path, target): (&Path, &Path),
    compact: &CompactOptions,
    hooks: &mut Hooks<'_>,
) -> couchstore::Result<()> {
    let source = source.clone().read_only(true).open(path)?;
    compact_with(&source, target, compact, hooks)?;
    let copy = OpenOptions::new().file_ops(compact.file_ops.clone()).open(target)?;
    for _ in 0..MOST_REPLAYS {
        if catch_up(&source, &copy, hooks)? <= LITTLE {
            break;
        }
    }
    hooks.lock();
    let caught_up = catch_up(&source, &copy, hooks).and_then(|_| copy.close());
    if caught_up.is_ok() {
        hooks.shared.finish();
    }
    hooks.unlock();
    caught_up
}

/// Brings a copy up to the source's newest header, and returns by how much that had grown.
fn catch_up(source: &Db, copy: &Db, hooks: &mut Hooks<'_>) -> couchstore::Result<u64> {
    let base = source.header_position();
    source.seek(Direction::End)?;
    let newest = source.header_position();
    source.seek_offset(i64::try_from(base).unwrap_or(i64::MAX))?;
    if newest != base {
        replay(source, copy, newest, hooks, REPLAYED)?;
    }
    Ok(newest.saturating_sub(base))
}

/// Commits of a writer while its file is compacted. The time of the row is that of the compactions.
pub(super) fn saves(workspace: &mut Workspace, way: Way) -> Result<Measured, Failure> {
    let base = workspace.base(workspace.settings.body_size, false)?;
    let base = workspace.copy_of(&base)?;
    let mut writer = Writer { base, numbers: Numbers::new(workspace.settings.seed ^ 4) };
    let options = workspace.options(false);
    let (alone, _) = writer.run(&options, &Shared::default(), ALONE)?;
    let ops = workspace.ops.clone();
    let mut watch = Stopwatch::start(&ops);
    let (mut beside, mut bytes, mut size) = (Vec::new(), 0, 0);
    for _ in 0..MOST_ROUNDS {
        let target = workspace.new_path();
        let (times, written) = round(workspace, way, &mut writer, &target, &mut watch)?;
        watch.aside(|| {
            let target = options.clone().read_only(true).open(&target)?;
            writer.base.expected.check(&target, &workspace.interrupt)
        })?;
        size = file_size(&target)?;
        remove(&target)?;
        beside.extend(times);
        bytes += written;
        if beside.len() >= ENOUGH {
            break;
        }
    }
    let commits = beside.len() as u64;
    let alone = Latency::of(alone);
    let latency = Latency::of(beside).map(|beside| beside.beside(alone));
    let measured = watch.stop(commits, bytes);
    remove(&writer.base.path)?;
    Ok(Measured { latency, file_size: size, ..measured })
}

/// One compaction, and the commits beside it.
fn round(
    workspace: &Workspace,
    way: Way,
    writer: &mut Writer,
    target: &Path,
    watch: &mut Stopwatch<'_>,
) -> Result<(Vec<Duration>, u64), Failure> {
    let shared = Shared::default();
    let (options, path) = (workspace.options(false), writer.base.path.clone());
    let mut compact = CompactOptions::default();
    if !workspace.settings.sync {
        // Not those of the workspace: the row counts what the writer does.
        compact.file_ops = Arc::new(CountingOps::new(false));
    } else if way == Way::Host {
        compact.periodic_sync = Some(SYNC_EVERY);
    }
    let online = OnlineOptions::new().compact(compact);
    let mut hooks = Hooks { shared: &shared, held: None, stoppable: Stoppable(&workspace.interrupt) };
    let (compacted, written) = std::thread::scope(|scope| {
        let written = start_thread(scope, || writer.run(&options, &shared, usize::MAX))?;
        let compacted = watch.time(|| match way {
            Way::OneCall => compact_online(&path, target, &online, &mut hooks).map(drop),
            Way::Host => by_host(&options, (&path, target), &online.compact, &mut hooks),
        });
        shared.finish();
        Ok::<_, Failure>((compacted, written.join()))
    })?;
    workspace.interrupt.check()?;
    compacted?;
    let written = written.map_err(|_| Failure::Message("the writer's thread ended by itself".into()))?;
    Ok(written?)
}
