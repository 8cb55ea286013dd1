// SPDX-License-Identifier: Apache-2.0

//! Standard output: buffered, and with every error noticed.

use crate::program::Failure;
use serde::Serialize;
use std::io::{self, BufWriter, IsTerminal, Write};

/// Buffered standard output.
pub struct Output {
    sink: BufWriter<Box<dyn Write>>,
    is_terminal: bool,
}

impl Output {
    /// Takes standard output until dropped.
    pub fn new() -> Output {
        let stdout = io::stdout().lock();
        Output { is_terminal: stdout.is_terminal(), ..Output::to(Box::new(stdout)) }
    }

    /// Takes everything, and nobody sees it.
    pub fn nowhere() -> Output {
        Output::to(Box::new(io::sink()))
    }

    fn to(sink: Box<dyn Write>) -> Output {
        Output { sink: BufWriter::with_capacity(64 << 10, sink), is_terminal: false }
    }

    /// Writes a value as one line of JSON, in which all characters beyond ASCII are escaped: as the original's tools
    /// do, and so that no character is left that a terminal obeys.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(value)?;
        let mut rest = line.as_str();
        // Below U+0020 JSON escapes them by itself. Outside of strings there are none.
        while let Some(at) = rest.find(|character| character >= '\u{7f}') {
            let (before, other) = rest.split_at(at);
            let mut characters = other.chars();
            write!(self.sink, "{before}")?;
            for unit in characters.next().unwrap_or_default().encode_utf16(&mut [0; 2]) {
                write!(self.sink, "\\u{unit:04x}")?;
            }
            rest = characters.as_str();
        }
        Ok(writeln!(self.sink, "{rest}")?)
    }

    /// Whether a person sees it directly; then control characters must not pass.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Writes out what is buffered. What is dropped before that may be lost without a word.
    pub fn finish(mut self) -> Result<(), Failure> {
        Ok(self.sink.flush()?)
    }
}

impl Default for Output {
    fn default() -> Output {
        Output::new()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
