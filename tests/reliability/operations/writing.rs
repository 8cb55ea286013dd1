// SPDX-License-Identifier: Apache-2.0

//! Operations that change something, and compaction.

use super::{Kind, Operation, Scene, TARGET, World, db, open, previous_header, show, show_all};
use crate::common::model::{Doc, Model};
use crate::oracle::{NAME, options};
use couchstore::{
    CompactHooks, Db, Direction, DocInfoRef, Document, Result, SaveOptions, ScanOptions, Verdict, compact,
    compact_with, replay,
};
use std::fmt::Write;

macro_rules! transaction {
    ($name:literal, $which:ident) => {
        Operation {
            name: $name,
            kind: Kind::Changes,
            prepare: open,
            act: |scene, handle| scene.world.$which().save(db(handle)).map(|()| String::new()),
            changes: Some(|world| (NAME, world.before().clone(), world.$which().applied_to(world.before()))),
        }
    };
}

pub(super) fn changing() -> Vec<Operation> {
    vec![
        transaction!("save", only_docs),
        transaction!("save compressed", compressed),
        transaction!("save large bodies", large),
        transaction!("save local documents", only_locals),
        Operation {
            name: "save, and be told",
            kind: Kind::Changes,
            prepare: open,
            act: |scene, handle| {
                let docs = scene.world.only_docs().docs;
                let documents: Vec<Document<'_>> = docs.iter().map(Doc::document).collect();
                let mut told = String::new();
                let options = SaveOptions::new().compress(true);
                db(handle).save_and_tell(&documents, options, &mut |_, new, index| {
                    write!(told, "{index} {:?} ", new.id).unwrap();
                    Ok(())
                })?;
                db(handle).set_purge_seq(scene.world.next.number);
                Ok(told)
            },
            changes: Some(|world| {
                (NAME, world.before().clone(), world.only_docs().applied_to(world.before()))
            }),
        },
    ]
}

fn whole_transaction(world: &World) -> (&'static str, Model, Model) {
    (NAME, world.before().clone(), world.next.applied_to(world.before()))
}

pub(super) fn committing() -> Vec<Operation> {
    vec![
        Operation {
            name: "commit",
            kind: Kind::Commits,
            prepare: |scene| {
                let db = scene.open();
                scene.world.next.save(&db).unwrap();
                Some(db)
            },
            act: |scene, handle| scene.world.next.commit(db(handle)).map(|()| String::new()),
            changes: Some(whole_transaction),
        },
        Operation {
            name: "commit, and try the second sync again",
            kind: Kind::Commits,
            prepare: |scene| {
                let db = scene.open();
                scene.world.next.save(&db).unwrap();
                Some(db)
            },
            act: |scene, handle| {
                let mut tries = 0;
                let mut retry = |_| {
                    tries += 1;
                    tries <= 2
                };
                db(handle).commit_with(scene.world.next.number, Some(&mut retry)).map(|()| String::new())
            },
            changes: Some(whole_transaction),
        },
        Operation {
            name: "save and commit",
            kind: Kind::Steps,
            prepare: open,
            act: |scene, handle| {
                scene.world.next.save(db(handle))?;
                scene.world.next.commit(db(handle)).map(|()| String::new())
            },
            changes: Some(whole_transaction),
        },
        Operation {
            name: "save and commit with periodic syncs",
            kind: Kind::Steps,
            prepare: |scene| Some(scene.options().periodic_sync(Some(1000)).open(NAME).unwrap()),
            act: |scene, handle| {
                scene.world.next.save(db(handle))?;
                scene.world.next.commit(db(handle)).map(|()| String::new())
            },
            changes: Some(whole_transaction),
        },
        Operation {
            name: "commit after going back",
            kind: Kind::Steps,
            prepare: open,
            act: |scene, handle| {
                db(handle).seek(Direction::End)?;
                db(handle).seek_offset(db(handle).header_position() as i64)?;
                scene.world.next.save(db(handle))?;
                scene.world.next.commit(db(handle)).map(|()| String::new())
            },
            changes: Some(whole_transaction),
        },
    ]
}

/// Drops every third document, and asks for the bodies of others.
struct Filter;

impl CompactHooks for Filter {
    fn filters(&self) -> bool {
        true
    }

    fn filter(&mut self, _: &Db, info: &DocInfoRef<'_>, body: Option<&[u8]>) -> Result<Verdict> {
        Ok(match info.db_seq % 3 {
            0 => Verdict::Drop,
            1 if body.is_none() => Verdict::NeedBody,
            _ => Verdict::Keep,
        })
    }
}

/// The target of a compaction, as text.
fn describe_target(scene: &Scene<'_>) -> Result<String> {
    let disk = scene.disk.after_power_cut(true);
    let db = options(&disk).open(TARGET)?;
    let mut out = format!("{:?} ", db.info()?);
    db.changes_since(0, ScanOptions::default(), &mut |info| show_all(&mut out, &db, info))?;
    db.all_docs(b"", ScanOptions::default(), &mut |info| {
        show(&mut out, info);
        Ok(())
    })?;
    Ok(out)
}

/// The newest state but one in the target, which is opened.
#[allow(clippy::unnecessary_wraps, reason = "the signature of all preparations")]
fn old_target(scene: &Scene<'_>) -> Option<Db> {
    let source = scene.open();
    source.seek(Direction::Backward).unwrap();
    compact(&source, TARGET, &scene.compact_options()).unwrap();
    scene.disk.put(TARGET, scene.disk.bytes(TARGET).unwrap());
    Some(scene.options().open(TARGET).unwrap())
}

pub(super) fn compacting() -> Vec<Operation> {
    vec![
        Operation {
            name: "compact",
            kind: Kind::Compacts,
            prepare: open,
            act: |scene, handle| {
                compact(db(handle), TARGET, &scene.compact_options())?;
                describe_target(scene)
            },
            changes: None,
        },
        Operation {
            name: "compact with filter and periodic syncs",
            kind: Kind::Compacts,
            prepare: open,
            act: |scene, handle| {
                let options = scene.compact_options().drop_deletes(true).periodic_sync(Some(3000));
                compact_with(db(handle), TARGET, &options, &mut Filter)?;
                describe_target(scene)
            },
            changes: None,
        },
        Operation {
            name: "replay",
            kind: Kind::Steps,
            prepare: old_target,
            act: |scene, handle| {
                let source = scene.options().open(NAME)?;
                let end = source.header_position();
                source.seek_offset(previous_header(scene.world))?;
                replay(&source, db(handle), end, &mut (), 500)?;
                source.close()?;
                Ok(String::new())
            },
            changes: Some(|world| {
                let states = &world.base.states;
                (TARGET, states[states.len() - 2].clone(), world.before().clone())
            }),
        },
    ]
}
