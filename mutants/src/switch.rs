// SPDX-License-Identifier: Apache-2.0

//! Which mutant is switched on. `make mutants` puts this file into its copy of the library.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Not read yet.
const UNREAD: usize = usize::MAX;
/// It is noted which mutants are reached.
const NOTING: usize = usize::MAX - 1;

static ACTIVE: AtomicUsize = AtomicUsize::new(UNREAD);

#[inline(always)]
pub(crate) fn is(id: usize) -> bool {
    let active = ACTIVE.load(Ordering::Relaxed);
    active == id || active >= NOTING && slow(id)
}

#[cold]
fn slow(id: usize) -> bool {
    static NOTES: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    static NOTED: [AtomicBool; 8192] = [const { AtomicBool::new(false) }; 8192];
    let notes = NOTES.get_or_init(|| std::env::var_os("COUCHSTORE_MUTANTS_REACHED").map(Into::into));
    let Some(path) = notes else {
        let active = std::env::var("COUCHSTORE_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        ACTIVE.store(active, Ordering::Relaxed);
        return active == id;
    };
    // Written at once, since processes may be killed.
    if !NOTED.get(id).is_none_or(|noted| noted.swap(true, Ordering::Relaxed))
        && let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(path)
    {
        let _ = file.write_all(format!("{id}\n").as_bytes());
    }
    false
}
