/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Memory that cannot be had: each large allocation of each call fails once. The call returns ALLOC_FAIL or does
 * without, the process lives on, nothing has changed, and the same call succeeds afterwards.
 */
#include "testlib.h"

#include <sys/wait.h>

/* ---- an allocator that fails ---------------------------------------------- */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

/* Allocations from this size on count; the fail_at-th fails. 0: none does. A compiler believes that malloc neither uses
 * nor changes what others see. */
static volatile size_t counted_from;
static volatile long fail_at, counted;

static bool fails(size_t size) {
    if (counted_from == 0 || size < counted_from || ++counted != fail_at) {
        return false;
    }
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size) {
    return fails(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return fails(count * size) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    return fails(size) ? NULL : __libc_realloc(block, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    *block = fails(size) ? NULL : __libc_memalign(alignment, size);
    return *block ? 0 : ENOMEM;
}

void *aligned_alloc(size_t alignment, size_t size) {
    return fails(size) ? NULL : __libc_memalign(alignment, size);
}

/* Valgrind has its own allocator. Sanitizers do, too: this program is not run with them. */
static bool under_valgrind(void) {
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded && strstr(preloaded, "vgpreload");
}

/* Whether these functions are the process's allocator. */
static bool in_place(void) {
    counted = 0;
    counted_from = 1000;
    void *volatile block = malloc(2000); /* nor is it called for what nobody looks at */
    free(block);
    counted_from = 0;
    return counted == 1;
}

/* ---- calls ---------------------------------------------------------------- */

enum { LARGE = 1 << 20, MANY = 20000, LIMIT = 1000 };

static char large[LARGE]; /* does not compress */
static char zeros[LARGE]; /* does */
static char ids[MANY][8]; /* for look-ups and batches */
static Doc batch_docs[MANY], *batch_doc_list[MANY];
static DocInfo batch_infos[MANY], *batch_info_list[MANY];
static sized_buf id_list[MANY];
static uint64_t sequences[MANY];

static couchstore_error_t save_large(Db *db,
                                     const char *id,
                                     const char *body,
                                     const char *meta,
                                     bool compress) {
    Doc doc = {.id = buf(id), .data = {(char *)(uintptr_t)body, body ? LARGE : 0}};
    DocInfo info = {.id = doc.id};
    if (meta) {
        info.rev_meta = (sized_buf){(char *)(uintptr_t)meta, LARGE};
    }
    info.content_meta = compress ? COUCH_DOC_IS_COMPRESSED : 0;
    return couchstore_save_document(db, &doc, &info, compress ? COMPRESS_DOC_BODIES : 0);
}

static couchstore_error_t save_local_large(Db *db, const char *id) {
    LocalDoc doc = {.id = buf(id), .json = {large, LARGE}};
    return couchstore_save_local_document(db, &doc);
}

static couchstore_error_t get(Db *db, const char *id, couchstore_open_options options) {
    Doc *doc = NULL;
    couchstore_error_t code = couchstore_open_document(db, id, strlen(id), &doc, options);
    couchstore_free_document(doc);
    return code;
}

static couchstore_error_t get_plain(Db *db) {
    return get(db, "large", 0);
}

static couchstore_error_t get_inflated(Db *db) {
    return get(db, "zeros", DECOMPRESS_DOC_BODIES);
}

static couchstore_error_t get_info(Db *db) {
    DocInfo *info = NULL;
    couchstore_error_t code = couchstore_docinfo_by_id(db, "meta", 4, &info);
    couchstore_free_docinfo(info);
    return code;
}

static couchstore_error_t get_local(Db *db) {
    LocalDoc *doc = NULL;
    couchstore_error_t code = couchstore_open_local_document(db, "_local/large", 12, &doc);
    couchstore_free_local_document(doc);
    return code;
}

static int seen(Db *db, DocInfo *info, void *count) {
    (void)db;
    (void)info;
    ++*(int *)count;
    return 0;
}

static int local_seen(Db *db, LocalDoc *doc, void *count) {
    (void)db;
    (void)doc;
    ++*(int *)count;
    return 0;
}

static couchstore_error_t scan_local(Db *db) {
    int count = 0;
    return couchstore_scan_local_docs(db, NULL, local_seen, &count);
}

static couchstore_error_t scan_changes(Db *db) {
    int count = 0;
    return couchstore_changes_since(db, 0, 0, seen, &count);
}

static couchstore_error_t scan_all(Db *db) {
    int count = 0;
    return couchstore_all_docs(db, NULL, 0, seen, &count);
}

static couchstore_error_t look_up_ids(Db *db) {
    int count = 0;
    return couchstore_docinfos_by_id(db, id_list, MANY, 0, seen, &count);
}

static couchstore_error_t look_up_sequences(Db *db) {
    int count = 0;
    return couchstore_docinfos_by_sequence(db, sequences, MANY, 0, seen, &count);
}

static couchstore_error_t save_plain(Db *db) {
    return save_large(db, "new", large, NULL, false);
}

static couchstore_error_t save_compressed(Db *db) {
    return save_large(db, "new", zeros, NULL, true);
}

static couchstore_error_t save_meta(Db *db) {
    return save_large(db, "new", NULL, large, false);
}

static couchstore_error_t save_beside_meta(Db *db) {
    return put(db, "m", "small"); /* the leaf ends with "meta" */
}

static couchstore_error_t save_batch(Db *db) {
    return couchstore_save_documents(db, batch_doc_list, batch_info_list, MANY, 0);
}

static couchstore_error_t save_local(Db *db) {
    return save_local_large(db, "_local/new");
}

static couchstore_error_t delete_local(Db *db) {
    return put_local(db, "_local/large", NULL);
}

/* The target must not stay: neither after a failure, where it is the library's, nor for the next try. */
static couchstore_error_t compact_plain(Db *db) {
    couchstore_error_t code = couchstore_compact_db(db, path("copy.couch"));
    if (code == COUCHSTORE_SUCCESS) {
        unlink(path("copy.couch"));
    } else if (dir_entries(path(".")) != 1) {
        code = COUCHSTORE_ERROR_FILE_CLOSE; /* anything that is not expected */
    }
    return code;
}

/* What is committed once the copy is made: a document and a local document, both large. */
static int commit_once_copied(Db *target, DocInfo *info, sized_buf item, void *ctx) {
    bool *committed = ctx;
    (void)target;
    (void)item;
    if (info != NULL || *committed) {
        return 0;
    }
    *committed = true;
    /* Allocations of the writer are none of the compaction's. */
    const size_t counted_before = counted_from;
    counted_from = 0;
    Db *writer = NULL;
    couchstore_error_t code = couchstore_open_db(path("a.couch"), 0, &writer);
    code = code ? code : save_large(writer, "late", large, NULL, false);
    code = code ? code : save_local_large(writer, "_local/late");
    code = code ? code : couchstore_commit(writer);
    couchstore_close_file(writer);
    couchstore_free_db(writer);
    counted_from = counted_before;
    return code;
}

static couchstore_error_t compact_online(Db *db) {
    bool committed = false;
    couchstore_online_compact_options options = {
            .size = sizeof options, .hook = commit_once_copied, .hook_ctx = &committed};
    (void)db;
    couchstore_error_t code =
            couchstore_compact_db_online(path("a.couch"), path("copy.couch"), &options, NULL);
    if (code == COUCHSTORE_SUCCESS) {
        unlink(path("copy.couch"));
    } else if (dir_entries(path(".")) != 1) {
        code = COUCHSTORE_ERROR_FILE_CLOSE;
    }
    return code;
}

static const struct {
    const char *name;
    couchstore_error_t (*run)(Db *db);
    size_t counted_from; /* bytes */
} calls[] = {
        {"get", get_plain, 100000},
        {"get, inflated", get_inflated, 100000},
        {"get an entry with large rev_meta", get_info, 100000},
        {"get a local document", get_local, 100000},
        {"scan local documents", scan_local, 100000},
        {"scan by sequence", scan_changes, 100000},
        {"scan by id", scan_all, 100000},
        {"look up many ids", look_up_ids, 50000},
        {"look up many sequences", look_up_sequences, 50000},
        {"save a body", save_plain, 100000},
        {"save a body, compressed", save_compressed, 100000},
        {"save large rev_meta", save_meta, 100000},
        {"save beside large rev_meta", save_beside_meta, 100000},
        {"save a batch", save_batch, 50000},
        {"save a local document", save_local, 100000},
        {"delete a local document", delete_local, 100000},
        {"compact", compact_plain, 400000},
        {"compact online", compact_online, 800000},
};

static void fill_arrays(void) {
    uint32_t random = 1;
    for (size_t i = 0; i < LARGE; ++i) {
        random = random * 1664525 + 1013904223;
        large[i] = (char)(random >> 24);
    }
    for (int i = 0; i < MANY; ++i) {
        snprintf(ids[i], sizeof ids[i], "b%05d", i);
        id_list[i] = batch_infos[i].id = batch_docs[i].id = buf(ids[i]);
        batch_docs[i].data = buf("x");
        batch_doc_list[i] = &batch_docs[i];
        batch_info_list[i] = &batch_infos[i];
        sequences[i] = (uint64_t)i;
    }
}

/* Runs a call whose at-th large allocation fails, in a process of its own. Its exit code: 0 all is well, 1 the call
 * makes no more such allocations, else a line of this file. */
static int try_call(size_t call, long at) {
    Db *db = NULL;
    if (couchstore_open_db(path("a.couch"), 0, &db)) {
        return __LINE__ & 0xff;
    }
    char *before = describe(db);
    counted = 0;
    fail_at = at;
    counted_from = calls[call].counted_from;
    couchstore_error_t code = calls[call].run(db);
    counted_from = 0;
    bool reached = counted >= at;
    if (code != COUCHSTORE_SUCCESS) {
        if (code != COUCHSTORE_ERROR_ALLOC_FAIL) {
            return __LINE__ & 0xff;
        }
        char *after = describe(db);
        if (strcmp(before, after) != 0) {
            return __LINE__ & 0xff;
        }
        free(after);
        if (calls[call].run(db)) {
            return __LINE__ & 0xff;
        }
    }
    free(before);
    if (couchstore_close_file(db) || couchstore_free_db(db)) {
        return __LINE__ & 0xff;
    }
    return reached ? 0 : 1;
}

TEST(each_large_allocation_fails_once) {
    if (under_valgrind()) {
        puts("not done: valgrind's allocator is in place");
        return;
    }
    CHECK(in_place());
    fill_arrays();
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(save_large(db, "large", large, NULL, false));
    CHECK_OK(save_large(db, "zeros", zeros, NULL, true));
    CHECK_OK(save_large(db, "meta", NULL, large, false));
    CHECK_OK(save_local_large(db, "_local/large"));
    CHECK_OK(couchstore_save_documents(db, batch_doc_list, batch_info_list, MANY, 0));
    CHECK_OK(couchstore_commit(db));
    CLOSE(db);
    for (size_t call = 0; call < COUNT_OF(calls); ++call) {
        long at = 0;
        for (int code = 0; code == 0;) {
            CHECK(++at < LIMIT);
            fflush(stdout);
            pid_t child = fork();
            CHECK(child >= 0);
            if (child == 0) {
                _exit(try_call(call, at));
            }
            int status = 0;
            CHECK(waitpid(child, &status, 0) == child);
            if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) {
                test_fail(__FILE__, __LINE__, "%s, allocation %ld: status %#x", calls[call].name,
                          at, (unsigned)status);
            }
            code = WEXITSTATUS(status);
        }
        printf("%s: %ld large allocations\n", calls[call].name, at - 1);
        /* A body is written from where it is. */
        CHECK(at > 1 || calls[call].run == save_plain);
    }
}
