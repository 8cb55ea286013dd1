// SPDX-License-Identifier: Apache-2.0

//! Builders of the options of compactions.

use super::copy::CompactOptions;
use super::online::{OnlineOptions, Swap};
use crate::builders::builders;
use crate::crypto::keys::KeyStore;
use crate::db::open::OpenOptions;
use crate::io::FileOps;
use crate::io::naming::Naming;
use std::sync::Arc;

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
