// SPDX-License-Identifier: Apache-2.0

//! The figures as text, as the original's tool prints them: scripts look for these names.

use super::figures::Figures;
use super::trees::{TreeFigures, Trees};
use crate::output::Output;
use crate::program::Failure;
use crate::text::{percent, printable, size};
use std::io::Write as _;

/// What the headers of a file have in common. `is_first`: no other file was shown before it.
pub(super) fn file(out: &mut Output, figures: &Figures, is_first: bool) -> Result<(), Failure> {
    if !is_first {
        writeln!(out)?;
    }
    let name = printable(figures.file.as_bytes());
    writeln!(out, "DB Info ({name}) - total disk size: {}", size(figures.file_size))?;
    writeln!(out, "   crc: {}", figures.crc)?;
    let key = figures.encryption_key_id.as_deref().map(|id| printable(id.as_bytes()));
    Ok(writeln!(out, "   Encryption key: {}", key.as_deref().unwrap_or("unencrypted"))?)
}

/// Prints one header.
pub(super) fn header(out: &mut Output, figures: &Figures) -> Result<(), Failure> {
    writeln!(out, "\nHeader at file offset {}", figures.header_position)?;
    writeln!(out, "   file format version: {}", figures.version)?;
    writeln!(out, "   update_seq: {}", figures.update_seq)?;
    writeln!(out, "   purge_seq: {}", figures.purge_seq)?;
    writeln!(out, "   timestamp: {}", figures.shown_time)?;
    writeln!(out, "   doc count: {}", figures.doc_count)?;
    writeln!(out, "   deleted doc count: {}", figures.deleted_count)?;
    writeln!(out, "   data size: {}", size(figures.space_used))?;
    writeln!(out, "   B-tree size:       {}", size(figures.btree_size))?;
    writeln!(out, "   └── by-id tree:    {}", size(figures.by_id_size))?;
    writeln!(out, "   └── by-seqno tree: {}", size(figures.by_seq_size))?;
    Ok(writeln!(out, "   └── local size:    {}", size(figures.local_size))?)
}

/// What the original does not tell.
pub(super) fn trees(out: &mut Output, figures: &Figures) -> Result<(), Failure> {
    let Some(Trees { by_id, by_seq, local }) = &figures.trees else { return Ok(()) };
    writeln!(out, "   bodies: {}", size(figures.data_size))?;
    writeln!(out, "   fragmentation: {:.1} %", figures.fragmentation)?;
    tree(out, "by-id", by_id)?;
    tree(out, "by-seqno", by_seq)?;
    tree(out, "local", local)
}

fn tree(out: &mut Output, name: &str, tree: &TreeFigures) -> Result<(), Failure> {
    writeln!(out, "   {name} nodes:")?;
    writeln!(out, "      depth: {}", tree.depth)?;
    for (kind, nodes) in [("interior", &tree.interior), ("leaf", &tree.leaf)] {
        writeln!(
            out,
            "      {kind}: {} nodes, {} entries, fill {:.1} %, compressed to {}",
            nodes.count,
            nodes.entries,
            nodes.fill,
            percent(nodes.stored_bytes, nodes.bytes)
        )?;
    }
    Ok(())
}
