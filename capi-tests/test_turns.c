/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Two threads on one handle take turns: whatever they call, nothing breaks, and nobody waits for ever. Each case is
 * ended by SIGALRM if it hangs.
 */
#include "testlib_callbacks.h"

#include <stdatomic.h>

static void start_watchdog(void) {
    alarm(900);
}

/* ---- file operations that notice two threads ------------------------------ */

/* The library's own, each handle with a counter that no lock of the test guards. */
struct watched_file {
    couch_file_handle file;
    atomic_int inside;
    long calls; /* plain: ThreadSanitizer complains if the library does not order the calls */
};

static atomic_int overlaps;

static struct watched_file *enter(couch_file_handle handle) {
    struct watched_file *file = (void *)handle;
    overlaps += atomic_fetch_add(&file->inside, 1) != 0;
    ++file->calls;
    return file;
}

static void leave(couch_file_handle handle) {
    atomic_fetch_sub(&((struct watched_file *)(void *)handle)->inside, 1);
}

static couch_file_handle watched_constructor(couchstore_error_info_t *info, void *cookie) {
    struct watched_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        abort();
    }
    file->file = couchstore_get_default_file_ops()->constructor(info, cookie);
    return (void *)file;
}

static couchstore_error_t watched_open(couchstore_error_info_t *info,
                                       couch_file_handle *handle,
                                       const char *name,
                                       int flags) {
    struct watched_file *file = enter(*handle);
    const couchstore_error_t code =
            couchstore_get_default_file_ops()->open(info, &file->file, name, flags);
    leave(*handle);
    return code;
}

static void watched_close(couchstore_error_info_t *info, couch_file_handle handle) {
    couchstore_get_default_file_ops()->close(info, enter(handle)->file);
    leave(handle);
}

static ssize_t watched_pread(couchstore_error_info_t *info,
                             couch_file_handle handle,
                             void *data,
                             size_t size,
                             cs_off_t offset) {
    const ssize_t n =
            couchstore_get_default_file_ops()->pread(info, enter(handle)->file, data, size, offset);
    leave(handle);
    return n;
}

static ssize_t watched_pwrite(couchstore_error_info_t *info,
                              couch_file_handle handle,
                              const void *data,
                              size_t size,
                              cs_off_t offset) {
    const ssize_t n = couchstore_get_default_file_ops()->pwrite(info, enter(handle)->file, data,
                                                                size, offset);
    leave(handle);
    return n;
}

static cs_off_t watched_goto_eof(couchstore_error_info_t *info, couch_file_handle handle) {
    const cs_off_t size = couchstore_get_default_file_ops()->goto_eof(info, enter(handle)->file);
    leave(handle);
    return size;
}

/* Not to wait for the disk. */
static couchstore_error_t watched_sync(couchstore_error_info_t *info, couch_file_handle handle) {
    (void)info;
    enter(handle);
    leave(handle);
    return COUCHSTORE_SUCCESS;
}

static void watched_destructor(couchstore_error_info_t *info, couch_file_handle handle) {
    struct watched_file *file = enter(handle);
    couchstore_get_default_file_ops()->destructor(info, file->file);
    free(file);
}

static const couch_file_ops watched_ops = {.version = 5,
                                           .constructor = watched_constructor,
                                           .open = watched_open,
                                           .close = watched_close,
                                           .pread = watched_pread,
                                           .pwrite = watched_pwrite,
                                           .goto_eof = watched_goto_eof,
                                           .sync = watched_sync,
                                           .destructor = watched_destructor};

/* ---- every pair of calls --------------------------------------------------- */

/* One of the two threads. */
struct worker {
    Db *db, *target;
    const char *name;
    int number, rounds;
    couchstore_error_t (*call)(struct worker *worker);
    int failures;               /* results that are not allowed */
    couchstore_error_t failure; /* one of them */
    unsigned allowed;           /* 1 << -code for each error that is */
};

static couchstore_error_t call_db_info(struct worker *w) {
    DbInfo info;
    couchstore_error_t code = couchstore_db_info(w->db, &info);
    /* Figures of one moment: what was saved is counted. */
    if (code == COUCHSTORE_SUCCESS && info.doc_count > info.last_sequence) {
        code = COUCHSTORE_ERROR_CORRUPT;
    }
    return code;
}

static couchstore_error_t call_get_header(struct worker *w) {
    couchstore_header_info info;
    return couchstore_get_header(w->db, &info);
}

static couchstore_error_t call_header_position(struct worker *w) {
    return couchstore_get_header_position(w->db) % BLOCK_SIZE == 0 ? COUCHSTORE_SUCCESS
                                                                   : COUCHSTORE_ERROR_CORRUPT;
}

