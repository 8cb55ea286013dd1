/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every kind of callback of the C interface.
 */
#include "testlib_callbacks.h"

#include <libcouchstore/couch_latency.h>

enum { DOCUMENTS = 12 };

static void add_in_use(struct callback_run *run, Db *db) {
    for (int i = 0; i < run->in_use_count; ++i) {
        if (run->in_use[i] == db) {
            return;
        }
    }
    if (db != NULL) {
        run->in_use[run->in_use_count++] = db;
    }
}

/* What each callback does. */
static int called(struct callback_run *run, Db *source, Db *target) {
    if (run->calls++ == 0) {
        run->in_use_count = 0;
        add_in_use(run, run->db);
        add_in_use(run, run->target);
        add_in_use(run, source);
        add_in_use(run, target);
        run->inside(run);
    }
    return 0;
}

/* ---- the callbacks ------------------------------------------------------- */

static void on_save(const DocInfo *old, const DocInfo *info, void *ctx, void *request) {
    (void)old, (void)info, (void)request;
    called(ctx, NULL, NULL);
}

static int on_retry(void *ctx, int error) {
    (void)error;
    called(ctx, NULL, NULL);
    return 1;
}

static int on_change(Db *db, DocInfo *info, void *ctx) {
    (void)info;
    return called(ctx, db, NULL);
}

static int on_walk(Db *db,
                   int depth,
                   const DocInfo *info,
                   uint64_t size,
                   const sized_buf *reduce,
                   void *ctx) {
    (void)depth, (void)info, (void)size, (void)reduce;
    return called(ctx, db, NULL);
}

static int on_local(Db *db, LocalDoc *doc, void *ctx) {
    (void)doc;
    return called(ctx, db, NULL);
}

static int on_filter(Db *target, DocInfo *info, sized_buf item, void *ctx) {
    (void)item;
    return info == NULL ? 0 : called(ctx, NULL, target);
}

static int on_filter_end(Db *target, DocInfo *info, sized_buf item, void *ctx) {
    (void)item;
    return info != NULL ? 0 : called(ctx, NULL, target);
}

static int keep_all(Db *target, DocInfo *info, sized_buf item, void *ctx) {
    (void)target, (void)info, (void)item, (void)ctx;
    return 0;
}

static struct callback_run *rewriting; /* this hook has no context */

static int on_rewrite(DocInfo **info, const sized_buf *item) {
    (void)info, (void)item;
    return called(rewriting, NULL, NULL);
}

static couchstore_error_t on_pre_copy(Db *source,
                                      Db *target,
                                      const DocInfo *doc,
                                      const DocInfo *local,
                                      void *ctx) {
    (void)local;
    return doc == NULL ? COUCHSTORE_SUCCESS : (couchstore_error_t)called(ctx, source, target);
}

static couchstore_error_t on_pre_copy_local(Db *source,
                                            Db *target,
                                            const DocInfo *doc,
                                            const DocInfo *local,
                                            void *ctx) {
    (void)doc;
    return local == NULL ? COUCHSTORE_SUCCESS : (couchstore_error_t)called(ctx, source, target);
}

static couchstore_error_t on_precommit(Db *source, Db *target, void *ctx) {
    return (couchstore_error_t)called(ctx, source, target);
}

static int on_key(void *ctx, const char *id, size_t id_size, couchstore_encryption_key *key) {
    static char secret[32] = "0123456789abcdef0123456789abcde";
    (void)id, (void)id_size;
    key->id = buf("key");
    key->key = (sized_buf){secret, sizeof secret};
    key->derivation = COUCHSTORE_KEY_DERIVED;
    called(ctx, NULL, NULL);
    /* A library without encryption takes no for an answer, and nothing else. */
    return HAS_ENCRYPTION;
}

static int no_key(void *ctx, const char *id, size_t id_size, couchstore_encryption_key *key) {
    (void)id, (void)id_size, (void)key;
    return called(ctx, NULL, NULL);
}

static void on_lock(void *ctx) {
    called(ctx, NULL, NULL);
}

static couchstore_error_t on_publish(void *ctx, Db *source, Db *target) {
    return (couchstore_error_t)called(ctx, source, target);
}

