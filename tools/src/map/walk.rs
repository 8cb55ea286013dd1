// SPDX-License-Identifier: Apache-2.0

//! What a tree uses.

use super::histogram::BodySizes;
use super::kind::Kind;
use super::ledger::Claim;
use super::survey::Survey;
use couchstore::inspect::{BLOCK_SIZE, ChildInfo, Item, Node, NodeVisitor, Tree, extent, markers_in};
use couchstore::{Db, DocInfoRef, Error};
use indicatif::ProgressBar;

/// Bytes of an encrypted chunk besides the body: length and tag.
const ENCRYPTED_OVERHEAD: u64 = 20;
/// Bytes of a plain chunk besides the body: length and checksum.
const PLAIN_OVERHEAD: u64 = 8;

/// Notes the nodes of a tree and the bodies that it points to.
pub(super) struct Walk<'a> {
    survey: &'a mut Survey,
    db: &'a Db,
    /// How to note bodies; `None`: not at all.
    bodies: Option<Claim>,
    read_bodies: bool,
    body_sizes: BodySizes,
    /// What bodies may take yet: they cannot be larger than the file in sum.
    budget: u64,
    is_damaged: bool,
    bar: &'a ProgressBar,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        survey: &'a mut Survey,
        db: &'a Db,
        bodies: Option<Claim>,
        read_bodies: bool,
        bar: &'a ProgressBar,
    ) -> Walk<'a> {
        let budget = survey.file_size;
        Walk {
            survey,
            db,
            bodies,
            read_bodies,
            body_sizes: BodySizes::default(),
            budget,
            is_damaged: false,
            bar,
        }
    }

    /// Ends the walk: whether nodes or entries could not be read.
    pub(super) fn finish(self) -> bool {
        // Of two trees that point to the same bodies, the one that shows more of them is right.
        if self.body_sizes.count() > self.survey.body_sizes.count() {
            self.survey.body_sizes = self.body_sizes;
        }
        self.is_damaged
    }

    fn damage(&mut self, what: impl std::fmt::Display) {
        self.is_damaged = true;
        self.survey.damage.note(what);
    }

    fn body(&mut self, info: &DocInfoRef<'_>, claim: Claim) -> couchstore::Result<()> {
        if info.body_position == 0 {
            return Ok(());
        }
        if self.budget == 0 {
            return Ok(());
        }
        let mut size = info.physical_size;
        // The size may count block-type bytes: then the body ends before where it seems to.
        let mut fewest = size.saturating_sub(*markers_in(size).end());
        let mut claim = claim;
        if self.read_bodies {
            match self.db.stored_body(info) {
                Ok(body) => {
                    size = self.chunk_size(body.len() as u64);
                    fewest = size;
                }
                Err(error) if error.is_damage() => {
                    self.survey.damage.note(error);
                    claim = Claim::Of(Kind::Damaged);
                }
                Err(error) => return Err(error),
            }
        }
        self.body_sizes.add(size);
        self.budget = self.budget.saturating_sub(size);
        if self.budget == 0 {
            self.damage("the bodies are larger than the file");
        }
        let place = extent(info.body_position, size);
        self.survey.doubt(extent(info.body_position, fewest).end..place.end);
        self.survey.claim(place, claim);
        Ok(())
    }

    fn chunk_size(&self, body: u64) -> u64 {
        body + if self.survey.encrypted { ENCRYPTED_OVERHEAD } else { PLAIN_OVERHEAD }
    }
}

impl NodeVisitor for Walk<'_> {
    fn node(&mut self, node: &Node<'_>) -> couchstore::Result<()> {
        let kind = match node.tree {
            Tree::ById => Kind::ById,
            Tree::BySeq => Kind::BySeq,
            Tree::Local => Kind::Local,
        };
        self.survey.claim(extent(node.info.position, node.stored_size), Claim::Of(kind));
        self.survey.node_fill.add(node.tree, node.bytes.len() as u64);
        for item in node.items() {
            match (item, self.bodies) {
                (Ok((_, Item::Document(info))), Some(claim)) => {
                    self.bar.inc(1);
                    self.body(&info, claim)?;
                }
                (Ok(_), _) => {}
                (Err(rule), _) => {
                    self.damage(format_args!("node at offset {}: expected {rule}", node.info.position));
                }
            }
        }
        Ok(())
    }

    fn damaged(&mut self, child: &ChildInfo<'_>, error: Error) -> couchstore::Result<()> {
        self.damage(error);
        // Its size is part of what is lost: it ends with its subtree's size, or with the block, whichever comes first.
        let range = extent(child.position, child.subtree_size);
        let block_end = (child.position / BLOCK_SIZE + 1).saturating_mul(BLOCK_SIZE);
        self.survey.claim(range.start..range.end.min(block_end), Claim::Of(Kind::Damaged));
        Ok(())
    }
}
