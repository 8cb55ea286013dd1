// SPDX-License-Identifier: Apache-2.0

//! Files that get their name only when they are complete.
//!
//! Content is durable before the name exists; the name is durable before success is reported. What fails is undone,
//! durably too: else a power cut could bring back a name that nobody goes on with. Where undoing fails the outcome is
//! unknown, and all names stay as they are.

use super::{Db, leftovers};
use crate::error::{Error, ErrorCode, Operation};
use crate::io::folder::{Failure, Folder};
use crate::io::naming::{FileId, Naming, has_no_locks, split};
use crate::io::rights;
use crate::io::temp::{self, Displaced, NewFile, Unnamed};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::sync::Arc;

/// What a file is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A new database.
    Creation,
    /// A new database where files without a name cannot be named after all.
    CreationByRenaming,
    /// The target of a compaction.
    Compaction,
    /// The successor of a file, which has the name.
    Replacement,
}

impl Purpose {
    fn unnamed(self) -> Unnamed {
        match self {
            Purpose::Creation => Unnamed::Made,
            Purpose::CreationByRenaming => Unnamed::Avoided,
            Purpose::Compaction | Purpose::Replacement => Unnamed::MadeIfNameable,
        }
    }
}

/// A file that has not got its name yet. Dropping it removes what it has in the folder; the descriptor in use keeps
/// the file itself.
pub(crate) struct Hidden {
    folder: Folder,
    /// The name that it is to get.
    name: CString,
    id: FileId,
    /// The temporary name, if it has one, or had one that may be removed.
    temporary: Option<CString>,
    /// A descriptor of our own, which holds the lock. Callers' operations may make files that only they can open.
    own: Option<File>,
    /// It was made without a name, and has not had one since.
    unnamed: bool,
    /// It was made for its owner alone, and should not stay so.
    private: bool,
}

/// A file that has got its name, and may still lose it: unless it is kept, dropping this undoes the naming.
pub(crate) struct Named<'a> {
    hidden: &'a Hidden,
    /// The file that had the name before, and what it is called now.
    displaced: Option<(CString, FileId)>,
    decided: bool,
}

/// The folder of a file, and the name in it.
fn open_folder(naming: Arc<dyn Naming>, filename: &CStr) -> io::Result<(Folder, CString)> {
    let (directory, name) = split(filename)?;
    Ok((Folder::open(naming, directory)?, name))
}

/// Makes the names in the folder of a file durable, as they are now.
pub(crate) fn make_names_durable(naming: Arc<dyn Naming>, db: &Db) -> Result<(), Error> {
    let filename = db.shared_filename();
    let file = db.os_file()?;
    let synced = open_folder(naming, &filename).and_then(|(folder, _)| folder.sync(file.as_ref()));
    synced.map_err(|error| Error::Io {
        operation: Operation::Sync,
        file: db.name(),
        position: 0,
        code: ErrorCode::WRITE,
        os_error: error.raw_os_error().unwrap_or(0),
    })
}

/// As [`open_folder`], if nothing has the name.
pub(crate) fn check_free(naming: Arc<dyn Naming>, filename: &CStr) -> Result<(Folder, CString), Failure> {
    let (folder, name) = open_folder(naming, filename)?;
    match folder.which(&name)? {
        None => Ok((folder, name)),
        Some(_) => Err(io::Error::from_raw_os_error(libc::EEXIST).into()),
    }
}

/// Where a new file is going to be, and whether it may be made there.
pub(crate) fn place(
    naming: Arc<dyn Naming>,
    filename: &CStr,
    purpose: Purpose,
) -> Result<(Folder, CString), Failure> {
    let (folder, name) = match purpose {
        Purpose::Replacement => open_folder(naming, filename)?,
        _ => check_free(naming, filename)?,
    };
    if matches!(purpose, Purpose::Compaction | Purpose::Replacement) {
        leftovers::remove(&folder);
    }
    Ok((folder, name))
}

