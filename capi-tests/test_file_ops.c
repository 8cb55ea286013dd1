/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Custom file operations: validation, and exactly which calls are made when.
 */
#include "testlib.h"

#define CREATE_FLAG COUCHSTORE_OPEN_FLAG_CREATE
#define UNBUFFERED COUCHSTORE_OPEN_FLAG_UNBUFFERED
#define RDONLY_FLAG COUCHSTORE_OPEN_FLAG_RDONLY
#define ALL "COcrwesd" /* all kinds of calls but advise, which is only a hint */

/* The file of the format's example: one document, 4189 bytes, header at 4096. */
static const char *one_document(void) {
    const char *name = path("one.couch");
    Db *db = CREATE(name);
    CHECK_OK(put(db, "hello", "world"));
    CHECK_OK(commit(db, 42));
    CLOSE(db);
    CHECK_EQ_INT(file_size(name), 4189);
    return name;
}

TEST(struct_is_validated) {
    struct test_ops t;
    couch_file_ops bad;
    Db *db = NULL;
    ops_init(&t);
#define REFUSED(change)                                                        \
    bad = t.ops;                                                               \
    bad.change;                                                                \
    CHECK_CODE(couchstore_open_db_ex(path("a.couch"), CREATE_FLAG, &bad, &db), \
               COUCHSTORE_ERROR_INVALID_ARGUMENTS)
    REFUSED(version = 0);
    REFUSED(version = 4);
    REFUSED(version = 6);
    REFUSED(constructor = NULL);
    REFUSED(open = NULL);
    REFUSED(close = NULL);
    REFUSED(pread = NULL);
    REFUSED(pwrite = NULL);
    REFUSED(goto_eof = NULL);
    REFUSED(sync = NULL);
    REFUSED(destructor = NULL);
    CHECK_EQ_INT(t.logged, 0);
    CHECK(!file_exists(path("a.couch")));
    t.ops.advise = NULL; /* this one is optional */
    db = OPEN_OPS(path("a.couch"), CREATE_FLAG, &t.ops);
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 1));
    CHECK_STR(docs_by_id(db), "a@1");
    CLOSE(db);
    ops_free(&t);
}

TEST(cookie_reaches_the_constructor) {
    /* The handles come from the constructor, which finds its state through the cookie. */
    struct test_ops t;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(path("a.couch"), CREATE_FLAG, &t.ops);
    CHECK_EQ_INT(t.calls[OP_CONSTRUCTOR], 1);
    CHECK_EQ_INT(t.files, 1);
    CLOSE(db);
    ops_free(&t);
}

TEST(flags_that_the_struct_cannot_serve) {
    const couchstore_open_flags flags[] = {
            COUCHSTORE_OPEN_WITH_TRACING, COUCHSTORE_OPEN_WITH_WRITE_VALIDATION,
            COUCHSTORE_OPEN_WITH_MPROTECT, couchstore_encode_periodic_sync_flags(1 << 20)};
    for (size_t i = 0; i < COUNT_OF(flags); ++i) {
        for (int unbuffered = 0; unbuffered < 2; ++unbuffered) {
            struct test_ops t;
            Db *db = NULL;
            ops_init(&t);
            CHECK_CODE(couchstore_open_db_ex(path("a.couch"),
                                             CREATE_FLAG | flags[i] | (unbuffered ? UNBUFFERED : 0),
                                             &t.ops, &db),
                       COUCHSTORE_ERROR_NOT_SUPPORTED);
            CHECK_EQ_INT(t.calls[OP_CONSTRUCTOR], 1);
            CHECK_EQ_INT(t.calls[OP_DESTRUCTOR], 1);
            CHECK_EQ_INT(t.calls[OP_PWRITE], 0);
            CHECK(!file_exists(path("a.couch"))); /* the file that this call made is gone again */
            ops_free(&t);
        }
    }
}

/* ---- unbuffered: the table of calls ---- */

TEST(unbuffered_create) {
    struct test_ops t;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(path("a.couch"), CREATE_FLAG | UNBUFFERED, &t.ops);
    CHECK_STR(ops_text(&t, ALL), "C O e w9@0 w39@9");
    ops_reset(&t);
    CLOSE(db);
    CHECK_STR(ops_text(&t, ALL), "c d");
    ops_free(&t);
}

