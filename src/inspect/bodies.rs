// SPDX-License-Identifier: Apache-2.0

//! Writing step by step: bodies as they are stored, roots of trees.

use crate::db::Db;
use crate::db::save::{Document, Others};
use crate::error::Result;
use crate::format::docinfo::DocInfoRef;
use crate::format::header::NodeRef;
use crate::format::ints::MAX_U48;
use crate::tree::TreeKind;

impl Db {
    /// Inflates a body that is stored compressed, as [`Db::stored_body`] has read it; errors give its position. An
    /// empty one stays empty.
    pub fn inflate_body(&self, info: &DocInfoRef<'_>, stored: &[u8]) -> Result<Vec<u8>> {
        if stored.is_empty() {
            return Ok(Vec::new());
        }
        self.file().with(|file| file.inflate(info.body_position, stored))
    }

    /// Saves documents of another file as they are: with their own sequence numbers and their bodies as they are
    /// stored. Others that have the same sequence numbers stay.
    pub fn save_beside(&self, documents: &[Document<'_>]) -> Result<()> {
        self.save_as_they_are(documents, Others::Stay)
    }

    /// Takes a node for the root of a tree; the next commit makes it one. Nothing is checked: the caller has walked what
    /// is below it.
    pub fn set_root(&self, tree: TreeKind, root: NodeRef) {
        self.update_state(|state| {
            let header = &mut state.header;
            let place = match tree {
                TreeKind::ById => &mut header.by_id,
                TreeKind::BySeq => &mut header.by_seq,
                TreeKind::Local => &mut header.local,
            };
            *place = Some(root);
        });
    }

    /// Raises the highest sequence number used, which the next commit stores, to at least `seq`: for copies that
    /// must not give the numbers of lost documents to others. Never beyond 2^48 - 1, the last one.
    pub fn raise_update_seq(&self, seq: u64) {
        self.update_state(|state| state.header.update_seq = state.header.update_seq.max(seq.min(MAX_U48)));
    }
}
