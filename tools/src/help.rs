// SPDX-License-Identifier: Apache-2.0

//! What tools say of themselves behind their options: examples and notes, laid out for the width of the terminal.

/// The end of a tool's help. The text is not broken into lines: that happens once, when its width is known.
#[derive(Clone, Copy, Debug)]
pub struct Help {
    /// Command lines, each with what it does.
    pub examples: &'static [(&'static str, &'static str)],
    /// Paragraphs.
    pub notes: &'static [&'static str],
}

/// Indents: of examples, and of what is said about one on a line of its own.
const EXAMPLE: usize = 2;
const BELOW: usize = 6;

/// Narrower and wider than this, help is hard to read.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=100;

/// Letters in a line of help.
pub fn width() -> usize {
    let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(columns).unwrap_or(*WIDTHS.end()).clamp(*WIDTHS.start(), *WIDTHS.end())
}

impl Help {
    /// The text for lines of this width. Paragraphs are still one line each.
    pub fn text(&self, width: usize) -> String {
        let longest = |part: fn(&(&str, &str)) -> usize| self.examples.iter().map(part).max().unwrap_or(0);
        let column = EXAMPLE + longest(|(command, _)| command.len()) + 2;
        let is_wide = column + longest(|(_, what)| what.len()) <= width;
        let example = |(command, what): &(&str, &str)| {
            if is_wide {
                format!("{:EXAMPLE$}{command:<rest$}{what}\n", "", rest = column - EXAMPLE)
            } else {
                format!("{:EXAMPLE$}{command}\n{:BELOW$}{what}\n", "", "")
            }
        };
        let examples: String = self.examples.iter().map(example).collect();
        format!("Examples:\n{examples}\n{}", self.notes.join("\n\n")).trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::Help;

    #[test]
    fn examples_are_in_two_columns_where_there_is_room() {
        let help = Help { examples: &[("tool a", "one thing"), ("tool --b", "another")], notes: &["Note."] };
        assert_eq!(help.text(21), "Examples:\n  tool a    one thing\n  tool --b  another\n\nNote.");
        assert_eq!(help.text(20), "Examples:\n  tool a\n      one thing\n  tool --b\n      another\n\nNote.");
    }
}
