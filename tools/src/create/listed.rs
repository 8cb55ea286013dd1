// SPDX-License-Identifier: Apache-2.0

//! Vbuckets as they are listed on the command line.

use crate::couchbase::vbstate::State;

/// A vbucket of those that get a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) vbucket: u16,
    pub(super) state: State,
}

/// Reads "12", "0a", "1r": a number, and the first letter of its state, active unless it is said.
pub(super) fn parse(text: &str) -> Result<Listed, String> {
    const STATES: [(char, State); 4] =
        [('a', State::Active), ('r', State::Replica), ('p', State::Pending), ('d', State::Dead)];
    let letter = STATES.into_iter().find(|&(letter, _)| text.ends_with(letter));
    let (digits, state) = letter.map_or((text, State::Active), |(_, state)| (&text[..text.len() - 1], state));
    let vbucket = digits.parse().map_err(|_| "not a number with one of the letters a, r, p, d".to_owned())?;
    Ok(Listed { vbucket, state })
}

#[cfg(test)]
mod tests {
    use super::{Listed, State, parse};

    #[test]
    fn numbers_have_a_letter_or_none() {
        assert_eq!(parse("0a"), Ok(Listed { vbucket: 0, state: State::Active }));
        assert_eq!(parse("1023r"), Ok(Listed { vbucket: 1023, state: State::Replica }));
        assert_eq!(parse("7"), Ok(Listed { vbucket: 7, state: State::Active }));
        assert_eq!(parse("7d").map(|listed| listed.state), Ok(State::Dead));
        for wrong in ["", "a", "1x", "-1", "65536", "1ar", "ä"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
