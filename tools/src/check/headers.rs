// SPDX-License-Identifier: Apache-2.0

//! What a header says about other headers.

use super::problem::{Problem, Problems, reason_of};
use couchstore::inspect::{BLOCK_SIZE, FileHeader};
use couchstore::{Db, Error};

/// Checks the pointer to the previous header.
pub(super) fn check_previous(db: &Db, position: u64, header: &FileHeader, problems: &Problems) {
    let problem = |reason: String| problems.add(Problem::of_header(position, reason));
    // 0 also stands for "none" in files that began without a header, as all compacted ones.
    let Some(previous) = header.previous_header().filter(|&previous| previous != 0) else { return };
    if previous >= position || !previous.is_multiple_of(BLOCK_SIZE) {
        return problem(format!("the previous header cannot be at {previous}"));
    }
    match db.header_at(previous) {
        Ok(_) => {}
        Err(Error::NoHeader { .. }) => problem(format!("there is no previous header at {previous}")),
        Err(error) => problem(format!("the previous header at {previous}: {}", reason_of(&error))),
    }
}

/// What all headers of a file have in common, and which of them may be the first.
pub(super) struct Chain {
    newer: Option<(u64, FileHeader)>,
    encrypted: bool,
}

impl Chain {
    pub(super) fn new(db: &Db) -> Chain {
        Chain { newer: None, encrypted: db.encryption_key_id().is_some() }
    }

    /// Checks the next older header.
    pub(super) fn add(&mut self, position: u64, header: &FileHeader, problems: &Problems) {
        if let Some((newer, other)) = self.newer.replace((position, header.clone())) {
            if other.previous.is_some() && other.previous_header().is_none() {
                let reason = format!("says that it is the first, but there is one at {position}");
                problems.add(Problem::of_header(newer, reason));
            }
            if other.version != header.version {
                let (version, expected) = (header.version as u8, other.version as u8);
                let reason = format!("version {version}, but the header behind has version {expected}");
                problems.add(Problem::of_header(position, reason));
            }
        }
        if self.encrypted && !header.has_metadata {
            problems.add(Problem::of_header(position, "says that the file is not encrypted"));
        }
    }
}
