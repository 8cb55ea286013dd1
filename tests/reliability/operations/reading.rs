// SPDX-License-Identifier: Apache-2.0

//! Operations that only read, and those that move a handle.

use super::{Operation, db, position, previous_header, reads, seeks, show, show_all, show_item};
use couchstore::{Direction, ScanOptions, WalkItem};
use std::fmt::Write;

pub(super) fn reading() -> Vec<Operation> {
    vec![
        reads("get", |_, handle| {
            let mut out = String::new();
            for number in [1, 4, 9, 16] {
                match db(handle).get(format!("doc-{number}").as_bytes())? {
                    Some(body) => write!(out, "{body:?}").unwrap(),
                    None => out.push_str("none "),
                }
            }
            Ok(out)
        }),
        reads("docinfo by sequence", |scene, handle| {
            let seq = scene.world.before().update_seq;
            let mut out = String::new();
            db(handle).with_doc_info_by_seq(seq, |info| {
                show(&mut out, info);
                Ok(())
            })?;
            Ok(out)
        }),
        reads("local document", |_, handle| {
            let mut out = String::new();
            for number in 0..4 {
                match db(handle).local(format!("_local/{number}").as_bytes())? {
                    Some(body) => write!(out, "{body:?}").unwrap(),
                    None => out.push_str("none "),
                }
            }
            Ok(out)
        }),
        reads("documents by id", |_, handle| {
            let mut out = String::new();
            let ids: [&[u8]; 4] = [b"doc-20", b"doc-3", b"nothing", b"doc-11"];
            db(handle)
                .docs_by_id(&ids, ScanOptions::default(), &mut |info| show_all(&mut out, db(handle), info))?;
            Ok(out)
        }),
        reads("documents by sequence", |_, handle| {
            let mut out = String::new();
            db(handle).docs_by_seq(&[17, 3, 8, 900], ScanOptions::default(), &mut |info| {
                show(&mut out, info);
                Ok(())
            })?;
            Ok(out)
        }),
        reads("count of changes", |_, handle| Ok(format!("{}", db(handle).changes_count(5, 12)?))),
    ]
}

pub(super) fn scanning() -> Vec<Operation> {
    vec![
        reads("scan by sequence", |_, handle| {
            let mut out = String::new();
            db(handle)
                .changes_since(2, ScanOptions::default(), &mut |info| show_all(&mut out, db(handle), info))?;
            Ok(out)
        }),
        reads("scan by id", |_, handle| {
            let mut out = String::new();
            let options = ScanOptions::new().no_deletes(true);
            db(handle).all_docs(b"doc-1", options, &mut |info| show_all(&mut out, db(handle), info))?;
            Ok(out)
        }),
        reads("range of ids", |_, handle| {
            let mut out = String::new();
            db(handle).docs_in_range(b"doc-1", Some(b"doc-2"), ScanOptions::default(), &mut |info| {
                show(&mut out, info);
                Ok(())
            })?;
            Ok(out)
        }),
        reads("scan of local documents", |_, handle| {
            let mut out = String::new();
            db(handle).scan_local(b"", &mut |id, body| {
                write!(out, "{id:?} {body:?}").unwrap();
                Ok(())
            })?;
            Ok(out)
        }),
        reads("walk by id", |_, handle| {
            let mut out = String::new();
            db(handle).walk_by_id(b"", ScanOptions::default(), &mut |depth, item| {
                show_item(&mut out, depth, item);
                Ok(())
            })?;
            Ok(out)
        }),
        reads("walk by sequence, and of local documents", |_, handle| {
            let mut out = String::new();
            let mut add = |depth: usize, item: &WalkItem<'_>| {
                show_item(&mut out, depth, item);
                Ok(())
            };
            db(handle).walk_by_seq(0, ScanOptions::default(), &mut add)?;
            db(handle).walk_local(b"", ScanOptions::default(), &mut add)?;
            Ok(out)
        }),
    ]
}

pub(super) fn seeking() -> Vec<Operation> {
    vec![
        seeks("seek backward", |_, handle| {
            db(handle).seek(Direction::Backward)?;
            Ok(position(db(handle)))
        }),
        seeks("seek to the end", |_, handle| {
            db(handle).seek(Direction::End)?;
            Ok(position(db(handle)))
        }),
        Operation {
            prepare: |scene| {
                let db = scene.open();
                db.seek(Direction::Backward).unwrap();
                db.seek(Direction::Backward).unwrap();
                Some(db)
            },
            ..seeks("seek forward", |_, handle| {
                db(handle).seek(Direction::Forward)?;
                Ok(position(db(handle)))
            })
        },
        seeks("seek to an offset", |scene, handle| {
            db(handle).seek_offset(previous_header(scene.world))?;
            Ok(position(db(handle)))
        }),
        seeks("rewind, step forward", |_, handle| {
            db(handle).rewind()?;
            db(handle).rewind()?;
            db(handle).fast_forward()?;
            Ok(position(db(handle)))
        }),
        seeks("seek to a sequence", |_, handle| {
            db(handle).seek_first_header_containing(9, 3)?;
            Ok(position(db(handle)))
        }),
    ]
}
