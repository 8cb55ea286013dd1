// SPDX-License-Identifier: Apache-2.0

//! Memory that is handed to C: one block for each object, from the host's allocator, with everything in it that the
//! object points to.
//!
//! The allocator is `cb_malloc` and `cb_free` where the host has them (its hooks then resize blocks of ours with
//! `cb_realloc`), and `malloc` and `free` everywhere else.

use super::types::{Doc, DocInfo, LocalDoc, sized_buf};
use crate::error::{Error, Result};
use crate::format::docinfo::DocInfoRef;
use std::ffi::{c_int, c_void};

// Weak references, which Rust cannot declare: the linker, or the loader, puts the addresses of the host's functions
// here, or 0 if there are none.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
std::arch::global_asm!(
    ".weak cb_malloc",
    ".weak cb_free",
    ".pushsection .data.rel.ro.couchstore_host_allocator,\"aw\"",
    ".balign 8",
    ".hidden couchstore_private_host_allocator",
    ".globl couchstore_private_host_allocator",
    "couchstore_private_host_allocator:",
    ".quad cb_malloc",
    ".quad cb_free",
    ".popsection",
);

/// What the host offers.
#[repr(C)]
struct HostAllocator {
    malloc: Option<unsafe extern "C" fn(usize) -> *mut c_void>,
    free: Option<unsafe extern "C" fn(*mut c_void)>,
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
unsafe extern "C" {
    #[link_name = "couchstore_private_host_allocator"]
    static HOST: HostAllocator;
}
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
static HOST: HostAllocator = HostAllocator { malloc: None, free: None };

/// Both functions of the host, or both of the C library.
fn allocator() -> (unsafe extern "C" fn(usize) -> *mut c_void, unsafe extern "C" fn(*mut c_void)) {
    #[allow(unused_unsafe, reason = "not everywhere a foreign static")]
    // SAFETY: set before the library runs, and never changed.
    match unsafe { &HOST } {
        HostAllocator { malloc: Some(malloc), free: Some(free) } => (*malloc, *free),
        _ => (libc::malloc, libc::free),
    }
}

/// Allocates a `T` with `extra` bytes behind it; returns both places.
fn block<T>(extra: usize) -> Result<(*mut T, *mut u8)> {
    let size = size_of::<T>().saturating_add(extra);
    // SAFETY: malloc may be called with any size; the result is checked.
    let pointer = unsafe { allocator().0(size) }.cast::<T>();
    if pointer.is_null() {
        return Err(Error::AllocFail { bytes: size });
    }
    // SAFETY: the block is at least as large as a `T`, so this points into it or right behind.
    Ok((pointer, unsafe { pointer.add(1) }.cast::<u8>()))
}

/// Bytes that are copied at once.
const SHORT: usize = 16;

/// Copies `bytes` to `place` inside a block and describes them. Advances `place`.
///
/// # Safety
/// `place` has room for `bytes`.
unsafe fn put(place: &mut *mut u8, bytes: &[u8]) -> sized_buf {
    let buf = sized_buf { buf: place.cast(), size: bytes.len() };
    let length = bytes.len();
    // SAFETY: room by the contract, for chunks of the bytes too; a fresh block does not overlap the bytes.
    unsafe {
        match (bytes.first_chunk::<SHORT>(), bytes.last_chunk::<SHORT>()) {
            // Most ids: two copies that overlap, without a call.
            (Some(first), Some(last)) if length <= 2 * SHORT => {
                place.cast::<[u8; SHORT]>().write_unaligned(*first);
                place.add(length - SHORT).cast::<[u8; SHORT]>().write_unaligned(*last);
            }
            _ => place.copy_from_nonoverlapping(bytes.as_ptr(), length),
        }
        *place = place.add(length);
    }
    buf
}

/// An entry that points to borrowed strings, for a callback that may only read it.
pub(super) fn borrowed_doc_info(info: &DocInfoRef<'_>) -> DocInfo {
    DocInfo {
        id: sized_buf::borrow(info.id),
        db_seq: info.db_seq,
        rev_seq: info.rev_seq,
        rev_meta: sized_buf::borrow(info.rev_meta),
        deleted: c_int::from(info.deleted),
        content_meta: info.content_meta,
        bp: info.body_position,
        physical_size: info.physical_size as usize,
    }
}

/// An entry in a block of its own.
pub(super) fn doc_info(info: &DocInfoRef<'_>) -> Result<*mut DocInfo> {
    let mut block = DocInfoBlock::default();
    let pointer = block.fill(info)?;
    block.give_away();
    Ok(pointer)
}

/// A block for one entry after the other, until somebody keeps it.
pub(super) struct DocInfoBlock {
    /// NULL: there is none yet.
    pointer: *mut DocInfo,
    /// Bytes for strings behind the struct.
    room: usize,
}

impl Default for DocInfoBlock {
    fn default() -> DocInfoBlock {
        DocInfoBlock { pointer: std::ptr::null_mut(), room: 0 }
    }
}

impl DocInfoBlock {
    /// Puts an entry in, in place of the last one.
    pub(super) fn fill(&mut self, info: &DocInfoRef<'_>) -> Result<*mut DocInfo> {
        let needed = info.id.len() + info.rev_meta.len();
        if self.pointer.is_null() || needed > self.room {
            let (pointer, _) = block::<DocInfo>(needed)?;
            // SAFETY: a block of this module, or NULL, that nobody was given for keeps.
            unsafe { free(self.pointer) };
            (self.pointer, self.room) = (pointer, needed);
        }
        // SAFETY: the block has room for the struct and both strings, which are not in it.
        unsafe {
            let mut place = self.pointer.add(1).cast::<u8>();
            let id = put(&mut place, info.id);
            let rev_meta = put(&mut place, info.rev_meta);
            self.pointer.write(DocInfo { id, rev_meta, ..borrowed_doc_info(info) });
        }
        Ok(self.pointer)
    }

