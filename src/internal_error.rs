//! The text of the last internal error, per thread, and the process-wide handler that hosts may set to log it.
//!
//! The texts are for logs: they say which check failed where in a file. Some of their wordings are matched by
//! existing callers. A success never clears the text.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

/// Longest text kept, in bytes.
const MAX_TEXT: usize = 249;

/// Called with each internal error as it happens, on the thread where it happens.
pub type Handler = Arc<dyn Fn(&str) + Send + Sync>;

/// A fixed-size text: thread-local storage without a destructor keeps the library unloadable.
struct Text {
    bytes: [u8; MAX_TEXT],
    length: usize,
}

impl Text {
    const EMPTY: Text = Text { bytes: [0; MAX_TEXT], length: 0 };

    /// A text that is too long is cut.
    fn of(text: std::fmt::Arguments<'_>) -> Text {
        let mut new = Text::EMPTY;
        let _ = new.write_fmt(text);
        new
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars() {
            let mut encoded = [0; 4];
            let encoded = character.encode_utf8(&mut encoded).as_bytes();
            let Some(room) = self.bytes.get_mut(self.length..self.length + encoded.len()) else {
                return Err(std::fmt::Error);
            };
            room.copy_from_slice(encoded);
            self.length += encoded.len();
        }
        Ok(())
    }
}

thread_local! {
    static LAST: RefCell<Text> = const { RefCell::new(Text::EMPTY) };
}

static HANDLER: RwLock<Option<Handler>> = RwLock::new(None);

/// Records an internal error of this thread and tells the handler.
pub(crate) fn report(text: std::fmt::Arguments<'_>) {
    let new = Text::of(text);
    let handler = HANDLER.read().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(handler) = handler {
        handler(new.as_str());
    }
    LAST.with(|last| *last.borrow_mut() = new);
}

/// Records a text as [`report`] does, and tells nobody: for failures that are not the library's own.
pub(crate) fn remember(text: std::fmt::Arguments<'_>) {
    LAST.with(|last| *last.borrow_mut() = Text::of(text));
}

/// The last internal error of this thread, quoted: `'text'`; `''` if there was none.
pub fn last_internal_error() -> String {
    LAST.with(|last| format!("'{}'", last.borrow().as_str()))
}

/// Sets or removes the handler that is told of every internal error in the process. It must not panic.
pub fn set_on_internal_error(handler: Option<Handler>) {
    let old = std::mem::replace(&mut *HANDLER.write().unwrap_or_else(PoisonError::into_inner), handler);
    // Not under the lock: dropping a handler may run code of the caller's, which may report errors itself.
    drop(old);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_the_limit_and_kept_per_thread() {
        report(format_args!("{}", "x".repeat(1000)));
        assert_eq!(last_internal_error().len(), MAX_TEXT + 2);
        std::thread::spawn(|| assert_eq!(last_internal_error(), "''")).join().expect("thread");
    }
}
