//! See [`couchstore_tools::compact`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    couchstore_tools::program::main(couchstore_tools::compact::run)
}
