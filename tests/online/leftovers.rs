// SPDX-License-Identifier: Apache-2.0

//! Processes that are killed at every naming call of a compaction, what they leave, and who removes it.

use crate::common::model::{Doc, Model};
use crate::common::naming::{Faulty, Lacks, PARKED, is_displaced, names_in};
use crate::common::rng::Rng;
use crate::common::temp_dir;
use crate::swap::{While, nothing};
use crate::world::{Habits, SOURCE, TARGET, World};
use couchstore::{
    CompactOptions, Db, LocalUpdate, OnlineOptions, OpenOptions, SaveOptions, Swap, compact, compact_online,
};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

const AT_REST: Habits = Habits { rewinds: false, old_sequences: false, legacy: false };
const NO_NAMES: Lacks = Lacks {
    unnamed: true,
    naming_unnamed: false,
    flags: false,
    links: false,
    locks: false,
    lists: false,
    syncs: false,
};

fn world() -> World {
    World::new(Rng::with_seed(5), AT_REST)
}

fn options(swap: Swap, naming: Arc<Faulty>) -> OnlineOptions {
    OnlineOptions::new().swap(swap).compact(CompactOptions::new().naming(naming))
}

/// Compacts without a writer to a new name beside the source.
fn compact_beside(world: &World, naming: Arc<Faulty>) -> PathBuf {
    let target = world.folder.path().join("again");
    let options = CompactOptions::new().naming(naming);
    compact(&Db::open(world.source()).unwrap(), &target, &options).unwrap();
    target
}

// ---- killed processes ---------------------------------------------------------------------------------------------------

/// Where a process is killed.
#[derive(Clone, Copy, Debug)]
struct Kill {
    swap: Swap,
    lacks: Lacks,
    /// Before this naming call.
    call: usize,
}

/// For the process that is to be killed: source, swap, what is lacking, and the call.
const KILL: &str = "COUCHSTORE_ONLINE_KILL";

impl Kill {
    fn to_text(self, source: &Path) -> String {
        let Kill { swap, lacks, call } = self;
        let flags = [swap == Swap::Replace, lacks.unnamed, lacks.naming_unnamed, lacks.flags];
        let flags: String = flags.iter().map(|&flag| if flag { '1' } else { '0' }).collect();
        format!("{flags} {call} {}", source.display())
    }

    fn parse(text: &str) -> (Kill, PathBuf) {
        let mut parts = text.splitn(3, ' ');
        let flags: Vec<_> = parts.next().unwrap().chars().map(|flag| flag == '1').collect();
        let call = parts.next().unwrap().parse().unwrap();
        let swap = if flags[0] { Swap::Replace } else { Swap::None };
        let lacks =
            Lacks { unnamed: flags[1], naming_unnamed: flags[2], flags: flags[3], ..Lacks::default() };
        (Kill { swap, lacks, call }, parts.next().unwrap().into())
    }

    /// A compaction in a process of its own, which is killed.
    fn run(self, world: &World) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "leftovers::the_killed_process", "--nocapture"])
            .env(KILL, self.to_text(&world.source()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let parked = lines.any(|line| line.unwrap().ends_with(PARKED));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(parked, "{self:?}");
    }
}

/// The process that is killed; does nothing when it is run as a test.
#[test]
fn the_killed_process() {
    let Ok(text) = std::env::var(KILL) else { return };
    let (Kill { swap, lacks, call }, source) = Kill::parse(&text);
    let naming = Faulty::parking(lacks, call);
    let target = source.with_file_name(TARGET);
    compact_online(source, target, &options(swap, naming), &mut nothing()).unwrap();
}

/// All places to be killed in a compaction, the first naming call to the last.
fn kills(swap: Swap, lacks: Lacks) -> impl Iterator<Item = Kill> {
    let (world, naming) = (world(), Faulty::new(lacks, None));
    compact_online(world.source(), world.target(), &options(swap, naming.clone()), &mut nothing()).unwrap();
    (0..naming.log().len()).map(move |call| Kill { swap, lacks, call })
}

