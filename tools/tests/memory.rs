// SPDX-License-Identifier: Apache-2.0

//! How much memory the tools take that read whole files: what is compressed well is inflated once at a time, however
//! many threads there are.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::child::process;
use couchstore::{COMPRESSED, Db, Document, LocalUpdate, SaveOptions};
use std::path::Path;
use std::process::Stdio;

const MIB: u64 = 1 << 20;
/// The largest chunk after inflating, in bytes.
const LARGE: u64 = 60 * MIB;

/// Bodies that a twentieth is stored of, among small documents, so that several threads come to them at once; and a
/// local document.
fn file(folder: &Path) {
    let db = Db::create(folder.join("a.couch")).unwrap();
    let large = vec![7; LARGE as usize];
    let compress = SaveOptions::new().compress(true);
    for number in 0..16 {
        let id = format!("large {number}");
        let document = Document { content_meta: COMPRESSED, ..Document::new(id.as_bytes(), &large) };
        db.save(&[document], compress).unwrap();
        let ids: Vec<_> = (0..256).map(|small| format!("{number}-{small:01000}")).collect();
        let documents: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), b"small")).collect();
        db.save(&documents, SaveOptions::default()).unwrap();
    }
    db.save_local(&[LocalUpdate { id: b"_local/large", body: Some(&large[..large.len() - 100]) }]).unwrap();
    db.commit().unwrap();
}

/// Most memory that a tool had at once, in bytes.
#[allow(clippy::zombie_processes, reason = "wait4 also tells of its memory")]
fn peak(folder: &Path, name: &str, args: &[&str]) -> u64 {
    let child = process(name, folder).args(args).stdout(Stdio::null()).spawn().unwrap();
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: a child of this process that nobody else waits for, and room for what is told of it.
    let waited = unsafe { libc::wait4(child.id().cast_signed(), &raw mut status, 0, usage.as_mut_ptr()) };
    assert_eq!(waited, child.id().cast_signed());
    assert_eq!(status, 0, "{name} {args:?}");
    // SAFETY: all zero is a value, and wait4 has filled it in.
    let peak = unsafe { usage.assume_init() }.ru_maxrss.cast_unsigned() * 1024;
    println!("{name} {args:?}: {} MiB", peak / MIB);
    peak
}

#[test]
fn what_inflates_to_much_is_in_memory_once() {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path());
    for threads in ["1", "8", "64"] {
        let peak = peak(folder.path(), "couch_check", &["--threads", threads, "a.couch"]);
        assert!(peak >= LARGE, "{threads} threads");
        assert!(peak <= 2 * LARGE + 64 * MIB, "{threads} threads: {peak}");
    }
    let peak = peak(folder.path(), "couch_dbck", &["a.couch", "recovered.couch"]);
    assert!((LARGE..=4 * LARGE + 64 * MIB).contains(&peak), "{peak}");
}
