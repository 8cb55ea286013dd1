// SPDX-License-Identifier: Apache-2.0

//! What may be found on a disk after the power has gone: everything that was flushed, and any part of what came later.

use crate::disk::{Content, Event};
use crate::filesystem::FileSystem;
use crate::told::{START, Told};
use couchstore::io::sim::crash::{SECTORS, Survivors, survivors};
use couchstore::io::sim::random::Random;
use std::collections::HashSet;
use std::sync::Arc;

/// Images that turn out to be like others are made anew so often.
const TRIES: u64 = 8;

/// An image of a disk.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its place among those of the recording.
    pub(crate) slot: u64,
    pub(crate) content: Content,
    /// What it has to hold.
    pub(crate) told: Told,
    /// How it was made, in words.
    pub(crate) made: String,
}

impl Image {
    /// Of a disk with a new file system.
    pub(crate) fn of_new(content: Content) -> Image {
        Image { slot: 0, content, told: Told::default(), made: String::new() }
    }
}

/// When the power goes, and what survives.
#[derive(Debug)]
struct Choice {
    slot: u64,
    /// So many events have happened.
    instant: usize,
    survivors: Survivors,
    random: Random,
}

impl Choice {
    /// Chooses an instant from `start` on. Half of the time it is one at which a workload has just been told something:
    /// then nothing but what was promised is left to rely on. Else something has just been written: it may be torn.
    fn random(slot: u64, mut random: Random, start: usize, events: &[Event]) -> Choice {
        let mut behind_one = |wanted: fn(&Event) -> bool| {
            let found: Vec<_> = (start..events.len()).filter(|&at| wanted(&events[at])).collect();
            let chosen = random.below(found.len().max(1) as u64) as usize;
            found.get(chosen).map_or(start, |at| at + 1)
        };
        let mark = behind_one(|event| matches!(event, Event::Mark(_)));
        let write = behind_one(|event| matches!(event, Event::Write { .. }));
        let instant = match random.below(4) {
            0 => mark,
            1 => {
                // Up to the next flush more and more is there that nobody was promised.
                let next_flush = events[mark..].iter().position(|event| matches!(event, Event::Flush));
                let beyond = next_flush.unwrap_or(events.len() - mark) as u64;
                mark + random.below(beyond + 1) as usize
            }
            _ => write,
        };
        let [old, new] = SECTORS;
        let survivors = match random.below(10) {
            0 | 1 => Survivors::None,
            2 => Survivors::All,
            3 => Survivors::Prefix(if random.percent(50) { old } else { new }),
            4 | 5 => Survivors::Subset,
            6 | 7 => Survivors::Torn(old),
            _ => Survivors::Torn(new),
        };
        Choice { slot, instant, survivors, random }
    }
}

/// A recorded disk at an instant.
struct Cut<'a> {
    durable: Content,
    /// Writes after the last flush.
    pending: Vec<(u64, &'a Arc<[u8]>)>,
    told: Told,
}

impl<'a> Cut<'a> {
    fn apply(&mut self, event: &'a Event) {
        match event {
            Event::Write { offset, bytes } => self.pending.push((*offset, bytes)),
            Event::Flush => {
                for (offset, bytes) in self.pending.drain(..) {
                    self.durable.write(offset, bytes);
                }
            }
            Event::Mark(text) => self.told.hear(text),
        }
    }

    /// The pieces that survive.
    fn pieces(&self, choice: &mut Choice, system: FileSystem) -> Vec<(u64, &'a [u8])> {
        let last = self.pending.len().saturating_sub(1);
        let mut pieces = Vec::new();
        for (index, (offset, bytes)) in self.pending.iter().enumerate() {
            let tears = matches!(choice.survivors, Survivors::Torn(_) | Survivors::Prefix(_));
            let whole = tears && system.keeps_whole(*offset, bytes);
            let how = if whole { Survivors::Subset } else { choice.survivors };
            let found = survivors(how, *offset as usize, bytes, index == last, &mut choice.random);
            pieces.extend(found.into_iter().map(|(at, piece)| (at as u64, piece)));
        }
        pieces
    }

    fn image(&self, mut choice: Choice, recording: &Recording<'_>) -> Image {
        let mut content = self.durable.clone();
        let pieces = self.pieces(&mut choice, recording.system);
        for (offset, bytes) in &pieces {
            content.write(*offset, bytes);
        }
        let made = format!(
            "after event {} of {}: {} pieces of {} writes since the last flush, {:?}",
            choice.instant,
            recording.events.len(),
            pieces.len(),
            self.pending.len(),
            choice.survivors
        );
        Image { slot: choice.slot, content, told: self.told.clone(), made }
    }
}

/// A disk that was recorded.
#[derive(Clone, Copy)]
pub(crate) struct Recording<'a> {
    pub(crate) system: FileSystem,
    /// What stood on it in the beginning.
    pub(crate) base: &'a Content,
    pub(crate) events: &'a [Event],
    /// By this its images are chosen.
    pub(crate) seed: u64,
}

