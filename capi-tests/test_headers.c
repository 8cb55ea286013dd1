/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Moving between the headers of a file: rewind, fastforward, seek. test_headers_search.c has the search by sequence.
 */
#include "testlib.h"

#define BACKWARD COUCHSTORE_SEEK_BACKWARD
#define FORWARD COUCHSTORE_SEEK_FORWARD
#define END COUCHSTORE_SEEK_END
#define RDONLY_FLAG COUCHSTORE_OPEN_FLAG_RDONLY

/* Headers: nothing at 0, a at 4096, a b at 8192, a b c at 12288. */
static const char *history(couchstore_open_flags flags) {
    const char *name = path("history.couch");
    Db *db = OPEN(name, COUCHSTORE_OPEN_FLAG_CREATE | flags);
    for (int i = 0; i < 3; ++i) {
        char id[] = {(char)('a' + i), '\0'};
        CHECK_OK(put(db, id, "body"));
        CHECK_OK(commit(db, (uint64_t)(i + 1) * 10));
        CHECK_EQ_INT(couchstore_get_header_position(db), (i + 1) * 4096);
    }
    CLOSE(db);
    return name;
}

static void check_at(int line, Db *db, uint64_t position, const char *docs) {
    test_equal_int(__FILE__, line, "header position", (long long)couchstore_get_header_position(db),
                   (long long)position);
    test_equal_str(__FILE__, line, "documents", docs_by_seq(db), docs);
    test_equal_str(__FILE__, line, "documents", docs_by_id(db), docs);
}
#define AT(db, position, docs) check_at(__LINE__, (db), (position), (docs))

static void add_commit(const char *name, const char *id) {
    Db *db = OPEN(name, 0);
    CHECK_OK(put(db, id, "more"));
    CHECK_OK(commit(db, 99));
    CLOSE(db);
}

