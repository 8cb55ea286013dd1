// SPDX-License-Identifier: Apache-2.0

//! Nodes that all handles of a process share.

pub(crate) use super::files::HeaderBytes;
use super::files::{Files, Generation, Record};
use super::node::KeptNode;
use crate::io::stamp::{FileKey, FileStamp, Place};
use quick_cache::sync::Cache;
use quick_cache::{OptionsBuilder, Weighter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Nodes are about this large, with what belongs to them.
const USUAL_NODE: u64 = 1 << 10;

/// A cache has parts, each with a lock of its own. No node can be larger than a part.
const SMALLEST_PART: u64 = 256 << 10;
const MOST_PARTS: u64 = 64;

/// A node's file and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct NodeKey {
    generation: Generation,
    position: u64,
}

#[derive(Clone, Copy, Debug)]
struct ByMemory;

impl Weighter<NodeKey, Arc<KeptNode>> for ByMemory {
    fn weight(&self, _: &NodeKey, node: &Arc<KeptNode>) -> u64 {
        node.weight()
    }
}

/// Inflated nodes in memory that any number of handles, in any threads, share: see [`OpenOptions::node_cache`].
///
/// Handles that open a file for each fetch find its nodes here instead of reading, checking and inflating them; commits
/// put in what they have written. Scans use leaves that are here and put in none. Whether a file still is the one that
/// nodes are from is judged at each open by device, inode, birth time, size, times and newest header; where the operating
/// system does not tell all of these, nothing is shared. Damage that is done on the disk after a node was cached is not
/// noticed by those who find it here.
///
/// Not used by handles without buffers, of encrypted files, opened for recovery, nor by compaction. A handle that moves to
/// another header or is reopened shares nothing from then on, and neither does one that is opened while another one of
/// the process has written what is not committed. Where times of files are coarse (before Linux 6.13, and on other file
/// systems than ext4, XFS, Btrfs and tmpfs) nodes are shared only of files that have not changed for two seconds, or have
/// grown since.
///
/// Of up to 16 384 files it is remembered what they looked like, about 300 bytes each beside the budget.
///
/// ```
/// # fn main() -> couchstore::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use couchstore::{NodeCache, OpenOptions};
/// use std::sync::Arc;
///
/// let cache = Arc::new(NodeCache::new(64 << 20));
/// let db = OpenOptions::new().create(true).node_cache(cache.clone()).open(dir.path().join("a.couch"))?;
/// assert!(cache.bytes() <= cache.budget());
/// # Ok(())
/// # }
/// ```
///
/// [`OpenOptions::node_cache`]: crate::OpenOptions::node_cache
pub struct NodeCache {
    nodes: Cache<NodeKey, Arc<KeptNode>, ByMemory>,
    files: Files,
    budget: u64,
}

impl NodeCache {
    /// A cache that takes up to `bytes` of memory.
    pub fn new(bytes: u64) -> NodeCache {
        // In powers of two, so that the parts together take what was given.
        let parts = 1_u64 << (bytes / SMALLEST_PART).clamp(1, MOST_PARTS).ilog2();
        let mut options = OptionsBuilder::new();
        options.shards(parts as usize).weight_capacity(bytes / parts * parts);
        options.estimated_items_capacity(usize::try_from(bytes / USUAL_NODE).unwrap_or(usize::MAX));
        let nodes = match options.build() {
            Ok(options) => Cache::with_options(options, ByMemory, <_>::default(), <_>::default()),
            // It has all that it needs; if not, this is as good.
            Err(_) => Cache::with_weighter(1, bytes, ByMemory),
        };
        NodeCache { nodes, files: Files::default(), budget: bytes }
    }

    /// Bytes of memory that it may take.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Bytes of memory that its nodes take.
    pub fn bytes(&self) -> u64 {
        self.nodes.weight()
    }

    /// Number of nodes in it.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Lets go of all nodes.
    pub fn clear(&self) {
        self.nodes.clear();
    }
}

impl std::fmt::Debug for NodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (nodes, bytes) = (self.len(), self.bytes());
        f.debug_struct("NodeCache")
            .field("budget", &self.budget)
            .field("nodes", &nodes)
            .field("bytes", &bytes)
            .finish_non_exhaustive()
    }
}

