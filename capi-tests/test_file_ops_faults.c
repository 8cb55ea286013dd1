/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every kind of call failing at every place: the code and errno of the failure come back, the handle
 * goes on as before, and the file opens at a committed state.
 */
#include "testlib.h"

#define CREATE_FLAG COUCHSTORE_OPEN_FLAG_CREATE
#define UNBUFFERED COUCHSTORE_OPEN_FLAG_UNBUFFERED
#define RDONLY_FLAG COUCHSTORE_OPEN_FLAG_RDONLY

enum { ODD_CODE = -77 }; /* no code of the library: must come back as it is */

static couchstore_error_t save_batch(Db *db) {
    struct doc docs[] = {
            {.id = "key05", .body = "updated"}, {.id = "new", .body = "new"}, {.id = "key10"}};
    return save_docs(db, docs, 3, 0);
}

static couchstore_error_t save_large(Db *db) {
    static char body[300001]; /* more than the write buffer */
    memset(body, 'L', 300000);
    return put(db, "large", body);
}

static couchstore_error_t save_local(Db *db) {
    return put_local(db, "_local/b", "changed");
}

static couchstore_error_t commit_it(Db *db) {
    return commit(db, 99);
}

static couchstore_error_t nothing(Db *db) {
    (void)db;
    return COUCHSTORE_SUCCESS;
}

static couchstore_error_t read_all(Db *db) {
    struct scan scan = {.count = 0};
    Doc *doc = NULL;
    couchstore_error_t code = couchstore_changes_since(db, 0, 0, scan_callback, &scan);
    if (code == COUCHSTORE_SUCCESS) {
        code = couchstore_all_docs(db, NULL, 0, scan_callback, &scan);
    }
    if (code == COUCHSTORE_SUCCESS) {
        code = couchstore_scan_local_docs(db, NULL, scan_local_callback, &scan);
    }
    if (code == COUCHSTORE_SUCCESS) {
        code = couchstore_open_document(db, "key07", 5, &doc, 0);
        couchstore_free_document(doc);
    }
    return code;
}

/* A database of a few levels, committed twice; made anew for each run as a copy. */
static const char *base_file(void) {
    const char *name = path("base.couch");
    Db *db;
    if (file_exists(name)) {
        return name;
    }
    db = OPEN(name, CREATE_FLAG | 0x110000); /* small nodes */
    for (int i = 0; i < 60; ++i) {
        char id[16], body[64];
        snprintf(id, sizeof(id), "key%02d", i);
        snprintf(body, sizeof(body), "the body of document number %d, %d", i, i * i);
        CHECK_OK(put(db, id, body));
        if (i == 40) {
            CHECK_OK(put_local(db, "_local/a", "one"));
            CHECK_OK(commit(db, 1));
        }
    }
    CHECK_OK(put_local(db, "_local/b", "two"));
    CHECK_OK(commit(db, 2));
    CLOSE(db);
    return name;
}

struct operation {
    couchstore_error_t (*prepare)(Db *), (*run)(Db *);
    char *before, *after; /* what the handle shows before and after run without faults */
    char *old, *new;      /* what the file shows before, and after run and commit */
};

static void learn(struct operation *operation) {
    const char *name = path("learn.couch");
    Db *db;
    file_copy(base_file(), name);
    operation->old = describe_file(name);
    db = OPEN(name, 0);
    CHECK_OK(operation->prepare(db));
    operation->before = describe(db);
    CHECK_OK(operation->run(db));
    operation->after = describe(db);
    CHECK_OK(commit(db, 99));
    CLOSE(db);
    operation->new = describe_file(name);
}

static void forget(struct operation *operation) {
    free(operation->before);
    free(operation->after);
    free(operation->old);
    free(operation->new);
}

static void check_text(Db *db, const char *expected) {
    char *text = describe(db);
    CHECK_STR(text, expected);
    free(text);
}

static void check_file(const char *name, const char *expected) {
    char *text = describe_file(name);
    CHECK_STR(text, expected);
    free(text);
}

enum variant { ONCE_THEN_RETRY, ONCE_THEN_CLOSE, PARTIAL_THEN_RETRY, FROM_THEN_ON, VARIANTS };

