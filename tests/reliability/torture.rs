// SPDX-License-Identifier: Apache-2.0

//! The long form: all of it again and again, with new seeds, for `COUCHSTORE_TORTURE_SECONDS`.

use crate::run::report;
use crate::{folder_faults, folders, fsync, images, kill, killed_compactions, naming, sweep, unwritten};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What has been done so far.
#[derive(Default)]
struct Done {
    images: u64,
    syncs: u64,
    kills: u64,
    naming: u64,
    faults: u64,
}

impl Done {
    fn text(&self) -> String {
        let Done { images, syncs, kills, naming, faults } = self;
        format!(
            "{images} images, {faults} faults, {syncs} failed syncs, {naming} naming faults, {kills} kills"
        )
    }

    /// One step of a round; the parts take their turns so that each gets its share of a short run, too.
    fn step(&mut self, number: u64, seed: u64) {
        match number % 8 {
            1 => self.kills += kill::kills(seed, 42).0 + killed_compactions::kills(seed, 1).0,
            3 => {
                self.syncs += fsync::failed_syncs(seed, 20) + unwritten::unwritten_blocks(seed, 20);
            }
            5 => {
                let (runs, violations) = naming::sweep();
                assert_eq!(violations, 0, "violations of naming");
                self.naming += runs;
            }
            // By far the longest: last, so that a short budget gets something of each.
            7 => self.faults += folder_faults::sweep(seed) + sweep::sweep(seed),
            _ => self.images += images::power_cuts(seed, 60) + folders::power_cuts(seed, 12),
        }
    }
}

fn progress_bar(budget: Duration) -> ProgressBar {
    let bar = ProgressBar::new(budget.as_secs());
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {percent}% {msg}").unwrap();
    bar.set_style(style.progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

/// Does nothing unless it is asked for: `make torture SECONDS=600`.
#[test]
fn torture() {
    let Ok(seconds) = std::env::var("COUCHSTORE_TORTURE_SECONDS") else { return };
    let budget = Duration::from_secs(seconds.parse().expect("COUCHSTORE_TORTURE_SECONDS is a number"));
    let first = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (bar, start) = (progress_bar(budget), Instant::now());
    let mut done = Done::default();
    for number in 0.. {
        if start.elapsed() >= budget {
            break;
        }
        done.step(number, first.wrapping_add(number));
        bar.set_position(start.elapsed().as_secs());
        bar.set_message(done.text());
    }
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs();
    report(&format!("torture from seed {first}: {} in {seconds} s, 0 violations", done.text()));
}
