// SPDX-License-Identifier: Apache-2.0

//! The page: title, legend, map and charts, from above to below.

use super::charts;
use super::grid::Grid;
use super::kind::{Bytes, Kind};
use super::survey::Survey;
use super::svg::{Anchor, Rect, Svg};
use crate::text::{grouped, percent, size};
use couchstore::inspect::BLOCK_SIZE;
use std::fmt::Write as _;
use std::path::Path;

const LEFT: f64 = 88.0;
const WIDTH: f64 = 1024.0;
const PAGE_WIDTH: f64 = LEFT + WIDTH + 40.0;
const LEGEND_COLUMNS: usize = 5;
const LEGEND_TOP: f64 = 174.0;
const LEGEND_ROW: f64 = 42.0;
/// Between one panel and the title of the next.
const GAP: f64 = 44.0;
/// From the title of a panel to what it shows.
const TITLE_SPACE: f64 = 36.0;
/// A line of small text.
const LINE: f64 = 16.0;

/// All drawings of this program have this near their beginning, and nothing else has it.
pub(super) const SIGNATURE: &str = "<desc>Map of the couchstore file ";

/// Longest name that fits into the title.
const LONGEST_NAME: usize = 70;

/// Draws everything.
pub(super) fn draw(path: &Path, survey: &Survey, columns: Option<usize>) -> Result<String, std::fmt::Error> {
    let total = survey.total();
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let legend_rows = total.present().count().div_ceil(LEGEND_COLUMNS);
    let map_top = LEGEND_TOP + legend_rows as f64 * LEGEND_ROW + GAP + 2.0 * LINE;
    let grid = Grid::new(survey, columns, (LEFT, map_top), WIDTH);
    let commits_top = map_top + grid.height() + GAP + TITLE_SPACE;
    let histograms_top = commits_top + charts::COMMITS_SPACE + GAP + TITLE_SPACE;
    let height = histograms_top + charts::HISTOGRAM_SPACE + 8.0;

    let mut svg = Svg::default();
    svg.begin(PAGE_WIDTH, height, &description(&name, survey, &total), &style()?)?;
    svg.rect(Rect { x: 0.0, y: 0.0, width: PAGE_WIDTH, height }, "page")?;
    heading(&mut svg, &name, survey, &total)?;
    charts::whole_file(&mut svg, Rect { x: LEFT, y: 128.0, width: WIDTH, height: 24.0 }, &total)?;
    legend(&mut svg, LEGEND_TOP, &total)?;
    map_title(&mut svg, map_top, survey, &grid)?;
    grid.draw(&mut svg)?;
    panel_title(&mut svg, (LEFT, commits_top), "Commits", &charts::commits_caption(survey))?;
    charts::commits(&mut svg, (LEFT, commits_top), WIDTH, survey)?;
    histograms(&mut svg, histograms_top, survey)?;
    Ok(svg.finish())
}

fn style() -> Result<String, std::fmt::Error> {
    let mut style = "text{font-family:system-ui,'DejaVu Sans',sans-serif;fill:#222}.page{fill:#fff}\
        .name{font-size:24px;font-weight:600}.panel{font-size:15px;font-weight:600}.plain{font-size:13px}.warning{fill:#b04a00;font-weight:600}\
        .small{font-size:11px;fill:#555}.big{font-size:30px;font-weight:600}.lines{stroke:#fff;stroke-width:.7;fill:none}\
        .frame{fill:none;stroke:#000;stroke-width:2}.dots{fill:#1a1a1a}.bar{fill:#555}.axis{fill:#999}"
        .to_owned();
    for kind in Kind::ALL {
        let [red, green, blue] = kind.colour();
        write!(style, ".k{}{{fill:#{red:02x}{green:02x}{blue:02x}}}", kind.index())?;
    }
    Ok(style)
}

/// For those who cannot see the picture.
fn description(name: &str, survey: &Survey, total: &Bytes) -> String {
    let kinds: Vec<_> = total
        .present()
        .map(|(kind, bytes)| format!("{} {}", kind.label(), percent(bytes, survey.file_size)))
        .collect();
    format!("Map of the couchstore file {name}, {}: {}.", size(survey.file_size), kinds.join(", "))
}

