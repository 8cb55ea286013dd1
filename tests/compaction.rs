// SPDX-License-Identifier: Apache-2.0

//! Compaction: what the copy holds, what hooks may do, and that nothing is left behind when it fails.
//!
//! Memory is measured in `memory.rs`, failing file operations in `faults.rs`, catching up in `replay.rs`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forge::{self, Forge};
use common::memory::Memory;
use common::model::{Doc, Model};
use common::raw;
use common::rng::Rng;
use common::watched::{Effect, FAILURE, Fault, Kind, Watched};
use couchstore::io::posix::PosixOps;
use couchstore::{
    COMPRESSED, CompactHooks, CompactOptions, Db, DocInfoRef, Document, Error, ErrorCode, FormatVersion,
    LocalUpdate, OpenOptions, Result, SaveOptions, ScanOptions, Verdict, compact, compact_unseen,
    compact_with,
};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// A source with all kinds of documents, and where its copy goes.
struct World {
    dir: tempfile::TempDir,
    source: Db,
    model: Model,
}

impl World {
    fn new(options: &OpenOptions) -> World {
        let dir = common::temp_dir();
        let source = options.clone().create(true).open(dir.path().join("source")).unwrap();
        let mut model = Model::default();
        let mut rng = Rng::new();
        for _ in 0..5 {
            let docs: Vec<_> = (0..100).map(|_| random_doc(&mut rng)).collect();
            model.save_both(&source, &docs, SaveOptions::new().compress(true));
            let local = format!("_local/{}", rng.below(20)).into_bytes();
            model.local_both(&source, &[(local, Some(rng.noise(100)))]);
            source.commit_with(rng.below(1 << 60), None).unwrap();
        }
        source.set_purge_seq(3);
        model.purge_seq = 3;
        source.commit().unwrap();
        World { dir, source, model }
    }

