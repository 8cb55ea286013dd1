// SPDX-License-Identifier: Apache-2.0

//! Local documents in a dump.

use super::document::value_text;
use super::{Dump, not_found};
use crate::carry::Carry;
use crate::program::{Failure, LibraryError, say_plainly};
use crate::text::{hex, lossless, printable};
use couchstore::inspect::{ChildInfo, Item, Node, NodeVisitor, Tree, walk_nodes};
use couchstore::{Db, Error, ErrorCode};
use serde::Serialize;
use serde_json::Value;
use std::io::Write as _;

#[derive(Serialize)]
struct Line {
    id: String,
    value: Value,
}

impl Dump<'_> {
    /// Shows the local document that was asked for.
    pub(super) fn local_document_of_key(&mut self, db: &Db, id: &[u8]) -> Result<(), Failure> {
        let body = db.local(id)?.ok_or_else(|| not_found(db, id))?;
        self.total += 1;
        self.local_document(id, &body)
    }

    /// Shows all local documents. Node by node, because a scan of the library ends at the first damaged one.
    pub(super) fn local_documents(&mut self, db: &Db) -> Result<(), Failure> {
        let mut walk = Walk { dump: self, carry: Carry::default(), is_malformed: false };
        let result = walk_nodes(db, Tree::Local, db.header().root(Tree::Local), &mut walk);
        let is_malformed = walk.is_malformed;
        walk.carry.result(result)?;
        if is_malformed { Err(not_json(db)) } else { Ok(()) }
    }

    fn local_document(&mut self, id: &[u8], body: &[u8]) -> Result<(), Failure> {
        if self.args.json {
            return self.local_json(id, body);
        }
        writeln!(self.output, "Key: {}", printable(id))?;
        if self.args.no_body {
            return Ok(());
        }
        write!(self.output, "Value: ")?;
        if self.args.hex_body {
            write!(self.output, "{}", hex(body))?;
        } else {
            value_text(&mut self.output, body)?;
        }
        Ok(writeln!(self.output, "\nValue size: {}", body.len())?)
    }

    fn local_json(&mut self, id: &[u8], body: &[u8]) -> Result<(), Failure> {
        let id = lossless(id);
        if self.args.no_body {
            return self.output.json(&Line { id, value: Value::Null });
        }
        if let Ok(value) = serde_json::from_slice(body) {
            return self.output.json(&Line { id, value });
        }
        let body = String::from_utf8_lossy(body);
        say_plainly(&format!("WARNING: Failed nlohmann::json::parse of id:{id} with value:{body}"));
        Err(Failure::Reported)
    }
}

/// A local document that is shown as JSON and is none.
fn not_json(db: &Db) -> Failure {
    let file = printable(db.filename().as_bytes());
    Failure::Library(LibraryError {
        code: ErrorCode::CORRUPT,
        message: format!("{file}: a local document is not JSON"),
        internal: String::new(),
        os_error: 0,
    })
}

struct Walk<'d, 'a> {
    dump: &'d mut Dump<'a>,
    carry: Carry,
    /// One of them was to be JSON and is not.
    is_malformed: bool,
}

impl Walk<'_, '_> {
    fn documents_of(&mut self, node: &Node<'_>) -> Result<(), Failure> {
        for item in node.items() {
            match item {
                Ok((_, Item::Local { id, body })) => {
                    self.dump.total += 1;
                    match self.dump.local_document(id, body) {
                        Err(Failure::Reported) => self.is_malformed = true,
                        shown => shown?,
                    }
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
