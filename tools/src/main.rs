// SPDX-License-Identifier: Apache-2.0

//! See [`couchstore_tools::dispatch`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    couchstore_tools::dispatch::main(std::env::args_os())
}
