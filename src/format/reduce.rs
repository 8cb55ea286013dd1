// SPDX-License-Identifier: Apache-2.0

//! A reduce value in memory.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// The longest value that a tree of this format has: that of the by-id tree.
const USUAL: usize = 16;

/// Bytes of a reduce value, in place if they are no longer than those of any tree.
#[derive(Clone)]
pub struct Reduce(Bytes);

#[derive(Clone)]
enum Bytes {
    Usual {
        length: u8,
        bytes: [u8; USUAL],
    },
    /// A longer one, which a damaged file may have. Not in a box: letting one go asks for its length first, also where there
    /// is none, and Valgrind takes that for an error.
    Long(Arc<[u8]>),
}

impl Reduce {
    /// How many bytes it has.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        match &self.0 {
            Bytes::Usual { length, .. } => usize::from(*length),
            Bytes::Long(bytes) => bytes.len(),
        }
    }
}

impl Default for Reduce {
    fn default() -> Reduce {
        Reduce(Bytes::Usual { length: 0, bytes: [0; USUAL] })
    }
}

impl From<&[u8]> for Reduce {
    #[inline]
    fn from(value: &[u8]) -> Reduce {
        let mut bytes = [0; USUAL];
        // Those of the trees of this format are copied without a call.
        match *value {
            [] => {}
            [a, b, c, d, e] => [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]] = [a, b, c, d, e],
            _ => match value.first_chunk() {
                Some(whole) if value.len() == USUAL => bytes = *whole,
                _ => return of_other_length(value),
            },
        }
        Reduce(Bytes::Usual { length: value.len() as u8, bytes })
    }
}

/// A value of a length that no tree of this format has, which a damaged file may have.
#[cold]
fn of_other_length(value: &[u8]) -> Reduce {
    let mut bytes = [0; USUAL];
    match bytes.get_mut(..value.len()) {
        Some(room) => room.copy_from_slice(value),
        None => return Reduce(Bytes::Long(value.into())),
    }
    Reduce(Bytes::Usual { length: value.len() as u8, bytes })
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
        match &self.0 {
            Bytes::Usual { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Bytes::Long(bytes) => bytes,
        }
    }
}

impl DerefMut for Reduce {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Bytes::Usual { length, bytes } => bytes.get_mut(..usize::from(*length)).unwrap_or_default(),
            Bytes::Long(bytes) => Arc::make_mut(bytes),
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
            assert_eq!((&*value, value.size()), (&bytes[..], bytes.len()));
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
