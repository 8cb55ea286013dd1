// SPDX-License-Identifier: Apache-2.0

//! What a workload was told, and so has to be on the disk when the power goes.
//!
//! A workload says it to the disk right after it was told, before it goes on. So it stands in the log among the writes: an
//! image of a later instant has to hold it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The workload begins: what comes before is preparation.
pub(crate) const START: &str = "start";

/// What is known of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fact {
    /// It leads to a database.
    pub(crate) exists: bool,
    /// If it leads to a database, that holds at least this commit.
    pub(crate) least: u64,
}

/// What is known of all names. Others must not be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) files: BTreeMap<String, Fact>,
}

/// A name exists and holds a commit.
pub(crate) fn have(name: &str, commit: u64) -> String {
    format!("have {name} {commit}")
}

/// If a name exists it holds a commit.
pub(crate) fn hold(name: &str, commit: u64) -> String {
    format!("hold {name} {commit}")
}

impl Told {
    /// Takes in what was said.
    pub(crate) fn hear(&mut self, text: &str) {
        let mut words = text.split(' ');
        let (Some(kind @ ("have" | "hold")), Some(name), Some(Ok(commit))) =
            (words.next(), words.next(), words.next().map(u64::from_str))
        else {
            return;
        };
        let fact = self.files.entry(name.to_owned()).or_default();
        fact.exists |= kind == "have";
        fact.least = fact.least.max(commit);
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, fact)) in self.files.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let kind = if fact.exists { "have" } else { "hold" };
            write!(f, "{comma}{kind}:{name}:{}", fact.least)?;
        }
        Ok(())
    }
}

impl FromStr for Told {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Told, Self::Err> {
        let mut told = Told::default();
        text.split(',').for_each(|said| told.hear(&said.replace(':', " ")));
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_only_grow_and_can_be_handed_on() {
        let mut told = Told::default();
        for said in [&hold("b", 3), &have("a", 0), START, &have("a", 7), &have("a", 5), "nonsense"] {
            told.hear(said);
        }
        assert_eq!(told.files["a"], Fact { exists: true, least: 7 });
        assert_eq!(told.files["b"], Fact { exists: false, least: 3 });
        assert_eq!(told.to_string().parse(), Ok(told));
        assert_eq!("".parse(), Ok(Told::default()));
    }
}
