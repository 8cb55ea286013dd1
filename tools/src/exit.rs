// SPDX-License-Identifier: Apache-2.0

//! Exit codes: those of the original's tools, and ours where it has none.

use crate::failure::Failure;

/// Something failed.
pub const FAILED: u8 = 1;
/// What `couch_compact` ends with instead.
pub const COMPACTION_FAILED: u8 = 255;
/// Nothing was given that a tool could work on.
const NOTHING_GIVEN: u8 = 1;
/// The command line is wrong.
const MISUSED: u8 = 2;
/// The user has ended the tool, as a shell would say it.
const INTERRUPTED: u8 = 130;

/// That for how a tool ended; `failed` is its own for failures.
pub fn code(result: &Result<(), Failure>, failed: u8) -> u8 {
    match result {
        Ok(()) | Err(Failure::ClosedPipe) => 0,
        Err(
            Failure::Message(_)
            | Failure::Library(_)
            | Failure::Original { .. }
            | Failure::Output(_)
            | Failure::Reported,
        ) => failed,
        Err(Failure::Usage(_) | Failure::Misused) => MISUSED,
        Err(Failure::NothingGiven) => NOTHING_GIVEN,
        Err(Failure::Interrupted) => INTERRUPTED,
    }
}
