// SPDX-License-Identifier: Apache-2.0

//! Ranges of keys.

/// A range of keys: above the first bound, up to the second, which is included. `None`: no bound.
pub(super) type Range = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Ranges of keys, ascending, without overlaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range>);

impl Ranges {
    /// All keys.
    pub(super) fn everything() -> Ranges {
        Ranges(vec![(None, None)])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a range behind those that are there; what it shares with them counts once.
    pub(super) fn push(&mut self, lower: Option<&[u8]>, upper: Option<&[u8]>) {
        let upper = upper.map(<[u8]>::to_vec);
        match self.0.last_mut() {
            Some((_, None)) => {}
            Some((_, Some(end))) if lower.is_none_or(|lower| lower <= end.as_slice()) => match upper {
                Some(upper) if upper <= *end => {}
                upper => self.0.last_mut().into_iter().for_each(|last| last.1.clone_from(&upper)),
            },
            _ => self.0.push((lower.map(<[u8]>::to_vec), upper)),
        }
    }

    /// Whether they hold this key.
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        let at = self.0.partition_point(|(_, upper)| upper.as_deref().is_some_and(|upper| upper < key));
        self.0.get(at).is_some_and(|(lower, _)| lower.as_deref().is_none_or(|lower| lower < key))
    }

    /// Whether they share a key with the one above `lower` and up to `upper`.
    pub(super) fn meets(&self, lower: Option<&[u8]>, upper: Option<&[u8]>) -> bool {
        self.0.iter().any(|range| {
            let range = (range.0.as_deref(), range.1.as_deref());
            !is_above(range.0, upper) && !is_above(lower, range.1)
        })
    }

    /// What both have.
    pub(super) fn and(&self, other: &Ranges) -> Ranges {
        let mut both = Ranges::default();
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some((a_lower, a_upper)), Some((b_lower, b_upper))) = (a.peek(), b.peek()) {
            // No bound is less than any lower bound, and more than any upper one.
            let lower = a_lower.max(b_lower).as_deref();
            let a_ends_first = match (a_upper, b_upper) {
                (Some(a), Some(b)) => a <= b,
                (a, _) => a.is_some(),
            };
            let upper = if a_ends_first { a_upper.as_deref() } else { b_upper.as_deref() };
            if !is_above(lower, upper) {
                both.0.push((lower.map(<[u8]>::to_vec), upper.map(<[u8]>::to_vec)));
            }
            if a_ends_first {
                a.next();
            } else {
                b.next();
            }
        }
        both
    }
}

/// Whether a range above `lower` begins behind one up to `upper`.
fn is_above(lower: Option<&[u8]>, upper: Option<&[u8]>) -> bool {
    matches!((lower, upper), (Some(lower), Some(upper)) if lower >= upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranges of one-letter keys: "ac" is above a up to c, "-" is no bound.
    fn ranges(texts: &[&str]) -> Ranges {
        let bound = |text: &str| (text != "-").then(|| text.as_bytes().to_vec());
        let range = |text: &&str| (bound(&text[..1]), bound(&text[1..]));
        Ranges(texts.iter().map(range).collect())
    }

    #[test]
    fn keys_are_in_ranges() {
        let some = ranges(&["-b", "df", "k-"]);
        for (key, is_in) in [("a", true), ("b", true), ("c", false), ("d", false), ("e", true), ("f", true)] {
            assert_eq!(some.contains(key.as_bytes()), is_in, "{key}");
        }
        assert!(!some.contains(b"k"));
        assert!(some.contains(b"ka"));
        assert!(Ranges::everything().contains(b""));
    }

    #[test]
    fn intersections_are_as_key_by_key() {
        let all = [
            ranges(&[]),
            ranges(&["--"]),
            ranges(&["-c", "eg"]),
            ranges(&["bf", "h-"]),
            ranges(&["ab", "cd", "ef"]),
            ranges(&["bd"]),
        ];
        for a in &all {
            for b in &all {
                let both = a.and(b);
                for key in b'a'..=b'z' {
                    assert_eq!(
                        both.contains(&[key]),
                        a.contains(&[key]) && b.contains(&[key]),
                        "{a:?} {b:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn neighbours_are_joined() {
        let mut some = Ranges::default();
        some.push(Some(b"a"), Some(b"c"));
        some.push(Some(b"c"), Some(b"d"));
        some.push(Some(b"f"), Some(b"g"));
        some.push(Some(b"f"), None);
        some.push(Some(b"x"), Some(b"y"));
        assert_eq!(some, ranges(&["ad", "f-"]));
        assert!(some.meets(Some(b"c"), Some(b"e")));
        assert!(!some.meets(Some(b"d"), Some(b"f")));
        assert!(some.meets(None, None));
    }
}
