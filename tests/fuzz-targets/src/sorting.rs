// SPDX-License-Identifier: Apache-2.0

//! Sort runs: the same pairs in order of keys, and those with equal keys in the order of adding.

use crate::common::temp_dir;
use crate::input::Input;
use couchstore::fuzzing;

/// Pairs, a budget of memory, and whether what goes to disk is encrypted.
pub fn sorting(data: &[u8]) {
    let mut input = Input(data);
    let budget = input.number();
    let secret = couchstore::ENCRYPTION && input.byte() & 1 != 0;
    let mut pairs = Vec::new();
    while !input.is_empty() && pairs.len() < 3000 {
        let (key, value) = (usize::from(input.byte() % 24), usize::from(input.byte()));
        let repeat = 1 + usize::from(input.byte() % 16);
        let pair = (input.bytes(key).to_vec(), input.bytes(value).to_vec());
        pairs.extend(std::iter::repeat_n(pair, repeat));
    }
    let folder = temp_dir();
    let sorted = fuzzing::sort(folder.path(), budget, secret, &pairs).expect("sorting");
    // Stable.
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(sorted, pairs);
}
