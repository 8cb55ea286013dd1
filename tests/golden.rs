// SPDX-License-Identifier: Apache-2.0

//! Files written by the original couchstore, and what it says of them.
//!
//! For each `NAME.couch` of the corpus this prints the canonical dump through the Rust API and compares it line by
//! line with `NAME.txt`. The corpus is not part of this repository: it is looked for in `$COUCHSTORE_GOLDEN` (a
//! folder with the unpacked files, or the archive) and in `../shared/golden`; without it the test is skipped.

use couchstore::{
    Db, Direction, ENCRYPTION, EncryptionKey, Error, KeyDerivation, KeyStore, OpenOptions, ScanOptions,
};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(1_099_511_628_211);
    bytes.iter().fold(1_469_598_103_934_665_603, step)
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".into();
    }
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn code<T>(result: &Result<T, Error>) -> i32 {
    result.as_ref().err().map_or(0, |error| error.code().0)
}

fn body(result: &Result<Vec<u8>, Error>) -> String {
    match result {
        Ok(body) => format!("{} {:016x}", body.len(), fnv(body)),
        Err(error) => format!("err {}", error.code().0),
    }
}

fn header_line(db: &Db) -> String {
    let info = db.info().expect("info");
    format!(
        "header {} v{} seq {} purge {} ts {} docs {} deleted {} space {} file {}",
        info.header_position,
        info.version as u8,
        info.last_sequence,
        info.purge_seq,
        info.timestamp,
        info.doc_count,
        info.deleted_count,
        info.space_used,
        info.file_size
    )
}

fn dump_contents(db: &Db, lines: &mut Vec<String>) {
    let result = db.changes_since(0, ScanOptions::default(), &mut |info| {
        lines.push(format!(
            "doc {} {} rev {} meta {} del {} cm {} bp {} size {} stored {} plain {}",
            info.db_seq,
            hex(info.id),
            info.rev_seq,
            hex(info.rev_meta),
            u8::from(info.deleted),
            info.content_meta,
            info.body_position,
            info.physical_size,
            body(&db.stored_body(info)),
            body(&db.body(info)),
        ));
        Ok(())
    });
    lines.push(format!("changes_since {}", code(&result)));
    let result = db.all_docs(b"", ScanOptions::default(), &mut |info| {
        lines.push(format!("id {} seq {} del {}", hex(info.id), info.db_seq, u8::from(info.deleted)));
        Ok(())
    });
    lines.push(format!("all_docs {}", code(&result)));
    let result = db.scan_local(b"", &mut |id, body| {
        lines.push(format!("local {} {}", hex(id), hex(body)));
        Ok(())
    });
    lines.push(format!("local_docs {}", code(&result)));
    let count = db.changes_count(0, u64::MAX >> 16);
    lines.push(format!("changes_count {} {}", code(&count), count.unwrap_or(0)));
}

fn dump(path: &Path, keys: Option<&Arc<dyn KeyStore>>) -> Vec<String> {
    let mut lines = Vec::new();
    let options = OpenOptions::new().read_only(true).keys(keys.cloned());
    let opened = options.open(path);
    lines.push(format!("open {}", code(&opened)));
    if let Ok(db) = opened {
        lines.push(header_line(&db));
        dump_contents(&db, &mut lines);
        let backward = loop {
            match db.seek(Direction::Backward) {
                Ok(()) => lines.push(header_line(&db)),
                error => break error,
            }
        };
        lines.push(format!("seek_backward {}", code(&backward)));
        let forward = loop {
            match db.seek(Direction::Forward) {
                Ok(()) => lines.push(format!("forward {}", db.header_position())),
                error => break error,
            }
        };
        lines.push(format!("seek_forward {}", code(&forward)));
    }
    let opened = options.recovery(true).open(path);
    lines.push(format!("open recovery {}", code(&opened)));
    if let Ok(db) = opened {
        lines.push(header_line(&db));
    }
    lines
}

/// The unpacked corpus; the second value keeps a temporary folder alive.
fn corpus() -> Option<(PathBuf, Option<tempfile::TempDir>)> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden");
    let place = std::env::var_os("COUCHSTORE_GOLDEN").map_or(beside, PathBuf::from);
    let archive = if place.is_file() { place.clone() } else { place.join("golden.tar.xz") };
    if !archive.is_file() {
        return place.join("mixed-v14.couch").is_file().then_some((place, None));
    }
    let dir = tempfile::tempdir().expect("temporary folder");
    let status = Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(dir.path()).status();
    assert!(status.expect("tar").success(), "unpacking {}", archive.display());
    Some((dir.path().to_owned(), Some(dir)))
}

/// The key of an encrypted file: `keys.txt` has file, key id, key in hex, and 0 for wrapped or 1 for derived.
fn key_of(dir: &Path, file: &str) -> Option<Arc<dyn KeyStore>> {
    let keys = std::fs::read_to_string(dir.join("keys.txt")).expect("keys.txt");
    let line = keys.lines().find(|line| line.split(' ').next() == Some(file))?;
    let [_, id, key, method] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("keys.txt: {line}") };
    let byte = |at: usize| u8::from_str_radix(&key[at..at + 2], 16).expect("hex");
    let secret: Vec<u8> = (0..key.len()).step_by(2).map(byte).collect();
    let derivation = if method == "0" { KeyDerivation::None } else { KeyDerivation::KeyBased };
    Some(Arc::new(EncryptionKey::new(id, &secret, derivation).expect("a fit key")))
}

#[test]
fn every_file_of_the_corpus_reads_as_the_original_reads_it() {
    let Some((dir, _keep)) = corpus() else {
        eprintln!("SKIPPED: no golden corpus; set COUCHSTORE_GOLDEN to its folder or archive");
        return;
    };
    let mut compared = 0;
    for entry in std::fs::read_dir(&dir).expect("corpus") {
        let path = entry.expect("entry").path();
        let is_database = path.extension().is_some_and(|extension| extension == "couch");
        if !is_database {
            continue;
        }
        let name = path.file_stem().expect("name").to_string_lossy().into_owned();
        let expected = std::fs::read_to_string(path.with_extension("txt")).expect("dump");
        let keys = key_of(&dir, &format!("{name}.couch"));
        if keys.is_some() {
            let error = OpenOptions::new().read_only(true).open(&path).expect_err("no key");
            assert_eq!(error.code().0, if ENCRYPTION { -21 } else { -18 }, "{name}");
        }
        if keys.is_some() && !ENCRYPTION {
            let error = OpenOptions::new().read_only(true).keys(keys).open(&path).expect_err("no cipher");
            assert!(matches!(error, Error::EncryptionLeftOut { .. }), "{name}: {error}");
            continue;
        }
        let lines = dump(&path, keys.as_ref());
        for (number, (found, expected)) in lines.iter().zip(expected.lines()).enumerate() {
            assert_eq!(found, expected, "{name}, line {}", number + 1);
        }
        assert_eq!(lines.len(), expected.lines().count(), "{name}: number of lines");
        compared += 1;
    }
    assert!(compared >= 32, "only {compared} files compared");
    println!("{compared} files equal");
}
