// SPDX-License-Identifier: Apache-2.0

//! The nodes of one tree.

use super::bodies::Feed;
use super::problem::{Problem, seq_of, show_id, show_key};
use super::shared::Shared;
use super::sums::{Clean, Memory, Sum};
use couchstore::inspect::{ChildInfo, Item, Node, NodeVisitor, Tree, Visit, extent, is_size_of};
use couchstore::{DocInfoRef, Error};

/// What is known of a node while those below it are shown.
struct Frame {
    position: u64,
    /// For [`Memory`].
    pointer: u64,
    /// Offset behind its chunk.
    end: u64,
    /// Its disk size.
    size: u64,
    /// What the pointers in it claim to be below; where that is wrong, what it is.
    below: u64,
    sum: Sum,
    /// Whether everything below could be read.
    whole: bool,
    /// Whether nothing is wrong in it and below.
    clean: bool,
}

/// What there was in a tree.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) sum: Sum,
    /// Whether all of it could be read.
    pub(super) whole: bool,
    /// Nodes that were read; not those of subtrees that were known already.
    pub(super) nodes: u64,
    pub(super) deleted: u64,
    /// Documents that should have a body.
    pub(super) bodies: u64,
}

/// Checks the nodes of a tree as it is walked.
pub(super) struct TreeCheck<'a> {
    shared: &'a Shared<'a>,
    tree: Tree,
    /// Of the header that points to the tree.
    header: u64,
    is_newest: bool,
    memory: &'a mut Memory,
    /// Where bodies go to be checked.
    feed: Option<&'a mut Feed>,
    frames: Vec<Frame>,
    /// The last key of a leaf that was seen, or of a pointer to something that was not read.
    last_key: Option<Vec<u8>>,
    /// Stands for the pointer that has just been shown.
    pointer: u64,
    found: Found,
}

impl<'a> TreeCheck<'a> {
    pub(super) fn new(
        shared: &'a Shared<'a>,
        tree: Tree,
        (header, is_newest): (u64, bool),
        memory: &'a mut Memory,
        feed: Option<&'a mut Feed>,
    ) -> TreeCheck<'a> {
        let found = Found { whole: true, ..Found::default() };
        TreeCheck {
            shared,
            tree,
            header,
            is_newest,
            memory,
            feed,
            frames: Vec::new(),
            last_key: None,
            pointer: 0,
            found,
        }
    }

    /// Once the walk is over: what there was. `update_seq` is that of the header.
    pub(super) fn finish(self, update_seq: u64) -> Found {
        if let (Tree::BySeq, Some(highest)) = (self.tree, self.last_key.as_deref().and_then(seq_of))
            && highest > update_seq
        {
            let reason = format!("update_seq {update_seq}, but there is a document with sequence {highest}");
            self.shared.problems.add(Problem::of_header(self.header, reason));
        }
        self.found
    }

    /// Something is wrong in the node that is shown; with all above it, it is not clean.
    fn problem(&mut self, position: u64, reason: impl Into<String>) {
        self.shared.problems.add(Problem::of_tree(self.tree, position, reason));
        for frame in &mut self.frames {
            frame.clean = false;
        }
    }

    /// Something cannot be read.
    fn incomplete(&mut self) {
        self.found.whole = false;
        for frame in &mut self.frames {
            frame.whole = false;
        }
    }

    /// Where the chunks of what the current node refers to must end.
    fn limit(&self) -> u64 {
        self.frames.last().map_or(self.header, |frame| frame.position)
    }

    fn set_last_key(&mut self, key: &[u8]) {
        let last = self.last_key.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
    }

    /// Keys of leaves ascend through the whole tree. Documents may share a sequence number.
    fn check_order(&mut self, position: u64, key: &[u8]) {
        let Some(last) = &self.last_key else { return };
        let shown = || show_key(self.tree, key);
        if key < last.as_slice() {
            let reason = format!("key {} behind {}", shown(), show_key(self.tree, last));
            self.problem(position, reason);
        } else if key == last && self.tree != Tree::BySeq {
            let reason = format!("key {} twice", shown());
            self.problem(position, reason);
        }
    }

    fn item(&mut self, node: &Node<'_>, key: &[u8], item: &Item<'_>) {
        let position = node.info.position;
        let sum = match item {
            // Its check comes when it is visited.
            Item::Child(_) => return,
            Item::Document(info) => self.document(position, info),
            Item::Local { .. } => Sum::local(),
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.sum.add(sum);
        }
        self.check_order(position, key);
        self.set_last_key(key);
    }

    fn document(&mut self, position: u64, info: &DocInfoRef<'_>) -> Sum {
        self.found.deleted += u64::from(info.deleted);
        let name = || format!("document {}, sequence {}", show_id(info.id), info.db_seq);
        if info.body_position == 0 {
            if !info.deleted {
                self.problem(position, format!("{}: not deleted, but without body", name()));
            }
            if info.physical_size != 0 {
                let reason = format!("{}: physical size {} without body", name(), info.physical_size);
                self.problem(position, reason);
            }
        } else if info.body_position >= position {
            let reason = format!("{}: body at {}, behind its entry", name(), info.body_position);
            self.problem(position, reason);
        }
        if info.body_position != 0
            && let Some(feed) = &mut self.feed
        {
            self.found.bodies += 1;
            // Those of the newest header all come: for their places, too.
            if self.memory.is_new_body(info) || self.is_newest {
                feed.add(info);
            }
        }
        self.memory.document(info)
    }

    /// A subtree that was clean before, and is used again.
    fn reuse(&mut self, child: &ChildInfo<'_>, highest: &[u8], clean: Clean) {
        self.set_last_key(highest);
        if let Some(frame) = self.frames.last_mut() {
            frame.below = frame.below.saturating_add(child.subtree_size);
            frame.sum.add(clean.sum);
        }
    }

    /// What a pointer claims to be the size of all below it, now that it is known; returns what it is. The pointers in
    /// a node are older than the one to it: they may have been written by a server that counted otherwise.
    fn check_size(&mut self, node: &Node<'_>, size: u64, below: u64) -> u64 {
        let ChildInfo { position, subtree_size, .. } = node.info;
        if subtree_size.checked_sub(below).is_some_and(|own| is_size_of(own, size, Some(position))) {
            return subtree_size;
        }
        let is = size.saturating_add(below);
        self.problem(position, format!("subtree size {subtree_size}, it is {is}"));
        is
    }

    /// What a pointer claims to be the highest key below it.
    fn check_highest_key(&mut self, node: &Node<'_>) {
        let ChildInfo { position, highest_key, .. } = node.info;
        if let (Some(claimed), Some(highest)) = (highest_key, self.last_key.as_deref())
            && claimed != highest
        {
            let (claimed, highest) = (show_key(self.tree, claimed), show_key(self.tree, highest));
            self.problem(position, format!("highest key {claimed} in the pointer, it is {highest}"));
        }
    }
}

