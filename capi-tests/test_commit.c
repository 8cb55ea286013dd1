/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Commits: the exact bytes, the two phases, timestamps, the retry callback.
 */
#include "testlib.h"

#include <time.h>

static couchstore_header_info header_of(Db *db) {
    couchstore_header_info info;
    memset(&info, 0, sizeof(info));
    CHECK_OK(couchstore_get_header(db, &info));
    return info;
}

TEST(one_document_file) {
    /* The bytes of 4189, but for the Snappy output, are given by the format. */
    const char *name = path("one.couch");
    struct bytes file, node;
    const unsigned char roots[] = {0, 0, 0, 0, 0, 0x68, 0, 0,    0, 0, 0, 0x2b, 0, 0,    0,
                                   0, 1, 0, 0, 0, 0,    0, 0x3d, 0, 0, 0, 0,    0, 0x2b, 0,
                                   0, 0, 0, 1, 0, 0,    0, 0,    0, 0, 0, 0,    0, 0,    0x0d};
    struct bytes header = {NULL, 0};
    Db *db = CREATE(name);
    CHECK_OK(put(db, "hello", "world"));
    CHECK_OK(commit(db, 42));
    CLOSE(db);
    file = file_read(name);
    CHECK_EQ_INT(file.size, 4189);
    CHECK_MEM(file.data + 48, 13, "\x80\0\0\x05\x31\xaa\x81\x4eworld", 13);
    node = image_read_node(&file, 61);
    CHECK_MEM(node.data, node.size,
              "\x01\x00\x50\x00\x00\x17hello"
              "\0\0\0\0\0\x01"
              "\0\0\0\x0d"
              "\0\0\0\0\0\x30"
              "\0\0\0\0\0\x01"
              "\0",
              34);
    bytes_free(&node);
    node = image_read_node(&file, 104);
    CHECK_MEM(node.data, node.size,
              "\x01\x00\x60\x00\x00\x17"
              "\0\0\0\0\0\x01"
              "\x00\x50\x00\x00\x0d"
              "\0\0\0\0\0\x30"
              "\0\0\0\0\0\x01"
              "\0hello",
              35);
    bytes_free(&node);
    for (size_t i = 147; i < 4096; ++i) {
        CHECK_EQ_INT(file.data[i], 0);
    }
    bytes_be(&header, 14, 1);
    bytes_be(&header, 1, 6); /* update_seq */
    bytes_zeros(&header, 12);
    bytes_be(&header, 0x0011001c0000, 6);
    bytes_be(&header, 42, 8);
    bytes_be(&header, 0, 6); /* previous header: the one at 0 */
    bytes_add(&header, roots, sizeof(roots));
    CHECK_EQ_INT(file.data[4096], HEADER_BLOCK);
    CHECK_EQ_INT(read_be(file.data + 4097, 4), 0x58);
    CHECK_EQ_INT(read_be(file.data + 4101, 4), crc32c(header.data, header.size));
    CHECK_MEM(file.data + 4105, file.size - 4105, header.data, header.size);
    bytes_free(&header);
    bytes_free(&file);
}

TEST(legacy_one_document_file) {
    const char *name = path("one.couch");
    struct bytes file;
    Db *db = OPEN(name, COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_WITH_LEGACY_CRC);
    CHECK_OK(put(db, "hello", "world"));
    CHECK_OK(commit(db, 42));
    CLOSE(db);
    file = file_read(name);
    CHECK_EQ_INT(file.size, 4096 + 9 + 25 + 17 + 28);
    CHECK_EQ_INT(read_be(file.data + 34 + 4, 4), crc32_ieee("world", 5));
    CHECK_EQ_INT(read_be(file.data + 4101, 4), crc32_ieee(file.data + 4105, file.size - 4105));
    CHECK_EQ_INT(file.data[4105], 11);
    bytes_free(&file);
}

