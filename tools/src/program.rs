// SPDX-License-Identifier: Apache-2.0

//! What all tools do alike: reading the command line, ending with the right message, going from file to file.

use crate::exit;
use crate::help::Help;
use crate::text::{printable, printable_lines};
use clap::Parser;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};

pub use crate::failure::{Failure, LibraryError};

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