/* Something is committed while the file is copied. */
static int commit_meanwhile(void *ctx, uint64_t done, uint64_t total, uint64_t bytes) {
    struct callback_run *run = ctx;
    (void)done, (void)total, (void)bytes;
    if (run->writer != NULL) {
        put(run->writer, "new", "body");
        put_local(run->writer, "_local/new", "body");
        commit(run->writer, 9);
        couchstore_close_db(run->writer);
        run->writer = NULL;
    }
    return 0;
}

static int on_progress(void *ctx, uint64_t done, uint64_t total, uint64_t bytes) {
    (void)done, (void)total, (void)bytes;
    return called(ctx, NULL, NULL);
}

static int on_latency(const couchstore_c_latency *latency, void *ctx) {
    (void)latency;
    return called(ctx, NULL, NULL);
}

/* ---- the calls ------------------------------------------------------------ */

static couchstore_error_t call_save(struct callback_run *run) {
    Doc doc = {buf("a"), buf("new body")};
    DocInfo info = {.id = doc.id};
    const Doc *docs[] = {&doc};
    DocInfo *infos[] = {&info};
    return couchstore_save_documents_and_callback(run->db, docs, infos, NULL, 1, 0, on_save, run);
}

static couchstore_error_t call_commit(struct callback_run *run) {
    ops_fail(&run->ops, OP_SYNC, 2, 1, COUCHSTORE_ERROR_WRITE, EIO);
    return couchstore_commit_ex(run->db, 7, on_retry, run);
}

static couchstore_error_t call_changes_since(struct callback_run *run) {
    return couchstore_changes_since(run->db, 0, 0, on_change, run);
}

static couchstore_error_t call_all_docs(struct callback_run *run) {
    return couchstore_all_docs(run->db, NULL, 0, on_change, run);
}

static couchstore_error_t call_docinfos_by_id(struct callback_run *run) {
    const sized_buf ids[] = {buf("doc-01"), buf("doc-02"), buf("doc-07")};
    return couchstore_docinfos_by_id(run->db, ids, 3, 0, on_change, run);
}

static couchstore_error_t call_docinfos_by_sequence(struct callback_run *run) {
    const uint64_t sequences[] = {1, 2, 7};
    return couchstore_docinfos_by_sequence(run->db, sequences, 3, 0, on_change, run);
}

static couchstore_error_t call_walk_id_tree(struct callback_run *run) {
    return couchstore_walk_id_tree(run->db, NULL, 0, on_walk, run);
}

static couchstore_error_t call_walk_seq_tree(struct callback_run *run) {
    return couchstore_walk_seq_tree(run->db, 0, 0, on_walk, run);
}

static couchstore_error_t call_walk_local_tree(struct callback_run *run) {
    return couchstore_walk_local_tree(run->db, NULL, 0, on_walk, run);
}

static couchstore_error_t call_scan_local_docs(struct callback_run *run) {
    return couchstore_scan_local_docs(run->db, NULL, on_local, run);
}

static const char *target_name(const struct callback_run *run) {
    static char name[320];
    snprintf(name, sizeof name, "%s.target", run->name);
    remove(name);
    return name;
}

static couchstore_error_t call_filter(struct callback_run *run) {
    return couchstore_compact_db_ex(run->db, target_name(run), 0, on_filter, NULL, run, NULL);
}

static couchstore_error_t call_filter_end(struct callback_run *run) {
    return couchstore_compact_db_ex(run->db, target_name(run), 0, on_filter_end, NULL, run, NULL);
}

static couchstore_error_t call_rewrite(struct callback_run *run) {
    rewriting = run;
    return couchstore_compact_db_ex(run->db, target_name(run), 0, keep_all, on_rewrite, run, NULL);
}

static couchstore_error_t call_compact_key(struct callback_run *run) {
    return couchstore_compact_db_with_key(run->db, target_name(run), 0, on_key, run, NULL, NULL,
                                          NULL, NULL);
}

static couchstore_error_t call_pre_copy(struct callback_run *run) {
    return couchstore_replay(run->db, run->target, run->end, on_pre_copy, NULL, run, 1 << 20);
}

static couchstore_error_t call_pre_copy_local(struct callback_run *run) {
    return couchstore_replay(run->db, run->target, run->end, on_pre_copy_local, NULL, run, 1 << 20);
}

