// SPDX-License-Identifier: Apache-2.0

//! After a power cut an encrypted file opens at a state that was committed, and goes on behind all that is in it.

use crate::recorder::Recorder;
use crate::support::{Contents, NAME, contents, some_keys};
use couchstore::io::sim::SimDisk;
use couchstore::io::sim::crash::{Shape, Size};
use couchstore::io::sim::random::Random;
use couchstore::{Db, Document, KeyStore, LocalUpdate, OpenOptions, SaveOptions};
use std::sync::Arc;

const SEED: u64 = 20_260_606;

fn options(disk: &SimDisk) -> OpenOptions {
    OpenOptions::new().file_ops(disk.ops()).keys(some_keys()).node_sizes(200, 200)
}

/// Some documents, a local one, and a commit.
fn work(db: &Db, random: &mut Random) -> couchstore::Result<()> {
    let count = 1 + random.below(6);
    let mut documents = Vec::new();
    for _ in 0..count {
        let length = if random.percent(20) { random.below(9000) } else { random.below(300) };
        documents.push((format!("doc-{}", random.below(20)), random.noise(length as usize)));
    }
    let borrowed: Vec<_> = documents.iter().map(|(id, body)| Document::new(id.as_bytes(), body)).collect();
    db.save(&borrowed, SaveOptions::default())?;
    let body = random.noise(50);
    db.save_local(&[LocalUpdate { id: b"_local/x", body: Some(&body) }])?;
    db.commit()
}

/// Checks an image: it holds one of the states from `least` on, and takes further work behind its end.
fn check(image: &[u8], shape: Shape, states: &[Contents], least: usize, random: &mut Random) {
    let disk = SimDisk::new();
    disk.put(NAME, image.to_vec());
    // Garbage may look like a damaged header, which is not stepped over without being told to.
    let recovery = shape.size == Size::FirstGarbage && options(&disk).open(NAME).is_err();
    let recorder = Recorder::new(disk.ops(), image);
    let db = options(&disk).file_ops(recorder.ops()).recovery(recovery).open(NAME).expect("open");
    let found = contents(&db).expect("all chunks can be decrypted");
    assert!(states[least..].contains(&found), "not a state that was committed");
    work(&db, random).unwrap();
    let now = contents(&db).unwrap();
    db.close().unwrap();
    assert_eq!(recorder.violations(), [0; 0], "written into what was found");
    assert!(contents(&options(&disk).open(NAME).unwrap()).unwrap() == now);
}

#[test]
fn power_cuts() {
    let mut images = 0;
    for run in 0..10 {
        let mut random = Random::for_run(SEED, run);
        let disk = SimDisk::new();
        drop(options(&disk).create(true).open(NAME).unwrap());
        disk.put(NAME, disk.bytes(NAME).unwrap());
        disk.record(NAME);
        let db = options(&disk).unbuffered(run % 3 == 0).open(NAME).unwrap();
        let mut states = vec![contents(&db).unwrap()];
        for number in 1..=3 {
            work(&db, &mut random).unwrap();
            states.push(contents(&db).unwrap());
            disk.mark(number);
        }
        drop(db);
        disk.take_log().each_instant(|instant| {
            for shape in Shape::all() {
                let image = instant.image(shape, &mut random);
                check(&image, shape, &states, instant.marked as usize, &mut random);
                images += 1;
            }
        });
    }
    println!("{images} images of encrypted files, 0 violations");
    assert!(images >= 1000, "{images} images");
}

#[test]
fn a_cut_while_the_file_is_created_leaves_a_whole_file_or_none() {
    let keys: [Option<Arc<dyn KeyStore>>; 2] = [some_keys(), None];
    let disk = SimDisk::new();
    disk.record(NAME);
    let db = options(&disk).create(true).unbuffered(true).open(NAME).unwrap();
    db.commit().unwrap();
    drop(db);
    let mut random = Random::for_run(SEED, 100);
    disk.take_log().each_instant(|instant| {
        for shape in Shape::all() {
            let image = instant.image(shape, &mut random);
            for keys in &keys {
                let disk = SimDisk::new();
                disk.put(NAME, image.clone());
                // An empty file may become anything; any other is never taken for a plain one.
                if let Ok(db) = options(&disk).keys(keys.clone()).open(NAME) {
                    assert!(image.is_empty() || db.encryption_key_id().is_some());
                    assert_eq!(contents(&db).unwrap().len(), 0);
                }
            }
        }
    });
}
