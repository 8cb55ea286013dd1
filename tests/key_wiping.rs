// SPDX-License-Identifier: Apache-2.0

//! Keys are wiped before their memory is given back.
//!
//! The allocator of this program keeps what small blocks held when they were freed. What C code allocates it does not
//! see: the library that has the ciphers wipes that itself.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use couchstore::{Db, Document, EncryptionKey, KeyDerivation, OpenOptions, SaveOptions};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};

/// Larger blocks hold no keys.
const SMALL: usize = 512;
const CAPACITY: usize = 4 << 20;

static FREED: [AtomicU8; CAPACITY] = [const { AtomicU8::new(0) }; CAPACITY];
static USED: AtomicUsize = AtomicUsize::new(0);
static RECORDING: AtomicBool = AtomicBool::new(false);

/// The system's allocator; blocks that grow are always moved, so that what they leave is seen.
struct Watching;

#[global_allocator]
static WATCHING: Watching = Watching;

// SAFETY: calls are handed on to the system's allocator. All blocks are zeroed, so a freed one may be read.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of this same method.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if RECORDING.load(Relaxed) && layout.size() <= SMALL {
            let start = USED.fetch_add(layout.size(), Relaxed);
            for (at, slot) in FREED.iter().skip(start).take(layout.size()).enumerate() {
                // SAFETY: the block has so many bytes, and still belongs to the caller.
                slot.store(unsafe { pointer.add(at).read() }, Relaxed);
            }
        }
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `action` and returns what was freed meanwhile.
fn freed_by(action: impl FnOnce()) -> Vec<u8> {
    USED.store(0, Relaxed);
    RECORDING.store(true, Relaxed);
    action();
    RECORDING.store(false, Relaxed);
    let used = USED.load(Relaxed);
    assert!((1..=CAPACITY).contains(&used), "{used} bytes freed");
    FREED[..used].iter().map(|slot| slot.load(Relaxed)).collect()
}

fn holds(freed: &[u8], key: &[u8]) -> bool {
    // Half of a key would be too much already.
    freed.windows(16).any(|window| window == &key[..16] || window == &key[16..])
}

const SECRET: [u8; 32] = *b"the caller's key has thirty-two!";

fn create_and_open(path: &Path, derivation: KeyDerivation) {
    let options = || {
        let key = EncryptionKey::new("id", &SECRET, derivation).unwrap();
        OpenOptions::new().create(true).keys(Some(Arc::new(key)))
    };
    let save = |db: Db| {
        db.save(&[Document::new(b"id", b"body")], SaveOptions::default()).unwrap();
        db.commit().unwrap();
        db.close().unwrap();
    };
    save(options().open(path).unwrap());
    save(options().open(path).unwrap());
}

/// The key of a file whose metadata has a wrapped one.
fn file_key(file: &[u8]) -> Vec<u8> {
    let context = &file[9 + 5..9 + 5 + 60];
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &SECRET).unwrap());
    let mut sealed = context[12..].to_vec();
    let nonce = Nonce::try_assume_unique_for_key(&context[..12]).unwrap();
    key.open_in_place(nonce, Aad::from(b"id"), &mut sealed).unwrap()[..32].to_vec()
}

/// One test only: others would free memory meanwhile.
#[test]
fn freed_memory_holds_no_keys() {
    let forgotten = freed_by(|| drop(std::hint::black_box(SECRET.to_vec())));
    assert!(holds(&forgotten, &SECRET), "this would be seen");

    let dir = common::temp_dir();
    for (name, derivation) in [("wrapped", KeyDerivation::None), ("derived", KeyDerivation::KeyBased)] {
        let path = dir.path().join(name);
        let freed = freed_by(|| create_and_open(&path, derivation));
        assert!(!holds(&freed, &SECRET), "the caller's key, {name}");
        if derivation == KeyDerivation::None {
            let key = file_key(&std::fs::read(&path).unwrap());
            assert!(!holds(&freed, &key), "the file's key");
        }
    }
}