    fn target(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    /// Compacts with hooks, which must fail with this code and leave no target.
    fn fails(&self, hooks: &mut dyn CompactHooks, options: &CompactOptions) -> Error {
        let error = compact_with(&self.source, self.target(), options, hooks).unwrap_err();
        self.check_nothing_left();
        error
    }

    /// Nothing but the source is in the folder, and the source is as it was.
    fn check_nothing_left(&self) {
        assert_eq!(common::files_in(self.dir.path()), 1, "the target is gone");
        self.model.check(&self.source);
    }

    fn check_target(&self, expected: &Model) -> Db {
        let bytes = std::fs::read(self.target()).unwrap();
        let db = Db::open(self.target()).unwrap();
        let legacy = db.info().unwrap().version == FormatVersion::V11;
        let file = if legacy { raw::File::with_legacy_crc(bytes) } else { raw::File::new(bytes) };
        assert_eq!(file.header_positions().len(), 1, "exactly one header");
        raw::check_header(&file, &file.last_header());
        expected.check(&db);
        assert_eq!(db.info().unwrap().timestamp, self.source.info().unwrap().timestamp);
        db
    }
}

fn random_doc(rng: &mut Rng) -> Doc {
    let id = format!("doc-{:03}", rng.below(250)).into_bytes();
    let length = rng.index(200);
    let body = if rng.percent(85) { Some(rng.text(length)) } else { None };
    let content_meta = if rng.percent(50) { COMPRESSED } else { 0 };
    Doc { id, body, rev_meta: rng.noise(9), rev_seq: 5, deleted: rng.percent(15), content_meta, db_seq: 0 }
}

fn world() -> World {
    World::new(&OpenOptions::new())
}

#[test]
fn the_copy_holds_the_same_in_less_room() {
    let world = world();
    compact(&world.source, world.target(), &CompactOptions::default()).unwrap();
    let target = world.check_target(&world.model.compacted(false));
    assert!(target.info().unwrap().file_size < world.source.info().unwrap().file_size);
}

#[test]
fn deletions_are_dropped_if_asked_for() {
    let world = world();
    let options = CompactOptions::new().drop_deletes(true);
    compact(&world.source, world.target(), &options).unwrap();
    let target = world.check_target(&world.model.compacted(true));
    let info = target.info().unwrap();
    assert_eq!((info.deleted_count, info.purge_seq), (0, 4));
}

#[test]
fn the_highest_purge_sequence_does_not_become_the_lowest() {
    const HIGHEST: u64 = (1 << 48) - 1;
    let world = world();
    world.source.set_purge_seq(HIGHEST);
    let options = CompactOptions::new().drop_deletes(true);
    compact(&world.source, world.target(), &options).unwrap();
    assert_eq!(Db::open(world.target()).unwrap().info().unwrap().purge_seq, HIGHEST);
}

#[test]
fn uncommitted_changes_are_copied_too() {
    let mut world = world();
    world.model.save_both(&world.source, &[Doc::new(b"uncommitted", b"x")], SaveOptions::default());
    compact(&world.source, world.target(), &CompactOptions::default()).unwrap();
    world.check_target(&world.model.compacted(false));
}

#[test]
fn an_empty_database() {
    let dir = common::temp_dir();
    let source = Db::create(dir.path().join("source")).unwrap();
    compact(&source, dir.path().join("target"), &CompactOptions::default()).unwrap();
    Model::default().check(&Db::open(dir.path().join("target")).unwrap());
}

#[test]
fn version_11_stays_unless_it_is_upgraded() {
    for upgrade in [false, true] {
        let world = World::new(&OpenOptions::new().legacy_crc(true));
        let options = CompactOptions::new().upgrade(upgrade);
        compact(&world.source, world.target(), &options).unwrap();
        let target = world.check_target(&world.model.compacted(false));
        let expected = if upgrade { FormatVersion::V14 } else { FormatVersion::V11 };
        assert_eq!(target.info().unwrap().version, expected);
    }
}

#[test]
fn compacting_the_copy_again_changes_nothing() {
    let world = world();
    compact(&world.source, world.target(), &CompactOptions::default()).unwrap();
    let again = world.dir.path().join("again");
    compact(&Db::open(world.target()).unwrap(), &again, &CompactOptions::default()).unwrap();
    assert!(std::fs::read(world.target()).unwrap() == std::fs::read(again).unwrap());
}

#[test]
fn sorting_on_the_disk_gives_the_same_file() {
    let world = world();
    compact(&world.source, world.target(), &CompactOptions::default()).unwrap();
    let sorted = world.dir.path().join("sorted");
    let options = CompactOptions::new().memory_budget(1);
    compact(&world.source, &sorted, &options).unwrap();
    assert!(std::fs::read(world.target()).unwrap() == std::fs::read(sorted).unwrap());
    assert_eq!(common::files_in(world.dir.path()), 3, "no file for sorting is left");
}

#[test]
fn the_source_may_be_unlinked_and_written_to() {
    let world = world();
    let path = world.dir.path().join("source");
    let pinned = OpenOptions::new().read_only(true).open(&path).unwrap();
    world.source.save(&[Document::new(b"later", b"x")], SaveOptions::default()).unwrap();
    world.source.commit().unwrap();
    std::fs::remove_file(&path).unwrap();
    compact(&pinned, world.target(), &CompactOptions::default()).unwrap();
    world.model.compacted(false).check(&Db::open(world.target()).unwrap());
}

#[test]
fn an_existing_target_is_left_alone() {
    let world = world();
    std::fs::write(world.target(), b"precious").unwrap();
    let error = compact(&world.source, world.target(), &CompactOptions::default()).unwrap_err();
    assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::EEXIST)));
    assert_eq!(std::fs::read(world.target()).unwrap(), b"precious");
}

/// Hooks that look at the folder once everything has been copied.
fn look(action: impl FnMut() + 'static) -> Script {
    let mut action = action;
    let copied: OnTarget = Box::new(move |_| {
        action();
        Ok(())
    });
    Script { copied: Some(copied), ..Script::default() }
}

#[test]
fn nobody_sees_the_target_before_it_is_complete() {
    let world = world();
    let dir = world.dir.path().to_owned();
    let mut hooks = look(move || assert_eq!(common::naming::names_in(&dir), ["source"]));
    compact_with(&world.source, world.target(), &CompactOptions::default(), &mut hooks).unwrap();
    world.check_target(&world.model.compacted(false));
    assert_eq!(common::files_in(world.dir.path()), 2);
}

