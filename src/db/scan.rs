// SPDX-License-Identifier: Apache-2.0

//! Going through documents: by sequence, by id, by lists of keys, and node by node.

#[cfg(test)]
mod tests;

use super::Db;
use super::ahead::BodiesAhead;
use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::docinfo::DocInfoRef;
use crate::format::header::NodeRef;
use crate::format::ints::{MAX_U48, u48_bytes};
use crate::format::node::{Entries, Entry};
use crate::io::buffered::Plan;
use crate::memory;
use crate::tree::TreeKind;
use crate::tree::cache::file::Reading;
use crate::tree::footing::Footing;
use crate::tree::read::{Cursor, Event, Leaf, count_range, lookup};

/// Most leaves have no more bodies than this.
const FIRST_BODIES: usize = 32;

/// Which documents a scan shows, and what it does about damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanOptions {
    /// Only deleted documents.
    pub deletes_only: bool,
    /// Only documents that are not deleted.
    pub no_deletes: bool,
    /// Step over damaged nodes and show entries that make no sense with what can be said of them; the last error is
    /// returned at the end.
    pub tolerate_corruption: bool,
}

impl ScanOptions {
    pub(super) fn shows(self, info: &DocInfoRef<'_>) -> bool {
        !(self.deletes_only && !info.deleted || self.no_deletes && info.deleted)
    }
}

/// Shown one document at a time. An error ends the scan, which returns it.
pub type OnDocument<'a> = &'a mut dyn FnMut(&DocInfoRef<'_>) -> Result<()>;

/// Whoever is shown the documents of a scan.
///
/// From the moment that a document is shown until [`Visitor::before_use`] a scan uses nothing of the database but the node at
/// hand, which is its own, and [`SharedFile::take_last_body`]. So a visitor may leave the database to another thread for all
/// that time: callbacks of C do.
///
/// [`SharedFile::take_last_body`]: crate::io::shared::SharedFile::take_last_body
pub(crate) trait Visitor {
    /// Shown one document. An error ends the scan.
    fn show(&mut self, info: &DocInfoRef<'_>) -> Result<()>;

    /// The scan is about to use the database, or is over, whatever has ended it. Perhaps nothing was shown since it was told so.
    #[inline]
    fn before_use(&mut self) {}
}

impl<F: FnMut(&DocInfoRef<'_>) -> Result<()> + ?Sized> Visitor for F {
    #[inline]
    fn show(&mut self, info: &DocInfoRef<'_>) -> Result<()> {
        self(info)
    }
}

/// The visitor of a scan. It must go before whatever else uses the database when it goes.
struct Shown<'a, V: Visitor + ?Sized>(&'a mut V);

impl<V: Visitor + ?Sized> Drop for Shown<'_, V> {
    fn drop(&mut self) {
        self.0.before_use();
    }
}

/// What a walk comes to.
#[derive(Clone, Copy, Debug)]
pub enum WalkItem<'a> {
    /// A node, before it is read.
    Node {
        /// Disk size of the node and all below it, without block-type bytes.
        subtree_size: u64,
        /// The reduce value over it, as stored.
        reduce: &'a [u8],
    },
    /// A document, or a local document (then only id and `physical_size`, the length of its body, are set).
    Document(DocInfoRef<'a>),
}

