/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Error texts, and what every function says to a NULL handle, a closed handle and NULL arguments.
 */
#include "testlib.h"

#include <pthread.h>

TEST(strerror_texts) {
    static const struct {
        int code;
        const char *text;
    } table[] = {
            {0, "success"},
            {-1, "error opening file"},
            {-2, "malformed data in file"},
            {-3, "failed to allocate buffer"},
            {-4, "error reading file"},
            {-5, "document not found"},
            {-6, "no header in non-empty file"},
            {-7, "error writing to file"},
            {-8, "incorrect version in header"},
            {-9, "checksum fail"},
            {-10, "invalid arguments"},
            {-11, "no such file"},
            {-12, "error cancel"},
            {-13, "reduction too large"},
            {-14, "reducer failure"},
            {-15, "cannot do this operation when file is closed"},
            {-16, "this db handle could have its file reopened and must be closed"},
            {-17, "error closing file"},
            {-18, "not supported"},
            {-19, "scan yield"},
            {-20, "scan cancelled"},
            {-21, "encryption key not found"},
            {-22, "encryption failed"},
            {-23, "decryption failed"},
            {-100, "internal error"},
            {-24, "couchstore_strerror unknown errcode"},
            {-99, "couchstore_strerror unknown errcode"},
            {-101, "couchstore_strerror unknown errcode"},
            {1, "couchstore_strerror unknown errcode"},
            {2147483647, "couchstore_strerror unknown errcode"},
            {-2147483647 - 1, "couchstore_strerror unknown errcode"},
    };
    for (size_t i = 0; i < COUNT_OF(table); ++i) {
        CHECK_STR(couchstore_strerror((couchstore_error_t)table[i].code), table[i].text);
    }
}

/* ---- one call of every function that takes a handle ---- */

static Doc *doc_out;
static DocInfo *info_out;
static LocalDoc *local_out;
static uint64_t count_out;
static DbInfo db_info_out;
static couchstore_header_info header_out;
static couchstore_file_stats stats_out;
static char text_out[300];
static char id_a[] = "a";
static DocInfo info_a = {.id = {id_a, 1}};
static Doc doc_a = {{id_a, 1}, {id_a, 1}};
static LocalDoc local_a = {{id_a, 1}, {id_a, 1}, 0};
static Db *other; /* an open database */

#define CALL(name, ...)                             \
    static couchstore_error_t call_##name(Db *db) { \
        return __VA_ARGS__;                         \
    }
CALL(seek_offset, couchstore_seek_offset(db, 0))
CALL(seek_offset_unaligned, couchstore_seek_offset(db, 7))
CALL(seek_forward, couchstore_seek(db, COUCHSTORE_SEEK_FORWARD))
CALL(seek_backward, couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD))
CALL(seek_end, couchstore_seek(db, COUCHSTORE_SEEK_END))
CALL(seek_nowhere, couchstore_seek(db, 99))
CALL(seek_first, couchstore_seek_first_header_containing(db, 1, 1))
CALL(seek_first_zero, couchstore_seek_first_header_containing(db, 1, 0))
CALL(save_document, couchstore_save_document(db, &doc_a, &info_a, 0))
CALL(save_documents, couchstore_save_documents(db, (Doc *[]){&doc_a}, (DocInfo *[]){&info_a}, 1, 0))
CALL(save_documents_none, couchstore_save_documents(db, NULL, NULL, 0, 0))
CALL(save_and_callback,
     couchstore_save_documents_and_callback(db,
                                            (const Doc *[]){&doc_a},
                                            (DocInfo *[]){&info_a},
                                            NULL,
                                            1,
                                            0,
                                            NULL,
                                            NULL))
