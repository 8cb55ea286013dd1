// SPDX-License-Identifier: Apache-2.0

//! Append-only, copy-on-write document storage: the files of couchstore, its C API, in Rust.
//!
//! A database is one file. Documents are kept in two B+trees, by id and by sequence number; a third tree holds local
//! documents. Nothing that was written is ever changed: a batch of changes appends bodies and new nodes, a commit
//! appends a header with the new roots, and readers go on with the header that they opened.
//!
//! There are two ways to use it:
//!
//! * [`Store`], for programs of many threads: one writer, any number of readers on snapshots, compaction beside them;
//! * [`Db`], one handle on a file, for one thread at a time: everything else is made of it.
//!
//! ```
//! # fn main() -> couchstore::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("a.couch");
//! use couchstore::Db;
//!
//! let db = Db::create(&path)?;
//! db.put("one", "1")?;
//! db.put("two", "2")?;
//! db.commit()?;
//!
//! for found in db.iter().bodies() {
//!     let (info, body) = found?;
//!     println!("{}: {}", info.id.escape_ascii(), body.escape_ascii());
//! }
//! assert_eq!(Db::open(&path)?.get(b"two")?.as_deref(), Some(&b"2"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Opening
//!
//! [`Db::open`] opens a file that exists, [`Db::create`] makes it if there is none, [`OpenOptions`] has everything else:
//! reading only, file operations of the caller's, keys, sizes of nodes and buffers. A new file is there when opening has
//! returned, complete and durable, or it is not there at all, also if the process dies meanwhile. A handle stands on the
//! newest header of the file, and stays there until it is moved or commits.
//!
//! # Writing
//!
//! A document has an id of up to 4095 bytes, a body, and metadata of the caller's (`rev_meta`, `rev_seq`, `content_meta`).
//! With each save it gets the next *sequence number* of the database, under which its last change is found. Deleting
//! leaves an entry without a body, so that whoever follows the changes learns of it.
//!
//! [`Db::save`] saves a batch, in one update of both trees; [`Db::put`] and [`Db::delete`] are batches of one. A batch of a
//! thousand documents writes far less than a thousand batches.
//!
//! ```
//! # fn main() -> couchstore::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let db = couchstore::Db::create(dir.path().join("a.couch"))?;
//! use couchstore::{COMPRESSED, Document, SaveOptions};
//!
//! let text = "to be compressed ".repeat(100);
//! let documents = [
//!     Document::new(b"plain", b"1"),
//!     Document { content_meta: COMPRESSED, ..Document::new(b"text", text.as_bytes()) },
//!     Document::deletion(b"gone"),
//! ];
//! let sequences = db.save(&documents, SaveOptions::new().compress(true))?;
//! assert_eq!(sequences, [1, 2, 3]);
//! # Ok(())
//! # }
//! ```
//!
//! # Commits and durability
//!
//! What was saved is seen by its own handle at once, and by others after [`Db::commit`]. A commit syncs twice: first what
//! was written, then the one byte that makes its header count. When it returns, the changes are durable; after a crash or a
//! power cut at any moment the file opens at a commit that includes every one whose success was reported.
//!
//! A handle that is dropped without a commit leaves its changes as garbage in the file; nobody sees them.
//!
//! If a **sync fails**, the operating system may have dropped what it could not write, and says nothing of it later. So the
//! handle takes no more writes ([`Error::Latched`]): the file is opened again, and work goes on with what is there. If it
//! was the second sync of a commit that failed, the commit may be there.
//!
//! # Reading
//!
//! | | |
//! |---|---|
//! | one document | [`Db::get`], [`Db::contains`], [`Db::doc_info`], [`Db::body`] |
//! | in order of ids | [`Db::iter`], [`Db::range`] |
//! | in order of changes | [`Db::changes`] |
//! | several at once | [`Db::docs_by_id`], [`Db::docs_by_seq`] |
//! | without a copy of anything | [`Db::for_each`], [`Db::for_each_change`], [`Db::for_each_local`] |
//! | with damage stepped over | [`Db::all_docs`], [`Db::changes_since`] and [`ScanOptions::tolerate_corruption`](field@ScanOptions::tolerate_corruption) |
//! | nodes, too | [`Db::walk_by_id`], [`Db::walk_by_seq`], [`Db::walk_local`] |
//! | figures | [`Db::info`], [`Db::changes_count`] |
//!
//! Entries ([`DocInfo`]) and bodies are read apart: what only needs entries never touches bodies. An iterator goes on with
//! what its handle saw when it was made, whatever the handle does meanwhile, or says that it cannot ([`Docs`]).
//!
//! # Headers and snapshots
//!
//! Every commit leaves a header, and a handle may go to any of them: [`Db::seek`], [`Db::seek_offset`],
//! [`Db::seek_first_header_containing`]. A save from an older header makes a new branch; what came after is garbage then.
//! A handle that only reads does not see what others commit before it moves to [`Direction::End`].
//!
//! ```
//! # fn main() -> couchstore::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("a.couch");
//! # let db = couchstore::Db::create(&path)?;
//! use couchstore::{Db, Direction};
//!
//! let reader = Db::open(&path)?;
//! db.put("a", "1")?;
//! db.commit()?;
//! assert!(!reader.contains("a")?);
//! reader.seek(Direction::End)?;
//! assert!(reader.contains("a")?);
//! reader.seek(Direction::Backward)?;
//! assert!(!reader.contains("a")?);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Snapshot`] of a [`Store`] is the same for any number of threads.
//!
//! # Local documents
//!
//! A small tree of its own, for what belongs to this file alone: states, checkpoints. They have ids and bodies and nothing
//! else, no sequence numbers, and leave nothing behind when they are removed: [`Db::put_local`], [`Db::save_local`],
//! [`Db::local`], [`Db::local_docs`], [`Db::delete_local`].
//!
//! # Compaction
//!
//! The file only grows; compaction copies what one header refers to into a new one.
//!
//! * [`compact`] copies what a handle sees, [`compact_with`] lets hooks leave documents out, or change them;
//! * [`replay`] brings a copy up to what was committed since;
//! * [`compact_online`] does both while others write, keeps them out only for the last bit, and can put the result in the
//!   place of the file;
//! * [`Store::compact_in_background`] does that in a thread of its own, and the store goes over by itself.
//!
//! ```
//! # fn main() -> couchstore::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let (path, target) = (dir.path().join("a.couch"), dir.path().join("b.couch"));
//! # let db = couchstore::Db::create(&path)?;
//! # db.put("a", "1")?;
//! couchstore::compact(&db, &target, &couchstore::CompactOptions::new().drop_deletes(true))?;
//! # assert!(couchstore::Db::open(&target)?.contains("a")?);
//! # Ok(())
//! # }
//! ```
//!
//! # Encryption
//!
//! With a [`KeyStore`] ([`OpenOptions::keys`]) a new file is encrypted with AES-256-GCM, every body and every node; an
//! [`EncryptionKey`] alone is a key store of one key. A compaction encrypts its target with the key that **it** is given, and
//! not at all without one ([`CompactOptions::keys`](field@CompactOptions::keys)). Without the feature `encryption`, which is
//! on by default, encrypted files are refused.
//!
#![cfg_attr(feature = "encryption", doc = "```")]
#![cfg_attr(not(feature = "encryption"), doc = "```no_run")]
//! # fn main() -> couchstore::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("a.couch");
//! use couchstore::{EncryptionKey, KeyDerivation, OpenOptions};
//! use std::sync::Arc;
//!
//! # let secret = [7; 32];
//! let key = Arc::new(EncryptionKey::new("id of the key", &secret, KeyDerivation::KeyBased)?);
//! let db = OpenOptions::new().create(true).keys(Some(key)).open(&path)?;
//! assert_eq!(db.encryption_key_id().as_deref(), Some(&b"id of the key"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! There is one [`Error`]. It names the file, the offset and what was expected there, tells its cause
//! ([`std::error::Error::source`]), has the code that C callers get ([`Error::code`]) and the system's number
//! ([`Error::os_error`]), and becomes a [`std::io::Error`] where that is wanted. A failed operation changes nothing that is
//! visible, and leaves the handle fit for reading.
//!
//! No bytes in a file make the library panic or read without end: what is damaged is an error.
//!
//! Callbacks of [`Db::for_each`], [`Store::write_with`] and [`Snapshot::read`] have errors of any type. Those with the
//! library's type (the visitors, and hooks of compactions) may wrap their own: [`Error::caller`].
//!
//! # Threads
//!
//! A [`Db`] is [`Send`] and not [`Sync`]: it may move to another thread, and is used by one at a time. Its methods take
//! `&self`, so that a callback can use the handle that it was called for. Handles on the same file know nothing of each
//! other, but may share nodes that they have read ([`NodeCache`]): one that writes, any number that read. That there is
//! only one that writes is up to the program; a second one is noticed ([`Error::Stale`]).
//!
//! A [`Store`] and its snapshots are [`Send`], [`Sync`] and cheap to clone. After `fork` a child may use none of all these.
//!
//! # The C API
//!
//! The same library, linked as `libcouchstore.so` or as a static library, has the functions of couchstore
//! (`libcouchstore/couch_db.h`) for C and C++ programs: a build with CMake makes them. A Rust program with parts in C++ gets
//! the C++ API with the feature `cxx`; the directory of the headers is in `DEP_COUCHSTORE_INCLUDE`, for build scripts of
//! those who depend on this crate.
//!
//! # Inside
//!
//! The layers, each of which knows only those before it: `format` (bytes to values), `crypto`, `io` (files), `tree` (B+trees),
//! `db` (a database), `compact`, `inspect` (for tools), and `store` and `capi` (the C functions), which do not know each
//! other.

