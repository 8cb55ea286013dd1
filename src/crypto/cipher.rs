// SPDX-License-Identifier: Apache-2.0

//! AES-256-GCM over chunks.
//!
//! The nonce is the file position of a chunk: no position may ever be encrypted twice with different content under
//! one key. The file layer sees to that: after a failed append it goes on behind everything that may have reached
//! the disk, and after opening it appends behind the end of the file.

use super::primitives::{AesGcm, random};
use crate::format::block::content_start;
use zeroize::Zeroizing;

/// Bytes of a key.
pub(crate) const KEY_LEN: usize = 32;
/// Bytes of the tag behind the ciphertext.
pub(crate) const TAG_LEN: usize = 16;
/// Bytes of a nonce.
pub(crate) const NONCE_LEN: usize = 12;

/// Encrypting or decrypting failed; there is nothing more to be said without helping an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// The cipher of a file. The library that implements it wipes the key when it is dropped.
pub(crate) struct Cipher(AesGcm);

impl Cipher {
    /// The cipher with this key.
    pub(crate) fn new(key: &[u8]) -> Result<Cipher, Failed> {
        AesGcm::new(key).map(Cipher)
    }

    /// A cipher with a key that nobody will ever know.
    pub(crate) fn with_random_key() -> Result<Cipher, Failed> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        random(key.as_mut())?;
        Cipher::new(key.as_ref())
    }

    /// The nonce of a chunk: where its content starts.
    fn nonce_of(position: u64) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        let (_, number) = nonce.split_at_mut(NONCE_LEN - 8);
        number.copy_from_slice(&content_start(position).to_be_bytes());
        nonce
    }

    /// Encrypts the chunk at `position` in place; returns the tag.
    pub(crate) fn seal_chunk(&self, position: u64, body: &mut [u8]) -> Result<[u8; TAG_LEN], Failed> {
        self.0.seal(Cipher::nonce_of(position), b"", body)
    }

    /// Decrypts the chunk at `position` in place and checks and removes the tag.
    pub(crate) fn open_chunk(&self, position: u64, body: &mut Vec<u8>) -> Result<(), Failed> {
        self.0.open(Cipher::nonce_of(position), b"", body)
    }

    /// Encrypts with a nonce that the caller answers for, and appends the tag.
    pub(crate) fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], body: &mut Vec<u8>) -> Result<(), Failed> {
        let tag = self.0.seal(nonce, aad, body)?;
        body.extend_from_slice(&tag);
        Ok(())
    }

    /// Decrypts what [`Cipher::seal`] made.
    pub(crate) fn open(&self, nonce: [u8; NONCE_LEN], aad: &[u8], body: &mut Vec<u8>) -> Result<(), Failed> {
        self.0.open(nonce, aad, body)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_boundary_and_the_byte_behind_it_have_one_nonce() {
        assert_eq!(Cipher::nonce_of(4096), Cipher::nonce_of(4097));
        assert_eq!(Cipher::nonce_of(0x0102_0304_0506), [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    #[cfg(feature = "encryption")]
    fn every_changed_bit_and_position_is_noticed() {
        let cipher = Cipher::new(&[9; KEY_LEN]).unwrap();
        let mut sealed = b"some document".to_vec();
        let tag = cipher.seal_chunk(100, &mut sealed).unwrap();
        sealed.extend_from_slice(&tag);
        assert_eq!(sealed.len(), 13 + TAG_LEN);
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cipher.open_chunk(100, &mut changed), Err(Failed));
        }
        assert_eq!(cipher.open_chunk(101, &mut sealed.clone()), Err(Failed));
        cipher.open_chunk(100, &mut sealed).unwrap();
        assert_eq!(sealed, b"some document");
    }
}
