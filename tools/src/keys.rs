// SPDX-License-Identifier: Apache-2.0

//! Keys of encrypted files, from the command line or a file. They are never shown.

use crate::dump_keys::{self, DumpKeys};
use crate::failure::Failure;
use crate::program::tell;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use couchstore::{EncryptionKey, KeyDerivation, KeyStore, KeyStoreFailed};
use parking_lot::Mutex;
use std::io::{BufRead as _, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A keys file is no longer than this.
const LONGEST_FILE: u64 = 256 << 10;

/// Nor is a password longer than this.
const LONGEST_PASSWORD: usize = 4096;

/// Options for keys.
#[derive(Args, Clone, Default)]
pub struct KeyArgs {
    /// Key of an encrypted file: ID:BASE64 (32 bytes), or @FILE with one such line for each key, or @- for stdin.
    /// May be given more than once; new files get the first key
    #[arg(long = "with-key", value_name = "ID:BASE64|@FILE")]
    with_key: Vec<String>,

    /// Ask a server's program for keys that are not given: its file of secrets
    #[arg(long, value_name = "FILE")]
    with_gosecrets: Option<PathBuf>,

    /// That program, which has "gosecrets" beside it
    #[arg(long, value_name = "PROGRAM", default_value = dump_keys::DEFAULT_PROGRAM)]
    with_dump_keys: PathBuf,

    /// The password of these secrets; "-" for a line from stdin
    #[arg(long, value_name = "PASSWORD", allow_hyphen_values = true)]
    password: Option<String>,
}

impl std::fmt::Debug for KeyArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyArgs").field("keys", &self.with_key.len()).finish_non_exhaustive()
    }
}

/// The keys that a tool was given.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    given: Vec<EncryptionKey>,
    asked: Option<Arc<Asked>>,
}

/// Keys that a program is asked for.
#[derive(Debug)]
struct Asked {
    program: DumpKeys,
    /// What it has answered, in the order in which it was asked.
    known: Mutex<Vec<EncryptionKey>>,
}

impl Asked {
    fn key(&self, id: &[u8]) -> Result<EncryptionKey, KeyStoreFailed> {
        let mut known = self.known.lock();
        if let Some(key) = known.iter().find(|key| key.id() == id) {
            return Ok(key.clone());
        }
        let key = self.program.key(id).map_err(|reason| {
            tell(&reason);
            KeyStoreFailed
        })?;
        known.push(key.clone());
        Ok(key)
    }
}

impl KeyArgs {
    /// Reads the keys.
    pub fn load(&self) -> Result<Keys, Failure> {
        let mut keys = Vec::new();
        for given in &self.with_key {
            if let Some(name) = given.strip_prefix('@') {
                read_keys(name, &mut keys)?;
            } else {
                keys.push(parse(given).map_err(|rule| Failure::Usage(format!("--with-key: {rule}")))?);
            }
        }
        Ok(Keys { given: keys, asked: self.asked()? })
    }

    fn asked(&self) -> Result<Option<Arc<Asked>>, Failure> {
        let Some(config) = &self.with_gosecrets else { return Ok(None) };
        let password = match self.password.as_deref() {
            Some("-") => Some(read_password()?),
            password => password.map(|text| Zeroizing::new(text.to_owned())),
        };
        let program = DumpKeys::new(&self.with_dump_keys, config, password)?;
        Ok(Some(Arc::new(Asked { program, known: Mutex::default() })))
    }
}

/// A line from standard input.
fn read_password() -> Result<Zeroizing<String>, Failure> {
    // All at once: a string that grows leaves copies behind.
    let mut line = Zeroizing::new(String::with_capacity(LONGEST_PASSWORD));
    let read = std::io::stdin().lock().take(LONGEST_PASSWORD as u64).read_line(&mut line);
    read.map_err(|error| Failure::Message(format!("password: {error}")))?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Reads a keys file: a key a line, empty lines and those that begin with "#" left out.
fn read_keys(name: &str, keys: &mut Vec<EncryptionKey>) -> Result<(), Failure> {
    for (number, line) in read(name)?.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            let wrong = |rule| Failure::Message(format!("keys file {name}, line {}: {rule}", number + 1));
            keys.push(parse(line).map_err(wrong)?);
        }
    }
    Ok(())
}

fn read(name: &str) -> Result<Zeroizing<String>, Failure> {
    // All at once: a string that grows leaves copies of keys behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST_FILE as usize + 1));
    let read = if name == "-" {
        std::io::stdin().take(LONGEST_FILE + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(name).and_then(|file| file.take(LONGEST_FILE + 1).read_to_string(&mut text))
    };
    let length = read.map_err(|error| Failure::Message(format!("keys file {name}: {error}")))?;
    if length as u64 > LONGEST_FILE {
        return Err(Failure::Message(format!("keys file {name}: longer than {LONGEST_FILE} bytes")));
    }
    Ok(text)
}

/// Reads "id:base64". The id may hold colons, base64 does not.
fn parse(text: &str) -> Result<EncryptionKey, &'static str> {
    let (id, secret) = text.rsplit_once(':').ok_or("a key has the form ID:BASE64")?;
    let secret = STANDARD.decode(secret).map(Zeroizing::new).map_err(|_| "the key is not valid base64")?;
    if secret.len() != 32 {
        return Err("a key has 32 bytes");
    }
    EncryptionKey::new(id, &secret, KeyDerivation::KeyBased).map_err(|_| "the id of a key has 1 to 255 bytes")
}

