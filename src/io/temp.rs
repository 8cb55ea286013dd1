// SPDX-License-Identifier: Apache-2.0

//! Files that are not yet, or no longer, what their folder is for.
//!
//! | Name | What it is |
//! |---|---|
//! | none | a file that is being made, or one that is needed only while it is open |
//! | `.couchstore-*.tmp` | the same where the file system has no files without a name |
//! | `.couchstore-*.old` | a file that a compaction has displaced; see [`Displaced`] |
//!
//! Whoever makes a `.tmp` holds a lock on it until it has its name (or is gone). So one that can be locked has been
//! left by a dead process, and whoever comes next removes it ([`remove_half_made`]).

#![forbid(unsafe_code)]

use super::folder::{Failure, Folder};
use super::naming::{FileId, PRIVATE, PosixNaming, USUAL, has_no_locks, identity, is_final, is_locked};
use std::collections::hash_map::RandomState;
use std::ffi::{CStr, CString};
use std::fs::{File, Permissions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

/// So many files that were taken for those of dead processes before they could be locked.
const MAX_TRIES: u32 = 5;

const PREFIX: &str = ".couchstore-";
const HALF_MADE: &str = ".tmp";
const DISPLACED: &str = ".old";

/// The part of a name that no other process uses. Hosts, which look for `.couch.`, do not see such names.
fn unique() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{PREFIX}{}-{random:016x}", std::process::id())
}

fn c_name(name: String) -> io::Result<CString> {
    Ok(CString::new(name)?)
}

/// A name for a file that is being made.
pub(crate) fn half_made_name() -> io::Result<CString> {
    c_name(unique() + HALF_MADE)
}

/// Whether a name is one of the library's temporary ones.
pub(crate) fn is_ours(name: &CStr) -> bool {
    name.to_bytes().starts_with(PREFIX.as_bytes())
}

fn is_half_made(name: &CStr) -> bool {
    is_ours(name) && name.to_bytes().ends_with(HALF_MADE.as_bytes())
}

/// What the name of a displaced file says: enough to know later, without any memory of it, whether it is still needed.
/// Inodes, since what has which name may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Displaced {
    /// Inode of the file itself.
    pub(crate) inode: u64,
    /// Inode of the file that took its place.
    pub(crate) successor: u64,
    /// Position of the file's header that the successor holds everything of.
    pub(crate) header: u64,
}

impl Displaced {
    /// A new name that says this.
    pub(crate) fn name(&self) -> io::Result<CString> {
        let Displaced { inode, successor, header } = self;
        c_name(format!("{}-{inode:x}-{successor:x}-{header:x}{DISPLACED}", unique()))
    }

    /// What a name says; `None` for other names.
    pub(crate) fn parse(name: &CStr) -> Option<Displaced> {
        let text = name.to_str().ok()?.strip_prefix(PREFIX)?.strip_suffix(DISPLACED)?;
        let mut parts = text.split('-').skip(2).map(|part| u64::from_str_radix(part, 16).ok());
        let (inode, successor, header) = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(Displaced { inode, successor, header })
    }
}

/// What to make of files without a name, which not all file systems have, and which not all allow to be named later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unnamed {
    /// Make one.
    Made,
    /// Make one if naming another one succeeds: much is going to be written, which nobody wants to write again.
    MadeIfNameable,
    /// Make none.
    Avoided,
}

/// A new file that nobody sees yet, or takes for a database.
pub(crate) struct NewFile {
    pub(crate) file: File,
    pub(crate) id: FileId,
    /// The temporary name, if there is one.
    pub(crate) temporary: Option<CString>,
}

/// Creates a file that is to get a name later, open for reading and writing.
pub(crate) fn create(folder: &Folder, unnamed: Unnamed) -> Result<NewFile, Failure> {
    let wanted = match unnamed {
        Unnamed::Made => true,
        Unnamed::MadeIfNameable => can_be_named(folder)?,
        Unnamed::Avoided => false,
    };
    if wanted && let Some(file) = create_unnamed(folder)? {
        return Ok(NewFile { id: identity(&file)?, file, temporary: None });
    }
    remove_half_made(folder);
    create_named(folder)
}

