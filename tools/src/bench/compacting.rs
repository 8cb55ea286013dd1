// SPDX-License-Identifier: Apache-2.0

//! Rows that compact.

use super::meter::{Measured, Stopwatch};
use super::workspace::{Workspace, file_size, remove};
use crate::interrupt::Interrupt;
use crate::program::Failure;
use couchstore::{CompactHooks, CompactOptions, Error, ErrorCode, compact_with};

/// Ends a compaction when the user wants to.
#[derive(Debug)]
pub(super) struct Stoppable<'a>(pub(super) &'a Interrupt);

impl Stoppable<'_> {
    pub(super) fn check(&self) -> couchstore::Result<()> {
        self.0.check().map_err(|_| Error::Callback(ErrorCode::CANCEL))
    }
}

impl CompactHooks for Stoppable<'_> {
    fn progress(&mut self, _done: u64, _total: u64, _bytes: u64) -> couchstore::Result<()> {
        self.check()
    }
}

/// Compacts a file half of whose documents have been updated.
pub(super) fn compact(workspace: &mut Workspace, body_size: usize) -> Result<Measured, Failure> {
    let base = workspace.base(body_size, false)?;
    let target = workspace.new_path();
    let source = workspace.options(false).read_only(true).open(&base.path)?;
    let options = CompactOptions::new().file_ops(workspace.ops.clone());
    let mut watch = Stopwatch::start(&workspace.ops);
    let compacted =
        watch.time(|| compact_with(&source, &target, &options, &mut Stoppable(&workspace.interrupt)));
    workspace.interrupt.check()?;
    compacted?;
    let documents = base.expected.documents();
    let measured = watch.stop(documents, documents * base.expected.corpus.bytes_of_one());
    let file_size = file_size(&target)?;
    base.expected.check(&workspace.options(false).read_only(true).open(&target)?, &workspace.interrupt)?;
    remove(&target)?;
    Ok(Measured { file_size, ..measured })
}