static couchstore_error_t call_precommit(struct callback_run *run) {
    return couchstore_replay(run->db, run->target, run->end, NULL, on_precommit, run, 1 << 20);
}

static couchstore_error_t call_open_key(struct callback_run *run) {
    Db *db = NULL;
    const couchstore_error_t code = couchstore_open_db_with_key(
            target_name(run), COUCHSTORE_OPEN_FLAG_CREATE, NULL, on_key, run, &db);
    if (code == COUCHSTORE_SUCCESS) {
        couchstore_close_db(db);
    }
    return code;
}

static couchstore_error_t online(struct callback_run *run,
                                 couchstore_online_compact_options options) {
    options.size = sizeof options;
    options.swap = COUCHSTORE_SWAP_REPLACE;
    options.ctx = options.hook_ctx = options.replay_ctx = options.keys_ctx = run;
    if (options.progress == NULL) {
        options.progress = commit_meanwhile;
    }
    return couchstore_compact_db_online(run->name, NULL, &options, NULL);
}

#define ONLINE(kind, ...)                                                                \
    static couchstore_error_t call_online_##kind(struct callback_run *run) {             \
        return online(run, (couchstore_online_compact_options){.size = 0, __VA_ARGS__}); \
    }

ONLINE(filter, .hook = on_filter)
ONLINE(filter_end, .hook = on_filter_end)
ONLINE(pre_copy, .pre_copy = on_pre_copy)
ONLINE(pre_copy_local, .pre_copy = on_pre_copy_local)
ONLINE(precommit, .precommit = on_precommit)
ONLINE(lock, .lock = on_lock)
ONLINE(unlock, .unlock = on_lock)
ONLINE(publish, .publish = on_publish)
ONLINE(progress, .progress = on_progress)
ONLINE(key, .keys = no_key)

static couchstore_error_t call_online_rewrite(struct callback_run *run) {
    rewriting = run;
    return online(run, (couchstore_online_compact_options){.hook = keep_all, .dhook = on_rewrite});
}

static void on_internal_error(const char *message, size_t size, void *ctx) {
    (void)message, (void)size;
    called(ctx, NULL, NULL);
}

/* A read of a damaged body, and what it returns is as it should be. */
static couchstore_error_t call_internal_error(struct callback_run *run) {
    Doc *doc = NULL;
    const DocInfo info = {.id = buf("doc-00"), .bp = run->end};
    couchstore_set_on_internal_error(on_internal_error, run);
    const couchstore_error_t code = couchstore_open_doc_with_docinfo(run->db, &info, &doc, 0);
    couchstore_set_on_internal_error(NULL, NULL);
    couchstore_free_document(doc);
    return code == COUCHSTORE_ERROR_CHECKSUM_FAIL ? COUCHSTORE_SUCCESS : COUCHSTORE_ERROR_CORRUPT;
}

static couchstore_error_t call_latency(struct callback_run *run) {
    DbInfo info;
    couchstore_c_latency_collector_start();
    couchstore_db_info(run->db, &info);
    Db *db = run->db;
    /* This call is made on no handle. */
    run->db = NULL;
    couchstore_c_get_latency_info(on_latency, run);
    run->db = db;
    couchstore_c_latency_collector_stop();
    return COUCHSTORE_SUCCESS;
}

/* ---- what they are made on ------------------------------------------------ */

static void handle(struct callback_run *run) {
    run->db = OPEN(run->name, 0);
}

/* What is damaged is the body that a document had before. */
static void handle_of_damaged_file(struct callback_run *run) {
    DocInfo *info = NULL;
    Db *db = OPEN(run->name, 0);
    CHECK_OK(couchstore_docinfo_by_id(db, "doc-00", 6, &info));
    run->end = info->bp;
    couchstore_free_docinfo(info);
    CHECK_OK(put(db, "doc-00", "body"));
    CHECK_OK(commit(db, 6));
    CLOSE(db);
    file_flip(run->name, (int64_t)run->end + 8, 1);
    run->db = OPEN(run->name, 0);
}

static void handle_with_ops(struct callback_run *run) {
    ops_init(&run->ops);
    run->with_ops = true;
    run->db = OPEN_OPS(run->name, 0, &run->ops.ops);
    CHECK_OK(put(run->db, "a", "b"));
}