/* One run with the k-th call of a kind failing. False: there were fewer calls. */
static bool one_fault(struct operation *operation,
                      couchstore_open_flags flags,
                      enum op_kind kind,
                      int k,
                      enum variant variant) {
    const char *name = path("work.couch");
    struct test_ops t;
    couchstore_error_t code;
    size_t failed_at = 0;
    int error;
    bool second_sync;
    Db *db;
    file_copy(base_file(), name);
    ops_init(&t);
    db = OPEN_OPS(name, flags, &t.ops);
    CHECK_OK(operation->prepare(db));
    ops_reset(&t);
    ops_fail(&t, kind, k, variant == FROM_THEN_ON ? -1 : 1, ODD_CODE, ENOSPC);
    t.fail_partial = variant == PARTIAL_THEN_RETRY;
    errno = 0;
    code = operation->run(db);
    error = errno;
    if (t.failed == 0) {
        CHECK_OK(code);
        ops_reset(&t);
        CLOSE(db);
        ops_free(&t);
        return false;
    }
    CHECK_CODE(code, ODD_CODE);
    CHECK_EQ_INT(error, ENOSPC);
    while (t.log[failed_at].result != ODD_CODE) {
        ++failed_at;
    }
    for (size_t i = failed_at + 1; i < t.logged; ++i) {
        CHECK(t.log[i].kind != kind); /* no second try of its own */
    }
    second_sync = kind == OP_SYNC && k == 2;
    if (variant == FROM_THEN_ON) { /* close may flush, once, and fail */
        int calls = t.calls[kind];
        code = couchstore_close_file(db);
        CHECK(code == COUCHSTORE_SUCCESS || (int)code == ODD_CODE);
        CHECK(t.calls[kind] <= calls + (kind == OP_PWRITE && !(flags & UNBUFFERED)));
        CHECK_OK(couchstore_free_db(db));
        ops_free(&t);
        check_file(name, second_sync ? operation->new : operation->old);
        return true;
    }
    ops_reset(&t);
    check_text(db, operation->before); /* nothing has changed for readers of this handle */
    if (kind == OP_SYNC) {
        CHECK_CODE(put(db, "x", "y"), COUCHSTORE_ERROR_WRITE);
        CHECK_CODE(put_local(db, "x", "y"), COUCHSTORE_ERROR_WRITE);
        CHECK_CODE(commit(db, 100), COUCHSTORE_ERROR_WRITE);
        check_text(db, operation->before);
        CHECK_EQ_INT(t.calls[OP_SYNC] + t.calls[OP_PWRITE], 0);
    } else if (variant != ONCE_THEN_CLOSE) {
        CHECK_OK(operation->run(db));
        check_text(db, operation->after);
        CHECK_OK(commit(db, 99));
    }
    CLOSE(db);
    ops_free(&t);
    check_file(name, second_sync || (variant != ONCE_THEN_CLOSE && kind != OP_SYNC)
                             ? operation->new
                             : operation->old);
    return true;
}

/* Every call, or under valgrind some of the later ones. */
static int step(int k) {
    return test_small() && k > 4 ? 9 : 1;
}

static void sweep(couchstore_error_t (*prepare)(Db *),
                  couchstore_error_t (*run)(Db *),
                  const enum op_kind *kinds,
                  size_t count) {
    const couchstore_open_flags modes[] = {0, UNBUFFERED};
    struct operation operation = {.prepare = prepare, .run = run};
    int runs = 0;
    learn(&operation);
    for (size_t mode = 0; mode < COUNT_OF(modes); ++mode) {
        for (size_t kind = 0; kind < count; ++kind) {
            for (int variant = 0; variant < VARIANTS; ++variant) {
                if (variant == PARTIAL_THEN_RETRY && kinds[kind] != OP_PWRITE) {
                    continue;
                }
                for (int k = 1; one_fault(&operation, modes[mode] | 0x110000, kinds[kind], k,
                                          (enum variant)variant);
                     k += step(k)) {
                    ++runs;
                }
            }
        }
    }
    printf("        %d faults\n", runs);
    CHECK(runs > 0);
    forget(&operation);
}

static const enum op_kind all_kinds[] = {OP_PREAD, OP_PWRITE, OP_SYNC};

TEST(faults_in_a_save) {
    sweep(nothing, save_batch, all_kinds, COUNT_OF(all_kinds));
}

TEST(faults_in_a_save_that_overflows_the_buffer) {
    sweep(nothing, save_large, all_kinds, COUNT_OF(all_kinds));
}

