// SPDX-License-Identifier: Apache-2.0

//! What may be found on the disk after a power cut.
//!
//! Everything before the last sync is there. Of the writes after it any part may be: whole writes in any selection,
//! or single sectors of them. The file's size may have got ahead of its content, then the gap holds zeros or, on file
//! systems that do not take care, whatever was there before; or the content may have got ahead of the size.

use super::random::Random;
use std::sync::Arc;

pub use super::folder::{FolderImage, FolderInstant, FolderLog};

/// Sizes of pieces that are written as a whole: sectors of old and of new disks.
pub const SECTORS: [usize; 2] = [512, 4096];

/// Something that happened to the recorded file.
#[derive(Clone, Debug)]
pub enum Event {
    /// Bytes were written, of which the disk gets these.
    Write {
        /// Where.
        offset: u64,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// Everything written before became durable.
    Sync,
    /// A sync has failed: what was written before may be durable or not, and no later sync changes that.
    FailedSync,
    /// The caller was told that something is durable.
    Mark(u64),
}

/// All that happened to one file.
#[derive(Clone, Debug, Default)]
pub struct Log {
    file: usize,
    start: Vec<u8>,
    events: Vec<Event>,
}

impl Log {
    pub(super) fn new(file: usize, start: Vec<u8>) -> Log {
        Log { file, start, events: Vec::new() }
    }

    pub(super) fn is_about(&self, file: usize) -> bool {
        self.file == file
    }

    pub(super) fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Calls `visit` with every instant at which the power may go: before the first event and after each one.
    pub fn each_instant(&self, mut visit: impl FnMut(&Instant)) {
        let mut instant = Instant { number: 0, marked: 0, pages: Pages::new(self.start.clone()) };
        visit(&instant);
        for event in &self.events {
            instant.number += 1;
            instant.apply(event);
            visit(&instant);
        }
    }
}

/// An instant at which the power goes.
#[derive(Clone, Debug)]
pub struct Instant {
    /// How many events came before.
    pub number: usize,
    /// The highest mark so far, 0 if there is none.
    pub marked: u64,
    pages: Pages,
}

/// What is known of a file's content on the disk.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    durable: Vec<u8>,
    /// Writes that the next sync makes durable.
    unsynced: Vec<(u64, Arc<[u8]>)>,
    /// Writes that no sync makes durable any more, since one has failed. They may be there all the same.
    lost: Vec<(u64, Arc<[u8]>)>,
}

/// What part of the writes after the last sync is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// None.
    None,
    /// All: a prefix of everything written.
    All,
    /// All, but of the last write only its first half, cut at a sector of this size.
    Prefix(usize),
    /// Some of the writes, each whole.
    Subset,
    /// Some sectors of this size.
    Torn(usize),
}

/// How the file's size relates to its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// It ends behind the last byte that survived.
    Exact,
    /// It got ahead, and the gaps hold zeros.
    FirstZeros,
    /// It got ahead, and the gaps hold anything.
    FirstGarbage,
    /// It stayed behind.
    Behind,
}

/// How to make an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Which writes are there.
    pub survivors: Survivors,
    /// What the size is.
    pub size: Size,
}

impl Shape {
    /// All shapes: those that differ at an instant with unsynced writes.
    pub fn all() -> Vec<Shape> {
        let torn = SECTORS.map(Survivors::Torn);
        let prefixes = SECTORS.map(Survivors::Prefix);
        let mut shapes = vec![Shape { survivors: Survivors::None, size: Size::Exact }];
        for survivors in [&[Survivors::All, Survivors::Subset][..], &torn, &prefixes].concat() {
            shapes.push(Shape { survivors, size: Size::Exact });
        }
        for survivors in [&[Survivors::None, Survivors::Subset][..], &torn].concat() {
            for size in [Size::FirstZeros, Size::FirstGarbage] {
                shapes.push(Shape { survivors, size });
            }
        }
        for survivors in [Survivors::All, Survivors::Torn(SECTORS[0])] {
            shapes.push(Shape { survivors, size: Size::Behind });
        }
        shapes
    }
}

