//! The picture for terminals: a letter for each cell, with its colour if there are colours.

use super::histogram::{FILL_BARS, NodeFill};
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
const BAR: u64 = 40;

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
    node_fill(output, &survey.node_fill)?;
    body_sizes(output, survey)
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
        "header at {}: sequence {}, {} documents, {} deleted; headers in the file: {}",
        survey.header_position,
        survey.header.update_seq,
        survey.documents.live,
        survey.documents.deleted,
        survey.headers,
    )?;
    let blocks = survey.cell_size / BLOCK_SIZE;
    writeln!(output, "a letter is {} block{}\n", grouped(blocks), if blocks == 1 { "" } else { "s" })?;
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

/// A line of a histogram.
fn bar(output: &mut Output, label: &str, count: u64, most: u64) -> Result<(), Failure> {
    let length = (u128::from(count) * u128::from(BAR)).div_ceil(u128::from(most.max(1)));
    writeln!(output, "{label:>20}  {:<40}  {}", "#".repeat(length as usize), grouped(count))?;
    Ok(())
}

fn node_fill(output: &mut Output, fill: &NodeFill) -> Result<(), Failure> {
    let count =
        |index: usize| [&fill.by_id, &fill.by_seq, &fill.local].map(|bars| bars[index]).iter().sum::<u64>();
    let most = (0..FILL_BARS).map(count).max().unwrap_or(0);
    writeln!(output, "\nnodes by size, in percent of {} bytes", fill.node_size)?;
    (0..FILL_BARS)
        .filter(|&index| count(index) > 0)
        .try_for_each(|index| bar(output, &NodeFill::label(index), count(index), most))
}

fn body_sizes(output: &mut Output, survey: &Survey) -> Result<(), Failure> {
    let bars = survey.body_sizes.powers();
    let most = bars.iter().map(|bar| bar.bodies).max().unwrap_or(0);
    writeln!(output, "\nbodies by bytes in the file")?;
    bars.iter().try_for_each(|found| {
        bar(output, &format!("{} to {}", grouped(found.from), grouped(found.below - 1)), found.bodies, most)
    })
}