fn all_kills() -> impl Iterator<Item = Kill> {
    let ways = Lacks::ways().flat_map(|lacks| [(Swap::None, lacks), (Swap::Replace, lacks)]);
    ways.flat_map(|(swap, lacks)| kills(swap, lacks))
}

/// The source's name leads to a whole file; the target's to one or none. Nothing else but temporary names is there.
fn check_names(world: &World, case: &str) {
    let state = world.committed().compacted(false);
    for name in names_in(world.folder.path()) {
        if name == SOURCE || name == TARGET {
            state.check(&Db::open(world.folder.path().join(&name)).unwrap());
        } else {
            assert!(world.temporaries().contains(&name), "{name} {case}");
        }
    }
    assert!(world.source().exists(), "{case}");
}

#[test]
fn what_a_killed_process_leaves_is_removed_by_the_next_compaction() {
    let (mut kills, mut left) = (0, 0);
    for kill in all_kills() {
        let (world, case) = (world(), format!("{kill:?}"));
        kill.run(&world);
        check_names(&world, &case);
        left += world.temporaries().len();
        compact_beside(&world, Faulty::counting());
        assert!(world.temporaries().is_empty(), "{:?} {case}", names_in(world.folder.path()));
        check_names_without(&world, "again", &case);
        kills += 1;
    }
    println!("{kills} killed processes left {left} files");
    assert!(left > 20);
}

fn check_names_without(world: &World, name: &str, case: &str) {
    std::fs::remove_file(world.folder.path().join(name)).unwrap();
    check_names(world, case);
}

/// The host has not noticed anything and goes on with the file that it has open.
#[test]
fn what_is_committed_to_the_old_file_after_a_kill_is_never_removed() {
    let mut displaced = 0;
    for kill in all_kills().filter(|kill| kill.swap == Swap::Replace) {
        let mut world = world();
        kill.run(&world);
        world.change();
        world.commit();
        compact_beside(&world, Faulty::counting());
        let names = names_in(world.folder.path());
        let own = std::fs::metadata(world.lasting_path()).unwrap().ino();
        let kept =
            names.iter().find(|name| std::fs::metadata(world.folder.path().join(name)).unwrap().ino() == own);
        let kept = kept.unwrap_or_else(|| panic!("the last commit has no name any more: {kill:?} {names:?}"));
        displaced += u32::from(kept != SOURCE);
        world.committed().check(&Db::open(world.folder.path().join(kept)).unwrap());
    }
    assert!(displaced > 8, "{displaced}");
}

/// A folder as it is after the swap of names, with a process killed at the very end.
fn after_swap() -> (World, String) {
    let world = world();
    kills(Swap::Replace, Lacks::default()).last().unwrap().run(&world);
    let mut left = world.temporaries();
    assert!(left.len() == 1 && is_displaced(&left[0]), "{left:?}");
    (world, left.remove(0))
}

#[test]
fn a_displaced_file_stays_if_its_successor_is_gone_or_older() {
    // Gone.
    let (world, old) = after_swap();
    let source = world.source();
    std::fs::remove_file(&source).unwrap();
    let other = Db::create(world.folder.path().join("other")).unwrap();
    compact(&other, world.folder.path().join("again"), &CompactOptions::default()).unwrap();
    assert_eq!(world.temporaries(), [old]);
    // Overwritten with what is no database any more.
    let (world, old) = after_swap();
    std::fs::write(world.source(), "nothing of use").unwrap();
    compact(&other, world.folder.path().join("again"), &CompactOptions::default()).unwrap();
    assert!(world.temporaries().iter().eq([&old]));
    // Rewritten with an older state.
    let empty = OpenOptions::new().create(true).open(world.folder.path().join("empty")).unwrap();
    drop(empty);
    std::fs::write(world.source(), std::fs::read(world.folder.path().join("empty")).unwrap()).unwrap();
    compact(&other, world.folder.path().join("more"), &CompactOptions::default()).unwrap();
    assert!(world.temporaries().iter().eq([&old]));
    world.committed().check(&Db::open(world.folder.path().join(old)).unwrap());
}

