//! Compaction of a handle's state into a new file.

use super::bodies::BodyLimit;
use super::progress::Progress;
use super::sort::{SortPlace, Sorter};
use crate::crypto::keys::KeyStore;
use crate::db::Db;
use crate::db::ahead::BodiesAhead;
use crate::db::hidden::{Purpose, naming_failed, rights_failed};
use crate::db::open::OpenOptions;
use crate::db::scan::{ScanOptions, bodies_of};
use crate::error::{Error, Result};
use crate::format::docinfo::DocInfoRef;
use crate::format::header::{FileHeader, FormatVersion, NodeRef};
use crate::format::node::Entry;
use crate::io::FileOps;
use crate::io::buffered::Plan;
use crate::io::file::Body;
use crate::io::naming::{Naming, PosixNaming};
use crate::io::posix::PosixOps;
use crate::io::rights;
use crate::memory;
use crate::tree::TreeKind;
use crate::tree::build::TreeBuilder;
use crate::tree::cache::file::Reading;
use crate::tree::read::Cursor;
use crate::tree::reduce::parse_count;
use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Memory for sorting, in bytes, unless the options say otherwise.
const SORT_BUDGET: usize = 48 << 20;

/// What a filter says of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Copy it.
    Keep,
    /// Leave it out.
    Drop,
    /// Ask again, with the body.
    NeedBody,
}

/// What a caller may do during a compaction. Each method may read from both handles; its error ends the compaction.
/// Saving to the target is for [`CompactHooks::copied`] and [`CompactHooks::precommit`]: before that it is refused.
pub trait CompactHooks {
    /// Whether [`CompactHooks::filter`] decides which documents are copied.
    fn filters(&self) -> bool {
        false
    }

    /// Decides about a document. `body` is `None` at first; after [`Verdict::NeedBody`] it is the stored body, empty
    /// for a document without one.
    fn filter(&mut self, target: &Db, info: &DocInfoRef<'_>, body: Option<&[u8]>) -> Result<Verdict> {
        let _ = (target, info, body);
        Ok(Verdict::Keep)
    }

    /// Whether [`CompactHooks::rewrite`] is to be called. Only with a filter.
    fn rewrites(&self) -> bool {
        false
    }

    /// May give a document that is kept, and has a body, another `rev_meta`. `body` is the stored one.
    fn rewrite(&mut self, info: &DocInfoRef<'_>, body: &[u8]) -> Result<Option<Vec<u8>>> {
        let _ = (info, body);
        Ok(None)
    }

    /// Called now and then while documents are copied and trees are built: how many documents are done, of how many,
    /// and how many bytes the target has. None are done only at the beginning; while an online compaction catches up
    /// all are, and the lock may be held. An error ends the compaction.
    fn progress(&mut self, done: u64, total: u64, bytes: u64) -> Result<()> {
        let _ = (done, total, bytes);
        Ok(())
    }

    /// Called once all documents and local documents are in the target.
    fn copied(&mut self, target: &Db) -> Result<()> {
        let _ = target;
        Ok(())
    }

    /// Called right before the target's only commit; may change what it will hold.
    fn precommit(&mut self, source: &Db, target: &Db) -> Result<()> {
        let _ = (source, target);
        Ok(())
    }
}

/// No hooks.
struct NoHooks;

impl CompactHooks for NoHooks {}

/// How to compact.
#[derive(Clone)]
pub struct CompactOptions {
    /// Leave deleted documents out (unless a filter decides), and raise the target's purge sequence by one.
    pub drop_deletes: bool,
    /// Give the target the newest version although the source is of version 11.
    pub upgrade: bool,
    /// Put no buffers between the library and the target's file operations.
    pub unbuffered: bool,
    /// Step over damage in the source. The target is completed, and the last error returned.
    pub recovery: bool,
    /// Sync the target automatically after every so many bytes.
    pub periodic_sync: Option<u64>,
    /// File operations for the target.
    pub file_ops: Arc<dyn FileOps>,
    /// Where to find the key that the target is encrypted with. Without one it is not encrypted, whatever the source
    /// is.
    pub keys: Option<Arc<dyn KeyStore>>,
    /// Bytes of memory for sorting; beyond that, unnamed files in the target's directory are used.
    pub memory_budget: usize,
    /// System calls for names; for tests that let them fail.
    pub naming: Arc<dyn Naming>,
}

impl Default for CompactOptions {
    fn default() -> CompactOptions {
        CompactOptions {
            drop_deletes: false,
            upgrade: false,
            unbuffered: false,
            recovery: false,
            periodic_sync: None,
            file_ops: Arc::new(PosixOps),
            keys: None,
            memory_budget: SORT_BUDGET,
            naming: Arc::new(PosixNaming),
        }
    }
}

