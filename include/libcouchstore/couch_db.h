/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * libcouchstore: documents in an append-only file. This is the header to include, from C11 and
 * later and from C++17 and later.
 *
 * It declares the options and the callback types, includes couch_api.h with the functions, and adds
 * the functions that have another signature in C++: for C here at the end, for C++ in
 * couch_db_cxx.h, with everything else that only C++ has.
 *
 * Rules that hold for all functions:
 *  - NULL for a handle or for a place to put a result gives COUCHSTORE_ERROR_INVALID_ARGUMENTS; a
 *    handle whose file is closed gives COUCHSTORE_ERROR_FILE_CLOSED.
 *  - Results are written only on success (couchstore_open_document() sets *pDoc to NULL first).
 *  - A handle is used by one thread at a time. Any number of handles may be open on one file, one
 *    of them writing. A handle sees the state of the header that it stands on, whatever others
 *    append, until it is moved with one of the seek functions.
 *  - Should threads use one handle all the same, they take turns: a call waits until the one before
 *    has ended, or has called back. While a callback runs, other threads may use the handle as the
 *    callback itself may. What only asks (couchstore_db_info(), couchstore_get_header(),
 *    couchstore_get_header_position(), couchstore_get_db_filename(), couchstore_is_current(),
 *    couchstore_get_encryption_key_id(), couchstore_last_os_error()) does not wait: it tells how
 *    things stood when the last call ended or called back. Whoever frees a handle must be the last
 *    one to use it.
 *  - A callback may use the handles that it is called on behalf of, unless its description says
 *    otherwise, and may close their files. What frees a handle, or may, does nothing to them and
 *    returns COUCHSTORE_ERROR_INVALID_ARGUMENTS until the outermost call on the handle has returned:
 *    couchstore_free_db(), couchstore_close_db(), couchstore_rewind_db_header() and
 *    couchstore_fastforward_db_header(). Handles that only callbacks are shown are good until the
 *    call returns that shows them.
 *  - File operations must not use the handle that they work for.
 *  - A child process must not use handles that were opened before fork(), not even close them: both
 *    processes would append to one file from one memory of where it ends, and buffers and locks are
 *    copied as they happen to be. Let it open the file anew after execve(), or fork before anything
 *    is opened.
 *  - No function may be called in a signal handler.
 *  - Bits that have no meaning in flags and options are ignored, except by
 *    couchstore_compact_db_online(), which refuses them.
 *  - An empty id is an id like any other: documents and local documents may have it, and it comes
 *    before all others. Where a scan or a walk asks for the id to begin with, it means the beginning.
 *  - One handle writes a file. With the library's own file operations, a handle whose file was
 *    replaced under its name, or is written by somebody else, or was cut, is refused:
 *    COUCHSTORE_ERROR_DB_NO_LONGER_VALID with errno ESTALE, from saving or from committing. Nothing
 *    is written then; the handle goes on reading, and is closed and freed as always.
 *    couchstore_seek() to the end, or couchstore_reopen_file(), make it take the file as it is by
 *    then. A file that was only removed may be used on. COUCHSTORE_OPEN_WITHOUT_STALE_CHECK
 *    switches this off. File operations of the caller's are not asked (and not called for this):
 *    with them a commit to a replaced file succeeds and is lost with it, and of two writers on one
 *    file one overwrites what the other has committed.
 *  - After the failure of a system call, errno still has its reason when the function returns.
 */
#ifndef COUCHSTORE_COUCH_DB_H
#define COUCHSTORE_COUCH_DB_H

#include <libcouchstore/couch_common.h>
#include <libcouchstore/error.h>
#include <libcouchstore/file_ops.h>
#include <libcouchstore/visibility.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Opening ---- */

/** How a file is opened: COUCHSTORE_OPEN_* values, or-ed together. */
typedef uint64_t couchstore_open_flags;

/*
 * Some of the values do not fit an int, so they are no enumerators: macros in C (fit for "case" and
 * for "#if"), typed constants in C++.
 */
