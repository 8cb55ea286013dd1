// SPDX-License-Identifier: Apache-2.0

//! Keys that another program hands out: the server's `dump-keys`, which knows how to open its secrets.
//!
//! It is run as `PROGRAM --gosecrets FOLDER/gosecrets --config FILE --key-ids ID`, where FOLDER is the program's own; with
//! `--stdin-password` and the password as a line on its standard input if there is one. It prints JSON:
//!
//! ```text
//! {"ID": {"result": "raw-aes-gcm", "response": {"key": "BASE64"}}}
//! ```

use crate::failure::Failure;
use crate::text::printable;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use couchstore::{EncryptionKey, KeyDerivation};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use zeroize::Zeroizing;

/// Where a server has it.
pub const DEFAULT_PROGRAM: &str = "/opt/couchbase/bin/dump-keys";

/// The program that it needs, in the same folder.
const GOSECRETS: &str = "gosecrets";

/// What it ends with if the password is wrong.
const INCORRECT_PASSWORD: i32 = 2;

/// How to run the program.
#[derive(Clone)]
pub struct DumpKeys {
    program: PathBuf,
    gosecrets: PathBuf,
    config: PathBuf,
    password: Option<Zeroizing<String>>,
}

impl std::fmt::Debug for DumpKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DumpKeys").field("program", &self.program).finish_non_exhaustive()
    }
}

/// What it prints about a key.
#[derive(Deserialize)]
struct Answer {
    result: String,
    response: Value,
}

impl DumpKeys {
    /// Fails if one of the programs is not there.
    pub fn new(
        program: &Path,
        config: &Path,
        password: Option<Zeroizing<String>>,
    ) -> Result<DumpKeys, Failure> {
        let gosecrets = program.parent().unwrap_or(Path::new("")).join(GOSECRETS);
        for needed in [program, &gosecrets] {
            if !needed.is_file() {
                return Err(Failure::Message(format!("{}: no such program", needed.display())));
            }
        }
        Ok(DumpKeys { program: program.to_owned(), gosecrets, config: config.to_owned(), password })
    }

    /// The key with this id, or why there is none.
    pub fn key(&self, id: &[u8]) -> Result<EncryptionKey, String> {
        let name = std::str::from_utf8(id).map_err(|_| "the id of the key is not UTF-8".to_owned())?;
        let output = self.run(name).map_err(|error| format!("{}: {error}", self.program.display()))?;
        let printed = Zeroizing::new(output.stdout);
        match output.status.code() {
            Some(0) => key_in(&printed, name),
            Some(INCORRECT_PASSWORD) => Err("incorrect password".to_owned()),
            _ => {
                let said = [printed.as_slice(), &output.stderr].concat();
                Err(format!("{} failed: {}", self.program.display(), printable(said.trim_ascii())))
            }
        }
    }

    fn run(&self, id: &str) -> std::io::Result<Output> {
        let mut command = Command::new(&self.program);
        command.arg("--gosecrets").arg(&self.gosecrets).arg("--config").arg(&self.config);
        command.args(["--key-ids", id]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Some(password) = &self.password else { return command.stdin(Stdio::null()).output() };
        let mut child = command.arg("--stdin-password").stdin(Stdio::piped()).spawn()?;
        // One that does not want to know it is no failure: its exit code says more.
        let _ = tell_password(&mut child, password);
        child.wait_with_output()
    }
}

fn tell_password(child: &mut Child, password: &str) -> std::io::Result<()> {
    let Some(mut stdin) = child.stdin.take() else { return Ok(()) };
    stdin.write_all(password.as_bytes())?;
    stdin.write_all(b"\n")
}

/// The key with this id in what was printed. The texts never hold what may be a key.
fn key_in(printed: &[u8], id: &str) -> Result<EncryptionKey, String> {
    let answers: HashMap<String, Answer> = serde_json::from_slice(printed)
        .map_err(|_| "the program's output is not what was expected".to_owned())?;
    let answer = answers.get(id).ok_or_else(|| format!("the program knows no key {id:?}"))?;
    if !matches!(answer.result.as_str(), "raw-aes-gcm" | "success") {
        return Err(format!("key {id:?}: {}: {}", answer.result, answer.response));
    }
    let text = answer.response.get("key").and_then(Value::as_str);
    let text = text.ok_or_else(|| format!("key {id:?}: the answer holds no key"))?;
    let secret = STANDARD.decode(text).map(Zeroizing::new);
    let key = secret.ok().and_then(|secret| EncryptionKey::new(id, &secret, KeyDerivation::KeyBased).ok());
    key.ok_or_else(|| format!("key {id:?}: not 32 bytes in base64"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::key_in;

    #[test]
    fn answers_are_read() {
        let answer = |result: &str, response: &str| {
            key_in(format!(r#"{{"k":{{"result":"{result}","response":{response}}}}}"#).as_bytes(), "k")
        };
        let key = r#"{"key":"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="}"#;
        for result in ["raw-aes-gcm", "success"] {
            assert_eq!(answer(result, key).unwrap().id(), b"k");
        }
        assert_eq!(answer("error", r#""no such key""#).unwrap_err(), "key \"k\": error: \"no such key\"");
        assert_eq!(answer("success", "{}").unwrap_err(), "key \"k\": the answer holds no key");
        assert!(answer("success", r#"{"key":"QUFB"}"#).unwrap_err().ends_with("not 32 bytes in base64"));
        assert!(key_in(b"{}", "k").unwrap_err().contains("knows no key"));
        assert!(key_in(b"QUFB", "k").unwrap_err().contains("not what was expected"));
    }
}