impl Hidden {
    /// Makes the file with the library's own calls.
    pub(crate) fn create(folder: Folder, name: CString, purpose: Purpose) -> Result<(Hidden, File), Failure> {
        let NewFile { file, id, temporary } = temp::create(&folder, purpose.unnamed())?;
        let (unnamed, handle) = (temporary.is_none(), file.try_clone());
        // A compaction sees to the rights of what it makes.
        let private = !unnamed && matches!(purpose, Purpose::Creation | Purpose::CreationByRenaming);
        let hidden = Hidden { folder, name, id, temporary, own: Some(file), unnamed, private };
        Ok((hidden, handle?))
    }

    /// Takes over a file that a caller's operations have made. `None`: somebody has taken it for a leftover.
    pub(crate) fn adopt(folder: &Folder, name: &CStr, temporary: CString) -> Result<Option<Hidden>, Failure> {
        let adopted = temp::adopt(folder, &temporary)?;
        Ok(adopted.map(|(id, own)| Hidden {
            folder: folder.clone(),
            name: name.to_owned(),
            id,
            temporary: Some(temporary),
            own,
            unnamed: false,
            private: false,
        }))
    }

    /// Whether it was made without a name, and never got one.
    pub(crate) fn is_unnamed(&self) -> bool {
        self.unnamed
    }

    /// Gives the file its name, which must not exist, durably.
    pub(crate) fn publish(&mut self) -> Result<(), Failure> {
        self.publish_for_now()?.keep();
        Ok(())
    }

    /// As [`Hidden::publish`], but can be undone.
    pub(crate) fn publish_for_now(&mut self) -> Result<Named<'_>, Failure> {
        if let (true, Some(own)) = (self.private, &self.own) {
            temp::give_usual_rights(&self.folder, own)?;
        }
        let name = self.name.clone();
        self.name_exclusively(&name)?;
        self.temporary = None;
        self.unnamed = false;
        self.make_durable(None)
    }

    /// Puts the file in the place of the one that has the name, durably. That one, which must be `source` if that is
    /// known, keeps another name until the result is settled; this file holds everything of it up to `header`.
    pub(crate) fn replace(&mut self, source: Option<FileId>, header: u64) -> Result<Named<'_>, Failure> {
        let old = self.folder.which(&self.name)?;
        let Some(old) = old.filter(|&old| source.is_none_or(|source| source == old)) else {
            return Err(stale().into());
        };
        let displaced = Displaced { inode: old.1, successor: self.id.1, header };
        // The exchange will give the other file the name that this one has.
        let (own, backup) = (displaced.name()?, displaced.name()?);
        self.name_exclusively(&own)?;
        self.temporary = Some(own.clone());
        let swapped = self.folder.displace((&own, self.id), (&self.name, old), &backup);
        let called = swapped.map_err(|failure| self.leave_alone(failure))?.to_owned();
        self.temporary = None;
        self.make_durable(Some((called, old)))
    }

    /// Gives the file a name that must not exist, in place of the one that it has, if it has one.
    fn name_exclusively(&mut self, name: &CStr) -> Result<(), Failure> {
        let named = match (&self.temporary, &self.own) {
            (Some(temporary), _) => self.folder.rename_exclusive(temporary, name, self.id),
            (None, Some(file)) => {
                // A name that may be taken for a leftover's: see Hidden::replace.
                let locked = if name == self.name.as_c_str() { Ok(()) } else { self.hold_unnamed(file) };
                locked.map_err(Failure::from).and_then(|()| self.folder.link_unnamed(file, name, self.id))
            }
            (None, None) => Err(io::Error::from_raw_os_error(libc::EINVAL).into()),
        };
        named.map_err(|failure| self.leave_alone(failure))
    }

    /// If the outcome of a failure is unknown, no name is removed any more.
    fn leave_alone(&mut self, failure: Failure) -> Failure {
        if let Failure::Unknown(_) = failure {
            self.temporary = None;
        }
        failure
    }

    fn hold_unnamed(&self, file: &File) -> io::Result<()> {
        match self.folder.naming().try_lock(file) {
            Err(error) if !has_no_locks(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// The names are right; makes them durable, or undoes it.
    fn make_durable(&mut self, displaced: Option<(CString, FileId)>) -> Result<Named<'_>, Failure> {
        let named = Named { hidden: self, displaced, decided: false };
        match named.hidden.sync() {
            Ok(()) => Ok(named),
            Err(error) => named.undo().and(Err(error.into())),
        }
    }

    /// Lets a file go in whose place this one is. It lives on for those who have it open.
    pub(crate) fn remove_displaced(&self, (called, file): &(CString, FileId)) {
        // What cannot be removed now is a leftover for the next compaction.
        let _ = self.folder.remove(called, *file);
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.sync(self.own.as_ref())
    }

    /// Gives the file everything that tells who may use another one: see [`rights::take_over`].
    pub(crate) fn take_after(&self, other: &File) -> io::Result<()> {
        let Some(file) = &self.own else { return Err(io::Error::from_raw_os_error(libc::EACCES)) };
        rights::take_over(other, file)
    }
}

impl Named<'_> {
    /// Keeps the name. Returns the file that had it before, and what that is called now.
    pub(crate) fn keep(mut self) -> Option<(CString, FileId)> {
        self.decided = true;
        self.displaced.take()
    }

    /// Takes the name away again, durably, and gives it back to the file that had it before.
    pub(crate) fn undo(mut self) -> Result<(), Failure> {
        self.decided = true;
        self.take_back().map_err(Failure::unknown)
    }

    fn take_back(&self) -> Result<(), Failure> {
        let Hidden { folder, name, id, .. } = self.hidden;
        match &self.displaced {
            None => folder.remove(name, *id)?,
            Some((called, old)) => {
                // Whatever somebody else has put there meanwhile is not ours to be replaced.
                if folder.which(name)? != Some(*id) {
                    return Err(stale().into());
                }
                folder.replace(called, name, *old)?;
            }
        }
        Ok(self.hidden.sync()?)
    }
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if !self.decided {
            // A panic is passing through: there is nobody to tell.
            let _ = self.take_back();
        }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What cannot be removed now is a leftover for the next one who comes here.
            let _ = self.folder.remove(temporary, self.id);
        }
        if let Some(own) = &self.own {
            temp::release(own);
        }
    }
}