#[test]
fn a_name_that_appears_meanwhile_is_found_at_the_end() {
    let world = world();
    let target = world.target();
    let mut hooks = look(move || std::fs::write(&target, b"precious").unwrap());
    let result = compact_with(&world.source, world.target(), &CompactOptions::default(), &mut hooks);
    let error = result.unwrap_err();
    assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::EEXIST)));
    assert_eq!(std::fs::read(world.target()).unwrap(), b"precious");
    std::fs::remove_file(world.target()).unwrap();
    world.check_nothing_left();
}

/// Hosts count on it.
#[test]
fn a_callers_operations_make_the_target_under_its_name() {
    let world = world();
    let watched = Watched::new(Arc::new(PosixOps));
    let options = CompactOptions::new().file_ops(watched.ops());
    let dir = world.dir.path().to_owned();
    let mut hooks = look(move || assert_eq!(common::naming::names_in(&dir), ["source", "target"]));
    compact_with(&world.source, world.target(), &options, &mut hooks).unwrap();
    world.check_target(&world.model.compacted(false));
    assert_eq!(watched.count(Kind::Open), 1);
}

#[test]
fn a_closed_source_is_refused() {
    let world = world();
    world.source.close().unwrap();
    let error = compact(&world.source, world.target(), &CompactOptions::default()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::FILE_CLOSED);
    assert!(!world.target().exists());
}

// ---- damage -----------------------------------------------------------------------------------------------------------

#[test]
fn recovery_steps_over_a_damaged_document() {
    let world = world();
    // The last entry of the by-sequence tree that has a body: nothing else refers to it.
    let (id, position) = {
        let mut last = None;
        let mut remember = |info: &DocInfoRef<'_>| {
            if info.body_position != 0 && info.physical_size > 8 {
                last = Some((info.id.to_vec(), info.body_position));
            }
            Ok(())
        };
        world.source.changes_since(0, ScanOptions::default(), &mut remember).unwrap();
        last.unwrap()
    };
    let file = std::fs::OpenOptions::new().write(true).open(world.dir.path().join("source")).unwrap();
    // The checksum's first byte, unless a block begins just there.
    let at = position + 4 + u64::from(position % 4096 >= 4092 || position % 4096 == 0);
    let mut byte = [0];
    std::fs::File::open(world.dir.path().join("source")).unwrap().read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0xff], at).unwrap();

    let source = Db::open(world.dir.path().join("source")).unwrap();
    let error = compact(&source, world.target(), &CompactOptions::default()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::CHECKSUM_FAIL);
    assert!(!world.target().exists());

    let options = CompactOptions::new().recovery(true);
    let error = compact(&source, world.target(), &options).unwrap_err();
    assert_eq!(error.code(), ErrorCode::CHECKSUM_FAIL);
    let mut expected = world.model.compacted(false);
    let lost = expected.by_id.remove(&id).unwrap();
    expected.by_seq.remove(&(lost.info.db_seq, id));
    world.check_target(&expected);
    std::fs::remove_file(world.target()).unwrap();

    // A hook that gives up ends it even then.
    let error =
        compact_with(&source, world.target(), &options, &mut Script::filter(|_, _| cancel())).unwrap_err();
    assert_eq!(error.code(), ErrorCode::CANCEL);
    assert!(!world.target().exists());
}

// ---- hooks --------------------------------------------------------------------------------------------------------------

