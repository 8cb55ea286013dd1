// SPDX-License-Identifier: Apache-2.0

//! Power cuts on the simulated disk.
//!
//! A workload is recorded: every write, every sync, and what was acknowledged. At each instant of the record the power
//! may go, and then the disk may hold any of several images. Each of them must open at a committed state that
//! includes everything acknowledged, be whole, and take further work; and that work may be cut short in turn.

use crate::common::model::Model;
use crate::history::History;
use crate::oracle::{NAME, check_file, check_handle, keys, new_file, options};
use crate::run::{Replay, all_wanted, on_two_threads, report, runs, seed};
use couchstore::io::sim::SimDisk;
use couchstore::io::sim::crash::{Instant, Log, Shape, Size};
use couchstore::io::sim::random::Random;
use couchstore::{CompactOptions, ENCRYPTION, OpenOptions, compact};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

const TARGET: &str = "target.couch";
/// How many workloads the short form runs.
const WORKLOADS: u64 = 24;

/// A recorded workload.
struct Workload {
    history: History,
    log: Log,
    unbuffered: bool,
    random: Random,
    /// Images that have been checked, by hash: equal ones are not counted again.
    seen: HashSet<u64>,
}

impl Workload {
    fn record(seed: u64, run: u64) -> Workload {
        let mut random = Random::for_run(seed, run);
        let unbuffered = run.is_multiple_of(3);
        let disk = SimDisk::new();
        let encrypted = random.percent(20) && ENCRYPTION;
        let legacy = !encrypted && random.percent(15);
        drop(new_file(&disk, encrypted).legacy_crc(legacy).open(NAME).unwrap());
        disk.put(NAME, disk.bytes(NAME).unwrap());
        let commits = if unbuffered { 2 } else { 6 };
        let history = History::random(&mut random, Model::default(), commits, encrypted);
        let periodic = random.percent(30).then(|| 200 + random.below(3000));
        let log = write(&disk, &history, &options(&disk).unbuffered(unbuffered).periodic_sync(periodic));
        Workload { history, log, unbuffered, random, seen: HashSet::new() }
    }

    /// Whether such an image has not been seen yet.
    fn is_new(&mut self, image: &[u8], marked: u64) -> bool {
        let mut hasher = DefaultHasher::new();
        (image, marked).hash(&mut hasher);
        self.seen.insert(hasher.finish())
    }
}

/// Does what the history says, and records it; each commit that succeeds is acknowledged.
fn write(disk: &SimDisk, history: &History, options: &OpenOptions) -> Log {
    disk.record(NAME);
    let db = options.open(NAME).unwrap();
    for transaction in &history.transactions {
        transaction.save(&db).unwrap();
        transaction.commit(&db).unwrap();
        disk.mark(transaction.number);
    }
    drop(db);
    disk.take_log()
}

/// Garbage behind the end may look like a damaged header, which the format does not allow to be stepped over without
/// being told to.
fn needs_recovery(image: &[u8], shape: Shape) -> bool {
    let disk = SimDisk::new();
    disk.put(NAME, image.to_vec());
    shape.size == Size::FirstGarbage && options(&disk).open(NAME).is_err()
}

/// Checks all images of a workload; returns how many.
fn check_workload(seed: u64, run: u64) -> u64 {
    let _replay = Replay { name: "power cut".into(), seed, run };
    let mut workload = Workload::record(seed, run);
    let log = workload.log.clone();
    let mut images = 0;
    log.each_instant(|instant| images += check_instant(&mut workload, instant));
    images
}

