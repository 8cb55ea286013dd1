// SPDX-License-Identifier: Apache-2.0

//! Writes files chunk by chunk, with right checksums whatever nonsense they hold.

use couchstore::inspect::Tree;

const BLOCK: usize = 4096;

/// The low `width` bytes of a number.
pub(crate) fn be(value: u64, width: usize) -> Vec<u8> {
    value.to_be_bytes()[8 - width..].to_vec()
}

/// A document's entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) id: Vec<u8>,
    pub(crate) seq: u64,
    pub(crate) rev_seq: u64,
    pub(crate) rev_meta: Vec<u8>,
    pub(crate) deleted: bool,
    pub(crate) content_meta: u8,
    pub(crate) position: u64,
    pub(crate) size: u64,
}

impl Entry {
    /// A document that is deleted and has no body.
    pub(crate) fn deletion(id: &str, seq: u64) -> Entry {
        Entry { id: id.into(), seq, deleted: true, ..Entry::default() }
    }

    fn encode(&self, tree: Tree) -> (Vec<u8>, Vec<u8>) {
        let position = be(self.position | u64::from(self.deleted) << 47, 6);
        let rest = [position, be(self.rev_seq, 6), vec![self.content_meta]].concat();
        if tree == Tree::ById {
            let value = [be(self.seq, 6), be(self.size, 4), rest, self.rev_meta.clone()].concat();
            return (self.id.clone(), value);
        }
        let lengths = be((self.id.len() as u64) << 28 | self.size, 5);
        (be(self.seq, 6), [lengths, rest, self.id.clone(), self.rev_meta.clone()].concat())
    }

    fn counts(&self) -> [u64; 3] {
        [u64::from(!self.deleted), u64::from(self.deleted), self.size]
    }
}

/// Points to a node: honest as it is made, and free to be changed.
#[derive(Clone, Debug)]
pub(crate) struct Pointer {
    pub(crate) key: Vec<u8>,
    pub(crate) position: u64,
    pub(crate) size: u64,
    pub(crate) reduce: Vec<u8>,
    pub(crate) counts: [u64; 3],
}

impl Pointer {
    fn root(&self) -> Vec<u8> {
        [be(self.position, 6), be(self.size, 6), self.reduce.clone()].concat()
    }

    fn value(&self) -> Vec<u8> {
        let length = be(self.reduce.len() as u64, 2);
        [be(self.position, 6), be(self.size, 6), length, self.reduce.clone()].concat()
    }
}

fn reduce(tree: Tree, counts: [u64; 3]) -> Vec<u8> {
    let [live, deleted, size] = counts;
    match tree {
        Tree::ById => [be(live, 5), be(deleted, 5), be(size, 6)].concat(),
        Tree::BySeq => be(live.wrapping_add(deleted), 5),
        Tree::Local => Vec::new(),
    }
}

/// A file in the making.
pub(crate) struct Forge {
    pub(crate) bytes: Vec<u8>,
    /// Version and previous-header field of the headers to come.
    pub(crate) version: u8,
    pub(crate) previous: u64,
    /// Whether sizes count the block-type bytes in chunks, as those of servers before 7.0 do.
    pub(crate) counts_types: bool,
}

/// The previous-header field of the first header of a file.
const FIRST: u64 = 0xffff_ffff_fffe;

impl Forge {
    /// A file with an empty first block, like one that compaction has made.
    pub(crate) fn new() -> Forge {
        Forge { bytes: vec![0; BLOCK], version: 14, previous: 0, counts_types: false }
    }

    /// A file that begins with a header, like one that was created.
    pub(crate) fn created() -> Forge {
        let mut forge = Forge { bytes: Vec::new(), previous: FIRST, ..Forge::new() };
        forge.header(0, None, None, None);
        forge
    }

    /// Where the next chunk will be.
    pub(crate) fn position(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Leaves the rest of the block empty.
    pub(crate) fn next_block(&mut self) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self.position()
    }

