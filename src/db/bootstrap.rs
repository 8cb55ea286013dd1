//! Files that get their name only when they are complete: atomic creation of databases, and of compaction's targets.
//!
//! 1. create a file that nobody sees: without a name, or where that is not possible with a temporary one
//! 2. write what belongs into it and sync the file
//! 3. give it its name, never replacing what has that name
//! 4. sync the directory
//!
//! Content is durable before the name exists; the name is durable before success is reported. Whatever fails, and
//! whenever the process is killed, no half-made file has the name. An existing file is never touched.

use super::State;
use super::open::OpenOptions;
use crate::error::{Error, ErrorCode, Operation, Result};
use crate::io::file::DbFile;
use crate::io::naming::{self, FileId, Naming};
use crate::io::posix::PosixFile;
use crate::io::temp::temporary_name;
use crate::io::{FileHandle, OpenMode};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// After so many lost races against creators whose files were gone again, opening gives up.
const MAX_RACES: u32 = 100;
/// Links that are followed to where a file is to be made.
const MAX_LINKS: u32 = 40;

/// A file that has not got its name yet. Dropping it removes what it has in the directory; the descriptor in use
/// keeps the file itself.
pub(crate) struct Hidden {
    naming: Arc<dyn Naming>,
    directory: File,
    /// The name that it is to get.
    name: CString,
    id: FileId,
    place: Place,
}

enum Place {
    /// It has no name; linking takes a descriptor.
    Unnamed(File),
    Temporary(CString),
    /// It has its name.
    Published,
}

/// A file that has got its name, and may still lose it: unless it is settled, dropping this undoes the naming.
pub(crate) struct Named<'a> {
    hidden: &'a Hidden,
    /// The temporary name of the file that had the name before.
    replaced: Option<CString>,
    settled: bool,
}

impl Hidden {
    fn temporary() -> io::Result<CString> {
        Ok(CString::new(temporary_name())?)
    }

    /// Gives the file its name, which must not exist, durably.
    pub(crate) fn publish(&mut self) -> io::Result<()> {
        let (naming, directory) = (self.naming.as_ref(), &self.directory);
        let named = match &self.place {
            Place::Unnamed(file) => naming.link_unnamed(file, directory, &self.name),
            Place::Temporary(temporary) => naming::publish(naming, directory, temporary, &self.name, self.id),
            Place::Published => Ok(()),
        };
        let durable = named.and_then(|()| naming.sync_directory(directory));
        match durable {
            Ok(()) => self.place = Place::Published,
            // On a network file system a call that failed may have been carried out.
            Err(_) => naming::unlink_if_same(naming, directory, &self.name, self.id),
        }
        durable
    }

    /// As [`Hidden::publish`], but can be undone.
    pub(crate) fn publish_for_now(&mut self) -> io::Result<Named<'_>> {
        self.publish()?;
        Ok(Named { hidden: self, replaced: None, settled: false })
    }

    /// Takes the name away again, if it still leads to this file.
    fn withdraw(&self) {
        naming::unlink_if_same(self.naming.as_ref(), &self.directory, &self.name, self.id);
        let _ = self.naming.sync_directory(&self.directory);
    }

    /// Gives the file the owner and the permissions of another one, as far as the process may.
    pub(crate) fn take_after(&self, other: &Path) -> io::Result<()> {
        let file = match &self.place {
            Place::Unnamed(file) => file.try_clone()?,
            Place::Temporary(name) => {
                let directory = format!("/proc/self/fd/{}", self.directory.as_raw_fd());
                File::open(Path::new(&directory).join(OsStr::from_bytes(name.to_bytes())))?
            }
            Place::Published => return Ok(()),
        };
        let wanted = std::fs::metadata(other)?;
        let owned = std::os::unix::fs::fchown(&file, Some(wanted.uid()), Some(wanted.gid()));
        // After the owner: changing that takes some permissions away.
        file.set_permissions(wanted.permissions())?;
        owned
    }

    /// Puts the file in the place of the one that has the name, durably. That one keeps a temporary name until the
    /// result is settled.
    pub(crate) fn replace(&mut self) -> io::Result<Named<'_>> {
        let temporary = match std::mem::replace(&mut self.place, Place::Published) {
            Place::Temporary(temporary) => temporary,
            Place::Unnamed(file) => {
                let temporary = Hidden::temporary()?;
                self.naming.link_unnamed(&file, &self.directory, &temporary)?;
                temporary
            }
            Place::Published => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
        };
        self.place = Place::Temporary(temporary.clone());
        let replaced = Some(self.swap_names(&temporary)?);
        self.place = Place::Published;
        let named = Named { hidden: self, replaced, settled: false };
        named.hidden.naming.sync_directory(&named.hidden.directory)?;
        Ok(named)
    }

    /// Swaps the file with the one that has the name; returns the temporary name of that one.
    fn swap_names(&self, temporary: &CStr) -> io::Result<CString> {
        let (naming, directory) = (self.naming.as_ref(), &self.directory);
        match naming.exchange(directory, temporary, &self.name) {
            Err(error) if naming::is_unsupported(&error) => {
                let backup = Hidden::temporary()?;
                naming.link(directory, &self.name, &backup)?;
                let renamed = naming.rename(directory, temporary, &self.name);
                renamed.inspect_err(|_| {
                    let _ = naming.unlink(directory, &backup);
                })?;
                Ok(backup)
            }
            result => result.map(|()| temporary.to_owned()),
        }
    }
}

