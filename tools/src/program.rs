//! What all tools do alike: reading the command line, ending with the right message, opening files.

use crate::exit;
use crate::help::Help;
use crate::keys::Keys;
use crate::text::{printable, printable_lines};
use clap::Parser;
use couchstore::{Db, Error, ErrorCode, OpenOptions};
use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::FileType;
use std::io::{self, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};

/// Why a tool ends early.
#[derive(Debug)]
pub enum Failure {
    /// Shown as one line on stderr.
    Message(String),
    /// The library failed.
    Library(LibraryError),
    /// Shown as the original's tools say it, which scripts look for; the rest for those who ask with --explain.
    Original {
        /// The line or lines.
        words: String,
        /// As [`Failure::Message`].
        more: Option<String>,
    },
    /// Everything has been said.
    Reported,
    /// The arguments make no sense together.
    Usage(String),
    /// The command line is wrong, and that has been said.
    Misused,
    /// There is nothing on the command line, and what is needed has been said.
    NothingGiven,
    /// Standard output takes no more: shown as one line on stderr, and nothing more is tried.
    Output(String),
    /// Whoever reads the output has had enough: the tool ends quietly, with success.
    ClosedPipe,
    /// The user pressed Ctrl-C.
    Interrupted,
}

/// An error of the library, in its own words and in the original's.
#[derive(Debug)]
pub struct LibraryError {
    /// Which one.
    pub code: ErrorCode,
    /// The sentence with file, offset and what was expected.
    pub message: String,
    /// What the original's library keeps as its last internal error; empty if that is nothing.
    pub internal: String,
    /// `errno`, 0 if there is none.
    pub os_error: i32,
}

impl LibraryError {
    /// The short text of its code.
    pub fn text(&self) -> Cow<'static, str> {
        self.code.text().to_string_lossy()
    }
}

impl Failure {
    /// An error of the library as the original's tools say it; `words` are told its text. Others stay.
    #[must_use]
    pub fn in_original_words(self, words: impl FnOnce(&LibraryError) -> String) -> Failure {
        match self {
            Failure::Library(error) => Failure::Original { words: words(&error), more: Some(error.message) },
            other => other,
        }
    }

    /// Adds to what is said of a failure of the library or of a tool. Others stay.
    #[must_use]
    pub fn map_message(self, change: impl FnOnce(String) -> String) -> Failure {
        match self {
            Failure::Message(message) => Failure::Message(change(message)),
            Failure::Library(error) => {
                Failure::Library(LibraryError { message: change(error.message), ..error })
            }
            other => other,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Failure::Message(message) | Failure::Usage(message) | Failure::Output(message) => message,
            Failure::Library(error) => &error.message,
            Failure::Original { words, .. } => words,
            Failure::Reported => "failed",
            Failure::Misused | Failure::NothingGiven => "wrong command line",
            Failure::ClosedPipe => "closed pipe",
            Failure::Interrupted => "interrupted",
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let (message, os_error) = match &error {
            Error::Io { operation, file, os_error, .. } if *os_error != 0 => {
                let what = io::Error::from_raw_os_error(*os_error);
                (format!("{file}: cannot {operation}: {what}"), *os_error)
            }
            _ => (error.to_string(), 0),
        };
        let internal = error.in_known_words().unwrap_or_default();
        Failure::Library(LibraryError { code: error.code(), message, internal, os_error })
    }
}

/// For writing to standard output; errors of other files are given a name before they come here.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::ClosedPipe
        } else {
            Failure::Output(format!("standard output: {error}"))
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure::from(io::Error::from(error))
    }
}

/// A tool: its command line, and what it does.
pub trait Tool: Parser {
    /// The name of its link.
    const NAME: &'static str;
    /// Examples and notes.
    const HELP: Help;
    /// The exit code for failures.
    const FAILED: u8 = exit::FAILED;

    /// The arguments as its parser understands them, from those that were given.
    fn arguments(given: Vec<OsString>) -> Vec<OsString> {
        given
    }

    /// Runs it.
    fn run(self) -> Result<(), Failure>;
}

/// What the program was started as.
static NAME: OnceLock<String> = OnceLock::new();

