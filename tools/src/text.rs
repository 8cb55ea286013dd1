// SPDX-License-Identifier: Apache-2.0

//! How values are shown to people.

use std::path::Path;

/// A number of bytes as the original's tools show it: units of 1024, each with a digit more after the point than the
/// one before.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value > 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.unit$} {}", UNITS[unit])
}

/// A number with its digits in groups: "1,234,567".
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Reads a file offset: decimal, or hexadecimal behind "0x".
pub fn parse_offset(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    // File offsets are signed 64-bit numbers to the operating system.
    number
        .ok()
        .filter(|&offset| i64::try_from(offset).is_ok())
        .ok_or_else(|| "not an offset in a file".to_owned())
}

/// Text for people and terminals: control characters, and bytes that are no UTF-8, become "\xNN".
pub fn printable(bytes: &[u8]) -> String {
    escape(bytes, char::is_control)
}

/// As [`printable`], but lines stay lines and tabs tabs.
pub fn printable_lines(bytes: &[u8]) -> String {
    escape(bytes, |character| character.is_control() && !matches!(character, '\n' | '\t'))
}

/// As [`printable`], but UTF-8 stays as it is.
pub fn lossless(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| printable(bytes), str::to_owned)
}

/// Keys as the original's tools show them: what is not printable ASCII as C writes it, and that as a signed number.
pub fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            0 => out.push_str("\\0"),
            7 => out.push_str("\\a"),
            8 => out.push_str("\\b"),
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            0xb => out.push_str("\\v"),
            0xc => out.push_str("\\f"),
            b'\r' => out.push_str("\\r"),
            _ if is_printable(byte) => out.push(char::from(byte)),
            _ => out.extend(["\\x", &format!("{:X}", i32::from(byte.cast_signed()))]),
        }
    }
    out
}

/// Whether C calls it so.
pub fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// The name of a file, as [`printable`] shows it.
pub fn printable_path(path: &Path) -> String {
    printable(path.as_os_str().as_encoded_bytes())
}

/// The name of a file, as [`lossless`] gives it to programs.
pub fn lossless_path(path: &Path) -> String {
    lossless(path.as_os_str().as_encoded_bytes())
}

fn escape(bytes: &[u8], must: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    let put_escaped = |out: &mut String, bytes: &[u8]| {
        for byte in bytes {
            out.push_str("\\x");
            out.push_str(&hex(&[*byte]));
        }
    };
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if must(character) {
                put_escaped(&mut out, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.push(character);
            }
        }
        put_escaped(&mut out, chunk.invalid());
    }
    out
}

/// Two hexadecimal digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Reads a number of bytes, with K, M or G for powers of 1024.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(char, u32); 3] = [('K', 10), ('M', 20), ('G', 30)];
    let unit = UNITS.into_iter().find(|&(letter, _)| text.to_ascii_uppercase().ends_with(letter));
    let (digits, shift) = unit.map_or((text, 0), |(_, shift)| (&text[..text.len() - 1], shift));
    let number: Option<u64> = digits.parse().ok();
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| "not a number of bytes such as 4096, 64K, 16M or 1G".to_owned())
}

/// A share of a whole: "12.3 %". Of nothing it is 0.
pub fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", share(part, whole))
}

/// A share of a whole in percent.
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

#[cfg(test)]
mod tests {
    use super::{
        escaped, grouped, hex, parse_bytes, parse_offset, percent, printable, printable_lines, size,
    };

    #[test]
    fn offsets_are_decimal_or_hexadecimal() {
        assert_eq!(parse_offset("4096"), Ok(4096));
        assert_eq!(parse_offset("0x1000"), Ok(4096));
        assert_eq!(parse_offset("0X1f"), Ok(31));
        for wrong in ["", "0x", "-1", "12k", "0xffffffffffffffff"] {
            assert!(parse_offset(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_of_bytes_may_have_a_unit() {
        assert_eq!(parse_bytes("0"), Ok(0));
        assert_eq!(parse_bytes("64k"), Ok(64 << 10));
        assert_eq!(parse_bytes("16M"), Ok(16 << 20));
        assert_eq!(parse_bytes("1G"), Ok(1 << 30));
        for wrong in ["", "M", "-1", "1.5G", "1 G", "1T", "18446744073709551615K"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_printable() {
        assert_eq!(
            printable("a\u{1b}[2J\u{7f}\u{9b}\n\u{e4}".as_bytes()),
            "a\\x1b[2J\\x7f\\xc2\\x9b\\x0a\u{e4}"
        );
        assert_eq!(printable(b"\xff\xc3z"), "\\xff\\xc3z");
        assert_eq!(printable_lines(b"a\tb\n\r\0"), "a\tb\n\\x0d\\x00");
        assert_eq!(hex(&[0, 0x9f, 0xff]), "009fff");
    }

    #[test]
    fn keys_are_shown_as_c_writes_them() {
        assert_eq!(escaped(b"\0\x08\x02\x8f k~\n\x7f"), "\\0\\b\\x2\\xFFFFFF8F k~\\n\\x7F");
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1000, 1_234_567].map(grouped)[..]);
    }

    #[test]
    fn shares_of_nothing_are_zero() {
        assert_eq!(percent(1, 8), "12.5 %");
        assert_eq!(percent(1, 0), "0.0 %");
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(1024), "1024 bytes");
        assert_eq!(size(1536), "1.5 kB");
        assert_eq!(size(16489), "16.1 kB");
        assert_eq!(size(1_278_049), "1.22 MB");
        assert_eq!(size(4_200_000_000), "3.912 GB");
        assert_eq!(size(u64::MAX), "16384.00000 PB");
    }
}
