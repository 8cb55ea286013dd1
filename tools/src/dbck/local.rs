// SPDX-License-Identifier: Apache-2.0

//! Local documents. They can be removed without a trace: one that is not there is lost only if its place in the tree
//! cannot be read.

use super::log::Log;
use super::ranges::Ranges;
use super::shelter::Shelter;
use couchstore::inspect::{ChildInfo, FileHeader, Item, Node, NodeVisitor, Tree, Visit, walk_nodes};
use couchstore::{Db, Error, ErrorCode, LocalUpdate, Result};

/// Documents saved at once, by number and by bytes.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 8 << 20;

/// Brings those local documents of a header into the shelter that lie in `wanted`, and leaves there where some may
/// still be missing. Returns how many there were.
pub(super) fn rescue_local(
    source: &Db,
    shelter: &Shelter,
    header: &FileHeader,
    wanted: &mut Ranges,
    log: &mut Log<'_>,
) -> Result<u64> {
    if wanted.is_empty() {
        return Ok(0);
    }
    let mut rescue = RescueLocal {
        shelter,
        wanted,
        log,
        last_key: None,
        damaged: Ranges::default(),
        batch: Vec::new(),
        bytes: 0,
        count: 0,
    };
    walk_nodes(source, Tree::Local, header.root(Tree::Local), &mut rescue)?;
    rescue.flush()?;
    let RescueLocal { damaged, count, .. } = rescue;
    *wanted = wanted.and(&damaged);
    Ok(count)
}

struct RescueLocal<'a, 'l> {
    shelter: &'a Shelter,
    wanted: &'a Ranges,
    log: &'a mut Log<'l>,
    /// The last key that was seen, of an entry or of a pointer to something that was not read.
    last_key: Option<Vec<u8>>,
    damaged: Ranges,
    batch: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
    count: u64,
}

impl RescueLocal<'_, '_> {
    fn flush(&mut self) -> Result<()> {
        self.log.proceed()?;
        let batch = std::mem::take(&mut self.batch);
        let updates: Vec<_> = batch.iter().map(|(id, body)| LocalUpdate { id, body: Some(body) }).collect();
        self.bytes = 0;
        self.count += updates.len() as u64;
        self.shelter.db().save_local(&updates)
    }

    /// What lies behind the last key, up to `upper`, cannot be read.
    fn miss(&mut self, upper: Option<&[u8]>) {
        self.damaged.push(self.last_key.as_deref(), upper);
        if let Some(upper) = upper {
            self.last_key = Some(upper.to_vec());
        }
    }
}

impl NodeVisitor for RescueLocal<'_, '_> {
    fn child(&mut self, child: &ChildInfo<'_>) -> Result<Visit> {
        self.log.proceed()?;
        if self.wanted.meets(self.last_key.as_deref(), child.highest_key) {
            return Ok(Visit::Enter);
        }
        self.last_key = child.highest_key.map(<[u8]>::to_vec);
        Ok(Visit::Skip)
    }

    fn node(&mut self, node: &Node<'_>) -> Result<()> {
        for (key, item) in node.items().flatten() {
            let Item::Local { id, body } = item else { continue };
            self.last_key = Some(key.to_vec());
            if self.wanted.contains(id) {
                self.bytes += id.len() + body.len();
                self.batch.push((id.to_vec(), body.to_vec()));
            }
            if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn leave(&mut self, node: &Node<'_>) -> Result<()> {
        if let Some(rule) = node.items().find_map(std::result::Result::err) {
            self.miss(node.info.highest_key);
            self.log.node(
                Tree::Local,
                node.info.position,
                ErrorCode::CORRUPT,
                format!("malformed entry: expected {rule}"),
            )?;
        }
        Ok(())
    }

    fn damaged(&mut self, child: &ChildInfo<'_>, error: Error) -> Result<()> {
        self.miss(child.highest_key);
        self.log.node(Tree::Local, child.position, error.code(), error.to_string())
    }
}