impl Named<'_> {
    /// Keeps the name, and lets the file go that had it. That one lives on for those who have it open.
    pub(crate) fn settle(mut self) {
        self.settled = true;
        if let Some(replaced) = &self.replaced {
            let _ = self.hidden.naming.unlink(&self.hidden.directory, replaced);
        }
    }
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        let Hidden { naming, directory, name, .. } = self.hidden;
        match &self.replaced {
            _ if self.settled => {}
            Some(replaced) => {
                if naming.rename(directory, replaced, name).is_ok() {
                    let _ = naming.sync_directory(directory);
                }
            }
            None => self.hidden.withdraw(),
        }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Place::Temporary(temporary) = &self.place {
            naming::unlink_if_same(self.naming.as_ref(), &self.directory, temporary, self.id);
        }
    }
}

impl OpenOptions {
    /// Opens the file or, if there is none, creates it atomically. A symbolic link that leads nowhere makes the file
    /// that it names, as it would with open(2).
    pub(super) fn open_or_bootstrap(&self, filename: &CStr) -> Result<(DbFile, State)> {
        let exclusive = self.mode().exclusive;
        let resolved = if exclusive { None } else { follow_dangling(filename) };
        let filename = resolved.as_deref().unwrap_or(filename);
        for _ in 0..MAX_RACES {
            if !self.mode().exclusive {
                let existing = OpenMode { create: false, ..self.mode() };
                match self.open_in_place(filename, existing) {
                    Err(error) if error.code() == ErrorCode::NO_SUCH_FILE => {}
                    result => return result,
                }
            }
            match self.bootstrap_new(filename) {
                // Another creator was faster: its file is the one to open.
                Err(error) if error.os_error() == Some(libc::EEXIST) && !self.mode().exclusive => {}
                result => return result,
            }
        }
        Err(naming_failed(filename, &io::Error::from_raw_os_error(libc::ENOENT)))
    }

    /// Creates the file; `EEXIST` if there is one.
    fn bootstrap_new(&self, filename: &CStr) -> Result<(DbFile, State)> {
        let failed = |error: io::Error| naming_failed(filename, &error);
        let (directory, name) = open_directory(self.naming_calls().as_ref(), filename).map_err(failed)?;
        if self.naming_calls().identify(&directory, &name).is_ok() {
            return Err(failed(io::Error::from_raw_os_error(libc::EEXIST)));
        }
        let (mut hidden, mut file, state) = self.create_hidden(filename)?;
        if let Err(error) = hidden.publish() {
            let _ = file.io().close();
            return Err(failed(error));
        }
        file.set_named(true);
        Ok((file, state))
    }

