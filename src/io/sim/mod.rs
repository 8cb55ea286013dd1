//! A simulated disk: file operations on files in memory that can fail in every way a disk can, and lose power.
//!
//! * [`SimDisk`]: a folder of files, each with what the page cache holds and what is durable
//! * [`fault`]: which calls fail, and how
//! * [`crash`]: what may be found on the disk after a power cut, from a log of writes and syncs
//! * [`naming`]: names that become durable only when the directory is synced
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
pub mod naming;
pub mod random;

use super::naming::Naming;
use super::{FileHandle, FileOps, IoError, OpenMode};
use crate::error::ErrorCode;
use crash::{Event, Log};
use fault::{CallKind, Effect, Fault, Faults};
use file::{Inode, SimHandle};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::Arc;

/// The code of all injected failures: one that the library does not know, so that it cannot be made up.
pub const INJECTED: ErrorCode = ErrorCode(-4711);

/// A folder of simulated files. Clones are the same folder.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<Vec<u8>, usize>,
    /// The names that a power cut would leave.
    durable_names: BTreeMap<Vec<u8>, usize>,
    faults: Faults,
    handles: usize,
    /// `Some` while calls are recorded.
    log: Option<Log>,
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
        self.lock().faults = Faults::new(fault);
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
        if let Some(log) = &mut self.lock().log {
            log.push(Event::Mark(number));
        }
    }

    /// Ends the recording.
    pub fn take_log(&self) -> Log {
        self.lock().log.take().unwrap_or_default()
    }

    /// The disk after a power cut that kept nothing but what is durable. Of names, `keep_names` keeps also those
    /// that the directory was not synced for: that may happen, too.
    #[must_use]
    pub fn after_power_cut(&self, keep_names: bool) -> SimDisk {
        let state = self.lock();
        let inodes = state.inodes.iter().map(|inode| Inode::durable(inode.durable.clone())).collect();
        let names = if keep_names { &state.names } else { &state.durable_names };
        let after = State { inodes, names: names.clone(), durable_names: names.clone(), ..State::default() };
        SimDisk { state: Arc::new(Mutex::new(after)) }
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
            let failed = self.fail(CallKind::Sync, effect.errno().unwrap_or(libc::EIO));
            return failed.map_err(|error| IoError { sync_failed: true, ..error });
        }
        self.inodes[index].sync();
        self.note(index, Event::Sync);
        Ok(())
    }

    fn note(&mut self, index: usize, event: Event) {
        if let Some(log) = self.log.as_mut().filter(|log| log.is_about(index)) {
            log.push(event);
        }
    }
}

impl FileOps for SimDisk {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        let name = last_part(name.to_bytes());
        let mut state = self.lock();
        state.enter_plain(CallKind::Open)?;
        let index = match state.names.get(&name).copied() {
            Some(_) if mode.exclusive => return Err(IoError::new(ErrorCode::OPEN_FILE, libc::EEXIST)),
            Some(index) => index,
            None if mode.create => {
                let index = state.inodes.len();
                state.inodes.push(Inode::default());
                state.names.insert(name, index);
                index
            }
            None => return Err(IoError::new(ErrorCode::NO_SUCH_FILE, libc::ENOENT)),
        };
        state.handles += 1;
        Ok(Box::new(SimHandle::new(self.clone(), index)))
    }

    fn exists(&self, name: &CStr) -> bool {
        self.lock().names.contains_key(&last_part(name.to_bytes()))
    }

    fn remove(&self, name: &CStr) {
        self.lock().names.remove(&last_part(name.to_bytes()));
    }
}
