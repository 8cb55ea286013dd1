/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Compaction: what the target holds, its flags, and failures. The hooks are in test_compact_hooks.c.
 */
#include "testlib.h"

#define DROP_DELETES COUCHSTORE_COMPACT_FLAG_DROP_DELETES

/* History with updates, deletions with and without body, local documents, purge_seq 7, timestamp 500. */
static const char *source_file(couchstore_open_flags flags) {
    const char *name = path("source.couch");
    Db *db = OPEN(name, COUCHSTORE_OPEN_FLAG_CREATE | flags);
    struct doc docs[] = {{.id = "b", .body = "BBBB", .meta = "mb"},
                         {.id = "a", .body = "AAAA", .rev = 5},
                         {.id = "packed",
                          .body = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
                          .content_meta = 128},
                         {.id = "gone", .meta = "tomb"},
                         {.id = "last", .body = "words", .deleted = 1}};
    CHECK_OK(put(db, "a", "old"));
    CHECK_OK(put(db, "gone", "soon"));
    CHECK_OK(put_local(db, "_local/one", "1"));
    CHECK_OK(put_local(db, "_local/removed", "x"));
    CHECK_OK(commit(db, 400));
    CHECK_OK(save_docs(db, docs, COUNT_OF(docs), COMPRESS_DOC_BODIES));
    CHECK_OK(put_local(db, "_local/removed", NULL));
    CHECK_OK(put_local(db, "_local/two", "2"));
    CHECK_OK(couchstore_set_purge_seq(db, 7));
    CHECK_OK(commit(db, 500));
    CLOSE(db);
    return name;
}

static couchstore_header_info header_of_file(const char *name) {
    couchstore_header_info info;
    Db *db = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_OK(couchstore_get_header(db, &info));
    CLOSE(db);
    return info;
}

static couchstore_error_t compact_with(Db *db, const char *target, couchstore_compact_flags flags) {
    return couchstore_compact_db_ex(db, target, flags, NULL, NULL, NULL,
                                    couchstore_get_default_file_ops());
}

