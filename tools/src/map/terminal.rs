// SPDX-License-Identifier: Apache-2.0

//! The picture for terminals: a letter for each cell, with its colour if there are colours.

use super::histogram::{FILL_BARS, NodeFill, SizeBar};
use super::kind::{Bytes, Kind};
use super::ledger::Part;
use super::survey::Survey;
use crate::output::Output;
use crate::program::Failure;
use crate::text::{grouped, percent, printable_path, size};
use couchstore::inspect::BLOCK_SIZE;
use std::io::Write as _;
use std::path::Path;

/// Longest bar of a histogram.
const BAR: u64 = 34;

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) columns: usize,
    pub(super) colours: bool,
}

/// Draws everything.
pub(super) fn draw(output: &mut Output, path: &Path, survey: &Survey, style: Style) -> Result<(), Failure> {
    let total = survey.total();
    heading(output, path, survey, &total)?;
    map(output, survey, style)?;
    legend(output, &total, style)?;
    write!(output, "{}{}", node_fill(&survey.node_fill), body_sizes(&survey.body_sizes.powers()))?;
    Ok(())
}

fn heading(output: &mut Output, path: &Path, survey: &Survey, total: &Bytes) -> Result<(), Failure> {
    writeln!(
        output,
        "{}: {}, {} blocks, {} live",
        printable_path(path),
        size(survey.file_size),
        grouped(survey.file_size.div_ceil(BLOCK_SIZE)),
        percent(total.live(), survey.file_size),
    )?;
    writeln!(
        output,
        "header at {}: sequence {}, {} documents, {} deleted",
        survey.header_position, survey.header.update_seq, survey.documents.live, survey.documents.deleted,
    )?;
    let blocks = survey.cell_size / BLOCK_SIZE;
    let plural = if blocks == 1 { "" } else { "s" };
    writeln!(
        output,
        "headers in the file: {}; a letter is {} block{plural}\n",
        survey.headers,
        grouped(blocks)
    )?;
    Ok(())
}

fn map(output: &mut Output, survey: &Survey, style: Style) -> Result<(), Failure> {
    let digits = survey.file_size.to_string().len();
    for row in survey.cells.parts().chunks(style.columns.max(1)) {
        let start = row.first().map_or(0, |cell| cell.range.start);
        write!(output, "{start:>digits$} ")?;
        for run in row.chunk_by(|a, b| cell_kind(a) == cell_kind(b)) {
            let kind = run.first().map_or(Kind::Garbage, cell_kind);
            letters(output, kind, run.len(), style)?;
        }
        writeln!(output)?;
    }
    writeln!(output)?;
    Ok(())
}

/// What a cell shows: the kind with the most bytes, but the header that is shown always.
fn cell_kind(cell: &Part) -> Kind {
    if cell.shown_header { Kind::Header } else { cell.bytes.dominant() }
}

fn letters(output: &mut Output, kind: Kind, count: usize, style: Style) -> Result<(), Failure> {
    let letters = kind.letter().to_string().repeat(count);
    if !style.colours {
        write!(output, "{letters}")?;
        return Ok(());
    }
    let [red, green, blue] = kind.colour();
    // Dark letters on light colours, light ones on dark colours.
    let light = u32::from(red) * 3 + u32::from(green) * 6 + u32::from(blue) > 1300;
    let ink = if light { "38;2;0;0;0" } else { "38;2;255;255;255" };
    write!(output, "\x1b[{ink};48;2;{red};{green};{blue}m{letters}\x1b[0m")?;
    Ok(())
}

fn legend(output: &mut Output, total: &Bytes, style: Style) -> Result<(), Failure> {
    let whole = total.total();
    for (kind, bytes) in total.present() {
        letters(output, kind, 1, style)?;
        writeln!(output, "  {:<18} {:>12}  {:>7}", kind.label(), size(bytes), percent(bytes, whole))?;
    }
    Ok(())
}

/// A histogram: a label, a bar and a number for each line.
fn bars(lines: &[(String, u64)]) -> String {
    let most = lines.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let labels = lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let line = |(label, count): &(String, u64)| {
        let length = (u128::from(*count) * u128::from(BAR)).div_ceil(u128::from(most));
        let bar = "#".repeat(length as usize);
        format!("  {label:>labels$}  {bar:<rest$}  {}\n", grouped(*count), rest = BAR as usize)
    };
    lines.iter().map(line).collect()
}

fn node_fill(fill: &NodeFill) -> String {
    let count =
        |index: usize| [&fill.by_id, &fill.by_seq, &fill.local].map(|bars| bars[index]).iter().sum::<u64>();
    let lines = (0..FILL_BARS).filter(|&index| count(index) > 0);
    let lines: Vec<_> = lines.map(|index| (NodeFill::label(index), count(index))).collect();
    format!("\nnodes by size, in percent of {} bytes\n{}", fill.node_size, bars(&lines))
}

fn body_sizes(found: &[SizeBar]) -> String {
    let label = |bar: &SizeBar| format!("{} to {}", grouped(bar.from), grouped(bar.below - 1));
    let lines: Vec<_> = found.iter().map(|bar| (label(bar), bar.bodies)).collect();
    format!("\nbodies by bytes in the file\n{}", bars(&lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_histogram_fits_into_a_terminal() {
        let bar = |from, below| SizeBar { from, below, bodies: 10_000_000_000 };
        let drawn = body_sizes(&[bar(28, 32), bar(1 << 28, 3 << 27)]);
        assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
        assert!(drawn.contains("268,435,456 to 402,653,183  ####"), "{drawn}");
    }
}
