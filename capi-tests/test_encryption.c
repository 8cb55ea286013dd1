/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Encrypted files: the key callback, compaction to other keys, what the files look like.
 */
#include "testlib.h"

/* What a key callback answers, and what it was asked. */
struct store {
    const char *id;
    unsigned char byte; /* the key: so many times this byte */
    size_t size;
    int derivation;
    int result; /* of the callback */
    int calls;
    char asked[256]; /* the last id */
    size_t asked_size;
    unsigned char key[64];
};

static struct store store_with(const char *id, unsigned char byte, int derivation) {
    struct store s = {.id = id, .byte = byte, .size = 32, .derivation = derivation, .result = 1};
    return s;
}

static int find_key(void *ctx, const char *id, size_t id_size, couchstore_encryption_key *key) {
    struct store *s = ctx;
    s->calls++;
    s->asked_size = id_size;
    memcpy(s->asked, id, id_size);
    s->asked[id_size] = '\0';
    memset(s->key, s->byte, s->size);
    key->id.buf = (char *)s->id;
    key->id.size = strlen(s->id);
    key->key.buf = (char *)s->key;
    key->key.size = s->size;
    key->derivation = s->derivation;
    return s->result;
}

static couchstore_error_t open_with(const char *name,
                                    couchstore_open_flags flags,
                                    struct store *s,
                                    Db **db) {
    *db = NULL;
    return couchstore_open_db_with_key(name, flags, NULL, s != NULL ? find_key : NULL, s, db);
}

static const char *key_id(Db *db) {
    static char id[256];
    size_t length = 999;
    CHECK_OK(couchstore_get_encryption_key_id(db, id, sizeof(id) - 1, &length));
    CHECK(length < sizeof(id));
    id[length] = '\0';
    return id;
}

/* A new file with two documents and a local one, committed. */
static void make(const char *name, struct store *s) {
    Db *db;
    CHECK_OK(open_with(name, COUCHSTORE_OPEN_FLAG_CREATE, s, &db));
    CHECK_OK(put(db, "secret-one", "{\"secret\": 1}"));
    CHECK_OK(put(db, "secret-two", ""));
    CHECK_OK(put_local(db, "_local/secret", "secret-json"));
    CHECK_OK(commit(db, 42));
    CLOSE(db);
}

static bool shows(const char *name, const char *text) {
    struct bytes file = file_read(name);
    bool found = memmem(file.data, file.size, text, strlen(text)) != NULL;
    bytes_free(&file);
    return found;
}

static void check_contents(Db *db) {
    CHECK_STR(docs_by_seq(db), "secret-one@1 secret-two@2");
    CHECK_STR(docs_by_id(db), "secret-one@1 secret-two@2");
    CHECK_STR(body_of(db, "secret-one"), "{\"secret\": 1}");
    CHECK_STR(local_of(db, "_local/secret"), "secret-json");
}

TEST(round_trip_with_both_kinds_of_keys) {
    int derivation;
    for (derivation = COUCHSTORE_KEY_WRAPPED; derivation <= COUCHSTORE_KEY_DERIVED; derivation++) {
        const char *name = path(derivation ? "derived" : "wrapped");
        struct store s = store_with("the key", 0x42, derivation);
        Db *db;
        make(name, &s);
        CHECK_EQ_INT(s.calls, 1);
        CHECK_EQ_INT(s.asked_size, 0);
        CHECK(!shows(name, "secret"));
        CHECK(!shows(name, "BBBB"));
        CHECK(shows(name, "the key"));
        CHECK_OK(open_with(name, 0, &s, &db));
        CHECK_EQ_INT(s.calls, 2);
        CHECK_STR(s.asked, "the key");
        CHECK_STR(key_id(db), "the key");
        check_contents(db);
        CLOSE(db);
    }
}

TEST(layout_of_a_new_file) {
    const char *name = path("a.couch");
    struct store s = store_with("id", 1, COUCHSTORE_KEY_DERIVED);
    struct bytes file;
    Db *db;
    CHECK_OK(open_with(name, COUCHSTORE_OPEN_FLAG_CREATE, &s, &db));
    CLOSE(db);
    file = file_read(name);
    CHECK_EQ_INT(file.size, 4096 + 48);
    CHECK_EQ_INT(file.data[0], 2);
    CHECK_EQ_INT(read_be(file.data + 1, 4), 4 + 1 + 1 + 2 + 1 + 32);
    CHECK_EQ_INT(read_be(file.data + 5, 4), crc32c(file.data + 9, 37));
    CHECK_MEM(file.data + 9, 5, "\1\2id\40", 5); /* derived, the id, a context of 32 bytes */
    CHECK_EQ_INT(file.data[4096], HEADER_BLOCK);
    CHECK_EQ_INT(read_be(file.data + 4096 + 9 + 33, 6), 0xffffffffffff);
    bytes_free(&file);
}

