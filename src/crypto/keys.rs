// SPDX-License-Identifier: Apache-2.0

//! From a caller's key to the key of a file.
//!
//! A new file gets a metadata header with what is needed to find its key again:
//!
//! * version 0, *wrapped*: the file has a random key, stored encrypted with the caller's key
//! * version 1, *derived*: the file's key is derived from the caller's and random bytes (KBKDF in counter mode with
//!   HMAC-SHA-256, NIST SP 800-108), which are stored

use super::cipher::{Cipher, Failed, KEY_LEN, NONCE_LEN, TAG_LEN};
use super::primitives::{hmac_sha256, random};
use crate::error::Error;
use crate::format::metadata::Metadata;
use zeroize::Zeroizing;

const WRAPPED: u8 = 0;
const DERIVED: u8 = 1;
/// What is said of others.
const FIT: &str = "expected a key of 32 bytes with an id of 1 to 255 bytes";
/// Highest version of the metadata header that is known.
pub(crate) const NEWEST_METADATA: u8 = DERIVED;

/// How the key of a file follows from the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDerivation {
    /// The file has a random key, which is stored wrapped with the caller's.
    None,
    /// The file's key is derived from the caller's.
    KeyBased,
}

/// A caller's key.
#[derive(Clone)]
pub struct EncryptionKey {
    id: Vec<u8>,
    /// Wiped when dropped.
    secret: Zeroizing<Vec<u8>>,
    derivation: KeyDerivation,
}

impl EncryptionKey {
    /// A key. `id`, of 1 to 255 bytes, is stored in files in plain text; `secret` has 32 bytes, of which a copy is kept
    /// that is wiped when the key is dropped. Others are refused ([`Error::InvalidArguments`]).
    pub fn new(
        id: impl Into<Vec<u8>>,
        secret: &[u8],
        derivation: KeyDerivation,
    ) -> Result<EncryptionKey, Error> {
        let key = EncryptionKey::as_given(id, secret, derivation);
        if key.is_fit() { Ok(key) } else { Err(Error::InvalidArguments(FIT)) }
    }

    /// A key that may be unfit: that is found out when it is used.
    pub(crate) fn as_given(
        id: impl Into<Vec<u8>>,
        secret: &[u8],
        derivation: KeyDerivation,
    ) -> EncryptionKey {
        EncryptionKey { id: id.into(), secret: Zeroizing::new(secret.to_vec()), derivation }
    }

    fn is_fit(&self) -> bool {
        (1..=255).contains(&self.id.len()) && self.secret.len() == KEY_LEN
    }

    /// The id.
    pub fn id(&self) -> &[u8] {
        &self.id
    }
}

impl std::fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncryptionKey")
            .field("id", &String::from_utf8_lossy(&self.id))
            .finish_non_exhaustive()
    }
}

/// The caller's key store failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStoreFailed;

/// Finds a caller's keys.
pub trait KeyStore: Send + Sync {
    /// The key with this id; the empty id asks for the key of a new file. `None`: there is none; then a new file is
    /// not encrypted, and an encrypted one cannot be opened.
    fn key(&self, id: &[u8]) -> Result<Option<EncryptionKey>, KeyStoreFailed>;
}

