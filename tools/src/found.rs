// SPDX-License-Identifier: Apache-2.0

//! The headers of a file, as tools go through them.

use crate::keys::Keys;
use crate::open::{open_for_recovery, open_with};
use crate::program::Failure;
use crate::text::printable_path;
use couchstore::inspect::{BLOCK_SIZE, FileHeader, FoundHeader, Headers, Tree};
use couchstore::{Db, Error, OpenOptions};
use std::path::Path;

/// The headers of a file without what only looks like one: files compacted by old releases begin with a header's
/// type byte in front of data.
pub struct FoundHeaders<'a>(pub Headers<'a>);

impl Iterator for FoundHeaders<'_> {
    type Item = FoundHeader;

    fn next(&mut self) -> Option<FoundHeader> {
        self.0
            .find(|found| !matches!(found, FoundHeader { position: 0, header: Err(Error::NoHeader { .. }) }))
    }
}

/// The header at an offset that the user has given.
pub fn header_at(db: &Db, path: &Path, offset: u64) -> Result<FileHeader, Failure> {
    check_offset(db, path, offset)?;
    let no_header = || Failure::Message(format!("{}: no header at offset {offset}", path.display()));
    if !offset.is_multiple_of(BLOCK_SIZE) {
        return Err(no_header());
    }
    db.header_at(offset).map_err(|error| match error {
        Error::NoHeader { .. } => no_header(),
        error => error.into(),
    })
}

/// Fails unless the offset lies within the file.
pub fn check_offset(db: &Db, path: &Path, offset: u64) -> Result<(), Failure> {
    let size = db.file_end();
    if offset < size {
        return Ok(());
    }
    let path = path.display();
    Err(Failure::Message(format!("{path}: offset {offset} is behind the end, the file has {size} bytes")))
}

/// Says what can be done about a file that does not open, if it has an older header that can be read.
pub fn with_hint(failure: Failure, path: &Path, keys: &Keys) -> Failure {
    if open_for_recovery(path, keys).is_err() {
        return failure;
    }
    failure.map_message(|message| {
        format!("{message}; an older header can be read: couch_dbinfo -i shows it, couch_dbck recovers it")
    })
}

/// A file that does not open, as the original says it.
pub fn cannot_open(path: &Path, failure: Failure) -> Failure {
    failure
        .in_original_words(|error| format!("Failed to open \"{}\": {}", printable_path(path), error.text()))
}

/// Opens a file whose trees are going to be read from its newest header, and fails if the key is wrong.
pub fn open_trees(path: &Path, keys: &Keys) -> Result<Db, Failure> {
    open_trees_with(path, keys, OpenOptions::new())
}

/// The same with these options.
pub fn open_trees_with(path: &Path, keys: &Keys, options: OpenOptions) -> Result<Db, Failure> {
    let db = open_with(path, keys, options).map_err(|failure| with_hint(failure, path, keys))?;
    check_key(&db, path)?;
    Ok(db)
}

/// Files whose key is derived from the user's open with any key; then nothing in them can be read.
fn check_key(db: &Db, path: &Path) -> Result<(), Failure> {
    if db.encryption_key_id().is_none() {
        return Ok(());
    }
    let header = db.header();
    let attempts = [
        (Tree::BySeq, db.with_doc_info_by_seq(0, |_| Ok(())).err()),
        (Tree::ById, db.with_doc_info_by_id(b"", |_| Ok(())).err()),
        (Tree::Local, db.local(b"").err()),
    ];
    let mut attempts = attempts.into_iter().filter(|&(tree, _)| header.root(tree).is_some()).peekable();
    let is_wrong =
        attempts.peek().is_some() && attempts.all(|(_, error)| matches!(error, Some(Error::Checksum { .. })));
    if is_wrong {
        return Err(undecryptable(path));
    }
    Ok(())
}

/// Nothing in an encrypted file can be read.
pub fn undecryptable(path: &Path) -> Failure {
    let path = path.display();
    Failure::Message(format!("{path}: nothing can be decrypted: the key is wrong, or the file damaged"))
}
