// SPDX-License-Identifier: Apache-2.0

//! Random rights, users and folders; everybody's access before and after.

use crate::common::rng::Rng;
use crate::people::{
    ACCESS, DEFAULT, GROUP, MASK, NAMED_GROUP, NOBODY, OTHER, OWNER, Person, Place, USER, While, list,
    person, rights, set,
};
use couchstore::{OnlineOptions, Swap, compact_online};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};

const CASES: u32 = 120;
const USERS: [u32; 4] = [2001, 2002, 2003, 2004];
const GROUPS: [u32; 3] = [3001, 3002, 3003];
const SOME_RIGHTS: [u8; 6] = [0, 2, 4, 6, 6, 7];

fn some_rights(rng: &mut Rng) -> u8 {
    SOME_RIGHTS[rng.index(SOME_RIGHTS.len())]
}

fn some_mode(rng: &mut Rng) -> u32 {
    (0..3).fold(0, |mode, _| mode << 3 | u32::from(some_rights(rng)))
}

/// A list that names some of the users and groups.
fn some_list(rng: &mut Rng) -> Vec<u8> {
    let mut entries = vec![(OWNER, some_rights(rng), NOBODY)];
    entries.extend(USERS.iter().filter(|_| rng.percent(40)).map(|&user| (USER, 0, user)).collect::<Vec<_>>());
    entries.push((GROUP, some_rights(rng), NOBODY));
    entries.extend(
        GROUPS.iter().filter(|_| rng.percent(40)).map(|&id| (NAMED_GROUP, 0, id)).collect::<Vec<_>>(),
    );
    for (tag, rights, _) in &mut entries {
        if [USER, NAMED_GROUP].contains(tag) {
            *rights = some_rights(rng);
        }
    }
    entries.push((MASK, some_rights(rng) | some_rights(rng), NOBODY));
    entries.push((OTHER, some_rights(rng), NOBODY));
    list(&entries)
}

fn one_of(rng: &mut Rng, ids: &[u32]) -> u32 {
    ids[rng.index(ids.len())]
}

fn some_groups(rng: &mut Rng) -> Vec<u32> {
    let mut groups = vec![one_of(rng, &GROUPS)];
    groups.extend(GROUPS.iter().filter(|_| rng.percent(30)));
    groups
}

fn set_rights(place: &Place, rng: &mut Rng) {
    place.set_source(one_of(rng, &USERS), one_of(rng, &GROUPS), some_mode(rng));
    if rng.percent(60) {
        set(&place.source(), ACCESS, &some_list(rng));
    }
}

fn set_folder(place: &Place, rng: &mut Rng) {
    let folder = place.folder.path();
    chown(folder, Some(0), Some(one_of(rng, &GROUPS))).unwrap();
    let mode = if rng.percent(30) { 0o2777 } else { 0o777 };
    std::fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
    let _ = rustix::fs::removexattr(folder, DEFAULT);
    if rng.percent(50) {
        place.set_default(&some_list(rng));
    }
}

fn everybody() -> Vec<Person> {
    let sets: [&[u32]; 6] = [&[9], &[3001], &[3002], &[3003], &[3001, 3002], &[3001, 3002, 3003]];
    let users = USERS.iter().chain(&[2005]);
    users.flat_map(|&user| sets.map(|groups| person(user, groups))).collect()
}

fn access_of_all(place: &Place, all: &[Person]) -> Vec<u8> {
    all.iter().map(|who| who.access(&place.source())).collect()
}

/// What there was just before the names were swapped.
struct Before {
    rights: (u32, u32, u32, Option<Vec<u8>>),
    access: Vec<u8>,
}

fn before(place: &Place, all: &[Person]) -> Before {
    Before { rights: rights(&place.source()), access: access_of_all(place, all) }
}

/// Compacts a random file in its place. Returns whether it has exactly the rights that it had; `None`: the process
/// could not read it.
fn replace(rng: &mut Rng) -> Option<bool> {
    let place = Place::new()?;
    set_folder(&place, rng);
    set_rights(&place, rng);
    let owner = rights(&place.source()).0;
    let who = match rng.below(3) {
        0 => person(0, &[0]),
        1 => person(owner, &some_groups(rng)),
        _ => person(one_of(rng, &USERS), &some_groups(rng)),
    };
    let mut all = everybody();
    all.push(who.clone());
    let mut last = before(&place, &all);
    let may_read = who.access(&place.source()) & 4 != 0;
    let umask = one_of(rng, &[0, 0o022, 0o077]);
    let change = rng.percent(25);
    let mut changes = || {
        if change {
            set_rights(&place, rng);
            last = before(&place, &all);
        }
    };
    let options = OnlineOptions::new().swap(Swap::Replace);
    let result = who.run_with_root(umask, &mut changes, |ask| {
        compact_online(place.source(), "", &options, &mut While(ask)).map(drop)
    });
    assert_eq!(result.is_ok(), may_read, "{who:?} {result:?} {:?}", last.rights);
    let is = before(&place, &all);
    for (person, (was, is)) in all.iter().zip(last.access.iter().zip(&is.access)) {
        // A process that cannot keep the owner becomes it, whatever groups others have who run as the same user.
        let is_new_owner =
            person.user == who.user && last.rights.0 != who.user && person.groups != who.groups;
        assert!(is & !was == 0 || is_new_owner, "{person:?} had {was}, has {is}: {who:?} {:?}", last.rights);
    }
    let may_keep = who.user == 0 || who.user == last.rights.0 && who.groups.contains(&last.rights.1);
    assert!(!may_keep || is.rights == last.rights, "{who:?} {:?} {:?}", last.rights, is.rights);
    may_read.then_some(is.rights == last.rights)
}

#[test]
fn nobody_gets_more_than_he_had() {
    if Place::new().is_none() {
        return;
    }
    let mut rng = Rng::new();
    let done: Vec<_> = (0..CASES).filter_map(|_| replace(&mut rng)).collect();
    let kept = done.iter().filter(|&&kept| kept).count();
    assert!(kept > 10 && done.len() - kept > 10, "{kept} of {}", done.len());
}
