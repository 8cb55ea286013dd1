// SPDX-License-Identifier: Apache-2.0

//! A simulated disk: file operations on files in memory that can fail in every way a disk can, and lose power.
//!
//! * [`SimDisk`]: a folder of files, each with what the page cache holds and what is durable
//! * [`fault`]: which calls fail, and how
//! * [`crash`]: what may be found on the disk after a power cut, from a log of writes and syncs
//! * `folder`: the same of a whole folder, with its names
//! * [`naming`]: names that become durable only when the directory is synced
//! * `real`: a disk whose files are real ones, too, for the library's own file operations and naming calls
//! * [`random`]: numbers that can be replayed
//!
//! Everything is deterministic: the same calls with the same faults and the same seed give the same bytes.
//!
//! The pages of a file follow the rules of Linux: a write makes them dirty, a successful sync makes the dirty ones
//! durable, and after a failed sync they are *clean*, whatever became of their content ([`fault::LostPages`]).

#![forbid(unsafe_code)]

pub mod crash;
pub mod fault;
mod file;
mod folder;
pub mod naming;
pub mod random;
mod real;

use super::naming::Naming;
use super::{FileHandle, FileOps, IoError, OpenMode};
use crate::error::ErrorCode;
use crash::{Event, FolderLog, Log};
use fault::{CallKind, Effect, Fault, Faults, LostPages};
use file::{Inode, SimHandle};
use folder::FolderEvent;
use parking_lot::{Mutex, MutexGuard};
use real::RealFolder;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// The code of all injected failures: one that the library does not know, so that it cannot be made up.
pub const INJECTED: ErrorCode = ErrorCode(-4711);

/// A folder of simulated files. Clones are the same folder.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// Which files have which names.
type Names = BTreeMap<Vec<u8>, usize>;

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: Names,
    /// The names that a power cut would leave.
    durable_names: Names,
    /// Those that a sync of the folder would write.
    dirty_names: BTreeSet<Vec<u8>>,
    /// What the names have been since the last sync of the folder, in order.
    unsynced_names: Vec<Names>,
    faults: Faults,
    /// Naming calls since the fault was set.
    naming_calls: Vec<&'static str>,
    handles: usize,
    /// `Some` while calls are recorded.
    log: Option<Log>,
    /// `Some` while everything is recorded.
    folder_log: Option<FolderLog>,
    /// `Some` if the files are those of a real folder.
    real: Option<RealFolder>,
}

