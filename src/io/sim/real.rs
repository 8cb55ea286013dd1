// SPDX-License-Identifier: Apache-2.0

//! A simulated disk whose files are real ones, too.
//!
//! Everything that the library does on names, locks and rights is done in a real folder, which is best in memory, by the
//! library's own calls: files without a name are real ones, and so are the leftovers of dead processes. Content goes
//! through the simulation, which knows what is durable; the real files mirror what reads get.

use super::fault::CallKind;
use super::file::{Inode, SimHandle};
use super::folder::FolderEvent;
use super::{Names, SimDisk, State};
use crate::io::naming::{FileId, Naming, PosixNaming, identity};
use crate::io::posix::PosixFile;
use crate::io::stale::FileStatus;
use crate::io::{FileHandle, FileOps, IoError, OpenMode};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder, and which of its files is which of the simulation's.
pub(super) struct RealFolder {
    path: PathBuf,
    files: HashMap<FileId, usize>,
}

/// A real file that holds what reads of a simulated one get. While it is open its number is not given to another file.
pub(super) struct Mirror(File);

/// The mirror is a file in memory that nobody else writes.
const MIRRORED: &str = "a mirror that can be written";

impl Mirror {
    /// With a descriptor of its own: locks belong to those that the library has.
    fn of(file: &File) -> io::Result<Mirror> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(Mirror(File::options().read(true).write(true).open(path)?))
    }

    pub(super) fn id(&self) -> Option<FileId> {
        identity(&self.0).ok()
    }

    pub(super) fn write(&self, bytes: &[u8], offset: usize) {
        self.0.write_all_at(bytes, offset as u64).expect(MIRRORED);
    }

    pub(super) fn replace(&self, bytes: &[u8]) {
        self.0.set_len(bytes.len() as u64).expect(MIRRORED);
        self.write(bytes, 0);
    }
}

impl SimDisk {
    /// A disk whose files are those of a real folder; what is there is durable. Names are paths that lead there.
    pub fn in_folder(path: &Path) -> io::Result<SimDisk> {
        let disk = SimDisk::new();
        let mut state = disk.lock();
        state.real = Some(RealFolder { path: path.to_owned(), files: HashMap::new() });
        for entry in std::fs::read_dir(path)? {
            let file = File::options().read(true).write(true).open(entry?.path())?;
            state.number_of(&file)?;
        }
        state.look_at_folder()?;
        state.sync_names();
        drop(state);
        Ok(disk)
    }

    /// The disk as the library's own file operations.
    pub fn default_ops(&self) -> Arc<dyn FileOps> {
        Arc::new(DefaultOps(self.clone()))
    }

    pub(super) fn open_real(&self, name: &CStr, mode: OpenMode) -> Result<(File, usize), IoError> {
        let opened = PosixFile::open(name, mode)?;
        let copied = opened.os_file().map(File::try_clone).transpose();
        let failed =
            |error: io::Error| self.lock().faults.fail(CallKind::Open, error.raw_os_error().unwrap_or(0));
        let file = copied.map_err(failed)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let mut state = self.lock();
        let known = state.number_of(&file).and_then(|number| state.look_at_folder().map(|()| number));
        let number =
            known.map_err(|error| state.faults.fail(CallKind::Open, error.raw_os_error().unwrap_or(0)))?;
        Ok((file, number))
    }
}

impl State {
    /// The simulated file that this real one is; one that was not known is as it is on the disk.
    fn number_of(&mut self, file: &File) -> io::Result<usize> {
        let id = identity(file)?;
        let real = self.real.as_mut().ok_or(io::ErrorKind::Unsupported)?;
        if let Some(&number) = real.files.get(&id) {
            return Ok(number);
        }
        real.files.insert(id, self.inodes.len());
        let mirror = Mirror::of(file)?;
        let mut content = vec![0; mirror.0.metadata()?.len() as usize];
        mirror.0.read_exact_at(&mut content, 0)?;
        self.note_folder(FolderEvent::Made(content.clone(), Some(id)));
        self.inodes.push(Inode::mirrored(content, mirror));
        Ok(self.inodes.len() - 1)
    }

    /// Reads the names of the real folder.
    pub(super) fn look_at_folder(&mut self) -> io::Result<()> {
        let Some(real) = &self.real else { return Ok(()) };
        let mut names = Names::new();
        for entry in std::fs::read_dir(&real.path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let Some(&number) = real.files.get(&(metadata.dev(), metadata.ino())) {
                names.insert(entry.file_name().as_bytes().to_owned(), number);
            }
        }
        self.set_names(names);
        Ok(())
    }
}

