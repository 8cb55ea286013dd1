// SPDX-License-Identifier: Apache-2.0

//! `couch_dbinfo`: what the headers of files say.
//!
//! * [`figures`]: the figures of one header
//! * [`trees`]: those that need all nodes of its trees
//! * [`show`]: how a person sees them

mod figures;
mod show;
mod trees;

use crate::found::{self, FoundHeaders};
use crate::help::Help;
use crate::keys::{KeyArgs, Keys};
use crate::open::{open, open_for_recovery};
use crate::output::Output;
use crate::program::{Failure, Tool, complain, for_each_file};
use crate::text::parse_offset;
use clap::Parser;
use couchstore::Db;
use couchstore::inspect::{FileHeader, FoundHeader, Headers};
use figures::Figures;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use trees::Trees;

const HELP: Help = Help {
    examples: &[
        ("couch_dbinfo 0.couch.1", "the current header"),
        ("couch_dbinfo -i 0.couch.1", "every header, the newest first"),
        ("couch_dbinfo -i forward -l 0.couch.1", "the oldest first, in local time"),
        ("couch_dbinfo -o 0x3000 0.couch.1", "the header at this offset"),
        ("couch_dbinfo --trees --json *.couch.*", "with depth, nodes and fill of the trees"),
    ],
    notes: &[
        "Fragmentation is the share of the file, up to the header, that the header does not refer to. The fill of nodes \
         is relative to the default node size of 1279 bytes. Exit code 1: a file, or one of the headers asked for, \
         cannot be read.",
        "ITERATE_HEADERS in the environment, set to anything, is the same as --iterate-headers.",
    ],
};

/// Show what the headers of database files say
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Database files
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Show the header at this offset, decimal or 0x and hexadecimal; with -i begin there
    #[arg(short = 'o', long, value_name = "OFFSET", value_parser = parse_offset)]
    header_offset: Option<u64>,

    /// Show every header, the damaged ones with what is wrong; "backward", from the newest one, unless said otherwise
    #[arg(
        short,
        long,
        value_name = "forward|backward",
        num_args = 0..=1,
        default_missing_value = "backward"
    )]
    iterate_headers: Option<OsString>,

    /// Show timestamps in local time instead of UTC
    #[arg(short, long)]
    localtime: bool,

    /// Also read all nodes and show depth, number and fill of those of each tree; takes time for large files
    #[arg(long)]
    trees: bool,

    /// Print one JSON object for each header
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    keys: KeyArgs,
}

/// Which headers to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    One,
    Forward,
    Backward,
}

impl Args {
    /// Sorts out the optional value of -i: a word that is no direction is a file.
    fn which(&mut self) -> Result<Which, Failure> {
        let which = match self.iterate_headers.take() {
            Some(word) if word == "forward" => Which::Forward,
            Some(word) => {
                if word != "backward" {
                    self.files.insert(0, word.into());
                }
                Which::Backward
            }
            None if std::env::var_os("ITERATE_HEADERS").is_some() => Which::Backward,
            None => Which::One,
        };
        if self.files.is_empty() {
            return Err(Failure::Usage("no FILE was given; see --help".into()));
        }
        Ok(which)
    }
}

/// Short options, before any of which -i ends although a word may follow it: "-il" is "-i -l".
const SHORT: &[u8] = b"loiVh";

/// Takes an -i with other short options behind it off them.
fn split(argument: OsString) -> Vec<OsString> {
    let bytes = argument.as_bytes();
    let flags =
        bytes.strip_prefix(b"-").map_or(0, |rest| rest.iter().take_while(|&&flag| flag == b'l').count());
    let Some((start, rest)) = bytes.split_at_checked(flags + 2) else { return vec![argument] };
    let is_direction = matches!(rest, b"forward" | b"backward");
    if !start.starts_with(b"-")
        || !start.ends_with(b"i")
        || is_direction
        || !SHORT.contains(rest.first().unwrap_or(&0))
    {
        return vec![argument];
    }
    let rest = [b"-", rest].concat();
    let mut split_up = vec![OsStr::from_bytes(start).to_owned()];
    split_up.extend(split(OsString::from_vec(rest)));
    split_up
}

impl Tool for Args {
    const NAME: &'static str = "couch_dbinfo";
    const HELP: Help = HELP;

