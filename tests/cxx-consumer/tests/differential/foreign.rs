// SPDX-License-Identifier: Apache-2.0

//! The library as C or C++ have it, through a table of their functions.

use crate::case::{Nodes, Way};
use crate::common::model::Doc;
use crate::common::store::{Answer, Figures, Query, Step, Store, Tree};
use crate::engine::{self, CopyHow, Engine, Handle, KEY};
use couchstore::capi::types::{
    self, DocInfo as RawInfo, LocalDoc, couchstore_encryption_key, couchstore_header_info, sized_buf,
};
use couchstore::{Direction, DocInfo, EncryptionKey, ErrorCode, KeyDerivation, SaveOptions, ScanOptions};
use couchstore_cxx_consumer::executor::{
    Db, Executor, How, QUERY_FROM, QUERY_IDS, QUERY_SEQS, QUERY_SINCE, Query as RawQuery, Sink,
};
use std::ffi::{CString, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};

const RANGES: u64 = 1;
const CREATE: u64 = 1;
const LEGACY_CRC: u64 = 4;
const UNBUFFERED: u64 = 8;
/// Write validation, guarded buffers, and a sync after each 4 KiB.
const GUARDS: u64 = 0x4000_0000 | 0x8_0000_0000 | PERIODIC_SYNC;
const PERIODIC_SYNC: u64 = 3 << 24;