TEST(commit_without_changes) {
    const char *name = path("a.couch");
    Db *db = CREATE(name);
    CHECK_OK(commit(db, 5));
    CHECK_EQ_INT(couchstore_get_header_position(db), 4096);
    CHECK_OK(commit(db, 6));
    CHECK_EQ_INT(couchstore_get_header_position(db), 8192);
    CHECK_EQ_INT(header_of(db).timestamp, 6);
    CLOSE(db);
    CHECK_EQ_INT(file_size(name), 8192 + 48);
}

TEST(headers_are_chained) {
    Db *db = CREATE(path("a.couch"));
    CHECK_EQ_INT(header_of(db).previous_header_position, UINT64_MAX);
    CHECK_OK(commit(db, 1));
    CHECK_EQ_INT(header_of(db).previous_header_position, 0);
    CHECK_OK(commit(db, 2));
    CHECK_EQ_INT(header_of(db).previous_header_position, 4096);
    CLOSE(db);
    db = OPEN(path("a.couch"), 0);
    CHECK_EQ_INT(header_of(db).previous_header_position, 4096);
    CHECK_OK(commit(db, 3));
    CHECK_EQ_INT(header_of(db).previous_header_position, 8192);
    CLOSE(db);
}

TEST(timestamps) {
    Db *db = CREATE(path("a.couch"));
    CHECK_EQ_INT(header_of(db).timestamp, 0); /* of the first header */
    CHECK_OK(commit(db, UINT64_MAX));
    CHECK_EQ_INT(header_of(db).timestamp, UINT64_MAX);
    CHECK_OK(commit(db, 0));
    CHECK_EQ_INT(header_of(db).timestamp, 0);
    CHECK_OK(commit(db, 123456789));
    CLOSE(db);
    db = OPEN(path("a.couch"), 0);
    CHECK_EQ_INT(header_of(db).timestamp, 123456789);
    CLOSE(db);
}

TEST(commit_takes_the_time_of_the_system_clock) {
    struct timespec before, after;
    Db *db = CREATE(path("a.couch"));
    uint64_t timestamp;
    clock_gettime(CLOCK_REALTIME, &before);
    CHECK_OK(couchstore_commit(db));
    clock_gettime(CLOCK_REALTIME, &after);
    timestamp = header_of(db).timestamp;
    CHECK(timestamp >= (uint64_t)before.tv_sec * 1000000000 + (uint64_t)before.tv_nsec);
    CHECK(timestamp <= (uint64_t)after.tv_sec * 1000000000 + (uint64_t)after.tv_nsec);
    CLOSE(db);
}

TEST(old_versions_have_no_timestamp) {
    Db *db = OPEN(path("a.couch"), COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_WITH_LEGACY_CRC);
    CHECK_OK(commit(db, 42));
    CHECK_EQ_INT(header_of(db).timestamp, 0);
    CHECK_EQ_INT(header_of(db).previous_header_position, UINT64_MAX);
    CLOSE(db);
}

