//! Compaction that runs with saves.
//!
//! 1. pin the source's newest header and copy what it refers to into a file that nobody sees, without any lock
//! 2. rounds without lock: replay what was committed meanwhile, until little is left
//! 3. lock out the writers, replay the last bit, give the file its name durably, let the host switch over, unlock
//!
//! The lock is held for the last bit only, however large the file is. Should the writers be faster than the catching
//! up, they are slowed down: the lock is then taken for short times before that, too. Until the last step nothing is
//! visible: any failure leaves exactly the source.
//!
//! A writer may rewind the source and go on from an older header; then the copy holds changes that are no longer
//! part of the history, and a replay by sequence number would miss others. So before each replay both headers are
//! compared ([`leads_to`]), and the copy is begun anew if need be. The comparison skips what both share, so it costs
//! as much as the replay itself.

use super::copy::{CompactHooks, CompactOptions, copy_into, target_options};
use super::descent::leads_to;
use super::pace::{Lock, Pace, SHORTEST_STRETCH};
use super::replay::{ReplayHooks, replay};
use crate::db::bootstrap::{Hidden, naming_failed};
use crate::db::headers::Direction;
use crate::db::open::OpenOptions;
use crate::db::{Db, State};
use crate::error::{Error, ErrorCode, Operation, Result};
use crate::format::docinfo::DocInfoRef;
use crate::io::naming::{FileId, Naming, PosixNaming, identity};
use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, TryLockError};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Copies that are given up because the source was rewound; the next one is made under the lock.
const MAX_RESTARTS: u32 = 3;
/// Documents that a replay gathers before it saves them, in bytes.
const FLUSH_THRESHOLD: usize = 16 << 20;

/// As [`FLUSH_THRESHOLD`], while writers are slowed down: saving what was gathered may happen under the lock.
const BRAKING_FLUSH_THRESHOLD: usize = 512 << 10;

/// What happens to the names at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Swap {
    /// The result gets the target's name, which must not exist. The source keeps its own.
    #[default]
    None,
    /// The result takes the source's name. Handles that have the source open keep it.
    Replace,
}

/// How to compact a file that is in use.
#[derive(Clone)]
pub struct OnlineOptions {
    /// How to copy.
    pub compact: CompactOptions,
    /// What happens to the names.
    pub swap: Swap,
    /// How often to catch up without the lock.
    pub max_unlocked_rounds: u32,
    /// As soon as the source has grown by no more than this since the last replay, in bytes, the lock is taken.
    pub delta_bytes_for_lock: u64,
    /// System calls for names; for tests that let them fail.
    pub naming: Arc<dyn Naming>,
}

impl Default for OnlineOptions {
    fn default() -> OnlineOptions {
        OnlineOptions {
            compact: CompactOptions::default(),
            swap: Swap::None,
            max_unlocked_rounds: 10,
            delta_bytes_for_lock: 1 << 20,
            naming: Arc::new(PosixNaming),
        }
    }
}

/// What the host does during an online compaction, besides the hooks of copying and of replaying.
pub trait OnlineHooks: CompactHooks + ReplayHooks {
    /// Keeps writers from saving and committing until [`OnlineHooks::unlock`]. Called once at the end; before that
    /// for short times if writers are faster than the catching up, and again if the source turns out to be rewound.
    /// Whoever holds the lock must not wait for this compaction.
    fn lock(&mut self) {}

    /// As [`OnlineHooks::lock`], for locks that may fail. After an error the lock is not held, and the compaction ends.
    fn try_lock(&mut self) -> Result<()> {
        self.lock();
        Ok(())
    }

    /// Lets writers go on. Called after every [`OnlineHooks::lock`], whatever happens between.
    fn unlock(&mut self) {}

    /// Called under the lock once the result is complete and durable under its final name: the host switches over.
    /// An error undoes everything.
    fn publish(&mut self, source: &Db, target: &Db) -> Result<()> {
        let _ = (source, target);
        Ok(())
    }
}

