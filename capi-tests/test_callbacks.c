/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What callbacks may do with the handles that they are called on behalf of: use them, close their files, and never
 * free them.
 */
#include "testlib_callbacks.h"

#include <pthread.h>

/* All functions that free a handle, or may. */
typedef couchstore_error_t (*last_call)(Db *db);
static const last_call last_calls[] = {couchstore_free_db, couchstore_close_db,
                                       couchstore_rewind_db_header,
                                       couchstore_fastforward_db_header};

struct seen {
    int tried, refused, other; /* other: the last result that was none of those expected */
    couchstore_error_t unexpected;
};

static void expect(struct seen *seen, couchstore_error_t code, couchstore_error_t expected) {
    ++seen->tried;
    if (code == expected) {
        ++seen->refused;
    } else {
        seen->unexpected = code;
    }
}

/* Each is refused, and has changed nothing. */
static void try_to_free(struct callback_run *run) {
    struct seen *seen = run->ctx;
    for (int i = 0; i < run->in_use_count; ++i) {
        Db *db = run->in_use[i];
        DbInfo before, after;
        expect(seen, couchstore_db_info(db, &before), COUCHSTORE_SUCCESS);
        for (size_t call = 0; call < COUNT_OF(last_calls); ++call) {
            expect(seen, last_calls[call](db), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        }
        expect(seen, couchstore_db_info(db, &after), COUCHSTORE_SUCCESS);
        if (before.header_position != after.header_position ||
            before.last_sequence != after.last_sequence || after.file_size == 0) {
            expect(seen, COUCHSTORE_ERROR_CORRUPT, COUCHSTORE_SUCCESS);
        }
    }
}

static void check_seen(const struct callback_run *run, const struct seen *seen) {
    if (seen->tried != seen->refused) {
        test_fail(__FILE__, __LINE__, "%s: %d of %d calls had another result, the last one %d",
                  run->kind->name, seen->tried - seen->refused, seen->tried, seen->unexpected);
    }
}

TEST(nothing_frees_a_handle_in_use) {
    int tried = 0;
    for (size_t i = 0; i < callback_kind_count; ++i) {
        struct callback_run run;
        struct seen seen = {0};
        callback_run_begin(&run, &callback_kinds[i], try_to_free, &seen);
        if (callback_run_call(&run) != COUCHSTORE_SUCCESS) {
            test_fail(__FILE__, __LINE__, "%s failed", run.kind->name);
        }
        check_seen(&run, &seen);
        tried += seen.tried;
        if (run.db != NULL) {
            CHECK_STR(body_of(run.db, "doc-01"), "body");
        }
        callback_run_end(&run);
    }
    /* Most kinds are about one handle, some about two: none of them had none by mistake. */
    CHECK(tried >= 6 * 28);
}

static int scan_inside(Db *db, DocInfo *info, void *ctx) {
    struct callback_run *run = ctx;
    (void)db, (void)info;
    try_to_free(run);
    return COUCHSTORE_ERROR_SCAN_CANCELLED; /* once is enough */
}

static void try_to_free_deeper(struct callback_run *run) {
    for (int i = 0; i < run->in_use_count; ++i) {
        const couchstore_error_t code =
                couchstore_changes_since(run->in_use[i], 0, 0, scan_inside, run);
        if (code != COUCHSTORE_SUCCESS && code != COUCHSTORE_ERROR_SCAN_CANCELLED) {
            expect(run->ctx, code, COUCHSTORE_SUCCESS);
        }
    }
    try_to_free(run);
}

TEST(nor_in_a_callback_of_a_callback) {
    for (size_t i = 0; i < callback_kind_count; ++i) {
        struct callback_run run;
        struct seen seen = {0};
        callback_run_begin(&run, &callback_kinds[i], try_to_free_deeper, &seen);
        CHECK_OK(callback_run_call(&run));
        check_seen(&run, &seen);
        callback_run_end(&run);
    }
}

static void *free_from_a_thread(void *ctx) {
    try_to_free(ctx);
    return NULL;
}

static void try_to_free_elsewhere(struct callback_run *run) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, free_from_a_thread, run) != 0 ||
        pthread_join(thread, NULL) != 0) {
        abort();
    }
}

TEST(nor_by_another_thread) {
    for (size_t i = 0; i < callback_kind_count; ++i) {
        struct callback_run run;
        struct seen seen = {0};
        callback_run_begin(&run, &callback_kinds[i], try_to_free_elsewhere, &seen);
        CHECK_OK(callback_run_call(&run));
        check_seen(&run, &seen);
        callback_run_end(&run);
    }
}