TEST(files_that_are_not_encrypted) {
    const char *name = path("a.couch");
    struct store none = store_with("", 0, 0), unused = store_with("x", 1, 0);
    char id[1];
    size_t length = 9;
    Db *db;
    none.result = 0;
    make(name, &none);
    CHECK_EQ_INT(none.calls, 1);
    CHECK_OK(open_with(name, 0, &unused, &db));
    CHECK_EQ_INT(unused.calls, 0);
    CHECK_OK(couchstore_get_encryption_key_id(db, NULL, 0, &length));
    CHECK_EQ_INT(length, 0);
    CHECK_CODE(couchstore_get_encryption_key_id(db, id, 1, NULL),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CLOSE(db);
    CHECK_OK(open_with(name, 0, NULL, &db));
    CLOSE(db);
}

TEST(key_id_is_cut_to_fit) {
    struct store s = store_with("abcdef", 1, 0);
    char id[8] = "-------";
    size_t length = 0;
    Db *db;
    CHECK_OK(open_with(path("a.couch"), COUCHSTORE_OPEN_FLAG_CREATE, &s, &db));
    CHECK_OK(couchstore_get_encryption_key_id(db, id, 3, &length));
    CHECK_EQ_INT(length, 6);
    CHECK_STR(id, "abc----");
    CHECK_OK(couchstore_get_encryption_key_id(db, NULL, 0, &length));
    CHECK_EQ_INT(length, 6);
    CHECK_CODE(couchstore_get_encryption_key_id(db, NULL, 3, &length),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CLOSE(db);
}

TEST(no_key_and_wrong_keys) {
    const char *name = path("a.couch");
    struct store right = store_with("id", 1, COUCHSTORE_KEY_WRAPPED);
    struct store wrong = store_with("id", 2, COUCHSTORE_KEY_WRAPPED);
    struct store other = store_with("other", 1, COUCHSTORE_KEY_WRAPPED);
    struct store fails = right, none = right;
    Db *db;
    fails.result = -1;
    none.result = 0;
    make(name, &right);
    CHECK_CODE(couchstore_open_db(name, 0, &db), COUCHSTORE_ERROR_NO_ENCRYPTION_KEY);
    CHECK_CODE(open_with(name, 0, NULL, &db), COUCHSTORE_ERROR_NO_ENCRYPTION_KEY);
    CHECK_CODE(open_with(name, 0, &other, &db), COUCHSTORE_ERROR_NO_ENCRYPTION_KEY);
    CHECK_CODE(open_with(name, 0, &none, &db), COUCHSTORE_ERROR_NO_ENCRYPTION_KEY);
    CHECK_CODE(open_with(name, 0, &fails, &db), COUCHSTORE_ERROR_NO_ENCRYPTION_KEY);
    CHECK_CODE(open_with(name, 0, &wrong, &db), COUCHSTORE_ERROR_DECRYPT);
    CHECK(db == NULL);
}

TEST(a_wrong_key_of_a_derived_one_is_noticed_by_reading) {
    const char *name = path("a.couch");
    struct store right = store_with("id", 1, COUCHSTORE_KEY_DERIVED);
    struct store wrong = store_with("id", 2, COUCHSTORE_KEY_DERIVED);
    DocInfo *info;
    Db *db;
    make(name, &right);
    CHECK_OK(open_with(name, 0, &wrong, &db));
    CHECK_CODE(couchstore_docinfo_by_id(db, "secret-one", 10, &info),
               COUCHSTORE_ERROR_CHECKSUM_FAIL);
    CLOSE(db);
}

TEST(keys_that_are_refused) {
    const char *name = path("a.couch");
    char long_id[257];
    struct store cases[5];
    size_t i;
    Db *db;
    memset(long_id, 'x', 256);
    long_id[256] = '\0';
    for (i = 0; i < COUNT_OF(cases); i++) {
        cases[i] = store_with("id", 1, COUCHSTORE_KEY_WRAPPED);
    }
    cases[0].id = "";
    cases[1].id = long_id;
    cases[2].size = 31;
    cases[3].size = 33;
    cases[4].derivation = 2;
    for (i = 0; i < COUNT_OF(cases); i++) {
        CHECK_CODE(open_with(name, COUCHSTORE_OPEN_FLAG_CREATE, &cases[i], &db),
                   COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        CHECK(!file_exists(name));
    }
    cases[0] = store_with(long_id + 1, 1, COUCHSTORE_KEY_WRAPPED);
    CHECK_CODE(open_with(name, COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_WITH_LEGACY_CRC,
                         &cases[0], &db),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    cases[1] = cases[0];
    cases[1].result = -1;
    CHECK_CODE(open_with(name, COUCHSTORE_OPEN_FLAG_CREATE, &cases[1], &db),
               COUCHSTORE_ERROR_ENCRYPT);
    CHECK(!file_exists(name));
    CHECK_OK(open_with(name, COUCHSTORE_OPEN_FLAG_CREATE, &cases[0], &db));
    CHECK_EQ_INT(strlen(key_id(db)), 255);
    CLOSE(db);
}

static couchstore_error_t compact_with(Db *source,
                                       const char *target,
                                       couchstore_compact_flags flags,
                                       struct store *s) {
    return couchstore_compact_db_with_key(source, target, flags, s != NULL ? find_key : NULL, s,
                                          NULL, NULL, NULL, NULL);
}

TEST(compaction_to_another_key_and_to_none) {
    struct store first = store_with("first", 1, COUCHSTORE_KEY_DERIVED);
    struct store second = store_with("second", 2, COUCHSTORE_KEY_WRAPPED);
    const char *other = path("other"), *plain = path("plain"), *back = path("back");
    Db *source, *db;
    make(path("source"), &first);
    CHECK_OK(open_with(path("source"), 0, &first, &source));
    CHECK_OK(compact_with(source, other, 0, &second));
    CHECK_EQ_INT(second.calls, 1);
    CHECK_EQ_INT(second.asked_size, 0);
    CHECK_EQ_INT(first.calls, 2);
    CHECK(!shows(other, "secret"));
    CHECK_OK(open_with(other, 0, &second, &db));
    CHECK_STR(key_id(db), "second");
    check_contents(db);
    CLOSE(db);
    /* Without a key the target is plain, whatever the source is. */
    CHECK_OK(couchstore_compact_db(source, plain));
    CLOSE(source);
    CHECK(shows(plain, "secret-json"));
    source = OPEN(plain, 0);
    check_contents(source);
    CHECK_OK(compact_with(source, back, 0, &first));
    CLOSE(source);
    CHECK_OK(open_with(back, 0, &first, &db));
    check_contents(db);
    CLOSE(db);
}

TEST(compaction_of_version_11_needs_the_upgrade) {
    struct store s = store_with("id", 1, COUCHSTORE_KEY_WRAPPED);
    Db *source =
               OPEN(path("source"), COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_WITH_LEGACY_CRC),
       *db;
    CHECK_OK(put(source, "a", "1"));
    CHECK_OK(commit(source, 1));
    CHECK_CODE(compact_with(source, path("target"), 0, &s), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK(!file_exists(path("target")));
    CHECK_OK(compact_with(source, path("target"), COUCHSTORE_COMPACT_FLAG_UPGRADE_DB, &s));
    CLOSE(source);
    CHECK_OK(open_with(path("target"), 0, &s, &db));
    CHECK_STR(body_of(db, "a"), "1");
    CLOSE(db);
}

TEST(compaction_of_a_file_in_use) {
    struct store s = store_with("id", 1, COUCHSTORE_KEY_DERIVED);
    couchstore_online_compact_options options = {
            .size = sizeof(options), .keys = find_key, .keys_ctx = &s};
    Db *db;
    make(path("source"), &s);
    CHECK_OK(couchstore_compact_db_online(path("source"), path("target"), &options, NULL));
    CHECK(!shows(path("target"), "secret"));
    CHECK_OK(open_with(path("target"), 0, &s, &db));
    check_contents(db);
    CLOSE(db);
    options.keys = NULL;
    CHECK_CODE(couchstore_compact_db_online(path("source"), path("other"), &options, NULL),
               COUCHSTORE_ERROR_NO_ENCRYPTION_KEY);
    CHECK(!file_exists(path("other")));
}

TEST(calls_without_buffers) {
    struct store s = store_with("id", 1, COUCHSTORE_KEY_DERIVED);
    couchstore_open_flags flags = COUCHSTORE_OPEN_FLAG_UNBUFFERED;
    struct test_ops t;
    Db *db;
    ops_init(&t);
    CHECK_OK(couchstore_open_db_with_key(path("a"), flags | COUCHSTORE_OPEN_FLAG_CREATE, &t.ops,
                                         find_key, &s, &db));
    CHECK_STR(ops_text(&t, "rws"), "w9@0 w37@9 w9@4096 w39@4105");
    ops_reset(&t);
    CHECK_OK(put(db, "a", "body"));
    CHECK_EQ_INT(t.calls[OP_PWRITE], 3); /* body and two leaves */
    CLOSE(db);
    ops_reset(&t);
    CHECK_OK(couchstore_open_db_with_key(path("a"), flags, &t.ops, find_key, &s, &db));
    CHECK_STR(ops_text(&t, "rws"), "r1@4096 r8@4097 r39@4105 r1@0 r8@1 r37@9");
    CLOSE(db);
    ops_free(&t);
}

TEST(going_back_from_the_first_header) {
    struct store s = store_with("id", 1, COUCHSTORE_KEY_DERIVED);
    Db *db;
    make(path("a"), &s);
    CHECK_OK(open_with(path("a"), 0, &s, &db));
    CHECK_OK(couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD));
    CHECK_EQ_INT(couchstore_get_header_position(db), 4096);
    CHECK_CODE(couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    CHECK_EQ_INT(couchstore_get_header_position(db), 4096);
    CHECK_STR(docs_by_seq(db), "");
    CHECK_OK(couchstore_seek(db, COUCHSTORE_SEEK_FORWARD));
    check_contents(db);
    CLOSE(db);
}

/*
 * A file by hand, whose bytes are known: key 32 x 0x42, version 1 (derived) with a context of
 * 32 x 0x17, one document "hello" with the body "world". They were made with another implementation
 * of the ciphers, from the description of the format.
 */
static const unsigned char known_start[] = {
        0x02, 0x00, 0x00, 0x00, 0x2c, 0x54, 0x1d, 0x12, 0xc6, 0x01, 0x05, 0x6b, 0x6e, 0x6f, 0x77,
        0x6e, 0x20, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17,
        0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17,
        0x17, 0x17, 0x17, 0x17, 0x00, 0x00, 0x00, 0x15, 0x85, 0x6a, 0x81, 0x90, 0x36, 0xad, 0xc0,
        0x8f, 0xea, 0xf3, 0x3a, 0xc0, 0x40, 0x81, 0x32, 0x2d, 0x46, 0x1d, 0x92, 0x50, 0x50, 0x00,
        0x00, 0x00, 0x34, 0x7a, 0xce, 0xbb, 0x37, 0x72, 0xc7, 0xe3, 0x61, 0x65, 0x3c, 0x81, 0x33,
        0xd6, 0x51, 0x1e, 0x5d, 0xfa, 0xc1, 0x09, 0x15, 0xd3, 0x0e, 0xe8, 0x72, 0x70, 0xdd, 0x6d,
        0x13, 0x67, 0xac, 0xe8, 0x9f, 0x25, 0x92, 0xa8, 0xb8, 0x70, 0x3e, 0xd7, 0x10, 0x91, 0x91,
        0x6f, 0xfc, 0xe4, 0x92, 0x8e, 0xc0, 0xf8, 0x7f, 0xf7, 0xdb, 0x00, 0x00, 0x00, 0x35, 0xfa,
        0x64, 0x4f, 0xdd, 0xec, 0xcb, 0xfc, 0x3c, 0x83, 0x40, 0x1b, 0x39, 0xe5, 0x51, 0x58, 0x65,
        0xd9, 0x45, 0x48, 0x61, 0x8f, 0xba, 0x8f, 0x80, 0x30, 0x7c, 0x48, 0x3c, 0x07, 0x5b, 0x71,
        0x91, 0xe2, 0x30, 0xbe, 0xba, 0xe0, 0xac, 0x00, 0xc0, 0xbf, 0xa0, 0x91, 0x96, 0x31, 0x5e,
        0x03, 0x72, 0xd1, 0x52, 0xb3, 0x33, 0x31};
static const unsigned char known_header[] = {
        0x01, 0x00, 0x00, 0x00, 0x58, 0x57, 0xa8, 0xb7, 0x5c, 0x0e, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x11, 0x00, 0x1c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x2a,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x82, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x39, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x4a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x38, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x19};

TEST(known_bytes) {
    struct store s = store_with("known", 0x42, COUCHSTORE_KEY_WRAPPED);
    struct bytes file = {NULL, 0};
    Db *db;
    bytes_add(&file, known_start, sizeof(known_start));
    bytes_zeros(&file, 4096 - sizeof(known_start));
    bytes_add(&file, known_header, sizeof(known_header));
    file_write(path("a"), file.data, file.size);
    bytes_free(&file);
    CHECK_OK(open_with(path("a"), COUCHSTORE_OPEN_FLAG_RDONLY, &s, &db));
    CHECK_STR(docs_by_seq(db), "hello@1");
    CHECK_STR(docs_by_id(db), "hello@1");
    CHECK_STR(body_of(db, "hello"), "world");
    CLOSE(db);
}
