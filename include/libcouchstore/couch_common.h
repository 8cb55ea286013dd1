/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The values that pass between libcouchstore and its users: byte ranges, documents, their index
 * entries, database figures. Plain structs with the same layout in C and C++.
 *
 * Ownership, for all of them:
 *  - What the caller fills in and passes to the library stays the caller's. The library reads it
 *    during the call and keeps no pointer to it.
 *  - What the library hands out (through a "Doc **", "DocInfo **", "LocalDoc **", or to a callback
 *    that keeps it) is one block of memory with everything that it points to inside, unless a
 *    function says otherwise. It is given back with couchstore_free_document(),
 *    couchstore_free_docinfo() or couchstore_free_local_document(), never with free() on a part.
 */
#ifndef COUCHSTORE_COUCH_COMMON_H
#define COUCHSTORE_COUCH_COMMON_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>

/* C++ users get zeroed members, C users the plain fields. */
/* clang-format off */
#ifdef __cplusplus
#define COUCHSTORE_ZEROED {}
#else
#define COUCHSTORE_ZEROED
#endif
/* clang-format on */

#ifdef __cplusplus
extern "C" {
#endif

/** A position or a length in a file, in bytes. 64 bits everywhere. */
typedef int64_t cs_off_t;

/** What is known about the body of a document: a combination of the COUCH_DOC_* values. */
typedef uint8_t couchstore_content_meta_flags;

enum {
    /**
     * The body is compressed (Snappy). Saving: it says that the body should be compressed; that is
     * done when the option COMPRESS_DOC_BODIES is given. Reading: the option DECOMPRESS_DOC_BODIES
     * undoes it.
     */
    COUCH_DOC_IS_COMPRESSED = 128,
    /* The lowest two bits say what the body is. The library stores them and draws no conclusion. */
    /** Valid JSON. */
    COUCH_DOC_IS_JSON = 0,
    /** Checked, and no valid JSON. */
    COUCH_DOC_INVALID_JSON = 1,
    /** Checked, and a key in it begins with a reserved sign. */
    COUCH_DOC_INVALID_JSON_KEY = 2,
    /** Not checked. */
    COUCH_DOC_NON_JSON_MODE = 3
};

/**
 * What the library tells the file operations about a range that it is done with. The value is that
 * of POSIX_FADV_DONTNEED; it is spelled out for Linux, where strict C hides that name.
 */
typedef enum couchstore_file_advice_t {
#if defined(__linux__) && defined(__s390x__)
    COUCHSTORE_FILE_ADVICE_EVICT = 6
#elif defined(__linux__)
    COUCHSTORE_FILE_ADVICE_EVICT = 4
#elif defined(POSIX_FADV_DONTNEED)
    COUCHSTORE_FILE_ADVICE_EVICT = POSIX_FADV_DONTNEED
#else
    COUCHSTORE_FILE_ADVICE_EVICT = 0
#endif
} couchstore_file_advice_t;

/** A range of bytes, not terminated by anything. An empty one may have a NULL buf. */
typedef struct sized_buf {
    char *buf COUCHSTORE_ZEROED;
    size_t size COUCHSTORE_ZEROED; /**< in bytes */
} sized_buf;

/** A document: its id and its body. */
typedef struct Doc {
    sized_buf id;
    sized_buf data;
} Doc;

/** Gives an empty Doc. */
/* clang-format off */
#define DOC_INITIALIZER { {0, 0}, {0, 0} }
/* clang-format on */

/** A document's entry in the index: everything except the body. */
typedef struct DocInfo {
    /** The id. It is what the by-id index is sorted by, byte by byte. */
    sized_buf id;
    /** Sequence number. Set by the library when the document is saved, unless it was asked not to.
     */
    uint64_t db_seq COUCHSTORE_ZEROED;
    /** Revision number: belongs to the user, is stored as it is (48 bits). */
    uint64_t rev_seq COUCHSTORE_ZEROED;
    /** Revision metadata: belongs to the user, is stored as it is. */
    sized_buf rev_meta;
    /** Non-zero for a deleted document. It may have a body all the same. */
    int deleted COUCHSTORE_ZEROED;
    /** What is known about the body: COUCH_DOC_* values. */
    couchstore_content_meta_flags content_meta COUCHSTORE_ZEROED;
    /** Position of the body in the file; 0 when it has none. Set by the library. */
    uint64_t bp COUCHSTORE_ZEROED;
    /**
     * Bytes that the body takes in the file (the length of the compressed body, if it is
     * compressed). Set by the library. Two names for one field.
     */
    union {
        size_t physical_size COUCHSTORE_ZEROED;
        size_t size;
    };
#ifdef __cplusplus
    /** Bytes of body, id and revision metadata together. */
    size_t getTotalSize() const {
        return physical_size + id.size + rev_meta.size;
    }
#endif
} DocInfo;

/** Gives an empty DocInfo. */
/* clang-format off */
#define DOC_INFO_INITIALIZER { {0, 0}, 0, 0, {0, 0}, 0, 0, 0, {0} }
/* clang-format on */

/**
 * A local document: it has no sequence number, no revision and no history, and a compaction keeps
 * it. It lives in a tree of its own, apart from the documents.
 */
typedef struct LocalDoc {
    sized_buf id;
    sized_buf json; /**< the body; in spite of the name any bytes will do */
    int deleted;    /**< non-zero when saving: remove the local document */
} LocalDoc;

/** Figures of an open database, at the header that the handle stands on plus what was saved since.
 */
typedef struct DbInfo {
    const char *filename;   /**< as given when opening; lives as long as the handle */
    uint64_t last_sequence; /**< highest sequence number in use */
    uint64_t doc_count;     /**< documents that are not deleted */
    uint64_t deleted_count; /**< deleted documents */
    uint64_t space_used; /**< bytes in use by bodies and index; the rest of the file is history */
    uint64_t file_size;  /**< bytes of the file, and where the next write goes */
    cs_off_t header_position; /**< where the header is */
    uint64_t purge_seq;       /**< highest sequence number whose deletion was forgotten */
} DbInfo;

/** An open database. Used by one thread at a time; it may move between threads. */
typedef struct Db Db;

#ifdef __cplusplus
} /* extern "C" */

