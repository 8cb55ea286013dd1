// SPDX-License-Identifier: Apache-2.0

//! Whether a folder holds what it has to after a power cut. What is wrong panics.

use crate::common::naming::{is_temporary, names_in};
use crate::history::{States, small_nodes};
use crate::told::Told;
use couchstore::{CompactOptions, OpenOptions, compact};
use std::path::Path;

#[path = "../../tests/reliability/oracle.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "tests, of which the simulated disk uses the rest")]
pub(crate) mod oracle;

/// Options for databases that may be encrypted.
fn options() -> OpenOptions {
    small_nodes(OpenOptions::new().keys(oracle::keys(true)))
}

const AGAIN: &str = "again";

/// Checks a whole database: all that it shows, and every byte that its header leads to. It is in the state after a commit,
/// which is returned, and which is not before `least`.
pub(crate) fn check_database(path: &Path, least: u64, states: &mut States) -> u64 {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let db = options().read_only(true).open(path);
    let db = db.unwrap_or_else(|error| panic!("{name} does not open: {error}"));
    let found = db.info().unwrap_or_else(|error| panic!("{name}: {error}")).purge_seq;
    assert!(found >= least, "{name}: acknowledged was commit {least}, found is {found}");
    let state = states.after(found).unwrap_or_else(|| panic!("{name}: commit {found} was never made"));
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{name} cannot be read: {error}"));
    oracle::check_handle(&db, bytes, std::slice::from_ref(state), 0);
    found
}

/// Checks all files of a folder. Returns how many are left for the next compaction to remove.
pub(crate) fn check_folder(folder: &Path, told: &Told, states: &mut States) -> u64 {
    let names = names_in(folder);
    for (name, fact) in &told.files {
        assert!(!fact.exists || names.contains(name), "{name} is gone; there are: {names:?}");
    }
    let (left, databases): (Vec<_>, Vec<_>) = names.iter().partition(|name| is_temporary(name));
    for name in databases {
        let fact = told.files.get(name).unwrap_or_else(|| panic!("{name} is there"));
        check_database(&folder.join(name), fact.least, states);
    }
    left.len() as u64
}

/// Goes on to work with a folder: a commit to a database that has to be there, and a compaction that leaves nothing else.
pub(crate) fn go_on(folder: &Path, told: &Told, states: &mut States) {
    let Some((name, fact)) = told.files.iter().find(|(_, fact)| fact.exists) else { return };
    let path = folder.join(name);
    let found = check_database(&path, fact.least, states);
    let db = options().open(&path).expect("open again");
    let after = oracle::further_work(&db, states.after(found).expect("a state that was found"));
    drop(db);
    let db = options().open(&path).expect("open after a further commit");
    after.check(&db);
    let keys = CompactOptions::new().keys(oracle::keys(states.are_encrypted()));
    compact(&db, folder.join(AGAIN), &keys).expect("a further compaction");
    after.check(&options().open(folder.join(AGAIN)).expect("what was compacted"));
    let left: Vec<_> = names_in(folder).into_iter().filter(|name| is_temporary(name)).collect();
    assert!(left.is_empty(), "left for good: {left:?}");
}
