// SPDX-License-Identifier: Apache-2.0

//! The process's environment.

use std::ffi::OsString;

/// A variable of the environment; none in programs that have more rights than whoever starts them.
pub(crate) fn secure_variable(name: &str) -> Option<OsString> {
    // SAFETY: no memory is involved.
    let has_more_rights = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    if has_more_rights { None } else { std::env::var_os(name) }
}