    fn arguments(given: Vec<OsString>) -> Vec<OsString> {
        let end = given.iter().position(|argument| argument == "--").unwrap_or(given.len());
        let (options, files) = given.split_at(end);
        options.iter().cloned().flat_map(split).chain(files.iter().cloned()).collect()
    }

    fn run(mut self) -> Result<(), Failure> {
        let which = self.which()?;
        let keys = self.keys.load()?;
        let mut report = Report { args: &self, output: Output::new(), is_first: true, in_file: false };
        let result = for_each_file(&self.files, |file| {
            report.in_file = false;
            match which {
                Which::One => report.one(file, &keys),
                Which::Forward | Which::Backward => report.all(file, &keys, which),
            }
        });
        if let Err(Failure::ClosedPipe) = result {
            return result;
        }
        report.output.finish()?;
        result
    }
}

/// What is printed.
struct Report<'a> {
    args: &'a Args,
    output: Output,
    /// Nothing was shown yet.
    is_first: bool,
    /// A header of the current file was shown.
    in_file: bool,
}

impl Report<'_> {
    fn one(&mut self, path: &Path, keys: &Keys) -> Result<(), Failure> {
        let db = match self.args.header_offset {
            // The newest header may be damaged: another one was asked for.
            Some(_) => open_for_recovery(path, keys).map_err(|failure| found::cannot_open(path, failure))?,
            None => open(path, keys)
                .map_err(|failure| found::cannot_open(path, found::with_hint(failure, path, keys)))?,
        };
        let (position, header) = match self.args.header_offset {
            Some(offset) => (offset, found::header_at(&db, path, offset)?),
            None => (db.header_position(), db.header()),
        };
        self.header(path, &db, position, &header)
    }

    fn all(&mut self, path: &Path, keys: &Keys, which: Which) -> Result<(), Failure> {
        let db = open_for_recovery(path, keys).map_err(|failure| found::cannot_open(path, failure))?;
        if let Some(from) = self.args.header_offset {
            found::check_offset(&db, path, from)?;
        }
        let headers = match (which, self.args.header_offset) {
            (Which::Forward, from) => Headers::forward_from(&db, from.unwrap_or(0)),
            (_, Some(from)) => Headers::backward_from(&db, from),
            (_, None) => Headers::backward(&db),
        };
        let mut all_fine = true;
        for FoundHeader { position, header } in FoundHeaders(headers) {
            let shown = header
                .map_err(|error| Failure::Message(format!("header at {position}: {}", Failure::from(error))))
                .and_then(|header| self.header(path, &db, position, &header));
            if let Err(failure) = shown {
                complain(failure)?;
                all_fine = false;
            }
        }
        if all_fine { Ok(()) } else { Err(Failure::Reported) }
    }

    fn header(&mut self, path: &Path, db: &Db, position: u64, header: &FileHeader) -> Result<(), Failure> {
        let mut figures = Figures::of(path, db, position, header, self.args.localtime)?;
        if self.args.trees {
            figures.trees = Some(Trees::of(db, header)?);
        }
        if self.args.json {
            return self.output.json(&figures);
        }
        if !std::mem::replace(&mut self.in_file, true) {
            show::file(&mut self.output, &figures, std::mem::replace(&mut self.is_first, false))?;
        }
        show::header(&mut self.output, &figures)?;
        show::trees(&mut self.output, &figures)
    }
}

#[cfg(test)]
mod tests {
    use super::{Args, OsString, Tool as _};

    #[test]
    fn short_options_behind_i_are_options() {
        let split = |given: &str| {
            let arguments = Args::arguments(given.split(' ').map(OsString::from).collect());
            arguments.join(" ".as_ref()).into_string()
        };
        for (given, understood) in [
            ("-il f", "-i -l f"),
            ("-li f", "-li f"),
            ("-lil f", "-li -l f"),
            ("-llio0x10 f", "-lli -o0x10 f"),
            ("-io 16 f", "-i -o 16 f"),
            ("-iil f", "-i -i -l f"),
            ("-iforward f", "-iforward f"),
            ("-libackward f", "-libackward f"),
            ("-i forward f", "-i forward f"),
            ("-i=forward -i=l f", "-i=forward -i=l f"),
            ("-i0.couch.1", "-i0.couch.1"),
            ("-oil f", "-oil f"),
            ("--il -il - -- -il", "--il -i -l - -- -il"),
        ] {
            assert_eq!(split(given), Ok(understood.to_owned()), "{given}");
        }
    }
}
