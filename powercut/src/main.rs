// SPDX-License-Identifier: Apache-2.0

//! Power cuts on real file systems.
//!
//! Databases live on ext4, XFS and btrfs whose disk is this program: it sees every write and every flush, and knows what
//! was acknowledged when. From that it makes disks as a power cut may leave them, mounts each, and looks at everything.
//!
//! * `disk`: a disk in memory that notes what is done to it
//! * `serve`: disks as files that loop devices can be put on (FUSE)
//! * `filesystem`: making and mounting
//! * `workloads`, `history`: what is done meanwhile, and what is committed
//! * `told`: what was acknowledged
//! * `images`: what may be on the disk afterwards
//! * `check`: whether that is what it should be
//! * `sabotage`: syncs that are left out on purpose, to see that it is noticed
//! * `worker`, `processes`: the processes that mount
//! * `campaign`, `report`: all of that, many times
//!
//! It ends with 0 if everything holds, with 1 after a violation, and with 77 if something could not be tried.

mod campaign;
mod check;
#[allow(dead_code, clippy::unwrap_used, reason = "tests, of which those of the library use the rest")]
mod common;
mod disk;
mod filesystem;
mod history;
mod images;
mod processes;
mod report;
mod sabotage;
mod serve;
mod told;
mod worker;
mod workloads;

use campaign::{Ground, Plan};
use clap::{Parser, Subcommand};
use filesystem::FileSystem;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{SigSet, Signal};
use report::{Progress, Tally};
use sabotage::{Sabotage, sabotages};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use workloads::Workload;

/// Cuts the power of databases on real file systems. Needs root, FUSE, loop devices, and the programs that make the file
/// systems.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Hidden>,
    /// How long, for all file systems together; with --sabotage, how long to wait until a thing is noticed.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// At most so many images of each file system; 0: as many as there is time for.
    #[arg(long, default_value_t = 0)]
    images: u64,
    /// The file systems [default: ext4,xfs,btrfs; with --sabotage also ext4-unordered].
    #[arg(long, value_delimiter = ',')]
    system: Vec<FileSystem>,
    /// What is done [default: everything].
    #[arg(long, value_delimiter = ',')]
    workload: Vec<Workload>,
    /// Repeats a run.
    #[arg(long)]
    seed: Option<u64>,
    /// Repeats an image. What the file system does at which instant is not quite the same each time; the image itself is
    /// kept in a file.
    #[arg(long, requires = "seed")]
    image: Option<u64>,
    /// Leaves out syncs, and fails unless that is noticed.
    #[arg(long)]
    sabotage: bool,
    /// Processes that check [default: one per processor].
    #[arg(long)]
    jobs: Option<usize>,
    /// Images with violations are kept here.
    #[arg(long, default_value = "found")]
    keep: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Hidden {
    /// What the program starts itself for.
    #[command(hide = true)]
    Worker {
        #[command(subcommand)]
        job: worker::Job,
    },
}

/// How it went.
#[derive(Debug, Default)]
struct Outcome {
    images: u64,
    violations: u64,
    /// File systems that could not be tried, and why.
    not_done: Vec<String>,
}

const NOT_DONE: u8 = 77;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Hidden::Worker { job }) = &cli.command {
        return match worker::work(job) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => {
                eprintln!("{text}");
                ExitCode::FAILURE
            }
        };
    }
    match try_all(&cli) {
        Ok(outcome) => tell(&outcome, cli.sabotage),
        Err(why) => {
            println!("powercut: not done: {why}");
            ExitCode::from(NOT_DONE)
        }
    }
}

fn tell(outcome: &Outcome, sabotage: bool) -> ExitCode {
    let Outcome { images, violations, not_done } = outcome;
    let why = not_done.join("; ");
    if *violations > 0 {
        println!("powercut: FAILED: {violations} {}", if sabotage { "not noticed" } else { "violations" });
        ExitCode::FAILURE
    } else if !not_done.is_empty() {
        println!("powercut: not done: {why}");
        ExitCode::from(NOT_DONE)
    } else if *images == 0 {
        println!("powercut: not done: no images in this time");
        ExitCode::from(NOT_DONE)
    } else if sabotage {
        println!("powercut: passed: everything that was left out was noticed");
        ExitCode::SUCCESS
    } else {
        println!("powercut: passed: {images} images, 0 violations");
        ExitCode::SUCCESS
    }
}