/// Shown one item of a walk at a time with its depth: 0 is the root.
pub type OnItem<'a> = &'a mut dyn FnMut(usize, &WalkItem<'_>) -> Result<()>;

/// Key of a by-sequence entry; what is beyond 48 bits means the end.
pub(crate) fn seq_key(seq: u64) -> [u8; 6] {
    u48_bytes(seq.min(MAX_U48))
}

impl Db {
    fn root_of(&self, tree: TreeKind) -> Option<NodeRef> {
        match tree {
            TreeKind::ById => self.by_id_root(),
            TreeKind::BySeq => self.by_seq_root(),
            TreeKind::Local => self.local_root(),
        }
    }

    /// Shows all documents with a sequence number of at least `since`, in order.
    pub fn changes_since(&self, since: u64, options: ScanOptions, visit: OnDocument<'_>) -> Result<()> {
        self.scan(TreeKind::BySeq, &seq_key(since), None, options, visit)
    }

    /// Shows all documents with an id of at least `from`, in order of ids.
    pub fn all_docs(&self, from: &[u8], options: ScanOptions, visit: OnDocument<'_>) -> Result<()> {
        self.scan(TreeKind::ById, from, None, options, visit)
    }

    /// Shows the documents with ids from `first` to `last`, both included.
    pub fn docs_in_range(
        &self,
        first: &[u8],
        last: Option<&[u8]>,
        options: ScanOptions,
        visit: OnDocument<'_>,
    ) -> Result<()> {
        self.scan(TreeKind::ById, first, last, options, visit)
    }

    /// Shows the documents with sequence numbers from `first` to `last`, both included.
    pub fn changes_in_range(
        &self,
        first: u64,
        last: Option<u64>,
        options: ScanOptions,
        visit: OnDocument<'_>,
    ) -> Result<()> {
        let last = last.map(seq_key);
        self.scan(TreeKind::BySeq, &seq_key(first), last.as_ref().map(|key| &key[..]), options, visit)
    }

    /// Shows those of the documents with these ids that exist, in order of ids. `ids` may be in any order.
    pub fn docs_by_id(&self, ids: &[&[u8]], options: ScanOptions, visit: OnDocument<'_>) -> Result<()> {
        match *ids {
            [id] => self.only_doc_by_id(id, options, visit),
            _ => self.docs_by_ids_of(&mut memory::copy(ids)?, options, visit),
        }
    }

    /// As [`Db::docs_by_id`] with one id.
    pub(crate) fn only_doc_by_id(
        &self,
        id: &[u8],
        options: ScanOptions,
        visitor: &mut (impl Visitor + ?Sized),
    ) -> Result<()> {
        self.check_open()?;
        let mut damage = Damage::new(options);
        match lookup(&self.file, self.begin_of(TreeKind::ById), id) {
            Ok(found) => {
                let entry = Entry { key: id, value: &found };
                let info = self.decode(TreeKind::ById, &entry, found.position(), &mut damage)?;
                if options.shows(&info) {
                    Shown(visitor).0.show(&info)?;
                }
            }
            // There is at most one.
            Err(Error::DocNotFound) => {}
            Err(error) => {
                damage.pass::<()>(Err(error))?;
            }
        }
        damage.result()
    }

    /// As [`Db::docs_by_id`]; puts `ids` in order.
    pub(crate) fn docs_by_ids_of(
        &self,
        ids: &mut Vec<&[u8]>,
        options: ScanOptions,
        visitor: &mut (impl Visitor + ?Sized),
    ) -> Result<()> {
        self.lookup_all(TreeKind::ById, ids, options, visitor)
    }

    /// Shows those of the documents with these sequence numbers that exist, in order.
    pub fn docs_by_seq(&self, seqs: &[u64], options: ScanOptions, visit: OnDocument<'_>) -> Result<()> {
        self.docs_by_seqs_for(seqs, options, visit)
    }

    /// As [`Db::docs_by_seq`].
    pub(crate) fn docs_by_seqs_for(
        &self,
        seqs: &[u64],
        options: ScanOptions,
        visitor: &mut (impl Visitor + ?Sized),
    ) -> Result<()> {
        let keys = memory::collect(seqs.iter().map(|&seq| u48_bytes(seq)))?;
        let mut keys = memory::collect(keys.iter().map(|key| &key[..]))?;
        self.lookup_all(TreeKind::BySeq, &mut keys, options, visitor)
    }

    /// Number of documents with sequence numbers from `min` to `max`, both included. Costs a few node reads.
    pub fn changes_count(&self, min: u64, max: u64) -> Result<u64> {
        self.check_open()?;
        if min > max {
            return Ok(0);
        }
        count_range(&self.file, self.by_seq_root().as_ref(), &seq_key(min), &seq_key(max))
    }

    /// Shows the documents of a tree with keys from `first` to `last`, both included, in order.
    pub(crate) fn scan(
        &self,
        tree: TreeKind,
        first: &[u8],
        last: Option<&[u8]>,
        options: ScanOptions,
        visitor: &mut (impl Visitor + ?Sized),
    ) -> Result<()> {
        self.check_open()?;
        let root = self.root_of(tree);
        let mut cursor = Cursor::of_all(&self.file, root.as_ref(), first, last, Reading::Scanning);
        // It goes before the cursor, which gives memory back.
        let mut scan = Scan {
            db: self,
            tree,
            last,
            options,
            footing: cursor.footing(),
            bodies: BodiesAhead::default(),
            damage: Damage::new(options),
            shown: Shown(visitor),
        };
        self.file.take_last_body();
        loop {
            scan.shown.0.before_use();
            scan.bodies.begin_leaf();
            let leaf = cursor.next_leaf(scan.bodies.is_active());
            let goes_on = match scan.damage.pass(leaf)? {
                // Damage that is stepped over.
                None => true,
                Some(Some(leaf)) => scan.leaf(&leaf)?,
                Some(None) => false,
            };
            if !goes_on {
                return scan.damage.result();
            }
        }
    }

    fn lookup_all(
        &self,
        tree: TreeKind,
        keys: &mut Vec<&[u8]>,
        options: ScanOptions,
        visitor: &mut (impl Visitor + ?Sized),
    ) -> Result<()> {
        self.check_open()?;
        let mut damage = Damage::new(options);
        keys.sort_unstable();
        keys.dedup();
        let root = self.root_of(tree);
        let mut cursor = Cursor::of_keys(&self.file, root.as_ref(), keys);
        let footing = cursor.footing();
        let shown = Shown(visitor);
        for (index, key) in keys.iter().enumerate() {
            shown.0.before_use();
            cursor.look_for(index);
            loop {
                let Some(next) = damage.pass(cursor.next_entry())? else { continue };
                match next {
                    Some((entry, position)) if entry.key == *key => {
                        let info = self.decode(tree, &entry, position, &mut damage)?;
                        if options.shows(&info) {
                            shown.0.show(&info)?;
                            footing.check(position)?;
                        }
                        // Several documents may have been given one sequence number.
                        if tree == TreeKind::ById {
                            break;
                        }
                        shown.0.before_use();
                    }
                    Some(_) => {
                        cursor.put_back();
                        break;
                    }
                    None => return damage.result(),
                }
            }
        }
        damage.result()
    }

    fn decode<'e>(
        &self,
        tree: TreeKind,
        entry: &Entry<'e>,
        position: u64,
        damage: &mut Damage,
    ) -> Result<DocInfoRef<'e>> {
        parse(tree, entry).or_else(|rule| self.make_do(entry, position, rule, damage))
    }

    /// What can be said of an entry that makes no sense, if the scan is to go on.
    #[cold]
    #[inline(never)]
    fn make_do<'e>(
        &self,
        entry: &Entry<'e>,
        position: u64,
        rule: Malformed,
        damage: &mut Damage,
    ) -> Result<DocInfoRef<'e>> {
        damage.pass::<()>(Err(self.file.malformed(position, rule)))?;
        Ok(DocInfoRef { id: entry.key, rev_meta: entry.value, ..DocInfoRef::default() })
    }

    /// Walks the by-id tree: every node before its children, every document, from the id `from` on. The root is
    /// always shown.
    pub fn walk_by_id(&self, from: &[u8], options: ScanOptions, visit: OnItem<'_>) -> Result<()> {
        self.walk(TreeKind::ById, from, options, visit)
    }

    /// Walks the by-sequence tree like [`Db::walk_by_id`].
    pub fn walk_by_seq(&self, from: u64, options: ScanOptions, visit: OnItem<'_>) -> Result<()> {
        self.walk(TreeKind::BySeq, &seq_key(from), options, visit)
    }

    /// Walks the tree of local documents like [`Db::walk_by_id`].
    pub fn walk_local(&self, from: &[u8], options: ScanOptions, visit: OnItem<'_>) -> Result<()> {
        self.walk(TreeKind::Local, from, options, visit)
    }

    fn walk(&self, tree: TreeKind, from: &[u8], options: ScanOptions, visit: OnItem<'_>) -> Result<()> {
        self.check_open()?;
        let root = self.root_of(tree);
        let mut cursor = Cursor::of_all(&self.file, root.as_ref(), from, None, Reading::Verifying);
        let footing = cursor.footing();
        let mut damage = Damage::new(options);
        loop {
            let Some(event) = damage.pass(cursor.advance())? else { continue };
            match event {
                Event::End => return damage.result(),
                Event::Node => {
                    let Some(child) = damage.pass(cursor.child())? else { continue };
                    let item = WalkItem::Node { subtree_size: child.subtree_size, reduce: child.reduce };
                    visit(child.depth, &item)?;
                    damage.pass(cursor.enter())?;
                }
                Event::Entry => {
                    let Some(entry) = damage.pass(cursor.entry())? else { continue };
                    let info = self.decode(tree, &entry, cursor.position(), &mut damage)?;
                    if tree == TreeKind::Local || options.shows(&info) {
                        visit(cursor.depth(), &WalkItem::Document(info))?;
                        footing.check(cursor.position())?;
                    }
                }
            }
        }
    }
}

