//! `couch_dbdump`: the contents of files.
//!
//! * [`document`], [`body`]: a document as it is shown
//! * [`local`]: local documents
//! * [`header`]: the headers of a file
//! * [`tree`], [`map`]: nodes and places

mod body;
mod document;
mod header;
mod local;
mod map;
mod tree;

use crate::carry::Carry;
use crate::couchbase::collection::Ids;
use crate::couchbase::rev_meta::RevMeta;
use crate::couchbase::vbstate;
use crate::found::{header_at, open_trees};
use crate::help::Help;
use crate::keys::{KeyArgs, Keys};
use crate::output::Output;
use crate::program::{Failure, Tool, complain, for_each_file, open_for_recovery};
use crate::text::{lossless, parse_offset, printable};
use body::Body;
use clap::Parser;
use couchstore::inspect::Malformed;
use couchstore::{COMPRESSED, Db, DocInfoRef, Error, ScanOptions};
use document::{Content, Document};
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use tree::TreeName;

const HELP: Help = Help {
    examples: &[
        ("couch_dbdump 0.couch.1", "every document, by sequence numbers"),
        ("couch_dbdump --json 0.couch.1 | jq -r .id", "one JSON object for each document"),
        ("couch_dbdump --key cid:0x8:airline 0.couch.1", "one document, in collection 8"),
        ("couch_dbdump --header-offset 0x3000 0.couch.1", "what an older header refers to"),
        ("couch_dbdump --local 0.couch.1", "local documents such as _local/vbstate"),
        ("couch_dbdump --tree id 0.couch.1", "nodes and entries of the tree by id"),
        ("couch_dbdump --map 0.couch.1 | sort -n", "what lies where, by offsets"),
    ],
    notes: &[
        "Bodies are shown inflated; \"(snappy)\" says that they are stored compressed, \"size\" is the size inflated. \
         Extended attributes are taken off the body and shown before it. In JSON \"display\" says what the string \"body\" \
         is: \"json\" or \"text\" (as it is), \"base64\" (it is not UTF-8), \"hex\" (--hex-body), \"none\" (there is no body), \
         \"unreadable\".",
        "Control characters and bytes that are not UTF-8 are shown as \\xNN in ids. In JSON such an id has \"id_is_utf8\": \
         false and all its bytes in \"id_hex\". In text, bodies are written byte for byte unless standard output is a \
         terminal.",
        "Revision metadata of another layout than kv-engine's is shown in hexadecimal as \"rev_meta\".",
        "Exit code 1: something could not be read; everything else is shown all the same.",
    ],
};

/// Show the contents of database files
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Database files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Show only the document with this id, any bytes; in files with collections "cid:0x8:key", or "key" for the
    /// default one
    #[arg(long, value_name = "ID")]
    key: Option<OsString>,

    /// Leave bodies out
    #[arg(long)]
    no_body: bool,

    /// Show documents in order of their ids
    #[arg(long, conflicts_with = "byseq")]
    byid: bool,

    /// Show documents in order of their sequence numbers, the default
    #[arg(long)]
    byseq: bool,

    /// Show bodies in hexadecimal
    #[arg(long)]
    hex_body: bool,

    /// Show ids as they are, without decoding the collection that they begin with
    #[arg(long)]
    no_namespace: bool,

    /// Decode the collection that ids begin with; the default for files whose _local/vbstate says that they have one
    #[arg(long, conflicts_with = "no_namespace")]
    namespace: bool,

    /// Print one JSON object on a line for each document, or whatever is shown
    #[arg(long)]
    json: bool,

    /// Show the nodes and entries of this tree
    #[arg(long, value_name = "TREE", conflicts_with_all = ["local", "map", "key"])]
    tree: Option<TreeName>,

    /// Show local documents
    #[arg(long, conflicts_with = "map")]
    local: bool,

    /// Show where nodes and bodies lie in the file
    #[arg(long, conflicts_with = "key")]
    map: bool,

    /// Show what each header of the file refers to, from the newest to the first
    #[arg(long, conflicts_with = "dump_headers")]
    iterate_headers: bool,

    /// Show the headers of the file
    #[arg(long, conflicts_with_all = ["tree", "local", "map", "key", "header_offset"])]
    dump_headers: bool,

    /// Show what the header at this offset refers to, decimal or 0x and hexadecimal
    #[arg(long, value_name = "OFFSET", value_parser = parse_offset, conflicts_with = "iterate_headers")]
    header_offset: Option<u64>,

    #[command(flatten)]
    keys: KeyArgs,
}

impl Tool for Args {
    const NAME: &'static str = "couch_dbdump";
    const HELP: Help = HELP;

    fn run(self) -> Result<(), Failure> {
        let keys = self.keys.load()?;
        let mut dump = Dump { args: &self, output: Output::new(), ids: Ids::Plain, all_fine: true };
        let result = for_each_file(&self.files, |file| dump.file(file, &keys));
        if let Err(Failure::ClosedPipe) = result {
            return result;
        }
        let all_fine = dump.all_fine;
        dump.output.finish()?;
        result.and(if all_fine { Ok(()) } else { Err(Failure::Reported) })
    }
}

