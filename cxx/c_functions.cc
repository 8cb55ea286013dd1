// SPDX-License-Identifier: Apache-2.0
//
// The functions with the same types in C and in C++. Their work is done in Rust, by functions of the same names with
// the prefix couchstore_private_; here C++ callers get the exceptions back that their callbacks and file operations
// threw meanwhile.

#include "call.h"
#include "entry.h"

using couchstore_shim::Call;
using couchstore_shim::caughtCallback;
using couchstore_shim::closeAndFree;
using couchstore_shim::guarded;
using couchstore_shim::guardedResult;
using couchstore_shim::guardedScan;

// ---- Functions without callbacks ----

#define GUARDED(name, parameters, arguments)                                 \
    extern "C" decltype(couchstore_##name) couchstore_private_##name;        \
    couchstore_error_t couchstore_##name parameters {                        \
        return guarded([&] { return couchstore_private_##name arguments; }); \
    }

// out: where the result goes; release: what frees it.
#define GUARDED_RESULT(name, out, release, parameters, arguments)              \
    extern "C" decltype(couchstore_##name) couchstore_private_##name;          \
    couchstore_error_t couchstore_##name parameters {                          \
        const auto work = [&] { return couchstore_private_##name arguments; }; \
        return guardedResult(out, release, work);                              \
    }

GUARDED_RESULT(open_db,
               db,
               closeAndFree,
               (const char *filename, couchstore_open_flags flags, Db **db),
               (filename, flags, db))
GUARDED_RESULT(
        bootstrap_db,
        db,
        closeAndFree,
        (const char *filename, couchstore_open_flags flags, const couch_file_ops *ops, Db **db),
        (filename, flags, ops, db))
GUARDED(close_file, (Db * db), (db))
GUARDED(free_db, (Db * db), (db))
GUARDED(close_db, (Db * db), (db))
GUARDED(drop_file, (Db * db), (db))
GUARDED(reopen_file,
        (Db * db, const char *filename, couchstore_open_flags flags),
        (db, filename, flags))
GUARDED(rewind_db_header, (Db * db), (db))
GUARDED(fastforward_db_header, (Db * db), (db))
GUARDED(seek_offset, (Db * db, cs_off_t offset), (db, offset))
GUARDED(seek, (Db * db, couchstore_direction direction), (db, direction))
GUARDED(seek_first_header_containing,
        (Db * db, uint64_t seqno, uint64_t granularity),
        (db, seqno, granularity))
GUARDED(db_info, (Db * db, DbInfo *info), (db, info))
GUARDED(get_header, (Db * db, couchstore_header_info *info), (db, info))
GUARDED(save_document,
        (Db * db, const Doc *doc, DocInfo *info, couchstore_save_options options),
        (db, doc, info, options))
GUARDED(save_documents,
        (Db * db,
         Doc *const *docs,
         DocInfo *const *infos,
         size_t numDocs,
         couchstore_save_options options),
        (db, docs, infos, numDocs, options))
GUARDED_RESULT(docinfo_by_id,
               pInfo,
               couchstore_free_docinfo,
               (Db * db, const void *id, size_t idlen, DocInfo **pInfo),
               (db, id, idlen, pInfo))
GUARDED_RESULT(docinfo_by_sequence,
               pInfo,
               couchstore_free_docinfo,
               (Db * db, uint64_t sequence, DocInfo **pInfo),
               (db, sequence, pInfo))
GUARDED_RESULT(open_document,
               pDoc,
               couchstore_free_document,
               (Db * db, const void *id, size_t idlen, Doc **pDoc, couchstore_open_options options),
               (db, id, idlen, pDoc, options))
GUARDED_RESULT(open_doc_with_docinfo,
               pDoc,
               couchstore_free_document,
               (Db * db, const DocInfo *docinfo, Doc **pDoc, couchstore_open_options options),
               (db, docinfo, pDoc, options))
GUARDED(changes_count,
        (Db * db, uint64_t min_seq, uint64_t max_seq, uint64_t *count),
        (db, min_seq, max_seq, count))
GUARDED_RESULT(open_local_document,
               lDoc,
               couchstore_free_local_document,
               (Db * db, const void *id, size_t idlen, LocalDoc **lDoc),
               (db, id, idlen, lDoc))
GUARDED(save_local_document, (Db * db, LocalDoc *lDoc), (db, lDoc))
GUARDED(save_local_documents, (Db * db, LocalDoc *const *docs, size_t numDocs), (db, docs, numDocs))
GUARDED(compact_db, (Db * source, const char *target_filename), (source, target_filename))

void couchstore_shim::closeAndFree(Db *db) noexcept {
    const Call call;
    couchstore_private_close_db(db);
}

// ---- Functions with callbacks ----

namespace {

// A callback that Rust calls in place of the caller's, and what it needs for that.
struct Changes {
    couchstore_changes_callback_fn callback;
    void *ctx;
    const Call &of;

    static int call(Db *db, DocInfo *docinfo, void *self) noexcept {
        const auto &changes = *static_cast<Changes *>(self);
        return caughtCallback(changes.of,
                              [&] { return changes.callback(db, docinfo, changes.ctx); });
    }

    // No callback stays no callback: Rust refuses it.
    couchstore_changes_callback_fn function() const {
        return callback ? call : nullptr;
    }
};

struct Walk {
    couchstore_walk_tree_callback_fn callback;
    void *ctx;

    static int call(Db *db,
                    int depth,
                    const DocInfo *info,
                    uint64_t subtree,
                    const sized_buf *reduce,
                    void *self) noexcept {
        const auto &walk = *static_cast<Walk *>(self);
        return caughtCallback(
                [&] { return walk.callback(db, depth, info, subtree, reduce, walk.ctx); });
    }

    couchstore_walk_tree_callback_fn function() const {
        return callback ? call : nullptr;
    }
};

struct Save {
    save_callback_fn callback;
    void *ctx;
    const Call &of;

    static int call(const DocInfo *old, const DocInfo *info, void *self, void *request) noexcept {
        const auto &save = *static_cast<Save *>(self);
        return caughtCallback(save.of, [&] {
            if (save.callback) {
                save.callback(old, info, save.ctx, request);
            }
            return 0;
        });
    }
};

struct LocalDocs {
    couchstore_local_docs_callback_fn callback;
    void *ctx;

    static int call(Db *db, LocalDoc *doc, void *self) noexcept {
        const auto &locals = *static_cast<LocalDocs *>(self);
        return caughtCallback([&] { return locals.callback(db, doc, locals.ctx); });
    }

    couchstore_local_docs_callback_fn function() const {
        return callback ? call : nullptr;
    }
};

struct Replay {
    couchstore_pre_copy_hook preCopy;
    couchstore_precommit_hook precommit;
    void *ctx;

    static couchstore_error_t callPreCopy(Db *source,
                                          Db *target,
                                          const DocInfo *doc,
                                          const DocInfo *local,
                                          void *self) noexcept {
        const auto &replay = *static_cast<Replay *>(self);
        return static_cast<couchstore_error_t>(caughtCallback(
                [&] { return replay.preCopy(source, target, doc, local, replay.ctx); }));
    }

    static couchstore_error_t callPrecommit(Db *source, Db *target, void *self) noexcept {
        const auto &replay = *static_cast<Replay *>(self);
        return static_cast<couchstore_error_t>(
                caughtCallback([&] { return replay.precommit(source, target, replay.ctx); }));
    }
};

}  // namespace

extern "C" {
decltype(couchstore_changes_since) couchstore_private_changes_since;
decltype(couchstore_all_docs) couchstore_private_all_docs;
decltype(couchstore_docinfos_by_sequence) couchstore_private_docinfos_by_sequence;
decltype(couchstore_docinfos_by_id) couchstore_private_docinfos_by_id;
decltype(couchstore_walk_id_tree) couchstore_private_walk_id_tree;
decltype(couchstore_walk_seq_tree) couchstore_private_walk_seq_tree;
couchstore_error_t couchstore_private_walk_local_tree(Db *db,
                                                      const sized_buf *startLocalID,
                                                      couchstore_docinfos_options options,
                                                      couchstore_walk_tree_callback_fn callback,
                                                      void *ctx);
decltype(couchstore_scan_local_docs) couchstore_private_scan_local_docs;
decltype(couchstore_replay) couchstore_private_replay;
}

couchstore_error_t couchstore_save_documents_and_callback(Db *db,
                                                          const Doc *const *docs,
                                                          DocInfo *const *infos,
                                                          void *const *userReqs,
                                                          size_t numDocs,
                                                          couchstore_save_options options,
                                                          save_callback_fn save_cb,
                                                          void *save_cb_ctx) {
    return guardedScan([&](const Call &call) {
        Save save{save_cb, save_cb_ctx, call};
        return couchstore_private_cxx_save(db, docs, infos, userReqs, numDocs, options, Save::call,
                                           &save);
    });
}

couchstore_error_t couchstore_changes_since(Db *db,
                                            uint64_t since,
                                            couchstore_docinfos_options options,
                                            couchstore_changes_callback_fn callback,
                                            void *ctx) {
    return guardedScan([&](const Call &call) {
        Changes changes{callback, ctx, call};
        return couchstore_private_changes_since(db, since, options, changes.function(), &changes);
    });
}

couchstore_error_t couchstore_all_docs(Db *db,
                                       const sized_buf *startKeyPtr,
                                       couchstore_docinfos_options options,
                                       couchstore_changes_callback_fn callback,
                                       void *ctx) {
    return guardedScan([&](const Call &call) {
        Changes changes{callback, ctx, call};
        return couchstore_private_all_docs(db, startKeyPtr, options, changes.function(), &changes);
    });
}

couchstore_error_t couchstore_docinfos_by_sequence(Db *db,
                                                   const uint64_t *sequence,
                                                   unsigned numDocs,
                                                   couchstore_docinfos_options options,
                                                   couchstore_changes_callback_fn callback,
                                                   void *ctx) {
    return guardedScan([&](const Call &call) {
        Changes changes{callback, ctx, call};
        return couchstore_private_docinfos_by_sequence(db, sequence, numDocs, options,
                                                       changes.function(), &changes);
    });
}

couchstore_error_t couchstore_docinfos_by_id(Db *db,
                                             const sized_buf *ids,
                                             size_t numDocs,
                                             couchstore_docinfos_options options,
                                             couchstore_changes_callback_fn callback,
                                             void *ctx) {
    return guardedScan([&](const Call &call) {
        Changes changes{callback, ctx, call};
        return couchstore_private_docinfos_by_id(db, ids, numDocs, options, changes.function(),
                                                 &changes);
    });
}

couchstore_error_t couchstore_walk_id_tree(Db *db,
                                           const sized_buf *startDocID,
                                           couchstore_docinfos_options options,
                                           couchstore_walk_tree_callback_fn callback,
                                           void *ctx) {
    Walk walk{callback, ctx};
    return guarded([&] {
        return couchstore_private_walk_id_tree(db, startDocID, options, walk.function(), &walk);
    });
}

couchstore_error_t couchstore_walk_seq_tree(Db *db,
                                            uint64_t startSequence,
                                            couchstore_docinfos_options options,
                                            couchstore_walk_tree_callback_fn callback,
                                            void *ctx) {
    Walk walk{callback, ctx};
    return guarded([&] {
        return couchstore_private_walk_seq_tree(db, startSequence, options, walk.function(), &walk);
    });
}

couchstore_error_t couchstore_walk_local_tree(Db *db,
                                              const sized_buf *startLocalID,
                                              couchstore_docinfos_options options,
                                              couchstore_walk_tree_callback_fn callback,
                                              void *ctx) {
    Walk walk{callback, ctx};
    return guarded([&] {
        return couchstore_private_walk_local_tree(db, startLocalID, options, walk.function(),
                                                  &walk);
    });
}

couchstore_error_t couchstore_scan_local_docs(Db *db,
                                              const sized_buf *from,
                                              couchstore_local_docs_callback_fn callback,
                                              void *ctx) {
    LocalDocs locals{callback, ctx};
    return guarded([&] {
        return couchstore_private_scan_local_docs(db, from, locals.function(), &locals);
    });
}

couchstore_error_t couchstore_replay(Db *source,
                                     Db *target,
                                     uint64_t source_end_offset,
                                     couchstore_pre_copy_hook pre_copy,
                                     couchstore_precommit_hook precommit,
                                     void *hook_ctx,
                                     size_t flush_threshold) {
    Replay replay{pre_copy, precommit, hook_ctx};
    return guarded([&] {
        return couchstore_private_replay(
                source, target, source_end_offset, pre_copy ? Replay::callPreCopy : nullptr,
                precommit ? Replay::callPrecommit : nullptr, &replay, flush_threshold);
    });
}
