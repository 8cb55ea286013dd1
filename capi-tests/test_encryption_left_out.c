/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A library that was built without encryption: what it refuses, and that nothing else is missing.
 */
#include "testlib.h"

#ifndef KEPT_FILES
#error KEPT_FILES must name the folder with the encrypted files that are kept with the tests
#endif

static int calls;

static int find_key(void *ctx, const char *id, size_t id_size, couchstore_encryption_key *key) {
    static char bytes[32] = "KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK";
    static char name[] = "kept";
    (void)ctx;
    (void)id;
    (void)id_size;
    calls++;
    bytes[31] = 'K';
    key->id.buf = name;
    key->id.size = 4;
    key->key.buf = bytes;
    key->key.size = sizeof(bytes);
    key->derivation = 1;
    return 1;
}

static int no_key(void *ctx, const char *id, size_t id_size, couchstore_encryption_key *key) {
    (void)ctx;
    (void)id;
    (void)id_size;
    (void)key;
    calls++;
    return 0;
}

static void check_refused(couchstore_error_t code, Db *db) {
    char reason[256];
    CHECK_CODE(code, COUCHSTORE_ERROR_NOT_SUPPORTED);
    CHECK(db == NULL);
    CHECK_OK(couchstore_last_internal_error(NULL, reason, sizeof(reason)));
    CHECK(strstr(reason, "no encryption") != NULL);
}

TEST(encrypted_files_are_refused) {
    const char *const names[] = {KEPT_FILES "/encrypted-wrapped.couch",
                                 KEPT_FILES "/encrypted-derived.couch"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const couchstore_open_flags flags[] = {
                COUCHSTORE_OPEN_FLAG_RDONLY,
                COUCHSTORE_OPEN_FLAG_RDONLY | COUCHSTORE_OPEN_RECOVERY_MODE};
        for (size_t j = 0; j < COUNT_OF(flags); j++) {
            Db *db = NULL;
            calls = 0;
            check_refused(couchstore_open_db(names[i], flags[j], &db), db);
            check_refused(
                    couchstore_open_db_with_key(names[i], flags[j], NULL, find_key, NULL, &db), db);
            CHECK_EQ_INT(calls, 0);
        }
    }
}

TEST(no_file_is_made_with_a_key) {
    Db *db = NULL;
    check_refused(couchstore_open_db_with_key(path("new"), COUCHSTORE_OPEN_FLAG_CREATE, NULL,
                                              find_key, NULL, &db),
                  db);
    check_refused(
            couchstore_open_db_with_key(path("new"), COUCHSTORE_OPEN_FLAG_CREATE,
                                        couchstore_get_default_file_ops(), find_key, NULL, &db),
            db);
    CHECK_EQ_INT(dir_entries(path(".")), 0);
}

TEST(everything_else_works) {
    Db *db = NULL;
    Doc doc = {.id = {"id", 2}, .data = {"body", 4}};
    DocInfo info = {.id = doc.id};
    calls = 0;
    CHECK_OK(couchstore_open_db_with_key(path("plain"), COUCHSTORE_OPEN_FLAG_CREATE, NULL, no_key,
                                         NULL, &db));
    CHECK_EQ_INT(calls, 1);
    CHECK_OK(couchstore_save_document(db, &doc, &info, 0));
    CHECK_OK(couchstore_commit(db));
    CHECK_CODE(couchstore_compact_db_with_key(db, path("target"), 0, find_key, NULL, NULL, NULL,
                                              NULL, couchstore_get_default_file_ops()),
               COUCHSTORE_ERROR_NOT_SUPPORTED);
    CHECK(!file_exists(path("target")));
    couchstore_online_compact_options options = {
            .size = sizeof(options), .keys = find_key, .swap = COUCHSTORE_SWAP_NONE};
    CHECK_CODE(couchstore_compact_db_online(path("plain"), path("target"), &options, NULL),
               COUCHSTORE_ERROR_NOT_SUPPORTED);
    CHECK_EQ_INT(dir_entries(path(".")), 1);
    CHECK_OK(couchstore_compact_db(db, path("target")));
    CHECK_OK(couchstore_close_db(db));
    CHECK_OK(couchstore_open_db_with_key(path("target"), 0, NULL, find_key, NULL, &db));
    Doc *read = NULL;
    CHECK_OK(couchstore_open_document(db, "id", 2, &read, 0));
    CHECK_MEM(read->data.buf, read->data.size, "body", 4);
    couchstore_free_document(read);
    CHECK_OK(couchstore_close_db(db));
}
