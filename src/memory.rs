// SPDX-License-Identifier: Apache-2.0

//! Memory whose amount a caller or a file decides: asked for, never taken for granted, so that what cannot be had is
//! an error and not the end of the host. What is small and of a fixed size is allocated as everywhere in Rust.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use std::ops::Deref;
use zeroize::Zeroize;

fn missing<T>(count: usize) -> Error {
    Error::AllocFail { bytes: count.saturating_mul(size_of::<T>()) }
}

/// Makes room for `additional` more elements and no more than that.
pub(crate) fn reserve_exact<T>(vec: &mut Vec<T>, additional: usize) -> Result<()> {
    vec.try_reserve_exact(additional).map_err(|_| missing::<T>(additional))
}

/// Makes room for `additional` more elements, and for some that may follow: adding one by one stays linear, and what
/// was grown like this wastes at most a third of its memory.
#[inline]
pub(crate) fn reserve<T>(vec: &mut Vec<T>, additional: usize) -> Result<()> {
    if vec.capacity() - vec.len() >= additional { Ok(()) } else { grow(vec, additional) }
}

#[cold]
fn grow<T>(vec: &mut Vec<T>, additional: usize) -> Result<()> {
    let more = additional.max(vec.len() / 2).max(4);
    vec.try_reserve_exact(more).map_err(|_| missing::<T>(additional))
}

/// Adds an element.
#[inline]
pub(crate) fn push<T>(vec: &mut Vec<T>, item: T) -> Result<()> {
    reserve(vec, 1)?;
    vec.push(item);
    Ok(())
}

/// A copy of these elements.
pub(crate) fn copy<T: Copy>(items: &[T]) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    reserve_exact(&mut vec, items.len())?;
    vec.extend_from_slice(items);
    Ok(vec)
}

/// This many times the same element.
pub(crate) fn filled<T: Copy>(item: T, count: usize) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    reserve_exact(&mut vec, count)?;
    vec.resize(count, item);
    Ok(vec)
}

/// All elements of an iterator.
pub(crate) fn collect<T>(items: impl IntoIterator<Item = T>) -> Result<Vec<T>> {
    try_collect(items.into_iter().map(Ok))
}

/// All elements of an iterator, or its first error.
pub(crate) fn try_collect<T>(items: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
    let items = items.into_iter();
    let mut vec = Vec::new();
    reserve_exact(&mut vec, items.size_hint().0)?;
    for item in items {
        push(&mut vec, item?)?;
    }
    Ok(vec)
}

/// Memory for content that is replaced again and again. All of it has been written to, so that no byte has to be filled in
/// before it is written over; what lies behind the content is left from earlier.
#[derive(Debug, Default)]
pub(crate) struct Room {
    bytes: Vec<u8>,
    length: usize,
}

impl Room {
    /// Bytes that there is room for.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// All of it, to be written to.
    pub(crate) fn whole(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// So many bytes from the first one on are the content.
    pub(crate) fn set_length(&mut self, length: usize) {
        self.length = length.min(self.bytes.len());
    }

    /// Makes a copy of these bytes the content. Where there is too little memory it takes other, of at least this size.
    #[inline]
    pub(crate) fn fill(&mut self, bytes: &[u8], least: usize) -> Result<()> {
        if self.size() < bytes.len() {
            self.renew(least.max(bytes.len()))?;
        }
        if let Some(room) = self.bytes.get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.length = bytes.len();
        Ok(())
    }

    /// Takes other memory, of this size.
    pub(crate) fn renew(&mut self, size: usize) -> Result<()> {
        *self = Room::default();
        self.bytes = filled(0, size)?;
        Ok(())
    }

    /// The content alone.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        self.bytes.truncate(self.length);
        self.bytes
    }
}

impl Deref for Room {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Zeroize for Room {
    /// Wipes all of it; its size stays.
    fn zeroize(&mut self) {
        self.bytes.as_mut_slice().zeroize();
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_cannot_be_had_is_an_error() {
        let huge = isize::MAX as usize;
        let mut vec = vec![0_u64];
        for result in [reserve(&mut vec, huge), reserve_exact(&mut vec, huge), filled(0_u64, huge).map(drop)]
        {
            assert!(matches!(result, Err(Error::AllocFail { bytes }) if bytes == usize::MAX), "{result:?}");
        }
        assert_eq!(vec, [0]);
    }

    #[test]
    fn a_room_shows_its_content_alone() {
        let mut room = Room::default();
        room.set_length(5);
        assert!(room.is_empty() && room.size() == 0);
        room.renew(8).unwrap();
        room.whole().copy_from_slice(b"abcdefgh");
        assert!(room.is_empty());
        room.set_length(3);
        assert_eq!((&*room, room.size()), (&b"abc"[..], 8));
        room.zeroize();
        assert!(room.is_empty() && *room.whole() == [0; 8]);
        room.set_length(2);
        assert_eq!(room.into_vec(), [0, 0]);
    }

    #[test]
    fn growing_one_by_one_is_linear_and_wastes_a_third_at_most() {
        let mut vec = Vec::new();
        let mut moves = 0;
        for number in 0..100_000 {
            let capacity = vec.capacity();
            push(&mut vec, number).unwrap();
            moves += usize::from(vec.capacity() != capacity);
            assert!(vec.capacity() <= vec.len() + vec.len() / 2 + 4);
        }
        assert!(moves < 40, "{moves}");
        assert_eq!(collect(vec.iter().copied()).unwrap(), vec);
        assert_eq!(copy(&vec).unwrap(), vec);
    }
}
