/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The library in plain C.
 */
#include "executor_calls.h"

#include <stdlib.h>

/* ---- Operations of the caller's, which hand every call on ---- */

static couch_file_handle forward_constructor(couchstore_error_info_t *errinfo, void *cookie) {
    const couch_file_ops *own = (const couch_file_ops *)cookie;
    return own->constructor(errinfo, own->cookie);
}

/* Everything but the constructor, which finds the others' operations in its cookie, is theirs. */
static const couch_file_ops *forwarding_ops(void) {
    static couch_file_ops ops;
    const couch_file_ops *own = couchstore_get_default_file_ops();
    ops = *own;
    ops.constructor = forward_constructor;
    ops.cookie = (void *)own;
    return &ops;
}

static const couch_file_ops *ops_of(const struct executor_how *how) {
    return how->forwarding ? forwarding_ops() : NULL;
}

/* ---- What only C has in this form ---- */

static int c_open(const char *path, const struct executor_how *how, Db **db) {
    if (how->key) {
        return couchstore_open_db_with_key(path, how->flags, ops_of(how), give_key,
                                           (void *)how->key, db);
    }
    if (how->forwarding) {
        return couchstore_open_db_ex(path, how->flags, forwarding_ops(), db);
    }
    return couchstore_open_db(path, how->flags, db);
}

static int c_save_locals(Db *db, LocalDoc *docs, size_t count) {
    LocalDoc **pointers = (LocalDoc **)malloc((count + 1) * sizeof(*pointers));
    int code;
    size_t i;
    if (!pointers) {
        return COUCHSTORE_ERROR_ALLOC_FAIL;
    }
    for (i = 0; i < count; ++i) {
        pointers[i] = &docs[i];
    }
    code = couchstore_save_local_documents(db, pointers, count);
    free(pointers);
    return code;
}

static int c_commit(Db *db, uint64_t timestamp) {
    return couchstore_commit_ex(db, timestamp, NULL, NULL);
}

static int c_seek(Db *db, int direction) {
    return couchstore_seek(db, direction);
}

static int c_seek_offset(Db *db, cs_off_t offset) {
    return couchstore_seek_offset(db, offset);
}

static int c_seek_containing(Db *db, uint64_t seq, uint64_t granularity) {
    return couchstore_seek_first_header_containing(db, seq, granularity);
}

static int c_body_by_id(Db *db, const sized_buf *id, const struct executor_sink *sink) {
    Doc *doc = NULL;
    couchstore_error_t code =
            couchstore_open_document(db, id->buf, id->size, &doc, DECOMPRESS_DOC_BODIES);
    if (code == COUCHSTORE_SUCCESS) {
        sink->bytes(sink->ctx, &doc->id, &doc->data);
        couchstore_free_document(doc);
    }
    return code;
}

static int c_by_id(Db *db, const sized_buf *id, const struct executor_sink *sink) {
    DocInfo *info = NULL;
    couchstore_error_t code = couchstore_docinfo_by_id(db, id->buf, id->size, &info);
    return show_and_free(code, info, sink);
}

static int show_local(Db *db, LocalDoc *doc, void *ctx) {
    const struct executor_sink *sink = (const struct executor_sink *)ctx;
    (void)db;
    sink->bytes(sink->ctx, &doc->id, &doc->json);
    return 0;
}

static int c_locals(Db *db, const sized_buf *from, const struct executor_sink *sink) {
    return couchstore_scan_local_docs(db, from, show_local, (void *)sink);
}

static int c_local(Db *db, const sized_buf *id, const struct executor_sink *sink) {
    LocalDoc *doc = NULL;
    couchstore_error_t code = couchstore_open_local_document(db, id->buf, id->size, &doc);
    if (code == COUCHSTORE_SUCCESS) {
        sink->bytes(sink->ctx, &doc->id, &doc->json);
        couchstore_free_local_document(doc);
    }
    return code;
}

static int c_compact(Db *source, const char *target, const struct executor_how *how) {
    if (how->key) {
        return couchstore_compact_db_with_key(source, target, how->compact_flags, give_key,
                                              (void *)how->key, NULL, NULL, NULL, ops_of(how));
    }
    return couchstore_compact_db_ex(source, target, how->compact_flags, NULL, NULL, NULL,
                                    ops_of(how));
}

static int c_compact_online(const char *source,
                            const char *target,
                            const struct executor_how *how,
                            executor_meanwhile meanwhile,
                            void *ctx) {
    return compact_beside(source, target, how, ops_of(how), meanwhile, ctx);
}

static int c_replay(Db *source, Db *target, uint64_t end, size_t threshold) {
    return couchstore_replay(source, target, end, NULL, NULL, NULL, threshold);
}

const struct executor *c_executor(void) {
    static const struct executor table = {
            .open = c_open,
            .close = call_close,
            .free = call_free,
            .reopen = call_reopen,
            .save = call_save,
            .save_locals = c_save_locals,
            .set_purge_seq = call_set_purge_seq,
            .commit = c_commit,
            .seek = c_seek,
            .seek_offset = c_seek_offset,
            .seek_containing = c_seek_containing,
            .step = call_step,
            .header = call_header,
            .documents = call_documents,
            .by_id = c_by_id,
            .by_seq = call_by_seq,
            .body_of = call_body_of,
            .body_by_id = c_body_by_id,
            .local = c_local,
            .locals = c_locals,
            .count = call_count,
            .walk = call_walk,
            .compact = c_compact,
            .compact_online = c_compact_online,
            .replay = c_replay,
    };
    return &table;
}
