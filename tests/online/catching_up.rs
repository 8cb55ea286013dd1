// SPDX-License-Identifier: Apache-2.0

//! What a compaction does with changes that were committed meanwhile: which local documents it looks at, what it costs
//! under the lock, when the host is asked and told, and how the source is opened.

use crate::common::raw;
use crate::common::watched::{Kind, Watched};
use crate::common::{files_in, temp_dir};
use couchstore::io::posix::PosixOps;
use couchstore::{
    CompactHooks, CompactOptions, Db, DocInfoRef, Document, Error, ErrorCode, LocalUpdate, OnlineHooks,
    OnlineOptions, OnlineStats, OpenOptions, ReplayHooks, Result, SaveOptions, ScanOptions, compact_online,
};
use std::path::PathBuf;

type OnBoth = fn(&Db, &Db) -> Result<()>;

/// A host with one writer, and what it was asked and told.
struct Host {
    folder: tempfile::TempDir,
    writer: Db,
    options: OnlineOptions,
    /// What the writer does once the first copy is made.
    meanwhile: Option<fn(&Db)>,
    precommit: Option<OnBoth>,
    /// Counts calls between lock and publishing.
    watched: Option<Watched>,
    reads_under_lock: usize,
    locked: bool,
    precommits: u32,
    /// Local documents that were asked about.
    locals: Vec<String>,
    /// Done and total of each call of progress, how many of them there were when the copy was made, and the one that
    /// cancels.
    progress: Vec<(u64, u64)>,
    told_of_copy: usize,
    cancel_at: usize,
    documents: u64,
    most_documents_between: u64,
}

fn save(db: &Db, first: u64, count: u64) {
    let ids: Vec<_> = (first..first + count).map(|number| format!("doc-{number:06}")).collect();
    let documents: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), b"body")).collect();
    db.save(&documents, SaveOptions::default()).unwrap();
}

fn save_local(db: &Db, id: &str, body: Option<&str>) {
    db.save_local(&[LocalUpdate { id: id.as_bytes(), body: body.map(str::as_bytes) }]).unwrap();
}

fn save_locals(db: &Db, count: u32) {
    let ids: Vec<_> = (0..count).map(|number| format!("_local/{number:06}")).collect();
    let updates: Vec<_> =
        ids.iter().map(|id| LocalUpdate { id: id.as_bytes(), body: Some(b"state") }).collect();
    db.save_local(&updates).unwrap();
}

impl Host {
    fn new(documents: u64, locals: u32) -> Host {
        let folder = temp_dir();
        let writer = Db::create(folder.path().join("source")).unwrap();
        save(&writer, 0, documents);
        save_locals(&writer, locals);
        writer.commit().unwrap();
        Host {
            folder,
            writer,
            options: OnlineOptions::new().delta_bytes_for_lock(0),
            meanwhile: None,
            precommit: None,
            watched: None,
            reads_under_lock: 0,
            locked: false,
            precommits: 0,
            locals: Vec::new(),
            progress: Vec::new(),
            told_of_copy: 0,
            cancel_at: usize::MAX,
            documents: 0,
            most_documents_between: 0,
        }
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    fn compact(&mut self) -> Result<OnlineStats> {
        let options = self.options.clone();
        compact_online(self.source(), self.target(), &options, self)
    }

    fn result(&self) -> Db {
        Db::open(self.target()).unwrap()
    }
}

impl CompactHooks for Host {
    fn progress(&mut self, done: u64, total: u64, _: u64) -> Result<()> {
        self.progress.push((done, total));
        self.documents = 0;
        if self.progress.len() == self.cancel_at { Err(Error::Callback(ErrorCode::CANCEL)) } else { Ok(()) }
    }

    fn copied(&mut self, _: &Db) -> Result<()> {
        self.told_of_copy = self.progress.len();
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile(&self.writer);
        }
        Ok(())
    }
}

impl ReplayHooks for Host {
    fn before_document(&mut self, _: &Db, _: &Db, _: &DocInfoRef<'_>) -> Result<bool> {
        self.documents += 1;
        self.most_documents_between = self.most_documents_between.max(self.documents);
        Ok(true)
    }

    fn before_local(&mut self, _: &Db, _: &Db, id: &[u8], _: usize) -> Result<bool> {
        self.locals.push(String::from_utf8(id.to_vec()).unwrap());
        Ok(true)
    }

    fn precommit(&mut self, source: &Db, target: &Db) -> Result<()> {
        self.precommits += 1;
        assert_eq!(target.info()?.last_sequence, source.info()?.last_sequence);
        self.precommit.map_or(Ok(()), |hook| hook(source, target))
    }
}

impl OnlineHooks for Host {
    fn counts_on_precommit(&self) -> bool {
        self.precommit.is_some()
    }

    fn lock(&mut self) {
        self.locked = true;
        if let Some(watched) = &self.watched {
            watched.take_log();
        }
    }

    fn unlock(&mut self) {
        self.locked = false;
    }

