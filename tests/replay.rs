// SPDX-License-Identifier: Apache-2.0

//! Bringing a compacted copy up to what was committed meanwhile.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::memory::Memory;
use common::model::{Doc, Model};
use common::rng::Rng;
use common::watched::{Effect, FAILURE, Fault, Kind, Watched};
use couchstore::{
    COMPRESSED, CompactOptions, Db, Direction, DocInfoRef, Error, ErrorCode, LocalUpdate, OpenOptions,
    ReplayHooks, Result, SaveOptions, compact, replay,
};

const SOURCE: &str = "source";
const TARGET: &str = "target";
const COMPRESS: SaveOptions = SaveOptions::new().compress(true);

/// A source that goes on after it was copied.
struct World {
    memory: Memory,
    writer: Db,
    model: Model,
    /// Stands on the header that the copy was made from.
    source: Db,
    target: Db,
}

fn doc(id: &str, body: &str) -> Doc {
    Doc { content_meta: COMPRESSED, rev_meta: b"meta".to_vec(), ..Doc::new(id.as_bytes(), body.as_bytes()) }
}

fn local(id: &str, body: Option<&str>) -> (Vec<u8>, Option<Vec<u8>>) {
    (id.as_bytes().to_vec(), body.map(|body| body.as_bytes().to_vec()))
}

impl World {
    fn new() -> World {
        let memory = Memory::default();
        let writer = memory.open(SOURCE);
        let mut model = Model::default();
        let docs: Vec<_> =
            (0..50).map(|number| doc(&format!("old {number:02}"), "old old old old")).collect();
        model.save_both(&writer, &docs, COMPRESS);
        model.local_both(
            &writer,
            &[local("kept", Some("1")), local("changed", Some("2")), local("gone", Some("3"))],
        );
        writer.commit_with(100, None).unwrap();
        let source = memory.options().open(SOURCE).unwrap();
        let options = CompactOptions::new().file_ops(memory.ops());
        compact(&source, TARGET, &options).unwrap();
        let target = memory.options().open(TARGET).unwrap();
        World { memory, writer, model, source, target }
    }

    /// Changes, deletions with and without body, new documents, over several commits.
    fn go_on(&mut self) {
        for number in 0..20 {
            let mut docs =
                vec![doc(&format!("old {number:02}"), "new"), doc(&format!("new {number:02}"), "new new")];
            if number % 3 == 0 {
                docs.push(Doc::deletion(b"old 40"));
                docs.push(Doc { deleted: true, ..doc("old 41", "with a body") });
            }
            self.model.save_both(&self.writer, &docs, COMPRESS);
            self.model.local_both(&self.writer, &[local("changed", Some(&format!("{number}")))]);
            self.writer.commit_with(200 + number, None).unwrap();
        }
        self.model.local_both(&self.writer, &[local("gone", None), local("added", Some("4"))]);
        self.writer.set_purge_seq(17);
        self.model.purge_seq = 17;
        self.writer.commit_with(300, None).unwrap();
    }

    fn replay(&self, hooks: &mut dyn ReplayHooks, flush_threshold: usize) -> Result<()> {
        self.look_at_the_end();
        replay(&self.source, &self.target, self.writer.header_position(), hooks, flush_threshold)
    }

    /// A handle sees what was appended since it was opened only once it has been at the end.
    fn look_at_the_end(&self) {
        let base = self.source.header_position();
        self.source.seek(Direction::End).unwrap();
        self.source.seek_offset(base.cast_signed()).unwrap();
    }

    /// The target as another handle sees it.
    fn reopened(&self) -> Db {
        self.memory.options().read_only(true).open(TARGET).unwrap()
    }
}

#[test]
fn the_target_becomes_what_the_source_is() {
    for flush_threshold in [0, 300, 100 << 20] {
        let mut world = World::new();
        world.go_on();
        world.replay(&mut (), flush_threshold).unwrap();
        world.model.check(&world.target);
        let reopened = world.reopened();
        world.model.check(&reopened);
        assert_eq!(reopened.info().unwrap().timestamp, 300);
        assert_eq!(
            world.source.header_position(),
            world.writer.header_position(),
            "the source is at the end header"
        );
    }
}

