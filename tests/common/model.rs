// SPDX-License-Identifier: Apache-2.0

//! What a database should hold, kept in ordinary maps, and the comparison with what it does hold.

use super::store::{Figures, Query, Step, Store, Tree};
use couchstore::{COMPRESSED, Db, DocInfo, Document, LocalUpdate, SaveOptions, ScanOptions};
use std::collections::BTreeMap;

/// Bytes that an encrypted body takes besides itself: length and tag.
const ENCRYPTED_OVERHEAD: u64 = 20;

/// A document to be saved, with its own strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doc {
    pub(crate) id: Vec<u8>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) rev_meta: Vec<u8>,
    pub(crate) rev_seq: u64,
    pub(crate) db_seq: u64,
    pub(crate) deleted: bool,
    pub(crate) content_meta: u8,
}

impl Doc {
    pub(crate) fn new(id: &[u8], body: &[u8]) -> Doc {
        Doc { id: id.to_vec(), body: Some(body.to_vec()), ..Doc::default() }
    }

    pub(crate) fn deletion(id: &[u8]) -> Doc {
        Doc { id: id.to_vec(), deleted: true, ..Doc::default() }
    }

    pub(crate) fn document(&self) -> Document<'_> {
        Document {
            id: &self.id,
            body: self.body.as_deref(),
            rev_meta: &self.rev_meta,
            rev_seq: self.rev_seq,
            db_seq: self.db_seq,
            deleted: self.deleted,
            content_meta: self.content_meta,
        }
    }
}

/// An entry of a tree: all but the position of the body, and the body as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) info: DocInfo,
    pub(crate) stored: Option<Vec<u8>>,
}

impl Entry {
    /// The body as it was given.
    pub(crate) fn plain(&self) -> Option<Vec<u8>> {
        let stored = self.stored.as_ref()?;
        if self.info.content_meta & COMPRESSED == 0 {
            return Some(stored.clone());
        }
        Some(snap::raw::Decoder::new().decompress_vec(stored).unwrap())
    }
}

/// The contents of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) by_id: BTreeMap<Vec<u8>, Entry>,
    /// Documents may share a sequence number if the caller gives them one.
    pub(crate) by_seq: BTreeMap<(u64, Vec<u8>), Entry>,
    pub(crate) local: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) update_seq: u64,
    pub(crate) purge_seq: u64,
}

impl Model {
    /// What [`Db::save`] should do.
    pub(crate) fn save(&mut self, docs: &[Doc], options: SaveOptions) {
        // Of documents with the same id the last one counts, but each uses up a sequence number.
        let mut batch = BTreeMap::new();
        for doc in docs {
            let db_seq = if options.keep_sequences { doc.db_seq } else { self.update_seq + 1 };
            self.update_seq = self.update_seq.max(db_seq);
            batch.insert(doc.id.clone(), entry(doc, db_seq, options.compress));
        }
        for id in batch.keys() {
            if let Some(old) = self.by_id.get(id) {
                self.by_seq.remove(&(old.info.db_seq, id.clone()));
            }
        }
        for (id, new) in &batch {
            let seq = new.info.db_seq;
            if self.by_id.get(id).is_some_and(|old| old.info.db_seq == seq) {
                // It replaces its own entry, not those of others that share the number.
                continue;
            }
            let same: Vec<_> =
                self.by_seq.range((seq, vec![])..(seq + 1, vec![])).map(|(key, _)| key.clone()).collect();
            for key in same {
                self.by_seq.remove(&key);
            }
        }
        for (id, new) in batch {
            self.by_seq.insert((new.info.db_seq, id.clone()), new.clone());
            self.by_id.insert(id, new);
        }
    }

    /// Saves into a database and into the model.
    pub(crate) fn save_both(&mut self, db: &Db, docs: &[Doc], options: SaveOptions) {
        let documents: Vec<_> = docs.iter().map(Doc::document).collect();
        let seqs = db.save(&documents, options).expect("save");
        assert_eq!(seqs.len(), docs.len());
        self.save(docs, options);
    }

