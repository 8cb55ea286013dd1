// SPDX-License-Identifier: Apache-2.0

//! Progress bars on stderr, if that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{msg} {wide_bar} {human_pos}/{human_len} {percent}% {eta}";

/// A bar up to `total`. It shows nothing unless stderr is a terminal, and goes away when dropped.
pub fn bar(total: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style).with_message(what)
}