/// `None`: it does not work here.
fn create_unnamed(folder: &Folder) -> io::Result<Option<File>> {
    match folder.naming().create_unnamed(folder.directory()) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_final(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Whether files without a name can be given one here. Asking for that is the only way to know.
fn can_be_named(folder: &Folder) -> Result<bool, Failure> {
    let Some(file) = create_unnamed(folder)? else { return Ok(false) };
    let (name, id) = (half_made_name()?, identity(&file)?);
    match folder.link_unnamed(&file, &name, id) {
        Ok(()) => Ok(remove_probe(folder, &name).map(|()| true)?),
        Err(failure) if failure.allows_another_way() => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Creates a file with a temporary name, locked where that is possible.
fn create_named(folder: &Folder) -> Result<NewFile, Failure> {
    let made = until_held(|| {
        let name = half_made_name()?;
        let file = create_private(folder, &name)?;
        let held = identity(&file).and_then(|id| Ok((id, hold(folder, &name, &file, id)?)));
        let held = held.inspect_err(|_| release(&file));
        match or_removed(folder, &name, held)? {
            (id, true) => Ok(Some(NewFile { file, id, temporary: Some(name) })),
            (id, false) => folder.remove(&name, id).map(|()| None),
        }
    });
    made?.ok_or_else(never_held)
}

/// Tries a few times to make a file that nobody takes for that of a dead process before it can be locked.
pub(crate) fn until_held<T, E>(mut make: impl FnMut() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    (0..MAX_TRIES).find_map(|_| make().transpose()).transpose()
}

/// All tries were in vain: each time the file was gone at once. Or a caller's operations make files somewhere else.
pub(crate) fn never_held() -> Failure {
    io::Error::from_raw_os_error(libc::ENOENT).into()
}

/// If something has failed, the file with this name is not needed any more.
fn or_removed<T>(folder: &Folder, name: &CStr, result: io::Result<T>) -> io::Result<T> {
    result.inspect_err(|_| {
        // What cannot be removed now is a leftover for the next one who comes here.
        let _ = folder.remove_stray(name);
    })
}

/// Removes a file that was made only to find something out.
fn remove_probe(folder: &Folder, name: &CStr) -> io::Result<()> {
    or_removed(folder, name, folder.remove_stray(name).map_err(Failure::into_io))
}

/// Takes over a file that a caller's operations have made under this name: which file it is, and if we can open it, a
/// descriptor of ours, which holds the lock. `None`: it was taken for that of a dead process.
pub(crate) fn adopt(folder: &Folder, name: &CStr) -> Result<Option<(FileId, Option<File>)>, Failure> {
    let Some(id) = or_removed(folder, name, folder.which(name))? else { return Ok(None) };
    let file = match folder.naming().open_existing(folder.directory(), name) {
        Ok(file) => file,
        // Then nobody else can take it for a leftover, either.
        Err(error) if has_no_locks(&error) || error.raw_os_error() == Some(libc::EACCES) => {
            return Ok(Some((id, None)));
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        Err(error) => return Ok(or_removed(folder, name, Err(error))?),
    };
    let held = hold(folder, name, &file, id).inspect_err(|_| release(&file));
    let held = or_removed(folder, name, held)?;
    if held { Ok(Some((id, Some(file)))) } else { folder.remove(name, id).map(|()| None) }
}

/// Creates a file that only its owner can open.
fn create_private(folder: &Folder, name: &CStr) -> io::Result<File> {
    or_removed(folder, name, folder.naming().create_named(folder.directory(), name, PRIVATE))
}

/// Marks a file as that of a living process. `false`: somebody has taken it for that of a dead one.
pub(crate) fn hold(folder: &Folder, name: &CStr, file: &File, id: FileId) -> io::Result<bool> {
    match folder.naming().try_lock(file) {
        Ok(()) => Ok(folder.which(name)? == Some(id)),
        Err(error) if is_locked(&error) => Ok(false),
        // Then nobody else can lock it, either. On NFS that takes the right to write.
        Err(error) if has_no_locks(&error) || error.raw_os_error() == Some(libc::EBADF) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Gives the lock back. Closing is not enough: others may have the descriptor, too.
pub(crate) fn release(file: &File) {
    // Nobody has to know: without a lock there was nothing to give back.
    let _ = file.unlock();
}

/// Removes the files that dead processes were making. Nobody depends on that: failures leave some for the next time.
pub(crate) fn remove_half_made(folder: &Folder) {
    remove_half_made_of(folder, &names_in(folder));
}

/// All names in a folder; none if it cannot be read.
pub(crate) fn names_in(folder: &Folder) -> Vec<CString> {
    folder.naming().list(folder.directory()).unwrap_or_default()
}

/// As [`remove_half_made`]; these names are in the folder.
pub(crate) fn remove_half_made_of(folder: &Folder, names: &[CString]) {
    for name in names.iter().filter(|name| is_half_made(name)) {
        with_dead(folder, name, |_, _| true);
    }
}

/// Opens and locks a file, if no living process has it locked, and removes it if it is `superfluous`.
pub(crate) fn with_dead(folder: &Folder, name: &CStr, superfluous: impl FnOnce(&File, FileId) -> bool) {
    let naming = folder.naming();
    let Ok(file) = naming.open_existing(folder.directory(), name) else { return };
    let (Ok(id), Ok(())) = (identity(&file), naming.try_lock(&file)) else { return };
    if superfluous(&file, id) {
        // Whoever made the file and had not locked it yet looks whether it still has its name, and makes another.
        let _ = folder.remove(name, id);
    }
    release(&file);
}

/// The rights of a new file that is simply created here, which the process's mask and the folder's rules decide.
fn usual_rights(folder: &Folder) -> io::Result<Permissions> {
    if let Some(file) = create_unnamed(folder)? {
        return Ok(file.metadata()?.permissions());
    }
    let name = half_made_name()?;
    let created = folder.naming().create_named(folder.directory(), &name, USUAL);
    let rights = created.and_then(|file| Ok(file.metadata()?.permissions()));
    let rights = or_removed(folder, &name, rights)?;
    remove_probe(folder, &name)?;
    Ok(rights)
}

/// Gives a file the rights that it would have if it had not been made for its owner alone.
pub(crate) fn give_usual_rights(folder: &Folder, file: &File) -> io::Result<()> {
    let (usual, now) = (usual_rights(folder)?, file.metadata()?.permissions());
    // Not all file systems have rights that can be changed.
    if usual.mode() == now.mode() { Ok(()) } else { file.set_permissions(usual) }
}

/// An open file without a name in `directory`, for what is needed only while it is open.
pub(crate) fn unnamed_file(directory: &Path) -> io::Result<File> {
    let folder = Folder::open(Arc::new(PosixNaming), directory)?;
    if let Some(file) = create_unnamed(&folder)? {
        return Ok(file);
    }
    let name = half_made_name()?;
    let file = create_private(&folder, &name)?;
    remove_probe(&folder, &name)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_differ_and_are_not_taken_for_databases() {
        let (a, b) = (half_made_name().unwrap(), half_made_name().unwrap());
        assert_ne!(a, b);
        assert!(is_half_made(&a) && Displaced::parse(&a).is_none());
        assert!(!a.to_str().unwrap().contains(".couch."));
    }

    #[test]
    fn names_of_displaced_files_say_what_they_are() {
        let displaced = Displaced { inode: u64::MAX, successor: 0xabc, header: 0 };
        let name = displaced.name().unwrap();
        assert_eq!(Displaced::parse(&name), Some(displaced));
        assert!(!is_half_made(&name) && !name.to_str().unwrap().contains(".couch."));
        for other in
            [c".couchstore-1-2.old", c".couchstore-1-2-3-4-x.old", c".couchstore-1-2-3-4-5-6.old", c"a"]
        {
            assert_eq!(Displaced::parse(other), None);
        }
    }

    #[test]
    fn unnamed_files_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = unnamed_file(dir.path()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
