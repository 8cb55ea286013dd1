// SPDX-License-Identifier: Apache-2.0

//! Whether the copy of a compaction has room, as far as that can be told before it begins.
//!
//! What is needed is reckoned so that it is never too much: a compaction that would succeed is not refused. Bodies are
//! copied as they are stored, and the reduce value of the by-id tree has the sum of their sizes:
//!
//! ```text
//! needed = sum of physical sizes - 13 * documents, at most the source's file
//! ```
//!
//! The 13 bytes: a size may be that of an encrypted chunk, which takes 12 bytes more than a plain one; and if it counts the
//! first bytes of blocks, as servers before 7.0 did, there may be one fewer in the copy. Where it does not count them
//! they come on top, as trees do, and what sorting puts on the disk.
//!
//! Nothing is needed for certain if a hook decides which documents are copied, if deleted documents are left out (and
//! there are any), if damage is stepped over, or if the trees disagree on how many documents there are.

use super::copy::{CompactHooks, CompactOptions, documents_in};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::io::room::lacks;
use crate::tree::reduce::DocCounts;

/// A document may take so many bytes less in the target than its entry says.
const MOST_LESS: u64 = 13;

/// Fails if the target's file system has less room than the bodies of the source take. Of a caller's operations nothing
/// is known.
pub(super) fn check(
    source: &Db,
    target: &Db,
    options: &CompactOptions,
    hooks: &dyn CompactHooks,
) -> Result<()> {
    if hooks.filters() || options.recovery {
        return Ok(());
    }
    let needed = needed(source, options.drop_deletes);
    if needed == 0 {
        return Ok(());
    }
    let Ok(Some(file)) = target.os_file() else { return Ok(()) };
    match lacks(&file, needed) {
        None => Ok(()),
        Some(available) => {
            Err(Error::NoSpace { file: target.filename().to_string_lossy().into(), needed, available })
        }
    }
}

