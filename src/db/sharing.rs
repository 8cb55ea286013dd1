// SPDX-License-Identifier: Apache-2.0

//! Whether a handle's nodes may be shared with other handles of the process: see `tree::cache`.

use super::State;
use super::open::OpenOptions;
use crate::format::block::BlockType;
use crate::io::file::DbFile;
use crate::io::stamp::{FileStamp, Place};
use crate::tree::cache::file::TreeFile;
use crate::tree::cache::shared::{HeaderBytes, NodeCache, Share};
use std::ffi::CStr;
use std::sync::Arc;

/// A file before it is opened, if its nodes are to be shared. What is done to it from then on shows later.
pub(super) struct Prospect {
    cache: Arc<NodeCache>,
    stamp: FileStamp,
}

impl Prospect {
    /// Looks at the file of this name. `None`: its nodes are not shared, or there is no such file yet.
    pub(super) fn of(options: &OpenOptions, filename: &CStr) -> Option<Prospect> {
        let cache = options.shared_nodes()?;
        Some(Prospect { cache, stamp: Place::Named(filename).stamp()? })
    }

    /// Finds the part of the cache that is this file's. `None` if it cannot be told whether it is the file that was
    /// looked at, and just as it was.
    fn share(self, filename: &CStr, file: &mut DbFile, state: &State) -> Option<Share> {
        let Prospect { cache, stamp } = self;
        let position = state.position?;
        if file.end() != stamp.size() {
            return None;
        }
        let known = cache.known(&stamp);
        // Just read, and found to be whole.
        let header = match file.checked_header_at_hand(position) {
            Some(bytes) => HeaderBytes { position, bytes: shared_bytes(bytes, known.header()) },
            None => header_at(file, position, known.header())?,
        };
        let now = place_of(file, filename).stamp()?;
        if now != stamp {
            return None;
        }
        let stands = |known: &HeaderBytes| {
            header_at(file, known.position, Some(known)).is_some_and(|found| found == *known)
        };
        // By name, since the file is being read.
        Share::open(cache, &known, (&stamp, Place::Named(filename)), header, stands)
    }
}

/// Where to ask for an open file: a caller's operations do not tell what they have opened.
fn place_of<'a>(file: &'a mut DbFile, filename: &'a CStr) -> Place<'a> {
    file.io().os_file().map_or(Place::Named(filename), Place::Open)
}

/// The header at this position as it stands there, if it is whole: the `known` one, if that is the same.
fn header_at(file: &mut DbFile, position: u64, known: Option<&HeaderBytes>) -> Option<HeaderBytes> {
    if file.block_type(position).ok()? != Some(BlockType::Header as u8) {
        return None;
    }
    let bytes = file.with_header_chunk(position, false, |_, bytes| shared_bytes(bytes, known));
    Some(HeaderBytes { position, bytes: bytes.ok()? })
}

/// Those of the `known` header, if they are the same.
fn shared_bytes(bytes: &[u8], known: Option<&HeaderBytes>) -> Arc<[u8]> {
    match known {
        Some(known) if *known.bytes == *bytes => known.bytes.clone(),
        _ => Arc::from(bytes),
    }
}

/// From now on the nodes of this handle's file are kept, if there are buffers; with others' if it may be.
pub(super) fn begin_keeping(
    options: &OpenOptions,
    prospect: Option<Prospect>,
    filename: &CStr,
    file: &TreeFile,
    state: &State,
) {
    // Plain text of an encrypted file is in memory no longer than it has to be.
    let is_plain = file.with(|file| Ok(file.encryption().is_none())).unwrap_or_default();
    if !is_plain || !options.keeps_nodes() {
        return;
    }
    let share = prospect
        .and_then(|prospect| file.with(|file| Ok(prospect.share(filename, file, state))).ok().flatten());
    file.begin_keeping(share);
}

/// The handle has committed: this is its state now.
pub(super) fn note_commit(file: &TreeFile, filename: &CStr, state: &State) {
    let Some(position) = state.position else { return };
    let header = || HeaderBytes { position, bytes: Arc::from(state.header.encode()) };
    let _ = file.with(|open| {
        file.note_commit(state.header.end_at(position), header, place_of(open, filename));
        Ok(())
    });
}
