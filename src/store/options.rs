// SPDX-License-Identifier: Apache-2.0

//! How a store is opened.

use super::Store;
use crate::builders::builders;
use crate::compact::copy::CompactOptions;
use crate::compact::online::OnlineStats;
use crate::db::open::OpenOptions;
use crate::error::Result;
use std::path::Path;
use std::sync::Arc;

/// Told how a compaction has ended, in the thread that has made it. It may use the store.
pub type OnCompaction = Arc<dyn Fn(&Result<OnlineStats>) + Send + Sync>;

/// How to open a [`Store`]. The default creates the file if there is none, and never compacts by itself.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoreOptions {
    /// How the file is opened by those who write, read and compact it: keys, sizes of nodes, file operations. Always for
    /// reading and writing.
    pub open: OpenOptions,
    /// Create the file if it does not exist.
    pub create: bool,
    /// Memory for nodes that the writer and all snapshots share, in bytes. 0: they share what
    /// [`OpenOptions::node_cache`] of [`StoreOptions::open`] says, or the process does. Nodes of encrypted files are not
    /// kept.
    pub node_cache_bytes: u64,
    /// Compress bodies that batches put.
    pub compress: bool,
    /// Let writes that come at the same time share one commit: each still returns only when it is durable. One that has
    /// more behind it waits for those to be made.
    pub group_commit: bool,
    /// Compact in the background when so many percent of the file are not in use any more; `None`: never.
    pub compact_at: Option<u8>,
    /// Smaller files are not compacted by [`StoreOptions::compact_at`], in bytes.
    pub compact_from: u64,
    /// How to copy. Keys, file operations and the like are those of [`StoreOptions::open`].
    pub compact: CompactOptions,
    /// Told of every compaction. What it holds lives as long as the store: give it no clone of the store itself.
    pub on_compaction: Option<OnCompaction>,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            open: OpenOptions::new(),
            create: true,
            node_cache_bytes: 32 << 20,
            compress: false,
            group_commit: true,
            compact_at: None,
            compact_from: 1 << 20,
            compact: CompactOptions::new(),
            on_compaction: None,
        }
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreOptions")
            .field("open", &self.open)
            .field("create", &self.create)
            .field("node_cache_bytes", &self.node_cache_bytes)
            .field("compress", &self.compress)
            .field("group_commit", &self.group_commit)
            .field("compact_at", &self.compact_at)
            .field("compact_from", &self.compact_from)
            .finish_non_exhaustive()
    }
}

builders! { [] StoreOptions:
    open: OpenOptions,
    create: bool,
    node_cache_bytes: u64,
    compress: bool,
    group_commit: bool,
    compact_at: Option<u8>,
    compact_from: u64,
    compact: CompactOptions,
    on_compaction: Option<OnCompaction>,
}

impl StoreOptions {
    /// The default options.
    pub fn new() -> StoreOptions {
        StoreOptions::default()
    }

    /// Opens the store. Errors are those of [`OpenOptions::open`].
    pub fn open_store(self, path: impl AsRef<Path>) -> Result<Store> {
        Store::open_with(path.as_ref(), self)
    }
}