/// Figures of an online compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnlineStats {
    /// Documents in the result.
    pub documents: u64,
    /// Bytes of the result.
    pub bytes: u64,
    /// Catching up without the lock.
    pub rounds: u32,
    /// Copies that were begun anew because the source was rewound.
    pub restarts: u32,
    /// How much the source had grown when the lock was taken.
    pub locked_bytes: u64,
    /// How long the lock was held at a stretch, at most.
    pub lock_time: Duration,
    /// How long everything took.
    pub total_time: Duration,
}

/// Compacts `source` into `target` while others save to it. With [`Swap::Replace`] the result takes the source's
/// name and `target` is ignored.
///
/// Only one such compaction of a source can run at a time, in all processes. After any failure the names are as
/// they were, nothing of the result is left, and the lock is released.
pub fn compact_online(
    source: impl AsRef<Path>,
    target: impl AsRef<Path>,
    options: &OnlineOptions,
    hooks: &mut dyn OnlineHooks,
) -> Result<OnlineStats> {
    let started = Instant::now();
    let source_name = c_name(source.as_ref())?;
    let target = match options.swap {
        Swap::None => target.as_ref().to_owned(),
        // A symbolic link stays: what is replaced is the file that it leads to.
        Swap::Replace => source.as_ref().canonicalize().unwrap_or_else(|_| source.as_ref().to_owned()),
    };
    let final_name = c_name(&target)?;
    if options.swap == Swap::None && std::fs::symlink_metadata(&target).is_ok() {
        return Err(naming_failed(&final_name, &std::io::Error::from_raw_os_error(libc::EEXIST)));
    }
    if hooks.rewrites() && !hooks.filters() {
        return Err(Error::InvalidArguments("rewriting without a filter"));
    }
    let exclusion = exclude_others(source.as_ref())?;
    let locked_file = exclusion.as_ref().map(|held| identity(&held.0)).transpose();
    let locked_file = locked_file.map_err(|error| naming_failed(&source_name, &error))?;
    let mut stats = OnlineStats::default();
    let mut locked = Lock::new(hooks);
    let job = Job { source_name: &source_name, final_name: &final_name, locked_file, options };
    job.run(&mut locked, &mut stats)?;
    locked.release();
    stats.lock_time = locked.longest();
    stats.total_time = started.elapsed();
    Ok(stats)
}

fn c_name(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::InvalidArguments("a name with a zero byte"))
}

fn path(name: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(name.to_bytes()))
}

/// An advisory lock on the source, given back when dropped, also by a process that dies.
struct Exclusion(File);

impl Drop for Exclusion {
    fn drop(&mut self) {
        // Closing is not enough: a child process that is being started has the descriptor for a moment, too.
        let _ = self.0.unlock();
    }
}

/// Keeps other compactions from the source. Files that only the caller's file operations know are not locked.
fn exclude_others(source: &Path) -> Result<Option<Exclusion>> {
    loop {
        let Ok(file) = File::open(source) else { return Ok(None) };
        let exclusion = match file.try_lock() {
            Ok(()) => Exclusion(file),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Io {
                    operation: Operation::Open,
                    file: source.to_string_lossy().into(),
                    position: 0,
                    code: ErrorCode::OPEN_FILE,
                    os_error: libc::EBUSY,
                });
            }
            // A file system without such locks.
            Err(TryLockError::Error(_)) => return Ok(None),
        };
        // Between opening and locking another compaction may have replaced the file: then its lock is worth nothing.
        let found = std::fs::metadata(source).map(|found| (found.dev(), found.ino()));
        if found.ok() == identity(&exclusion.0).ok() {
            return Ok(Some(exclusion));
        }
    }
}

/// The source's name leads to another file by now.
fn stale() -> std::io::Error {
    std::io::Error::from_raw_os_error(libc::ESTALE)
}

struct Job<'a> {
    source_name: &'a CStr,
    final_name: &'a CStr,
    /// The file that is locked against other compactions.
    locked_file: Option<FileId>,
    options: &'a OnlineOptions,
}

/// A copy of the source's state at one of its headers.
struct Copied {
    source: Db,
    target: Db,
    hidden: Hidden,
    /// The header of the source that the target is up to date with; the source handle stands there.
    base: State,
}

