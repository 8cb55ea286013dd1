// SPDX-License-Identifier: Apache-2.0

//! A file, its handles, and what they should show. It takes one operation after the other and notes the bytes.

use crate::case::{Copying, Op, Save, Second, Settings, Spec, Way, id, local_id};
use crate::common::model::{Doc, Model};
use crate::common::store::{Query, Store};
use crate::common::{files_in, forge, raw, temp_dir};
use crate::engine::{CopyHow, Engine, Handle, How, key};
use crate::handle::{Committed, History, Standing};
use couchstore::{COMPRESSED, Direction, ErrorCode, SaveOptions};
use std::path::{Path, PathBuf};

/// A file and its handles in one language, opened in one way.
pub(crate) struct World<'e, E: Engine> {
    engine: &'e E,
    settings: Settings,
    /// How the first and the second handle are opened.
    ways: [Way; 2],
    folder: tempfile::TempDir,
    history: History,
    /// The one that writes.
    first: Standing<E::Handle>,
    second: Option<Standing<E::Handle>>,
    /// There are changes that were not committed.
    dirty: bool,
    /// Something was saved since the last commit, which only some ways have written.
    unflushed: bool,
    /// The file's first header is in the file, not in a buffer.
    written: bool,
    /// All ways write the same bytes: until changes are discarded that some have written and others only buffered.
    comparable: bool,
    clock: u64,
    /// Where files stand after each commit, and their checksums.
    trace: Vec<String>,
}

/// Tells a body by its length, so that wrong ones are found.
fn pattern(length: usize, salt: u64) -> Vec<u8> {
    (0..length as u64).map(|i| (i / 3 + salt * 7) as u8).collect()
}

fn file_in(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("db.couch")
}

fn how(settings: &Settings, way: Way, create: bool) -> How {
    let key = settings.key.map(key);
    How { way, nodes: settings.nodes, key, create, legacy_crc: create && settings.version == 11 }
}

