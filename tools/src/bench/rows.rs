//! The rows of the table.

use super::meter::Measured;
use super::online::Way;
use super::reading::Order;
use super::workspace::Workspace;
use super::{compacting, online, reading, writing};
use crate::program::Failure;
use clap::ValueEnum;

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Row {
    /// Save all documents into a new file in batches, a commit after each
    Load,
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
    /// Open the file and close it
    Open,
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

    /// Measures it.
    pub(super) fn run(self, workspace: &mut Workspace) -> Result<Measured, Failure> {
        let body_size = self.body_size(workspace);
        match self {
            Row::Load => writing::load(workspace, false),
            Row::Update => writing::update(workspace),
            Row::Commit => writing::commit(workspace),
            Row::Get => reading::get(workspace),
            Row::Multiget => reading::multiget(workspace),
            Row::ScanSeq => reading::scan_all(workspace, Order::BySeq, false, false),
            Row::ScanId => reading::scan_all(workspace, Order::ById, false, false),
            Row::ScanSeqBodies => reading::scan_all(workspace, Order::BySeq, true, false),
            Row::ScanIdBodies => reading::scan_all(workspace, Order::ById, true, false),
            Row::Open => reading::open(workspace),
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