/// What is printed.
struct Dump<'a> {
    args: &'a Args,
    output: Output,
    /// How ids of the current file are shown.
    ids: Ids,
    /// Nothing has been complained about yet.
    all_fine: bool,
}

impl Dump<'_> {
    fn file(&mut self, path: &Path, keys: &Keys) -> Result<(), Failure> {
        let args = self.args;
        let any_header = args.iterate_headers || args.dump_headers || args.header_offset.is_some();
        let db = if any_header {
            // The newest header may be damaged: others were asked for.
            open_for_recovery(path, keys)?
        } else {
            open_trees(path, keys)?
        };
        if let Some(offset) = args.header_offset {
            header_at(&db, path, offset)?;
            db.seek_offset(offset as i64)?;
        }
        if !args.json {
            writeln!(self.output, "Dumping \"{}\":", printable(path.as_os_str().as_encoded_bytes()))?;
        }
        if args.dump_headers {
            self.every_header(&db, false)
        } else if args.iterate_headers {
            self.every_header(&db, true)
        } else {
            self.contents(&db)
        }
    }

    /// Shows what is seen from the header that the handle stands on.
    fn contents(&mut self, db: &Db) -> Result<(), Failure> {
        self.ids = self.ids_of(db)?;
        match (self.args.tree, &self.args.key) {
            (Some(name), _) => self.tree(db, name),
            _ if self.args.map => self.map(db),
            (_, Some(key)) if self.args.local => self.local_document_of_key(db, key.as_bytes()),
            _ if self.args.local => self.local_documents(db),
            (_, Some(key)) => self.document_of_key(db, key.as_bytes()),
            _ => self.documents(db),
        }
    }

    fn ids_of(&self, db: &Db) -> Result<Ids, Failure> {
        let decode = if self.args.namespace {
            true
        } else if self.args.no_namespace {
            false
        } else {
            match vbstate::has_collections(db) {
                Err(error) if error.is_damage() => false,
                found => found?,
            }
        };
        Ok(if decode { Ids::Collections } else { Ids::Plain })
    }

    fn documents(&mut self, db: &Db) -> Result<(), Failure> {
        let (mut carry, mut total) = (Carry::default(), 0);
        let options = ScanOptions { tolerate_corruption: true, ..ScanOptions::default() };
        let by_id = self.args.byid;
        let mut visit = |info: &DocInfoRef<'_>| {
            total += 1;
            carry.take(self.document(db, info))
        };
        let result = if by_id {
            db.all_docs(b"", options, &mut visit)
        } else {
            db.changes_since(0, options, &mut visit)
        };
        if let Err(failure) = carry.result(result) {
            self.complain(failure)?;
        }
        self.total(total)
    }

    fn document_of_key(&mut self, db: &Db, key: &[u8]) -> Result<(), Failure> {
        let mut carry = Carry::default();
        let result = db.with_doc_info_by_id(&self.ids.parse(key), |info| carry.take(self.document(db, info)));
        match result {
            Err(Error::DocNotFound) => return Err(not_found(db, key)),
            result => carry.result(result)?,
        }
        self.total(1)
    }

    fn document(&mut self, db: &Db, info: &DocInfoRef<'_>) -> Result<(), Failure> {
        let content = self.content(db, info)?;
        let document = Document { info, ids: self.ids, content, as_hex: self.args.hex_body };
        if self.args.json { document.json(&mut self.output) } else { document.text(&mut self.output) }
    }

    fn content(&mut self, db: &Db, info: &DocInfoRef<'_>) -> Result<Content, Failure> {
        if self.args.no_body {
            return Ok(Content::NotShown);
        }
        if info.body_position == 0 {
            return Ok(Content::Absent);
        }
        let datatype = RevMeta::of(info).and_then(|meta| meta.datatype).unwrap_or(0);
        match db.body(info) {
            Ok(body) => {
                let snappy = info.content_meta & COMPRESSED != 0;
                Ok(Content::Present(Body::unpack(body, datatype, snappy)))
            }
            Err(error) if error.is_damage() => {
                let id = self.ids.show(info.id);
                let message = format!("document {id}, seq {}: {}", info.db_seq, Failure::from(error));
                self.complain(Failure::Message(message))?;
                Ok(Content::Unreadable)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn total(&mut self, total: u64) -> Result<(), Failure> {
        if self.args.json {
            return Ok(());
        }
        Ok(writeln!(self.output, "Total docs: {total}")?)
    }

    /// An id of the current file: for people, or for programs.
    fn id(&self, id: &[u8]) -> String {
        if self.args.json { self.ids.lossless(id) } else { self.ids.show(id) }
    }

    /// That of a local document.
    fn local_id(&self, id: &[u8]) -> String {
        if self.args.json { lossless(id) } else { printable(id) }
    }

    /// Says what is wrong and goes on.
    fn complain(&mut self, failure: Failure) -> Result<(), Failure> {
        self.all_fine = false;
        complain(failure)
    }

    fn malformed(&mut self, position: u64, rule: Malformed) -> Result<(), Failure> {
        self.complain(Failure::Message(format!("malformed node at offset {position}: expected {rule}")))
    }
}

fn not_found(db: &Db, key: &[u8]) -> Failure {
    let file = printable(db.filename().as_bytes());
    Failure::Message(format!("{file}: no document {}", printable(key)))
}