/// The last part of a path: the disk has one folder only.
fn last_part(name: &[u8]) -> Vec<u8> {
    name.rsplit(|&byte| byte == b'/').next().unwrap_or_default().to_vec()
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// The disk as file operations.
    pub fn ops(&self) -> Arc<dyn FileOps> {
        Arc::new(self.clone())
    }

    /// The folder's names as the library's naming calls.
    pub fn naming(&self) -> Arc<dyn Naming> {
        if self.lock().real.is_some() {
            return Arc::new(real::RealNaming::new(self.clone()));
        }
        Arc::new(naming::SimNaming::new(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Puts a durable file with a durable name on the disk, in place of an old one.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.lock();
        let index = state.inodes.len();
        state.inodes.push(Inode::durable(bytes));
        state.names.insert(name.into(), index);
        state.durable_names.insert(name.into(), index);
    }

    /// Removes a file, if it exists.
    pub fn delete(&self, name: &str) {
        let mut state = self.lock();
        state.names.remove(name.as_bytes());
        state.durable_names.remove(name.as_bytes());
    }

    /// What the file holds as all processes see it.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        state.names.get(name.as_bytes()).map(|&index| state.inodes[index].live.clone())
    }

    /// How many bytes of the file somebody tried to change after they had been written, or might have been; the type
    /// bytes of blocks do not count. In an encrypted file each of them would be a nonce that is used twice.
    pub fn rewritten_bytes(&self, name: &str) -> usize {
        let state = self.lock();
        state.names.get(name.as_bytes()).map_or(0, |&index| state.inodes[index].rewritten())
    }

    /// All names, in order.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// How many handles are open: 0 once everything has been dropped.
    pub fn open_handles(&self) -> usize {
        self.lock().handles
    }

    // ---- faults ------------------------------------------------------------------------------------------------

    /// Makes calls fail; counts all calls anew from here. `None`: none fail any more.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.lock();
        state.faults = Faults::new(fault);
        state.naming_calls.clear();
    }

    /// The naming calls since [`SimDisk::set_fault`], by their names.
    pub fn naming_calls(&self) -> Vec<&'static str> {
        self.lock().naming_calls.clone()
    }

    /// Number of calls of a kind since [`SimDisk::set_fault`].
    pub fn calls(&self, kind: CallKind) -> usize {
        self.lock().faults.calls(kind)
    }

    /// Number of calls that were hit, whatever the effect.
    pub fn hits(&self) -> usize {
        self.lock().faults.hits()
    }

    /// Number of calls that reported a failure.
    pub fn failures(&self) -> usize {
        self.lock().faults.failures()
    }

    /// Number of syncs that reported a failure.
    pub fn failed_syncs(&self) -> usize {
        self.lock().faults.failed_syncs()
    }

    /// Number of syncs of the folder that reported a failure.
    pub fn failed_name_syncs(&self) -> usize {
        self.lock().faults.failed_name_syncs()
    }

    // ---- power cuts --------------------------------------------------------------------------------------------

    /// Starts to record the calls on a file, which may be created only later.
    pub fn record(&self, name: &str) {
        let mut state = self.lock();
        let file = state.names.get(name.as_bytes()).copied();
        let start = file.map(|index| state.inodes[index].durable.clone()).unwrap_or_default();
        // The next file that is created gets the next number.
        let file = file.unwrap_or(state.inodes.len());
        state.log = Some(Log::new(file, start));
    }

    /// Notes in the log that something has been acknowledged to the caller.
    pub fn mark(&self, number: u64) {
        let mut state = self.lock();
        if let Some(log) = &mut state.log {
            log.push(Event::Mark(number));
        }
        state.note_folder(FolderEvent::Mark(number));
    }

    /// Ends the recording.
    pub fn take_log(&self) -> Log {
        self.lock().log.take().unwrap_or_default()
    }

    /// Starts to record everything.
    pub fn record_folder(&self) {
        let mut state = self.lock();
        state.folder_log = Some(FolderLog::default());
        for number in 0..state.inodes.len() {
            let (content, id) = (state.inodes[number].durable.clone(), state.inodes[number].id());
            state.note_folder(FolderEvent::Made(content, id));
        }
        let names = state.durable_names.clone();
        state.note_folder(FolderEvent::NamesSynced(names));
        if let Some(log) = &mut state.folder_log {
            log.has_started();
        }
    }

    /// Ends the recording of everything.
    pub fn take_folder_log(&self) -> FolderLog {
        self.lock().folder_log.take().unwrap_or_default()
    }

    /// The disk, in memory, after a power cut that kept nothing but what is durable, once for each state that the
    /// names may be in.
    pub fn after_power_cuts(&self) -> Vec<SimDisk> {
        let mut states = vec![self.lock().durable_names.clone()];
        states.extend(self.lock().unsynced_names.iter().cloned());
        states.dedup();
        states.into_iter().map(|names| self.with_names(names)).collect()
    }

    /// The disk after a power cut that kept nothing but what is durable. Of names, `keep_names` keeps also those
    /// that the directory was not synced for: that may happen, too.
    #[must_use]
    pub fn after_power_cut(&self, keep_names: bool) -> SimDisk {
        let state = self.lock();
        let names = if keep_names { state.names.clone() } else { state.durable_names.clone() };
        drop(state);
        self.with_names(names)
    }

    /// The disk as everybody sees it, in memory.
    #[must_use]
    pub fn as_seen(&self) -> SimDisk {
        let names = self.lock().names.clone();
        self.with(names, |inode| &inode.live)
    }

    /// What is durable, in memory, with these names.
    fn with_names(&self, names: Names) -> SimDisk {
        self.with(names, |inode| &inode.durable)
    }

    fn with(&self, names: Names, content: impl Fn(&Inode) -> &Vec<u8>) -> SimDisk {
        let state = self.lock();
        let inodes = state.inodes.iter().map(|inode| Inode::durable(content(inode).clone())).collect();
        let after = State { inodes, names: names.clone(), durable_names: names, ..State::default() };
        SimDisk { state: Arc::new(Mutex::new(after)) }
    }

    /// The kernel tries to write a file's dirty pages by itself, without anybody asking for it, and fails.
    pub fn fail_write_back(&self, name: &str, lost: LostPages) {
        let mut state = self.lock();
        if let Some(&index) = state.names.get(name.as_bytes()) {
            state.inodes[index].lose(lost);
        }
    }

    /// Drops clean pages from the cache, as memory pressure does: what is read next comes from the disk.
    pub fn evict(&self) {
        for inode in &mut self.lock().inodes {
            inode.evict();
        }
    }
}

