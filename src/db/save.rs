// SPDX-License-Identifier: Apache-2.0

//! Saving documents.

use super::Db;
use crate::error::{Error, Result};
use crate::format::docinfo::{COMPRESSED, DocInfo, DocInfoRef};
use crate::format::header::NodeRef;
use crate::format::ints::{MAX_KEY, MAX_U48, u48_bytes};
use crate::memory;
use crate::tree::TreeKind;
use crate::tree::modify::{Action, Edit, modify};
use crate::tree::read::Root;
use std::ops::Range;

/// A document to be saved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Document<'a> {
    /// Id, at most 4095 bytes.
    pub id: &'a [u8],
    /// The body. `None`: there is none, and the document is deleted.
    pub body: Option<&'a [u8]>,
    /// Revision metadata.
    pub rev_meta: &'a [u8],
    /// Revision number, stored modulo 2^48.
    pub rev_seq: u64,
    /// Sequence number, used only with [`SaveOptions::keep_sequences`].
    pub db_seq: u64,
    /// Save the document as deleted although it has a body.
    pub deleted: bool,
    /// Bit 7 ([`crate::COMPRESSED`]): the body is to be, or already is, compressed; low bits: type of the content.
    pub content_meta: u8,
}

impl<'a> Document<'a> {
    /// A document with this id and body, and defaults for the rest.
    pub fn new(id: &'a [u8], body: &'a [u8]) -> Document<'a> {
        Document { id, body: Some(body), ..Document::default() }
    }

    /// The deletion of a document.
    pub fn deletion(id: &'a [u8]) -> Document<'a> {
        Document { id, deleted: true, ..Document::default() }
    }

    /// The document of an entry of another file, with its body as it is to be saved.
    pub fn of(info: &'a DocInfo, body: Option<&'a [u8]>) -> Document<'a> {
        Document {
            id: &info.id,
            body,
            rev_meta: &info.rev_meta,
            rev_seq: info.rev_seq,
            db_seq: info.db_seq,
            deleted: info.deleted,
            content_meta: info.content_meta,
        }
    }

    /// Whether its body, if it has one, is to be compressed.
    fn is_to_be_compressed(&self, options: SaveOptions) -> bool {
        options.compress && self.content_meta & COMPRESSED != 0
    }

    fn info(&self, db_seq: u64) -> DocInfoRef<'a> {
        DocInfoRef {
            id: self.id,
            db_seq,
            rev_seq: self.rev_seq,
            rev_meta: self.rev_meta,
            deleted: self.deleted || self.body.is_none(),
            content_meta: self.content_meta,
            body_position: 0,
            physical_size: 0,
        }
    }
}

/// How to save.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SaveOptions {
    /// Compress the bodies whose `content_meta` has bit 7 set.
    pub compress: bool,
    /// Keep the documents' own sequence numbers, modulo 2^48, instead of giving them the next ones.
    pub keep_sequences: bool,
}

/// What becomes of other documents whose sequence numbers are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// They lose them, and with that their place in the by-sequence tree.
    Go,
    /// They keep them.
    Stay,
    /// They keep this one: it has more documents than fit into one batch.
    StayAt(u64),
}

impl Others {
    fn stay_at(self, seq: u64) -> bool {
        self == Others::Stay || self == Others::StayAt(seq)
    }
}

/// Told of each saved document, in ascending order of ids: the entry it replaces, the new one, and its index in the
/// batch.
pub type OnSave<'a> = &'a mut dyn FnMut(Option<&DocInfoRef<'_>>, &DocInfoRef<'_>, usize) -> Result<()>;