#ifndef __cplusplus
/** Create the file if it is not there. */
#define COUCHSTORE_OPEN_FLAG_CREATE UINT64_C(1)
/** Open for reading only. Not together with CREATE. An empty file gives NO_HEADER. */
#define COUCHSTORE_OPEN_FLAG_RDONLY UINT64_C(2)
/** Give a new file the old CRC-32 checksums (format version 11). Refused for files with CRC-32C. */
#define COUCHSTORE_OPEN_WITH_LEGACY_CRC UINT64_C(4)
/** No buffer of the library between it and the file operations. */
#define COUCHSTORE_OPEN_FLAG_UNBUFFERED UINT64_C(8)
/** With CREATE: fail if the file is there already. Refused without CREATE. */
#define COUCHSTORE_OPEN_FLAG_EXCL UINT64_C(16)
/** With CREATE: write no header before the first commit. */
#define COUCHSTORE_OPEN_FLAG_NO_COMMIT_AT_CREATE UINT64_C(32)
/**
 * Mask of the sizes of the read buffers. Bits 15-12: n gives 2^(n-1) KiB for each; bits 11-8: n
 * gives 8 * 2^(n-1) of them. If only one is given, the other is 16 of them, or 4 KiB. 0: no buffers of
 * fixed sizes; what is wanted is read, and what will be wanted next.
 */
#define COUCHSTORE_OPEN_WITH_CUSTOM_BUFFER UINT64_C(0xff00)
/** Mask of the sizes of tree nodes, in KiB. Bits 23-20: inner ones; 19-16: leaves. 0: 1279 bytes. */
#define COUCHSTORE_OPEN_WITH_CUSTOM_NODESIZE UINT64_C(0xff0000)
/** Mask: sync after each 2^(n-1) KiB written. See couchstore_encode_periodic_sync_flags(). */
#define COUCHSTORE_OPEN_WITH_PERIODIC_SYNC UINT64_C(0x1f000000)
/** Ask the file operations for traces. */
#define COUCHSTORE_OPEN_WITH_TRACING UINT64_C(0x20000000)
/** Ask the file operations to read back and compare what was written. */
#define COUCHSTORE_OPEN_WITH_WRITE_VALIDATION UINT64_C(0x40000000)
/** Ask the file operations to protect write buffers that are not in use. */
#define COUCHSTORE_OPEN_WITH_MPROTECT UINT64_C(0x800000000)
/** Skip damaged headers: stand on the newest one that is whole. */
#define COUCHSTORE_OPEN_RECOVERY_MODE UINT64_C(0x1000000000)
/**
 * Do not look, before writing, whether the file was replaced or is written by somebody else: see the
 * rules above. The bit is far from those that other versions of this header use.
 */
