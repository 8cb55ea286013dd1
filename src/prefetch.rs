// SPDX-License-Identifier: Apache-2.0

//! Telling the processor what will be read soon.

/// Bytes that a processor loads at once.
const LINE: usize = 64;

/// The first `most` bytes, about, will be read soon. On processors where nothing is known of this, nothing happens.
#[inline]
pub(crate) fn prefetch(bytes: &[u8], most: usize) {
    let bytes = bytes.get(..most).unwrap_or(bytes);
    for line in bytes.chunks_exact(LINE) {
        load(line);
    }
    if let Some(last) = bytes.last() {
        load(std::slice::from_ref(last));
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
fn load(line: &[u8]) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the instruction is one of every such processor; it reads nothing that a program could see, and no address makes it
    // fail.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline]
fn load(_: &[u8]) {}
