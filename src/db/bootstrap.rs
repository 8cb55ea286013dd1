//! Atomic creation: a new database is there, complete and durable, or not at all.
//!
//! 1. create a file that nobody sees: without a name, or where that is not possible with a temporary one
//! 2. write the first header and sync the file
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
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// After so many lost races against creators whose files were gone again, opening gives up.
const MAX_RACES: u32 = 100;

/// A complete file that has not got its name yet.
struct Hidden {
    file: DbFile,
    state: State,
    id: FileId,
    place: Place,
}

enum Place {
    /// It has no name; linking takes a descriptor.
    Unnamed(File),
    Temporary(CString),
}

impl OpenOptions {
    /// Opens the file or, if there is none, creates it atomically.
    pub(super) fn open_or_bootstrap(&self, filename: &CStr) -> Result<(DbFile, State)> {
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
        Err(failed(filename, &io::Error::from_raw_os_error(libc::ENOENT)))
    }

    /// Creates the file; `EEXIST` if there is one.
    fn bootstrap_new(&self, filename: &CStr) -> Result<(DbFile, State)> {
        let naming = self.naming_calls();
        let naming = naming.as_ref();
        let error = |error: io::Error| failed(filename, &error);
        let (directory, name) = naming::split(filename).map_err(error)?;
        let directory = naming.open_directory(directory).map_err(error)?;
        if naming.identify(&directory, &name).is_ok() {
            return Err(error(io::Error::from_raw_os_error(libc::EEXIST)));
        }
        let Hidden { mut file, state, id, place } = self.create_hidden(filename, naming, &directory)?;
        let named = match &place {
            Place::Unnamed(file) => naming.link_unnamed(file, &directory, &name),
            Place::Temporary(temporary) => naming::publish(naming, &directory, temporary, &name, id),
        };
        let durable = named.and_then(|()| naming.sync_directory(&directory));
        durable.map_err(|cause| {
            let cause = error(cause);
            let _ = file.io().close();
            // On a network file system a call that failed may have been carried out.
            naming::unlink_if_same(naming, &directory, &name, id);
            if let Place::Temporary(temporary) = &place {
                naming::unlink_if_same(naming, &directory, temporary, id);
            }
            cause
        })?;
        Ok((file, state))
    }

    fn create_hidden(&self, filename: &CStr, naming: &dyn Naming, directory: &File) -> Result<Hidden> {
        if !self.ops().is_default() {
            return self.create_through_ops(filename, naming, directory);
        }
        let error = |error: io::Error| failed(filename, &error);
        let new = naming::create_hidden(naming, directory).map_err(error)?;
        let discard = || {
            if let Some(temporary) = &new.temporary {
                let _ = naming.unlink(directory, temporary);
            }
        };
        let prepared = naming::identity(&new.file).and_then(|id| Ok((id, new.file.try_clone()?)));
        let (id, clone) = prepared.map_err(error).inspect_err(|_| discard())?;
        let handle: Box<dyn FileHandle> = Box::new(PosixFile::from(clone));
        let (file, state) = self.fill(filename, handle).inspect_err(|_| discard())?;
        let place = match new.temporary {
            Some(temporary) => Place::Temporary(temporary),
            None => Place::Unnamed(new.file),
        };
        Ok(Hidden { file, state, id, place })
    }

    /// The caller's file operations know no unnamed files: they get a temporary name.
    fn create_through_ops(&self, filename: &CStr, naming: &dyn Naming, directory: &File) -> Result<Hidden> {
        let error = |error: io::Error| failed(filename, &error);
        let temporary = CString::new(temporary_name()).map_err(|nul| error(nul.into()))?;
        let (parent, _) = naming::split(filename).map_err(error)?;
        let path = parent.join(temporary.to_string_lossy().as_ref());
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|nul| error(nul.into()))?;
        let discard = || {
            let _ = naming.unlink(directory, &temporary);
        };
        let mode = OpenMode { create: true, exclusive: true, ..self.mode() };
        let handle = self.open_handle(&path, mode).inspect_err(|_| discard())?;
        let (file, state) = self.fill(filename, handle).inspect_err(|_| discard())?;
        let id = naming.identify(directory, &temporary).map_err(error).inspect_err(|_| discard())?;
        Ok(Hidden { file, state, id, place: Place::Temporary(temporary) })
    }

    /// Writes the first header of a new file and makes it durable. A sync that fails is not tried again.
    fn fill(&self, filename: &CStr, handle: Box<dyn FileHandle>) -> Result<(DbFile, State)> {
        let mut file = self.wrap(filename, handle);
        let started = self.start(&mut file).and_then(|state| {
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

fn failed(filename: &CStr, error: &io::Error) -> Error {
    let os_error = error.raw_os_error().unwrap_or(0);
    let code = if os_error == libc::ENOENT { ErrorCode::NO_SUCH_FILE } else { ErrorCode::OPEN_FILE };
    let file = filename.to_string_lossy().into();
    Error::Io { operation: Operation::Open, file, position: 0, code, os_error }
}
