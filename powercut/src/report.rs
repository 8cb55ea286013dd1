// SPDX-License-Identifier: Apache-2.0

//! What was found, and how it is told.

use crate::disk::Event;
use crate::filesystem::FileSystem;
use crate::images::Image;
use crate::sabotage::Sabotage;
use crate::workloads::Workload;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) system: FileSystem,
    pub(crate) seed: u64,
    /// Number of the image.
    pub(crate) image: u64,
    pub(crate) workload: Workload,
    pub(crate) sabotage: Sabotage,
    pub(crate) text: String,
    /// The image; `None` if the workload itself has failed.
    pub(crate) kept: Option<Image>,
}

/// Figures of a file system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Different images that were checked.
    pub(crate) images: u64,
    recordings: u64,
    writes: u64,
    flushes: u64,
    /// Images that had something for the next compaction to remove.
    with_leftovers: u64,
    /// Images, by workload.
    by_workload: BTreeMap<String, u64>,
    pub(crate) violations: Vec<Violation>,
}

impl Tally {
    pub(crate) fn recorded(&mut self, workload: Workload, events: &[Event]) {
        self.recordings += 1;
        self.by_workload.entry(workload.name()).or_default();
        for event in events {
            self.writes += u64::from(matches!(event, Event::Write { .. }));
            self.flushes += u64::from(matches!(event, Event::Flush));
        }
    }

    pub(crate) fn checked(&mut self, workload: Workload, left: u64) {
        self.images += 1;
        self.with_leftovers += u64::from(left > 0);
        *self.by_workload.entry(workload.name()).or_default() += 1;
    }

    /// The figures in a line.
    pub(crate) fn line(&self, system: FileSystem, time: Duration) -> String {
        let Tally { images, recordings, writes, flushes, with_leftovers, .. } = self;
        let by_workload: Vec<_> =
            self.by_workload.iter().map(|(name, images)| format!("{name} {images}")).collect();
        format!(
            "powercut: {system}: {images} images ({}) of {recordings} recordings with {writes} writes and {flushes} flushes; \
             {} violations; {with_leftovers} with leftovers; {} s",
            by_workload.join(", "),
            self.violations.len(),
            time.as_secs()
        )
    }
}

impl Violation {
    /// Says what it is and how to see it again. The image is kept in a folder.
    pub(crate) fn print(&self, folder: &Path) {
        let Violation { system, seed, image, workload, sabotage, text, kept } = self;
        println!("powercut: VIOLATION: {system}, {}, image {image}: {text}", workload.name());
        if let Some(kept) = kept {
            println!("  made: {}", kept.made);
            println!("  told: {}", kept.told);
            match keep(kept, system.disk_size(), folder, &format!("{system}-{seed}-{image}.img")) {
                Ok(path) => println!("  kept: {}", path.display()),
                Err(error) => println!("  not kept: {error}"),
            }
        }
        let sabotage =
            if *sabotage == Sabotage::None { "" } else { " (without the syncs that were left out)" };
        println!("  again: --system {system} --seed {seed} --image {image}{sabotage}");
    }
}

/// Writes an image into a file with holes.
fn keep(image: &Image, size: u64, folder: &Path, name: &str) -> io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(name);
    let file = File::create(&path)?;
    file.set_len(size)?;
    image.content.blocks().try_for_each(|(offset, block)| file.write_all_at(block, offset))?;
    Ok(path)
}

/// A progress bar over some time.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new(title: &str, time: Duration) -> Progress {
        let bar = ProgressBar::new(time.as_secs());
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} s, {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(title.to_owned());
        Progress { bar }
    }

    pub(crate) fn show(&self, tally: &Tally) {
        self.bar.set_position(self.bar.elapsed().as_secs());
        self.bar.set_message(format!("{} images, {} violations", tally.images, tally.violations.len()));
    }

    pub(crate) fn end(self) -> Duration {
        let time = self.bar.elapsed();
        self.bar.finish_and_clear();
        time
    }
}