impl Instant {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Mark(number) => self.marked = *number,
            event => self.pages.apply(event),
        }
    }

    /// Whether everything is durable, so that all images are equal.
    pub fn is_quiet(&self) -> bool {
        self.pages.is_quiet()
    }

    /// An image of the file after the power cut.
    pub fn image(&self, shape: Shape, random: &mut Random) -> Vec<u8> {
        self.pages.image(shape, random)
    }
}

impl Pages {
    /// Of a file that is as it is on the disk.
    pub(super) fn new(durable: Vec<u8>) -> Pages {
        Pages { durable, unsynced: vec![], lost: vec![] }
    }

    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Write { offset, bytes } => self.unsynced.push((*offset, bytes.clone())),
            Event::Sync => {
                for (offset, bytes) in std::mem::take(&mut self.unsynced) {
                    overwrite(&mut self.durable, offset as usize, &bytes);
                    // What was lost and then written again is there.
                    let end = offset + bytes.len() as u64;
                    self.lost.retain(|(at, lost)| *at >= end || at + lost.len() as u64 <= offset);
                }
            }
            Event::FailedSync => self.lost.append(&mut self.unsynced),
            Event::Mark(_) => {}
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.unsynced.is_empty() && self.lost.is_empty()
    }

    pub(super) fn image(&self, shape: Shape, random: &mut Random) -> Vec<u8> {
        let open: Vec<_> = self.lost.iter().chain(&self.unsynced).collect();
        let full = open.iter().map(|(offset, bytes)| *offset as usize + bytes.len());
        let full = full.max().unwrap_or(0).max(self.durable.len());
        let mut image = self.durable.clone();
        match shape.size {
            Size::FirstZeros => image.resize(full, 0),
            Size::FirstGarbage => image.extend(random.noise(full - self.durable.len())),
            Size::Exact | Size::Behind => {}
        }
        let last = open.len().saturating_sub(1);
        for (index, (offset, bytes)) in open.into_iter().enumerate() {
            for (at, piece) in survivors(shape.survivors, *offset as usize, bytes, index == last, random) {
                overwrite(&mut image, at, piece);
            }
        }
        if shape.size == Size::Behind {
            let grown = image.len().saturating_sub(self.durable.len());
            image.truncate(self.durable.len() + random.below(grown as u64 + 1) as usize);
        }
        image
    }
}

/// The pieces of one write that are on the disk, with their offsets. Only of the last write something may be cut off.
pub fn survivors<'a>(
    survivors: Survivors,
    offset: usize,
    bytes: &'a [u8],
    is_last: bool,
    random: &mut Random,
) -> Vec<(usize, &'a [u8])> {
    match survivors {
        Survivors::Prefix(sector) if is_last => {
            let half = (offset + bytes.len() / 2) / sector * sector;
            vec![(offset, &bytes[..half.saturating_sub(offset)])]
        }
        Survivors::All | Survivors::Prefix(_) => vec![(offset, bytes)],
        Survivors::Subset if random.percent(50) => vec![(offset, bytes)],
        Survivors::None | Survivors::Subset => vec![],
        Survivors::Torn(sector) => {
            let mut pieces = sectors(offset, bytes, sector);
            pieces.retain(|_| random.percent(50));
            pieces
        }
    }
}

/// Cuts a write at the sectors' boundaries in the file.
fn sectors(offset: usize, bytes: &[u8], sector: usize) -> Vec<(usize, &[u8])> {
    let (mut at, mut rest) = (offset, bytes);
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at((sector - at % sector).min(rest.len()));
        pieces.push((at, piece));
        at += piece.len();
        rest = later;
    }
    pieces
}

fn overwrite(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if bytes.is_empty() {
        return;
    }
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}
