// SPDX-License-Identifier: Apache-2.0

//! Tells ThreadSanitizer what the locks here order, in hosts that run under it.
//!
//! It watches a host's code and the functions of the C library, not this library's: the threads that a lock keeps apart
//! would look to it as if nothing did. Where its runtime is not there these functions do nothing.

use std::ffi::c_void;

// Weak references, as in `capi::alloc`.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
std::arch::global_asm!(
    ".weak __tsan_acquire",
    ".weak __tsan_release",
    ".pushsection .data.rel.ro.couchstore_tsan,\"aw\"",
    ".balign 8",
    ".hidden couchstore_private_tsan",
    ".globl couchstore_private_tsan",
    "couchstore_private_tsan:",
    ".quad __tsan_acquire",
    ".quad __tsan_release",
    ".popsection",
);

/// What the runtime offers.
#[repr(C)]
struct Runtime {
    acquire: Option<unsafe extern "C" fn(*mut c_void)>,
    release: Option<unsafe extern "C" fn(*mut c_void)>,
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
unsafe extern "C" {
    #[link_name = "couchstore_private_tsan"]
    static RUNTIME: Runtime;
}
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
static RUNTIME: Runtime = Runtime { acquire: None, release: None };

fn runtime() -> &'static Runtime {
    #[allow(unused_unsafe, reason = "not everywhere a foreign static")]
    // SAFETY: set before the library runs, and never changed.
    unsafe {
        &RUNTIME
    }
}

/// The lock at this address was just taken.
pub(crate) fn taken<T>(lock: &T) {
    if let Some(acquire) = runtime().acquire {
        // SAFETY: the runtime takes the address for a name.
        unsafe { acquire(std::ptr::from_ref(lock).cast_mut().cast()) };
    }
}

/// The lock at this address is about to be given up.
pub(crate) fn about_to_give_up<T>(lock: &T) {
    if let Some(release) = runtime().release {
        // SAFETY: as above.
        unsafe { release(std::ptr::from_ref(lock).cast_mut().cast()) };
    }
}
