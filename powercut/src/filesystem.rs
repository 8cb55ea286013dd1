// SPDX-License-Identifier: Apache-2.0

//! The file systems: making, mounting, and what they rely on of a disk.

use clap::ValueEnum;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileSystem {
    /// Journal of metadata, data first.
    Ext4,
    /// The same with options that give up all order between data and metadata.
    Ext4Unordered,
    /// Log of metadata.
    Xfs,
    /// Copy on write.
    Btrfs,
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FileSystem::Ext4Unordered => "ext4-unordered",
            system => system.kernel_name(),
        })
    }
}

/// Superblocks of btrfs, by their offsets.
const BTRFS_SUPERBLOCKS: [u64; 2] = [64 << 10, 64 << 20];
/// How blocks of ext4's journal begin, and the types of those that are its superblock; big-endian.
const JOURNAL_MAGIC: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];
const JOURNAL_SUPERBLOCKS: [[u8; 4]; 2] = [[0, 0, 0, 3], [0, 0, 0, 4]];

impl FileSystem {
    /// As the kernel calls it.
    fn kernel_name(self) -> &'static str {
        match self {
            FileSystem::Ext4 | FileSystem::Ext4Unordered => "ext4",
            FileSystem::Xfs => "xfs",
            FileSystem::Btrfs => "btrfs",
        }
    }

    /// Size of its disks in bytes: about as small as can be.
    pub(crate) fn disk_size(self) -> u64 {
        match self {
            FileSystem::Ext4 | FileSystem::Ext4Unordered => 64 << 20,
            FileSystem::Xfs => 320 << 20,
            FileSystem::Btrfs => 128 << 20,
        }
    }

    /// Makes the file system on a disk of zeros.
    pub(crate) fn make(self, disk: &Path) -> Result<(), String> {
        let options: &[&str] = match self {
            FileSystem::Ext4 | FileSystem::Ext4Unordered => {
                &["-q", "-F", "-b", "4096", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]
            }
            FileSystem::Xfs | FileSystem::Btrfs => &["-q", "-f", "-K"],
        };
        run(Command::new(format!("mkfs.{}", self.kernel_name())).args(options).arg(disk))
    }

    fn mount_options(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "loop",
            FileSystem::Ext4Unordered => "loop,data=writeback,nodelalloc",
            // Several images of one file system are mounted at a time.
            FileSystem::Xfs => "loop,nouuid",
            FileSystem::Btrfs => "loop,nodiscard",
        }
    }

    /// Whether a file system takes it for granted that this write is not torn: that of a superblock. One that is neither
    /// the old nor the new one has a wrong checksum, and there is nothing to mount.
    pub(crate) fn keeps_whole(self, offset: u64, bytes: &[u8]) -> bool {
        match self {
            FileSystem::Ext4 | FileSystem::Ext4Unordered => {
                let journal = bytes.get(..4) == Some(&JOURNAL_MAGIC)
                    && JOURNAL_SUPERBLOCKS.iter().any(|kind| bytes.get(4..8) == Some(kind));
                offset < 4096 || journal
            }
            // It is as large as a sector.
            FileSystem::Xfs => false,
            FileSystem::Btrfs => BTRFS_SUPERBLOCKS.contains(&offset),
        }
    }
}

/// Runs a program. What it says is the error if it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said =
        [output.stderr, output.stdout].map(|said| String::from_utf8_lossy(&said).trim().replace('\n', "; "));
    Err(format!("{name}: {} {}", said.join(" ").trim(), output.status))
}

/// A mounted disk, through a loop device of its own that goes with it. Dropping it unmounts it.
pub(crate) struct Mounted {
    pub(crate) folder: PathBuf,
}

impl Mounted {
    pub(crate) fn new(system: FileSystem, disk: &Path, folder: &Path) -> Result<Mounted, String> {
        let options = system.mount_options();
        run(Command::new("mount").args(["-t", system.kernel_name(), "-o", options]).args([disk, folder]))?;
        Ok(Mounted { folder: folder.to_owned() })
    }

    /// Unmounts it, and says whether that has worked.
    pub(crate) fn unmount(mut self) -> Result<(), String> {
        run(Command::new("umount").arg(&self.folder))?;
        self.folder = PathBuf::new();
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.folder.as_os_str().is_empty() {
            return;
        }
        let _ = nix::mount::umount2(&self.folder, nix::mount::MntFlags::MNT_DETACH);
    }
}
