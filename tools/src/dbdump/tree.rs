// SPDX-License-Identifier: Apache-2.0

//! A tree in a dump, node by node.

use super::Dump;
use super::args::TreeName;
use crate::carry::Carry;
use crate::program::Failure;
use crate::text::hex;
use couchstore::inspect::{ChildInfo, Item, Node, NodeVisitor, walk_nodes};
use couchstore::{Db, DocInfoRef, Error};
use serde::Serialize;

/// How the map and the tree call a node.
pub(super) fn kind(node: &Node<'_>) -> &'static str {
    if node.is_leaf() { "leaf" } else { "interior" }
}

/// A node or an entry.
#[derive(Default, Serialize)]
struct Line {
    tree: &'static str,
    kind: &'static str,
    depth: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    size: u64,
    #[serde(skip)]
    meta_size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    subtree_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reduce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<bool>,
}

impl Line {
    /// Indented by depth: "+ (SUBTREE SIZE) {REDUCE}" for a node, "* (SIZE,SIZE OF REVISION METADATA) #SEQ  id:ID" for a
    /// document, with "x" before it if that is deleted.
    fn text(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        let indent = "  ".repeat(self.depth);
        if let Some(subtree_size) = self.subtree_size {
            let reduce = self.reduce.as_deref().unwrap_or("");
            return writeln!(out, "{indent}+ ({subtree_size}) {}", in_words(reduce));
        }
        let mark = if self.deleted == Some(true) { 'x' } else { '*' };
        let seq = self.seq.filter(|_| self.tree == TreeName::Seq.text());
        let seq = seq.map_or_else(String::new, |seq| format!("#{seq} "));
        let id = self.id.as_deref().unwrap_or("");
        writeln!(out, "{indent}{mark} ({},{}) {seq} id:{id}", self.size, self.meta_size)
    }
}

/// A reduce value, a space behind each four bytes.
fn in_words(reduce: &str) -> String {
    if reduce.is_empty() {
        return "null".to_owned();
    }
    let words = reduce.as_bytes().chunks(8).map(|word| {
        let word = String::from_utf8_lossy(word).into_owned();
        if word.len() == 8 { word + " " } else { word }
    });
    format!("{{{}}}", words.collect::<String>())
}

impl Dump<'_> {
    /// Shows the nodes and entries of a tree, each node before what is below it.
    pub(super) fn tree(&mut self, db: &Db, name: TreeName) -> Result<(), Failure> {
        let mut walk = Walk { dump: self, name, carry: Carry::default() };
        let result = walk_nodes(db, name.tree(), db.header().root(name.tree()), &mut walk);
        walk.carry.result(result)
    }
}

struct Walk<'d, 'a> {
    dump: &'d mut Dump<'a>,
    name: TreeName,
    carry: Carry,
}

impl Walk<'_, '_> {
    fn node_and_entries(&mut self, node: &Node<'_>) -> Result<(), Failure> {
        let ChildInfo { position, depth, subtree_size, reduce, .. } = node.info;
        self.show(Line {
            kind: kind(node),
            depth,
            position: Some(position),
            size: node.stored_size,
            subtree_size: Some(subtree_size),
            reduce: Some(hex(reduce)),
            ..Line::default()
        })?;
        for item in node.items() {
            let line = match item {
                Ok((_, Item::Document(info))) => {
                    self.dump.total += 1;
                    self.document(&info)
                }
                Ok((_, Item::Local { id, body })) => {
                    self.dump.total += 1;
                    Line { id: Some(self.dump.local_id(id)), size: body.len() as u64, ..Line::default() }
                }
                Ok((_, Item::Child(_))) => continue,
                Err(rule) => {
                    self.dump.malformed(position, rule)?;
                    continue;
                }
            };
            self.show(Line { kind: "document", depth: depth + 1, ..line })?;
        }
        Ok(())
    }

    fn document(&self, info: &DocInfoRef<'_>) -> Line {
        Line {
            position: (info.body_position != 0).then_some(info.body_position),
            size: info.physical_size,
            meta_size: info.rev_meta.len(),
            seq: Some(info.db_seq),
            id: Some(self.dump.id(info.id)),
            deleted: Some(info.deleted),
            ..Line::default()
        }
    }

    fn show(&mut self, line: Line) -> Result<(), Failure> {
        let line = Line { tree: self.name.text(), ..line };
        if self.dump.args.json {
            return self.dump.output.json(&line);
        }
        Ok(line.text(&mut self.dump.output)?)
    }
}

impl NodeVisitor for Walk<'_, '_> {
    fn node(&mut self, node: &Node<'_>) -> couchstore::Result<()> {
        let shown = self.node_and_entries(node);
        self.carry.take(shown)
    }

    fn damaged(&mut self, _child: &ChildInfo<'_>, error: Error) -> couchstore::Result<()> {
        let said = self.dump.complain(error.into());
        self.carry.take(said)
    }
}
