// SPDX-License-Identifier: Apache-2.0

//! Syncs that are left out on purpose: whether these are noticed shows what the whole is worth.

use crate::common::naming::{Faulty, Lacks};
use crate::filesystem::FileSystem;
use crate::workloads::Workload;
use clap::ValueEnum;
use couchstore::io::naming::{FileId, Naming, PosixNaming};
use couchstore::io::posix::PosixOps;
use couchstore::io::sim::random::Random;
use couchstore::io::stale::FileStatus;
use couchstore::io::{FileHandle, FileOps, FileTag, IoError, OpenMode};
use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

/// Which syncs are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    #[default]
    None,
    /// Those of files.
    FileSyncs,
    /// The first of each two of a file.
    FirstSyncs,
    /// The second of each two of a file.
    SecondSyncs,
    /// Those of folders.
    FolderSyncs,
}

/// What somebody else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Neighbour {
    Rests,
    /// Writes and syncs a file of its own.
    SyncsFile,
    /// Writes, and syncs the file system.
    SyncsEverything,
}

/// What is left out in which workload: each of these has to be noticed. File systems put what is appended into order by
/// themselves, so that the first sync of a commit is missed only where they are told not to.
pub(crate) fn sabotages(system: FileSystem) -> &'static [(Sabotage, Workload)] {
    match system {
        FileSystem::Ext4Unordered => &[(Sabotage::FirstSyncs, Workload::Commit)],
        _ => &[
            (Sabotage::FileSyncs, Workload::Commit),
            (Sabotage::FileSyncs, Workload::Create),
            (Sabotage::SecondSyncs, Workload::Commit),
            (Sabotage::FolderSyncs, Workload::Create),
            (Sabotage::FolderSyncs, Workload::Compact),
            (Sabotage::FolderSyncs, Workload::Online),
        ],
    }
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Sabotage::None => "nothing",
            Sabotage::FileSyncs => "syncs of files",
            Sabotage::FirstSyncs => "first syncs of commits",
            Sabotage::SecondSyncs => "second syncs of commits",
            Sabotage::FolderSyncs => "syncs of folders",
        })
    }
}

impl Sabotage {
    /// File operations that pass for the library's own.
    pub(crate) fn file_ops(self) -> Arc<dyn FileOps> {
        match self {
            Sabotage::None | Sabotage::FolderSyncs => Arc::new(PosixOps),
            which => Arc::new(Swallowing(which)),
        }
    }

    /// What somebody else does with the file system meanwhile. Whoever syncs everything also syncs what was left out; but
    /// that a first sync is missing shows only if others make the size of the file durable in its place.
    pub(crate) fn neighbour(self, random: &mut Random) -> Neighbour {
        match (self, random.below(4)) {
            (Sabotage::FirstSyncs, _) | (Sabotage::None, 0) => Neighbour::SyncsFile,
            (Sabotage::None, 1) => Neighbour::SyncsEverything,
            _ => Neighbour::Rests,
        }
    }

    pub(crate) fn naming(self) -> Arc<dyn Naming> {
        match self {
            // It says that folders cannot be synced, and does not sync the whole file system either.
            Sabotage::FolderSyncs => Faulty::new(Lacks { syncs: true, ..Lacks::default() }, None),
            _ => Arc::new(PosixNaming),
        }
    }
}

/// As long as the neighbour rests at most.
const HELD_UP: Duration = Duration::from_millis(6);

/// The library's operations without some of the syncs.
struct Swallowing(Sabotage);

struct SwallowingFile {
    file: Box<dyn FileHandle>,
    which: Sabotage,
    syncs: u64,
}

impl Swallowing {
    fn wrap(&self, file: Box<dyn FileHandle>) -> Box<dyn FileHandle> {
        Box::new(SwallowingFile { file, which: self.0, syncs: 0 })
    }
}

impl FileOps for Swallowing {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        Ok(self.wrap(PosixOps.open(name, mode)?))
    }
    fn is_default(&self) -> bool {
        true
    }
    fn take_over(&self, file: File) -> Box<dyn FileHandle> {
        self.wrap(PosixOps.take_over(file))
    }
}

impl FileHandle for SwallowingFile {
    fn sync(&mut self) -> Result<(), IoError> {
        self.syncs += 1;
        let first = self.syncs % 2 == 1;
        let swallowed = match self.which {
            Sabotage::FirstSyncs => first,
            Sabotage::SecondSyncs => !first,
            _ => true,
        };
        if !swallowed {
            return self.file.sync();
        }
        // Any process may be held up anywhere. Then others get to do something meanwhile.
        std::thread::sleep(HELD_UP);
        Ok(())
    }
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        self.file.pread(buf, offset)
    }
    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        self.file.pwrite(buf, offset)
    }
    fn size(&mut self) -> Result<u64, IoError> {
        self.file.size()
    }
    fn close(&mut self) -> Result<(), IoError> {
        self.file.close()
    }
    fn tag(&mut self, tag: FileTag) {
        self.file.tag(tag);
    }
    fn identity(&self) -> Option<FileId> {
        self.file.identity()
    }
    fn os_file(&self) -> Option<&File> {
        self.file.os_file()
    }
    fn status(&self) -> Option<Result<FileStatus, IoError>> {
        self.file.status()
    }
}
