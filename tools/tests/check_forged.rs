// SPDX-License-Identifier: Apache-2.0

//! `couch_check`: every kind of inconsistency is found, and nothing else.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::checked::{check_with, expect, expect_among, problems_with};
use common::forge::{Entry, Forge, Pointer, be};
use couchstore::inspect::Tree;

/// Three documents, two leaves in each tree below a root; then `change` before the header is written.
struct Trees {
    forge: Forge,
    docs: [Entry; 3],
}

impl Trees {
    fn new() -> Trees {
        let mut forge = Forge::new();
        let docs = [forge.doc("a", 3, b"first"), forge.doc("b", 1, b"second"), forge.doc("c", 2, b"third")];
        Trees { forge, docs }
    }

    fn by_id_leaves(&mut self) -> [Pointer; 2] {
        let [a, b, c] = &self.docs;
        [self.forge.leaf(Tree::ById, &[a, b]), self.forge.leaf(Tree::ById, &[c])]
    }

    fn by_seq_leaves(&mut self) -> [Pointer; 2] {
        let [a, b, c] = &self.docs;
        [self.forge.leaf(Tree::BySeq, &[b, c]), self.forge.leaf(Tree::BySeq, &[a])]
    }

    fn roots(&mut self) -> [Pointer; 2] {
        let [a, b] = self.by_id_leaves();
        let by_id = self.forge.interior(Tree::ById, &[&a, &b]);
        let [a, b] = self.by_seq_leaves();
        let by_seq = self.forge.interior(Tree::BySeq, &[&a, &b]);
        [by_id, by_seq]
    }

    /// A header with this by-id tree, and the right by-sequence tree.
    fn with_by_id(mut self, by_id: &Pointer) -> Forge {
        let [a, b] = self.by_seq_leaves();
        let by_seq = self.forge.interior(Tree::BySeq, &[&a, &b]);
        self.forge.header(3, Some(&by_seq), Some(by_id), None);
        self.forge
    }

    /// A header with this by-sequence tree, and the right by-id tree.
    fn with_by_seq(mut self, by_seq: &Pointer) -> Forge {
        let [a, b] = self.by_id_leaves();
        let by_id = self.forge.interior(Tree::ById, &[&a, &b]);
        self.forge.header(3, Some(by_seq), Some(&by_id), None);
        self.forge
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |shown, byte| format!("{shown}{byte:02x}"))
}

#[test]
fn a_file_in_order_is_praised() {
    let mut trees = Trees::new();
    let [by_id, by_seq] = trees.roots();
    let local = trees.forge.local(&[("_local/a", "1"), ("_local/b", "2")]);
    trees.forge.header(3, Some(&by_seq), Some(&by_id), Some(&local));
    let (lines, code) = check_with(&trees.forge, &[]);
    assert_eq!(
        lines,
        ["no problems; 1 headers, 3 documents, 0 deleted, 3 bodies, 2 local documents, 7 nodes"]
    );
    assert_eq!(code, 0);
    expect(&trees.forge, &[]);
}

// ---- nodes --------------------------------------------------------------------------------------------------------

#[test]
fn wrong_reduce_values_of_roots() {
    let mut trees = Trees::new();
    let [mut by_id, by_seq] = trees.roots();
    let right = hex(&by_id.reduce);
    by_id.reduce[4] = 2;
    let (wrong, at) = (hex(&by_id.reduce), by_id.position);
    trees.forge.header(3, Some(&by_seq), Some(&by_id), None);
    expect(&trees.forge, &[format!("offset {at}: by-id tree: reduce value {wrong}, it is {right}")]);
}

#[test]
fn wrong_reduce_values_of_leaves() {
    // The count of a leaf, carried on into the root: each level agrees with what is below but for the lowest.
    let mut trees = Trees::new();
    let [mut a, b] = trees.by_seq_leaves();
    a.reduce = be(7, 5);
    let mut root = trees.forge.interior(Tree::BySeq, &[&a, &b]);
    root.reduce = be(8, 5);
    let expected = [format!("offset {}: by-seq tree: reduce value 0000000007, it is 0000000002", a.position)];
    expect(&trees.with_by_seq(&root), &expected);
}

