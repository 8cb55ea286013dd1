// SPDX-License-Identifier: Apache-2.0

//! A file that was taken apart, changed, and put together again: all checksums are right and all nodes are compressed, so
//! that what is wrong is deep inside.

use crate::common::forge::{Forge, be};
use crate::common::memory::Memory;
use crate::common::model::{Doc, Model};
use crate::common::raw::{self, Pointer, number};
use crate::file::whole_file;
use crate::input::Input;
use couchstore::{COMPRESSED, SaveOptions};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A node with what is below it.
#[derive(Clone)]
struct Node {
    kind: u8,
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    key: Vec<u8>,
    value: Vec<u8>,
    /// The value points to it, unless it was told to point elsewhere.
    child: Option<Node>,
}

/// A file in its parts.
#[derive(Clone)]
struct Parts {
    /// By sequence, by id, local documents: what the header says of a root besides its position, and the root.
    roots: [Option<(Pointer, Node)>; 3],
    /// Bodies by their positions in the file that was taken apart.
    bodies: BTreeMap<u64, Vec<u8>>,
    update_seq: u64,
}

/// Where an entry of each tree has the position of its body.
const BODY_AT: [Option<usize>; 3] = [Some(5), Some(10), None];

fn take_apart(file: &raw::File, position: u64) -> Node {
    let node = file.node(position);
    let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
        let child = (!node.leaf).then(|| take_apart(file, number(&value[..6])));
        Entry { key, value, child }
    };
    Node { kind: u8::from(node.leaf), entries: node.entries.into_iter().map(entry).collect() }
}

fn collect_bodies(file: &raw::File, node: &Node, at: usize, bodies: &mut BTreeMap<u64, Vec<u8>>) {
    for entry in &node.entries {
        if let Some(child) = &entry.child {
            collect_bodies(file, child, at, bodies);
            continue;
        }
        let position = number(&entry.value[at..at + 6]) & 0x7fff_ffff_ffff;
        if position != 0 {
            bodies.insert(position, file.chunk(position));
        }
    }
}

/// A file with three levels of nodes, deletions, compressed bodies and local documents.
fn base() -> &'static Parts {
    static BASE: OnceLock<Parts> = OnceLock::new();
    BASE.get_or_init(|| {
        let memory = Memory::default();
        let db = memory.options().create(true).node_sizes(150, 150).open("base").unwrap();
        let mut model = Model::default();
        let doc = |number: u8| Doc {
            deleted: number.is_multiple_of(7),
            content_meta: if number.is_multiple_of(3) { COMPRESSED } else { 0 },
            rev_meta: vec![number; usize::from(number % 5)],
            ..Doc::new(format!("doc-{number:02}").as_bytes(), &[number; 40])
        };
        model.save_both(&db, &(0..40).map(doc).collect::<Vec<_>>(), SaveOptions::new().compress(true));
        let local = |number: u8| (format!("_local/{number}").into_bytes(), Some(vec![number; 30]));
        model.local_both(&db, &(0..12).map(local).collect::<Vec<_>>());
        db.commit_with(1, None).unwrap();
        db.close().unwrap();
        let file = raw::File::new(memory.bytes("base"));
        let header = file.last_header();
        let mut bodies = BTreeMap::new();
        let roots = [header.by_seq, header.by_id, header.local].map(|root| {
            root.map(|root| {
                let node = take_apart(&file, root.position);
                (root, node)
            })
        });
        for (root, at) in roots.iter().zip(BODY_AT) {
            if let (Some((_, node)), Some(at)) = (root, at) {
                collect_bodies(&file, node, at, &mut bodies);
            }
        }
        Parts { roots, bodies, update_seq: header.update_seq }
    })
}

/// Chooses a node below this one, or itself.
fn choose<'a>(node: &'a mut Node, input: &mut Input<'_>) -> &'a mut Node {
    let deeper = !input.byte().is_multiple_of(4);
    let count = node.entries.len();
    if !deeper || count == 0 || node.entries.iter().all(|entry| entry.child.is_none()) {
        return node;
    }
    let index = input.index(count);
    if node.entries[index].child.is_none() {
        return node;
    }
    choose(node.entries[index].child.as_mut().unwrap(), input)
}

/// A number that may be wrong in an interesting way.
fn odd_number(input: &mut Input<'_>) -> u64 {
    match input.byte() % 6 {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => 0x7fff_ffff_ffff,
        4 => 0x0fff_ffff,
        _ => input.number() as u64,
    }
}

