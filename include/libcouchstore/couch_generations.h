/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The C++ functions whose parameters differ between the generations of couchstore's header, all
 * forms side by side. Part of <libcouchstore/couch_db.h>; include that.
 *
 * The forms that a getter of encryption keys distinguishes are inline: they take an
 * EncryptionKeyGetter, which accepts the getters of both generations that have them, and call the
 * exported function, which takes the std::function that programs were built with.
 */
#ifndef COUCHSTORE_COUCH_GENERATIONS_H
#define COUCHSTORE_COUCH_GENERATIONS_H

#ifndef COUCHSTORE_COUCH_DB_H
#include <libcouchstore/couch_db.h>
#endif

#ifdef __cplusplus

/*
 * An exported function under a C++ name of its own, so that it takes no part in overload resolution.
 * The names are those of 64-bit platforms and of GNU's C++ library; elsewhere no older binaries
 * exist, and the functions are exported by their own names.
 */
#if defined(__LP64__) && defined(__GLIBCXX__) && defined(__ELF__) && _GLIBCXX_USE_CXX11_ABI
#define COUCHSTORE_HAS_BINARY_NAMES 1
#define COUCHSTORE_BINARY_NAME(name) __asm__(name)
#else
#define COUCHSTORE_BINARY_NAME(name)
#endif

namespace cb::couchstore {

namespace detail {

LIBCOUCHSTORE_API
std::pair<couchstore_error_t, UniqueDbPtr> openWithKeys(const std::string &filename,
                                                        couchstore_open_flags flags,
                                                        KeyFunction encryptionKeyCB,
                                                        FileOpsInterface *fileops,
                                                        std::optional<cs_off_t> offset)
        COUCHSTORE_BINARY_NAME(
                "_ZN2cb10couchstore12openDatabaseERKNSt7__cxx1112basic_stringIcSt11char_"
                "traitsIcESaIcEEEmSt8functionIFSt10shared_ptrIKNS_6crypto16KeyDerivationKeyEESt17"
                "basic_string_viewIcS4_EEEP16FileOpsInterfaceSt8optionalIlE");

LIBCOUCHSTORE_API
couchstore_error_t compactWithKeys(Db &source,
                                   const char *target_filename,
                                   couchstore_compact_flags flags,
                                   KeyFunction targetEncrKeyCB,
                                   CompactFilterCallback filterCallback,
                                   CompactRewriteDocInfoCallback rewriteDocInfoCallback,
                                   FileOpsInterface *ops,
                                   PrecommitHook precommitHook)
        COUCHSTORE_BINARY_NAME(
                "_ZN2cb10couchstore7compactER2DbPKcmSt8functionIFSt10shared_ptrIKNS_"
                "6crypto16KeyDerivationKeyEESt17basic_string_viewIcSt11char_traitsIcEEEES5_"
                "IFiS2_P7DocInfo9sized_bufEES5_IFiRSI_SJ_EEP16FileOpsInterfaceS5_"
                "IF18couchstore_error_tS2_S2_EE");

}  // namespace detail

/* ---- openDatabase ---- */

/**
 * Opens a database.
 *
 * @param fileops nullptr: the default ones
 * @param offset  moves the handle there with seek(); if that fails, the result has the error and
 *                the open handle
 */
LIBCOUCHSTORE_API
std::pair<couchstore_error_t, UniqueDbPtr> openDatabase(const std::string &filename,
                                                        couchstore_open_flags flags,
                                                        FileOpsInterface *fileops = {},
                                                        std::optional<cs_off_t> offset = {});

/** The same with a getter of encryption keys: see couchstore_open_db_ex(). */
inline std::pair<couchstore_error_t, UniqueDbPtr> openDatabase(
        const std::string &filename,
        couchstore_open_flags flags,
        EncryptionKeyGetter encryptionKeyCB,
        FileOpsInterface *fileops = {},
        std::optional<cs_off_t> offset = {}) {
    auto &function = detail::functionOf(encryptionKeyCB);
    return detail::openWithKeys(filename, flags, std::move(function), fileops, offset);
}

/* ---- compact ---- */

/**
 * Copies the live content of a database to a new file. As couchstore_compact_db_ex(), with the
 * target's encryption key.
 *
 * @throws std::invalid_argument rewriteDocInfoCallback without filterCallback
 */
inline couchstore_error_t compact(Db &source,
                                  const char *target_filename,
                                  couchstore_compact_flags flags,
                                  EncryptionKeyGetter targetEncrKeyCB,
                                  CompactFilterCallback filterCallback,
                                  CompactRewriteDocInfoCallback rewriteDocInfoCallback,
                                  FileOpsInterface *ops,
                                  PrecommitHook precommitHook = {}) {
    return detail::compactWithKeys(source, target_filename, flags,
                                   std::move(detail::functionOf(targetEncrKeyCB)),
                                   std::move(filterCallback), std::move(rewriteDocInfoCallback),
                                   ops, std::move(precommitHook));
}

/** The same without encryption. */
LIBCOUCHSTORE_API
couchstore_error_t compact(Db &source,
                           const char *target_filename,
                           couchstore_compact_flags flags,
                           CompactFilterCallback filterCallback,
                           CompactRewriteDocInfoCallback rewriteDocInfoCallback,
                           FileOpsInterface *ops,
                           PrecommitHook precommitHook = {});

/**
 * Of generations that kept points in time to recover to: compacts up to the newest header whose
 * timestamp is at most timestamp (the oldest header if there is none), and replays what came after
 * it, one header for each interval of delta ns.
 *
 * @param preCompactionCallback  called with the source, standing on that header
 * @param postCompactionCallback called with the compacted target
 */
LIBCOUCHSTORE_API
couchstore_error_t compact(Db &source,
                           const char *target_filename,
                           couchstore_compact_flags flags,
                           CompactFilterCallback filterCallback,
                           CompactRewriteDocInfoCallback rewriteDocInfoCallback,
                           FileOpsInterface *ops,
                           PrecommitHook precommitHook,
                           uint64_t timestamp,
                           uint64_t delta,
                           PreCompactionCallback preCompactionCallback,
                           PostCompactionCallback postCompactionCallback,
                           PreCopyHook replayPreCopyHook,
                           PrecommitHook replayPrecommitHook);

/* ---- replay ---- */

/**
 * Puts into a copy what was committed to the source since: see couchstore_replay().
 *
 * @return an error of moving the source to sourceHeaderEndOffset
 * @throws std::runtime_error anything else went wrong
 */
LIBCOUCHSTORE_API
couchstore_error_t replay(Db &source,
                          Db &target,
                          uint64_t sourceHeaderEndOffset,
                          PreCopyHook preCopyHook,
                          PrecommitHook precommitHook,
                          size_t flushThreshold = 100 * 1024 * 1024);

/** The same with a header in the target for each interval of delta ns; 0: one for all. */
LIBCOUCHSTORE_API
couchstore_error_t replay(Db &source,
                          Db &target,
                          uint64_t delta,
                          uint64_t sourceHeaderEndOffset,
                          PreCopyHook preCopyHook,
                          PrecommitHook precommitHook,
                          size_t flushThreshold = 100 * 1024 * 1024);

}  // namespace cb::couchstore