static couchstore_error_t call_filename(struct worker *w) {
    return strcmp(couchstore_get_db_filename(w->db), w->name) == 0 ? COUCHSTORE_SUCCESS
                                                                   : COUCHSTORE_ERROR_CORRUPT;
}

static couchstore_error_t call_last_os_error(struct worker *w) {
    char text[200];
    return couchstore_last_os_error(w->db, text, sizeof text);
}

static couchstore_error_t call_last_internal_error(struct worker *w) {
    char text[300];
    return couchstore_last_internal_error(w->db, text, sizeof text);
}

static couchstore_error_t call_key_id(struct worker *w) {
    size_t length;
    return couchstore_get_encryption_key_id(w->db, NULL, 0, &length);
}

static couchstore_error_t call_is_current(struct worker *w) {
    int current;
    const couchstore_error_t code = couchstore_is_current(w->db, &current);
    /* Operations of the caller's do not tell. */
    return code == COUCHSTORE_ERROR_NOT_SUPPORTED ? COUCHSTORE_SUCCESS : code;
}

static couchstore_error_t call_filestats(struct worker *w) {
    couchstore_file_stats stats;
    return couchstore_get_db_filestats(w->db, &stats);
}

static couchstore_error_t call_set_purge_seq(struct worker *w) {
    return couchstore_set_purge_seq(w->db, 1);
}

static couchstore_error_t call_save(struct worker *w) {
    char id[16];
    snprintf(id, sizeof id, "t%d-%d", w->number, w->rounds % 8);
    return put(w->db, id, "another body");
}

static void on_save(const DocInfo *old, const DocInfo *info, void *ctx, void *request) {
    (void)old, (void)info, (void)ctx, (void)request;
}

static couchstore_error_t call_save_and_tell(struct worker *w) {
    Doc docs[2] = {{buf("doc-03"), buf("x")}, {buf("doc-04"), buf("y")}};
    DocInfo infos[2] = {{.id = docs[0].id}, {.id = docs[1].id}};
    const Doc *all[] = {&docs[0], &docs[1]};
    DocInfo *entries[] = {&infos[0], &infos[1]};
    return couchstore_save_documents_and_callback(w->db, all, entries, NULL, 2, 0, on_save, NULL);
}

static couchstore_error_t call_commit(struct worker *w) {
    return couchstore_commit(w->db);
}

static int on_retry(void *ctx, int error) {
    (void)ctx, (void)error;
    return 0;
}

static couchstore_error_t call_commit_ex(struct worker *w) {
    return couchstore_commit_ex(w->db, 3, on_retry, NULL);
}

static couchstore_error_t call_docinfo_by_id(struct worker *w) {
    DocInfo *info = NULL;
    const couchstore_error_t code = couchstore_docinfo_by_id(w->db, "doc-05", 6, &info);
    couchstore_free_docinfo(info);
    return code;
}

static couchstore_error_t call_docinfo_by_sequence(struct worker *w) {
    DocInfo *info = NULL;
    const couchstore_error_t code = couchstore_docinfo_by_sequence(w->db, 6, &info);
    couchstore_free_docinfo(info);
    return code;
}

static couchstore_error_t call_open_document(struct worker *w) {
    Doc *doc = NULL;
    const couchstore_error_t code = couchstore_open_document(w->db, "doc-06", 6, &doc, 0);
    couchstore_free_document(doc);
    return code;
}

static couchstore_error_t call_open_doc_with_docinfo(struct worker *w) {
    DocInfo *info = NULL;
    Doc *doc = NULL;
    couchstore_error_t code = couchstore_docinfo_by_id(w->db, "doc-06", 6, &info);
    if (code == COUCHSTORE_SUCCESS) {
        code = couchstore_open_doc_with_docinfo(w->db, info, &doc, 0);
    }
    couchstore_free_docinfo(info);
    couchstore_free_document(doc);
    return code;
}

/* Reads the body of each document, too. */
static int on_change(Db *db, DocInfo *info, void *ctx) {
    Doc *doc = NULL;
    (void)ctx;
    const couchstore_error_t code = couchstore_open_doc_with_docinfo(db, info, &doc, 0);
    couchstore_free_document(doc);
    return code;
}

static couchstore_error_t call_changes_since(struct worker *w) {
    return couchstore_changes_since(w->db, 0, 0, on_change, w);
}

static couchstore_error_t call_all_docs(struct worker *w) {
    return couchstore_all_docs(w->db, NULL, 0, on_change, w);
}

static couchstore_error_t call_docinfos_by_id(struct worker *w) {
    const sized_buf ids[] = {buf("doc-01"), buf("doc-07")};
    return couchstore_docinfos_by_id(w->db, ids, 2, 0, on_change, w);
}

static couchstore_error_t call_docinfos_by_sequence(struct worker *w) {
    const uint64_t sequences[] = {1, 7};
    return couchstore_docinfos_by_sequence(w->db, sequences, 2, 0, on_change, w);
}

