/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Saving documents: batches, deletions, sequences, compression, limits, callbacks.
 */
#include "testlib.h"

#include <sys/mman.h>

#define MAX_VALUE ((UINT64_C(1) << 28) - 1)

static void check_counts(int line, Db *db, uint64_t seq, uint64_t docs, uint64_t deleted) {
    DbInfo info;
    uint64_t count = 99;
    test_equal_code(__FILE__, line, "couchstore_db_info", couchstore_db_info(db, &info), 0);
    test_equal_int(__FILE__, line, "last_sequence", (long long)info.last_sequence, (long long)seq);
    test_equal_int(__FILE__, line, "doc_count", (long long)info.doc_count, (long long)docs);
    test_equal_int(__FILE__, line, "deleted_count", (long long)info.deleted_count,
                   (long long)deleted);
    test_equal_code(__FILE__, line, "changes_count",
                    couchstore_changes_count(db, 0, UINT64_MAX, &count), 0);
    test_equal_int(__FILE__, line, "changes_count", (long long)count, (long long)(docs + deleted));
}
#define COUNTS(db, seq, docs, deleted) check_counts(__LINE__, (db), (seq), (docs), (deleted))

static DocInfo *info_of(Db *db, const char *id) {
    DocInfo *info = NULL;
    CHECK_OK(couchstore_docinfo_by_id(db, id, strlen(id), &info));
    return info;
}

TEST(fields_are_stored_in_both_trees) {
    Db *db = CREATE(path("a.couch"));
    struct doc doc = {.id = "key",
                      .body = "value",
                      .meta = "meta",
                      .rev = 77,
                      .content_meta = COUCH_DOC_NON_JSON_MODE};
    CHECK_OK(save_docs(db, &doc, 1, 0));
    CHECK_EQ_INT(doc.seq, 1);
    for (int tree = 0; tree < 2; ++tree) {
        DocInfo *info = NULL;
        CHECK_OK(tree == 0 ? couchstore_docinfo_by_id(db, "key", 3, &info)
                           : couchstore_docinfo_by_sequence(db, 1, &info));
        CHECK_MEM(info->id.buf, info->id.size, "key", 3);
        CHECK_MEM(info->rev_meta.buf, info->rev_meta.size, "meta", 4);
        CHECK_EQ_INT(info->db_seq, 1);
        CHECK_EQ_INT(info->rev_seq, 77);
        CHECK_EQ_INT(info->deleted, 0);
        CHECK_EQ_INT(info->content_meta, COUCH_DOC_NON_JSON_MODE);
        CHECK_EQ_INT(info->bp, 48);
        CHECK_EQ_INT(info->physical_size, 13);
        couchstore_free_docinfo(info);
    }
    CLOSE(db);
}

TEST(only_the_sequence_of_the_callers_info_changes) {
    Db *db = CREATE(path("a.couch"));
    char id[] = "key", meta[] = "meta", body[] = "value";
    Doc doc = {{id, 3}, {body, 5}};
    DocInfo info = {.id = {id, 3},
                    .db_seq = 1234,
                    .rev_seq = 5,
                    .rev_meta = {meta, 4},
                    .content_meta = 1,
                    .bp = 99,
                    .physical_size = 98};
    CHECK_OK(couchstore_save_document(db, &doc, &info, 0));
    CHECK_EQ_INT(info.db_seq, 1);
    CHECK(info.id.buf == id && info.rev_meta.buf == meta);
    CHECK_EQ_INT(info.rev_seq, 5);
    CHECK_EQ_INT(info.deleted, 0);
    CHECK_EQ_INT(info.content_meta, 1);
    CHECK_EQ_INT(info.bp, 99);
    CHECK_EQ_INT(info.physical_size, 98);
    CLOSE(db);
}

TEST(the_key_is_that_of_the_info) {
    Db *db = CREATE(path("a.couch"));
    char ignored[] = "ignored", real[] = "real", body[] = "body";
    Doc doc = {{ignored, 7}, {body, 4}};
    DocInfo info = {.id = {real, 4}};
    CHECK_OK(couchstore_save_document(db, &doc, &info, 0));
    doc.id.buf = NULL;
    doc.id.size = 0;
    real[0] = 's';
    CHECK_OK(couchstore_save_document(db, &doc, &info, 0));
    CHECK_STR(docs_by_id(db), "real@1 seal@2");
    CHECK_STR(body_of(db, "seal"), "body");
    CLOSE(db);
}

