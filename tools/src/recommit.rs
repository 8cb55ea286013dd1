// SPDX-License-Identifier: Apache-2.0

//! `couch_recommit`: writes a header that takes given nodes for the roots of the trees.

use crate::carry::Carry;
use crate::found::cannot_open;
use crate::help::Help;
use crate::keys::KeyArgs;
use crate::open::open_for_recovery;
use crate::output::Output;
use crate::program::{Failure, Tool};
use crate::text::{parse_offset, printable_path};
use clap::Parser;
use couchstore::inspect::{Item, Malformed, Node, NodeRef, NodeVisitor, Reduce, Tree, walk_nodes};
use couchstore::{Db, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

const HELP: Help = Help {
    examples: &[
        ("couch_recommit --file f.couch --byseq 8205 --byid 0x2000", "take these for the roots"),
        ("couch_recommit --file f.couch --local 4101", "that of the local documents alone"),
    ],
    notes: &[
        "Offsets are those of nodes, decimal or 0x and hexadecimal; couch_dbdump --map tells them. Trees for which none \
         is given stay as the newest header that can be read has them. All nodes below are read first: nothing is \
         written if one is damaged. couch_check tells whether both indexes hold the same then.",
    ],
};

/// Commit a header that refers to given nodes
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// The database file
    #[arg(long, value_name = "FILE")]
    file: PathBuf,

    /// Offset of the root of the tree by id
    #[arg(long, value_name = "OFFSET", value_parser = parse_offset)]
    byid: Option<u64>,

    /// Offset of the root of the tree by sequence number
    #[arg(long, value_name = "OFFSET", value_parser = parse_offset)]
    byseq: Option<u64>,

    /// Offset of the root of the tree of local documents
    #[arg(long, value_name = "OFFSET", value_parser = parse_offset)]
    local: Option<u64>,

    #[command(flatten)]
    keys: KeyArgs,
}

impl Tool for Args {
    const NAME: &'static str = "couch_recommit";
    const HELP: Help = HELP;

    fn run(self) -> Result<(), Failure> {
        let keys = self.keys.load()?;
        let reader = open_for_recovery(&self.file, &keys);
        let reader = reader.map_err(|failure| cannot_open(&self.file, failure))?;
        let given = [(Tree::BySeq, self.byseq), (Tree::ById, self.byid), (Tree::Local, self.local)];
        let mut roots = Vec::new();
        let mut highest_seq = 0;
        for (tree, position) in given {
            if let Some(position) = position {
                let (root, seq) = root_at(&reader, tree, position)?;
                roots.push((tree, root));
                highest_seq = highest_seq.max(seq);
            }
        }
        let base = reader.header_position();
        drop(reader);
        let db = OpenOptions::new().recovery(true).keys(keys.store()).open(&self.file);
        let db = db.map_err(|error| cannot_open(&self.file, error.into()))?;
        for (tree, root) in roots {
            db.set_root(tree, root);
        }
        db.raise_update_seq(highest_seq);
        db.commit()?;
        let position = db.header_position();
        db.close()?;
        let mut output = Output::new();
        let file = printable_path(&self.file);
        writeln!(output, "Committed {file}: header at {position}, made from that at {base}")?;
        output.finish()
    }
}

/// The pointer to the root at this offset, and the highest sequence number below it.
fn root_at(db: &Db, tree: Tree, position: u64) -> Result<(NodeRef, u64), Failure> {
    let root = NodeRef { position, subtree_size: 0, reduce: Reduce::default() };
    let mut measure = Measure::default();
    let walked = walk_nodes(db, tree, Some(&root), &mut measure);
    std::mem::take(&mut measure.carry).result(walked)?;
    Ok((NodeRef { position, subtree_size: measure.size, reduce: measure.reduce.into() }, measure.highest_seq))
}

/// Measures a tree.
#[derive(Default)]
struct Measure {
    /// Bytes of all nodes.
    size: u64,
    /// That of the root.
    reduce: Vec<u8>,
    highest_seq: u64,
    carry: Carry,
}

impl Measure {
    fn add(&mut self, node: &Node<'_>) -> Result<(), Malformed> {
        if node.info.depth == 0 {
            self.reduce = node.reduce()?;
        }
        self.size = self.size.saturating_add(node.stored_size);
        for item in node.items() {
            if let (_, Item::Document(info)) = item? {
                self.highest_seq = self.highest_seq.max(info.db_seq);
            }
        }
        Ok(())
    }
}

impl NodeVisitor for Measure {
    fn node(&mut self, node: &Node<'_>) -> couchstore::Result<()> {
        let position = node.info.position;
        let malformed =
            |rule| Failure::Message(format!("malformed node at offset {position}: expected {rule}"));
        let added = self.add(node).map_err(malformed);
        self.carry.take(added)
    }
}
