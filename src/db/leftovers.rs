// SPDX-License-Identifier: Apache-2.0

//! What dead processes have left in a folder, and what of it may go.
//!
//! * A file that was being made is of no use ([`temp::remove_half_made`]).
//! * A file that a compaction has displaced may be the only one that holds something: a writer that did not heed the
//!   switch may have gone on with it, and the file that took its place may have been lost. It goes only if nothing was
//!   committed to it since, and its successor is there and not older.
//!
//! A file that somebody has locked is somebody's. Where there are no locks, or the folder cannot be read, all stays.

use super::headers::{self, Kind};
use crate::format::header::FileHeader;
use crate::io::buffered::Buffering;
use crate::io::file::DbFile;
use crate::io::folder::Folder;
use crate::io::posix::PosixFile;
use crate::io::tail::Tail;
use crate::io::temp::{self, Displaced, with_dead};
use std::ffi::CStr;
use std::fs::File;

/// Removes from a folder what is of no use any more.
pub(crate) fn remove(folder: &Folder) {
    let names = temp::names_in(folder);
    temp::remove_half_made_of(folder, &names);
    for (name, displaced) in names.iter().filter_map(|name| Some((name, Displaced::parse(name)?))) {
        with_dead(folder, name, |file, (_, inode)| {
            let others = names.iter().filter(|name| !temp::is_ours(name));
            let has_name = |wanted: u64| others.clone().find(|other| inode_of(folder, other) == Some(wanted));
            if inode == displaced.inode {
                // Its second name, or its successor.
                has_name(inode).is_some()
                    || has_name(displaced.successor)
                        .is_some_and(|new| is_superseded(folder, file, displaced, new))
            } else {
                // The successor itself, which has not taken its place.
                inode == displaced.successor && has_name(displaced.inode).is_some()
            }
        });
    }
}

fn inode_of(folder: &Folder, name: &CStr) -> Option<u64> {
    folder.which(name).ok().flatten().map(|(_, inode)| inode)
}

/// Whether everything that a displaced file holds is in its successor.
fn is_superseded(folder: &Folder, file: &File, displaced: Displaced, successor: &CStr) -> bool {
    let old = file.try_clone().ok().and_then(newest_header);
    let new = folder.naming().open_existing(folder.directory(), successor).ok().and_then(newest_header);
    let (Some((position, old)), Some((_, new))) = (old, new) else { return false };
    position == displaced.header && old.update_seq <= new.update_seq
}

/// The newest header of a file, if it can be read, and its position.
pub(crate) fn newest_header(file: File) -> Option<(u64, FileHeader)> {
    let handle = Box::new(PosixFile::from(file));
    let mut file = DbFile::new(c"".into(), handle, Buffering::Exact, true);
    let size = file.size().ok()?;
    file.set_tail(Tail::own(size));
    let found = headers::find_last(&mut file, Kind::Unknown, false).ok()?;
    Some((found.at(), found.header))
}
