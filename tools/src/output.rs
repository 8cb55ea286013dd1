//! Standard output: buffered, and with every error noticed.

use crate::program::Failure;
use serde::Serialize;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

/// Buffered standard output.
pub struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    /// Takes standard output until dropped.
    pub fn new() -> Output {
        Output(BufWriter::with_capacity(64 << 10, io::stdout().lock()))
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
            write!(self.0, "{before}")?;
            for unit in characters.next().unwrap_or_default().encode_utf16(&mut [0; 2]) {
                write!(self.0, "\\u{unit:04x}")?;
            }
            rest = characters.as_str();
        }
        Ok(writeln!(self.0, "{rest}")?)
    }

    /// Whether a person sees it directly; then control characters must not pass.
    pub fn is_terminal(&self) -> bool {
        self.0.get_ref().is_terminal()
    }

    /// Writes out what is buffered. What is dropped before that may be lost without a word.
    pub fn finish(mut self) -> Result<(), Failure> {
        Ok(self.0.flush()?)
    }
}

impl Default for Output {
    fn default() -> Output {
        Output::new()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
