// SPDX-License-Identifier: Apache-2.0

//! Documents.
//!
//! Both indexes of a header are walked, around what is damaged: what one has lost the other may still have. A document
//! whose id is in the shelter already is not taken again, unless the other index of the same header knows a newer
//! version of it. So a version, or a deletion, never gives way to an older one. A deletion is kept even if the body
//! that it has is lost.

use super::log::Log;
use super::shelter::{Kept, Shelter};
use couchstore::inspect::{
    BodyLimit, ChildInfo, FileHeader, Item, Node, NodeVisitor, Tree, Visit, walk_nodes,
};
use couchstore::{COMPRESSED, Db, DocInfo, DocInfoRef, Error, ErrorCode, Result};
use std::collections::HashSet;

/// Entries looked up at once, by number and by the bytes of their strings.
const BATCH: usize = 50_000;
const BATCH_BYTES: usize = 16 << 20;
/// Bytes of bodies that are saved at once.
const BODY_BYTES: usize = 32 << 20;
/// Nodes and damaged bodies that are remembered; what is not is looked at again.
const MOST: usize = 1 << 20;
/// Longest body, and longest value of the by-sequence tree, that every file can hold.
const LONGEST_BODY: usize = (1 << 28) - 1 - 20;
const BY_SEQ_FIXED: usize = 18;

/// What there is of a document's body.
enum Body {
    /// A deleted document without one, or of which only the deletion can be saved.
    Absent,
    /// As it is stored.
    Stored(Vec<u8>),
    /// It cannot be read, or nowhere be saved: the document is lost.
    Lost,
}

/// Brings documents into the shelter.
pub(super) struct Rescue<'a> {
    source: &'a Db,
    shelter: &'a Shelter,
    /// Nodes that have been walked, or tried, if older headers follow: they share most of theirs with newer ones.
    walked: Option<HashSet<(u8, u64)>>,
    /// Offsets of bodies that cannot be read.
    bad_bodies: HashSet<u64>,
    bodies: BodyLimit<'a>,
    header: u64,
    is_newest: bool,
    /// Whether the header may belong to an abandoned history.
    is_doubtful: bool,
    from_newest: u64,
    from_older: u64,
    /// Those of the newest header that are not deleted.
    live: u64,
}

