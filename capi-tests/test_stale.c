/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Writers whose file was replaced, or is written by somebody else.
 */
#include "testlib.h"

/* A committed file, open for writing. */
static Db *writer(const char *name, couchstore_open_flags flags) {
    remove(name);
    Db *db = OPEN(name, flags | COUCHSTORE_OPEN_FLAG_CREATE);
    CHECK_OK(put(db, "first", "body"));
    CHECK_OK(commit(db, 1));
    return db;
}

static void replace(const char *name) {
    const char *other = path("other");
    file_copy(name, other);
    CHECK_EQ_INT(rename(other, name), 0);
}

/* What a refused handle is like. */
static void check_refused(Db *db, couchstore_error_t code, const char *reason) {
    const int error = errno;
    char text[300];
    CHECK_CODE(code, COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    CHECK_EQ_INT(error, ESTALE);
    CHECK_OK(couchstore_last_os_error(db, text, sizeof text));
    CHECK(strstr(text, "errno = 116: ") == text);
    CHECK_OK(couchstore_last_internal_error(db, text, sizeof text));
    CHECK(strstr(text, reason) != NULL);
    /* It reads on: also what it could not write. */
    CHECK_STR(body_of(db, "first"), "body");
    CHECK_STR(body_of(db, "second"), "body");
    /* It belongs to the caller, and is freed as always. */
    CLOSE(db);
}

static couchstore_error_t second(Db *db) {
    CHECK_OK(put(db, "second", "body"));
    errno = 0;
    return commit(db, 2);
}

TEST(the_second_of_two_writers) {
    const char *name = path("a");
    Db *one = writer(name, 0), *other = OPEN(name, 0);
    CHECK_OK(put(one, "of the first", "body"));
    CHECK_OK(commit(one, 2));
    const int64_t size = file_size(name);
    check_refused(other, second(other), "somebody else writes to it");
    CHECK_EQ_INT(file_size(name), size);
    CLOSE(one);
    one = OPEN(name, 0);
    CHECK_STR(body_of(one, "of the first"), "body");
    CLOSE(one);
}

TEST(a_file_that_was_replaced) {
    const char *name = path("a");
    Db *db = writer(name, 0);
    replace(name);
    const int64_t size = file_size(name);
    check_refused(db, second(db), "leads to another file");
    CHECK_EQ_INT(file_size(name), size);
}

TEST(a_file_that_was_compacted_online) {
    const char *name = path("a");
    couchstore_online_compact_options options = {.size = sizeof options,
                                                 .swap = COUCHSTORE_SWAP_REPLACE};
    Db *db = writer(name, 0);
    CHECK_OK(couchstore_compact_db_online(name, NULL, &options, NULL));
    check_refused(db, second(db), "leads to another file");
    db = OPEN(name, 0);
    CHECK_STR(body_of(db, "second"), "error -5");
    CLOSE(db);
}

TEST(opening_again_or_moving_to_the_end) {
    const char *name = path("a");
    Db *db = writer(name, 0);
    replace(name);
    CHECK_CODE(second(db), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    CHECK_OK(couchstore_seek(db, COUCHSTORE_SEEK_END));
    CHECK_OK(couchstore_reopen_file(db, name, 0));
    CHECK_OK(second(db));
    Db *other = OPEN(name, 0);
    CHECK_OK(put(db, "third", "body"));
    CHECK_OK(commit(db, 3));
    CHECK_CODE(commit(other, 3), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    CHECK_OK(couchstore_seek(other, COUCHSTORE_SEEK_END));
    CHECK_STR(body_of(other, "third"), "body");
    CHECK_OK(commit(other, 4));
    CLOSE(db);
    CLOSE(other);
}

TEST(other_file_operations_are_not_asked) {
    const char *name = path("a");
    couch_file_ops ops = *couchstore_get_default_file_ops();
    Db *db = OPEN_OPS(name, COUCHSTORE_OPEN_FLAG_CREATE, &ops);
    CHECK_OK(put(db, "first", "body"));
    CHECK_OK(commit(db, 1));
    replace(name);
    CHECK_OK(second(db));
    CLOSE(db);
    /* The library's own ones are, also when they are given by name. */
    db = OPEN_OPS(name, 0, couchstore_get_default_file_ops());
    replace(name);
    check_refused(db, second(db), "leads to another file");
}

TEST(it_can_be_switched_off) {
    const char *name = path("a");
    Db *db = writer(name, COUCHSTORE_OPEN_WITHOUT_STALE_CHECK);
    replace(name);
    CHECK_OK(second(db));
    CLOSE(db);
}

TEST(no_header_to_move_to_leaves_errno_as_before) {
    /* The same code for another reason: errno is that of the handle. */
    const char *name = path("a");
    Db *db = writer(name, 0);
    CHECK_OK(couchstore_seek_offset(db, 0));
    errno = 77;
    CHECK_CODE(couchstore_rewind_db_header(db), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    CHECK_EQ_INT(errno, 77);
}

TEST(closing_is_the_first_to_notice) {
    const char *name = path("a");
    Db *one = writer(name, 0), *other = OPEN(name, 0);
    CHECK_OK(put(other, "second", "body"));
    CHECK_OK(commit(one, 2));
    struct bytes before = file_read(name), after;
    errno = 0;
    CHECK_CODE(couchstore_close_file(other), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    CHECK_EQ_INT(errno, ESTALE);
    CHECK_OK(couchstore_close_file(other));
    CHECK_OK(couchstore_free_db(other));
    after = file_read(name);
    CHECK_MEM(after.data, after.size, before.data, before.size);
    bytes_free(&before);
    bytes_free(&after);
    CLOSE(one);
}