TEST(sequences_follow_the_array_order) {
    Db *db = CREATE(path("a.couch"));
    struct doc docs[] = {{.id = "d", .body = "1"},
                         {.id = "a", .body = "2"},
                         {.id = "c", .body = "3", .seq = 500}};
    CHECK_OK(save_docs(db, docs, 3, 0));
    CHECK_EQ_INT(docs[0].seq, 1);
    CHECK_EQ_INT(docs[1].seq, 2);
    CHECK_EQ_INT(docs[2].seq, 3);
    CHECK_STR(docs_by_seq(db), "d@1 a@2 c@3");
    CHECK_STR(docs_by_id(db), "a@2 c@3 d@1");
    COUNTS(db, 3, 3, 0);
    CLOSE(db);
}

TEST(update_replaces_the_old_sequence) {
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(put(db, "b", "2"));
    CHECK_OK(put(db, "a", "3"));
    CHECK_STR(docs_by_seq(db), "b@2 a@3");
    CHECK_STR(docs_by_id(db), "a@3 b@2");
    CHECK_STR(body_of(db, "a"), "3");
    COUNTS(db, 3, 2, 0);
    CLOSE(db);
}

TEST(deletion) {
    Db *db = CREATE(path("a.couch"));
    struct doc doc = {.id = "a", .body = NULL, .meta = "gone", .rev = 2};
    DocInfo *info;
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(save_docs(db, &doc, 1, 0)); /* a NULL body, though deleted is 0 */
    info = info_of(db, "a");
    CHECK_EQ_INT(info->deleted, 1);
    CHECK_EQ_INT(info->bp, 0);
    CHECK_EQ_INT(info->physical_size, 0);
    CHECK_EQ_INT(info->rev_seq, 2);
    CHECK_MEM(info->rev_meta.buf, info->rev_meta.size, "gone", 4);
    couchstore_free_docinfo(info);
    CHECK_STR(body_of(db, "a"), "error -5");
    CHECK_STR(docs_by_seq(db), "a@2-");
    COUNTS(db, 2, 0, 1);
    CHECK_OK(put(db, "a", "back"));
    CHECK_STR(docs_by_seq(db), "a@3");
    COUNTS(db, 3, 1, 0);
    CLOSE(db);
}

TEST(deletion_with_no_array_of_bodies) {
    Db *db = CREATE(path("a.couch"));
    char a[] = "a", b[] = "b";
    DocInfo infos[2] = {{.id = {a, 1}}, {.id = {b, 1}}};
    DocInfo *list[2] = {&infos[0], &infos[1]};
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(couchstore_save_documents(db, NULL, list, 2, 0)); /* b was never there */
    CHECK_STR(docs_by_seq(db), "a@2- b@3-");
    CHECK_OK(couchstore_save_document(db, NULL, &infos[0], 0));
    CHECK_STR(docs_by_seq(db), "b@3- a@4-");
    COUNTS(db, 4, 0, 2);
    CLOSE(db);
}

TEST(tombstone_with_a_body) {
    Db *db = CREATE(path("a.couch"));
    struct doc doc = {.id = "a", .body = "last words", .deleted = 1};
    CHECK_OK(save_docs(db, &doc, 1, 0));
    CHECK_STR(docs_by_id(db), "a@1-");
    CHECK_STR(body_of(db, "a"), "last words");
    COUNTS(db, 1, 0, 1);
    CLOSE(db);
}

TEST(empty_batch) {
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(couchstore_save_documents(db, NULL, NULL, 0, 0));
    COUNTS(db, 0, 0, 0);
    CLOSE(db);
    CHECK_EQ_INT(file_size(path("a.couch")), 48);
}

TEST(empty_id) {
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(put(db, "", "nameless"));
    CHECK_OK(put(db, "a", "1"));
    CHECK_STR(docs_by_id(db), "@1 a@2");
    CHECK_STR(body_of(db, ""), "nameless");
    CLOSE(db);
}

