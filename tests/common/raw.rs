// SPDX-License-Identifier: Apache-2.0

//! A second reader of the file format, written from its description and sharing no code with the library. It is
//! slow, trusts nothing, and panics at the first rule that is broken.

/// The blocks' size.
pub(crate) const BLOCK: u64 = 4096;

/// A tree's root, as a header or a pointer gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) position: u64,
    pub(crate) subtree_size: u64,
    pub(crate) reduce: Vec<u8>,
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) position: u64,
    pub(crate) version: u8,
    pub(crate) update_seq: u64,
    pub(crate) purge_seq: u64,
    pub(crate) timestamp: u64,
    /// Position of the header before, in version 14.
    pub(crate) previous: u64,
    pub(crate) by_seq: Option<Pointer>,
    pub(crate) by_id: Option<Pointer>,
    pub(crate) local: Option<Pointer>,
}

/// Big-endian number of any width.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Takes `n` bytes off the front.
fn take<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (head, tail) = bytes.split_at_checked(n).expect("a field within its record");
    *bytes = tail;
    head
}

/// A pointer, or a root: what follows the two numbers is the reduce value.
fn pointer(mut bytes: &[u8], has_length: bool) -> Pointer {
    let position = number(take(&mut bytes, 6));
    let subtree_size = number(take(&mut bytes, 6));
    if has_length {
        let length = number(take(&mut bytes, 2)) as usize;
        assert_eq!(bytes.len(), length, "a pointer as long as its parts");
    }
    Pointer { position, subtree_size, reduce: bytes.to_vec() }
}

/// A whole file.
pub(crate) struct File {
    bytes: Vec<u8>,
    legacy_crc: bool,
}

impl File {
    pub(crate) fn new(bytes: Vec<u8>) -> File {
        File { bytes, legacy_crc: false }
    }

    pub(crate) fn with_legacy_crc(bytes: Vec<u8>) -> File {
        File { bytes, legacy_crc: true }
    }

    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn checksum(&self, bytes: &[u8]) -> u32 {
        if self.legacy_crc { crc32fast::hash(bytes) } else { crc_fast::crc32_iscsi(bytes) }
    }

    /// `length` bytes of content at `position`, without block-type bytes.
    fn content(&self, position: u64, length: usize) -> Vec<u8> {
        (position..).filter(|at| at % BLOCK != 0).map(|at| self.bytes[at as usize]).take(length).collect()
    }

    /// The body of the data chunk at `position`.
    pub(crate) fn chunk(&self, position: u64) -> Vec<u8> {
        let prefix = self.content(position, 8);
        let (length, crc) = (number(&prefix[..4]) as u32, number(&prefix[4..]));
        assert!(length & 0x8000_0000 != 0, "chunk at {position}");
        let mut all = self.content(position, 8 + (length & 0x7fff_ffff) as usize);
        let body = all.split_off(8);
        assert_eq!(u64::from(self.checksum(&body)), crc, "checksum of the chunk at {position}");
        body
    }

    /// All blocks that begin with a header's type byte.
    pub(crate) fn header_positions(&self) -> Vec<u64> {
        (0..self.len()).step_by(BLOCK as usize).filter(|&at| self.bytes[at as usize] == 1).collect()
    }

    pub(crate) fn last_header(&self) -> Header {
        self.header(*self.header_positions().last().expect("a header"))
    }

    /// The header whose block begins at `position`.
    pub(crate) fn header(&self, position: u64) -> Header {
        let prefix = self.content(position, 8);
        let length = number(&prefix[..4]) as usize - 4;
        let all = self.content(position, 8 + length);
        let mut body = &all[8..];
        assert_eq!(
            u64::from(self.checksum(body)),
            number(&prefix[4..]),
            "checksum of the header at {position}"
        );
        let version = number(take(&mut body, 1)) as u8;
        let update_seq = number(take(&mut body, 6));
        let purge_seq = number(take(&mut body, 6));
        assert!(number(take(&mut body, 6)) <= position, "purge pointer of the header at {position}");
        let sizes: Vec<_> = (0..3).map(|_| number(take(&mut body, 2)) as usize).collect();
        let timestamp = if version >= 13 { number(take(&mut body, 8)) } else { 0 };
        let previous = if version >= 14 { number(take(&mut body, 6)) >> 1 } else { 0 };
        let mut root = |size: usize| {
            let bytes = take(&mut body, size);
            (size > 0).then(|| pointer(bytes, false))
        };
        let (by_seq, by_id, local) = (root(sizes[0]), root(sizes[1]), root(sizes[2]));
        assert!(body.is_empty(), "nothing behind the roots of the header at {position}");
        for tree in [&by_seq, &by_id, &local].into_iter().flatten() {
            assert!(tree.position < position, "a root before its header at {position}");
        }
        Header { position, version, update_seq, purge_seq, timestamp, previous, by_seq, by_id, local }
    }

