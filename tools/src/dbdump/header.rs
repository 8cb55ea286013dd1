// SPDX-License-Identifier: Apache-2.0

//! Headers in a dump: which of them are dumped, and one line about each.

use super::Dump;
use crate::found::FoundHeaders;
use crate::program::Failure;
use crate::text::lossless;
use couchstore::Db;
use couchstore::inspect::{FileHeader, FoundHeader, Headers, Tree};
use serde::Serialize;
use std::io::Write as _;

/// A header as the original tells of it.
#[derive(Serialize)]
struct Line {
    deleted_count: u64,
    doc_count: u64,
    file_size: u64,
    filename: String,
    header_position: String,
    purge_seq: u64,
    space_used: u64,
    timestamp: u64,
    update_seq: u64,
    version: u8,
    #[serde(flatten)]
    details: Option<Details>,
}

/// What the original does not tell.
#[derive(Serialize)]
struct Details {
    previous_header: Option<u64>,
    by_seq_root: Option<Root>,
    by_id_root: Option<Root>,
    local_root: Option<Root>,
}

#[derive(Serialize)]
struct Root {
    position: u64,
    subtree_size: u64,
}

impl Line {
    /// That on which the handle stands.
    fn of(db: &Db) -> couchstore::Result<Line> {
        let info = db.info()?;
        Ok(Line {
            deleted_count: info.deleted_count,
            doc_count: info.doc_count,
            file_size: info.file_size,
            filename: lossless(db.filename().as_bytes()),
            header_position: format!("{:#018x}", db.header_position()),
            purge_seq: info.purge_seq,
            space_used: info.space_used,
            timestamp: db.header().timestamp,
            update_seq: info.last_sequence,
            version: info.version as u8,
            details: None,
        })
    }
}

impl Details {
    fn of(header: &FileHeader) -> Details {
        let root = |tree| {
            header.root(tree).map(|root| Root { position: root.position, subtree_size: root.subtree_size })
        };
        Details {
            previous_header: header.previous_header(),
            by_seq_root: root(Tree::BySeq),
            by_id_root: root(Tree::ById),
            local_root: root(Tree::Local),
        }
    }
}

impl Dump<'_> {
    /// Tells of the header on which the handle stands.
    pub(super) fn header(&mut self, db: &Db) -> Result<(), Failure> {
        let details = self.args.details.then(|| Details::of(&db.header()));
        let line = Line { details, ..Line::of(db)? };
        if !self.args.json {
            write!(self.output, "File header: ")?;
        }
        self.output.json(&line)
    }

    /// Shows what every header refers to, the newest first. Damaged ones are complained about.
    pub(super) fn every_header(&mut self, db: &Db) -> Result<(), Failure> {
        for FoundHeader { position, header } in FoundHeaders(Headers::backward(db)) {
            let moved = header.and_then(|_| db.seek_offset(position as i64)).map_err(Failure::from);
            if let Err(failure) = moved.and_then(|()| self.contents(db)) {
                self.complain(at_header(position, failure))?;
            }
        }
        Ok(())
    }
}

/// Says which header a failure is about.
fn at_header(position: u64, failure: Failure) -> Failure {
    failure.map_message(|message| format!("header at {position}: {message}"))
}
