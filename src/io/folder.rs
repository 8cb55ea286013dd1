// SPDX-License-Identifier: Apache-2.0

//! Changing the names in a folder, and knowing afterwards what has become of them.
//!
//! On a network file system a call that reports a failure may have been carried out. So after each failure both names
//! are looked at: which files they lead to decides, not what the call has said. Where that cannot be told the outcome
//! is *unknown*, and then nothing more may be removed or renamed: it might be the only name of something.

#![forbid(unsafe_code)]

use super::naming::{FileId, Naming, is_final, is_unsupported};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Why names are not as they were wanted.
#[derive(Debug)]
pub(crate) enum Failure {
    /// They are as they were before.
    NotDone(io::Error),
    /// They are as they were before, since the file system has nothing of what would be needed.
    Lacking(&'static str, io::Error),
    /// It cannot be told what they lead to, or they could not be put back.
    Unknown(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::NotDone(error)
    }
}

impl Failure {
    /// What the operating system has said.
    pub(crate) fn into_io(self) -> io::Error {
        let (Failure::NotDone(error) | Failure::Lacking(_, error) | Failure::Unknown(error)) = self;
        error
    }

    /// Another step had to undo something and has failed, too.
    pub(crate) fn unknown(self) -> Failure {
        Failure::Unknown(self.into_io())
    }

    /// Whether nothing was changed, and another way may do what this one could not.
    pub(crate) fn allows_another_way(&self) -> bool {
        matches!(self, Failure::NotDone(error) if !is_final(error))
    }
}

/// An open folder.
#[derive(Clone)]
pub(crate) struct Folder {
    naming: Arc<dyn Naming>,
    directory: Arc<File>,
}

impl Folder {
    pub(crate) fn open(naming: Arc<dyn Naming>, path: &Path) -> io::Result<Folder> {
        let directory = Arc::new(naming.open_directory(path)?);
        Ok(Folder { naming, directory })
    }

    /// Calls whose failures need no interpretation.
    pub(crate) fn naming(&self) -> &dyn Naming {
        self.naming.as_ref()
    }

    pub(crate) fn directory(&self) -> &File {
        &self.directory
    }

