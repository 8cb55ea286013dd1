// SPDX-License-Identifier: Apache-2.0

//! Going through a tree from both ends, a page of entries at a time.
//!
//! Between two pages nothing is held but keys: no node, no cursor, and no borrow of the file. So whoever goes through a
//! tree may use the same handle for anything else meanwhile, and each page may come by another handle on the same file.
//! What is gone through is the tree below one root, which no later save changes.

use super::Db;
use super::get::owned;
use super::scan::parse;
use crate::error::Result;
use crate::format::docinfo::{DocInfo, DocInfoRef};
use crate::format::header::{FileHeader, NodeRef};
use crate::format::ints::u48_bytes;
use crate::format::node::Entry;
use crate::memory;
use crate::tree::TreeKind;
use crate::tree::back::{BackCursor, Place};
use crate::tree::build::DISORDER;
use crate::tree::cache::file::Reading;
use crate::tree::footing::Standing;
use crate::tree::read::Cursor;
use std::cmp::Ordering;
use std::ops::Bound;

/// The first page has so many entries, each later one twice as many, up to [`MOST_ENTRIES`].
const FIRST_ENTRIES: usize = 16;
const MOST_ENTRIES: usize = 512;
/// A page ends with the entry that makes it longer than this, in bytes.
const LONGEST_PAGE: usize = 256 << 10;

/// What is gone through.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) tree: TreeKind,
    pub(crate) first: Bound<Vec<u8>>,
    pub(crate) last: Bound<Vec<u8>>,
}

impl Span {
    fn is_before(&self, key: &[u8]) -> bool {
        match &self.first {
            Bound::Included(first) => key < first.as_slice(),
            Bound::Excluded(first) => key <= first.as_slice(),
            Bound::Unbounded => false,
        }
    }

    fn is_behind(&self, key: &[u8]) -> bool {
        match &self.last {
            Bound::Included(last) => key > last.as_slice(),
            Bound::Excluded(last) => key >= last.as_slice(),
            Bound::Unbounded => false,
        }
    }
}

impl Span {
    /// Whether a document lies before it (less), in it or behind it.
    pub(crate) fn place_of(&self, info: &DocInfoRef<'_>) -> Ordering {
        let seq = u48_bytes(info.db_seq);
        let key = if self.tree == TreeKind::BySeq { &seq } else { info.id };
        if self.is_before(key) {
            Ordering::Less
        } else if self.is_behind(key) {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }
}

pub(crate) fn key_of(bound: &Bound<Vec<u8>>) -> Option<&[u8]> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

pub(crate) mod sealed {
    /// Nobody else implements what has this.
    pub trait Sealed {}
}

impl sealed::Sealed for &Db {}

/// Has a database, or can have one for a while, that stands on the same header each time.
pub trait Reader: sealed::Sealed {
    /// Runs `action` on it.
    fn read<T>(&self, action: impl FnOnce(&Db) -> Result<T>) -> Result<T>;

    /// What stands in the file now, if that may change.
    #[doc(hidden)]
    fn standing(&self) -> Option<Standing> {
        None
    }
}

impl Reader for &Db {
    fn read<T>(&self, action: impl FnOnce(&Db) -> Result<T>) -> Result<T> {
        action(self)
    }

