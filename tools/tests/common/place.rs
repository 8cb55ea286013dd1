// SPDX-License-Identifier: Apache-2.0

//! A folder with a file that is to be recovered.

use super::{json_lines, tool};
use couchstore::{Db, EncryptionKey, KeyDerivation, KeyStore, KeyStoreFailed, OpenOptions};
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) const KEY: &str = "mine:QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";

/// A key store with one key.
pub(crate) struct OneKey;

impl KeyStore for OneKey {
    fn key(&self, _id: &[u8]) -> Result<Option<EncryptionKey>, KeyStoreFailed> {
        Ok(Some(EncryptionKey::new("mine", &[0x42; 32], KeyDerivation::KeyBased).unwrap()))
    }
}

/// A folder with the file "f".
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> (Place, Db) {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        let db = Db::create(place.path("f")).unwrap();
        (place, db)
    }

    pub(crate) fn with(bytes: &[u8]) -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        std::fs::write(place.path("f"), bytes).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Changes the bytes at these offsets.
    pub(crate) fn damage(&self, offsets: &[u64]) {
        let mut bytes = std::fs::read(self.path("f")).unwrap();
        for &offset in offsets {
            bytes[offset as usize] ^= 0x41;
        }
        std::fs::write(self.path("f"), bytes).unwrap();
    }

    /// Recovers "f"; the target is sound and nothing else is left in the folder. Returns the summary and the target.
    #[track_caller]
    pub(crate) fn recover(&self, options: &[&str]) -> (serde_json::Value, Db) {
        let _ = std::fs::remove_file(self.path("f.recovered"));
        let mut command = tool("couch_dbck", self.dir.path());
        let assert = command.args(["--json", "--report", "f"]).args(options).assert().success().stderr("");
        let summary = json_lines(&assert.get_output().stdout).pop().unwrap();
        assert_eq!(self.files(), ["f", "f.recovered"]);
        let keys: Vec<_> = options.iter().skip_while(|option| **option != "--with-key").collect();
        let check = tool("couch_check", self.dir.path()).arg("f.recovered").args(keys).assert();
        check.success().stderr("");
        let keys = Some(Arc::new(OneKey) as Arc<dyn KeyStore>);
        (summary, OpenOptions::new().read_only(true).keys(keys).open(self.path("f.recovered")).unwrap())
    }
}
