/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Lookups, documents, scans by id and by sequence, counts. The tree walks are in test_walk.c.
 */
#include "testlib.h"

/* c1 a2 b3- (no body) d4- (with body) e5 */
static Db *sample(const char *name) {
    Db *db = CREATE(name);
    struct doc docs[] = {{.id = "c", .body = "CC", .meta = "mc"},
                         {.id = "a", .body = "AA", .meta = "ma", .rev = 9},
                         {.id = "b"},
                         {.id = "d", .body = "DD", .deleted = 1},
                         {.id = "e", .body = "EE"}};
    CHECK_OK(save_docs(db, docs, COUNT_OF(docs), 0));
    return db;
}

static const char *since(Db *db, uint64_t first, couchstore_docinfos_options options) {
    static struct scan scan;
    memset(&scan, 0, sizeof(scan));
    CHECK_OK(couchstore_changes_since(db, first, options, scan_callback, &scan));
    return scan.text;
}

static const char *from(Db *db, const char *id, couchstore_docinfos_options options) {
    static struct scan scan;
    sized_buf start = buf(id);
    memset(&scan, 0, sizeof(scan));
    CHECK_OK(couchstore_all_docs(db, id ? &start : NULL, options, scan_callback, &scan));
    return scan.text;
}

static const char *by_ids(Db *db,
                          couchstore_docinfos_options options,
                          size_t count,
                          const char *const ids[]) {
    static struct scan scan;
    sized_buf keys[8];
    couchstore_error_t code;
    memset(&scan, 0, sizeof(scan));
    for (size_t i = 0; i < count; ++i) {
        keys[i] = buf(ids[i]);
    }
    code = couchstore_docinfos_by_id(db, keys, count, options, scan_callback, &scan);
    if (code != COUCHSTORE_SUCCESS) {
        snprintf(scan.text, sizeof(scan.text), "error %d", code);
    }
    return scan.text;
}
#define BY_IDS(db, options, ...)                                       \
    by_ids((db), (options), COUNT_OF(((const char *[]){__VA_ARGS__})), \
           (const char *[]){__VA_ARGS__})

static const char *by_seqs(Db *db,
                           couchstore_docinfos_options options,
                           unsigned count,
                           const uint64_t *seqs) {
    static struct scan scan;
    couchstore_error_t code;
    memset(&scan, 0, sizeof(scan));
    code = couchstore_docinfos_by_sequence(db, seqs, count, options, scan_callback, &scan);
    if (code != COUCHSTORE_SUCCESS) {
        snprintf(scan.text, sizeof(scan.text), "error %d", code);
    }
    return scan.text;
}
#define BY_SEQS(db, options, ...) \
    by_seqs((db), (options), COUNT_OF(((uint64_t[]){__VA_ARGS__})), (uint64_t[]){__VA_ARGS__})