impl NodeVisitor for TreeCheck<'_> {
    fn child(&mut self, child: &ChildInfo<'_>) -> couchstore::Result<Visit> {
        self.shared.proceed()?;
        self.pointer = self.memory.pointer(self.tree, child, self.last_key.as_deref());
        let known = self.memory.clean(self.pointer).filter(|clean| clean.end <= self.limit());
        // The root's highest key is needed, and no pointer tells it.
        let (Some(clean), Some(highest)) = (known, child.highest_key) else { return Ok(Visit::Enter) };
        self.reuse(child, highest, clean);
        Ok(Visit::Skip)
    }

    fn node(&mut self, node: &Node<'_>) -> couchstore::Result<()> {
        let (position, size) = (node.info.position, node.stored_size);
        let end = extent(position, size).end;
        let limit = self.limit();
        let (pointer, sum) = (self.pointer, Sum::default());
        self.frames.push(Frame { position, pointer, end, size, below: 0, sum, whole: true, clean: true });
        self.found.nodes += 1;
        self.shared.bar.inc(size);
        if self.is_newest {
            self.shared.places.add(Some(position..end), self.shared.problems);
        }
        if end > limit {
            self.problem(position, format!("the node runs up to {end}, into what points to it"));
        }
        match node.reduce() {
            Ok(reduce) if reduce == node.info.reduce => {}
            Ok(reduce) => {
                let (claimed, is) = (show_reduce(node.info.reduce), show_reduce(&reduce));
                self.problem(position, format!("reduce value {claimed}, it is {is}"));
            }
            // The entry that makes no sense is reported below.
            Err(_) => {}
        }
        for item in node.items() {
            match item {
                Ok((key, item)) => self.item(node, key, &item),
                Err(rule) => {
                    self.incomplete();
                    self.problem(position, format!("malformed entry: expected {rule}"));
                }
            }
        }
        Ok(())
    }

    fn leave(&mut self, node: &Node<'_>) -> couchstore::Result<()> {
        let mut subtree_size = node.info.subtree_size;
        if let Some(&Frame { size, below, whole: true, .. }) = self.frames.last() {
            subtree_size = self.check_size(node, size, below);
            self.check_highest_key(node);
        }
        let Some(Frame { pointer, end, sum, whole, clean, .. }) = self.frames.pop() else {
            return Ok(());
        };
        match self.frames.last_mut() {
            Some(parent) => {
                parent.below = parent.below.saturating_add(subtree_size);
                parent.sum.add(sum);
            }
            None => self.found.sum = sum,
        }
        if whole && clean {
            self.memory.remember(pointer, Clean { sum, end });
        }
        Ok(())
    }

    fn damaged(&mut self, child: &ChildInfo<'_>, error: Error) -> couchstore::Result<()> {
        self.incomplete();
        self.shared.problems.add(Problem::of_node(self.tree, child.position, error));
        if let Some(highest) = child.highest_key {
            self.set_last_key(highest);
        }
        Ok(())
    }
}

fn show_reduce(reduce: &[u8]) -> String {
    reduce.iter().fold(String::new(), |shown, byte| format!("{shown}{byte:02x}"))
}
