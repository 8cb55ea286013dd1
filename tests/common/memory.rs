// SPDX-License-Identifier: Apache-2.0

//! File operations on files in memory.

use couchstore::io::{FileHandle, FileOps, IoError, OpenMode};
use couchstore::{Db, ErrorCode, OpenOptions};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// A folder of files in memory. Clones are the same folder.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    files: Arc<Mutex<BTreeMap<Vec<u8>, Bytes>>>,
    reads: Arc<AtomicU64>,
}

impl Memory {
    /// The folder as file operations.
    pub(crate) fn ops(&self) -> Arc<dyn FileOps> {
        Arc::new(self.clone())
    }

    /// Options that open files of this folder.
    pub(crate) fn options(&self) -> OpenOptions {
        OpenOptions::new().file_ops(self.ops())
    }

    /// Opens a file of this folder, creating it if needed.
    pub(crate) fn open(&self, name: &str) -> Db {
        self.options().create(true).open(name).expect("file in memory")
    }

    /// A copy of a file's bytes.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.file(name).expect("file in memory").lock().unwrap().clone()
    }

    /// The file itself, to be changed in place.
    pub(crate) fn file(&self, name: &str) -> Option<Bytes> {
        self.files.lock().unwrap().get(name.as_bytes()).cloned()
    }

    /// How often anything was read from any file.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Puts a file into the folder, in place of an old one.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) -> Bytes {
        let file = Arc::new(Mutex::new(bytes));
        self.files.lock().unwrap().insert(name.as_bytes().to_vec(), file.clone());
        file
    }

    /// Takes a file out of the folder.
    pub(crate) fn remove(&self, name: &str) {
        self.files.lock().unwrap().remove(name.as_bytes());
    }
}

impl FileOps for Memory {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        let mut files = self.files.lock().unwrap();
        let bytes = match files.get(name.to_bytes()) {
            Some(_) if mode.exclusive => return Err(IoError::new(ErrorCode::OPEN_FILE, libc::EEXIST)),
            Some(bytes) => bytes.clone(),
            None if mode.create => {
                let bytes = Bytes::default();
                files.insert(name.to_bytes().to_vec(), bytes.clone());
                bytes
            }
            None => return Err(IoError::new(ErrorCode::NO_SUCH_FILE, libc::ENOENT)),
        };
        Ok(Box::new(MemoryHandle { bytes, reads: self.reads.clone() }))
    }
}

struct MemoryHandle {
    bytes: Bytes,
    reads: Arc<AtomicU64>,
}

impl FileHandle for MemoryHandle {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.lock().unwrap();
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        let mut bytes = self.bytes.lock().unwrap();
        let end = offset as usize + buf.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset as usize..end].copy_from_slice(buf);
        Ok(buf.len())
    }

    fn size(&mut self) -> Result<u64, IoError> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }

    fn close(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}