#define COUCHSTORE_OPEN_WITHOUT_STALE_CHECK UINT64_C(0x4000000000000000)
#else
} /* extern "C" */
constexpr couchstore_open_flags COUCHSTORE_OPEN_FLAG_CREATE{1};
constexpr couchstore_open_flags COUCHSTORE_OPEN_FLAG_RDONLY{2};
constexpr couchstore_open_flags COUCHSTORE_OPEN_WITH_LEGACY_CRC{4};
constexpr couchstore_open_flags COUCHSTORE_OPEN_FLAG_UNBUFFERED{8};
constexpr couchstore_open_flags COUCHSTORE_OPEN_FLAG_EXCL{16};
constexpr couchstore_open_flags COUCHSTORE_OPEN_FLAG_NO_COMMIT_AT_CREATE{32};
constexpr couchstore_open_flags COUCHSTORE_OPEN_WITH_CUSTOM_BUFFER{0xff00};
constexpr couchstore_open_flags COUCHSTORE_OPEN_WITH_CUSTOM_NODESIZE{0xff0000};
constexpr couchstore_open_flags COUCHSTORE_OPEN_WITH_PERIODIC_SYNC{0x1f000000};
constexpr couchstore_open_flags COUCHSTORE_OPEN_WITH_TRACING{0x20000000};
constexpr couchstore_open_flags COUCHSTORE_OPEN_WITH_WRITE_VALIDATION{0x40000000};
constexpr couchstore_open_flags COUCHSTORE_OPEN_WITH_MPROTECT{0x800000000};
constexpr couchstore_open_flags COUCHSTORE_OPEN_RECOVERY_MODE{0x1000000000};
constexpr couchstore_open_flags COUCHSTORE_OPEN_WITHOUT_STALE_CHECK{0x4000000000000000};
extern "C" {
#endif

/**
 * The open flags for read buffers of a size (the field COUCHSTORE_OPEN_WITH_CUSTOM_BUFFER). The
 * library keeps fewer of them if they would have more than 256 MiB in all.
 *
 * @param unit_bytes of each, rounded up to KiB times a power of two, at most 16 MiB; 0: the default
 * @param count      rounded up to 8 times a power of two, at most 131072; 0: the default
 * @return the bits to be or-ed into the flags; 0 if both are 0: no buffers of fixed sizes
 */
static inline couchstore_open_flags couchstore_encode_read_buffer_flags(uint64_t unit_bytes,
                                                                        uint64_t count) {
    couchstore_open_flags unit = unit_bytes != 0;
    couchstore_open_flags number = count != 0;
    while (unit != 0 && unit < 15 && (UINT64_C(1024) << (unit - 1)) < unit_bytes) {
        ++unit;
    }
    while (number != 0 && number < 15 && (UINT64_C(8) << (number - 1)) < count) {
        ++number;
    }
    return unit << 12 | number << 8;
}

/**
 * The open flags for tree nodes of a size (the field COUCHSTORE_OPEN_WITH_CUSTOM_NODESIZE). It holds
 * for nodes that are written with the handle; files with nodes of any size can be read.
 *
 * @param interior_bytes of nodes with pointers, rounded up to KiB, at most 15 KiB; 0: 1279 bytes
 * @param leaf_bytes     of leaves, likewise
 * @return the bits to be or-ed into the flags
 */
static inline couchstore_open_flags couchstore_encode_node_size_flags(uint64_t interior_bytes,
                                                                      uint64_t leaf_bytes) {
    const couchstore_open_flags most = 15;
    const couchstore_open_flags interior = interior_bytes / 1024 + (interior_bytes % 1024 != 0);
    const couchstore_open_flags leaf = leaf_bytes / 1024 + (leaf_bytes % 1024 != 0);
    return (interior < most ? interior : most) << 20 | (leaf < most ? leaf : most) << 16;
}

/* ---- Headers ---- */

/** Which way to go from header to header. */
typedef int couchstore_direction;
enum {
    COUCHSTORE_SEEK_FORWARD = 0,  /**< to the next newer header */
    COUCHSTORE_SEEK_BACKWARD = 1, /**< to the next older header */
    COUCHSTORE_SEEK_END = 2       /**< to the newest header, looking again at the file's size */
};

/** What a header says, and what follows from it. Sizes and positions in bytes. */
typedef struct couchstore_header_info {
    uint64_t version;         /**< format version, 11 to 14 */
    uint64_t timestamp;       /**< time of the commit, ns since 1970; 0 before version 13 */
    uint64_t update_seq;      /**< highest sequence number in use */
    uint64_t purge_seq;       /**< highest sequence number whose deletion was forgotten */
    uint64_t header_position; /**< where the header is */
    uint64_t doc_count;       /**< documents that are not deleted */
    uint64_t deleted_count;   /**< deleted documents */
    uint64_t space_used;      /**< in use by bodies and index */
    uint64_t file_size;       /**< of the file */
    uint64_t previous_header_position; /**< of the header before; UINT64_MAX: not known */
} couchstore_header_info;

/** Counts of one open file, since it was opened. */
typedef struct couchstore_file_stats {
    uint64_t read_count;  /**< reads */
    uint64_t write_count; /**< writes */
    uint64_t write_bytes; /**< bytes written */
    uint64_t read_bytes;  /**< bytes read */
    uint64_t sync_count;  /**< syncs */
} couchstore_file_stats;

/* ---- Writing ---- */

/** How documents are saved: the values below, or-ed together. */
typedef uint64_t couchstore_save_options;
enum {
    /** Compress the bodies of those documents that have COUCH_DOC_IS_COMPRESSED in content_meta. */
    COMPRESS_DOC_BODIES = 1,
    /**
     * Keep the db_seq of the DocInfos instead of numbering the documents. Like rev_seq it is stored
     * modulo 2^48: the DocInfo keeps what it was given, what is read later is what was stored. The
     * numbers that the library gives out itself end at 2^48 - 1: after a document with that number,
     * or any beyond, saving without this option is COUCHSTORE_ERROR_INVALID_ARGUMENTS.
     */
    COUCHSTORE_SEQUENCE_AS_IS = 2
};

/**
 * Called for each document of couchstore_save_documents_and_callback(), in order of the ids.
 *
 * @param oldInfo the entry that is replaced; NULL: the document is new
 * @param newInfo the entry that takes its place
 * @param ctx     as given to the function
 * @param userReq the document's element of userReqs; NULL if there was no array
 *
 * Both entries belong to the library.
 */
typedef void (*save_callback_fn)(const DocInfo *oldInfo,
                                 const DocInfo *newInfo,
                                 void *ctx,
                                 void *userReq);

/**
 * Called when the very last sync of a commit failed, the one that makes the header count. os_error
 * is the errno of the failure. Returns non-zero to have the header's mark written and synced once
 * more, 0 to let the commit fail. Then its outcome is open until the next commit that succeeds on a
 * new handle: a file that shows the commit when it is opened again may do so from memory only.
 */
typedef int (*couchstore_commit_retry_fn)(void *ctx, int os_error);

/* ---- Reading ---- */

/** How the body of a document is read: the values below, or-ed together. */
typedef uint64_t couchstore_open_options;
enum {
    /** Decompress the body, if it is compressed. */
    DECOMPRESS_DOC_BODIES = 1
};

/** How the index is scanned: the values below, or-ed together. */
typedef uint64_t couchstore_docinfos_options;
enum {
    /**
     * The keys are not single keys but a range: from the first to the second, both included, or
     * without an upper end if there is only one key. Further keys are ignored.
     */
    RANGES = 1,
    /** Only deleted documents. */
    COUCHSTORE_DELETES_ONLY = 2,
    /** Only documents that are not deleted. */
    COUCHSTORE_NO_DELETES = 4,
    /**
     * Skip what is damaged and go on; the error is returned at the end. An entry that cannot be
     * decoded is shown with its key as id and its raw bytes as rev_meta, everything else being 0.
     */
    COUCHSTORE_TOLERATE_CORRUPTION = 8
};

/**
 * Called for each document of a scan.
 *
 * @return 0: the library frees docinfo; > 0: the callback keeps it, and frees it later with
 *         couchstore_free_docinfo(); < 0: the library frees it and the scan returns this value
 */
typedef int (*couchstore_changes_callback_fn)(Db *db, DocInfo *docinfo, void *ctx);

/**
 * Called for each node and each document of a tree, nodes before what is below them.
 *
 * @param depth        0 for the root
 * @param doc_info     the document; NULL for a node. It belongs to the library.
 * @param subtree_size for a node: bytes that its subtree takes in the file
 * @param reduce_value for a node: its stored reduction, good during the call; NULL for a document.
 *                     Numbers of most significant bytes first. Index by id, 16 bytes: documents that
 *                     are not deleted (5 bytes), deleted ones (5), sum of their physical_size (6).
 *                     Index by sequence number, 5 bytes: documents. Local documents: no bytes. A
 *                     damaged file may have another size: check it.
 * @return < 0: the walk returns this value at once; all others: it goes on
 */
typedef int (*couchstore_walk_tree_callback_fn)(Db *db,
                                                int depth,
                                                const DocInfo *doc_info,
                                                uint64_t subtree_size,
                                                const sized_buf *reduce_value,
                                                void *ctx);

/**
 * Called for each local document of a scan.
 *
 * @return 0: the library frees doc; > 0: the callback keeps it, and frees it later with
 *         couchstore_free_local_document(); < 0: the library frees it and the scan returns this
 *         value
 */
typedef int (*couchstore_local_docs_callback_fn)(Db *db, LocalDoc *doc, void *ctx);

/* ---- Compacting ---- */

/** How a file is compacted: the values below, or-ed together. */
typedef uint64_t couchstore_compact_flags;
enum {
    /** Leave out deleted documents. If there is a hook, it decides instead. */
    COUCHSTORE_COMPACT_FLAG_DROP_DELETES = 1,
    /** Write the newest format version, even if the source has an older one. */
    COUCHSTORE_COMPACT_FLAG_UPGRADE_DB = 2,
    /** No buffer of the library between it and the file operations of the target. */
    COUCHSTORE_COMPACT_FLAG_UNBUFFERED = 4,
    /** Leave out what is damaged and go on. */
    COUCHSTORE_COMPACT_RECOVERY_MODE = 8,
    /** Mask: no meaning. */
    COUCHSTORE_COMPACT_UNUSED = 0xfffff0,
    /** Mask: sync after each 2^(n-1) KiB written, as when opening. */
    COUCHSTORE_COMPACT_WITH_PERIODIC_SYNC = 0x1f000000
};

/*
 * What a couchstore_compact_hook returns. Numbers above 2 count as KEEP_ITEM; a negative one ends the
 * compaction, which returns it.
 */
enum {
    COUCHSTORE_COMPACT_KEEP_ITEM = 0, /**< copy the document */
    COUCHSTORE_COMPACT_DROP_ITEM = 1, /**< leave it out */
    /** Call again, with the body. A second time: COUCHSTORE_ERROR_INVALID_ARGUMENTS */
    COUCHSTORE_COMPACT_NEED_BODY = 2
};

/**
 * Decides about each document that is to be copied. After the last one it is called with docinfo
 * NULL: the time to add to the target, before its header is written. Then only a negative result
 * means anything.
 *
 * @param target  the file being written; saving to it is for that last call
 * @param docinfo the document. It belongs to the library, and is gone after the hook for this
 *                document. What the hook writes into it is seen by its own second call and by the
 *                docinfo_hook, and is not stored
 * @param item    the body as it is stored, when it was asked for (of no bytes if there is none);
 *                else item.buf is NULL and item.size means nothing
 * @param ctx     as given to the function
 */
typedef int (*couchstore_compact_hook)(Db *target, DocInfo *docinfo, sized_buf item, void *ctx);

/**
 * May give a document that is kept, and has a body, another rev_meta. Nothing else of the entry is
 * taken over.
 *
 * *docinfo is one block of memory from malloc() (cb_malloc() in a host that has it). The hook may make
 * it larger with realloc() (cb_realloc()) or free it and put another such block there: in the end
 * the library frees what *docinfo leads to. rev_meta may also point to memory of the hook's that is
 * good until the hook is called again: it is copied as soon as the hook has returned.
 *
 * @param item the body as it is stored; good during the call
 * @return 0: the entry stays as it was; all others: it gets the rev_meta of *docinfo
 */
typedef int (*couchstore_docinfo_hook)(DocInfo **docinfo, const sized_buf *item);

/**
 * Called by couchstore_replay() for each document (doc) or local document (local; the other one is
 * NULL) before it is put into the target. Returns 0: put it there; > 0: skip it; < 0: an error, the
 * replay ends.
 */
typedef couchstore_error_t (*couchstore_pre_copy_hook)(Db *source,
                                                       Db *target,
                                                       const DocInfo *doc,
                                                       const DocInfo *local,
                                                       void *ctx);

/** Called by couchstore_replay() before the target is committed. An error ends the replay. */
typedef couchstore_error_t (*couchstore_precommit_hook)(Db *source, Db *target, void *ctx);

/* ---- Encryption ---- */

/* How the key of a file follows from the caller's key. */
enum {
    COUCHSTORE_KEY_WRAPPED =
            0,                 /**< the file has a random key, stored encrypted with the caller's */
    COUCHSTORE_KEY_DERIVED = 1 /**< the file's key is derived from the caller's */
};

/** A key, as a couchstore_key_fn gives it. */
typedef struct couchstore_encryption_key {
    sized_buf id;   /**< 1 to 255 bytes, stored in the file as they are */
    sized_buf key;  /**< 32 bytes, for AES-256-GCM */
    int derivation; /**< COUCHSTORE_KEY_*; counts for new files only */
} couchstore_encryption_key;

/**
 * Finds a key. The library copies what it gives, and wipes the copy when it needs it no more.
 *
 * @param id  the id of the key, id_size bytes; of no length: the key for a new file
 * @param key to be filled in; its strings must stay good until the function is called again
 * @return > 0: found; 0: there is none; < 0: the search failed
 */
typedef int (*couchstore_key_fn)(void *ctx,
                                 const char *id,
                                 size_t id_size,
                                 couchstore_encryption_key *key);

/* ---- Compacting a file that is in use ---- */

/* What happens to the names at the end of an online compaction. */
enum {
    COUCHSTORE_SWAP_NONE = 0,   /**< the result gets the target's name */
    COUCHSTORE_SWAP_REPLACE = 1 /**< the result takes the source's name */
};

/**
 * Options of couchstore_compact_db_online(). Set size, and leave to zero what is not needed: hooks
 * that are NULL are not called, numbers that are 0 mean the default. A struct of an older header is
 * smaller, which is fine; so is a larger one if all that this library does not know is zero. Values
 * of flags, swap and open_flags that it does not know are refused with
 * COUCHSTORE_ERROR_INVALID_ARGUMENTS.
 */
typedef struct couchstore_online_compact_options {
    size_t size;                    /**< sizeof(couchstore_online_compact_options) */
    couchstore_compact_flags flags; /**< COUCHSTORE_COMPACT_*: how to copy */
    const couch_file_ops *ops;      /**< for both files; NULL: the default ones */
    couchstore_key_fn keys; /**< of the source by its id, and of the result; NULL: not encrypted */
    void *keys_ctx;         /**< passed to keys */

    /** Decides about each document that is copied; not asked about what is committed meanwhile. */
    couchstore_compact_hook hook;
    couchstore_docinfo_hook dhook; /**< may change entries; only with hook */
    void *hook_ctx;                /**< passed to hook */

    /** Before each document and local document is put that the source has changed meanwhile. */
    couchstore_pre_copy_hook pre_copy;
    /**
     * Before each commit of what was put. If nothing was committed meanwhile it is called all the
     * same, once, under the lock, and takes one more commit.
     */
    couchstore_precommit_hook precommit;
    void *replay_ctx; /**< passed to both */

    /**
     * Keeps writers of the source out until unlock; may block. Called at the end, and for short times
     * before, should the writers be faster than the catching up. It has to keep out whole pieces of
     * work: writers hold the same lock from before the first save until the commit has returned. What
     * was saved and not committed when the lock is taken is not in the result.
     */
    void (*lock)(void *ctx);
    /** Lets them go on. Called after each lock, whatever fails, on the same thread. */
    void (*unlock)(void *ctx);
    /**
     * Called under the lock once the result is durable under its final name: the host switches over,
     * as couchstore_compact_db_online() describes. Any non-zero result undoes everything and is
     * returned; after 0 the result stays.
     */
    couchstore_error_t (*publish)(void *ctx, Db *source, Db *target);
    /**
     * Called now and then while copying and catching up, after 1000 documents or 16 MiB at the
     * latest; perhaps under the lock. done_docs is 0 only when a copy begins; once it is made, all
     * are done. Non-zero cancels: a negative code is returned, else COUCHSTORE_ERROR_CANCEL.
     */
    int (*progress)(void *ctx, uint64_t done_docs, uint64_t total_docs, uint64_t done_bytes);
    void *ctx; /**< passed to these four */

    int swap;                /**< COUCHSTORE_SWAP_* */
    int max_unlocked_rounds; /**< of catching up without lock; 0: 10; negative: none */
    uint64_t
            delta_bytes_for_lock; /**< growth of the source from which on to take the lock; 0: 1 MiB */
    /**
     * For sorting, in bytes; 0: 48 MiB. Besides that 4 MiB are used, and twice the largest body or tree
     * node (of local documents up to three share one); 16 MiB more while catching up.
     */
    size_t memory_budget;
    /**
     * COUCHSTORE_OPEN_* values that the source is opened with elsewhere. The file does not tell the sizes
     * of tree nodes: the result gets those that are given here. The sizes of read buffers and UNBUFFERED
     * count for reading the source, all others for nothing.
     */
    couchstore_open_flags open_flags;
    /**
     * Threads to use, the caller's included; 0: 1. With 2 or more a second one makes the result of what the
     * caller's reads, if the machine runs two at a time and there is neither hook nor dhook. It blocks all
     * signals and ends with the copying; where it cannot be made all is done without. All hooks, and all
     * calls of ops other than the default ones, stay on the caller's thread. done_bytes may lag behind then.
     */
    size_t threads;
} couchstore_online_compact_options;

/** Figures of couchstore_compact_db_online(). */
typedef struct couchstore_online_compact_stats {
    uint64_t documents;    /**< in the result, deleted ones too */
    uint64_t bytes;        /**< of the result */
    uint64_t rounds;       /**< of catching up without lock */
    uint64_t restarts;     /**< copies begun anew because the source was rewound */
    uint64_t locked_bytes; /**< growth of the source that was left for the lock */
    uint64_t lock_hold_us; /**< longest time that the lock was held, in microseconds */
    uint64_t total_us;     /**< how long everything took, in microseconds */
} couchstore_online_compact_stats;

/* ---- Diagnostics ---- */

/** Receives the text of internal errors: size bytes, not terminated, good during the call. */
typedef void (*couchstore_internal_error_fn)(const char *message, size_t size, void *ctx);

/** How long the calls of one function took. Times in microseconds. */
typedef struct couchstore_c_latency {
    const char *name;        /**< of the function */
    uint64_t count;          /**< calls */
    uint64_t total_us;       /**< all of them together */
    uint64_t max_us;         /**< the longest one */
    const uint64_t *buckets; /**< calls by time: [0] under 1 us, [i] from 2^(i-1) to under 2^i us */
    size_t num_buckets;      /**< elements of buckets */
} couchstore_c_latency;

/** Receives the times of one function; they are good during the call. Returns non-zero to stop. */
typedef int (*couchstore_c_latency_callback_fn)(const couchstore_c_latency *latency, void *ctx);

#ifdef __cplusplus
} /* extern "C" */
#endif

