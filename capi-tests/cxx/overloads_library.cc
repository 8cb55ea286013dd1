// SPDX-License-Identifier: Apache-2.0
//
// In place of the library: the exported functions that have several forms. They only say which one was called.

#include "overloads.h"

using namespace cb::couchstore;

// ---- The exported functions ----

couchstore_error_t couchstore_open_db_ex(const char *,
                                         couchstore_open_flags,
                                         EncryptionKeyGetter,
                                         FileOpsInterface *ops,
                                         Db **) {
    calledOps = ops;
    return COUCHSTORE_SUCCESS;
}

couchstore_error_t couchstore_compact_db_ex(Db *,
                                            const char *,
                                            couchstore_compact_flags,
                                            EncryptionKeyGetter,
                                            couchstore_compact_hook hook,
                                            couchstore_docinfo_hook,
                                            void *,
                                            FileOpsInterface *ops,
                                            PrecommitHook) {
    calledOps = ops;
    calledHook = hook;
    return COUCHSTORE_SUCCESS;
}

couchstore_error_t couchstore_walk_local_tree(Db *,
                                              const sized_buf *,
                                              couchstore_docinfos_options,
                                              couchstore_walk_tree_callback_fn,
                                              void *) {
    called = Form::New;
    return COUCHSTORE_SUCCESS;
}

namespace cb::couchstore {

void DbDeleter::operator()(Db *) {
}

std::pair<couchstore_error_t, UniqueDbPtr> openDatabase(const std::string &,
                                                        couchstore_open_flags,
                                                        FileOpsInterface *,
                                                        std::optional<cs_off_t>) {
    called = Form::Old;
    return {COUCHSTORE_SUCCESS, nullptr};
}

std::pair<couchstore_error_t, UniqueDbPtr> detail::openWithKeys(const std::string &,
                                                                couchstore_open_flags,
                                                                KeyFunction,
                                                                FileOpsInterface *,
                                                                std::optional<cs_off_t>) {
    called = Form::New;
    return {COUCHSTORE_SUCCESS, nullptr};
}

couchstore_error_t compact(Db &,
                           const char *,
                           couchstore_compact_flags,
                           CompactFilterCallback,
                           CompactRewriteDocInfoCallback,
                           FileOpsInterface *,
                           PrecommitHook) {
    called = Form::Old;
    return COUCHSTORE_SUCCESS;
}

couchstore_error_t detail::compactWithKeys(Db &,
                                           const char *,
                                           couchstore_compact_flags,
                                           KeyFunction,
                                           CompactFilterCallback,
                                           CompactRewriteDocInfoCallback,
                                           FileOpsInterface *,
                                           PrecommitHook) {
    called = Form::New;
    return COUCHSTORE_SUCCESS;
}

couchstore_error_t compact(Db &,
                           const char *,
                           couchstore_compact_flags,
                           CompactFilterCallback,
                           CompactRewriteDocInfoCallback,
                           FileOpsInterface *,
                           PrecommitHook,
                           uint64_t,
                           uint64_t,
                           PreCompactionCallback,
                           PostCompactionCallback,
                           PreCopyHook,
                           PrecommitHook) {
    called = Form::PointInTime;
    return COUCHSTORE_SUCCESS;
}

couchstore_error_t replay(Db &, Db &, uint64_t, PreCopyHook, PrecommitHook, size_t) {
    called = Form::New;
    return COUCHSTORE_SUCCESS;
}

couchstore_error_t replay(Db &, Db &, uint64_t, uint64_t, PreCopyHook, PrecommitHook, size_t) {
    called = Form::Old;
    return COUCHSTORE_SUCCESS;
}

}  // namespace cb::couchstore