/// Overwrites some bytes of a string that has them.
fn overwrite(target: &mut [u8], at: usize, with: &[u8]) {
    if let Some(place) = target.get_mut(at..at + with.len()) {
        place.copy_from_slice(with);
    }
}

/// Changes something in a tree.
fn change_tree(root: &mut Node, input: &mut Input<'_>) {
    let node = choose(root, input);
    let what = input.byte() % 11;
    if node.entries.is_empty() {
        node.kind = what;
        return;
    }
    let index = input.index(node.entries.len());
    let other = input.index(node.entries.len());
    let entry = &mut node.entries[index];
    match what {
        0 => {
            let at = input.index(entry.key.len().max(1));
            overwrite(&mut entry.key, at, &[input.byte()]);
        }
        1 => {
            let at = input.index(entry.value.len().max(1));
            overwrite(&mut entry.value, at, &[input.byte()]);
        }
        2 => {
            let (at, number) = (input.index(entry.value.len().max(1)), odd_number(input));
            overwrite(&mut entry.value, at, &be(number, 6));
        }
        3 => {
            // Points elsewhere: to what lies before, or somewhere near.
            entry.child = None;
            overwrite(&mut entry.value, 0, &be(input.number() as u64 % 20_000, 6));
        }
        4 => node.entries.insert(index, node.entries[other].clone()),
        5 => drop(node.entries.remove(index)),
        6 => node.entries.swap(index, other),
        7 => entry.value.truncate(input.index(entry.value.len().max(1))),
        8 => entry.value.extend_from_slice(input.bytes(9)),
        9 => node.kind = input.byte() % 3,
        _ => entry.key = input.bytes(usize::from(entry.value.first().copied().unwrap_or(0) % 32)).to_vec(),
    }
}

/// Changes something.
fn change(parts: &mut Parts, input: &mut Input<'_>) {
    match input.byte() % 8 {
        0 => parts.update_seq = odd_number(input),
        1 => {
            let index = input.index(parts.bodies.len());
            let length = usize::from(input.byte());
            *parts.bodies.values_mut().nth(index).unwrap() = input.bytes(length).to_vec();
        }
        2 => {
            if let Some((root, _)) = &mut parts.roots[input.index(3)] {
                let at = input.index(root.reduce.len().max(1));
                overwrite(&mut root.reduce, at, &[input.byte()]);
                root.subtree_size = odd_number(input);
            }
        }
        3 => {
            let (a, b) = (input.index(3), input.index(3));
            parts.roots.swap(a, b);
        }
        _ => {
            if let Some((_, node)) = &mut parts.roots[input.index(3)] {
                change_tree(node, input);
            }
        }
    }
}

/// Writes a node behind what is below it; its position.
fn write_node(forge: &mut Forge, node: &Node, body_at: Option<usize>, bodies: &BTreeMap<u64, u64>) -> u64 {
    let mut entries = Vec::new();
    for entry in &node.entries {
        let mut value = entry.value.clone();
        match (&entry.child, body_at) {
            (Some(child), _) => {
                let position = write_node(forge, child, body_at, bodies);
                overwrite(&mut value, 0, &be(position, 6));
            }
            (None, Some(at)) if value.len() >= at + 6 => {
                let old = number(&value[at..at + 6]);
                if let Some(new) = bodies.get(&(old & 0x7fff_ffff_ffff)) {
                    overwrite(&mut value, at, &be(new | old & 0x8000_0000_0000, 6));
                }
            }
            _ => {}
        }
        entries.push((entry.key.clone(), value));
    }
    forge.node(node.kind, &entries)
}

fn put_together(parts: &Parts) -> Vec<u8> {
    let mut forge = Forge::new();
    forge.previous = u64::MAX - 1;
    let bodies = parts.bodies.iter().map(|(old, body)| (*old, forge.chunk(body))).collect();
    let mut roots = Vec::new();
    for (root, body_at) in parts.roots.iter().zip(BODY_AT) {
        roots.push(root.as_ref().map_or_else(Vec::new, |(pointer, node)| {
            let position = write_node(&mut forge, node, body_at, &bodies);
            [be(position, 6), be(pointer.subtree_size, 6), pointer.reduce.clone()].concat()
        }));
    }
    forge.header(parts.update_seq, &roots[0], &roots[1], &roots[2]);
    forge.bytes
}

/// Changes of a file's parts.
pub fn structured(data: &[u8]) {
    let (mut parts, mut input) = (base().clone(), Input(data));
    for _ in 0..20 {
        if input.is_empty() {
            break;
        }
        change(&mut parts, &mut input);
    }
    whole_file(&put_together(&parts));
}