CALL(commit, couchstore_commit(db))
CALL(commit_ex, couchstore_commit_ex(db, 1, NULL, NULL))
CALL(docinfo_by_id, couchstore_docinfo_by_id(db, "a", 1, &info_out))
CALL(docinfo_by_id_no_out, couchstore_docinfo_by_id(db, "a", 1, NULL))
CALL(docinfo_by_sequence, couchstore_docinfo_by_sequence(db, 1, &info_out))
CALL(open_document, couchstore_open_document(db, "a", 1, &doc_out, 0))
CALL(open_document_no_out, couchstore_open_document(db, "a", 1, NULL, 0))
CALL(open_doc_with_docinfo, couchstore_open_doc_with_docinfo(db, &info_a, &doc_out, 0))
CALL(changes_since, couchstore_changes_since(db, 0, 0, ignore_doc, NULL))
CALL(all_docs, couchstore_all_docs(db, NULL, 0, ignore_doc, NULL))
CALL(docinfos_by_sequence,
     couchstore_docinfos_by_sequence(db, (uint64_t[]){1}, 1, 0, ignore_doc, NULL))
CALL(docinfos_by_sequence_none, couchstore_docinfos_by_sequence(db, NULL, 0, 0, ignore_doc, NULL))
CALL(docinfos_by_id,
     couchstore_docinfos_by_id(db, (sized_buf[]){{id_a, 1}}, 1, 0, ignore_doc, NULL))
CALL(changes_count, couchstore_changes_count(db, 0, 9, &count_out))
CALL(changes_count_no_out, couchstore_changes_count(db, 0, 9, NULL))
CALL(walk_id_tree, couchstore_walk_id_tree(db, NULL, 0, ignore_node, NULL))
CALL(walk_seq_tree, couchstore_walk_seq_tree(db, 0, 0, ignore_node, NULL))
CALL(walk_local_tree, couchstore_walk_local_tree(db, NULL, 0, ignore_node, NULL))
CALL(open_local_document, couchstore_open_local_document(db, "a", 1, &local_out))
CALL(save_local_document, couchstore_save_local_document(db, &local_a))
CALL(save_local_documents, couchstore_save_local_documents(db, (LocalDoc *[]){&local_a}, 1))
CALL(save_local_documents_none, couchstore_save_local_documents(db, NULL, 0))
CALL(scan_local_docs, couchstore_scan_local_docs(db, NULL, ignore_local, NULL))
CALL(compact_db, couchstore_compact_db(db, path("target.couch")))
CALL(compact_db_ex, couchstore_compact_db_ex(db, path("target.couch"), 0, NULL, NULL, NULL, NULL))
CALL(compact_db_ex_no_name, couchstore_compact_db_ex(db, NULL, 0, NULL, NULL, NULL, NULL))
CALL(replay_no_target, couchstore_replay(db, NULL, 0, NULL, NULL, NULL, 0))
CALL(replay_from, couchstore_replay(db, other, 0, NULL, NULL, NULL, 0))
CALL(replay_to, couchstore_replay(other, db, 0, NULL, NULL, NULL, 0))
CALL(db_info, couchstore_db_info(db, &db_info_out))
CALL(get_header, couchstore_get_header(db, &header_out))
CALL(filestats, couchstore_get_db_filestats(db, &stats_out))
CALL(filestats_no_out, couchstore_get_db_filestats(db, NULL))
CALL(last_os_error, couchstore_last_os_error(db, text_out, sizeof(text_out)))
CALL(last_internal_error, couchstore_last_internal_error(db, text_out, sizeof(text_out)))
CALL(set_purge_seq, couchstore_set_purge_seq(db, 1))
CALL(close_file, couchstore_close_file(db))
CALL(drop_file, couchstore_drop_file(db))
CALL(close_db, couchstore_close_db(db))
CALL(rewind, couchstore_rewind_db_header(db))
CALL(fastforward, couchstore_fastforward_db_header(db))
CALL(reopen_file, couchstore_reopen_file(db, path("closed.couch"), 0))

