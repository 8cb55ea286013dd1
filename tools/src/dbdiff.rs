// SPDX-License-Identifier: Apache-2.0

//! `couch_dbdiff`: whether two files hold the same documents.
//!
//! Each file is gone through once, in the order of ids, and a batch of ids at a time is looked up in the other one: so
//! memory does not grow with the files.

use crate::carry::Carry;
use crate::found::{cannot_open, open_trees};
use crate::help::Help;
use crate::interrupt::Interrupt;
use crate::keys::{KeyArgs, Keys};
use crate::output::Output;
use crate::program::{Failure, Tool};
use crate::text::{is_printable, printable_path};
use clap::Parser;
use couchstore::{COMPRESSED, Db, DocInfo, DocInfoRef, ScanOptions};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Entries that are looked up at once, by number and by the bytes of their strings.
const BATCH: usize = 10_000;
const BATCH_BYTES: usize = 4 << 20;

const HELP: Help = Help {
    examples: &[
        ("couch_dbdiff a.couch b.couch", "the documents in which they differ"),
        ("couch_dbdiff -q a.couch b.couch", "only the exit code: 0 if they are the same"),
    ],
    notes: &[
        "Documents are the same if they have the same id, revision, revision metadata, content type and body, and are \
         both deleted or both not. Sequence numbers, local documents, and whether a body is stored compressed do not \
         count.",
        "Ids with bytes that are not printable are shown in hexadecimal. Exit code 1: they differ, or one cannot be read.",
    ],
};

/// Compare the documents of two database files
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// A database file
    #[arg(value_name = "FILE")]
    one: PathBuf,

    /// The file to compare it with
    #[arg(value_name = "OTHER")]
    other: PathBuf,

    /// Say nothing, and end at the first difference
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    keys: KeyArgs,
}

impl Tool for Args {
    const NAME: &'static str = "couch_dbdiff";
    const HELP: Help = HELP;

    fn run(self) -> Result<(), Failure> {
        let keys = self.keys.load()?;
        let [one, other] = [File::open(&self.one, &keys)?, File::open(&self.other, &keys)?];
        let mut diff =
            Diff { output: Output::new(), quiet: self.quiet, interrupt: Interrupt::listen()?, found: 0 };
        let compared = diff.pass(&one, &other, true).and_then(|()| diff.pass(&other, &one, false));
        let found = diff.found;
        if let Err(Failure::ClosedPipe) = compared {
            return compared;
        }
        diff.output.finish()?;
        compared?;
        if found == 0 { Ok(()) } else { Err(Failure::Reported) }
    }
}

struct File<'a> {
    path: &'a Path,
    db: Db,
}

impl<'a> File<'a> {
    fn open(path: &'a Path, keys: &Keys) -> Result<File<'a>, Failure> {
        let db = open_trees(path, keys).map_err(|failure| cannot_open(path, failure))?;
        Ok(File { path, db })
    }
}

struct Diff {
    output: Output,
    quiet: bool,
    interrupt: Interrupt,
    /// Documents in which the files differ.
    found: u64,
}

impl Diff {
    /// Looks for the documents of a file in the other one; and with `both` at those that both have.
    fn pass(&mut self, file: &File<'_>, other: &File<'_>, both: bool) -> Result<(), Failure> {
        let (mut batch, mut bytes, mut carry) = (Vec::new(), 0, Carry::default());
        let scanned = file.db.all_docs(b"", ScanOptions::default(), &mut |info: &DocInfoRef<'_>| {
            bytes += info.id.len() + info.rev_meta.len();
            batch.push(info.to_owned());
            if batch.len() < BATCH && bytes < BATCH_BYTES {
                return Ok(());
            }
            bytes = 0;
            carry.take(self.batch(&std::mem::take(&mut batch), file, other, both))
        });
        carry.result(scanned)?;
        self.batch(&batch, file, other, both)
    }

    fn batch(
        &mut self,
        batch: &[DocInfo],
        file: &File<'_>,
        other: &File<'_>,
        both: bool,
    ) -> Result<(), Failure> {
        self.interrupt.check()?;
        let ids: Vec<_> = batch.iter().map(|info| info.id.as_slice()).collect();
        let mut theirs = BTreeMap::new();
        other.db.docs_by_id(&ids, ScanOptions::default(), &mut |info| {
            theirs.insert(info.id.to_vec(), info.to_owned());
            Ok(())
        })?;
        for ours in batch {
            match theirs.get(&ours.id) {
                None => self.difference(&ours.id, |id| {
                    format!("Document \"{id}\" is missing from \"{}\"", printable_path(other.path))
                })?,
                Some(theirs) if both => self.compare((file, ours), (other, theirs))?,
                Some(_) => {}
            }
            if self.quiet && self.found > 0 {
                return Err(Failure::Reported);
            }
        }
        Ok(())
    }

    /// Compares a document that both have.
    fn compare(&mut self, ours: (&File<'_>, &DocInfo), theirs: (&File<'_>, &DocInfo)) -> Result<(), Failure> {
        let (a, b) = (ours.1, theirs.1);
        let content_type = |info: &DocInfo| info.content_meta & !COMPRESSED;
        let mut what = Vec::new();
        let mut look = |name: &'static str, is_same: bool| what.extend((!is_same).then_some(name));
        look("deletion", a.deleted == b.deleted);
        look("revision", a.rev_seq == b.rev_seq);
        look("revision metadata", a.rev_meta == b.rev_meta);
        look("content type", content_type(a) == content_type(b));
        look("body", body(ours.0, a)? == body(theirs.0, b)?);
        if what.is_empty() {
            return Ok(());
        }
        self.difference(&a.id, |id| format!("Document \"{id}\" differs: {}", what.join(", ")))
    }

    fn difference(&mut self, id: &[u8], words: impl FnOnce(&str) -> String) -> Result<(), Failure> {
        self.found += 1;
        if self.quiet {
            return Ok(());
        }
        Ok(writeln!(self.output, "{}", words(&show_id(id)))?)
    }
}

/// The body of a document, inflated; `None` if it has none.
fn body(file: &File<'_>, info: &DocInfo) -> Result<Option<Vec<u8>>, Failure> {
    if info.body_position == 0 {
        return Ok(None);
    }
    Ok(Some(file.db.body(&info.borrowed())?))
}

/// An id as it is, or if it has bytes that are not printable in hexadecimal, as C does it with signed characters.
fn show_id(id: &[u8]) -> String {
    if id.iter().all(|&byte| is_printable(byte)) {
        return String::from_utf8_lossy(id).into_owned();
    }
    id.iter().fold(String::new(), |shown, byte| format!("{shown}0x{:02x}", i32::from(byte.cast_signed())))
}

#[cfg(test)]
mod tests {
    use super::show_id;

    #[test]
    fn ids_are_shown_whole_or_in_hexadecimal() {
        assert_eq!(show_id(b"doc:0000 ~"), "doc:0000 ~");
        assert_eq!(show_id(b"\x00d\x8f"), "0x000x640xffffff8f");
    }
}
