// SPDX-License-Identifier: Apache-2.0

//! Files that a compaction replaces: owner, group, permissions, lists, attributes.

use crate::people::{
    ACCESS, GROUP, MASK, NAMED_GROUP, NOBODY, OTHER, OWNER, Person, Place, USER, USUAL_UMASK, While, get,
    list, person, rights, root, set,
};
use couchstore::io::posix::PosixOps;
use couchstore::io::rights::take_over;
use couchstore::io::{FileHandle, FileOps, IoError, OpenMode};
use couchstore::{CompactOptions, OnlineOptions, Swap, compact_online};
use rustix::fs::{XattrFlags, setxattr};
use std::ffi::CStr;
use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::sync::Arc;

fn replacing() -> OnlineOptions {
    OnlineOptions::new().swap(Swap::Replace)
}

/// Compacts the source in its place, as this person.
fn replace(place: &Place, who: &Person) {
    replace_while(place, who, || {});
}

fn replace_while(place: &Place, who: &Person, action: impl FnMut() + Send) {
    let old = File::open(place.source()).unwrap();
    let mut hooks = While(action);
    let result = who.run(USUAL_UMASK, || {
        let hooks = &mut hooks;
        compact_online(place.source(), "", &replacing(), hooks)
    });
    result.unwrap();
    place.check_replaced(&old);
}

/// A caller's operations: their files have temporary names.
struct Own;

impl FileOps for Own {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        PosixOps.open(name, mode)
    }
}

/// The owning group is shut out by the list; the permission bits show the mask.
fn group_shut_out() -> Vec<u8> {
    list(&[(OWNER, 6, NOBODY), (USER, 6, 8), (GROUP, 0, NOBODY), (MASK, 6, NOBODY), (OTHER, 0, NOBODY)])
}

/// The list of the folder lets this user do everything.
fn open_to(user: u32) -> Vec<u8> {
    list(&[(OWNER, 7, NOBODY), (USER, 7, user), (GROUP, 7, NOBODY), (MASK, 7, NOBODY), (OTHER, 7, NOBODY)])
}

#[test]
fn everything_is_kept_by_root() {
    let Some(place) = Place::new() else { return };
    for (mode, acl) in [(0o640, None), (0o404, None), (0o666, None), (0o600, Some(group_shut_out()))] {
        place.set_default(&open_to(9));
        place.set_source(65534, 60, mode);
        if let Some(acl) = acl {
            set(&place.source(), ACCESS, &acl);
        }
        let before = rights(&place.source());
        replace(&place, &root());
        assert_eq!(rights(&place.source()), before);
        let compact = CompactOptions::new().file_ops(Arc::new(Own));
        let options = replacing().compact(compact);
        compact_online(place.source(), "", &options, &mut While(|| {})).unwrap();
        assert_eq!(rights(&place.source()), before);
        let (member, named, other) = (person(12345, &[60]), person(8, &[8]), person(9, &[9]));
        if before.3.is_some() {
            assert_eq!([member, named, other].map(|who| who.access(&place.source())), [0, 7, 0]);
        }
    }
}

#[test]
fn bits_of_running_are_not_taken() {
    let Some(place) = Place::new() else { return };
    for special in [0o4000, 0o2000, 0o1000, 0o7000] {
        place.set_source(1001, 1002, special | 0o755);
        replace(&place, &root());
        assert_eq!(rights(&place.source()), (1001, 1002, 0o755, None));
    }
}

