// SPDX-License-Identifier: Apache-2.0

//! The rows of the table.

use super::floors::{Bodies, Nodes, Work};
use super::meter::Measured;
use super::online::Way;
use super::reading::Order;
use super::workspace::Workspace;
use super::{compacting, host, online, reading, writing};
use crate::program::Failure;
use clap::ValueEnum;

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Row {
    /// Open the file and close it
    Open,
    /// Open the file, read one local document, close it
    Vbstate,
    /// Open the file, look up one random id and read the body, close it
    #[value(name = "fetch-1")]
    Fetch1,
    /// The same with 200 ids in one call
    #[value(name = "fetch-200")]
    Fetch200,
    /// Open the file, scan all entries by id, close it
    Keys,
    /// Open the file, scan all entries by sequence number, close it
    Changes,
    /// The same with all bodies
    Backfill,
    /// Open the file, compact it with a filter that keeps everything, close it
    CompactHook,
    /// Open the file, save one document with a callback and a local one, commit, close it
    #[value(name = "flush-1")]
    Flush1,
    /// The same with 100 documents
    #[value(name = "flush-100")]
    Flush100,
    /// The same with 1000 documents
    #[value(name = "flush-1000")]
    Flush1000,
    /// Save all documents into a new file in batches, a commit after each
    Load,
    /// As load, in the order of ids
    LoadOrdered,
    /// Save half of the documents again, in no order, in batches
    Update,
    /// Save one document for each commit
    Commit,
    /// Entry and body of random documents, one at a time
    Get,
    /// Entries of 1000 random documents in each call
    Multiget,
    /// All entries by sequence number
    ScanSeq,
    /// All entries by id
    ScanId,
    /// All entries and bodies by sequence number
    ScanSeqBodies,
    /// All entries and bodies by id
    ScanIdBodies,
    /// Compact documents of 128 bytes
    #[value(name = "compact-128")]
    Compact128,
    /// Compact documents of 256 bytes
    #[value(name = "compact-256")]
    Compact256,
    /// Compact documents of 1 KiB
    #[value(name = "compact-1k")]
    Compact1k,
    /// Compact documents of 16 KiB
    #[value(name = "compact-16k")]
    Compact16k,
    /// As load, into an encrypted file
    LoadEncrypted,
    /// As scan-seq-bodies, of an encrypted file
    ScanEncrypted,
    /// Commits while the file is compacted online
    SavesCompacting,
    /// The same while a host copies and replays by itself
    SavesReplaying,
}

impl Row {
    /// All that this build can measure.
    pub(super) fn all() -> Vec<Row> {
        let is_offered = |row: &Row| couchstore::ENCRYPTION || !row.is_encrypted();
        Row::value_variants().iter().copied().filter(is_offered).collect()
    }

    fn is_encrypted(self) -> bool {
        matches!(self, Row::LoadEncrypted | Row::ScanEncrypted)
    }

    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Size of its bodies.
    pub(super) fn body_size(self, workspace: &Workspace) -> usize {
        match self {
            Row::Compact128 => 128,
            Row::Compact256 => 256,
            Row::Compact1k => 1024,
            Row::Compact16k => 16 * 1024,
            _ => workspace.settings.body_size,
        }
    }

    /// What its floor is made of. None: not for encrypted rows, nor where two threads work at once.
    pub(super) fn work(self) -> Option<Work> {
        let (nodes, bodies) = match self {
            Row::Open | Row::Vbstate | Row::Multiget => (Nodes::Seen, Bodies::Untouched),
            Row::Keys | Row::ScanId => (Nodes::ById, Bodies::Untouched),
            Row::Changes | Row::ScanSeq => (Nodes::BySeq, Bodies::Untouched),
            Row::Fetch1 | Row::Fetch200 | Row::Get => (Nodes::Seen, Bodies::Read),
            Row::ScanIdBodies => (Nodes::ById, Bodies::Read),
            Row::Backfill | Row::ScanSeqBodies => (Nodes::BySeq, Bodies::Read),
            Row::CompactHook | Row::Compact128 | Row::Compact256 | Row::Compact1k | Row::Compact16k => {
                (Nodes::BySeq, Bodies::Moved)
            }
            Row::Flush1
            | Row::Flush100
            | Row::Flush1000
            | Row::Load
            | Row::LoadOrdered
            | Row::Update
            | Row::Commit => (Nodes::Seen, Bodies::Written),
            Row::LoadEncrypted | Row::ScanEncrypted | Row::SavesCompacting | Row::SavesReplaying => {
                return None;
            }
        };
        // Only what is written has to be brought into the order of ids.
        let sorts = matches!(bodies, Bodies::Written | Bodies::Moved);
        Some(Work { nodes, bodies, sorts })
    }

    /// Measures it.
    pub(super) fn run(self, workspace: &mut Workspace) -> Result<Measured, Failure> {
        let body_size = self.body_size(workspace);
        match self {
            Row::Open => reading::open(workspace),
            Row::Vbstate => host::vbstate(workspace),
            Row::Fetch1 => host::fetch(workspace, 1),
            Row::Fetch200 => host::fetch(workspace, 200),
            Row::Keys => host::scan(workspace, Order::ById, false),
            Row::Changes => host::scan(workspace, Order::BySeq, false),
            Row::Backfill => host::scan(workspace, Order::BySeq, true),
            Row::CompactHook => host::compact(workspace),
            Row::Flush1 => host::flush(workspace, 1),
            Row::Flush100 => host::flush(workspace, 100),
            Row::Flush1000 => host::flush(workspace, 1000),
            Row::Load => writing::load(workspace, false),
            Row::LoadOrdered => writing::load_ordered(workspace),
            Row::Update => writing::update(workspace),
            Row::Commit => writing::commit(workspace),
            Row::Get => reading::get(workspace),
            Row::Multiget => reading::multiget(workspace),
            Row::ScanSeq => reading::scan_all(workspace, Order::BySeq, false, false),
            Row::ScanId => reading::scan_all(workspace, Order::ById, false, false),
            Row::ScanSeqBodies => reading::scan_all(workspace, Order::BySeq, true, false),
            Row::ScanIdBodies => reading::scan_all(workspace, Order::ById, true, false),
            Row::Compact128 | Row::Compact256 | Row::Compact1k | Row::Compact16k => {
                compacting::compact(workspace, body_size)
            }
            Row::LoadEncrypted => writing::load(workspace, true),
            Row::ScanEncrypted => reading::scan_all(workspace, Order::BySeq, true, true),
            Row::SavesCompacting => online::saves(workspace, Way::OneCall),
            Row::SavesReplaying => online::saves(workspace, Way::Host),
        }
    }
}