    /// Creates a durable file that nobody sees and that may get the name `filename` later.
    pub(crate) fn create_hidden(&self, filename: &CStr) -> Result<(Hidden, DbFile, State)> {
        let failed = |error: io::Error| naming_failed(filename, &error);
        let naming = self.naming_calls();
        let (directory, name) = open_directory(naming.as_ref(), filename).map_err(failed)?;
        let (place, handle) = if self.ops().is_default() {
            let new = naming::create_hidden(naming.as_ref(), &directory).map_err(failed)?;
            let discard = || {
                if let Some(temporary) = &new.temporary {
                    let _ = naming.unlink(&directory, temporary);
                }
            };
            let clone = new.file.try_clone().map_err(failed).inspect_err(|_| discard())?;
            let handle: Box<dyn FileHandle> = Box::new(PosixFile::from(clone));
            (new.temporary.map_or(Place::Unnamed(new.file), Place::Temporary), handle)
        } else {
            let temporary = Hidden::temporary().map_err(failed)?;
            let handle = self.open_temporary(filename, &temporary).inspect_err(|_| {
                let _ = naming.unlink(&directory, &temporary);
            })?;
            (Place::Temporary(temporary), handle)
        };
        let id = match &place {
            Place::Unnamed(file) => naming::identity(file),
            Place::Temporary(temporary) => naming.identify(&directory, temporary),
            Place::Published => Ok(FileId::default()),
        };
        let id = id.map_err(failed).inspect_err(|_| {
            if let Place::Temporary(temporary) = &place {
                let _ = naming.unlink(&directory, temporary);
            }
        })?;
        let hidden = Hidden { naming, directory, name, id, place };
        let (file, state) = self.fill(filename, handle)?;
        Ok((hidden, file, state))
    }

    /// The caller's file operations know no unnamed files: they get a temporary name.
    fn open_temporary(&self, filename: &CStr, temporary: &CStr) -> Result<Box<dyn FileHandle>> {
        let failed = |error: io::Error| naming_failed(filename, &error);
        let (parent, _) = naming::split(filename).map_err(failed)?;
        let path: &Path = &parent.join(temporary.to_string_lossy().as_ref());
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|nul| failed(nul.into()))?;
        self.open_handle(&path, OpenMode { create: true, exclusive: true, ..self.mode() })
    }

    /// Writes the first header of a new file and makes it durable. A sync that fails is not tried again.
    fn fill(&self, filename: &CStr, handle: Box<dyn FileHandle>) -> Result<(DbFile, State)> {
        let mut file = self.wrap(filename, handle);
        file.set_named(false);
        let started = self.start(&mut file, &mut None).and_then(|state| {
            file.flush()?;
            file.sync_flushed()?;
            Ok(state)
        });
        match started {
            Ok(state) => Ok((file, state)),
            Err(error) => {
                file.take_back(0);
                let _ = file.io().close();
                Err(error)
            }
        }
    }
}

/// What a symbolic link names that leads nowhere; `None` if it is no such link.
fn follow_dangling(filename: &CStr) -> Option<CString> {
    let mut path = Path::new(OsStr::from_bytes(filename.to_bytes())).to_owned();
    let mut followed = false;
    for _ in 0..MAX_LINKS {
        let Ok(next) = std::fs::read_link(&path) else { break };
        if path.exists() {
            return None;
        }
        path = path.parent().unwrap_or(Path::new("")).join(next);
        followed = true;
    }
    if followed { CString::new(path.as_os_str().as_bytes()).ok() } else { None }
}

fn open_directory(naming: &dyn Naming, filename: &CStr) -> io::Result<(File, CString)> {
    let (directory, name) = naming::split(filename)?;
    Ok((naming.open_directory(directory)?, name))
}

/// The error for a naming call that failed.
pub(crate) fn naming_failed(filename: &CStr, error: &io::Error) -> Error {
    let os_error = error.raw_os_error().unwrap_or(0);
    let code = if os_error == libc::ENOENT { ErrorCode::NO_SUCH_FILE } else { ErrorCode::OPEN_FILE };
    let file = filename.to_string_lossy().into();
    Error::Io { operation: Operation::Open, file, position: 0, code, os_error }
}
