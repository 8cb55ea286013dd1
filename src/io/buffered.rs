//! Buffers between a couchstore file and its file handle.
//!
//! Reads come in aligned units (4 KiB by default), more at a time while they run on in order or when the caller
//! says how much it is about to read. Appends gather in one contiguous write buffer that reads see through: a read
//! never flushes it. With buffering off every call goes straight to the handle.
//!
//! A failed flush keeps what was not written, for another try; [`Buffered::high_water`] tells which offsets may
//! have reached the disk.

#![forbid(unsafe_code)]

pub(crate) use super::read_buffer::BufferSizes;
use super::read_buffer::ReadBuffer;
use super::write_back::WriteBack;
use super::{FileHandle, FileStats, FileTag, IoError};
use crate::error::{Error, ErrorCode};
use crate::memory;
use std::time::Instant;

/// The write buffer is flushed when it holds this many bytes.
const WRITE_CAPACITY: usize = 128 * 1024;
/// A write that keeps returning 0 is given up after this many in a row.
const MAX_ZERO_WRITES: u32 = 100;

/// One contiguous run of bytes that still have to be written at `start`.
#[derive(Default)]
struct WriteBuffer {
    start: u64,
    data: Vec<u8>,
}

impl WriteBuffer {
    fn end(&self) -> u64 {
        self.start + self.data.len() as u64
    }

    /// The buffered bytes from `offset` on; empty if that is outside.
    fn get(&self, offset: u64) -> &[u8] {
        if offset < self.start {
            return &[];
        }
        self.data.get((offset - self.start) as usize..).unwrap_or_default()
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn no_memory(error: Error) -> IoError {
    IoError::new(error.code(), libc::ENOMEM)
}

/// A file handle with buffers.
pub(crate) struct Buffered {
    raw: Box<dyn FileHandle>,
    /// `None`: unbuffered.
    reads: Option<ReadBuffer>,
    writes: WriteBuffer,
    /// `Some` while writing is interrupted by syncs.
    write_back: Option<WriteBack>,
    high_water: u64,
    stats: FileStats,
    last_os_error: i32,
}

impl Buffered {
    /// Puts buffers of these sizes, or none, before a handle.
    pub(crate) fn new(raw: Box<dyn FileHandle>, sizes: Option<BufferSizes>) -> Buffered {
        Buffered {
            raw,
            reads: sizes.map(ReadBuffer::new),
            writes: WriteBuffer::default(),
            write_back: None,
            high_water: 0,
            stats: FileStats::default(),
            last_os_error: 0,
        }
    }

    /// Whether buffers are in use.
    pub(crate) fn is_buffered(&self) -> bool {
        self.reads.is_some()
    }

    /// `errno` of the last failed call, 0 if none failed.
    pub(crate) fn last_os_error(&self) -> i32 {
        self.last_os_error
    }

    /// Sets what [`Buffered::last_os_error`] gives.
    pub(crate) fn set_last_os_error(&mut self, os_error: i32) {
        self.last_os_error = os_error;
    }

    /// What was asked of the handle so far.
    pub(crate) fn stats(&self) -> FileStats {
        self.stats
    }

    fn noted<T>(last_os_error: &mut i32, result: Result<T, IoError>) -> Result<T, IoError> {
        if let Err(error) = &result {
            *last_os_error = error.os_error;
        }
        result
    }

    /// Reads until `buf` is full or the file ends, and returns how much was read. `upcoming` bytes (at least
    /// `buf.len()`) from `offset` on will be wanted soon.
    pub(crate) fn read(&mut self, offset: u64, buf: &mut [u8], upcoming: usize) -> Result<usize, IoError> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let pending = self.writes.get(at);
            let n = if pending.is_empty() {
                let mut room = buf.len() - done;
                if at < self.writes.start && !self.writes.data.is_empty() {
                    room = room.min((self.writes.start - at) as usize);
                }
                self.read_file(at, &mut buf[done..done + room], upcoming.saturating_sub(done))?
            } else {
                let n = pending.len().min(buf.len() - done);
                buf[done..done + n].copy_from_slice(&pending[..n]);
                n
            };
            if n == 0 {
                break;
            }
            done += n;
        }
        Ok(done)
    }

    fn read_file(&mut self, offset: u64, buf: &mut [u8], upcoming: usize) -> Result<usize, IoError> {
        let Some(reads) = &mut self.reads else { return self.read_raw(offset, buf, buf.len()) };
        let found = reads.get(offset);
        if !found.is_empty() {
            let n = found.len().min(buf.len());
            buf[..n].copy_from_slice(&found[..n]);
            return Ok(n);
        }
        self.load(offset, buf.len(), upcoming)?;
        let found = self.reads.as_mut().map(|reads| reads.get(offset)).unwrap_or_default();
        let n = found.len().min(buf.len());
        buf[..n].copy_from_slice(&found[..n]);
        Ok(n)
    }

