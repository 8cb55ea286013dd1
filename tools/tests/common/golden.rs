// SPDX-License-Identifier: Apache-2.0

//! The corpus of files written by the original couchstore. It is not part of this repository: it is looked for in
//! `$COUCHSTORE_GOLDEN` (a folder with the unpacked files, or the archive) and in `../shared/golden`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The unpacked corpus.
pub(crate) struct Golden {
    dir: PathBuf,
    _unpacked: Option<tempfile::TempDir>,
}

impl Golden {
    /// `None`, with a word on stderr, if there is none here.
    pub(crate) fn find() -> Option<Golden> {
        let found = find();
        if found.is_none() {
            eprintln!("SKIPPED: no golden corpus; set COUCHSTORE_GOLDEN to its folder or archive");
        }
        found
    }

    /// The file of this name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.couch"))
    }

    /// What the original says of the file of this name.
    pub(crate) fn dump(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join(format!("{name}.txt"))).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Whether this build of the library has what it takes to read the file of this name.
    pub(crate) fn can_be_read(&self, name: &str) -> bool {
        couchstore::ENCRYPTION || self.key(name).is_none()
    }

    /// Names of all files that this build can read, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        let databases = entries.filter(|path| path.extension().is_some_and(|extension| extension == "couch"));
        let mut names: Vec<_> =
            databases.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.retain(|name| self.can_be_read(name));
        names.sort();
        names
    }

    /// The key of a file, as the tools' option takes it.
    pub(crate) fn key(&self, name: &str) -> Option<String> {
        let keys = std::fs::read_to_string(self.dir.join("keys.txt")).unwrap();
        let wanted = format!("{name}.couch");
        let line = keys.lines().find(|line| line.split(' ').next() == Some(&wanted))?;
        let [_, id, key, _] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("keys.txt: {line}") };
        let byte = |at: usize| u8::from_str_radix(&key[at..at + 2], 16).unwrap();
        let secret: Vec<u8> = (0..key.len()).step_by(2).map(byte).collect();
        Some(format!("{id}:{}", STANDARD.encode(secret)))
    }

    /// The options that give a file's key to a tool.
    pub(crate) fn key_options(&self, name: &str) -> Vec<String> {
        self.key(name).map_or_else(Vec::new, |key| vec!["--with-key".into(), key])
    }
}

/// Where it may be.
pub(crate) fn place() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden");
    std::env::var_os("COUCHSTORE_GOLDEN").map_or(beside, PathBuf::from)
}

pub(crate) fn unpack(archive: &Path, folder: &Path) {
    let status = Command::new("tar").arg("-xJf").arg(archive).arg("-C").arg(folder).status();
    assert!(status.unwrap().success(), "unpacking {}", archive.display());
}

fn find() -> Option<Golden> {
    let place = place();
    let archive = if place.is_file() { place.clone() } else { place.join("golden.tar.xz") };
    if !archive.is_file() {
        let unpacked = place.join("mixed-v14.couch").is_file();
        return unpacked.then_some(Golden { dir: place, _unpacked: None });
    }
    let dir = tempfile::tempdir().unwrap();
    unpack(&archive, dir.path());
    Some(Golden { dir: dir.path().to_owned(), _unpacked: Some(dir) })
}
