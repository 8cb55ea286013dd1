// SPDX-License-Identifier: Apache-2.0

//! Sorted runs of entries in an unnamed file.
//!
//! A run is a stream of entries (key length, value length, key, value) that is cut into frames of a fixed size, the
//! last one shorter:
//!
//! ```text
//! bytes | u32 CRC-32C of the bytes, combined by XOR with that of salt and number of the frame
//! bytes | 16-byte tag         the bytes encrypted with a random key, if the entries are secret
//! ```
//! Where the runs are and how long they are stays in memory, as key and salt do, which no other file has: whatever the
//! disk gives back instead of a frame - changed bytes, another frame, one of an earlier file - is noticed.

use super::merge::{Run, Sorted, key_prefix};
use crate::crypto::cipher::{Cipher, Failed, NONCE_LEN, TAG_LEN};
use crate::error::{Error, ErrorCode, Operation, Result};
use crate::format::chunk::Checksum;
use crate::io::temp::unnamed_file;
use crate::memory;
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Plain bytes of a frame.
const FRAME: usize = 32 * 1024;
/// Lengths of key and value before each entry.
const LENGTHS: usize = 8;
const CRC_LEN: usize = 4;

/// How frames are protected.
enum Seal {
    /// This salt goes into the checksums.
    Checksum([u8; 8]),
    Cipher(Box<Cipher>),
}

impl Seal {
    fn new(secret: bool) -> Result<Seal, Failed> {
        if secret {
            return Ok(Seal::Cipher(Box::new(Cipher::with_random_key()?)));
        }
        // Against accidents, not against people: it need not be secret.
        Ok(Seal::Checksum(RandomState::new().build_hasher().finish().to_be_bytes()))
    }

    /// What a frame takes besides its bytes.
    fn overhead(&self) -> usize {
        match self {
            Seal::Checksum(_) => CRC_LEN,
            Seal::Cipher(_) => TAG_LEN,
        }
    }

    fn checksum(salt: [u8; 8], number: u64, bytes: &[u8]) -> u32 {
        let mut place = [0; 16];
        place[..8].copy_from_slice(&salt);
        place[8..].copy_from_slice(&number.to_be_bytes());
        Checksum::Crc32c.compute(bytes) ^ Checksum::Crc32c.compute(&place)
    }

    /// Makes of the bytes of a frame what is written.
    fn close(&self, number: u64, frame: &mut Vec<u8>) -> Result<(), Unsound> {
        match self {
            Seal::Checksum(salt) => {
                let crc = Seal::checksum(*salt, number, frame);
                frame.extend_from_slice(&crc.to_be_bytes());
                Ok(())
            }
            Seal::Cipher(cipher) => cipher.seal(nonce(number), b"", frame).map_err(|_| Unsound(0)),
        }
    }

    /// Makes of what was read the bytes of the frame again.
    fn open(&self, number: u64, frame: &mut Vec<u8>) -> Result<(), Unsound> {
        match self {
            Seal::Checksum(salt) => {
                let stored = frame.split_off(frame.len().saturating_sub(CRC_LEN));
                let stored = stored.iter().fold(0, |crc, &byte| crc << 8 | u32::from(byte));
                if stored == Seal::checksum(*salt, number, frame) { Ok(()) } else { Err(Unsound(stored)) }
            }
            Seal::Cipher(cipher) => cipher.open(nonce(number), b"", frame).map_err(|_| Unsound(0)),
        }
    }
}

/// A frame that is not what was written; the checksum it came with, if it has one.
struct Unsound(u32);

/// A nonce for each frame: the key encrypts nothing else.
fn nonce(frame: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&frame.to_be_bytes());
    nonce
}

/// The file and what is in it.
pub(super) struct Spill {
    file: File,
    /// For messages.
    name: Arc<str>,
    seal: Seal,
    runs: Vec<Span>,
    end: Place,
}

/// A place in the file, and the number of the frame there.
#[derive(Clone, Copy, Default)]
struct Place {
    offset: u64,
    frame: u64,
}

/// A run: where it starts, its plain bytes, its longest entry.
#[derive(Clone, Copy)]
struct Span {
    start: Place,
    length: u64,
    longest: usize,
}