#[test]
fn too_long_reduce_values() {
    let mut trees = Trees::new();
    let [mut by_id, by_seq] = trees.roots();
    let right = hex(&by_id.reduce);
    by_id.reduce.push(9);
    let at = by_id.position;
    trees.forge.header(3, Some(&by_seq), Some(&by_id), None);
    expect(&trees.forge, &[format!("offset {at}: by-id tree: reduce value {right}09, it is {right}")]);
}

#[test]
fn wrong_subtree_sizes() {
    let mut trees = Trees::new();
    let [a, mut b] = trees.by_id_leaves();
    b.size += 1;
    let mut root = trees.forge.interior(Tree::ById, &[&a, &b]);
    let (right, at) = (b.size - 1, b.position);
    let (whole, root_at) = (root.size - 1, root.position);
    // The root agrees with the wrong size of its child: both are wrong.
    let mut expected = vec![
        format!("offset {at}: by-id tree: subtree size {}, it is {right}", right + 1),
        format!("offset {root_at}: by-id tree: subtree size {}, it is {whole}", whole + 1),
    ];
    let mut other =
        Trees { forge: Forge { bytes: trees.forge.bytes.clone(), ..Forge::new() }, docs: trees.docs.clone() };
    expect(&trees.with_by_id(&root), &expected);
    root.size -= 1;
    expected.pop();
    let [a, b] = other.by_seq_leaves();
    let by_seq = other.forge.interior(Tree::BySeq, &[&a, &b]);
    other.forge.header(3, Some(&by_seq), Some(&root), None);
    expect(&other.forge, &expected);
}

#[test]
fn highest_keys_that_are_not() {
    let mut trees = Trees::new();
    let [mut a, b] = trees.by_id_leaves();
    a.key = b"bb".to_vec();
    let at = a.position;
    let root = trees.forge.interior(Tree::ById, &[&a, &b]);
    let expected = [format!("offset {at}: by-id tree: highest key \"bb\" in the pointer, it is \"b\"")];
    expect(&trees.with_by_id(&root), &expected);
}

#[test]
fn keys_out_of_order() {
    // Within a leaf.
    let mut trees = Trees::new();
    let [a, b, c] = trees.docs.clone();
    let leaf = trees.forge.leaf(Tree::ById, &[&b, &a, &c]);
    let expected = [format!("offset {}: by-id tree: key \"a\" behind \"b\"", leaf.position)];
    expect_among(&trees.with_by_id(&leaf), &expected);
    // From leaf to leaf.
    let mut trees = Trees::new();
    let [a, b] = trees.by_seq_leaves();
    let root = trees.forge.interior(Tree::BySeq, &[&b, &a]);
    let expected = [format!("offset {}: by-seq tree: key 1 behind 3", a.position)];
    expect_among(&trees.with_by_seq(&root), &expected);
}

#[test]
fn duplicate_keys() {
    let mut trees = Trees::new();
    let [a, b, c] = trees.docs.clone();
    let leaf = trees.forge.leaf(Tree::ById, &[&a, &b, &b, &c]);
    let expected = [format!("offset {}: by-id tree: key \"b\" twice", leaf.position)];
    expect(&trees.with_by_id(&leaf), &expected);
    // The same document twice under its sequence number.
    let mut trees = Trees::new();
    let leaf = trees.forge.leaf(Tree::BySeq, &[&b, &c, &c, &a]);
    let [.., c_by_id] = trees.by_id_leaves();
    let leaves = [&trees.by_id_leaves()[0], &c_by_id].map(Pointer::clone);
    let by_id = trees.forge.interior(Tree::ById, &leaves.each_ref());
    let forge = {
        trees.forge.header(3, Some(&leaf), Some(&by_id), None);
        trees.forge
    };
    let (at, body) = (c_by_id.position, c.position);
    let expected = [
        format!("offset {body}: the bytes up to {} belong to more than one chunk", body + c.size),
        format!("offset {at}: by-id tree: document \"c\", sequence 2: 2 times in the by-seq tree"),
    ];
    expect(&forge, &expected);
    let mut forge = Forge::new();
    let local = forge.local(&[("_local/a", "1"), ("_local/a", "2")]);
    forge.header(0, None, None, Some(&local));
    expect(&forge, &[format!("offset {}: local tree: key \"_local/a\" twice", local.position)]);
}

