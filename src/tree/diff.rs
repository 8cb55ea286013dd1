// SPDX-License-Identifier: Apache-2.0

//! What differs between two states of one tree.
//!
//! Nodes never change, so two states of a tree share all nodes that no change has touched: where both point to the
//! same position there is nothing to compare. The cost is that of the differences, not of the tree.

use super::cache::file::{Reading, TreeFile};
use super::read::{Cursor, Event};
use crate::error::Result;
use crate::format::Malformed;
use crate::format::header::NodeRef;
use crate::format::node::Entry;
use std::cmp::Ordering;

/// A key whose entries differ: the old value and the new one; `None`: there is no entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Difference<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) old: Option<&'a [u8]>,
    pub(crate) new: Option<&'a [u8]>,
}

/// Shows every key whose entries differ, in ascending order. An error of `visit` ends it.
pub(crate) fn diff(
    file: &TreeFile,
    old: Option<&NodeRef>,
    new: Option<&NodeRef>,
    visit: &mut dyn FnMut(&Difference<'_>) -> Result<()>,
) -> Result<()> {
    let mut old = Side::new(file, old)?;
    let mut new = Side::new(file, new)?;
    loop {
        match (old.at, new.at) {
            (Event::End, Event::End) => return Ok(()),
            (Event::Node, Event::Node) => pass_nodes(&mut old, &mut new)?,
            (Event::Node, _) => old.enter()?,
            (_, Event::Node) => new.enter()?,
            (Event::Entry | Event::End, Event::Entry | Event::End) => {
                pass_entries(&mut old, &mut new, visit)?;
            }
        }
    }
}

/// One of the two trees, at its next child or entry.
struct Side<'a> {
    file: &'a TreeFile,
    cursor: Cursor<'a>,
    at: Event,
    last_key: Vec<u8>,
}

impl<'a> Side<'a> {
    fn new(file: &'a TreeFile, root: Option<&NodeRef>) -> Result<Side<'a>> {
        let mut cursor = Cursor::new(file, root, &[], Reading::Verifying);
        let at = cursor.advance()?;
        Ok(Side { file, cursor, at, last_key: Vec::new() })
    }

    fn advance(&mut self) -> Result<()> {
        self.at = self.cursor.advance()?;
        if self.at == Event::Entry {
            let entry = self.cursor.entry()?;
            if entry.key < self.last_key.as_slice() {
                let rule = Malformed("a key that is not below the one before it");
                return Err(self.file.malformed(self.cursor.position(), rule));
            }
            self.last_key.clear();
            self.last_key.extend_from_slice(entry.key);
        }
        Ok(())
    }

    fn enter(&mut self) -> Result<()> {
        self.cursor.enter()?;
        self.advance()
    }

    fn entry(&self) -> Result<Option<Entry<'_>>> {
        if self.at == Event::Entry { self.cursor.entry().map(Some) } else { Ok(None) }
    }
}

/// Both are at a child: steps over it if it is the same, else enters the one that reaches further, since the other
/// may be in it.
fn pass_nodes(old: &mut Side<'_>, new: &mut Side<'_>) -> Result<()> {
    let (of_old, of_new) = (old.cursor.child()?, new.cursor.child()?);
    if of_old.position == of_new.position {
        old.advance()?;
        return new.advance();
    }
    // A root has no key: it reaches to the end.
    let order = match (of_old.key, of_new.key) {
        (Some(old), Some(new)) => old.cmp(new),
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (None, None) => Ordering::Equal,
    };
    if order != Ordering::Less {
        old.enter()?;
    }
    if order != Ordering::Greater {
        new.enter()?;
    }
    Ok(())
}

