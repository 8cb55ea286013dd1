/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What libcouchstore offers to C++ besides the functions of C: file operations as a class, callbacks
 * as std::function, and namespace cb::couchstore. It is the end of <libcouchstore/couch_db.h>;
 * include that.
 *
 * Exceptions: what a callback or a file operation throws passes through the function that called
 * it, from functions with C linkage too, unless the function's description says otherwise. The
 * operation has ended as if it had failed.
 */
#ifndef COUCHSTORE_COUCH_DB_CXX_H
#define COUCHSTORE_COUCH_DB_CXX_H

#ifndef COUCHSTORE_COUCH_DB_H
#include <libcouchstore/couch_db.h>
#endif

#ifdef __cplusplus

#include <libcouchstore/key_getter.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#if !defined(COUCHSTORE_NO_JSON) && __has_include(<nlohmann/json_fwd.hpp>)
#define COUCHSTORE_HAS_JSON 1
#include <nlohmann/json_fwd.hpp>
#endif

/**
 * Asked when the last sync of a commit failed, the one that makes the header count. Returns true to
 * have the header's mark written and synced once more. If the commit fails there, its outcome is open
 * until the next commit that succeeds on a new handle: a file that shows the commit when it is opened
 * again may do so from memory only.
 */
using SysErrorCallback = std::function<bool(const std::system_error &)>;

/** Called before the target of a compaction or a replay is committed. An error ends it. */
using PrecommitHook = std::function<couchstore_error_t(Db &source, Db &target)>;

/* ---- Functions with C linkage and C++ types ---- */