#[test]
fn it_goes_up_to_the_given_header_and_no_further() {
    let mut world = World::new();
    world.go_on();
    let (end, expected) = (world.writer.header_position(), world.model.clone());
    world.model.save_both(&world.writer, &[doc("later", "later")], COMPRESS);
    world.writer.commit().unwrap();
    world.look_at_the_end();
    replay(&world.source, &world.target, end, &mut (), 1000).unwrap();
    expected.check(&world.reopened());
}

#[test]
fn local_documents_alone_are_a_change() {
    let mut world = World::new();
    world.model.local_both(&world.writer, &[local("gone", None), local("added", Some("x"))]);
    world.writer.commit_with(7, None).unwrap();
    world.replay(&mut (), 1000).unwrap();
    world.model.check(&world.reopened());
    assert_eq!(world.reopened().info().unwrap().timestamp, 7);
}

/// What is not there has no body, not an empty one.
#[test]
fn short_local_documents_are_added() {
    let mut world = World::new();
    let added = ["", "\0", "\x01"].map(|body| local(&format!("added {body:?}"), Some(body)));
    world.model.local_both(&world.writer, &added);
    world.writer.commit_with(7, None).unwrap();
    world.replay(&mut (), 1000).unwrap();
    world.model.check(&world.reopened());
}

#[test]
fn a_local_document_may_have_an_empty_id() {
    let mut world = World::new();
    world.model.local_both(&world.writer, &[local("", Some("1"))]);
    world.writer.commit_with(200, None).unwrap();
    world.replay(&mut (), 0).unwrap();
    assert_eq!(world.reopened().local(b"").unwrap().unwrap(), b"1");
}

#[test]
fn local_documents_that_only_the_target_has_stay() {
    let mut world = World::new();
    world.go_on();
    world.target.save_local(&[LocalUpdate { id: b"by a hook", body: Some(b"x") }]).unwrap();
    world.replay(&mut (), 1000).unwrap();
    world.model.local.insert(b"by a hook".to_vec(), b"x".to_vec());
    world.model.check(&world.reopened());
}

#[test]
fn equal_local_documents_are_not_written_again() {
    let world = World::new();
    world.writer.commit_with(7, None).unwrap();
    let before = world.target.info().unwrap().file_size;
    world.replay(&mut (), 1000).unwrap();
    // The header alone, in a block of its own.
    assert!(world.target.info().unwrap().file_size < before + 2 * 4096);
    world.model.check(&world.reopened());
}

#[test]
fn what_a_hook_changed_in_the_target_is_restored() {
    for flush_threshold in [0, 1 << 20] {
        let mut world = World::new();
        world.go_on();
        let changes = [("kept", Some("by a hook")), ("changed", None), ("added", Some("by a hook"))];
        for (id, body) in changes {
            let body = body.map(str::as_bytes);
            world.target.save_local(&[LocalUpdate { id: id.as_bytes(), body }]).unwrap();
        }
        world.replay(&mut (), flush_threshold).unwrap();
        world.model.check(&world.reopened());
    }
}

/// Changes the document that it is asked about, and one that comes later.
struct Meddling;

impl ReplayHooks for Meddling {
    fn before_local(&mut self, _: &Db, target: &Db, id: &[u8], _: usize) -> Result<bool> {
        let later = [id, b" later"].concat();
        for id in [id, &later, b"kept"] {
            target.save_local(&[LocalUpdate { id, body: Some(b"by a hook") }])?;
        }
        Ok(true)
    }
}