/// Both are at an entry or the end: shows the lower key.
fn pass_entries(
    old: &mut Side<'_>,
    new: &mut Side<'_>,
    visit: &mut dyn FnMut(&Difference<'_>) -> Result<()>,
) -> Result<()> {
    let (in_old, in_new) = (old.entry()?, new.entry()?);
    let order = match (&in_old, &in_new) {
        (Some(old), Some(new)) => old.key.cmp(new.key),
        (Some(_), None) => Ordering::Less,
        (None, _) => Ordering::Greater,
    };
    let (shows_old, shows_new) = (order != Ordering::Greater, order != Ordering::Less);
    let in_old = in_old.filter(|_| shows_old);
    let in_new = in_new.filter(|_| shows_new);
    let key = in_old.or(in_new).map(|entry| entry.key).unwrap_or_default();
    let difference = Difference { key, old: in_old.map(|e| e.value), new: in_new.map(|e| e.value) };
    if difference.old != difference.new {
        visit(&difference)?;
    }
    if shows_old {
        old.advance()?;
    }
    if shows_new {
        new.advance()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::super::TreeKind;
    use super::super::writer::{NodeWriter, Pointers};
    use super::*;
    use crate::format::node::NodeKind;
    use crate::{Db, Document, Error, SaveOptions};
    use std::collections::BTreeMap;

    /// Saves the documents of `range` with this body.
    fn save(db: &Db, range: impl Iterator<Item = u32>, body: &str) {
        let ids: Vec<String> = range.map(|i| format!("key-{i:06}")).collect();
        let documents: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), body.as_bytes())).collect();
        db.save(&documents, SaveOptions::default()).unwrap();
    }

    fn entries(db: &Db, root: Option<&NodeRef>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut cursor = Cursor::new(db.file(), root, &[], Reading::Verifying);
        let mut all = BTreeMap::new();
        while let Some((entry, _)) = cursor.next_entry().unwrap() {
            all.insert(entry.key.to_vec(), entry.value.to_vec());
        }
        all
    }

    /// The library does not do this; if it ever does, it is told so.
    #[test]
    fn a_cursor_that_came_to_nothing_has_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::create(dir.path().join("a.couch")).unwrap();
        let mut cursor = Cursor::new(db.file(), None, &[], Reading::Verifying);
        assert!(cursor.next_entry().unwrap().is_none());
        assert!(matches!(cursor.entry().map(|_| ()), Err(Error::Internal(_))));
        assert!(matches!(cursor.child().map(|_| ()), Err(Error::Internal(_))));
    }

    /// The differences that `diff` shows must be those between the two sets of entries.
    fn check(db: &Db, old: Option<&NodeRef>, new: Option<&NodeRef>) -> u64 {
        let (before, after) = (entries(db, old), entries(db, new));
        let mut expected: Vec<Vec<u8>> = before.keys().chain(after.keys()).cloned().collect();
        expected.sort();
        expected.dedup();
        expected.retain(|key| before.get(key) != after.get(key));
        let reads = db.file_stats().unwrap().read_bytes;
        let mut shown = Vec::new();
        diff(db.file(), old, new, &mut |difference| {
            assert_eq!(difference.old, before.get(difference.key).map(Vec::as_slice));
            assert_eq!(difference.new, after.get(difference.key).map(Vec::as_slice));
            shown.push(difference.key.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(shown, expected);
        db.file_stats().unwrap().read_bytes - reads
    }

    #[test]
    fn differences_of_growing_and_changing_trees() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::create(dir.path().join("a.couch")).unwrap();
        let mut roots = vec![db.by_id_root()];
        for (step, range) in [(1, 0..10), (7, 0..3000), (97, 500..9000), (3, 100..130), (1, 20_000..20_400)] {
            save(&db, range.step_by(step), &format!("body {step}"));
            roots.push(db.by_id_root());
        }
        for old in &roots {
            for new in &roots {
                check(&db, old.as_ref(), new.as_ref());
            }
        }
    }

    #[test]
    fn keys_may_be_the_same_but_not_smaller() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::create(dir.path().join("a.couch")).unwrap();
        let leaf = |keys: &[&str]| {
            let mut written = Pointers::default();
            let sizes = db.options().nodes();
            let mut writer =
                NodeWriter::new(db.file(), TreeKind::Local, NodeKind::Leaf, sizes, <_>::default());
            for key in keys {
                writer.push(key.as_bytes(), b"").unwrap();
            }
            writer.write_rest(&mut written).unwrap();
            written.only().unwrap()
        };
        let shown = |root: &NodeRef| {
            let mut keys = Vec::new();
            let visit = &mut |difference: &Difference<'_>| {
                keys.push(String::from_utf8_lossy(difference.key).into_owned());
                Ok(())
            };
            diff(db.file(), None, Some(root), visit).map(|()| keys)
        };
        assert_eq!(shown(&leaf(&["a", "b", "b", "c"])).unwrap(), ["a", "b", "b", "c"]);
        let disordered = leaf(&["a", "c", "b"]);
        let error = shown(&disordered).unwrap_err();
        assert!(error.to_string().contains(&format!(" {}", disordered.position)), "{error}");
    }

    #[test]
    fn shared_nodes_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let db =
            crate::OpenOptions::new().create(true).unbuffered(true).open(dir.path().join("a.couch")).unwrap();
        save(&db, 0..20_000, "body");
        let old = db.by_id_root();
        save(&db, 777..779, "other");
        let read = check(&db, old.as_ref(), db.by_id_root().as_ref());
        assert!(read < 40_000, "{read} bytes read for two changes");
        assert_eq!(check(&db, old.as_ref(), old.as_ref()), 0);
    }
}
