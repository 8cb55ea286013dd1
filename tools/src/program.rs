//! What all tools do alike: reading the command line, ending with the right message and exit code, opening files.

use crate::keys::Keys;
use crate::text::printable;
use clap::{Arg, Parser, value_parser};
use clap_complete::Shell;
use couchstore::{Db, Error, OpenOptions};
use std::fs::FileType;
use std::io::{self, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Why a tool ends early.
#[derive(Debug)]
pub enum Failure {
    /// Shown as one line on stderr; exit code 1.
    Message(String),
    /// Everything has been said; exit code 1.
    Reported,
    /// The arguments make no sense together; exit code 2.
    Usage(String),
    /// Standard output takes no more: shown as one line on stderr, and nothing more is tried; exit code 1.
    Output(String),
    /// Whoever reads the output has had enough: the tool ends quietly, with success.
    ClosedPipe,
    /// The user pressed Ctrl-C; exit code 130, as a shell would say it.
    Interrupted,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Failure::Message(message) | Failure::Usage(message) | Failure::Output(message) => message,
            Failure::Reported => "failed",
            Failure::ClosedPipe => "closed pipe",
            Failure::Interrupted => "interrupted",
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Message(match &error {
            Error::Io { operation, file, os_error, .. } if *os_error != 0 => {
                format!("{file}: cannot {operation}: {}", io::Error::from_raw_os_error(*os_error))
            }
            _ => error.to_string(),
        })
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

/// Reads the command line, runs the tool, and says how it ended.
pub fn main<A: Parser>(run: fn(A) -> Result<(), Failure>) -> ExitCode {
    let completions = Arg::new("completions")
        .long("completions")
        .value_name("SHELL")
        .help("Print a completion script for this shell, and nothing else")
        .value_parser(value_parser!(Shell))
        .exclusive(true);
    let mut command = A::command().arg(completions);
    let name = command.get_name().to_owned();
    let matches = match command.clone().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return end(&name, show(&error)),
    };
    let result = if let Some(&shell) = matches.get_one::<Shell>("completions") {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, &name, &mut script);
        print(&script)
    } else {
        A::from_arg_matches(&matches).map_or_else(|error| show(&error), run)
    };
    end(&name, result)
}

/// Shows the help or the version that was asked for, or what is wrong with the command line; that ends the program.
fn show(error: &clap::Error) -> Result<(), Failure> {
    if error.use_stderr() {
        error.exit();
    }
    error.print()?;
    Ok(io::stdout().flush()?)
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    stdout.write_all(text)?;
    Ok(stdout.flush()?)
}

fn end(name: &str, result: Result<(), Failure>) -> ExitCode {
    let (code, message) = match result {
        Ok(()) | Err(Failure::ClosedPipe) => return ExitCode::SUCCESS,
        Err(Failure::Message(message) | Failure::Output(message)) => (1, message),
        Err(Failure::Usage(message)) => (2, message),
        Err(Failure::Interrupted) => (130, "interrupted".to_owned()),
        Err(Failure::Reported) => return ExitCode::FAILURE,
    };
    tell(name, &message);
    ExitCode::from(code)
}

/// Says something on stderr, in one line whatever the names of files are.
fn tell(name: &str, message: &str) {
    // If stderr is closed as well, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{name}: {}", printable(message.as_bytes()));
}

/// Says on stderr what is wrong and goes on. What ends a tool at once is handed back.
pub fn complain(name: &str, failure: Failure) -> Result<(), Failure> {
    match failure {
        Failure::Message(message) => {
            tell(name, &message);
            Ok(())
        }
        Failure::Reported => Ok(()),
        end => Err(end),
    }
}

/// Does the same with each file. An error in one does not keep the others from being looked at.
pub fn for_each_file(
    name: &str,
    files: &[PathBuf],
    mut action: impl FnMut(&Path) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut all_fine = true;
    for file in files {
        if let Err(failure) = action(file) {
            complain(name, failure)?;
            all_fine = false;
        }
    }
    if all_fine { Ok(()) } else { Err(Failure::Reported) }
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