impl Spill {
    /// An empty file in `directory`; `secret`: what is written is encrypted.
    pub(super) fn new(directory: &Path, secret: bool) -> Result<Spill> {
        let name: Arc<str> = format!("temporary file in {}", directory.display()).into();
        let file = unnamed_file(directory).map_err(|error| failed(&name, Operation::Open, 0, &error))?;
        let seal = Seal::new(secret);
        let seal = seal.map_err(|_| Error::Encrypt { file: name.clone(), reason: "no key could be made" })?;
        Ok(Spill { file, name, seal, runs: Vec::new(), end: Place::default() })
    }

    /// Number of runs.
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Bytes of memory for reading a run.
    pub(super) fn cost_of_reading(&self, run: usize) -> usize {
        // A frame and an entry.
        let longest = self.runs.get(run).map_or(0, |span| span.longest);
        FRAME + self.seal.overhead() + longest + size_of::<SpilledRun<'_>>()
    }

    /// Begins a run.
    pub(super) fn begin_run(&mut self) -> Result<RunWriter<'_>> {
        let mut frame = Vec::new();
        memory::reserve_exact(&mut frame, FRAME + self.seal.overhead())?;
        let span = Span { start: self.end, length: 0, longest: 0 };
        Ok(RunWriter { spill: self, frame, span })
    }

    /// Readers of these runs, in the order of writing.
    pub(super) fn readers(&self, runs: std::ops::Range<usize>) -> Vec<SpilledRun<'_>> {
        let spans = self.runs.get(runs).unwrap_or_default();
        spans.iter().map(|span| SpilledRun::new(self, *span)).collect()
    }

    fn unsound(&self, offset: u64, length: usize, Unsound(crc): Unsound) -> Error {
        Error::Checksum { file: self.name.clone(), position: offset, length: length as u32, crc }
    }
}

fn failed(name: &Arc<str>, operation: Operation, position: u64, error: &io::Error) -> Error {
    let code = if operation == Operation::Read { ErrorCode::READ } else { ErrorCode::WRITE };
    let os_error = error.raw_os_error().unwrap_or(0);
    Error::Io { operation, file: name.clone(), position, code, os_error }
}

/// Writes a run from front to back.
pub(super) struct RunWriter<'a> {
    spill: &'a mut Spill,
    frame: Vec<u8>,
    span: Span,
}

impl RunWriter<'_> {
    /// Adds an entry; keys do not descend.
    pub(super) fn add(&mut self, entry: Sorted<'_>) -> Result<()> {
        let Sorted { bytes, key_length } = entry;
        self.span.longest = self.span.longest.max(bytes.len());
        self.put(&(key_length as u32).to_be_bytes())?;
        self.put(&((bytes.len() - key_length) as u32).to_be_bytes())?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.span.length += bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(FRAME - self.frame.len()));
            self.frame.extend_from_slice(now);
            rest = later;
            if self.frame.len() == FRAME {
                self.write_frame()?;
            }
        }
        Ok(())
    }

    fn write_frame(&mut self) -> Result<()> {
        let Spill { file, name, seal, end, .. } = &mut *self.spill;
        let sealed = seal.close(end.frame, &mut self.frame);
        sealed.map_err(|_| Error::Encrypt { file: name.clone(), reason: "the cipher refused" })?;
        let written = file.write_all(&self.frame);
        written.map_err(|error| failed(name, Operation::Write, end.offset, &error))?;
        end.offset += self.frame.len() as u64;
        end.frame += 1;
        self.frame.clear();
        Ok(())
    }

    /// Ends the run.
    pub(super) fn finish(mut self) -> Result<()> {
        if !self.frame.is_empty() {
            self.write_frame()?;
        }
        self.spill.runs.push(self.span);
        Ok(())
    }
}

/// Reads a run from front to back.
pub(super) struct SpilledRun<'a> {
    spill: &'a Spill,
    /// The next frame, and how many plain bytes there are from it on.
    at: Place,
    left: u64,
    frame: Vec<u8>,
    used: usize,
    /// The entry at hand: its key, then its value.
    entry: Vec<u8>,
    key_length: usize,
}

