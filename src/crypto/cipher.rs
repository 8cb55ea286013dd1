//! AES-256-GCM over chunks.
//!
//! The nonce is the file position of a chunk: no position may ever be encrypted twice with different content under
//! one key. The file layer sees to that: after a failed append it goes on behind everything that may have reached
//! the disk, and after opening it appends behind the end of the file.

use crate::format::block::content_start;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Bytes of a key.
pub(crate) const KEY_LEN: usize = 32;
/// Bytes of the tag behind the ciphertext.
pub(crate) const TAG_LEN: usize = 16;

/// Encrypting or decrypting failed; there is nothing more to be said without helping an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// The cipher of a file. The library that implements it wipes the key when it is dropped.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    /// The cipher with this key.
    pub(crate) fn new(key: &[u8]) -> Result<Cipher, Failed> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Failed)?;
        Ok(Cipher(LessSafeKey::new(key)))
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
        let nonce = Nonce::assume_unique_for_key(Cipher::nonce_of(position));
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::empty(), body).map_err(|_| Failed)?;
        tag.as_ref().try_into().map_err(|_| Failed)
    }

    /// Decrypts the chunk at `position` in place and checks and removes the tag.
    pub(crate) fn open_chunk(&self, position: u64, body: &mut Vec<u8>) -> Result<(), Failed> {
        self.open(Cipher::nonce_of(position), b"", body)
    }

    /// Encrypts with a nonce that the caller answers for.
    pub(crate) fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], body: &mut Vec<u8>) -> Result<(), Failed> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(nonce, Aad::from(aad), body).map_err(|_| Failed)
    }

    /// Decrypts what [`Cipher::seal`] made.
    pub(crate) fn open(&self, nonce: [u8; NONCE_LEN], aad: &[u8], body: &mut Vec<u8>) -> Result<(), Failed> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self.0.open_in_place(nonce, Aad::from(aad), body).map_err(|_| Failed)?.len();
        body.truncate(length);
        Ok(())
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