/* ---- The functions ---- */

#include <libcouchstore/couch_api.h>

#ifdef __cplusplus
#include <libcouchstore/couch_db_cxx.h>
#else

/*
 * The functions whose C++ signature differs from the C one. Here with C types, as calls of exported
 * functions that have names of their own, so that a C program never binds to a C++ signature.
 */

/**
 * Opens a database with the caller's file operations. As couchstore_open_db() otherwise.
 *
 * @param ops see couchstore_c_open_db_ex(); NULL gives COUCHSTORE_ERROR_INVALID_ARGUMENTS
 */
static inline couchstore_error_t couchstore_open_db_ex(const char *filename,
                                                       couchstore_open_flags flags,
                                                       const couch_file_ops *ops,
                                                       Db **db) {
    return couchstore_c_open_db_ex(filename, flags, ops, db);
}

/** Makes everything that was saved durable and visible, with the time of the system clock. */
static inline couchstore_error_t couchstore_commit(Db *db) {
    return couchstore_c_commit(db);
}

/**
 * Commits with a given time, and asks what to do should the last sync fail.
 *
 * @param timestamp ns since 1970
 * @param retry     NULL: the commit fails when the sync does
 * @param ctx       passed to retry
 */
static inline couchstore_error_t couchstore_commit_ex(Db *db,
                                                      uint64_t timestamp,
                                                      couchstore_commit_retry_fn retry,
                                                      void *ctx) {
    return couchstore_c_commit_ex(db, timestamp, retry, ctx);
}

