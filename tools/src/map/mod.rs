// SPDX-License-Identifier: Apache-2.0

//! `couch_map`: a picture of a file.
//!
//! * [`kind`]: what bytes are for; [`ledger`]: which range has how many of them
//! * [`surveyor`] goes through a file, with [`walk`] through its trees and [`history`] through its headers, and notes
//!   what it finds in a [`survey`]: ledgers and [`histogram`]s
//! * [`page`] draws them as SVG ([`svg`], [`grid`], [`charts`]), which goes to a [`target`]; [`terminal`] draws them as
//!   text, [`report`] gives the figures

mod charts;
mod grid;
mod histogram;
mod history;
mod kind;
mod ledger;
mod page;
mod report;
mod survey;
mod surveyor;
mod svg;
mod target;
mod terminal;
mod walk;

use crate::found::{header_at, undecryptable};
use crate::help::Help;
use crate::keys::KeyArgs;
use crate::open::open_for_recovery;
use crate::output::Output;
use crate::program::{Failure, Tool};
use crate::text::parse_offset;
use clap::{Parser, ValueEnum};
use couchstore::Db;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use survey::Survey;
use surveyor::Plan;
use target::Target;

const HELP: Help = Help {
    examples: &[
        ("couch_map 0.couch.1", "a picture for the terminal"),
        ("couch_map 0.couch.1 -o 0.svg", "a picture for a browser"),
        ("couch_map 0.couch.1 --header-offset 0x3000", "what the header at this offset needs"),
        ("couch_map 0.couch.1 --json", "the figures behind the picture"),
    ],
    notes: &[
        "Garbage is everything that the header does not refer to: older versions of documents and nodes, and the space \
         left over in front of headers. A damaged file is shown as far as it can be read.",
        "Exit code 1: the file cannot be read, or it is damaged (the picture is made all the same).",
    ],
};

/// Cells of an SVG.
const SVG_CELLS: u64 = 8192;
/// Rows of letters on a terminal.
const TERMINAL_ROWS: u64 = 24;
/// Letters in a row, where the width of the terminal is not known.
const TERMINAL_COLUMNS: usize = 64;
/// Letters in a row at most, and what an offset in front of them needs.
const WIDEST: usize = 128;
const OFFSET_SPACE: usize = 14;

/// Show a picture of a database file: where headers, nodes, bodies and garbage are
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Database file
    file: PathBuf,

    /// Write an SVG to this file, "-" for standard output; only what this program has drawn is overwritten
    #[arg(short, long, value_name = "SVG")]
    output: Option<PathBuf>,

    /// Print the picture for terminals also if an SVG or JSON is asked for
    #[arg(long)]
    terminal: bool,

    /// Print the figures as a JSON object
    #[arg(long)]
    json: bool,

    /// Show the header at this offset, decimal or 0x and hexadecimal, instead of the current one
    #[arg(long, value_name = "OFFSET", value_parser = parse_offset)]
    header_offset: Option<u64>,

    /// Read the bodies too and show damaged ones; otherwise only nodes and headers are read
    #[arg(long)]
    bodies: bool,

    /// Cells in a row
    #[arg(long, visible_alias = "width", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    columns: Option<u16>,

    /// At most so many cells; in larger files a cell stands for several blocks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=262_144))]
    cells: Option<u64>,

    /// Node size of the file in bytes, which the fill of nodes is compared with
    #[arg(long, value_name = "BYTES", default_value_t = 1279, value_parser = clap::value_parser!(u64).range(1..))]
    node_size: u64,

    /// Colours in the picture for terminals
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    color: When,

    #[command(flatten)]
    keys: KeyArgs,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    /// If standard output is a terminal and `NO_COLOR` is not set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Args {
    fn check(&self) -> Result<(), Failure> {
        let to_stdout = self.output.as_deref().is_some_and(|output| output == Path::new("-"));
        if to_stdout && (self.json || self.terminal) {
            return Err(Failure::Usage(
                "only one of --output -, --json and --terminal can go to standard output".into(),
            ));
        }
        Ok(())
    }

    fn wants_terminal(&self) -> bool {
        self.terminal || self.output.is_none() && !self.json
    }

    fn terminal_style(&self) -> terminal::Style {
        let colours = match self.color {
            When::Auto => {
                io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
            }
            When::Always => true,
            When::Never => false,
        };
        terminal::Style { columns: self.columns.map_or_else(terminal_columns, usize::from), colours }
    }

    /// Goes through the file. A wrong key is an error: it would show a file that is all garbage.
    fn survey(&self, db: &Db, default_cells: u64) -> Result<Survey, Failure> {
        let header = match self.header_offset {
            Some(offset) => (offset, header_at(db, &self.file, offset)?),
            None => (db.header_position(), db.header()),
        };
        let survey = Survey::of(db, header, self.plan(default_cells))?;
        if survey.is_unreadable() {
            return Err(undecryptable(&self.file));
        }
        Ok(survey)
    }

    fn plan(&self, default_cells: u64) -> Plan {
        Plan {
            read_bodies: self.bodies,
            node_size: self.node_size,
            max_cells: self.cells.unwrap_or(default_cells),
        }
    }
}

/// Letters that fit into a row.
fn terminal_columns() -> usize {
    let width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    width.map_or(TERMINAL_COLUMNS, |width| width.saturating_sub(OFFSET_SPACE).clamp(1, WIDEST))
}

impl Tool for Args {
    const NAME: &'static str = "couch_map";
    const HELP: Help = HELP;

    fn run(self) -> Result<(), Failure> {
        self.check()?;
        let target = self.output.as_deref().map(Target::new).transpose()?;
        let db = open_for_recovery(&self.file, &self.keys.load()?)?;
        let mut output = Output::new();
        let mut damage = None;
        if self.wants_terminal() {
            let style = self.terminal_style();
            let survey = self.survey(&db, style.columns as u64 * TERMINAL_ROWS)?;
            terminal::draw(&mut output, &self.file, &survey, style)?;
            damage = Some(survey.damage);
        }
        if self.json || target.is_some() {
            let survey = self.survey(&db, SVG_CELLS)?;
            if self.json {
                output.json(&report::Report::of(&self.file, &survey))?;
            }
            if let Some(target) = target {
                let picture = page::draw(&self.file, &survey, self.columns.map(usize::from));
                let picture =
                    picture.map_err(|_| Failure::Message("the picture could not be drawn".into()))?;
                target.write(&mut output, &picture)?;
            }
            damage = Some(survey.damage);
        }
        output.finish()?;
        match damage {
            Some(damage) if damage.count > 0 => Err(damaged(&self.file, &damage)),
            _ => Ok(()),
        }
    }
}

fn damaged(file: &Path, damage: &survey::Damage) -> Failure {
    let first = damage.examples.first().map_or("", String::as_str);
    Failure::Message(format!("{}: damaged places: {}, the first: {first}", file.display(), damage.count))
}