/// The name leads to another file by now.
pub(crate) fn stale() -> io::Error {
    io::Error::from_raw_os_error(libc::ESTALE)
}

/// The error for a file that did not get its rights, and so must not get its name either.
pub(crate) fn rights_failed(filename: &CStr, error: io::Error) -> Error {
    if error.raw_os_error() == Some(libc::ENOMEM) {
        return Error::AllocFail { bytes: rights::LONGEST };
    }
    naming_failed(filename, error.into())
}

/// The error for a file that did not get its name.
pub(crate) fn naming_failed(filename: &CStr, failure: Failure) -> Error {
    let file = filename.to_string_lossy().into();
    let code = |error: &io::Error| match error.raw_os_error() {
        Some(libc::ENOENT) => ErrorCode::NO_SUCH_FILE,
        _ => ErrorCode::OPEN_FILE,
    };
    let state = match &failure {
        Failure::NotDone(error) => {
            let (code, os_error) = (code(error), error.raw_os_error().unwrap_or(0));
            return Error::Io { operation: Operation::Open, file, position: 0, code, os_error };
        }
        Failure::Lacking(what, _) => what,
        Failure::Unknown(_) => {
            "the outcome is unknown: which names lead to which files could not be told, or not be put back"
        }
    };
    let os_error = failure.into_io().raw_os_error().unwrap_or(0);
    Error::Naming { file, state, code: ErrorCode::OPEN_FILE, os_error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_rights_is_told_as_memory() {
        let error = |number| rights_failed(c"a", io::Error::from_raw_os_error(number));
        assert_eq!(error(libc::ENOMEM).code(), ErrorCode::ALLOC_FAIL);
        assert_eq!(
            (error(libc::EPERM).code(), error(libc::EPERM).os_error()),
            (ErrorCode::OPEN_FILE, Some(libc::EPERM))
        );
    }
}
