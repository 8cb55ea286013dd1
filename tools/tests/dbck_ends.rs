// SPDX-License-Identifier: Apache-2.0

//! `couch_dbck` where documents, numbers, keys or readers of its output come to an unusual end.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forge::{Entry, Forge};
use common::history::State;
use common::place::{KEY, OneKey, Place};
use common::{text, tool};
use couchstore::{Document, OpenOptions, SaveOptions};
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

// ---- documents ----------------------------------------------------------------------------------------------------

#[test]
fn a_deletion_outlives_its_body() {
    let mut forge = Forge::new();
    let live = forge.doc("a", 1, b"alive");
    forge.small(&[&live]);
    let rev_meta = b"meta".to_vec();
    let tombstone =
        Entry { deleted: true, content_meta: 0x83, rev_meta, ..forge.doc("a", 2, b"what was kept") };
    forge.small(&[&tombstone]);
    forge.bytes[tombstone.position as usize + 8] ^= 1;
    let place = Place::with(&forge.bytes);
    for options in [&[][..], &["--stale"]] {
        let (summary, target) = place.recover(options);
        let info = target.doc_info(b"a").unwrap().unwrap();
        assert_eq!((info.deleted, info.db_seq, info.body_position, info.content_meta), (true, 2, 0, 3));
        assert_eq!(info.rev_meta, b"meta");
        assert_eq!((&summary["lost"], &summary["damaged"]["bodies"]), (&0.into(), &1.into()));
    }
}

#[test]
fn a_number_that_is_in_use_again_is_no_obstacle() {
    // The caller gave number 1 to "b" when "a" had got another one: no history was abandoned.
    let mut forge = Forge::new();
    let old = forge.doc("a", 1, b"old");
    forge.small(&[&old]);
    let (same, new) = (forge.doc("b", 1, b"same"), forge.doc("a", 2, b"new"));
    forge.small(&[&same, &new]);
    forge.bytes[new.position as usize + 8] ^= 1;
    let (summary, target) = Place::with(&forge.bytes).recover(&["--stale"]);
    assert_eq!((&summary["lost"], &summary["from_older_headers"]), (&0.into(), &1.into()));
    let state = State::of(&target);
    let found = [b"a", b"b"].map(|id| (state.docs[&id[..]].info.db_seq, state.docs[&id[..]].stored.clone()));
    assert_eq!(found, [(1, Some(b"old".to_vec())), (1, Some(b"same".to_vec()))]);
}

/// More than are looked at together.
#[test]
fn all_documents_with_one_number_come_back() {
    const COUNT: u64 = 60_000;
    let (place, db) = Place::new();
    let ids: Vec<_> = (0..COUNT).map(|number| format!("{number:06}")).collect();
    let docs: Vec<_> =
        ids.iter().map(|id| Document { db_seq: 5, ..Document::new(id.as_bytes(), b"body") }).collect();
    db.save(&docs, SaveOptions::new().keep_sequences(true)).unwrap();
    db.commit().unwrap();
    let (summary, target) = place.recover(&[]);
    assert_eq!((&summary["recovered"], &summary["lost"]), (&COUNT.into(), &0.into()));
    assert_eq!(target.changes_count(5, 5).unwrap(), COUNT);
    assert_eq!(target.info().unwrap().doc_count, COUNT);
}

#[test]
fn a_body_for_thousands_of_entries_is_not_saved_as_often() {
    let mut forge = Forge::new();
    let first = forge.doc("00000", 1, &vec![b'x'; 30_000]);
    let docs: Vec<_> =
        (1..5000).map(|seq| Entry { id: format!("{seq:05}").into(), seq, ..first.clone() }).collect();
    forge.small(&docs.iter().collect::<Vec<_>>());
    let place = Place::with(&forge.bytes);
    let (summary, target) = place.recover(&["--verbose"]);
    assert!(target.info().unwrap().file_size < 6 * forge.bytes.len() as u64);
    let (recovered, lost) = (summary["recovered"].as_u64().unwrap(), summary["lost"].as_u64().unwrap());
    assert!(recovered >= 4 && recovered + lost == 4999, "{summary}");
    assert_eq!(summary["damaged"]["bodies"].as_u64(), Some(1), "{summary}");
}

// ---- keys ---------------------------------------------------------------------------------------------------------

#[test]
#[cfg_attr(not(feature = "encryption"), ignore = "needs encryption")]
fn a_wrong_key_makes_no_target() {
    let place = Place { dir: tempfile::tempdir().unwrap() };
    let options = OpenOptions::new().create(true).keys(Some(Arc::new(OneKey)));
    let db = options.open(place.path("f")).unwrap();
    db.save(&[Document::new(b"a", b"body")], SaveOptions::default()).unwrap();
    db.commit().unwrap();
    let wrong = KEY.replace("QkJCQkJC", "QUFBQUFB");
    let assert =
        tool("couch_dbck", place.dir.path()).args(["--report", "f", "--with-key", &wrong]).assert().code(1);
    let said = text(&assert.get_output().stderr);
    assert!(said.starts_with("couch_dbck: nothing can be decrypted: the key is wrong"), "{said}");
    assert_eq!(said.lines().count(), 1);
    assert_eq!(place.files(), ["f"]);
}

// ---- output -------------------------------------------------------------------------------------------------------

/// A folder with a file of which the damage takes long to tell.
fn much_to_tell() -> Place {
    let mut forge = Forge::new();
    let docs: Vec<_> =
        (0..2000).map(|number| forge.doc(&format!("id-{number:04}"), number, b"body")).collect();
    forge.small(&docs.iter().collect::<Vec<_>>());
    for doc in &docs[1..] {
        forge.bytes[doc.position as usize + 4] ^= 1;
    }
    Place::with(&forge.bytes)
}

fn start(place: &Place, stdout: Stdio) -> Child {
    let mut command = Command::new(common::program("couch_dbck"));
    command.current_dir(place.dir.path()).args(["-v", "--report", "f"]).stdout(stdout).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn the_recovery_goes_on_if_nobody_listens() {
    let place = much_to_tell();
    let mut child = start(&place, Stdio::piped());
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    assert_eq!(place.files(), ["f", "f.recovered"]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_told_is_not_begun() {
    let place = much_to_tell();
    let output = start(&place, File::create("/dev/full").unwrap().into()).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("couch_dbck: standard output: "));
    assert_eq!(place.files(), ["f"]);
}