/* ---- Functions with C linkage: the forms before encryption ---- */

/** couchstore_open_db_ex() without a getter. */
inline couchstore_error_t couchstore_open_db_ex(const char *filename,
                                                couchstore_open_flags flags,
                                                FileOpsInterface *ops,
                                                Db **db) {
    return couchstore_open_db_ex(filename, flags, cb::couchstore::EncryptionKeyGetter{}, ops, db);
}

/** couchstore_compact_db_ex() without a getter. */
inline couchstore_error_t couchstore_compact_db_ex(Db *source,
                                                   const char *target_filename,
                                                   couchstore_compact_flags flags,
                                                   couchstore_compact_hook hook,
                                                   couchstore_docinfo_hook dhook,
                                                   void *hook_ctx,
                                                   FileOpsInterface *ops,
                                                   PrecommitHook precommitHook = {}) {
    return couchstore_compact_db_ex(source, target_filename, flags,
                                    cb::couchstore::EncryptionKeyGetter{}, hook, dhook, hook_ctx,
                                    ops, std::move(precommitHook));
}

/** couchstore_walk_local_tree() without options. */
inline couchstore_error_t couchstore_walk_local_tree(Db *db,
                                                     const sized_buf *startLocalID,
                                                     couchstore_walk_tree_callback_fn callback,
                                                     void *ctx) {
    return couchstore_walk_local_tree(db, startLocalID, 0, callback, ctx);
}

#undef COUCHSTORE_BINARY_NAME

#endif /* __cplusplus */

#endif /* COUCHSTORE_COUCH_GENERATIONS_H */
