// SPDX-License-Identifier: Apache-2.0

//! The commits of a file. What lies between two headers was written by the later one's commit.

use super::ledger::{Ledger, Part};

/// There are between this many groups of commits and twice as many, unless the file has fewer commits.
const GROUPS: usize = 64;

/// Builds the division of a file by commits while its headers are gone through from the last one to the first.
/// Commits are put into groups of equal numbers, so that memory is bounded.
#[derive(Debug)]
pub(super) struct History {
    /// What follows the last header.
    tail: Part,
    /// Newest first. The start of the last one is not known yet.
    groups: Vec<Part>,
    /// Commits in a group; the last one may have less.
    per_group: u64,
}

impl History {
    pub(super) fn new(file_size: u64) -> History {
        History { tail: Part::new(0..file_size), groups: Vec::new(), per_group: 1 }
    }

    /// The part that the bytes below the last header seen belong to.
    pub(super) fn part(&mut self) -> &mut Part {
        self.groups.last_mut().unwrap_or(&mut self.tail)
    }

    /// A header that ends here is the next one below.
    pub(super) fn header(&mut self, end: u64, shown: bool) {
        self.part().range.start = end;
        let mut part = Part::new(0..end);
        part.headers = 1;
        part.shown_header = shown;
        if self.groups.len() == 2 * GROUPS
            && self.groups.last().is_some_and(|last| last.headers == self.per_group)
        {
            self.merge_pairs();
        }
        match self.groups.last_mut() {
            Some(last) if last.headers < self.per_group => {
                part.append(last);
                *last = part;
            }
            _ => self.groups.push(part),
        }
    }

    fn merge_pairs(&mut self) {
        let merge = |pair: &[Part]| {
            let older_first = pair.iter().rev();
            older_first.cloned().reduce(|mut older, newer| {
                older.append(&newer);
                older
            })
        };
        self.groups = self.groups.chunks(2).filter_map(merge).collect();
        self.per_group *= 2;
    }

    /// The division, oldest first. The last part is what follows the last header, if there is something.
    pub(super) fn finish(mut self) -> Ledger {
        self.groups.reverse();
        if self.tail.size() > 0 {
            self.groups.push(self.tail);
        }
        Ledger::new(self.groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(commits: u64) -> Vec<Part> {
        let mut history = History::new(commits * 10 + 5);
        for number in (1..=commits).rev() {
            history.header(number * 10, number == commits);
        }
        history.finish().parts().to_vec()
    }

    #[test]
    fn few_commits_have_a_part_each() {
        let parts = history(3);
        let ranges: Vec<_> = parts.iter().map(|part| part.range.clone()).collect();
        assert_eq!(ranges, [0..10, 10..20, 20..30, 30..35]);
        assert_eq!(parts.iter().map(|part| part.headers).collect::<Vec<_>>(), [1, 1, 1, 0]);
        assert!(parts[2].shown_header);
    }

    #[test]
    fn many_commits_are_grouped_without_gaps() {
        for commits in [2 * GROUPS as u64 + 1, 1000, 4097] {
            let parts = history(commits);
            assert!(parts.len() > GROUPS && parts.len() <= 2 * GROUPS + 2, "{}", parts.len());
            assert_eq!(parts[0].range.start, 0);
            assert!(parts.windows(2).all(|pair| pair[0].range.end == pair[1].range.start));
            assert_eq!(parts.iter().map(|part| part.headers).sum::<u64>(), commits);
            assert_eq!(parts.iter().filter(|part| part.shown_header).count(), 1);
        }
    }
}
