// SPDX-License-Identifier: Apache-2.0

//! How full nodes are, and how large bodies.

use couchstore::inspect::Tree;
use serde::Serialize;

/// Bars of [`NodeFill`]: each stands for a tenth of the size at which nodes are split, the last one for all beyond.
pub(super) const FILL_BARS: usize = 14;

/// Nodes by their size before compression, compared with the size at which they are split.
#[derive(Clone, Debug, Serialize)]
pub(super) struct NodeFill {
    /// The size at which nodes are split, in bytes.
    pub(super) node_size: u64,
    pub(super) by_id: [u64; FILL_BARS],
    pub(super) by_seq: [u64; FILL_BARS],
    pub(super) local: [u64; FILL_BARS],
}

impl NodeFill {
    pub(super) fn new(node_size: u64) -> NodeFill {
        NodeFill { node_size, by_id: [0; FILL_BARS], by_seq: [0; FILL_BARS], local: [0; FILL_BARS] }
    }

    pub(super) fn add(&mut self, tree: Tree, bytes: u64) {
        let tenth = bytes.saturating_mul(10) / self.node_size.max(1);
        let bar = (tenth as usize).min(FILL_BARS - 1);
        let bars = match tree {
            Tree::ById => &mut self.by_id,
            Tree::BySeq => &mut self.by_seq,
            Tree::Local => &mut self.local,
        };
        bars[bar] += 1;
    }

    pub(super) fn count(&self) -> u64 {
        [self.by_id, self.by_seq, self.local].iter().flatten().sum()
    }

    /// What a bar stands for.
    pub(super) fn label(bar: usize) -> String {
        if bar + 1 == FILL_BARS {
            format!("{} % and more", bar * 10)
        } else {
            format!("{}–{} %", bar * 10, bar * 10 + 10)
        }
    }
}

/// Bars for each power of two.
const PER_POWER: u64 = 4;
/// Bodies of 2^28 bytes and more share the last bar: none is much larger.
const HIGHEST_POWER: u32 = 28;
const SIZE_BARS: usize = PER_POWER as usize * HIGHEST_POWER as usize;

/// Bodies by the bytes that they take in the file: four bars for each power of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BodySizes([u64; SIZE_BARS]);

/// A bar of [`BodySizes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SizeBar {
    /// From so many bytes on.
    pub(super) from: u64,
    /// The next bar begins here.
    pub(super) below: u64,
    pub(super) bodies: u64,
}

impl Default for BodySizes {
    fn default() -> BodySizes {
        BodySizes([0; SIZE_BARS])
    }
}

/// First size of a bar; the inverse of [`bar_of`]. Bars 0 to 3 are for these sizes themselves.
fn first_size(bar: u64) -> u64 {
    let (power, quarter) = (bar / PER_POWER, bar % PER_POWER);
    if power == 0 { quarter } else { (PER_POWER + quarter) << (power - 1) }
}

fn bar_of(bytes: u64) -> usize {
    // Of the highest three bits, the two below the highest one choose the quarter.
    let power = u64::from(bytes.max(PER_POWER).ilog2()) - 1;
    let bar = if bytes < PER_POWER {
        bytes
    } else {
        power * PER_POWER + ((bytes >> (power - 1)) & (PER_POWER - 1))
    };
    (bar as usize).min(SIZE_BARS - 1)
}

impl BodySizes {
    pub(super) fn add(&mut self, bytes: u64) {
        self.0[bar_of(bytes)] += 1;
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The bars from the first to the last one with bodies.
    pub(super) fn bars(&self) -> Vec<SizeBar> {
        let used = |&bodies: &u64| bodies > 0;
        let (Some(first), Some(last)) = (self.0.iter().position(used), self.0.iter().rposition(used)) else {
            return Vec::new();
        };
        let bar = |(index, &bodies): (usize, &u64)| SizeBar {
            from: first_size(index as u64),
            below: first_size(index as u64 + 1),
            bodies,
        };
        self.0.iter().enumerate().take(last + 1).skip(first).map(bar).collect()
    }

    /// The same with one bar for each power of two.
    pub(super) fn powers(&self) -> Vec<SizeBar> {
        let mut powers: Vec<SizeBar> = Vec::new();
        for bar in self.bars() {
            match powers.last_mut() {
                Some(last) if !bar.from.is_power_of_two() => {
                    last.below = bar.below;
                    last.bodies += bar.bodies;
                }
                _ => powers.push(bar),
            }
        }
        powers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_go_to_their_power_of_two() {
        let mut sizes = BodySizes::default();
        for bytes in [8, 9, 15, 16, 64] {
            sizes.add(bytes);
        }
        let bars = sizes.bars();
        assert_eq!(bars[0], SizeBar { from: 8, below: 10, bodies: 2 });
        assert_eq!(bars[3], SizeBar { from: 14, below: 16, bodies: 1 });
        assert_eq!(bars[4], SizeBar { from: 16, below: 20, bodies: 1 });
        assert_eq!(bars[5].bodies, 0);
        assert_eq!(bars[12], SizeBar { from: 64, below: 80, bodies: 1 });
        assert_eq!(sizes.powers()[0], SizeBar { from: 8, below: 16, bodies: 3 });
        assert_eq!(sizes.powers().len(), 4);
        assert_eq!(sizes.count(), 5);
        assert!(BodySizes::default().bars().is_empty());
    }

    #[test]
    fn every_size_lies_in_its_bar() {
        for bytes in
            (0..5000).chain((8..28).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1]))
        {
            let bar = bar_of(bytes) as u64;
            assert!(first_size(bar) <= bytes && bytes < first_size(bar + 1), "{bytes} in {bar}");
        }
        assert_eq!(bar_of(u64::MAX), SIZE_BARS - 1);
    }

    #[test]
    fn nodes_go_to_their_tenth() {
        let mut fill = NodeFill::new(1000);
        for bytes in [0, 99, 100, 1299, 1300, u64::MAX] {
            fill.add(Tree::ById, bytes);
        }
        assert_eq!((fill.by_id[0], fill.by_id[1], fill.by_id[12], fill.by_id[13]), (2, 1, 1, 2));
        assert_eq!(NodeFill::label(13), "130 % and more");
    }
}