/** Says to the file operations what kind of access comes next (FileOpsInterface::tag). */
enum class FileTag : uint8_t {
    Empty,      /**< looking for a header */
    FileHeader, /**< a header */
    BTree,      /**< a node of one of the trees */
    Document,   /**< the body of a document */
    Unknown     /**< none of these */
};
#endif

#undef COUCHSTORE_ZEROED

/* The layouts that other languages and older binaries rely on (64-bit platforms). */
#if defined(__LP64__)
#ifdef __cplusplus
#define COUCHSTORE_LAYOUT(condition) static_assert(condition, "libcouchstore: unexpected layout")
#else
#define COUCHSTORE_LAYOUT(condition) _Static_assert(condition, "libcouchstore: unexpected layout")
#endif
COUCHSTORE_LAYOUT(sizeof(sized_buf) == 16);
COUCHSTORE_LAYOUT(offsetof(sized_buf, size) == 8);
COUCHSTORE_LAYOUT(sizeof(Doc) == 32);
COUCHSTORE_LAYOUT(offsetof(Doc, data) == 16);
COUCHSTORE_LAYOUT(sizeof(DocInfo) == 72);
COUCHSTORE_LAYOUT(offsetof(DocInfo, db_seq) == 16);
COUCHSTORE_LAYOUT(offsetof(DocInfo, rev_seq) == 24);
COUCHSTORE_LAYOUT(offsetof(DocInfo, rev_meta) == 32);
COUCHSTORE_LAYOUT(offsetof(DocInfo, deleted) == 48);
COUCHSTORE_LAYOUT(offsetof(DocInfo, content_meta) == 52);
COUCHSTORE_LAYOUT(offsetof(DocInfo, bp) == 56);
COUCHSTORE_LAYOUT(offsetof(DocInfo, physical_size) == 64);
COUCHSTORE_LAYOUT(offsetof(DocInfo, size) == 64);
COUCHSTORE_LAYOUT(sizeof(LocalDoc) == 40);
COUCHSTORE_LAYOUT(offsetof(LocalDoc, json) == 16);
COUCHSTORE_LAYOUT(offsetof(LocalDoc, deleted) == 32);
COUCHSTORE_LAYOUT(sizeof(DbInfo) == 64);
COUCHSTORE_LAYOUT(offsetof(DbInfo, last_sequence) == 8);
COUCHSTORE_LAYOUT(offsetof(DbInfo, doc_count) == 16);
COUCHSTORE_LAYOUT(offsetof(DbInfo, deleted_count) == 24);
COUCHSTORE_LAYOUT(offsetof(DbInfo, space_used) == 32);
COUCHSTORE_LAYOUT(offsetof(DbInfo, file_size) == 40);
COUCHSTORE_LAYOUT(offsetof(DbInfo, header_position) == 48);
COUCHSTORE_LAYOUT(offsetof(DbInfo, purge_seq) == 56);
#undef COUCHSTORE_LAYOUT
#endif

#endif /* COUCHSTORE_COUCH_COMMON_H */
