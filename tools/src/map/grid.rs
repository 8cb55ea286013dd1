// SPDX-License-Identifier: Apache-2.0

//! The map itself: a cell for each part of the file, as rectangles.

use super::kind::{Bytes, Kind};
use super::ledger::Part;
use super::survey::Survey;
use super::svg::{Anchor, Px, Rect, Svg};
use crate::text::{grouped, percent, size};
use couchstore::inspect::BLOCK_SIZE;
use std::fmt::{Result, Write as _};

/// A cell is filled in steps of this part of its height.
const STEPS: u64 = 8;
/// Up to so many cells, cells are large.
const FEW_CELLS: usize = 2048;

/// What a cell looks like: so many steps of each kind, from below.
type Look = [u64; Kind::ALL.len()];

/// Where the cells are.
pub(super) struct Grid<'a> {
    cells: &'a [Part],
    cell_size: u64,
    columns: usize,
    /// Side of a cell.
    side: f64,
    origin: (f64, f64),
}

impl<'a> Grid<'a> {
    /// A grid at `origin` that is `width` pixels wide if it has more than one row.
    pub(super) fn new(
        survey: &'a Survey,
        columns: Option<usize>,
        origin: (f64, f64),
        width: f64,
    ) -> Grid<'a> {
        let cells = survey.cells.parts();
        let columns = columns.unwrap_or(if cells.len() <= FEW_CELLS { 64 } else { 128 });
        Grid { cells, cell_size: survey.cell_size, columns, side: width / columns as f64, origin }
    }

    pub(super) fn height(&self) -> f64 {
        self.cells.len().div_ceil(self.columns) as f64 * self.side
    }

    /// What a cell stands for.
    pub(super) fn caption(&self) -> String {
        let blocks = self.cell_size / BLOCK_SIZE;
        match blocks {
            1 => "Each cell is one block of 4096 bytes.".to_owned(),
            _ => format!("Each cell is {} blocks, {}.", grouped(blocks), size(self.cell_size)),
        }
    }

    pub(super) fn draw(&self, svg: &mut Svg) -> Result {
        // Number of headers before the cell: which commit its first byte belongs to.
        let mut headers = 0;
        for (row, cells) in self.cells.chunks(self.columns).enumerate() {
            self.row_label(svg, row, cells)?;
            let mut column = 0;
            for run in cells.chunk_by(|a, b| look(a) == look(b)) {
                self.run(svg, (column, row), run, headers)?;
                column += run.len();
                headers += run.iter().map(|cell| cell.headers).sum::<u64>();
            }
        }
        self.lines(svg)?;
        self.header_marks(svg)
    }

    fn place(&self, column: usize, row: usize) -> (f64, f64) {
        (self.origin.0 + column as f64 * self.side, self.origin.1 + row as f64 * self.side)
    }

    fn row_label(&self, svg: &mut Svg, row: usize, cells: &[Part]) -> Result {
        // A line of text needs about 16 pixels.
        let every = (32.0 / self.side).ceil().max(1.0) as usize;
        let Some(first) = cells.first().filter(|_| row.is_multiple_of(every)) else { return Ok(()) };
        let (x, y) = self.place(0, row);
        let middle = y + self.side / 2.0 + 4.0;
        let label = if first.range.start == 0 { "0".to_owned() } else { size(first.range.start) };
        svg.text((x - 8.0, middle), Anchor::End, "small", &label)
    }

    /// Cells beside each other that look the same, as one.
    fn run(&self, svg: &mut Svg, (column, row): (usize, usize), run: &[Part], headers_before: u64) -> Result {
        let Some(first) = run.first() else { return Ok(()) };
        let mut whole = first.clone();
        run.iter().skip(1).for_each(|cell| whole.append(cell));
        let (x, y) = self.place(column, row);
        let step = self.side / STEPS as f64;
        svg.titled(&title(&whole, headers_before), |svg| {
            let mut bottom = y + self.side;
            for (kind, steps) in Kind::ALL.into_iter().zip(look(first)).filter(|&(_, steps)| steps > 0) {
                let height = steps as f64 * step;
                bottom -= height;
                let rect = Rect { x, y: bottom, width: run.len() as f64 * self.side, height };
                svg.rect(rect, format_args!("k{}", kind.index()))?;
            }
            Ok(())
        })
    }

    /// White lines between the cells.
    fn lines(&self, svg: &mut Svg) -> Result {
        let rows = self.cells.len().div_ceil(self.columns);
        let (left, top) = self.place(0, 0);
        let (right, bottom) = self.place(self.columns.min(self.cells.len()), rows);
        let mut data = String::new();
        for row in 0..=rows {
            write!(data, "M{} {}H{}", Px(left), Px(self.place(0, row).1), Px(right))?;
        }
        for column in 0..=self.columns.min(self.cells.len()) {
            write!(data, "M{} {}V{}", Px(self.place(column, 0).0), Px(top), Px(bottom))?;
        }
        svg.path(&data, "lines")
    }

    /// A frame around the cell with the header that is shown, and dots in blocks that begin with another one.
    fn header_marks(&self, svg: &mut Svg) -> Result {
        let mut dots = String::new();
        let dot = Px(self.side / 4.0);
        for (index, cell) in self.cells.iter().enumerate() {
            let (x, y) = self.place(index % self.columns, index / self.columns);
            if cell.shown_header {
                let rect = Rect { x: x - 1.0, y: y - 1.0, width: self.side + 2.0, height: self.side + 2.0 };
                svg.rect(rect, "frame")?;
            } else if cell.headers > 0 && self.cell_size == BLOCK_SIZE {
                let offset = self.side * 0.375;
                write!(dots, "M{} {}h{dot}v{dot}h-{dot}z", Px(x + offset), Px(y + offset))?;
            }
        }
        if dots.is_empty() { Ok(()) } else { svg.path(&dots, "dots") }
    }
}