/* A source that stands on the header that the target was copied from. */
static void source_and_target(struct callback_run *run) {
    const char *target = target_name(run);
    run->db = OPEN(run->name, 0);
    const uint64_t base = couchstore_get_header_position(run->db);
    CHECK_OK(couchstore_compact_db(run->db, target));
    run->target = OPEN(target, 0);
    CHECK_OK(put(run->db, "new", "body"));
    CHECK_OK(put_local(run->db, "_local/new", "body"));
    CHECK_OK(commit(run->db, 9));
    run->end = couchstore_get_header_position(run->db);
    CHECK_OK(couchstore_seek_offset(run->db, (cs_off_t)base));
}

static void file_in_use(struct callback_run *run) {
    run->writer = OPEN(run->name, 0);
}

static void nothing(struct callback_run *run) {
    (void)run;
}

const struct callback_kind callback_kinds[] = {
        {"save", handle, call_save},
        {"retry", handle_with_ops, call_commit},
        {"changes_since", handle, call_changes_since},
        {"all_docs", handle, call_all_docs},
        {"docinfos_by_id", handle, call_docinfos_by_id},
        {"docinfos_by_sequence", handle, call_docinfos_by_sequence},
        {"walk_id_tree", handle, call_walk_id_tree},
        {"walk_seq_tree", handle, call_walk_seq_tree},
        {"walk_local_tree", handle, call_walk_local_tree},
        {"scan_local_docs", handle, call_scan_local_docs},
        {"filter", handle, call_filter},
        {"filter_end", handle, call_filter_end},
        {"rewrite", handle, call_rewrite},
        {"compact_key", handle, call_compact_key},
        {"pre_copy", source_and_target, call_pre_copy},
        {"pre_copy_local", source_and_target, call_pre_copy_local},
        {"precommit", source_and_target, call_precommit},
        {"open_key", nothing, call_open_key},
        {"online_filter", file_in_use, call_online_filter},
        {"online_filter_end", file_in_use, call_online_filter_end},
        {"online_rewrite", file_in_use, call_online_rewrite},
        {"online_pre_copy", file_in_use, call_online_pre_copy},
        {"online_pre_copy_local", file_in_use, call_online_pre_copy_local},
        {"online_precommit", file_in_use, call_online_precommit},
        {"online_lock", file_in_use, call_online_lock},
        {"online_unlock", file_in_use, call_online_unlock},
        {"online_publish", file_in_use, call_online_publish},
        {"online_progress", file_in_use, call_online_progress},
        {"online_key", file_in_use, call_online_key},
        {"latency", handle, call_latency},
        {"internal_error", handle_of_damaged_file, call_internal_error},
};
const size_t callback_kind_count = COUNT_OF(callback_kinds);

void callback_run_begin(struct callback_run *run,
                        const struct callback_kind *kind,
                        void (*inside)(struct callback_run *run),
                        void *ctx) {
    memset(run, 0, sizeof *run);
    run->kind = kind;
    run->inside = inside;
    run->ctx = ctx;
    snprintf(run->name, sizeof run->name, "%s", path(kind->name));
    remove(run->name);
    Db *db = CREATE(run->name);
    for (int i = 0; i < DOCUMENTS; ++i) {
        char id[16];
        snprintf(id, sizeof id, "doc-%02d", i);
        CHECK_OK(put(db, id, "body"));
    }
    CHECK_OK(put_local(db, "_local/a", "body"));
    CHECK_OK(commit(db, 5));
    CLOSE(db);
    kind->prepare(run);
}

couchstore_error_t callback_run_call(struct callback_run *run) {
    const couchstore_error_t code = run->kind->call(run);
    if (run->calls == 0) {
        test_fail(__FILE__, __LINE__, "%s: was not called", run->kind->name);
    }
    return code;
}

static void end(Db *db) {
    if (db != NULL) {
        CLOSE(db);
    }
}

void callback_run_end(struct callback_run *run) {
    end(run->db);
    end(run->target);
    end(run->writer);
    if (run->with_ops) {
        ops_free(&run->ops);
    }
}

pthread_t thread_start(void *(*run)(void *), void *ctx) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, ctx) != 0) {
        abort();
    }
    return thread;
}

void thread_finish(pthread_t thread) {
    if (pthread_join(thread, NULL) != 0) {
        abort();
    }
}
