//! See [`couchstore_tools::check`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    couchstore_tools::program::main(couchstore_tools::check::run)
}
