// SPDX-License-Identifier: Apache-2.0

//! Who may do what with a file: owner, group and others, and an access control list as POSIX.1e draft 17 has it.
//!
//! The questions here are about change: what is left for everybody when the list, the group or the owner is another
//! one. The answers never give anybody a right that he did not have. That is not a matter of leaving entries out:
//! whoever an entry shut out is one of the group's, or of the others', once it is gone.

#![forbid(unsafe_code)]

/// Rights as in `ls -l`, one class: 4 to read, 2 to write, 1 to execute.
pub(crate) type Perm = u8;

const ALL: Perm = 0o7;

/// What the bytes of `system.posix_acl_access` begin with; the integers there are little-endian.
const VERSION: [u8; 4] = [2, 0, 0, 0];
/// Bytes of an entry: tag and rights of two bytes each, the id of four.
const ENTRY: usize = 8;
/// The id of entries that name nobody.
const NOBODY: u32 = u32::MAX;

const OWNER: u16 = 0x01;
const NAMED_USER: u16 = 0x02;
const GROUP: u16 = 0x04;
const NAMED_GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Whom an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    User(u32),
    Group(u32),
}

/// Everybody's rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acl {
    pub(crate) owner: Perm,
    /// The owning group's, before the mask.
    pub(crate) group: Perm,
    pub(crate) other: Perm,
    /// The most that the group and those who are named may do; always there if somebody is named.
    pub(crate) mask: Option<Perm>,
    /// Rights of users and groups that are named, before the mask.
    pub(crate) named: Vec<(Who, Perm)>,
}

impl Acl {
    /// Rights of a file without a list.
    pub(crate) fn from_mode(mode: u32) -> Acl {
        let class = |shift: u32| (mode >> shift) as Perm & ALL;
        Acl { owner: class(6), group: class(3), other: class(0), mask: None, named: Vec::new() }
    }

