// SPDX-License-Identifier: Apache-2.0

//! One program for all tools: which of them a command line asks for.
//!
//! The program is `couch`, with a link for each tool: `couch_dbinfo FILE` is `couch dbinfo FILE`. Whatever it is
//! started as is the name in what it says.

use crate::exit;
use crate::help::{self, Help};
use crate::program::{Failure, Tool, explain, print, say, set_name, show, tell};
use crate::text::printable;
use crate::{bench, check, compact, create, dbck, dbdiff, dbdump, dbinfo, man, map, recommit};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;

/// A link that has the name of a tool without the beginning.
const SHORT_LINK: &str = "dbdiff";

/// The name of the program, and how the names of its links begin.
const PROGRAM: &str = "couch";
const PREFIX: &str = "couch_";

/// A tool without its type.
struct Entry {
    name: &'static str,
    help: Help,
    command: fn() -> Command,
    arguments: fn(Vec<OsString>) -> Vec<OsString>,
    run: fn(&ArgMatches) -> Result<(), Failure>,
    /// Its exit code for failures.
    failed: u8,
}

const TOOLS: [Entry; 10] = [
    Entry::of::<bench::Args>(),
    Entry::of::<check::Args>(),
    Entry::of::<compact::Args>(),
    Entry::of::<create::Args>(),
    Entry::of::<dbck::Args>(),
    Entry::of::<dbdiff::Args>(),
    Entry::of::<dbdump::Args>(),
    Entry::of::<dbinfo::Args>(),
    Entry::of::<map::Args>(),
    Entry::of::<recommit::Args>(),
];

impl Entry {
    const fn of<T: Tool>() -> Entry {
        Entry {
            name: T::NAME,
            help: T::HELP,
            command: T::command,
            arguments: T::arguments,
            run: run::<T>,
            failed: T::FAILED,
        }
    }

    /// Its name as a command of the program: "dbinfo".
    fn short_name(&self) -> &'static str {
        self.name.strip_prefix(PREFIX).unwrap_or(self.name)
    }

    /// Its command line when it is started as `name`.
    fn command(&self, name: &str) -> Command {
        let width = help::width();
        let prefix = name.strip_suffix(self.short_name()).unwrap_or(PREFIX);
        let text = self.help.text(width).replace(PREFIX, prefix);
        let command = (self.command)().name(self.name).bin_name(name).after_help(text).term_width(width);
        command.arg(explanations()).arg(completions()).arg(man_page())
    }
}

fn run<T: Tool>(matches: &ArgMatches) -> Result<(), Failure> {
    T::from_arg_matches(matches).map_or_else(|error| show(&error), T::run)
}

fn explanations() -> Arg {
    Arg::new("explain")
        .long("explain")
        .help("Say more about failures: the file, the offset, and what was expected there")
        .action(ArgAction::SetTrue)
}

fn completions() -> Arg {
    Arg::new("completions")
        .long("completions")
        .value_name("SHELL")
        .help("Print a completion script for this shell, and nothing else")
        .value_parser(value_parser!(Shell))
        .exclusive(true)
}

/// For whoever packages the tools: see `cmake/tool_files.cmake`.
fn man_page() -> Arg {
    Arg::new("man-page").long("man-page").action(ArgAction::SetTrue).exclusive(true).hide(true)
}

fn print_completions(shell: Shell, mut command: Command, name: &str) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&script)
}

/// Runs the tool that the command line asks for: by the name of the program, or by its first argument.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments: Vec<_> = arguments.into_iter().collect();
    let started_as = arguments.first().and_then(|path| Path::new(path).file_name());
    let started_as = printable(started_as.unwrap_or(OsStr::new(PROGRAM)).as_bytes());
    let is_link_of = |tool: &&Entry| {
        tool.name == started_as || started_as == SHORT_LINK && tool.short_name() == SHORT_LINK
    };
    if let Some(tool) = TOOLS.iter().find(is_link_of) {
        return one_tool(tool, started_as, arguments);
    }
    let asked_for = arguments.get(1).and_then(|word| word.to_str()).unwrap_or("");
    let tool = TOOLS.iter().find(|tool| tool.name == asked_for || tool.short_name() == asked_for);
    if let Some(tool) = tool {
        arguments.remove(0);
        one_tool(tool, format!("{started_as} {}", tool.short_name()), arguments)
    } else {
        end(no_tool(started_as, arguments), exit::FAILED)
    }
}

