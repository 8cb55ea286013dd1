// SPDX-License-Identifier: Apache-2.0

//! How a file is compacted that is in use, and builders of the options of all compactions.

use super::copy::CompactOptions;
use crate::builders::builders;
use crate::crypto::keys::KeyStore;
use crate::db::open::OpenOptions;
use crate::io::FileOps;
use crate::io::naming::Naming;
use std::sync::Arc;

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
#[non_exhaustive]
pub struct OnlineOptions {
    /// How to copy.
    pub compact: CompactOptions,
    /// How the source is opened, for reading: with the sizes of nodes, which are not in the file and become those of
    /// the result, and of read buffers that it is opened with elsewhere. File operations and keys are those of
    /// [`OnlineOptions::compact`].
    pub source: OpenOptions,
    /// What happens to the names.
    pub swap: Swap,
    /// How often to catch up without the lock.
    pub max_unlocked_rounds: u32,
    /// As soon as the source has grown by no more than this since the last replay, in bytes, the lock is taken.
    pub delta_bytes_for_lock: u64,
}

impl Default for OnlineOptions {
    fn default() -> OnlineOptions {
        OnlineOptions {
            compact: CompactOptions::default(),
            source: OpenOptions::default(),
            swap: Swap::None,
            max_unlocked_rounds: 10,
            delta_bytes_for_lock: 1 << 20,
        }
    }
}

impl CompactOptions {
    /// The default: everything is copied, into a file of the same version that is not encrypted.
    pub fn new() -> CompactOptions {
        CompactOptions::default()
    }

    /// System calls for names; for tests that let them fail.
    #[doc(hidden)]
    #[must_use]
    pub fn naming(mut self, naming: Arc<dyn Naming>) -> CompactOptions {
        self.naming = naming;
        self
    }
}

builders! { [] CompactOptions:
    drop_deletes: bool,
    upgrade: bool,
    unbuffered: bool,
    recovery: bool,
    periodic_sync: Option<u64>,
    file_ops: Arc<dyn FileOps>,
    keys: Option<Arc<dyn KeyStore>>,
    memory_budget: usize,
    threads: usize,
}

impl OnlineOptions {
    /// The default: the result gets a name of its own, and the lock is taken for the last MiB.
    pub fn new() -> OnlineOptions {
        OnlineOptions::default()
    }
}

builders! { [] OnlineOptions:
    compact: CompactOptions,
    source: OpenOptions,
    swap: Swap,
    max_unlocked_rounds: u32,
    delta_bytes_for_lock: u64,
}
