// SPDX-License-Identifier: Apache-2.0

//! A disk in memory that notes everything that is done to it, and whose writes of content fail on demand.

use couchstore::io::sim::random::Random;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Content is kept in blocks of this size. Those that hold zeros only are not kept.
pub(crate) const BLOCK: usize = 4096;

/// What the bodies of documents consist of: so a disk knows them, whatever the file system.
pub(crate) const BODY_PATTERN: &[u8; 16] = b"powercut-content";

/// What stands on a disk. Copies share their blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    blocks: HashMap<u64, Arc<[u8; BLOCK]>>,
    /// The hashes of all blocks that are kept, by exclusive or.
    hash: u64,
}

fn hash_of(number: u64, block: &[u8; BLOCK]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (number, block).hash(&mut hasher);
    hasher.finish()
}

impl Content {
    pub(crate) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        for (block, within, part) in parts(offset, length) {
            if let Some(stored) = self.blocks.get(&block) {
                bytes[part.clone()].copy_from_slice(&stored[within..within + part.len()]);
            }
        }
        bytes
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (block, within, part) in parts(offset, bytes.len()) {
            let old = self.blocks.remove(&block);
            self.hash ^= old.as_ref().map_or(0, |old| hash_of(block, old));
            let mut new = old.unwrap_or_else(|| Arc::new([0; BLOCK]));
            Arc::make_mut(&mut new)[within..within + part.len()].copy_from_slice(&bytes[part]);
            if new.iter().any(|&byte| byte != 0) {
                self.hash ^= hash_of(block, &new);
                self.blocks.insert(block, new);
            }
        }
    }

    /// A number that tells it apart from other content.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The blocks that do not hold zeros only, with their offsets.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (u64, &[u8; BLOCK])> {
        self.blocks.iter().map(|(number, block)| (number * BLOCK as u64, &**block))
    }
}

/// Where a piece of a disk lies in blocks: block, offset in it, and which part of the piece that is.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % BLOCK as u64) as usize;
        let part = done..length.min(done + BLOCK - within);
        done = part.end;
        Some((at / BLOCK as u64, within, part))
    })
}

/// Something that happened to a disk.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Write {
        offset: u64,
        bytes: Arc<[u8]>,
    },
    /// Everything written before is durable.
    Flush,
    /// A program that works on the disk has said something: see [`crate::told::Told`].
    Mark(String),
}

/// A disk.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) size: u64,
    pub(crate) content: Content,
    /// What happened since the beginning; `None`: nobody wants to know.
    pub(crate) log: Option<Vec<Event>>,
    /// Writes of content fail.
    failing: bool,
    /// So many writes have failed.
    failed: u64,
    random: Random,
}

/// A write that has failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WriteFailed;

impl Disk {
    /// A disk that starts with some content.
    pub(crate) fn new(size: u64, content: Content) -> Disk {
        Disk { size, content, log: None, failing: false, failed: 0, random: Random::new(0) }
    }

    /// The same, which notes what happens. The seed decides what becomes of writes that fail.
    pub(crate) fn recording(size: u64, content: Content, seed: u64) -> Disk {
        Disk { log: Some(Vec::new()), random: Random::new(seed), ..Disk::new(size, content) }
    }

    pub(crate) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let left = self.size.saturating_sub(offset);
        self.content.read(offset, length.min(left as usize))
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), WriteFailed> {
        let fails = self.failing && bytes.windows(BODY_PATTERN.len()).any(|window| window == BODY_PATTERN);
        // What has failed may have been written all the same.
        if !fails || self.random.percent(30) {
            self.content.write(offset, bytes);
            self.note(|| Event::Write { offset, bytes: bytes.into() });
        }
        self.failed += u64::from(fails);
        if fails { Err(WriteFailed) } else { Ok(()) }
    }

    pub(crate) fn flush(&mut self) {
        self.note(|| Event::Flush);
    }

    /// What a program says: that writes are to fail or to succeed, or what goes into the log.
    pub(crate) fn say(&mut self, text: &str) {
        match text {
            "fail" => self.failing = true,
            "heal" => self.failing = false,
            text => self.note(|| Event::Mark(text.to_owned())),
        }
    }

    pub(crate) fn failed_writes(&self) -> u64 {
        self.failed
    }

    fn note(&mut self, event: impl FnOnce() -> Event) {
        if let Some(log) = &mut self.log {
            log.push(event());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_what_was_written_last() {
        let mut random = Random::new(1);
        let (mut content, mut plain) = (Content::default(), vec![0; 5 * BLOCK]);
        for _ in 0..200 {
            let offset = random.below(4 * BLOCK as u64);
            let length = random.below(BLOCK as u64) as usize;
            let bytes = if random.percent(50) { vec![0; length] } else { random.noise(length) };
            content.write(offset, &bytes);
            plain[offset as usize..offset as usize + length].copy_from_slice(&bytes);
        }
        assert!(content.read(0, plain.len()) == plain);
        let offset = BLOCK as u64 - 7;
        assert!(content.read(offset, BLOCK) == plain[BLOCK - 7..2 * BLOCK - 7]);
    }

    #[test]
    fn zeros_are_not_kept_and_copies_are_apart() {
        let mut content = Content::default();
        content.write(0, &[0; 3 * BLOCK]);
        assert_eq!(content.blocks().count(), 0);
        content.write(100, &[7]);
        let copy = content.clone();
        content.write(100, &[0]);
        assert_eq!((content.blocks().count(), copy.blocks().count()), (0, 1));
        assert_eq!(content.hash(), Content::default().hash());
        assert_ne!(content.hash(), copy.hash());
        assert_eq!(copy.read(100, 1), [7]);
    }

    #[test]
    fn only_content_fails_and_only_on_demand() {
        let mut disk = Disk::recording(1 << 20, Content::default(), 1);
        let body = BODY_PATTERN.repeat(10);
        assert_eq!(disk.write(0, &body), Ok(()));
        disk.say("fail");
        assert_eq!(disk.write(4096, &body), Err(WriteFailed));
        assert_eq!(disk.write(8192, b"metadata"), Ok(()));
        disk.say("heal");
        assert_eq!(disk.write(4096, &body), Ok(()));
        assert_eq!(disk.failed_writes(), 1);
    }

    #[test]
    fn reads_end_with_the_disk() {
        assert_eq!(Disk::new(1000, Content::default()).read(900, 200).len(), 100);
    }
}
