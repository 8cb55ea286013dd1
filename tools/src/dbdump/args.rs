// SPDX-License-Identifier: Apache-2.0

//! The command line of `couch_dbdump`.

use super::document::Order;
use crate::couchbase::collection::Whereabouts;
use crate::help::Help;
use crate::keys::KeyArgs;
use crate::program::Failure;
use crate::text::parse_offset;
use clap::{Parser, ValueEnum};
use couchstore::inspect::Tree;
use std::ffi::OsString;
use std::path::PathBuf;

pub(super) const HELP: Help = Help {
    examples: &[
        ("couch_dbdump 0.couch.1", "every document, by sequence numbers"),
        ("couch_dbdump --json 0.couch.1 | jq -r .id", "one JSON object for each document"),
        ("couch_dbdump --collection 8 --key airline 0.couch.1", "one document, in collection 8"),
        ("couch_dbdump --header-offset 0x3000 0.couch.1", "what an older header refers to"),
        ("couch_dbdump --local 0.couch.1", "local documents such as _local/vbstate"),
        ("couch_dbdump --tree --byid 0.couch.1", "nodes and entries of the tree by id"),
        ("couch_dbdump --map 0.couch.1 | sort -n", "what lies where, by offsets"),
    ],
    notes: &[
        "Output is that of couchstore's tool. Bodies are shown inflated; \"(snappy)\" says that they are stored \
         compressed, \"size\" is the size inflated. Extended attributes are taken off the body and shown before it. In \
         JSON \"body\" is the value that it is if it is JSON, else a string.",
        "Ids are shown as \"(collection:0x8)key\", with what is not printable ASCII escaped. In text, bodies end at their \
         first zero byte unless --raw-body or --hex-body is given. --details adds what couchstore's tool does not show: \
         ids, revision metadata and bodies in full, sync writes, roots of trees.",
        "Exit code 1: something could not be read; everything else is shown all the same.",
    ],
};

/// The trees as users call them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TreeName {
    /// Documents by sequence number
    Seq,
    /// Documents by id
    Id,
    /// Local documents
    Local,
}

impl TreeName {
    pub(super) fn tree(self) -> Tree {
        match self {
            TreeName::Seq => Tree::BySeq,
            TreeName::Id => Tree::ById,
            TreeName::Local => Tree::Local,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            TreeName::Seq => "by-seq",
            TreeName::Id => "by-id",
            TreeName::Local => "local",
        }
    }
}

/// Show the contents of database files
#[derive(Debug, Parser)]
#[command(version)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
pub struct Args {
    /// Database files
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,

    /// Show only the document with this key, any bytes; in the default collection unless another one is given
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<OsString>,

    /// The collection of --key, a decimal number; what follows the digits is left out
    #[arg(long, value_name = "NUMBER", value_parser = leading_number, default_value = "0")]
    pub(super) collection: u32,

    /// The document of --key is prepared by a sync write
    #[arg(long)]
    pub(super) prepare: bool,

    /// The document of --key is a system event about the scope or collection given by --collection
    #[arg(long, conflicts_with = "prepare")]
    pub(super) system: bool,

    /// Leave bodies out
    #[arg(long)]
    pub(super) no_body: bool,

    /// Show documents in order of their ids
    #[arg(long, conflicts_with = "byseq")]
    pub(super) byid: bool,

    /// Show documents in order of their sequence numbers, the default
    #[arg(long)]
    pub(super) byseq: bool,

    /// Show bodies in hexadecimal, in text
    #[arg(long)]
    pub(super) hex_body: bool,

    /// Show bodies byte for byte, also behind a zero byte, in text
    #[arg(long, conflicts_with = "hex_body")]
    pub(super) raw_body: bool,

    /// Show ids as they are, without decoding the collection that they begin with
    #[arg(long)]
    pub(super) no_namespace: bool,

    /// Decode the collection that ids begin with, the default
    #[arg(long, conflicts_with = "no_namespace")]
    pub(super) namespace: bool,

    /// The file is one of a vbucket: the default
    #[arg(long, conflicts_with = "view")]
    pub(super) vbucket: bool,

    /// The file is one of a view: these are not supported
    #[arg(long)]
    pub(super) view: bool,

    /// Print one JSON object on a line for each document, or whatever is shown
    #[arg(long)]
    pub(super) json: bool,

    /// Show nodes and entries of a tree: of that by sequence numbers, or of that chosen by --byid or --local, or given
    /// here
    #[arg(
        long,
        value_name = "seq|id|local",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["map", "key"]
    )]
    pub(super) tree: Option<OsString>,

    /// Show local documents
    #[arg(long, conflicts_with = "map")]
    pub(super) local: bool,

    /// Show where nodes and bodies lie in the file
    #[arg(long, conflicts_with = "key")]
    pub(super) map: bool,

    /// Show what each header of the file refers to, from the newest to the first
    #[arg(long)]
    pub(super) iterate_headers: bool,

    /// Show the header before what it refers to
    #[arg(long)]
    pub(super) dump_headers: bool,

    /// Show what the header at this offset refers to, decimal or 0x and hexadecimal
    #[arg(long, value_name = "OFFSET", value_parser = parse_offset, conflicts_with = "iterate_headers")]
    pub(super) header_offset: Option<u64>,

    /// Show more than couchstore's tool does
    #[arg(long, visible_alias = "verbose")]
    pub(super) details: bool,

    #[command(flatten)]
    pub(super) keys: KeyArgs,
}

/// A number as C's `atoi` reads it, as the original does: "0x8" is 0.
fn leading_number(text: &str) -> Result<u32, String> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return Err("not a decimal number".to_owned());
    }
    text[..end].parse().map_err(|_| "not a number of 32 bits".to_owned())
}

impl Args {
    /// Sorts out the optional value of --tree: a word that is no tree is a file.
    pub(super) fn settle(&mut self) -> Result<(), Failure> {
        if self.view {
            return Err(Failure::Message("view files are not supported".into()));
        }
        if let Some(word) = self.tree.take_if(|word| !word.is_empty() && tree_of(word).is_none()) {
            self.files.insert(0, word.into());
            self.tree = Some(OsString::new());
        }
        if self.tree.as_ref().is_some_and(|word| !word.is_empty()) && (self.byid || self.local) {
            return Err(Failure::Usage("--tree: two trees were given".into()));
        }
        if self.files.is_empty() {
            return Err(Failure::Usage("no FILE was given; see --help".into()));
        }
        Ok(())
    }

    /// The tree whose nodes are asked for.
    pub(super) fn tree_name(&self) -> Option<TreeName> {
        let chosen = if self.local {
            TreeName::Local
        } else if self.byid {
            TreeName::Id
        } else {
            TreeName::Seq
        };
        self.tree.as_ref().map(|word| tree_of(word).unwrap_or(chosen))
    }

    pub(super) fn order(&self) -> Order {
        if self.byid { Order::ById } else { Order::BySeq }
    }

    /// Where the document of --key is.
    pub(super) fn whereabouts(&self) -> Whereabouts {
        Whereabouts { collection: self.collection, prepared: self.prepare, system: self.system }
    }
}

fn tree_of(word: &OsString) -> Option<TreeName> {
    TreeName::from_str(word.to_str()?, false).ok()
}

#[cfg(test)]
mod tests {
    use super::leading_number;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        assert_eq!(leading_number("8"), Ok(8));
        assert_eq!(leading_number("0x8"), Ok(0));
        assert_eq!(leading_number("12a"), Ok(12));
        assert!(leading_number("x").is_err() && leading_number("").is_err());
        assert!(leading_number("4294967296").is_err());
    }
}
