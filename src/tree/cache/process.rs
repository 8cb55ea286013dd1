// SPDX-License-Identifier: Apache-2.0

//! The node cache of handles that are not told which: one for the process, off unless it is asked for.

use super::shared::NodeCache;
use crate::io::environment::secure_variable;
use crate::sync::Mutex;
use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Names the size of the cache, so that a host gains by it without being rebuilt.
const VARIABLE: &str = "COUCHSTORE_NODE_CACHE";

static CACHE: Mutex<Option<Arc<NodeCache>>> = Mutex::new(None);

/// Whether the environment was asked yet, and whether there is a cache: opening asks without a lock.
static STATE: AtomicU8 = AtomicU8::new(UNASKED);
const UNASKED: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

/// Gives all handles that are opened from now on a common node cache of up to `bytes`; 0: none. Another size makes a new
/// cache, with nothing in it; handles that are open keep the one that they have, which lives as long as they do. What the environment variable `COUCHSTORE_NODE_CACHE` says (such as `64M`) does not count
/// any more; it is asked for when the first handle is opened.
pub fn set_node_cache(bytes: u64) {
    let mut cache = CACHE.lock();
    let is_new = bytes == 0 || cache.as_ref().is_none_or(|cache| cache.budget() != bytes);
    let old = if is_new { std::mem::replace(&mut *cache, made(bytes)) } else { None };
    STATE.store(if bytes > 0 { ON } else { OFF }, Ordering::Release);
    drop(cache);
    // Its nodes may be many: nobody waits while they are let go.
    drop(old);
}

/// A cache of this size, none of size 0.
fn made(bytes: u64) -> Option<Arc<NodeCache>> {
    (bytes > 0).then(|| Arc::new(NodeCache::new(bytes)))
}

/// The process's cache, if there is one.
pub(crate) fn node_cache() -> Option<Arc<NodeCache>> {
    match STATE.load(Ordering::Acquire) {
        OFF => None,
        UNASKED => ask_environment(),
        _ => CACHE.lock().clone(),
    }
}

#[cold]
fn ask_environment() -> Option<Arc<NodeCache>> {
    let mut cache = CACHE.lock();
    if STATE.load(Ordering::Acquire) == UNASKED {
        let bytes = secure_variable(VARIABLE).and_then(|value| parse_size(&value)).unwrap_or(0);
        *cache = made(bytes);
        STATE.store(if bytes > 0 { ON } else { OFF }, Ordering::Release);
    }
    cache.clone()
}

/// A number of bytes, perhaps with K, M or G (or KiB and so on) for powers of 1024.
fn parse_size(value: &OsStr) -> Option<u64> {
    let text = value.to_str()?.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..)?.trim();
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_or_without_a_unit() {
        for (text, bytes) in [("64M", 64 << 20), ("1", 1), (" 2 GiB ", 2 << 30), ("3k", 3 << 10), ("0", 0)] {
            assert_eq!(parse_size(OsStr::new(text)), Some(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1.5G", "64 quires", "99999999999999999999", "99999999999999G", "0x10"] {
            assert_eq!(parse_size(OsStr::new(text)), None, "{text}");
        }
    }
}