    /// Loads the units from the one with `offset` on; stops early only where `needed` bytes are there.
    fn load(&mut self, offset: u64, needed: usize, upcoming: usize) -> Result<(), IoError> {
        let Some(reads) = &mut self.reads else { return Ok(()) };
        let unit = reads.sizes.unit;
        let units = reads.units_to_load(offset, upcoming);
        let start = reads.unit_start(offset);
        let mut scratch = std::mem::take(&mut reads.scratch);
        let length = units.saturating_mul(unit);
        let more = length.saturating_sub(scratch.len());
        memory::reserve_exact(&mut scratch, more).map_err(no_memory)?;
        scratch.resize(length, 0);
        let needed = ((offset - start) as usize + needed).min(unit);
        let result = self.read_raw(start, &mut scratch, needed);
        if let (Ok(n), Some(reads)) = (&result, &mut self.reads) {
            for (index, piece) in scratch[..*n].chunks(unit).enumerate() {
                reads.insert(start + (index * unit) as u64, piece).map_err(no_memory)?;
            }
            if units == 1 {
                reads.scratch = scratch;
            }
        }
        result.map(|_| ())
    }

    /// Reads from the handle until at least `enough` bytes are there or the file ends.
    fn read_raw(&mut self, offset: u64, buf: &mut [u8], enough: usize) -> Result<usize, IoError> {
        let mut done = 0;
        while done < enough {
            self.stats.read_count += 1;
            let result = self.raw.pread(&mut buf[done..], offset + done as u64);
            let n = Buffered::noted(&mut self.last_os_error, result)?.min(buf.len() - done);
            if n == 0 {
                break;
            }
            self.stats.read_bytes += n as u64;
            done += n;
        }
        Ok(done)
    }

    /// Reads a large piece without disturbing the buffers; for the search of headers. Bytes that wait in the write
    /// buffer are not seen: the caller stays below [`Buffered::flushed_end`].
    pub(crate) fn read_unbuffered(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, IoError> {
        self.read_raw(offset, buf, buf.len())
    }

    /// First offset that waits in the write buffer, `u64::MAX` if nothing does.
    pub(crate) fn flushed_end(&self) -> u64 {
        if self.writes.data.is_empty() { u64::MAX } else { self.writes.start }
    }

    /// First offset that certainly never reached the disk, nor is beyond anything that did.
    pub(crate) fn high_water(&self) -> u64 {
        self.high_water
    }

    /// Offset behind what waits in the write buffer, 0 if nothing does.
    pub(crate) fn pending_end(&self) -> u64 {
        if self.writes.data.is_empty() { 0 } else { self.writes.end() }
    }

    /// Writes all of `bytes` at `offset`, into the buffer if there is one.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), IoError> {
        if self.reads.is_none() {
            return self.write_raw(offset, bytes).1;
        }
        if !self.writes.data.is_empty() && offset != self.writes.end() {
            let end = offset + bytes.len() as u64;
            if offset >= self.writes.start && end <= self.writes.end() {
                let at = (offset - self.writes.start) as usize;
                self.writes.data[at..at + bytes.len()].copy_from_slice(bytes);
                return Ok(());
            }
            self.flush()?;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.writes.data.len() >= WRITE_CAPACITY {
                self.flush()?;
            }
            if self.writes.data.is_empty() {
                self.writes.start = offset + (bytes.len() - rest.len()) as u64;
                memory::reserve_exact(&mut self.writes.data, WRITE_CAPACITY).map_err(no_memory)?;
            }
            let (now, later) = rest.split_at(rest.len().min(WRITE_CAPACITY - self.writes.data.len()));
            self.writes.data.extend_from_slice(now);
            rest = later;
        }
        Ok(())
    }

    /// Writes everything, continuing after short writes. Also returns how much was written.
    fn write_raw(&mut self, offset: u64, bytes: &[u8]) -> (usize, Result<(), IoError>) {
        let mut done = 0;
        let mut zeros = 0;
        self.high_water = self.high_water.max(offset + bytes.len() as u64);
        while done < bytes.len() {
            self.stats.write_count += 1;
            let result = self.raw.pwrite(&bytes[done..], offset + done as u64);
            let n = match Buffered::noted(&mut self.last_os_error, result) {
                Ok(n) => n.min(bytes.len() - done),
                Err(error) => return (done, Err(error)),
            };
            zeros = if n == 0 { zeros + 1 } else { 0 };
            if zeros > MAX_ZERO_WRITES {
                return (done, Err(IoError::new(ErrorCode::WRITE, 0)));
            }
            self.stats.write_bytes += n as u64;
            done += n;
        }
        (done, self.sync_if_due(done as u64))
    }