extern "C" {

/**
 * Opens a database with the caller's file operations. As couchstore_open_db() otherwise.
 *
 * @param encryptionKeyCB finds keys. What it throws gives COUCHSTORE_ERROR_ENCRYPT for a new file
 *                        and COUCHSTORE_ERROR_NO_ENCRYPTION_KEY for an existing one
 * @param ops             must live until the handle is freed; nullptr gives
 *                        COUCHSTORE_ERROR_INVALID_ARGUMENTS
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_open_db_ex(const char *filename,
                                         couchstore_open_flags flags,
                                         cb::couchstore::EncryptionKeyGetter encryptionKeyCB,
                                         FileOpsInterface *ops,
                                         Db **db);

/**
 * Makes everything that was saved durable and visible, with the time of the system clock.
 *
 * @param callback asked what to do if the last sync fails; not even looked at otherwise
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_commit(Db *db, const SysErrorCallback &callback = {});

/**
 * Commits with a given time.
 *
 * @param timestamp ns since 1970
 * @param callback  as for couchstore_commit()
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_commit_ex(Db *db,
                                        uint64_t timestamp,
                                        const SysErrorCallback &callback = {});

/**
 * The library's own file operations. The object belongs to the library. A program's own operations
 * may wrap it; create_default_file_ops() makes further ones.
 */
LIBCOUCHSTORE_API FileOpsInterface *couchstore_get_default_file_ops(void);

/** What the file operations count for this handle's file; nullptr if they count nothing. */
LIBCOUCHSTORE_API FileOpsInterface::FHStats *couchstore_get_db_filestats(Db *db);

/**
 * Copies the live content of a database to a new file.
 *
 * @param source          stays open and unchanged
 * @param target_filename must not exist; is gone again after a failure
 * @param targetEncrKeyCB finds the key for the target
 * @param hook            decides about each document; nullptr: all are copied
 * @param dhook           may change index entries; only with hook, else std::invalid_argument
 * @param hook_ctx        passed to hook
 * @param ops             for the target; nullptr: the default ones
 * @param precommitHook   called before the target is committed; a negative result ends it
 * @throws std::logic_error hook asked for a body that it had been given
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_compact_db_ex(Db *source,
                                            const char *target_filename,
                                            couchstore_compact_flags flags,
                                            cb::couchstore::EncryptionKeyGetter targetEncrKeyCB,
                                            couchstore_compact_hook hook,
                                            couchstore_docinfo_hook dhook,
                                            void *hook_ctx,
                                            FileOpsInterface *ops,
                                            PrecommitHook precommitHook = {});

} /* extern "C" */

namespace cb::couchstore {

/* ---- Owners ---- */

/**
 * Closes and frees a handle. An error, or an exception of its file operations, is lost. Within a
 * callback of a call on the handle it does nothing: the handle stays open, for whoever has a pointer
 * to it.
 */
struct LIBCOUCHSTORE_API DbDeleter {
    void operator()(Db *db);
};

/** Frees an index entry. */
struct LIBCOUCHSTORE_API DocInfoDeleter {
    void operator()(DocInfo *info);
};

/** Frees a document. */
struct LIBCOUCHSTORE_API DocDeleter {
    void operator()(Doc *doc);
};

/** Frees a local document. */
struct LIBCOUCHSTORE_API LocalDocDeleter {
    void operator()(LocalDoc *doc);
};

using UniqueDbPtr = std::unique_ptr<Db, DbDeleter>;
using UniqueDocInfoPtr = std::unique_ptr<DocInfo, DocInfoDeleter>;
using UniqueDocPtr = std::unique_ptr<Doc, DocDeleter>;
using UniqueLocalDocPtr = std::unique_ptr<LocalDoc, LocalDocDeleter>;

/* ---- Headers ---- */

/** The newest version of the file format: 14. */
LIBCOUCHSTORE_API uint32_t getFileFormatVersion();

/** Which way to go from header to header. */
enum class Direction : uint8_t {
    Forward,  /**< to the next newer header */
    Backward, /**< to the next older header */
    End       /**< to the newest header, looking again at the file's size */
};

/** See couchstore_seek_offset(). */
LIBCOUCHSTORE_API couchstore_error_t seek(Db &db, cs_off_t offset);

/** See couchstore_seek(). */
LIBCOUCHSTORE_API couchstore_error_t seek(Db &db, Direction direction);

/**
 * See couchstore_seek_first_header_containing().
 *
 * @throws std::invalid_argument granularity is 0
 */
LIBCOUCHSTORE_API
couchstore_error_t seekFirstHeaderContaining(Db &db, uint64_t seqno, uint64_t granularity);

/** What a header says, and what follows from it. */
struct LIBCOUCHSTORE_API Header {
    enum class Version { V11 = 11, V12 = 12, V13 = 13, V14 = 14 };

    Version version;         /**< of the file format */
    uint64_t timestamp;      /**< of the commit, ns since 1970; 0 before version 13 */
    uint64_t updateSeqNum;   /**< highest sequence number in use */
    uint64_t purgeSeqNum;    /**< highest sequence number whose deletion was forgotten */
    uint64_t headerPosition; /**< in bytes */
    const char *filename;    /**< as given when opening; lives as long as the handle */
    uint64_t docCount;       /**< documents that are not deleted */
    uint64_t deletedCount;   /**< deleted documents */
    uint64_t spaceUsed;      /**< bytes in use by bodies and index */
    uint64_t fileSize;       /**< in bytes */

#ifdef COUCHSTORE_HAS_JSON
    /** The older form of to_json() in json_utils.h. */
    nlohmann::json to_json() const;
#endif
};

/** The header that the handle stands on, with what was saved since. */
LIBCOUCHSTORE_API Header getHeader(Db &db);

/* ---- Opening ---- */

/** Size of the blocks of a file: 4096. */
LIBCOUCHSTORE_API size_t getDiskBlockSize(Db &db);

/** Whether the file is encrypted. */
LIBCOUCHSTORE_API bool isEncrypted(const Db &db);

/** Id of the key that the file is encrypted with; empty if it is not encrypted. */
LIBCOUCHSTORE_API std::string_view getEncryptionKeyId(const Db &db);

/* ---- Documents ---- */

/** The local document with this id. */
LIBCOUCHSTORE_API
std::pair<couchstore_error_t, UniqueLocalDocPtr> openLocalDocument(Db &db, std::string_view id);

/** The local document with the id of this entry. */
LIBCOUCHSTORE_API
std::pair<couchstore_error_t, UniqueLocalDocPtr> openLocalDocument(Db &db, const DocInfo &docInfo);

/** The document of this entry, decompressed. */
LIBCOUCHSTORE_API
std::pair<couchstore_error_t, UniqueDocPtr> openDocument(Db &db, const DocInfo &docInfo);

/** The document with this key, decompressed. Its id points to the key. */
LIBCOUCHSTORE_API
std::pair<couchstore_error_t, UniqueDocPtr> openDocument(Db &db, std::string_view key);

/** The entry of the document with this key. */
LIBCOUCHSTORE_API
std::pair<couchstore_error_t, UniqueDocInfoPtr> openDocInfo(Db &db, std::string_view key);

/**
 * Shows all local documents in order of ids.
 *
 * @param from     the id to begin with; empty: the beginning
 * @param callback gets each of them; anything but COUCHSTORE_SUCCESS ends the scan, which returns
 *                 it
 * @return what callback returned; COUCHSTORE_ERROR_ALLOC_FAIL if it threw std::bad_alloc,
 *         COUCHSTORE_ERROR_INVALID_ARGUMENTS if it threw anything else
 */
LIBCOUCHSTORE_API
couchstore_error_t scanLocalDocs(
        Db &db,
        std::string_view from,
        const std::function<couchstore_error_t(UniqueLocalDocPtr)> &callback);

/** Saves, or removes, several local documents in one change of their tree. Sorts the vector. */
LIBCOUCHSTORE_API
couchstore_error_t saveLocalDocuments(Db &db,
                                      std::vector<std::reference_wrapper<LocalDoc>> &documents);

/* ---- Compacting ---- */

/** As couchstore_compact_hook, which see. */
using CompactFilterCallback = std::function<int(Db &, DocInfo *, sized_buf)>;

/**
 * May change the rev_meta of an entry, or put another one in its place (made by the host's
 * allocator). Returns non-zero if it did.
 */
using CompactRewriteDocInfoCallback = std::function<int(DocInfo *&, sized_buf)>;

/** Of older generations: called before and after compacting. */
using PreCompactionCallback = std::function<couchstore_error_t(Db &)>;
using PostCompactionCallback = std::function<couchstore_error_t(Db &)>;

/**
 * Called by replay() for each document, or local document (the other entry is nullptr), before it
 * is put into the target. COUCHSTORE_SUCCESS: put it there; positive: skip it; negative: an error.
 */
using PreCopyHook = std::function<
        couchstore_error_t(Db &source, Db &target, const DocInfo *doc, const DocInfo *local)>;

/* ---- The two promises ---- */

/** Options of bootstrap(). */
struct BootstrapOptions {
    couchstore_open_flags flags{0}; /**< as for openDatabase(); CREATE is implied */
    EncryptionKeyGetter keys;       /**< see couchstore_open_db_ex(); empty: not encrypted */
    FileOpsInterface *ops{nullptr}; /**< nullptr: the default ones */
};

/**
 * Opens a file with the caller's file operations or, if there is none, creates it: a complete and
 * durable file, or none. As couchstore_bootstrap_db(), which see.
 */
LIBCOUCHSTORE_API
std::pair<couchstore_error_t, UniqueDbPtr> bootstrap(const std::string &filename,
                                                     BootstrapOptions options = {});

/**
 * Options of compact_online(). Functions may be empty, and are not called then. The members mean what
 * those of couchstore_online_compact_options mean, unless said otherwise.
 */
struct OnlineCompactOptions {
    couchstore_compact_flags flags{0};
    FileOpsInterface *ops{nullptr};        /**< for both files; nullptr: the default ones */
    EncryptionKeyGetter keys;              /**< of the source by its id, and of the result */
    CompactFilterCallback filter;          /**< decides about each document that is copied */
    CompactRewriteDocInfoCallback rewrite; /**< may change entries; only with filter */
    PreCopyHook preCopy;                   /**< before what the source has changed is put */
    PrecommitHook precommit;               /**< before each commit of that */
    std::function<void()> lock;            /**< keeps writers out; what throws has not locked */
    std::function<void()> unlock;          /**< after each lock; what throws has unlocked */
    /** The host switches over, under the lock. An error undoes everything. */
    std::function<couchstore_error_t(Db &source, Db &target)> publish;
    /** Non-zero cancels. */
    std::function<int(uint64_t doneDocs, uint64_t totalDocs, uint64_t doneBytes)> progress;
    bool replaceSource{false}; /**< the result takes the source's name, not the target's */
    int maxUnlockedRounds{10}; /**< 0: none */
    uint64_t deltaBytesForLock{1 << 20};
    size_t memoryBudget{0};             /**< 0: 48 MiB */
    couchstore_open_flags openFlags{0}; /**< that the source is opened with elsewhere */
    size_t threads{1};                  /**< the caller's included */
};

/**
 * Compacts a file while others save to it. As couchstore_compact_db_online(), which see.
 *
 * Which file the source is, behind a caller's operations, is told by its name, if that leads to a
 * regular file of the operating system that is not shorter.
 *
 * @param target_name ignored if the result takes the source's name
 * @param stats       receives figures; nullptr: none
 * @throws std::invalid_argument rewrite without filter
 * @throws std::logic_error      filter asked for a body that it had been given
 */
LIBCOUCHSTORE_API
couchstore_error_t compact_online(const std::string &source_name,
                                  const std::string &target_name,
                                  OnlineCompactOptions options,
                                  couchstore_online_compact_stats *stats = nullptr);

/* ---- Diagnostics ---- */

/** The reason of the last failed system call on this handle: "errno = N: 'text'". */
LIBCOUCHSTORE_API std::string getLastOsError(const Db &db);

/** Why the last call on this thread failed, in quotes. See couchstore_last_internal_error(). */
LIBCOUCHSTORE_API std::string getLastInternalError();

/**
 * Sets the function that is told of damage and defects in the process, on the thread where it
 * happens, perhaps on several at once; at the end of a call or before its next callback, when other
 * threads may use its handles. An empty one: nobody is told.
 */
LIBCOUCHSTORE_API void setOnInternalError(std::function<void(std::string_view)> handler);

}  // namespace cb::couchstore

#include <libcouchstore/couch_generations.h>

#endif /* __cplusplus */

#endif /* COUCHSTORE_COUCH_DB_CXX_H */