TEST(docinfo_by_id) {
    Db *db = sample(path("a.couch"));
    DocInfo *const untouched = (DocInfo *)(void *)&db;
    DocInfo *info = NULL;
    CHECK_OK(couchstore_docinfo_by_id(db, "a", 1, &info));
    CHECK_MEM(info->id.buf, info->id.size, "a", 1);
    CHECK_MEM(info->rev_meta.buf, info->rev_meta.size, "ma", 2);
    CHECK_EQ_INT(info->db_seq, 2);
    CHECK_EQ_INT(info->rev_seq, 9);
    couchstore_free_docinfo(info);
    CHECK_OK(couchstore_docinfo_by_id(db, "b", 1, &info)); /* tombstones are found */
    CHECK_EQ_INT(info->deleted, 1);
    CHECK_EQ_INT(info->bp, 0);
    couchstore_free_docinfo(info);
    info = untouched;
    CHECK_CODE(couchstore_docinfo_by_id(db, "", 0, &info), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK_CODE(couchstore_docinfo_by_id(db, "aa", 2, &info), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK_CODE(couchstore_docinfo_by_id(db, "zz", 2, &info), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK(info == untouched);
    CLOSE(db);
}

TEST(docinfo_by_sequence) {
    Db *db = sample(path("a.couch"));
    DocInfo *const untouched = (DocInfo *)(void *)&db;
    DocInfo *info = NULL;
    CHECK_OK(couchstore_docinfo_by_sequence(db, 1, &info));
    CHECK_MEM(info->id.buf, info->id.size, "c", 1);
    CHECK_MEM(info->rev_meta.buf, info->rev_meta.size, "mc", 2);
    CHECK_EQ_INT(info->db_seq, 1);
    couchstore_free_docinfo(info);
    info = untouched;
    CHECK_CODE(couchstore_docinfo_by_sequence(db, 0, &info), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK_CODE(couchstore_docinfo_by_sequence(db, 6, &info), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK(info == untouched);
    CLOSE(db);
}

TEST(empty_database) {
    Db *db = CREATE(path("a.couch"));
    DocInfo *info = NULL;
    Doc *doc = NULL;
    uint64_t count = 9;
    struct scan scan = {.count = 0};
    CHECK_CODE(couchstore_docinfo_by_id(db, "a", 1, &info), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK_CODE(couchstore_docinfo_by_sequence(db, 1, &info), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK_CODE(couchstore_open_document(db, "a", 1, &doc, 0), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK_OK(couchstore_changes_since(db, 0, 0, scan_callback, &scan));
    CHECK_OK(couchstore_all_docs(db, NULL, 0, scan_callback, &scan));
    CHECK_STR(BY_IDS(db, 0, "a"), "");
    CHECK_STR(BY_SEQS(db, 0, 1), "");
    CHECK_STR(by_ids(db, 0, 0, NULL), "");
    CHECK_STR(by_seqs(db, 0, 0, NULL), "");
    CHECK_STR(by_ids(db, RANGES, 0, NULL), "");
    CHECK_OK(couchstore_changes_count(db, 0, UINT64_MAX, &count));
    CHECK_EQ_INT(count, 0);
    CHECK_EQ_INT(scan.count, 0);
    CLOSE(db);
}

TEST(open_document) {
    Db *db = sample(path("a.couch"));
    char id[] = "a";
    Doc *doc = (Doc *)(void *)&db;
    CHECK_OK(couchstore_open_document(db, id, 1, &doc, 0));
    CHECK(doc->id.buf == id); /* the caller's own buffer */
    CHECK_EQ_INT(doc->id.size, 1);
    CHECK_MEM(doc->data.buf, doc->data.size, "AA", 2);
    couchstore_free_document(doc);
    doc = (Doc *)(void *)&db;
    CHECK_CODE(couchstore_open_document(db, "x", 1, &doc, 0), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK(doc == NULL); /* set before anything else */
    doc = (Doc *)(void *)&db;
    CHECK_CODE(couchstore_open_document(db, "b", 1, &doc, 0), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK(doc == NULL);
    CHECK_OK(couchstore_open_document(db, "d", 1, &doc, 0)); /* deleted, with a body */
    CHECK_MEM(doc->data.buf, doc->data.size, "DD", 2);
    couchstore_free_document(doc);
    CLOSE(db);
}

TEST(open_doc_with_docinfo) {
    Db *db = sample(path("a.couch"));
    DocInfo *info = NULL;
    Doc *doc = NULL;
    CHECK_OK(couchstore_docinfo_by_sequence(db, 5, &info));
    CHECK_OK(couchstore_open_doc_with_docinfo(db, info, &doc, 0));
    CHECK(doc->id.buf == info->id.buf && doc->id.size == info->id.size);
    CHECK_MEM(doc->data.buf, doc->data.size, "EE", 2);
    couchstore_free_document(doc);
    doc = (Doc *)(void *)&db;
    info->bp = 0;
    CHECK_CODE(couchstore_open_doc_with_docinfo(db, info, &doc, 0), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK(doc == NULL);
    couchstore_free_docinfo(info);
    CLOSE(db);
}

TEST(open_doc_with_a_wrong_position) {
    Db *db = sample(path("a.couch"));
    DocInfo info = {.id = buf("a"), .physical_size = 10};
    const uint64_t positions[] = {1, 7, 50, 4096, 1 << 20, UINT64_C(1) << 46, UINT64_MAX};
    CHECK_OK(commit(db, 1));
    for (size_t i = 0; i < COUNT_OF(positions); ++i) {
        Doc *doc = (Doc *)(void *)&db;
        couchstore_error_t code;
        info.bp = positions[i];
        code = couchstore_open_doc_with_docinfo(db, &info, &doc, 0);
        CHECK(code == COUCHSTORE_ERROR_READ || code == COUCHSTORE_ERROR_CORRUPT ||
              code == COUCHSTORE_ERROR_CHECKSUM_FAIL || code == COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        CHECK(doc == NULL);
    }
    CHECK_STR(body_of(db, "a"), "AA");
    CLOSE(db);
}

TEST(alloc_docinfo) {
    sized_buf id = buf("some id"), meta = buf("m");
    DocInfo *info = couchstore_alloc_docinfo(&id, &meta);
    CHECK(info != NULL);
    CHECK_MEM(info->id.buf, info->id.size, "some id", 7);
    CHECK_MEM(info->rev_meta.buf, info->rev_meta.size, "m", 1);
    CHECK(info->id.buf != id.buf); /* a copy */
    CHECK_EQ_INT(info->db_seq, 0);
    CHECK_EQ_INT(info->bp, 0);
    CHECK_EQ_INT(info->deleted, 0);
    CHECK_EQ_INT(info->physical_size, 0);
    couchstore_free_docinfo(info);
    info = couchstore_alloc_docinfo(NULL, NULL);
    CHECK(info != NULL);
    CHECK_EQ_INT(info->id.size + info->rev_meta.size, 0);
    CHECK_EQ_INT(info->db_seq + info->rev_seq + info->bp + info->physical_size + info->content_meta,
                 0);
    CHECK_EQ_INT(info->deleted, 0);
    couchstore_free_docinfo(info);
    couchstore_free_docinfo(NULL);
    couchstore_free_document(NULL);
    couchstore_free_local_document(NULL);
}

TEST(changes_since) {
    Db *db = sample(path("a.couch"));
    CHECK_STR(since(db, 0, 0), "c@1 a@2 b@3- d@4- e@5");
    CHECK_STR(since(db, 1, 0), "c@1 a@2 b@3- d@4- e@5"); /* inclusive */
    CHECK_STR(since(db, 3, 0), "b@3- d@4- e@5");
    CHECK_STR(since(db, 5, 0), "e@5");
    CHECK_STR(since(db, 6, 0), "");
    CHECK_STR(since(db, UINT64_C(1) << 48, 0), ""); /* clamped, not wrapped to 0 */
    CHECK_STR(since(db, UINT64_MAX, 0), "");
    CHECK_STR(since(db, 0, COUCHSTORE_DELETES_ONLY), "b@3- d@4-");
    CHECK_STR(since(db, 4, COUCHSTORE_DELETES_ONLY), "d@4-");
    CHECK_STR(since(db, 0, COUCHSTORE_NO_DELETES), "c@1 a@2 e@5");
    CHECK_STR(since(db, 0, COUCHSTORE_TOLERATE_CORRUPTION), "c@1 a@2 b@3- d@4- e@5");
    CLOSE(db);
}

TEST(clamped_sequence_is_found) {
    Db *db = CREATE(path("a.couch"));
    struct doc doc = {.id = "max", .body = "1", .seq = (UINT64_C(1) << 48) - 1};
    uint64_t count = 0;
    CHECK_OK(save_docs(db, &doc, 1, COUCHSTORE_SEQUENCE_AS_IS));
    CHECK_STR(since(db, UINT64_MAX, 0), "max@281474976710655");
    CHECK_OK(couchstore_changes_count(db, UINT64_MAX, UINT64_MAX, &count));
    CHECK_EQ_INT(count, 1);
    CLOSE(db);
}

TEST(all_docs) {
    Db *db = sample(path("a.couch"));
    CHECK_STR(from(db, NULL, 0), "a@2 b@3- c@1 d@4- e@5");
    CHECK_STR(from(db, "", 0), "a@2 b@3- c@1 d@4- e@5"); /* size 0: the beginning */
    CHECK_STR(from(db, "c", 0), "c@1 d@4- e@5");
    CHECK_STR(from(db, "bb", 0), "c@1 d@4- e@5");
    CHECK_STR(from(db, "zz", 0), "");
    CHECK_STR(from(db, NULL, COUCHSTORE_DELETES_ONLY), "b@3- d@4-");
    CHECK_STR(from(db, "c", COUCHSTORE_NO_DELETES), "c@1 e@5");
    CLOSE(db);
}

TEST(negative_callback_result_stops_a_scan) {
    Db *db = sample(path("a.couch"));
    struct scan scan = {.stop_at = 2, .stop_with = COUCHSTORE_ERROR_SCAN_YIELD};
    CHECK_CODE(couchstore_changes_since(db, 0, 0, scan_callback, &scan),
               COUCHSTORE_ERROR_SCAN_YIELD);
    CHECK_STR(scan.text, "c@1 a@2");
    memset(&scan, 0, sizeof(scan));
    scan.stop_at = 1;
    scan.stop_with = -12345; /* any negative number comes back as it is */
    CHECK_CODE(couchstore_all_docs(db, NULL, 0, scan_callback, &scan), -12345);
    CHECK_STR(scan.text, "a@2");
    memset(&scan, 0, sizeof(scan));
    scan.stop_at = 2;
    scan.stop_with = COUCHSTORE_ERROR_CANCEL;
    CHECK_CODE(couchstore_all_docs(db, NULL, COUCHSTORE_TOLERATE_CORRUPTION, scan_callback, &scan),
               COUCHSTORE_ERROR_CANCEL);
    CHECK_STR(scan.text, "a@2 b@3-");
    memset(&scan, 0, sizeof(scan));
    scan.stop_at = 1;
    scan.stop_with = -7;
    CHECK_CODE(couchstore_docinfos_by_sequence(db, (uint64_t[]){5, 1}, 2, 0, scan_callback, &scan),
               -7);
    CHECK_STR(scan.text, "c@1");
    CLOSE(db);
}

struct kept {
    DocInfo *infos[10];
    int count;
};

static int keep_odd(Db *db, DocInfo *info, void *ctx) {
    struct kept *kept = ctx;
    (void)db;
    if (info->db_seq % 2 == 0) {
        return 0;
    }
    kept->infos[kept->count++] = info;
    return 1;
}

TEST(positive_callback_result_keeps_the_info) {
    Db *db = sample(path("a.couch"));
    struct kept kept = {.count = 0};
    CHECK_OK(couchstore_changes_since(db, 0, 0, keep_odd, &kept));
    CHECK_OK(couchstore_docinfos_by_id(db, (sized_buf[]){buf("a"), buf("c")}, 2, 0, keep_odd,
                                       &kept));
    CLOSE(db);
    CHECK_EQ_INT(kept.count, 4); /* 1, 3, 5 and c once more */
    CHECK_MEM(kept.infos[1]->id.buf, kept.infos[1]->id.size, "b", 1);
    CHECK_MEM(kept.infos[3]->rev_meta.buf, kept.infos[3]->rev_meta.size, "mc", 2);
    for (int i = 0; i < kept.count; ++i) {
        couchstore_free_docinfo(kept.infos[i]);
    }
}

TEST(docinfos_by_id) {
    Db *db = sample(path("a.couch"));
    CHECK_STR(BY_IDS(db, 0, "e", "nope", "a", "d", "zz"),
              "a@2 d@4- e@5"); /* ascending, only those that exist */
    CHECK_STR(BY_IDS(db, 0, "a", "a", "c", "a"), "a@2 c@1");
    CHECK_STR(BY_IDS(db, 0, "x"), "");
    CHECK_STR(BY_IDS(db, COUCHSTORE_DELETES_ONLY, "a", "b", "d"), "b@3- d@4-");
    CHECK_STR(BY_IDS(db, COUCHSTORE_NO_DELETES, "a", "b", "d"), "a@2");
    CHECK_STR(by_ids(db, 0, 0, NULL), "error -10");
    CHECK_STR(by_ids(db, RANGES, 0, NULL), "error -10");
    CLOSE(db);
}

TEST(docinfos_by_id_ranges) {
    Db *db = sample(path("a.couch"));
    CHECK_STR(BY_IDS(db, RANGES, "b", "d"), "b@3- c@1 d@4-"); /* inclusive at both ends */
    CHECK_STR(BY_IDS(db, RANGES, "aa", "cc"), "b@3- c@1");
    CHECK_STR(BY_IDS(db, RANGES, "c", "c"), "c@1");
    CHECK_STR(BY_IDS(db, RANGES, "c"), "c@1 d@4- e@5"); /* open-ended */
    CHECK_STR(BY_IDS(db, RANGES, "d", "b"), "");
    CHECK_STR(BY_IDS(db, RANGES, "x", "z"), "");
    CHECK_STR(BY_IDS(db, RANGES, "a", "b", "d", "e"),
              "a@2 b@3-"); /* one range, the rest is ignored */
    CHECK_STR(BY_IDS(db, RANGES, "a", "b", "d"), "a@2 b@3-");
    CHECK_STR(BY_IDS(db, RANGES | COUCHSTORE_DELETES_ONLY, "a", "e"), "b@3- d@4-");
    CHECK_STR(BY_IDS(db, RANGES | COUCHSTORE_NO_DELETES, "a", "d"), "a@2 c@1");
    CLOSE(db);
}

TEST(docinfos_by_sequence) {
    Db *db = sample(path("a.couch"));
    CHECK_STR(BY_SEQS(db, 0, 5, 2, 77, 0, 3), "a@2 b@3- e@5");
    CHECK_STR(BY_SEQS(db, 0, 4, 4, 4), "d@4-");
    CHECK_STR(BY_SEQS(db, COUCHSTORE_DELETES_ONLY, 1, 3), "b@3-");
    CHECK_STR(BY_SEQS(db, COUCHSTORE_NO_DELETES, 1, 3), "c@1");
    CHECK_STR(by_seqs(db, 0, 0, NULL), "error -10");
    CHECK_STR(BY_SEQS(db, RANGES, 2, 4), "a@2 b@3- d@4-");
    CHECK_STR(BY_SEQS(db, RANGES, 0, UINT64_MAX), "c@1 a@2 b@3- d@4- e@5");
    CHECK_STR(BY_SEQS(db, RANGES, 4), "d@4- e@5");
    CHECK_STR(BY_SEQS(db, RANGES, 4, 2), "");
    CHECK_STR(BY_SEQS(db, RANGES, 6, 9), "");
    CHECK_STR(BY_SEQS(db, RANGES, 1, 2, 4, 5), "c@1 a@2");
    CHECK_STR(BY_SEQS(db, RANGES | COUCHSTORE_NO_DELETES, 2, 5), "a@2 e@5");
    CLOSE(db);
}

TEST(lookups_over_many_nodes) {
    Db *db = CREATE(path("a.couch"));
    int n = 600;
    struct scan scan = {.count = 0};
    sized_buf keys[100];
    static char texts[100][16];
    uint64_t seqs[100];
    for (int i = 0; i < n; ++i) {
        char id[16];
        snprintf(id, sizeof(id), "k%05d",
                 (i * 7) % n * 2); /* only even numbers exist; 7 and 600 share no factor */
        CHECK_OK(put(db, id, "body"));
    }
    for (int i = 0; i < 100; ++i) {
        snprintf(texts[i], sizeof(texts[i]), "k%05d", 1200 - i * 12 + i % 2);
        keys[i] = buf(texts[i]);
        seqs[i] = (uint64_t)(700 - 7 * i);
    }
    CHECK_OK(couchstore_docinfos_by_id(db, keys, 100, 0, scan_callback, &scan));
    CHECK_EQ_INT(scan.count, 49); /* even ones below 1200 */
    memset(&scan, 0, sizeof(scan));
    CHECK_OK(couchstore_docinfos_by_sequence(db, seqs, 100, 0, scan_callback, &scan));
    CHECK_EQ_INT(scan.count, 85); /* 7..595 */
    keys[0] = buf("k00101");
    keys[1] = buf("k00899");
    memset(&scan, 0, sizeof(scan));
    CHECK_OK(couchstore_docinfos_by_id(db, keys, 2, RANGES, scan_callback, &scan));
    CHECK_EQ_INT(scan.count, 399); /* 102..898 */
    for (int i = 0; i < n * 2; ++i) {
        char id[16];
        DocInfo *info = NULL;
        snprintf(id, sizeof(id), "k%05d", i);
        CHECK_CODE(couchstore_docinfo_by_id(db, id, 6, &info),
                   i % 2 ? COUCHSTORE_ERROR_DOC_NOT_FOUND : COUCHSTORE_SUCCESS);
        couchstore_free_docinfo(info);
    }
    CLOSE(db);
}

TEST(changes_count) {
    Db *db = sample(path("a.couch"));
    static const struct {
        uint64_t min, max, count;
    } table[] = {{0, 0, 0},
                 {0, 1, 1},
                 {1, 5, 5},
                 {2, 4, 3},
                 {3, 3, 1},
                 {5, 5, 1},
                 {6, 9, 0},
                 {4, 2, 0},
                 {0, UINT64_MAX, 5},
                 {2, UINT64_C(1) << 48, 4},
                 {UINT64_MAX, UINT64_MAX, 0}};
    uint64_t count;
    for (size_t i = 0; i < COUNT_OF(table); ++i) {
        count = 99;
        CHECK_OK(couchstore_changes_count(db, table[i].min, table[i].max, &count));
        CHECK_EQ_INT(count, table[i].count);
    }
    CHECK_OK(put(db, "c", "moved")); /* 1 is gone, 6 is new */
    CHECK_OK(couchstore_changes_count(db, 0, 2, &count));
    CHECK_EQ_INT(count, 1);
    CHECK_OK(couchstore_changes_count(db, 0, 6, &count));
    CHECK_EQ_INT(count, 5);
    CLOSE(db);
}

TEST(changes_count_over_many_nodes) {
    Db *db = CREATE(path("a.couch"));
    const int n = 2000;
    for (int i = 1; i <= n; i += 100) {
        struct doc docs[100];
        char ids[100][16];
        memset(docs, 0, sizeof(docs));
        for (int j = 0; j < 100; ++j) {
            snprintf(ids[j], sizeof(ids[j]), "k%d", i + j);
            docs[j].id = ids[j];
            docs[j].body = "b";
            docs[j].seq = (uint64_t)(i + j) * 3; /* gaps */
        }
        CHECK_OK(save_docs(db, docs, 100, COUCHSTORE_SEQUENCE_AS_IS));
    }
    for (uint64_t min = 0; min < 6100; min += 97) {
        for (uint64_t max = 0; max < 6100; max += 89) {
            uint64_t count = 0;
            uint64_t first = min < 3 ? 1 : (min + 2) / 3;
            uint64_t last = max / 3 > (uint64_t)n ? (uint64_t)n : max / 3;
            CHECK_OK(couchstore_changes_count(db, min, max, &count));
            CHECK_EQ_INT(count, min <= max && last >= first ? last - first + 1 : 0);
        }
    }
    CLOSE(db);
}

TEST(order_of_ids) {
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(put(db, "b", "1"));
    CHECK_OK(put(db, "a", "2"));
    CHECK_OK(put(db, "\xff", "3")); /* unsigned bytes */
    CHECK_OK(put(db, "aa", "4"));   /* the shorter one first */
    CHECK_OK(put(db, "", "5"));
    CHECK_OK(put(db, "B", "6"));
    CHECK_STR(docs_by_id(db), "@5 B@6 a@2 aa@4 b@1 \xff@3");
    CLOSE(db);
}

TEST(ids_with_zero_bytes) {
    Db *db = CREATE(path("a.couch"));
    char id[] = {'a', 0, 'b'};
    Doc body = {.data = buf("zero")};
    DocInfo info = {.id = {id, 3}};
    Doc *doc = NULL;
    DocInfo *found = NULL;
    CHECK_OK(couchstore_save_document(db, &body, &info, 0));
    CHECK_CODE(couchstore_open_document(db, id, 1, &doc, 0), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK_OK(couchstore_open_document(db, id, 3, &doc, 0));
    CHECK_MEM(doc->data.buf, doc->data.size, "zero", 4);
    couchstore_free_document(doc);
    CHECK_OK(couchstore_docinfo_by_sequence(db, 1, &found));
    CHECK_MEM(found->id.buf, found->id.size, id, 3);
    couchstore_free_docinfo(found);
    CLOSE(db);
}