#[test]
fn documents_may_share_a_sequence_number() {
    let mut forge = Forge::new();
    let docs = [forge.doc("a", 5, b"1"), forge.doc("b", 5, b"2"), forge.doc("c", 5, b"3")];
    forge.small(&docs.each_ref());
    expect(&forge, &[]);
}

#[test]
fn pointers_that_go_forward() {
    let mut trees = Trees::new();
    let [a, mut b] = trees.by_id_leaves();
    b.position = trees.forge.position() + 4096;
    let root = trees.forge.interior(Tree::ById, &[&a, &b]);
    let at = b.position;
    let rule = "malformed: expected a child that lies before its parent";
    expect(&trees.with_by_id(&root), &[format!("offset {at}: by-id tree: {rule}")]);
}

#[test]
fn nodes_that_are_no_nodes() {
    for (kind, rule) in [(2, "a node of kind 0 or 1"), (0, "a child pointer as long as its parts")] {
        let mut trees = Trees::new();
        let root = trees.forge.node(kind, &[(b"c".to_vec(), b"short".to_vec())]);
        let at = root.position;
        let found = problems_with(&trees.with_by_id(&root), &[]);
        assert!(
            found
                .iter()
                .any(|line| line.starts_with(&format!("offset {at}: by-id tree:")) && line.ends_with(rule)),
            "{found:?}"
        );
    }
}

#[test]
fn entries_that_are_malformed() {
    let mut trees = Trees::new();
    let root = trees.forge.node(1, &[(b"c".to_vec(), b"short".to_vec())]);
    let rule = "malformed entry: expected a by-id value of at least 23 bytes";
    expect(
        &{
            let at = root.position;
            let forge = trees.with_by_id(&root);
            assert_eq!(problems_with(&forge, &[]), [format!("offset {at}: by-id tree: {rule}")]);
            forge
        },
        &[format!("offset {}: by-id tree: {rule}", root.position)],
    );
}

#[test]
fn checksums_of_nodes() {
    let mut trees = Trees::new();
    let [by_id, by_seq] = trees.roots();
    trees.forge.header(3, Some(&by_seq), Some(&by_id), None);
    let at = by_seq.position;
    trees.forge.bytes[at as usize + 10] ^= 1;
    let found = problems_with(&trees.forge, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(&format!("offset {at}: by-seq tree: the checksum of ")), "{found:?}");
}

#[test]
fn damage_in_one_index_does_not_hide_bodies() {
    let mut trees = Trees::new();
    let [by_id, by_seq] = trees.roots();
    trees.forge.header(3, Some(&by_seq), Some(&by_id), None);
    let (node, body) = (by_seq.position, trees.docs[0].position);
    trees.forge.bytes[node as usize + 10] ^= 1;
    trees.forge.bytes[body as usize + 10] ^= 1;
    let found = problems_with(&trees.forge, &[]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with(&format!(
        "offset {body}: by-seq tree: body of document \"a\", sequence 3: the checksum"
    )));
    assert!(found[1].starts_with(&format!("offset {node}: by-seq tree: the checksum of ")), "{found:?}");
}

// ---- documents ----------------------------------------------------------------------------------------------------

/// A file with these entries in the two indexes: the first of each pair by id, the second by sequence.
fn indexes(forge: &mut Forge, by_id: &[&Entry], by_seq: &[&Entry]) -> [u64; 2] {
    let by_id = forge.leaf(Tree::ById, by_id);
    let by_seq = forge.leaf(Tree::BySeq, by_seq);
    forge.header(9, Some(&by_seq), Some(&by_id), None);
    [by_id.position, by_seq.position]
}