TEST(empty_body) {
    Db *db = CREATE(path("a.couch"));
    struct doc docs[] = {{.id = "plain", .body = ""},
                         {.id = "packed", .body = "", .content_meta = COUCH_DOC_IS_COMPRESSED}};
    CHECK_OK(save_docs(db, docs, 2, COMPRESS_DOC_BODIES));
    for (int i = 0; i < 2; ++i) {
        DocInfo *info = info_of(db, docs[i].id);
        Doc *doc = NULL;
        CHECK(info->bp != 0);
        CHECK_EQ_INT(info->physical_size, i == 0 ? 8 : 9);
        CHECK_OK(couchstore_open_doc_with_docinfo(db, info, &doc, DECOMPRESS_DOC_BODIES));
        CHECK(doc->data.buf == NULL);
        CHECK_EQ_INT(doc->data.size, 0);
        couchstore_free_document(doc);
        couchstore_free_docinfo(info);
    }
    CLOSE(db);
}

TEST(compression_needs_the_option_and_the_bit) {
    char body[3001];
    memset(body, 'z', 3000);
    body[3000] = '\0';
    for (int option = 0; option < 2; ++option) {
        for (int bit = 0; bit < 2; ++bit) {
            Db *db = CREATE(path("a.couch"));
            struct doc saved = {
                    .id = "a", .body = body, .content_meta = bit ? COUCH_DOC_IS_COMPRESSED : 0};
            bool packed = option && bit;
            DocInfo *info;
            Doc *doc = NULL;
            CHECK_OK(save_docs(db, &saved, 1, option ? COMPRESS_DOC_BODIES : 0));
            info = info_of(db, "a");
            CHECK_EQ_INT(info->content_meta, saved.content_meta);
            CHECK(packed ? info->physical_size < 1000 : info->physical_size == 3008);
            CHECK_OK(couchstore_open_doc_with_docinfo(db, info, &doc, 0));
            CHECK_EQ_INT(doc->data.size, info->physical_size - 8);
            if (packed) {
                struct bytes plain = snappy_decode((unsigned char *)doc->data.buf, doc->data.size);
                CHECK_MEM(plain.data, plain.size, body, 3000);
                bytes_free(&plain);
            } else {
                CHECK_MEM(doc->data.buf, doc->data.size, body, 3000);
            }
            couchstore_free_document(doc);
            doc = NULL;
            if (packed || !bit) {
                CHECK_OK(couchstore_open_doc_with_docinfo(db, info, &doc, DECOMPRESS_DOC_BODIES));
                CHECK_MEM(doc->data.buf, doc->data.size, body, 3000);
                couchstore_free_document(doc);
            } else { /* the bit lies: that body is no Snappy */
                CHECK_CODE(couchstore_open_doc_with_docinfo(db, info, &doc, DECOMPRESS_DOC_BODIES),
                           COUCHSTORE_ERROR_CORRUPT);
                CHECK(doc == NULL);
            }
            couchstore_free_docinfo(info);
            CLOSE(db);
            unlink(path("a.couch"));
        }
    }
}

TEST(duplicates_in_one_batch) {
    Db *db = CREATE(path("a.couch"));
    struct doc docs[] = {{.id = "x", .body = "first"},
                         {.id = "y", .body = "y"},
                         {.id = "x", .body = "second"},
                         {.id = "x", .body = "third"}};
    CHECK_OK(save_docs(db, docs, 4, 0));
    CHECK_EQ_INT(docs[3].seq, 4);
    CHECK_STR(docs_by_id(db), "x@4 y@2");
    CHECK_STR(docs_by_seq(db), "y@2 x@4");
    CHECK_STR(body_of(db, "x"), "third");
    COUNTS(db, 4, 2, 0);
    CHECK_OK(save_docs(db, docs, 4, 0)); /* and over existing entries */
    CHECK_STR(docs_by_seq(db), "y@6 x@8");
    COUNTS(db, 8, 2, 0);
    docs[3].body = NULL;
    CHECK_OK(save_docs(db, docs, 4, 0));
    CHECK_STR(docs_by_seq(db), "y@10 x@12-");
    COUNTS(db, 12, 1, 1);
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    db = OPEN(path("a.couch"), 0);
    COUNTS(db, 12, 1, 1);
    CLOSE(db);
}