/// Copies everything that the handle sees, uncommitted changes included, into a new file with exactly one header.
///
/// An existing `target` is left alone and makes the compaction fail. After any failure there is no target. The
/// source is only read; others may append to it meanwhile.
///
/// With the library's own file operations the target gets its name when it is complete and durable
/// ([`compact_unseen`]). A caller's operations create it under its name, which a process that dies leaves behind.
pub fn compact(source: &Db, target: impl AsRef<Path>, options: &CompactOptions) -> Result<()> {
    compact_with(source, target, options, &mut NoHooks)
}

/// Compacts with hooks. See [`compact`].
pub fn compact_with(
    source: &Db,
    target: impl AsRef<Path>,
    options: &CompactOptions,
    hooks: &mut dyn CompactHooks,
) -> Result<()> {
    let target = target.as_ref();
    if options.file_ops.is_default() {
        compact_unseen(source, target, options, hooks)
    } else {
        compact_in_place(source, target, options, hooks)
    }
}

/// Compacts with hooks into a file that gets its name only when it is complete and durable; until then nobody finds
/// it by that name. One that appears meanwhile is left alone and found at the end (`EEXIST`). A process that dies before
/// that leaves nothing; where the file system has no files without names, and with file operations of the caller's,
/// it leaves one with a temporary name, which the next compaction in the folder removes. See [`compact`].
pub fn compact_unseen(
    source: &Db,
    target: impl AsRef<Path>,
    options: &CompactOptions,
    hooks: &mut dyn CompactHooks,
) -> Result<()> {
    let name = check(source, target.as_ref(), hooks)?;
    let opening = target_options(source, options);
    let (mut hidden, file, state) = opening.create_hidden(&name, Purpose::Compaction)?;
    let opened = Db::from_parts(file, state, opening, &name);
    opened.set_unseen(true);
    let damage = copy_and_close(source, &opened, target.as_ref(), options, hooks)?;
    hidden.publish().map_err(|failure| naming_failed(&name, failure))?;
    damage.map_or(Ok(()), Err)
}

/// Compacts with hooks into a file that is created under its name, as a caller's operations do it.
fn compact_in_place(
    source: &Db,
    target: &Path,
    options: &CompactOptions,
    hooks: &mut dyn CompactHooks,
) -> Result<()> {
    let name = check(source, target, hooks)?;
    // Whose names these are only the file operations know: what was there before is never removed.
    let is_new = !options.file_ops.exists(&name);
    let opened = target_options(source, options).open(target)?;
    let mut unfinished = Unfinished { ops: options.file_ops.clone(), name, armed: is_new };
    let damage = copy_and_close(source, &opened, target, options, hooks)?;
    unfinished.armed = false;
    damage.map_or(Ok(()), Err)
}

/// What must be so before anything is created. Returns the target's name.
fn check(source: &Db, target: &Path, hooks: &dyn CompactHooks) -> Result<CString> {
    if hooks.rewrites() && !hooks.filters() {
        return Err(Error::InvalidArguments("expected a filter beside the hook that rewrites"));
    }
    source.check_open()?;
    let name = CString::new(target.as_os_str().as_bytes());
    name.map_err(|_| Error::InvalidArguments("expected a name without zero bytes"))
}

/// As [`copy_into`], and closes the target.
fn copy_and_close(
    source: &Db,
    target: &Db,
    path: &Path,
    options: &CompactOptions,
    hooks: &mut dyn CompactHooks,
) -> Result<Option<Error>> {
    let original = original(source, options)?;
    let copied = copy_into(source, target, directory_of(path), options, hooks);
    // The source's permissions as they are now: until here the file is the process's own.
    let copied = copied.and_then(|damage| take_mode(original.as_ref(), target).map(|()| damage));
    if copied.is_err() {
        // The file is going to be removed: what is still buffered need not reach it.
        let _ = target.file().with(|file| {
            file.take_back(0);
            Ok(())
        });
    }
    let closed = target.close();
    let damage = copied?;
    closed?;
    Ok(damage)
}

/// The file whose permissions a copy gets; `None`: the copy is made by a caller's operations, which know better.
pub(crate) fn original(source: &Db, options: &CompactOptions) -> Result<Option<File>> {
    if options.file_ops.is_default() { source.os_file() } else { Ok(None) }
}

/// Gives a copy the permissions of its source.
pub(crate) fn take_mode(original: Option<&File>, target: &Db) -> Result<()> {
    let (Some(original), Some(copy)) = (original, target.os_file()?) else { return Ok(()) };
    rights::take_mode(original, &copy).map_err(|error| rights_failed(&target.filename(), error))
}