/// Prepares, and tries each file system. An error: nothing can be tried here.
fn try_all(cli: &Cli) -> Result<Outcome, String> {
    worker::own_mounts().map_err(|error| format!("mounts need root ({error})"))?;
    let folder = tempfile::Builder::new().prefix("couchstore-powercut-").tempdir();
    let folder = folder.map_err(|error| format!("no folder for temporary files: {error}"))?;
    clean_up_when_interrupted(folder.path()).map_err(|error| format!("no handling of signals: {error}"))?;
    let ground = Ground::prepare(folder.path()).map_err(|error| format!("FUSE: {error}"))?;
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = cli.seed.unwrap_or(clock.as_millis() as u64);
    println!("powercut: seed {seed}");
    let mut outcome = Outcome::default();
    let systems = systems(cli);
    for &system in &systems {
        let base = match ground.make(system) {
            Ok(base) => base,
            Err(why) => {
                println!("powercut: {system}: not done: {why}");
                outcome.not_done.push(format!("{system}: {why}"));
                continue;
            }
        };
        let parts = if cli.sabotage { 1 } else { systems.len() as u32 };
        let time = Duration::from_secs(cli.seconds) / parts;
        let plan = Plan {
            system,
            seed,
            workloads: if cli.workload.is_empty() { Workload::ALL.into() } else { cli.workload.clone() },
            sabotage: Sabotage::None,
            time,
            images: cli.images,
            only: cli.image,
            first: false,
            jobs: cli
                .jobs
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into))
                .max(1),
        };
        if cli.sabotage {
            notice_all(&ground, &plan, &base, &mut outcome);
        } else {
            check_all(&ground, &plan, &base, &cli.keep, &mut outcome);
        }
    }
    drop(ground);
    remove(folder.path());
    Ok(outcome)
}

/// The file systems to try.
fn systems(cli: &Cli) -> Vec<FileSystem> {
    let usual = [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs, FileSystem::Ext4Unordered];
    match &*cli.system {
        [] if cli.sabotage => usual.into(),
        [] => usual[..3].into(),
        systems => systems.into(),
    }
}

/// Runs a plan behind a progress bar.
fn run(ground: &Ground, plan: &Plan, base: &disk::Content, title: &str) -> (Tally, Duration) {
    let progress = Progress::new(title, plan.time);
    let tally = campaign::run(ground, plan, base, |tally| progress.show(tally));
    (tally, progress.end())
}

fn check_all(ground: &Ground, plan: &Plan, base: &disk::Content, keep: &Path, outcome: &mut Outcome) {
    let (tally, time) = run(ground, plan, base, &plan.system.to_string());
    tally.violations.iter().for_each(|violation| violation.print(keep));
    println!("{}", tally.line(plan.system, time));
    outcome.images += tally.images;
    outcome.violations += tally.violations.len() as u64;
}

/// Leaves out one thing after the other, on purpose. What is not noticed counts as a violation.
fn notice_all(ground: &Ground, plan: &Plan, base: &disk::Content, outcome: &mut Outcome) {
    for &(sabotage, workload) in sabotages(plan.system) {
        let plan = Plan { sabotage, workloads: vec![workload], first: true, ..plan.clone() };
        let title = format!("{}: without {sabotage} ({})", plan.system, workload.name());
        let (tally, time) = run(ground, &plan, base, &title);
        let seconds = time.as_secs();
        let noticed = tally.violations.first();
        match noticed {
            Some(violation) => println!(
                "powercut: {title}: {} {} images, {seconds} s: image {}: {}",
                if violation.kept.is_some() { "noticed after" } else { "FAILED after" },
                tally.images,
                violation.image,
                violation.text
            ),
            None => println!("powercut: {title}: NOT NOTICED in {} images, {seconds} s", tally.images),
        }
        // A workload that fails is no disk on which something is missing.
        let is_noticed = noticed.is_some_and(|violation| violation.kept.is_some());
        outcome.images += tally.images;
        outcome.violations += u64::from(!is_noticed);
    }
}

/// Removes the folder for temporary files, and what is mounted in it.
fn remove(folder: &Path) {
    let inside = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in inside.map(|entry| entry.path()) {
        let _ = umount2(&path, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_dir(&path);
    }
    let _ = std::fs::remove_dir(folder);
}

/// A thread waits for signals, removes the folder, and ends the process: the other processes, their mounts and their loop
/// devices go with it.
fn clean_up_when_interrupted(folder: &Path) -> nix::Result<()> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block()?;
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        let signal = signals.wait();
        remove(&folder);
        println!("powercut: not done: ended by {}", signal.map_or("a signal", Signal::as_str));
        std::process::exit(130);
    });
    Ok(())
}