TEST(everything_is_copied) {
    const char *source = source_file(0), *target = path("target.couch");
    struct bytes before = file_read(source), after;
    char *expected, *actual;
    Db *db = OPEN(source, COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_OK(couchstore_compact_db(db, target));
    CHECK_STR(docs_by_seq(db), "b@3 a@4 packed@5 gone@6- last@7-"); /* the source is usable */
    CLOSE(db);
    expected = describe_file(source);
    actual = describe_file(target);
    CHECK_STR(actual, expected);
    free(actual);
    free(expected);
    after = file_read(source);
    CHECK_MEM(after.data, after.size, before.data, before.size);
    bytes_free(&before);
    bytes_free(&after);
    CHECK_EQ_INT(dir_entries(path(".")), 2);
    db = OPEN(target, 0);
    CHECK_STR(local_docs(db), "_local/one=1 _local/two=2");
    CHECK_OK(put(db, "more", "x")); /* and the target is a good database */
    CHECK_OK(commit(db, 600));
    CHECK_STR(docs_by_seq(db), "b@3 a@4 packed@5 gone@6- last@7- more@8");
    CLOSE(db);
}

TEST(layout_of_the_target) {
    const char *source = source_file(0), *target = path("target.couch");
    struct bytes file;
    couchstore_header_info header;
    Db *db = OPEN(source, 0);
    CHECK_OK(couchstore_compact_db(db, target));
    CLOSE(db);
    header = header_of_file(target);
    CHECK_EQ_INT(header.version, 14);
    CHECK_EQ_INT(header.update_seq, 7);
    CHECK_EQ_INT(header.purge_seq, 7);
    CHECK_EQ_INT(header.timestamp, 500); /* of the source's header */
    CHECK_EQ_INT(headers_in(target), 1); /* documents and local documents appear together */
    file = file_read(target);
    CHECK_EQ_INT(file.data[0], DATA_BLOCK);
    CHECK_EQ_INT(header.header_position, (file.size - 1) / BLOCK_SIZE * BLOCK_SIZE);
    CHECK_EQ_INT(read_be(file.data + header.header_position + 9 + 33, 6), 0); /* previous header */
    bytes_free(&file);
    CHECK(file_size(target) < file_size(source));
    db = OPEN(target, COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_CODE(couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD), COUCHSTORE_ERROR_NO_HEADER);
    CLOSE(db);
}

TEST(compacting_twice_changes_nothing) {
    const char *first = path("1.couch"), *second = path("2.couch");
    char *expected, *actual;
    Db *db = OPEN(source_file(0), 0);
    CHECK_OK(couchstore_compact_db(db, first));
    CLOSE(db);
    db = OPEN(first, 0);
    CHECK_OK(couchstore_compact_db(db, second));
    CLOSE(db);
    expected = describe_file(first);
    actual = describe_file(second);
    CHECK_STR(actual, expected);
    free(actual);
    free(expected);
    CHECK_EQ_INT(file_size(second), file_size(first));
}

TEST(empty_source) {
    const char *target = path("target.couch");
    Db *db = CREATE(path("source.couch"));
    CHECK_OK(couchstore_compact_db(db, target));
    CLOSE(db);
    CHECK_EQ_INT(headers_in(target), 1);
    db = OPEN(target, 0);
    CHECK_STR(docs_by_id(db), "");
    CHECK_EQ_INT(last_sequence(db), 0);
    CLOSE(db);
}

TEST(only_local_documents) {
    Db *db = CREATE(path("source.couch"));
    CHECK_OK(put_local(db, "_local/a", "1"));
    CHECK_OK(commit(db, 1));
    CHECK_OK(couchstore_compact_db(db, path("target.couch")));
    CLOSE(db);
    db = OPEN(path("target.couch"), 0);
    CHECK_STR(local_docs(db), "_local/a=1");
    CHECK_STR(docs_by_seq(db), "");
    CLOSE(db);
}

TEST(drop_deletes) {
    const char *target = path("target.couch");
    DbInfo info;
    Db *db = OPEN(source_file(0), 0);
    CHECK_OK(compact_with(db, target, DROP_DELETES));
    CLOSE(db);
    db = OPEN(target, 0);
    CHECK_STR(docs_by_seq(db), "b@3 a@4 packed@5");
    CHECK_STR(docs_by_id(db), "a@4 b@3 packed@5");
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_EQ_INT(info.doc_count, 3);
    CHECK_EQ_INT(info.deleted_count, 0);
    CHECK_EQ_INT(info.last_sequence, 7);
    CHECK_EQ_INT(info.purge_seq, 8); /* one more than the source's */
    CLOSE(db);
}

TEST(drop_deletes_leaves_nothing) {
    Db *db = CREATE(path("source.couch"));
    CHECK_OK(put(db, "a", NULL));
    CHECK_OK(put(db, "b", NULL));
    CHECK_OK(compact_with(db, path("target.couch"), DROP_DELETES));
    CLOSE(db);
    db = OPEN(path("target.couch"), 0);
    CHECK_STR(docs_by_seq(db), "");
    CHECK_STR(docs_by_id(db), "");
    CHECK_EQ_INT(last_sequence(db), 2);
    CLOSE(db);
}

TEST(versions) {
    static const struct {
        couchstore_open_flags flags;
        couchstore_compact_flags compact;
        unsigned version;
    } table[] = {
            {COUCHSTORE_OPEN_WITH_LEGACY_CRC, 0, 11},
            {COUCHSTORE_OPEN_WITH_LEGACY_CRC, COUCHSTORE_COMPACT_FLAG_UPGRADE_DB, 14},
            {0, 0, 14},
            {0, COUCHSTORE_COMPACT_FLAG_UPGRADE_DB, 14},
    };
    for (size_t i = 0; i < COUNT_OF(table); ++i) {
        const char *source = source_file(table[i].flags), *target = path("target.couch");
        char *expected = describe_file(source), *actual;
        couchstore_header_info header;
        struct bytes file;
        uint32_t crc;
        Db *db = OPEN(source, COUCHSTORE_OPEN_FLAG_RDONLY);
        CHECK_OK(compact_with(db, target, table[i].compact));
        CLOSE(db);
        actual = describe_file(target);
        CHECK_STR(actual, expected);
        header = header_of_file(target);
        CHECK_EQ_INT(header.version, table[i].version);
        CHECK_EQ_INT(header.timestamp, table[i].flags ? 0 : 500);
        file = file_read(target);
        CHECK_EQ_INT(file.data[0], DATA_BLOCK);
        crc = (table[i].version == 11 ? crc32_ieee : crc32c)(
                "BBBB", 4); /* the body at the beginning: seq 3 comes first */
        CHECK_EQ_INT(read_be(file.data + 5, 4), crc);
        bytes_free(&file);
        free(expected);
        free(actual);
        unlink(source);
        unlink(target);
    }
}

TEST(older_header_of_the_source) {
    Db *db = OPEN(source_file(0), COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_OK(couchstore_rewind_db_header(db));
    CHECK_OK(couchstore_compact_db(db, path("target.couch")));
    CLOSE(db);
    db = OPEN(path("target.couch"), 0);
    CHECK_STR(docs_by_seq(db), "a@1 gone@2");
    CHECK_STR(local_docs(db), "_local/one=1 _local/removed=x");
    CLOSE(db);
    CHECK_EQ_INT(header_of_file(path("target.couch")).timestamp, 400);
    CHECK_EQ_INT(header_of_file(path("target.couch")).purge_seq, 0);
}

TEST(uncommitted_saves_are_included) {
    Db *db = OPEN(source_file(0), 0);
    CHECK_OK(put(db, "fresh", "uncommitted"));
    CHECK_OK(put_local(db, "_local/fresh", "uncommitted"));
    CHECK_OK(couchstore_set_purge_seq(db, 9));
    CHECK_OK(couchstore_compact_db(db, path("target.couch")));
    CHECK_STR(body_of(db, "fresh"), "uncommitted"); /* still there, still uncommitted */
    CLOSE(db);
    db = OPEN(path("target.couch"), 0);
    CHECK_STR(body_of(db, "fresh"), "uncommitted");
    CHECK_STR(local_of(db, "_local/fresh"), "uncommitted");
    CHECK_EQ_INT(last_sequence(db), 8);
    CLOSE(db);
    CHECK_EQ_INT(header_of_file(path("target.couch")).timestamp, 500); /* the last commit's */
}

TEST(source_that_was_unlinked) {
    const char *source = source_file(0);
    char *expected = describe_file(source), *actual;
    Db *db = OPEN(source, COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK(unlink(source) == 0);
    CHECK_OK(couchstore_compact_db(db, path("target.couch")));
    CLOSE(db);
    actual = describe_file(path("target.couch"));
    CHECK_STR(actual, expected);
    free(expected);
    free(actual);
    CHECK_EQ_INT(dir_entries(path(".")), 1);
}

TEST(source_that_others_append_to) {
    const char *source = source_file(0);
    char *expected = describe_file(source), *actual;
    Db *db = OPEN(source, COUCHSTORE_OPEN_FLAG_RDONLY);
    Db *writer = OPEN(source, 0);
    CHECK_OK(put(writer, "later", "x"));
    CHECK_OK(commit(writer, 700));
    CHECK_OK(couchstore_compact_db(db, path("target.couch"))); /* the pinned header only */
    CLOSE(db);
    CLOSE(writer);
    actual = describe_file(path("target.couch"));
    CHECK_STR(actual, expected);
    free(expected);
    free(actual);
}

TEST(existing_target) {
    const char *target = path("target.couch");
    struct bytes file;
    int error;
    couchstore_error_t code;
    Db *db = OPEN(source_file(0), 0);
    file_write(target, "precious", 8);
    errno = 0;
    code = couchstore_compact_db(db, target);
    error = errno;
    CHECK_CODE(code, COUCHSTORE_ERROR_OPEN_FILE);
    CHECK_EQ_INT(error, EEXIST);
    file = file_read(target);
    CHECK_MEM(file.data, file.size, "precious", 8);
    bytes_free(&file);
    file_write(target, "", 0);
    CHECK_CODE(couchstore_compact_db(db, target), COUCHSTORE_ERROR_OPEN_FILE);
    CHECK_EQ_INT(file_size(target), 0);
    CHECK_CODE(couchstore_compact_db(db, path("source.couch")),
               COUCHSTORE_ERROR_OPEN_FILE); /* onto itself */
    CHECK_CODE(couchstore_compact_db(db, path("no/target.couch")), COUCHSTORE_ERROR_NO_SUCH_FILE);
    CHECK_STR(docs_by_seq(db), "b@3 a@4 packed@5 gone@6- last@7-");
    CLOSE(db);
    CHECK_EQ_INT(dir_entries(path(".")), 2);
}

TEST(closed_source) {
    Db *db = OPEN(source_file(0), 0);
    CHECK_OK(couchstore_close_file(db));
    CHECK_CODE(couchstore_compact_db(db, path("target.couch")), COUCHSTORE_ERROR_FILE_CLOSED);
    CHECK_OK(couchstore_free_db(db));
    CHECK(!file_exists(path("target.couch")));
}

TEST(flags_that_only_change_the_writing) {
    const couchstore_compact_flags flags[] = {
            COUCHSTORE_COMPACT_FLAG_UNBUFFERED, couchstore_encode_periodic_sync_flags(1024),
            COUCHSTORE_COMPACT_UNUSED, COUCHSTORE_COMPACT_RECOVERY_MODE};
    const char *source = source_file(0), *target = path("target.couch");
    char *expected = describe_file(source);
    for (size_t i = 0; i < COUNT_OF(flags); ++i) {
        char *actual;
        Db *db = OPEN(source, COUCHSTORE_OPEN_FLAG_RDONLY);
        CHECK_OK(compact_with(db, target, flags[i]));
        CLOSE(db);
        actual = describe_file(target);
        CHECK_STR(actual, expected);
        free(actual);
        unlink(target);
    }
    free(expected);
}

TEST(null_ops_mean_the_default) {
    Db *db = OPEN(source_file(0), 0);
    CHECK_OK(couchstore_compact_db_ex(db, path("target.couch"), 0, NULL, NULL, NULL, NULL));
    CLOSE(db);
    CHECK_EQ_INT(headers_in(path("target.couch")), 1);
}

TEST(invalid_ops) {
    struct test_ops t;
    Db *db = OPEN(source_file(0), 0);
    ops_init(&t);
    t.ops.version = 3;
    CHECK_CODE(couchstore_compact_db_ex(db, path("target.couch"), 0, NULL, NULL, NULL, &t.ops),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK(!file_exists(path("target.couch")));
    CLOSE(db);
    ops_free(&t);
}

TEST(target_through_custom_ops) {
    struct test_ops t;
    Db *db = OPEN(source_file(0), 0);
    ops_init(&t);
    CHECK_OK(couchstore_compact_db_ex(db, path("target.couch"), 0, NULL, NULL, NULL, &t.ops));
    CHECK_EQ_INT(t.calls[OP_OPEN], 1);
    CHECK_EQ_INT(t.calls[OP_SYNC], 2); /* one commit */
    CHECK_EQ_INT(t.calls[OP_CLOSE], 1);
    CHECK_EQ_INT(t.calls[OP_DESTRUCTOR], 1);
    CLOSE(db);
    ops_free(&t);
    CHECK_EQ_INT(headers_in(path("target.couch")), 1);
}

TEST(source_and_target_share_the_ops) {
    struct test_ops t;
    const char *source = source_file(0);
    int first_write = 0;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(source, COUCHSTORE_OPEN_FLAG_RDONLY, &t.ops);
    CHECK_OK(couchstore_compact_db_ex(db, path("target.couch"), 0, NULL, NULL, NULL, &t.ops));
    CHECK_EQ_INT(t.files, 2); /* the source is number 1, the target number 2 */
    for (size_t i = 0; i < t.logged; ++i) {
        if (t.log[i].kind == OP_PWRITE || t.log[i].kind == OP_SYNC) {
            CHECK_EQ_INT(t.log[i].file, 2);
            first_write += first_write == 0;
        }
    }
    CHECK(first_write > 0);
    CLOSE(db);
    ops_free(&t);
}

/* Damages the body of document "b"; what is left is readable. */
static Db *damaged_source(void) {
    const char *source = source_file(0);
    DocInfo *info = NULL;
    uint64_t position;
    Db *db = OPEN(source, 0);
    CHECK_OK(couchstore_docinfo_by_id(db, "b", 1, &info));
    position = info->bp;
    couchstore_free_docinfo(info);
    CLOSE(db);
    file_flip(source, (int64_t)position + 9, 1);
    return OPEN(source, COUCHSTORE_OPEN_FLAG_RDONLY);
}

TEST(damaged_document) {
    Db *db = damaged_source();
    CHECK_CODE(couchstore_compact_db(db, path("target.couch")), COUCHSTORE_ERROR_CHECKSUM_FAIL);
    CHECK(!file_exists(path("target.couch")));
    CHECK_EQ_INT(dir_entries(path(".")), 1);
    CHECK_STR(body_of(db, "a"), "AAAA"); /* the source is usable */
    CLOSE(db);
}

TEST(damaged_document_in_recovery_mode) {
    Db *db = damaged_source();
    CHECK_CODE(compact_with(db, path("target.couch"), COUCHSTORE_COMPACT_RECOVERY_MODE),
               COUCHSTORE_ERROR_CHECKSUM_FAIL);
    CLOSE(db);
    db = OPEN(path("target.couch"), 0); /* complete, but for what could not be read */
    CHECK_STR(docs_by_seq(db), "a@4 packed@5 gone@6- last@7-");
    CHECK_STR(docs_by_id(db), "a@4 gone@6- last@7- packed@5");
    CHECK_STR(local_docs(db), "_local/one=1 _local/two=2");
    CHECK_EQ_INT(last_sequence(db), 7);
    CLOSE(db);
    CHECK_EQ_INT(headers_in(path("target.couch")), 1);
}

TEST(node_sizes_carry_over) {
    const char *small = path("small.couch"), *large = path("large.couch");
    int64_t sizes[2];
    for (int i = 0; i < 2; ++i) {
        Db *db = OPEN(i ? large : small, COUCHSTORE_OPEN_FLAG_CREATE | (i ? 0xff0000 : 0x110000));
        for (int n = 0; n < 400; ++n) {
            char id[20];
            snprintf(id, sizeof(id), "document %06d", n);
            CHECK_OK(put(db, id, "b"));
        }
        CHECK_OK(couchstore_compact_db(db, path(i ? "large2.couch" : "small2.couch")));
        CLOSE(db);
        sizes[i] = file_size(path(i ? "large2.couch" : "small2.couch"));
    }
    CHECK(sizes[1] < sizes[0]); /* fewer and larger nodes */
}

TEST(many_documents_in_order) {
    int count = test_small() ? 500 : 5000;
    const char *source = path("source.couch"), *target = path("target.couch");
    char *expected, *actual;
    Db *db = CREATE(source);
    for (int i = 0; i < count; i += 100) {
        struct doc docs[100];
        char ids[100][24], bodies[100][32];
        memset(docs, 0, sizeof(docs));
        for (int j = 0; j < 100; ++j) {
            snprintf(ids[j], sizeof(ids[j]), "id%06d",
                     (i + j) * 7919 % count); /* count is not divisible by 7919 */
            snprintf(bodies[j], sizeof(bodies[j]), "body %d", i + j);
            docs[j].id = ids[j];
            docs[j].body = j % 9 ? bodies[j] : NULL;
        }
        CHECK_OK(save_docs(db, docs, 100, 0));
    }
    CHECK_OK(commit(db, 1));
    CHECK_OK(couchstore_compact_db(db, target));
    CLOSE(db);
    expected = describe_file(source);
    actual = describe_file(target);
    CHECK_STR(actual, expected);
    free(expected);
    free(actual);
    CHECK_EQ_INT(headers_in(target), 1);
}