/// How a round ended.
enum Round {
    /// The copy is as new as the source's newest header.
    UpToDate,
    /// The source was rewound: the copy is worthless.
    Rewound,
}

impl Job<'_> {
    fn run(&self, lock: &mut Lock<'_>, stats: &mut OnlineStats) -> Result<()> {
        loop {
            if stats.restarts == MAX_RESTARTS {
                // A writer that keeps rewinding: exclude it.
                lock.take()?;
            }
            let copied = self.copy(lock)?;
            if let Some(finished) = self.catch_up(copied, lock, stats)? {
                return self.finish(finished, lock, stats);
            }
            stats.restarts += 1;
        }
    }

    /// Copies the newest state of the source.
    fn copy(&self, lock: &mut Lock<'_>) -> Result<Copied> {
        let compact = &self.options.compact;
        let source = OpenOptions::new()
            .read_only(true)
            .recovery(compact.recovery)
            .file_ops(compact.file_ops.clone())
            .keys(compact.keys.clone())
            .open_named(self.source_name)?;
        let opened = source.file().with(|file| Ok(file.io().identity()))?;
        if let (Some(opened), Some(locked)) = (opened, self.locked_file)
            && opened != locked
        {
            return Err(naming_failed(self.source_name, &stale()));
        }
        let base = source.snapshot();
        let options = target_options(&source, compact).naming(self.options.naming.clone());
        let (hidden, mut file, state) = options.create_hidden(self.final_name)?;
        if self.options.swap == Swap::Replace {
            // Without this others might read what they must not. A process may lack the right to give files away.
            let _ = hidden.take_after(path(self.source_name));
        }
        // One sync of everything at the end would hold up every commit to the same disk meanwhile.
        file.io().set_write_back(compact.periodic_sync.is_none() && compact.file_ops.is_default());
        let target = Db::from_parts(file, state, options, self.final_name);
        target.set_unseen(true);
        let directory = path(self.final_name).parent();
        let damage = copy_into(&source, &target, directory, compact, lock.hooks)?;
        damage.map_or(Ok(Copied { source, target, hidden, base }), Err)
    }

    /// Replays until the copy is up to date with a source that is locked. `None`: the source was rewound.
    fn catch_up(
        &self,
        mut copied: Copied,
        lock: &mut Lock<'_>,
        stats: &mut OnlineStats,
    ) -> Result<Option<Copied>> {
        let (little, most_rounds) = (self.options.delta_bytes_for_lock, self.options.max_unlocked_rounds);
        let mut pace = Pace::new(little);
        let mut rounds = 0;
        let newest = loop {
            let mut newest = copied.newest()?;
            let mut delta = copied.delta(&newest);
            let may_go_on = !lock.is_taken() && rounds < most_rounds;
            if !may_go_on || delta <= little {
                lock.take()?;
                newest = copied.newest()?;
                delta = copied.delta(&newest);
                stats.locked_bytes = delta;
                // Much may have come while this thread waited for the lock. Then this is one more round.
                if !may_go_on || delta <= little.saturating_mul(2) {
                    break newest;
                }
            }
            rounds += 1;
            stats.rounds += 1;
            let stretch = pace.stretch(delta, most_rounds - rounds);
            let stretch = stretch.or(lock.is_taken().then_some(SHORTEST_STRETCH));
            let round = copied.replay_up_to(&newest, lock, self.options, stretch)?;
            lock.release();
            if let Round::Rewound = round {
                return Ok(None);
            }
        };
        copied.stop_write_back()?;
        match copied.replay_up_to(&newest, lock, self.options, None)? {
            Round::UpToDate => Ok(Some(copied)),
            Round::Rewound => {
                if stats.restarts + 1 < MAX_RESTARTS {
                    lock.release();
                }
                Ok(None)
            }
        }
    }

    /// Gives the result its name and lets the host switch over. Under the lock.
    fn finish(&self, copied: Copied, lock: &mut Lock<'_>, stats: &mut OnlineStats) -> Result<()> {
        let Copied { source, target, mut hidden, .. } = copied;
        let info = target.info()?;
        stats.documents = info.doc_count + info.deleted_count;
        stats.bytes = info.file_size;
        target.set_unseen(false);
        let named = match self.options.swap {
            Swap::None => hidden.publish_for_now(),
            // Somebody else has put another file there, which must not be replaced.
            Swap::Replace if source.is_current()? == Some(false) => Err(stale()),
            Swap::Replace => hidden.replace(),
        };
        let named = named.map_err(|error| naming_failed(self.final_name, &error))?;
        target.file().with(|file| {
            file.set_named(true);
            Ok(())
        })?;
        lock.hooks.publish(&source, &target)?;
        named.settle();
        // The result is durable and in use: that closing our own handle on it fails changes nothing.
        let _ = target.close();
        Ok(())
    }
}

