/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the information functions say, on open and on closed handles.
 */
#include "testlib.h"

#include <fcntl.h>

TEST(new_database) {
    const char *name = path("a.couch");
    Db *db = CREATE(name);
    DbInfo info;
    couchstore_header_info header;
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_STR(info.filename, name);
    CHECK_EQ_INT(info.last_sequence, 0);
    CHECK_EQ_INT(info.doc_count, 0);
    CHECK_EQ_INT(info.deleted_count, 0);
    CHECK_EQ_INT(info.space_used, 0);
    CHECK_EQ_INT(info.file_size, 48);
    CHECK_EQ_INT(info.header_position, 0);
    CHECK_EQ_INT(info.purge_seq, 0);
    CHECK_OK(couchstore_get_header(db, &header));
    CHECK_EQ_INT(header.version, 14);
    CHECK_EQ_INT(header.timestamp, 0);
    CHECK_EQ_INT(header.update_seq, 0);
    CHECK_EQ_INT(header.purge_seq, 0);
    CHECK_EQ_INT(header.header_position, 0);
    CHECK_EQ_INT(header.doc_count, 0);
    CHECK_EQ_INT(header.deleted_count, 0);
    CHECK_EQ_INT(header.space_used, 0);
    CHECK_EQ_INT(header.file_size, 48);
    CHECK_EQ_INT(header.previous_header_position, UINT64_MAX);
    CHECK_EQ_INT(couchstore_get_header_position(db), 0);
    CHECK_STR(couchstore_get_db_filename(db), name);
    CLOSE(db);
}

TEST(one_document) {
    const char *name = path("a.couch");
    Db *db = CREATE(name);
    DbInfo info;
    couchstore_header_info header;
    CHECK_OK(put(db, "hello", "world"));
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_EQ_INT(info.last_sequence, 1); /* the handle's own uncommitted state */
    CHECK_EQ_INT(info.doc_count, 1);
    CHECK_EQ_INT(info.space_used, 13 + 43 + 43); /* document + by-id tree + by-sequence tree */
    CHECK_EQ_INT(info.file_size, 147);           /* the append position */
    CHECK_EQ_INT(info.header_position, 0);
    CHECK_OK(couchstore_set_purge_seq(db, 5));
    CHECK_OK(commit(db, 42));
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_EQ_INT(info.file_size, 4189);
    CHECK_EQ_INT(info.header_position, 4096);
    CHECK_EQ_INT(info.purge_seq, 5);
    CLOSE(db);
    db = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_OK(couchstore_get_header(db, &header));
    CHECK_EQ_INT(header.version, 14);
    CHECK_EQ_INT(header.timestamp, 42);
    CHECK_EQ_INT(header.update_seq, 1);
    CHECK_EQ_INT(header.purge_seq, 5);
    CHECK_EQ_INT(header.header_position, 4096);
    CHECK_EQ_INT(header.doc_count, 1);
    CHECK_EQ_INT(header.deleted_count, 0);
    CHECK_EQ_INT(header.space_used, 99);
    CHECK_EQ_INT(header.file_size, 4189);
    CHECK_EQ_INT(header.previous_header_position, 0);
    CLOSE(db);
}

TEST(counts_of_deleted_documents) {
    Db *db = CREATE(path("a.couch"));
    struct doc docs[] = {{.id = "a", .body = "1234"},
                         {.id = "b"},
                         {.id = "c", .body = "tombstone", .deleted = 1}};
    DbInfo info;
    uint64_t trees;
    CHECK_OK(save_docs(db, docs, 3, 0));
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_EQ_INT(info.doc_count, 1);
    CHECK_EQ_INT(info.deleted_count, 2);
    trees = info.file_size - 48 - 12 - 17; /* all that was appended, but for the bodies */
    CHECK_EQ_INT(info.space_used, trees + 12 + 17);
    CLOSE(db);
}

TEST(file_size_after_open_is_that_of_the_file) {
    const char *name = path("a.couch");
    struct bytes file;
    DbInfo info;
    Db *db = CREATE(name);
    CHECK_OK(put(db, "hello", "world"));
    CHECK_OK(commit(db, 42));
    CLOSE(db);
    file = file_read(name);
    bytes_zeros(&file, 1000);
    file_write(name, file.data, file.size);
    bytes_free(&file);
    db = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_EQ_INT(info.file_size, 5189);
    CHECK_EQ_INT(info.header_position, 4096);
    CHECK_OK(couchstore_seek_offset(db, 0)); /* an older header: still the whole file */
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_EQ_INT(info.file_size, 5189);
    CHECK_EQ_INT(info.doc_count, 0);
    CLOSE(db);
}

TEST(legacy_file) {
    Db *db = OPEN(path("a.couch"), COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_WITH_LEGACY_CRC);
    couchstore_header_info header;
    CHECK_OK(couchstore_get_header(db, &header));
    CHECK_EQ_INT(header.version, 11);
    CHECK_EQ_INT(header.timestamp, 0);
    CHECK_EQ_INT(header.file_size, 34);
    CHECK_EQ_INT(header.previous_header_position, UINT64_MAX);
    CLOSE(db);
}

