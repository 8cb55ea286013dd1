/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What both executors do alike, each compiled by its own language: the functions whose form is the same in C and C++.
 */
#ifndef EXECUTOR_CALLS_H
#define EXECUTOR_CALLS_H

#include "executor.h"

#include <string.h>

static int show_info(Db *db, DocInfo *info, void *ctx) {
    const struct executor_sink *sink = (const struct executor_sink *)ctx;
    (void)db;
    sink->info(sink->ctx, 0, info);
    return 0;
}

static int show_step(Db *db,
                     int depth,
                     const DocInfo *info,
                     uint64_t subtree_size,
                     const sized_buf *reduce,
                     void *ctx) {
    const struct executor_sink *sink = (const struct executor_sink *)ctx;
    (void)db;
    if (info) {
        sink->info(sink->ctx, depth, info);
    } else {
        sink->node(sink->ctx, depth, subtree_size, reduce);
    }
    return 0;
}

/* Shows an entry that the library has handed out, and frees it. */
static int show_and_free(couchstore_error_t code, DocInfo *info, const struct executor_sink *sink) {
    if (code == COUCHSTORE_SUCCESS) {
        sink->info(sink->ctx, 0, info);
        couchstore_free_docinfo(info);
    }
    return code;
}

static int call_documents(Db *db,
                          const struct executor_query *query,
                          const struct executor_sink *sink) {
    void *ctx = (void *)sink;
    switch (query->kind) {
        case QUERY_SINCE:
            return couchstore_changes_since(db, query->seqs[0], query->options, show_info, ctx);
        case QUERY_FROM:
            return couchstore_all_docs(db, &query->ids[0], query->options, show_info, ctx);
        case QUERY_IDS:
            return couchstore_docinfos_by_id(db, query->ids, query->count, query->options,
                                             show_info, ctx);
        default:
            return couchstore_docinfos_by_sequence(db, query->seqs, (unsigned int)query->count,
                                                   query->options, show_info, ctx);
    }
}

static int call_by_seq(Db *db, uint64_t seq, const struct executor_sink *sink) {
    DocInfo *info = NULL;
    couchstore_error_t code = couchstore_docinfo_by_sequence(db, seq, &info);
    return show_and_free(code, info, sink);
}

static int call_body_of(Db *db,
                        const DocInfo *info,
                        couchstore_open_options options,
                        const struct executor_sink *sink) {
    Doc *doc = NULL;
    couchstore_error_t code = couchstore_open_doc_with_docinfo(db, info, &doc, options);
    if (code == COUCHSTORE_SUCCESS) {
        sink->bytes(sink->ctx, &doc->id, &doc->data);
        couchstore_free_document(doc);
    }
    return code;
}

static int call_count(Db *db, uint64_t min, uint64_t max, uint64_t *count) {
    return couchstore_changes_count(db, min, max, count);
}

static int call_walk(Db *db, int tree, const struct executor_sink *sink) {
    void *ctx = (void *)sink;
    switch (tree) {
        case 0:
            return couchstore_walk_id_tree(db, NULL, 0, show_step, ctx);
        case 1:
            return couchstore_walk_seq_tree(db, 0, 0, show_step, ctx);
        default:
            return couchstore_walk_local_tree(db, NULL, 0, show_step, ctx);
    }
}

static int call_close(Db *db) {
    return couchstore_close_file(db);
}

static int call_free(Db *db) {
    return couchstore_free_db(db);
}

static int call_reopen(Db *db, const char *path, const struct executor_how *how) {
    return couchstore_reopen_file(db, path, how->flags);
}

static int call_save(Db *db,
                     Doc *const *docs,
                     DocInfo *const *infos,
                     size_t count,
                     couchstore_save_options options) {
    return couchstore_save_documents(db, docs, infos, count, options);
}

static int call_set_purge_seq(Db *db, uint64_t seq) {
    return couchstore_set_purge_seq(db, seq);
}

static int call_step(Db *db, int direction) {
    return direction == COUCHSTORE_SEEK_FORWARD ? couchstore_fastforward_db_header(db)
                                                : couchstore_rewind_db_header(db);
}

static int call_header(Db *db, couchstore_header_info *header) {
    return couchstore_get_header(db, header);
}

static int give_key(void *ctx, const char *id, size_t id_size, couchstore_encryption_key *key) {
    const couchstore_encryption_key *known = (const couchstore_encryption_key *)ctx;
    if (!known || (id_size && (id_size != known->id.size || memcmp(id, known->id.buf, id_size)))) {
        return 0;
    }
    *key = *known;
    return 1;
}

/* Called now and then while a copy is made; the first time the world changes. */
struct once {
    executor_meanwhile meanwhile;
    void *ctx;
};

static int show_progress(void *ctx, uint64_t done_docs, uint64_t total_docs, uint64_t done_bytes) {
    struct once *once = (struct once *)ctx;
    (void)done_docs;
    (void)total_docs;
    (void)done_bytes;
    if (once->meanwhile) {
        executor_meanwhile meanwhile = once->meanwhile;
        once->meanwhile = NULL;
        meanwhile(once->ctx);
    }
    return 0;
}

static int compact_beside(const char *source,
                          const char *target,
                          const struct executor_how *how,
                          const couch_file_ops *ops,
                          executor_meanwhile meanwhile,
                          void *ctx) {
    struct once once = {meanwhile, ctx};
    couchstore_online_compact_options options;
    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.flags = how->compact_flags;
    options.ops = ops;
    options.keys = give_key;
    options.keys_ctx = (void *)how->key;
    options.progress = show_progress;
    options.ctx = &once;
    options.swap = target ? COUCHSTORE_SWAP_NONE : COUCHSTORE_SWAP_REPLACE;
    options.open_flags = how->flags;
    return couchstore_compact_db_online(source, target, &options, NULL);
}

#endif /* EXECUTOR_CALLS_H */
