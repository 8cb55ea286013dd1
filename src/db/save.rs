//! Saving documents.

use super::Db;
use crate::error::{Error, Result};
use crate::format::docinfo::{COMPRESSED, DocInfo, DocInfoRef};
use crate::format::header::NodeRef;
use crate::format::ints::{MAX_KEY, MAX_U48, u48_bytes};
use crate::memory;
use crate::tree::TreeKind;
use crate::tree::modify::{Action, Edit, modify};
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
        let compress = options.compress && document.content_meta & COMPRESSED != 0;
        let length = if compress && snap::raw::max_compress_len(body.len()) > longest {
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
        for index in batch.in_given_order()? {
            let document = &documents[index];
            if let Some(body) = document.body {
                let compress = options.compress && document.content_meta & COMPRESSED != 0;
                let appended = if compress {
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
        let by_seq = self.save_by_seq(batch, &replaced)?;
        Ok((by_id, by_seq))
    }

    /// Rewrites the by-id tree. Also returns the entries that were replaced.
    fn save_by_id(&self, batch: &Batch<'_>, on_save: OnSave<'_>) -> Result<(Option<NodeRef>, Vec<Replaced>)> {
        let root = self.by_id_root();
        let values = Values::encode(batch, DocInfoRef::encode_by_id)?;
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
                    Some(old.map_err(|rule| self.malformed_below(root.as_ref(), rule))?)
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

    fn save_by_seq(&self, batch: &Batch<'_>, replaced: &[Replaced]) -> Result<Option<NodeRef>> {
        let root = self.by_seq_root();
        let values = Values::encode(batch, DocInfoRef::encode_by_seq)?;
        let mut edits: Vec<([u8; 6], usize, Edit<'_>)> = Vec::new();
        memory::reserve_exact(&mut edits, batch.by_id.len() + replaced.len())?;
        for &Replaced { old_seq, index } in replaced {
            edits.push((u48_bytes(old_seq), edits.len(), Edit::RemoveDocument(batch.infos[index].id)));
        }
        // A document that keeps its sequence number replaces its own entry, not those of others that share it.
        let mut keeps_number = memory::filled(false, batch.infos.len())?;
        for &Replaced { old_seq, index } in replaced {
            keeps_number[index] = u48_bytes(old_seq) == u48_bytes(batch.infos[index].db_seq);
        }
        for (index, value) in values.iter(&batch.by_id) {
            let beside = keeps_number[index] || batch.others.stay_at(batch.infos[index].db_seq);
            let edit = if beside { Edit::InsertBeside(value) } else { Edit::Insert(value) };
            edits.push((u48_bytes(batch.infos[index].db_seq), edits.len(), edit));
        }
        // Removals, which were put first, stay before inserts of the same key.
        edits.sort_unstable_by_key(|&(key, order, _)| (key, order));
        let actions = memory::collect(edits.iter().map(|(key, _, edit)| Action { key, edit: *edit }))?;
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
        let mut by_id = memory::collect(0..infos.len())?;
        // Of equal ids the later comes first, and is the one that stays.
        by_id.sort_unstable_by(|&a, &b| infos[a].id.cmp(infos[b].id).then(b.cmp(&a)));
        by_id.dedup_by(|later, kept| infos[*later].id == infos[*kept].id);
        Ok(Batch { infos, by_id, update_seq: seq, others: Others::Go })
    }

    fn in_given_order(&self) -> Result<Vec<usize>> {
        let mut order = memory::copy(&self.by_id)?;
        order.sort_unstable();
        Ok(order)
    }
}

/// Encoded values of a batch, in one piece of memory.
struct Values {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl Values {
    /// Encodes the entries of a batch in order of ids.
    fn encode<'a>(batch: &Batch<'a>, encode: fn(&DocInfoRef<'a>, &mut Vec<u8>)) -> Result<Values> {
        let entries = || batch.by_id.iter().map(|&index| &batch.infos[index]);
        let mut bytes = Vec::new();
        memory::reserve_exact(&mut bytes, entries().map(DocInfoRef::longest_value).sum())?;
        let mut ranges = Vec::new();
        memory::reserve_exact(&mut ranges, batch.by_id.len())?;
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
