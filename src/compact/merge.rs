// SPDX-License-Identifier: Apache-2.0

//! Merging sorted runs of entries, wherever they are.

use crate::error::Result;
use crate::memory;

/// Takes sorted entries.
pub(crate) type OnSorted<'a> = &'a mut dyn FnMut(Sorted<'_>) -> Result<()>;

/// An entry: its key, and right behind it its value.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sorted<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) key_length: usize,
}

impl<'a> Sorted<'a> {
    #[inline]
    pub(crate) fn key(self) -> &'a [u8] {
        self.split().0
    }

    /// Key and value.
    #[inline]
    pub(crate) fn split(self) -> (&'a [u8], &'a [u8]) {
        self.bytes.split_at_checked(self.key_length).unwrap_or_default()
    }
}

/// Entries in ascending order of keys, one at a time.
pub(super) trait Run {
    /// Goes to the next entry, at first to the first one, and returns [`key_prefix`] of its key; `None`: there is none.
    fn advance(&mut self, skip: usize) -> Result<Option<u64>>;
    /// The entry at hand.
    fn entry(&self) -> Sorted<'_>;
}

/// Eight bytes of a key as a number, from byte `skip` on, which is where keys begin to differ: decides most comparisons
/// without looking at the key.
#[inline]
pub(super) fn key_prefix(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    if let Some(first) = rest.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(rest) {
        *to = *from;
    }
    u64::from_be_bytes(first)
}

/// How many bytes all keys begin with alike.
#[derive(Default)]
pub(super) struct CommonPrefix {
    /// As many bytes as all keys so far have in common; `None` before the first key.
    bytes: Option<Vec<u8>>,
    /// If they are eight or fewer: these as a number, and which bits of it count. Keys of so many bytes are compared at once.
    few: Option<(u64, u64)>,
}

impl CommonPrefix {
    pub(super) fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }

    /// Notes a key.
    #[inline]
    pub(super) fn add(&mut self, key: &[u8]) -> Result<()> {
        if let (Some((head, bits)), Some(first)) = (self.few, key.first_chunk())
            && (u64::from_be_bytes(*first) ^ head) & bits == 0
        {
            return Ok(());
        }
        match &self.bytes {
            Some(bytes) if key.starts_with(bytes) => Ok(()),
            _ => self.shorten(key),
        }
    }

    #[cold]
    fn shorten(&mut self, key: &[u8]) -> Result<()> {
        let Some(bytes) = &mut self.bytes else {
            self.bytes = Some(memory::copy(key)?);
            return Ok(());
        };
        let alike = bytes.iter().zip(key).take_while(|(a, b)| a == b).count();
        bytes.truncate(alike);
        let others = size_of::<u64>().checked_sub(alike);
        let bits = others.map(|others| u64::MAX.checked_shl(8 * others as u32).unwrap_or(0));
        self.few = bits.map(|bits| (key_prefix(bytes, 0), bits));
        Ok(())
    }
}

/// A run that is at an entry: the prefix of its key, and its number.
#[derive(Clone, Copy)]
struct Head {
    prefix: u64,
    run: usize,
}

/// A run without any more entries: behind all that have some.
const ENDED: Head = Head { prefix: u64::MAX, run: usize::MAX };

/// Runs in a tournament. Of two neighbours the one whose key comes first has won and plays against the winner of the
/// next two; of equal keys that of the earlier run. When the winner of all goes on, only the games are played again in
/// which it was.
struct Tournament<'a, R> {
    runs: &'a mut [R],
    winner: Head,
    /// Who has lost each game; that of the last two is game 1, and game n is between those of games 2n and 2n + 1, where
    /// from the number of runs on are the runs themselves.
    losers: Vec<Head>,
    skip: usize,
}