/** The library's own file operations. They live as long as the library. */
static inline const couch_file_ops *couchstore_get_default_file_ops(void) {
    return couchstore_c_get_default_file_ops();
}

/** Counts of the calls of the file operations on this handle's file. */
static inline couchstore_error_t couchstore_get_db_filestats(Db *db, couchstore_file_stats *stats) {
    return couchstore_c_get_db_filestats(db, stats);
}

/**
 * Copies the live content of a database to a new file.
 *
 * @param source          stays open and unchanged
 * @param target_filename must not exist; is gone again after a failure
 * @param hook            decides about each document; NULL: all are copied
 * @param dhook           may change their index entries; NULL: none is changed
 * @param hook_ctx        passed to hook
 * @param ops             for the target; NULL: the default ones
 */
static inline couchstore_error_t couchstore_compact_db_ex(Db *source,
                                                          const char *target_filename,
                                                          couchstore_compact_flags flags,
                                                          couchstore_compact_hook hook,
                                                          couchstore_docinfo_hook dhook,
                                                          void *hook_ctx,
                                                          const couch_file_ops *ops) {
    return couchstore_c_compact_db_ex(source, target_filename, flags, hook, dhook, hook_ctx, ops);
}

#endif /* __cplusplus */

#endif /* COUCHSTORE_COUCH_DB_H */
