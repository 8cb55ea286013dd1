// SPDX-License-Identifier: Apache-2.0

//! The inputs that fuzzing begins with. They are made by the library: small files of each version, and their parts.

use crate::common::memory::Memory;
use crate::common::model::{Doc, Model};
use crate::common::rng::Rng;
use crate::common::{forge, raw};
use couchstore::{COMPRESSED, CompactOptions, Db, SaveOptions, compact};

/// Target, name, and bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// Some documents of all kinds in two commits, and local documents.
fn fill(db: &Db, count: u8) {
    let mut model = Model::default();
    let doc = |number: u8| Doc {
        deleted: number.is_multiple_of(5),
        content_meta: if number.is_multiple_of(2) { COMPRESSED } else { 1 },
        rev_meta: vec![number; 18],
        ..Doc::new(format!("doc-{number}").as_bytes(), &vec![number; usize::from(number) * 3])
    };
    let options = SaveOptions::new().compress(true);
    model.save_both(db, &(0..count).map(doc).collect::<Vec<_>>(), options);
    db.commit_with(1, None).unwrap();
    model.save_both(db, &[Doc::deletion(b"doc-3"), Doc::new(b"new", b"")], options);
    model.local_both(
        db,
        &[(b"_local/a".to_vec(), Some(b"{}".to_vec())), (b"_local/b".to_vec(), Some(vec![7; 99]))],
    );
    db.set_purge_seq(2);
    db.commit_with(2, None).unwrap();
}

/// Small files.
fn files() -> Vec<(String, Vec<u8>)> {
    let memory = Memory::default();
    for (name, legacy, nodes, count) in
        [("v14", false, 1279, 20), ("v14-deep", false, 100, 30), ("v11", true, 200, 15)]
    {
        let db =
            memory.options().create(true).legacy_crc(legacy).node_sizes(nodes, nodes).open(name).unwrap();
        fill(&db, count);
        let options = CompactOptions::new().file_ops(memory.ops()).drop_deletes(true);
        compact(&db, format!("{name}-compacted"), &options).unwrap();
        db.close().unwrap();
    }
    for version in 12..14 {
        memory.put(&format!("v{version}"), forge::empty_file(version));
        fill(&memory.open(&format!("v{version}")), 9);
    }
    let names =
        ["v14", "v14-deep", "v11", "v14-compacted", "v14-deep-compacted", "v11-compacted", "v12", "v13"];
    let mut files: Vec<_> = names.map(|name| (name.to_owned(), memory.bytes(name))).into();
    files.push(("empty".into(), forge::empty_file(14)));
    let mut torn = memory.bytes("v14");
    torn.truncate(torn.len() - 20);
    files.push(("torn".into(), torn));
    let mut damaged = memory.bytes("v14-deep");
    damaged[700] ^= 1;
    files.push(("damaged".into(), damaged));
    files
}

/// Nodes and entries of a file.
fn parts_of(bytes: Vec<u8>) -> Vec<Seed> {
    let file = raw::File::new(bytes);
    let header = file.last_header();
    let mut seeds = Vec::new();
    for (tree, root) in [("seq", header.by_seq), ("id", header.by_id), ("local", header.local)] {
        let Some(root) = root else { continue };
        let stored = file.chunk(root.position);
        let plain = snap::raw::Decoder::new().decompress_vec(&stored).unwrap();
        seeds.push(("node", format!("root-{tree}"), plain));
        let mut chunk = forge::Forge::new();
        chunk.chunk(&stored);
        seeds.push(("chunk", format!("root-{tree}"), [&[16, 0], &chunk.bytes[1..]].concat()));
        let node = file.node(root.position);
        for (number, (key, value)) in node.entries.iter().take(2).enumerate() {
            let seed = [&[key.len() as u8], &key[..], value].concat();
            seeds.push(("document", format!("{tree}-{number}"), seed));
        }
    }
    seeds
}

/// All of them.
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, bytes) in files() {
        if name == "v14" {
            seeds.extend(parts_of(bytes.clone()));
            let position = raw::File::new(bytes.clone()).last_header().position as usize;
            seeds.push(("header", name.clone(), [&[0, 2], &bytes[position + 9..]].concat()));
        }
        seeds.push(("whole_file", name, bytes));
    }
    seeds.push(("header", "v11".into(), [&[0, 2], &forge::empty_file(12)[9..]].concat()));
    let mut rng = Rng::with_seed(1);
    for number in 0..6 {
        seeds.push(("structured", format!("noise-{number}"), rng.noise(40)));
        seeds.push(("sequences", format!("noise-{number}"), rng.noise(120)));
        seeds.push(("sorting", format!("noise-{number}"), rng.noise(600)));
    }
    seeds
}