#[test]
fn indexes_that_differ_in_a_field() {
    type Change = fn(&mut Entry);
    let changes: [(Change, &str); 5] = [
        (|entry| entry.rev_seq = 7, "rev_seq (7, there 1)"),
        (|entry| entry.deleted = true, "deleted (1, there 0)"),
        (|entry| entry.content_meta = 3, "content_meta (3, there 0)"),
        (|entry| entry.rev_meta = b"other".to_vec(), "rev_meta"),
        (|entry| entry.position = 4096, "body position (4096, there 4123)"),
    ];
    for (change, fields) in changes {
        let mut forge = Forge::new();
        let spare = forge.doc("spare", 0, b"12345");
        assert_eq!(spare.position, 4096);
        let docs = [forge.doc("a", 1, b"12345"), forge.doc("b", 2, b"12345")];
        let mut other = docs[1].clone();
        change(&mut other);
        let [_, by_seq] = indexes(&mut forge, &[&docs[0], &docs[1]], &[&docs[0], &other]);
        let document = "document \"b\", sequence 2";
        expect(
            &forge,
            &[format!("offset {by_seq}: by-seq tree: {document}: differs from the by-id tree in {fields}")],
        );
    }
}

#[test]
fn documents_that_only_one_index_has() {
    let mut forge = Forge::new();
    let docs = [forge.doc("a", 1, b"1"), forge.doc("b", 2, b"2"), forge.doc("c", 3, b"3")];
    let [by_id, by_seq] = indexes(&mut forge, &[&docs[0], &docs[1]], &[&docs[0], &docs[2]]);
    expect(
        &forge,
        &[
            format!("offset {by_id}: by-id tree: document \"b\", sequence 2: not in the by-seq tree"),
            format!("offset {by_seq}: by-seq tree: document \"c\", sequence 3: not in the by-id tree"),
        ],
    );
}

#[test]
fn an_old_sequence_number_left_over() {
    let mut forge = Forge::new();
    let (old, new) = (forge.doc("a", 1, b"1"), forge.doc("a", 2, b"2"));
    let [_, by_seq] = indexes(&mut forge, &[&new], &[&old, &new]);
    let fields = "sequence (1, there 2), body position (4096, there 4106)";
    let document = "document \"a\", sequence 1";
    expect(
        &forge,
        &[format!("offset {by_seq}: by-seq tree: {document}: differs from the by-id tree in {fields}")],
    );
}

#[test]
fn an_index_that_is_missing() {
    let mut forge = Forge::new();
    let docs = [forge.doc("a", 1, b"1"), forge.doc("b", 2, b"2")];
    let by_id = forge.leaf(Tree::ById, &docs.each_ref());
    forge.header(2, None, Some(&by_id), None);
    let line = |id, seq| {
        let at = by_id.position;
        format!("offset {at}: by-id tree: document \"{id}\", sequence {seq}: not in the by-seq tree")
    };
    expect(&forge, &[line("a", 1), line("b", 2)]);
}

#[test]
fn sequence_numbers_above_that_of_the_header() {
    let mut forge = Forge::new();
    let doc = forge.doc("a", 8, b"1");
    let (by_id, by_seq) = (forge.leaf(Tree::ById, &[&doc]), forge.leaf(Tree::BySeq, &[&doc]));
    let at = forge.header(7, Some(&by_seq), Some(&by_id), None);
    expect(&forge, &[format!("offset {at}: update_seq 7, but there is a document with sequence 8")]);
}

#[test]
fn damaged_bodies() {
    let mut forge = Forge::new();
    let docs = [forge.doc("a", 1, b"sound"), forge.doc("b", 2, b"broken")];
    forge.small(&docs.each_ref());
    let at = docs[1].position;
    forge.bytes[at as usize + 10] ^= 1;
    let crc = crc_fast::crc32_iscsi(b"broken");
    let body = "body of document \"b\", sequence 2";
    expect(&forge, &[format!("offset {at}: by-seq tree: {body}: the checksum of 6 bytes is not {crc}")]);
}

#[test]
fn bodies_of_another_size() {
    let mut forge = Forge::created();
    let mut docs = [forge.doc("a", 1, b"sound"), forge.doc("b", 2, b"1234567890")];
    // As it would be in an encrypted file that this one was compacted from.
    docs[0].size = 5 + 20;
    docs[1].size = 10 + 9;
    forge.small(&docs.each_ref());
    let (at, body) = (docs[1].position, "body of document \"b\", sequence 2");
    expect(&forge, &[format!("offset {at}: by-seq tree: {body}: physical size 19 for 10 bytes stored")]);
}

