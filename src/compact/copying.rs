// SPDX-License-Identifier: Apache-2.0

//! Copying documents and local documents from one file into another, empty one. Documents come in the order of the
//! by-sequence tree; what the target's trees become of them is in `trees`.

use super::beside::{Stream, copy_beside, is_wanted};
use super::bodies::BodyLimit;
use super::copy::{CompactHooks, CompactOptions, Verdict, documents_in, is_secret};
use super::exchange::News;
use super::progress::Progress;
use super::sort::SortPlace;
use super::trees::{Plan as TreesPlan, Roots, Sink, Step, Trees};
use crate::db::Db;
use crate::db::ahead::BodiesAhead;
use crate::db::scan::{ScanOptions, bodies_of};
use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::docinfo::DocInfoRef;
use crate::format::header::FileHeader;
use crate::format::node::Entry;
use crate::io::buffered::Plan;
use crate::io::file::Body;
use crate::tree::TreeKind;
use crate::tree::build::TreeBuilder;
use crate::tree::cache::file::Reading;
use crate::tree::footing::Footing;
use crate::tree::read::{Cursor, Leaf};
use std::path::Path;

/// Larger bodies are read into memory of their own.
const LARGE_BODY: u64 = 64 << 10;

/// A compaction under way.
pub(super) struct Copy<'a> {
    source: &'a Db,
    pub(super) target: &'a Db,
    /// What is copied.
    pinned: FileHeader,
    /// As it was then: what is not committed may be given up by hooks.
    footing: Footing<'a>,
    directory: &'a Path,
    pub(super) options: &'a CompactOptions,
    hooks: &'a mut dyn CompactHooks,
    /// What these say of themselves.
    filters: bool,
    rewrites: bool,
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

