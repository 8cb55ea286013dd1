// SPDX-License-Identifier: Apache-2.0

//! Another file, or the same one again, under a handle that is there.

#![forbid(unsafe_code)]

use super::open::OpenOptions;
use super::{Db, State, headers, sharing};
use crate::error::{Error, Result, Sought};
use crate::io::file::DbFile;
use std::ffi::CStr;

impl Db {
    /// Opens another file, or the same one again, under this handle. It must hold the handle's header: one with the
    /// same sequence number at the same position.
    ///
    /// On failure the handle is closed and the result is [`Error::DbNoLongerValid`].
    pub fn reopen(&self, filename: &CStr, options: &OpenOptions) -> Result<()> {
        let _exclusive = self.begin_exclusive()?;
        // A caller may pass the handle's own name.
        let filename = &filename.to_owned();
        let _ = self.close();
        let old = self.snapshot();
        let opened = open_again(filename, options, &old);
        let (file, state) = opened.map_err(|error| Error::DbNoLongerValid(Box::new(error)))?;
        let key_id = file.encryption().map(|encryption| encryption.key_id.clone());
        *self.key_id.borrow_mut() = key_id.unwrap_or_default();
        self.file.note_discarded();
        self.file.replace(file);
        self.file.moved_to(state.committed_end());
        // It may stand on an older header than the newest: what that is in a cache is for whoever opens the file anew.
        sharing::begin_keeping(options, None, filename, &self.file, &state);
        self.update_state(|current| *current = *state);
        *self.options.borrow_mut() = options.clone().keys(None);
        self.filename.replace(filename.as_c_str().into());
        self.latch.set(None);
        Ok(())
    }
}

/// Opens a file that holds the header of `old`, and goes there.
fn open_again(filename: &CStr, options: &OpenOptions, old: &State) -> Result<(Box<DbFile>, Box<State>)> {
    let (mut file, mut state) = options.open_file(filename)?;
    let Some(position) = old.position else {
        let (file, sought) = (file.name(), Sought::Anywhere(file.end()));
        return Err(Error::NoHeader { file, sought, cause: None });
    };
    if state.position != Some(position) {
        state = headers::read_at(&mut file, position, headers::Kind::Known)?;
    }
    let (expected, found) = (old.header.update_seq, state.header.update_seq);
    if found != expected {
        return Err(Error::OtherHeader { file: file.name(), position, expected, found });
    }
    Ok((file, state))
}
