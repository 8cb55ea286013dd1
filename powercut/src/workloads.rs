// SPDX-License-Identifier: Apache-2.0

//! What is done while the disk is recorded.

mod again;
mod compactions;
mod faults;

use crate::check::oracle;
use crate::common::forwarding::Forwarding;
use crate::history::{is_encrypted, small_nodes, transaction};
use crate::sabotage::{Neighbour, Sabotage};
use crate::told::{START, Told, have, hold};
use clap::ValueEnum;
use couchstore::io::sim::random::Random;
use couchstore::{CompactOptions, Db, KeyStore, OpenOptions, Result, compact};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The database that most of them are about.
const NAME: &str = "a.couch.1";
/// What compactions to another name make.
const TARGET: &str = "a.couch.2";

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// New databases, and commits to them.
    Create,
    /// Commits.
    Commit,
    /// A compaction.
    Compact,
    /// A compaction beside a writer, to another name.
    Online,
    /// The same in place.
    InPlace,
    /// New databases through a caller's file operations, and commits to them.
    Bootstrap,
    /// The disk fails for a while.
    Faults,
    /// The same with a caller's file operations.
    ForwardingFaults,
    /// What is on a disk after a power cut is gone on with, until the power goes again.
    Again,
}

impl Workload {
    /// Those that begin with an empty file system.
    pub(crate) const ALL: [Workload; 8] = [
        Workload::Create,
        Workload::Commit,
        Workload::Compact,
        Workload::Online,
        Workload::InPlace,
        Workload::Bootstrap,
        Workload::Faults,
        Workload::ForwardingFaults,
    ];

    /// As the command line calls it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The disk knows by the content what to fail: it must not be encrypted.
    pub(crate) fn needs_plain_content(self) -> bool {
        matches!(self, Workload::Faults | Workload::ForwardingFaults)
    }
}

/// The disk, as somebody who works on it knows it.
pub(crate) struct Marks(PathBuf);

impl Marks {
    pub(crate) fn new(path: &Path) -> Marks {
        Marks(path.to_owned())
    }

    /// Tells the disk something. Once this returns it stands in the log.
    pub(crate) fn say(&self, text: &str) {
        // An open file of its own for each: they come from several threads.
        let file = File::options().write(true).open(&self.0);
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("the disk listens");
    }

    /// How many writes have failed.
    fn failed_writes(&self) -> u64 {
        let mut text = String::new();
        let file = File::open(&self.0);
        file.and_then(|mut file| file.read_to_string(&mut text)).expect("the disk answers");
        text.trim().parse().expect("a number")
    }
}

/// Where a workload works, and with what.
pub(crate) struct Stage<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) marks: &'a Marks,
    pub(crate) seed: u64,
    pub(crate) sabotage: Sabotage,
    /// What was said before.
    pub(crate) told: Told,
}