type Filter = Box<dyn FnMut(&DocInfoRef<'_>, Option<&[u8]>) -> Result<Verdict>>;
type Rewrite = Box<dyn FnMut(&DocInfoRef<'_>, &[u8]) -> Result<Option<Vec<u8>>>>;
type OnTarget = Box<dyn FnMut(&Db) -> Result<()>>;

/// Hooks put together from closures.
#[derive(Default)]
struct Script {
    filter: Option<Filter>,
    rewrite: Option<Rewrite>,
    copied: Option<OnTarget>,
    precommit: Option<OnTarget>,
}

impl Script {
    fn filter(filter: impl FnMut(&DocInfoRef<'_>, Option<&[u8]>) -> Result<Verdict> + 'static) -> Script {
        Script { filter: Some(Box::new(filter)), ..Script::default() }
    }

    fn rewrite(
        mut self,
        rewrite: impl FnMut(&DocInfoRef<'_>, &[u8]) -> Result<Option<Vec<u8>>> + 'static,
    ) -> Script {
        self.rewrite = Some(Box::new(rewrite));
        self
    }
}

impl CompactHooks for Script {
    fn filters(&self) -> bool {
        self.filter.is_some()
    }
    fn filter(&mut self, _: &Db, info: &DocInfoRef<'_>, body: Option<&[u8]>) -> Result<Verdict> {
        self.filter.as_mut().unwrap()(info, body)
    }
    fn rewrites(&self) -> bool {
        self.rewrite.is_some()
    }
    fn rewrite(&mut self, info: &DocInfoRef<'_>, body: &[u8]) -> Result<Option<Vec<u8>>> {
        self.rewrite.as_mut().unwrap()(info, body)
    }
    fn copied(&mut self, target: &Db) -> Result<()> {
        self.copied.as_mut().map_or(Ok(()), |hook| hook(target))
    }
    fn precommit(&mut self, _: &Db, target: &Db) -> Result<()> {
        self.precommit.as_mut().map_or(Ok(()), |hook| hook(target))
    }
}

fn cancel<T>() -> Result<T> {
    Err(Error::Callback(ErrorCode::CANCEL))
}

#[test]
fn a_filter_chooses_documents() {
    let world = world();
    let is_even = |seq: u64| seq.is_multiple_of(2);
    let mut hooks = Script::filter(move |info, body| {
        assert_eq!(body, None);
        Ok(if is_even(info.db_seq) { Verdict::Keep } else { Verdict::Drop })
    });
    // With a filter the option drops nothing by itself, but raises the purge sequence.
    let options = CompactOptions::new().drop_deletes(true);
    compact_with(&world.source, world.target(), &options, &mut hooks).unwrap();
    let mut expected = world.model.clone();
    expected.by_seq.retain(|(seq, _), _| is_even(*seq));
    expected.purge_seq += 1;
    assert!(expected.by_seq.values().any(|entry| entry.info.deleted));
    world.check_target(&expected.compacted(false));
}

#[test]
fn a_filter_may_ask_for_the_stored_body() {
    let world = world();
    let model = world.model.clone();
    let mut hooks = Script::filter(move |info, body| {
        let Some(body) = body else { return Ok(Verdict::NeedBody) };
        let entry = &model.by_id[info.id];
        assert_eq!(body, entry.stored.as_deref().unwrap_or_default(), "empty if there is none");
        Ok(if body.len() > 50 { Verdict::Drop } else { Verdict::Keep })
    });
    compact_with(&world.source, world.target(), &CompactOptions::default(), &mut hooks).unwrap();
    let mut expected = world.model.clone();
    expected.by_seq.retain(|_, entry| entry.stored.as_ref().is_none_or(|stored| stored.len() <= 50));
    world.check_target(&expected.compacted(false));
}

#[test]
fn asking_for_the_body_twice_is_a_mistake() {
    let world = world();
    let error = world.fails(&mut Script::filter(|_, _| Ok(Verdict::NeedBody)), &CompactOptions::default());
    assert_eq!(error.code(), ErrorCode::INVALID_ARGUMENTS);
}

#[test]
fn metadata_may_be_rewritten_in_both_trees() {
    let world = world();
    let new_meta = |seq: u64| (seq.is_multiple_of(3)).then(|| seq.to_string().into_bytes());
    let model = world.model.clone();
    let mut hooks = Script::filter(|_, _| Ok(Verdict::Keep)).rewrite(move |info, body| {
        assert_eq!(Some(body), model.by_id[info.id].stored.as_deref(), "only for documents with a body");
        Ok(new_meta(info.db_seq))
    });
    compact_with(&world.source, world.target(), &CompactOptions::default(), &mut hooks).unwrap();
    let mut expected = world.model.clone();
    for entry in expected.by_seq.values_mut().filter(|entry| entry.stored.is_some()) {
        entry.info.rev_meta = new_meta(entry.info.db_seq).unwrap_or(entry.info.rev_meta.clone());
    }
    world.check_target(&expected.compacted(false));
}

#[test]
fn rewriting_needs_a_filter() {
    let world = world();
    let mut hooks = Script::default().rewrite(|_, _| Ok(None));
    let error = world.fails(&mut hooks, &CompactOptions::default());
    assert_eq!(error.code(), ErrorCode::INVALID_ARGUMENTS);
}

#[test]
fn a_rewritten_metadata_must_fit() {
    let world = world();
    let mut hooks = Script::filter(|_, _| Ok(Verdict::Keep)).rewrite(|_, _| Ok(Some(vec![0; 1 << 28])));
    assert_eq!(world.fails(&mut hooks, &CompactOptions::default()).code(), ErrorCode::INVALID_ARGUMENTS);
}

#[test]
fn the_last_hooks_may_change_the_target() {
    let world = world();
    let add = |id: &'static [u8]| -> Option<OnTarget> {
        Some(Box::new(move |target| target.save_local(&[LocalUpdate { id, body: Some(b"from a hook") }])))
    };
    let mut hooks = Script { copied: add(b"1"), precommit: add(b"2"), ..Script::default() };
    compact_with(&world.source, world.target(), &CompactOptions::default(), &mut hooks).unwrap();
    let mut expected = world.model.compacted(false);
    for id in [b"1", b"2"] {
        expected.local.insert(id.to_vec(), b"from a hook".to_vec());
    }
    world.check_target(&expected);
}

#[test]
fn an_error_of_any_hook_ends_it_with_that_code() {
    let code = || Err(Error::Callback(ErrorCode(-777)));
    let scripts = [
        Script::filter(move |_, _| code().map(|()| Verdict::Keep)),
        Script::filter(|_, _| Ok(Verdict::Keep)).rewrite(move |_, _| code().map(|()| None)),
        Script { copied: Some(Box::new(move |_| code())), ..Script::default() },
        Script { precommit: Some(Box::new(move |_| code())), ..Script::default() },
    ];
    let world = world();
    for mut script in scripts {
        for recovery in [false, true] {
            let options = CompactOptions::new().recovery(recovery);
            assert_eq!(world.fails(&mut script, &options).code(), ErrorCode(-777));
        }
    }
}

#[test]
fn a_panic_in_a_hook_leaves_nothing_behind() {
    let world = world();
    let mut hooks = Script { precommit: Some(Box::new(|_| panic!("hook"))), ..Script::default() };
    let options = CompactOptions::new().memory_budget(1);
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        compact_with(&world.source, world.target(), &options, &mut hooks)
    }));
    assert!(unwound.is_err());
    world.check_nothing_left();
    compact(&world.source, world.target(), &CompactOptions::default()).unwrap();
}