/// The library's own file operations, as far as it can tell.
struct DefaultOps(SimDisk);

impl FileOps for DefaultOps {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        self.0.lock().enter_plain(CallKind::Open)?;
        let (file, number) = self.0.open_real(name, mode)?;
        self.0.lock().handles += 1;
        Ok(Box::new(SimHandle::new(self.0.clone(), number, Some(file))))
    }

    fn is_default(&self) -> bool {
        true
    }

    fn take_over(&self, file: File) -> Box<dyn FileHandle> {
        let mut state = self.0.lock();
        let number = state.number_of(&file).expect("a file of the disk");
        state.handles += 1;
        drop(state);
        Box::new(SimHandle::new(self.0.clone(), number, Some(file)))
    }

    fn remove(&self, name: &CStr) {
        self.0.remove(name);
    }
}

/// The library's own naming calls, which may fail.
pub(super) struct RealNaming {
    disk: SimDisk,
}

impl RealNaming {
    pub(super) fn new(disk: SimDisk) -> RealNaming {
        RealNaming { disk }
    }

    /// A call that changes no names.
    fn call<T>(&self, name: &'static str, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.disk.naming_call(name, |_| action())
    }

    /// A call that changes names.
    fn change(&self, name: &'static str, action: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.disk.naming_call(name, |state| {
            action()?;
            state.look_at_folder()
        })
    }

    /// A call that opens a file, which it may have made.
    fn open(&self, name: &'static str, action: impl FnOnce() -> io::Result<File>) -> io::Result<File> {
        self.disk.naming_call(name, |state| {
            let file = action()?;
            state.number_of(&file)?;
            state.look_at_folder()?;
            Ok(file)
        })
    }
}

impl Naming for RealNaming {
    fn open_directory(&self, path: &Path) -> io::Result<File> {
        self.call("open directory", || PosixNaming.open_directory(path))
    }

    fn create_unnamed(&self, directory: &File) -> io::Result<File> {
        self.open("create unnamed", || PosixNaming.create_unnamed(directory))
    }

    fn create_named(&self, directory: &File, name: &CStr, mode: u32) -> io::Result<File> {
        self.open("create named", || PosixNaming.create_named(directory, name, mode))
    }

    fn open_existing(&self, directory: &File, name: &CStr) -> io::Result<File> {
        self.open("open existing", || PosixNaming.open_existing(directory, name))
    }

    fn link_unnamed(&self, file: &File, directory: &File, name: &CStr) -> io::Result<()> {
        self.change("link unnamed", || PosixNaming.link_unnamed(file, directory, name))
    }

    fn rename_exclusive(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.change("rename exclusive", || PosixNaming.rename_exclusive(directory, from, to))
    }

    fn rename(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.change("rename", || PosixNaming.rename(directory, from, to))
    }

    fn exchange(&self, directory: &File, one: &CStr, other: &CStr) -> io::Result<()> {
        self.change("exchange", || PosixNaming.exchange(directory, one, other))
    }

    fn link(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.change("link", || PosixNaming.link(directory, from, to))
    }

    fn unlink(&self, directory: &File, name: &CStr) -> io::Result<()> {
        self.disk.unlink_call(|state| {
            PosixNaming.unlink(directory, name)?;
            state.look_at_folder()
        })
    }

    fn sync_directory(&self, _: &File) -> io::Result<()> {
        self.disk.sync_names_call()
    }

    fn sync_file_system(&self, _: &File) -> io::Result<()> {
        self.disk.sync_names_call()
    }

    fn identify(&self, directory: &File, name: &CStr) -> io::Result<FileId> {
        self.call("identify", || PosixNaming.identify(directory, name))
    }

    fn list(&self, directory: &File) -> io::Result<Vec<CString>> {
        self.call("list", || PosixNaming.list(directory))
    }

    fn try_lock(&self, file: &File) -> io::Result<()> {
        self.call("lock", || PosixNaming.try_lock(file))
    }
}

