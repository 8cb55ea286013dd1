// SPDX-License-Identifier: Apache-2.0

//! Rows that read.

use super::corpus::{Corpus, Numbers};
use super::meter::{Measured, Stopwatch};
use super::verify::{Expected, Tally, same_number};
use super::workspace::{Base, Workspace, file_size};
use crate::carry::Carry;
use crate::interrupt::Interrupt;
use crate::program::Failure;
use couchstore::{Db, DocInfoRef, ScanOptions};
use std::collections::HashSet;
use std::hint::black_box;

const MOST_GETS: u64 = 100_000;
/// Ids that are prepared at once, and ids of one multi-get.
const GROUP: u64 = 1000;
const MOST_MULTI_GETS: u64 = 50;
const MOST_OPENS: u64 = 2000;

/// In which order a scan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    BySeq,
    ById,
}

struct Opened {
    base: Base,
    db: Db,
    file_size: u64,
}

impl Opened {
    fn new(workspace: &mut Workspace, encrypted: bool) -> Result<Opened, Failure> {
        let base = workspace.base(workspace.settings.body_size, encrypted)?;
        let db = workspace.options(encrypted).read_only(true).open(&base.path)?;
        Ok(Opened { file_size: file_size(&base.path)?, base, db })
    }

    fn expected(&self) -> &Expected {
        &self.base.expected
    }
}

/// Entry and body of one document after another by random ids, with one handle.
pub(super) fn get(workspace: &mut Workspace) -> Result<Measured, Failure> {
    let opened = Opened::new(workspace, false)?;
    let gets = opened.expected().documents().min(MOST_GETS);
    let mut numbers = Numbers::new(workspace.settings.seed ^ 2);
    let mut watch = Stopwatch::start(&workspace.ops);
    let (mut done, mut bytes) = (0, 0);
    while done < gets {
        workspace.interrupt.check()?;
        let count = GROUP.min(gets - done);
        let chosen: Vec<u64> = (0..count).map(|_| numbers.below(opened.expected().documents())).collect();
        let ids: Vec<Vec<u8>> = chosen.iter().copied().map(Corpus::id).collect();
        let mut bodies = Vec::with_capacity(ids.len());
        watch.time(|| {
            ids.iter().try_for_each(|id| {
                bodies.push(opened.db.get(id)?.unwrap_or_default());
                Ok::<(), couchstore::Error>(())
            })
        })?;
        for (id, body) in ids.iter().zip(&bodies) {
            opened.expected().check_body(id, body)?;
            bytes += (id.len() + body.len()) as u64;
        }
        done += count;
    }
    Ok(Measured { file_size: opened.file_size, ..watch.stop(gets, bytes) })
}

/// Entries of many random ids in one call.
pub(super) fn multiget(workspace: &mut Workspace) -> Result<Measured, Failure> {
    let opened = Opened::new(workspace, false)?;
    let documents = opened.expected().documents();
    let mut numbers = Numbers::new(workspace.settings.seed ^ 3);
    let mut watch = Stopwatch::start(&workspace.ops);
    let (mut found, mut bytes) = (0, 0);
    for _ in 0..(documents / GROUP).clamp(1, MOST_MULTI_GETS) {
        workspace.interrupt.check()?;
        let chosen = numbers.distinct(GROUP.min(documents), documents);
        let ids: Vec<Vec<u8>> = chosen.into_iter().map(Corpus::id).collect();
        let borrowed: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
        let mut shown = 0;
        let mut count = |info: &DocInfoRef<'_>| {
            shown += 1;
            bytes += (info.id.len() + info.rev_meta.len()) as u64;
            Ok(())
        };
        watch.time(|| opened.db.docs_by_id(&borrowed, ScanOptions::default(), &mut count))?;
        same_number(shown, ids.len() as u64)?;
        check_multiget(&opened, &borrowed)?;
        found += shown;
    }
    Ok(Measured { file_size: opened.file_size, ..watch.stop(found, bytes) })
}

