// SPDX-License-Identifier: Apache-2.0

//! Builders of the options of saves and scans.

use super::save::SaveOptions;
use super::scan::ScanOptions;
use crate::builders::builders;

impl SaveOptions {
    /// The default: bodies are stored as they are, and every document gets the next sequence number.
    pub const fn new() -> SaveOptions {
        SaveOptions { compress: false, keep_sequences: false }
    }
}

builders! { [const] SaveOptions:
    compress: bool,
    keep_sequences: bool,
}

impl ScanOptions {
    /// The default: all documents, deleted ones too, up to the first damage.
    pub const fn new() -> ScanOptions {
        ScanOptions { deletes_only: false, no_deletes: false, tolerate_corruption: false }
    }
}

builders! { [const] ScanOptions:
    deletes_only: bool,
    no_deletes: bool,
    tolerate_corruption: bool,
}