enum { CLOSED = COUCHSTORE_ERROR_FILE_CLOSED, FREES = 1, EITHER = 2, ANSWERS = 3 };
static const struct {
    const char *name;
    couchstore_error_t (*call)(Db *);
    int on_closed; /* FREES: not tried on a closed handle here. EITHER: FILE_CLOSED or an outcome of its own.
                      ANSWERS: tells of failures with any handle and none */
} calls[] = {
#define ROW(name, on_closed) \
    { #name, call_##name, on_closed }
        ROW(seek_offset, CLOSED),
        ROW(seek_offset_unaligned, CLOSED),
        ROW(seek_forward, CLOSED),
        ROW(seek_backward, CLOSED),
        ROW(seek_end, CLOSED),
        ROW(seek_nowhere, CLOSED),
        ROW(seek_first, CLOSED),
        ROW(seek_first_zero, CLOSED),
        ROW(save_document, CLOSED),
        ROW(save_documents, CLOSED),
        ROW(save_documents_none, CLOSED),
        ROW(save_and_callback, CLOSED),
        ROW(commit, CLOSED),
        ROW(commit_ex, CLOSED),
        ROW(docinfo_by_id, CLOSED),
        ROW(docinfo_by_id_no_out, CLOSED),
        ROW(docinfo_by_sequence, CLOSED),
        ROW(open_document, CLOSED),
        ROW(open_document_no_out, CLOSED),
        ROW(open_doc_with_docinfo, CLOSED),
        ROW(changes_since, CLOSED),
        ROW(all_docs, CLOSED),
        ROW(docinfos_by_sequence, CLOSED),
        ROW(docinfos_by_sequence_none, CLOSED),
        ROW(docinfos_by_id, CLOSED),
        ROW(changes_count, CLOSED),
        ROW(changes_count_no_out, CLOSED),
        ROW(walk_id_tree, CLOSED),
        ROW(walk_seq_tree, CLOSED),
        ROW(walk_local_tree, CLOSED),
        ROW(open_local_document, CLOSED),
        ROW(save_local_document, CLOSED),
        ROW(save_local_documents, CLOSED),
        ROW(save_local_documents_none, CLOSED),
        ROW(scan_local_docs, CLOSED),
        ROW(compact_db, CLOSED),
        ROW(compact_db_ex, CLOSED),
        ROW(compact_db_ex_no_name, CLOSED),
        ROW(replay_no_target, CLOSED),
        ROW(filestats_no_out, CLOSED),
        ROW(replay_from, CLOSED),
        ROW(replay_to, CLOSED),
        ROW(db_info, 0),
        ROW(get_header, 0),
        ROW(filestats, EITHER),
        ROW(last_os_error, ANSWERS),
        ROW(last_internal_error, ANSWERS),
        ROW(set_purge_seq, EITHER),
        ROW(close_file, 0),
        ROW(drop_file, 0),
        ROW(close_db, FREES),
        ROW(rewind, FREES),
        ROW(fastforward, FREES),
        ROW(reopen_file, FREES),
};

TEST(null_handle) {
    other = CREATE(path("other.couch"));
    for (size_t i = 0; i < COUNT_OF(calls); ++i) {
        test_equal_code(__FILE__, __LINE__, calls[i].name, calls[i].call(NULL),
                        calls[i].on_closed == ANSWERS ? COUCHSTORE_SUCCESS
                                                      : COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    }
    CHECK_OK(couchstore_free_db(NULL));
    (void)couchstore_get_db_filename(NULL); /* these two have no error code: they must not crash */
    (void)couchstore_get_header_position(NULL);
    CLOSE(other);
    CHECK_EQ_INT(dir_entries(path(".")), 1);
}

TEST(closed_handle) {
    Db *db = CREATE(path("closed.couch"));
    other = CREATE(path("other.couch"));
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 1));
    CHECK_OK(couchstore_close_file(db));
    for (size_t i = 0; i < COUNT_OF(calls); ++i) {
        couchstore_error_t code;
        if (calls[i].on_closed == FREES) {
            continue;
        }
        code = calls[i].call(db);
        if (calls[i].on_closed != EITHER) {
            test_equal_code(__FILE__, __LINE__, calls[i].name, code,
                            calls[i].on_closed == ANSWERS ? 0 : calls[i].on_closed);
        }
    }
    CHECK_EQ_INT(couchstore_get_header_position(db), 4096);
    CHECK_OK(couchstore_free_db(db));
    CLOSE(other);
    CHECK_EQ_INT(dir_entries(path(".")), 2); /* no target was left behind */
}

