// SPDX-License-Identifier: Apache-2.0

//! AES-256-GCM, HMAC-SHA-256 and random numbers of aws-lc.
//!
//! `left_out.rs` has the same items for builds without encryption.

use super::cipher::{Failed, NONCE_LEN, TAG_LEN};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// AES-256-GCM with one key, which is wiped when this is dropped. Callers answer for their nonces.
pub(super) struct AesGcm(LessSafeKey);

impl AesGcm {
    pub(super) fn new(key: &[u8]) -> Result<AesGcm, Failed> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| Failed)?;
        Ok(AesGcm(LessSafeKey::new(key)))
    }

    /// Encrypts in place; returns the tag.
    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        body: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Failed> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), body).map_err(|_| Failed)?;
        tag.as_ref().try_into().map_err(|_| Failed)
    }

    /// Decrypts in place, and checks and removes the tag behind the ciphertext.
    pub(super) fn open(&self, nonce: [u8; NONCE_LEN], aad: &[u8], body: &mut Vec<u8>) -> Result<(), Failed> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self.0.open_in_place(nonce, Aad::from(aad), body).map_err(|_| Failed)?.len();
        body.truncate(length);
        Ok(())
    }
}

/// Fills `bytes` from the operating system's source.
pub(super) fn random(bytes: &mut [u8]) -> Result<(), Failed> {
    SystemRandom::new().fill(bytes).map_err(|_| Failed)
}

/// The HMAC of the parts, one after the other.
pub(super) fn hmac_sha256(key: &[u8], parts: &[&[u8]], out: &mut [u8; 32]) -> Result<(), Failed> {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        mac.update(part);
    }
    let tag = mac.sign();
    if tag.as_ref().len() != out.len() {
        return Err(Failed);
    }
    out.copy_from_slice(tag.as_ref());
    Ok(())
}