#![deny(clippy::disallowed_types)]

mod builders;
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
#[cfg(feature = "serde")]
mod json;
mod memory;
mod prefetch;
mod quiet_thread;
mod store;
mod sync;
mod tree;
mod tsan;

pub use compact::copy::{CompactHooks, CompactOptions, Verdict, compact, compact_unseen, compact_with};
pub use compact::hooks::{OnlineHooks, ReplayHooks};
pub use compact::online::{OnlineStats, compact_online};
pub use compact::options::{OnlineOptions, Swap};
pub use compact::replay::replay;
pub use crypto::AVAILABLE as ENCRYPTION;
pub use crypto::keys::{EncryptionKey, KeyDerivation, KeyStore, KeyStoreFailed};
pub use db::Db;
pub use db::commit::RetrySync;
pub use db::headers::Direction;
pub use db::info::Info;
pub use db::iter::{Bodies, Docs, LocalDocs};
pub use db::local::{LocalUpdate, OnLocal};
pub use db::open::OpenOptions;
pub use db::pages::Reader;
pub use db::save::{Document, OnSave, SaveOptions};
pub use db::scan::{OnDocument, OnItem, ScanOptions, WalkItem};
pub use db::visit::Outcome;
pub use error::internal_error::{
    Handler as InternalErrorHandler, last_internal_error, set_on_internal_error,
};
pub use error::{Error, ErrorCode, Found, NoKey, Operation, Result, Sought, Stale};
pub use format::docinfo::{COMPRESSED, DocInfo, DocInfoRef};
pub use format::header::FormatVersion;
pub use store::Store;
pub use store::batch::Batch;
pub use store::options::{OnCompaction, StoreOptions};
pub use store::snapshot::Snapshot;
pub use tree::cache::process::set_node_cache;
pub use tree::cache::shared::NodeCache;

/// The examples of README.md are compiled with those of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