#[test]
fn bodies_that_do_not_inflate() {
    let mut forge = Forge::new();
    let compressed = snap::raw::Encoder::new().compress_vec(b"some text").unwrap();
    let mut docs = [forge.doc("a", 1, &compressed), forge.doc("b", 2, b"no Snappy"), forge.doc("c", 3, b"")];
    for doc in &mut docs {
        doc.content_meta = 0x80;
    }
    forge.small(&docs.each_ref());
    let (at, body) = (docs[1].position, "body of document \"b\", sequence 2");
    let malformed = "malformed: expected a Snappy-compressed chunk, found 9 other bytes";
    expect(&forge, &[format!("offset {at}: by-seq tree: {body}: {malformed}")]);
}

#[test]
fn bodies_that_are_not_before_their_entries() {
    let mut forge = Forge::new();
    let mut doc = forge.doc("a", 1, b"12345");
    let chunk = forge.bytes[4096..].to_vec();
    let by_id = forge.leaf(Tree::ById, &[&doc]);
    doc.position = by_id.position + 4096;
    let (by_id, by_seq) = (forge.leaf(Tree::ById, &[&doc]), forge.leaf(Tree::BySeq, &[&doc]));
    forge.bytes.resize(doc.position as usize, 0);
    forge.bytes.extend_from_slice(&chunk[1..]);
    forge.header(1, Some(&by_seq), Some(&by_id), None);
    let line = |tree, at: u64| {
        let body = format!("body at {}, behind its entry", doc.position);
        format!("offset {at}: {tree} tree: document \"a\", sequence 1: {body}")
    };
    expect(&forge, &[line("by-id", by_id.position), line("by-seq", by_seq.position)]);
}

#[test]
fn chunks_that_overlap() {
    let mut forge = Forge::new();
    let first = forge.doc("a", 1, b"12345");
    let same = Entry { id: b"b".to_vec(), seq: 2, ..first.clone() };
    // A body that is a chunk of its own, and has an entry.
    let inner = [&be(0x8000_0003, 4)[..], &crc_fast::crc32_iscsi(b"123").to_be_bytes(), b"123"].concat();
    let outer = forge.doc("c", 3, &inner);
    let nested = Entry { id: b"d".to_vec(), seq: 4, position: outer.position + 8, size: 11, ..outer.clone() };
    forge.small(&[&first, &same, &outer, &nested]);
    let line =
        |at: u64, end: u64| format!("offset {at}: the bytes up to {end} belong to more than one chunk");
    // The first chunk begins at the block's type byte, which it does not count.
    let (first, nested) =
        (line(first.position, first.position + 14), line(nested.position, nested.position + 11));
    expect(&forge, &[first, nested]);
}

#[test]
fn blocks_that_look_like_others() {
    let mut forge = Forge::new();
    // Over two boundaries, the first of which it begins at.
    let doc = forge.doc("a", 1, &[b'x'; 5000]);
    forge.small(&[&doc]);
    for (at, kind) in [(doc.position, 1), (doc.position, 255), (doc.position + 4096, 2)] {
        forge.bytes[at as usize] = kind;
        let problem = format!("offset {at}: block type {kind} within data, expected 0");
        assert_eq!(problems_with(&forge, &[]), [problem]);
        forge.bytes[at as usize] = 0;
    }
}

#[test]
fn documents_without_body() {
    let mut forge = Forge::new();
    let mut docs = [Entry::deletion("a", 1), Entry::deletion("b", 2), Entry::deletion("c", 3)];
    docs[1].deleted = false;
    docs[2].size = 12;
    let [by_id, by_seq] = indexes(&mut forge, &docs.each_ref(), &docs.each_ref());
    let mut expected = Vec::new();
    for (tree, at) in [("by-id", by_id), ("by-seq", by_seq)] {
        let document = |id, seq| format!("offset {at}: {tree} tree: document \"{id}\", sequence {seq}");
        expected.push(format!("{}: not deleted, but without body", document("b", 2)));
        expected.push(format!("{}: physical size 12 without body", document("c", 3)));
    }
    expect(&forge, &expected);
}