/* Closing is allowed, what frees is refused all the same. */
static void close_files(struct callback_run *run) {
    struct seen *seen = run->ctx;
    for (int i = 0; i < run->in_use_count; ++i) {
        Db *db = run->in_use[i];
        expect(seen, i % 2 ? couchstore_drop_file(db) : couchstore_close_file(db),
               COUCHSTORE_SUCCESS);
        for (size_t call = 0; call < COUNT_OF(last_calls); ++call) {
            expect(seen, last_calls[call](db), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        }
    }
}

TEST(files_may_be_closed) {
    for (size_t i = 0; i < callback_kind_count; ++i) {
        struct callback_run run;
        struct seen seen = {0};
        callback_run_begin(&run, &callback_kinds[i], close_files, &seen);
        const couchstore_error_t code = callback_run_call(&run);
        check_seen(&run, &seen);
        if (code != COUCHSTORE_SUCCESS && code != COUCHSTORE_ERROR_FILE_CLOSED) {
            test_fail(__FILE__, __LINE__, "%s: %d", run.kind->name, code);
        }
        if (run.db != NULL && seen.tried > 0) {
            CHECK_CODE(put(run.db, "x", "y"), COUCHSTORE_ERROR_FILE_CLOSED);
        }
        callback_run_end(&run);
    }
}

/* Moves the handles, and opens their files again. */
static void move(struct callback_run *run) {
    struct seen *seen = run->ctx;
    for (int i = 0; i < run->in_use_count; ++i) {
        Db *db = run->in_use[i];
        const char *name = couchstore_get_db_filename(db);
        couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD);
        couchstore_seek(db, COUCHSTORE_SEEK_FORWARD);
        couchstore_seek_offset(db, 0);
        couchstore_seek(db, COUCHSTORE_SEEK_END);
        couchstore_seek_first_header_containing(db, 3, 1);
        couchstore_reopen_file(db, name, 0);
        for (size_t call = 0; call < COUNT_OF(last_calls); ++call) {
            expect(seen, last_calls[call](db), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        }
    }
}

TEST(handles_may_be_moved) {
    for (size_t i = 0; i < callback_kind_count; ++i) {
        struct callback_run run;
        struct seen seen = {0};
        callback_run_begin(&run, &callback_kinds[i], move, &seen);
        const couchstore_error_t code = callback_run_call(&run);
        check_seen(&run, &seen);
        if (code == COUCHSTORE_ERROR_INTERNAL) {
            test_fail(__FILE__, __LINE__, "%s: an internal error", run.kind->name);
        }
        callback_run_end(&run);
        char *text = describe_file(run.name);
        CHECK(strstr(text, "error") == NULL);
        free(text);
    }
}

TEST(afterwards_a_handle_is_freed_as_always) {
    for (size_t i = 0; i < callback_kind_count; ++i) {
        for (size_t call = 0; call < COUNT_OF(last_calls); ++call) {
            struct callback_run run;
            struct seen seen = {0};
            callback_run_begin(&run, &callback_kinds[i], try_to_free, &seen);
            CHECK_OK(callback_run_call(&run));
            if (run.db != NULL) {
                if (last_calls[call] == couchstore_free_db) {
                    CHECK_OK(couchstore_close_file(run.db));
                }
                /* Those that move the handle free it in the end. */
                couchstore_error_t code;
                do {
                    code = last_calls[call](run.db);
                } while (code == COUCHSTORE_SUCCESS && call >= 2);
                CHECK_CODE(code,
                           call >= 2 ? COUCHSTORE_ERROR_DB_NO_LONGER_VALID : COUCHSTORE_SUCCESS);
                run.db = NULL;
            }
            callback_run_end(&run);
        }
    }
}

/* ---- file operations ------------------------------------------------------ */

static struct {
    Db *db;
    couch_file_ops ops;
    int calls;
    struct seen seen;
} nosy;

/* The operations of a handle use it. */
static ssize_t nosy_pread(couchstore_error_info_t *info,
                          couch_file_handle file,
                          void *data,
                          size_t size,
                          cs_off_t at) {
    if (nosy.db != NULL) {
        DbInfo known;
        DocInfo *found = NULL;
        ++nosy.calls;
        expect(&nosy.seen, couchstore_db_info(nosy.db, &known), COUCHSTORE_SUCCESS);
        expect(&nosy.seen, couchstore_docinfo_by_id(nosy.db, "doc", 3, &found),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        expect(&nosy.seen, put(nosy.db, "doc", "other"), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        expect(&nosy.seen, couchstore_close_file(nosy.db), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        for (size_t call = 0; call < COUNT_OF(last_calls); ++call) {
            expect(&nosy.seen, last_calls[call](nosy.db), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        }
    }
    return couchstore_get_default_file_ops()->pread(info, file, data, size, at);
}

TEST(file_operations_are_refused_their_handle) {
    memset(&nosy, 0, sizeof nosy);
    nosy.ops = *couchstore_get_default_file_ops();
    nosy.ops.pread = nosy_pread;
    Db *db = OPEN_OPS(path("a"), COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_FLAG_UNBUFFERED,
                      &nosy.ops);
    CHECK_OK(put(db, "doc", "body"));
    CHECK_OK(commit(db, 1));
    nosy.db = db;
    CHECK_STR(body_of(db, "doc"), "body");
    nosy.db = NULL;
    CHECK(nosy.calls > 0);
    CHECK_EQ_INT(nosy.seen.unexpected, 0);
    CHECK_EQ_INT(nosy.seen.tried, nosy.seen.refused);
    CHECK_OK(put(db, "doc", "again"));
    CHECK_OK(commit(db, 2));
    CLOSE(db);
}
