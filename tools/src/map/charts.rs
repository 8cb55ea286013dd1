// SPDX-License-Identifier: Apache-2.0

//! Bars: the whole file, its commits, and the histograms.

use super::grid::title;
use super::histogram::{FILL_BARS, NodeFill, SizeBar};
use super::kind::{Bytes, Kind};
use super::ledger::Part;
use super::survey::Survey;
use super::svg::{Anchor, Rect, Svg};
use crate::text::{grouped, percent, size};
use std::fmt::Result;

const COMMIT_SIZE_HEIGHT: f64 = 48.0;
const COMMIT_SHARE_HEIGHT: f64 = 72.0;
const WIDEST_COMMIT: f64 = 48.0;
/// With fewer bars there is no room for labels.
const LABELLED_COMMITS: usize = 4;
const HISTOGRAM_HEIGHT: f64 = 96.0;

/// Space that a histogram needs, with its labels.
pub(super) const HISTOGRAM_SPACE: f64 = HISTOGRAM_HEIGHT + 40.0;
/// Space that the chart of commits needs, with its labels.
pub(super) const COMMITS_SPACE: f64 = COMMIT_SIZE_HEIGHT + COMMIT_SHARE_HEIGHT + 30.0;

/// A bar from left to right with a piece for each kind.
pub(super) fn whole_file(svg: &mut Svg, at: Rect, bytes: &Bytes) -> Result {
    let mut x = at.x;
    let whole = bytes.total().max(1);
    for (kind, bytes) in bytes.present() {
        let width = at.width * (bytes as f64 / whole as f64);
        let title = format!("{}: {} ({})", kind.label(), size(bytes), percent(bytes, whole));
        svg.titled(&title, |svg| svg.rect(Rect { x, width, ..at }, format_args!("k{}", kind.index())))?;
        x += width;
    }
    Ok(())
}

/// A bar from below with a piece for each kind.
fn column(svg: &mut Svg, at: Rect, bytes: &Bytes) -> Result {
    let mut bottom = at.y + at.height;
    let whole = bytes.total().max(1);
    for (kind, bytes) in bytes.present() {
        let height = at.height * (bytes as f64 / whole as f64);
        bottom -= height;
        svg.rect(Rect { y: bottom, height, ..at }, format_args!("k{}", kind.index()))?;
    }
    Ok(())
}

/// For each commit, or group of commits: how much it wrote, and what of it is still in use.
pub(super) fn commits(svg: &mut Svg, origin: (f64, f64), width: f64, survey: &Survey) -> Result {
    let parts = survey.commits.parts();
    let pitch = (width / parts.len().max(1) as f64).min(WIDEST_COMMIT);
    let most = parts.iter().map(Part::size).max().unwrap_or(0).max(1);
    let share_top = origin.1 + COMMIT_SIZE_HEIGHT + 10.0;
    let mut headers = 0;
    for (index, part) in parts.iter().enumerate() {
        let (x, width) = (origin.0 + index as f64 * pitch, (pitch - 1.0).max(1.0));
        svg.titled(&title(part, headers), |svg| {
            let height = (COMMIT_SIZE_HEIGHT * (part.size() as f64 / most as f64)).max(1.0);
            svg.rect(Rect { x, y: origin.1 + COMMIT_SIZE_HEIGHT - height, width, height }, "bar")?;
            column(svg, Rect { x, y: share_top, width, height: COMMIT_SHARE_HEIGHT }, &part.bytes)
        })?;
        headers += part.headers;
    }
    let label = |svg: &mut Svg, y: f64, text: &str| svg.text((origin.0 - 8.0, y), Anchor::End, "small", text);
    label(svg, origin.1 + 10.0, &size(most))?;
    label(svg, origin.1 + COMMIT_SIZE_HEIGHT, "0")?;
    label(svg, share_top + 8.0, "100 %")?;
    label(svg, share_top + COMMIT_SHARE_HEIGHT, "0 %")?;
    let below = share_top + COMMIT_SHARE_HEIGHT + 15.0;
    if parts.len() >= LABELLED_COMMITS {
        svg.text((origin.0, below), Anchor::Start, "small", "oldest")?;
        svg.text((origin.0 + parts.len() as f64 * pitch, below), Anchor::End, "small", "newest")?;
    }
    Ok(())
}

/// What the chart of commits shows.
pub(super) fn commits_caption(survey: &Survey) -> String {
    let per_bar = survey.commits.parts().iter().map(|part| part.headers).max().unwrap_or(0);
    let each = if per_bar > 1 {
        format!("{} commits, one after another", grouped(per_bar))
    } else {
        "a commit".to_owned()
    };
    format!("Each bar is {each}. Above: the bytes that it wrote. Below: what has become of them.")
}

/// A place in a histogram: where it is drawn, how many bars it has, and the number that the highest one stands for.
struct Axes {
    origin: (f64, f64),
    pitch: f64,
    most: u64,
}