/// A single key is the key of every new file, and of those that were encrypted with it.
impl KeyStore for EncryptionKey {
    fn key(&self, id: &[u8]) -> Result<Option<EncryptionKey>, KeyStoreFailed> {
        Ok((id.is_empty() || id == self.id).then(|| self.clone()))
    }
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyError {
    /// The key itself is unfit.
    Unusable,
    /// Wrapping, unwrapping or drawing random numbers failed.
    Failed,
}

impl From<Failed> for KeyError {
    fn from(_: Failed) -> KeyError {
        KeyError::Failed
    }
}

/// A key for a new file, and the metadata header from which it can be found again.
pub(crate) fn new_file_key(key: &EncryptionKey) -> Result<(Cipher, Metadata), KeyError> {
    if !key.is_fit() {
        return Err(KeyError::Unusable);
    }
    let (version, context, cipher) = match key.derivation {
        KeyDerivation::None => {
            let mut file_key = Zeroizing::new([0; KEY_LEN]);
            random(file_key.as_mut())?;
            (WRAPPED, wrap(key, file_key.as_ref())?, Cipher::new(file_key.as_ref())?)
        }
        KeyDerivation::KeyBased => {
            let mut context = vec![0; key.secret.len()];
            random(&mut context)?;
            let cipher = derived(key, &context)?;
            (DERIVED, context, cipher)
        }
    };
    Ok((cipher, Metadata { version, key_id: key.id.clone(), context }))
}

/// The cipher of an existing file. What counts is the version stored in the file, not the key's derivation.
pub(crate) fn file_cipher(key: &EncryptionKey, metadata: &Metadata) -> Result<Cipher, KeyError> {
    if metadata.version == WRAPPED {
        let file_key = unwrap(key, &metadata.context)?;
        Ok(Cipher::new(&file_key)?)
    } else {
        derived(key, &metadata.context)
    }
}

/// `nonce | ciphertext | tag` of the file's key under the caller's, bound to the key's id.
fn wrap(key: &EncryptionKey, file_key: &[u8]) -> Result<Vec<u8>, KeyError> {
    let mut nonce = [0; NONCE_LEN];
    random(&mut nonce)?;
    // Room for the tag from the start: a vector that grows leaves a copy of the key behind.
    let mut sealed = Vec::with_capacity(KEY_LEN + TAG_LEN);
    sealed.extend_from_slice(file_key);
    Cipher::new(&key.secret)?.seal(nonce, &key.id, &mut sealed)?;
    let mut context = nonce.to_vec();
    context.append(&mut sealed);
    Ok(context)
}

fn unwrap(key: &EncryptionKey, context: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (nonce, sealed) = context.split_first_chunk::<NONCE_LEN>().ok_or(KeyError::Failed)?;
    let mut file_key = Zeroizing::new(sealed.to_vec());
    if file_key.len() != KEY_LEN + TAG_LEN {
        return Err(KeyError::Failed);
    }
    Cipher::new(&key.secret)?.open(*nonce, &key.id, &mut file_key)?;
    Ok(file_key)
}

fn derived(key: &EncryptionKey, context: &[u8]) -> Result<Cipher, KeyError> {
    let mut full = b"couchstore/".to_vec();
    full.extend_from_slice(context);
    let mut file_key = Zeroizing::new([0; KEY_LEN]);
    kbkdf(&key.secret, b"FileKey", &full, &mut file_key)?;
    Ok(Cipher::new(file_key.as_ref())?)
}

/// 32 bytes by KBKDF in counter mode: one block of HMAC over
/// `counter 1 | label | 00 | context | output length in bits`.
fn kbkdf(key: &[u8], label: &[u8], context: &[u8], out: &mut [u8; KEY_LEN]) -> Result<(), Failed> {
    const BITS: u32 = KEY_LEN as u32 * 8;
    hmac_sha256(key, &[&1_u32.to_be_bytes(), label, &[0], context, &BITS.to_be_bytes()], out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    #[cfg(feature = "encryption")]
    fn known_answer_of_the_key_derivation() {
        let mut out = [0; KEY_LEN];
        kbkdf(&[0x42; 32], b"label", b"context-123", &mut out).unwrap();
        assert_eq!(out[..4], [0x11, 0xb6, 0x3e, 0x04]);
        assert_eq!(out[28..], [0x76, 0x95, 0xf8, 0x3d]);
    }

    #[test]
    #[cfg(feature = "encryption")]
    fn file_keys_are_found_again_only_with_the_right_key() {
        for derivation in [KeyDerivation::None, KeyDerivation::KeyBased] {
            let key = EncryptionKey::new("id", &[1; 32], derivation).unwrap();
            let (cipher, metadata) = new_file_key(&key).unwrap();
            let mut sealed = b"text".to_vec();
            let tag = cipher.seal_chunk(1, &mut sealed).unwrap();
            sealed.extend_from_slice(&tag);
            let found = file_cipher(&key, &metadata).unwrap();
            found.open_chunk(1, &mut sealed.clone()).unwrap();
            let wrong = EncryptionKey::new("id", &[2; 32], derivation).unwrap();
            match file_cipher(&wrong, &metadata) {
                Ok(cipher) => {
                    assert_eq!(derivation, KeyDerivation::KeyBased);
                    assert_eq!(cipher.open_chunk(1, &mut sealed.clone()), Err(Failed));
                }
                Err(error) => {
                    assert_eq!((derivation, error), (KeyDerivation::None, KeyError::Failed));
                }
            }
        }
    }

    #[test]
    fn unfit_keys_are_refused_and_keys_are_not_printed() {
        let long = "x".repeat(256);
        for (id, length) in [("", 32), (&long, 32), ("x", 0), ("x", 31), ("x", 33)] {
            let secret = vec![77; length];
            for derivation in [KeyDerivation::None, KeyDerivation::KeyBased] {
                let refused = EncryptionKey::new(id, &secret, derivation).unwrap_err();
                assert!(matches!(refused, Error::InvalidArguments(FIT)), "{refused}");
                let key = EncryptionKey::as_given(id, &secret, derivation);
                assert_eq!(new_file_key(&key).err(), Some(KeyError::Unusable));
                assert!(!format!("{key:?}").contains("77"));
            }
        }
        EncryptionKey::new(&long[..255], &[77; 32], KeyDerivation::None).unwrap();
    }

    #[test]
    #[cfg(feature = "encryption")]
    fn a_key_of_another_length_does_not_open_a_file() {
        let key = |length| EncryptionKey::as_given("id", &vec![1; length], KeyDerivation::None);
        let (_, metadata) = new_file_key(&key(32)).unwrap();
        for length in [0, 31, 33] {
            assert_eq!(file_cipher(&key(length), &metadata).err(), Some(KeyError::Failed));
        }
    }
}
