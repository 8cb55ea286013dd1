// SPDX-License-Identifier: Apache-2.0

//! The processes that mount: one that works while the disk is recorded, and some that look at images.
//!
//! Each has mounts of its own, which the kernel takes away with the process, together with their loop devices. The
//! process that serves the disks mounts nothing that lies on them: else it could wait for itself, and never end.

use crate::check::{check_folder, go_on};
use crate::filesystem::{FileSystem, Mounted};
use crate::history::States;
use crate::sabotage::Sabotage;
use crate::told::Told;
use crate::workloads::{Marks, Stage, Workload};
use clap::{Args, Subcommand};
use couchstore::io::sim::random::Random;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Answers of processes that check.
pub(crate) const FINE: &str = "fine";
pub(crate) const WRONG: &str = "wrong";
/// The databases are in this folder of the file system.
const FOLDER: &str = "databases";
/// In so many of a hundred images work goes on.
const GOING_ON_PERCENT: u64 = 25;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Works on a disk that is recorded.
    Run(Run),
    /// Checks the images that it is told about.
    Check(Place),
}

/// Where.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The file system.
    #[arg(long)]
    pub(crate) system: FileSystem,
    /// An empty folder to mount it on.
    #[arg(long)]
    pub(crate) mount: PathBuf,
}

/// What to do on a disk that is recorded.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The file that is the disk.
    #[arg(long)]
    pub(crate) disk: PathBuf,
    /// The file to tell it something through.
    #[arg(long)]
    pub(crate) mark: PathBuf,
    #[arg(long)]
    pub(crate) workload: Workload,
    #[arg(long)]
    pub(crate) seed: u64,
    #[arg(long, default_value = "none")]
    pub(crate) sabotage: Sabotage,
    /// What is known of what is on it.
    #[arg(long, default_value = "")]
    pub(crate) told: Told,
}

/// Mounts of this process are nobody else's from now on. To be called before there are threads.
pub(crate) fn own_mounts() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&Path>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
}

/// What the last panic said. One of several threads may come first, and is the cause.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Does something; what it panics with becomes the error.
fn caught<T>(action: impl FnOnce() -> T) -> Result<T, String> {
    crate::serve::locked(&PANIC).take();
    catch_unwind(AssertUnwindSafe(action)).map_err(|_| {
        let said = crate::serve::locked(&PANIC).take();
        said.unwrap_or_else(|| "a panic".to_owned())
    })
}

fn note_panics() {
    std::panic::set_hook(Box::new(|info| {
        crate::serve::locked(&PANIC).get_or_insert_with(|| info.to_string().replace('\n', " "));
    }));
}

/// The process. Returns what is wrong.
pub(crate) fn work(job: &Job) -> Result<(), String> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(|error| error.to_string())?;
    own_mounts().map_err(|error| format!("mounts of its own: {error}"))?;
    note_panics();
    match job {
        Job::Run(run) => run_workload(run),
        Job::Check(place) => check_images(place),
    }
}

fn run_workload(run: &Run) -> Result<(), String> {
    let mounted = Mounted::new(run.place.system, &run.disk, &run.place.mount)?;
    let folder = mounted.folder.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let marks = Marks::new(&run.mark);
    let told = run.told.clone();
    let stage = Stage { folder: &folder, marks: &marks, seed: run.seed, sabotage: run.sabotage, told };
    let result = caught(|| stage.run(run.workload));
    // Writing everything back belongs to the recording.
    let unmounted = mounted.unmount();
    result.and(unmounted)
}

/// An image to be checked: a line that says what is where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) disk: PathBuf,
    /// That of the recording.
    pub(crate) seed: u64,
    /// Its place among the recording's images.
    pub(crate) slot: u64,
    pub(crate) told: Told,
}

impl Task {
    pub(crate) fn line(&self) -> String {
        format!("{} {} {} {}\n", self.disk.display(), self.seed, self.slot, self.told)
    }

    fn from_line(line: &str) -> Option<Task> {
        let mut words = line.trim_end().split(' ');
        Some(Task {
            disk: words.next()?.into(),
            seed: words.next()?.parse().ok()?,
            slot: words.next()?.parse().ok()?,
            told: words.next().unwrap_or_default().parse().ok()?,
        })
    }
}

fn check_images(place: &Place) -> Result<(), String> {
    let mut states = States::new(0);
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let task = Task::from_line(&line).ok_or_else(|| format!("no task: {line}"))?;
        if !states.are_of(task.seed) {
            states = States::new(task.seed);
        }
        let answer = match check_image(place, &task, &mut states) {
            Ok(left) => format!("{FINE} {left}\n"),
            Err(text) => format!("{WRONG} {}\n", text.replace('\n', " ")),
        };
        let mut out = std::io::stdout().lock();
        out.write_all(answer.as_bytes()).and_then(|()| out.flush()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Mounts an image, so that the journal is replayed, and looks at everything. Returns how many files are left for the next
/// compaction to remove.
fn check_image(place: &Place, task: &Task, states: &mut States) -> Result<u64, String> {
    let mounted = Mounted::new(place.system, &task.disk, &place.mount)?;
    let folder = mounted.folder.join(FOLDER);
    let result = caught(|| {
        let left = check_folder(&folder, &task.told, states);
        if left > 0 || Random::for_run(task.seed, task.slot).percent(GOING_ON_PERCENT) {
            go_on(&folder, &task.told, states);
        }
        left
    });
    let unmounted = mounted.unmount();
    result.and_then(|left| unmounted.map(|()| left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_understood() {
        for told in ["", "have:a.couch.1:7,hold:b:0"] {
            let task =
                Task { disk: "/a/disk-3".into(), seed: 5, slot: 6, told: told.parse().expect("facts") };
            assert_eq!(Task::from_line(&task.line()), Some(task));
        }
    }
}
