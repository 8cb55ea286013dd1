//! Sorted runs of entries in an unnamed file.
//!
//! A run is a stream of entries (key length, value length, key, value) that is cut into frames:
//!
//! ```text
//! u32 length | bytes        the bytes encrypted with a random key if the entries are secret
//! ```
//! The key lives in memory only, and as long as the file.

use crate::crypto::cipher::{Cipher, NONCE_LEN};
use crate::io::naming::unnamed_file;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Plain bytes of a frame.
const FRAME: usize = 64 * 1024;
/// Lengths of key and value before each entry.
const ENTRY_PREFIX: usize = 8;

/// An entry: key and value.
pub(super) type OwnedEntry = (Vec<u8>, Vec<u8>);

/// The file and what is in it.
pub(super) struct Spill {
    file: File,
    cipher: Option<Cipher>,
    runs: Vec<Span>,
    end: Cursor,
}

/// A place in the file, and the number of the frame there.
#[derive(Clone, Copy, Default)]
struct Cursor {
    offset: u64,
    frame: u64,
}

struct Span {
    start: Cursor,
    end: u64,
}

/// A nonce for each frame: the key encrypts nothing else.
fn nonce(frame: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - 8..].copy_from_slice(&frame.to_be_bytes());
    nonce
}

fn failed<T>(_: T) -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl Spill {
    /// An empty file in `directory`; `secret`: what is written is encrypted.
    pub(super) fn new(directory: &Path, secret: bool) -> io::Result<Spill> {
        let cipher = if secret { Some(Cipher::with_random_key().map_err(failed)?) } else { None };
        Ok(Spill { file: unnamed_file(directory)?, cipher, runs: Vec::new(), end: Cursor::default() })
    }

    /// Number of runs.
    #[cfg(test)]
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Writes a run.
    pub(super) fn write_run<'e>(
        &mut self,
        entries: impl Iterator<Item = (&'e [u8], &'e [u8])>,
    ) -> io::Result<()> {
        let start = self.end;
        let mut out = BufWriter::with_capacity(1 << 20, &self.file);
        let mut frame = Vec::with_capacity(2 * FRAME);
        for (key, value) in entries {
            frame.extend_from_slice(&(key.len() as u32).to_be_bytes());
            frame.extend_from_slice(&(value.len() as u32).to_be_bytes());
            frame.extend_from_slice(key);
            frame.extend_from_slice(value);
            if frame.len() >= FRAME {
                write_frame(&mut out, self.cipher.as_ref(), &mut frame, &mut self.end)?;
            }
        }
        write_frame(&mut out, self.cipher.as_ref(), &mut frame, &mut self.end)?;
        out.flush()?;
        drop(out);
        self.runs.push(Span { start, end: self.end.offset });
        Ok(())
    }

    /// Readers of all runs, in the order of writing.
    pub(super) fn readers(&self) -> Vec<Run<'_>> {
        let reader =
            |span: &Span| Run { spill: self, at: span.start, end: span.end, buffer: Vec::new(), used: 0 };
        self.runs.iter().map(reader).collect()
    }
}

fn write_frame(
    out: &mut impl Write,
    cipher: Option<&Cipher>,
    frame: &mut Vec<u8>,
    end: &mut Cursor,
) -> io::Result<()> {
    if frame.is_empty() {
        return Ok(());
    }
    if let Some(cipher) = cipher {
        cipher.seal(nonce(end.frame), b"", frame).map_err(failed)?;
    }
    out.write_all(&(frame.len() as u32).to_be_bytes())?;
    out.write_all(frame)?;
    end.offset += 4 + frame.len() as u64;
    end.frame += 1;
    frame.clear();
    Ok(())
}

/// Reads a run from front to back.
pub(super) struct Run<'a> {
    spill: &'a Spill,
    at: Cursor,
    end: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl Run<'_> {
    fn read_frame(&mut self) -> io::Result<()> {
        if self.at.offset >= self.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut length = [0; 4];
        self.spill.file.read_exact_at(&mut length, self.at.offset)?;
        let length = u32::from_be_bytes(length);
        let mut frame = vec![0; length as usize];
        self.spill.file.read_exact_at(&mut frame, self.at.offset + 4)?;
        if let Some(cipher) = &self.spill.cipher {
            cipher.open(nonce(self.at.frame), b"", &mut frame).map_err(failed)?;
        }
        self.at.offset += 4 + u64::from(length);
        self.at.frame += 1;
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.append(&mut frame);
        Ok(())
    }

    fn take(&mut self, length: usize) -> io::Result<&[u8]> {
        while self.buffer.len() - self.used < length {
            self.read_frame()?;
        }
        self.used += length;
        Ok(&self.buffer[self.used - length..self.used])
    }

    fn length(&mut self) -> io::Result<usize> {
        let bytes = self.take(ENTRY_PREFIX / 2)?;
        Ok(bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)))
    }

    /// The next entry, `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<OwnedEntry>> {
        if self.used == self.buffer.len() && self.at.offset >= self.end {
            return Ok(None);
        }
        let key_length = self.length()?;
        let value_length = self.length()?;
        let key = self.take(key_length)?.to_vec();
        let value = self.take(value_length)?.to_vec();
        Ok(Some((key, value)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn secret_runs_come_back_and_are_not_readable_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let key = b"a key that must not be seen on disk".to_vec();
        for secret in [false, true] {
            let spill = Spill::new(dir.path(), secret);
            if secret && !crate::ENCRYPTION {
                assert!(spill.is_err(), "a secret must not be written in plain text");
                continue;
            }
            let mut spill = spill.unwrap();
            let value = vec![7; 100_000];
            for _ in 0..2 {
                let entries = (0..10).map(|_| (&key[..], &value[..]));
                spill.write_run(entries).unwrap();
            }
            let mut bytes = vec![0; spill.end.offset as usize];
            spill.file.read_exact_at(&mut bytes, 0).unwrap();
            let seen = bytes.windows(key.len()).any(|window| window == key);
            assert_eq!(seen, !secret);
            for mut run in spill.readers() {
                for _ in 0..10 {
                    assert_eq!(run.next().unwrap(), Some((key.clone(), value.clone())));
                }
                assert_eq!(run.next().unwrap(), None);
            }
        }
    }
}