/// Going through the documents of a tree.
struct Scan<'a, 'v, V: Visitor + ?Sized> {
    db: &'a Db,
    tree: TreeKind,
    last: Option<&'a [u8]>,
    options: ScanOptions,
    footing: Footing<'a>,
    bodies: BodiesAhead,
    damage: Damage,
    shown: Shown<'v, V>,
}

impl<V: Visitor + ?Sized> Scan<'_, '_, V> {
    /// Shows the documents of a leaf. False: the last one was among them.
    // By itself: with all that is around it in one function too much would move between memory and registers.
    #[inline(never)]
    fn leaf(&mut self, leaf: &Leaf<'_>) -> Result<bool> {
        let mut rest = leaf.entries();
        loop {
            let offset = rest.offset();
            let Some(entry) = rest.next() else { return Ok(true) };
            let entry = match entry {
                Ok(entry) => entry,
                Err(rule) => {
                    self.shown.0.before_use();
                    self.damage.pass::<()>(Err(self.db.file.malformed(leaf.position, rule)))?;
                    return Ok(true);
                }
            };
            if self.last.is_some_and(|last| entry.key > last) {
                return Ok(false);
            }
            // Looked at where it is: copying it would take as long as reading it.
            let parsed = parse(self.tree, &entry);
            let info = match &parsed {
                Ok(info) => info,
                Err(rule) => {
                    self.shown.0.before_use();
                    &self.db.make_do(&entry, leaf.position, *rule, &mut self.damage)?
                }
            };
            if self.options.shows(info) {
                if self.bodies.may_be_missing(info.body_position, info.physical_size) {
                    self.bring_bodies(info, leaf.entries_from(offset))?;
                }
                self.shown.0.show(info)?;
                self.footing.check(leaf.position)?;
                self.bodies.after(&self.db.file, info.body_position);
            }
        }
    }

