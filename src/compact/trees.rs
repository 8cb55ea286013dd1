// SPDX-License-Identifier: Apache-2.0

//! The trees of a copy, built from the documents that are kept.
//!
//! The by-sequence tree grows while documents come, each leaf behind the bodies of its documents. The entries of the
//! by-id tree are sorted meanwhile, and that tree is built at the end.

use super::merge::Sorted;
use super::progress::Steps;
use super::sort::{SortPlace, Sorter};
use crate::error::Result;
use crate::format::Malformed;
use crate::format::docinfo::DocInfoRef;
use crate::format::header::NodeRef;
use crate::io::file::Body;
use crate::tree::build::TreeBuilder;
use crate::tree::cache::file::TreeFile;
use crate::tree::{NodeSizes, TreeKind};
use std::cmp::Ordering;

/// How the trees of a copy are built.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) nodes: NodeSizes,
    pub(super) place: SortPlace<'a>,
    /// Checksums of bodies are the same in source and target.
    pub(super) same_checksum: bool,
}

/// The roots of the trees.
pub(super) struct Roots {
    pub(super) by_seq: Option<NodeRef>,
    pub(super) by_id: Option<NodeRef>,
}

/// Takes the documents that are kept, in the order of the by-sequence tree.
pub(super) trait Sink {
    /// Whether an entry with this key may come next, and how that of the last one compares to it.
    fn accepts(&self, key: &[u8]) -> Result<Ordering, Malformed>;

    /// Takes the body of the next document as it is stored, with its checksum in the source, and returns its position.
    fn put_body(&mut self, stored: &[u8], crc: Option<u32>) -> Result<u64>;

    /// As [`Sink::put_body`], for one that has memory of its own.
    fn put_own(&mut self, body: Body) -> Result<u64>;

    /// Takes the entry of a document, with its body's position as it was returned. `before`: its value, if that differs
    /// in the position alone.
    fn add(
        &mut self,
        order: Ordering,
        key: &[u8],
        before: Option<&[u8]>,
        info: &DocInfoRef<'_>,
    ) -> Result<()>;

    /// Bytes of the target so far.
    fn end(&self) -> u64;
}

/// What the building comes to, once all documents are there.
pub(super) enum Step {
    /// The by-sequence tree is complete.
    AllThere,
    /// Sorting goes on, or the by-id tree has so many entries more that the host should be told.
    Further,
}

/// Told how the building goes on; an error ends it.
pub(super) type OnStep<'a> = &'a mut dyn FnMut(Step) -> Result<()>;

/// Trees that are being built in a file.
pub(super) struct Trees<'a> {
    file: &'a TreeFile,
    plan: Plan<'a>,
    by_seq: TreeBuilder<'a>,
    sorter: Sorter,
}

impl<'a> Trees<'a> {
    pub(super) fn new(file: &'a TreeFile, plan: Plan<'a>) -> Trees<'a> {
        let by_seq = TreeBuilder::new(file, TreeKind::BySeq, plan.nodes);
        Trees { file, plan, by_seq, sorter: Sorter::new(plan.place) }
    }

    /// Completes both trees.
    pub(super) fn finish(self, on_step: OnStep<'_>) -> Result<Roots> {
        let Trees { file, plan, by_seq, mut sorter } = self;
        let by_seq = by_seq.finish()?;
        on_step(Step::AllThere)?;
        let mut by_id = TreeBuilder::new(file, TreeKind::ById, plan.nodes);
        sorter.prepare(&mut || on_step(Step::Further))?;
        let mut steps = Steps::default();
        sorter.finish(&mut |Sorted { bytes, key_length }| {
            if steps.are_many(bytes.len() - key_length) {
                on_step(Step::Further)?;
            }
            by_id.add_joined(bytes, key_length)
        })?;
        Ok(Roots { by_seq, by_id: by_id.finish()? })
    }
}

impl Sink for Trees<'_> {
    #[inline]
    fn accepts(&self, key: &[u8]) -> Result<Ordering, Malformed> {
        self.by_seq.accepts(key)
    }

    #[inline]
    fn put_body(&mut self, stored: &[u8], crc: Option<u32>) -> Result<u64> {
        let crc = crc.filter(|_| self.plan.same_checksum);
        Ok(self.file.append_body(stored, crc)?.position)
    }

    fn put_own(&mut self, body: Body) -> Result<u64> {
        self.put_body(&body.bytes, body.crc)
    }

    #[inline]
    fn add(
        &mut self,
        order: Ordering,
        key: &[u8],
        before: Option<&[u8]>,
        info: &DocInfoRef<'_>,
    ) -> Result<()> {
        self.by_seq.add_accepted(order, key, info.by_seq_length(), |node| {
            node.extend_from_slice(key);
            match before {
                Some(before) => info.encode_moved(before, node),
                None => info.encode_by_seq(node),
            }
        })?;
        self.sorter.add_with(info.id, info.by_id_length(), |out| info.encode_by_id(out))
    }

    #[inline]
    fn end(&self) -> u64 {
        self.file.end()
    }
}
