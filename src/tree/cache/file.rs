// SPDX-License-Identifier: Apache-2.0

//! A handle's file, and what is kept of its nodes.

use super::files::HeaderBytes;
use super::node::{KeptNode, Node};
use super::own::OwnNodes;
use super::shared::Share;
use super::staged::Staged;
use crate::error::Result;
use crate::format::chunk::PREFIX;
use crate::format::node::NodeKind;
use crate::io::file::{Appended, DbFile};
use crate::io::shared::{SharedFile, StoredNode};
use crate::io::stamp::{FileStamp, Place};
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a traversal makes of nodes that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Every node comes from the file: for whoever looks after what is there, or goes by once.
    Verifying,
    /// Pointer nodes are kept. Leaves are not, since each is read once; those that are shared are used. (A leaf that is not
    /// known to be one before it is read, such as the first of a scan, is sought as a pointer node is.)
    Scanning,
    /// All nodes are kept: single keys are looked up.
    Seeking,
}

/// A handle that is opened for one flush or one fetch goes down its trees no more often than this: what it read for
/// itself would not be asked for again.
const FIRST_DESCENTS: u32 = 4;

/// The nodes that a handle finds in memory.
enum Kept {
    /// Its own.
    Own(OwnNodes),
    /// Committed ones that it shares with other handles, and those that it has written since.
    Shared(Share, Staged),
}

impl Kept {
    /// `in_passing`: a scan comes to what is known to be a leaf.
    fn get(&self, position: u64, committed: u64, in_passing: bool) -> Option<Arc<KeptNode>> {
        match self {
            Kept::Own(_) if in_passing => None,
            Kept::Own(own) => own.get(position),
            Kept::Shared(share, _) if position < committed => share.get(position, in_passing),
            Kept::Shared(_, staged) => staged.get(position),
        }
    }
}

/// The file of a handle. Nodes are read and written through it.
pub(crate) struct TreeFile {
    file: SharedFile,
    /// Nodes may be kept.
    may_keep: Cell<bool>,
    /// How often trees were gone down.
    descents: Cell<u32>,
    /// End of the newest header that the handle has opened or committed. What lies behind it is not committed.
    committed: Cell<u64>,
    /// How often what was not committed was given up, so that something else may get its place in the file. Callbacks look
    /// at it without a lock.
    discards: AtomicU64,
    /// `None`: nothing is kept yet.
    kept: RefCell<Option<Box<Kept>>>,
}

impl Deref for TreeFile {
    type Target = SharedFile;

    fn deref(&self) -> &SharedFile {
        &self.file
    }
}

impl TreeFile {
    /// Of an open file, of which nothing is kept. The handle stands on a header that ends at `committed`.
    pub(crate) fn new(file: Box<DbFile>, committed: u64) -> TreeFile {
        TreeFile {
            file: SharedFile::new(file),
            may_keep: Cell::new(false),
            descents: Cell::new(0),
            committed: Cell::new(committed),
            discards: AtomicU64::new(0),
            kept: RefCell::new(None),
        }
    }

    /// From now on nodes may be kept; committed ones are those of the `share`, if they are shared.
    pub(crate) fn begin_keeping(&self, share: Option<Share>) {
        self.may_keep.set(true);
        self.kept.replace(share.map(|share| Box::new(Kept::Shared(share, Staged::default()))));
    }

    /// The share of a handle that is going to read the same file.
    pub(crate) fn share_for_reader(&self) -> Option<Share> {
        let share = |kept: &mut Kept| match kept {
            Kept::Shared(share, _) => Some(share.lend()),
            Kept::Own(_) => None,
        };
        self.with_kept(share).flatten()
    }

    fn stop_keeping(&self) {
        self.may_keep.set(false);
        self.kept.take();
    }

    /// Puts another file in, of which nothing is kept.
    pub(crate) fn replace(&self, file: Box<DbFile>) {
        self.stop_keeping();
        self.descents.set(0);
        self.file.replace(file);
    }

    /// Takes the file out: from now on it is closed.
    pub(crate) fn take(&self) -> Option<Box<DbFile>> {
        self.stop_keeping();
        self.file.take()
    }

    /// Runs `action` on what is kept, if anything is.
    fn with_kept<T>(&self, action: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        self.kept.borrow_mut().as_deref_mut().map(action)
    }

    /// A tree is about to be gone down.
    pub(crate) fn begin_descent(&self) {
        self.descents.set(self.descents.get().saturating_add(1));
        if self.descents.get() > FIRST_DESCENTS && self.may_keep.get() {
            self.kept.borrow_mut().get_or_insert_with(|| Box::new(Kept::Own(OwnNodes::default())));
        }
    }

    /// The node at this position, if it is kept and to be found by whoever reads in this way. `is_leaf`: known to be one.
    #[inline]
    pub(crate) fn kept(&self, position: u64, reading: Reading, is_leaf: bool) -> Option<Arc<KeptNode>> {
        let in_passing = match reading {
            Reading::Verifying => return None,
            Reading::Scanning => is_leaf,
            Reading::Seeking => false,
        };
        self.kept.borrow().as_deref()?.get(position, self.committed.get(), in_passing)
    }

