// SPDX-License-Identifier: Apache-2.0

//! Goes through a file and notes what each byte is for.

use super::histogram::{BodySizes, NodeFill};
use super::history::History;
use super::kind::Kind;
use super::ledger::{Claim, Ledger, Part};
use super::survey::{Damage, Survey};
use super::walk::Walk;
use crate::found::FoundHeaders;
use crate::program::Failure;
use couchstore::inspect::{
    BLOCK_SIZE, DocCounts, FileHeader, FoundHeader, Headers, Tree, extent, walk_nodes,
};
use couchstore::{Db, Error};
use std::ops::Range;

/// What to look at, and how closely.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Read bodies, to find damaged ones.
    pub(super) read_bodies: bool,
    /// Size in bytes at which nodes are split.
    pub(super) node_size: u64,
    /// At most so many cells.
    pub(super) max_cells: u64,
}

impl Survey {
    /// Goes through a file, with the eyes of the header at this offset.
    pub(super) fn of(
        db: &Db,
        (header_position, header): (u64, FileHeader),
        plan: Plan,
    ) -> Result<Survey, Failure> {
        let file_size = db.file_end();
        let blocks_per_cell = file_size.div_ceil(BLOCK_SIZE).div_ceil(plan.max_cells.max(1)).max(1);
        let cell_size = blocks_per_cell * BLOCK_SIZE;
        let mut survey = Survey {
            file_size,
            header_position,
            documents: DocCounts::default(),
            encrypted: db.encryption_key_id().is_some(),
            header,
            headers: 0,
            cell_size,
            cells: Ledger::uniform(file_size, cell_size),
            commits: Ledger::default(),
            node_fill: NodeFill::new(plan.node_size),
            body_sizes: BodySizes::default(),
            damage: Damage::default(),
        };
        survey.count_documents();
        survey.headers(db)?;
        survey.trees(db, plan.read_bodies)?;
        survey.close();
        Ok(survey)
    }

    fn count_documents(&mut self) {
        let Some(root) = &self.header.by_id else { return };
        match DocCounts::parse(&root.reduce) {
            Ok(counts) => self.documents = counts,
            Err(rule) => self.damage.note(format_args!("by-id root: expected {rule}")),
        }
    }

    /// Goes through the headers, the last one first, and what lies behind the one to be shown.
    fn headers(&mut self, db: &Db) -> Result<(), Failure> {
        let mut history = History::new(self.file_size);
        // Everything from here on has been dealt with.
        let mut above = self.file_size;
        for FoundHeader { position, header } in FoundHeaders(Headers::backward(db)) {
            let (range, claim) = match &header {
                Ok(header) if position == self.header_position => {
                    (self.header_range(position, header), Kind::Header)
                }
                Ok(header) => (self.header_range(position, header), Kind::OtherHeader),
                Err(error) if error.is_damage() || matches!(error, Error::HeaderVersion { .. }) => {
                    self.damage.note(error);
                    (position..position.saturating_add(BLOCK_SIZE), Kind::Damaged)
                }
                Err(error) => return Err(error.clone().into()),
            };
            let range = range.start..range.end.min(above);
            if position >= self.header_position {
                self.claim_in(history.part(), range.end..above, Kind::Later);
            }
            if header.is_ok() {
                let shown = claim == Kind::Header;
                history.header(range.end, shown);
                self.cells.header_at(position, shown);
                self.headers += 1;
            }
            self.claim_in(history.part(), range, claim);
            above = position;
        }
        self.commits = history.finish();
        self.metadata(db)
    }

    fn metadata(&mut self, db: &Db) -> Result<(), Failure> {
        match db.metadata_size() {
            Ok(Some(size)) => self.claim(extent(0, size), Claim::Of(Kind::Header)),
            Ok(None) => {}
            // Files without encryption open in spite of it.
            Err(error @ Error::NotSupported(_)) => self.damage.note(error),
            Err(error) if error.is_damage() => {
                self.damage.note(error);
                self.claim(0..BLOCK_SIZE, Claim::Of(Kind::Damaged));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn claim_in(&mut self, part: &mut Part, range: Range<u64>, kind: Kind) {
        if range.start < range.end {
            part.add(Claim::Of(kind), range.end - range.start);
            self.cells.add(&range, Claim::Of(kind));
        }
    }

    fn header_range(&self, position: u64, header: &FileHeader) -> Range<u64> {
        let range = extent(position, header.stored_size());
        range.start..range.end.min(self.file_size)
    }

    fn trees(&mut self, db: &Db, read_bodies: bool) -> Result<(), Failure> {
        let bar = crate::progress::bar(self.documents.live.saturating_add(self.documents.deleted), "map");
        let header = self.header.clone();
        let mut damaged_by_id = false;
        for tree in [Tree::ById, Tree::BySeq, Tree::Local] {
            let bodies = match tree {
                Tree::ById => Some(Claim::Of(Kind::Body)),
                // Both trees point to the same bodies. Only what is lost in one is looked for in the other.
                Tree::BySeq => damaged_by_id.then_some(Claim::BodyBySeq),
                Tree::Local => None,
            };
            let mut walk = Walk::new(self, db, bodies, read_bodies, &bar);
            walk_nodes(db, tree, header.root(tree), &mut walk)?;
            damaged_by_id |= walk.finish();
        }
        Ok(())
    }

    fn close(&mut self) {
        let overlapping = self.cells.close();
        if overlapping > 0 {
            self.damage
                .note(format_args!("{overlapping} bytes that more than one node or document lays claim to"));
        }
        self.commits.close();
    }
}