impl<'a, R: Run> Tournament<'a, R> {
    fn new(runs: &'a mut [R], skip: usize) -> Result<Tournament<'a, R>> {
        let count = runs.len();
        let mut winners = memory::filled(ENDED, count * 2)?;
        for run in 0..count {
            winners[count + run] = head(runs, run, skip)?;
        }
        let losers = memory::filled(ENDED, count)?;
        let mut tournament = Tournament { runs, winner: ENDED, losers, skip };
        for game in (1..count).rev() {
            let (one, other) = (winners[2 * game], winners[2 * game + 1]);
            let one_wins = tournament.is_before(one, other);
            (winners[game], tournament.losers[game]) = if one_wins { (one, other) } else { (other, one) };
        }
        tournament.winner = winners.get(1).copied().unwrap_or(ENDED);
        Ok(tournament)
    }

    #[inline]
    fn is_before(&self, a: Head, b: Head) -> bool {
        if a.prefix != b.prefix {
            return a.prefix < b.prefix;
        }
        self.is_before_by_key(a, b)
    }

    #[cold]
    fn is_before_by_key(&self, a: Head, b: Head) -> bool {
        match (self.runs.get(a.run), self.runs.get(b.run)) {
            (Some(one), Some(other)) => (one.entry().key(), a.run) < (other.entry().key(), b.run),
            (one, _) => one.is_some(),
        }
    }

    /// The run with the lowest key goes to its next entry.
    fn advance(&mut self) -> Result<()> {
        let run = self.winner.run;
        let mut winner = head(self.runs, run, self.skip)?;
        let mut game = run + self.runs.len();
        while game > 1 {
            game /= 2;
            let loser = self.losers[game];
            if self.is_before(loser, winner) {
                self.losers[game] = winner;
                winner = loser;
            }
        }
        self.winner = winner;
        Ok(())
    }
}

/// The next entry of a run.
fn head<R: Run>(runs: &mut [R], run: usize, skip: usize) -> Result<Head> {
    let prefix = runs[run].advance(skip)?;
    Ok(prefix.map_or(ENDED, |prefix| Head { prefix, run }))
}

/// Hands on the entries of all runs in ascending order of keys; those with equal keys in the order of their runs. All
/// keys have the first `skip` bytes in common.
pub(super) fn merge<R: Run>(runs: &mut [R], skip: usize, take: OnSorted<'_>) -> Result<()> {
    let mut tournament = Tournament::new(runs, skip)?;
    while let Some(run) = tournament.runs.get(tournament.winner.run) {
        take(run.entry())?;
        tournament.advance()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_keys_have_in_common_is_as_long_as_the_shortest_of_it() {
        let key = b"0123456789abcdef";
        for alike in 0..key.len() {
            for length in alike..=key.len() {
                let mut other = key.get(..length).unwrap().to_vec();
                other.iter_mut().skip(alike).for_each(|byte| *byte ^= 0x81);
                let mut common = CommonPrefix::default();
                common.add(key).unwrap();
                for seen in [&other[..], key, &other[..]] {
                    common.add(seen).unwrap();
                    assert_eq!(common.len(), alike, "{length}");
                }
                common.add(b"").unwrap();
                assert_eq!(common.len(), 0);
            }
        }
    }

    /// Keys of eight bytes and more, some of whose bits differ, in every place.
    #[test]
    fn a_key_with_any_other_bit_is_noticed() {
        let key = b"01234567 and more";
        for alike in 0..=key.len() {
            let mut second = *key;
            second.iter_mut().skip(alike).for_each(|byte| *byte = !*byte);
            for at in 0..key.len() {
                for bits in [0x01, 0x80, 0xff] {
                    let mut third = *key;
                    *third.get_mut(at).unwrap() ^= bits;
                    let mut common = CommonPrefix::default();
                    for seen in [key, &second, &third] {
                        common.add(seen).unwrap();
                    }
                    assert_eq!(common.len(), alike.min(at), "{alike} {at} {bits:#x}");
                }
            }
        }
        // All bits of what is compared differ, and no others of the number.
        let mut common = CommonPrefix::default();
        for seen in [&b"aaaa1"[..], b"aaaa2", b"\x9e\x9e\x9e\x9e\0\0\0\0"] {
            common.add(seen).unwrap();
        }
        assert_eq!(common.len(), 0);
    }
}