static couchstore_error_t call_changes_count(struct worker *w) {
    uint64_t count;
    return couchstore_changes_count(w->db, 0, 100, &count);
}

static couchstore_error_t call_walk_id_tree(struct worker *w) {
    return couchstore_walk_id_tree(w->db, NULL, 0, ignore_node, NULL);
}

static couchstore_error_t call_walk_seq_tree(struct worker *w) {
    return couchstore_walk_seq_tree(w->db, 0, 0, ignore_node, NULL);
}

static couchstore_error_t call_walk_local_tree(struct worker *w) {
    return couchstore_walk_local_tree(w->db, NULL, 0, ignore_node, NULL);
}

static couchstore_error_t call_open_local(struct worker *w) {
    LocalDoc *doc = NULL;
    const couchstore_error_t code = couchstore_open_local_document(w->db, "_local/a", 8, &doc);
    couchstore_free_local_document(doc);
    return code;
}

static couchstore_error_t call_save_local(struct worker *w) {
    return put_local(w->db, w->rounds % 2 ? "_local/b" : "_local/c", "body");
}

static couchstore_error_t call_save_locals(struct worker *w) {
    LocalDoc doc = {buf("_local/d"), buf("body"), 0};
    LocalDoc *docs[] = {&doc};
    return couchstore_save_local_documents(w->db, docs, 1);
}

static couchstore_error_t call_scan_local(struct worker *w) {
    return couchstore_scan_local_docs(w->db, NULL, ignore_local, NULL);
}

static couchstore_error_t call_seek_end(struct worker *w) {
    return couchstore_seek(w->db, COUCHSTORE_SEEK_END);
}

static couchstore_error_t call_seek_back_and_forth(struct worker *w) {
    const couchstore_error_t code = couchstore_seek(w->db, COUCHSTORE_SEEK_BACKWARD);
    return code ? code : couchstore_seek(w->db, COUCHSTORE_SEEK_FORWARD);
}

static couchstore_error_t call_seek_offset(struct worker *w) {
    return couchstore_seek_offset(w->db, (cs_off_t)couchstore_get_header_position(w->db));
}

static couchstore_error_t call_seek_first(struct worker *w) {
    return couchstore_seek_first_header_containing(w->db, 1, 1);
}

static const char *worker_target(const struct worker *w) {
    static char names[2][320];
    snprintf(names[w->number], sizeof names[w->number], "%s.target%d", w->name, w->number);
    remove(names[w->number]);
    return names[w->number];
}

static couchstore_error_t call_compact(struct worker *w) {
    return couchstore_compact_db(w->db, worker_target(w));
}

static int on_filter(Db *target, DocInfo *info, sized_buf item, void *ctx) {
    (void)info, (void)item, (void)ctx;
    DbInfo known;
    return couchstore_db_info(target, &known);
}

static couchstore_error_t call_compact_ex(struct worker *w) {
    return couchstore_compact_db_ex(w->db, worker_target(w), 0, on_filter, NULL, NULL,
                                    &watched_ops);
}

/* The source up to where it stands: nothing to be done but the comparison of local documents, and a commit. */
static couchstore_error_t call_replay(struct worker *w) {
    return couchstore_replay(w->db, w->target, couchstore_get_header_position(w->db), NULL, NULL,
                             NULL, 100);
}

static couchstore_error_t call_close_and_reopen(struct worker *w) {
    couchstore_close_file(w->db);
    return couchstore_reopen_file(w->db, w->name, 0);
}

#define CODE(name) (1U << -COUCHSTORE_ERROR_##name)