    fn content(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.bytes.len().is_multiple_of(BLOCK) {
                self.bytes.push(0);
            }
            self.bytes.push(byte);
        }
    }

    /// A chunk.
    pub(crate) fn chunk(&mut self, body: &[u8]) -> u64 {
        let position = self.position();
        let length = (body.len() as u32 | 0x8000_0000).to_be_bytes();
        self.content(&[length, crc_fast::crc32_iscsi(body).to_be_bytes()].concat());
        self.content(body);
        position
    }

    /// What is said to be the size of the last chunk, with a body of this length.
    fn size(&self, position: u64, body: usize) -> u64 {
        if self.counts_types { self.position() - position } else { body as u64 + 8 }
    }

    /// A document with a body, and what its entry says of it.
    pub(crate) fn doc(&mut self, id: &str, seq: u64, body: &[u8]) -> Entry {
        let position = self.chunk(body);
        let size = self.size(position, body.len());
        Entry { id: id.into(), seq, rev_seq: 1, position, size, ..Entry::default() }
    }

    /// A node with these keys and values.
    pub(crate) fn node(&mut self, kind: u8, entries: &[(Vec<u8>, Vec<u8>)]) -> Pointer {
        let mut plain = vec![kind];
        for (key, value) in entries {
            plain.extend(be((key.len() as u64) << 28 | value.len() as u64, 5));
            plain.extend_from_slice(key);
            plain.extend_from_slice(value);
        }
        let stored = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
        let position = self.chunk(&stored);
        let key = entries.last().map_or_else(Vec::new, |(key, _)| key.clone());
        let size = self.size(position, stored.len());
        Pointer { key, position, size, reduce: Vec::new(), counts: [0; 3] }
    }

    /// A leaf of one of the two trees of documents, in the order given.
    pub(crate) fn leaf(&mut self, tree: Tree, docs: &[&Entry]) -> Pointer {
        let entries: Vec<_> = docs.iter().map(|doc| doc.encode(tree)).collect();
        let mut counts = [0_u64; 3];
        for doc in docs {
            counts = std::array::from_fn(|index| counts[index] + doc.counts()[index]);
        }
        Pointer { reduce: reduce(tree, counts), counts, ..self.node(1, &entries) }
    }

    /// A leaf of the tree of local documents.
    pub(crate) fn local(&mut self, docs: &[(&str, &str)]) -> Pointer {
        let entries: Vec<_> =
            docs.iter().map(|(id, body)| (id.as_bytes().to_vec(), body.as_bytes().to_vec())).collect();
        self.node(1, &entries)
    }

    /// A node with pointers.
    pub(crate) fn interior(&mut self, tree: Tree, children: &[&Pointer]) -> Pointer {
        let entries: Vec<_> = children.iter().map(|child| (child.key.clone(), child.value())).collect();
        let mut counts = [0_u64; 3];
        for child in children {
            counts = std::array::from_fn(|index| counts[index].wrapping_add(child.counts[index]));
        }
        let node = self.node(0, &entries);
        // Hostile trees exceed all bounds.
        let size = children.iter().fold(node.size, |size, child| size.wrapping_add(child.size));
        Pointer { reduce: reduce(tree, counts), counts, size, ..node }
    }

    /// A header in the next block.
    pub(crate) fn header(
        &mut self,
        update_seq: u64,
        by_seq: Option<&Pointer>,
        by_id: Option<&Pointer>,
        local: Option<&Pointer>,
    ) -> u64 {
        let position = self.next_block();
        let roots = [by_seq, by_id, local].map(|root| root.map_or_else(Vec::new, Pointer::root));
        let mut body = vec![self.version];
        body.extend([be(update_seq, 6), be(0, 12 - 6), be(0, 6)].concat());
        for root in &roots {
            body.extend(be(root.len() as u64, 2));
        }
        if self.version >= 13 {
            body.extend(be(42, 8));
        }
        if self.version >= 14 {
            body.extend(be(self.previous, 6));
        }
        body.extend(roots.concat());
        self.bytes.push(1);
        self.bytes.extend((body.len() as u32 + 4).to_be_bytes());
        self.bytes.extend(crc_fast::crc32_iscsi(&body).to_be_bytes());
        self.bytes.extend(body);
        self.previous = position << 1;
        position
    }

    /// A header over these documents, each tree with one leaf.
    pub(crate) fn small(&mut self, docs: &[&Entry]) -> u64 {
        let mut by_id = docs.to_vec();
        by_id.sort_by(|a, b| a.id.cmp(&b.id));
        let by_id = self.leaf(Tree::ById, &by_id);
        let by_seq = self.leaf(Tree::BySeq, docs);
        let update_seq = docs.iter().map(|doc| doc.seq).max().unwrap_or(0);
        self.header(update_seq, Some(&by_seq), Some(&by_id), None)
    }
}
