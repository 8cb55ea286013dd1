// SPDX-License-Identifier: Apache-2.0

//! Where an SVG goes. What is there already is replaced at once, or stays as it is.

use super::page::SIGNATURE;
use crate::output::Output;
use crate::program::Failure;
use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// [`SIGNATURE`] ends within so many bytes of a file.
const BEGINNING: u64 = 1024;

/// Where an SVG goes.
#[derive(Debug)]
pub(super) enum Target {
    Output,
    /// A pipe or device.
    Open(PathBuf),
    /// A file, and its permissions if there is one.
    File(PathBuf, Option<Permissions>),
}

impl Target {
    /// Refuses what exists and was not drawn by this program: it may be a database.
    pub(super) fn new(path: &Path) -> Result<Target, Failure> {
        if path == Path::new("-") {
            return Ok(Target::Output);
        }
        let Ok(found) = std::fs::metadata(path) else { return Ok(Target::File(path.to_owned(), None)) };
        if !found.is_file() {
            return Ok(Target::Open(path.to_owned()));
        }
        if found.len() > 0 && !is_drawing(path).map_err(named(path))? {
            return Err(Failure::Message(format!(
                "{}: exists and is no picture of this program, so it is not overwritten",
                path.display()
            )));
        }
        // A link stays a link.
        let place =
            if path.is_symlink() { path.canonicalize().map_err(named(path))? } else { path.to_owned() };
        Ok(Target::File(place, Some(found.permissions())))
    }

    pub(super) fn write(self, output: &mut Output, picture: &str) -> Result<(), Failure> {
        match self {
            Target::Output => Ok(output.write_all(picture.as_bytes())?),
            Target::Open(path) => std::fs::write(&path, picture).map_err(named(&path)),
            Target::File(path, permissions) => replace(&path, permissions, picture).map_err(named(&path)),
        }
    }
}

fn named(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::Message(format!("{}: {error}", path.display()))
}

fn is_drawing(path: &Path) -> io::Result<bool> {
    let mut beginning = Vec::new();
    File::open(path)?.take(BEGINNING).read_to_end(&mut beginning)?;
    Ok(String::from_utf8_lossy(&beginning).contains(SIGNATURE))
}

/// Gives a file its name when it is complete.
fn replace(path: &Path, permissions: Option<Permissions>, picture: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::metadata(folder)?;
    // Those of new files, from which the system takes what the user's mask says.
    let usual = Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().prefix(".couch_map-").permissions(usual).tempfile_in(folder)?;
    file.write_all(picture.as_bytes())?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    file.persist(path)?;
    Ok(())
}