/* No memory is as large as this, whatever the pointer says. */
TEST(sizes_beyond_all_memory) {
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX / 2 + 1};
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(put(db, "a", "1"));
    for (size_t i = 0; i < COUNT_OF(sizes); ++i) {
        const size_t size = sizes[i];
        sized_buf buf = {id_a, size};
        Doc body = doc_a;
        DocInfo id = info_a, rev_meta = info_a;
        LocalDoc local_id = local_a, local_body = local_a;
        id.id = body.data = rev_meta.rev_meta = local_id.id = local_body.json = buf;
        const couchstore_error_t codes[] = {
                couchstore_docinfo_by_id(db, id_a, size, &info_out),
                couchstore_open_document(db, id_a, size, &doc_out, 0),
                couchstore_open_local_document(db, id_a, size, &local_out),
                couchstore_all_docs(db, &buf, 0, ignore_doc, NULL),
                couchstore_scan_local_docs(db, &buf, ignore_local, NULL),
                couchstore_walk_id_tree(db, &buf, 0, ignore_node, NULL),
                couchstore_walk_local_tree(db, &buf, 0, ignore_node, NULL),
                couchstore_docinfos_by_id(db, &buf, 1, 0, ignore_doc, NULL),
                couchstore_save_document(db, &doc_a, &id, 0),
                couchstore_save_document(db, &body, &info_a, 0),
                couchstore_save_document(db, &doc_a, &rev_meta, 0),
                couchstore_save_local_document(db, &local_id),
                couchstore_save_local_document(db, &local_body),
        };
        for (size_t call = 0; call < COUNT_OF(codes); ++call) {
            CHECK_EQ_INT(codes[call], COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        }
    }
    CHECK_STR(docs_by_id(db), "a@1");
    CLOSE(db);
}