TEST(faults_in_saving_a_local_document) {
    sweep(nothing, save_local, all_kinds, COUNT_OF(all_kinds));
}

TEST(faults_in_a_commit) {
    sweep(save_batch, commit_it, all_kinds, COUNT_OF(all_kinds));
}

TEST(faults_in_reading) {
    sweep(nothing, read_all, all_kinds, COUNT_OF(all_kinds));
}

TEST(faults_in_open) {
    const enum op_kind kinds[] = {OP_OPEN, OP_EOF, OP_PREAD};
    const couchstore_open_flags modes[] = {0, UNBUFFERED, RDONLY_FLAG, RDONLY_FLAG | UNBUFFERED,
                                           CREATE_FLAG};
    const char *name = path("work.couch");
    int runs = 0;
    for (size_t mode = 0; mode < COUNT_OF(modes); ++mode) {
        for (size_t kind = 0; kind < COUNT_OF(kinds); ++kind) {
            for (int k = 1;; ++k) {
                struct test_ops t;
                struct bytes before, after;
                couchstore_error_t code;
                int error, descriptors = open_descriptors();
                Db *db = NULL;
                file_copy(base_file(), name);
                ops_init(&t);
                ops_fail(&t, kinds[kind], k, 1, ODD_CODE, EIO);
                errno = 0;
                code = couchstore_open_db_ex(name, modes[mode], &t.ops, &db);
                error = errno;
                if (t.failed == 0) {
                    CHECK_OK(code);
                    CLOSE(db);
                    ops_free(&t);
                    break;
                }
                ++runs;
                CHECK_CODE(code, ODD_CODE);
                CHECK_EQ_INT(error, EIO);
                CHECK(db == NULL);
                CHECK_EQ_INT(t.calls[OP_CONSTRUCTOR], 1);
                CHECK_EQ_INT(t.calls[OP_OPEN], 1);
                CHECK_EQ_INT(t.calls[OP_DESTRUCTOR], 1);
                CHECK_EQ_INT(t.calls[OP_PWRITE] + t.calls[OP_SYNC], 0);
                CHECK_EQ_INT(t.calls[kinds[kind]], k);
                if (kinds[kind] == OP_EOF) {
                    CHECK_EQ_INT(t.calls[OP_PREAD], 0);
                }
                ops_free(&t);
                CHECK_EQ_INT(open_descriptors(), descriptors);
                before = file_read(base_file());
                after = file_read(name);
                CHECK_MEM(after.data, after.size, before.data, before.size);
                bytes_free(&before);
                bytes_free(&after);
            }
        }
    }
    CHECK(runs >= 15);
}

TEST(faults_in_create) {
    const enum op_kind kinds[] = {OP_OPEN, OP_EOF, OP_PWRITE};
    const couchstore_open_flags modes[] = {0, UNBUFFERED,
                                           COUCHSTORE_OPEN_WITH_LEGACY_CRC | UNBUFFERED,
                                           COUCHSTORE_OPEN_FLAG_EXCL | UNBUFFERED};
    const char *name = path("new.couch");
    for (size_t mode = 0; mode < COUNT_OF(modes); ++mode) {
        for (size_t kind = 0; kind < COUNT_OF(kinds); ++kind) {
            for (int k = 1;; ++k) {
                struct test_ops t;
                couchstore_error_t code;
                Db *db = NULL;
                ops_init(&t);
                ops_fail(&t, kinds[kind], k, 1, ODD_CODE, EIO);
                code = couchstore_open_db_ex(name, CREATE_FLAG | modes[mode], &t.ops, &db);
                if (t.failed == 0) {
                    CHECK_OK(code);
                    ops_reset(&t);
                    CLOSE(db);
                    ops_free(&t);
                    CHECK(unlink(name) == 0);
                    break;
                }
                CHECK_CODE(code, ODD_CODE);
                CHECK_EQ_INT(t.calls[OP_DESTRUCTOR], 1);
                ops_free(&t);
                CHECK_EQ_INT(dir_entries(path(".")), 0); /* the file that this call made is gone */
            }
        }
    }
}

TEST(failed_open_keeps_a_file_that_was_there) {
    struct test_ops t;
    Db *db = NULL;
    const char *name = path("empty");
    file_write(name, "", 0);
    ops_init(&t);
    ops_fail(&t, OP_PWRITE, 1, 1, ODD_CODE, EIO);
    CHECK_CODE(couchstore_open_db_ex(name, CREATE_FLAG | UNBUFFERED, &t.ops, &db), ODD_CODE);
    ops_free(&t);
    CHECK_EQ_INT(file_size(name), 0);
}

