// SPDX-License-Identifier: Apache-2.0

//! A reduce value in memory.

use std::ops::{Deref, DerefMut};

/// The longest value that a tree of this format has: that of the by-id tree.
const USUAL: usize = 16;

/// Bytes of a reduce value, in place if they are no longer than those of any tree.
#[derive(Clone, Default)]
pub struct Reduce {
    length: u8,
    bytes: [u8; USUAL],
    /// All of a longer one, which a damaged file may have; else empty.
    long: Vec<u8>,
}

impl From<&[u8]> for Reduce {
    #[inline]
    fn from(value: &[u8]) -> Reduce {
        let length = value.len();
        if length > USUAL {
            return Reduce { long: value.to_vec(), ..Reduce::default() };
        }
        let mut bytes = [0; USUAL];
        // Those of the trees of this format are copied without a call.
        match *value {
            [] => {}
            [a, b, c, d, e] => [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]] = [a, b, c, d, e],
            _ => match value.first_chunk() {
                Some(whole) => bytes = *whole,
                None => copy_short(value, &mut bytes),
            },
        }
        Reduce { length: length as u8, bytes, long: Vec::new() }
    }
}

/// Copies a value of another length, which a damaged file may have.
#[cold]
fn copy_short(value: &[u8], bytes: &mut [u8; USUAL]) {
    bytes.get_mut(..value.len()).unwrap_or_default().copy_from_slice(value);
}

impl From<Vec<u8>> for Reduce {
    fn from(value: Vec<u8>) -> Reduce {
        value.as_slice().into()
    }
}

impl Deref for Reduce {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        if self.long.is_empty() {
            self.bytes.get(..usize::from(self.length)).unwrap_or_default()
        } else {
            &self.long
        }
    }
}

impl DerefMut for Reduce {
    fn deref_mut(&mut self) -> &mut [u8] {
        if self.long.is_empty() {
            self.bytes.get_mut(..usize::from(self.length)).unwrap_or_default()
        } else {
            &mut self.long
        }
    }
}

impl PartialEq for Reduce {
    fn eq(&self, other: &Reduce) -> bool {
        **self == **other
    }
}

impl Eq for Reduce {}

impl std::fmt::Debug for Reduce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_lengths_are_what_they_were() {
        for length in 0..40 {
            let bytes: Vec<u8> = (0..length).collect();
            let mut value = Reduce::from(bytes.clone());
            assert_eq!(*value, bytes[..]);
            assert_eq!(value, value.clone());
            assert_eq!(format!("{value:?}"), format!("{bytes:?}"));
            assert_eq!(value.last_mut().is_some(), length > 0);
            if let Some(last) = value.last_mut() {
                *last += 1;
                assert_ne!(value, Reduce::from(bytes));
            }
        }
    }
}