/// Bytes that the target will have at least.
fn needed(source: &Db, drop_deletes: bool) -> u64 {
    let header = source.snapshot().header;
    let counts = header.by_id.as_ref().map(|root| DocCounts::parse(&root.reduce));
    let Some(Ok(counts)) = counts else { return 0 };
    let documents = counts.live.saturating_add(counts.deleted);
    if documents != documents_in(&header) || (drop_deletes && counts.deleted > 0) {
        return 0;
    }
    // A damaged file may say anything.
    let bodies = counts.size.min(source.file().end());
    bodies.saturating_sub(documents.saturating_mul(MOST_LESS))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::compact::copy::compact;
    use crate::{Document, ErrorCode, SaveOptions};

    /// What is needed for a file with these bodies; `None`: a deletion.
    fn needed_for(bodies: &[Option<usize>], drop_deletes: bool) -> (u64, u64) {
        let dir = tempfile::tempdir().unwrap();
        let source = Db::create(dir.path().join("source")).unwrap();
        let body = vec![b'x'; 100_000];
        let ids: Vec<_> = (0..bodies.len()).map(|number| number.to_string()).collect();
        let documents = ids.iter().zip(bodies).map(|(id, length)| match length {
            Some(length) => Document::new(id.as_bytes(), &body[..*length]),
            None => Document::deletion(id.as_bytes()),
        });
        source.save(&documents.collect::<Vec<_>>(), SaveOptions::default()).unwrap();
        source.commit().unwrap();
        let target = dir.path().join("target");
        compact(&source, &target, &CompactOptions { drop_deletes, ..CompactOptions::default() }).unwrap();
        (needed(&source, drop_deletes), target.metadata().unwrap().len())
    }

    #[test]
    fn no_more_is_asked_for_than_the_copy_takes() {
        for bodies in [&[Some(0)][..], &[Some(5); 500], &[Some(4095); 9], &[Some(100_000); 20], &[None; 10]] {
            let (needed, taken) = needed_for(bodies, false);
            assert!(needed <= taken, "{bodies:?}: {needed} {taken}");
        }
    }

    /// What the entries of such a file say of sizes is 12 bytes too much for a copy that is not encrypted.
    #[cfg(feature = "encryption")]
    #[test]
    fn no_more_is_asked_for_than_the_plain_copy_of_an_encrypted_file_takes() {
        let dir = tempfile::tempdir().unwrap();
        let key = crate::EncryptionKey::new("key", &[7; 32], crate::KeyDerivation::None).unwrap();
        let options = crate::OpenOptions::new().create(true).keys(Some(std::sync::Arc::new(key)));
        let source = options.open(dir.path().join("source")).unwrap();
        let ids: Vec<_> = (0..500).map(|number| number.to_string()).collect();
        let documents: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), &[0; 4000])).collect();
        source.save(&documents, SaveOptions::default()).unwrap();
        source.commit().unwrap();
        let target = dir.path().join("target");
        compact(&source, &target, &CompactOptions::default()).unwrap();
        let (needed, taken) = (needed(&source, false), target.metadata().unwrap().len());
        assert!(needed <= taken && needed > 500 * 4000, "{needed} {taken}");
    }

    /// A file of more bytes than the file system has, most of them a hole, that says to be full of bodies.
    #[test]
    fn what_cannot_fit_is_refused_before_it_begins() {
        use std::os::unix::fs::FileExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("source");
        let (source, target) = (Db::create(&path).unwrap(), dir.path().join("target"));
        source.put("a", "1").unwrap();
        source.commit().unwrap();
        let header = source.header_position();
        drop(source);
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let Some(available) = lacks(&file, u64::MAX) else { return };
        let mut block = vec![0; file.metadata().unwrap().len() as usize - header as usize];
        file.read_exact_at(&mut block, header).unwrap();
        let needed = (available + (1 << 30)).next_multiple_of(4096);
        file.write_all_at(&block, needed).unwrap();

        let source = Db::open(&path).unwrap();
        let lies = |size: u64| {
            source.update_state(|state| {
                let mut reduce = state.header.by_id.as_ref().unwrap().reduce.to_vec();
                reduce.splice(10.., size.to_be_bytes()[2..].iter().copied());
                state.header.by_id.as_mut().unwrap().reduce = reduce.as_slice().into();
            });
        };
        lies(needed);
        let error = compact(&source, &target, &CompactOptions::default()).unwrap_err();
        assert!(
            matches!(error, Error::NoSpace { needed: told, .. } if told == needed - MOST_LESS),
            "{error}"
        );
        assert!(!target.exists());
        // What may be left out or stepped over need not fit.
        let options = CompactOptions { recovery: true, ..CompactOptions::default() };
        compact(&source, &target, &options).unwrap();
        std::fs::remove_file(&target).unwrap();
        lies(1000);
        compact(&source, &target, &CompactOptions::default()).unwrap();
    }

    #[test]
    fn large_bodies_are_nearly_all_that_is_needed() {
        let (needed, taken) = needed_for(&[Some(100_000); 20], false);
        assert!(needed > 1_990_000 && needed * 100 > taken * 99, "{needed} {taken}");
    }

    #[test]
    fn the_error_is_that_of_a_full_disk_and_names_the_bytes() {
        let error = Error::NoSpace { file: "f".into(), needed: 9, available: 8 };
        let text = "f: not begun, it needs at least 9 bytes and the file system has 8";
        assert_eq!((error.to_string().as_str(), error.file().map(AsRef::as_ref)), (text, Some("f")));
        assert_eq!((error.code(), error.os_error()), (ErrorCode::WRITE, Some(libc::ENOSPC)));
        assert!(!error.is_damage());
    }

    #[test]
    fn nothing_is_certain_where_deleted_documents_are_left_out() {
        let bodies = [Some(50_000), None];
        assert_eq!(needed_for(&bodies, true).0, 0);
        assert!(needed_for(&bodies, false).0 > 40_000);
        assert!(needed_for(&bodies[..1], true).0 > 40_000);
    }
}