TEST(unbuffered_create_legacy) {
    struct test_ops t;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(path("a.couch"), CREATE_FLAG | UNBUFFERED | COUCHSTORE_OPEN_WITH_LEGACY_CRC,
                  &t.ops);
    CHECK_STR(ops_text(&t, ALL), "C O e w9@0 w25@9");
    CLOSE(db);
    ops_free(&t);
}

TEST(unbuffered_open) {
    const char *name = one_document();
    struct test_ops t;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(name, RDONLY_FLAG | UNBUFFERED, &t.ops);
    CHECK_STR(ops_text(&t, ALL), "C O e r1@4096 r8@4097 r84@4105");
    CLOSE(db);
    ops_free(&t);
}

TEST(unbuffered_open_steps_back_block_by_block) {
    const char *name = one_document();
    struct bytes file = file_read(name);
    struct test_ops t;
    Db *db;
    bytes_zeros(&file, 3 * BLOCK_SIZE);
    file_write(name, file.data, file.size);
    bytes_free(&file);
    ops_init(&t);
    db = OPEN_OPS(name, RDONLY_FLAG | UNBUFFERED, &t.ops);
    CHECK_STR(ops_text(&t, ALL), "C O e r1@16384 r1@12288 r1@8192 r1@4096 r8@4097 r84@4105");
    CLOSE(db);
    ops_free(&t);
}

TEST(unbuffered_save_and_commit) {
    struct test_ops t;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(path("a.couch"), CREATE_FLAG | UNBUFFERED, &t.ops);
    ops_reset(&t);
    CHECK_OK(put(db, "hello", "world"));
    CHECK_STR(ops_text(&t, ALL),
              "w8@48 w5@56 w8@61 w35@69 w8@104 w35@112"); /* body, by-id leaf, by-sequence leaf */
    ops_reset(&t);
    CHECK_OK(commit(db, 42));
    CHECK_STR(ops_text(&t, ALL), "w9@4096 w84@4105 s w1@4096 s");
    ops_reset(&t);
    CLOSE(db);
    CHECK_STR(ops_text(&t, ALL), "c d");
    ops_free(&t);
}

TEST(unbuffered_batch_writes_bodies_first) {
    struct test_ops t;
    struct doc docs[] = {{.id = "b", .body = "22"},
                         {.id = "c"},
                         {.id = "a", .body = "1"},
                         {.id = "d", .body = ""}};
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(path("a.couch"), CREATE_FLAG | UNBUFFERED, &t.ops);
    ops_reset(&t);
    CHECK_OK(save_docs(db, docs, 4, 0));
    CHECK(strncmp(ops_text(&t, "w"), "w8@48 w2@56 w8@58 w1@66 w8@67 ", 30) ==
          0); /* array order; no body for the deletion */
    CHECK(t.calls[OP_PWRITE] == 9 ||
          t.calls[OP_PWRITE] == 10); /* an empty body may or may not be a call of 0 bytes */
    CHECK_EQ_INT(t.calls[OP_PREAD], 0);
    CLOSE(db);
    ops_free(&t);
}

TEST(unbuffered_reads) {
    const char *name = one_document();
    struct test_ops t;
    DocInfo *info = NULL;
    Doc *doc = NULL;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(name, RDONLY_FLAG | UNBUFFERED, &t.ops);
    for (int i = 0; i < 2; ++i) { /* each time: nothing is kept between two calls */
        ops_reset(&t);
        CHECK_OK(couchstore_docinfo_by_id(db, "hello", 5, &info));
        CHECK_STR(ops_text(&t, ALL), "r8@61 r35@69");
        ops_reset(&t);
        CHECK_OK(couchstore_open_doc_with_docinfo(db, info, &doc, 0));
        CHECK_STR(ops_text(&t, ALL), "r8@48 r5@56");
        couchstore_free_document(doc);
        couchstore_free_docinfo(info);
        ops_reset(&t);
        CHECK_OK(couchstore_docinfo_by_sequence(db, 1, &info));
        CHECK_STR(ops_text(&t, ALL), "r8@104 r35@112");
        couchstore_free_docinfo(info);
        ops_reset(&t);
        CHECK_STR(body_of(db, "hello"), "world");
        CHECK_STR(ops_text(&t, ALL), "r8@61 r35@69 r8@48 r5@56");
        ops_reset(&t);
        CHECK_STR(docs_by_seq(db), "hello@1");
        CHECK_STR(ops_text(&t, ALL), "r8@104 r35@112");
    }
    CLOSE(db);
    ops_free(&t);
}

