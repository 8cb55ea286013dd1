// SPDX-License-Identifier: Apache-2.0

//! Manual pages, made from what the command lines and their helps say.
//!
//! A page has the sections of [`clap_mangen`], then the examples and notes of [`Help`], which are sections of their own.

use crate::help::Help;
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io;

/// The section of the manual for programs.
const SECTION: &str = "1";

/// The page of a tool. `others`: the names of the pages to look at after it.
pub fn of_tool(command: Command, help: &Help, others: &[&str]) -> io::Result<Vec<u8>> {
    let mut page = begin(command)?;
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for (line, what) in help.examples {
        entry(&mut roff, line, what);
    }
    if !help.notes.is_empty() {
        roff.control("SH", ["NOTES"]);
    }
    for note in help.notes {
        roff.control("PP", []);
        roff.text([roman(*note)]);
    }
    end(roff, others, &mut page)?;
    Ok(page)
}

/// The page of the program that has the tools as commands: each tool's name and what it does.
pub fn of_program<'a>(
    command: Command,
    tools: impl Iterator<Item = (&'a str, String)>,
) -> io::Result<Vec<u8>> {
    let mut page = begin(command)?;
    let mut roff = Roff::new();
    roff.control("SH", ["TOOLS"]);
    let mut names = Vec::new();
    for (name, what) in tools {
        entry(&mut roff, name, &what);
        names.push(name);
    }
    end(roff, &names, &mut page)?;
    Ok(page)
}

/// Title, name, synopsis, description and options.
fn begin(command: Command) -> io::Result<Vec<u8>> {
    let title = command.get_name().to_uppercase();
    let man = Man::new(command)
        .title(title)
        .section(SECTION)
        // Empty, as builds of the same sources are the same whenever they are made.
        .date(" ")
        .source(concat!("couchstore ", env!("CARGO_PKG_VERSION")))
        .manual("Couchstore");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    Ok(page)
}

fn entry(roff: &mut Roff, name: &str, what: &str) {
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(what)]);
}

/// Where to read on.
fn end(mut roff: Roff, others: &[&str], page: &mut Vec<u8>) -> io::Result<()> {
    roff.control("SH", ["SEE ALSO"]);
    for (index, name) in others.iter().enumerate() {
        let rest = if index + 1 < others.len() { "," } else { "" };
        roff.text([bold(*name), roman(format!("({SECTION}){rest}"))]);
    }
    roff.to_writer(page)
}
