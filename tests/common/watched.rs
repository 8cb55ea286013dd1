// SPDX-License-Identifier: Apache-2.0

//! File operations in front of others that log every call and make chosen ones fail.

use couchstore::ErrorCode;
use couchstore::io::{FileHandle, FileOps, FileTag, IoError, OpenMode};
use std::ffi::CStr;
use std::sync::{Arc, Mutex};

/// One call, as the library made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Open,
    /// Length and offset.
    Read(usize, u64),
    /// Length and offset.
    Write(usize, u64),
    Size,
    Sync,
    Close,
    PeriodicSync(u64),
    FreeBuffers,
}

/// A kind of calls that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    Read,
    Write,
    Size,
    Sync,
    Close,
}

impl Call {
    pub(crate) fn kind(self) -> Option<Kind> {
        match self {
            Call::Open => Some(Kind::Open),
            Call::Read(..) => Some(Kind::Read),
            Call::Write(..) => Some(Kind::Write),
            Call::Size => Some(Kind::Size),
            Call::Sync => Some(Kind::Sync),
            Call::Close => Some(Kind::Close),
            Call::PeriodicSync(_) | Call::FreeBuffers => None,
        }
    }
}

/// What happens instead of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It fails and does nothing.
    Fail,
    /// As [`Effect::Fail`], with a code of the test's choice.
    FailWith(ErrorCode),
    /// Half of the bytes are transferred, and the next call of the kind fails. Only for reads and writes.
    HalfThenFail,
    /// Half of the bytes are transferred, which is no failure. Only for reads and writes.
    Half,
    /// Nothing is written, which is no failure. Only for writes.
    Zero,
    /// All is written, but the sync that the write includes has failed. Only for writes.
    FailedSync,
}

/// Which calls are hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// The first is 0.
    pub(crate) index: usize,
    /// How many in a row, from there on.
    pub(crate) times: usize,
    pub(crate) effect: Effect,
}

/// The code of failures that were asked for: an unusual one, so that nobody can invent it.
pub(crate) const FAILURE: ErrorCode = ErrorCode(-4321);

#[derive(Default)]
struct State {
    log: Vec<Call>,
    fault: Option<Fault>,
    /// Calls of the fault's kind since it was set.
    seen: usize,
    /// Index in the log of the first call that was hit.
    hit: Option<usize>,
}

/// File operations that watch others. Clones share log and faults.
#[derive(Clone)]
pub(crate) struct Watched {
    inner: Arc<dyn FileOps>,
    state: Arc<Mutex<State>>,
}

impl Watched {
    pub(crate) fn new(inner: Arc<dyn FileOps>) -> Watched {
        Watched { inner, state: Arc::default() }
    }

    pub(crate) fn ops(&self) -> Arc<dyn FileOps> {
        Arc::new(self.clone())
    }

    /// The calls since this was asked last; hints are left out.
    pub(crate) fn take_log(&self) -> Vec<Call> {
        let mut log = std::mem::take(&mut self.state.lock().unwrap().log);
        log.retain(|call| *call != Call::FreeBuffers);
        log
    }

    /// Number of logged calls of a kind.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.state.lock().unwrap().log.iter().filter(|call| call.kind() == Some(kind)).count()
    }

    /// Bytes given to all writes that are in the log.
    pub(crate) fn bytes_written(&self) -> u64 {
        let written = |call: &Call| if let Call::Write(length, _) = call { *length as u64 } else { 0 };
        self.state.lock().unwrap().log.iter().map(written).sum()
    }

    /// Makes calls fail, counted from now on; `None`: no more.
    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        let mut state = self.state.lock().unwrap();
        state.fault = fault;
        state.seen = 0;
        state.hit = None;
    }

    /// Whether the fault has happened, and the calls of its kind that the log holds after it.
    pub(crate) fn calls_after_fault(&self) -> Option<usize> {
        let state = self.state.lock().unwrap();
        let (hit, fault) = (state.hit?, state.fault?);
        Some(state.log[hit + 1..].iter().filter(|call| call.kind() == Some(fault.kind)).count())
    }
}

impl State {
    /// Logs a call and says what is to happen to it.
    fn enter(&mut self, call: Call) -> Option<Effect> {
        self.log.push(call);
        let fault = self.fault.filter(|fault| call.kind() == Some(fault.kind))?;
        let number = self.seen;
        self.seen += 1;
        let last = fault.index.saturating_add(fault.times);
        if fault.effect == Effect::HalfThenFail && number == fault.index {
            return Some(Effect::Half);
        }
        let last = last.saturating_add(usize::from(fault.effect == Effect::HalfThenFail));
        if number < fault.index || number >= last {
            return None;
        }
        if self.hit.is_none() {
            self.hit = Some(self.log.len() - 1);
        }
        Some(if fault.effect == Effect::HalfThenFail { Effect::Fail } else { fault.effect })
    }
}

fn failure(effect: Effect) -> IoError {
    let code = if let Effect::FailWith(code) = effect { code } else { FAILURE };
    IoError::new(code, libc::EIO)
}

impl FileOps for Watched {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        let effect = self.state.lock().unwrap().enter(Call::Open);
        if let Some(effect) = effect {
            return Err(failure(effect));
        }
        let inner = self.inner.open(name, mode)?;
        Ok(Box::new(WatchedHandle { inner, state: self.state.clone() }))
    }
}

struct WatchedHandle {
    inner: Box<dyn FileHandle>,
    state: Arc<Mutex<State>>,
}

impl WatchedHandle {
    fn enter(&self, call: Call) -> Option<Effect> {
        self.state.lock().unwrap().enter(call)
    }

    fn plain(&self, call: Call) -> Result<(), IoError> {
        self.enter(call).map_or(Ok(()), |effect| Err(failure(effect)))
    }
}

impl FileHandle for WatchedHandle {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        let half = buf.len().div_ceil(2);
        match self.enter(Call::Read(buf.len(), offset)) {
            None => self.inner.pread(buf, offset),
            Some(Effect::Half) => self.inner.pread(&mut buf[..half], offset),
            Some(effect) => Err(failure(effect)),
        }
    }

    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        let half = buf.len().div_ceil(2);
        match self.enter(Call::Write(buf.len(), offset)) {
            None => self.inner.pwrite(buf, offset),
            Some(Effect::Half) => self.inner.pwrite(&buf[..half], offset),
            Some(Effect::Zero) => Ok(0),
            Some(Effect::FailedSync) => {
                self.inner.pwrite(buf, offset)?;
                Err(IoError { sync_failed: true, ..failure(Effect::Fail) })
            }
            Some(effect) => Err(failure(effect)),
        }
    }

    fn size(&mut self) -> Result<u64, IoError> {
        self.plain(Call::Size)?;
        self.inner.size()
    }

    fn sync(&mut self) -> Result<(), IoError> {
        self.plain(Call::Sync)?;
        self.inner.sync()
    }

    fn close(&mut self) -> Result<(), IoError> {
        self.plain(Call::Close)?;
        self.inner.close()
    }

    fn set_periodic_sync(&mut self, bytes: u64) -> Result<(), IoError> {
        self.plain(Call::PeriodicSync(bytes))
    }

    fn tag(&mut self, tag: FileTag) {
        self.inner.tag(tag);
    }

    fn free_buffers(&mut self) {
        self.enter(Call::FreeBuffers);
    }
}