impl SpilledRun<'_> {
    fn new(spill: &Spill, span: Span) -> SpilledRun<'_> {
        SpilledRun {
            spill,
            at: span.start,
            left: span.length,
            frame: Vec::new(),
            used: 0,
            entry: Vec::new(),
            key_length: 0,
        }
    }

    fn read_frame(&mut self) -> Result<()> {
        let (spill, offset) = (self.spill, self.at.offset);
        let plain = self.left.min(FRAME as u64) as usize;
        let length = plain + spill.seal.overhead();
        self.frame.clear();
        memory::reserve_exact(&mut self.frame, length)?;
        self.frame.resize(length, 0);
        match spill.file.read_exact_at(&mut self.frame, offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(spill.unsound(offset, length, Unsound(0)));
            }
            read => read.map_err(|error| failed(&spill.name, Operation::Read, offset, &error))?,
        }
        let opened = spill.seal.open(self.at.frame, &mut self.frame);
        opened.map_err(|unsound| spill.unsound(offset, length, unsound))?;
        self.used = 0;
        self.left -= plain as u64;
        self.at.offset += length as u64;
        self.at.frame += 1;
        Ok(())
    }

    /// Adds the next `length` bytes of the run to `entry`.
    fn take(&mut self, length: usize) -> Result<()> {
        let mut missing = length;
        while missing > 0 {
            if self.used == self.frame.len() {
                if self.left == 0 {
                    return Err(Error::Internal("a run of entries that ends within one".into()));
                }
                self.read_frame()?;
            }
            let piece = self.frame.get(self.used..).unwrap_or_default();
            let piece = piece.get(..missing).unwrap_or(piece);
            self.entry.extend_from_slice(piece);
            self.used += piece.len();
            missing -= piece.len();
        }
        Ok(())
    }
}