#[test]
fn a_hook_that_changes_the_document_at_hand_is_too_early() {
    for flush_threshold in [0, 300, 1 << 20] {
        let mut world = World::new();
        world.go_on();
        world.replay(&mut Meddling, flush_threshold).unwrap();
        for id in ["added", "changed", "kept"] {
            world.model.local.insert(format!("{id} later").into_bytes(), b"by a hook".to_vec());
        }
        world.model.check(&world.reopened());
    }
}

/// Documents of a random selection of ids, each with one of two bodies.
fn random_locals(rng: &mut Rng, percent: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let ids = (0..120).map(|number| format!("{number:03}").into_bytes());
    let chosen: Vec<_> = ids.filter(|_| rng.percent(percent)).collect();
    chosen.into_iter().map(|id| (id, vec![b'a' + rng.below(2) as u8; 30])).collect()
}

fn set_locals(db: &Db, wanted: &[(Vec<u8>, Vec<u8>)]) {
    let mut removed = Vec::new();
    db.scan_local(b"", &mut |id, _| {
        removed.push(id.to_vec());
        Ok(())
    })
    .unwrap();
    let removals = removed.iter().map(|id| LocalUpdate { id, body: None });
    let updates: Vec<_> =
        removals.chain(wanted.iter().map(|(id, body)| LocalUpdate { id, body: Some(body) })).collect();
    db.save_local(&updates).unwrap();
}

#[test]
fn local_documents_of_any_three_states() {
    let mut rng = Rng::new();
    for _ in 0..60 {
        let memory = Memory::default();
        let [writer, target] = [SOURCE, TARGET]
            .map(|name| memory.options().create(true).node_sizes(200, 200).open(name).unwrap());
        let shares = [0, 10, 50, 95];
        let [base, end, present] = [0; 3].map(|_| {
            let percent = shares[rng.index(shares.len())];
            random_locals(&mut rng, percent)
        });
        set_locals(&writer, &base);
        writer.commit().unwrap();
        let source = memory.options().read_only(true).open(SOURCE).unwrap();
        set_locals(&writer, &end);
        writer.commit().unwrap();
        set_locals(&target, &present);
        target.commit().unwrap();
        let base_position = source.header_position();
        source.seek(Direction::End).unwrap();
        source.seek_offset(base_position.cast_signed()).unwrap();
        let flush_threshold = [0, 1000, 1 << 20][rng.index(3)];
        replay(&source, &target, writer.header_position(), &mut (), flush_threshold).unwrap();

        let mut expected = Model::default();
        expected.local.extend(present);
        for (id, _) in &base {
            expected.local.remove(id);
        }
        expected.local.extend(end);
        expected.check(&memory.options().read_only(true).open(TARGET).unwrap());
    }
}

/// They need not fit into one batch, and each batch leaves those of the others alone.
#[test]
fn documents_that_share_a_sequence_number() {
    for flush_threshold in [0, 5000, 100 << 20] {
        let mut world = World::new();
        let mut next = world.model.update_seq + 1;
        for round in 0..3 {
            let docs: Vec<_> = (0..40)
                .map(|number| Doc {
                    db_seq: next + number / 20,
                    ..doc(&format!("old {number:02}"), "shared")
                })
                .collect();
            world.model.save_both(&world.writer, &docs, COMPRESS.keep_sequences(true));
            world.writer.commit_with(round, None).unwrap();
            next += 2;
        }
        world.replay(&mut (), flush_threshold).unwrap();
        world.model.check(&world.target);
        world.model.check(&world.reopened());
    }
}

/// Hooks that write down what they were told, and skip what they are told to.
#[derive(Default)]
struct Notes {
    documents: Vec<(Vec<u8>, bool)>,
    local: Vec<(Vec<u8>, usize)>,
    skip: Option<Vec<u8>>,
    fail: Option<&'static str>,
}

impl Notes {
    fn result(&self, hook: &str) -> Result<()> {
        if self.fail == Some(hook) { Err(Error::Callback(ErrorCode(-55))) } else { Ok(()) }
    }
}

