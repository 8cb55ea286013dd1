// SPDX-License-Identifier: Apache-2.0

//! What may be found in a whole folder after a power cut: files without a name are gone, and the names are as they
//! were at the last sync of the folder, or as they became since, in the order in which they were changed.

use super::Names;
use super::crash::{Event, Pages, Shape};
use super::random::Random;
use crate::io::naming::FileId;
use crate::io::temp::Displaced;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Something that happened in a folder.
#[derive(Clone, Debug)]
pub(super) enum FolderEvent {
    /// A file was made. Its number is that of the next one.
    Made(Vec<u8>, Option<FileId>),
    /// To the file of this number.
    File(usize, Event),
    /// The caller was told that something is durable.
    Mark(u64),
    /// The names are these now.
    Names(Names),
    /// These names are durable.
    NamesSynced(Names),
}

/// All that happened in one folder.
#[derive(Clone, Debug, Default)]
pub struct FolderLog {
    /// So many events tell how the folder was at the start.
    start: usize,
    events: Vec<FolderEvent>,
}

impl FolderLog {
    pub(super) fn push(&mut self, event: FolderEvent) {
        self.events.push(event);
    }

    /// What was noted up to here is how the folder was at the start.
    pub(super) fn has_started(&mut self) {
        self.start = self.events.len();
    }

    /// Calls `visit` with every instant at which the power may go: at the start and after each event.
    pub fn each_instant(&self, mut visit: impl FnMut(&FolderInstant)) {
        let mut instant = FolderInstant::default();
        for event in &self.events {
            instant.number += 1;
            instant.apply(event);
            if instant.number >= self.start {
                visit(&instant);
            }
        }
    }
}

/// A file, and which one it is.
type Numbered = (Pages, Option<FileId>);

/// An instant at which the power goes.
#[derive(Clone, Debug, Default)]
pub struct FolderInstant {
    /// How many events came before.
    pub number: usize,
    /// The highest mark so far, 0 if there is none.
    pub marked: u64,
    files: Vec<Numbered>,
    durable: Names,
    /// What the names have become since they were synced.
    unsynced: Vec<Names>,
}

impl FolderInstant {
    fn apply(&mut self, event: &FolderEvent) {
        match event {
            FolderEvent::Made(content, id) => self.files.push((Pages::new(content.clone()), *id)),
            FolderEvent::Mark(number) => self.marked = *number,
            FolderEvent::File(file, event) => self.files[*file].0.apply(event),
            FolderEvent::Names(names) => self.unsynced.push(names.clone()),
            FolderEvent::NamesSynced(names) => {
                self.durable.clone_from(names);
                self.unsynced.clear();
            }
        }
    }

    /// So many states of the names are possible.
    pub fn states(&self) -> usize {
        1 + self.unsynced.len()
    }

    /// An image of the folder after the power cut: with the state of this number, and all files in this shape.
    pub fn image(&self, state: usize, shape: Shape, random: &mut Random) -> FolderImage {
        let names = if state == 0 { &self.durable } else { &self.unsynced[state - 1] };
        let mut image = FolderImage::default();
        for (name, &file) in names {
            let (pages, id) = &self.files[file];
            image.files.entry(file).or_insert_with(|| (pages.image(shape, random), *id));
            image.names.insert(String::from_utf8_lossy(name).into_owned(), file);
        }
        image
    }
}

/// A folder as it is found after a power cut.
#[derive(Clone, Debug, Default)]
pub struct FolderImage {
    names: BTreeMap<String, usize>,
    files: BTreeMap<usize, (Vec<u8>, Option<FileId>)>,
}

impl FolderImage {
    /// All names with what the files hold.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.names.iter().map(|(name, file)| (name.as_str(), self.files[file].0.as_slice()))
    }

    /// What the file with this name holds, if there is one.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.names.get(name).map(|file| self.files[file].0.as_slice())
    }

    /// Makes real files of it in an empty folder. Names that say which file something is get the new files' numbers.
    pub fn write_to(&self, folder: &Path) -> io::Result<()> {
        let mut made: BTreeMap<usize, (String, u64)> = BTreeMap::new();
        for (number, (content, _)) in &self.files {
            let name = format!("file-{number}");
            std::fs::write(folder.join(&name), content)?;
            made.insert(*number, (name.clone(), inode(&folder.join(name))?));
        }
        // Of files that are gone nothing has the number.
        let renumbered = |old: u64| {
            let found = self.files.iter().find(|(_, (_, id))| id.is_some_and(|(_, inode)| inode == old));
            found.map_or(0, |(number, _)| made[number].1)
        };
        for (name, number) in &self.names {
            let parsed = CString::new(name.as_str()).ok().and_then(|name| Displaced::parse(&name));
            let name = match parsed {
                Some(Displaced { inode, successor, header }) => {
                    let (inode, successor) = (renumbered(inode), renumbered(successor));
                    Displaced { inode, successor, header }.name()?.to_string_lossy().into_owned()
                }
                None => name.clone(),
            };
            std::fs::hard_link(folder.join(&made[number].0), folder.join(name))?;
        }
        made.values().try_for_each(|(name, _)| std::fs::remove_file(folder.join(name)))
    }
}

fn inode(path: &Path) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.ino())
}