/// The same call again, off the clock: the documents that were asked for, and no others.
fn check_multiget(opened: &Opened, ids: &[&[u8]]) -> Result<(), Failure> {
    let asked: HashSet<&[u8]> = ids.iter().copied().collect();
    let mut tally = Tally::new(opened.expected(), &opened.db);
    let mut check = |info: &DocInfoRef<'_>| {
        if !asked.contains(info.id) {
            return Err(Failure::Message("verification failed: a document that nobody asked for".into()));
        }
        tally.add(info)
    };
    let mut carry = Carry::default();
    let read = opened.db.docs_by_id(ids, ScanOptions::default(), &mut |info| carry.take(check(info)));
    carry.result(read)?;
    same_number(tally.shown, ids.len() as u64)
}

/// All entries, with or without bodies.
pub(super) fn scan_all(
    workspace: &mut Workspace,
    order: Order,
    bodies: bool,
    encrypted: bool,
) -> Result<Measured, Failure> {
    let opened = Opened::new(workspace, encrypted)?;
    let db = &opened.db;
    let (mut found, mut bytes) = (0, 0);
    let mut look = |info: &DocInfoRef<'_>| {
        found += 1;
        bytes += (info.id.len() + info.rev_meta.len()) as u64;
        if bodies {
            bytes += black_box(db.body(info)?).len() as u64;
        }
        Ok(())
    };
    let mut watch = Stopwatch::start(&workspace.ops);
    watch.time(|| run_scan(db, order, &mut look))?;
    let measured = Measured { file_size: opened.file_size, ..watch.stop(found, bytes) };
    same_number(found, opened.expected().documents())?;
    check_scan(opened.expected(), &opened.db, order, &workspace.interrupt)?;
    Ok(measured)
}

type Look<'a> = &'a mut dyn FnMut(&DocInfoRef<'_>) -> couchstore::Result<()>;

pub(super) fn run_scan(db: &Db, order: Order, look: Look<'_>) -> couchstore::Result<()> {
    match order {
        Order::BySeq => db.changes_since(0, ScanOptions::default(), look),
        Order::ById => db.all_docs(b"", ScanOptions::default(), look),
    }
}

/// The same scan again, off the clock: every entry is there and in its place, and every body is the right one.
pub(super) fn check_scan(
    expected: &Expected,
    db: &Db,
    order: Order,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let mut tally = Tally::new(expected, db);
    let mut last: Option<(u64, Vec<u8>)> = None;
    let mut check = |info: &DocInfoRef<'_>| {
        interrupt.check()?;
        let in_order = last.as_ref().is_none_or(|(seq, id)| match order {
            Order::BySeq => *seq < info.db_seq,
            Order::ById => id.as_slice() < info.id,
        });
        if !in_order {
            return Err(Failure::Message("verification failed: the scan is not in order".into()));
        }
        last = Some((info.db_seq, info.id.to_vec()));
        tally.add(info)
    };
    let mut carry = Carry::default();
    let scanned = run_scan(db, order, &mut |info| carry.take(check(info)));
    carry.result(scanned)?;
    same_number(tally.shown, expected.documents())
}

/// Opens the file and closes it again.
pub(super) fn open(workspace: &mut Workspace) -> Result<Measured, Failure> {
    let Opened { base, file_size, .. } = Opened::new(workspace, false)?;
    let options = workspace.options(false).read_only(true);
    let opens = (base.expected.documents() / 50).clamp(20, MOST_OPENS);
    let mut watch = Stopwatch::start(&workspace.ops);
    watch.time(|| (0..opens).try_for_each(|_| options.open(&base.path)?.close()))?;
    let measured = Measured { file_size, ..watch.stop(opens, 0) };
    base.expected.check(&options.open(&base.path)?, &workspace.interrupt)?;
    Ok(measured)
}