    /// The node at `position`.
    pub(crate) fn node(&self, position: u64) -> Node {
        let stored = self.chunk(position);
        let plain = snap::raw::Decoder::new().decompress_vec(&stored).expect("a compressed node");
        let (&kind, mut rest) = plain.split_first().expect("a node with a kind");
        assert!(kind <= 1, "kind of the node at {position}");
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let lengths = number(take(&mut rest, 5));
            let key = take(&mut rest, (lengths >> 28) as usize).to_vec();
            let value = take(&mut rest, (lengths & 0x0fff_ffff) as usize).to_vec();
            entries.push((key, value));
        }
        Node { leaf: kind == 1, entries, length: plain.len() - 1, stored: stored.len() as u64 }
    }
}

/// A node as it stands in the file.
pub(crate) struct Node {
    pub(crate) leaf: bool,
    pub(crate) entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// Encoded length without the kind.
    pub(crate) length: usize,
    /// Compressed length.
    pub(crate) stored: u64,
}

/// The three trees, which differ in their reduce values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    ById,
    BySeq,
    Local,
}

/// Where a node stands among those of its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) leaf: bool,
    pub(crate) depth: usize,
    pub(crate) entries: usize,
    pub(crate) length: usize,
    /// Encoded length without the last entry, and of the last entry.
    pub(crate) before_last: usize,
    /// The last child of its parent, or the root.
    pub(crate) last_of_parent: bool,
}

/// What the check of a tree has found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) shapes: Vec<Shape>,
    /// All entries, in order.
    pub(crate) entries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Checked {
    pub(crate) fn depth(&self) -> usize {
        self.shapes.iter().map(|shape| shape.depth + 1).max().unwrap_or(0)
    }
}

/// Live documents, deleted ones, sum of sizes (by id); entries (by sequence).
type Sums = [u64; 3];

fn encode(tree: Tree, [a, b, c]: Sums) -> Vec<u8> {
    match tree {
        Tree::ById => [&a.to_be_bytes()[3..], &b.to_be_bytes()[3..], &c.to_be_bytes()[2..]].concat(),
        Tree::BySeq => a.to_be_bytes()[3..].to_vec(),
        Tree::Local => vec![],
    }
}

fn sums_of(tree: Tree, value: &[u8]) -> Sums {
    match tree {
        Tree::ById => {
            let deleted = number(&value[10..16]) >> 47;
            [1 - deleted, deleted, number(&value[6..10])]
        }
        Tree::BySeq => [1, 0, 0],
        Tree::Local => [0, 0, 0],
    }
}

/// Checks a whole tree: order of keys, highest keys, reduce values and subtree sizes at every pointer, all leaves
/// at one depth.
pub(crate) fn check_tree(file: &File, tree: Tree, root: Option<&Pointer>) -> Checked {
    let mut checked = Checked::default();
    if let Some(root) = root {
        check_node(file, tree, root, (0, true), u64::MAX, &mut checked);
    }
    let keys_ascend = checked.entries.is_sorted_by(|a, b| match tree {
        Tree::BySeq => a.0 <= b.0,
        Tree::ById | Tree::Local => a.0 < b.0,
    });
    assert!(keys_ascend, "keys of the {tree:?} tree ascend");
    checked
}

fn check_node(
    file: &File,
    tree: Tree,
    pointer_to: &Pointer,
    (depth, last_of_parent): (usize, bool),
    parent: u64,
    checked: &mut Checked,
) -> (Sums, Vec<u8>) {
    let position = pointer_to.position;
    assert!(position < parent, "the node at {position} lies before its parent");
    let node = file.node(position);
    let last = node.entries.last().expect("a node with entries");
    let before_last = node.length - 5 - last.0.len() - last.1.len();
    let (leaf, entries, length) = (node.leaf, node.entries.len(), node.length);
    checked.shapes.push(Shape { leaf, depth, entries, length, before_last, last_of_parent });
    let highest = last.0.clone();
    let mut sums = [0; 3];
    let mut size = 8 + node.stored;
    for (index, (key, value)) in node.entries.iter().enumerate() {
        let below = if leaf {
            checked.entries.push((key.clone(), value.clone()));
            sums_of(tree, value)
        } else {
            let child = pointer(value, true);
            size += child.subtree_size;
            let place = (depth + 1, index + 1 == entries);
            let (below, child_highest) = check_node(file, tree, &child, place, position, checked);
            assert_eq!(&child_highest, key, "highest key below the entry of the node at {position}");
            below
        };
        for (sum, below) in sums.iter_mut().zip(below) {
            *sum += below;
        }
    }
    assert_eq!(pointer_to.reduce, encode(tree, sums), "reduce value of the {tree:?} node at {position}");
    assert_eq!(pointer_to.subtree_size, size, "subtree size of the {tree:?} node at {position}");
    (sums, highest)
}

/// Checks all three trees of a header, and that the two document trees tell the same.
pub(crate) fn check_header(file: &File, header: &Header) -> [Checked; 3] {
    let by_id = check_tree(file, Tree::ById, header.by_id.as_ref());
    let by_seq = check_tree(file, Tree::BySeq, header.by_seq.as_ref());
    let local = check_tree(file, Tree::Local, header.local.as_ref());
    [by_id, by_seq, local]
}