TEST(rewind_and_fastforward) {
    const couchstore_open_flags flags[] = {
            0, COUCHSTORE_OPEN_WITH_LEGACY_CRC}; /* with and without pointers */
    for (size_t i = 0; i < COUNT_OF(flags); ++i) {
        const char *name = history(flags[i]);
        int descriptors = open_descriptors();
        Db *db = OPEN(name, RDONLY_FLAG);
        AT(db, 12288, "a@1 b@2 c@3");
        CHECK_OK(couchstore_rewind_db_header(db));
        AT(db, 8192, "a@1 b@2");
        CHECK_OK(couchstore_rewind_db_header(db));
        AT(db, 4096, "a@1");
        CHECK_OK(couchstore_fastforward_db_header(db));
        AT(db, 8192, "a@1 b@2");
        CHECK_OK(couchstore_rewind_db_header(db));
        CHECK_OK(couchstore_rewind_db_header(db));
        AT(db, 0, "");
        CHECK_CODE(couchstore_rewind_db_header(db),
                   COUCHSTORE_ERROR_DB_NO_LONGER_VALID); /* closed and freed */
        db = OPEN(name, RDONLY_FLAG);
        CHECK_CODE(couchstore_fastforward_db_header(db), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
        CHECK_EQ_INT(open_descriptors(), descriptors);
        unlink(name);
    }
}

struct move_in_callback {
    Db *db;
    couchstore_error_t (*move)(Db *);
    int calls, refused;
};

static void on_save_move(const DocInfo *old_info,
                         const DocInfo *new_info,
                         void *ctx,
                         void *request) {
    struct move_in_callback *state = ctx;
    (void)old_info, (void)new_info, (void)request;
    ++state->calls;
    if (state->move(state->db) == COUCHSTORE_ERROR_INVALID_ARGUMENTS) {
        ++state->refused;
    }
}

TEST(rewind_and_fastforward_from_a_save_callback) {
    static couchstore_error_t (*const moves[])(Db *) = {couchstore_rewind_db_header,
                                                        couchstore_fastforward_db_header};
    char id_x[] = "x", id_y[] = "y";
    const Doc x = {{id_x, 1}, {id_x, 1}}, y = {{id_y, 1}, {id_y, 1}};
    DocInfo info_x = {.id = {id_x, 1}}, info_y = {.id = {id_y, 1}};
    for (size_t i = 0; i < COUNT_OF(moves); ++i) {
        const char *name = path("callback.couch");
        Db *db = CREATE(name);
        struct move_in_callback state = {db, moves[i], 0, 0};
        CHECK_OK(put(db, "a", "1"));
        CHECK_OK(commit(db, 1));
        CHECK_OK(put(db, "b", "1"));
        CHECK_OK(commit(db, 2));
        /* a failure of these frees the handle, but not under a call that is still using it */
        CHECK_OK(couchstore_save_documents_and_callback(db, (const Doc *[]){&x, &y},
                                                        (DocInfo *[]){&info_x, &info_y}, NULL, 2, 0,
                                                        on_save_move, &state));
        CHECK_EQ_INT(state.calls, 2);
        CHECK_EQ_INT(state.refused, 2);
        CHECK_OK(commit(db, 3));
        CHECK_STR(docs_by_id(db), "a@1 b@2 x@3 y@4");
        CHECK_OK(couchstore_rewind_db_header(db));
        CHECK_STR(docs_by_id(db), "a@1 b@2");
        CLOSE(db);
        db = OPEN(name, RDONLY_FLAG);
        CHECK_STR(docs_by_id(db), "a@1 b@2 x@3 y@4");
        CLOSE(db);
        CHECK_EQ_INT(unlink(name), 0);
    }
}

TEST(seek_back_and_forth) {
    Db *db = OPEN(history(0), RDONLY_FLAG);
    CHECK_OK(couchstore_seek(db, BACKWARD));
    CHECK_OK(couchstore_seek(db, BACKWARD));
    AT(db, 4096, "a@1");
    CHECK_OK(couchstore_seek(db, BACKWARD));
    AT(db, 0, "");
    CHECK_CODE(couchstore_seek(db, BACKWARD), COUCHSTORE_ERROR_NO_HEADER);
    AT(db, 0, "");
    CHECK_OK(couchstore_seek(db, FORWARD));
    CHECK_OK(couchstore_seek(db, FORWARD));
    AT(db, 8192, "a@1 b@2");
    CHECK_OK(couchstore_seek(db, FORWARD));
    CHECK_CODE(couchstore_seek(db, FORWARD), COUCHSTORE_ERROR_NO_HEADER);
    AT(db, 12288, "a@1 b@2 c@3");
    CHECK_OK(couchstore_seek(db, BACKWARD));
    CHECK_OK(couchstore_seek(db, END));
    AT(db, 12288, "a@1 b@2 c@3");
    CLOSE(db);
}

TEST(seek_to_an_offset) {
    Db *db = OPEN(history(0), RDONLY_FLAG);
    CHECK_OK(couchstore_seek_offset(db, 4096));
    AT(db, 4096, "a@1");
    CHECK_OK(couchstore_seek_offset(db, 12288));
    AT(db, 12288, "a@1 b@2 c@3");
    CHECK_OK(couchstore_seek_offset(db, 0));
    AT(db, 0, "");
    CHECK_CODE(couchstore_seek_offset(db, 1), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(couchstore_seek_offset(db, 4095), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(couchstore_seek_offset(db, -1), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(couchstore_seek_offset(db, INT64_MAX), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(couchstore_seek_offset(db, 16384), COUCHSTORE_ERROR_NO_HEADER);
    CHECK_CODE(couchstore_seek_offset(db, INT64_C(1) << 46), COUCHSTORE_ERROR_NO_HEADER);
    CHECK_CODE(couchstore_seek_offset(db, -4096), COUCHSTORE_ERROR_NO_HEADER);
    CHECK_CODE(couchstore_seek_offset(db, INT64_MIN), COUCHSTORE_ERROR_NO_HEADER);
    AT(db, 0, "");
    CLOSE(db);
}

TEST(seek_to_a_block_without_header) {
    const char *name = path("a.couch");
    static char body[6001];
    Db *db = CREATE(name);
    memset(body, 'x', 6000);
    CHECK_OK(put(db, "a", body)); /* over the boundary at 4096 */
    CHECK_OK(commit(db, 1));
    CHECK_EQ_INT(couchstore_get_header_position(db), 8192);
    CHECK_CODE(couchstore_seek_offset(db, 4096), COUCHSTORE_ERROR_NO_HEADER);
    AT(db, 8192, "a@1");
    CHECK_OK(couchstore_seek(db, BACKWARD));
    AT(db, 0, "");
    CHECK_OK(couchstore_seek(db, FORWARD)); /* steps over the data block */
    AT(db, 8192, "a@1");
    CLOSE(db);
}

TEST(undefined_direction) {
    Db *db = OPEN(history(0), RDONLY_FLAG);
    CHECK_CODE(couchstore_seek(db, 3), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(couchstore_seek(db, -1), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    AT(db, 12288, "a@1 b@2 c@3");
    CLOSE(db);
}

TEST(which_failing_seeks_keep_uncommitted_changes) {
    static const struct {
        cs_off_t offset;
        couchstore_direction direction; /* used if offset is 1 */
        couchstore_error_t code;
        bool kept;
    } table[] = {
            {100, 0, COUCHSTORE_ERROR_INVALID_ARGUMENTS, true},
            {1 << 20, 0, COUCHSTORE_ERROR_NO_HEADER, true},
            {16384, 0, COUCHSTORE_ERROR_NO_HEADER, true},
            {-4096, 0, COUCHSTORE_ERROR_NO_HEADER, false},
            {1, FORWARD, COUCHSTORE_ERROR_NO_HEADER, false},
            {1, END, COUCHSTORE_SUCCESS, false},
    };
    for (size_t i = 0; i < COUNT_OF(table); ++i) {
        const char *name = history(0);
        Db *db = OPEN(name, 0);
        CHECK_OK(put(db, "new", "uncommitted"));
        CHECK_CODE(table[i].offset == 1 ? couchstore_seek(db, table[i].direction)
                                        : couchstore_seek_offset(db, table[i].offset),
                   table[i].code);
        AT(db, 12288, table[i].kept ? "a@1 b@2 c@3 new@4" : "a@1 b@2 c@3");
        CHECK_EQ_INT(last_sequence(db), table[i].kept ? 4 : 3);
        CLOSE(db);
        unlink(name);
    }
}

TEST(backward_at_position_0_keeps_uncommitted_changes) {
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(put(db, "new", "uncommitted"));
    CHECK_CODE(couchstore_seek(db, BACKWARD), COUCHSTORE_ERROR_NO_HEADER);
    AT(db, 0, "new@1");
    CHECK_OK(commit(db, 1));
    AT(db, 4096, "new@1");
    CLOSE(db);
}

TEST(end_with_only_the_first_header) {
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(put(db, "new", "uncommitted"));
    CHECK_OK(couchstore_seek(db, END)); /* the original refuses this */
    AT(db, 0, "");
    CHECK_OK(put(db, "newer", "x"));
    CHECK_OK(commit(db, 1));
    CHECK_STR(docs_by_seq(db), "newer@1");
    CLOSE(db);
}

TEST(codes_of_the_operations_count_like_our_own) {
    for (int code = COUCHSTORE_ERROR_OPEN_FILE; code >= COUCHSTORE_ERROR_DECRYPT; --code) {
        const char *name = history(0);
        const bool final = code == COUCHSTORE_ERROR_ALLOC_FAIL ||
                           code == COUCHSTORE_ERROR_HEADER_VERSION ||
                           code == COUCHSTORE_ERROR_CANCEL;
        struct test_ops t;
        Db *db;
        ops_init(&t);
        db = OPEN_OPS(name, COUCHSTORE_OPEN_FLAG_UNBUFFERED, &t.ops);
        /* The second read of the header before: its length. */
        ops_fail(&t, OP_PREAD, 2, 1, code, EIO);
        if (final) {
            CHECK_CODE(couchstore_rewind_db_header(db), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
        } else {
            CHECK_OK(couchstore_rewind_db_header(db)); /* found block by block */
            AT(db, 8192, "a@1 b@2");
            CLOSE(db);
        }
        CHECK_EQ_INT(t.failed, 1);
        ops_free(&t);
        unlink(name);
    }
}

TEST(only_end_sees_what_others_appended) {
    const char *name = history(0);
    Db *db = OPEN(name, RDONLY_FLAG);
    add_commit(name, "d");
    AT(db, 12288, "a@1 b@2 c@3");
    CHECK_CODE(couchstore_seek(db, FORWARD), COUCHSTORE_ERROR_NO_HEADER);
    CHECK_CODE(couchstore_seek_offset(db, 16384), COUCHSTORE_ERROR_NO_HEADER);
    CHECK_OK(couchstore_seek(db, BACKWARD));
    CHECK_OK(couchstore_seek(db, FORWARD));
    AT(db, 12288, "a@1 b@2 c@3");
    CHECK_OK(couchstore_seek(db, END));
    AT(db, 16384, "a@1 b@2 c@3 d@4");
    add_commit(name, "e");
    CHECK_CODE(couchstore_seek(db, FORWARD), COUCHSTORE_ERROR_NO_HEADER);
    CHECK_OK(couchstore_seek(db, END));
    AT(db, 20480, "a@1 b@2 c@3 d@4 e@5");
    CLOSE(db);
}

TEST(forward_sees_the_handles_own_commits) {
    Db *db = OPEN(history(0), 0);
    CHECK_OK(put(db, "d", "x"));
    CHECK_OK(commit(db, 40));
    CHECK_OK(couchstore_seek_offset(db, 4096));
    for (uint64_t at = 8192; at <= 16384; at += 4096) {
        CHECK_OK(couchstore_seek(db, FORWARD));
        CHECK_EQ_INT(couchstore_get_header_position(db), at);
    }
    CHECK_CODE(couchstore_seek(db, FORWARD), COUCHSTORE_ERROR_NO_HEADER);
    CLOSE(db);
}

TEST(end_does_not_skip_a_damaged_header) {
    const char *name = history(0);
    Db *db = OPEN(name, RDONLY_FLAG);
    add_commit(name, "d");
    file_flip(name, 16384 + 30, 1);
    CHECK_CODE(couchstore_seek(db, END), COUCHSTORE_ERROR_CHECKSUM_FAIL);
    AT(db, 12288, "a@1 b@2 c@3");
    CHECK_CODE(couchstore_seek(db, FORWARD),
               COUCHSTORE_ERROR_NO_HEADER); /* the old file size is back */
    CHECK_CODE(couchstore_seek_offset(db, 16384), COUCHSTORE_ERROR_NO_HEADER);
    file_flip(name, 16384 + 30, 1);
    CHECK_OK(couchstore_seek(db, END));
    AT(db, 16384, "a@1 b@2 c@3 d@4");
    CLOSE(db);
}

TEST(damaged_header_in_the_middle) {
    const char *name = history(0);
    Db *db;
    file_flip(name, 8192 + 30, 1);
    db = OPEN(name, RDONLY_FLAG);
    for (int i = 0; i < 2; ++i) {
        CHECK_CODE(couchstore_seek(db, BACKWARD), COUCHSTORE_ERROR_CHECKSUM_FAIL); /* each time */
        AT(db, 12288, "a@1 b@2 c@3");
    }
    CHECK_CODE(couchstore_seek_offset(db, 8192), COUCHSTORE_ERROR_CHECKSUM_FAIL);
    AT(db, 12288, "a@1 b@2 c@3");
    CHECK_OK(couchstore_seek_offset(db, 4096));
    for (int i = 0; i < 2; ++i) {
        CHECK_CODE(couchstore_seek(db, FORWARD), COUCHSTORE_ERROR_CHECKSUM_FAIL);
        AT(db, 4096, "a@1");
    }
    CHECK_OK(couchstore_seek(db, END));
    CHECK_CODE(couchstore_rewind_db_header(db), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
}

TEST(history_branches) {
    const char *name = history(0);
    couchstore_header_info info;
    Db *db = OPEN(name, 0);
    CHECK_OK(couchstore_rewind_db_header(db));
    CHECK_OK(couchstore_rewind_db_header(db));
    AT(db, 4096, "a@1");
    CHECK_OK(put(db, "x", "branch"));
    CHECK_OK(commit(db, 50));
    AT(db, 16384, "a@1 x@2"); /* appended behind everything */
    CHECK_OK(couchstore_get_header(db, &info));
    CHECK_EQ_INT(info.previous_header_position, 4096);
    CLOSE(db);
    db = OPEN(name, RDONLY_FLAG);
    AT(db, 16384, "a@1 x@2");
    CHECK_OK(couchstore_seek(db, BACKWARD)); /* the pointer skips the abandoned headers */
    AT(db, 4096, "a@1");
    CHECK_OK(couchstore_seek(db, FORWARD)); /* stepping block by block visits them */
    AT(db, 8192, "a@1 b@2");
    CHECK_OK(couchstore_seek(db, FORWARD));
    AT(db, 12288, "a@1 b@2 c@3");
    CHECK_OK(couchstore_seek(db, FORWARD));
    AT(db, 16384, "a@1 x@2");
    CLOSE(db);
}

TEST(history_branches_without_pointers) {
    const char *name = history(COUCHSTORE_OPEN_WITH_LEGACY_CRC);
    Db *db = OPEN(name, 0);
    CHECK_OK(couchstore_seek_offset(db, 4096));
    CHECK_OK(put(db, "x", "branch"));
    CHECK_OK(commit(db, 50));
    AT(db, 16384, "a@1 x@2");
    CHECK_OK(couchstore_seek(db, BACKWARD)); /* block by block */
    AT(db, 12288, "a@1 b@2 c@3");
    CLOSE(db);
}

TEST(wrong_pointer_falls_back_to_the_block_search) {
    const char *name = history(0);
    struct bytes file = file_read(name);
    Db *db;
    uint32_t crc;
    memcpy(file.data + 12288 + 9 + 33, "\0\0\0\x50\0\0", 6); /* beyond the file */
    crc = crc32c(file.data + 12288 + 9, file.size - 12288 - 9);
    for (int i = 0; i < 4; ++i) {
        file.data[12288 + 5 + i] = (unsigned char)(crc >> (24 - 8 * i));
    }
    file_write(name, file.data, file.size);
    bytes_free(&file);
    db = OPEN(name, RDONLY_FLAG);
    CHECK_OK(couchstore_seek(db, BACKWARD));
    AT(db, 8192, "a@1 b@2");
    CLOSE(db);
}

TEST(rewound_handle_saves_on_top_of_the_old_state) {
    const char *name = history(0);
    Db *db = OPEN(name, 0);
    CHECK_OK(couchstore_seek_offset(db, 0));
    AT(db, 0, "");
    CHECK_OK(put(db, "fresh", "start"));
    CHECK_OK(commit(db, 60));
    CLOSE(db);
    db = OPEN(name, RDONLY_FLAG);
    AT(db, 16384, "fresh@1");
    CHECK_STR(body_of(db, "fresh"), "start");
    CHECK_OK(couchstore_seek(db, BACKWARD));
    AT(db, 0, "");
    CLOSE(db);
}

TEST(seek_before_the_first_commit_of_a_target) {
    const char *name = path("target.couch");
    Db *db = OPEN(name, COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_FLAG_NO_COMMIT_AT_CREATE);
    DocInfo *info = NULL;
    CHECK_OK(put(db, "a", "1"));
    CHECK_CODE(couchstore_seek(db, END),
               COUCHSTORE_ERROR_DB_NO_LONGER_VALID); /* there is nothing to go back to */
    CHECK_CODE(couchstore_docinfo_by_id(db, "a", 1, &info), COUCHSTORE_ERROR_FILE_CLOSED);
    CLOSE(db);
}

TEST(reload_that_fails_closes_the_file) {
    const char *name = history(0);
    DocInfo *info = NULL;
    Db *db = OPEN(name, RDONLY_FLAG | COUCHSTORE_OPEN_FLAG_UNBUFFERED);
    file_truncate(name, 100);
    CHECK_CODE(couchstore_seek_offset(db, 4096), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    CHECK_CODE(couchstore_docinfo_by_id(db, "a", 1, &info), COUCHSTORE_ERROR_FILE_CLOSED);
    CHECK_CODE(couchstore_seek(db, END), COUCHSTORE_ERROR_FILE_CLOSED);
    CHECK_CODE(couchstore_seek_offset(db, 0), COUCHSTORE_ERROR_FILE_CLOSED);
    CLOSE(db);
}

TEST(nothing_read_past_the_old_end_is_served) {
    /* A reader looks at the last, partial block; a writer then fills that block up. */
    const char *name = path("a.couch");
    Db *writer = CREATE(name);
    Db *reader;
    CHECK_OK(put(writer, "a", "1"));
    CHECK_OK(commit(writer, 1));
    reader = OPEN(name, RDONLY_FLAG);
    CHECK_STR(body_of(reader, "a"), "1");
    for (int i = 0; i < 20; ++i) {
        char body[20];
        snprintf(body, sizeof(body), "body %d", i);
        CHECK_OK(put(writer, "b", body));
        CHECK_OK(commit(writer, 2));
        CHECK_OK(couchstore_seek(reader, END));
        CHECK_STR(body_of(reader, "b"), body);
        CHECK_EQ_INT(couchstore_get_header_position(reader),
                     couchstore_get_header_position(writer));
    }
    CLOSE(reader);
    CLOSE(writer);
}
