// SPDX-License-Identifier: Apache-2.0

//! What can be asked of an open database, whatever the language that it is asked through. The model compares the
//! answers with its own.

use couchstore::{Db, DocInfo, DocInfoRef, Error, ErrorCode, Result, ScanOptions, WalkItem};

/// A result as C has it too: of an error, the code alone.
pub(crate) type Answer<T> = std::result::Result<T, ErrorCode>;

/// Which documents to show, both ends of a range included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    /// All, in order of sequence numbers, from this one on.
    ChangesSince(u64),
    /// All, in order of ids, from this one on.
    AllDocs(Vec<u8>),
    Ids(Vec<Vec<u8>>),
    IdRange(Vec<u8>, Option<Vec<u8>>),
    Seqs(Vec<u64>),
    SeqRange(u64, Option<u64>),
}

/// One of the three trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    ById,
    BySeq,
    Local,
}

impl Tree {
    pub(crate) const ALL: [Tree; 3] = [Tree::ById, Tree::BySeq, Tree::Local];
}

/// What a walk through a tree comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Node { depth: usize, subtree_size: u64, reduce: Vec<u8> },
    Document { depth: usize, info: DocInfo },
}

/// Figures of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) version: u8,
    pub(crate) timestamp: u64,
    pub(crate) last_sequence: u64,
    pub(crate) purge_seq: u64,
    pub(crate) doc_count: u64,
    pub(crate) deleted_count: u64,
    pub(crate) space_used: u64,
    pub(crate) header_position: u64,
}

/// An open database.
pub(crate) trait Store {
    fn documents(&self, query: &Query, options: ScanOptions) -> Answer<Vec<DocInfo>>;
    fn by_id(&self, id: &[u8]) -> Answer<DocInfo>;
    fn by_seq(&self, seq: u64) -> Answer<DocInfo>;
    /// The body of this entry, as it is stored or decompressed.
    fn body_of(&self, info: &DocInfo, decompress: bool) -> Answer<Vec<u8>>;
    /// The body of the document with this id, decompressed.
    fn body_by_id(&self, id: &[u8]) -> Answer<Vec<u8>>;
    fn local_doc(&self, id: &[u8]) -> Answer<Vec<u8>>;
    fn locals_from(&self, from: &[u8]) -> Answer<Vec<(Vec<u8>, Vec<u8>)>>;
    fn count(&self, min: u64, max: u64) -> Answer<u64>;
    fn walk(&self, tree: Tree) -> Answer<Vec<Step>>;
    fn figures(&self) -> Answer<Figures>;
}

pub(crate) fn answer<T>(result: Result<T>) -> Answer<T> {
    result.map_err(|error| error.code())
}

/// In C it is an error if something is not there.
fn there<T>(found: Result<Option<T>>) -> Result<T> {
    found?.ok_or(Error::DocNotFound)
}

impl Store for Db {
    fn documents(&self, query: &Query, options: ScanOptions) -> Answer<Vec<DocInfo>> {
        let mut found = Vec::new();
        let visit = &mut |info: &DocInfoRef<'_>| {
            found.push(info.to_owned());
            Ok(())
        };
        answer(match query {
            Query::ChangesSince(since) => self.changes_since(*since, options, visit),
            Query::AllDocs(from) => self.all_docs(from, options, visit),
            Query::Ids(ids) => {
                let ids: Vec<_> = ids.iter().map(Vec::as_slice).collect();
                self.docs_by_id(&ids, options, visit)
            }
            Query::IdRange(from, to) => self.docs_in_range(from, to.as_deref(), options, visit),
            Query::Seqs(seqs) => self.docs_by_seq(seqs, options, visit),
            Query::SeqRange(from, to) => self.changes_in_range(*from, *to, options, visit),
        })?;
        Ok(found)
    }

    fn by_id(&self, id: &[u8]) -> Answer<DocInfo> {
        answer(there(self.doc_info(id)))
    }

    fn by_seq(&self, seq: u64) -> Answer<DocInfo> {
        answer(there(self.doc_info_by_seq(seq)))
    }

    fn body_of(&self, info: &DocInfo, decompress: bool) -> Answer<Vec<u8>> {
        let info = info.borrowed();
        answer(if decompress { self.body(&info) } else { self.stored_body(&info) })
    }

    fn body_by_id(&self, id: &[u8]) -> Answer<Vec<u8>> {
        // Deleted ones too, as in C.
        answer(there(self.doc_info(id)).and_then(|info| self.body(&info.borrowed())))
    }

    fn local_doc(&self, id: &[u8]) -> Answer<Vec<u8>> {
        answer(there(self.local(id)))
    }

    fn locals_from(&self, from: &[u8]) -> Answer<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut found = Vec::new();
        answer(self.scan_local(from, &mut |id, body| {
            found.push((id.to_vec(), body.to_vec()));
            Ok(())
        }))?;
        Ok(found)
    }

    fn count(&self, min: u64, max: u64) -> Answer<u64> {
        answer(self.changes_count(min, max))
    }

    fn walk(&self, tree: Tree) -> Answer<Vec<Step>> {
        let mut steps = Vec::new();
        let visit = &mut |depth: usize, item: &WalkItem<'_>| {
            steps.push(match item {
                WalkItem::Node { subtree_size, reduce } => {
                    Step::Node { depth, subtree_size: *subtree_size, reduce: reduce.to_vec() }
                }
                WalkItem::Document(info) => Step::Document { depth, info: info.to_owned() },
            });
            Ok(())
        };
        answer(match tree {
            Tree::ById => self.walk_by_id(b"", ScanOptions::default(), visit),
            Tree::BySeq => self.walk_by_seq(0, ScanOptions::default(), visit),
            Tree::Local => self.walk_local(b"", ScanOptions::default(), visit),
        })?;
        Ok(steps)
    }

    fn figures(&self) -> Answer<Figures> {
        let info = answer(self.info())?;
        Ok(Figures {
            version: info.version as u8,
            timestamp: info.timestamp,
            last_sequence: info.last_sequence,
            purge_seq: info.purge_seq,
            doc_count: info.doc_count,
            deleted_count: info.deleted_count,
            space_used: info.space_used,
            header_position: info.header_position,
        })
    }
}
