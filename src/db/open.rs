// SPDX-License-Identifier: Apache-2.0

//! Opening and creating files.

use super::sharing::{self, Prospect};
use super::{Db, State, headers};
use crate::crypto;
use crate::crypto::keys::{EncryptionKey, KeyError, KeyStore, file_cipher, new_file_key};
use crate::error::internal_error;
use crate::error::{Error, NoKey, Operation, Result, Sought};
use crate::format::block::BlockType;
use crate::format::header::{FileHeader, FormatVersion};
use crate::io::buffered::{BufferSizes, Buffering};
use crate::io::file::{DbFile, Encryption};
use crate::io::naming::{Naming, PosixNaming};
#[cfg(feature = "cxx-shim")]
use crate::io::object::ObjectOps;
use crate::io::posix::PosixOps;
use crate::io::tail::Tail;
use crate::io::{FileHandle, FileOps, IoError, OpenMode};
use crate::tree::NodeSizes;
use crate::tree::cache::process;
use crate::tree::cache::shared::NodeCache;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// All read buffers may be filled, and loaded, at once.
pub(crate) const LARGEST_BUFFERS: usize = 256 << 20;

/// A node is in memory as a whole. It may have one entry more than this, of up to 256 MiB.
const LARGEST_NODE_SIZE: usize = 16 << 20;

/// Whose file operations are used.
#[derive(Clone)]
enum Operations {
    /// The library's own.
    Own,
    #[cfg(feature = "cxx-shim")]
    Object(ObjectOps),
    Shared(Arc<dyn FileOps>),
}

/// How to open a file. The default opens an existing file for reading and writing.
///
/// ```
/// # fn main() -> couchstore::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use couchstore::OpenOptions;
///
/// let db = OpenOptions::new().create(true).exclusive(true).open(dir.path().join("new.couch"))?;
/// assert_eq!(db.info()?.last_sequence, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct OpenOptions {
    mode: OpenMode,
    legacy_crc: bool,
    no_commit_at_create: bool,
    recovery: bool,
    /// `None`: reads are exact.
    buffers: Option<BufferSizes>,
    node_sizes: NodeSizes,
    periodic_sync: Option<u64>,
    tracing: bool,
    write_validation: bool,
    mprotect: bool,
    stale_check: bool,
    ops: Operations,
    keys: Option<Arc<dyn KeyStore>>,
    /// Create atomically also with the caller's file operations.
    bootstrap: bool,
    /// `None`: the system's own.
    naming: Option<Arc<dyn Naming>>,
    nodes: SharedNodes,
}

/// Which cache a handle shares with others.
#[derive(Clone, Debug, Default)]
enum SharedNodes {
    /// That of the process, if there is one.
    #[default]
    OfProcess,
    Given(Arc<NodeCache>),
    None,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions {
            mode: OpenMode::default(),
            legacy_crc: false,
            no_commit_at_create: false,
            recovery: false,
            buffers: None,
            node_sizes: NodeSizes::default(),
            periodic_sync: None,
            tracing: false,
            write_validation: false,
            mprotect: false,
            stale_check: true,
            ops: Operations::Own,
            keys: None,
            bootstrap: false,
            naming: None,
            nodes: SharedNodes::OfProcess,
        }
    }
}

macro_rules! switches {
    ($($(#[$doc:meta])* $name:ident => $($field:ident).+;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(mut self, on: bool) -> OpenOptions {
            self.$($field).+ = on;
            self
        })*
    };
}

impl OpenOptions {
    /// The default options.
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    switches! {
        /// Create the file if it does not exist.
        create => mode.create;
        /// Fail if the file exists; only with [`OpenOptions::create`].
        exclusive => mode.exclusive;
        /// Open for reading only.
        read_only => mode.read_only;
        /// Put no buffers between the library and the file operations.
        unbuffered => mode.unbuffered;
        /// Give a new file version 11 with CRC-32 checksums. Refused for existing files of newer versions.
        legacy_crc => legacy_crc;
        /// Give a new file no header before the first commit. Until then nobody can open it.
        no_commit_at_create => no_commit_at_create;
        /// Step over damaged headers at the end of the file.
        recovery => recovery;
        /// Ask the file operations for tracing.
        tracing => tracing;
        /// Ask the file operations to read back and compare what they write.
        write_validation => write_validation;
        /// Ask the file operations to guard the write buffer's pages.
        mprotect => mprotect;
        /// Look at the file before writing to it, and write nothing if it was replaced, or written by somebody else,
        /// meanwhile ([`Error::Stale`]). On by default; only the library's own file operations can.
        stale_check => stale_check;
    }

