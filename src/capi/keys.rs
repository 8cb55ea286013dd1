// SPDX-License-Identifier: Apache-2.0

//! Encrypted files: opening and creating them, and compacting to them.

use super::call::callback;
use super::compact::Compaction;
use super::file_ops;
use super::flags;
use super::guard::{guard, guard_ask, guard_db};
use super::handle::Published;
use super::latency::Call;
use super::open::open;
use super::ptr::{self, Out};
use super::types::{
    Handle, couch_file_ops, couchstore_compact_flags, couchstore_compact_hook, couchstore_docinfo_hook,
    couchstore_encryption_key, couchstore_error_t, couchstore_key_fn, couchstore_open_flags, sized_buf,
};
use crate::crypto::keys::{EncryptionKey, KeyDerivation, KeyStore, KeyStoreFailed};
use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

/// A C caller's key store, for the length of one call.
pub(super) struct KeyCallback {
    function: couchstore_key_fn,
    ctx: *mut c_void,
}

// SAFETY: it is called only by the function that it was passed to, on that function's thread.
unsafe impl Send for KeyCallback {}
// SAFETY: as above.
unsafe impl Sync for KeyCallback {}

impl KeyCallback {
    /// The store behind a callback; none for NULL.
    pub(super) fn store(function: couchstore_key_fn, ctx: *mut c_void) -> Option<Arc<dyn KeyStore>> {
        function?;
        Some(Arc::new(KeyCallback { function, ctx }))
    }
}

impl KeyStore for KeyCallback {
    fn key(&self, id: &[u8]) -> Result<Option<EncryptionKey>, KeyStoreFailed> {
        let Some(function) = self.function else { return Ok(None) };
        let mut key =
            couchstore_encryption_key { id: sized_buf::EMPTY, key: sized_buf::EMPTY, derivation: 0 };
        // SAFETY: the pointer contract of `capi`; `key` is valid for writes.
        let ask = || unsafe { function(self.ctx, id.as_ptr().cast::<c_char>(), id.len(), &raw mut key) };
        let found = callback(ask);
        if found < 0 {
            return Err(KeyStoreFailed);
        }
        if found == 0 {
            return Ok(None);
        }
        // SAFETY: the pointer contract of `capi`: the callback's strings are good until it is called again.
        let (id, secret) = unsafe { (ptr::buf(&key.id), ptr::buf(&key.key)) };
        let (Ok(id), Ok(secret)) = (id, secret) else { return Err(KeyStoreFailed) };
        Ok(Some(given_key(id, secret, key.derivation)))
    }
}

/// A key as a C or C++ caller gave it. `derivation`: 0 wrapped, 1 derived; of others no file exists, and the key is
/// one that is refused.
pub(super) fn given_key(id: &[u8], secret: &[u8], derivation: c_int) -> EncryptionKey {
    match derivation {
        0 => EncryptionKey::as_given(id, secret, KeyDerivation::None),
        1 => EncryptionKey::as_given(id, secret, KeyDerivation::KeyBased),
        _ => EncryptionKey::as_given(id, &[], KeyDerivation::None),
    }
}

/// Opens a file that may be encrypted, or creates one that is.
///
/// As couchstore_open_db() or, with ops, couchstore_open_db_ex(). When a file is created keys is asked
/// for the key with the empty id, and the file is encrypted with what it gives, unless it gives none.
/// When an encrypted file is opened it is asked for the id stored there. It is not asked when a file
/// that is not encrypted is opened, nor after this call.
///
/// @param ops      NULL: the default ones
/// @param keys     finds keys; NULL: there are none
/// @param keys_ctx passed to keys
/// @return COUCHSTORE_ERROR_NO_ENCRYPTION_KEY: the file is encrypted, and keys had no key of its id;
///         COUCHSTORE_ERROR_DECRYPT: the key is not the right one (with a derived key that is noticed
///         only by reading, which gives COUCHSTORE_ERROR_CHECKSUM_FAIL); COUCHSTORE_ERROR_ENCRYPT:
///         keys failed for a new file; COUCHSTORE_ERROR_INVALID_ARGUMENTS: an id of 0 or more than 255
///         bytes, for a new file a key of other than 32 bytes, an unknown derivation, or
///         COUCHSTORE_OPEN_WITH_LEGACY_CRC for an encrypted file; COUCHSTORE_ERROR_NOT_SUPPORTED:
///         encrypted in a way that this version does not know, or this library was built without
///         encryption (of which the handler of couchstore_set_on_internal_error() is told); otherwise
///         as couchstore_open_db_ex()
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_open_db_with_key"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_open_db_with_key(
    filename: *const c_char,
    flags: couchstore_open_flags,
    ops: *const couch_file_ops,
    keys: couchstore_key_fn,
    keys_ctx: *mut c_void,
    db: *mut *mut Handle,
) -> couchstore_error_t {
    guard(Call::OpenDbWithKey, || {
        let mut options = flags::open_options(flags).keys(KeyCallback::store(keys, keys_ctx));
        if !ops.is_null() {
            // SAFETY: the pointer contract of `capi`.
            options = options.file_ops(unsafe { file_ops::to_rust(ops) }?);
        }
        // SAFETY: the pointer contract of `capi`.
        let (filename, out) = unsafe { (ptr::name(filename)?, Out::new(db)?) };
        open(&options, filename, &out)
    })
}

/// Compacts to a file that is encrypted: from one that is not, or is encrypted with another key.
///
/// As couchstore_compact_db_ex(). What sorting puts on disk meanwhile is encrypted too.
///
/// @param keys     asked once, for the key with the empty id: that of the target. NULL, or if it gives
///                 none: the target is NOT encrypted
/// @param keys_ctx passed to keys
/// @return as couchstore_compact_db_ex() and, for the key, couchstore_open_db_with_key()
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_compact_db_with_key"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_compact_db_with_key(
    source: *mut Handle,
    target_filename: *const c_char,
    flags: couchstore_compact_flags,
    keys: couchstore_key_fn,
    keys_ctx: *mut c_void,
    hook: couchstore_compact_hook,
    dhook: couchstore_docinfo_hook,
    hook_ctx: *mut c_void,
    ops: *const couch_file_ops,
) -> couchstore_error_t {
    let keys = KeyCallback::store(keys, keys_ctx);
    let compaction = Compaction { target_filename, flags, keys, hook, dhook, hook_ctx, ops };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::CompactDbWithKey, source, |source| compaction.run(source)) }
}

/// The id of the key that a file is encrypted with.
///
/// @param buf    receives the id, cut to fit, not terminated; NULL is fine if size is 0
/// @param size   of buf in bytes; ids have at most 255
/// @param length receives the length of the id; 0: the file is not encrypted
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_get_encryption_key_id(
    db: *mut Handle,
    buf: *mut c_char,
    size: usize,
    length: *mut usize,
) -> couchstore_error_t {
    let answer = |known: &Published| {
        let id = known.key_id();
        // SAFETY: the pointer contract of `capi`.
        let out = unsafe { Out::new(length) }?;
        let n = id.len().min(size);
        if n > 0 {
            // SAFETY: the pointer contract of `capi`; a NULL buffer fails here.
            unsafe {
                Out::new(buf)?;
                buf.cast::<u8>().copy_from_nonoverlapping(id.as_ptr(), n);
            }
        }
        out.set(id.len());
        Ok(())
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_ask(Call::GetEncryptionKeyId, db, answer) }
}
