// SPDX-License-Identifier: Apache-2.0

//! Going on after a power cut, until the power goes again.

use super::Stage;
use crate::check::check_database;
use crate::history::States;
use crate::told::{have, hold};
use couchstore::Result;
use couchstore::io::sim::random::Random;

/// Says again what was said before, and what has become of it.
pub(super) fn look_around(stage: &Stage<'_>) {
    let mut states = States::new(stage.seed);
    for (name, fact) in &stage.told.files {
        let path = stage.path(name);
        let said = if fact.exists || path.exists() {
            have(name, check_database(&path, fact.least, &mut states))
        } else {
            hold(name, fact.least)
        };
        stage.marks.say(&said);
    }
}

/// Some commits to each database that there is.
pub(super) fn commit_to_all(stage: &Stage<'_>, random: &mut Random) -> Result<()> {
    for name in stage.told.files.keys().filter(|name| stage.path(name).exists()) {
        let db = stage.options().open(stage.path(name))?;
        let found = db.info()?.purge_seq;
        stage.commit_some(&db, name, found + 1, 1 + random.below(4))?;
    }
    Ok(())
}
