//! Headers in a dump: which of them are dumped, and one line about each.

use super::Dump;
use crate::found::FoundHeaders;
use crate::program::Failure;
use couchstore::Db;
use couchstore::inspect::{FileHeader, FoundHeader, Headers, Tree};
use serde::Serialize;
use std::io::Write as _;

#[derive(Serialize)]
struct Line {
    header_position: u64,
    version: u8,
    update_seq: u64,
    purge_seq: u64,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
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
    fn of(position: u64, header: &FileHeader) -> Line {
        let root = |tree| {
            header.root(tree).map(|root| Root { position: root.position, subtree_size: root.subtree_size })
        };
        Line {
            header_position: position,
            version: header.version as u8,
            update_seq: header.update_seq,
            purge_seq: header.purge_seq,
            timestamp: header.timestamp,
            previous_header: header.previous_header(),
            by_seq_root: root(Tree::BySeq),
            by_id_root: root(Tree::ById),
            local_root: root(Tree::Local),
        }
    }
}

impl Dump<'_> {
    /// A line about a header.
    pub(super) fn header(&mut self, position: u64, header: &FileHeader) -> Result<(), Failure> {
        let line = Line::of(position, header);
        if self.args.json {
            return self.output.json(&line);
        }
        let Line { version, update_seq, purge_seq, timestamp, .. } = line;
        write!(self.output, "Header at {position}: version {version}, update_seq {update_seq}")?;
        write!(self.output, ", purge_seq {purge_seq}, timestamp {timestamp}")?;
        if let Some(previous) = line.previous_header {
            write!(self.output, ", previous header {previous}")?;
        }
        let roots = [("by-seq", line.by_seq_root), ("by-id", line.by_id_root), ("local", line.local_root)];
        for (name, root) in roots {
            if let Some(Root { position, subtree_size }) = root {
                write!(self.output, ", {name} root at {position} (tree of {subtree_size} bytes)")?;
            }
        }
        Ok(writeln!(self.output)?)
    }

    /// Shows every header, the newest first, and what it refers to. Damaged ones are complained about.
    pub(super) fn every_header(&mut self, db: &Db, with_contents: bool) -> Result<(), Failure> {
        for FoundHeader { position, header } in FoundHeaders(Headers::backward(db)) {
            let mut shown = header.map_err(Failure::from).and_then(|header| self.header(position, &header));
            if shown.is_ok() && with_contents {
                let moved = db.seek_offset(position as i64).map_err(Failure::from);
                shown = moved.and_then(|()| self.contents(db));
            }
            if let Err(failure) = shown {
                self.complain(at_header(position, failure))?;
            }
        }
        Ok(())
    }
}

/// Says which header a failure is about.
fn at_header(position: u64, failure: Failure) -> Failure {
    match failure {
        Failure::Message(message) => Failure::Message(format!("header at {position}: {message}")),
        other => other,
    }
}