/// Says what the program was started as: messages begin with it.
pub fn set_name(name: &str) {
    NAME.get_or_init(|| name.to_owned());
}

/// Shows the help or the version that was asked for, or what is wrong with the command line.
pub fn show(error: &clap::Error) -> Result<(), Failure> {
    let printed = error.print();
    if error.use_stderr() {
        return Err(Failure::Misused);
    }
    printed?;
    Ok(io::stdout().flush()?)
}

/// Prints something and nothing else.
pub fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    stdout.write_all(text)?;
    Ok(stdout.flush()?)
}

/// Says what there is to say about how a tool ended.
pub fn say(failure: &Failure) {
    match failure {
        Failure::Message(message) | Failure::Output(message) | Failure::Usage(message) => tell(message),
        Failure::Library(error) => tell(&error.message),
        Failure::Original { words, more } => {
            if !words.is_empty() {
                say_plainly(words);
            }
            if let Some(more) = more.as_ref().filter(|_| EXPLAIN.load(Ordering::Relaxed)) {
                tell(more);
            }
        }
        Failure::Interrupted => tell("interrupted"),
        Failure::ClosedPipe | Failure::Reported | Failure::Misused | Failure::NothingGiven => {}
    }
}

/// Whether the user wants to know more than the original's tools say.
static EXPLAIN: AtomicBool = AtomicBool::new(false);

/// From now on failures are explained.
pub fn explain() {
    EXPLAIN.store(true, Ordering::Relaxed);
}

/// Says something on stderr, without the name of the tool before it: as the original's tools do.
pub fn say_plainly(words: &str) {
    // If stderr is closed as well, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{}", printable_lines(words.as_bytes()));
}

/// Says something on stderr, in one line whatever the names of files are.
pub fn tell(message: &str) {
    let name = NAME.get().map_or("couch", String::as_str);
    // If stderr is closed as well, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{name}: {}", printable(message.as_bytes()));
}

/// Says on stderr what is wrong and goes on. What ends a tool at once is handed back.
pub fn complain(failure: Failure) -> Result<(), Failure> {
    match failure {
        Failure::Message(_) | Failure::Library(_) | Failure::Original { .. } => {
            say(&failure);
            Ok(())
        }
        Failure::Reported => Ok(()),
        end => Err(end),
    }
}

/// Does the same with each file. An error in one does not keep the others from being looked at.
pub fn for_each_file(
    files: &[PathBuf],
    mut action: impl FnMut(&Path) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut all_fine = true;
    for file in files {
        if let Err(failure) = action(file) {
            complain(failure)?;
            all_fine = false;
        }
    }
    if all_fine { Ok(()) } else { Err(Failure::Reported) }
}

/// Starts a thread. The system may refuse, and then there is nothing wrong with the program.
pub fn start_thread<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Failure> {
    let started = thread::Builder::new().spawn_scoped(scope, work);
    started.map_err(|error| Failure::Message(format!("cannot start a thread: {error}")))
}

/// Opens a file for reading.
pub fn open(path: &Path, keys: &Keys) -> Result<Db, Failure> {
    open_with(path, keys, OpenOptions::new())
}

/// Opens a file for reading, stepping over damaged headers at its end.
pub fn open_for_recovery(path: &Path, keys: &Keys) -> Result<Db, Failure> {
    open_with(path, keys, OpenOptions::new().recovery(true))
}

/// Opens a file for reading with these options.
pub fn open_with(path: &Path, keys: &Keys, options: OpenOptions) -> Result<Db, Failure> {
    if let Some(what) = std::fs::metadata(path).ok().and_then(|found| no_file(found.file_type())) {
        return Err(Failure::Message(format!("{}: is {what}", path.display())));
    }
    Ok(options.read_only(true).keys(keys.store()).open(path)?)
}

/// What cannot be a database. The library would notice a directory only when it reads, and wait for a pipe's writer.
fn no_file(kind: FileType) -> Option<&'static str> {
    if kind.is_dir() {
        Some("a directory")
    } else if kind.is_fifo() || kind.is_socket() {
        Some("a pipe or socket, not a file")
    } else {
        None
    }
}