    /// Reads bodies ahead if that of this document is missing: those of the documents with these entries.
    fn bring_bodies(&mut self, info: &DocInfoRef<'_>, entries: Entries<'_>) -> Result<()> {
        self.shown.0.before_use();
        if self.bodies.are_missing(&self.db.file, info.body_position, info.physical_size) {
            let wanted = bodies_of(self.tree, entries, self.last, self.options)?;
            self.damage.pass(self.db.file.read_ahead(Plan::Bodies, &wanted))?;
        }
        Ok(())
    }
}

#[inline]
pub(super) fn parse<'e>(tree: TreeKind, entry: &Entry<'e>) -> Result<DocInfoRef<'e>, Malformed> {
    match tree {
        TreeKind::ById => DocInfoRef::parse_by_id(entry.key, entry.value),
        TreeKind::BySeq => DocInfoRef::parse_by_seq(entry.key, entry.value),
        TreeKind::Local => {
            let physical_size = entry.value.len() as u64;
            Ok(DocInfoRef { id: entry.key, physical_size, ..DocInfoRef::default() })
        }
    }
}

/// Positions and sizes of the bodies of those of the documents that a scan is going to show.
pub(crate) fn bodies_of(
    tree: TreeKind,
    entries: Entries<'_>,
    last: Option<&[u8]>,
    options: ScanOptions,
) -> Result<Vec<(u64, u64)>> {
    let mut wanted = Vec::new();
    memory::reserve_exact(&mut wanted, FIRST_BODIES)?;
    for entry in entries {
        let Ok(entry) = entry else { break };
        if last.is_some_and(|last| entry.key > last) {
            break;
        }
        if let Ok(info) = parse(tree, &entry)
            && info.body_position != 0
            && options.shows(&info)
        {
            memory::push(&mut wanted, (info.body_position, info.physical_size))?;
        }
    }
    Ok(wanted)
}

/// Remembers damage that a scan has stepped over.
struct Damage {
    options: ScanOptions,
    last: Option<Error>,
}

impl Damage {
    fn new(options: ScanOptions) -> Damage {
        Damage { options, last: None }
    }

    /// Hands on what was read. `None`: it is damaged, and the scan steps over it.
    fn pass<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.options.tolerate_corruption && error.is_damage() => {
                self.last = Some(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn result(self) -> Result<()> {
        self.last.map_or(Ok(()), Err)
    }
}