    fn publish(&mut self, _: &Db, _: &Db) -> Result<()> {
        if let Some(watched) = &self.watched {
            self.reads_under_lock = watched.count(Kind::Read);
        }
        Ok(())
    }
}

// ---- local documents ----------------------------------------------------------------------------------------------------

#[test]
fn only_local_documents_that_the_source_has_changed_are_shown_and_written() {
    let mut host = Host::new(10, 1000);
    host.meanwhile = Some(|writer| {
        save_local(writer, "_local/000500", Some("changed"));
        save_local(writer, "_local/000600", None);
        save_local(writer, "_local/new", Some("new"));
        writer.commit().unwrap();
    });
    host.compact().unwrap();
    assert_eq!(host.locals, ["_local/000500", "_local/new"]);
    let db = host.result();
    assert_eq!(db.local(b"_local/000500").unwrap().unwrap(), b"changed");
    assert_eq!(db.local(b"_local/000600").unwrap(), None);
    assert_eq!(db.local(b"_local/new").unwrap().unwrap(), b"new");
    let mut count = 0;
    db.scan_local(b"", &mut |_, _| {
        count += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(count, 1000);
}

#[test]
fn what_a_hook_writes_into_the_target_stays() {
    let mut host = Host::new(10, 10);
    host.options.delta_bytes_for_lock = 1 << 20;
    host.options.max_unlocked_rounds = 3;
    host.meanwhile = Some(|writer| {
        save_local(writer, "_local/000003", Some("changed"));
        writer.commit().unwrap();
    });
    host.precommit = Some(|_, target| {
        save_local(target, "_local/000005", Some("by the hook"));
        save_local(target, "_local/of the hook", Some("by the hook"));
        Ok(())
    });
    host.compact().unwrap();
    let db = host.result();
    assert_eq!(db.local(b"_local/000005").unwrap().unwrap(), b"by the hook");
    assert_eq!(db.local(b"_local/of the hook").unwrap().unwrap(), b"by the hook");
    assert_eq!(db.local(b"_local/000003").unwrap().unwrap(), b"changed");
}

/// Reads under the lock, without buffers, so that each node counts.
fn reads_under_lock(documents: u64, locals: u32) -> usize {
    let mut host = Host::new(documents, locals);
    let watched = Watched::new(std::sync::Arc::new(PosixOps));
    host.options.max_unlocked_rounds = 0;
    host.options.source = OpenOptions::new().unbuffered(true);
    host.options.compact = CompactOptions::new().file_ops(watched.ops()).unbuffered(true);
    host.watched = Some(watched);
    host.meanwhile = Some(|writer| {
        save(writer, 3, 1);
        save_local(writer, "_local/000003", Some("changed"));
        writer.commit().unwrap();
    });
    host.compact().unwrap();
    assert_eq!(host.locals, ["_local/000003"]);
    assert_eq!(host.result().local(b"_local/000003").unwrap().unwrap(), b"changed");
    host.reads_under_lock
}

#[test]
fn work_under_the_lock_does_not_grow_with_what_did_not_change() {
    let few = reads_under_lock(50, 50);
    let (many_locals, many_documents) = (reads_under_lock(50, 50_000), reads_under_lock(50_000, 50));
    println!("reads under the lock: {few}, {many_locals}, {many_documents}");
    assert!(few > 0);
    // Trees are a few levels deeper; each level is read several times, in two calls.
    assert!(many_locals <= few + 60 && many_documents <= few + 100, "{few} {many_locals} {many_documents}");
}

// ---- the hook before the last commit ------------------------------------------------------------------------------------

fn headers(host: &Host) -> usize {
    let file = raw::File::new(std::fs::read(host.target()).unwrap());
    raw::check_header(&file, &file.last_header());
    file.header_positions().len()
}

#[test]
fn the_last_hook_is_called_also_if_nothing_was_committed_meanwhile() {
    let mut host = Host::new(10, 3);
    host.precommit = Some(|source, target| {
        assert_eq!(source.info()?.doc_count, 10);
        save_local(target, "_local/vbstate", Some("{}"));
        Ok(())
    });
    host.compact().unwrap();
    assert_eq!(host.precommits, 1);
    let db = host.result();
    assert_eq!(db.local(b"_local/vbstate").unwrap().unwrap(), b"{}");
    assert_eq!(db.info().unwrap().timestamp, host.writer.info().unwrap().timestamp);
    assert_eq!(headers(&host), 2, "one more commit");
}

#[test]
fn a_hook_that_changes_nothing_takes_a_commit_too() {
    let mut host = Host::new(10, 3);
    host.precommit = Some(|_, _| Ok(()));
    host.compact().unwrap();
    assert_eq!((host.precommits, headers(&host)), (1, 2));
}

#[test]
fn a_host_without_that_hook_pays_for_no_commit() {
    let mut host = Host::new(10, 3);
    host.compact().unwrap();
    assert_eq!((host.precommits, headers(&host)), (0, 1));
}

#[test]
fn otherwise_it_is_called_before_the_commit_of_each_replay() {
    for precommit in [None, Some((|_, _| Ok(())) as OnBoth)] {
        let mut host = Host::new(10, 3);
        host.precommit = precommit;
        host.meanwhile = Some(|writer| {
            save(writer, 100, 1);
            writer.commit().unwrap();
        });
        host.compact().unwrap();
        assert_eq!((host.precommits, headers(&host)), (1, 2));
    }
}

#[test]
fn its_error_undoes_everything() {
    let mut host = Host::new(10, 3);
    host.precommit = Some(|_, _| Err(Error::Callback(ErrorCode(-99))));
    assert_eq!(host.compact().unwrap_err().code(), ErrorCode(-99));
    assert_eq!(files_in(host.folder.path()), 1);
    assert!(!host.locked);
}

// ---- progress and cancelling --------------------------------------------------------------------------------------------

fn much(writer: &Db) {
    save(writer, 2000, 6000);
    writer.commit().unwrap();
}

fn much_under_the_lock() -> Host {
    let mut host = Host::new(5000, 2500);
    host.meanwhile = Some(much);
    host.options.max_unlocked_rounds = 0;
    host
}

fn much_before_the_lock() -> Host {
    Host { options: host_options().max_unlocked_rounds(5), ..much_under_the_lock() }
}

fn host_options() -> OnlineOptions {
    OnlineOptions::new().delta_bytes_for_lock(0)
}

#[test]
fn progress_is_told_while_trees_are_built_and_while_catching_up() {
    for new in [much_under_the_lock, much_before_the_lock] {
        let mut host = new();
        host.compact().unwrap();
        let (copying, catching_up) = host.progress.split_at(host.told_of_copy);
        // The by-id tree, and then local documents.
        let all_done = copying.iter().filter(|(done, _)| *done == 5000).count();
        assert!(all_done >= 8, "{copying:?}");
        assert!(host.most_documents_between <= 1000, "{}", host.most_documents_between);
        // While the headers are compared, and for each thousand documents.
        assert!(catching_up.len() >= 12, "{catching_up:?}");
        assert!(catching_up.iter().all(|told| *told == (5000, 5000)), "{catching_up:?}");
        assert!(host.progress.is_sorted(), "{:?}", host.progress);
        assert_eq!(host.progress.iter().filter(|(done, _)| *done == 0).count(), 1, "one beginning");
    }
}

#[test]
fn every_call_of_progress_can_cancel() {
    for new in [much_under_the_lock, much_before_the_lock] {
        let mut host = new();
        host.compact().unwrap();
        let calls = host.progress.len();
        println!("{calls} calls of progress");
        for cancel_at in 1..=calls {
            let mut host = Host { cancel_at, ..new() };
            assert_eq!(host.compact().unwrap_err().code(), ErrorCode::CANCEL, "{cancel_at}");
            assert_eq!(files_in(host.folder.path()), 1);
            assert!(!host.locked);
        }
    }
}

#[test]
fn a_copy_that_began_empty_tells_of_what_it_catches_up_with() {
    let mut host = Host::new(0, 1);
    host.meanwhile = Some(much);
    host.compact().unwrap();
    let catching_up = &host.progress[host.told_of_copy..];
    assert!(catching_up.len() >= 5, "{catching_up:?}");
    assert!(catching_up.iter().all(|(done, total)| *done > 0 && *total == 6000), "{catching_up:?}");
}

/// A few changes are enough to be asked.
#[test]
fn catching_up_with_one_document_can_be_cancelled() {
    let mut host = Host::new(10, 3);
    host.meanwhile = Some(|writer| {
        save(writer, 100, 1);
        writer.commit().unwrap();
    });
    host.cancel_at = 3;
    assert_eq!(host.compact().unwrap_err().code(), ErrorCode::CANCEL);
    assert_eq!(host.told_of_copy, 2, "the copy was made");
}

// ---- how the source is opened -------------------------------------------------------------------------------------------

fn nodes(db: &Db) -> u32 {
    let mut nodes = 0;
    let mut count = |_: usize, item: &couchstore::WalkItem<'_>| {
        nodes += u32::from(matches!(item, couchstore::WalkItem::Node { .. }));
        Ok(())
    };
    db.walk_by_id(b"", ScanOptions::default(), &mut count).unwrap();
    nodes
}

#[test]
fn the_result_has_nodes_of_the_given_sizes() {
    let sizes = OpenOptions::new().node_sizes(8 << 10, 8 << 10);
    let mut counts = Vec::new();
    // Whatever else the host has opened its handle with does no harm.
    for source in [OpenOptions::new(), sizes.clone(), sizes.create(true).exclusive(true).legacy_crc(true)] {
        let mut host = Host::new(2000, 0);
        host.options.source = source;
        host.meanwhile = Some(|writer| {
            save(writer, 100, 1);
            writer.commit().unwrap();
        });
        host.compact().unwrap();
        counts.push(nodes(&host.result()));
    }
    assert!(counts[1] * 4 < counts[0] && counts[1] == counts[2], "{counts:?}");
}