    /// Reads the value of `system.posix_acl_access`; `None`: it is no list of this kind.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Acl> {
        let entries = bytes.strip_prefix(&VERSION)?.chunks(ENTRY);
        let (mut owner, mut group, mut other) = (None, None, None);
        let (mut mask, mut named) = (None, Vec::new());
        for entry in entries {
            let &[tag, tag_high, perm, perm_high, id @ ..] = <&[u8; ENTRY]>::try_from(entry).ok()?;
            let id = id.iter().rev().fold(0, |id, &byte| id << 8 | u32::from(byte));
            if perm_high != 0 || perm & !ALL != 0 {
                return None;
            }
            let once = match u16::from(tag) | u16::from(tag_high) << 8 {
                OWNER => &mut owner,
                GROUP => &mut group,
                OTHER => &mut other,
                MASK => &mut mask,
                tag @ (NAMED_USER | NAMED_GROUP) => {
                    let who = if tag == NAMED_USER { Who::User(id) } else { Who::Group(id) };
                    named.push((who, perm));
                    continue;
                }
                _ => return None,
            };
            if once.replace(perm).is_some() {
                return None;
            }
        }
        if mask.is_none() && !named.is_empty() {
            return None;
        }
        Some(Acl { owner: owner?, group: group?, other: other?, mask, named })
    }

    /// The value of `system.posix_acl_access`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_vec();
        let mut add = |tag: u16, perm: Perm, id: u32| {
            bytes.extend([tag as u8, (tag >> 8) as u8, perm, 0]);
            bytes.extend((0..4).map(|index| (id >> (8 * index)) as u8));
        };
        // The kernel wants them in the order of their tags.
        add(OWNER, self.owner, NOBODY);
        for &(who, perm) in &self.named {
            if let Who::User(id) = who {
                add(NAMED_USER, perm, id);
            }
        }
        add(GROUP, self.group, NOBODY);
        for &(who, perm) in &self.named {
            if let Who::Group(id) = who {
                add(NAMED_GROUP, perm, id);
            }
        }
        if let Some(mask) = self.mask {
            add(MASK, mask, NOBODY);
        }
        add(OTHER, self.other, NOBODY);
        bytes
    }

    /// Whether the permission bits say it all.
    pub(crate) fn is_mode(&self) -> bool {
        self.mask.is_none()
    }

    /// The permission bits. With a list the group's show the mask.
    pub(crate) fn mode(&self) -> u32 {
        let group = self.mask.unwrap_or(self.group);
        u32::from(self.owner) << 6 | u32::from(group) << 3 | u32::from(self.other)
    }

    fn masked(&self, perm: Perm) -> Perm {
        perm & self.mask.unwrap_or(ALL)
    }

    /// What somebody who is not the owner may do.
    pub(crate) fn of(&self, user: u32, groups: &[u32], owning_group: u32) -> Perm {
        if let Some(&(_, perm)) = self.named.iter().find(|(who, _)| *who == Who::User(user)) {
            return self.masked(perm);
        }
        let named = self.named.iter().filter_map(|&(who, perm)| match who {
            Who::Group(group) => Some((group, perm)),
            Who::User(_) => None,
        });
        let matching = named.chain([(owning_group, self.group)]).filter(|(group, _)| groups.contains(group));
        // One entry has to allow all that is asked for at once, so rights of several do not add up.
        matching.map(|(_, perm)| self.masked(perm)).max().unwrap_or(self.other)
    }

    /// For a file with another owner, who could do this much before. The old one may be anybody now: nobody may do
    /// more than he.
    pub(crate) fn with_owner(&self, could: Perm) -> Acl {
        let most = self.owner;
        let mask = self.mask.map(|mask| mask & most);
        // Linux does not look at a list whose mask is empty: whom it names is one of the others then.
        let left = if mask == Some(0) { self.without_named() } else { Acl { mask, ..self.clone() } };
        Acl { owner: could, group: left.group & most, other: left.other & most, ..left }
    }

    /// For a file that nobody is named for.
    pub(crate) fn without_named(&self) -> Acl {
        let mut left = Acl::from_mode(u32::from(self.owner) << 6);
        left.group = self.masked(self.group);
        left.other = self.other;
        for &(who, perm) in &self.named {
            left.other &= self.masked(perm);
            // A user may be one of the group; for a group's members the owning group's entry counted all along.
            if let Who::User(_) = who {
                left.group &= self.masked(perm);
            }
        }
        left
    }

    /// For a file with another group. Nobody is named, either.
    pub(crate) fn without_group(&self) -> Acl {
        let left = self.without_named();
        Acl { group: 0, other: left.other & self.masked(self.group), ..left }
    }

    /// For a file of which nothing is known but what the owner may do.
    pub(crate) fn owner_alone(&self) -> Acl {
        Acl::from_mode(u32::from(self.owner) << 6)
    }

    /// Whether nobody may do more than `most` says, for files with the same owner and the same group.
    pub(crate) fn is_within(&self, most: &Acl) -> bool {
        let floor = most.without_named();
        let within = |perm: Perm, most: Perm| perm & !most == 0;
        self == most
            || (self.named.is_empty() || self.mask == Some(0))
                && within(self.owner, floor.owner)
                && within(self.masked(self.group), floor.group)
                && within(self.other, floor.other)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const OWNER_ID: u32 = 1;
    const OTHER_OWNER: u32 = 2;
    const GROUP_ID: u32 = 11;
    const OTHER_GROUP: u32 = 12;

    /// What a process may do, one right after the other: the algorithm of acl(5), or that of Linux, which does not look
    /// at a list with an empty mask.
    fn may(acl: &Acl, file: (u32, u32), linux: bool, user: u32, groups: &[u32], wanted: Perm) -> bool {
        if user == file.0 {
            return acl.owner & wanted == wanted;
        }
        if linux && acl.mask == Some(0) {
            return !groups.contains(&file.1) && acl.other & wanted == wanted;
        }
        let mask = acl.mask.unwrap_or(ALL);
        if let Some((_, perm)) = acl.named.iter().find(|(who, _)| *who == Who::User(user)) {
            return perm & mask & wanted == wanted;
        }
        let mut matched = false;
        let of_named =
            acl.named.iter().filter(|(who, _)| groups.iter().any(|&group| *who == Who::Group(group)));
        let of_group = groups.contains(&file.1).then_some(acl.group);
        for perm in of_named.map(|&(_, perm)| perm).chain(of_group) {
            matched = true;
            if perm & mask & wanted == wanted {
                return true;
            }
        }
        !matched && acl.other & wanted == wanted
    }

    fn acls() -> impl Strategy<Value = Acl> {
        let who = prop_oneof![(1_u32..5).prop_map(Who::User), (11_u32..15).prop_map(Who::Group)];
        let named = vec((who, 0_u8..8), 0..4);
        (named, any::<bool>(), 0_u8..8, 0_u32..0o1000).prop_map(|(mut named, masked, mask, mode)| {
            named.sort_by_key(|(who, _)| match who {
                Who::User(id) | Who::Group(id) => *id,
            });
            named.dedup_by_key(|(who, _)| *who);
            let mask = (masked || !named.is_empty()).then_some(mask);
            Acl { mask, named, ..Acl::from_mode(mode) }
        })
    }

    /// Nobody, whatever his ids, may do with the second what he may not do with the first.
    fn check_narrower(before: (&Acl, (u32, u32)), after: (&Acl, (u32, u32)), but: Option<(u32, &[u32])>) {
        let sets: [&[u32]; 6] = [&[], &[11], &[12], &[11, 12], &[13, 14], &[11, 12, 13, 14]];
        for (user, linux) in (1..6).flat_map(|user| [(user, false), (user, true)]) {
            for groups in sets {
                for wanted in 1..=ALL {
                    let (was, is) = (
                        may(before.0, before.1, linux, user, groups, wanted),
                        may(after.0, after.1, linux, user, groups, wanted),
                    );
                    let excepted = but.is_some_and(|(except, own)| except == user && own != groups);
                    assert!(was || !is || excepted, "{user} {groups:?} {wanted}: {before:?} {after:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_change_gives_nobody_anything(acl in acls(), groups in vec(11_u32..15, 0..3)) {
            let file = (OWNER_ID, GROUP_ID);
            let group_lost = (OWNER_ID, OTHER_GROUP);
            check_narrower((&acl, file), (&acl.without_named(), file), None);
            check_narrower((&acl, file), (&acl.without_group(), group_lost), None);
            check_narrower((&acl, file), (&acl.owner_alone(), group_lost), None);
            // The new owner's rights are those of the process that makes the file, whatever its groups are.
            let could = acl.of(OTHER_OWNER, &groups, GROUP_ID);
            for wanted in 1..=ALL {
                let is = could & wanted == wanted;
                prop_assert!(!is || may(&acl, file, false, OTHER_OWNER, &groups, wanted));
            }
            let given = acl.with_owner(could);
            let but = Some((OTHER_OWNER, groups.as_slice()));
            check_narrower((&acl, file), (&given, (OTHER_OWNER, GROUP_ID)), but);
            check_narrower((&acl, file), (&given.without_group(), (OTHER_OWNER, OTHER_GROUP)), but);
        }

        #[test]
        fn within_means_that_nobody_may_do_more(one in acls(), most in acls()) {
            let file = (OWNER_ID, GROUP_ID);
            if one.is_within(&most) {
                check_narrower((&most, file), (&one, file), None);
            }
            prop_assert!(most.is_within(&most) && most.without_named().is_within(&most));
            prop_assert!(most.owner_alone().is_within(&most));
        }

        #[test]
        fn encoding_and_parsing(acl in acls(), noise in vec(any::<u8>(), 0..40)) {
            let bytes = acl.encode();
            prop_assert_eq!(Acl::parse(&bytes), Some(acl));
            prop_assert_eq!(Acl::parse(&bytes[1..]), None);
            // Whatever it is: no panic, and no value that is another one's.
            if let Some(parsed) = Acl::parse(&noise) {
                prop_assert_eq!(Acl::parse(&parsed.encode()), Some(parsed));
            }
        }
    }

    #[test]
    fn the_kernels_bytes() {
        let bytes = [
            2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0, 8, 1, 0, 0, 4, 0, 0, 0, 255, 255, 255,
            255, 16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
        ];
        let acl = Acl::parse(&bytes).unwrap();
        assert_eq!(acl.named, [(Who::User(264), 6)]);
        assert_eq!((acl.owner, acl.group, acl.mask, acl.other, acl.mode()), (6, 0, Some(6), 0, 0o660));
        assert_eq!(acl.encode(), bytes);
        assert_eq!(Acl::parse(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Acl::parse(b""), None);
    }
}