/// A language.
pub(crate) struct Foreign(pub(crate) &'static Executor);

/// A handle of a language's.
pub(crate) struct ForeignDb {
    functions: &'static Executor,
    /// NULL: a call has freed it.
    db: *mut Db,
}

impl Drop for ForeignDb {
    fn drop(&mut self) {
        if !self.db.is_null() {
            // SAFETY: a handle of the library's, which nobody uses after this.
            let freed = unsafe { ((self.functions.close)(self.db), (self.functions.free)(self.db)) };
            assert!(freed.1 == 0 || std::thread::panicking(), "a handle that cannot be freed");
        }
    }
}

fn answer(code: c_int) -> Answer<()> {
    if code == 0 { Ok(()) } else { Err(ErrorCode(code)) }
}

fn buf(bytes: &[u8]) -> sized_buf {
    sized_buf { buf: bytes.as_ptr().cast_mut().cast(), size: bytes.len() }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// The bytes of a string of the library's.
unsafe fn bytes_of(buf: sized_buf) -> Vec<u8> {
    if buf.size == 0 {
        return Vec::new();
    }
    // SAFETY: the library's strings are good while they are shown.
    unsafe { std::slice::from_raw_parts(buf.buf.cast::<u8>(), buf.size) }.to_vec()
}

/// What a call has shown.
#[derive(Default)]
struct Shown {
    steps: Vec<Step>,
    bytes: Vec<(Vec<u8>, Vec<u8>)>,
}

unsafe extern "C" fn show_info(ctx: *mut c_void, depth: c_int, info: *const RawInfo) {
    // SAFETY: both are good during the call.
    let (shown, info) = unsafe { (&mut *ctx.cast::<Shown>(), &*info) };
    // SAFETY: the strings of an entry.
    let (id, rev_meta) = unsafe { (bytes_of(info.id), bytes_of(info.rev_meta)) };
    let info = DocInfo {
        id,
        db_seq: info.db_seq,
        rev_seq: info.rev_seq,
        rev_meta,
        deleted: info.deleted != 0,
        content_meta: info.content_meta,
        body_position: info.bp,
        physical_size: info.physical_size as u64,
    };
    shown.steps.push(Step::Document { depth: depth as usize, info });
}

unsafe extern "C" fn show_node(ctx: *mut c_void, depth: c_int, subtree_size: u64, reduce: *const sized_buf) {
    // SAFETY: both are good during the call.
    let (shown, reduce) = unsafe { (&mut *ctx.cast::<Shown>(), bytes_of(*reduce)) };
    shown.steps.push(Step::Node { depth: depth as usize, subtree_size, reduce });
}

unsafe extern "C" fn show_bytes(ctx: *mut c_void, id: *const sized_buf, bytes: *const sized_buf) {
    // SAFETY: all are good during the call.
    let (shown, id, bytes) = unsafe { (&mut *ctx.cast::<Shown>(), bytes_of(*id), bytes_of(*bytes)) };
    shown.bytes.push((id, bytes));
}

/// What a call shows.
fn shown(call: impl FnOnce(*const Sink) -> c_int) -> Answer<Shown> {
    let mut shown = Shown::default();
    let ctx = (&raw mut shown).cast();
    answer(call(&Sink { ctx, info: show_info, node: show_node, bytes: show_bytes }))?;
    Ok(shown)
}

impl Shown {
    fn infos(self) -> Vec<DocInfo> {
        let info = |step| match step {
            Step::Document { info, .. } => info,
            Step::Node { .. } => panic!("a node outside of a walk"),
        };
        self.steps.into_iter().map(info).collect()
    }

    fn info(self) -> DocInfo {
        self.infos().pop().expect("an entry")
    }

    fn body(mut self) -> Vec<u8> {
        self.bytes.pop().expect("a body").1
    }
}

/// A key as C has it.
struct RawKey(couchstore_encryption_key);

impl RawKey {
    fn of(key: &EncryptionKey, derivation: KeyDerivation) -> RawKey {
        let derivation = c_int::from(derivation == KeyDerivation::KeyBased);
        RawKey(couchstore_encryption_key { id: buf(key.id()), key: buf(&KEY), derivation })
    }
}

fn flags(way: Way, nodes: Nodes) -> u64 {
    let nodes = match nodes {
        Nodes::Default => 0,
        Nodes::Kib(interior, leaf) => u64::from(interior) << 20 | u64::from(leaf) << 16,
        Nodes::Tiny(_) => panic!("sizes that flags cannot say"),
    };
    let buffers = u64::from(way.buffers.0) << 12 | u64::from(way.buffers.1) << 8;
    nodes | buffers | if way.unbuffered { UNBUFFERED } else { 0 } | if way.guards { GUARDS } else { 0 }
}

/// Calls with a name and what opens it.
fn with_how<T>(how: &engine::How, call: impl FnOnce(*const How) -> T) -> T {
    let key = how.key.as_ref().map(|(key, derivation)| RawKey::of(key, *derivation));
    let create = if how.create { CREATE } else { 0 } | if how.legacy_crc { LEGACY_CRC } else { 0 };
    call(&How {
        flags: flags(how.way, how.nodes) | create,
        compact_flags: 0,
        key: key.as_ref().map_or(null(), |key| &raw const key.0),
        forwarding: c_int::from(how.way.forwarding),
    })
}

fn with_copy_how<T>(how: &CopyHow, call: impl FnOnce(*const How) -> T) -> T {
    let key = how.key.as_ref().map(|(key, derivation)| RawKey::of(key, *derivation));
    let bits = [how.drop_deletes, how.upgrade, how.way.unbuffered];
    let bits = bits.iter().enumerate().map(|(bit, &on)| u64::from(on) << bit).sum::<u64>();
    call(&How {
        // What only concerns writing does not go with opening a source.
        flags: flags(Way { guards: false, ..how.way }, how.nodes),
        compact_flags: bits | if how.way.guards { PERIODIC_SYNC } else { 0 },
        key: key.as_ref().map_or(null(), |key| &raw const key.0),
        forwarding: c_int::from(how.way.forwarding),
    })
}

/// Calls the closure that `ctx` points to.
unsafe extern "C" fn call_meanwhile(ctx: *mut c_void) {
    // SAFETY: what `compact_online` below gives to the call.
    unsafe { (*ctx.cast::<&mut dyn FnMut()>())() }
}

impl Engine for Foreign {
    type Handle = ForeignDb;

    fn open(&self, path: &Path, how: &engine::How) -> Answer<ForeignDb> {
        let (path, mut db) = (c_path(path), null_mut());
        // SAFETY: all pointers are good during the call.
        answer(with_how(how, |how| unsafe { (self.0.open)(path.as_ptr(), how, &raw mut db) }))?;
        Ok(ForeignDb { functions: self.0, db })
    }

    fn reopen(&self, handle: &ForeignDb, path: &Path, how: &engine::How) -> Answer<()> {
        let path = c_path(path);
        // SAFETY: an open handle, and pointers that are good during the call.
        answer(with_how(how, |how| unsafe { (self.0.reopen)(handle.db, path.as_ptr(), how) }))
    }

    fn compact(&self, source: &ForeignDb, target: &Path, how: &CopyHow) -> Answer<()> {
        let target = c_path(target);
        // SAFETY: as above.
        answer(with_copy_how(how, |how| unsafe { (self.0.compact)(source.db, target.as_ptr(), how) }))
    }

    fn compact_online(
        &self,
        source: &Path,
        target: Option<&Path>,
        how: &CopyHow,
        mut meanwhile: &mut dyn FnMut(),
    ) -> Answer<()> {
        let (source, target) = (c_path(source), target.map(c_path));
        let target = target.as_ref().map_or(null(), |target| target.as_ptr());
        let ctx = (&raw mut meanwhile).cast();
        // SAFETY: as above; the context is that of the function.
        answer(with_copy_how(how, |how| unsafe {
            (self.0.compact_online)(source.as_ptr(), target, how, call_meanwhile, ctx)
        }))
    }

    fn replay(&self, source: &ForeignDb, target: &ForeignDb, end: u64, threshold: usize) -> Answer<()> {
        // SAFETY: open handles.
        answer(unsafe { (self.0.replay)(source.db, target.db, end, threshold) })
    }
}

impl ForeignDb {
    /// Calls a function that shows something.
    fn shows(&self, call: impl FnOnce(&Executor, *mut Db, *const Sink) -> c_int) -> Answer<Shown> {
        shown(|sink| call(self.functions, self.db, sink))
    }
}

// SAFETY (of all calls below): the handle is open, and what pointers lead to is good during the call.
impl Store for ForeignDb {
    fn documents(&self, query: &Query, options: ScanOptions) -> Answer<Vec<DocInfo>> {
        let scan = u64::from(options.deletes_only) << 1
            | u64::from(options.no_deletes) << 2
            | u64::from(options.tolerate_corruption) << 3;
        let range = |from: &Vec<u8>, to: &Option<Vec<u8>>| -> Vec<Vec<u8>> {
            std::iter::once(from.clone()).chain(to.clone()).collect()
        };
        let (kind, ids, seqs, more) = match query {
            Query::ChangesSince(since) => (QUERY_SINCE, vec![], vec![*since], 0),
            Query::AllDocs(from) => (QUERY_FROM, vec![from.clone()], vec![], 0),
            Query::Ids(ids) => (QUERY_IDS, ids.clone(), vec![], 0),
            Query::IdRange(from, to) => (QUERY_IDS, range(from, to), vec![], RANGES),
            Query::Seqs(seqs) => (QUERY_SEQS, vec![], seqs.clone(), 0),
            Query::SeqRange(from, to) => {
                (QUERY_SEQS, vec![], std::iter::once(*from).chain(*to).collect(), RANGES)
            }
        };
        let bufs: Vec<_> = ids.iter().map(|id| buf(id)).collect();
        let (ids, count) = (bufs.as_ptr(), bufs.len().max(seqs.len()));
        let query = RawQuery { kind, options: scan | more, ids, seqs: seqs.as_ptr(), count };
        // SAFETY: see above.
        self.shows(|functions, db, sink| unsafe { (functions.documents)(db, &raw const query, sink) })
            .map(Shown::infos)
    }

    fn by_id(&self, id: &[u8]) -> Answer<DocInfo> {
        let id = buf(id);
        // SAFETY: see above.
        self.shows(|functions, db, sink| unsafe { (functions.by_id)(db, &raw const id, sink) })
            .map(Shown::info)
    }

    fn by_seq(&self, seq: u64) -> Answer<DocInfo> {
        // SAFETY: see above.
        self.shows(|functions, db, sink| unsafe { (functions.by_seq)(db, seq, sink) }).map(Shown::info)
    }

    fn body_of(&self, info: &DocInfo, decompress: bool) -> Answer<Vec<u8>> {
        let raw = RawInfo {
            id: buf(&info.id),
            db_seq: info.db_seq,
            rev_seq: info.rev_seq,
            rev_meta: buf(&info.rev_meta),
            deleted: c_int::from(info.deleted),
            content_meta: info.content_meta,
            bp: info.body_position,
            physical_size: info.physical_size as usize,
        };
        let options = u64::from(decompress);
        // SAFETY: see above.
        self.shows(|functions, db, sink| unsafe { (functions.body_of)(db, &raw const raw, options, sink) })
            .map(Shown::body)
    }

    fn body_by_id(&self, id: &[u8]) -> Answer<Vec<u8>> {
        let id = buf(id);
        // SAFETY: see above.
        self.shows(|functions, db, sink| unsafe { (functions.body_by_id)(db, &raw const id, sink) })
            .map(Shown::body)
    }

    fn local_doc(&self, id: &[u8]) -> Answer<Vec<u8>> {
        let id = buf(id);
        // SAFETY: see above.
        self.shows(|functions, db, sink| unsafe { (functions.local)(db, &raw const id, sink) })
            .map(Shown::body)
    }

    fn locals_from(&self, from: &[u8]) -> Answer<Vec<(Vec<u8>, Vec<u8>)>> {
        let from = buf(from);
        // SAFETY: see above.
        let shown =
            self.shows(|functions, db, sink| unsafe { (functions.locals)(db, &raw const from, sink) });
        Ok(shown?.bytes)
    }

    fn count(&self, min: u64, max: u64) -> Answer<u64> {
        let mut count = 0;
        // SAFETY: see above.
        answer(unsafe { (self.functions.count)(self.db, min, max, &raw mut count) })?;
        Ok(count)
    }

    fn walk(&self, tree: Tree) -> Answer<Vec<Step>> {
        // SAFETY: see above.
        let shown = self.shows(|functions, db, sink| unsafe { (functions.walk)(db, tree as c_int, sink) });
        Ok(shown?.steps)
    }

    fn figures(&self) -> Answer<Figures> {
        // SAFETY: plain numbers.
        let mut header: couchstore_header_info = unsafe { std::mem::zeroed() };
        // SAFETY: see above.
        answer(unsafe { (self.functions.header)(self.db, &raw mut header) })?;
        Ok(Figures {
            version: header.version as u8,
            timestamp: header.timestamp,
            last_sequence: header.update_seq,
            purge_seq: header.purge_seq,
            doc_count: header.doc_count,
            deleted_count: header.deleted_count,
            space_used: header.space_used,
            header_position: header.header_position,
        })
    }
}

// SAFETY (of all calls below): as above.
impl Handle for ForeignDb {
    fn save_docs(&self, docs: &[Doc], options: SaveOptions) -> Answer<Vec<u64>> {
        let body = |doc: &Doc| doc.body.as_deref().map_or(buf(&[]), buf);
        let mut bodies: Vec<_> =
            docs.iter().map(|doc| types::Doc { id: buf(&doc.id), data: body(doc) }).collect();
        let info = |doc: &Doc| RawInfo {
            id: buf(&doc.id),
            db_seq: doc.db_seq,
            rev_seq: doc.rev_seq,
            rev_meta: buf(&doc.rev_meta),
            deleted: c_int::from(doc.deleted),
            content_meta: doc.content_meta,
            bp: 0,
            physical_size: 0,
        };
        let mut infos: Vec<_> = docs.iter().map(info).collect();
        let bodies: Vec<_> = bodies
            .iter_mut()
            .zip(docs)
            .map(|(raw, doc)| if doc.body.is_some() { &raw mut *raw } else { null_mut() })
            .collect();
        let pointers: Vec<_> = infos.iter_mut().map(|info| &raw mut *info).collect();
        let bits = u64::from(options.compress) | u64::from(options.keep_sequences) << 1;
        // SAFETY: see above.
        answer(unsafe {
            (self.functions.save)(self.db, bodies.as_ptr(), pointers.as_ptr(), docs.len(), bits)
        })?;
        Ok(infos.iter().map(|info| info.db_seq).collect())
    }

    fn save_locals(&self, updates: &[(Vec<u8>, Option<Vec<u8>>)]) -> Answer<()> {
        let local = |(id, body): &(Vec<u8>, Option<Vec<u8>>)| LocalDoc {
            id: buf(id),
            json: buf(body.as_deref().unwrap_or_default()),
            deleted: c_int::from(body.is_none()),
        };
        let mut locals: Vec<_> = updates.iter().map(local).collect();
        // SAFETY: see above.
        answer(unsafe { (self.functions.save_locals)(self.db, locals.as_mut_ptr(), locals.len()) })
    }

    fn set_purge(&self, purge_seq: u64) -> Answer<()> {
        // SAFETY: see above.
        answer(unsafe { (self.functions.set_purge_seq)(self.db, purge_seq) })
    }

    fn commit_at(&self, timestamp: u64) -> Answer<()> {
        // SAFETY: see above.
        answer(unsafe { (self.functions.commit)(self.db, timestamp) })
    }

    fn seek_to(&self, direction: Direction) -> Answer<()> {
        // SAFETY: see above.
        answer(unsafe { (self.functions.seek)(self.db, number(direction)) })
    }

    fn seek_to_offset(&self, offset: u64) -> Answer<()> {
        // SAFETY: see above.
        answer(unsafe { (self.functions.seek_offset)(self.db, offset.cast_signed()) })
    }

    fn seek_containing(&self, seq: u64, granularity: u64) -> Answer<()> {
        // SAFETY: see above.
        answer(unsafe { (self.functions.seek_containing)(self.db, seq, granularity) })
    }

    fn step(&mut self, direction: Direction) -> Answer<()> {
        // SAFETY: see above.
        let result = answer(unsafe { (self.functions.step)(self.db, number(direction)) });
        if result.is_err() {
            // The call has freed it.
            self.db = null_mut();
        }
        result
    }

    fn close_file(&self) -> Answer<()> {
        if self.db.is_null() {
            return Ok(());
        }
        // SAFETY: see above.
        answer(unsafe { (self.functions.close)(self.db) })
    }
}

fn number(direction: Direction) -> c_int {
    match direction {
        Direction::Forward => 0,
        Direction::Backward => 1,
        Direction::End => 2,
    }
}
