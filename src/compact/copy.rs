// SPDX-License-Identifier: Apache-2.0

//! Compaction of a handle's state into a new file.

use super::copying::Copy;
use super::space;
use crate::crypto::keys::KeyStore;
use crate::db::Db;
use crate::db::hidden::{Purpose, naming_failed, rights_failed};
use crate::db::open::OpenOptions;
use crate::error::{Error, Result};
use crate::format::docinfo::DocInfoRef;
use crate::format::header::{FileHeader, FormatVersion};
use crate::io::FileOps;
use crate::io::naming::{Naming, PosixNaming};
use crate::io::posix::PosixOps;
use crate::io::rights;
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
#[non_exhaustive]
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
    /// Threads to use, the caller's included. With 2 or more a second one makes the target of what the caller's reads,
    /// if the machine runs two at a time, no hook filters or rewrites documents, and the target is buffered. It blocks
    /// all signals and ends with the copying; where it cannot be made all is done without. Calls of `file_ops` other
    /// than the default ones, and all hooks, stay on the caller's thread. The result is the same.
    pub threads: usize,
    /// System calls for names; for tests that let them fail.
    #[doc(hidden)]
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
            threads: 1,
            naming: Arc::new(PosixNaming),
        }
    }
}

/// Copies everything that the handle sees, uncommitted changes included, into a new file with exactly one header.
///
/// An existing `target` is left alone and makes the compaction fail. After any failure there is no target. The
/// source is only read; others may append to it meanwhile.
///
/// If the file system has no room for the bodies that are certain to be copied, it is not begun ([`Error::NoSpace`]).
///
/// With the library's own file operations the target gets its name when it is complete and durable; until then nobody
/// finds it, and a process that dies leaves nothing. A caller's operations create it under its name, which a process that
/// dies leaves behind.
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
#[doc(hidden)]
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
    space::check(source, target, options, hooks)?;
    Copy::new((source, target), directory, options, hooks)?.run()
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
        .node_cache(None)
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

/// The directory that a name is in.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Number of documents that a header claims to have.
pub(super) fn documents_in(header: &FileHeader) -> u64 {
    header.by_seq.as_ref().map_or(0, |root| parse_count(&root.reduce).unwrap_or(0))
}

/// Whether what goes from one to the other may not be readable on the disk.
pub(super) fn is_secret(source: &Db, target: &Db) -> Result<bool> {
    let is_encrypted = |db: &Db| db.file().with(|file| Ok(file.encryption().is_some()));
    Ok(is_encrypted(source)? || is_encrypted(target)?)
}
