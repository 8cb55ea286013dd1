//! Copying documents and local documents from one file into another, empty one.
//!
//! Documents come in the order of the by-sequence tree, and that tree is built on the way: each leaf stands behind the
//! bodies of its documents. The by-id tree is built from entries that are sorted meanwhile.

use super::bodies::BodyLimit;
use super::copy::{CompactHooks, CompactOptions, Verdict, documents_in, is_encrypted};
use super::progress::Progress;
use super::sort::{SortPlace, Sorter};
use crate::db::Db;
use crate::db::ahead::BodiesAhead;
use crate::db::scan::{ScanOptions, bodies_of};
use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::docinfo::DocInfoRef;
use crate::format::header::{FileHeader, NodeRef};
use crate::format::node::Entry;
use crate::io::buffered::Plan;
use crate::io::file::Body;
use crate::tree::TreeKind;
use crate::tree::build::TreeBuilder;
use crate::tree::read::{Cursor, Leaf};
use std::path::Path;

/// A compaction under way.
pub(super) struct Copy<'a> {
    source: &'a Db,
    target: &'a Db,
    /// What is copied.
    pinned: FileHeader,
    directory: &'a Path,
    options: &'a CompactOptions,
    hooks: &'a mut dyn CompactHooks,
    bodies: BodyLimit<'a>,
    /// Checksums of bodies are the same in source and target.
    same_checksum: bool,
    progress: Progress,
    /// Whether bodies are read ahead.
    ahead: BodiesAhead,
    last_damage: Option<Error>,
}

/// Where an entry stands: its leaf, and the offset there.
type Place<'a> = (&'a Leaf<'a>, usize);

/// A document that is kept: its body, and its rev_meta if that changed.
#[derive(Default)]
struct Kept {
    body: Option<Copied>,
    rev_meta: Option<Vec<u8>>,
}

/// A body in the target: where its chunk stands, and its length as it is stored.
#[derive(Clone, Copy)]
struct Copied {
    position: u64,
    length: usize,
}

/// What the source has of a document's body.
enum SourceBody {
    Absent,
    Stored(Body),
    /// It cannot be read, and is stepped over.
    Damaged,
}

impl SourceBody {
    /// The stored bytes, none for an absent body; `None` for a damaged one.
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            SourceBody::Absent => Some(&[]),
            SourceBody::Stored(body) => Some(&body.bytes),
            SourceBody::Damaged => None,
        }
    }
}