    /// Read in aligned units of `unit` bytes, and keep `count` of them. By default just what is wanted is read. Opening
    /// fails if the buffers are larger than 256 MiB in all.
    #[must_use]
    pub fn read_buffers(mut self, unit: usize, count: usize) -> OpenOptions {
        self.buffers = Some(BufferSizes { unit: unit.max(1), count: count.max(1) });
        self
    }

    /// Encoded sizes in bytes beyond which nodes with pointers and leaves are split. The default is 1279 for both.
    /// Opening fails if one is larger than 16 MiB.
    #[must_use]
    pub fn node_sizes(mut self, interior: usize, leaf: usize) -> OpenOptions {
        self.node_sizes = NodeSizes { interior, leaf };
        self
    }

    /// Share inflated nodes with all handles that are given the same cache; with `None` with no other handle. By default
    /// they are shared as [`set_node_cache`](crate::set_node_cache) or the environment says for the process.
    ///
    /// Nodes are never shared by handles without buffers, of encrypted files or opened for recovery, nor where the
    /// operating system does not tell enough of a file to know it again.
    #[must_use]
    pub fn node_cache(mut self, cache: impl Into<Option<Arc<NodeCache>>>) -> OpenOptions {
        self.nodes = cache.into().map_or(SharedNodes::None, SharedNodes::Given);
        self
    }

    /// Sync automatically after every so many bytes written.
    #[must_use]
    pub fn periodic_sync(mut self, bytes: Option<u64>) -> OpenOptions {
        self.periodic_sync = bytes;
        self
    }

    /// Use these file operations.
    #[must_use]
    pub fn file_ops(mut self, ops: Arc<dyn FileOps>) -> OpenOptions {
        self.ops = Operations::Shared(ops);
        self
    }

    /// Use a C++ object's file operations.
    #[cfg(feature = "cxx-shim")]
    pub(crate) fn set_object_ops(&mut self, ops: ObjectOps) {
        self.ops = Operations::Object(ops);
    }

    /// Where to find keys: that of a new file, which is encrypted if there is one, or that of an encrypted file.
    #[must_use]
    pub fn keys(mut self, keys: Option<Arc<dyn KeyStore>>) -> OpenOptions {
        self.set_keys(keys);
        self
    }

    /// As [`OpenOptions::keys`], in place.
    pub(crate) fn set_keys(&mut self, keys: Option<Arc<dyn KeyStore>>) {
        self.keys = keys;
    }

    /// Create the file atomically also with file operations of the caller's: they write a file with a temporary name,
    /// and sync it; the library gives it its name. Without this, other file operations than the library's own
    /// create the file in place. Use it with [`OpenOptions::create`].
    #[must_use]
    pub fn bootstrap(mut self, on: bool) -> OpenOptions {
        self.bootstrap = on;
        self
    }

    /// With [`OpenOptions::bootstrap`] and [`OpenOptions::create`], in place.
    #[cfg(feature = "cxx-shim")]
    pub(crate) fn set_bootstrap(&mut self) {
        (self.bootstrap, self.mode.create) = (true, true);
    }

    /// Give files names by these system calls; for tests that let them fail.
    #[doc(hidden)]
    #[must_use]
    pub fn naming(mut self, naming: Arc<dyn Naming>) -> OpenOptions {
        self.naming = Some(naming);
        self
    }

    /// The same for a handle that only reads an existing file.
    pub(crate) fn as_source(&self) -> OpenOptions {
        let mode = OpenMode { read_only: true, unbuffered: self.mode.unbuffered, ..OpenMode::default() };
        let (buffers, node_sizes) = (self.buffers, self.node_sizes);
        OpenOptions { mode, buffers, node_sizes, nodes: SharedNodes::None, ..OpenOptions::default() }
    }