    /// Hands the write buffer to the handle. What could not be written stays for another try.
    pub(crate) fn flush(&mut self) -> Result<(), IoError> {
        if self.writes.data.is_empty() {
            return Ok(());
        }
        let mut data = std::mem::take(&mut self.writes.data);
        let start = self.writes.start;
        let (done, result) = self.write_raw(start, &data);
        if let Some(reads) = &mut self.reads {
            reads.invalidate(start, start + data.len() as u64);
        }
        data.drain(..done);
        self.writes.data = data;
        self.writes.start = start + done as u64;
        result
    }

    /// Takes back what is buffered from `offset` on and was not handed to the file operations yet. Returns the
    /// first offset, `offset` or above, that certainly never reached the disk.
    pub(crate) fn take_back(&mut self, offset: u64) -> u64 {
        if offset <= self.writes.start {
            self.writes.data.clear();
        } else {
            self.writes.data.truncate((offset - self.writes.start) as usize);
        }
        offset.max(self.high_water)
    }

    /// Makes everything that was flushed durable.
    pub(crate) fn sync_flushed(&mut self) -> Result<(), IoError> {
        self.stats.sync_count += 1;
        let start = Instant::now();
        let result = self.raw.sync().map_err(|error| IoError { sync_failed: true, ..error });
        if let Some(write_back) = &mut self.write_back {
            write_back.synced(start, Instant::now());
        }
        Buffered::noted(&mut self.last_os_error, result)
    }

    /// From now on, or no longer, what is written is synced a little at a time: see [`WriteBack`].
    pub(crate) fn set_write_back(&mut self, on: bool) {
        self.write_back = on.then(WriteBack::default);
    }

    fn sync_if_due(&mut self, written: u64) -> Result<(), IoError> {
        let Some(write_back) = &mut self.write_back else { return Ok(()) };
        if write_back.is_due(written, Instant::now()) { self.sync_flushed() } else { Ok(()) }
    }

    /// Size of the file on disk.
    pub(crate) fn size(&mut self) -> Result<u64, IoError> {
        Buffered::noted(&mut self.last_os_error, self.raw.size())
    }

    /// Forgets everything that was read.
    pub(crate) fn forget_reads(&mut self) {
        if let Some(reads) = &mut self.reads {
            reads.clear();
        }
    }

    /// Gives memory back; bytes that still have to be written stay.
    pub(crate) fn free_buffers(&mut self) {
        self.forget_reads();
        self.writes.data.shrink_to_fit();
        self.raw.free_buffers();
    }

    /// Flushes and closes. The handle is closed even if flushing fails; the first error is returned.
    pub(crate) fn close(&mut self) -> Result<(), IoError> {
        let flushed = self.flush();
        let closed = Buffered::noted(&mut self.last_os_error, self.raw.close());
        flushed.and(closed)
    }

    /// Switches something on in the file operations.
    pub(crate) fn configure(
        &mut self,
        set: impl FnOnce(&mut dyn FileHandle) -> Result<(), IoError>,
    ) -> Result<(), IoError> {
        Buffered::noted(&mut self.last_os_error, set(self.raw.as_mut()))
    }

    /// Which file of the operating system this is, if any.
    pub(crate) fn identity(&self) -> Option<super::naming::FileId> {
        self.raw.identity()
    }

    /// The operating system's file behind the handle, if any.
    pub(crate) fn os_file(&self) -> Option<&std::fs::File> {
        self.raw.os_file()
    }

    /// The statistics object of the file operations; NULL if they have none.
    #[cfg_attr(not(feature = "cxx-shim"), allow(dead_code, reason = "only C++ has such objects"))]
    pub(crate) fn stats_object(&mut self) -> *mut std::ffi::c_void {
        self.raw.stats_object()
    }

    /// Says what the accesses that follow are for.
    pub(crate) fn tag(&mut self, tag: FileTag) {
        self.raw.tag(tag);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
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
        fn close(&mut self) -> Result<(), IoError> {
            Ok(())
        }
    }

    fn buffered() -> (Buffered, Arc<Mutex<Memory>>) {
        let memory = Arc::new(Mutex::new(Memory::default()));
        (Buffered::new(Box::new(Handle(memory.clone())), Some(BufferSizes::default())), memory)
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
        let reads = io.reads.as_ref().unwrap();
        assert!(reads.units() <= 16);
        io.free_buffers();
        assert_eq!(io.reads.as_ref().unwrap().units(), 0);
    }
}
