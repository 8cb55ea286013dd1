//! The figures as text. Scripts look for these names.

use super::figures::Figures;
use super::trees::{TreeFigures, Trees};
use crate::output::Output;
use crate::program::Failure;
use crate::text::{percent, printable, size};
use std::io::Write as _;

/// The line between two headers.
pub(super) fn gap(out: &mut Output) -> Result<(), Failure> {
    Ok(writeln!(out)?)
}

/// Prints one header.
pub(super) fn figures(out: &mut Output, figures: &Figures) -> Result<(), Failure> {
    writeln!(
        out,
        "DB Info ({}) - header at {}",
        printable(figures.file.as_bytes()),
        figures.header_position
    )?;
    writeln!(out, "   file format version: {}", figures.version)?;
    writeln!(out, "   update_seq: {}", figures.update_seq)?;
    writeln!(out, "   purge_seq: {}", figures.purge_seq)?;
    match (&figures.timestamp, &figures.time) {
        (Some(raw), Some(time)) => writeln!(out, "   timestamp: {time} ({raw})")?,
        (Some(raw), None) => writeln!(out, "   timestamp: {raw}")?,
        (None, _) => {}
    }
    writeln!(out, "   crc: {}", figures.crc)?;
    if let Some(id) = &figures.encryption_key_id {
        writeln!(out, "   encryption key: {}", printable(id.as_bytes()))?;
    }
    writeln!(out, "   doc count: {}", figures.doc_count)?;
    writeln!(out, "   deleted doc count: {}", figures.deleted_count)?;
    writeln!(out, "   data size: {}", size(figures.data_size))?;
    writeln!(out, "   B-tree size:       {}", size(figures.btree_size))?;
    writeln!(out, "   ├── by-id tree:    {}", size(figures.by_id_size))?;
    writeln!(out, "   ├── by-seq tree:   {}", size(figures.by_seq_size))?;
    writeln!(out, "   └── local tree:    {}", size(figures.local_size))?;
    writeln!(out, "   total disk size: {}", size(figures.file_size))?;
    writeln!(out, "   fragmentation: {:.1} %", figures.fragmentation)?;
    if let Some(Trees { by_id, by_seq, local }) = &figures.trees {
        tree(out, "by-id", by_id)?;
        tree(out, "by-seq", by_seq)?;
        tree(out, "local", local)?;
    }
    Ok(())
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