/// Divides the steps of a cell among the kinds: each gets its share rounded down, and what is left goes to those
/// that lost most by that.
fn look(cell: &Part) -> Look {
    // The last cell may be shorter than its blocks; the rest of it stays white.
    let size = u128::from(cell.size().max(1));
    let exact = |kind| u128::from(cell.bytes.get(kind)) * u128::from(STEPS);
    let mut look = Kind::ALL.map(|kind| (exact(kind) / size) as u64);
    let mut by_loss = Kind::ALL;
    by_loss.sort_by_key(|&kind| std::cmp::Reverse(exact(kind) % size));
    let missing = STEPS.saturating_sub(look.iter().sum());
    for kind in by_loss.into_iter().take(missing as usize) {
        look[kind.index()] += 1;
    }
    look
}

/// What is shown when the pointer is over a part.
pub(super) fn title(part: &Part, headers_before: u64) -> String {
    let first_block = part.range.start / BLOCK_SIZE;
    let last_block = part.range.end.saturating_sub(1) / BLOCK_SIZE;
    let blocks = if first_block == last_block {
        format!("block {}", grouped(first_block))
    } else {
        format!("blocks {} to {}", grouped(first_block), grouped(last_block))
    };
    let (start, end) = (grouped(part.range.start), grouped(part.range.end));
    let headers = match part.headers {
        0 => String::new(),
        1 => format!("\nheader {} of the file", headers_before + 1),
        more => format!("\nheaders {} to {} of the file", headers_before + 1, headers_before + more),
    };
    format!("{blocks}, offsets {start} to {end}{}{headers}", kinds(&part.bytes))
}

/// The kinds of a part, a line for each.
fn kinds(bytes: &Bytes) -> String {
    let whole = bytes.total();
    let line = |(kind, bytes): (Kind, u64)| {
        format!("\n{}: {} ({})", kind.label(), size(bytes), percent(bytes, whole))
    };
    bytes.present().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::ledger::Claim;

    #[test]
    fn steps_add_up() {
        let mut part = Part::new(0..4096);
        part.add(Claim::Of(Kind::Body), 1365);
        part.add(Claim::Of(Kind::ById), 1365);
        part.add(Claim::Of(Kind::Garbage), 1366);
        let look = look(&part);
        assert_eq!(look.iter().sum::<u64>(), STEPS);
        assert_eq!([Kind::Body, Kind::ById, Kind::Garbage].map(|kind| look[kind.index()]), [3, 2, 3]);
    }

    #[test]
    fn what_is_all_of_one_kind_looks_so() {
        let mut part = Part::new(4096..4099);
        part.add(Claim::Of(Kind::Garbage), 3);
        assert_eq!(look(&part)[Kind::Garbage.index()], STEPS);
        assert_eq!(title(&part, 0), "block 1, offsets 4,096 to 4,099\ngarbage: 3 bytes (100.0 %)");
    }
}
