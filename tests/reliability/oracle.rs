// SPDX-License-Identifier: Apache-2.0

//! Whether a file is a database in one of the states of a history, whole and usable.

use crate::common::model::{Doc, Model};
use crate::common::raw;
use crate::history::{Transaction, small_nodes};
use couchstore::io::sim::SimDisk;
use couchstore::{Db, EncryptionKey, FormatVersion, KeyDerivation, KeyStore, KeyStoreFailed, OpenOptions};
use std::sync::Arc;

/// The name of the database on simulated disks.
pub(crate) const NAME: &str = "db.couch";

/// The key of encrypted files, which new files do not get.
struct KnownKey(EncryptionKey);

impl KeyStore for KnownKey {
    fn key(&self, id: &[u8]) -> Result<Option<EncryptionKey>, KeyStoreFailed> {
        Ok((id == self.0.id()).then(|| self.0.clone()))
    }
}

fn key() -> EncryptionKey {
    EncryptionKey::new("key", &[42; 32], KeyDerivation::KeyBased).unwrap()
}

/// The keys for a new file.
pub(crate) fn keys(encrypted: bool) -> Option<Arc<dyn KeyStore>> {
    encrypted.then(|| Arc::new(key()) as Arc<dyn KeyStore>)
}

/// Options for the disk's files. They open encrypted ones, too.
pub(crate) fn options(disk: &SimDisk) -> OpenOptions {
    small_nodes(OpenOptions::new().file_ops(disk.ops())).keys(Some(Arc::new(KnownKey(key()))))
}

/// Options for a new file.
pub(crate) fn new_file(disk: &SimDisk, encrypted: bool) -> OpenOptions {
    let options = options(disk).create(true);
    if encrypted { options.keys(keys(true)) } else { options }
}

/// Checks a handle: all that it shows, and every byte that its header leads to. Returns the state's place among
/// `states`, of which it must be one from `least` on.
pub(crate) fn check_handle(db: &Db, bytes: Vec<u8>, states: &[Model], least: usize) -> usize {
    let info = db.info().expect("info");
    let first = states[0].purge_seq;
    let index = info.purge_seq.checked_sub(first).expect("a state of the history") as usize;
    assert!(index < states.len(), "state {index} of {} was never committed", states.len());
    assert!(index >= least, "acknowledged was commit {least}, found is {index}");
    states[index].check(db);
    if db.encryption_key_id().is_some() {
        // The other reader of the format has no key.
        return index;
    }
    let file = match info.version {
        FormatVersion::V11 => raw::File::with_legacy_crc(bytes),
        _ => raw::File::new(bytes),
    };
    let header = file.header(db.header_position());
    assert_eq!(header.update_seq, states[index].update_seq);
    let [by_id, by_seq, local] = raw::check_header(&file, &header);
    assert_eq!(by_id.entries.len(), by_seq.entries.len(), "both indexes agree");
    assert_eq!(local.entries.len(), states[index].local.len());
    index
}

/// Checks a file as it is found after a failure, then goes on to work with it. Returns the state's place.
pub(crate) fn check_file(bytes: &[u8], recovery: bool, states: &[Model], least: usize) -> usize {
    let disk = SimDisk::new();
    disk.put(NAME, bytes.to_vec());
    let db = options(&disk).recovery(recovery).open(NAME).expect("open after a failure");
    let index = check_handle(&db, bytes.to_vec(), states, least);
    check_further_work(&disk, &db, &states[index]);
    drop(db);
    assert_eq!(disk.open_handles(), 0, "handles that were not released");
    index
}

/// Opens a file on the disk where something has failed, and goes on: what is committed then is there after a power cut.
pub(crate) fn check_going_on(disk: &SimDisk, name: &str, states: &[Model]) {
    let db = options(disk).open(name).expect("open again");
    let index = check_handle(&db, disk.bytes(name).unwrap(), states, 0);
    let after = further_work(&db, &states[index]);
    drop(db);
    let durable = disk.after_power_cut(false).bytes(name).unwrap();
    check_file(&durable, false, &[after], 0);
}

/// Saves, commits and opens again.
fn check_further_work(disk: &SimDisk, db: &Db, state: &Model) {
    let after = further_work(db, state);
    db.close().expect("close");
    let again = options(disk).open(NAME).expect("open again");
    check_handle(&again, disk.bytes(NAME).unwrap(), &[after], 0);
}

/// Saves and commits; returns what the file holds then.
pub(crate) fn further_work(db: &Db, state: &Model) -> Model {
    let further = Transaction {
        docs: vec![Doc::new(b"doc-5", b"further"), Doc::deletion(b"doc-7"), Doc::new(b"new", &[7; 5000])],
        locals: vec![(b"_local/further".to_vec(), Some(b"work".to_vec()))],
        number: state.purge_seq + 1,
        encrypted: db.encryption_key_id().is_some(),
    };
    further.save(db).expect("further save");
    further.commit(db).expect("further commit");
    further.applied_to(state)
}
