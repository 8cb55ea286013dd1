// SPDX-License-Identifier: Apache-2.0

//! Writing SVG. Text is escaped here and nowhere else.

use std::fmt::{Display, Formatter, Result, Write as _};

/// A drawing while it is being written. Lengths are in pixels, y goes down.
#[derive(Debug, Default)]
pub(super) struct Svg(String);

/// Where and how large a rectangle is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A length with one digit after the point, if that is not 0.
pub(super) struct Px(pub(super) f64);

impl Display for Px {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}", (self.0 * 10.0).round() / 10.0)
    }
}

/// Text as it may stand in XML, also between double quotes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\n' | '\t' => f.write_char(character)?,
                // XML has no way to write these.
                '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// On which side of its x a text lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// Begins a drawing. `description` is read out instead of it; `style` is CSS of this program's own.
    pub(super) fn begin(&mut self, width: f64, height: f64, description: &str, style: &str) -> Result {
        let (width, height) = (Px(width), Px(height));
        writeln!(self.0, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
        writeln!(
            self.0,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">"#
        )?;
        writeln!(self.0, "<desc>{}</desc>", Escaped(description))?;
        writeln!(self.0, "<style>{style}</style>")
    }

    /// Ends the drawing.
    pub(super) fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }

    /// A rectangle.
    pub(super) fn rect(&mut self, rect: Rect, class: impl Display) -> Result {
        let Rect { x, y, width, height } = rect;
        writeln!(
            self.0,
            r#"<rect class="{class}" x="{}" y="{}" width="{}" height="{}"/>"#,
            Px(x),
            Px(y),
            Px(width),
            Px(height)
        )
    }

    /// A path; `data` is made of letters and numbers.
    pub(super) fn path(&mut self, data: &str, class: &str) -> Result {
        writeln!(self.0, r#"<path class="{class}" d="{data}"/>"#)
    }

    /// A text whose line stands at `y`.
    pub(super) fn text(&mut self, at: (f64, f64), anchor: Anchor, class: &str, text: &str) -> Result {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let (x, y) = (Px(at.0), Px(at.1));
        writeln!(self.0, r#"<text class="{class}" x="{x}" y="{y}"{anchor}>{}</text>"#, Escaped(text))
    }

    /// What `draw` draws shows a text when the pointer is over it.
    pub(super) fn titled(&mut self, title: &str, draw: impl FnOnce(&mut Svg) -> Result) -> Result {
        writeln!(self.0, "<g><title>{}</title>", Escaped(title))?;
        draw(self)?;
        writeln!(self.0, "</g>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_end_an_element() {
        assert_eq!(Escaped("a<b>&\"\u{1}\u{7f}é\n").to_string(), "a&lt;b&gt;&amp;&quot;\u{fffd}\u{7f}é\n");
    }

    #[test]
    fn lengths_are_short() {
        assert_eq!(format!("{} {} {}", Px(8.0), Px(1.0 / 3.0), Px(0.04)), "8 0.3 0");
    }
}
