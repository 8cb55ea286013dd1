//! A reduce value in memory.

use std::ops::{Deref, DerefMut};

/// The longest value that a tree of this format has: that of the by-id tree.
const USUAL: usize = 16;

/// Bytes of a reduce value, in place if they are no longer than those of any tree.
#[derive(Clone)]
pub struct Reduce(Bytes);

#[derive(Clone)]
enum Bytes {
    InPlace {
        length: u8,
        bytes: [u8; USUAL],
    },
    /// A damaged file has any.
    Long(Box<[u8]>),
}

impl From<&[u8]> for Reduce {
    #[inline]
    fn from(value: &[u8]) -> Reduce {
        // Nearly all are of one of these lengths.
        if let Ok(bytes) = value.try_into() {
            return Reduce(Bytes::InPlace { length: USUAL as u8, bytes });
        }
        if value.is_empty() {
            return Reduce::default();
        }
        let mut bytes = [0; USUAL];
        Reduce(match bytes.get_mut(..value.len()) {
            Some(place) => {
                place.copy_from_slice(value);
                Bytes::InPlace { length: value.len() as u8, bytes }
            }
            None => Bytes::Long(value.into()),
        })
    }
}

impl From<Vec<u8>> for Reduce {
    fn from(value: Vec<u8>) -> Reduce {
        value.as_slice().into()
    }
}

impl Default for Reduce {
    fn default() -> Reduce {
        Reduce(Bytes::InPlace { length: 0, bytes: [0; USUAL] })
    }
}

impl Deref for Reduce {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::InPlace { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Bytes::Long(bytes) => bytes,
        }
    }
}

impl DerefMut for Reduce {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Bytes::InPlace { length, bytes } => bytes.get_mut(..usize::from(*length)).unwrap_or_default(),
            Bytes::Long(bytes) => bytes,
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
            if let Some(last) = value.last_mut() {
                *last += 1;
                assert_ne!(value, Reduce::from(bytes));
            }
        }
    }
}
