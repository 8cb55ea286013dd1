// SPDX-License-Identifier: Apache-2.0

//! Switching the measuring of calls on and off, and showing what was measured.

use super::call;
use super::guard::guard_value;
use super::latency;
use super::types::{couchstore_c_latency, couchstore_c_latency_callback_fn};
use std::ffi::c_void;

/// Starts to measure how long calls of the library's functions take, in the whole process. If that is
/// on already, nothing changes.
#[unsafe(no_mangle)]
pub extern "C" fn couchstore_c_latency_collector_start() {
    latency::collect();
}

/// Stops measuring and forgets what was measured.
#[unsafe(no_mangle)]
pub extern "C" fn couchstore_c_latency_collector_stop() {
    latency::forget();
}

/// Shows the times of each function that was called since measuring was started.
///
/// Nothing is shown when measuring is off.
///
/// @param callback gets the figures of one function; non-zero stops
/// @param ctx      passed to callback
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_c_get_latency_info(
    callback: couchstore_c_latency_callback_fn,
    ctx: *mut c_void,
) {
    let Some(show) = callback else { return };
    guard_value((), || {
        for measured in latency::measured() {
            let latency = couchstore_c_latency {
                name: measured.name.as_ptr(),
                count: measured.count,
                total_us: measured.total_us,
                max_us: measured.max_us,
                buckets: measured.buckets.as_ptr(),
                num_buckets: measured.buckets.len(),
            };
            // SAFETY: the pointer contract of `capi`; `latency` and what it points to live through the call.
            if call::callback(|| unsafe { show(&raw const latency, ctx) }) != 0 {
                break;
            }
        }
    });
}