TEST(all_pwrites_fail) {
    const char *name = path("a.couch");
    struct test_ops t;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(name, CREATE_FLAG, &t.ops);
    ops_fail(&t, OP_PWRITE, 1, -1, COUCHSTORE_ERROR_WRITE, EIO);
    CHECK_EQ_INT(t.calls[OP_PWRITE], 0);
    CHECK_OK(put(db, "a", "1"));
    CHECK_EQ_INT(t.calls[OP_PWRITE], 0);
    CHECK_CODE(commit(db, 1), COUCHSTORE_ERROR_WRITE);
    CHECK_EQ_INT(t.calls[OP_PWRITE], 1); /* one at commit */
    CHECK_EQ_INT(t.calls[OP_SYNC], 0);
    CHECK_CODE(couchstore_close_file(db), COUCHSTORE_ERROR_WRITE);
    CHECK_EQ_INT(t.calls[OP_PWRITE], 2); /* one more at close */
    CHECK_EQ_INT(t.calls[OP_CLOSE], 1);
    CHECK_OK(couchstore_close_file(db));
    CHECK_OK(couchstore_free_db(db));
    CHECK_EQ_INT(t.calls[OP_PWRITE], 2);
    CHECK_EQ_INT(t.calls[OP_DESTRUCTOR], 1);
    ops_free(&t);
    CHECK_EQ_INT(file_size(name), 0);
}

TEST(header_of_a_failed_commit_stays_out_of_the_file) {
    /* Buffered: the header may be in the write buffer when the flush fails, and close flushes once more. */
    const char *name = path("a.couch");
    struct test_ops t;
    struct bytes file;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(name, CREATE_FLAG, &t.ops);
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 1));
    CHECK_OK(put(db, "b", "2"));
    ops_fail(&t, OP_PWRITE, 1, 1, COUCHSTORE_ERROR_WRITE, EIO);
    CHECK_CODE(commit(db, 2), COUCHSTORE_ERROR_WRITE);
    CHECK_EQ_INT(couchstore_get_header_position(db), 4096);
    CHECK_STR(body_of(db, "a"), "1");
    CLOSE(db);
    ops_free(&t);
    db = OPEN(name, RDONLY_FLAG);
    CHECK_EQ_INT(couchstore_get_header_position(db), 4096);
    CHECK_STR(docs_by_id(db), "a@1");
    CLOSE(db);
    file = file_read(name);
    for (size_t at = 8192; at < file.size; at += BLOCK_SIZE) {
        CHECK(file.data[at] != HEADER_BLOCK);
    }
    bytes_free(&file);
}

TEST(saves_after_a_failed_commit_reach_the_next_one) {
    const char *name = path("a.couch");
    struct test_ops t;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(name, CREATE_FLAG, &t.ops);
    CHECK_OK(put(db, "a", "1"));
    ops_fail(&t, OP_PWRITE, 1, 1, COUCHSTORE_ERROR_WRITE, ENOSPC);
    CHECK_CODE(commit(db, 1), COUCHSTORE_ERROR_WRITE);
    CHECK_OK(put(db, "b", "2"));
    CHECK_OK(commit(db, 2));
    CLOSE(db);
    ops_free(&t);
    db = OPEN(name, RDONLY_FLAG);
    CHECK_STR(docs_by_seq(db), "a@1 b@2");
    CHECK_STR(body_of(db, "a"), "1");
    CHECK_STR(body_of(db, "b"), "2");
    CLOSE(db);
}