TEST(unbuffered_local_documents) {
    struct test_ops t;
    LocalDoc docs[3] = {{buf("b"), buf("2"), 0}, {buf("a"), buf("1"), 0}, {buf("c"), buf("3"), 0}};
    LocalDoc *list[3] = {&docs[0], &docs[1], &docs[2]};
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(path("a.couch"), CREATE_FLAG | UNBUFFERED, &t.ops);
    ops_reset(&t);
    CHECK_OK(couchstore_save_local_documents(db, list, 3));
    CHECK_EQ_INT(t.calls[OP_PWRITE], 2); /* one leaf */
    CHECK_EQ_INT(t.calls[OP_PREAD], 0);
    ops_reset(&t);
    CHECK_STR(local_of(db, "b"), "2");
    CHECK_EQ_INT(t.calls[OP_PREAD], 2);
    CLOSE(db);
    ops_free(&t);
}

TEST(unbuffered_block_boundaries) {
    struct test_ops t;
    static char body[5001];
    Doc *doc = NULL;
    DocInfo *info = NULL;
    Db *db;
    memset(body, 'x', 5000);
    ops_init(&t);
    db = OPEN_OPS(path("a.couch"), CREATE_FLAG | UNBUFFERED, &t.ops);
    ops_reset(&t);
    CHECK_OK(put(db, "a", body));
    CHECK(strncmp(ops_text(&t, "w"), "w8@48 w4040@56 w1@4096 w960@4097 w8@5057 ", 41) ==
          0); /* one byte more for the boundary */
    CHECK_EQ_INT(t.calls[OP_PWRITE], 8);
    CHECK_OK(couchstore_docinfo_by_id(db, "a", 1, &info));
    ops_reset(&t);
    CHECK_OK(couchstore_open_doc_with_docinfo(db, info, &doc, 0));
    CHECK_STR(ops_text(&t, ALL), "r8@48 r4040@56 r960@4097");
    CHECK_MEM(doc->data.buf, doc->data.size, body, 5000);
    couchstore_free_document(doc);
    couchstore_free_docinfo(info);
    CLOSE(db);
    ops_free(&t);
}

TEST(unbuffered_seek) {
    const char *name = one_document();
    struct test_ops t;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(name, RDONLY_FLAG | UNBUFFERED, &t.ops);
    ops_reset(&t);
    CHECK_OK(couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD));
    CHECK_STR(ops_text(&t, ALL), "r1@0 r8@1 r39@9");
    ops_reset(&t);
    CHECK_CODE(couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD), COUCHSTORE_ERROR_NO_HEADER);
    CHECK_STR(ops_text(&t, ALL), ""); /* on the first header none */
    CHECK_OK(couchstore_seek(db, COUCHSTORE_SEEK_END));
    ops_reset(&t);
    CHECK_OK(couchstore_rewind_db_header(db));
    CHECK_STR(ops_text(&t, ALL), "r1@0 r8@1 r39@9");
    ops_reset(&t);
    CHECK_CODE(couchstore_rewind_db_header(db), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    CHECK_STR(ops_text(&t, ALL), "c d"); /* closed and freed */
    ops_free(&t);
}

TEST(unbuffered_no_commit_at_create) {
    struct test_ops t;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(path("a.couch"),
                  CREATE_FLAG | UNBUFFERED | COUCHSTORE_OPEN_FLAG_NO_COMMIT_AT_CREATE, &t.ops);
    CHECK_STR(ops_text(&t, ALL), "C O e w1@0");
    CHECK_EQ_INT(t.log[t.logged - 1].first_byte, DATA_BLOCK);
    CLOSE(db);
    ops_free(&t);
    CHECK_EQ_INT(file_size(path("a.couch")), 1);
}