    /// Whether an entry is the one in this block.
    pub(super) fn holds(&self, entry: *const DocInfo) -> bool {
        std::ptr::eq(self.pointer, entry)
    }

    /// Somebody else frees the block; the next entry gets another one.
    pub(super) fn give_away(&mut self) {
        self.pointer = std::ptr::null_mut();
    }
}

impl Drop for DocInfoBlock {
    fn drop(&mut self) {
        // SAFETY: a block of this module, or NULL, that nobody was given for keeps.
        unsafe { free(self.pointer) };
    }
}

/// A document in a block of its own; `id` stays the caller's.
pub(super) fn doc(id: sized_buf, body: &[u8]) -> Result<*mut Doc> {
    let (pointer, mut place) = block::<Doc>(body.len())?;
    // SAFETY: the block has room for the struct and the body.
    unsafe {
        let data = if body.is_empty() { sized_buf::EMPTY } else { put(&mut place, body) };
        pointer.write(Doc { id, data });
    }
    Ok(pointer)
}

/// A local document in a block of its own.
pub(super) fn local_doc(id: &[u8], body: &[u8]) -> Result<*mut LocalDoc> {
    let (pointer, mut place) = block::<LocalDoc>(id.len() + body.len())?;
    // SAFETY: the block has room for the struct and both strings.
    unsafe {
        let id = put(&mut place, id);
        let json = put(&mut place, body);
        pointer.write(LocalDoc { id, json, deleted: 0 });
    }
    Ok(pointer)
}

/// Frees a block.
///
/// # Safety
/// `pointer` is NULL or a block of this module, or was made from one with the allocator's realloc, and is not used
/// again.
pub(super) unsafe fn free<T>(pointer: *mut T) {
    // SAFETY: the contract above.
    unsafe { allocator().1(pointer.cast::<c_void>()) };
}