/* With what a pair with this call may fail: a write in a callback of a write is refused; moves find no header. */
static const struct {
    const char *name;
    couchstore_error_t (*call)(struct worker *worker);
    unsigned allows;
} paired_calls[] = {
        {"db_info", call_db_info, 0},
        {"get_header", call_get_header, 0},
        {"get_header_position", call_header_position, 0},
        {"get_db_filename", call_filename, 0},
        {"last_os_error", call_last_os_error, 0},
        {"last_internal_error", call_last_internal_error, 0},
        {"get_encryption_key_id", call_key_id, 0},
        {"is_current", call_is_current, 0},
        {"get_db_filestats", call_filestats, 0},
        {"set_purge_seq", call_set_purge_seq, 0},
        {"save_document", call_save, 0},
        {"save_documents_and_callback", call_save_and_tell, CODE(INVALID_ARGUMENTS)},
        {"commit", call_commit, 0},
        {"commit_ex", call_commit_ex, 0},
        {"docinfo_by_id", call_docinfo_by_id, 0},
        {"docinfo_by_sequence", call_docinfo_by_sequence, 0},
        {"open_document", call_open_document, 0},
        {"open_doc_with_docinfo", call_open_doc_with_docinfo, 0},
        {"changes_since", call_changes_since, 0},
        {"all_docs", call_all_docs, 0},
        {"docinfos_by_id", call_docinfos_by_id, 0},
        {"docinfos_by_sequence", call_docinfos_by_sequence, 0},
        {"changes_count", call_changes_count, 0},
        {"walk_id_tree", call_walk_id_tree, 0},
        {"walk_seq_tree", call_walk_seq_tree, 0},
        {"walk_local_tree", call_walk_local_tree, 0},
        {"open_local_document", call_open_local, 0},
        {"save_local_document", call_save_local, 0},
        {"save_local_documents", call_save_locals, 0},
        {"scan_local_docs", call_scan_local, 0},
        {"seek end", call_seek_end, 0},
        {"seek backward and forward", call_seek_back_and_forth,
         CODE(NO_HEADER) | CODE(DB_NO_LONGER_VALID) | CODE(DOC_NOT_FOUND)},
        {"seek_offset", call_seek_offset, 0},
        {"seek_first_header_containing", call_seek_first, 0},
        {"compact_db", call_compact, 0},
        {"compact_db_ex", call_compact_ex, 0},
        {"replay", call_replay, CODE(NO_HEADER)},
        {"close_file and reopen_file", call_close_and_reopen,
         CODE(FILE_CLOSED) | CODE(DB_NO_LONGER_VALID) | CODE(OPEN_FILE) | CODE(INVALID_ARGUMENTS)},
};

static void *work(void *ctx) {
    struct worker *worker = ctx;
    for (int left = worker->rounds; left > 0; --left) {
        worker->rounds = left;
        const couchstore_error_t code = worker->call(worker);
        if (code != COUCHSTORE_SUCCESS && (code < -31 || (worker->allowed & 1U << -code) == 0)) {
            ++worker->failures;
            worker->failure = code;
        }
    }
    return NULL;
}

/* A file with two headers, and a copy. */
static Db *make_pair_file(const char *name, const char *copy) {
    remove(name);
    remove(copy);
    Db *db = CREATE(name);
    for (int i = 0; i < 12; ++i) {
        char id[16];
        snprintf(id, sizeof id, "doc-%02d", i);
        CHECK_OK(put(db, id, "body"));
        CHECK_OK(i == 8 ? put_local(db, "_local/a", "body") : COUCHSTORE_SUCCESS);
        CHECK_OK(i >= 8 ? commit(db, 1) : COUCHSTORE_SUCCESS);
    }
    CHECK_OK(couchstore_compact_db(db, copy));
    CLOSE(db);
    return OPEN_OPS(name, 0, &watched_ops);
}

static void run_pair(Db *db, Db *target, const char *name, size_t one, size_t other) {
    struct worker workers[2];
    for (int i = 0; i < 2; ++i) {
        const size_t call = i == 0 ? one : other;
        workers[i] =
                (struct worker){.db = db,
                                .target = target,
                                .name = name,
                                .number = i,
                                .rounds = test_small() ? 2 : 12,
                                .call = paired_calls[call].call,
                                .allowed = paired_calls[one].allows | paired_calls[other].allows};
    }
    const pthread_t thread = thread_start(work, &workers[1]);
    work(&workers[0]);
    thread_finish(thread);
    for (int i = 0; i < 2; ++i) {
        if (workers[i].failures > 0) {
            test_fail(__FILE__, __LINE__,
                      "%s beside %s: %d of the calls of thread %d failed, with %d",
                      paired_calls[one].name, paired_calls[other].name, workers[i].failures, i,
                      workers[i].failure);
        }
    }
    CHECK_EQ_INT(overlaps, 0);
}

TEST(every_pair_of_calls) {
    start_watchdog();
    const char *name = path("a"), *copy = path("b");
    for (size_t one = 0; one < COUNT_OF(paired_calls); ++one) {
        Db *db = make_pair_file(name, copy);
        Db *target = OPEN_OPS(copy, 0, &watched_ops);
        for (size_t other = one; other < COUNT_OF(paired_calls); ++other) {
            run_pair(db, target, name, one, other);
            if (paired_calls[one].allows != 0 || paired_calls[other].allows != 0) {
                /* It may stand elsewhere, or be closed. */
                CLOSE(db);
                db = OPEN_OPS(name, 0, &watched_ops);
            }
        }
        /* Nothing is latched, and what is in the file makes sense. */
        CHECK_OK(put(db, "last", "body"));
        CHECK_OK(commit(db, 2));
        CLOSE(db);
        CLOSE(target);
        char *text = describe_file(name);
        CHECK(strstr(text, "error") == NULL && strstr(text, " -") == NULL);
        CHECK(strstr(text, "last seq") != NULL);
        free(text);
    }
}
