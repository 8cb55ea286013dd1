// SPDX-License-Identifier: Apache-2.0

//! One file system, many recordings, many images of each.

use crate::disk::{Content, Disk, Event};
use crate::filesystem::FileSystem;
use crate::history::plain;
use crate::images::{Image, Recording};
use crate::processes::{Checker, run_workload};
use crate::report::{Tally, Violation};
use crate::sabotage::Sabotage;
use crate::serve::{Served, locked};
use crate::told::Told;
use crate::worker::{Place, Run, Task};
use crate::workloads::Workload;
use couchstore::io::sim::random::Random;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Images that are made of one recording.
const IMAGES_FIRST: u64 = 20;
/// And those of what is done on one of them, until the power goes again.
const IMAGES_AGAIN: u64 = 5;
pub(crate) const IMAGES_EACH: u64 = IMAGES_FIRST + IMAGES_AGAIN;

/// What to do with a file system.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) system: FileSystem,
    pub(crate) seed: u64,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) sabotage: Sabotage,
    pub(crate) time: Duration,
    /// At most so many images; 0: as many as there is time for.
    pub(crate) images: u64,
    /// This image alone.
    pub(crate) only: Option<u64>,
    /// The first violation ends it.
    pub(crate) first: bool,
    pub(crate) jobs: usize,
}

/// Served disks and folders to mount them on.
pub(crate) struct Ground {
    served: Served,
    folder: PathBuf,
}

impl Ground {
    /// `folder` is an empty one.
    pub(crate) fn prepare(folder: &Path) -> io::Result<Ground> {
        let disks = folder.join("disks");
        std::fs::create_dir(&disks)?;
        Ok(Ground { served: Served::mount(&disks)?, folder: folder.to_owned() })
    }

    /// A folder to mount something on.
    fn mount_point(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Makes a file system.
    pub(crate) fn make(&self, system: FileSystem) -> Result<Content, String> {
        let disk = self.served.serve(Disk::new(system.disk_size(), Content::default()));
        system.make(&disk.path)?;
        Ok(disk.with(|disk| disk.content.clone()))
    }

    /// Records a workload on a disk with this content, of which so much is known.
    fn record(
        &self,
        plan: &Plan,
        (base, told): (&Content, Told),
        seed: u64,
        workload: Workload,
    ) -> Result<Vec<Event>, String> {
        let disk = Disk::recording(plan.system.disk_size(), base.clone(), seed);
        let disk = self.served.serve(disk);
        let mount = self.mount_point("work").map_err(|error| error.to_string())?;
        let place = Place { system: plan.system, mount };
        let (path, mark, sabotage) = (disk.path.clone(), disk.mark.clone(), plan.sabotage);
        run_workload(&Run { place, disk: path, mark, workload, seed, sabotage, told })?;
        Ok(disk.with(|disk| disk.log.take()).unwrap_or_default())
    }
}

/// An image on its way to be checked.
struct Job {
    /// Among all of the file system.
    number: u64,
    seed: u64,
    workload: Workload,
    image: Image,
}

/// What the threads of a campaign share.
struct Shared<'a> {
    plan: &'a Plan,
    ground: &'a Ground,
    end: Instant,
    tally: &'a Mutex<Tally>,
}