/// What a real file says of itself.
pub(super) fn status(file: &File) -> io::Result<FileStatus> {
    let metadata = file.metadata()?;
    let (size, linked) = (metadata.len(), metadata.nlink() > 0);
    Ok(FileStatus { size, linked, id: (metadata.dev(), metadata.ino()) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::crash::{Shape, Size, Survivors};
    use super::super::fault::{Effect, Fault, Repeat};
    use super::super::random::Random;
    use super::*;
    use crate::io::temp::Displaced;

    /// A disk in a folder, with an open directory.
    fn disk() -> (tempfile::TempDir, SimDisk, File) {
        let dir = tempfile::tempdir().unwrap();
        let disk = SimDisk::in_folder(dir.path()).unwrap();
        let directory = disk.naming().open_directory(dir.path()).unwrap();
        (dir, disk, directory)
    }

    fn fail_next(disk: &SimDisk, effect: Effect) {
        disk.set_fault(Some(Fault { kind: CallKind::Naming, index: 0, repeat: Repeat::Once, effect }));
    }

    #[test]
    fn files_without_a_name_and_names_that_were_not_synced_are_gone() {
        let (_dir, disk, directory) = disk();
        let file = disk.naming().create_unnamed(&directory).unwrap();
        let mut handle = disk.default_ops().take_over(file.try_clone().unwrap());
        handle.pwrite(b"content", 0).unwrap();
        handle.sync().unwrap();
        assert_eq!(disk.after_power_cut(true).names(), [""; 0]);
        disk.naming().link_unnamed(&file, &directory, c"a").unwrap();
        assert_eq!(disk.after_power_cut(false).names(), [""; 0]);
        assert_eq!(disk.after_power_cuts().len(), 2);
        disk.naming().sync_directory(&directory).unwrap();
        assert_eq!(disk.after_power_cut(false).bytes("a").unwrap(), b"content");
    }

    #[test]
    fn a_failed_sync_of_the_folder_leaves_nothing_to_the_next_one() {
        let (_dir, disk, directory) = disk();
        let naming = disk.naming();
        naming.create_named(&directory, c"a", 0o600).unwrap();
        fail_next(&disk, Effect::Error(libc::EINTR));
        naming.sync_directory(&directory).unwrap_err();
        naming.sync_directory(&directory).unwrap();
        assert_eq!(disk.after_power_cut(false).names(), [""; 0]);
        assert_eq!(disk.names(), ["a"]);
    }

    #[test]
    fn answers_get_lost_and_calls_are_made_twice() {
        let (_dir, disk, directory) = disk();
        let naming = disk.naming();
        let errno = |result: io::Result<()>| result.unwrap_err().raw_os_error().unwrap();
        naming.create_named(&directory, c"a", 0o600).unwrap();
        fail_next(&disk, Effect::DoneThenError(libc::EIO));
        assert_eq!(errno(naming.link(&directory, c"a", c"b")), libc::EIO);
        fail_next(&disk, Effect::AskedTwice);
        assert_eq!(errno(naming.link(&directory, c"a", c"c")), libc::EEXIST);
        fail_next(&disk, Effect::AskedTwice);
        assert_eq!(errno(naming.unlink(&directory, c"b")), libc::ENOENT);
        fail_next(&disk, Effect::NotRemoved);
        naming.unlink(&directory, c"a").unwrap();
        assert_eq!(disk.names(), ["a", "c"]);
    }

    /// Names of displaced files tell numbers of files, which others have in another folder.
    #[test]
    fn images_become_folders() {
        let (_dir, disk, directory) = disk();
        let naming = disk.naming();
        disk.record_folder();
        let (old, new) =
            (naming.create_unnamed(&directory).unwrap(), naming.create_unnamed(&directory).unwrap());
        let numbers = [&old, &new].map(|file| identity(file).unwrap().1);
        let name = Displaced { inode: numbers[0], successor: numbers[1], header: 7 }.name().unwrap();
        naming.link_unnamed(&old, &directory, &name).unwrap();
        naming.link_unnamed(&new, &directory, c"a").unwrap();
        let mut last = None;
        disk.take_folder_log().each_instant(|instant| last = Some(instant.clone()));
        let (shape, last) = (Shape { survivors: Survivors::All, size: Size::Exact }, last.unwrap());
        assert_eq!(last.states(), 3);
        assert_eq!(last.image(0, shape, &mut Random::new(1)).files().count(), 0);
        let elsewhere = tempfile::tempdir().unwrap();
        last.image(2, shape, &mut Random::new(1)).write_to(elsewhere.path()).unwrap();
        let entries = std::fs::read_dir(elsewhere.path()).unwrap().map(Result::unwrap);
        let found: HashMap<_, _> =
            entries.map(|entry| (entry.file_name(), entry.metadata().unwrap().ino())).collect();
        assert_eq!(found.len(), 2);
        let successor = found[std::ffi::OsStr::new("a")];
        let (name, inode) = found.iter().find(|(_, inode)| **inode != successor).unwrap();
        let told = Displaced::parse(&CString::new(name.as_bytes()).unwrap()).unwrap();
        assert_eq!(told, Displaced { inode: *inode, successor, header: 7 });
    }
}
