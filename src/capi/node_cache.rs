// SPDX-License-Identifier: Apache-2.0

//! Nodes that stay in memory for all handles of the process.

use super::guard::guard_answer;
use super::latency::Call;
use super::types::couchstore_error_t;
use crate::tree::cache::process::set_node_cache;

/// Lets all handles that are opened from now on share inflated tree nodes, so that a file that is
/// opened for each fetch or flush is read again only where it has changed. Off unless this, or the
/// environment variable COUCHSTORE_NODE_CACHE (bytes, or such as 64M; asked for at the first open),
/// switches it on. Another size makes a new cache, with nothing in it; handles that are open keep the
/// one that they have, which lives as long as they do.
///
/// Look-ups and saves put in the nodes that they read. Commits put in what was written, up to 4 MiB of
/// nodes each. Scans use what is there, but put in no leaves: they would drive out what is looked up.
/// Opening a file takes a little longer with the cache than without.
///
/// Each open judges whether the file still is the one that nodes are from, by device, inode, birth
/// time, size, times and newest header. Damage done on the disk after a node was cached is not
/// noticed by reads that find it here. Never used by handles without buffers, of encrypted files or
/// opened for recovery, nor by compaction. A handle that seeks, rewinds or is reopened shares nothing
/// from then on, nor does one that is opened while another has written what is not committed yet.
/// Where times of files are coarse (before Linux 6.13, or on other file systems than ext4, XFS, Btrfs
/// and tmpfs) only nodes of files are shared that have not changed for two seconds, or have grown
/// since. What is remembered of up to 16384 files, about 300 bytes each, comes on top. May be called at
/// any time, on any thread.
///
/// @param bytes memory for nodes, at most; 0: none are shared
/// @return COUCHSTORE_SUCCESS
#[unsafe(no_mangle)]
pub extern "C" fn couchstore_set_node_cache(bytes: u64) -> couchstore_error_t {
    guard_answer(Call::SetNodeCache, || {
        set_node_cache(bytes);
        Ok(())
    })
}