fn check_instant(workload: &mut Workload, instant: &Instant) -> u64 {
    let mut images = 0;
    let rounds = if workload.unbuffered { 1 } else { 4 };
    for shape in Shape::all().into_iter().cycle().take(rounds * Shape::all().len()) {
        let image = instant.image(shape, &mut workload.random);
        if !workload.is_new(&image, instant.marked) {
            continue;
        }
        let recovery = needs_recovery(&image, shape);
        let states = &workload.history.states;
        let found = check_file(&image, recovery, states, instant.marked as usize);
        images += 1;
        if workload.random.percent(5) {
            // Garbage that the first search did not come by may lie in the way of a later one.
            let recovery = recovery || shape.size == Size::FirstGarbage;
            images += check_second_cut(image, recovery, &workload.history, found, &mut workload.random);
        }
    }
    images
}

/// Works on with what the first power cut has left, until the power goes again.
fn check_second_cut(
    image: Vec<u8>,
    recovery: bool,
    before: &History,
    found: usize,
    random: &mut Random,
) -> u64 {
    let (state, encrypted) = (&before.states[found], before.transactions[0].encrypted);
    let disk = SimDisk::new();
    disk.put(NAME, image);
    let history = History::random(random, state.clone(), 2, encrypted);
    let log = write(&disk, &history, &options(&disk).recovery(recovery));
    let mut images = 0;
    log.each_instant(|instant| {
        let shapes = Shape::all();
        for _ in 0..2 {
            let shape = shapes[random.below(shapes.len() as u64) as usize];
            let image = instant.image(shape, random);
            let recovery = recovery || needs_recovery(&image, shape);
            let least = instant.marked.saturating_sub(state.purge_seq);
            check_file(&image, recovery, &history.states, least as usize);
            images += 1;
        }
    });
    images
}

/// Power cuts during a compaction: the target is complete, or cannot be opened at all.
fn check_compaction(seed: u64, run: u64) -> u64 {
    let _replay = Replay { name: "power cut during compaction".into(), seed, run };
    let mut random = Random::for_run(seed, run);
    let disk = SimDisk::new();
    let encrypted = run % 4 == 1 && ENCRYPTION;
    let history = History::random(&mut random, Model::default(), 4, encrypted);
    drop(new_file(&disk, encrypted).open(NAME).unwrap());
    write(&disk, &history, &options(&disk));
    let source = options(&disk).open(NAME).unwrap();
    disk.record(TARGET);
    let compact_options = CompactOptions::new()
        .file_ops(disk.ops())
        .unbuffered(run.is_multiple_of(2))
        .periodic_sync(run.is_multiple_of(3).then_some(2000))
        .keys(keys(encrypted));
    compact(&source, TARGET, &compact_options).unwrap();
    disk.mark(1);
    let mut images = 0;
    disk.take_log().each_instant(|instant| {
        for shape in Shape::all() {
            let image = instant.image(shape, &mut random);
            check_target(&image, &history.last().compacted(false), instant.marked == 1);
            images += 1;
        }
    });
    images
}

fn check_target(image: &[u8], expected: &Model, acknowledged: bool) {
    if image.is_empty() && !acknowledged {
        // Not a half database, but none: whoever opens it makes an empty one of it.
        return;
    }
    let disk = SimDisk::new();
    disk.put(TARGET, image.to_owned());
    for recovery in [false, true] {
        match options(&disk).recovery(recovery).open(TARGET) {
            Ok(db) => drop(check_handle(&db, image.to_owned(), std::slice::from_ref(expected), 0)),
            Err(error) => assert!(!acknowledged, "an acknowledged target does not open: {error}"),
        }
    }
}

/// So many workloads from the seed, and half as many compactions.
pub(crate) fn power_cuts(seed: u64, workloads: u64) -> u64 {
    let images = on_two_threads(runs(workloads), |run| check_workload(seed, run));
    images + on_two_threads(runs(workloads / 2), |run| check_compaction(seed, run))
}

#[test]
fn crash_images() {
    let start = std::time::Instant::now();
    let images = power_cuts(seed(), WORKLOADS);
    report(&format!("crash images: {images} in {:.1} s, 0 violations", start.elapsed().as_secs_f64()));
    assert!(!all_wanted() || images >= 10_000, "{images} images");
}
