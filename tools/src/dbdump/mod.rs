// SPDX-License-Identifier: Apache-2.0

//! `couch_dbdump`: the contents of files.
//!
//! * [`args`]: what is asked for
//! * [`document`], [`body`]: a document as it is shown
//! * [`local`]: local documents
//! * [`header`]: the headers of a file
//! * [`tree`], [`map`]: nodes and places

mod args;
mod body;
mod document;
mod header;
mod local;
mod map;
mod tree;

pub use args::Args;

use crate::carry::Carry;
use crate::couchbase::collection::Ids;
use crate::couchbase::rev_meta::RevMeta;
use crate::found::{cannot_open, header_at, open_trees};
use crate::help::Help;
use crate::keys::Keys;
use crate::open::open_for_recovery;
use crate::output::Output;
use crate::program::{Failure, LibraryError, Tool, complain, for_each_file};
use crate::text::{lossless, printable, printable_path};
use args::HELP;
use body::Body;
use couchstore::inspect::Malformed;
use couchstore::{COMPRESSED, Db, DocInfoRef, Error, ScanOptions};
use document::{Content, Document, Order, Style};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

impl Tool for Args {
    const NAME: &'static str = "couch_dbdump";
    const HELP: Help = HELP;

    fn run(mut self) -> Result<(), Failure> {
        self.settle()?;
        let keys = self.keys.load()?;
        let ids = if self.no_namespace { Ids::Plain } else { Ids::Collections };
        let mut dump = Dump { args: &self, output: Output::new(), ids, total: 0, all_fine: true };
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
    /// How ids are shown.
    ids: Ids,
    /// What was shown of the current file.
    total: u64,
    /// Nothing has been complained about yet.
    all_fine: bool,
}

impl Dump<'_> {
    fn file(&mut self, path: &Path, keys: &Keys) -> Result<(), Failure> {
        let args = self.args;
        let any_header = args.iterate_headers || args.header_offset.is_some();
        let opened = if any_header {
            // The newest header may be damaged: others were asked for.
            open_for_recovery(path, keys)
        } else {
            open_trees(path, keys)
        };
        let db = opened.map_err(|failure| cannot_open(path, failure))?;
        if let Some(offset) = args.header_offset {
            header_at(&db, path, offset)?;
            db.seek_offset(offset as i64)?;
        }
        if !args.json {
            writeln!(self.output, "Dumping \"{}\":", printable(path.as_os_str().as_encoded_bytes()))?;
        }
        self.total = 0;
        let shown = if args.iterate_headers { self.every_header(&db) } else { self.contents(&db) };
        let cannot_dump = |error: &LibraryError| {
            format!("Failed to dump database \"{}\": {}", printable_path(path), error.text())
        };
        if let Err(failure) = shown {
            self.complain(failure.in_original_words(cannot_dump))?;
        }
        if !args.json && !args.map {
            writeln!(self.output, "Total docs: {}", self.total)?;
        }
        Ok(())
    }

    /// Shows what is seen from the header that the handle stands on.
    fn contents(&mut self, db: &Db) -> Result<(), Failure> {
        if self.args.dump_headers {
            self.header(db)?;
        }
        let shown = match (self.args.tree_name(), &self.args.key) {
            (Some(name), _) => self.tree(db, name),
            _ if self.args.map => self.map(db),
            (_, Some(key)) if self.args.local => self.local_document_of_key(db, key.as_bytes()),
            _ if self.args.local => self.local_documents(db),
            (_, Some(key)) => self.document_of_key(db, key.as_bytes()),
            _ => self.documents(db),
        };
        if !self.args.json && !self.args.map {
            writeln!(self.output)?;
        }
        shown
    }

    fn documents(&mut self, db: &Db) -> Result<(), Failure> {
        let mut carry = Carry::default();
        let options = ScanOptions::new().tolerate_corruption(true);
        let order = self.args.order();
        let mut visit = |info: &DocInfoRef<'_>| carry.take(self.document(db, info, order));
        let result = match order {
            Order::ById => db.all_docs(b"", options, &mut visit),
            Order::BySeq => db.changes_since(0, options, &mut visit),
        };
        carry.result(result)
    }

    fn document_of_key(&mut self, db: &Db, key: &[u8]) -> Result<(), Failure> {
        let mut carry = Carry::default();
        let id = self.ids.id_of(key, self.args.whereabouts());
        let result = db.with_doc_info_by_id(&id, |info| carry.take(self.document(db, info, Order::ById)));
        match result {
            Err(Error::DocNotFound) => Err(not_found(db, key)),
            result => carry.result(result),
        }
    }

    fn document(&mut self, db: &Db, info: &DocInfoRef<'_>, order: Order) -> Result<(), Failure> {
        self.total += 1;
        let Args { hex_body, raw_body, details, json, .. } = *self.args;
        let style = Style { ids: self.ids, order, as_hex: hex_body, whole: raw_body, details };
        let document = Document { info, content: self.content(db, info)?, style };
        if json { document.json(&mut self.output) } else { document.text(&mut self.output) }
    }

    fn content(&mut self, db: &Db, info: &DocInfoRef<'_>) -> Result<Content, Failure> {
        if self.args.no_body {
            return Ok(Content::NotShown);
        }
        let unreadable =
            |error: &Error| Content::Unreadable(error.code().text().to_string_lossy().into_owned());
        if info.body_position == 0 {
            return Ok(unreadable(&Error::DocNotFound));
        }
        let datatype = RevMeta::of(info).and_then(|meta| meta.datatype).unwrap_or(0);
        match db.body(info) {
            Ok(body) => {
                let snappy = info.content_meta & COMPRESSED != 0;
                Ok(Content::Present(Body::unpack(body, datatype, snappy)))
            }
            Err(error) if error.is_damage() => {
                let content = unreadable(&error);
                let id = self.ids.show(info.id);
                let message = format!("document {id}, seq {}: {}", info.db_seq, Failure::from(error));
                self.complain(Failure::Message(message))?;
                Ok(content)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// An id of the current file: for people, or for programs.
    fn id(&self, id: &[u8]) -> String {
        if self.args.json { self.ids.for_programs(id) } else { self.ids.show(id) }
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
    Failure::from(Error::DocNotFound).map_message(|_| format!("{file}: no document {}", printable(key)))
}