impl<'e, E: Engine> World<'e, E> {
    pub(crate) fn new(engine: &'e E, settings: &Settings, ways: [Way; 2]) -> World<'e, E> {
        let folder = temp_dir();
        let path = file_in(&folder);
        let from_before = matches!(settings.version, 12 | 13);
        if from_before {
            std::fs::write(&path, forge::empty_file(settings.version)).unwrap();
        }
        let handle = engine.open(&path, &how(settings, ways[0], !from_before)).expect("a new file");
        let position = handle.figures().expect("figures").header_position;
        let first = Committed { position, timestamp: 0, model: Model::default(), parent: None };
        let history = History { version: settings.version, headers: vec![first], created: true };
        World {
            engine,
            settings: settings.clone(),
            ways,
            folder,
            first: Standing::opened(handle, &history),
            second: None,
            history,
            dirty: false,
            unflushed: false,
            written: false,
            comparable: true,
            clock: 0,
            trace: vec![],
        }
    }

    /// Does one operation and compares all that the handles show.
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Save(save) => self.save(save),
            Op::Local(updates) => self.save_local(updates),
            Op::Purge(purge_seq) => {
                self.first.handle.set_purge(*purge_seq).expect("purge sequence");
                self.first.model.purge_seq = *purge_seq;
                self.dirty = true;
            }
            Op::Commit => self.commit(),
            Op::Read(query, options) => {
                let ambiguous = matches!(query, Query::Seqs(_)) && self.settings.any_sequences;
                if !ambiguous {
                    self.handles().for_each(|handle| handle.read(query, *options));
                }
            }
            Op::Get(number) => {
                for handle in self.handles() {
                    handle.get(&id(*number), &local_id(*number / 2));
                }
            }
            Op::Reopen => self.reopen(),
            Op::ReopenInPlace => self.reopen_in_place(),
            Op::Seek(direction) => {
                let moved = self.first.seek(&self.history, *direction);
                self.discarded(moved && *direction == Direction::End, moved);
            }
            Op::SeekTo(number) => {
                let moved = self.first.seek_to(&self.history, number % self.history.headers.len());
                self.discarded(false, moved);
            }
            Op::SeekContaining(number, unit) => {
                let header = number % self.history.headers.len();
                let moved = self.first.seek_containing(&self.history, header, *unit);
                self.discarded(false, moved);
            }
            Op::Rewind => self.step(Direction::Backward),
            Op::FastForward => self.step(Direction::Forward),
            Op::Second(second) => self.use_second(second),
            Op::Compact(copying) => self.compact(*copying),
            Op::Online { copying, meanwhile } => self.compact_online(*copying, meanwhile),
            Op::Replay { base } => self.replay(*base),
        }
        self.handles().for_each(Standing::check);
    }

    /// Reads everything once more and gives the notes.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.commit();
        self.reopen();
        self.trace
    }

    fn handles(&self) -> impl Iterator<Item = &Standing<E::Handle>> {
        std::iter::once(&self.first).chain(&self.second)
    }

    fn path(&self) -> PathBuf {
        file_in(&self.folder)
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("target.couch")
    }

    /// A move has discarded what was not committed; one to the end takes back what is buffered.
    fn discarded(&mut self, taken_back: bool, moved: bool) {
        self.comparable &= !(taken_back && self.unflushed);
        self.dirty &= !moved;
    }

    /// Notes the bytes of a file.
    fn note(&mut self, what: &str, path: &Path) {
        let bytes = std::fs::read(path).unwrap();
        // Each encrypted file has a key of its own.
        let checksum = if self.settings.key.is_some() { 0 } else { crc32fast::hash(&bytes) };
        self.trace.push(format!("{what}: {} bytes, {checksum:08x}", bytes.len()));
    }

    fn docs(&self, specs: &[Spec], compress: bool, keep_sequences: bool) -> Vec<Doc> {
        let mut seq = self.first.model.update_seq;
        let highest = seq;
        let mut docs: Vec<Doc> = Vec::new();
        for spec in specs {
            seq += spec.seq;
            let old = spec.old_seq.filter(|_| self.settings.any_sequences && keep_sequences);
            let doc = Doc {
                id: id(spec.id),
                body: spec.body.map(|length| pattern(length, seq)),
                rev_meta: pattern(spec.meta, 1),
                rev_seq: seq * 3,
                db_seq: old.map_or(seq, |part| 1 + highest * u64::from(part) / 256),
                deleted: spec.deleted,
                // Without the option to compress, a body with this bit would have to be compressed already.
                content_meta: if compress && spec.compressed { COMPRESSED } else { 1 },
            };
            // The model has no opinion on a batch with an id twice under the caller's own numbers.
            docs.retain(|earlier| !self.settings.any_sequences || earlier.id != doc.id);
            docs.push(doc);
        }
        docs
    }

    fn save(&mut self, save: &Save) {
        let (compress, keep_sequences) = (save.compress, save.keep_sequences);
        let docs = self.docs(&save.docs, compress, keep_sequences);
        let options = SaveOptions::new().compress(compress).keep_sequences(keep_sequences);
        let before = self.first.model.update_seq;
        let seqs = self.first.handle.save_docs(&docs, options).expect("a save");
        let number =
            |(index, doc): (usize, &Doc)| if keep_sequences { doc.db_seq } else { before + 1 + index as u64 };
        assert_eq!(
            seqs,
            docs.iter().enumerate().map(number).collect::<Vec<_>>(),
            "sequence numbers of a save"
        );
        self.first.model.save(&docs, options);
        if self.settings.key.is_some() {
            self.first.model.encrypt();
        }
        (self.dirty, self.unflushed) = (true, true);
    }

    fn save_local(&mut self, updates: &[(u8, Option<usize>)]) {
        let update =
            |&(id, body): &(u8, Option<usize>)| (local_id(id), body.map(|length| pattern(length, 5)));
        let updates: Vec<_> = updates.iter().map(update).collect();
        self.first.handle.save_locals(&updates).expect("a save of local documents");
        self.first.model.save_local(&updates);
        (self.dirty, self.unflushed) = (true, true);
    }

    fn commit(&mut self) {
        self.clock += 1;
        self.first.handle.commit_at(self.clock).expect("a commit");
        let position = self.first.handle.figures().expect("figures").header_position;
        let timestamp = if self.history.version >= 13 { self.clock } else { 0 };
        let (model, parent) = (self.first.model.clone(), Some(self.first.current));
        self.history.headers.push(Committed { position, timestamp, model, parent });
        (self.first.current, self.first.seen) = (self.history.last(), self.history.headers.len());
        (self.dirty, self.unflushed, self.written) = (false, false, true);
        if self.comparable {
            self.note(&format!("commit at {position}"), &self.path());
        }
    }

    /// All that was changed is in the file, for others to find.
    fn settle(&mut self) {
        if self.dirty || self.unflushed || !self.written {
            self.commit();
        }
    }

    fn open(&self, way: Way) -> Standing<E::Handle> {
        let handle = self.engine.open(&self.path(), &how(&self.settings, way, false)).expect("open");
        Standing::opened(handle, &self.history)
    }

    /// Opens the file anew, and looks at all that is in it.
    fn reopen(&mut self) {
        self.first.handle.close_file().expect("close");
        (self.dirty, self.unflushed, self.written) = (false, false, true);
        self.first = self.open(self.ways[0]);
        if self.comparable {
            self.note("reopened", &self.path());
        }
        self.check_bytes(&self.path(), &self.history);
        let mut reader = self.open(self.ways[1]);
        for index in 0..self.history.headers.len() {
            reader.seek_to(&self.history, index);
            reader.check();
        }
    }

    fn reopen_in_place(&mut self) {
        if self.settings.key.is_some() {
            // C has no way to give the key again.
            return self.reopen();
        }
        self.settle();
        let how = how(&self.settings, self.ways[0], false);
        self.engine.reopen(&self.first.handle, &self.path(), &how).expect("reopen");
        self.first.seen = self.history.headers.len();
        self.first.stand_on(&self.history, self.first.current);
    }

    /// What another reader of the format says of the file.
    fn check_bytes(&self, path: &Path, history: &History) {
        if self.settings.key.is_some() {
            return;
        }
        let bytes = std::fs::read(path).unwrap();
        let file =
            if history.version == 11 { raw::File::with_legacy_crc(bytes) } else { raw::File::new(bytes) };
        let positions: Vec<_> = history.headers.iter().map(|header| header.position).collect();
        assert_eq!(file.header_positions(), positions, "positions of all headers");
        let [by_id, by_seq, _] = raw::check_header(&file, &file.last_header());
        assert!(
            by_id.entries.len() == by_seq.entries.len() || self.settings.any_sequences,
            "both indexes agree"
        );
    }

    fn step(&mut self, direction: Direction) {
        if self.first.step(&self.history, direction) {
            self.discarded(false, true);
        } else {
            self.reopen();
        }
    }

    fn use_second(&mut self, op: &Second) {
        if self.second.is_none() || matches!(op, Second::Open) {
            // Files are found by what is in them.
            self.settle();
            self.second = Some(self.open(self.ways[1]));
        }
        let second = self.second.as_mut().unwrap();
        match op {
            Second::Open => {}
            Second::Seek(direction) => {
                second.seek(&self.history, *direction);
            }
            Second::SeekTo(number) => {
                second.seek_to(&self.history, number % self.history.headers.len());
            }
            Second::Swap => {
                self.settle();
                let second = self.second.as_mut().unwrap();
                second.seek(&self.history, Direction::End);
                std::mem::swap(&mut self.first, second);
                self.ways.swap(0, 1);
            }
            Second::Compact { drop_deletes } => {
                let copying = Copying { drop_deletes: *drop_deletes, upgrade: false, go_on_there: false };
                let state = second.state(&self.history);
                let how = self.copy_how(copying);
                let second = self.second.as_ref().unwrap();
                self.engine.compact(&second.handle, &self.target(), &how).expect("a compaction");
                self.check_copy(&self.target(), copying, &[state]);
                std::fs::remove_file(self.target()).unwrap();
            }
        }
    }

    fn copy_how(&self, copying: Copying) -> CopyHow {
        let Copying { drop_deletes, upgrade, .. } = copying;
        let Settings { key: derivation, nodes, .. } = self.settings;
        CopyHow { drop_deletes, upgrade, way: self.ways[1], nodes, key: derivation.map(key) }
    }

    /// Compares a copy that should have headers with these states, from the oldest to the newest; gives its history.
    fn check_copy(&mut self, path: &Path, copying: Copying, states: &[Committed]) -> History {
        let legacy = self.history.version == 11 && !copying.upgrade;
        let handle = self.engine.open(path, &how(&self.settings, self.ways[1], false)).expect("open a copy");
        let mut headers = states.to_vec();
        for (index, header) in headers.iter_mut().enumerate().rev() {
            header.position = handle.figures().expect("figures").header_position;
            header.model = header.model.compacted(copying.drop_deletes);
            header.parent = index.checked_sub(1);
            if index > 0 {
                handle.seek_to(Direction::Backward).expect("the header before");
            }
        }
        let history = History { version: if legacy { 11 } else { 14 }, headers, created: false };
        let mut copy = Standing::at(0, handle, &history);
        for index in 0..history.headers.len() {
            copy.seek_to(&history, index);
            copy.check();
        }
        copy.seek_to(&history, 0);
        // There is none before, though it does not say so.
        copy.seek(&history, Direction::Backward);
        self.check_bytes(path, &history);
        self.note("copy", path);
        history
    }

    /// Goes on with a copy, which has taken the file's name.
    fn go_on_with(&mut self, history: History) {
        self.history = history;
        self.second = None;
        self.first = self.open(self.ways[0]);
        (self.dirty, self.unflushed, self.written, self.comparable) = (false, false, true, true);
    }

    fn compact(&mut self, copying: Copying) {
        let state = self.first.state(&self.history);
        let target = self.target();
        self.engine.compact(&self.first.handle, &target, &self.copy_how(copying)).expect("a compaction");
        let history = self.check_copy(&target, copying, &[state]);
        if copying.go_on_there {
            self.first.handle.close_file().expect("close");
            std::fs::rename(&target, self.path()).unwrap();
            self.go_on_with(history);
        } else {
            std::fs::remove_file(target).unwrap();
        }
    }

    fn compact_online(&mut self, copying: Copying, meanwhile: &[Save]) {
        self.settle();
        // Tombstones that are made meanwhile stay, which the model does not know.
        let meanwhile = if copying.drop_deletes { &[] } else { meanwhile };
        let (source, how, target) = (self.path(), self.copy_how(copying), self.target());
        let named = (!copying.go_on_there).then_some(target.as_path());
        let pinned = self.history.headers[self.history.last()].clone();
        let goes_on = self.first.current == self.history.last() && !self.settings.any_sequences;
        let (caught_up, branched) = (!meanwhile.is_empty() && goes_on, !meanwhile.is_empty() && !goes_on);
        let engine = self.engine;
        let result = engine.compact_online(&source, named, &how, &mut || {
            for save in meanwhile {
                self.save(save);
                self.commit_unnoted();
            }
        });
        result.expect("an online compaction");
        let newest = self.history.headers[self.history.last()].clone();
        let result = named.unwrap_or(&source);
        // What was committed meanwhile is put on top of the copy. If that was of another branch, or took sequence numbers
        // that were used before, the copy may have been begun anew.
        let states = if caught_up || branched && self.has_two_headers(result) {
            vec![pinned, newest]
        } else {
            vec![newest]
        };
        let history = self.check_copy(result, copying, &states);
        assert_eq!(
            files_in(self.folder.path()),
            if copying.go_on_there { 1 } else { 2 },
            "files in the folder"
        );
        if copying.go_on_there {
            self.check_stale();
            self.go_on_with(history);
        } else {
            std::fs::remove_file(target).unwrap();
        }
    }

    fn has_two_headers(&self, path: &Path) -> bool {
        let handle = self.engine.open(path, &how(&self.settings, self.ways[0], false)).expect("open a copy");
        handle.seek_to(Direction::Backward).is_ok()
    }

    /// A commit while the file has a second name or none.
    fn commit_unnoted(&mut self) {
        let comparable = std::mem::replace(&mut self.comparable, false);
        self.commit();
        self.comparable = comparable;
    }

    /// A handle whose file was replaced is refused, where it can find out.
    fn check_stale(&self) {
        let handle = &self.first.handle;
        if !self.ways[0].forwarding {
            let saved = handle.save_docs(&[Doc::new(b"late", b"late")], SaveOptions::default());
            let committed = saved.and_then(|_| handle.commit_at(self.clock));
            assert_eq!(committed, Err(ErrorCode::DB_NO_LONGER_VALID), "a commit to a file that was replaced");
        }
    }

    /// Copies an older header that the newest is based on, and brings the copy up to date.
    fn replay(&mut self, base: usize) {
        self.reopen();
        if self.settings.any_sequences {
            // A replay goes by sequence numbers: it knows only those that are new.
            return;
        }
        let ancestors = self.history.ancestors(self.history.last());
        let base = ancestors[base % ancestors.len()];
        let mut source = self.open(self.ways[1]);
        source.seek_to(&self.history, base);
        let target = self.target();
        let copying = Copying { drop_deletes: false, upgrade: false, go_on_there: false };
        self.engine.compact(&source.handle, &target, &self.copy_how(copying)).expect("a compaction");
        let copy = self.engine.open(&target, &how(&self.settings, self.ways[0], false)).expect("open a copy");
        let end = self.history.last();
        let position = self.history.headers[end].position;
        self.engine.replay(&source.handle, &copy, position, base * 50).expect("a replay");
        self.history.headers[end].model.check(&copy);
        assert_eq!(copy.figures().unwrap().timestamp, self.history.headers[end].timestamp);
        copy.close_file().expect("close");
        source.stand_on(&self.history, end);
        let again = self.engine.open(&target, &how(&self.settings, self.ways[1], false)).expect("open again");
        self.history.headers[end].model.check(&again);
        self.note("replayed", &target);
        std::fs::remove_file(target).unwrap();
    }
}