impl Stage<'_> {
    fn keys(&self) -> Option<Arc<dyn KeyStore>> {
        oracle::keys(is_encrypted(self.seed))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// With the library's own file operations, and all syncs.
    fn usual_options(&self) -> OpenOptions {
        small_nodes(OpenOptions::new().keys(self.keys()))
    }

    fn options(&self) -> OpenOptions {
        self.usual_options().file_ops(self.sabotage.file_ops()).naming(self.sabotage.naming())
    }

    /// With a caller's file operations.
    fn forwarding(&self) -> OpenOptions {
        self.usual_options().file_ops(Arc::new(Forwarding::default())).bootstrap(true)
    }

    fn compact_options(&self) -> CompactOptions {
        let options = CompactOptions::new().keys(self.keys());
        options.file_ops(self.sabotage.file_ops()).naming(self.sabotage.naming())
    }

    /// Makes a commit, and says so once it was acknowledged.
    fn commit(&self, db: &Db, name: &str, number: u64) -> Result<()> {
        let next = transaction(self.seed, number);
        next.save(db)?;
        next.commit(db)?;
        self.marks.say(&have(name, number));
        Ok(())
    }

    /// So many commits, from the one with this number on.
    fn commit_some(&self, db: &Db, name: &str, first: u64, count: u64) -> Result<()> {
        (first..first + count).try_for_each(|number| self.commit(db, name, number))
    }

    /// New databases, each with some commits or none.
    fn create_some(&self, options: &OpenOptions, random: &mut Random) -> Result<()> {
        for index in 1..=4 {
            let name = format!("new.couch.{index}");
            self.marks.say(&hold(&name, 0));
            let db = options.clone().create(true).open(self.path(&name))?;
            self.marks.say(&have(&name, 0));
            self.commit_some(&db, &name, 1, random.below(4))?;
        }
        Ok(())
    }

    /// What has to be there before.
    fn prepare(&self, workload: Workload) -> Result<u64> {
        match workload {
            Workload::Create | Workload::Bootstrap => return Ok(0),
            Workload::Again => {
                again::look_around(self);
                return Ok(0);
            }
            _ => {}
        }
        let commits = 1 + Random::for_run(self.seed, 0).below(20);
        self.marks.say(&hold(NAME, 0));
        let db = self.usual_options().create(true).open(self.path(NAME))?;
        self.commit_some(&db, NAME, 1, commits)?;
        Ok(commits)
    }

    fn act(&self, workload: Workload, commits: u64) -> Result<()> {
        let mut random = Random::for_run(self.seed, 1);
        match workload {
            Workload::Create => self.create_some(&self.options(), &mut random),
            Workload::Bootstrap => self.create_some(&self.forwarding(), &mut random),
            Workload::Commit => {
                let db = self.options().open(self.path(NAME))?;
                let first = 2 + random.below(8);
                self.commit_some(&db, NAME, commits + 1, first)?;
                // What is saved and not committed is left behind.
                transaction(self.seed, commits + first + 1).save(&db)?;
                drop(db);
                let db = self.options().open(self.path(NAME))?;
                self.commit_some(&db, NAME, commits + first + 1, 2 + random.below(8))
            }
            Workload::Compact => {
                let source = self.options().open(self.path(NAME))?;
                self.marks.say(&hold(TARGET, commits));
                compact(&source, self.path(TARGET), &self.compact_options())?;
                self.marks.say(&have(TARGET, commits));
                Ok(())
            }
            Workload::Online => compactions::beside(self, commits, TARGET, &mut random),
            Workload::InPlace => compactions::beside(self, commits, NAME, &mut random),
            Workload::Faults => faults::survive(self, &self.options(), commits, &mut random),
            Workload::ForwardingFaults => faults::survive(self, &self.forwarding(), commits, &mut random),
            Workload::Again => again::commit_to_all(self, &mut random),
        }
    }

    /// Does it all. What fails, or is not as it should be, panics.
    pub(crate) fn run(&self, workload: Workload) {
        let commits = self.prepare(workload).expect("the preparation");
        // The folder itself has to be there after the power cut, and what the neighbour uses.
        let root = self.folder.parent().expect("a folder of a file system");
        let neighbour = File::create(root.join("neighbour")).expect("a file of a neighbour");
        nix::unistd::syncfs(&neighbour).expect("sync of the file system");
        self.marks.say(START);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mut random = Random::for_run(self.seed, 2);
            let kind = self.sabotage.neighbour(&mut random);
            let (neighbour, is_over) = (&neighbour, &stop);
            scope.spawn(move || disturb(neighbour, kind, random, is_over));
            let _over = Over(&stop);
            self.act(workload, commits).unwrap_or_else(|error| panic!("{workload:?}: {error}"));
        });
    }
}

/// Whatever happens, at the end the other thread is told that it is over: it is waited for.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Somebody else who uses the file system: a file, or everything, becomes durable at any time, so that what others have not
/// synced yet gets to the disk in other orders.
fn disturb(file: &File, kind: Neighbour, mut random: Random, stop: &AtomicBool) {
    while kind != Neighbour::Rests && !stop.load(Ordering::Relaxed) {
        let length = random.below(9000) as usize;
        // The disk may fail just now; that is not for the neighbour to say.
        let _ = (&*file).write_all(&random.noise(length));
        let _ = match kind {
            Neighbour::SyncsFile => file.sync_all(),
            _ => nix::unistd::syncfs(file).map_err(Into::into),
        };
        std::thread::sleep(Duration::from_micros(random.below(6000)));
    }
}