impl State {
    /// Counts a call and says what is to happen to it.
    fn enter(&mut self, kind: CallKind) -> Option<Effect> {
        self.faults.enter(kind)
    }

    fn fail<T>(&mut self, kind: CallKind, errno: i32) -> Result<T, IoError> {
        Err(self.faults.fail(kind, errno))
    }

    /// For calls that either succeed or fail and do nothing.
    fn enter_plain(&mut self, kind: CallKind) -> Result<(), IoError> {
        match self.enter(kind).and_then(Effect::errno) {
            Some(errno) => self.fail(kind, errno),
            None => Ok(()),
        }
    }

    fn sync(&mut self, index: usize) -> Result<(), IoError> {
        if let Some(effect) = self.enter(CallKind::Sync) {
            self.inodes[index].lose(effect.lost_pages());
            self.note(index, Event::FailedSync);
            let failed = self.fail(CallKind::Sync, effect.errno().unwrap_or(libc::EIO));
            return failed.map_err(|error| IoError { sync_failed: true, ..error });
        }
        self.inodes[index].sync();
        self.note(index, Event::Sync);
        Ok(())
    }

    fn note(&mut self, index: usize, event: Event) {
        if let Some(log) = self.log.as_mut().filter(|log| log.is_about(index)) {
            log.push(event.clone());
        }
        self.note_folder(FolderEvent::File(index, event));
    }

    fn note_folder(&mut self, event: FolderEvent) {
        if let Some(log) = &mut self.folder_log {
            log.push(event);
        }
    }

    /// Changes names; they become durable later.
    fn change_names<T>(&mut self, change: impl FnOnce(&mut Names) -> T) -> T {
        let mut names = self.names.clone();
        let result = change(&mut names);
        self.set_names(names);
        result
    }

    fn set_names(&mut self, names: Names) {
        if self.names == names {
            return;
        }
        let all = self.names.keys().chain(names.keys());
        let changed = all.filter(|name| self.names.get(*name) != names.get(*name)).cloned();
        self.dirty_names.extend(changed);
        self.unsynced_names.push(names.clone());
        self.note_folder(FolderEvent::Names(names.clone()));
        self.names = names;
    }

    fn sync_names(&mut self) {
        for name in std::mem::take(&mut self.dirty_names) {
            match self.names.get(&name) {
                Some(&file) => drop(self.durable_names.insert(name, file)),
                None => drop(self.durable_names.remove(&name)),
            }
        }
        self.unsynced_names.clear();
        self.note_folder(FolderEvent::NamesSynced(self.durable_names.clone()));
    }

    /// A sync of the folder has failed: no later one writes what was changed before.
    fn lose_names(&mut self) {
        self.faults.fail_name_sync();
        self.dirty_names.clear();
    }
}

impl FileOps for SimDisk {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        let mut state = self.lock();
        state.enter_plain(CallKind::Open)?;
        if state.real.is_some() {
            drop(state);
            let (_, index) = self.open_real(name, mode)?;
            self.lock().handles += 1;
            return Ok(Box::new(SimHandle::new(self.clone(), index, None)));
        }
        let name = last_part(name.to_bytes());
        let index = match state.names.get(&name).copied() {
            Some(_) if mode.exclusive => return Err(IoError::new(ErrorCode::OPEN_FILE, libc::EEXIST)),
            Some(index) => index,
            None if mode.create => {
                let index = state.inodes.len();
                state.inodes.push(Inode::default());
                state.change_names(|names| names.insert(name, index));
                index
            }
            None => return Err(IoError::new(ErrorCode::NO_SUCH_FILE, libc::ENOENT)),
        };
        state.handles += 1;
        Ok(Box::new(SimHandle::new(self.clone(), index, None)))
    }

    fn exists(&self, name: &CStr) -> bool {
        self.lock().names.contains_key(&last_part(name.to_bytes()))
    }

    fn remove(&self, name: &CStr) {
        let mut state = self.lock();
        if state.real.is_some() {
            let _ = std::fs::remove_file(OsStr::from_bytes(name.to_bytes()));
            let _ = state.look_at_folder();
        } else {
            state.change_names(|names| names.remove(&last_part(name.to_bytes())));
        }
    }
}
