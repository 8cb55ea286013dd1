//! Memory whose amount a caller or a file decides: asked for, never taken for granted, so that what cannot be had is
//! an error and not the end of the host. What is small and of a fixed size is allocated as everywhere in Rust.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};

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