TEST(latch_is_on_one_handle_only) {
    const char *name = path("a.couch");
    struct test_ops t;
    Db *db, *second;
    ops_init(&t);
    db = OPEN_OPS(name, CREATE_FLAG, &t.ops);
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 1));
    CHECK_OK(put(db, "b", "2"));
    ops_fail(&t, OP_SYNC, 1, 1, COUCHSTORE_ERROR_WRITE, EIO);
    CHECK_CODE(commit(db, 2), COUCHSTORE_ERROR_WRITE);
    CHECK_CODE(put(db, "c", "3"), COUCHSTORE_ERROR_WRITE);
    CHECK_OK(couchstore_seek(db, COUCHSTORE_SEEK_END)); /* does not take the latch away */
    CHECK_STR(docs_by_id(db), "a@1");
    CHECK_CODE(put(db, "c", "3"), COUCHSTORE_ERROR_WRITE);
    CHECK_CODE(commit(db, 3), COUCHSTORE_ERROR_WRITE);
    second = OPEN_OPS(name, 0, &t.ops); /* opened again: all is well */
    CHECK_OK(put(second, "c", "3"));
    CHECK_OK(commit(second, 4));
    CHECK_STR(docs_by_id(second), "a@1 c@2");
    CLOSE(second);
    CLOSE(db);
    ops_free(&t);
    db = OPEN(name, RDONLY_FLAG);
    CHECK_STR(docs_by_id(db), "a@1 c@2");
    CLOSE(db);
}

TEST(faults_in_seek) {
    const cs_off_t to[] = {-1, -2, 4096};
    for (size_t i = 0; i < COUNT_OF(to); ++i) {
        for (int k = 1;; ++k) {
            const char *name = path("work.couch");
            struct test_ops t;
            char *before, *after;
            couchstore_error_t code;
            bool failed;
            Db *db;
            file_copy(base_file(), name);
            ops_init(&t);
            db = OPEN_OPS(name, UNBUFFERED, &t.ops);
            before = describe(db);
            ops_reset(&t);
            ops_fail(&t, OP_PREAD, k, 1, COUCHSTORE_ERROR_READ, EIO);
            code = to[i] == -1   ? couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD)
                   : to[i] == -2 ? couchstore_seek(db, COUCHSTORE_SEEK_END)
                                 : couchstore_seek_offset(db, to[i]);
            failed = t.failed > 0;
            ops_reset(&t);
            if (code != COUCHSTORE_SUCCESS && code != COUCHSTORE_ERROR_DB_NO_LONGER_VALID) {
                after = describe(db); /* the old header again */
                CHECK_STR(after, before);
                free(after);
            }
            free(before);
            CLOSE(db);
            ops_free(&t);
            if (!failed) {
                break;
            }
        }
    }
}

TEST(faults_in_compaction) {
    const enum op_kind kinds[] = {OP_OPEN, OP_EOF, OP_PREAD, OP_PWRITE, OP_SYNC};
    const couchstore_open_flags modes[] = {0, UNBUFFERED};
    const char *name = path("work.couch");
    const char *target = path("target.couch");
    struct bytes before, after;
    char *expected = describe_file(base_file());
    int runs = 0;
    before = file_read(base_file());
    file_copy(base_file(), name);
    for (size_t mode = 0; mode < COUNT_OF(modes); ++mode) {
        for (size_t kind = 0; kind < COUNT_OF(kinds); ++kind) {
            for (int k = 1;; k += step(k)) {
                struct test_ops t;
                couchstore_error_t code;
                couchstore_compact_flags flags = mode ? COUCHSTORE_COMPACT_FLAG_UNBUFFERED : 0;
                bool failed;
                Db *db;
                ops_init(&t);
                db = OPEN_OPS(name, RDONLY_FLAG | modes[mode], &t.ops);
                ops_reset(&t);
                ops_fail(&t, kinds[kind], k, 1, ODD_CODE, EIO);
                code = couchstore_compact_db_ex(db, target, flags, NULL, NULL, NULL, &t.ops);
                failed = t.failed > 0;
                if (failed) {
                    CHECK_CODE(code, ODD_CODE);
                    CHECK_EQ_INT(dir_entries(path(".")),
                                 2); /* base and work: no target, no temporary */
                    CHECK_EQ_INT(t.calls[OP_CONSTRUCTOR],
                                 t.calls[OP_DESTRUCTOR]); /* the target's handle */
                    ops_reset(&t);
                    CHECK_OK(couchstore_compact_db_ex(db, target, flags, NULL, NULL, NULL,
                                                      &t.ops)); /* the source is usable */
                } else {
                    CHECK_OK(code);
                }
                CLOSE(db);
                ops_free(&t);
                check_file(target, expected);
                CHECK(unlink(target) == 0);
                if (!failed) {
                    break;
                }
                ++runs;
            }
        }
    }
    after = file_read(name);
    CHECK_MEM(after.data, after.size, before.data, before.size);
    bytes_free(&before);
    bytes_free(&after);
    free(expected);
    printf("        %d faults\n", runs);
    CHECK(runs > 20);
}