    /// Saves or removes a local document in a database and in the model.
    pub(crate) fn local_both(&mut self, db: &Db, updates: &[(Vec<u8>, Option<Vec<u8>>)]) {
        let changes: Vec<_> =
            updates.iter().map(|(id, body)| LocalUpdate { id, body: body.as_deref() }).collect();
        db.save_local(&changes).expect("save local documents");
        self.save_local(updates);
    }

    /// What [`Db::save_local`] should do.
    pub(crate) fn save_local(&mut self, updates: &[(Vec<u8>, Option<Vec<u8>>)]) {
        for (id, body) in updates {
            match body {
                Some(body) => self.local.insert(id.clone(), body.clone()),
                None => self.local.remove(id),
            };
        }
    }

    /// The sizes of bodies are those that they have in an encrypted file.
    pub(crate) fn encrypt(&mut self) {
        for entry in self.by_id.values_mut().chain(self.by_seq.values_mut()) {
            if let Some(stored) = &entry.stored {
                entry.info.physical_size = stored.len() as u64 + ENCRYPTED_OVERHEAD;
            }
        }
    }

    /// What a compaction makes of it.
    pub(crate) fn compacted(&self, drop_deletes: bool) -> Model {
        let mut target = self.clone();
        target.by_seq.retain(|_, entry| !(drop_deletes && entry.info.deleted));
        target.by_id = target.by_seq.values().map(|entry| (entry.info.id.clone(), entry.clone())).collect();
        target.purge_seq += u64::from(drop_deletes);
        target
    }