#[test]
fn an_unseen_target_has_its_name_only_at_the_end() {
    let world = world();
    let (target, options) = (world.target(), CompactOptions::default());
    for fails in [true, false] {
        let name = target.clone();
        let precommit: OnTarget = Box::new(move |_| {
            assert!(!name.exists());
            if fails { cancel() } else { Ok(()) }
        });
        let mut hooks = Script { precommit: Some(precommit), ..Script::default() };
        let result = compact_unseen(&world.source, &target, &options, &mut hooks);
        assert_eq!(result.is_err(), fails);
        if fails {
            world.check_nothing_left();
        }
    }
    world.check_target(&world.model);
    let unseen = std::fs::read(&target).unwrap();
    let error =
        compact_unseen(&world.source, &target, &options, &mut Script::filter(|_, _| cancel())).unwrap_err();
    assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::EEXIST)));
    assert_eq!(std::fs::read(&target).unwrap(), unseen, "an existing file is left alone");
    std::fs::remove_file(&target).unwrap();
    compact(&world.source, &target, &options).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), unseen, "byte for byte what compact makes");
}

// ---- failing file operations on a real folder -------------------------------------------------------------------------

#[test]
fn the_target_is_removed_whatever_call_fails() {
    let world = world();
    let watched = Watched::new(Arc::new(PosixOps));
    let options = CompactOptions::new().file_ops(watched.ops());
    compact(&world.source, world.target(), &options).unwrap();
    std::fs::remove_file(world.target()).unwrap();
    let kinds = [Kind::Open, Kind::Write, Kind::Size, Kind::Sync, Kind::Close];
    let counts = kinds.map(|kind| watched.count(kind));
    for (kind, count) in kinds.into_iter().zip(counts) {
        assert!(count > 0, "{kind:?}");
        for (index, times) in (0..count).flat_map(|index| [(index, 1), (index, usize::MAX)]) {
            watched.set_fault(Some(Fault { kind, index, times, effect: Effect::Fail }));
            assert_eq!(world.fails(&mut Script::default(), &options).code(), FAILURE, "{kind:?} {index}");
        }
    }
}

