// SPDX-License-Identifier: Apache-2.0

#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::format::header::FormatVersion;
use crate::io::buffered::Buffering;
use crate::io::posix::PosixOps;
use crate::io::tail::Tail;
use crate::io::{FileOps, OpenMode};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

#[test]
fn content_is_what_stands_between_the_type_bytes() {
    let file: Vec<u8> =
        (0..5 * BLOCK_SIZE).map(|at| if at % BLOCK_SIZE == 0 { 0xee } else { (at % 251) as u8 }).collect();
    for start in [1, 2, 4000, 4095, 4097, 8191] {
        for length in [0_usize, 1, 7, 95, 96, 97, 4094, 4095, 4096, 9000] {
            let end = if length == 0 { start } else { content_end(start, length as u64) };
            let raw = file.get(start as usize..end as usize).unwrap_or_default();
            let plain: Vec<u8> =
                (start..end).filter(|at| at % BLOCK_SIZE != 0).map(|at| (at % 251) as u8).collect();
            assert_eq!(plain.len(), length);
            let mut appended = Vec::new();
            append_content(raw, start, length, &mut appended);
            assert!(appended == plain, "{start} {length}");
            let mut removed = raw.to_vec();
            remove_block_types(&mut removed, start);
            assert!(removed == plain, "{start} {length}");
            let mut copied = vec![0; length];
            assert!(copy_content(raw, start, &mut copied) && copied == plain, "{start} {length}");
            assert!(
                length == 0
                    || !copy_content(raw.split_last().map_or(raw, |(_, rest)| rest), start, &mut copied)
            );
        }
    }
}

/// A file with this node in it, and where.
fn file_with(node: &[u8]) -> (tempfile::TempDir, Box<DbFile>, u64) {
    let dir = tempfile::tempdir().unwrap();
    let name = CString::new(dir.path().join("nodes.couch").as_os_str().as_bytes()).unwrap();
    let handle = PosixOps.open(&name, OpenMode { create: true, ..OpenMode::default() }).unwrap();
    let mut file = DbFile::new(name.as_c_str().into(), handle, Buffering::Exact, false);
    file.set_tail(Tail::own(1));
    let position = file.append_compressed(node, FileTag::BTree).unwrap().position;
    file.flush().unwrap();
    (dir, file, position)
}

/// Reads a node often enough for the thread to know it; `None`: it is damaged.
fn read_often(file: &mut DbFile, position: u64) -> Option<Vec<u8>> {
    let mut found = None;
    for _ in 0..3 {
        file.io().forget_reads();
        let mut plain = Room::default();
        found = file.read_node(position, Hint::Subtree(1 << 20), &mut plain).ok().map(|_| plain.into_vec());
    }
    found
}

#[test]
fn nodes_that_the_thread_knows_are_checked_by_their_bytes() {
    let node: Vec<u8> = (0..1000_u32).map(|number| (number % 7 * number % 11) as u8).collect();
    let (dir, mut file, position) = file_with(&node);
    assert_eq!(read_often(&mut file, position).as_ref(), Some(&node));
    assert_eq!(alike::held().0, 1);
    // A body is no node.
    let body = file.append_compressed(b"body", FileTag::Document).unwrap().position;
    let inflated = file.read_inflated_body(body, Hint::None, FileTag::Document);
    assert_eq!((inflated.unwrap().as_slice(), alike::held().0), (&b"body"[..], 1));
    // These bytes have the right checksum of one kind only.
    file.set_version(FormatVersion::V11);
    assert!(read_often(&mut file, position).is_none());
    file.set_version(FormatVersion::NEWEST);
    assert!(read_often(&mut file, position).is_some());
    let damaged = std::fs::OpenOptions::new().write(true).open(dir.path().join("nodes.couch")).unwrap();
    damaged.write_all_at(&[0xff], position + 100).unwrap();
    assert!(read_often(&mut file, position).is_none());
}

#[test]
fn who_wants_every_node_inflated_gets_that() {
    let (_dir, mut file, position) = file_with(&[7; 1000]);
    file.recall_no_nodes();
    assert!(read_often(&mut file, position).is_some() && alike::held().0 == 0);
    // Nor are leaves noted that are known as such, or nodes of which nothing is known.
    let (_dir, mut file, position) = file_with(&[7; 1000]);
    for hint in [Hint::Size(100), Hint::None] {
        file.read_node(position, hint, &mut Room::default()).unwrap();
    }
    assert_eq!(alike::held().0, 0);
}
