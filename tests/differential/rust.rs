// SPDX-License-Identifier: Apache-2.0

//! The Rust API.

use crate::case::{Nodes, SharedNodes, Way};
use crate::common::forwarding::Forwarding;
use crate::common::model::Doc;
use crate::common::store::{Answer, answer};
use crate::engine::{CopyHow, Engine, Handle, How};
use couchstore::io::FileOps;
use couchstore::io::posix::PosixOps;
use couchstore::{
    CompactHooks, CompactOptions, Db, Direction, EncryptionKey, KeyDerivation, KeyStore, LocalUpdate,
    NodeCache, OnlineHooks, OnlineOptions, OpenOptions, ReplayHooks, Result, SaveOptions, Swap, compact,
    compact_online, replay,
};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, LazyLock};

fn file_ops(way: Way) -> Arc<dyn FileOps> {
    if way.forwarding { Arc::new(Forwarding::default()) } else { Arc::new(PosixOps) }
}

/// One cache of each size for all cases: files come and go in it.
fn node_cache(way: Way) -> Option<Arc<NodeCache>> {
    static TINY: LazyLock<Arc<NodeCache>> = LazyLock::new(|| Arc::new(NodeCache::new(2 << 10)));
    static LARGE: LazyLock<Arc<NodeCache>> = LazyLock::new(|| Arc::new(NodeCache::new(64 << 20)));
    match way.nodes {
        SharedNodes::None => None,
        SharedNodes::Tiny => Some(TINY.clone()),
        SharedNodes::Large => Some(LARGE.clone()),
    }
}

fn keys(key: Option<&(EncryptionKey, KeyDerivation)>) -> Option<Arc<dyn KeyStore>> {
    key.map(|(key, _)| Arc::new(key.clone()) as Arc<dyn KeyStore>)
}

/// The options that are not about the bytes.
fn options_of(way: Way, nodes: Nodes) -> OpenOptions {
    let options = OpenOptions::new().unbuffered(way.unbuffered).file_ops(file_ops(way));
    let options = options.node_cache(node_cache(way));
    let unit = if way.buffers.0 == 0 { 4096 } else { 1024 << (way.buffers.0 - 1) };
    let count = if way.buffers.1 == 0 { 16 } else { 8 << (way.buffers.1 - 1) };
    let options = if way.buffers == (0, 0) { options } else { options.read_buffers(unit, count) };
    let size = |kib: u8| if kib == 0 { 1279 } else { usize::from(kib) << 10 };
    let options = match nodes {
        Nodes::Default => options,
        Nodes::Kib(interior, leaf) => options.node_sizes(size(interior), size(leaf)),
        Nodes::Tiny(bytes) => options.node_sizes(bytes, bytes),
    };
    if way.guards { options.periodic_sync(Some(4096)).write_validation(true).mprotect(true) } else { options }
}

fn options(how: &How) -> OpenOptions {
    let options = options_of(how.way, how.nodes).create(how.create).legacy_crc(how.legacy_crc);
    options.keys(keys(how.key.as_ref()))
}

fn copy_options(how: &CopyHow) -> CompactOptions {
    CompactOptions::new()
        .drop_deletes(how.drop_deletes)
        .upgrade(how.upgrade)
        .unbuffered(how.way.unbuffered)
        .periodic_sync(how.way.guards.then_some(4096))
        .file_ops(file_ops(how.way))
        .keys(keys(how.key.as_ref()))
}

/// Calls `meanwhile` once, when the copying has begun.
struct Hooks<'a> {
    meanwhile: &'a mut dyn FnMut(),
    called: bool,
}

impl CompactHooks for Hooks<'_> {
    fn progress(&mut self, _: u64, _: u64, _: u64) -> Result<()> {
        if !std::mem::replace(&mut self.called, true) {
            (self.meanwhile)();
        }
        Ok(())
    }
}

impl ReplayHooks for Hooks<'_> {}

impl OnlineHooks for Hooks<'_> {}

/// The Rust API.
pub(crate) struct Rust;

impl Engine for Rust {
    type Handle = Db;

    fn open(&self, path: &Path, how: &How) -> Answer<Db> {
        answer(options(how).open(path))
    }

    fn reopen(&self, handle: &Db, path: &Path, how: &How) -> Answer<()> {
        let name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
        answer(handle.reopen(&name, &options(how)))
    }

    fn compact(&self, source: &Db, target: &Path, how: &CopyHow) -> Answer<()> {
        answer(compact(source, target, &copy_options(how)))
    }

    fn compact_online(
        &self,
        source: &Path,
        target: Option<&Path>,
        how: &CopyHow,
        meanwhile: &mut dyn FnMut(),
    ) -> Answer<()> {
        let options = OnlineOptions::new()
            .compact(copy_options(how))
            .source(options_of(how.way, how.nodes))
            .swap(if target.is_some() { Swap::None } else { Swap::Replace });
        let mut hooks = Hooks { meanwhile, called: false };
        answer(compact_online(source, target.unwrap_or(source), &options, &mut hooks).map(drop))
    }

    fn replay(&self, source: &Db, target: &Db, end: u64, threshold: usize) -> Answer<()> {
        answer(replay(source, target, end, &mut (), threshold))
    }
}

impl Handle for Db {
    fn save_docs(&self, docs: &[Doc], options: SaveOptions) -> Answer<Vec<u64>> {
        let documents: Vec<_> = docs.iter().map(Doc::document).collect();
        answer(self.save(&documents, options))
    }

    fn save_locals(&self, updates: &[(Vec<u8>, Option<Vec<u8>>)]) -> Answer<()> {
        let changes = updates.iter().map(|(id, body)| LocalUpdate { id, body: body.as_deref() });
        answer(self.save_local(&changes.collect::<Vec<_>>()))
    }

    fn set_purge(&self, purge_seq: u64) -> Answer<()> {
        self.set_purge_seq(purge_seq);
        Ok(())
    }

    fn commit_at(&self, timestamp: u64) -> Answer<()> {
        answer(self.commit_with(timestamp, None))
    }

    fn seek_to(&self, direction: Direction) -> Answer<()> {
        answer(self.seek(direction))
    }

    fn seek_to_offset(&self, offset: u64) -> Answer<()> {
        answer(self.seek_offset(offset.cast_signed()))
    }

    fn seek_containing(&self, seq: u64, granularity: u64) -> Answer<()> {
        answer(self.seek_first_header_containing(seq, granularity))
    }

    fn step(&mut self, direction: Direction) -> Answer<()> {
        answer(match direction {
            Direction::Forward => self.fast_forward(),
            _ => self.rewind(),
        })
    }

    fn close_file(&self) -> Answer<()> {
        answer(self.close())
    }
}