fn heading(svg: &mut Svg, name: &str, survey: &Survey, total: &Bytes) -> std::fmt::Result {
    svg.text((LEFT, 48.0), Anchor::Start, "name", &shortened(name))?;
    let header = &survey.header;
    let file = format!(
        "{} in {} blocks, version {}{}, {} header{}",
        size(survey.file_size),
        grouped(survey.file_size.div_ceil(BLOCK_SIZE)),
        header.version as u8,
        if survey.encrypted { ", encrypted" } else { "" },
        grouped(survey.headers),
        if survey.headers == 1 { "" } else { "s" },
    );
    let shown = format!(
        "header at {}: sequence {}, {} documents, {} deleted",
        grouped(survey.header_position),
        grouped(header.update_seq),
        grouped(survey.documents.live),
        grouped(survey.documents.deleted),
    );
    svg.text((LEFT, 74.0), Anchor::Start, "plain", &file)?;
    svg.text((LEFT, 94.0), Anchor::Start, "plain", &shown)?;
    if survey.damage.count > 0 {
        let damage = format!("damaged places: {}; couch_check tells more", grouped(survey.damage.count));
        svg.text((LEFT, 114.0), Anchor::Start, "plain warning", &damage)?;
    }
    let right = LEFT + WIDTH;
    svg.text((right, 56.0), Anchor::End, "big", &percent(total.live(), survey.file_size))?;
    svg.text((right, 76.0), Anchor::End, "plain", "of the file is live")
}

/// A name with its middle left out if it is long.
fn shortened(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    if characters.len() <= LONGEST_NAME {
        return name.to_owned();
    }
    let (head, tail) = (LONGEST_NAME / 2, characters.len() - LONGEST_NAME / 2);
    characters.iter().take(head).chain(['…'].iter()).chain(characters.iter().skip(tail)).collect()
}

fn legend(svg: &mut Svg, top: f64, total: &Bytes) -> std::fmt::Result {
    let whole = total.total();
    for (index, (kind, bytes)) in total.present().enumerate() {
        let x = LEFT + (index % LEGEND_COLUMNS) as f64 * (WIDTH / LEGEND_COLUMNS as f64);
        let y = top + (index / LEGEND_COLUMNS) as f64 * LEGEND_ROW;
        svg.rect(Rect { x, y, width: 14.0, height: 14.0 }, format_args!("k{}", kind.index()))?;
        svg.text((x + 22.0, y + 12.0), Anchor::Start, "plain", kind.label())?;
        // What is there does not read as nothing.
        let share = if bytes < whole / 2000 { "< 0.1 %".to_owned() } else { percent(bytes, whole) };
        let figures = format!("{share} · {}", size(bytes));
        svg.text((x + 22.0, y + 28.0), Anchor::Start, "small", &figures)?;
    }
    Ok(())
}

fn panel_title(svg: &mut Svg, (x, top): (f64, f64), title: &str, caption: &str) -> std::fmt::Result {
    svg.text((x, top - 30.0), Anchor::Start, "panel", title)?;
    svg.text((x, top - 12.0), Anchor::Start, "small", caption)
}

fn map_title(svg: &mut Svg, top: f64, survey: &Survey, grid: &Grid<'_>) -> std::fmt::Result {
    let dots = survey.cell_size == BLOCK_SIZE && survey.headers > 1;
    let what = format!(
        "{} It is filled from below by what it holds. Frame: the header that is shown.{}",
        grid.caption(),
        if dots { " Dots: blocks that begin with another header." } else { "" },
    );
    panel_title(svg, (LEFT, top - LINE), "The file from its beginning to its end", &what)?;
    let garbage =
        "Garbage is what this header does not need: older versions, and space left over in front of headers.";
    svg.text((LEFT, top - 12.0), Anchor::Start, "small", garbage)
}

fn histograms(svg: &mut Svg, top: f64, survey: &Survey) -> std::fmt::Result {
    let width = WIDTH / 2.0 - 60.0;
    let right = LEFT + WIDTH - width;
    let caption = format!(
        "Nodes by size before compression; 100 % is the node size of {} bytes.",
        grouped(survey.node_fill.node_size)
    );
    panel_title(svg, (LEFT, top), "How full the nodes are", &caption)?;
    charts::node_fill(svg, (LEFT, top), width, &survey.node_fill)?;
    let caption = format!("{} bodies by bytes in the file.", grouped(survey.body_sizes.count()));
    panel_title(svg, (right, top), "How large the bodies are", &caption)?;
    charts::body_sizes(svg, (right, top), width, &survey.body_sizes.bars())
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_NAME, shortened};

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(shortened("short.couch"), "short.couch");
        let long = format!("{}.couch", "é".repeat(300));
        assert_eq!(shortened(&long).chars().count(), LONGEST_NAME + 1);
        assert!(shortened(&long).ends_with("é.couch"));
    }
}