    /// Numbers of documents that are there and that are deleted, and the sum of their sizes on disk.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let deleted = self.by_id.values().filter(|entry| entry.info.deleted).count() as u64;
        let sizes = self.by_id.values().map(|entry| entry.info.physical_size).sum();
        (self.by_id.len() as u64 - deleted, deleted, sizes)
    }

    /// The entries that a question is about. Those that share a sequence number come in order of ids.
    pub(crate) fn documents(&self, query: &Query, options: ScanOptions) -> Vec<&DocInfo> {
        let by_seq = |seqs: &dyn Fn(u64) -> bool| -> Vec<_> {
            self.by_seq.iter().filter(|((seq, _), _)| seqs(*seq)).map(|(_, entry)| entry).collect()
        };
        let by_id = |ids: &dyn Fn(&Vec<u8>) -> bool| -> Vec<_> {
            self.by_id.iter().filter(|(id, _)| ids(id)).map(|(_, entry)| entry).collect()
        };
        let mut found = match query {
            Query::ChangesSince(since) => by_seq(&|seq| seq >= *since),
            Query::Seqs(seqs) => by_seq(&|seq| seqs.contains(&seq)),
            Query::SeqRange(from, to) => by_seq(&|seq| seq >= *from && to.is_none_or(|to| seq <= to)),
            Query::AllDocs(from) => by_id(&|id| id >= from),
            Query::Ids(ids) => by_id(&|id| ids.contains(id)),
            Query::IdRange(from, to) => by_id(&|id| id >= from && to.as_ref().is_none_or(|to| id <= to)),
        };
        found.retain(|entry| entry.info.deleted || !options.deletes_only);
        found.retain(|entry| !entry.info.deleted || !options.no_deletes);
        found.into_iter().map(|entry| &entry.info).collect()
    }

    /// Fails unless the database holds exactly this, in every way of asking for it.
    pub(crate) fn check(&self, db: &impl Store) {
        let positions = self.check_by_seq(db);
        self.check_by_id(db, &positions);
        let found: BTreeMap<_, _> =
            db.locals_from(b"").expect("scan of local documents").into_iter().collect();
        assert_eq!(found, self.local);
        self.check_figures(db);
    }

    fn check_by_seq(&self, db: &impl Store) -> BTreeMap<Vec<u8>, u64> {
        // Documents that share a sequence number come in any order.
        let mut expected: BTreeMap<_, _> = self.by_seq.iter().collect();
        let mut positions = BTreeMap::new();
        let mut last = 0;
        let found = db.documents(&Query::ChangesSince(0), ScanOptions::default()).expect("scan by sequence");
        for found in found {
            assert!(found.db_seq >= last, "sequence {} after {last}", found.db_seq);
            last = found.db_seq;
            let entry = expected.remove(&(found.db_seq, found.id.clone()));
            let entry = entry.unwrap_or_else(|| panic!("unexpected by sequence: {found:?}"));
            assert_eq!(DocInfo { body_position: 0, ..found.clone() }, entry.info, "by sequence");
            assert_eq!(found.body_position == 0, entry.stored.is_none(), "a position if there is a body");
            if entry.stored.is_some() {
                let (stored, plain) = (db.body_of(&found, false), db.body_of(&found, true));
                assert!(
                    stored.expect("a body") == entry.stored.clone().unwrap(),
                    "stored body of {:?}",
                    found.id
                );
                assert!(Some(plain.expect("a body")) == entry.plain(), "body of {:?}", found.id);
            }
            positions.insert(found.id, found.body_position);
        }
        assert!(expected.is_empty(), "missing by sequence: {expected:?}");
        positions
    }

    fn check_by_id(&self, db: &impl Store, positions: &BTreeMap<Vec<u8>, u64>) {
        let mut expected = self.by_id.values();
        let found = db.documents(&Query::AllDocs(vec![]), ScanOptions::default()).expect("scan by id");
        for found in found {
            let entry = expected.next().expect("no more documents by id");
            assert_eq!(DocInfo { body_position: 0, ..found.clone() }, entry.info, "by id");
            if self.by_seq.contains_key(&(found.db_seq, found.id.clone())) {
                let position = positions.get(&found.id);
                assert_eq!(position, Some(&found.body_position), "both trees point to one body");
            }
        }
        assert_eq!(expected.next(), None, "missing by id");
    }

    fn check_figures(&self, db: &impl Store) {
        let (doc_count, deleted_count, sizes) = self.counts();
        let found = db.figures().expect("figures");
        let expected = Figures {
            last_sequence: self.update_seq,
            purge_seq: self.purge_seq,
            doc_count,
            deleted_count,
            space_used: sizes + tree_sizes(db),
            ..found
        };
        assert_eq!(found, expected);
        let all = self.by_seq.len() as u64;
        assert_eq!(db.count(0, u64::MAX).expect("count"), all);
        let middle = self.update_seq / 2;
        let (low, high) = (db.count(0, middle), db.count(middle + 1, u64::MAX));
        let below = self.by_seq.range(..(middle + 1, vec![])).count() as u64;
        assert_eq!((low.expect("count"), high.expect("count")), (below, all - below));
    }
}

/// What a document looks like once it is saved.
fn entry(doc: &Doc, db_seq: u64, compress: bool) -> Entry {
    let compress = compress && doc.content_meta & COMPRESSED != 0;
    let store = |body: &Vec<u8>| {
        if compress { snap::raw::Encoder::new().compress_vec(body).unwrap() } else { body.clone() }
    };
    let stored = doc.body.as_ref().map(store);
    let info = DocInfo {
        id: doc.id.clone(),
        db_seq,
        rev_seq: doc.rev_seq,
        rev_meta: doc.rev_meta.clone(),
        deleted: doc.deleted || doc.body.is_none(),
        content_meta: doc.content_meta,
        body_position: 0,
        physical_size: stored.as_ref().map_or(0, |stored| stored.len() as u64 + 8),
    };
    Entry { info, stored }
}

/// Sum of what the three trees take, as their roots say.
fn tree_sizes(db: &impl Store) -> u64 {
    let root_size = |tree| match db.walk(tree).expect("a walk").first() {
        Some(Step::Node { subtree_size, .. }) => *subtree_size,
        Some(Step::Document { .. }) => panic!("a walk begins with the root"),
        None => 0,
    };
    Tree::ALL.into_iter().map(root_size).sum()
}
