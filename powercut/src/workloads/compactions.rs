// SPDX-License-Identifier: Apache-2.0

//! Compaction beside a writer: a thread that goes on committing, with the new file once the host has switched over.

use super::{NAME, Over, Stage};
use crate::told::{have, hold};
use couchstore::io::sim::random::Random;
use couchstore::{CompactHooks, Db, OnlineHooks, OnlineOptions, ReplayHooks, Result, Swap, compact_online};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Who writes, and to which file.
struct Writer<'a> {
    stage: &'a Stage<'a>,
    db: Db,
    name: &'static str,
    /// The last commit.
    number: u64,
}

impl Writer<'_> {
    fn commit(&mut self) -> Result<()> {
        self.stage.commit(&self.db, self.name, self.number + 1)?;
        self.number += 1;
        Ok(())
    }
}

/// The host of the compaction: keeps the writer out while it holds the lock.
struct Host<'a, 'b> {
    writer: &'b Mutex<Writer<'a>>,
    guard: Option<MutexGuard<'b, Writer<'a>>>,
    target: &'static str,
    /// The last commit when the target got its name.
    published: u64,
}

impl CompactHooks for Host<'_, '_> {}
impl ReplayHooks for Host<'_, '_> {}

impl OnlineHooks for Host<'_, '_> {
    fn lock(&mut self) {
        self.guard = Some(self.writer.lock().expect("a writer that lives"));
    }

    fn unlock(&mut self) {
        self.guard = None;
    }

    fn publish(&mut self, _: &Db, _: &Db) -> Result<()> {
        let writer = self.guard.as_mut().expect("the lock is held");
        writer.db = writer.stage.options().open(writer.stage.path(self.target))?;
        writer.name = self.target;
        self.published = writer.number;
        // The file is complete and durable under its name.
        writer.stage.marks.say(&have(self.target, writer.number));
        writer.commit()
    }
}

/// Compacts into `target`, which may be the source's name, while a thread commits. Returns once both are done.
pub(super) fn beside(
    stage: &Stage<'_>,
    commits: u64,
    target: &'static str,
    random: &mut Random,
) -> Result<()> {
    stage.marks.say(&hold(target, commits));
    let db = stage.options().open(stage.path(NAME))?;
    let writer = Mutex::new(Writer { stage, db, name: NAME, number: commits });
    let stop = AtomicBool::new(false);
    let pause = Duration::from_micros(random.below(3000));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                writer.lock().expect("a host that lives").commit()?;
                std::thread::sleep(pause);
            }
            Ok(())
        });
        let over = Over(&stop);
        let mut host = Host { writer: &writer, guard: None, target, published: 0 };
        let swap = if target == NAME { Swap::Replace } else { Swap::None };
        let source = stage.usual_options();
        let compact = stage.compact_options();
        // Little is left for the lock: there are rounds before it.
        let options =
            OnlineOptions::new().swap(swap).compact(compact).source(source).delta_bytes_for_lock(50_000);
        let result = compact_online(stage.path(NAME), stage.path(target), &options, &mut host);
        // A few more commits to the new file.
        std::thread::sleep(pause * 2);
        drop(over);
        let written = writing.join().expect("a writer that lives");
        result?;
        stage.marks.say(&have(target, host.published));
        written
    })
}