impl<'a> Copy<'a> {
    /// A compaction of what `source` sees now: what hooks save on it meanwhile is not part of the copy.
    pub(super) fn new(
        (source, target): (&'a Db, &'a Db),
        directory: &'a Path,
        options: &'a CompactOptions,
        hooks: &'a mut dyn CompactHooks,
    ) -> Result<Copy<'a>> {
        let pinned = source.snapshot().header;
        let checksum = |db: &Db| db.file().with(|file| Ok(file.checksum()));
        Ok(Copy {
            source,
            target,
            directory,
            options,
            bodies: BodyLimit::new(source),
            ahead: if hooks.filters() { BodiesAhead::default() } else { BodiesAhead::of_all() },
            hooks,
            same_checksum: checksum(source)? == checksum(target)?,
            progress: Progress::new(documents_in(&pinned)),
            pinned,
            last_damage: None,
        })
    }

    /// Returns the damage that was stepped over.
    pub(super) fn run(mut self) -> Result<Option<Error>> {
        let header = self.pinned.clone();
        self.target.update_state(|state| {
            state.header.update_seq = header.update_seq;
            state.header.purge_seq = header.purge_seq_of_copy(self.options.drop_deletes);
            state.header.purge_ptr = header.purge_ptr;
        });
        let being_built = self.target.begin_exclusive()?;
        self.documents()?;
        self.local_documents()?;
        drop(being_built);
        self.hooks.copied(self.target)?;
        self.hooks.precommit(self.source, self.target)?;
        self.target.commit_with(header.timestamp, None)?;
        Ok(self.last_damage)
    }

    /// `None`: damaged, and stepped over.
    fn pass<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.options.recovery && error.is_damage() => {
                self.last_damage = Some(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Bytes of a node break a rule.
    #[cold]
    fn step_over(&mut self, rule: Malformed, position: u64) -> Result<usize> {
        let error = self.source.file().malformed(position, rule);
        self.pass(Err::<usize, _>(error)).map(|_| 0)
    }

    fn documents(&mut self) -> Result<()> {
        let (source, target) = (self.source, self.target);
        let nodes = target.options().nodes();
        let secret = is_encrypted(source)? || is_encrypted(target)?;
        let budget = self.options.memory_budget;
        let mut sorter = Sorter::new(SortPlace { directory: self.directory, budget, secret });
        let mut by_seq = TreeBuilder::new(target.file(), TreeKind::BySeq, nodes);
        let root = self.pinned.by_seq.clone();
        let mut cursor = Cursor::of_all(source.file(), root.as_ref(), &[], None);
        self.progress.tell(target, self.hooks)?;
        loop {
            let leaf = cursor.next_leaf();
            let Some(leaf) = self.pass(leaf)? else { continue };
            let Some(leaf) = leaf else { break };
            self.ahead.begin_leaf();
            for (entry, offset) in leaf.entries() {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(rule) => {
                        self.step_over(rule, leaf.position)?;
                        break;
                    }
                };
                let size = self.document(&entry, (&leaf, offset), &mut by_seq, &mut sorter)?;
                self.progress.one_done();
                self.progress.step(size, target, self.hooks)?;
            }
        }
        let by_seq = by_seq.finish()?;
        self.progress.all_done();
        self.progress.tell(target, self.hooks)?;
        let by_id = self.by_id_tree(sorter)?;
        target.update_state(|state| {
            state.header.by_seq = by_seq;
            state.header.by_id = by_id;
        });
        Ok(())
    }

    /// Copies one document, that of an entry at this place. Returns the length of its body.
    fn document(
        &mut self,
        entry: &Entry<'_>,
        place: Place<'_>,
        by_seq: &mut TreeBuilder<'_>,
        sorter: &mut Sorter,
    ) -> Result<usize> {
        let order = match by_seq.accepts(entry.key) {
            Ok(order) => order,
            Err(rule) => return self.step_over(rule, place.0.position),
        };
        let mut info = match DocInfoRef::parse_by_seq(entry.key, entry.value) {
            Ok(info) => info,
            Err(rule) => return self.step_over(rule, place.0.position),
        };
        let kept = self.consider(&info, place)?;
        if info.body_position != 0 {
            self.ahead.note(kept.is_some());
        }
        let Some(kept) = kept else { return Ok(0) };
        let length = kept.body.map_or(0, |body| body.length);
        if let Some(body) = kept.body {
            info.body_position = body.position;
        }
        if let Some(rev_meta) = &kept.rev_meta {
            info.rev_meta = rev_meta;
        }
        by_seq.add_accepted(order, entry.key, info.by_seq_length(), |node| info.encode_by_seq(node))?;
        sorter.add_with(info.id, info.by_id_length(), |out| info.encode_by_id(out))?;
        Ok(length)
    }

    fn by_id_tree(&mut self, mut sorter: Sorter) -> Result<Option<NodeRef>> {
        let Copy { target, hooks, progress, .. } = self;
        let mut by_id = TreeBuilder::new(target.file(), TreeKind::ById, target.options().nodes());
        sorter.prepare(&mut || progress.tell_more(target, *hooks))?;
        sorter.finish(&mut |key, value| {
            progress.step(value.len(), target, *hooks)?;
            by_id.add(key, value)
        })?;
        by_id.finish()
    }

    /// Whether, and how, a document is kept. Its body is in the target then.
    fn consider(&mut self, info: &DocInfoRef<'_>, place: Place<'_>) -> Result<Option<Kept>> {
        let verdict = if self.hooks.filters() {
            self.hooks.filter(self.target, info, None)?
        } else if self.options.drop_deletes && info.deleted {
            Verdict::Drop
        } else {
            Verdict::Keep
        };
        match verdict {
            Verdict::Drop => Ok(None),
            Verdict::Keep if !self.hooks.rewrites() => self.hand_over(info, place),
            _ => self.consider_body(info, place, verdict == Verdict::NeedBody),
        }
    }

    /// As [`Copy::consider`], for hooks that look at the body.
    fn consider_body(
        &mut self,
        info: &DocInfoRef<'_>,
        place: Place<'_>,
        ask_again: bool,
    ) -> Result<Option<Kept>> {
        let body = self.body(info, place)?;
        let Some(bytes) = body.bytes() else { return Ok(None) };
        if ask_again {
            match self.hooks.filter(self.target, info, Some(bytes))? {
                Verdict::Keep => {}
                Verdict::Drop => return Ok(None),
                Verdict::NeedBody => {
                    return Err(Error::InvalidArguments(
                        "expected a filter that decides once it has the body",
                    ));
                }
            }
        }
        let SourceBody::Stored(body) = body else { return Ok(Some(Kept::default())) };
        let rewrites = self.hooks.rewrites();
        let rev_meta = if rewrites { self.hooks.rewrite(info, &body.bytes)? } else { None };
        if let Some(rev_meta) = &rev_meta
            && !(DocInfoRef { rev_meta, ..*info }).fits()
        {
            return Err(Error::InvalidArguments(
                "expected a rev_meta from the hook that fits into a node, below 2^28 bytes",
            ));
        }
        let crc = body.crc.filter(|_| self.same_checksum);
        let position = self.target.file().append_body(&body.bytes, crc)?.position;
        Ok(Some(Kept { body: Some(Copied { position, length: body.bytes.len() }), rev_meta }))
    }

    /// Before a body is read that is not at hand: reads ahead those of the leaf from there on, if they will be wanted.
    fn plan(&mut self, info: &DocInfoRef<'_>, (leaf, offset): Place<'_>) -> Result<()> {
        let file = self.source.file();
        if !self.ahead.is_active() || file.has_read(info.body_position, info.physical_size) {
            return Ok(());
        }
        let wanted = bodies_of(TreeKind::BySeq, leaf.entries_from(offset), None, ScanOptions::default())?;
        let read = file.read_ahead(Plan::Bodies, &wanted);
        self.pass(read).map(|_| ())
    }

    fn body(&mut self, info: &DocInfoRef<'_>, place: Place<'_>) -> Result<SourceBody> {
        if info.body_position == 0 {
            return Ok(SourceBody::Absent);
        }
        self.plan(info, place)?;
        let body = self.source.file().read_body(info.body_position, info.physical_size);
        let Some(body) = self.pass(body)? else { return Ok(SourceBody::Damaged) };
        self.bodies.count(info.body_position, body.bytes.len())?;
        Ok(SourceBody::Stored(body))
    }

    /// Copies a document's body out of what was read into what is to be written. `None`: it is damaged, and stepped over.
    fn hand_over(&mut self, info: &DocInfoRef<'_>, place: Place<'_>) -> Result<Option<Kept>> {
        let position = info.body_position;
        if position == 0 {
            return Ok(Some(Kept::default()));
        }
        let put = put_into(self.target, &mut self.bodies, self.same_checksum);
        let put = match self.source.file().with_body_at_hand(position, put) {
            Some(put) => put,
            None => {
                self.plan(info, place)?;
                let put = put_into(self.target, &mut self.bodies, self.same_checksum);
                let stored = self.source.file().with_stored_body((position, info.physical_size), put);
                let Some(put) = self.pass(stored)? else { return Ok(None) };
                put
            }
        };
        match put? {
            Some(copied) => Ok(Some(Kept { body: Some(copied), rev_meta: None })),
            None => Err(self.bodies.exceeded(position)),
        }
    }

    fn local_documents(&mut self) -> Result<()> {
        let nodes = self.target.options().nodes();
        let mut builder = TreeBuilder::new(self.target.file(), TreeKind::Local, nodes);
        let root = self.pinned.local.clone();
        let mut cursor = Cursor::new(self.source.file(), root.as_ref(), &[]);
        loop {
            let next = cursor.next_entry();
            let Some(next) = self.pass(next)? else { continue };
            let Some((entry, position)) = next else { break };
            let order = builder.accepts(entry.key);
            let order = order.map_err(|rule| self.source.file().malformed(position, rule));
            if self.pass(order)?.is_some() {
                builder.add(entry.key, entry.value)?;
            }
            self.progress.step(entry.value.len(), self.target, self.hooks)?;
        }
        let local = builder.finish()?;
        self.target.update_state(|state| state.header.local = local);
        Ok(())
    }
}

/// Puts a body into the target; `None`: bodies are too large in sum.
fn put_into(
    target: &Db,
    limit: &mut BodyLimit<'_>,
    same_checksum: bool,
) -> impl FnOnce(&[u8], Option<u32>) -> Result<Option<Copied>> {
    move |stored, crc| {
        if !limit.allows(stored.len()) {
            return Ok(None);
        }
        let appended = target.file().append_body(stored, crc.filter(|_| same_checksum))?;
        Ok(Some(Copied { position: appended.position, length: stored.len() }))
    }
}