/// Local documents have no sequence numbers, and a file that went on may have any.
#[test]
fn a_displaced_file_stays_if_anything_was_committed_to_it() {
    for also_the_new_one in [false, true] {
        let (world, old) = after_swap();
        let change = LocalUpdate { id: b"_local/late", body: Some(b"1") };
        world.writer.save_local(&[change]).unwrap();
        world.writer.commit_with(1, None).unwrap();
        let new = Db::open(world.source()).unwrap();
        if also_the_new_one {
            for id in [b"a", b"b"] {
                new.save(&[Doc::new(id, b"1").document()], SaveOptions::default()).unwrap();
            }
            new.commit().unwrap();
        }
        compact(&new, world.folder.path().join("again"), &CompactOptions::default()).unwrap();
        assert!(world.temporaries().iter().eq([&old]));
        assert_eq!(
            Db::open(world.folder.path().join(old)).unwrap().local(b"_local/late").unwrap().unwrap(),
            b"1"
        );
    }
}

#[test]
fn a_displaced_file_goes_if_its_successor_went_on_or_has_another_name() {
    let (world, _) = after_swap();
    let db = Db::open(world.source()).unwrap();
    db.save(&[Doc::new(b"later", b"1").document()], SaveOptions::default()).unwrap();
    db.commit_with(1, None).unwrap();
    std::fs::rename(world.source(), world.folder.path().join("renamed")).unwrap();
    compact(&db, world.folder.path().join("again"), &CompactOptions::default()).unwrap();
    assert!(world.temporaries().is_empty());
}

/// A name says whose file a compaction has displaced, and by whose. A file that is neither is nobody's to remove; nor is
/// the successor, if that which it was to displace has no name.
#[test]
fn whose_a_displaced_file_is() {
    const NOBODY: u64 = u64::MAX;
    for (displaced, successor, goes) in [
        (Some(SOURCE), None, true),
        (None, None, false),
        (Some(SOURCE), Some(NOBODY), false),
        (None, Some(NOBODY), false),
    ] {
        let world = world();
        let folder = world.folder.path();
        std::fs::copy(world.source(), folder.join("copy")).unwrap();
        let inode = |name: &str| std::fs::metadata(folder.join(name)).unwrap().ino();
        let displaced = displaced.map_or(NOBODY - 1, inode);
        let successor = successor.unwrap_or_else(|| inode("copy"));
        let name = format!(".couchstore-1-0123456789abcdef-{displaced:x}-{successor:x}-0.old");
        std::fs::rename(folder.join("copy"), folder.join(&name)).unwrap();
        assert!(is_displaced(&name));
        compact_beside(&world, Faulty::counting());
        assert_eq!(folder.join(&name).exists(), !goes, "{name}");
    }
}

#[test]
fn what_somebody_has_locked_is_left_alone() {
    let (world, old) = after_swap();
    let half_made = ".couchstore-1-0123456789abcdef.tmp";
    std::fs::write(world.folder.path().join(half_made), "half").unwrap();
    let held: Vec<_> = [&old, half_made]
        .iter()
        .map(|name| std::fs::File::open(world.folder.path().join(name)).unwrap())
        .inspect(|file| file.try_lock().unwrap())
        .collect();
    let again = compact_beside(&world, Faulty::counting());
    assert_eq!(world.temporaries().len(), 2);
    std::fs::remove_file(again).unwrap();
    for file in held {
        file.unlock().unwrap();
    }
    compact_beside(&world, Faulty::counting());
    assert!(world.temporaries().is_empty());
}

#[test]
fn without_locks_or_lists_nothing_is_removed() {
    for lacks in [Lacks { locks: true, ..Lacks::default() }, Lacks { lists: true, ..Lacks::default() }] {
        let (world, _) = after_swap();
        compact_beside(&world, Faulty::new(lacks, None));
        assert_eq!(world.temporaries().len(), 1, "{lacks:?}");
    }
}