    fn standing(&self) -> Option<Standing> {
        Some(Standing::of(&self.file))
    }
}

/// What an entry is to whoever goes through it.
pub(crate) trait Item: Sized {
    fn of(tree: TreeKind, entry: &Entry<'_>, db: &Db, leaf: u64) -> Result<Self>;
}

impl Item for DocInfo {
    fn of(tree: TreeKind, entry: &Entry<'_>, db: &Db, leaf: u64) -> Result<DocInfo> {
        owned(&parse(tree, entry).map_err(|rule| db.file().malformed(leaf, rule))?)
    }
}

/// Id and body of a local document.
impl Item for (Vec<u8>, Vec<u8>) {
    fn of(_: TreeKind, entry: &Entry<'_>, _: &Db, _: u64) -> Result<(Vec<u8>, Vec<u8>)> {
        Ok((memory::copy(entry.key)?, memory::copy(entry.value)?))
    }
}

/// One end, from which entries are taken.
#[derive(Clone, Debug)]
struct End<T> {
    /// The last page, in reverse order.
    page: Vec<(Place, T)>,
    /// The key that the last page ended with, and how many entries of that key were in pages.
    reached: Option<(Vec<u8>, usize)>,
    /// Where the entry stood that was taken last.
    taken: Option<Place>,
    /// No more pages come.
    is_last: bool,
    /// Entries of the next page.
    entries: usize,
}

impl<T> Default for End<T> {
    fn default() -> End<T> {
        End { page: Vec::new(), reached: None, taken: None, is_last: false, entries: FIRST_ENTRIES }
    }
}

impl<T: Item> End<T> {
    /// Fills the page with the entries that `next` shows, one at a time; both say whether there may be more. Each page begins
    /// where the last one has ended, so keys that do not come in this order could go on for ever: they are damage.
    fn fill(
        &mut self,
        db: &Db,
        span: &Span,
        order: Ordering,
        mut next: impl FnMut(&mut dyn FnMut(Entry<'_>, Place) -> Result<bool>) -> Result<bool>,
    ) -> Result<()> {
        let mut left_out = self.reached.as_ref().map_or(0, |(_, times)| *times);
        let mut bytes = 0;
        loop {
            let more = next(&mut |entry, place| {
                if span.is_before(entry.key) || span.is_behind(entry.key) {
                    return Ok(false);
                }
                let step = self.reached.as_ref().map_or(order, |(key, _)| entry.key.cmp(key));
                if step == order.reverse() {
                    return Err(db.file().malformed(place.0, DISORDER));
                }
                let is_same = step == Ordering::Equal;
                if is_same && left_out > 0 {
                    left_out -= 1;
                    return Ok(true);
                }
                match &mut self.reached {
                    Some((_, times)) if is_same => *times += 1,
                    reached => *reached = Some((memory::copy(entry.key)?, 1)),
                }
                bytes += entry.key.len() + entry.value.len();
                memory::push(&mut self.page, (place, T::of(span.tree, &entry, db, place.0)?))?;
                Ok(true)
            })?;
            if !more {
                self.is_last = true;
                break;
            }
            if self.page.len() >= self.entries || bytes > LONGEST_PAGE {
                break;
            }
        }
        self.entries = (2 * self.entries).min(MOST_ENTRIES);
        self.page.reverse();
        Ok(())
    }
}

/// The entries of a span of a tree that were not taken yet, from either end.
#[derive(Clone, Debug)]
pub(crate) struct Pages<T> {
    span: Span,
    root: Option<Root>,
    front: End<T>,
    back: End<T>,
    is_done: bool,
}

/// The root of what is gone through.
#[derive(Clone, Debug)]
struct Root {
    node: NodeRef,
    /// As [`Reader::standing`], when the iterator was made.
    then: Option<Standing>,
}

impl Root {
    /// Fails if something else may be in its place by now.
    fn node(&self, db: &Db) -> Result<&NodeRef> {
        if let Some(then) = self.then {
            then.check(&db.file, self.node.position)?;
        }
        Ok(&self.node)
    }
}

impl<T: Item> Pages<T> {
    /// Of the tree of this header.
    pub(crate) fn new(reader: &impl Reader, header: &FileHeader, span: Span) -> Pages<T> {
        let root = match span.tree {
            TreeKind::ById => header.by_id.clone(),
            TreeKind::BySeq => header.by_seq.clone(),
            TreeKind::Local => header.local.clone(),
        };
        let root = root.map(|node| Root { node, then: reader.standing() });
        Pages { span, root, front: End::default(), back: End::default(), is_done: false }
    }

    /// The next one from the front.
    pub(crate) fn next(&mut self, reader: &impl Reader) -> Option<Result<T>> {
        let Pages { span, root, front, back, is_done } = self;
        take((front, back), is_done, reader, |front, db| fill_forward(front, db, span, root.as_ref()))
    }

    /// The next one from the back.
    pub(crate) fn next_back(&mut self, reader: &impl Reader) -> Option<Result<T>> {
        let Pages { span, root, front, back, is_done } = self;
        take((back, front), is_done, reader, |back, db| fill_backward(back, db, span, root.as_ref()))
    }
}

/// Takes an entry from `here`, up to where the other end has come.
fn take<T: Item>(
    (here, there): (&mut End<T>, &mut End<T>),
    is_done: &mut bool,
    reader: &impl Reader,
    fill: impl Fn(&mut End<T>, &Db) -> Result<()>,
) -> Option<Result<T>> {
    if *is_done {
        return None;
    }
    if here.page.is_empty()
        && !here.is_last
        && let Err(error) = reader.read(|db| fill(here, db))
    {
        *is_done = true;
        return Some(Err(error));
    }
    let (place, item) = here.page.pop().filter(|(place, _)| there.taken != Some(*place)).or_else(|| {
        *is_done = true;
        None
    })?;
    here.taken = Some(place);
    Some(Ok(item))
}

fn fill_forward<T: Item>(front: &mut End<T>, db: &Db, span: &Span, root: Option<&Root>) -> Result<()> {
    db.check_open()?;
    let root = root.map(|root| root.node(db)).transpose()?;
    let reached = front.reached.as_ref().map(|(key, _)| key.clone());
    let from = reached.as_deref().or(key_of(&span.first)).unwrap_or_default();
    let mut cursor = Cursor::new(db.file(), root, from, Reading::Scanning);
    front.fill(db, span, Ordering::Greater, |take| {
        loop {
            if !cursor.find_entry()? {
                return Ok(false);
            }
            let (entry, place) = (cursor.entry()?, cursor.place());
            // An excluded first key is stepped over.
            if span.is_before(entry.key) {
                continue;
            }
            return take(entry, place);
        }
    })
}

fn fill_backward<T: Item>(back: &mut End<T>, db: &Db, span: &Span, root: Option<&Root>) -> Result<()> {
    db.check_open()?;
    let root = root.map(|root| root.node(db)).transpose()?;
    let reached = back.reached.as_ref().map(|(key, _)| key.clone());
    let until = reached.as_deref().or(key_of(&span.last));
    let mut cursor = BackCursor::new(db.file(), root, until);
    back.fill(db, span, Ordering::Less, |take| {
        loop {
            let Some((entry, place)) = cursor.next_entry()? else { return Ok(false) };
            // An excluded last key is stepped over.
            if span.is_behind(entry.key) {
                continue;
            }
            return take(entry, place);
        }
    })
}