impl Copied {
    /// The newest header of the source. Leaves the source handle at the header that the copy is up to date with.
    fn newest(&self) -> Result<State> {
        self.source.seek(Direction::End)?;
        let newest = self.source.snapshot();
        self.back_to_base()?;
        Ok(newest)
    }

    fn back_to_base(&self) -> Result<()> {
        let base = self.base.position.unwrap_or(0);
        self.source.seek_offset(base as i64)
    }

    /// How much the source has grown since the header that the copy is up to date with.
    fn delta(&self, newest: &State) -> u64 {
        newest.position.unwrap_or(0).saturating_sub(self.base.position.unwrap_or(0))
    }

    /// Under the lock, where little is left, a single sync is the fastest.
    fn stop_write_back(&self) -> Result<()> {
        self.target.file().with(|file| {
            file.io().set_write_back(false);
            Ok(())
        })
    }

    /// Brings the copy up to the source's newest header. Whether there is anything to do is decided by the header's
    /// position: a header may change local documents alone, without any sequence number. With `stretch` writers are
    /// slowed down meanwhile: see [`Lock::alternate`].
    fn replay_up_to(
        &mut self,
        newest: &State,
        lock: &mut Lock<'_>,
        options: &OnlineOptions,
        stretch: Option<Duration>,
    ) -> Result<Round> {
        if newest.position == self.base.position {
            return Ok(Round::UpToDate);
        }
        if !leads_to(self.source.file(), &self.base.header, &newest.header)? {
            return Ok(Round::Rewound);
        }
        let end = newest.position.unwrap_or(0);
        let mut hooks = Finishing { lock, stretch, drop_deletes: options.compact.drop_deletes };
        let threshold = if stretch.is_some() { BRAKING_FLUSH_THRESHOLD } else { FLUSH_THRESHOLD };
        replay(&self.source, &self.target, end, &mut hooks, threshold)?;
        self.base = newest.clone();
        Ok(Round::UpToDate)
    }
}

/// The hooks of a replay, and what the copy's header takes from the source's besides.
struct Finishing<'a, 'b> {
    lock: &'a mut Lock<'b>,
    stretch: Option<Duration>,
    drop_deletes: bool,
}

impl ReplayHooks for Finishing<'_, '_> {
    fn before_document(&mut self, source: &Db, target: &Db, info: &DocInfoRef<'_>) -> Result<bool> {
        if let Some(stretch) = self.stretch {
            self.lock.alternate(stretch)?;
        }
        self.lock.hooks.before_document(source, target, info)
    }

    fn before_local(&mut self, source: &Db, target: &Db, id: &[u8], length: usize) -> Result<bool> {
        self.lock.hooks.before_local(source, target, id, length)
    }

    fn precommit(&mut self, source: &Db, target: &Db) -> Result<()> {
        if self.stretch.is_some() {
            // The commit waits for the disk, which needs no lock.
            self.lock.release();
        }
        let end = source.snapshot().header;
        target.update_state(|state| {
            state.header.update_seq = end.update_seq;
            state.header.purge_seq = end.purge_seq_of_copy(self.drop_deletes);
        });
        ReplayHooks::precommit(self.lock.hooks, source, target)
    }
}