TEST(purge_sequence) {
    Db *db = CREATE(path("a.couch"));
    DbInfo info;
    CHECK_OK(couchstore_set_purge_seq(db, 77));
    CLOSE(db); /* not committed */
    db = OPEN(path("a.couch"), 0);
    CHECK_EQ_INT(header_of(db).purge_seq, 0);
    CHECK_OK(couchstore_set_purge_seq(db, 78));
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    db = OPEN(path("a.couch"), COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_EQ_INT(info.purge_seq, 78);
    CHECK_EQ_INT(header_of(db).purge_seq, 78);
    CLOSE(db);
}

TEST(header_over_a_gap) {
    /* Content that ends exactly at a block boundary: the header takes the next block. */
    const char *name = path("a.couch");
    static char body[4041];
    Db *db = OPEN(name, COUCHSTORE_OPEN_FLAG_CREATE);
    memset(body, 'x', 4040);
    CHECK_OK(put(db, "a", body)); /* the leaves then lie in the second block */
    CHECK_OK(commit(db, 1));
    CHECK_EQ_INT(couchstore_get_header_position(db), 8192);
    CLOSE(db);
    db = OPEN(name, 0);
    CHECK_STR(body_of(db, "a"), body);
    CLOSE(db);
}

TEST(two_phases) {
    struct test_ops t;
    Db *db;
    ops_init(&t);
    db = OPEN_OPS(path("a.couch"), COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_FLAG_UNBUFFERED,
                  &t.ops);
    CHECK_OK(put(db, "hello", "world"));
    ops_reset(&t);
    CHECK_OK(commit(db, 42));
    CHECK_STR(ops_text(&t, "COcrwesd"), "w9@4096 w84@4105 s w1@4096 s");
    CHECK_EQ_INT(t.log[0].first_byte, DATA_BLOCK); /* not a header yet */
    CHECK_EQ_INT(t.log[3].first_byte, HEADER_BLOCK);
    CLOSE(db);
    ops_free(&t);
}

TEST(two_phases_buffered) {
    struct test_ops t;
    Db *db;
    size_t last_sync = 0;
    ops_init(&t);
    db = OPEN_OPS(path("a.couch"), COUCHSTORE_OPEN_FLAG_CREATE, &t.ops);
    CHECK_OK(put(db, "hello", "world"));
    ops_reset(&t);
    CHECK_OK(commit(db, 42));
    CHECK_EQ_INT(t.calls[OP_SYNC], 2);
    for (size_t i = 0; i < t.logged; ++i) {
        const struct op_entry *entry = &t.log[i];
        if (entry->kind == OP_SYNC) {
            last_sync = i;
        } else if (entry->kind == OP_PWRITE && entry->offset == 4096) {
            CHECK_EQ_INT(entry->first_byte, entry->length == 1 ? HEADER_BLOCK : DATA_BLOCK);
        }
    }
    CHECK(t.log[last_sync - 1].kind == OP_PWRITE && t.log[last_sync - 1].length == 1 &&
          t.log[last_sync - 1].offset == 4096);
    CHECK(t.log[last_sync - 2].kind == OP_SYNC);
    CLOSE(db);
    ops_free(&t);
    CHECK_EQ_INT(file_size(path("a.couch")), 4189);
}

struct retry {
    int answer, limit, calls, error;
};

static int retry_callback(void *ctx, int os_error) {
    struct retry *retry = ctx;
    retry->error = os_error;
    return ++retry->calls <= retry->limit ? retry->answer : 0;
}

/* An unbuffered database with one committed document, and one saved but not committed. */
static Db *retry_start(struct test_ops *t, const char *name) {
    Db *db;
    ops_init(t);
    db = OPEN_OPS(name, COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_FLAG_UNBUFFERED, &t->ops);
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 1));
    CHECK_OK(put(db, "b", "2"));
    ops_reset(t);
    return db;
}

TEST(retry_rewrites_the_byte_and_syncs_again) {
    const char *name = path("a.couch");
    struct test_ops t;
    struct retry retry = {.answer = 1, .limit = 100};
    Db *db = retry_start(&t, name);
    ops_fail(&t, OP_SYNC, 2, 3, COUCHSTORE_ERROR_WRITE, EIO);
    CHECK_OK(couchstore_commit_ex(db, 2, retry_callback, &retry));
    CHECK_EQ_INT(retry.calls, 3); /* once for each failed second sync */
    CHECK_EQ_INT(retry.error, EIO);
    CHECK_STR(ops_text(&t, "ws"), "w9@8192 w84@8201 s w1@8192 s! w1@8192 s! w1@8192 s! w1@8192 s");
    CHECK_EQ_INT(couchstore_get_header_position(db), 8192);
    CHECK_OK(put(db, "c", "3")); /* all is well with this handle */
    CHECK_OK(commit(db, 3));
    CLOSE(db);
    ops_free(&t);
    db = OPEN(name, 0);
    CHECK_STR(docs_by_seq(db), "a@1 b@2 c@3");
    CLOSE(db);
}