impl Recording<'_> {
    /// What is tried for each of so many images until one is like no other, in order of time.
    fn choices(&self, images: u64) -> Vec<Vec<Choice>> {
        let is_start = |event: &Event| matches!(event, Event::Mark(text) if text == START);
        let start = self.events.iter().position(is_start).map_or(0, |at| at + 1);
        let choice = |slot, number| {
            let random = Random::for_run(self.seed, slot * TRIES + number);
            Choice::random(slot, random, start, self.events)
        };
        let of_slot = |slot| -> Vec<_> {
            let first = choice(slot, 0);
            // All are about one instant, so that each instant is come to once.
            let others = (1..TRIES).map(|number| Choice { instant: first.instant, ..choice(slot, number) });
            let others: Vec<_> = others.collect();
            std::iter::once(first).chain(others).collect()
        };
        let mut choices: Vec<_> = (0..images).map(of_slot).collect();
        choices.sort_by_key(|choices| choices[0].instant);
        choices
    }

    /// Makes so many images and hands them on, or fewer: no two are alike. If `visit` returns false no more are made.
    pub(crate) fn each_image(&self, images: u64, mut visit: impl FnMut(Image) -> bool) {
        let mut cut = Cut { durable: self.base.clone(), pending: Vec::new(), told: Told::default() };
        let (mut happened, mut seen) = (0, HashSet::new());
        for tries in self.choices(images) {
            for event in &self.events[happened..tries[0].instant] {
                cut.apply(event);
            }
            happened = tries[0].instant;
            let mut made = tries.into_iter().map(|choice| cut.image(choice, self));
            let new = made.find(|image| seen.insert((image.content.hash(), image.told.to_string())));
            if new.is_some_and(|image| !visit(image)) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::told::{have, hold};

    const SECTOR: usize = 512;

    fn write(offset: u64, byte: u8, length: usize) -> Event {
        Event::Write { offset, bytes: vec![byte; length].into() }
    }

    fn mark(text: &str) -> Event {
        Event::Mark(text.to_owned())
    }

    fn images_on(system: FileSystem, events: &[Event]) -> Vec<Image> {
        let base = &Content::default();
        let mut images = Vec::new();
        Recording { system, base, events, seed: 1 }.each_image(300, |image| {
            images.push(image);
            true
        });
        images
    }

    fn images(events: &[Event]) -> Vec<Image> {
        images_on(FileSystem::Xfs, events)
    }

    /// Two writes to one place with a flush between, then one of eight sectors that is never flushed.
    fn log() -> Vec<Event> {
        let begin = [mark(&hold("b", 1)), write(0, 1, SECTOR), Event::Flush, mark(START)];
        let middle = [write(0, 2, SECTOR), Event::Flush, mark(&have("a", 5)), write(8192, 3, 4096)];
        [&begin[..], &middle].concat()
    }

    #[test]
    fn what_was_flushed_is_there_and_what_was_told_goes_with_it() {
        let images = images(&log());
        assert!(images.len() > 20);
        for image in &images {
            let first = image.content.read(0, 1)[0];
            assert!(first == 1 || first == 2);
            assert!(image.told.files.contains_key("b"), "told before the start");
            if image.told.files.contains_key("a") {
                assert_eq!(first, 2, "acknowledged after the second flush");
            }
        }
        let told: HashSet<_> = images.iter().map(|image| image.told.files.contains_key("a")).collect();
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn writes_that_were_not_flushed_survive_in_every_way() {
        let images = images(&log());
        let there: Vec<Vec<bool>> = images
            .iter()
            .map(|image| image.content.read(8192, 4096).chunks(SECTOR).map(|part| part[0] == 3).collect())
            .collect();
        let any = |wanted: &dyn Fn(&[bool]) -> bool| there.iter().any(|sectors| wanted(sectors));
        assert!(any(&|sectors| sectors.iter().all(|&there| there)), "all");
        assert!(any(&|sectors| !sectors.contains(&true)), "none");
        assert!(any(&|sectors| sectors.contains(&true) && sectors.contains(&false)), "torn");
        // No sector holds anything but what was there or what was written.
        for image in &images {
            for sector in image.content.read(8192, 4096).chunks(SECTOR) {
                assert!(sector.iter().all(|&byte| byte == sector[0]) && [0, 3].contains(&sector[0]));
            }
        }
    }

    #[test]
    fn of_writes_to_one_place_the_last_that_survives_counts() {
        let events = [mark(START), write(0, 1, SECTOR), write(0, 2, SECTOR), write(0, 3, SECTOR)];
        let found: HashSet<_> = images(&events).iter().map(|image| image.content.read(0, 1)[0]).collect();
        assert_eq!(found, HashSet::from([0, 1, 2, 3]));
    }

    #[test]
    fn no_two_images_are_alike_and_all_are_made_again() {
        let parts = |image: &Image| (image.content.read(0, 12288), image.told.to_string());
        let all: Vec<_> = images(&log()).iter().map(parts).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert_eq!(images(&log()).iter().map(parts).collect::<Vec<_>>(), all);
    }

    #[test]
    fn superblocks_are_not_torn() {
        let events = [mark(START), write(64 << 10, 1, 4096)];
        for image in images_on(FileSystem::Btrfs, &events) {
            let bytes = image.content.read(64 << 10, 4096);
            assert!(bytes.iter().all(|&byte| byte == bytes[0]));
        }
    }
}