impl Keys {
    /// For opening; `None` if no key was given, and nobody can be asked for one.
    pub fn store(&self) -> Option<Arc<dyn KeyStore>> {
        let is_needed = !self.given.is_empty() || self.asked.is_some();
        is_needed.then(|| Arc::new(self.clone()) as Arc<dyn KeyStore>)
    }

    /// Whether new files are encrypted: with the first key, given or asked for.
    pub fn encrypt(&self) -> bool {
        self.first().is_some()
    }

    fn first(&self) -> Option<EncryptionKey> {
        let asked = || self.asked.as_ref()?.known.lock().first().cloned();
        self.given.first().cloned().or_else(asked)
    }

    /// For new files that are to have the key of this id, and no other.
    pub fn store_of(&self, id: &[u8]) -> Option<Arc<dyn KeyStore>> {
        let key = self.key(id).ok().flatten()?;
        Some(Arc::new(Keys { given: vec![key], asked: None }))
    }
}

impl KeyStore for Keys {
    fn key(&self, id: &[u8]) -> Result<Option<EncryptionKey>, KeyStoreFailed> {
        if id.is_empty() {
            return Ok(self.first());
        }
        let given = self.given.iter().find(|key| key.id() == id);
        match (given, &self.asked) {
            (Some(key), _) => Ok(Some(key.clone())),
            (None, Some(asked)) => asked.key(id).map(Some),
            (None, None) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// 32 bytes of 0x41.
    const SECRET: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";

    fn args(with_key: Vec<String>) -> KeyArgs {
        KeyArgs { with_key, ..KeyArgs::default() }
    }

    fn load(with_key: &[&str]) -> Result<Keys, Failure> {
        let with_key = with_key.iter().map(|&text| text.to_owned()).collect();
        args(with_key).load()
    }

    fn keys_file(text: &str) -> Result<Keys, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, text).unwrap();
        load(&[&format!("@{}", path.display())])
    }

    fn ids(keys: &Keys) -> Vec<&[u8]> {
        keys.given.iter().map(EncryptionKey::id).collect()
    }

    #[test]
    fn ids_may_hold_colons() {
        let keys = load(&[&format!("a:b:c:{SECRET}"), &format!("d:{SECRET}")]).unwrap();
        assert_eq!(ids(&keys), [&b"a:b:c"[..], b"d"]);
    }

    #[test]
    fn the_first_key_is_that_of_new_files() {
        let keys = load(&[&format!("a:{SECRET}"), &format!("b:{SECRET}")]).unwrap();
        let id_of = |asked: &[u8]| keys.key(asked).unwrap().map(|key| key.id().to_vec());
        assert_eq!(id_of(b""), Some(b"a".to_vec()));
        assert_eq!(id_of(b"b"), Some(b"b".to_vec()));
        assert_eq!(id_of(b"c"), None);
        assert!(load(&[]).unwrap().store().is_none());
        let of_b = keys.store_of(b"b").unwrap();
        assert_eq!(of_b.key(b"").unwrap().unwrap().id(), b"b");
        assert!(keys.store_of(b"c").is_none());
    }

    #[test]
    fn keys_files_hold_comments_and_any_number_of_keys() {
        let keys = keys_file(&format!("# ours\n\n  a:{SECRET}  \r\nb:{SECRET}")).unwrap();
        assert_eq!(ids(&keys), [b"a", b"b"]);
        assert_eq!(ids(&keys_file("\n#\n").unwrap()).len(), 0);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_key() {
        let half = &SECRET[..20];
        let wrong = [
            ("no colon", SECRET.to_owned(), "a key has the form ID:BASE64"),
            ("not base64", format!("id:{half}*{half}"), "the key is not valid base64"),
            ("without padding", format!("id:{}", &SECRET[..43]), "the key is not valid base64"),
            ("16 bytes", "id:QUFBQUFBQUFBQUFBQUFBQQ==".to_owned(), "a key has 32 bytes"),
            ("no key", "id:".to_owned(), "a key has 32 bytes"),
            ("no id", format!(":{SECRET}"), "the id of a key has 1 to 255 bytes"),
            ("long id", format!("{}:{SECRET}", "i".repeat(256)), "the id of a key has 1 to 255 bytes"),
        ];
        for (what, text, rule) in wrong {
            let Err(Failure::Usage(said)) = load(&[&text]) else { panic!("{what}: not refused") };
            assert_eq!(said, format!("--with-key: {rule}"), "{what}");
            let Err(Failure::Message(said)) = keys_file(&format!("# keys\n{text}\n")) else {
                panic!("{what}: not refused in a file")
            };
            assert!(said.ends_with(&format!("line 2: {rule}")), "{what}: {said}");
            assert!(!said.contains("QUFB"), "{what}: {said}");
        }
    }

    #[test]
    fn unreadable_keys_files_are_named() {
        for name in ["/nowhere/keys", "/"] {
            let Err(Failure::Message(said)) = load(&[&format!("@{name}")]) else { panic!("{name}") };
            assert!(said.starts_with(&format!("keys file {name}: ")), "{said}");
        }
        let Err(Failure::Message(said)) = keys_file(&"#".repeat(300 << 10)) else { panic!("a long file") };
        assert!(said.contains("longer than"), "{said}");
    }

    #[test]
    fn debug_shows_no_key() {
        let args = args(vec![format!("id:{SECRET}")]);
        let shown = format!("{args:?} {:?}", args.load().unwrap());
        assert!(!shown.contains("QUF") && !shown.contains("AAAA") && !shown.contains("65, 65"), "{shown}");
    }
}
