// SPDX-License-Identifier: Apache-2.0

//! What all headers of a sound file hold, and where in the file it stands: to tell what damage leaves readable.

use couchstore::inspect::{FoundHeader, Headers, Item, Node, NodeVisitor, Tree, extent, walk_nodes};
use couchstore::{COMPRESSED, Db, DocInfo};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// A document without its place: entry and stored body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) info: DocInfo,
    pub(crate) stored: Option<Vec<u8>>,
}

impl Version {
    fn read(db: &Db, info: &DocInfo) -> Version {
        let has_body = info.body_position != 0;
        let stored = has_body.then(|| db.stored_body(&info.borrowed()).unwrap());
        Version { info: DocInfo { body_position: 0, physical_size: 0, ..info.clone() }, stored }
    }

    fn without_body(&self) -> Version {
        let content_meta = self.info.content_meta & !COMPRESSED;
        Version { info: DocInfo { content_meta, ..self.info.clone() }, stored: None }
    }
}

/// What a database holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) docs: BTreeMap<Vec<u8>, Version>,
    pub(crate) local: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl State {
    /// By the current header of the handle.
    pub(crate) fn of(db: &Db) -> State {
        let mut state = State::default();
        db.all_docs(b"", couchstore::ScanOptions::default(), &mut |info| {
            let info = info.to_owned();
            state.docs.insert(info.id.clone(), Version::read(db, &info));
            Ok(())
        })
        .unwrap();
        db.scan_local(b"", &mut |id, body| {
            state.local.insert(id.to_vec(), body.to_vec());
            Ok(())
        })
        .unwrap();
        state
    }
}

/// What is read to come to something: nodes from the root on, and a body.
type Way = Vec<Range<u64>>;

/// Whether none of these offsets lies within.
pub(crate) fn is_sound(extent: &Range<u64>, damaged: &[u64]) -> bool {
    !damaged.iter().any(|offset| extent.contains(offset))
}

/// A header.
pub(crate) struct Header {
    pub(crate) extent: Range<u64>,
    pub(crate) update_seq: u64,
    /// Each document with its ways through the two indexes.
    pub(crate) docs: BTreeMap<Vec<u8>, (Version, Vec<Way>)>,
    local: BTreeMap<Vec<u8>, (Vec<u8>, Way)>,
    pub(crate) local_nodes: Vec<Range<u64>>,
}

impl Header {
    /// The documents that can still be read, and the deletions.
    pub(crate) fn sound_docs(&self, damaged: &[u64]) -> BTreeMap<Vec<u8>, Version> {
        let is_open = |way: &[Range<u64>]| way.iter().all(|extent| is_sound(extent, damaged));
        let sound = self.docs.iter().filter_map(|(id, (version, ways))| {
            if ways.iter().any(|way| is_open(way)) {
                return Some((id.clone(), version.clone()));
            }
            // Of a deletion the body may be gone, which comes last.
            let has_lost_body = version.info.deleted && version.stored.is_some();
            let is_deleted = has_lost_body && ways.iter().any(|way| is_open(&way[..way.len() - 1]));
            is_deleted.then(|| (id.clone(), version.without_body()))
        });
        sound.collect()
    }

    /// The local documents that can still be read.
    pub(crate) fn sound_local(&self, damaged: &[u64]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let is_open = |way: &Way| way.iter().all(|extent| is_sound(extent, damaged));
        let sound = self.local.iter().filter(|(_, (_, way))| is_open(way));
        sound.map(|(id, (body, _))| (id.clone(), body.clone())).collect()
    }

    pub(crate) fn local_body(&self, id: &[u8]) -> Option<&Vec<u8>> {
        self.local.get(id).map(|(body, _)| body)
    }
}

/// All headers of a file, the newest first.
pub(crate) struct History {
    pub(crate) headers: Vec<Header>,
}

impl History {
    pub(crate) fn of(path: &Path) -> History {
        let db = Db::open(path).unwrap();
        let bytes = std::fs::read(path).unwrap();
        let headers = Headers::backward(&db).map(|FoundHeader { position, header }| {
            let header = header.unwrap();
            let at = position as usize;
            let length = u32::from_be_bytes(bytes[at + 1..at + 5].try_into().unwrap());
            let mut ways = Ways {
                db: &db,
                way: Vec::new(),
                header: Header {
                    extent: position..position + 5 + u64::from(length),
                    update_seq: header.update_seq,
                    docs: BTreeMap::new(),
                    local: BTreeMap::new(),
                    local_nodes: Vec::new(),
                },
            };
            for tree in [Tree::ById, Tree::BySeq, Tree::Local] {
                walk_nodes(&db, tree, header.root(tree), &mut ways).unwrap();
            }
            ways.header
        });
        History { headers: headers.collect() }
    }
}

struct Ways<'a> {
    db: &'a Db,
    way: Way,
    header: Header,
}

impl NodeVisitor for Ways<'_> {
    fn node(&mut self, node: &Node<'_>) -> couchstore::Result<()> {
        let own = extent(node.info.position, node.stored_size);
        if node.tree == Tree::Local {
            self.header.local_nodes.push(own.clone());
        }
        self.way.push(own);
        for item in node.items() {
            match item.unwrap().1 {
                Item::Child(_) => {}
                Item::Local { id, body } => {
                    self.header.local.insert(id.to_vec(), (body.to_vec(), self.way.clone()));
                }
                Item::Document(info) => {
                    let mut way = self.way.clone();
                    if info.body_position != 0 {
                        way.push(extent(info.body_position, info.physical_size));
                    }
                    let version = || (Version::read(self.db, &info.to_owned()), Vec::new());
                    self.header.docs.entry(info.id.to_vec()).or_insert_with(version).1.push(way);
                }
            }
        }
        Ok(())
    }

    fn leave(&mut self, _: &Node<'_>) -> couchstore::Result<()> {
        self.way.pop();
        Ok(())
    }
}
