// SPDX-License-Identifier: Apache-2.0

//! Files that a compaction makes beside the source: its permissions, but for those that the umask takes away.

use crate::people::{
    ACCESS, GROUP, MASK, NOBODY, OTHER, OWNER, Place, USER, While, get, list, mode, person, root, set,
};
use couchstore::{CompactOptions, Db, OnlineOptions, compact, compact_online, compact_unseen, compact_with};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// Makes a copy; the second argument happens meanwhile.
type Way = fn(&Place, &mut (dyn FnMut() + Send));

const WAYS: [Way; 4] = [
    |place, _| {
        compact(&Db::open(place.source()).unwrap(), place.target(), &CompactOptions::default()).unwrap();
    },
    |place, meanwhile| {
        let db = Db::open(place.source()).unwrap();
        compact_with(&db, place.target(), &CompactOptions::default(), &mut While(meanwhile)).unwrap();
    },
    |place, meanwhile| {
        let db = Db::open(place.source()).unwrap();
        compact_unseen(&db, place.target(), &CompactOptions::default(), &mut While(meanwhile)).unwrap();
    },
    |place, meanwhile| {
        let options = OnlineOptions::default();
        compact_online(place.source(), place.target(), &options, &mut While(meanwhile)).unwrap();
    },
];

#[test]
fn the_sources_permissions_within_the_umask() {
    let Some(place) = Place::new() else { return };
    for (index, way) in WAYS.iter().enumerate() {
        for (source, umask) in [
            (0o600, 0),
            (0o640, 0o022),
            (0o666, 0o022),
            (0o666, 0),
            (0o664, 0o027),
            (0o666, 0o077),
            (0o6755, 0o002),
        ] {
            place.set_source(0, 60, source);
            root().run(umask, || way(&place, &mut || {}));
            assert_eq!(mode(&place.target()), source & !umask & 0o777, "{index} {source:o} {umask:o}");
            std::fs::remove_file(place.target()).unwrap();
        }
    }
}

#[test]
fn the_folders_list_gives_nobody_anything() {
    let Some(place) = Place::new() else { return };
    let open =
        list(&[(OWNER, 7, NOBODY), (USER, 7, 8), (GROUP, 7, NOBODY), (MASK, 7, NOBODY), (OTHER, 7, NOBODY)]);
    place.set_default(&open);
    for (index, way) in WAYS.iter().enumerate() {
        place.set_source(0, 0, 0o660);
        root().run(0o022, || way(&place, &mut || {}));
        assert_eq!((mode(&place.target()), get(&place.target(), ACCESS)), (0o640, None), "{index}");
        assert_eq!(person(8, &[8]).access(&place.target()), 0, "{index}");
        std::fs::remove_file(place.target()).unwrap();
    }
}

/// A copy has no list: the group gets what the source's list gives it, not the mask, and others no more than those
/// whom the list shut out.
#[test]
fn whoever_the_sources_list_shuts_out_stays_out() {
    let Some(place) = Place::new() else { return };
    let shuts_out = list(&[
        (OWNER, 6, NOBODY),
        (USER, 0, 8),
        (USER, 6, 9),
        (GROUP, 4, NOBODY),
        (MASK, 6, NOBODY),
        (OTHER, 4, NOBODY),
    ]);
    for (index, way) in WAYS.iter().enumerate() {
        place.set_source(0, 0, 0o600);
        set(&place.source(), ACCESS, &shuts_out);
        root().run(0o022, || way(&place, &mut || {}));
        assert_eq!((mode(&place.target()), get(&place.target(), ACCESS)), (0o600, None), "{index}");
        std::fs::remove_file(place.target()).unwrap();
    }
}

#[test]
fn permissions_that_change_meanwhile() {
    let Some(place) = Place::new() else { return };
    for way in &WAYS[1..] {
        place.set_source(0, 0, 0o666);
        let mut narrows = || std::fs::set_permissions(place.source(), Permissions::from_mode(0o600)).unwrap();
        root().run(0o022, || way(&place, &mut narrows));
        assert_eq!(mode(&place.target()), 0o600);
        std::fs::remove_file(place.target()).unwrap();
    }
}

/// The copy is the process's: also of a file that belongs to somebody else, and that it may only read.
#[test]
fn a_copy_of_somebody_elses_file() {
    let Some(place) = Place::new() else { return };
    place.set_source(1001, 60, 0o640);
    let member = person(1002, &[1002, 60]);
    member.run(0o022, || {
        let db = couchstore::OpenOptions::new().read_only(true).open(place.source()).unwrap();
        compact(&db, place.target(), &CompactOptions::default()).unwrap();
    });
    let metadata = std::fs::metadata(place.target()).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), mode(&place.target())), (1002, 1002, 0o640));
}
