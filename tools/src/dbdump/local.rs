//! Local documents in a dump.

use super::body::Body;
use super::{Dump, not_found};
use crate::carry::Carry;
use crate::program::Failure;
use crate::text::{hex, printable, printable_lines};
use couchstore::inspect::{ChildInfo, Item, Node, NodeVisitor, Tree, walk_nodes};
use couchstore::{Db, Error};
use serde::Serialize;
use std::io::Write as _;

#[derive(Serialize)]
struct Line {
    id: String,
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    display: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

impl Dump<'_> {
    /// Shows the local document that was asked for.
    pub(super) fn local_document_of_key(&mut self, db: &Db, id: &[u8]) -> Result<(), Failure> {
        let body = match db.local(id) {
            Err(Error::DocNotFound) => return Err(not_found(db, id)),
            body => body?,
        };
        self.local_document(id, &body)?;
        self.total(1)
    }

    /// Shows all local documents. Node by node, because a scan of the library ends at the first damaged one.
    pub(super) fn local_documents(&mut self, db: &Db) -> Result<(), Failure> {
        let mut walk = Walk { dump: self, total: 0, carry: Carry::default() };
        let result = walk_nodes(db, Tree::Local, db.header().root(Tree::Local), &mut walk);
        let Walk { total, carry, .. } = walk;
        carry.result(result)?;
        self.total(total)
    }

    fn local_document(&mut self, id: &[u8], body: &[u8]) -> Result<(), Failure> {
        if self.args.json {
            let shown = Body { bytes: body.to_vec(), ..Body::default() };
            let (display, text) = (!self.args.no_body).then(|| shown.display(self.args.hex_body)).unzip();
            return self.output.json(&Line { id: self.local_id(id), size: body.len(), display, body: text });
        }
        writeln!(self.output, "Key: {}", printable(id))?;
        if !self.args.no_body {
            write!(self.output, "Value: ")?;
            if self.args.hex_body {
                write!(self.output, "{}", hex(body))?;
            } else if self.output.is_terminal() {
                write!(self.output, "{}", printable_lines(body))?;
            } else {
                self.output.write_all(body)?;
            }
            writeln!(self.output)?;
        }
        Ok(writeln!(self.output)?)
    }
}

struct Walk<'d, 'a> {
    dump: &'d mut Dump<'a>,
    total: u64,
    carry: Carry,
}

impl Walk<'_, '_> {
    fn documents_of(&mut self, node: &Node<'_>) -> Result<(), Failure> {
        for item in node.items() {
            match item {
                Ok((_, Item::Local { id, body })) => {
                    self.total += 1;
                    self.dump.local_document(id, body)?;
                }
                Ok(_) => {}
                Err(rule) => self.dump.malformed(node.info.position, rule)?,
            }
        }
        Ok(())
    }
}

impl NodeVisitor for Walk<'_, '_> {
    fn node(&mut self, node: &Node<'_>) -> couchstore::Result<()> {
        let shown = self.documents_of(node);
        self.carry.take(shown)
    }

    fn damaged(&mut self, _child: &ChildInfo<'_>, error: Error) -> couchstore::Result<()> {
        let said = self.dump.complain(error.into());
        self.carry.take(said)
    }
}
