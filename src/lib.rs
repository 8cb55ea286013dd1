//! Append-only, copy-on-write document storage: the files of couchstore, its C API, in Rust.
//!
//! A database is one file. Documents are kept in two B+trees, by id and by sequence number; a third tree holds local
//! documents. Nothing that was written is ever changed: a batch of changes appends bodies and new nodes, a commit
//! appends a header with the new roots, and readers go on with the header that they opened.
//!
//! ```
//! # fn main() -> couchstore::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let (path, target) = (dir.path().join("a.couch"), dir.path().join("b.couch"));
//! use couchstore::{Db, Document, SaveOptions, ScanOptions};
//!
//! let db = Db::create(&path)?;
//! db.save(
//!     &[Document::new(b"one", b"1"), Document::new(b"two", b"2"), Document::deletion(b"three")],
//!     SaveOptions::default(),
//! )?;
//! db.commit()?;
//!
//! let mut ids = Vec::new();
//! db.all_docs(b"", ScanOptions { no_deletes: true, ..Default::default() }, &mut |info| {
//!     ids.push(info.id.to_vec());
//!     Ok(())
//! })?;
//! assert_eq!(ids, [b"one", b"two"]);
//!
//! couchstore::compact(&db, &target, &couchstore::CompactOptions::default())?;
//! assert_eq!(Db::open(&target)?.get(b"two")?, b"2");
//! # Ok(())
//! # }
//! ```
//!
//! The layers, each of which knows only those before it: `format` (bytes to values), `crypto`, `io` (files), `tree` (B+trees),
//! `db` (a database), `compact`, `inspect` (for tools), and `capi` (the C functions).

#![deny(clippy::disallowed_types)]

#[doc(hidden)]
pub mod capi;
mod compact;
mod crypto;
mod db;
mod error;
mod format;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzzing;
pub mod inspect;
pub mod io;
mod memory;
mod quiet_thread;
mod sync;
mod tree;
mod tsan;

pub use compact::copy::{CompactHooks, CompactOptions, Verdict, compact, compact_unseen, compact_with};
pub use compact::hooks::{OnlineHooks, ReplayHooks};
pub use compact::online::{OnlineOptions, OnlineStats, Swap, compact_online};
pub use compact::replay::replay;
pub use crypto::AVAILABLE as ENCRYPTION;
pub use crypto::keys::{EncryptionKey, KeyDerivation, KeyStore, KeyStoreFailed};
pub use db::Db;
pub use db::commit::RetrySync;
pub use db::headers::Direction;
pub use db::info::Info;
pub use db::local::{LocalUpdate, OnLocal};
pub use db::open::OpenOptions;
pub use db::save::{Document, OnSave, SaveOptions};
pub use db::scan::{OnDocument, OnItem, ScanOptions, WalkItem};
pub use error::internal_error::{
    Handler as InternalErrorHandler, last_internal_error, set_on_internal_error,
};
pub use error::{Error, ErrorCode, Found, NoKey, Operation, Result, Sought, Stale};
pub use format::docinfo::{COMPRESSED, DocInfo, DocInfoRef};
pub use format::header::FormatVersion;
pub use tree::cache::process::set_node_cache;
pub use tree::cache::shared::NodeCache;
