// SPDX-License-Identifier: Apache-2.0

//! A disk that fails to write content for a while: a commit reports it, the file is opened again, and work goes on.

use super::{NAME, Stage};
use crate::check::check_database;
use crate::history::{States, transaction};
use crate::told::have;
use couchstore::io::sim::random::Random;
use couchstore::{OpenOptions, Result};
use std::fs::File;

/// What it says if the disk was asked to fail and nothing came of it.
const NOTHING_FAILED: &str = "no write has failed: the disk does not know what content is";

/// Commits, commits while the disk fails, closes, opens again, commits. What it shows in between is a committed state.
pub(super) fn survive(
    stage: &Stage<'_>,
    options: &OpenOptions,
    commits: u64,
    random: &mut Random,
) -> Result<()> {
    let path = stage.path(NAME);
    let mut states = States::new(stage.seed);
    let mut acknowledged = commits;
    for _ in 0..2 + random.below(3) {
        let db = options.open(&path)?;
        for _ in 0..random.below(3) {
            acknowledged += 1;
            stage.commit(&db, NAME, acknowledged)?;
        }
        let failed_before = stage.marks.failed_writes();
        stage.marks.say("fail");
        let next = transaction(stage.seed, acknowledged + 1);
        let result = next.save(&db).and_then(|()| next.commit(&db));
        assert!(stage.marks.failed_writes() > failed_before, "{NOTHING_FAILED}");
        result.expect_err("a commit whose content was not written");
        if random.percent(50) {
            next.commit(&db).expect_err("another commit after a failed sync");
        }
        stage.marks.say("heal");
        if random.percent(50) {
            next.commit(&db).expect_err("another commit on a healed disk after a failed sync");
        }
        drop(db);
        if random.percent(50) {
            forget(&path);
        }
        let shown = check_database(&path, acknowledged, &mut states);
        assert!(shown <= acknowledged + 1, "shown is commit {shown} after {acknowledged}");
        // Now it lasts, whatever it was.
        let db = options.open(&path)?;
        acknowledged = shown + 1;
        stage.commit(&db, NAME, acknowledged)?;
        drop(db);
        forget(&path);
        assert_eq!(check_database(&path, acknowledged, &mut states), acknowledged);
        stage.marks.say(&have(NAME, acknowledged));
    }
    Ok(())
}

/// Lets the kernel forget what it has of a file in memory, as far as it is on the disk.
fn forget(path: &std::path::Path) {
    let file = File::open(path).expect("a file");
    nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED)
        .expect("advice about a file");
}
