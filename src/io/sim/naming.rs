// SPDX-License-Identifier: Apache-2.0

//! Names on the simulated disk: they become durable only when the directory is synced.

use super::fault::{CallKind, Effect};
use super::{SimDisk, State};
use crate::io::naming::{FileId, Naming};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::path::Path;

/// Naming calls on a [`SimDisk`] in memory. Files are opened through its file operations, never by name here, so the calls that
/// would return an open file are not supported; neither are locks, and without those nobody needs lists.
pub(super) struct SimNaming {
    disk: SimDisk,
}

fn error<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

impl SimNaming {
    pub(super) fn new(disk: SimDisk) -> SimNaming {
        SimNaming { disk }
    }

    fn call<T>(&self, name: &'static str, action: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.disk.naming_call(name, action)
    }
}

/// What a call gives that was carried out before; `None`: the same again.
fn second_answer(name: &str) -> Option<i32> {
    match name {
        "create named" | "link unnamed" | "link" => Some(libc::EEXIST),
        "rename exclusive" | "rename" | "unlink" => Some(libc::ENOENT),
        _ => None,
    }
}

impl SimDisk {
    /// Carries out a call, unless it is to fail.
    pub(super) fn naming_call<T>(
        &self,
        name: &'static str,
        action: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.lock();
        state.naming_calls.push(name);
        let effect = state.enter(CallKind::Naming);
        let errno = match effect {
            Some(Effect::AskedTwice) => second_answer(name),
            effect => effect.and_then(Effect::errno),
        };
        let Some(errno) = errno else { return action(&mut state) };
        if matches!(effect, Some(Effect::DoneThenError(_) | Effect::AskedTwice)) {
            action(&mut state)?;
        }
        state.faults.fail(CallKind::Naming, errno);
        error(errno)
    }

    /// As [`SimDisk::naming_call`], for the removal of a name.
    pub(super) fn unlink_call(&self, action: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        if self.lock().faults.peek(CallKind::Naming) == Some(Effect::NotRemoved) {
            return self.naming_call("unlink", |_| Ok(()));
        }
        self.naming_call("unlink", action)
    }

    /// Makes the names durable. If that fails, those that were changed stay as they are on the disk: no later sync
    /// writes them.
    pub(super) fn sync_names_call(&self) -> io::Result<()> {
        let result = self.naming_call("sync directory", |state| {
            state.sync_names();
            Ok(())
        });
        if result.is_err() {
            self.lock().lose_names();
        }
        result
    }
}

impl State {
    fn add_name(&mut self, from: &CStr, to: &CStr) -> io::Result<()> {
        let Some(&index) = self.names.get(from.to_bytes()) else { return error(libc::ENOENT) };
        if self.names.contains_key(to.to_bytes()) {
            return error(libc::EEXIST);
        }
        self.change_names(|names| names.insert(to.to_bytes().to_vec(), index));
        Ok(())
    }
}

impl Naming for SimNaming {
    fn open_directory(&self, _: &Path) -> io::Result<File> {
        self.call("open directory", |_| File::open("/dev/null"))
    }

    fn create_unnamed(&self, _: &File) -> io::Result<File> {
        error(libc::EOPNOTSUPP)
    }

    fn create_named(&self, _: &File, _: &CStr, _: u32) -> io::Result<File> {
        error(libc::EOPNOTSUPP)
    }

    fn open_existing(&self, _: &File, _: &CStr) -> io::Result<File> {
        error(libc::EOPNOTSUPP)
    }

    fn link_unnamed(&self, _: &File, _: &File, _: &CStr) -> io::Result<()> {
        error(libc::EOPNOTSUPP)
    }

    fn rename_exclusive(&self, _: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.call("rename exclusive", |state| {
            state.add_name(from, to)?;
            state.change_names(|names| names.remove(from.to_bytes()));
            Ok(())
        })
    }

    fn rename(&self, _: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.call("rename", |state| {
            let Some(&index) = state.names.get(from.to_bytes()) else { return error(libc::ENOENT) };
            state.change_names(|names| {
                names.remove(from.to_bytes());
                names.insert(to.to_bytes().to_vec(), index)
            });
            Ok(())
        })
    }

    fn exchange(&self, _: &File, one: &CStr, other: &CStr) -> io::Result<()> {
        self.call("exchange", |state| {
            let names = (state.names.get(one.to_bytes()), state.names.get(other.to_bytes()));
            let (Some(&first), Some(&second)) = names else { return error(libc::ENOENT) };
            state.change_names(|names| {
                names.insert(one.to_bytes().to_vec(), second);
                names.insert(other.to_bytes().to_vec(), first)
            });
            Ok(())
        })
    }

    fn link(&self, _: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.call("link", |state| state.add_name(from, to))
    }

    fn unlink(&self, _: &File, name: &CStr) -> io::Result<()> {
        self.disk.unlink_call(|state| match state.change_names(|names| names.remove(name.to_bytes())) {
            Some(_) => Ok(()),
            None => error(libc::ENOENT),
        })
    }

    fn sync_directory(&self, _: &File) -> io::Result<()> {
        self.disk.sync_names_call()
    }

    fn sync_file_system(&self, _: &File) -> io::Result<()> {
        error(libc::EOPNOTSUPP)
    }

    fn list(&self, _: &File) -> io::Result<Vec<CString>> {
        error(libc::EOPNOTSUPP)
    }

    fn try_lock(&self, _: &File) -> io::Result<()> {
        error(libc::EOPNOTSUPP)
    }

    fn identify(&self, _: &File, name: &CStr) -> io::Result<FileId> {
        self.call("identify", |state| match state.names.get(name.to_bytes()) {
            Some(&index) => Ok((0, index as u64 + 1)),
            None => error(libc::ENOENT),
        })
    }
}