#[test]
fn attributes_are_kept_but_those_of_the_content() {
    let Some(place) = Place::new() else { return };
    let source = place.source();
    let kept: [(&str, &[u8]); 5] = [
        ("user.purpose", b"a test"),
        ("user.empty", b""),
        ("trusted.note", &[0, 255]),
        ("security.selinux", b"system_u:object_r:couch_t:s0\0"),
        ("security.SMACK64", b"couch"),
    ];
    for (name, value) in kept {
        set(&source, name, value);
    }
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set(&source, "security.capability", &capability);
    set(&source, "security.ima", b"\x01abc");
    place.set_source(1001, 1002, 0o440);
    // A change of owner takes it away.
    set(&source, "security.capability", &capability);
    replace(&place, &root());
    for (name, value) in kept {
        assert_eq!(get(&source, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!((get(&source, "security.capability"), get(&source, "security.ima")), (None, None));
    assert_eq!(rights(&source), (1001, 1002, 0o440, None));
}

#[test]
fn an_owner_keeps_group_list_and_attributes() {
    let Some(place) = Place::new() else { return };
    place.set_default(&open_to(9));
    place.set_source(1001, 60, 0o600);
    set(&place.source(), ACCESS, &group_shut_out());
    set(&place.source(), "user.purpose", b"a test");
    set(&place.source(), "trusted.note", b"for root only");
    let before = rights(&place.source());
    replace(&place, &person(1001, &[1001, 60]));
    assert_eq!(rights(&place.source()), before);
    assert_eq!(get(&place.source(), "user.purpose").as_deref(), Some(&b"a test"[..]));
    assert_eq!(get(&place.source(), "trusted.note"), None);
}

/// The owner is not one of the group: the new file has another group, to which it is closed, and so are those to whom
/// the old one gave more or less than to others.
#[test]
fn a_group_that_cannot_be_kept_loses_its_bits_and_the_list() {
    let Some(place) = Place::new() else { return };
    let owner = person(1001, &[1001]);
    place.set_source(1001, 60, 0o664);
    replace(&place, &owner);
    assert_eq!(rights(&place.source()), (1001, 1001, 0o604, None));
    // The group could do less than others: as others its members must not.
    place.set_source(1001, 60, 0o606);
    replace(&place, &owner);
    assert_eq!(rights(&place.source()), (1001, 1001, 0o600, None));
    place.set_source(1001, 60, 0o604);
    set(&place.source(), ACCESS, &group_shut_out());
    replace(&place, &owner);
    assert_eq!(rights(&place.source()), (1001, 1001, 0o600, None));
}

/// Each of owner and group is kept, whatever becomes of the other.
#[test]
fn a_group_is_kept_without_the_owner() {
    let Some(place) = Place::new() else { return };
    place.set_source(1001, 60, 0o664);
    let member = person(1002, &[1002, 60]);
    replace(&place, &member);
    assert_eq!(rights(&place.source()), (1002, 60, 0o664, None));
    // The new owner could only read; the old one could not even that, and is one of the others now.
    place.set_source(1001, 60, 0o244);
    assert_eq!(person(1001, &[1001]).access(&place.source()), 2);
    replace(&place, &member);
    assert_eq!(rights(&place.source()), (1002, 60, 0o400, None));
    // Named in the list, both of them.
    place.set_source(1001, 60, 0o400);
    let named = list(&[
        (OWNER, 4, NOBODY),
        (USER, 6, 1001),
        (USER, 6, 1002),
        (GROUP, 6, NOBODY),
        (NAMED_GROUP, 6, 61),
        (MASK, 6, NOBODY),
        (OTHER, 6, NOBODY),
    ]);
    set(&place.source(), ACCESS, &named);
    replace(&place, &member);
    let (old, new) = (person(1001, &[1001]), person(1002, &[1002]));
    assert_eq!([old, new].map(|who| who.access(&place.source())), [4, 7]);
    assert_eq!(std::fs::metadata(place.source()).unwrap().uid(), 1002);
}

/// What the source's rights are when the names are swapped counts, not what they were when the copy began.
#[test]
fn rights_that_change_meanwhile() {
    let Some(place) = Place::new() else { return };
    place.set_source(1001, 60, 0o666);
    replace_while(&place, &root(), || {
        std::fs::set_permissions(place.source(), Permissions::from_mode(0o600)).unwrap();
        set(&place.source(), "user.late", b"yes");
        chown(place.source(), Some(1003), Some(61)).unwrap();
    });
    assert_eq!(rights(&place.source()), (1003, 61, 0o600, None));
    assert_eq!(get(&place.source(), "user.late").as_deref(), Some(&b"yes"[..]));
    replace_while(&place, &person(1003, &[1003, 61]), || set(&place.source(), ACCESS, &group_shut_out()));
    assert_eq!(get(&place.source(), ACCESS), Some(group_shut_out()));
    assert_eq!(rights(&place.source()), (1003, 61, 0o660, Some(group_shut_out())));
}

/// A file with a security label of its own that cannot be replaced, here because there is no room for it, is its
/// owner's alone. Without a label no security module is at work, and the permissions are kept.
#[test]
fn a_label_that_cannot_be_carried() {
    let Some(place) = Place::new() else { return };
    let (from, to) = (place.source(), place.target());
    place.set_source(1001, 1001, 0o664);
    let long = [b's'; 2500];
    set(&from, "security.selinux", &long);
    for (own, expected) in [(None, 0o664), (Some(&long[..]), 0o664), (Some(b"public"), 0o600)] {
        std::fs::write(&to, b"").unwrap();
        if let Some(own) = own {
            set(&to, "security.selinux", own);
        }
        set(&to, "user.other", &[1; 2500][..if own == Some(&long) { 10 } else { 2500 }]);
        if own.is_some_and(|own| own != long)
            && setxattr(&to, "security.selinux", &long, XattrFlags::empty()).is_ok()
        {
            eprintln!("skipped: room for long attributes in {}", place.folder.path().display());
            return;
        }
        chown(&to, Some(1001), Some(1001)).unwrap();
        // Its rights are those of the source already, and they are not.
        for mode in [0o664, 0o600] {
            std::fs::set_permissions(&to, Permissions::from_mode(mode)).unwrap();
            let files = (File::open(&from).unwrap(), File::open(&to).unwrap());
            person(1001, &[1001]).run(USUAL_UMASK, || take_over(&files.0, &files.1)).unwrap();
            assert_eq!(crate::people::mode(&to), expected, "{own:?}");
        }
        std::fs::remove_file(&to).unwrap();
    }
}

/// Somebody else's file cannot be narrowed: an error, not a file that is open to too many.
#[test]
fn what_cannot_be_narrowed_is_refused() {
    let Some(place) = Place::new() else { return };
    let (from, to) = (place.source(), place.target());
    place.set_source(1001, 1001, 0o600);
    std::fs::write(&to, b"").unwrap();
    for (mode, refused) in [(0o666, true), (0o640, true), (0o604, true), (0o600, false), (0o400, false)] {
        std::fs::set_permissions(&to, Permissions::from_mode(mode)).unwrap();
        let files = (File::open(&from).unwrap(), File::open(&to).unwrap());
        let taken = person(1002, &[1002]).run(USUAL_UMASK, || take_over(&files.0, &files.1));
        // The file is root's, who could not use the source but for his privileges.
        assert!(taken.is_err(), "{mode:o}");
        chown(&to, Some(1001), Some(1001)).unwrap();
        let taken = person(1002, &[1002]).run(USUAL_UMASK, || take_over(&files.0, &files.1));
        assert_eq!(taken.is_err(), refused, "{mode:o}");
        assert_eq!(crate::people::mode(&to), mode);
        chown(&to, Some(0), Some(0)).unwrap();
    }
}
