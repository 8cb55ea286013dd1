// SPDX-License-Identifier: Apache-2.0

//! What the tests of several tools share.

#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(unused_imports, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub(crate) mod checked;
pub(crate) mod child;
pub(crate) mod forge;
pub(crate) mod golden;
pub(crate) mod history;
pub(crate) mod place;
#[path = "../../../tests/common/rng.rs"]
pub(crate) mod rng;
pub(crate) mod sample;
pub(crate) mod transcript;

use assert_cmd::Command;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The one program that all tools are.
pub(crate) const COUCH: &str = env!("CARGO_BIN_EXE_couch");

/// The tools of the package.
pub(crate) const TOOLS: [&str; 10] = [
    "couch_bench",
    "couch_check",
    "couch_compact",
    "couch_create",
    "couch_dbck",
    "couch_dbdiff",
    "couch_dbdump",
    "couch_dbinfo",
    "couch_map",
    "couch_recommit",
];

/// A second name of a tool, which has a manual page, too.
pub(crate) const OLDER_NAME: &str = "dbdiff";

/// A link of this name to the program, as it is installed. Each build of it has a folder of its own for them.
pub(crate) fn program(name: &str) -> PathBuf {
    let build = format!("{:08x}", crc32fast::hash(COUCH.as_bytes()));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("links").join(build);
    std::fs::create_dir_all(&folder).unwrap();
    let link = folder.join(name);
    match symlink(COUCH, &link) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.unwrap(),
    }
    link
}

/// Copies a program. In a process of its own: of this one threads start others all the time, and what any of those has
/// inherited open for writing cannot be run.
pub(crate) fn install(program: &Path, to: &Path) {
    let status = std::process::Command::new("install").arg(program).arg(to).status().unwrap();
    assert!(status.success());
}

/// A tool, by its name, in the folder `dir`; with nothing of the environment that changes what it prints.
pub(crate) fn tool(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(dir).env_remove("ITERATE_HEADERS").env_remove("COUCHSTORE_KEYS").env("TZ", "UTC");
    command
}

/// What a tool prints: as text, one string.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The lines of JSON that a tool prints.
pub(crate) fn json_lines(bytes: &[u8]) -> Vec<serde_json::Value> {
    text(bytes).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Compares with `tests/expected/NAME`; with `UPDATE_EXPECTED` in the environment that file is written anew.
pub(crate) fn assert_expected(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected").join(name);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(found, expected, "{}", path.display());
}

/// Changes a byte of a file.
pub(crate) fn damage(path: &Path, offset: u64) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x55], offset).unwrap();
}
