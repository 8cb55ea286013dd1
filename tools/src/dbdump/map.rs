// SPDX-License-Identifier: Apache-2.0

//! Where everything lies that a header refers to. In the order in which the trees are walked: sorting by offset would
//! take memory, and is what `sort -n` is for.

use super::Dump;
use super::args::TreeName;
use super::tree::kind;
use crate::carry::Carry;
use crate::program::Failure;
use couchstore::inspect::{ChildInfo, Item, Node, NodeVisitor, extent, walk_nodes};
use couchstore::{Db, DocInfoRef, Error};
use serde::Serialize;
use std::io::Write as _;

/// A piece of the file.
#[derive(Serialize)]
struct Line<'a> {
    offset: u64,
    end: u64,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl Dump<'_> {
    /// Shows where the nodes of all trees and the bodies of all documents lie.
    pub(super) fn map(&mut self, db: &Db) -> Result<(), Failure> {
        let header = db.header();
        for name in [TreeName::Seq, TreeName::Id, TreeName::Local] {
            let mut walk = Walk { dump: self, name, carry: Carry::default() };
            let result = walk_nodes(db, name.tree(), header.root(name.tree()), &mut walk);
            walk.carry.result(result)?;
        }
        Ok(())
    }
}

struct Walk<'d, 'a> {
    dump: &'d mut Dump<'a>,
    name: TreeName,
    carry: Carry,
}

impl Walk<'_, '_> {
    fn node_and_bodies(&mut self, node: &Node<'_>) -> Result<(), Failure> {
        let kind = format!("{} {}", self.name.text(), kind(node));
        self.show(node.info.position, node.stored_size, &kind, None)?;
        for item in node.items() {
            match item {
                // Both trees point to the same bodies.
                Ok((_, Item::Document(info))) if self.name == TreeName::Seq && info.body_position != 0 => {
                    self.show(info.body_position, info.physical_size, "body", Some(&info))?;
                }
                Ok(_) => {}
                Err(rule) => self.dump.malformed(node.info.position, rule)?,
            }
        }
        Ok(())
    }

    fn show(
        &mut self,
        offset: u64,
        size: u64,
        kind: &str,
        document: Option<&DocInfoRef<'_>>,
    ) -> Result<(), Failure> {
        let end = extent(offset, size).end;
        let seq = document.map(|info| info.db_seq);
        let id = document.map(|info| self.dump.id(info.id));
        if self.dump.args.json {
            return self.dump.output.json(&Line { offset, end, kind, seq, id });
        }
        write!(self.dump.output, "{offset} - {end}: {kind}")?;
        if let (Some(seq), Some(id)) = (seq, id) {
            write!(self.dump.output, " of seq {seq}, id {id}")?;
        }
        Ok(writeln!(self.dump.output)?)
    }
}

impl NodeVisitor for Walk<'_, '_> {
    fn node(&mut self, node: &Node<'_>) -> couchstore::Result<()> {
        let shown = self.node_and_bodies(node);
        self.carry.take(shown)
    }

    fn damaged(&mut self, _child: &ChildInfo<'_>, error: Error) -> couchstore::Result<()> {
        let said = self.dump.complain(error.into());
        self.carry.take(said)
    }
}
