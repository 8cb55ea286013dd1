// SPDX-License-Identifier: Apache-2.0

//! The local document that says which state a vbucket file is in, and whether its ids begin with collections.

use crate::program::Failure;
use couchstore::Db;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Its id.
pub const ID: &[u8] = b"_local/vbstate";

/// What is needed of it for reading.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Abilities {
    collections_supported: bool,
    /// What older releases call it.
    namespaces_supported: bool,
}

/// Whether ids of this file begin with the number of a collection. Those of files that do not come from kv-engine
/// do not.
pub fn has_collections(db: &Db) -> couchstore::Result<bool> {
    let Some(body) = db.local(ID)? else { return Ok(false) };
    let abilities: Abilities = serde_json::from_slice(&body).unwrap_or_default();
    Ok(abilities.collections_supported || abilities.namespaces_supported)
}

/// Whether a file has this local document.
pub fn is_there(db: &Db) -> couchstore::Result<bool> {
    Ok(db.local(ID)?.is_some())
}

/// What a node is for a vbucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It serves clients.
    Active,
    /// It follows the active one.
    Replica,
    /// It is going to be active.
    Pending,
    /// It is none of these any more.
    Dead,
}

/// The state of a vbucket; 64-bit numbers are strings in it.
#[derive(Serialize)]
pub struct VbState {
    state: State,
    checkpoint_id: &'static str,
    max_deleted_seqno: &'static str,
    failover_table: [Failover; 1],
    snap_start: String,
    snap_end: String,
    max_cas: String,
    hlc_epoch: &'static str,
    might_contain_xattrs: bool,
    collections_supported: bool,
}

/// An entry of the failover table.
#[derive(Serialize)]
struct Failover {
    id: u64,
    seq: u64,
}

impl VbState {
    /// Of a vbucket that was in this state from the beginning, up to this sequence number and CAS. `id` is that of its
    /// history.
    pub fn new(state: State, id: u64, seq: u64, max_cas: u64, collections_supported: bool) -> VbState {
        VbState {
            state,
            checkpoint_id: "1",
            max_deleted_seqno: "0",
            failover_table: [Failover { id, seq: 0 }],
            snap_start: seq.to_string(),
            snap_end: seq.to_string(),
            max_cas: max_cas.to_string(),
            hlc_epoch: "1",
            might_contain_xattrs: false,
            collections_supported,
        }
    }

    /// The document for a file to which changes up to this state were added. If the file has one, all of it stays
    /// but how far it goes.
    pub fn for_file(&self, db: &Db) -> Result<Vec<u8>, Failure> {
        let found = db.local(ID)?.and_then(|body| serde_json::from_slice(&body).ok());
        let Some(mut state): Option<Map<String, Value>> = found else { return Ok(serde_json::to_vec(self)?) };
        let cas = |text: &str| text.parse::<u64>().unwrap_or(0);
        let found_cas = state.get("max_cas").and_then(Value::as_str).map_or(0, cas);
        let max_cas = found_cas.max(cas(&self.max_cas)).to_string();
        for (name, value) in
            [("snap_start", &self.snap_start), ("snap_end", &self.snap_end), ("max_cas", &max_cas)]
        {
            state.insert(name.to_owned(), Value::String(value.clone()));
        }
        Ok(serde_json::to_vec(&state)?)
    }
}
