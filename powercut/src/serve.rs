// SPDX-License-Identifier: Apache-2.0

//! Disks as files: a FUSE file system with a file `disk-N` for each of them, which a loop device can be put on, and one
//! `mark-N` that a program tells the disk something through.
//!
//! A loop device hands a flush on as a sync of its file, and makes flushes of writes that have to be durable at once (FUA):
//! so everything that a file system asks of a disk is seen here. One thread answers, so there is one order of events. A
//! write is answered before the next request is looked at. One that was answered while a flush was on its way here counts
//! as flushed, though a disk would be free not to; file systems wait for what they want flushed before they ask for it.

use crate::disk::Disk;
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nothing is kept by the kernel.
const TTL: Duration = Duration::ZERO;
/// In bytes: as much as a loop device writes at once.
const MAX_WRITE: u32 = 1 << 20;

/// The disks that are served.
#[derive(Debug, Default)]
struct Disks(Mutex<Numbered>);

#[derive(Debug, Default)]
struct Numbered {
    /// The number of the next one.
    next: u64,
    disks: HashMap<u64, Arc<Mutex<Disk>>>,
}

/// A panic in the middle of a change leaves maps and disks as whole as they were.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disks {
    fn get(&self, number: u64) -> Option<Arc<Mutex<Disk>>> {
        locked(&self.0).disks.get(&number).cloned()
    }
}

/// The file system. Dropping it unmounts it.
pub(crate) struct Served {
    disks: Arc<Disks>,
    folder: PathBuf,
    _session: BackgroundSession,
}

impl Served {
    /// Mounts it on a folder.
    pub(crate) fn mount(folder: &Path) -> io::Result<Served> {
        let disks = Arc::new(Disks::default());
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("powercut".into())];
        let session = fuser::spawn_mount(Files { disks: disks.clone() }, folder, &config)?;
        Ok(Served { disks, folder: folder.to_owned(), _session: session })
    }

    /// Serves a disk as long as the result lives.
    pub(crate) fn serve(&self, disk: Disk) -> ServedDisk {
        let mut numbered = locked(&self.disks.0);
        let number = numbered.next;
        numbered.next += 1;
        numbered.disks.insert(number, Arc::new(Mutex::new(disk)));
        let [path, mark] = ["disk", "mark"].map(|kind| self.folder.join(format!("{kind}-{number}")));
        ServedDisk { disks: self.disks.clone(), number, path, mark }
    }
}

/// A disk that is served.
pub(crate) struct ServedDisk {
    disks: Arc<Disks>,
    number: u64,
    /// The file for the loop device.
    pub(crate) path: PathBuf,
    /// The file to tell it something through.
    pub(crate) mark: PathBuf,
}

impl ServedDisk {
    /// Does something with the disk while nobody else does.
    pub(crate) fn with<T>(&self, action: impl FnOnce(&mut Disk) -> T) -> T {
        let disk = self.disks.get(self.number).expect("a disk that is served");
        action(&mut locked(&disk))
    }
}

impl Drop for ServedDisk {
    fn drop(&mut self) {
        locked(&self.disks.0).disks.remove(&self.number);
    }
}

/// Which file an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Root,
    Disk(u64),
    Mark(u64),
}

impl Node {
    fn from_number(number: INodeNo) -> Node {
        match u64::from(number) {
            number @ (0 | 1) => {
                debug_assert_eq!(number, 1);
                Node::Root
            }
            number if number % 2 == 0 => Node::Disk(number / 2 - 1),
            number => Node::Mark(number / 2 - 1),
        }
    }

    fn number(self) -> INodeNo {
        INodeNo(match self {
            Node::Root => 1,
            Node::Disk(number) => number * 2 + 2,
            Node::Mark(number) => number * 2 + 3,
        })
    }

    fn by_name(name: &OsStr) -> Option<Node> {
        let (kind, number) = name.to_str()?.split_once('-')?;
        let number = number.parse().ok()?;
        match kind {
            "disk" => Some(Node::Disk(number)),
            "mark" => Some(Node::Mark(number)),
            _ => None,
        }
    }
}

/// What answers the kernel.
struct Files {
    disks: Arc<Disks>,
}

impl Files {
    fn attributes(&self, node: Node) -> Option<FileAttr> {
        let (size, kind) = match node {
            Node::Root => (0, FileType::Directory),
            Node::Disk(number) => (locked(&*self.disks.get(number)?).size, FileType::RegularFile),
            Node::Mark(number) => {
                self.disks.get(number)?;
                (0, FileType::RegularFile)
            }
        };
        Some(FileAttr {
            ino: node.number(),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn disk(&self, inode: INodeNo) -> Option<(Node, Arc<Mutex<Disk>>)> {
        let node = Node::from_number(inode);
        let (Node::Disk(number) | Node::Mark(number)) = node else { return None };
        Some((node, self.disks.get(number)?))
    }

    fn answer_attributes(&self, inode: INodeNo, reply: ReplyAttr) {
        match self.attributes(Node::from_number(inode)) {
            Some(attributes) => reply.attr(&TTL, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }
}

impl Filesystem for Files {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Without it the kernel writes in smaller pieces: that is all the same.
        let _ = config.add_capabilities(InitFlags::FUSE_BIG_WRITES);
        let _ = config.set_max_write(MAX_WRITE);
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match Node::by_name(name).and_then(|node| self.attributes(node)) {
            Some(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.answer_attributes(inode, reply);
    }

    /// Times and the size are asked to be set; nothing comes of it.
    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.answer_attributes(inode, reply);
    }

    /// What is read and written here must not stay in a page cache on the way.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some((node, disk)) = self.disk(inode) else { return reply.error(Errno::EIO) };
        let disk = locked(&disk);
        match node {
            Node::Mark(_) if offset > 0 => reply.data(&[]),
            Node::Mark(_) => reply.data(disk.failed_writes().to_string().as_bytes()),
            _ => reply.data(&disk.read(offset, size as usize)),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let Some((node, disk)) = self.disk(inode) else { return reply.error(Errno::EIO) };
        let mut disk = locked(&disk);
        let result = match node {
            Node::Mark(_) => {
                disk.say(&String::from_utf8_lossy(data));
                Ok(())
            }
            _ => disk.write(offset, data),
        };
        drop(disk);
        match result {
            Ok(()) => reply.written(data.len() as u32),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let Some((_, disk)) = self.disk(inode) else { return reply.error(Errno::EIO) };
        locked(&disk).flush();
        reply.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inodes_and_names_lead_back() {
        for node in [Node::Root, Node::Disk(0), Node::Mark(0), Node::Disk(7), Node::Mark(7)] {
            assert_eq!(Node::from_number(node.number()), node);
        }
        assert_eq!(Node::by_name(OsStr::new("mark-3")), Some(Node::Mark(3)));
        assert_eq!(Node::by_name(OsStr::new("other")), None);
    }
}