/* ---- buffered ---- */

TEST(buffered_create_save_commit_close) {
    const char *name = path("a.couch");
    struct test_ops t;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(name, CREATE_FLAG, &t.ops);
    CHECK_STR(ops_text(&t, ALL), "C O e"); /* no pwrite, no sync */
    CHECK_EQ_INT(file_size(name), 0);
    ops_reset(&t);
    CHECK_OK(put(db, "hello", "world"));
    CHECK_STR(body_of(db, "hello"), "world"); /* reads see the write buffer */
    CHECK_EQ_INT(t.calls[OP_PWRITE], 0);
    ops_reset(&t);
    CHECK_OK(commit(db, 42));
    CHECK_EQ_INT(t.calls[OP_SYNC], 2);
    ops_reset(&t);
    CHECK_OK(commit(db, 43));
    CHECK_EQ_INT(t.calls[OP_SYNC], 2);
    ops_reset(&t);
    CLOSE(db);
    CHECK_STR(ops_text(&t, ALL), "c d"); /* nothing to flush, never a sync or a read */
    ops_free(&t);
}

TEST(buffered_close_flushes) {
    const char *name = path("a.couch");
    struct test_ops t;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(name, CREATE_FLAG, &t.ops);
    ops_reset(&t);
    CLOSE(db);
    CHECK_STR(ops_text(&t, ALL), "w48@0 c d");
    ops_free(&t);
    CHECK_EQ_INT(file_size(name), 48);
}

TEST(buffered_open_reads_only_the_block_of_the_header) {
    const char *name = path("large.couch");
    static char body[50001];
    struct test_ops t;
    uint64_t header;
    Db *db = CREATE(name);
    memset(body, 'x', 50000);
    CHECK_OK(put(db, "a", body));
    CHECK_OK(commit(db, 1));
    header = couchstore_get_header_position(db);
    CLOSE(db);
    ops_init(&t);
    db = OPEN_OPS(name, RDONLY_FLAG, &t.ops);
    CHECK(t.calls[OP_PREAD] >= 1);
    for (size_t i = 0; i < t.logged; ++i) {
        if (t.log[i].kind == OP_PREAD) {
            CHECK(t.log[i].offset >= (int64_t)header);
        }
    }
    CHECK_EQ_INT(t.calls[OP_SYNC] + t.calls[OP_PWRITE], 0);
    file_truncate(name, 4096); /* noticed by the next read */
    CHECK_STR(body_of(db, "a"), "error -4");
    CLOSE(db);
    ops_free(&t);
}

TEST(buffered_reads_are_few) {
    const char *name = path("a.couch");
    struct test_ops t;
    struct scan scan = {.count = 0};
    Db *db = CREATE(name);
    for (int i = 0; i < 20; ++i) {
        struct doc docs[50];
        char ids[50][16];
        memset(docs, 0, sizeof(docs));
        for (int j = 0; j < 50; ++j) {
            snprintf(ids[j], sizeof(ids[j]), "key%06d", i * 50 + j);
            docs[j].id = ids[j];
            docs[j].body = "some body";
        }
        CHECK_OK(save_docs(db, docs, 50, 0));
    }
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    ops_init(&t);
    db = OPEN_OPS(name, RDONLY_FLAG, &t.ops);
    ops_reset(&t);
    CHECK_OK(couchstore_all_docs(db, NULL, 0, scan_callback, &scan));
    CHECK_EQ_INT(scan.count, 1000);
    CHECK(t.calls[OP_PREAD] <=
          1 + (int)(file_size(name) / 4096)); /* never one call per field or node */
    CLOSE(db);
    ops_free(&t);
}

/* ---- odd but legal operations ---- */

