// SPDX-License-Identifier: Apache-2.0

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
//! A writer may rewind the source and go on from an older header. Then the copy is begun anew.

use super::catch_up::{Copied, Round};
use super::copy::{copy_into, directory_of, original, take_mode, target_options};
use super::exclusion::{Exclusion, exclude_others};
use super::hooks::OnlineHooks;
use super::options::{OnlineOptions, Swap};
use super::pace::{Lock, Pace, SHORTEST_STRETCH};
use crate::db::headers::Direction;
use crate::db::hidden::{Hidden, Purpose, check_free, naming_failed, rights_failed, stale};
use crate::db::{Db, State};
use crate::error::{Error, Result};
use crate::io::naming::{FileId, regular_file_at};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Copies that are given up because the source was rewound; the next one is made under the lock.
const MAX_RESTARTS: u32 = 3;

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
/// It is not begun if the file system has no room for the bodies that are certain to be copied ([`Error::NoSpace`]).
///
/// Only one such compaction of a source can run at a time, in all processes. After any failure the names are as
/// they were, nothing of the result is left, and the lock is released. The exception is [`Error::Naming`]: what it says
/// of the outcome may be that it is unknown; then all names stay as they are.
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
    if options.swap == Swap::None {
        let naming = options.compact.naming.clone();
        check_free(naming, &final_name).map_err(|failure| naming_failed(&final_name, failure))?;
    }
    if hooks.rewrites() && !hooks.filters() {
        return Err(Error::InvalidArguments("expected a filter beside the hook that rewrites"));
    }
    let exclusion = exclude_others(source.as_ref(), options);
    let exclusion = exclusion.map_err(|failure| naming_failed(&source_name, failure))?;
    let mut stats = OnlineStats::default();
    let mut locked = Lock::new(hooks);
    let job =
        Job { source_name: &source_name, final_name: &final_name, exclusion: exclusion.as_ref(), options };
    job.run(&mut locked, &mut stats)?;
    locked.release();
    stats.lock_time = locked.longest();
    stats.total_time = started.elapsed();
    Ok(stats)
}

fn c_name(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::InvalidArguments("expected a name without zero bytes"))
}

fn path(name: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(name.to_bytes()))
}

struct Job<'a> {
    source_name: &'a CStr,
    final_name: &'a CStr,
    /// The source, as it is locked against other compactions.
    exclusion: Option<&'a Exclusion>,
    options: &'a OnlineOptions,
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
        let source = (self.options.source.as_source())
            .recovery(compact.recovery)
            .file_ops(compact.file_ops.clone())
            .keys(compact.keys.clone())
            .open_named(self.source_name)?;
        let source_file = self.file_of(&source)?;
        if let (Some(opened), Some(locked)) = (source_file, self.exclusion)
            && opened != locked.id
        {
            return Err(naming_failed(self.source_name, stale().into()));
        }
        let options = target_options(&source, compact);
        let purpose = match self.options.swap {
            Swap::None => Purpose::Compaction,
            Swap::Replace => Purpose::Replacement,
        };
        let (hidden, mut file, state) = options.create_hidden(self.final_name, purpose)?;
        // One sync of everything at the end would hold up every commit to the same disk meanwhile.
        file.io().set_write_back(compact.periodic_sync.is_none() && compact.file_ops.is_default());
        let target = Db::from_parts(file, state, options, self.final_name);
        target.set_unseen(true);
        if !compact.file_ops.is_default() {
            // A caller's operations may make files that others can read. Our own are private until they get their name.
            self.take_rights(&source, &target, &hidden)?;
        }
        let damage = copy_into(&source, &target, self.directory(), compact, lock.hooks)?;
        damage.map_or(Ok(Copied::new(source, source_file, target, hidden)), Err)
    }

    /// Which file the source is. A caller's operations do not tell; then it is the one that the name leads to, if that
    /// can be. It may have grown since it was opened.
    fn file_of(&self, source: &Db) -> Result<Option<FileId>> {
        let known = source.identity()?;
        let size = source.info()?.file_size;
        Ok(known.or_else(|| regular_file_at(path(self.source_name), size)))
    }

    /// Where temporary files go.
    fn directory(&self) -> &Path {
        directory_of(path(self.final_name))
    }

    /// The result must be open to nobody to whom the source is not.
    fn take_rights(&self, source: &Db, target: &Db, hidden: &Hidden) -> Result<()> {
        if self.options.swap == Swap::None {
            return take_mode(original(source, &self.options.compact)?.as_ref(), target);
        }
        let taken = match source.os_file()?.map_or_else(|| File::open(path(self.source_name)), Ok) {
            Ok(original) => hidden.take_after(&original),
            // Only the caller's file operations know it.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
            Err(error) => Err(error),
        };
        taken.map_err(|error| rights_failed(self.final_name, error))
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
            let round = copied.replay_up_to(&newest, lock, self.options, (self.directory(), stretch))?;
            lock.release();
            if let Round::Rewound = round {
                return Ok(None);
            }
        };
        copied.stop_write_back()?;
        match copied.replay_up_to(&newest, lock, self.options, (self.directory(), None))? {
            Round::UpToDate => {
                copied.commit_for_hook(lock)?;
                Ok(Some(copied))
            }
            Round::Rewound => {
                if stats.restarts + 1 < MAX_RESTARTS {
                    lock.release();
                }
                Ok(None)
            }
        }
    }

    /// Gives the result its name and lets the host switch over, under the lock, and gives that back.
    fn finish(&self, copied: Copied, lock: &mut Lock<'_>, stats: &mut OnlineStats) -> Result<()> {
        let Copied { source, source_file, target, mut hidden, base, .. } = copied;
        let info = target.info()?;
        stats.documents = info.doc_count + info.deleted_count;
        stats.bytes = info.file_size;
        target.set_unseen(false);
        // Those that the source has now.
        self.take_rights(&source, &target, &hidden)?;
        let failed = |failure| naming_failed(self.final_name, failure);
        let named = match self.options.swap {
            Swap::None => hidden.publish_for_now(),
            Swap::Replace => hidden.replace(source_file, base.position.unwrap_or(0)),
        };
        let named = named.map_err(failed)?;
        target.file().with(|file| {
            file.set_named(true);
            Ok(())
        })?;
        if let Err(error) = lock.hooks.publish(&source, &target) {
            named.undo().map_err(failed)?;
            return Err(error);
        }
        // A writer that did not heed the lock or the switch may have gone on with the old file. Whoever heeds the lock
        // alone finds out by its next write that the file has no name any more: so it must not have one by then. That
        // takes no time, as long as this compaction has the file open.
        if let Some(displaced) = named.keep()
            && self.is_newest(&source, &base)
        {
            hidden.remove_displaced(&displaced);
        }
        lock.release();
        if self.options.swap == Swap::Replace {
            let _ = source.file().with(|file| {
                file.io().evict();
                Ok(())
            });
        }
        // The result is durable and in use: that closing our own handle on it fails changes nothing.
        let _ = target.close();
        Ok(())
    }

    /// Whether this still is the newest state of the source, as far as can be told.
    fn is_newest(&self, source: &Db, state: &State) -> bool {
        // If possible without any more calls of the caller's operations.
        let found = self.exclusion.and_then(Exclusion::newest_header);
        let found =
            found.or_else(|| source.seek(Direction::End).ok().and_then(|()| source.snapshot().position));
        found == state.position
    }
}