impl Db {
    /// Saves a batch of documents and returns their sequence numbers, in order.
    ///
    /// Nothing is visible to other handles before [`Db::commit`]. On failure nothing changes. If an id comes more
    /// than once, its last document counts. No document is given a sequence number beyond 2^48 - 1, the last one:
    /// that is an error.
    pub fn save(&self, documents: &[Document<'_>], options: SaveOptions) -> Result<Vec<u64>> {
        self.save_and_tell(documents, options, &mut |_, _, _| Ok(()))
    }

    /// Saves a batch and tells `on_save` of every document while the by-id tree is rewritten; also if the save
    /// fails afterwards.
    pub fn save_and_tell(
        &self,
        documents: &[Document<'_>],
        options: SaveOptions,
        on_save: OnSave<'_>,
    ) -> Result<Vec<u64>> {
        self.save_with(documents, options, Others::Go, on_save)
    }

    /// Saves documents of another file as they are: with their own sequence numbers and their bodies as they are
    /// stored.
    pub(crate) fn save_as_they_are(&self, documents: &[Document<'_>], others: Others) -> Result<()> {
        let options = SaveOptions { compress: false, keep_sequences: true };
        self.save_with(documents, options, others, &mut |_, _, _| Ok(())).map(drop)
    }

    fn save_with(
        &self,
        documents: &[Document<'_>],
        options: SaveOptions,
        others: Others,
        on_save: OnSave<'_>,
    ) -> Result<Vec<u64>> {
        self.check_open()?;
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        let _writing = self.begin_write()?;
        for (index, document) in documents.iter().enumerate() {
            if let Some(reason) = self.check_document(document, options)? {
                return Err(Error::Refused { index, reason: reason.into() });
            }
        }
        let update_seq = self.state.borrow().header.update_seq;
        // The highest number is never followed by the lowest: that would replace documents.
        if !options.keep_sequences && documents.len() as u64 > MAX_U48.saturating_sub(update_seq) {
            return Err(Error::InvalidArguments(
                "expected no more documents than there are sequence numbers left below 2^48",
            ));
        }
        let mut batch = Batch::new(documents, options, update_seq)?;
        batch.others = others;
        let sequences = memory::collect(batch.infos.iter().map(|info| info.db_seq))?;
        self.rehearse_if_long(|| {
            self.append_batch(&mut batch, documents, options, &mut |_, _, _| Ok(())).map(drop)
        })?;
        let (by_id, by_seq) = self.note(self.append_batch(&mut batch, documents, options, on_save))?;
        self.update_state(|state| {
            state.header.by_id = by_id;
            state.header.by_seq = by_seq;
            state.header.update_seq = batch.update_seq;
        });
        Ok(sequences)
    }

    /// What is wrong with a document, if anything is.
    fn check_document(&self, document: &Document<'_>, options: SaveOptions) -> Result<Option<String>> {
        let (id, rev_meta) = (document.id.len(), document.rev_meta.len());
        if id > MAX_KEY {
            return Ok(Some(format!("expected an id of at most {MAX_KEY} bytes, got {id}")));
        }
        if !document.info(0).fits() {
            return Ok(Some(format!(
                "expected a rev_meta that fits into a node below 2^28 bytes, got {rev_meta} bytes"
            )));
        }
        let Some(body) = document.body else { return Ok(None) };
        let longest = self.file.with(|file| Ok(file.longest_body()))?;
        let length =
            if document.is_to_be_compressed(options) && snap::raw::max_compress_len(body.len()) > longest {
                self.file.with(|file| file.deflated_length(body))?
            } else {
                body.len()
            };
        let too_long = || format!("expected a body of at most {longest} bytes as it is stored, got {length}");
        Ok((length > longest).then(too_long))
    }

    /// Appends bodies and changed nodes. Returns the roots of both trees.
    fn append_batch(
        &self,
        batch: &mut Batch<'_>,
        documents: &[Document<'_>],
        options: SaveOptions,
        on_save: OnSave<'_>,
    ) -> Result<(Option<NodeRef>, Option<NodeRef>)> {
        let given = batch.in_given_order()?;
        for &index in &given {
            let document = &documents[index];
            if let Some(body) = document.body {
                let appended = if document.is_to_be_compressed(options) {
                    self.file.append_compressed_body(body)?
                } else {
                    self.file.append_body(body, None)?
                };
                let info = &mut batch.infos[index];
                info.body_position = appended.position;
                info.physical_size = appended.size;
            }
        }
        let (by_id, replaced) = self.save_by_id(batch, on_save)?;
        let by_seq = self.save_by_seq(batch, given, &replaced)?;
        Ok((by_id, by_seq))
    }

    /// Rewrites the by-id tree. Also returns the entries that were replaced.
    fn save_by_id(&self, batch: &Batch<'_>, on_save: OnSave<'_>) -> Result<(Option<NodeRef>, Vec<Replaced>)> {
        let root = self.by_id_root();
        let values = Values::encode(batch, &batch.by_id, DocInfoRef::encode_by_id)?;
        let action =
            |(index, value): (usize, _)| Action { key: batch.infos[index].id, edit: Edit::Insert(value) };
        let actions = memory::collect(values.iter(&batch.by_id).map(action))?;
        let mut replaced = Vec::new();
        let mut on_insert = |at: usize, old: Option<&[u8]>| {
            let Some(&index) = batch.by_id.get(at) else { return Ok(()) };
            let new = &batch.infos[index];
            let old = match old {
                Some(value) => {
                    let old = DocInfoRef::parse_by_id(new.id, value);
                    Some(old.map_err(|rule| self.malformed_below(root.as_ref().map(Root::from), rule))?)
                }
                None => None,
            };
            if let Some(old) = &old {
                memory::push(&mut replaced, Replaced { old_seq: old.db_seq, index })?;
            }
            on_save(old.as_ref(), new, index)
        };
        let nodes = self.options().nodes();
        let root = modify(&self.file, TreeKind::ById, nodes, root.as_ref(), &actions, &mut on_insert)?;
        Ok((root, replaced))
    }

    /// Rewrites the by-sequence tree. `given`: [`Batch::in_given_order`].
    fn save_by_seq(
        &self,
        batch: &Batch<'_>,
        given: Vec<usize>,
        replaced: &[Replaced],
    ) -> Result<Option<NodeRef>> {
        let root = self.by_seq_root();
        let order = batch.in_order_of_numbers(given)?;
        let values = Values::encode(batch, &order, DocInfoRef::encode_by_seq)?;
        // A document that keeps its sequence number replaces its own entry, not those of others that share it.
        let mut keeps_number = memory::filled(false, batch.infos.len())?;
        for &Replaced { old_seq, index } in replaced {
            keeps_number[index] = (old_seq ^ batch.infos[index].db_seq) & MAX_U48 == 0;
        }
        let mut removals = memory::collect((0..).zip(replaced).map(|(at, old)| (old.old_seq & MAX_U48, at)))?;
        removals.sort_unstable();
        let removal = |(seq, at): (u64, usize)| {
            (u48_bytes(seq), Edit::RemoveDocument(batch.infos[replaced[at].index].id))
        };
        let mut removals = removals.into_iter().peekable();
        let mut edits: Vec<([u8; 6], Edit<'_>)> = Vec::new();
        memory::reserve_exact(&mut edits, order.len() + replaced.len())?;
        for (index, value) in values.iter(&order) {
            let seq = batch.infos[index].db_seq & MAX_U48;
            // Removals come before inserts of the same key.
            while let Some(old) = removals.next_if(|&(old_seq, _)| old_seq <= seq) {
                edits.push(removal(old));
            }
            let beside = keeps_number[index] || batch.others.stay_at(batch.infos[index].db_seq);
            edits
                .push((u48_bytes(seq), if beside { Edit::InsertBeside(value) } else { Edit::Insert(value) }));
        }
        edits.extend(removals.map(removal));
        let actions = memory::collect(edits.iter().map(|(key, edit)| Action { key, edit: *edit }))?;
        let nodes = self.options().nodes();
        modify(&self.file, TreeKind::BySeq, nodes, root.as_ref(), &actions, &mut |_, _| Ok(()))
    }
}

/// An entry that the document with this index replaces.
struct Replaced {
    old_seq: u64,
    index: usize,
}

/// The entries of a batch.
struct Batch<'a> {
    /// One for each document, in the caller's order.
    infos: Vec<DocInfoRef<'a>>,
    /// Those that count, ordered by id: of several with the same id the last.
    by_id: Vec<usize>,
    update_seq: u64,
    others: Others,
}

impl<'a> Batch<'a> {
    fn new(documents: &[Document<'a>], options: SaveOptions, update_seq: u64) -> Result<Batch<'a>> {
        let mut seq = update_seq;
        let infos = memory::collect(documents.iter().map(|document| {
            if options.keep_sequences {
                // The caller's numbers are stored modulo 2^48; those given out here must stay above all of them.
                seq = seq.max(document.db_seq.min(MAX_U48));
                document.info(document.db_seq)
            } else {
                seq += 1;
                document.info(seq)
            }
        }))?;
        let by_id = order_by_id(&infos)?;
        Ok(Batch { infos, by_id, update_seq: seq, others: Others::Go })
    }

    /// Those that count, in the caller's order.
    fn in_given_order(&self) -> Result<Vec<usize>> {
        if self.by_id.len() == self.infos.len() {
            return memory::collect(0..self.infos.len());
        }
        let mut order = memory::copy(&self.by_id)?;
        order.sort_unstable();
        Ok(order)
    }

    /// Those that count, ordered by sequence number as it is stored, then by id. `given`: [`Batch::in_given_order`], which
    /// it is if the numbers are given out here.
    fn in_order_of_numbers(&self, given: Vec<usize>) -> Result<Vec<usize>> {
        let number = |index: usize| self.infos[index].db_seq & MAX_U48;
        if given.is_sorted_by(|&a, &b| number(a) < number(b)) {
            return Ok(given);
        }
        let ranked = self.by_id.iter().enumerate().map(|(rank, &index)| (number(index), rank));
        let mut order = memory::collect(ranked)?;
        order.sort_unstable();
        memory::collect(order.iter().map(|&(_, rank)| self.by_id[rank]))
    }
}

/// Orders entries by id; of several with the same id the last one stays.
fn order_by_id(infos: &[DocInfoRef<'_>]) -> Result<Vec<usize>> {
    let Some(first) = infos.first() else { return Ok(Vec::new()) };
    let shared = infos.iter().fold(first.id.len(), |shared, info| {
        if info.id.starts_with(&first.id[..shared]) { shared } else { shared_prefix(first.id, info.id) }
    });
    // Most are told apart by the eight bytes behind what all have in common.
    let head = |id: &[u8]| {
        let rest = &id[shared..];
        let mut head = [0; 8];
        let length = rest.len().min(8);
        head[..length].copy_from_slice(&rest[..length]);
        u64::from_be_bytes(head)
    };
    let mut order = memory::collect((0..).zip(infos).map(|(index, info)| (head(info.id), index)))?;
    order.sort_unstable_by(|&(a_head, a), &(b_head, b): &(u64, usize)| {
        // Of equal ids the later comes first, and is the one that stays.
        a_head.cmp(&b_head).then_with(|| infos[a].id.cmp(infos[b].id)).then(b.cmp(&a))
    });
    order.dedup_by(|later, kept| later.0 == kept.0 && infos[later.1].id == infos[kept.1].id);
    memory::collect(order.iter().map(|&(_, index)| index))
}

/// How many bytes both begin with.
fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Encoded values of a batch, in one piece of memory.
struct Values {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl Values {
    /// Encodes the entries of a batch in this order.
    fn encode<'a>(
        batch: &Batch<'a>,
        order: &[usize],
        encode: fn(&DocInfoRef<'a>, &mut Vec<u8>),
    ) -> Result<Values> {
        let entries = || order.iter().map(|&index| &batch.infos[index]);
        let mut bytes = Vec::new();
        memory::reserve_exact(&mut bytes, entries().map(DocInfoRef::longest_value).sum())?;
        let mut ranges = Vec::new();
        memory::reserve_exact(&mut ranges, order.len())?;
        for entry in entries() {
            let start = bytes.len();
            encode(entry, &mut bytes);
            ranges.push(start..bytes.len());
        }
        Ok(Values { bytes, ranges })
    }

    /// The values with their documents' indexes, in the order of encoding.
    fn iter<'v>(&'v self, order: &'v [usize]) -> impl Iterator<Item = (usize, &'v [u8])> {
        order.iter().zip(&self.ranges).map(|(&index, range)| (index, &self.bytes[range.clone()]))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn batch_of<'a>(documents: &[(&'a [u8], u64)], keep_sequences: bool) -> Batch<'a> {
        let document = |&(id, db_seq)| Document { db_seq, ..Document::new(id, b"") };
        let documents: Vec<_> = documents.iter().map(document).collect();
        Batch::new(&documents, SaveOptions { compress: false, keep_sequences }, 100).unwrap()
    }

    /// What is expected of a batch, found in the simplest way: of equal ids the last, by id.
    fn last_of_each(documents: &[(&[u8], u64)]) -> Vec<usize> {
        let mut expected: Vec<_> = (0..documents.len())
            .filter(|&index| documents[index + 1..].iter().all(|other| other.0 != documents[index].0))
            .collect();
        expected.sort_by_key(|&index| documents[index].0);
        expected
    }

    #[test]
    fn documents_are_ordered_by_id_and_the_last_of_each_counts() {
        let prefixes: [&[u8]; 3] = [b"", b"user:", b"a prefix that is longer than eight bytes:"];
        let ends: [&[u8]; 10] =
            [b"b", b"", b"a", b"a\0", b"12345678", b"123456789", b"12345678\0", b"\xff", b"b", b"a\0"];
        for prefix in prefixes {
            let ids: Vec<Vec<u8>> = ends.iter().map(|end| [prefix, end].concat()).collect();
            for count in 0..=ids.len() {
                let documents: Vec<_> = ids.iter().take(count).map(|id| (id.as_slice(), 0)).collect();
                let batch = batch_of(&documents, false);
                let mut expected = last_of_each(&documents);
                assert_eq!(batch.by_id, expected);
                expected.sort_unstable();
                let given = batch.in_given_order().unwrap();
                assert_eq!(given, expected);
                assert_eq!(batch.in_order_of_numbers(given).unwrap(), expected);
            }
        }
    }

    #[test]
    fn numbers_of_the_callers_are_ordered_as_they_are_stored_and_equal_ones_by_id() {
        let documents: [(&[u8], u64); 6] =
            [(b"d", 7), (b"c", 5), (b"a", 7), (b"b", (1 << 48) + 6), (b"c", 9), (b"e", 7)];
        let batch = batch_of(&documents, true);
        let order = batch.in_order_of_numbers(batch.in_given_order().unwrap()).unwrap();
        assert_eq!(order, [3, 2, 0, 5, 4]);
    }
}