// ---- headers ------------------------------------------------------------------------------------------------------

#[test]
fn previous_headers_that_are_not_there() {
    for (previous, reason) in [
        (1 << 20, "the previous header cannot be at 1048576"),
        (100, "the previous header cannot be at 100"),
        (4096, "there is no previous header at 4096"),
    ] {
        let mut forge = Forge::new();
        let doc = forge.doc("a", 1, b"1");
        forge.previous = previous << 1;
        let at = forge.small(&[&doc]);
        expect(&forge, &[format!("offset {at}: {reason}")]);
    }
}

#[test]
fn a_damaged_newest_header() {
    let mut forge = Forge::new();
    let doc = forge.doc("a", 1, b"1");
    let first = forge.small(&[&doc]);
    let second = forge.small(&[&doc]);
    forge.bytes[second as usize + 20] ^= 1;
    let found = problems_with(&forge, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(&format!("offset {}: header: the checksum of", second + 1)), "{found:?}");
    let (lines, _) = check_with(&forge, &["--json"].map(|_| "--all-headers"));
    assert!(lines.last().unwrap().contains("1 headers"), "{lines:?} {first}");
}

#[test]
fn older_headers_only_on_demand() {
    let mut forge = Forge::new();
    let doc = forge.doc("a", 1, b"1");
    let mut wrong = forge.leaf(Tree::ById, &[&doc]);
    wrong.size += 5;
    let by_seq = forge.leaf(Tree::BySeq, &[&doc]);
    forge.header(1, Some(&by_seq), Some(&wrong), None);
    forge.small(&[&doc]);
    assert!(problems_with(&forge, &[]).is_empty());
    let reason = format!("subtree size {}, it is {}", wrong.size, wrong.size - 5);
    let expected = [format!("offset {}: by-id tree: {reason}", wrong.position)];
    assert_eq!(problems_with(&forge, &["-a"]), expected);
}

#[test]
fn a_first_header_that_is_not_the_first_and_another_version() {
    let mut forge = Forge::new();
    let doc = forge.doc("a", 1, b"1");
    forge.version = 13;
    let first = forge.small(&[&doc]);
    forge.version = 14;
    forge.previous = 0xffff_ffff_fffe;
    let second = forge.small(&[&doc]);
    assert!(problems_with(&forge, &[]).is_empty());
    assert_eq!(
        problems_with(&forge, &["-a"]),
        [
            format!("offset {first}: version 13, but the header behind has version 14"),
            format!("offset {second}: says that it is the first, but there is one at {first}"),
        ]
    );
}

#[test]
fn problems_that_headers_share_are_told_once() {
    let mut forge = Forge::created();
    let mut docs: Vec<_> = (0..30).map(|seq| forge.doc(&format!("id-{seq:02}"), seq, b"12345")).collect();
    docs[3].size += 1;
    let refs: Vec<_> = docs.iter().collect();
    let (by_id, by_seq) = (forge.leaf(Tree::ById, &refs), forge.leaf(Tree::BySeq, &refs));
    for _ in 0..5 {
        forge.header(30, Some(&by_seq), Some(&by_id), None);
    }
    let found = problems_with(&forge, &["-a"]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("physical size 14 for 5 bytes stored"), "{found:?}");
}

#[test]
fn headers_that_differ_in_other_entries_are_all_compared() {
    let mut forge = Forge::new();
    let [a, b, c] = ["a", "b", "c"].map(|id| forge.doc(id, u64::from(id.as_bytes()[0]), b"body"));
    let by_id = forge.leaf(Tree::ById, &[&a, &b, &c]);
    let (without_b, without_c) = (forge.leaf(Tree::BySeq, &[&a, &c]), forge.leaf(Tree::BySeq, &[&a, &b]));
    for by_seq in [&without_b, &without_c, &without_c, &without_b] {
        forge.header(100, Some(by_seq), Some(&by_id), None);
    }
    let at = by_id.position;
    let expected = [("b", 98), ("c", 99)].map(|(id, seq)| {
        format!("offset {at}: by-id tree: document \"{id}\", sequence {seq}: not in the by-seq tree")
    });
    assert_eq!(problems_with(&forge, &["-a"]), expected);
}
