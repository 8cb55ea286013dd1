// SPDX-License-Identifier: Apache-2.0

//! Files that take another one's place, or are copies of one: they are open to nobody to whom that one is not.
//!
//! What a process may not carry over (an owner, a group, a list, a label) is made up for by narrower permissions, see
//! `acl`. The steps come in such an order that the file is at no moment open to more people than in the end, and
//! whichever step fails, it leaves the file as narrow as it was.

#![forbid(unsafe_code)]

use super::acl::Acl;
use crate::memory;
use rustix::fs::{self, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

const ACL: &str = "system.posix_acl_access";
/// The longest list of names, and the longest value, that the kernel has.
pub(crate) const LONGEST: usize = 64 << 10;
/// Owner's, group's and others' permissions, without setuid, setgid and sticky.
const PERMISSIONS: u32 = 0o777;
/// What a file may have whose rights are being changed.
const PRIVATE: u32 = 0o600;

/// Owner, group and permissions of a file.
#[derive(Debug, PartialEq, Eq)]
struct Rights {
    owner: u32,
    group: u32,
    /// Setuid, setgid and sticky.
    special: u32,
    acl: Acl,
}

/// Gives a file everything that tells who may use another one, and that one's attributes, as far as the process may:
/// owner, group, permissions, access control list, security labels, `user.*` and `trusted.*`. Setuid, setgid and
/// sticky are not taken, nor what speaks of the content (IMA, EVM) or of running it (capabilities). What the file has
/// of its own, such as the list that a folder gives to new files, goes.
///
/// The file should not have a name yet. An error means that others may be able to read or write it to whom `from` is
/// closed: then it must not get one. What was changed is durable.
pub fn take_over(from: &File, to: &File) -> io::Result<()> {
    let source = Rights::of_source(from)?;
    let before = Rights::of(to)?;
    let changed = if before == source {
        let carried = Attributes::carry(from, to)?;
        if carried.label_differs {
            apply(to, &source.acl.owner_alone())?;
        }
        carried.changed || carried.label_differs
    } else {
        source.give(from, to, &before)?;
        true
    };
    if changed { Ok(make_durable(to)?) } else { Ok(()) }
}

/// Gives a copy the permissions of its source, without those that the umask takes away. Owner and group stay those of
/// the process. Neither has the copy a list: whoever the source's shuts out is shut out by the permissions. What was
/// changed is durable.
pub fn take_mode(from: &File, to: &File) -> io::Result<()> {
    let source = Rights::of_source(from)?.acl.without_named();
    let wanted = Acl::from_mode(source.mode() & !umask());
    if Rights::of(to)?.acl == wanted {
        return Ok(());
    }
    match apply(to, &wanted) {
        // The file is the process's own: a file system that has one set of permissions for all its files.
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        result => Ok(result.and_then(|()| make_durable(to))?),
    }
}

/// Makes a file's rights durable: by a sync of the whole file system where there is none of single files.
fn make_durable(file: &File) -> rustix::io::Result<()> {
    match fs::fsync(file) {
        Err(Errno::INVAL | Errno::OPNOTSUPP) => fs::syncfs(file),
        result => result,
    }
}

impl Rights {
    fn of(file: &File) -> io::Result<Rights> {
        let metadata = file.metadata()?;
        let acl = match attribute(file, ACL)? {
            Some(bytes) => Acl::parse(&bytes).ok_or(io::ErrorKind::InvalidData)?,
            None => Acl::from_mode(metadata.mode()),
        };
        Ok(Rights::new(&metadata, acl))
    }

    /// As [`Rights::of`], without what is not to be taken. Of a list that cannot be read nothing is known but the
    /// owner's part.
    fn of_source(file: &File) -> io::Result<Rights> {
        let rights = Rights::of(file).or_else(|error| {
            if error.raw_os_error() == Some(libc::ENOMEM) {
                return Err(error);
            }
            let metadata = file.metadata()?;
            Ok::<_, io::Error>(Rights::new(&metadata, Acl::from_mode(metadata.mode()).owner_alone()))
        })?;
        Ok(Rights { special: 0, ..rights })
    }

    fn new(metadata: &std::fs::Metadata, acl: Acl) -> Rights {
        let special = metadata.mode() & !PERMISSIONS & 0o7777;
        Rights { owner: metadata.uid(), group: metadata.gid(), special, acl }
    }

    /// Gives these rights, and the attributes of `from`, to a file that has those of `before`.
    fn give(&self, from: &File, to: &File, before: &Rights) -> io::Result<()> {
        // While it is the process's own file: attributes take the permission to write.
        let is_own = before.owner == rustix::process::geteuid().as_raw();
        let start = if is_own { PRIVATE } else { PRIVATE & self.acl.mode() };
        let mut result = apply(to, &Acl::from_mode(start));
        let mut note = |step: rustix::io::Result<()>| result = result.and(step);
        let carried = Attributes::carry(from, to)?;
        let wanted = |to: &Rights| {
            let acl = self.for_file(to.owner, to.group);
            if carried.label_differs { acl.owner_alone() } else { acl }
        };
        // Each alone: a process that may not give the file away may still change its group.
        if before.group != self.group {
            let _ = fs::fchown(to, None, Some(Gid::from_raw(self.group)));
        }
        if before.owner != self.owner {
            // With the owner a process may lose the right to go on: so first what is right for both.
            let mut for_both = wanted(&Rights::of(to)?);
            for_both.owner &= self.acl.owner;
            note(apply_or_narrower(to, &for_both));
            let _ = fs::fchown(to, Some(Uid::from_raw(self.owner)), None);
        }
        let wanted = wanted(&Rights::of(to)?);
        note(apply_or_narrower(to, &wanted));
        if Rights::of(to)?.acl.is_within(&wanted) {
            return Ok(());
        }
        Err(result.err().unwrap_or(Errno::PERM).into())
    }

    /// What is left of these permissions for a file with this owner and this group.
    fn for_file(&self, owner: u32, group: u32) -> Acl {
        let mut acl = self.acl.clone();
        if owner != self.owner {
            let groups = rustix::process::getgroups().unwrap_or_default();
            let mut groups: Vec<_> = groups.iter().map(|group| group.as_raw()).collect();
            groups.push(rustix::process::getegid().as_raw());
            acl = acl.with_owner(self.acl.of(owner, &groups, self.group));
        }
        if group == self.group { acl } else { acl.without_group() }
    }
}

/// Sets permissions. On the way the file has less, and after an error at most these.
fn apply(to: &File, acl: &Acl) -> rustix::io::Result<()> {
    if !acl.is_mode() {
        return fs::fsetxattr(to, ACL, &acl.encode(), XattrFlags::empty());
    }
    // With a list the group's permissions would be its mask, and count for those whom it names.
    match fs::fgetxattr(to, ACL, [0; 0].as_mut_slice()) {
        Err(error) if is_none(error) => {}
        _ => {
            fs::fchmod(to, Mode::from_raw_mode(acl.owner_alone().mode()))?;
            fs::fremovexattr(to, ACL)?;
        }
    }
    fs::fchmod(to, Mode::from_raw_mode(acl.mode()))
}

/// As [`apply`]; if there can be no list, without it.
fn apply_or_narrower(to: &File, acl: &Acl) -> rustix::io::Result<()> {
    apply(to, acl).or_else(|error| if acl.is_mode() { Err(error) } else { apply(to, &acl.without_named()) })
}

/// Whether this is how a file system says that there is no such attribute.
fn is_none(error: Errno) -> bool {
    matches!(error, Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS)
}

/// The value of an extended attribute; `None`: there is none.
fn attribute(file: &File, name: &str) -> rustix::io::Result<Option<Vec<u8>>> {
    match read_whole(fs::fgetxattr_query(file, name), |value| fs::fgetxattr(file, name, value)) {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_none(error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a system call gives of which another one tells the length.
fn read_whole(
    length: rustix::io::Result<usize>,
    read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    let mut room = length?;
    if room == 0 {
        return Ok(Vec::new());
    }
    loop {
        let mut bytes = memory::filled(0, room).map_err(|_| Errno::NOMEM)?;
        match read(&mut bytes) {
            // It has grown in between.
            Err(Errno::RANGE) if room < LONGEST => room = LONGEST,
            Err(error) => return Err(error),
            Ok(length) => {
                bytes.truncate(length);
                return Ok(bytes);
            }
        }
    }
}

/// What became of the extended attributes.
#[derive(Default)]
struct Attributes {
    changed: bool,
    /// The file has a security label of its own that could not be replaced: a security module may let others use it.
    label_differs: bool,
}

impl Attributes {
    /// Takes over those that are kept, as far as the process may.
    fn carry(from: &File, to: &File) -> rustix::io::Result<Attributes> {
        let mut carried = Attributes::default();
        let list = found_or_none(read_whole(fs::flistxattr_query(from), |list| fs::flistxattr(from, list)))?
            .unwrap_or_default();
        for name in list.split(|&byte| byte == 0).filter_map(|name| std::str::from_utf8(name).ok()) {
            if !is_kept(name) {
                continue;
            }
            let Some(value) = found_or_none(attribute(from, name))?.flatten() else { continue };
            let own = attribute(to, name);
            if own.as_ref().is_ok_and(|own| own.as_ref() == Some(&value)) {
                continue;
            }
            let set = fs::fsetxattr(to, name, &value, XattrFlags::empty());
            carried.changed |= set.is_ok();
            // Where no security module is at work a new file has none, and it means nothing.
            carried.label_differs |= set.is_err() && is_label(name) && own != Ok(None);
        }
        Ok(carried)
    }
}

/// What may be left out if it cannot be read; that there is no memory is no reason to do so.
fn found_or_none<T>(found: rustix::io::Result<T>) -> rustix::io::Result<Option<T>> {
    match found {
        Err(Errno::NOMEM) => Err(Errno::NOMEM),
        found => Ok(found.ok()),
    }
}

fn is_label(name: &str) -> bool {
    name == "security.selinux" || name.starts_with("security.SMACK64")
}

fn is_kept(name: &str) -> bool {
    is_label(name) || name.starts_with("user.") || name.starts_with("trusted.")
}

/// The permissions that this thread's new files do not get.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    // Without /proc it cannot be asked for, only changed: the owner alone is never too many.
    umask.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(PERMISSIONS & !0o700)
}