    /// Which file has the name, if one has.
    pub(crate) fn which(&self, name: &CStr) -> io::Result<Option<FileId>> {
        match self.naming.identify(&self.directory, name) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The outcome of a call that was to give a file this name.
    fn named(&self, result: io::Result<()>, name: &CStr, file: FileId) -> Result<(), Failure> {
        let Err(error) = result else { return Ok(()) };
        match self.which(name) {
            Ok(found) if found == Some(file) => Ok(()),
            Ok(_) => Err(Failure::NotDone(error)),
            Err(_) => Err(Failure::Unknown(error)),
        }
    }

    /// The outcome of a call that was to move a file from one name to another, which may have been another file's.
    fn moved(&self, result: io::Result<()>, from: &CStr, to: &CStr, file: FileId) -> Result<(), Failure> {
        let Err(error) = result else { return Ok(()) };
        match (self.which(from), self.which(to)) {
            (_, Ok(to)) if to == Some(file) => Ok(()),
            (Ok(from), Ok(_)) if from == Some(file) => Err(Failure::NotDone(error)),
            _ => Err(Failure::Unknown(error)),
        }
    }

    /// Gives a file without a name this one, which must not exist.
    pub(crate) fn link_unnamed(&self, file: &File, name: &CStr, id: FileId) -> Result<(), Failure> {
        self.named(self.naming.link_unnamed(file, &self.directory, name), name, id)
    }

    /// Gives the file `from` the name `to` instead, which must not exist.
    pub(crate) fn rename_exclusive(&self, from: &CStr, to: &CStr, file: FileId) -> Result<(), Failure> {
        let renamed = self.naming.rename_exclusive(&self.directory, from, to);
        let lost_answer = renamed.is_err();
        match self.moved(renamed, from, to, file) {
            // A plain rename could destroy another creator's file.
            Err(failure) if failure.allows_another_way() => {
                let linked = self.naming.link(&self.directory, from, to);
                self.named(linked, to, file)
                    .map_err(|failure| lacking_links(failure, NO_EXCLUSIVE_NAMING))?;
                self.end_with_one(from, to, file)
            }
            Ok(()) if lost_answer => self.end_with_one(from, to, file),
            result => result,
        }
    }

    /// A file that has two names is to have the second one alone, or if that cannot be done, the first one alone: the
    /// other would be foreign in the folder.
    fn end_with_one(&self, from: &CStr, to: &CStr, file: FileId) -> Result<(), Failure> {
        self.remove(from, file).or_else(|failure| match failure {
            Failure::Unknown(_) => Err(failure),
            failure => self.remove(to, file).map_err(Failure::unknown).and(Err(failure)),
        })
    }

    /// Puts the file `new` in the place of `old`, which has the name `name`. `old` keeps a name: that which `new` had,
    /// or `backup`. Returns which.
    pub(crate) fn displace<'n>(
        &self,
        (new, new_id): (&'n CStr, FileId),
        (name, old_id): (&CStr, FileId),
        backup: &'n CStr,
    ) -> Result<&'n CStr, Failure> {
        let exchanged = self.naming.exchange(&self.directory, new, name);
        match self.moved(exchanged, new, name, new_id) {
            Ok(()) => Ok(new),
            Err(Failure::NotDone(error)) if is_unsupported(&error) => {
                let linked = self.naming.link(&self.directory, name, backup);
                self.named(linked, backup, old_id).map_err(|failure| lacking_links(failure, NO_EXCHANGE))?;
                self.replace(new, name, new_id).or_else(|failure| match failure {
                    Failure::Unknown(_) => Err(failure),
                    failure => self.remove_second_name((name, backup), old_id).and(Err(failure)),
                })?;
                Ok(backup)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Gives the file `from` the name `to` instead, and takes that from whichever file has it.
    pub(crate) fn replace(&self, from: &CStr, to: &CStr, file: FileId) -> Result<(), Failure> {
        self.moved(self.naming.rename(&self.directory, from, to), from, to, file)
    }

    /// Removes the second name of a file that surely has the first one.
    fn remove_second_name(&self, (first, second): (&CStr, &CStr), file: FileId) -> Result<(), Failure> {
        match self.which(first) {
            Ok(found) if found == Some(file) => self.remove(second, file).map_err(Failure::unknown),
            Ok(_) => Err(Failure::Unknown(io::Error::from_raw_os_error(libc::ESTALE))),
            Err(error) => Err(Failure::Unknown(error)),
        }
    }

    /// Removes the name if it is this file's: another creator's file is never touched.
    pub(crate) fn remove(&self, name: &CStr, file: FileId) -> Result<(), Failure> {
        if self.which(name).map_err(Failure::Unknown)? != Some(file) {
            return Ok(());
        }
        let Err(error) = self.naming.unlink(&self.directory, name) else { return Ok(()) };
        match self.which(name) {
            Ok(found) if found == Some(file) => Err(Failure::NotDone(error)),
            Ok(_) => Ok(()),
            Err(_) => Err(Failure::Unknown(error)),
        }
    }

    /// Removes what a call with a lost answer may have made under a name that nobody else has heard of.
    pub(crate) fn remove_stray(&self, name: &CStr) -> Result<(), Failure> {
        match self.which(name).map_err(Failure::Unknown)? {
            Some(file) => self.remove(name, file),
            None => Ok(()),
        }
    }

    /// Makes the names durable. Where a folder cannot be synced the file system is, by way of a file on it.
    pub(crate) fn sync(&self, file: Option<&File>) -> io::Result<()> {
        match (self.naming.sync_directory(&self.directory), file) {
            (Err(error), Some(file)) if is_not_for_folders(&error) => self.naming.sync_file_system(file),
            (result, _) => result,
        }
    }
}

const NO_EXCLUSIVE_NAMING: &str = "the file system has neither RENAME_NOREPLACE nor hard links: \
     it cannot name a file without the danger of replacing another";
const NO_EXCHANGE: &str = "the file system has neither RENAME_EXCHANGE nor hard links: \
     it cannot replace a file without the danger of losing it";

/// A link was the last way that was left.
fn lacking_links(failure: Failure, what: &'static str) -> Failure {
    match failure {
        Failure::NotDone(error) if has_no_links(&error) => Failure::Lacking(what, error),
        failure => failure,
    }
}

/// Whether this is how a file system says that its files have one name only.
fn has_no_links(error: &io::Error) -> bool {
    is_unsupported(error) || matches!(error.raw_os_error(), Some(libc::EPERM | libc::EMLINK))
}

/// Whether this is how syncing says that it is not for this folder: it may not be read (and so is open for its path
/// only), or the file system does not do that.
fn is_not_for_folders(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EBADF | libc::EINVAL | libc::EOPNOTSUPP))
}
