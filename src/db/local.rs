// SPDX-License-Identifier: Apache-2.0

//! Local documents: a small tree of its own, without sequence numbers.

use super::Db;
use super::get::found;
use crate::error::{Error, Result};
use crate::format::ints::{MAX_KEY, MAX_VALUE};
use crate::memory;
use crate::tree::TreeKind;
use crate::tree::cache::file::Reading;
use crate::tree::modify::{Action, Edit, modify};
use crate::tree::read::{Cursor, Found, lookup};

/// A change of a local document.
#[derive(Clone, Copy, Debug)]
pub struct LocalUpdate<'a> {
    /// Id, at most 4095 bytes; by custom it begins with `_local/`.
    pub id: &'a [u8],
    /// The new body; `None` removes the document.
    pub body: Option<&'a [u8]>,
}

impl<'a> LocalUpdate<'a> {
    fn action(&self) -> Action<'a> {
        Action { key: self.id, edit: self.body.map_or(Edit::Remove, Edit::Insert) }
    }
}

/// Shown one local document at a time: id and body. An error ends the scan, which returns it.
pub type OnLocal<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

impl Db {
    /// The body of a local document; `None`: there is none.
    pub fn local(&self, id: &[u8]) -> Result<Option<Vec<u8>>> {
        self.check_open()?;
        found(lookup(&self.file, self.begin_of(TreeKind::Local), id).and_then(Found::into_vec))
    }

    /// Shows the body of a local document to `visit`.
    pub(crate) fn with_local<T>(&self, id: &[u8], visit: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        self.check_open()?;
        visit(&lookup(&self.file, self.begin_of(TreeKind::Local), id)?)
    }

    /// Saves or removes local documents in one update of their tree. Removing what is not there is fine. If an id
    /// comes more than once, its last change counts. On failure nothing changes.
    pub fn save_local(&self, updates: &[LocalUpdate<'_>]) -> Result<()> {
        self.check_open()?;
        if updates.is_empty() {
            return Ok(());
        }
        let _writing = self.begin_write()?;
        for (index, update) in updates.iter().enumerate() {
            let (id, body) = (update.id.len(), update.body.map_or(0, <[u8]>::len));
            let reason = if id > MAX_KEY {
                format!("expected an id of at most {MAX_KEY} bytes, got {id}")
            } else if body > MAX_VALUE {
                format!("expected a body of at most {MAX_VALUE} bytes, got {body}")
            } else {
                continue;
            };
            return Err(Error::Refused { index, reason: reason.into() });
        }
        let mut order = memory::collect(0..updates.len())?;
        // Of equal ids the later comes first, and is the one that stays.
        order.sort_unstable_by(|&a, &b| updates[a].id.cmp(updates[b].id).then(b.cmp(&a)));
        order.dedup_by_key(|index| updates[*index].id);
        let actions = memory::collect(order.iter().map(|&index| updates[index].action()))?;
        let root = self.local_root();
        let nodes = self.options().nodes();
        let modified =
            || modify(&self.file, TreeKind::Local, nodes, root.as_ref(), &actions, &mut |_, _| Ok(()));
        self.rehearse_if_long(|| modified().map(drop))?;
        let root = self.note(modified())?;
        self.update_state(|state| state.header.local = root);
        Ok(())
    }

    /// Shows every local document from the id `from` on.
    pub fn scan_local(&self, from: &[u8], visit: OnLocal<'_>) -> Result<()> {
        self.check_open()?;
        let root = self.local_root();
        let mut cursor = Cursor::of_all(&self.file, root.as_ref(), from, None, Reading::Scanning);
        let footing = cursor.footing();
        while let Some((entry, position)) = cursor.next_entry()? {
            visit(entry.key, entry.value)?;
            footing.check(position)?;
        }
        Ok(())
    }
}