TEST(closed_handle_that_is_rewound) {
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(couchstore_close_file(db));
    /* any failure of these two frees the handle */
    CHECK_CODE(couchstore_rewind_db_header(db), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    db = CREATE(path("a.couch"));
    CHECK_OK(couchstore_close_file(db));
    CHECK_CODE(couchstore_fastforward_db_header(db), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
}

TEST(closed_handle_that_is_reopened) {
    Db *db = CREATE(path("closed.couch"));
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 1));
    CHECK_OK(couchstore_drop_file(db));
    CHECK_OK(call_reopen_file(db));
    CHECK_STR(docs_by_id(db), "a@1");
    CHECK_OK(couchstore_reopen_file(db, couchstore_get_db_filename(db),
                                    0)); /* the text belongs to the handle */
    CHECK_STR(couchstore_get_db_filename(db), path("closed.couch"));
    CHECK_STR(docs_by_id(db), "a@1");
    CHECK_CODE(couchstore_reopen_file(db, NULL, 0), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_OK(couchstore_close_db(db));
}

TEST(errno_of_a_failed_reopen) {
    Db *db = CREATE(path("a.couch"));
    couchstore_error_t code;
    int error;
    errno = 0;
    code = couchstore_reopen_file(db, path("missing.couch"), 0);
    error = errno;
    CHECK_CODE(code, COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    CHECK_EQ_INT(error, ENOENT);
    CHECK_CODE(couchstore_commit(db), COUCHSTORE_ERROR_FILE_CLOSED);
    CLOSE(db);
}

TEST(null_arguments) {
    Db *db = CREATE(path("a.couch"));
    Doc *docs[] = {&doc_a};
    DocInfo *infos[] = {&info_a, NULL};
    LocalDoc *locals[] = {&local_a, NULL};
    LocalDoc no_id = {.json = buf("x")};
    DocInfo no_id_info = {.id = {NULL, 3}};
    other = CREATE(path("other.couch"));
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(put_local(db, "a", "1"));
    CHECK_OK(commit(db, 1));
#define REFUSED(...) CHECK_CODE(__VA_ARGS__, COUCHSTORE_ERROR_INVALID_ARGUMENTS)
    REFUSED(couchstore_db_info(db, NULL));
    REFUSED(couchstore_get_header(db, NULL));
    REFUSED(couchstore_get_db_filestats(db, NULL));
    REFUSED(couchstore_save_document(db, &doc_a, NULL, 0));
    REFUSED(couchstore_save_documents(db, docs, NULL, 1, 0));
    REFUSED(couchstore_save_documents(db, NULL, infos, 2, 0));     /* an element is NULL */
    REFUSED(couchstore_save_document(db, &doc_a, &no_id_info, 0)); /* 3 bytes at NULL */
    REFUSED(couchstore_save_documents_and_callback(db, NULL, NULL, NULL, 1, 0, NULL, NULL));
    REFUSED(couchstore_docinfo_by_id(db, "a", 1, NULL));
    REFUSED(couchstore_docinfo_by_id(db, NULL, 1, &info_out));
    REFUSED(couchstore_docinfo_by_sequence(db, 1, NULL));
    REFUSED(couchstore_open_document(db, "a", 1, NULL, 0));
    REFUSED(couchstore_open_document(db, NULL, 1, &doc_out, 0));
    REFUSED(couchstore_open_doc_with_docinfo(db, NULL, &doc_out, 0));
    REFUSED(couchstore_open_doc_with_docinfo(db, &info_a, NULL, 0));
    REFUSED(couchstore_changes_since(db, 0, 0, NULL, NULL));
    REFUSED(couchstore_all_docs(db, NULL, 0, NULL, NULL));
    REFUSED(couchstore_docinfos_by_sequence(db, NULL, 1, 0, ignore_doc, NULL));
    REFUSED(couchstore_docinfos_by_sequence(db, (uint64_t[]){1}, 1, 0, NULL, NULL));
    REFUSED(couchstore_docinfos_by_id(db, NULL, 1, 0, ignore_doc, NULL));
    REFUSED(couchstore_docinfos_by_id(db, (sized_buf[]){{id_a, 1}}, 1, 0, NULL, NULL));
    REFUSED(couchstore_changes_count(db, 0, 1, NULL));
    REFUSED(couchstore_walk_id_tree(db, NULL, 0, NULL, NULL));
    REFUSED(couchstore_walk_seq_tree(db, 0, 0, NULL, NULL));
    REFUSED(couchstore_walk_local_tree(db, NULL, 0, NULL, NULL));
    REFUSED(couchstore_open_local_document(db, "a", 1, NULL));
    REFUSED(couchstore_open_local_document(db, NULL, 1, &local_out));
    REFUSED(couchstore_save_local_document(db, NULL));
    no_id.id.size = 3;
    REFUSED(couchstore_save_local_document(db, &no_id));
    REFUSED(couchstore_save_local_documents(db, NULL, 1));
    REFUSED(couchstore_save_local_documents(db, locals, 2));
    REFUSED(couchstore_scan_local_docs(db, NULL, NULL, NULL));
    REFUSED(couchstore_compact_db(db, NULL));
    REFUSED(couchstore_compact_db_ex(db, NULL, 0, NULL, NULL, NULL, NULL));
    REFUSED(couchstore_replay(db, NULL, 0, NULL, NULL, NULL, 0));
    REFUSED(couchstore_replay(NULL, db, 0, NULL, NULL, NULL, 0));
    REFUSED(couchstore_last_os_error(db, NULL, 10));
    REFUSED(couchstore_last_internal_error(db, NULL, 10));
    CHECK_STR(docs_by_seq(db), "a@1"); /* nothing happened */
    CHECK_STR(local_docs(db), "a=1");
    CLOSE(db);
    CLOSE(other);
}

TEST(failed_changes_count_sets_zero) {
    Db *db = CREATE(path("a.couch"));
    uint64_t count = 55;
    CHECK_OK(couchstore_changes_count(db, 9, 3, &count));
    CHECK_EQ_INT(count, 0);
    CLOSE(db);
}

/* ---- last errors ---- */

static const char *os_error(const Db *db) {
    static char text[300];
    CHECK_OK(couchstore_last_os_error(db, text, sizeof(text)));
    return text;
}

static const char *internal_error(const Db *db) {
    static char text[300];
    CHECK_OK(couchstore_last_internal_error(db, text, sizeof(text)));
    return text;
}

static bool matches(const char *text, const char *prefix, const char *suffix) {
    size_t n = strlen(text), p = strlen(prefix), s = strlen(suffix);
    if (n < p + s || memcmp(text, prefix, p) != 0 || strcmp(text + n - s, suffix) != 0) {
        printf("text is \"%s\"\n", text);
        return false;
    }
    return true;
}

TEST(last_os_error) {
    struct test_ops t;
    Db *db, *second;
    char small[8] = "XXXXXXX";
    ops_init(&t);
    db = OPEN_OPS(path("a.couch"), COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_FLAG_UNBUFFERED,
                  &t.ops);
    second = OPEN(path("a.couch"), COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_STR(os_error(db), "errno = 0: 'Success'");
    ops_fail(&t, OP_PWRITE, 1, 1, COUCHSTORE_ERROR_WRITE, ENOSPC);
    CHECK_CODE(put(db, "a", "1"), COUCHSTORE_ERROR_WRITE);
    CHECK_STR(os_error(db), "errno = 28: 'No space left on device'");
    CHECK_STR(os_error(second), "errno = 0: 'Success'"); /* each handle has its own */
    CHECK_OK(couchstore_last_os_error(db, small, 7));
    CHECK(strlen(small) < 7 && memcmp(small, "errno = 28", strlen(small)) == 0);
    CHECK(small[7] == '\0' && strlen(small) > 0);
    CHECK_OK(couchstore_close_file(db));
    CHECK_STR(os_error(db), "errno = 28: 'No space left on device'");
    CHECK_OK(couchstore_free_db(db));
    CLOSE(second);
    ops_free(&t);
}

static void *internal_error_of_a_new_thread(void *ctx) {
    return (void *)(intptr_t)(couchstore_last_internal_error(ctx, text_out, sizeof(text_out)) ==
                              COUCHSTORE_SUCCESS);
}

static void check_new_thread_has_none(Db *db) {
    pthread_t thread;
    void *result = NULL;
    CHECK(pthread_create(&thread, NULL, internal_error_of_a_new_thread, db) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result != NULL);
    CHECK_STR(text_out, "''");
}

TEST(last_internal_error_of_a_body) {
    const char *name = path("a.couch");
    Db *db = CREATE(name);
    char small[10];
    CHECK_OK(put(db, "hello", "world"));
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    file_flip(name, 58, 1);
    db = OPEN(name, 0);
    check_new_thread_has_none(db);
    CHECK_STR(body_of(db, "hello"), "error -9");
    CHECK(matches(internal_error(db),
                  "'Couchstore::pread_bin_internal() Checksum fail length:5 crc:", " pos:48'"));
    check_new_thread_has_none(db);
    CHECK_OK(put(db, "other", "x")); /* success does not clear it */
    CHECK(matches(internal_error(db),
                  "'Couchstore::pread_bin_internal() Checksum fail length:5 crc:", " pos:48'"));
    memset(small, 'X', sizeof(small));
    CHECK_OK(couchstore_last_internal_error(db, small, sizeof(small)));
    CHECK(memchr(small, '\0', sizeof(small)) != NULL);
    CLOSE(db);
}

TEST(last_internal_error_of_a_header) {
    const char *name = path("a.couch");
    Db *damaged = NULL;
    Db *db = CREATE(name);
    CHECK_OK(commit(db, 1));
    file_flip(name, 4096 + 20, 1);
    CHECK_CODE(couchstore_open_db(name, 0, &damaged), COUCHSTORE_ERROR_CHECKSUM_FAIL);
    CHECK(matches(internal_error(db),
                  "'Couchstore::pread_bin_internal() Checksum fail length:", " pos:4097'"));
    CLOSE(db);
}

/* A database whose by-id root is the given chunk body; opens it and looks a document up. */
static couchstore_error_t look_up_in(const char *name,
                                     const void *body,
                                     size_t size,
                                     Db **db,
                                     uint64_t *position) {
    struct bytes image = {NULL, 0}, reduce = by_id_reduce(1, 0, 13);
    struct image_header header = {.update_seq = 1};
    *position = image_chunk(&image, body, size);
    header.by_id = tree_root(*position, size + 8, &reduce);
    image_add_header(&image, &header);
    file_write(name, image.data, image.size);
    bytes_free(&image);
    bytes_free(&reduce);
    bytes_free(&header.by_id);
    *db = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    return couchstore_docinfo_by_id(*db, "a", 1, &info_out);
}

TEST(last_internal_error_of_a_node) {
    Db *db;
    uint64_t position;
    char expected[100];
    CHECK_CODE(look_up_in(path("a.couch"), "\x20no snappy", 10, &db, &position),
               COUCHSTORE_ERROR_CORRUPT);
    snprintf(expected, sizeof(expected),
             "'Couchstore::pread_compressed() Invalid compressed buffer length:10 pos:%" PRIu64 "'",
             position);
    CHECK_STR(internal_error(db), expected);
    CLOSE(db);
    CHECK_CODE(look_up_in(path("b.couch"), "\0", 1, &db, &position),
               COUCHSTORE_ERROR_CORRUPT); /* a node of 0 bytes */
    CHECK(matches(internal_error(db), "'btree_lookup_inner: (nodebuflen > 0) check failed on line ",
                  "'"));
    CLOSE(db);
}

/* ---- errno after a call that frees the handle ---- */

static void (*plain_close)(couchstore_error_info_t *errinfo, couch_file_handle handle);

static void close_that_clears_errno(couchstore_error_info_t *errinfo, couch_file_handle handle) {
    plain_close(errinfo, handle);
    errno = 0;
}

/* Nothing else can be asked for the reason then. */
TEST(errno_of_a_failed_rewind) {
    const char *name = path("a.couch");
    couchstore_error_t (*const moves[])(Db *) = {couchstore_rewind_db_header,
                                                 couchstore_fastforward_db_header};
    for (size_t i = 0; i < COUNT_OF(moves); ++i) {
        struct test_ops t;
        couchstore_error_t code;
        int error;
        Db *db = CREATE(name);
        CHECK_OK(put(db, "a", "1"));
        CHECK_OK(commit(db, 1));
        CHECK_OK(put(db, "a", "2"));
        CHECK_OK(commit(db, 2));
        CLOSE(db);
        ops_init(&t);
        plain_close = t.ops.close;
        t.ops.close = close_that_clears_errno;
        db = OPEN_OPS(name, COUCHSTORE_OPEN_FLAG_RDONLY | COUCHSTORE_OPEN_FLAG_UNBUFFERED, &t.ops);
        CHECK_OK(couchstore_seek_offset(db, 4096));
        ops_fail(&t, OP_PREAD, 1, -1, COUCHSTORE_ERROR_READ, EDQUOT);
        errno = 0;
        code = moves[i](db);
        error = errno;
        CHECK_CODE(code, COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
        CHECK_EQ_INT(error, EDQUOT);
        CHECK_EQ_INT(t.calls[OP_DESTRUCTOR], 1); /* the handle is gone */
        ops_free(&t);
    }
}

/* ---- internal errors for the host ---- */

struct messages {
    int count;
    char last[300];
};

static void on_internal_error(const char *message, size_t size, void *ctx) {
    struct messages *messages = ctx;
    ++messages->count;
    snprintf(messages->last, sizeof(messages->last), "%.*s", (int)size, message);
}

TEST(internal_error_callback) {
    const char *name = path("a.couch");
    struct messages messages = {.count = 0};
    int before;
    Db *db = CREATE(name);
    CHECK_OK(put(db, "hello", "world"));
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    file_flip(name, 58, 1);
    db = OPEN(name, 0);
    couchstore_set_on_internal_error(on_internal_error, &messages);
    CHECK_STR(body_of(db, "hello"), "error -9");
    CHECK(messages.count >= 1);
    CHECK(matches(messages.last,
                  "Couchstore::pread_bin_internal() Checksum fail length:5 crc:", " pos:48"));
    before = messages.count;
    CHECK_OK(put(db, "other", "x"));
    CHECK_STR(body_of(db, "other"), "x");
    CHECK_EQ_INT(messages.count, before); /* nothing to report */
    couchstore_set_on_internal_error(NULL, NULL);
    CHECK_STR(body_of(db, "hello"), "error -9");
    CHECK_EQ_INT(messages.count, before);
    CLOSE(db);
}