impl<'a> Rescue<'a> {
    /// `stale`: whether older headers will follow the newest one.
    pub(super) fn new(source: &'a Db, shelter: &'a Shelter, stale: bool) -> Rescue<'a> {
        Rescue {
            source,
            shelter,
            walked: stale.then(HashSet::new),
            bad_bodies: HashSet::new(),
            bodies: BodyLimit::new(source),
            header: 0,
            is_newest: true,
            is_doubtful: false,
            from_newest: 0,
            from_older: 0,
            live: 0,
        }
    }

    /// Number of documents of the newest header.
    pub(super) fn newest(&self) -> u64 {
        self.from_newest
    }

    /// Number of those of them that are not deleted.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// Number of documents of older headers.
    pub(super) fn older(&self) -> u64 {
        self.from_older
    }

    /// From here on headers may belong to histories that were abandoned by a rewind.
    pub(super) fn doubt(&mut self) {
        self.is_doubtful = true;
    }

    /// Brings in what there is below a header. The newest one comes first.
    pub(super) fn header(&mut self, position: u64, header: &FileHeader, log: &mut Log<'_>) -> Result<()> {
        self.header = position;
        for tree in [Tree::BySeq, Tree::ById] {
            let mut walk = Walk { rescue: self, log, tree, batch: Vec::new(), bytes: 0 };
            walk_nodes(walk.rescue.source, tree, header.root(tree), &mut walk)?;
            walk.flush()?;
        }
        self.is_newest = false;
        Ok(())
    }

    /// Takes those of a batch of entries that are wanted and have a sound body.
    fn take(&mut self, mut batch: Vec<DocInfo>, log: &mut Log<'_>) -> Result<()> {
        log.proceed()?;
        batch.sort_by(|a, b| a.id.cmp(&b.id).then(b.db_seq.cmp(&a.db_seq)));
        batch.dedup_by(|later, kept| later.id == kept.id);
        let known = self.shelter.known(&batch)?;
        let is_wanted = |info: &DocInfo, known: Option<u64>| {
            known.is_none_or(|known| self.is_newest && known < info.db_seq)
        };
        let mut wanted: Vec<_> =
            batch.into_iter().zip(known).filter(|(info, known)| is_wanted(info, *known)).collect();
        // Bodies are read in the order in which they lie in the file.
        wanted.sort_by_key(|(info, _)| info.body_position);
        let mut kept = Vec::new();
        let mut bytes = 0;
        for (mut info, known) in wanted {
            log.proceed()?;
            let body = match self.body(&info.borrowed(), log)? {
                Body::Absent => {
                    if info.body_position != 0 {
                        info.content_meta &= !COMPRESSED;
                    }
                    None
                }
                Body::Stored(body) => Some(body),
                Body::Lost => continue,
            };
            bytes += body.as_ref().map_or(0, Vec::len);
            kept.push((Kept { info, body }, known.is_none()));
            if bytes >= BODY_BYTES {
                self.save(std::mem::take(&mut kept), log)?;
                bytes = 0;
            }
        }
        self.save(kept, log)
    }

    /// Reads the body of a document.
    fn body(&mut self, info: &DocInfoRef<'_>, log: &mut Log<'_>) -> Result<Body> {
        if info.body_position == 0 && info.deleted {
            return Ok(Body::Absent);
        }
        if BY_SEQ_FIXED + info.id.len() + info.rev_meta.len() > LONGEST_BODY {
            log.body(info, "too large a rev_meta".to_owned())?;
            return Ok(Body::Lost);
        }
        let without = if info.deleted { Body::Absent } else { Body::Lost };
        if self.bad_bodies.contains(&info.body_position) {
            return Ok(without);
        }
        let reason = if info.body_position == 0 {
            "not deleted, but without body".to_owned()
        } else {
            match self.source.stored_body(info) {
                Ok(stored) if stored.len() > LONGEST_BODY => format!("{} bytes", stored.len()),
                Ok(stored) => match self.bodies.count(info.body_position, stored.len()) {
                    Ok(()) => return Ok(Body::Stored(stored)),
                    Err(error) => error.to_string(),
                },
                Err(error) if error.is_damage() => error.to_string(),
                Err(error) => return Err(error),
            }
        };
        if info.body_position != 0 && self.bad_bodies.len() < MOST {
            self.bad_bodies.insert(info.body_position);
        }
        log.body(info, reason)?;
        Ok(without)
    }

    /// Saves documents, each with whether its id is new.
    fn save(&mut self, kept: Vec<(Kept, bool)>, log: &mut Log<'_>) -> Result<()> {
        let mut kept = kept;
        if self.is_doubtful {
            self.leave_out_used_numbers(&mut kept)?;
        }
        let new = kept.iter().filter(|(_, is_new)| *is_new).count() as u64;
        if self.is_newest {
            self.from_newest += new;
            self.live += kept.iter().filter(|(kept, is_new)| *is_new && !kept.info.deleted).count() as u64;
        } else {
            self.from_older += new;
            for (Kept { info, .. }, _) in &kept {
                log.comes_back(self.header, &info.borrowed())?;
            }
        }
        log.advance_bar(self.from_newest + self.from_older);
        let documents: Vec<_> = kept.into_iter().map(|(kept, _)| kept).collect();
        self.shelter.save(&documents)
    }

    /// Documents may share a sequence number. But of a doubtful header a document whose number is in use again
    /// belongs to a history that was abandoned by a rewind.
    fn leave_out_used_numbers(&self, kept: &mut Vec<(Kept, bool)>) -> Result<()> {
        let seqs: Vec<_> = kept.iter().map(|(kept, _)| kept.info.db_seq).collect();
        let ids: HashSet<_> = kept.iter().map(|(kept, _)| kept.info.id.clone()).collect();
        let used = self.shelter.used_by_others(&seqs, &ids)?;
        kept.retain(|(kept, _)| !used.contains(&kept.info.db_seq));
        Ok(())
    }
}

/// Walks one tree of documents.
struct Walk<'w, 'a, 'l> {
    rescue: &'w mut Rescue<'a>,
    log: &'w mut Log<'l>,
    tree: Tree,
    batch: Vec<DocInfo>,
    bytes: usize,
}

impl Walk<'_, '_, '_> {
    fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        self.rescue.take(std::mem::take(&mut self.batch), self.log)
    }
}

impl NodeVisitor for Walk<'_, '_, '_> {
    fn child(&mut self, child: &ChildInfo<'_>) -> Result<Visit> {
        self.log.proceed()?;
        let Some(walked) = &mut self.rescue.walked else { return Ok(Visit::Enter) };
        let node = (self.tree as u8, child.position);
        let is_new = if walked.len() < MOST { walked.insert(node) } else { !walked.contains(&node) };
        Ok(if is_new { Visit::Enter } else { Visit::Skip })
    }

    fn node(&mut self, node: &Node<'_>) -> Result<()> {
        for item in node.items() {
            match item {
                Ok((_, Item::Document(info))) => {
                    self.bytes += info.id.len() + info.rev_meta.len();
                    self.batch.push(info.to_owned());
                }
                Ok(_) => {}
                Err(rule) => {
                    let reason = format!("malformed entry: expected {rule}");
                    self.log.node(self.tree, node.info.position, ErrorCode::CORRUPT, reason)?;
                }
            }
            if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn damaged(&mut self, child: &ChildInfo<'_>, error: Error) -> Result<()> {
        self.log.node(self.tree, child.position, error.code(), error.to_string())
    }
}