/// The body of a document that is kept, in the target: where its chunk stands, and its length as it is stored; twice 0 if
/// there is none.
#[derive(Clone, Copy, Default)]
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
            filters: hooks.filters(),
            rewrites: hooks.rewrites(),
            hooks,
            same_checksum: checksum(source)? == checksum(target)?,
            progress: Progress::new(documents_in(&pinned)),
            pinned,
            footing: Footing::new(source.file()),
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
        let secret = is_secret(source, target)?;
        let budget = self.options.memory_budget;
        let plan = TreesPlan {
            nodes: target.options().nodes(),
            place: SortPlace { directory: self.directory, budget, secret },
            same_checksum: self.same_checksum,
        };
        // These hooks look at the target as it grows; and without buffers all of it is calls of the file operations.
        let alone = self.filters || self.rewrites || self.options.unbuffered;
        let beside = !alone && is_wanted(self.options.threads, documents_in(&self.pinned));
        let built = if beside { copy_beside(self, plan)? } else { None };
        let Roots { by_seq, by_id } = match built {
            Some(roots) => roots,
            None => self.copy_alone(plan)?,
        };
        target.update_state(|state| {
            state.header.by_seq = by_seq;
            state.header.by_id = by_id;
        });
        Ok(())
    }

    fn copy_alone(&mut self, plan: TreesPlan<'_>) -> Result<Roots> {
        let file = self.target.file();
        let mut trees = Trees::new(file, plan);
        self.copy_to(&mut trees)?;
        let Copy { hooks, progress, .. } = self;
        trees.finish(&mut |step| match step {
            Step::AllThere => {
                progress.all_done();
                progress.tell(file.end(), *hooks)
            }
            Step::Further => progress.tell_more(file.end(), *hooks),
        })
    }

    /// Waits until a second thread has built the trees, and tells the host how it goes on.
    pub(super) fn wait_for(&mut self, stream: &mut Stream) -> Result<()> {
        stream.complete()?;
        loop {
            match stream.news() {
                News::AllThere => {
                    self.progress.all_done();
                    self.progress.tell(stream.end(), self.hooks)?;
                }
                News::Tick => self.progress.tell_more(stream.end(), self.hooks)?,
                News::Reached | News::Ended => return Ok(()),
            }
        }
    }

    /// Shows all documents to the hooks, and gives those that are kept to `sink`.
    pub(super) fn copy_to(&mut self, sink: &mut impl Sink) -> Result<()> {
        let source = self.source;
        let root = self.pinned.by_seq.clone();
        let mut cursor = Cursor::of_all(source.file(), root.as_ref(), &[], None, Reading::Verifying);
        self.progress.tell(sink.end(), self.hooks)?;
        loop {
            self.ahead.begin_leaf();
            let leaf = cursor.next_leaf(self.ahead.is_active());
            let Some(leaf) = self.pass(leaf)? else { continue };
            let Some(leaf) = leaf else { return Ok(()) };
            let mut rest = leaf.entries();
            loop {
                let offset = rest.offset();
                let Some(entry) = rest.next() else { break };
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(rule) => {
                        self.step_over(rule, leaf.position)?;
                        break;
                    }
                };
                let size = self.document(&entry, (&leaf, offset), sink)?;
                self.progress.one_done();
                self.progress.step(size, || sink.end(), self.hooks)?;
            }
        }
    }

    /// Copies one document, that of an entry at this place. Returns the length of its body.
    fn document(&mut self, entry: &Entry<'_>, place: Place<'_>, sink: &mut impl Sink) -> Result<usize> {
        let order = match sink.accepts(entry.key) {
            Ok(order) => order,
            Err(rule) => return self.step_over(rule, place.0.position),
        };
        let mut info = match DocInfoRef::parse_by_seq(entry.key, entry.value) {
            Ok(info) => info,
            Err(rule) => return self.step_over(rule, place.0.position),
        };
        let verdict = self.verdict(&info)?;
        self.footing.check(place.0.position)?;
        let mut rev_meta = None;
        let copied = match verdict {
            Verdict::Drop => None,
            Verdict::Keep if !self.rewrites => self.hand_over(&info, place, sink)?,
            _ => self.consider_body((&info, place), verdict == Verdict::NeedBody, sink, &mut rev_meta)?,
        };
        if info.body_position != 0 {
            self.ahead.note(copied.is_some());
        }
        let Some(Copied { position, length }) = copied else { return Ok(0) };
        info.body_position = position;
        let before = rev_meta.is_none().then_some(entry.value);
        if let Some(rev_meta) = &rev_meta {
            info.rev_meta = rev_meta;
        }
        sink.add(order, entry.key, before, &info)?;
        Ok(length)
    }

    /// What is to become of a document.
    #[inline]
    fn verdict(&mut self, info: &DocInfoRef<'_>) -> Result<Verdict> {
        if self.filters {
            self.hooks.filter(self.target, info, None)
        } else if self.options.drop_deletes && info.deleted {
            Ok(Verdict::Drop)
        } else {
            Ok(Verdict::Keep)
        }
    }

    /// Shows a document's body to hooks that look at it, and copies it; also to `new_rev_meta` what they give it. `None`: it is
    /// left out.
    fn consider_body(
        &mut self,
        (info, place): (&DocInfoRef<'_>, Place<'_>),
        ask_again: bool,
        sink: &mut impl Sink,
        new_rev_meta: &mut Option<Vec<u8>>,
    ) -> Result<Option<Copied>> {
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
        let SourceBody::Stored(body) = body else { return Ok(Some(Copied::default())) };
        if self.rewrites {
            *new_rev_meta = self.hooks.rewrite(info, &body.bytes)?;
        }
        if let Some(rev_meta) = new_rev_meta
            && !(DocInfoRef { rev_meta, ..*info }).fits()
        {
            return Err(Error::InvalidArguments(
                "expected a rev_meta from the hook that fits into a node, below 2^28 bytes",
            ));
        }
        let length = body.bytes.len();
        Ok(Some(Copied { position: sink.put_own(body)?, length }))
    }

    /// Before a body is read that is not at hand: reads ahead those of the leaf from there on, if they will be wanted.
    fn plan(&mut self, info: &DocInfoRef<'_>, (leaf, offset): Place<'_>) -> Result<()> {
        let file = self.source.file();
        if !self.ahead.is_active() || file.has_read(info.body_position, info.physical_size).is_some() {
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
    fn hand_over(
        &mut self,
        info: &DocInfoRef<'_>,
        place: Place<'_>,
        sink: &mut impl Sink,
    ) -> Result<Option<Copied>> {
        let position = info.body_position;
        if position == 0 {
            return Ok(Some(Copied::default()));
        }
        if info.physical_size > LARGE_BODY {
            return self.consider_body((info, place), false, sink, &mut None);
        }
        let put = put_into(sink, &mut self.bodies);
        let put = if let Some(put) = self.source.file().with_body_at_hand(position, put) {
            put
        } else {
            self.plan(info, place)?;
            let put = put_into(sink, &mut self.bodies);
            let stored = self.source.file().with_stored_body((position, info.physical_size), put);
            let Some(put) = self.pass(stored)? else { return Ok(None) };
            put
        };
        match put? {
            None => Err(self.bodies.exceeded(position)),
            copied => Ok(copied),
        }
    }

    fn local_documents(&mut self) -> Result<()> {
        let nodes = self.target.options().nodes();
        let mut builder = TreeBuilder::new(self.target.file(), TreeKind::Local, nodes);
        let root = self.pinned.local.clone();
        if let Some(root) = &root {
            self.footing.check(root.position)?;
        }
        let mut cursor = Cursor::new(self.source.file(), root.as_ref(), &[], Reading::Verifying);
        loop {
            let next = cursor.next_entry();
            let Some(next) = self.pass(next)? else { continue };
            let Some((entry, position)) = next else { break };
            let order = builder.accepts(entry.key);
            let order = order.map_err(|rule| self.source.file().malformed(position, rule));
            if self.pass(order)?.is_some() {
                builder.add(entry.key, entry.value)?;
            }
            self.progress.step(entry.value.len(), || self.target.file().end(), self.hooks)?;
        }
        let local = builder.finish()?;
        self.target.update_state(|state| state.header.local = local);
        Ok(())
    }
}

/// Gives a body to the target; `None`: bodies are too large in sum.
fn put_into(
    sink: &mut impl Sink,
    limit: &mut BodyLimit<'_>,
) -> impl FnOnce(&[u8], Option<u32>) -> Result<Option<Copied>> {
    move |stored, crc| {
        if !limit.allows(stored.len()) {
            return Ok(None);
        }
        Ok(Some(Copied { position: sink.put_body(stored, crc)?, length: stored.len() }))
    }
}