TEST(closed_handle) {
    Db *db = CREATE(path("a.couch"));
    DbInfo info;
    couchstore_header_info header;
    CHECK_OK(put(db, "hello", "world"));
    CHECK_OK(commit(db, 42));
    CHECK_OK(couchstore_close_file(db));
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_STR(info.filename, "");
    CHECK_EQ_INT(info.file_size, 0);
    CHECK_EQ_INT(info.header_position, 4096);
    CHECK_EQ_INT(info.last_sequence, 1);
    CHECK_EQ_INT(couchstore_get_header_position(db), 4096);
    CHECK_OK(couchstore_get_header(db, &header));
    CHECK_EQ_INT(header.version, 14);
    CHECK_EQ_INT(header.timestamp, 42);
    CHECK_EQ_INT(header.update_seq, 1);
    CHECK_EQ_INT(header.header_position, 4096);
    CHECK_OK(couchstore_free_db(db));
}

TEST(undersized_reduce_value) {
    /* A by-id root whose reduce value is too short: the counts can't be told. */
    const char *name = path("a.couch");
    struct bytes image = {NULL, 0}, node = {NULL, 0};
    struct bytes value = by_id_value(1, 13, 1, ""), reduce = by_seq_reduce(1);
    struct image_header header = {.update_seq = 1};
    DbInfo info;
    Db *db;
    image_chunk(&image, "world", 5);
    bytes_be(&node, 1, 1);
    node_entry(&node, "hello", 5, &value);
    header.by_id = tree_root(image_node(&image, &node), 50, &reduce);
    image_add_header(&image, &header);
    file_write(name, image.data, image.size);
    db = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    memset(&info, 0x55, sizeof(info));
    CHECK_CODE(couchstore_db_info(db, &info), COUCHSTORE_ERROR_CORRUPT);
    CHECK_EQ_INT(info.purge_seq, 0x5555555555555555); /* nothing written on failure */
    CHECK_STR(body_of(db, "hello"), "world");
    CLOSE(db);
    bytes_free(&image);
    bytes_free(&node);
    bytes_free(&value);
    bytes_free(&reduce);
    bytes_free(&header.by_id);
}

TEST(file_statistics) {
    /* Default file operations may or may not count; where they do, the numbers grow. */
    Db *db = CREATE(path("a.couch"));
    couchstore_file_stats before, after;
    couchstore_error_t code;
    memset(&before, 0x55, sizeof(before));
    code = couchstore_get_db_filestats(db, &before); /* creating the file may have counted */
    CHECK_OK(put(db, "hello", "world"));
    CHECK_OK(commit(db, 42));
    if (code == COUCHSTORE_SUCCESS) {
        CHECK_OK(couchstore_get_db_filestats(db, &after));
        CHECK(after.write_count >= before.write_count + 2);
        CHECK(after.write_bytes >= before.write_bytes + 4189 - 48 + 1);
        CHECK_EQ_INT(after.sync_count, before.sync_count + 2);
    } else {
        CHECK_CODE(code, COUCHSTORE_ERROR_NOT_SUPPORTED);
        CHECK_EQ_INT(before.write_bytes, 0x5555555555555555);
    }
    CLOSE(db);
}

TEST(file_statistics_of_custom_ops) {
    struct test_ops t;
    couchstore_file_stats stats;
    couchstore_error_t code;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(path("a.couch"), COUCHSTORE_OPEN_FLAG_CREATE, &t.ops);
    code = couchstore_get_db_filestats(db, &stats);
    CHECK(code == COUCHSTORE_SUCCESS || code == COUCHSTORE_ERROR_NOT_SUPPORTED);
    CLOSE(db);
    ops_free(&t);
}

TEST(default_file_ops) {
    const couch_file_ops *ops = couchstore_get_default_file_ops();
    Db *db;
    CHECK(ops != NULL);
    CHECK_EQ_INT(ops->version, 5);
    CHECK(ops->constructor && ops->open && ops->close && ops->pread && ops->pwrite &&
          ops->goto_eof && ops->sync && ops->advise && ops->destructor);
    CHECK(couchstore_get_default_file_ops() == ops);
    db = OPEN_OPS(path("a.couch"), COUCHSTORE_OPEN_FLAG_CREATE, ops);
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 1));
    CHECK_STR(docs_by_id(db), "a@1");
    CLOSE(db);
}

TEST(default_file_ops_called_directly) {
    const couch_file_ops *ops = couchstore_get_default_file_ops();
    couchstore_error_info_t error = {0};
    couch_file_handle handle = ops->constructor(&error, ops->cookie);
    const char *name = path("raw");
    char text[16];
    ops->close(&error, handle); /* never opened */
    CHECK_CODE(ops->open(&error, &handle, name, O_RDWR), COUCHSTORE_ERROR_NO_SUCH_FILE);
    CHECK_EQ_INT(error.error, ENOENT);
    CHECK_CODE(ops->open(&error, &handle, path("."), O_RDWR), COUCHSTORE_ERROR_OPEN_FILE);
    CHECK_OK(ops->open(&error, &handle, name, O_RDWR | O_CREAT));
    CHECK_EQ_INT(ops->goto_eof(&error, handle), 0);
    CHECK_EQ_INT(ops->pread(&error, handle, text, sizeof(text), 0), 0); /* end of file */
    CHECK_EQ_INT(ops->pwrite(&error, handle, "0123456789", 10, 5), 10);
    CHECK_EQ_INT(ops->goto_eof(&error, handle), 15);
    CHECK_EQ_INT(ops->pread(&error, handle, text, sizeof(text), 10), 5);
    CHECK_MEM(text, 5, "56789", 5);
    CHECK_OK(ops->sync(&error, handle));
    CHECK_OK(ops->advise(&error, handle, 0, 0, COUCHSTORE_FILE_ADVICE_EVICT));
    ops->close(&error, handle);
    ops->close(&error, handle);
    ops->destructor(&error, handle);
    CHECK_EQ_INT(file_size(name), 15);
}