/// The part of a cache that a handle uses: that of one generation of its file.
pub(crate) struct Share {
    cache: Arc<NodeCache>,
    key: FileKey,
    generation: Generation,
    /// The newest header that the handle has opened or committed.
    header: HeaderBytes,
    /// It has written what is not committed.
    is_writing: bool,
    /// Whether the handle still shares, as those know to whom it was lent; `None`: nobody was.
    lending: Option<Arc<AtomicBool>>,
    /// Another handle's, which has lent it.
    is_lent: bool,
}

/// What is known of a file that is about to be shared.
pub(crate) struct Known(Option<Record>);

impl Known {
    /// The newest header that was recorded.
    pub(crate) fn header(&self) -> Option<&HeaderBytes> {
        self.0.as_ref().map(Record::header)
    }
}

impl NodeCache {
    /// What is known of the file with this stamp.
    pub(crate) fn known(&self, stamp: &FileStamp) -> Known {
        Known(self.files.known(stamp.key()))
    }
}

impl Share {
    /// Of a file that was opened at this header, when that was `known` of it; `None`: its nodes are not shared. `stands` reads
    /// the file: whether this header stands in it.
    pub(crate) fn open(
        cache: Arc<NodeCache>,
        known: &Known,
        at: (&FileStamp, Place<'_>),
        header: HeaderBytes,
        stands: impl FnOnce(&HeaderBytes) -> bool,
    ) -> Option<Share> {
        let generation = cache.files.open(known.0.as_ref(), at, &header, stands)?;
        let key = *at.0.key();
        Some(Share { cache, key, generation, header, is_writing: false, lending: None, is_lent: false })
    }

    /// For a handle on the same file that only reads what this one commits. It finds nothing any more when this one shares
    /// nothing any more: positions may have got other nodes then.
    pub(super) fn lend(&mut self) -> Share {
        self.lending.get_or_insert_with(|| Arc::new(AtomicBool::new(true)));
        self.lent_again()
    }

    /// For one more handle, of what was lent.
    pub(crate) fn lent_again(&self) -> Share {
        let Share { cache, key, generation, header, lending, .. } = self;
        Share {
            cache: cache.clone(),
            key: *key,
            generation: *generation,
            header: header.clone(),
            is_writing: false,
            lending: lending.clone(),
            is_lent: true,
        }
    }

    #[inline]
    fn is_withdrawn(&self) -> bool {
        self.lending.as_ref().is_some_and(|goes_on| !goes_on.load(Ordering::Acquire))
    }

    /// The handle has committed this header. Whether the nodes that it has written may be put in; if not, the handle's
    /// share is not to be used any more.
    pub(super) fn commit(&mut self, at: (&FileStamp, Place<'_>), header: HeaderBytes) -> bool {
        let may =
            *at.0.key() == self.key && self.cache.files.commit(at, &header, &self.header, self.generation);
        self.header = header;
        self.set_writing(false);
        may
    }

    /// The handle begins to write, or has given up what it has written.
    pub(super) fn set_writing(&mut self, writing: bool) {
        if std::mem::replace(&mut self.is_writing, writing) != writing {
            self.cache.files.count_writer(&self.key, self.generation, writing);
        }
    }

    /// The node at this position. What is found `in_passing` does not stay longer for that.
    pub(super) fn get(&self, position: u64, in_passing: bool) -> Option<Arc<KeptNode>> {
        if self.is_withdrawn() {
            return None;
        }
        let key = NodeKey { generation: self.generation, position };
        let found = if in_passing { self.cache.nodes.peek(&key) } else { self.cache.nodes.get(&key) };
        found.inspect(|node| node.prefetch())
    }

    /// Takes the node at this position out.
    pub(super) fn remove(&self, position: u64) -> Option<Arc<KeptNode>> {
        self.cache.nodes.remove(&NodeKey { generation: self.generation, position }).map(|(_, node)| node)
    }

    pub(super) fn insert(&self, position: u64, node: Arc<KeptNode>) {
        if self.is_withdrawn() {
            return;
        }
        self.cache.nodes.insert(NodeKey { generation: self.generation, position }, node);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set_writing(false);
        if let Some(goes_on) = self.lending.as_ref().filter(|_| !self.is_lent) {
            goes_on.store(false, Ordering::Release);
        }
    }
}