TEST(sequences_as_they_are) {
    Db *db = CREATE(path("a.couch"));
    struct doc docs[] = {{.id = "a", .body = "1", .seq = 50}, {.id = "b", .body = "2", .seq = 40}};
    struct doc low = {.id = "c", .body = "3", .seq = 7};
    CHECK_OK(save_docs(db, docs, 2, COUCHSTORE_SEQUENCE_AS_IS));
    CHECK_EQ_INT(docs[0].seq, 50);
    CHECK_EQ_INT(docs[1].seq, 40);
    COUNTS(db, 50, 2, 0);
    CHECK_OK(save_docs(db, &low, 1, COUCHSTORE_SEQUENCE_AS_IS));
    COUNTS(db, 50, 3, 0); /* the maximum stays */
    CHECK_OK(put(db, "d", "4"));
    CHECK_STR(docs_by_seq(db), "c@7 b@40 a@50 d@51");
    CLOSE(db);
}

TEST(equal_sequences_in_one_batch) {
    Db *db = CREATE(path("a.couch"));
    struct doc docs[] = {{.id = "a", .body = "1", .seq = 5}, {.id = "b", .body = "2", .seq = 5}};
    struct scan scan = {.count = 0};
    CHECK_OK(save_docs(db, docs, 2, COUCHSTORE_SEQUENCE_AS_IS));
    CHECK_STR(docs_by_id(db), "a@5 b@5");
    CHECK_OK(couchstore_changes_since(db, 0, 0, scan_callback, &scan));
    CHECK_EQ_INT(scan.count, 2);
    CHECK(strstr(scan.text, "a@5") != NULL && strstr(scan.text, "b@5") != NULL);
    COUNTS(db, 5, 2, 0);
    CLOSE(db);
}

TEST(equal_sequence_in_a_later_batch) {
    Db *db = CREATE(path("a.couch"));
    struct doc first = {.id = "a", .body = "1", .seq = 5};
    struct doc second = {.id = "c", .body = "2", .seq = 5};
    CHECK_OK(save_docs(db, &first, 1, COUCHSTORE_SEQUENCE_AS_IS));
    CHECK_OK(save_docs(db, &second, 1, COUCHSTORE_SEQUENCE_AS_IS));
    CHECK_STR(docs_by_seq(db), "c@5");
    CHECK_STR(docs_by_id(db), "a@5 c@5");
    CLOSE(db);
}

TEST(sequence_moves_within_a_batch) {
    Db *db = CREATE(path("a.couch"));
    struct doc swap[] = {{.id = "a", .body = "1", .seq = 2}, {.id = "b", .body = "2", .seq = 1}};
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(put(db, "b", "2"));
    CHECK_OK(save_docs(db, swap, 2, COUCHSTORE_SEQUENCE_AS_IS)); /* removals come before inserts */
    CHECK_STR(docs_by_seq(db), "b@1 a@2");
    CHECK_STR(docs_by_id(db), "a@2 b@1");
    COUNTS(db, 2, 2, 0);
    CLOSE(db);
}

TEST(sequences_are_stored_in_48_bits) {
    Db *db = CREATE(path("a.couch"));
    struct doc doc = {.id = "a", .body = "1", .seq = UINT64_MAX};
    CHECK_OK(save_docs(db, &doc, 1, COUCHSTORE_SEQUENCE_AS_IS));
    CHECK_EQ_INT(doc.seq, UINT64_MAX);
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    db = OPEN(path("a.couch"), 0);
    CHECK_STR(docs_by_seq(db), "a@281474976710655");
    CHECK_EQ_INT(last_sequence(db), 281474976710655);
    CLOSE(db);
}