TEST(retry_declined) {
    const char *name = path("a.couch");
    struct test_ops t;
    struct retry retry = {.answer = 0, .limit = 100};
    couchstore_error_t code;
    int error;
    Db *db = retry_start(&t, name);
    ops_fail(&t, OP_SYNC, 2, 1, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOSPC);
    errno = 0;
    code = couchstore_commit_ex(db, 2, retry_callback, &retry);
    error = errno;
    CHECK_CODE(code, COUCHSTORE_ERROR_NO_SUCH_FILE); /* the ops' own code, also an odd one */
    CHECK_EQ_INT(error, ENOSPC);
    CHECK_EQ_INT(retry.calls, 1);
    CHECK_STR(ops_text(&t, "ws"),
              "w9@8192 w84@8201 s w1@8192 s!"); /* the byte is not written back */
    CHECK_EQ_INT(couchstore_get_header_position(db), 4096);
    CHECK_EQ_INT(header_of(db).timestamp, 1);
    CHECK_EQ_INT(header_of(db).previous_header_position, 0);
    CHECK_CODE(put(db, "c", "3"), COUCHSTORE_ERROR_WRITE); /* latched */
    CHECK_CODE(put_local(db, "c", "3"), COUCHSTORE_ERROR_WRITE);
    CHECK_CODE(commit(db, 3), COUCHSTORE_ERROR_WRITE);
    CHECK_STR(body_of(db, "a"), "1"); /* reading goes on */
    CLOSE(db);
    CHECK_EQ_INT(t.calls[OP_SYNC], 2);
    ops_free(&t);
    db = OPEN(name, 0); /* the outcome was unknown; the byte did reach the file */
    CHECK_STR(docs_by_seq(db), "a@1 b@2");
    CLOSE(db);
}

TEST(no_retry_callback) {
    struct test_ops t;
    Db *db = retry_start(&t, path("a.couch"));
    ops_fail(&t, OP_SYNC, 2, 1, COUCHSTORE_ERROR_WRITE, EIO);
    CHECK_CODE(couchstore_commit(db), COUCHSTORE_ERROR_WRITE);
    CHECK_STR(ops_text(&t, "ws"), "w9@8192 w84@8201 s w1@8192 s!");
    CHECK_CODE(commit(db, 3), COUCHSTORE_ERROR_WRITE);
    CLOSE(db);
    ops_free(&t);
}

TEST(no_retry_of_the_first_sync) {
    const char *name = path("a.couch");
    struct test_ops t;
    struct retry retry = {.answer = 1, .limit = 100};
    Db *db = retry_start(&t, name);
    ops_fail(&t, OP_SYNC, 1, 1, -77, EIO);
    CHECK_CODE(couchstore_commit_ex(db, 2, retry_callback, &retry), -77);
    CHECK_EQ_INT(retry.calls, 0);
    CHECK_STR(ops_text(&t, "ws"), "w9@8192 w84@8201 s!");
    CHECK_EQ_INT(couchstore_get_header_position(db), 4096);
    CHECK_CODE(put(db, "c", "3"), COUCHSTORE_ERROR_WRITE);
    CHECK_CODE(put_local(db, "c", "3"), COUCHSTORE_ERROR_WRITE);
    CHECK_CODE(commit(db, 3), COUCHSTORE_ERROR_WRITE);
    CHECK_STR(body_of(db, "a"), "1");
    CLOSE(db);
    ops_free(&t);
    db = OPEN(name, 0);
    CHECK_STR(docs_by_seq(db), "a@1");
    CLOSE(db);
}

TEST(retry_is_not_asked_on_success) {
    struct test_ops t;
    struct retry retry = {.answer = 1, .limit = 100};
    Db *db = retry_start(&t, path("a.couch"));
    CHECK_OK(couchstore_commit_ex(db, 2, retry_callback, &retry));
    CHECK_EQ_INT(retry.calls, 0);
    CLOSE(db);
    ops_free(&t);
}