impl Run for SpilledRun<'_> {
    fn advance(&mut self, skip: usize) -> Result<Option<u64>> {
        self.entry.clear();
        if self.used == self.frame.len() && self.left == 0 {
            return Ok(None);
        }
        self.take(LENGTHS)?;
        let lengths = self.entry.iter().fold(0, |lengths: u64, &byte| lengths << 8 | u64::from(byte));
        let (key, value) = ((lengths >> 32) as usize, (lengths & u64::from(u32::MAX)) as usize);
        self.entry.clear();
        memory::reserve_exact(&mut self.entry, key + value)?;
        self.take(key + value)?;
        self.key_length = key;
        Ok(Some(key_prefix(self.entry().key(), skip)))
    }

    fn entry(&self) -> Sorted<'_> {
        Sorted { bytes: &self.entry, key_length: self.key_length }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn without_encryption_secrets_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Spill::new(dir.path(), true).is_ok(), crate::ENCRYPTION);
    }

    /// Whether the entries are secret.
    const KINDS: &[bool] = if crate::ENCRYPTION { &[false, true] } else { &[false] };
    use crate::compact::merge::merge;

    const KEY: &[u8] = b"a key that must not be seen on disk";
    const VALUE: [u8; 1000] = [7; 1000];

    /// Two runs of `entries` entries each.
    fn spill(directory: &Path, secret: bool, entries: u32) -> Spill {
        let mut spill = Spill::new(directory, secret).unwrap();
        for _ in 0..2 {
            let mut run = spill.begin_run().unwrap();
            for number in 0..entries {
                let key = [KEY, &number.to_be_bytes()].concat();
                let bytes = [&key[..], &VALUE].concat();
                run.add(Sorted { bytes: &bytes, key_length: key.len() }).unwrap();
            }
            run.finish().unwrap();
        }
        spill
    }

    /// Entries that are read before an error, if there is one. Each must be one that was written.
    fn read(spill: &Spill) -> Result<u32> {
        let mut count = 0;
        merge(&mut spill.readers(0..spill.runs()), 0, &mut |entry| {
            let number: u32 = count / 2;
            assert_eq!(entry.split(), (&[KEY, &number.to_be_bytes()].concat()[..], &VALUE[..]));
            count += 1;
            Ok(())
        })
        .map(|()| count)
    }

    fn bytes(spill: &Spill) -> Vec<u8> {
        let mut bytes = vec![0; spill.end.offset as usize];
        spill.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn check_noticed(spill: &Spill) {
        assert_eq!(read(spill).unwrap_err().code(), ErrorCode::CHECKSUM_FAIL);
    }

    #[test]
    fn what_the_disk_refuses_is_told_with_its_number_and_place() {
        let dir = tempfile::tempdir().unwrap();
        for &secret in KINDS {
            let mut spill = spill(dir.path(), secret, 200);
            let end = spill.end.offset;
            // Full, and not open for writing.
            for (may_write, number) in [(true, libc::ENOSPC), (false, libc::EBADF)] {
                spill.file = File::options().read(true).write(may_write).open("/dev/full").unwrap();
                let run = spill.begin_run();
                let written = run.and_then(|mut run| {
                    (0..100).try_for_each(|_| run.add(Sorted { bytes: &VALUE, key_length: 8 }))
                });
                let error = written.unwrap_err();
                assert_eq!((error.code(), error.os_error()), (ErrorCode::WRITE, Some(number)));
                assert!(matches!(error, Error::Io { position, .. } if position == end), "{error}");
            }
            spill.file = File::options().write(true).open("/dev/null").unwrap();
            let error = read(&spill).unwrap_err();
            assert_eq!((error.code(), error.os_error()), (ErrorCode::READ, Some(libc::EBADF)));
        }
        let error = Spill::new(&dir.path().join("nowhere"), false).err().unwrap();
        assert_eq!((error.code(), error.os_error()), (ErrorCode::WRITE, Some(libc::ENOENT)));
    }

    #[test]
    fn secret_runs_come_back_and_are_not_readable_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        for &secret in KINDS {
            let spill = spill(dir.path(), secret, 100);
            let seen = bytes(&spill).windows(KEY.len()).any(|window| window == KEY);
            assert_eq!(seen, !secret);
            assert_eq!(read(&spill).unwrap(), 200);
        }
    }

    /// Memory for it is as large as both in sum.
    #[test]
    fn an_entry_with_a_large_key_and_a_large_value() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = vec![7; 2 << 24];
        let mut spill = Spill::new(dir.path(), false).unwrap();
        let mut run = spill.begin_run().unwrap();
        run.add(Sorted { bytes: &bytes, key_length: 1 << 24 }).unwrap();
        run.finish().unwrap();
        let mut run = spill.readers(0..1).pop().unwrap();
        run.advance(0).unwrap();
        assert!(run.entry().bytes == bytes && run.entry().key_length == 1 << 24);
    }

    #[test]
    fn a_flipped_bit_at_any_position_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        for &secret in KINDS {
            let spill = spill(dir.path(), secret, 2);
            for (position, byte) in bytes(&spill).into_iter().enumerate() {
                let flipped = [byte ^ 1 << (position % 8)];
                spill.file.write_all_at(&flipped, position as u64).unwrap();
                check_noticed(&spill);
                spill.file.write_all_at(&[byte], position as u64).unwrap();
            }
            assert_eq!(read(&spill).unwrap(), 4);
        }
    }

    /// A file system that loses a write gives back what was there before, or zeros.
    #[test]
    fn another_frame_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        for &secret in KINDS {
            let spill = spill(dir.path(), secret, 200);
            let sound = bytes(&spill);
            let frame = FRAME + spill.seal.overhead();
            // The same entries at the same place, but of another file.
            let stale = bytes(&self::spill(dir.path(), secret, 200));
            assert_eq!(stale.len(), sound.len());
            for (from, to) in [(0, 1), (1, 0), (2, 3)] {
                let moved = &sound[from * frame..(from + 1) * frame];
                spill.file.write_all_at(moved, (to * frame) as u64).unwrap();
                check_noticed(&spill);
                spill.file.write_all_at(&sound, 0).unwrap();
            }
            for replaced in [&stale[..frame], &vec![0; frame]] {
                spill.file.write_all_at(replaced, 0).unwrap();
                check_noticed(&spill);
                spill.file.write_all_at(&sound, 0).unwrap();
            }
            assert_eq!(read(&spill).unwrap(), 400);
            for length in [sound.len() - 1, frame + 7, frame, 1, 0] {
                spill.file.set_len(length as u64).unwrap();
                check_noticed(&spill);
            }
        }
    }
}