TEST(longest_id) {
    static char id[4097];
    Db *db = CREATE(path("a.couch"));
    memset(id, 'k', 4095);
    CHECK_OK(put(db, id, "long"));
    CHECK_OK(put(db, "z", "short"));
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    db = OPEN(path("a.couch"), 0);
    CHECK_STR(body_of(db, id), "long");
    id[4095] = 'k';
    CHECK_CODE(put(db, id, "too long"), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    COUNTS(db, 2, 2, 0);
    CLOSE(db);
}

static void check_too_large(DocInfo *info, Doc *doc) {
    const char *name = path("large.couch");
    struct bytes before, after;
    DocInfo good = {.id = buf("good")};
    Doc good_doc = {.data = buf("good")};
    DocInfo *infos[] = {&good, info};
    Doc *docs[] = {&good_doc, doc};
    Db *db = OPEN(name, COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_FLAG_UNBUFFERED);
    CHECK_OK(put(db, "first", "1"));
    CHECK_OK(commit(db, 1));
    before = file_read(name);
    CHECK_CODE(couchstore_save_documents(db, docs, infos, 2, 0),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    COUNTS(db, 1, 1, 0);
    CHECK_STR(docs_by_id(db), "first@1");
    CLOSE(db);
    after = file_read(name);
    CHECK_MEM(after.data, after.size, before.data,
              before.size); /* not even the good one was written */
    bytes_free(&before);
    bytes_free(&after);
    unlink(name);
}

TEST(fields_that_do_not_fit) {
    /* Zero pages that cost nothing: the sizes must be checked before the bytes are read. */
    size_t size = MAX_VALUE + 4096;
    char *large = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    DocInfo info = {.id = buf("large")};
    Doc doc = {.data = buf("body")};
    CHECK(large != MAP_FAILED);
    info.id.buf = large;
    info.id.size = 4096;
    check_too_large(&info, &doc);
    info.id = buf("large");
    info.rev_meta.buf = large;
    info.rev_meta.size = MAX_VALUE - 23 + 1; /* one more than a by-id value holds */
    check_too_large(&info, &doc);
    info.rev_meta.size = 0;
    doc.data.buf = large;
    doc.data.size = MAX_VALUE - 8 + 1; /* one more than a chunk's size field holds */
    check_too_large(&info, &doc);
    munmap(large, size);
}

TEST(read_only_handle) {
    const char *name = path("a.couch");
    Db *db;
    LocalDoc local = {.id = buf("_local/a"), .json = buf("{}")};
    struct bytes before, after;
    couchstore_error_t codes[3];
    int errors[3];
    CLOSE(CREATE(name));
    before = file_read(name);
    db = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    errno = 0;
    codes[0] = put(db, "a", "1");
    errors[0] = errno;
    errno = 0;
    codes[1] = couchstore_save_local_document(db, &local);
    errors[1] = errno;
    errno = 0;
    codes[2] = couchstore_commit(db);
    errors[2] = errno;
    for (int i = 0; i < 3; ++i) {
        CHECK_CODE(codes[i], COUCHSTORE_ERROR_WRITE);
        CHECK_EQ_INT(errors[i], EBADF);
    }
    CHECK_STR(docs_by_id(db), "");
    COUNTS(db, 0, 0, 0);
    CHECK_OK(couchstore_close_file(db));
    CHECK_OK(couchstore_free_db(db));
    after = file_read(name);
    CHECK_MEM(after.data, after.size, before.data, before.size);
    bytes_free(&before);
    bytes_free(&after);
}

TEST(uncommitted_saves_are_seen_only_on_their_handle) {
    const char *name = path("a.couch");
    Db *writer = CREATE(name);
    Db *reader = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    Db *late;
    CHECK_OK(put(writer, "a", "1"));
    CHECK_STR(body_of(writer, "a"), "1");
    COUNTS(writer, 1, 1, 0);
    late = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_STR(docs_by_id(reader), "");
    CHECK_STR(docs_by_id(late), "");
    CHECK_OK(couchstore_seek(late, COUCHSTORE_SEEK_END));
    CHECK_STR(docs_by_id(late), "");
    CHECK_OK(commit(writer, 1));
    CHECK_STR(docs_by_id(late), "");
    CHECK_OK(couchstore_seek(late, COUCHSTORE_SEEK_END));
    CHECK_STR(docs_by_id(late), "a@1");
    CHECK_STR(docs_by_id(reader), "");
    CLOSE(writer);
    CLOSE(reader);
    CLOSE(late);
}

static void record_save(const DocInfo *old, const DocInfo *new, void *ctx, void *request) {
    struct bytes *text = ctx;
    char line[200];
    snprintf(line, sizeof(line), "%.*s:%d->%d%s#%s ", (int)new->id.size, new->id.buf,
             old ? (int)old->db_seq : 0, (int)new->db_seq, new->deleted ? "-" : "",
             request ? (const char *)request : "none");
    bytes_add(text, line, strlen(line));
}

TEST(save_callback) {
    Db *db = CREATE(path("a.couch"));
    struct bytes text = {NULL, 0};
    DocInfo c = {.id = buf("c"), .rev_seq = 1}, a = {.id = buf("a")}, b = {.id = buf("b")};
    Doc body = {.data = buf("body")};
    const Doc *docs[] = {&body, &body, NULL};
    DocInfo *infos[] = {&c, &a, &b};
    char r1[] = "one", r3[] = "three";
    void *requests[] = {r1, NULL, r3};
    CHECK_OK(put(db, "b", "1"));
    CHECK_OK(couchstore_save_documents_and_callback(db, docs, infos, requests, 3, 0, record_save,
                                                    &text));
    bytes_be(&text, 0, 1);
    CHECK_STR((char *)text.data, "a:0->3#none b:1->4-#three c:0->2#one "); /* ascending ids */
    bytes_free(&text);
    CHECK_OK(couchstore_save_documents_and_callback(db, docs, infos, NULL, 3, 0, record_save,
                                                    &text));
    bytes_be(&text, 0, 1);
    CHECK_STR((char *)text.data, "a:3->6#none b:4->7-#none c:2->5#none ");
    bytes_free(&text);
    CHECK_OK(couchstore_save_documents_and_callback(db, docs, infos, requests, 3, 0, NULL, NULL));
    CHECK_STR(docs_by_seq(db), "c@8 a@9 b@10-");
    CLOSE(db);
}

TEST(bodies_over_block_boundaries) {
    const char *name = path("a.couch");
    static char body[20000];
    Db *db = CREATE(name);
    int sizes[] = {4027, 4028, 4030, 4031, 4032, 4033,  4040, 4041,
                   4086, 4087, 4095, 4096, 8190, 12285, 19999};
    for (size_t i = 0; i < COUNT_OF(sizes); ++i) {
        char id[20];
        snprintf(id, sizeof(id), "n%d", sizes[i]);
        memset(body, 'A' + (int)i, sizeof(body));
        body[sizes[i]] = '\0';
        CHECK_OK(put(db, id, body));
    }
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    db = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    for (size_t i = 0; i < COUNT_OF(sizes); ++i) {
        char id[20];
        Doc *doc = NULL;
        DocInfo *info;
        snprintf(id, sizeof(id), "n%d", sizes[i]);
        info = info_of(db, id);
        CHECK_EQ_INT(info->physical_size, sizes[i] + 8); /* block-type bytes are not counted */
        CHECK_OK(couchstore_open_doc_with_docinfo(db, info, &doc, 0));
        memset(body, 'A' + (int)i, sizeof(body));
        CHECK_MEM(doc->data.buf, doc->data.size, body, (size_t)sizes[i]);
        couchstore_free_document(doc);
        couchstore_free_docinfo(info);
    }
    CLOSE(db);
}

TEST(position_on_a_block_boundary) {
    const char *name = path("a.couch");
    static char body[4041];
    Db *db = CREATE(name);
    struct doc docs[2] = {{.id = "a", .body = body}, {.id = "b", .body = "second"}};
    struct bytes file;
    DocInfo *info;
    memset(body, 'x', 4040); /* 48 + 8 + 4040 = 4096 */
    CHECK_OK(save_docs(db, docs, 2, 0));
    CHECK_OK(commit(db, 1));
    info = info_of(db, "b");
    CHECK_EQ_INT(info->bp, 4096);
    couchstore_free_docinfo(info);
    CHECK_STR(body_of(db, "b"), "second");
    CLOSE(db);
    file = file_read(name);
    CHECK_MEM(file.data + 4096, 5, "\0\x80\0\0\x06", 5); /* block type first, then the chunk */
    bytes_free(&file);
    db = OPEN(name, 0);
    CHECK_STR(body_of(db, "a"), body);
    CHECK_STR(body_of(db, "b"), "second");
    CLOSE(db);
}