#[test]
fn what_is_none_of_ours_is_left_alone() {
    let world = world();
    let folder = world.folder.path();
    std::fs::create_dir(folder.join(".couchstore-1-1.tmp")).unwrap();
    std::os::unix::fs::symlink(SOURCE, folder.join(".couchstore-1-2.tmp")).unwrap();
    std::fs::copy(world.source(), folder.join(".couchstore-1-3.old")).unwrap();
    std::fs::copy(world.source(), folder.join(".couchstore-1-4-1-2-3.old")).unwrap();
    std::fs::write(folder.join("couchstore-1-5.tmp"), "").unwrap();
    std::fs::write(folder.join(".couchstore-1-6.tmp.couch"), "").unwrap();
    let before = names_in(folder);
    std::fs::remove_file(compact_beside(&world, Faulty::counting())).unwrap();
    assert_eq!(names_in(folder), before);
}

// ---- living processes ---------------------------------------------------------------------------------------------------

/// Two compactions in one folder do not take each other's files for those of the dead.
#[test]
fn living_compactions_leave_each_other_alone() {
    for swap in [Swap::None, Swap::Replace] {
        let (world, other) = (world(), world());
        let copy = world.folder.path().join("other");
        std::fs::copy(other.source(), &copy).unwrap();
        let mut second = While(|| {
            let half_made = world.temporaries();
            assert_eq!(half_made.len(), 1, "{half_made:?}");
            let options = options(swap, Faulty::new(NO_NAMES, None));
            compact_online(&copy, copy.with_extension("compacted"), &options, &mut nothing()).unwrap();
            assert_eq!(world.temporaries(), half_made);
        });
        let options = options(swap, Faulty::new(NO_NAMES, None));
        compact_online(world.source(), world.target(), &options, &mut second).unwrap();
        assert!(world.temporaries().is_empty());
    }
}

/// Half-made files are for their owner alone. What replaces nothing gets the usual rights with its name.
#[test]
fn half_made_files_are_private() {
    let world = world();
    let usual = std::fs::metadata(world.source()).unwrap().mode();
    let mut look = While(|| {
        let half_made = world.folder.path().join(&world.temporaries()[0]);
        assert_eq!(std::fs::metadata(half_made).unwrap().mode() & 0o777, 0o600);
    });
    let options = options(Swap::None, Faulty::new(NO_NAMES, None));
    compact_online(world.source(), world.target(), &options, &mut look).unwrap();
    let created = world.folder.path().join("created");
    OpenOptions::new().create(true).naming(Faulty::new(NO_NAMES, None)).open(&created).unwrap();
    for path in [world.target(), created] {
        assert_eq!(std::fs::metadata(path).unwrap().mode(), usual);
    }
    assert_ne!(usual & 0o777, 0o600, "else this proves nothing");
}

/// Creating a file looks for leftovers only where it has made a named one itself: folders have thousands of files.
#[test]
fn creation_looks_for_leftovers_only_where_it_makes_such() {
    let dir = temp_dir();
    let stale = dir.path().join(".couchstore-1-0123456789abcdef.tmp");
    std::fs::write(&stale, "half").unwrap();
    for (name, lacks) in [("a", Lacks::default()), ("b", NO_NAMES)] {
        let naming = Faulty::new(lacks, None);
        let db = OpenOptions::new().create(true).naming(naming.clone()).open(dir.path().join(name)).unwrap();
        Model::default().check(&db);
        assert_eq!(naming.log().contains(&"list"), lacks.unnamed);
        assert_eq!(stale.exists(), !lacks.unnamed);
    }
}

#[test]
fn the_rights_of_a_replaced_file_are_there_before_its_name() {
    let world = world();
    std::fs::set_permissions(world.source(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let options = options(Swap::Replace, Faulty::new(NO_NAMES, None));
    compact_online(world.source(), "", &options, &mut nothing()).unwrap();
    assert_eq!(std::fs::metadata(world.source()).unwrap().mode() & 0o777, 0o640);
}