    /// Opens the file.
    ///
    /// A new file is created atomically, with the library's own file operations or [`OpenOptions::bootstrap`]:
    /// after success it is there, complete and durable; after a failure, or when the process dies, there is none.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Db> {
        let name = CString::new(path.as_ref().as_os_str().as_bytes());
        let name = name.map_err(|_| Error::InvalidArguments("expected a name without zero bytes"))?;
        self.open_named(&name)
    }

    /// Opens the file of this name.
    pub(crate) fn open_named(&self, filename: &CStr) -> Result<Db> {
        self.open_boxed(filename).map(|db| *db)
    }

    /// As [`OpenOptions::open_named`], for an owner that wants the handle in a place of its own.
    pub(crate) fn open_boxed(&self, filename: &CStr) -> Result<Box<Db>> {
        let prospect = Prospect::of(self, filename);
        let (file, state) = self.open_file(filename)?;
        let db = Db::boxed(file, state, self.without_keys(), filename);
        sharing::begin_keeping(self, prospect, filename, &db.file, &db.state.borrow());
        db.file.rest();
        Ok(db)
    }

    /// The same for an open handle: keys are asked for while opening only, and whoever holds the store may let it go then.
    #[inline]
    fn without_keys(&self) -> OpenOptions {
        let (ops, naming, nodes) = (self.ops.clone(), self.naming.clone(), self.nodes.clone());
        OpenOptions { keys: None, ops, naming, nodes, ..*self }
    }

    /// Lets go of the key store.
    pub(super) fn forget_keys(&mut self) {
        self.keys = None;
    }

    /// Whether nodes are kept in memory.
    pub(super) fn keeps_nodes(&self) -> bool {
        !self.mode.unbuffered && !self.recovery
    }

    /// The cache that the nodes of an opened file may be shared in.
    pub(super) fn shared_nodes(&self) -> Option<Arc<NodeCache>> {
        if !self.keeps_nodes() {
            return None;
        }
        match &self.nodes {
            SharedNodes::OfProcess => process::node_cache(),
            SharedNodes::Given(cache) => Some(cache.clone()),
            SharedNodes::None => None,
        }
    }

    #[inline]
    pub(super) fn open_file(&self, filename: &CStr) -> Result<(Box<DbFile>, Box<State>)> {
        self.check()?;
        if self.bootstrap && self.no_commit_at_create {
            return Err(Error::InvalidArguments(
                "expected either atomic creation or a file without a first header, not both",
            ));
        }
        // A file without a header is not a database yet: whoever asks for one fills it and gives it its name.
        let atomic =
            self.mode.create && !self.no_commit_at_create && (self.bootstrap || self.ops().is_default());
        if atomic { self.open_or_bootstrap(filename) } else { self.open_in_place(filename, self.mode) }
    }

    /// Opens the file, or creates it in place; then it is removed again if this fails.
    pub(super) fn open_in_place(&self, filename: &CStr, mode: OpenMode) -> Result<(Box<DbFile>, Box<State>)> {
        let is_new = mode.create && !self.ops().exists(filename);
        let handle = self.open_handle(filename, mode)?;
        let mut file = self.wrap(filename, handle);
        let mut was_empty = None;
        let started = self.start(&mut file, &mut was_empty).and_then(|state| {
            // What is acknowledged has to last. A caller's operations are not asked to sync before the first commit.
            if was_empty == Some(true) && self.ops().is_default() && !self.no_commit_at_create {
                file.sync_flushed()?;
            }
            Ok(state)
        });
        match started {
            Ok(state) => Ok((file, state)),
            Err(error) => {
                // A file with content, or of another kind, was made by somebody else, just before it was opened here.
                let is_others = was_empty == Some(false) || is_of_another_kind(filename);
                let remove = is_new && (mode.exclusive || !is_others);
                // What this call has buffered must not reach the file.
                file.take_back(0);
                let _ = file.io().close();
                if remove {
                    self.ops().remove(filename);
                }
                Err(error)
            }
        }
    }

    #[inline]
    pub(super) fn open_handle(&self, filename: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>> {
        let opened = self.ops().open(filename, mode);
        opened.map_err(|IoError { code, os_error, not_regular, .. }| {
            let file = filename.to_string_lossy().into();
            if not_regular {
                Error::NotRegular { file }
            } else {
                Error::Io { operation: Operation::Open, file, position: 0, code, os_error }
            }
        })
    }

    /// Puts the layers of this library before an open handle.
    #[inline]
    pub(super) fn wrap(&self, filename: &CStr, handle: Box<dyn FileHandle>) -> Box<DbFile> {
        let buffering = match self.buffers {
            _ if self.mode.unbuffered => Buffering::Off,
            Some(sizes) => Buffering::Units(sizes),
            None => Buffering::Exact,
        };
        let mut file = DbFile::new(filename.into(), handle, buffering, self.mode.read_only);
        file.set_node_size(self.node_sizes.interior.max(self.node_sizes.leaf));
        if self.recovery {
            file.recall_no_nodes();
        }
        if self.stale_check && !self.mode.read_only {
            file.watch();
        }
        file
    }

    fn check(&self) -> Result<()> {
        let OpenMode { read_only, create, exclusive, .. } = self.mode;
        if read_only && create {
            return Err(Error::InvalidArguments("expected either read-only or create, not both"));
        }
        if exclusive && !create {
            return Err(Error::InvalidArguments("expected create beside exclusive"));
        }
        let too_large = |sizes: BufferSizes| {
            sizes.unit.checked_mul(sizes.count).is_none_or(|bytes| bytes > LARGEST_BUFFERS)
        };
        if self.buffers.is_some_and(too_large) {
            return Err(Error::InvalidArguments("expected read buffers of at most 256 MiB"));
        }
        let NodeSizes { interior, leaf } = self.node_sizes;
        if interior.max(leaf) > LARGEST_NODE_SIZE {
            return Err(Error::InvalidArguments("expected nodes of at most 16 MiB"));
        }
        Ok(())
    }

    /// Finds the header of the open file, or gives it its first one if it `was_empty`; `None`: it was not asked yet.
    pub(super) fn start(&self, file: &mut DbFile, was_empty: &mut Option<bool>) -> Result<Box<State>> {
        self.configure(file)?;
        let size = file.size()?;
        file.set_tail(Tail::own(size));
        file.renew_watch(size);
        *was_empty = Some(size == 0);
        if size == 0 { self.start_empty(file) } else { self.find_state(file) }
    }

    #[inline]
    fn configure(&self, file: &mut DbFile) -> Result<()> {
        let mut set = |wanted: bool, action: fn(&mut dyn FileHandle) -> Result<(), IoError>| {
            if !wanted {
                return Ok(());
            }
            let result = file.io().configure(action);
            result.map_err(|error| file.error(Operation::Configure, 0, error))
        };
        set(self.tracing, |handle| handle.set_tracing())?;
        set(self.write_validation, |handle| handle.set_write_validation())?;
        set(self.mprotect, |handle| handle.set_mprotect())?;
        if let Some(bytes) = self.periodic_sync {
            let result = file.io().configure(|handle| handle.set_periodic_sync(bytes));
            result.map_err(|error| file.error(Operation::Configure, 0, error))?;
        }
        Ok(())
    }

    #[inline]
    fn find_state(&self, file: &mut DbFile) -> Result<Box<State>> {
        let state = headers::find_last(file, headers::Kind::Unknown, self.recovery)?;
        let header = &state.header;
        file.set_tail(Tail::found(file.end(), state.committed_end()));
        if self.legacy_crc && header.version > FormatVersion::V11 {
            return Err(Error::InvalidArguments("expected a file of version 11 for legacy CRC, it is newer"));
        }
        file.set_version(header.version);
        if header.has_metadata {
            self.find_key(file)?;
        }
        Ok(state)
    }

    /// Finds the key of an encrypted file.
    pub(super) fn find_key(&self, file: &mut DbFile) -> Result<()> {
        let name = file.name();
        let Some(metadata) = file.read_metadata()? else {
            return Err(Error::NoEncryptionKey { file: name, why: NoKey::NoMetadata });
        };
        if metadata.key_id.is_empty() {
            return Ok(());
        }
        check_encryption(file)?;
        let key_id: Arc<str> = String::from_utf8_lossy(&metadata.key_id).into();
        let key = self.key_of(&metadata.key_id).map_err(|why| {
            let error = Error::NoEncryptionKey { file: name.clone(), why: why(key_id.clone()) };
            if self.keys.is_none() {
                internal_error::report(&error);
            }
            error
        })?;
        let cipher = file_cipher(&key, &metadata).map_err(|_| Error::Decrypt { file: name, key_id })?;
        file.set_encryption(Encryption { cipher, key_id: metadata.key_id });
        Ok(())
    }

    /// The key with this id; an error is what to make of the id.
    fn key_of(&self, id: &[u8]) -> Result<EncryptionKey, fn(Arc<str>) -> NoKey> {
        let keys = self.keys.as_ref().ok_or(NoKey::NoStore as fn(_) -> _)?;
        let key = keys.key(id).map_err(|_| NoKey::StoreFailed as fn(_) -> _)?;
        key.filter(|key| key.id() == id).ok_or(NoKey::Unknown)
    }

    /// Gives an empty file its metadata header, if it is to be encrypted.
    fn start_encrypted(&self, file: &mut DbFile) -> Result<bool> {
        let Some(keys) = &self.keys else { return Ok(false) };
        let failed = |reason| Error::Encrypt { file: file.name(), reason };
        let key =
            keys.key(b"").map_err(|_| failed("the key store failed when asked for the key of a new file"))?;
        let Some(key) = key else { return Ok(false) };
        if self.legacy_crc {
            return Err(Error::InvalidArguments("expected either legacy CRC or encryption, not both"));
        }
        check_encryption(file)?;
        let (cipher, metadata) = new_file_key(&key).map_err(|error| match error {
            KeyError::Unusable => Error::InvalidArguments(
                "expected a key of 32 bytes with an id of 1 to 255 bytes for the new file",
            ),
            KeyError::Failed => failed("no file key could be made"),
        })?;
        file.start_with_metadata(&metadata)?;
        file.set_encryption(Encryption { cipher, key_id: metadata.key_id });
        Ok(true)
    }

    fn start_empty(&self, file: &mut DbFile) -> Result<Box<State>> {
        if self.mode.read_only {
            let (file, sought) = (file.name(), Sought::Anywhere(0));
            return Err(Error::NoHeader { file, sought, cause: None });
        }
        let version = if self.legacy_crc { FormatVersion::V11 } else { FormatVersion::NEWEST };
        file.set_version(version);
        let has_metadata = self.start_encrypted(file)?;
        let header = FileHeader { has_metadata, ..FileHeader::empty(version) };
        if self.no_commit_at_create {
            if !has_metadata {
                file.start_without_header()?;
            }
            return Ok(Box::new(State { header, position: None }));
        }
        let appended = file.append_header(&header, BlockType::Header)?;
        if self.ops().is_default() {
            file.flush()?;
        }
        Ok(Box::new(State { header, position: Some(appended.position) }))
    }

    pub(super) fn mode(&self) -> OpenMode {
        self.mode
    }

    pub(super) fn ops(&self) -> &dyn FileOps {
        match &self.ops {
            Operations::Own => &PosixOps,
            #[cfg(feature = "cxx-shim")]
            Operations::Object(ops) => ops,
            Operations::Shared(ops) => ops.as_ref(),
        }
    }

    /// The operations in use, for handles of the same kind elsewhere.
    pub(crate) fn shared_ops(&self) -> Arc<dyn FileOps> {
        match &self.ops {
            Operations::Shared(ops) => ops.clone(),
            Operations::Own => Arc::new(PosixOps),
            // Those of a C++ object are its handle's alone.
            #[cfg(feature = "cxx-shim")]
            Operations::Object(_) => Arc::new(PosixOps),
        }
    }

    /// Where to find keys.
    pub(crate) fn key_store(&self) -> Option<Arc<dyn KeyStore>> {
        self.keys.clone()
    }

    pub(crate) fn naming_calls(&self) -> Arc<dyn Naming> {
        self.naming.clone().unwrap_or_else(|| Arc::new(PosixNaming))
    }

    /// The node sizes in use.
    pub(crate) fn nodes(&self) -> NodeSizes {
        self.node_sizes
    }
}

/// Whether something has this name that is no file.
fn is_of_another_kind(filename: &CStr) -> bool {
    std::fs::metadata(OsStr::from_bytes(filename.to_bytes())).is_ok_and(|metadata| !metadata.is_file())
}

/// Fails in builds without encryption.
fn check_encryption(file: &DbFile) -> Result<()> {
    if crypto::AVAILABLE { Ok(()) } else { Err(Error::EncryptionLeftOut { file: file.name() }) }
}

impl std::fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenOptions")
            .field("mode", &self.mode)
            .field("legacy_crc", &self.legacy_crc)
            .field("recovery", &self.recovery)
            .field("node_sizes", &self.node_sizes)
            .finish_non_exhaustive()
    }
}

impl Db {
    /// Opens an existing file for reading and writing.
    pub fn open(path: impl AsRef<Path>) -> Result<Db> {
        OpenOptions::new().open(path)
    }

    /// Opens a file for reading and writing, and creates it if it does not exist.
    pub fn create(path: impl AsRef<Path>) -> Result<Db> {
        OpenOptions::new().create(true).open(path)
    }
}
