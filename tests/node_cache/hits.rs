// SPDX-License-Identifier: Apache-2.0

//! Nodes that are found in memory count as those that are read.

use crate::common::forge::{self, Forge};
use crate::common::temp_dir;
use couchstore::{NodeCache, OpenOptions, ScanOptions};
use std::sync::Arc;

/// A tree in which each pointer node has the one below twice: all ways through it would take for ever.
#[test]
fn no_more_nodes_are_gone_through_than_the_file_can_hold() {
    let dir = temp_dir();
    let path = dir.path().join("a.couch");
    let mut file = Forge::new();
    let mut node = file.node(1, &vec![(b"k".to_vec(), forge::by_id_value(0, 0))]);
    for _ in 0..22 {
        let twice = vec![(b"k".to_vec(), forge::pointer(node)); 2];
        node = file.node(0, &twice);
    }
    file.header(1, &[], &forge::by_id_root(node), &[]);
    std::fs::write(&path, &file.bytes).unwrap();
    let cache = Arc::new(NodeCache::new(64 << 20));
    let shown = |cache: Option<Arc<NodeCache>>| {
        let db = OpenOptions::new().node_cache(cache).read_only(true).open(&path).unwrap();
        assert!(db.doc_info(b"k").unwrap().is_some());
        let mut shown = 0_u32;
        let ended = db.for_each::<&[u8], _>(.., ScanOptions::new(), |_| shown += 1);
        let error = ended.unwrap_err().to_string();
        assert!(error.contains("nodes that are not larger than the file in sum"), "{error}");
        shown
    };
    let without = shown(None);
    for _ in 0..2 {
        assert_eq!(shown(Some(cache.clone())), without);
    }
    assert!(cache.len() > 20, "all nodes were found in memory");
}