/// Says how it ended, with the exit code for that.
fn end(result: Result<(), Failure>, failed: u8) -> ExitCode {
    if let Err(failure) = &result {
        say(failure);
    }
    ExitCode::from(exit::code(&result, failed))
}

/// Runs a tool that is started as `name`. The first argument is left out.
fn one_tool(tool: &Entry, name: String, arguments: Vec<OsString>) -> ExitCode {
    set_name(&name);
    let is_alone = arguments.len() == 1;
    let result = match run_tool(tool, &name, arguments) {
        Err(failure @ (Failure::Misused | Failure::Usage(_))) if is_alone => {
            say(&failure);
            Err(Failure::NothingGiven)
        }
        result => result,
    };
    end(result, tool.failed)
}

fn run_tool(tool: &Entry, name: &str, arguments: Vec<OsString>) -> Result<(), Failure> {
    let matches = match tool.command(name).try_get_matches_from((tool.arguments)(arguments)) {
        Ok(matches) => matches,
        Err(error) => return show(&error),
    };
    if matches.get_flag("explain") {
        explain();
    }
    let link = if name == SHORT_LINK { SHORT_LINK } else { tool.name };
    if matches.get_flag("man-page") {
        return print(&man::of_tool(tool.command(link).name(link), &tool.help, &[PROGRAM])?);
    }
    match matches.get_one::<Shell>("completions") {
        Some(&shell) => print_completions(shell, tool.command(link), link),
        None => (tool.run)(&matches),
    }
}

/// The program without a tool: it has help, a version and completions, and tells which tools there are.
fn no_tool(name: String, arguments: Vec<OsString>) -> Result<(), Failure> {
    set_name(&name);
    let mut command = program(&name);
    let matches = match command.try_get_matches_from_mut(arguments) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return show(&error);
        }
        Err(error) => return no_such_tool(&mut command, &error),
    };
    if matches.get_flag("man-page") {
        let about = |tool: &Entry| (tool.command)().get_about().map(ToString::to_string).unwrap_or_default();
        let tools = TOOLS.iter().map(|tool| (tool.name, about(tool)));
        return print(&man::of_program(program(PROGRAM), tools)?);
    }
    match matches.get_one::<Shell>("completions") {
        Some(&shell) => print_completions(shell, program(PROGRAM), PROGRAM),
        None => Err(misused(&mut command)),
    }
}

fn program(name: &str) -> Command {
    let tools = TOOLS.iter().map(|tool| tool.command(tool.name).name(tool.short_name()));
    Command::new(PROGRAM)
        .bin_name(name)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Tools for database files")
        .subcommand_value_name("TOOL")
        .subcommand_help_heading("Tools")
        .disable_help_subcommand(true)
        .term_width(help::width())
        .arg(completions())
        .arg(man_page())
        .subcommands(tools)
}

fn no_such_tool(command: &mut Command, error: &clap::Error) -> Result<(), Failure> {
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(name)) => {
            tell(&format!("there is no tool {name}"));
            Err(misused(command))
        }
        _ => show(error),
    }
}

/// Shows the help as what is said about a wrong command line.
fn misused(command: &mut Command) -> Failure {
    // If stderr is closed, there is nobody to tell.
    let _ = write!(io::stderr(), "{}", command.render_help());
    Failure::Misused
}

#[cfg(test)]
mod tests {
    use super::{PROGRAM, TOOLS, program};

    /// clap looks at names and types of all arguments.
    #[test]
    fn command_lines_make_sense() {
        for tool in &TOOLS {
            tool.command(tool.name).debug_assert();
        }
        program(PROGRAM).debug_assert();
    }

    #[test]
    fn tools_are_named_after_the_program() {
        for tool in &TOOLS {
            assert_eq!(format!("couch_{}", tool.short_name()), tool.name);
        }
    }
}
