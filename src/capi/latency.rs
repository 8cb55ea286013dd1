// SPDX-License-Identifier: Apache-2.0

//! How long the C functions take: a histogram for each, while collecting is switched on.

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Bucket 0: under 1 us; bucket i: from 2^(i-1) to under 2^i us. The last one takes what is longer.
const BUCKETS: usize = 40;

macro_rules! calls {
    ($($call:ident = $name:literal,)*) => {
        /// A function whose calls are timed.
        #[cfg_attr(not(feature = "cxx-shim"), allow(dead_code, reason = "some are called by C++ only"))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Call {
            $($call,)*
        }

        const NAMES: &[&CStr] = &[$($name,)*];
        static HISTOGRAMS: [Histogram; NAMES.len()] = [const { Histogram::new() }; NAMES.len()];
    };
}

calls! {
    OpenDb = c"couchstore_open_db",
    OpenDbEx = c"couchstore_open_db_ex",
    BootstrapDb = c"couchstore_bootstrap_db",
    CloseFile = c"couchstore_close_file",
    ReopenFile = c"couchstore_reopen_file",
    FreeDb = c"couchstore_free_db",
    Rewind = c"couchstore_rewind_db_header",
    FastForward = c"couchstore_fastforward_db_header",
    Seek = c"couchstore_seek",
    SeekFirstHeaderContaining = c"couchstore_seek_first_header_containing",
    DbInfo = c"couchstore_db_info",
    GetHeader = c"couchstore_get_header",
    FileStats = c"couchstore_get_db_filestats",
    SetPurgeSeq = c"couchstore_set_purge_seq",
    SaveDocument = c"couchstore_save_document",
    SaveDocuments = c"couchstore_save_documents",
    SaveDocumentsAndCallback = c"couchstore_save_documents_and_callback",
    Commit = c"couchstore_commit",
    CommitEx = c"couchstore_commit_ex",
    DocinfoById = c"couchstore_docinfo_by_id",
    DocinfoBySequence = c"couchstore_docinfo_by_sequence",
    OpenDocument = c"couchstore_open_document",
    OpenDocWithDocinfo = c"couchstore_open_doc_with_docinfo",
    ChangesSince = c"couchstore_changes_since",
    AllDocs = c"couchstore_all_docs",
    DocinfosById = c"couchstore_docinfos_by_id",
    DocinfosBySequence = c"couchstore_docinfos_by_sequence",
    ChangesCount = c"couchstore_changes_count",
    WalkIdTree = c"couchstore_walk_id_tree",
    WalkSeqTree = c"couchstore_walk_seq_tree",
    WalkLocalTree = c"couchstore_walk_local_tree",
    OpenLocalDocument = c"couchstore_open_local_document",
    SaveLocalDocument = c"couchstore_save_local_document",
    SaveLocalDocuments = c"couchstore_save_local_documents",
    ScanLocalDocs = c"couchstore_scan_local_docs",
    CompactDb = c"couchstore_compact_db",
    CompactDbEx = c"couchstore_compact_db_ex",
    OpenDbWithKey = c"couchstore_open_db_with_key",
    CompactDbWithKey = c"couchstore_compact_db_with_key",
    GetEncryptionKeyId = c"couchstore_get_encryption_key_id",
    CompactDbOnline = c"couchstore_compact_db_online",
    IsCurrent = c"couchstore_is_current",
    Replay = c"couchstore_replay",
    LastOsError = c"couchstore_last_os_error",
    LastInternalError = c"couchstore_last_internal_error",
    SetNodeCache = c"couchstore_set_node_cache",
    CxxSeek = c"seek",
    CxxSeekFirst = c"seekFirstHeaderContaining",
    CxxSaveLocalDocuments = c"saveLocalDocuments",
    CxxScanLocalDocs = c"scanLocalDocs",
    CxxCompact = c"compact",
    CxxReplay = c"replay",
}

struct Histogram {
    count: AtomicU64,
    total_us: AtomicU64,
    max_us: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Histogram {
    const fn new() -> Histogram {
        Histogram {
            count: AtomicU64::new(0),
            total_us: AtomicU64::new(0),
            max_us: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }

    fn add(&self, us: u64) {
        let bucket = us.checked_ilog2().map_or(0, |log| log as usize + 1).min(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(us, Ordering::Relaxed);
        self.max_us.fetch_max(us, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn measured(&self, name: &'static CStr) -> Measured {
        Measured {
            name,
            count: self.count.load(Ordering::Relaxed),
            total_us: self.total_us.load(Ordering::Relaxed),
            max_us: self.max_us.load(Ordering::Relaxed),
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed)),
        }
    }

    fn reset(&self) {
        for number in self.buckets.iter().chain([&self.count, &self.total_us, &self.max_us]) {
            number.store(0, Ordering::Relaxed);
        }
    }
}

static COLLECTING: AtomicBool = AtomicBool::new(false);

/// Times one call.
pub(super) struct Timer(Option<(Call, Instant)>);

/// Begins to time a call, if collecting is on.
pub(super) fn start(call: Call) -> Timer {
    Timer(COLLECTING.load(Ordering::Relaxed).then(|| (call, Instant::now())))
}

impl Timer {
    /// Ends it.
    pub(super) fn stop(self) {
        if let Some((call, started)) = self.0 {
            let us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            HISTOGRAMS[call as usize].add(us);
        }
    }
}

/// What was measured of one function, in microseconds.
pub(super) struct Measured {
    pub(super) name: &'static CStr,
    pub(super) count: u64,
    pub(super) total_us: u64,
    pub(super) max_us: u64,
    pub(super) buckets: [u64; BUCKETS],
}

/// Switches collecting on.
pub(super) fn collect() {
    COLLECTING.store(true, Ordering::Relaxed);
}

/// Switches collecting off and forgets what was collected.
pub(super) fn forget() {
    COLLECTING.store(false, Ordering::Relaxed);
    for histogram in &HISTOGRAMS {
        histogram.reset();
    }
}

/// What was measured of the functions that were called, as long as collecting is on.
pub(super) fn measured() -> impl Iterator<Item = Measured> {
    let all = NAMES.iter().zip(&HISTOGRAMS).map(|(name, histogram)| histogram.measured(name));
    all.filter(|measured| measured.count != 0 && COLLECTING.load(Ordering::Relaxed))
}
