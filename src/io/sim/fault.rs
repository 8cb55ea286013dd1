// SPDX-License-Identifier: Apache-2.0

//! Which calls fail, and how.

use super::INJECTED;
use crate::io::IoError;

/// A kind of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// Opening a file.
    Open,
    /// `pread`.
    Read,
    /// `pwrite`.
    Write,
    /// Asking for the size.
    Size,
    /// Making a file durable, also by the periodic sync inside a write.
    Sync,
    /// Closing a file.
    Close,
    /// Switching something on.
    Configure,
    /// A call on the names of the directory.
    Naming,
    /// In a [`Fault`]: calls of all kinds, as if the power had gone.
    Any,
}

impl CallKind {
    /// All kinds of single calls.
    pub const ALL: [CallKind; 8] = [
        CallKind::Open,
        CallKind::Read,
        CallKind::Write,
        CallKind::Size,
        CallKind::Sync,
        CallKind::Close,
        CallKind::Configure,
        CallKind::Naming,
    ];
}

/// What becomes of the dirty pages of a file whose sync failed. In all cases they are clean afterwards: no later
/// sync writes them, and it succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostPages {
    /// The cache keeps the new content until the page is evicted (ext4, XFS).
    Kept,
    /// The pages are dropped: reads get what the disk has, zeros where it has nothing yet. The size stays.
    Dropped,
    /// The old content comes back, and the old size (btrfs).
    Reverted,
    /// As [`LostPages::Kept`], and pages that the disk did not have before never get there: whatever is written into
    /// them later, and synced, the disk has zeros there (ext4 with delayed allocation).
    Unwritten,
}

impl LostPages {
    /// All of them.
    pub const ALL: [LostPages; 4] =
        [LostPages::Kept, LostPages::Dropped, LostPages::Reverted, LostPages::Unwritten];
}

/// What happens instead of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It fails with this `errno` and does nothing. A sync keeps the pages in the cache.
    Error(i32),
    /// Half of the bytes are transferred, which is no failure.
    Short,
    /// Nothing is transferred, which is no failure; for a read it is the end of the file.
    Zero,
    /// Half of the bytes reach the file, and the call fails all the same.
    PartialError(i32),
    /// Half of the bytes are transferred without a failure, and the next call of the kind fails.
    ShortThenError(i32),
    /// A sync fails, and the pages are lost in this way.
    SyncError(i32, LostPages),
    /// A naming call is carried out and reports a failure all the same, as over a network.
    DoneThenError(i32),
    /// A naming call is carried out, asked for once more since its answer got lost, and reports what that gives: the
    /// name is there already, or is not there any more. Calls that can be made twice are as usual.
    AskedTwice,
    /// Removing a name reports success and has not done it. Other calls are as usual.
    NotRemoved,
}

impl Effect {
    /// The `errno` of effects that are failures.
    pub(super) fn errno(self) -> Option<i32> {
        match self {
            Effect::Short | Effect::Zero | Effect::AskedTwice | Effect::NotRemoved => None,
            Effect::Error(errno)
            | Effect::PartialError(errno)
            | Effect::ShortThenError(errno)
            | Effect::SyncError(errno, _)
            | Effect::DoneThenError(errno) => Some(errno),
        }
    }

    pub(super) fn lost_pages(self) -> LostPages {
        match self {
            Effect::SyncError(_, lost) => lost,
            _ => LostPages::Kept,
        }
    }
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// One call, or for [`Effect::ShortThenError`] one failure.
    Once,
    /// That call and the next one: the way back fails, too.
    Twice,
    /// That call and all after it.
    FromThenOn,
}

impl Repeat {
    /// Whether the call that comes so many calls after the first one is hit.
    fn covers(self, later: usize) -> bool {
        match self {
            Repeat::Once => later == 0,
            Repeat::Twice => later <= 1,
            Repeat::FromThenOn => true,
        }
    }
}

/// Calls that do not do what they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which calls.
    pub kind: CallKind,
    /// The first of them that is hit; the first call is 0.
    pub index: usize,
    /// How often.
    pub repeat: Repeat,
    /// What happens instead.
    pub effect: Effect,
}

/// The fault in force, and counts.
#[derive(Default)]
pub(super) struct Faults {
    fault: Option<Fault>,
    calls: [usize; CallKind::ALL.len()],
    hits: usize,
    failures: usize,
    failed_syncs: usize,
    failed_name_syncs: usize,
}

impl Faults {
    pub(super) fn new(fault: Option<Fault>) -> Faults {
        Faults { fault, ..Faults::default() }
    }

    pub(super) fn calls(&self, kind: CallKind) -> usize {
        match kind {
            CallKind::Any => self.calls.iter().sum(),
            kind => self.calls[kind as usize],
        }
    }

    pub(super) fn hits(&self) -> usize {
        self.hits
    }

    pub(super) fn failures(&self) -> usize {
        self.failures
    }

    pub(super) fn failed_syncs(&self) -> usize {
        self.failed_syncs
    }

    pub(super) fn failed_name_syncs(&self) -> usize {
        self.failed_name_syncs
    }

    /// A sync of the folder reports a failure.
    pub(super) fn fail_name_sync(&mut self) {
        self.failed_name_syncs += 1;
    }

    /// Counts a call and says what is to happen to it.
    pub(super) fn enter(&mut self, kind: CallKind) -> Option<Effect> {
        let effect = self.peek(kind);
        self.calls[kind as usize] += 1;
        self.hits += usize::from(effect.is_some());
        effect
    }

    /// What is to happen to the next call of a kind.
    pub(super) fn peek(&self, kind: CallKind) -> Option<Effect> {
        let fault = self.fault.filter(|fault| fault.kind == CallKind::Any || fault.kind == kind);
        let number = fault.map_or(0, |fault| self.calls(fault.kind));
        let Fault { index, repeat, effect, .. } = fault?;
        let later = number.checked_sub(index)?;
        match (effect, later.checked_sub(1)) {
            (Effect::ShortThenError(_), None) => Some(Effect::Short),
            (Effect::ShortThenError(errno), Some(later)) if repeat.covers(later) => {
                Some(Effect::Error(errno))
            }
            (Effect::ShortThenError(_), _) => None,
            (effect, _) if repeat.covers(later) => Some(effect),
            _ => None,
        }
    }

    /// The failure that a call reports.
    pub(super) fn fail(&mut self, kind: CallKind, errno: i32) -> IoError {
        self.failures += 1;
        self.failed_syncs += usize::from(kind == CallKind::Sync);
        IoError::new(INJECTED, errno)
    }
}