TEST(null_handle_from_the_constructor) {
    const char *name = path("a.couch");
    struct test_ops t;
    Db *db;
    ops_init(&t);
    t.null_constructor = true; /* open replaces the handle */
    db = OPEN_OPS(name, CREATE_FLAG, &t.ops);
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 1));
    CHECK_STR(body_of(db, "a"), "1");
    CLOSE(db);
    CHECK_EQ_INT(t.calls[OP_DESTRUCTOR], 1);
    ops_reset(&t);
    db = NULL;
    CHECK_CODE(couchstore_open_db_ex(name, UNBUFFERED, &t.ops, &db), COUCHSTORE_ERROR_ALLOC_FAIL);
    CHECK(db == NULL);
    CHECK_EQ_INT(t.calls[OP_OPEN], 0);
    ops_free(&t);
}

TEST(short_reads_and_writes) {
    for (int unbuffered = 0; unbuffered < 2; ++unbuffered) {
        static char body[9001];
        const char *name = path(unbuffered ? "u.couch" : "b.couch");
        struct test_ops t;
        Db *db;
        char *expected, *actual;
        memset(body, 'x', 9000);
        ops_init(&t);
        t.max_write = 7;
        t.max_read = 5;
        db = OPEN_OPS(name, CREATE_FLAG | (unbuffered ? UNBUFFERED : 0), &t.ops);
        CHECK_OK(put(db, "large", body));
        CHECK_OK(put(db, "small", "s"));
        CHECK_OK(put_local(db, "local", "l"));
        CHECK_OK(commit(db, 1));
        actual = describe(db);
        CLOSE(db);
        db = OPEN(name, RDONLY_FLAG); /* the file is whole */
        expected = describe(db);
        CLOSE(db);
        CHECK_STR(actual, expected);
        free(actual);
        db = OPEN_OPS(name, RDONLY_FLAG | (unbuffered ? UNBUFFERED : 0), &t.ops);
        actual = describe(db);
        CLOSE(db);
        CHECK_STR(actual, expected);
        free(actual);
        free(expected);
        ops_free(&t);
    }
}

TEST(a_pwrite_of_zero_bytes_is_repeated) {
    for (int unbuffered = 0; unbuffered < 2; ++unbuffered) {
        const char *name = path(unbuffered ? "u.couch" : "b.couch");
        struct test_ops t;
        Db *db;
        ops_init(&t);
        t.zero_writes = 32;
        db = OPEN_OPS(name, CREATE_FLAG | (unbuffered ? UNBUFFERED : 0), &t.ops);
        t.zero_writes = 32;
        CHECK_OK(put(db, "a", "1"));
        t.zero_writes = 32;
        CHECK_OK(commit(db, 1));
        CLOSE(db);
        ops_free(&t);
        db = OPEN(name, RDONLY_FLAG);
        CHECK_STR(docs_by_id(db), "a@1");
        CLOSE(db);
    }
}

TEST(a_pwrite_that_never_writes_ends) {
    struct test_ops t;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(path("a.couch"), CREATE_FLAG | UNBUFFERED, &t.ops);
    ops_reset(&t);
    t.zero_writes = -1;
    CHECK_CODE(put(db, "a", "1"), COUCHSTORE_ERROR_WRITE);
    CHECK(t.calls[OP_PWRITE] > 32 && t.calls[OP_PWRITE] < 100000);
    t.zero_writes = 0;
    CHECK_OK(put(db, "a", "2"));
    CHECK_OK(commit(db, 1));
    CHECK_STR(body_of(db, "a"), "2");
    CLOSE(db);
    ops_free(&t);
}

TEST(one_handle_per_open_file) {
    struct test_ops t;
    Db *first, *second;
    ops_init(&t);
    first = OPEN_OPS(path("a.couch"), CREATE_FLAG, &t.ops);
    second = OPEN_OPS(path("b.couch"), CREATE_FLAG, &t.ops);
    CHECK_OK(put(first, "a", "1"));
    CHECK_OK(put(second, "b", "2"));
    CHECK_OK(commit(first, 1));
    CHECK_OK(commit(second, 1));
    for (size_t i = 0; i < t.logged; ++i) {
        CHECK(t.log[i].file == 1 || t.log[i].file == 2);
    }
    CHECK_EQ_INT(t.files, 2);
    CLOSE(first);
    CHECK_STR(docs_by_id(second), "b@1");
    CLOSE(second);
    CHECK_EQ_INT(t.calls[OP_DESTRUCTOR], 2);
    ops_free(&t);
}
