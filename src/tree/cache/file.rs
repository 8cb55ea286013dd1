//! A handle's file, and what is kept of its nodes.

use super::files::HeaderBytes;
use super::node::{KeptNode, Node};
use super::own::OwnNodes;
use super::shared::Share;
use crate::error::Result;
use crate::format::chunk::PREFIX;
use crate::format::node::NodeKind;
use crate::io::file::{Appended, DbFile};
use crate::io::shared::{SharedFile, StoredNode};
use crate::io::stamp::{FileStamp, Place};
use crate::memory;
use std::cell::RefCell;
use std::ops::Deref;
use std::sync::Arc;

/// What a traversal makes of nodes that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Every node comes from the file: for whoever looks after what is there, or goes by once.
    Verifying,
    /// Pointer nodes are kept, leaves come from the file: each is read once.
    Scanning,
    /// All nodes are kept: single keys are looked up.
    Seeking,
}

/// The nodes that a handle finds in memory.
#[derive(Default)]
struct Kept {
    own: OwnNodes,
    /// Committed nodes, if they are shared; then what is the handle's own are those that are not committed yet.
    share: Option<Share>,
    /// End of the newest header that the handle has opened or committed. What lies behind it is not committed.
    committed: u64,
}

impl Kept {
    fn share(&self, position: u64) -> Option<&Share> {
        self.share.as_ref().filter(|_| position < self.committed)
    }

    fn get(&self, position: u64) -> Option<Arc<KeptNode>> {
        match self.share(position) {
            Some(share) => share.get(position),
            None => self.own.get(position),
        }
    }

    fn insert(&mut self, position: u64, node: Arc<KeptNode>) {
        match self.share(position) {
            Some(share) => share.insert(position, node),
            None => self.own.insert(position, node),
        }
    }

    /// Whether it is worth while to keep nodes.
    fn is_active(&self) -> bool {
        self.share.is_some() || self.own.is_active()
    }
}

/// The file of a handle. Nodes are read and written through it.
pub(crate) struct TreeFile {
    file: SharedFile,
    /// `None`: nothing is kept.
    kept: RefCell<Option<Kept>>,
}

impl Deref for TreeFile {
    type Target = SharedFile;

    fn deref(&self) -> &SharedFile {
        &self.file
    }
}

impl TreeFile {
    /// Of an open file, of which nothing is kept yet.
    pub(crate) fn new(file: Box<DbFile>) -> TreeFile {
        TreeFile { file: SharedFile::new(file), kept: RefCell::default() }
    }

    /// The handle was put on a header that ends here. With a `share` of the nodes up to it if they are shared.
    pub(crate) fn begin_keeping(&self, committed: u64, share: Option<Share>) {
        let kept = Kept { own: OwnNodes::default(), share, committed };
        self.kept.replace(Some(kept));
    }

    /// Puts another file in, of which nothing is kept yet.
    pub(crate) fn replace(&self, file: Box<DbFile>) {
        self.kept.take();
        self.file.replace(file);
    }

    /// Takes the file out: from now on it is closed.
    pub(crate) fn take(&self) -> Option<Box<DbFile>> {
        self.kept.take();
        self.file.take()
    }

    /// Runs `action` on what is kept, if anything may be.
    fn with_kept<T>(&self, action: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        self.kept.borrow_mut().as_mut().map(action)
    }

    /// A tree is about to be gone down.
    pub(crate) fn begin_descent(&self) {
        self.with_kept(|kept| kept.own.begin_descent());
    }

    /// The node at this position, if it is kept.
    pub(crate) fn kept(&self, position: u64) -> Option<Arc<KeptNode>> {
        self.kept.borrow().as_ref()?.get(position)
    }

    /// Keeps a node that was read from the file, if that is worth while.
    pub(crate) fn keep(&self, position: u64, kind: NodeKind, stored: StoredNode, reading: Reading) -> Node {
        let StoredNode { bytes, stored_size } = stored;
        let wanted = match reading {
            Reading::Verifying => false,
            Reading::Scanning => kind == NodeKind::Interior,
            Reading::Seeking => true,
        };
        if !wanted || !self.keeps() {
            return Node::Read(bytes);
        }
        match KeptNode::new(bytes, stored_size) {
            Ok(node) => {
                let node = Arc::new(node);
                self.with_kept(|kept| kept.insert(position, node.clone()));
                Node::Kept(node)
            }
            Err(bytes) => Node::Read(bytes),
        }
    }

    fn keeps(&self) -> bool {
        self.kept.borrow().as_ref().is_some_and(Kept::is_active)
    }

    /// Compresses and appends a node.
    pub(crate) fn append_node(&self, node: &[u8], kind: NodeKind) -> Result<Appended> {
        let appended = self.file.append_node(node)?;
        if self.keeps() && !self.file.is_rehearsing() {
            self.keep_written(node, kind, appended)?;
        }
        Ok(appended)
    }

    /// Keeps a node that was written. Of those that are not shared, leaves are not: there are many, and each is as likely
    /// to be asked for as any other.
    fn keep_written(&self, node: &[u8], kind: NodeKind, appended: Appended) -> Result<()> {
        let wanted = kind == NodeKind::Interior || self.with_kept(|kept| kept.share.is_some()) == Some(true);
        if wanted
            && let Ok(node) = KeptNode::new(memory::copy(node)?, appended.size.saturating_sub(PREFIX as u64))
        {
            self.with_kept(|kept| kept.insert(appended.position, Arc::new(node)));
        }
        Ok(())
    }

    /// The handle was put on another header, which ends at `committed`, or has failed to write (`None`): what was not
    /// committed goes.
    pub(crate) fn forget_uncommitted(&self, committed: Option<u64>) {
        self.with_kept(|kept| {
            let known = committed.map_or(kept.committed, |committed| committed.min(kept.committed));
            kept.own.forget_from(known);
            kept.committed = committed.unwrap_or(known);
        });
    }

    /// The handle has moved, or somebody else may have written the file: nodes are not shared any more.
    pub(crate) fn stop_sharing(&self) {
        self.with_kept(|kept| kept.share = None);
    }

    /// A header that ends at `committed` was committed. `stamp` asks for the file as it is now; it is not called if nodes
    /// are not shared.
    pub(crate) fn note_commit(&self, committed: u64, header: impl FnOnce() -> HeaderBytes, place: Place<'_>) {
        self.with_kept(|kept| {
            if let Some(share) = &mut kept.share {
                let may = stamp_of_size(place, committed)
                    .is_some_and(|stamp| share.commit((&stamp, place), header()));
                let written = kept.own.take_all();
                if may {
                    written.into_iter().for_each(|(position, node)| share.insert(position, node));
                } else {
                    kept.share = None;
                }
            }
            kept.committed = committed;
            kept.own.trim();
        });
    }

    /// A piece of work is done: what is kept of it becomes less.
    pub(crate) fn trim(&self) {
        self.with_kept(|kept| kept.own.trim());
    }
}

fn stamp_of_size(place: Place<'_>, size: u64) -> Option<FileStamp> {
    place.stamp().filter(|stamp| stamp.size() == size)
}