/// Copies everything that `source` sees into the empty file of `target` and commits it there, once. `directory` is
/// where sorting may put temporary files. Returns the last damage that was stepped over.
pub(crate) fn copy_into(
    source: &Db,
    target: &Db,
    directory: &Path,
    options: &CompactOptions,
    hooks: &mut dyn CompactHooks,
) -> Result<Option<Error>> {
    // What hooks save on the source meanwhile is not part of the copy.
    let pinned = source.snapshot().header;
    let progress = Progress::new(documents_in(&pinned));
    let bodies = BodyLimit::new(source);
    let checksum = |db: &Db| db.file().with(|file| Ok(file.checksum()));
    let same_checksum = checksum(source)? == checksum(target)?;
    let (value, last_damage) = (Vec::new(), None);
    let copy = Copy {
        source,
        target,
        pinned,
        directory,
        options,
        hooks,
        bodies,
        same_checksum,
        progress,
        value,
        last_damage,
    };
    copy.run()
}

/// Removes the target unless it was finished; also when a hook's panic unwinds.
struct Unfinished {
    ops: Arc<dyn FileOps>,
    name: CString,
    armed: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.armed {
            self.ops.remove(&self.name);
        }
    }
}

/// How the target of a compaction is opened.
pub(crate) fn target_options(source: &Db, options: &CompactOptions) -> OpenOptions {
    let nodes = source.options().nodes();
    let version = source.snapshot().header.version;
    OpenOptions::new()
        .create(true)
        .exclusive(true)
        .no_commit_at_create(true)
        .legacy_crc(version == FormatVersion::V11 && !options.upgrade)
        .unbuffered(options.unbuffered)
        .periodic_sync(options.periodic_sync)
        .node_sizes(nodes.interior, nodes.leaf)
        .file_ops(options.file_ops.clone())
        .keys(options.keys.clone())
        .naming(options.naming.clone())
}

/// A compaction under way.
struct Copy<'a> {
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
    /// Memory for encoding entries.
    value: Vec<u8>,
    last_damage: Option<Error>,
}

/// A document that is kept: its body as stored, and its rev_meta if that changed.
struct Kept {
    body: Option<Body>,
    rev_meta: Option<Vec<u8>>,
}

/// The directory that a name is in.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Number of documents that a header claims to have.
pub(super) fn documents_in(header: &FileHeader) -> u64 {
    header.by_seq.as_ref().map_or(0, |root| parse_count(&root.reduce).unwrap_or(0))
}