impl Shared<'_> {
    fn is_over(&self) -> bool {
        let tally = locked(self.tally);
        let enough = self.plan.images > 0 && tally.images >= self.plan.images;
        enough || Instant::now() >= self.end || self.plan.first && !tally.violations.is_empty()
    }

    /// Records, and makes images, until it is over.
    fn produce(&self, base: &Content, queue: &SyncSender<Job>) {
        let first = self.plan.only.map_or(0, |image| image / IMAGES_EACH);
        for recording in first.. {
            if self.is_over() || self.plan.only.is_some() && recording > first {
                return;
            }
            let index = (recording % self.plan.workloads.len() as u64) as usize;
            let (workload, seed) = (self.plan.workloads[index], self.recording_seed(recording));
            let seed = if workload.needs_plain_content() { plain(seed) } else { seed };
            let number = recording * IMAGES_EACH;
            let new = Image::of_new(base.clone());
            let mut first = None;
            self.cut(&new, (number, IMAGES_FIRST), (seed, workload), queue, |image| {
                if image.slot == 0 {
                    first = Some(image.clone());
                }
            });
            if let Some(first) = first.filter(|_| !self.is_over() || self.plan.only.is_some()) {
                let numbers = (number + IMAGES_FIRST, IMAGES_AGAIN);
                self.cut(&first, numbers, (seed, Workload::Again), queue, |_| {});
            }
        }
    }

    /// Records what is done on a disk, and makes so many images, the first of which has this number.
    fn cut(
        &self,
        start: &Image,
        (number, count): (u64, u64),
        (seed, workload): (u64, Workload),
        queue: &SyncSender<Job>,
        mut made: impl FnMut(&Image),
    ) {
        let (base, told) = (&start.content, start.told.clone());
        let events = match self.ground.record(self.plan, (base, told), seed, workload) {
            Ok(events) => events,
            Err(text) => return self.violation(number, workload, text, None),
        };
        locked(self.tally).recorded(workload, &events);
        let recording = Recording { system: self.plan.system, base, events: &events, seed };
        recording.each_image(count, |image| {
            made(&image);
            let job = Job { number: number + image.slot, seed, workload, image };
            let wanted = self.plan.only.is_none_or(|only| only == job.number);
            !wanted || !self.is_over() && queue.send(job).is_ok()
        });
    }

    fn recording_seed(&self, recording: u64) -> u64 {
        Random::for_run(self.plan.seed ^ self.plan.system as u64, recording).number()
    }

    /// Checks images until there are no more.
    fn consume(&self, number: usize, queue: &Mutex<Receiver<Job>>) {
        let mount = self.ground.mount_point(&format!("check-{number}")).expect("a folder to mount on");
        let mut checker = Checker::new(self.plan.system, mount);
        loop {
            let job = locked(queue).recv();
            let Ok(job) = job else { return };
            // Once it is over the rest is let go.
            if !self.is_over() || self.plan.only.is_some() {
                self.check(&mut checker, job);
            }
        }
    }

    fn check(&self, checker: &mut Checker, job: Job) {
        let Job { number, seed, workload, image } = job;
        let disk = Disk::new(self.plan.system.disk_size(), image.content.clone());
        let disk = self.ground.served.serve(disk);
        let (slot, told) = (image.slot, image.told.clone());
        let result = checker.check(&disk, Task { disk: PathBuf::new(), seed, slot, told });
        locked(self.tally).checked(workload, result.as_ref().copied().unwrap_or(0));
        if let Err(text) = result {
            self.violation(number, workload, text, Some(image));
        }
    }

    fn violation(&self, image: u64, workload: Workload, text: String, kept: Option<Image>) {
        let Plan { system, seed, sabotage, .. } = *self.plan;
        let violation = Violation { system, seed, image, workload, sabotage, text, kept };
        locked(self.tally).violations.push(violation);
    }
}

/// Does what is planned. `watch` sees how it goes from time to time.
pub(crate) fn run(ground: &Ground, plan: &Plan, base: &Content, watch: impl Fn(&Tally) + Sync) -> Tally {
    let tally = Mutex::new(Tally::default());
    let shared = Shared { plan, ground, end: Instant::now() + plan.time, tally: &tally };
    let (sender, receiver) = sync_channel(plan.jobs);
    let receiver = Mutex::new(receiver);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                watch(&locked(&tally));
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        std::thread::scope(|scope| {
            for number in 0..plan.jobs {
                let (shared, receiver) = (&shared, &receiver);
                scope.spawn(move || shared.consume(number, receiver));
            }
            shared.produce(base, &sender);
            drop(sender);
        });
        is_done.store(true, Ordering::Relaxed);
    });
    tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
