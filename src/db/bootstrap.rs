// SPDX-License-Identifier: Apache-2.0

//! Atomic creation of databases, and of compaction's targets.
//!
//! 1. create a file that nobody sees: without a name, or where that is not possible with a temporary one
//! 2. write what belongs into it and sync the file
//! 3. give it its name, never replacing what has that name
//! 4. sync the directory
//!
//! Whatever fails, and whenever the process is killed, no half-made file has the name. An existing file is never
//! touched.

use super::State;
use super::hidden::{Hidden, Purpose, naming_failed, place};
use super::open::OpenOptions;
use crate::error::Result;
use crate::io::file::DbFile;
use crate::io::folder::{Failure, Folder};
use crate::io::naming::split;
use crate::io::temp;
use crate::io::{FileHandle, OpenMode};
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// After so many lost races against creators whose files were gone again, opening gives up.
const MAX_RACES: u32 = 100;
/// Links that are followed to where a file is to be made.
const MAX_LINKS: u32 = 40;

impl OpenOptions {
    /// Opens the file or, if there is none, creates it atomically. A symbolic link that leads nowhere makes the file
    /// that it names, as it would with open(2).
    pub(super) fn open_or_bootstrap(&self, filename: &CStr) -> Result<(Box<DbFile>, Box<State>)> {
        let exclusive = self.mode().exclusive;
        let resolved = if exclusive { None } else { follow_dangling(filename) };
        let filename = resolved.as_deref().unwrap_or(filename);
        for _ in 0..MAX_RACES {
            if !self.mode().exclusive {
                let existing = OpenMode { create: false, ..self.mode() };
                match self.open_in_place(filename, existing) {
                    Err(error) if error.is_missing_file() => {}
                    result => return result,
                }
            }
            match self.bootstrap_new(filename) {
                // Another creator was faster: its file is the one to open.
                Err(error) if error.is_taken_name() && !self.mode().exclusive => {}
                result => return result,
            }
        }
        Err(naming_failed(filename, io::Error::from_raw_os_error(libc::ENOENT).into()))
    }

    /// Creates the file; `EEXIST` if there is one.
    fn bootstrap_new(&self, filename: &CStr) -> Result<(Box<DbFile>, Box<State>)> {
        let mut purpose = Purpose::Creation;
        loop {
            let (mut hidden, mut file, state) = self.create_hidden(filename, purpose)?;
            let Err(failure) = hidden.publish() else {
                file.set_named(true);
                return Ok((file, state));
            };
            // It is not going to be used: whether closing it succeeds does not matter.
            let _ = file.io().close();
            if !(hidden.is_unnamed() && failure.allows_another_way()) {
                return Err(naming_failed(filename, failure));
            }
            // Nothing but a header has been written, so beginning anew costs little.
            purpose = Purpose::CreationByRenaming;
        }
    }

    /// Creates a durable file that nobody sees and that may get the name `filename` later.
    pub(crate) fn create_hidden(
        &self,
        filename: &CStr,
        purpose: Purpose,
    ) -> Result<(Hidden, Box<DbFile>, Box<State>)> {
        let failed = |failure: Failure| naming_failed(filename, failure);
        let (folder, name) = place(self.naming_calls(), filename, purpose).map_err(failed)?;
        let (hidden, handle) = if self.ops().is_default() {
            let (hidden, file) = Hidden::create(folder, name, purpose).map_err(failed)?;
            (hidden, self.ops().take_over(file))
        } else {
            self.create_through_operations(filename, &folder, &name)?
        };
        let (file, state) = self.fill(filename, handle)?;
        Ok((hidden, file, state))
    }

    /// The caller's file operations know no unnamed files: they get a temporary name.
    fn create_through_operations(
        &self,
        filename: &CStr,
        folder: &Folder,
        name: &CStr,
    ) -> Result<(Hidden, Box<dyn FileHandle>)> {
        let failed = |failure: Failure| naming_failed(filename, failure);
        let (parent, _) = split(filename).map_err(|error| failed(error.into()))?;
        let mode = OpenMode { create: true, exclusive: true, ..self.mode() };
        temp::remove_half_made(folder);
        let created = temp::until_held(|| {
            let temporary = temp::half_made_name().map_err(|error| failed(error.into()))?;
            let path = parent.join(OsStr::from_bytes(temporary.to_bytes()));
            let path = CString::new(path.as_os_str().as_bytes());
            let path = path.map_err(|nul| failed(io::Error::from(nul).into()))?;
            match self.open_handle(&path, mode) {
                Ok(handle) => {
                    let hidden = Hidden::adopt(folder, name, temporary).map_err(failed)?;
                    Ok(hidden.map(|hidden| (hidden, handle)))
                }
                Err(error) => {
                    // It may have been made all the same; then it is a leftover if it cannot be removed.
                    let _ = folder.remove_stray(&temporary);
                    Err(error)
                }
            }
        });
        created?.ok_or_else(|| failed(temp::never_held()))
    }

    /// Writes the first header of a new file and makes it durable. A sync that fails is not tried again.
    fn fill(&self, filename: &CStr, handle: Box<dyn FileHandle>) -> Result<(Box<DbFile>, Box<State>)> {
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