impl ReplayHooks for Notes {
    fn before_document(&mut self, _: &Db, target: &Db, info: &DocInfoRef<'_>) -> Result<bool> {
        self.result("document")?;
        // The target may be read, with what has been put so far.
        let known = target.with_doc_info_by_id(info.id, |_| Ok(())).is_ok();
        self.documents.push((info.id.to_vec(), known));
        Ok(self.skip.as_deref() != Some(info.id))
    }

    fn before_local(&mut self, _: &Db, _: &Db, id: &[u8], length: usize) -> Result<bool> {
        self.result("local")?;
        self.local.push((id.to_vec(), length));
        Ok(self.skip.as_deref() != Some(id))
    }

    fn precommit(&mut self, source: &Db, target: &Db) -> Result<()> {
        self.result("precommit")?;
        assert_eq!(target.info()?.purge_seq, source.info()?.purge_seq);
        target.set_purge_seq(99);
        target.save_local(&[LocalUpdate { id: b"precommit", body: Some(b"x") }])
    }
}

#[test]
fn hooks_see_everything_and_have_the_last_word() {
    let mut world = World::new();
    world.go_on();
    let mut notes = Notes::default();
    world.replay(&mut notes, 0).unwrap();
    let ids: Vec<_> = notes.local.iter().map(|(id, length)| (id.as_slice(), *length)).collect();
    assert_eq!(ids, [(&b"added"[..], 1), (b"changed", 2), (b"kept", 1)], "equal ones too");
    assert_eq!(notes.documents.len(), 42);
    assert!(notes.documents.iter().all(|(id, known)| *known == id.starts_with(b"old")));
    world.model.purge_seq = 99;
    world.model.local.insert(b"precommit".to_vec(), b"x".to_vec());
    world.model.check(&world.reopened());
}

#[test]
fn hooks_may_skip_documents() {
    let mut world = World::new();
    world.go_on();
    let mut notes = Notes { skip: Some(b"new 07".to_vec()), ..Notes::default() };
    world.replay(&mut notes, 1000).unwrap();
    assert_eq!(world.reopened().get(b"new 07").unwrap(), None);
    assert_eq!(world.reopened().get(b"new 08").unwrap().unwrap(), b"new new");

    let mut world = World::new();
    world.go_on();
    let mut notes = Notes { skip: Some(b"changed".to_vec()), ..Notes::default() };
    world.replay(&mut notes, 1000).unwrap();
    assert_eq!(world.reopened().local(b"changed").unwrap().unwrap(), b"2");
}

#[test]
fn an_error_of_a_hook_ends_it_before_the_commit() {
    for hook in ["document", "local", "precommit"] {
        let mut world = World::new();
        let before = world.model.clone();
        world.go_on();
        let mut notes = Notes { fail: Some(hook), ..Notes::default() };
        assert_eq!(world.replay(&mut notes, 0).unwrap_err().code(), ErrorCode(-55), "{hook}");
        before.check(&world.reopened());
    }
}

#[test]
fn an_end_that_is_no_header_changes_nothing() {
    let mut world = World::new();
    let before = world.model.clone();
    world.go_on();
    for (end, code) in [(5, ErrorCode::INVALID_ARGUMENTS), (1 << 40, ErrorCode::NO_HEADER)] {
        let error = replay(&world.source, &world.target, end, &mut (), 0).unwrap_err();
        assert_eq!(error.code(), code);
    }
    before.check(&world.reopened());
}

/// Fails or panics at one of its calls, after the others have let everything through.
struct StopsAt {
    calls_left: u32,
    panics: bool,
}

impl StopsAt {
    fn call(&mut self) -> Result<bool> {
        if self.calls_left == 0 {
            assert!(!self.panics, "a hook that panics");
            return Err(Error::Callback(ErrorCode(-56)));
        }
        self.calls_left -= 1;
        Ok(true)
    }
}

impl ReplayHooks for StopsAt {
    fn before_document(&mut self, _: &Db, _: &Db, _: &DocInfoRef<'_>) -> Result<bool> {
        self.call()
    }

