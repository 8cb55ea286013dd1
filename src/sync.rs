// SPDX-License-Identifier: Apache-2.0

//! Locks. In builds with the feature `shuttle` they are those of a scheduler that tries out interleavings.

#[cfg(not(feature = "shuttle"))]
pub(crate) use parking_lot::Mutex;

#[cfg(feature = "shuttle")]
pub(crate) use shuttled::Mutex;

#[cfg(feature = "shuttle")]
mod shuttled {
    #![allow(
        clippy::disallowed_types,
        clippy::unwrap_used,
        reason = "only in tests: a poisoned lock ends them"
    )]

    /// As `parking_lot::Mutex`.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Mutex<T> {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}
