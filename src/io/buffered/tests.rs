#![allow(clippy::unwrap_used, reason = "tests")]
// SPDX-License-Identifier: Apache-2.0

use super::*;
use crate::io::stale::FileStatus;
use parking_lot::Mutex;
use std::sync::Arc;

/// A file in memory that counts calls, can return short counts and can fail.
#[derive(Default)]
struct Memory {
    bytes: Vec<u8>,
    preads: Vec<usize>,
    pwrites: usize,
    fail_writes: bool,
    fail_syncs: bool,
    syncs: usize,
    shortest: bool,
    /// Asked what the operating system says, which is this or follows from the bytes.
    looks: std::cell::Cell<usize>,
    size: Option<u64>,
    linked: bool,
}

struct Handle(Arc<Mutex<Memory>>);

impl FileHandle for Handle {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        let mut memory = self.0.lock();
        memory.preads.push(buf.len());
        let from = memory.bytes.get(offset as usize..).unwrap_or_default();
        let n = from.len().min(if memory.shortest { 1 } else { buf.len() });
        buf[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }
    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        let mut memory = self.0.lock();
        memory.pwrites += 1;
        if memory.fail_writes {
            return Err(IoError::new(ErrorCode::WRITE, libc::EIO));
        }
        let n = if memory.shortest { 1 } else { buf.len() };
        let end = offset as usize + n;
        if memory.bytes.len() < end {
            memory.bytes.resize(end, 0);
        }
        memory.bytes[offset as usize..end].copy_from_slice(&buf[..n]);
        Ok(n)
    }
    fn size(&mut self) -> Result<u64, IoError> {
        Ok(self.0.lock().bytes.len() as u64)
    }
    fn sync(&mut self) -> Result<(), IoError> {
        let mut memory = self.0.lock();
        memory.syncs += 1;
        if memory.fail_syncs { Err(IoError::new(ErrorCode::WRITE, libc::EIO)) } else { Ok(()) }
    }
    fn status(&self) -> Option<Result<FileStatus, IoError>> {
        let memory = self.0.lock();
        memory.looks.set(memory.looks.get() + 1);
        let size = memory.size.unwrap_or(memory.bytes.len() as u64);
        Some(Ok(FileStatus { size, linked: memory.linked, id: (0, 0) }))
    }
    fn close(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

const UNITS: Buffering = Buffering::Units(BufferSizes { unit: 4096, count: 16 });

fn buffered() -> (Buffered, Arc<Mutex<Memory>>) {
    let memory = Arc::new(Mutex::new(Memory::default()));
    (Buffered::new(Box::new(Handle(memory.clone())), UNITS), memory)
}

#[test]
fn reads_see_through_the_write_buffer_without_flushing() {
    let (mut io, memory) = buffered();
    memory.lock().bytes = vec![7; 10];
    io.write(10, b"abc").unwrap();
    let mut buf = [0; 6];
    assert_eq!(io.read(8, &mut buf, 6), Ok(5));
    assert_eq!(&buf[..5], b"\x07\x07abc");
    assert_eq!(memory.lock().pwrites, 0);
}

/// With all kinds of buffers: the file before, in and behind what waits to be written.
#[test]
fn reads_see_the_file_on_both_sides_of_the_write_buffer() {
    let file: Vec<u8> = (0..20_000_u32).map(|at| (at / 7) as u8).collect();
    for (pending, length) in [(5000_usize, 100_usize), (8192, 4096), (8200, 9000), (100, 4000), (4000, 1)] {
        for buffering in [UNITS, Buffering::Off, Buffering::Exact] {
            let memory = Arc::new(Mutex::new(Memory { bytes: file.clone(), ..Memory::default() }));
            let mut io = Buffered::new(Box::new(Handle(memory)), buffering);
            let mut expected = file.clone();
            if buffering != Buffering::Off {
                io.write(pending as u64, &vec![0xff; length]).unwrap();
                expected[pending..pending + length].fill(0xff);
            }
            for step in 0..2000_usize {
                let at = step * 7919 % file.len();
                let n = (1 + step * 31 % 5000).min(file.len() - at);
                let mut buf = vec![0; n];
                assert_eq!(io.read(at as u64, &mut buf, n), Ok(n));
                assert!(buf == expected[at..at + n], "{buffering:?}: {n} at {at} with {length} at {pending}");
                if buffering == Buffering::Exact {
                    let found = io.fetch(at as u64, n, n, FileTag::BTree).unwrap();
                    assert!(io.found(found, at as u64)[..n] == expected[at..at + n], "{n} at {at}");
                }
            }
        }
    }
}

#[test]
fn stale_partial_units_are_not_served_after_a_flush() {
    let (mut io, memory) = buffered();
    memory.lock().bytes = vec![7; 10];
    let mut buf = [0; 12];
    assert_eq!(io.read(0, &mut buf, 12), Ok(10));
    io.write(4, b"abcdefgh").unwrap();
    io.flush().unwrap();
    assert_eq!(io.read(0, &mut buf, 12), Ok(12));
    assert_eq!(&buf, b"\x07\x07\x07\x07abcdefgh");
}

#[test]
fn short_transfers_are_continued() {
    let (mut io, memory) = buffered();
    memory.lock().shortest = true;
    io.write(0, &[5; 300]).unwrap();
    io.flush().unwrap();
    assert_eq!(memory.lock().bytes, [5; 300]);
    let mut buf = [0; 300];
    assert_eq!(io.read(0, &mut buf, 300), Ok(300));
    assert_eq!(buf, [5; 300]);
}

#[test]
fn a_failed_flush_keeps_the_bytes() {
    let (mut io, memory) = buffered();
    io.write(0, b"abc").unwrap();
    memory.lock().fail_writes = true;
    assert!(io.flush().is_err());
    assert_eq!(io.last_os_error(), libc::EIO);
    memory.lock().fail_writes = false;
    io.flush().unwrap();
    assert_eq!(memory.lock().bytes, b"abc");
}

#[test]
fn writing_back_syncs_now_and_then() {
    let (mut io, memory) = buffered();
    let piece = vec![1; WRITE_CAPACITY];
    let write = |io: &mut Buffered, from: u64| {
        for index in from..from + 64 {
            io.write(index * piece.len() as u64, &piece).unwrap();
        }
        io.flush().unwrap();
        std::mem::take(&mut memory.lock().syncs)
    };
    assert_eq!(write(&mut io, 0), 0);
    io.set_write_back(true);
    // 8 MiB.
    assert!((2..=16).contains(&write(&mut io, 64)));
    io.set_write_back(false);
    assert_eq!(write(&mut io, 128), 0);
}

#[test]
fn a_failed_sync_while_writing_is_told() {
    let (mut io, memory) = buffered();
    io.set_write_back(true);
    memory.lock().fail_syncs = true;
    let piece = vec![1; 1 << 17];
    let error = (0..64).find_map(|index| io.write(index << 17, &piece).err()).unwrap();
    assert!(error.sync_failed);
}

#[test]
fn taking_back_leaves_what_was_handed_over() {
    let (mut io, memory) = buffered();
    io.write(0, b"abc").unwrap();
    assert_eq!(io.take_back(1), 1);
    io.flush().unwrap();
    assert_eq!(memory.lock().bytes, b"a");
    assert_eq!(io.take_back(0), 1);
}

fn watched(buffers: Buffering) -> (Buffered, Arc<Mutex<Memory>>) {
    let memory = Arc::new(Mutex::new(Memory { linked: true, ..Memory::default() }));
    let mut io = Buffered::new(Box::new(Handle(memory.clone())), buffers);
    io.watch(c"/".into());
    (io, memory)
}

fn looks(memory: &Mutex<Memory>) -> usize {
    memory.lock().looks.take()
}

fn stale<T>() -> Result<T, IoError> {
    Err(IoError::new(ErrorCode::DB_NO_LONGER_VALID, libc::ESTALE))
}

#[test]
fn the_file_is_looked_at_once_before_each_flush() {
    let (mut io, memory) = watched(UNITS);
    io.write(0, &[1; 100]).unwrap();
    assert_eq!(looks(&memory), 0);
    io.flush().unwrap();
    io.flush().unwrap();
    assert_eq!(looks(&memory), 1);
    io.write(100, &vec![1; 2 * WRITE_CAPACITY + 1]).unwrap();
    assert_eq!(looks(&memory), 2);
    memory.lock().shortest = true;
    io.write(100 + 2 * WRITE_CAPACITY as u64 + 1, &[1; 100]).unwrap();
    io.close().unwrap();
    assert_eq!(looks(&memory), 1);
}

#[test]
fn without_buffers_the_file_is_looked_at_once_in_a_call() {
    let (mut io, memory) = watched(Buffering::Off);
    for call in 0..3 {
        io.begin_call();
        assert_eq!(looks(&memory), 0);
        for piece in 0..4 {
            io.write(call * 4 + piece, b"x").unwrap();
        }
        assert_eq!(looks(&memory), 1);
    }
    io.begin_call();
    io.read(0, &mut [0; 4], 4).unwrap();
    assert_eq!(looks(&memory), 0);
}

#[test]
fn sizes_that_this_handle_may_have_left_are_fine() {
    let (mut io, memory) = watched(Buffering::Off);
    io.write(0, &[1; 100]).unwrap();
    memory.lock().fail_writes = true;
    io.begin_call();
    io.write(100, &[1; 50]).unwrap_err();
    memory.lock().fail_writes = false;
    // Of the failed write nothing, something or all has arrived.
    for (size, fine) in [(99, false), (100, true), (120, true), (150, true), (151, false)] {
        memory.lock().size = Some(size);
        let pwrites = memory.lock().pwrites;
        io.begin_call();
        assert_eq!(io.write(0, b"x").is_ok(), fine, "{size}");
        assert_eq!(memory.lock().pwrites, pwrites + usize::from(fine), "{size}");
        if !fine {
            assert_eq!(io.refused(), Some(Stale::Size { found: size, least: 100, most: 150 }));
            io.watched().unwrap().renew(100);
            io.watched().unwrap().writing(150);
        }
    }
}

#[test]
fn a_refused_file_is_never_written_again() {
    let (mut io, memory) = watched(UNITS);
    io.write(0, b"abc").unwrap();
    memory.lock().size = Some(1);
    assert_eq!(io.flush(), stale());
    assert_eq!(io.last_os_error(), libc::ESTALE);
    // Also if it looks as before again.
    memory.lock().size = None;
    assert_eq!(io.flush(), stale());
    assert_eq!(io.write(3, b"d"), stale());
    let mut buf = [0; 3];
    assert_eq!(io.read(0, &mut buf, 3), Ok(3));
    assert_eq!(&buf, b"abc");
    io.close().unwrap();
    assert_eq!(memory.lock().pwrites, 0);
}

#[test]
fn a_file_without_names_is_refused_only_if_its_name_leads_elsewhere() {
    for (name, named, fine) in
        [(c"/", true, false), (c"/", false, true), (c"/no/such/file", true, true), (c"", true, true)]
    {
        let (mut io, memory) = watched(UNITS);
        memory.lock().linked = false;
        io.watch(name.into());
        io.watched().unwrap().set_named(named);
        io.write(0, b"abc").unwrap();
        assert_eq!(io.flush().is_ok(), fine, "{name:?} {named}");
    }
}

#[test]
fn reads_in_order_grow_up_to_all_units() {
    let (mut io, memory) = buffered();
    memory.lock().bytes = vec![1; 1 << 20];
    let mut buf = [0; 4096];
    for unit in 0..256 {
        io.read(unit * 4096, &mut buf, 4096).unwrap();
    }
    let preads = memory.lock().preads.clone();
    assert_eq!(&preads[..5], [4096, 8192, 16384, 32768, 65536]);
    assert!(preads.len() < 24, "{} reads", preads.len());
}

#[test]
fn a_load_of_all_units_keeps_the_one_that_was_asked_for() {
    let (mut io, memory) = buffered();
    let bytes: Vec<u8> = (0..4_u32 << 20).map(|i| (i / 4096) as u8).collect();
    memory.lock().bytes = bytes.clone();
    let mut buf = vec![0; 60_000];
    for step in 0..500_usize {
        // Pieces that were just used get a second chance and make later ones of the load evict each other.
        let at = step * 40_961 % (3 << 20);
        let length = 1 + step * 7919 % buf.len();
        assert_eq!(io.read(at as u64, &mut buf[..length], length), Ok(length));
        assert!(buf[..length] == bytes[at..at + length]);
        io.read(at as u64 / 2, &mut buf[..1], 1).unwrap();
    }
}

#[test]
fn memory_stays_within_the_sizes() {
    let (mut io, memory) = buffered();
    memory.lock().bytes = vec![1; 4 << 20];
    let mut buf = [0; 100];
    for step in 0..2000_u64 {
        io.read(step * 7919 % (4 << 20), &mut buf, 100).unwrap();
    }
    let units = |io: &Buffered| match &io.reads {
        Reads::Units(units) => units.units(),
        _ => 0,
    };
    assert!((1..=16).contains(&units(&io)));
    io.free_buffers(false);
    assert_eq!(units(&io), 0);
}