    fn before_local(&mut self, _: &Db, _: &Db, _: &[u8], _: usize) -> Result<bool> {
        self.call()
    }

    fn precommit(&mut self, _: &Db, target: &Db) -> Result<()> {
        target.set_purge_seq(99);
        target.save_local(&[LocalUpdate { id: b"precommit", body: Some(b"x") }])?;
        self.call().map(drop)
    }
}

/// Wherever it fails: 42 documents, 3 local documents and the end are asked about.
#[test]
fn a_failed_replay_can_be_tried_again() {
    for flush_threshold in [0, 300, 100 << 20] {
        for calls_left in 0..46 {
            let mut world = World::new();
            let before = world.model.clone();
            let base = world.source.header_position();
            world.go_on();
            let error =
                world.replay(&mut StopsAt { calls_left, panics: false }, flush_threshold).unwrap_err();
            assert_eq!(error.code(), ErrorCode(-56));
            assert_eq!(world.source.header_position(), base);
            before.check(&world.source);
            before.check(&world.target);
            before.check(&world.reopened());

            let end = world.writer.header_position();
            replay(&world.source, &world.target, end, &mut (), flush_threshold).unwrap();
            world.model.check(&world.target);
            world.model.check(&world.reopened());
        }
    }
}

/// Reads of the source fail: one, or also the next ones, by which the source would go back. Then the same call does it
/// all, unless the handle is closed.
#[test]
fn the_way_back_takes_no_reading() {
    let mut closed = 0;
    for unbuffered in [false, true] {
        for times in [1, 2, 3, usize::MAX] {
            for index in 0.. {
                let mut world = World::new();
                let (before, base) = (world.model.clone(), world.source.header_position());
                world.go_on();
                let watched = Watched::new(world.memory.ops());
                let options = OpenOptions::new().file_ops(watched.ops()).unbuffered(unbuffered);
                world.source = options.read_only(true).open(SOURCE).unwrap();
                world.look_at_the_end();
                world.source.seek_offset(base.cast_signed()).unwrap();
                watched.set_fault(Some(Fault { kind: Kind::Read, index, times, effect: Effect::Fail }));
                let end = world.writer.header_position();
                let replayed = replay(&world.source, &world.target, end, &mut (), 300);
                let hit = watched.calls_after_fault().is_some();
                watched.set_fault(None);
                if !hit {
                    replayed.unwrap();
                    world.model.check(&world.target);
                    assert!(index > 5, "{index} reads");
                    break;
                }
                let error = replayed.unwrap_err();
                before.check(&world.target);
                if world.source.is_closed() {
                    assert_eq!(error.code(), ErrorCode::DB_NO_LONGER_VALID);
                    closed += 1;
                    continue;
                }
                assert_eq!(error.code(), FAILURE, "read {index}, {times} times, unbuffered {unbuffered}");
                assert_eq!(world.source.header_position(), base);
                replay(&world.source, &world.target, end, &mut (), 300).unwrap();
                world.model.check(&world.target);
                world.model.check(&world.reopened());
            }
        }
    }
    assert!(closed > 0, "moving forth and back fails, too");
}

/// Half of the documents are in the target then: nobody should commit that.
#[test]
fn a_panic_in_a_hook_makes_the_target_unusable() {
    for calls_left in [0, 20, 43, 45] {
        let mut world = World::new();
        let before = world.model.clone();
        world.go_on();
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.replay(&mut StopsAt { calls_left, panics: true }, 0)
        }));
        assert!(unwound.is_err());
        assert_eq!(world.target.commit().unwrap_err().code(), ErrorCode::INTERNAL);
        let update = [LocalUpdate { id: b"x", body: Some(b"x") }];
        assert_eq!(world.target.save_local(&update).unwrap_err().code(), ErrorCode::INTERNAL);
        world.target.close().unwrap();
        before.check(&world.reopened());
    }
}
