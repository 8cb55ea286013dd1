/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Local documents: saving, reading, scanning, batches.
 */
#include "testlib.h"

static couchstore_error_t put_many(Db *db, size_t count, const char *const pairs[][2]) {
    LocalDoc docs[16];
    LocalDoc *list[16];
    for (size_t i = 0; i < count; ++i) {
        docs[i].id = buf(pairs[i][0]);
        docs[i].json = buf(pairs[i][1]);
        docs[i].deleted = pairs[i][1] == NULL;
        list[i] = &docs[i];
    }
    return couchstore_save_local_documents(db, list, count);
}

TEST(save_and_open) {
    Db *db = CREATE(path("a.couch"));
    LocalDoc *doc = NULL;
    CHECK_OK(put_local(db, "_local/a", "{\"a\":1}"));
    CHECK_OK(couchstore_open_local_document(db, "_local/a", 8, &doc));
    CHECK_MEM(doc->id.buf, doc->id.size, "_local/a", 8);
    CHECK_MEM(doc->json.buf, doc->json.size, "{\"a\":1}", 7);
    CHECK_EQ_INT(doc->deleted, 0);
    couchstore_free_local_document(doc);
    CLOSE(db);
}

TEST(not_found) {
    Db *db = CREATE(path("a.couch"));
    LocalDoc *doc = (LocalDoc *)(void *)&db;
    CHECK_CODE(couchstore_open_local_document(db, "_local/a", 8, &doc),
               COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK(doc == NULL);
    CHECK_OK(put_local(db, "_local/b", "x"));
    doc = (LocalDoc *)(void *)&db;
    CHECK_CODE(couchstore_open_local_document(db, "_local/a", 8, &doc),
               COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK(doc == NULL);
    CLOSE(db);
}

TEST(overwrite_and_delete) {
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(put_local(db, "_local/a", "one"));
    CHECK_OK(put_local(db, "_local/b", "two"));
    CHECK_OK(put_local(db, "_local/a", "three"));
    CHECK_STR(local_docs(db), "_local/a=three _local/b=two");
    CHECK_OK(put_local(db, "_local/a", NULL));
    CHECK_STR(local_docs(db), "_local/b=two");
    CHECK_STR(local_of(db, "_local/a"), "error -5");
    CHECK_OK(put_local(db, "_local/b", NULL));
    CHECK_STR(local_docs(db), "");
    CHECK_OK(put_local(db, "_local/b", "again"));
    CHECK_STR(local_docs(db), "_local/b=again");
    CLOSE(db);
}

TEST(deleting_what_is_not_there) {
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(put_local(db, "_local/a", NULL)); /* an empty tree */
    CHECK_OK(put_local(db, "_local/b", "x"));
    CHECK_OK(put_local(db, "_local/a", NULL));
    CHECK_STR(local_docs(db), "_local/b=x");
    CLOSE(db);
}

TEST(empty_local_tree_has_no_root) {
    const char *name = path("a.couch");
    struct bytes file;
    Db *db = CREATE(name);
    CHECK_OK(put_local(db, "_local/a", "x"));
    CHECK_OK(commit(db, 1));
    CHECK_OK(put_local(db, "_local/a", NULL));
    CHECK_OK(commit(db, 2));
    CHECK_EQ_INT(couchstore_get_header_position(db), 8192);
    CLOSE(db);
    file = file_read(name);
    CHECK_EQ_INT(read_be(file.data + 4096 + 9 + 23, 2),
                 12); /* local root: position, size, no reduce value */
    CHECK_EQ_INT(file.size, 8192 + 9 + 39);
    CHECK_EQ_INT(read_be(file.data + 8192 + 9 + 23, 2), 0);
    bytes_free(&file);
}

TEST(ids_and_bodies_of_any_kind) {
    Db *db = CREATE(path("a.couch"));
    static char large[100001];
    static char id[4097];
    LocalDoc *doc = NULL;
    memset(large, 'L', 100000);
    memset(id, 'i', 4095);
    CHECK_OK(put_local(db, "no prefix", "x"));
    CHECK_OK(put_local(db, "", "nameless"));
    CHECK_OK(put_local(db, "_local/empty", ""));
    CHECK_OK(put_local(db, "_local/large", large));
    CHECK_OK(put_local(db, id, "long id"));
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    db = OPEN(path("a.couch"), COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_STR(local_of(db, "no prefix"), "x");
    CHECK_STR(local_of(db, ""), "nameless");
    CHECK_STR(local_of(db, "_local/empty"), "");
    CHECK_STR(local_of(db, id), "long id");
    CHECK_OK(couchstore_open_local_document(db, "_local/large", 12, &doc));
    CHECK_MEM(doc->json.buf, doc->json.size, large, 100000);
    couchstore_free_local_document(doc);
    CLOSE(db);
}

TEST(oversized_id) {
    Db *db = CREATE(path("a.couch"));
    static char id[4097];
    memset(id, 'i', 4096);
    CHECK_OK(put_local(db, "_local/a", "x"));
    CHECK_CODE(put_local(db, id, "y"), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(put_many(db, 2, (const char *const[][2]){{"_local/b", "z"}, {id, "y"}}),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_STR(local_docs(db), "_local/a=x"); /* a failed update leaves the tree as it was */
    CLOSE(db);
}

TEST(local_documents_are_apart_from_documents) {
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(put_local(db, "a", "local"));
    CHECK_OK(put(db, "a", "document"));
    CHECK_STR(local_of(db, "a"), "local");
    CHECK_STR(body_of(db, "a"), "document");
    CHECK_STR(docs_by_seq(db), "a@1");
    CHECK_EQ_INT(last_sequence(db), 1);
    CLOSE(db);
}

TEST(visible_to_others_only_after_commit) {
    const char *name = path("a.couch");
    Db *db = CREATE(name);
    Db *reader;
    CHECK_OK(put_local(db, "_local/a", "x"));
    reader = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_STR(local_docs(reader), "");
    CHECK_OK(commit(db, 1));
    CHECK_OK(couchstore_seek(reader, COUCHSTORE_SEEK_END));
    CHECK_STR(local_docs(reader), "_local/a=x");
    CLOSE(reader);
    CLOSE(db);
}

TEST(batch) {
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(put_many(db, 4,
                      (const char *const[][2]){{"c", "3"}, {"a", "1"}, {"b", "2"}, {"x", NULL}}));
    CHECK_STR(local_docs(db), "a=1 b=2 c=3");
    CHECK_OK(put_many(db, 3, (const char *const[][2]){{"c", NULL}, {"d", "4"}, {"a", "5"}}));
    CHECK_STR(local_docs(db), "a=5 b=2 d=4");
    CHECK_OK(couchstore_save_local_documents(db, NULL, 0));
    CHECK_STR(local_docs(db), "a=5 b=2 d=4");
    CLOSE(db);
}

TEST(same_id_twice_in_a_batch) {
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(put_many(
            db, 5,
            (const char *const[][2]){{"a", "1"}, {"b", "2"}, {"a", "3"}, {"b", NULL}, {"a", "4"}}));
    CHECK_STR(local_docs(db), "a=4"); /* the last one in the caller's order */
    CHECK_OK(put_many(db, 4,
                      (const char *const[][2]){{"a", NULL}, {"a", "5"}, {"c", "6"}, {"c", NULL}}));
    CHECK_STR(local_docs(db), "a=5");
    CLOSE(db);
}

TEST(scan_from_a_key) {
    Db *db = CREATE(path("a.couch"));
    static const char *const starts[][2] = {
            {"", "a=1 b=2 c=3"}, {"a", "a=1 b=2 c=3"}, {"aa", "b=2 c=3"}, {"c", "c=3"}, {"d", ""}};
    CHECK_OK(put_many(db, 3, (const char *const[][2]){{"a", "1"}, {"b", "2"}, {"c", "3"}}));
    for (size_t i = 0; i < COUNT_OF(starts); ++i) {
        struct scan scan = {.count = 0};
        sized_buf from = buf(starts[i][0]);
        CHECK_OK(couchstore_scan_local_docs(db, &from, scan_local_callback, &scan));
        CHECK_STR(scan.text, starts[i][1]);
    }
    CLOSE(db);
}

TEST(scan_stops_on_a_negative_result) {
    Db *db = CREATE(path("a.couch"));
    struct scan scan = {.stop_at = 2, .stop_with = COUCHSTORE_ERROR_CANCEL};
    CHECK_OK(put_many(db, 3, (const char *const[][2]){{"a", "1"}, {"b", "2"}, {"c", "3"}}));
    CHECK_CODE(couchstore_scan_local_docs(db, NULL, scan_local_callback, &scan),
               COUCHSTORE_ERROR_CANCEL);
    CHECK_STR(scan.text, "a=1 b=2");
    CLOSE(db);
}

struct kept {
    LocalDoc *docs[4];
    int count;
};

static int keep(Db *db, LocalDoc *doc, void *ctx) {
    struct kept *kept = ctx;
    (void)db;
    kept->docs[kept->count++] = doc;
    return 1;
}

TEST(scan_callback_may_keep_the_document) {
    Db *db = CREATE(path("a.couch"));
    struct kept kept = {.count = 0};
    CHECK_OK(put_many(db, 2, (const char *const[][2]){{"a", "1"}, {"b", ""}}));
    CHECK_OK(couchstore_scan_local_docs(db, NULL, keep, &kept));
    CLOSE(db);
    CHECK_EQ_INT(kept.count, 2);
    CHECK_MEM(kept.docs[0]->json.buf, kept.docs[0]->json.size, "1", 1);
    CHECK_MEM(kept.docs[1]->id.buf, kept.docs[1]->id.size, "b", 1);
    CHECK_EQ_INT(kept.docs[1]->json.size, 0);
    couchstore_free_local_document(kept.docs[0]);
    couchstore_free_local_document(kept.docs[1]);
}

TEST(many_local_documents) {
    const char *name = path("a.couch");
    Db *db = CREATE(name);
    struct scan scan = {.count = 0};
    for (int i = 0; i < 500; ++i) {
        char id[32], json[32];
        snprintf(id, sizeof(id), "_local/%04d", (i * 7) % 500);
        snprintf(json, sizeof(json), "value %d", (i * 7) % 500);
        CHECK_OK(put_local(db, id, json));
    }
    for (int i = 0; i < 500; i += 2) {
        char id[32];
        snprintf(id, sizeof(id), "_local/%04d", i);
        CHECK_OK(put_local(db, id, NULL));
    }
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    db = OPEN(name, 0);
    CHECK_OK(couchstore_scan_local_docs(db, NULL, scan_local_callback, &scan));
    CHECK_EQ_INT(scan.count, 250);
    for (int i = 0; i < 500; ++i) {
        char id[32], json[32];
        snprintf(id, sizeof(id), "_local/%04d", i);
        snprintf(json, sizeof(json), "value %d", i);
        CHECK_STR(local_of(db, id), i % 2 ? json : "error -5");
    }
    CLOSE(db);
}