/// Whether the file of `db` is.
pub(super) fn is_encrypted(db: &Db) -> Result<bool> {
    db.file().with(|file| Ok(file.encryption().is_some()))
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

impl Copy<'_> {
    /// Returns the damage that was stepped over.
    fn run(mut self) -> Result<Option<Error>> {
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

    fn documents(&mut self) -> Result<()> {
        let (source, target) = (self.source, self.target);
        let nodes = target.options().nodes();
        let secret = is_encrypted(source)? || is_encrypted(target)?;
        let budget = self.options.memory_budget;
        let mut sorter = Sorter::new(SortPlace { directory: self.directory, budget, secret });
        let mut by_seq = TreeBuilder::new(target.file(), TreeKind::BySeq, nodes);
        let root = self.pinned.by_seq.clone();
        let mut cursor = Cursor::of_all(source.file(), root.as_ref(), &[], None, Reading::Verifying);
        let (mut bodies, mut leaf) = (BodiesAhead::default(), None);
        self.progress.tell(target, self.hooks)?;
        loop {
            let found = cursor.find_entry();
            let Some(found) = self.pass(found)? else { continue };
            if !found {
                break;
            }
            let position = cursor.position();
            if leaf.replace(position) != Some(position) {
                bodies.begin_leaf();
            }
            if bodies.are_due(source.file()) {
                self.read_bodies_ahead(&cursor)?;
            }
            let entry = cursor.entry();
            let Some(entry) = self.pass(entry)? else { continue };
            let size = self.document(&entry, position, &mut by_seq, &mut sorter)?;
            // One that makes no sense has no body to be read.
            let info = DocInfoRef::parse_by_seq(entry.key, entry.value).unwrap_or_default();
            bodies.after(source.file(), info.body_position);
            self.progress.one_done();
            self.progress.step(size, target, self.hooks)?;
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

    /// Reads the bodies of the documents that a cursor comes to before it leaves its leaf.
    fn read_bodies_ahead(&mut self, cursor: &Cursor<'_>) -> Result<()> {
        let wanted = bodies_of(TreeKind::BySeq, cursor.rest_of_leaf(), None, ScanOptions::default())?;
        let read = self.source.file().read_ahead(Plan::Bodies, &wanted);
        self.pass(read).map(|_| ())
    }

    /// Copies one document. Returns the length of its body.
    fn document(
        &mut self,
        entry: &Entry<'_>,
        position: u64,
        by_seq: &mut TreeBuilder<'_>,
        sorter: &mut Sorter,
    ) -> Result<usize> {
        let malformed = |rule| self.source.file().malformed(position, rule);
        let in_order = by_seq.accepts(entry.key).map_err(malformed);
        let info =
            in_order.and_then(|()| DocInfoRef::parse_by_seq(entry.key, entry.value).map_err(malformed));
        let Some(mut info) = self.pass(info)? else { return Ok(0) };
        let Some(kept) = self.consider(&info)? else { return Ok(0) };
        if let Some(body) = &kept.body {
            info.body_position = self.copy_body(body)?;
        }
        if let Some(rev_meta) = &kept.rev_meta {
            info.rev_meta = rev_meta;
        }
        self.value.clear();
        // Enough for either value.
        memory::reserve_exact(&mut self.value, entry.value.len() + info.rev_meta.len() + info.id.len())?;
        info.encode_by_seq(&mut self.value);
        by_seq.add(entry.key, &self.value)?;
        self.value.clear();
        info.encode_by_id(&mut self.value);
        sorter.add(info.id, &self.value)?;
        Ok(kept.body.map_or(0, |body| body.bytes.len()))
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

    fn copy_body(&self, body: &Body) -> Result<u64> {
        let crc = body.crc.filter(|_| self.same_checksum);
        Ok(self.target.file().append_body(&body.bytes, crc)?.position)
    }

    /// Whether, and how, a document is kept.
    fn consider(&mut self, info: &DocInfoRef<'_>) -> Result<Option<Kept>> {
        let mut read = None;
        if self.hooks.filters() {
            let mut verdict = self.hooks.filter(self.target, info, None)?;
            if verdict == Verdict::NeedBody {
                let body = self.body(info)?;
                let Some(bytes) = body.bytes() else { return Ok(None) };
                verdict = self.hooks.filter(self.target, info, Some(bytes))?;
                read = Some(body);
            }
            match verdict {
                Verdict::Keep => {}
                Verdict::Drop => return Ok(None),
                Verdict::NeedBody => {
                    return Err(Error::InvalidArguments(
                        "expected a filter that decides once it has the body",
                    ));
                }
            }
        } else if self.options.drop_deletes && info.deleted {
            return Ok(None);
        }
        let body = match read {
            Some(body) => body,
            None => self.body(info)?,
        };
        let (body, rev_meta) = match body {
            SourceBody::Damaged => return Ok(None),
            SourceBody::Absent => (None, None),
            SourceBody::Stored(body) => {
                let rewrites = self.hooks.rewrites();
                let rev_meta = if rewrites { self.hooks.rewrite(info, &body.bytes)? } else { None };
                (Some(body), rev_meta)
            }
        };
        if let Some(rev_meta) = &rev_meta
            && !(DocInfoRef { rev_meta, ..*info }).fits()
        {
            return Err(Error::InvalidArguments(
                "expected a rev_meta from the hook that fits into a node, below 2^28 bytes",
            ));
        }
        Ok(Some(Kept { body, rev_meta }))
    }

    fn body(&mut self, info: &DocInfoRef<'_>) -> Result<SourceBody> {
        if info.body_position == 0 {
            return Ok(SourceBody::Absent);
        }
        let body = self.source.file().read_body(info.body_position, info.physical_size);
        let Some(body) = self.pass(body)? else { return Ok(SourceBody::Damaged) };
        self.bodies.count(info.body_position, body.bytes.len())?;
        Ok(SourceBody::Stored(body))
    }

    fn local_documents(&mut self) -> Result<()> {
        let nodes = self.target.options().nodes();
        let mut builder = TreeBuilder::new(self.target.file(), TreeKind::Local, nodes);
        let root = self.pinned.local.clone();
        let mut cursor = Cursor::new(self.source.file(), root.as_ref(), &[], Reading::Verifying);
        loop {
            let next = cursor.next_entry();
            let Some(next) = self.pass(next)? else { continue };
            let Some((entry, position)) = next else { break };
            let in_order = builder.accepts(entry.key);
            let in_order = in_order.map_err(|rule| self.source.file().malformed(position, rule));
            if self.pass(in_order)?.is_some() {
                builder.add(entry.key, entry.value)?;
            }
            self.progress.step(entry.value.len(), self.target, self.hooks)?;
        }
        let local = builder.finish()?;
        self.target.update_state(|state| state.header.local = local);
        Ok(())
    }
}
