// SPDX-License-Identifier: Apache-2.0

//! A source file with its mutants, each of which can be switched on, and which of them an error of the compiler is about.

use crate::place::Edit;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

/// Writes a source file. Comments mark where mutants are: `/*m<1*/` to `/*m1>*/` what only the mutant is, `/*w<1,2*/` to
/// `/*w>*/` all of an expression that has mutants.
pub(crate) fn write(source: &str, edits: &[Edit], is_left_out: impl Fn(usize) -> bool) -> String {
    let mut texts = Vec::new();
    let mut replaced: BTreeMap<_, Vec<(usize, &str)>> = BTreeMap::new();
    for edit in edits {
        match edit {
            Edit::Insert { id, .. } | Edit::Replace { id, .. } if is_left_out(*id) => {}
            // Behind what ends here, and before what begins.
            Edit::Insert { at, id, text } => texts.push((*at, 1, 0, format!("/*m<{id}*/{text}/*m{id}>*/"))),
            Edit::Replace { range, id, text } => {
                replaced.entry((range.start, range.end)).or_default().push((*id, text));
            }
        }
    }
    for ((start, end), mutants) in replaced {
        let ids: Vec<_> = mutants.iter().map(|(id, _)| id.to_string()).collect();
        let mut before = format!("/*w<{}*/(", ids.join(","));
        for (id, text) in mutants {
            let _ = write!(before, "/*m<{id}*/if crate::mutant::is({id}) {{ {text} }}/*m{id}>*/ else ");
        }
        // The widest is opened first and closed last.
        texts.push((start, 2, usize::MAX - end, before + "{ "));
        texts.push((end, 0, usize::MAX - start, " })/*w>*/".to_owned()));
    }
    texts.sort_by_key(|text| (text.0, text.1, text.2));
    let (mut out, mut done) = (String::new(), 0);
    for (at, _, _, text) in texts {
        out.push_str(&source[done..at]);
        out.push_str(&text);
        done = at;
    }
    out + &source[done..]
}

/// The mutants that stand around some bytes of a written file, the innermost alone: those that are nothing but a mutant, or
/// else those of the expression. If there are none, and `of_function`: those that return from the function.
pub(crate) fn around(written: &str, bytes: &Range<usize>, of_function: bool) -> Vec<usize> {
    let (mut mutants, mut expressions) = (Vec::new(), Vec::new());
    let (mut returning, mut behind_returning) = (Vec::new(), 0);
    let mut at = 0;
    while let Some(found) = written[at..bytes.start.min(written.len())].find("/*") {
        at += found + 2;
        let Some(length) = written[at..].find("*/") else { break };
        let mark = &written[at..at + length];
        if let Some(id) = mark.strip_prefix("m<").and_then(|id| id.parse::<usize>().ok()) {
            mutants.push(id);
            if written[at + length + 2..].starts_with(" if crate::") {
                if behind_returning != at - 2 {
                    returning.clear();
                }
                returning.push(id);
            }
        } else if mark == "w>" {
            expressions.pop();
        } else if let Some(ids) = mark.strip_prefix("w<") {
            expressions.push(ids.split(',').filter_map(|id| id.parse().ok()).collect::<Vec<usize>>());
        } else if mark.starts_with('m')
            && mark.ends_with('>')
            && mutants.pop().is_some_and(|id| returning.contains(&id))
        {
            behind_returning = at + length + 2;
        }
        if mark.len() + at > bytes.start {
            break;
        }
    }
    let found = mutants.pop().map(|id| vec![id]).or(expressions.pop());
    found.or(Some(returning).filter(|_| of_function)).unwrap_or_default()
}

/// The mutants within some bytes of a written file.
pub(crate) fn within(written: &str, bytes: &Range<usize>) -> Vec<usize> {
    let text = written.get(bytes.clone()).unwrap_or_default();
    let marks = text.split("/*m<").skip(1);
    marks.filter_map(|rest| rest.split("*/").next()?.parse().ok()).collect()
}

/// The last mutant before some bytes of a written file.
pub(crate) fn before(written: &str, bytes: &Range<usize>) -> Vec<usize> {
    within(written, &(0..bytes.start)).pop().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{around, within, write};
    use crate::place::Edit;

    fn replace(range: std::ops::Range<usize>, id: usize, text: &str) -> Edit {
        Edit::Replace { range, id, text: text.to_owned() }
    }

    #[test]
    fn expressions_within_others() {
        let source = "a == b && c";
        let edits = [
            replace(0..6, 1, "(a) != (b)"),
            replace(0..11, 2, "(a == b) || (c)"),
            Edit::Insert { at: 0, id: 3, text: "x ".into() },
        ];
        let written = write(source, &edits, |_| false);
        let at = |text: &str| written.find(text).expect("written");
        assert_eq!(around(&written, &(at("x ")..at("x ") + 1), false), [3]);
        assert_eq!(around(&written, &(at("||")..at("||") + 1), false), [2]);
        assert_eq!(around(&written, &(at("!=")..at("!=") + 1), false), [1]);
        let inner = written.rfind("==").expect("written");
        assert_eq!(around(&written, &(inner..inner + 1), false), [1]);
        let outer = written.rfind("&&").expect("written");
        assert_eq!(around(&written, &(outer..outer + 1), false), [2]);
        assert_eq!(within(&written, &(0..written.len())), [3, 2, 1]);
        assert_eq!(write(source, &edits, |_| true), source);
    }
}