    /// Keeps a node that was read from the file, if that is worth while.
    #[inline]
    pub(crate) fn keep(&self, position: u64, kind: NodeKind, stored: StoredNode, reading: Reading) -> Node {
        let wanted = match reading {
            Reading::Verifying => false,
            Reading::Scanning => kind == NodeKind::Interior,
            Reading::Seeking => true,
        };
        match self.kept.borrow_mut().as_deref_mut() {
            Some(kept) if wanted => self.keep_in(kept, position, stored),
            _ => Node::Read(stored.bytes),
        }
    }

    fn keep_in(&self, kept: &mut Kept, position: u64, stored: StoredNode) -> Node {
        let StoredNode { bytes, stored_size } = stored;
        let Some(node) = KeptNode::new(&bytes, stored_size) else { return Node::Read(bytes) };
        self.file.keep_node_memory(bytes);
        let node = Arc::new(node);
        match kept {
            Kept::Own(own) => own.insert(position, node.clone()),
            Kept::Shared(share, _) if position < self.committed.get() => share.insert(position, node.clone()),
            Kept::Shared(..) => {}
        }
        Node::Kept(node)
    }

    /// Compresses and appends a node, which has so many entries.
    pub(crate) fn append_node(&self, node: &[u8], kind: NodeKind, entries: usize) -> Result<Appended> {
        let appended = self.file.append_node(node)?;
        let mut kept = self.kept.borrow_mut();
        let Some(kept) = kept.as_deref_mut().filter(|_| !self.file.is_rehearsing()) else {
            return Ok(appended);
        };
        let is_wanted = match kept {
            // Leaves are many, and each is as likely to be asked for as any other.
            Kept::Own(_) => kind == NodeKind::Interior,
            Kept::Shared(_, staged) => kind == NodeKind::Interior || staged.has_room_for_leaves(),
        };
        let stored_size = appended.size.saturating_sub(PREFIX as u64);
        match kept {
            _ if !is_wanted => {}
            Kept::Own(own) => {
                if let Some(node) = KeptNode::of_written(node, entries, stored_size) {
                    own.insert(appended.position, Arc::new(node));
                }
            }
            Kept::Shared(_, staged) => staged.push(appended.position, node, entries, stored_size),
        }
        Ok(appended)
    }

    /// Another node takes the place of the one at this position. It is not needed any more, but by those who are still at
    /// an older header.
    pub(crate) fn note_replaced(&self, position: u64) {
        self.with_kept(|kept| {
            if let Kept::Shared(_, staged) = kept {
                staged.note_replaced(position);
            }
        });
    }

    /// The handle begins to write.
    pub(crate) fn begin_writing(&self) {
        self.with_kept(|kept| {
            if let Kept::Shared(share, _) = kept {
                share.set_writing(true);
            }
        });
    }

    /// The handle has failed to write: what was not committed goes.
    pub(crate) fn forget_uncommitted(&self) {
        let committed = self.committed.get();
        self.with_kept(|kept| match kept {
            Kept::Own(own) => own.forget_from(committed),
            Kept::Shared(share, staged) => {
                // What is left of an earlier save of the same transaction is read from the file if need be.
                staged.give_up();
                share.set_writing(false);
            }
        });
    }

    /// The handle is about to move to another header. Others may have written the file meanwhile, also to where this handle
    /// has: all goes, and nothing is shared any more.
    pub(crate) fn forget_all(&self) {
        self.kept.take();
    }

    /// The handle stands on a header that ends here, after [`TreeFile::forget_all`] or in another file.
    pub(crate) fn moved_to(&self, committed: u64) {
        self.committed.set(committed);
    }

    /// Where that begins which is not committed.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.get()
    }

    /// What was not committed is given up: something else may get its place in the file.
    pub(crate) fn note_discarded(&self) {
        self.discards.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that has happened.
    #[inline]
    pub(crate) fn discards(&self) -> u64 {
        self.discards.load(Ordering::Relaxed)
    }

    /// A header that ends at `committed` was committed to the file at this `place`.
    pub(crate) fn note_commit(&self, committed: u64, header: impl FnOnce() -> HeaderBytes, place: Place<'_>) {
        self.committed.set(committed);
        let mut kept = self.kept.borrow_mut();
        let goes_on = match kept.as_deref_mut() {
            Some(Kept::Shared(share, staged)) => {
                let stamp = stamp_of_size(place, committed);
                let goes_on = stamp.is_some_and(|stamp| share.commit((&stamp, place), header()));
                if goes_on {
                    staged.hand_over(share);
                }
                goes_on
            }
            Some(Kept::Own(own)) => {
                own.trim();
                true
            }
            None => true,
        };
        if !goes_on {
            *kept = None;
        }
    }

    /// A piece of work is done: what the handle keeps for itself becomes less.
    pub(crate) fn trim(&self) {
        self.with_kept(|kept| {
            if let Kept::Own(own) = kept {
                own.trim();
            }
        });
    }
}

fn stamp_of_size(place: Place<'_>, size: u64) -> Option<FileStamp> {
    place.stamp().filter(|stamp| stamp.size() == size)
}