/// A filter that saves while documents are copied.
struct SavesMeanwhile<'a> {
    source: &'a Db,
    calls: u32,
}

impl CompactHooks for SavesMeanwhile<'_> {
    fn filters(&self) -> bool {
        true
    }

    fn filter(&mut self, target: &Db, _: &DocInfoRef<'_>, _: Option<&[u8]>) -> Result<Verdict> {
        self.calls += 1;
        let late = [LocalUpdate { id: b"late", body: Some(b"from a hook") }];
        if self.calls == 1 {
            self.source.save_local(&late)?;
            self.source.save(&[Document::new(b"late", b"from a hook")], SaveOptions::default())?;
        }
        if self.calls == 20 {
            self.source.set_purge_seq(1000);
            self.source.commit_with(12345, None)?;
        }
        let refused = [
            target.save_local(&late),
            target.save(&[Document::new(b"late", b"x")], SaveOptions::default()).map(drop),
            target.commit(),
        ];
        for result in refused {
            assert_eq!(result.unwrap_err().code(), ErrorCode::INVALID_ARGUMENTS);
        }
        Ok(Verdict::Keep)
    }
}

#[test]
fn what_a_filter_saves_meanwhile_is_not_in_the_copy() {
    let world = world();
    let timestamp = world.source.info().unwrap().timestamp;
    let mut hooks = SavesMeanwhile { source: &world.source, calls: 0 };
    compact_with(&world.source, world.target(), &CompactOptions::default(), &mut hooks).unwrap();
    assert!(hooks.calls > 20);
    let target = Db::open(world.target()).unwrap();
    world.model.compacted(false).check(&target);
    assert_eq!(target.info().unwrap().timestamp, timestamp);
    assert_eq!(world.source.get(b"late").unwrap().unwrap(), b"from a hook", "the source has it");
    assert_eq!(world.source.local(b"late").unwrap().unwrap(), b"from a hook");
}

/// File operations may give names a meaning of their own. What has the target's name in the real file system is not
/// theirs, then.
#[test]
fn a_real_file_of_the_targets_name_is_not_removed() {
    let dir = common::temp_dir();
    let path = dir.path().join("target");
    std::fs::write(&path, b"precious").unwrap();
    let memory = Memory::default();
    let source = memory.open("source");
    source.save(&[Document::new(b"a", b"1")], SaveOptions::default()).unwrap();
    let options = CompactOptions::new().file_ops(memory.ops());
    let error = compact_with(&source, &path, &options, &mut Script::filter(|_, _| cancel())).unwrap_err();
    assert_eq!(error.code(), ErrorCode::CANCEL);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

/// The by-id tree is not read at all by a compaction: it is built anew.
#[test]
fn recovery_needs_no_good_root_of_the_by_id_tree() {
    let mut forge = Forge::new();
    let body = forge.chunk(b"body");
    let value = forge::by_seq_value(b"id", body, 12);
    let by_seq = forge.node(1, &vec![(forge::be(1, 6), value)]);
    // Its reduce value is too short.
    let by_id = [forge::be(by_seq, 6), forge::be(100, 6), forge::be(1, 3)].concat();
    forge.header(1, &forge::by_seq_root(by_seq), &by_id, &[]);
    let memory = Memory::default();
    memory.put("source", forge.bytes);
    let source = memory.options().read_only(true).open("source").unwrap();
    assert_eq!(source.info().unwrap_err().code(), ErrorCode::CORRUPT);
    let options = CompactOptions::new().recovery(true).file_ops(memory.ops());
    compact(&source, "target", &options).unwrap();
    let target = memory.options().open("target").unwrap();
    assert_eq!(target.get(b"id").unwrap().unwrap(), b"body");
    assert_eq!(target.info().unwrap().doc_count, 1);
}