impl Axes {
    fn draw(
        svg: &mut Svg,
        origin: (f64, f64),
        width: f64,
        bars: usize,
        most: u64,
    ) -> std::result::Result<Axes, std::fmt::Error> {
        let line = Rect { x: origin.0, y: origin.1 + HISTOGRAM_HEIGHT, width, height: 1.0 };
        svg.rect(line, "axis")?;
        svg.text((origin.0 - 8.0, origin.1 + 10.0), Anchor::End, "small", &grouped(most))?;
        svg.text((origin.0 - 8.0, origin.1 + HISTOGRAM_HEIGHT), Anchor::End, "small", "0")?;
        Ok(Axes { origin, pitch: width / bars.max(1) as f64, most: most.max(1) })
    }

    /// A piece of a bar: `from` and `width` in parts of the bar.
    fn bar(&self, svg: &mut Svg, bar: usize, (from, width): (f64, f64), count: u64, class: &str) -> Result {
        if count == 0 {
            return Ok(());
        }
        let height = (HISTOGRAM_HEIGHT * (count as f64 / self.most as f64)).max(1.0);
        let x = self.origin.0 + (bar as f64 + from) * self.pitch;
        let y = self.origin.1 + HISTOGRAM_HEIGHT - height;
        svg.rect(Rect { x, y, width: width * self.pitch, height }, class)
    }

    /// A label below the left edge of a bar, or its middle.
    fn label(&self, svg: &mut Svg, bar: f64, text: &str) -> Result {
        let x = self.origin.0 + bar * self.pitch;
        svg.text((x, self.origin.1 + HISTOGRAM_HEIGHT + 15.0), Anchor::Middle, "small", text)
    }
}

/// Nodes by how full they are.
pub(super) fn node_fill(svg: &mut Svg, origin: (f64, f64), width: f64, fill: &NodeFill) -> Result {
    let trees = [(Kind::ById, &fill.by_id), (Kind::BySeq, &fill.by_seq), (Kind::Local, &fill.local)];
    let most = trees.iter().flat_map(|(_, bars)| bars.iter()).copied().max().unwrap_or(0);
    let axes = Axes::draw(svg, origin, width, FILL_BARS, most)?;
    for bar in 0..FILL_BARS {
        let counts = trees.map(|(kind, bars)| (kind, bars.get(bar).copied().unwrap_or(0)));
        let line = |(kind, count): &(Kind, u64)| format!("\n{}: {}", kind.label(), grouped(*count));
        let title = NodeFill::label(bar) + &counts.iter().map(line).collect::<String>();
        svg.titled(&title, |svg| {
            for (place, (kind, count)) in counts.iter().enumerate() {
                let from = 0.05 + 0.3 * place as f64;
                axes.bar(svg, bar, (from, 0.3), *count, &format!("k{}", kind.index()))?;
            }
            Ok(())
        })?;
    }
    for tenth in [0, 5, 10] {
        axes.label(svg, f64::from(tenth), &format!("{} %", tenth * 10))?;
    }
    Ok(())
}

/// Bodies by size.
pub(super) fn body_sizes(svg: &mut Svg, origin: (f64, f64), width: f64, bars: &[SizeBar]) -> Result {
    // Few bars would be too wide to look like a histogram.
    let places = bars.len().max(16);
    let most = bars.iter().map(|bar| bar.bodies).max().unwrap_or(0);
    let axes = Axes::draw(svg, origin, width, places, most)?;
    if bars.is_empty() {
        return axes.label(svg, places as f64 / 2.0, "no bodies");
    }
    for (place, bar) in bars.iter().enumerate() {
        let title = format!(
            "{} to {} bytes: {} bodies",
            grouped(bar.from),
            grouped(bar.below - 1),
            grouped(bar.bodies)
        );
        svg.titled(&title, |svg| axes.bar(svg, place, (0.05, 0.9), bar.bodies, "k0"))?;
    }
    // Powers of two only, and not all if there are many.
    let mut labelled: Vec<(usize, u64)> = bars.iter().map(|bar| bar.from).enumerate().collect();
    labelled.extend(bars.last().map(|bar| (bars.len(), bar.below)));
    labelled.retain(|(_, from)| from.is_power_of_two());
    let every = labelled.len().div_ceil(12).max(1);
    labelled.iter().step_by(every).try_for_each(|&(place, from)| axes.label(svg, place as f64, &binary(from)))
}

/// A power of two, short.
fn binary(bytes: u64) -> String {
    match bytes {
        0..1024 => bytes.to_string(),
        1024..0x10_0000 => format!("{} Ki", bytes >> 10),
        _ => format!("{} Mi", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::binary;

    #[test]
    fn powers_of_two_are_short() {
        assert_eq!([0, 512, 2048, 4 << 20].map(binary), ["0", "512", "2 Ki", "4 Mi"]);
    }
}
