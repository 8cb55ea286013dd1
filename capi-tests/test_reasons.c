/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Why a call failed, as C callers are told it: the last internal error of the thread, the last error of the operating
 * system, and errno. One case for each kind of failure that can be reached from C; most files are made byte by byte.
 */
#include "testlib.h"

#include <pthread.h>
#include <sys/stat.h>

static int told; /* how often the handler of internal errors was called */

static void on_internal_error(const char *message, size_t size, void *ctx) {
    (void)message, (void)size, (void)ctx;
    ++told;
}

static const char *reason(void) {
    static char text[300];
    CHECK_OK(couchstore_last_internal_error(NULL, text, sizeof(text)));
    return text;
}

static const char *os_error(const Db *db) {
    static char text[300];
    CHECK_OK(couchstore_last_os_error(db, text, sizeof(text)));
    return text;
}

/* Makes the thread's texts those of another failure, which no case has. */
static void forget(void) {
    Db *db = NULL;
    told = 0;
    couchstore_set_on_internal_error(on_internal_error, NULL);
    CHECK_CODE(couchstore_open_db("/forgotten", 0, &db), COUCHSTORE_ERROR_NO_SUCH_FILE);
    CHECK(strstr(reason(), "/forgotten") != NULL);
    errno = 0;
}

/* The failed call has left a text with all these parts; `reports`: the handler was told. */
static void check_reason(int line, int reports, const char *const *parts) {
    const char *text = reason();
    for (; *parts != NULL; ++parts) {
        if (strstr(text, *parts) == NULL) {
            test_fail(__FILE__, line, "no \"%s\" in %s", *parts, text);
        }
    }
    if ((told > 0) != reports) {
        test_fail(__FILE__, line, "handler called %d times, %s", told, text);
    }
}

#define REASON(reports, ...) \
    check_reason(__LINE__, (reports), (const char *const[]){__VA_ARGS__, NULL})
/* The text is exactly this one. */
#define REASON_IS(reports, text)           \
    do {                                   \
        CHECK_STR(reason(), text);         \
        CHECK_EQ_INT(told > 0, (reports)); \
    } while (0)

/* errno, the thread's last OS error and that of the handle, if there is one, say the same. */
static void check_os_error(int line, int found, const Db *db, int expected) {
    char text[300];
    snprintf(text, sizeof(text), "errno = %d: '%s'", expected, strerror(expected));
    test_equal_int(__FILE__, line, "errno", found, expected);
    test_equal_str(__FILE__, line, "of the thread", os_error(NULL), text);
    if (db != NULL) {
        test_equal_str(__FILE__, line, "of the handle", os_error(db), text);
    }
}

#define FAILS(call, code)        \
    do {                         \
        forget();                \
        const int got = (call);  \
        found_errno = errno;     \
        CHECK_CODE(got, (code)); \
    } while (0)
#define OS_ERROR(db, expected) check_os_error(__LINE__, found_errno, (db), (expected))

static int found_errno;
static Db *no_db;

static couchstore_error_t open_only(const char *name, couchstore_open_flags flags) {
    const couchstore_error_t code = couchstore_open_db(name, flags, &no_db);
    if (code == COUCHSTORE_SUCCESS) {
        couchstore_close_db(no_db);
    }
    return code;
}

/* ---- opening ---- */

TEST(files_that_cannot_be_opened) {
    FAILS(open_only(path("missing"), 0), COUCHSTORE_ERROR_NO_SUCH_FILE);
    REASON(0, path("missing"), "open failed: No such file or directory");
    OS_ERROR(NULL, ENOENT);
    file_write(path("file"), "x", 1);
    FAILS(open_only(path("file/below"), COUCHSTORE_OPEN_FLAG_CREATE), COUCHSTORE_ERROR_OPEN_FILE);
    REASON(0, path("file/below"), "Not a directory");
    OS_ERROR(NULL, ENOTDIR);
    FAILS(open_only(path("file"), COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_FLAG_EXCL),
          COUCHSTORE_ERROR_OPEN_FILE);
    REASON(0, path("file"), "File exists");
    OS_ERROR(NULL, EEXIST);
}

TEST(flags_and_arguments) {
    FAILS(open_only(path("a"), COUCHSTORE_OPEN_FLAG_RDONLY | COUCHSTORE_OPEN_FLAG_CREATE),
          COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "expected either read-only or create, not both");
    FAILS(open_only(path("a"), COUCHSTORE_OPEN_FLAG_EXCL), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "expected create beside exclusive");
    FAILS(couchstore_open_db(NULL, 0, &no_db), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "expected the name of a file, got NULL");
    FAILS(couchstore_commit(NULL), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "expected a handle, got NULL");
    CLOSE(CREATE(path("new")));
    FAILS(open_only(path("new"), COUCHSTORE_OPEN_WITH_LEGACY_CRC),
          COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "expected a file of version 11");
}

static void write_blocks(const char *name, const char *first_bytes, int filler) {
    struct bytes image = {NULL, 0};
    for (; *first_bytes != '\0'; ++first_bytes) {
        unsigned char block[BLOCK_SIZE];
        memset(block, filler, sizeof(block));
        block[0] = *first_bytes == 'D' ? 0 : *first_bytes == 'H' ? 1 : (unsigned char)*first_bytes;
        bytes_add(&image, block, sizeof(block));
    }
    file_write(name, image.data, image.size);
    bytes_free(&image);
}

TEST(files_that_are_something_else) {
    const char *name = path("text");
    file_write(name, "this is a text\n", 15);
    FAILS(open_only(name, 0), COUCHSTORE_ERROR_CORRUPT);
    REASON_IS(1, "'find_header_at_pos: unknown block type:116 pos:0'");
    write_blocks(name, "\xff\xd8", 0x37); /* a picture */
    FAILS(open_only(name, 0), COUCHSTORE_ERROR_CORRUPT);
    REASON_IS(1, "'find_header_at_pos: unknown block type:216 pos:4096'");
    write_blocks(name, "DH", 0xff);
    FAILS(open_only(name, 0), COUCHSTORE_ERROR_CORRUPT);
    REASON_IS(1,
              "'Couchstore::pread_bin_internal() Invalid header length:2147483647 "
              "max_header_size:1024 pos:4097'");
    write_blocks(name, "DH", 0);
    FAILS(open_only(name, 0), COUCHSTORE_ERROR_CORRUPT);
    REASON_IS(1,
              "'Couchstore::pread_bin_internal() Invalid header length:0 max_header_size:1024 "
              "pos:4097'");
    write_blocks(name, "DDD", 0);
    FAILS(open_only(name, 0), COUCHSTORE_ERROR_NO_HEADER);
    REASON(0, name, "not a couchstore file", "12288 bytes", "expected one at a multiple of 4096");
    /* What looks like a header at the very beginning is told, too. */
    write_blocks(name, "HD", 7);
    FAILS(open_only(name, 0), COUCHSTORE_ERROR_NO_HEADER);
    REASON_IS(1,
              "'Couchstore::pread_bin_internal() Invalid header length:117901063 "
              "max_header_size:1024 pos:1'");
    file_write(name, "", 0);
    FAILS(open_only(name, COUCHSTORE_OPEN_FLAG_RDONLY), COUCHSTORE_ERROR_NO_HEADER);
    REASON(0, name, "the file is empty");
}

TEST(damaged_headers) {
    const char *name = path("a");
    struct bytes image = {NULL, 0};
    struct image_header header = {.version = 15};
    image_chunk(&image, "x", 1);
    uint64_t position = image_add_header(&image, &header);
    char text[100];
    file_write(name, image.data, image.size);
    FAILS(open_only(name, 0), COUCHSTORE_ERROR_HEADER_VERSION);
    snprintf(text, sizeof(text), "header at offset %" PRIu64 " has version 15, expected 11 to 14",
             position);
    REASON(0, name, text);
    file_flip(name, (int64_t)image.size - 1, 1);
    FAILS(open_only(name, 0), COUCHSTORE_ERROR_CHECKSUM_FAIL);
    snprintf(text, sizeof(text), " pos:%" PRIu64 "'", position + 1);
    REASON(1, "'Couchstore::pread_bin_internal() Checksum fail length:", text);
    bytes_free(&image);
}

/* ---- keys ---- */

#if HAS_ENCRYPTION

struct keys {
    const char *id, *secret;
    int result;
};

static int find_key(void *ctx, const char *id, size_t size, couchstore_encryption_key *key) {
    const struct keys *keys = ctx;
    (void)id, (void)size;
    key->id = buf(keys->id);
    key->key = buf(keys->secret);
    key->derivation = 0;
    return keys->result;
}

TEST(encrypted_files) {
    const char *name = path("secret");
    struct keys keys = {"mine", "01234567890123456789012345678901", 1};
    struct keys short_key = {"mine", "0123", 1}, none = {"", "", 0}, broken = {"", "", -1};
    struct keys wrong = {"mine", "abcdefghijklmnopqrstuvwxyz012345", 1};
    FAILS(couchstore_open_db_with_key(name, COUCHSTORE_OPEN_FLAG_CREATE, NULL, find_key, &broken,
                                      &no_db),
          COUCHSTORE_ERROR_ENCRYPT);
    REASON(0, name, "encryption failed: the key store failed");
    FAILS(couchstore_open_db_with_key(name, COUCHSTORE_OPEN_FLAG_CREATE, NULL, find_key, &short_key,
                                      &no_db),
          COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "expected a key of 32 bytes");
    CHECK_OK(couchstore_open_db_with_key(name, COUCHSTORE_OPEN_FLAG_CREATE, NULL, find_key, &keys,
                                         &no_db));
    CHECK_OK(put(no_db, "a", "1"));
    CHECK_OK(commit(no_db, 1));
    CLOSE(no_db);
    FAILS(open_only(name, 0), COUCHSTORE_ERROR_NO_ENCRYPTION_KEY);
    REASON_IS(1,
              "'Couchstore::read_and_set_encryption_key() Encrypted file but no encryption key "
              "callback provided'");
    FAILS(couchstore_open_db_with_key(name, 0, NULL, find_key, &none, &no_db),
          COUCHSTORE_ERROR_NO_ENCRYPTION_KEY);
    REASON(0, name, "expected the key \"mine\", the key store has none of this id");
    FAILS(couchstore_open_db_with_key(name, 0, NULL, find_key, &broken, &no_db),
          COUCHSTORE_ERROR_NO_ENCRYPTION_KEY);
    REASON(0, name, "expected the key \"mine\", the key store failed");
    FAILS(couchstore_open_db_with_key(name, 0, NULL, find_key, &wrong, &no_db),
          COUCHSTORE_ERROR_DECRYPT);
    REASON(0, name, "the key \"mine\" does not fit");
}

#endif

/* ---- documents ---- */

TEST(damaged_documents) {
    const char *name = path("a");
    Db *db = CREATE(name);
    DocInfo far = {.bp = 1 << 20};
    Doc *doc;
    CHECK_OK(put(db, "hello", "world"));
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    file_flip(name, 58, 1);
    db = OPEN(name, 0);
    FAILS(couchstore_open_document(db, "hello", 5, &doc, 0), COUCHSTORE_ERROR_CHECKSUM_FAIL);
    REASON(1, "'Couchstore::pread_bin_internal() Checksum fail length:5 crc:", " pos:48'");
    FAILS(couchstore_open_doc_with_docinfo(db, &far, &doc, 0), COUCHSTORE_ERROR_READ);
    REASON(0, name, "expected 8 bytes at offset 1048576, the file ends before");
    far.bp = 20;
    FAILS(couchstore_open_doc_with_docinfo(db, &far, &doc, 0), COUCHSTORE_ERROR_CORRUPT);
    REASON(0, name,
           "malformed data at offset 20: expected a chunk whose length has its top bit set");
    far.bp = 48;
    far.content_meta = COUCH_DOC_IS_COMPRESSED;
    file_flip(name, 58, 1);
    CLOSE(db);
    db = OPEN(name, 0);
    FAILS(couchstore_open_doc_with_docinfo(db, &far, &doc, DECOMPRESS_DOC_BODIES),
          COUCHSTORE_ERROR_CORRUPT);
    REASON_IS(1, "'Couchstore::pread_compressed() Invalid compressed buffer length:5 pos:48'");
    CLOSE(db);
}

TEST(documents_of_a_batch) {
    Db *db = CREATE(path("a"));
    char *const long_id = malloc(5000);
    memset(long_id, 'i', 5000);
    DocInfo fine = {.id = buf("fine")}, refused = {.id = {long_id, 5000}},
            null_id = {.id = {NULL, 3}};
    DocInfo *infos[] = {&fine, &fine, &refused, &fine};
    LocalDoc local = {.id = buf("x"), .json = buf("1")}, too_long = {.id = {long_id, 4096}};
    LocalDoc *locals[] = {&local, &too_long, &local};
    FAILS(couchstore_save_documents(db, NULL, infos, 4, 0), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "document 2 of the batch", "expected an id of at most 4095 bytes, got 5000");
    infos[2] = &null_id;
    FAILS(couchstore_save_documents(db, NULL, infos, 4, 0), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "document 2 of the batch", "got NULL");
    infos[2] = &fine;
    infos[3] = NULL;
    FAILS(couchstore_save_documents(db, NULL, infos, 4, 0), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "document 3 of the batch", "got NULL");
    FAILS(couchstore_save_local_documents(db, locals, 3), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "document 1 of the batch", "expected an id of at most 4095 bytes, got 4096");
    locals[1] = NULL;
    FAILS(couchstore_save_local_documents(db, locals, 3), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "document 1 of the batch", "got NULL");
    CHECK_STR(docs_by_id(db), "");
    CLOSE(db);
    free(long_id);
}

/* ---- handles ---- */

TEST(handles_that_do_not_do_it) {
    const char *name = path("a");
    Db *db = CREATE(name);
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    db = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    FAILS(put(db, "a", "1"), COUCHSTORE_ERROR_WRITE);
    REASON(0, name, "opened read-only");
    OS_ERROR(db, EBADF);
    FAILS(couchstore_seek_offset(db, 1), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "expected an offset that is a multiple of 4096");
    FAILS(couchstore_seek_offset(db, 8192), COUCHSTORE_ERROR_NO_HEADER);
    REASON(0, name, "no header at offset 8192, expected one");
    FAILS(couchstore_seek_offset(db, -4096), COUCHSTORE_ERROR_NO_HEADER);
    REASON(0, name, "no header at offset -4096, expected one");
    FAILS(couchstore_seek(db, 0), COUCHSTORE_ERROR_NO_HEADER);
    REASON(0, name, "no header at or above offset 8192, expected one");
    FAILS(couchstore_seek(db, 7), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "expected the direction 0, 1 or 2");
    FAILS(couchstore_free_db(db), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "expected a handle that couchstore_close_file() has closed");
    CHECK_OK(couchstore_close_file(db));
    FAILS(couchstore_commit(db), COUCHSTORE_ERROR_FILE_CLOSED);
    REASON(0, "the handle's file is closed");
    FAILS(couchstore_reopen_file(db, path("missing"), 0), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    REASON(0, path("missing"), "no longer valid", "No such file or directory");
    OS_ERROR(db, ENOENT);
    CLOSE(CREATE(path("other")));
    FAILS(couchstore_reopen_file(db, path("other"), 0), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    REASON(0, path("other"), "no longer valid", "no header at offset 4096, expected one");
    CHECK_OK(couchstore_free_db(db));
}

TEST(moves_that_free_the_handle) {
    const char *name = path("a");
    Db *db = CREATE(name);
    CHECK_OK(commit(db, 1));
    FAILS(couchstore_fastforward_db_header(db), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    REASON(0, name, "no longer valid", "no header at or above offset 8192, expected one");
    db = OPEN(name, 0);
    file_flip(name, 20, 1);
    FAILS(couchstore_rewind_db_header(db), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    REASON(1, "'Couchstore::pread_bin_internal() Checksum fail length:", " pos:1'");
}

/* ---- file operations ---- */

TEST(calls_that_fail) {
    const char *name = path("a");
    struct test_ops t;
    Doc *doc;
    Db *db;
    ops_init(&t);
    FAILS(couchstore_open_db_ex(name, COUCHSTORE_OPEN_FLAG_CREATE | (1ULL << 24), &t.ops, &no_db),
          COUCHSTORE_ERROR_NOT_SUPPORTED);
    REASON(0, name, "configure failed: not supported (-18)");
    db = OPEN_OPS(name, COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_FLAG_UNBUFFERED, &t.ops);
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 1));
    ops_fail(&t, OP_PREAD, 1, 1, COUCHSTORE_ERROR_READ, EIO);
    FAILS(couchstore_open_document(db, "a", 1, &doc, 0), COUCHSTORE_ERROR_READ);
    REASON(0, name, "read at offset ", " failed: ", strerror(EIO));
    OS_ERROR(db, EIO);
    ops_fail(&t, OP_PREAD, 1, 1, COUCHSTORE_ERROR_ALLOC_FAIL, 0);
    FAILS(couchstore_open_document(db, "a", 1, &doc, 0), COUCHSTORE_ERROR_ALLOC_FAIL);
    REASON(0, name, "failed to allocate buffer (-3)");
    ops_fail(&t, OP_PWRITE, 1, 1, COUCHSTORE_ERROR_WRITE, ENOSPC);
    FAILS(put(db, "b", "1"), COUCHSTORE_ERROR_WRITE);
    REASON(0, name, "write at offset ", strerror(ENOSPC));
    OS_ERROR(db, ENOSPC);
    ops_fail(&t, OP_EOF, 1, 1, COUCHSTORE_ERROR_READ, ESTALE);
    FAILS(couchstore_seek(db, COUCHSTORE_SEEK_END), COUCHSTORE_ERROR_READ);
    REASON(0, name, "size failed: ", strerror(ESTALE));
    ops_fail(&t, OP_SYNC, 1, 1, COUCHSTORE_ERROR_WRITE, EDQUOT);
    FAILS(commit(db, 2), COUCHSTORE_ERROR_WRITE);
    REASON(0, name, "sync failed: ", strerror(EDQUOT));
    OS_ERROR(db, EDQUOT);
    FAILS(commit(db, 3), COUCHSTORE_ERROR_WRITE);
    REASON(0, name, "a sync failed, nothing more is written until the file is opened again");
    FAILS(couchstore_compact_db_ex(db, name, 0, NULL, NULL, NULL, &t.ops),
          COUCHSTORE_ERROR_OPEN_FILE);
    REASON(0, name, "open failed: ", strerror(EEXIST));
    CLOSE(db);
    t.ops.version = 4;
    FAILS(couchstore_open_db_ex(name, 0, &t.ops, &no_db), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REASON(0, "expected file operations of version 5");
    ops_free(&t);
}

/* ---- what leaves the text alone ---- */

static int stops(Db *db, DocInfo *info, void *ctx) {
    (void)db, (void)info;
    return *(int *)ctx;
}

static int drops_all(Db *target, DocInfo *info, sized_buf item, void *ctx) {
    (void)target, (void)info, (void)item;
    return *(int *)ctx;
}

TEST(success_absence_and_callbacks_leave_the_text) {
    static const int codes[] = {COUCHSTORE_ERROR_CANCEL, COUCHSTORE_ERROR_READ,
                                COUCHSTORE_ERROR_SCAN_YIELD, -1234};
    Db *db = CREATE(path("a"));
    DocInfo *info;
    LocalDoc *local;
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 1));
    forget();
    const char *const before = strdup(reason());
    CHECK_OK(put(db, "b", "1"));
    CHECK_CODE(couchstore_docinfo_by_id(db, "x", 1, &info), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    CHECK_CODE(couchstore_open_local_document(db, "x", 1, &local), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    for (size_t i = 0; i < COUNT_OF(codes); ++i) {
        int code = codes[i];
        CHECK_CODE(couchstore_all_docs(db, NULL, 0, stops, &code), code);
        CHECK_CODE(couchstore_compact_db_ex(db, path("b"), 0, drops_all, NULL, &code, NULL), code);
    }
    CHECK_CODE(couchstore_last_internal_error(db, NULL, 9), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(couchstore_last_os_error(db, NULL, 9), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_STR(reason(), before);
    CHECK_EQ_INT(told, 0);
    free((void *)before);
    CLOSE(db);
}

static void *texts_of_a_new_thread(void *ctx) {
    char *const texts = ctx;
    couchstore_last_internal_error(NULL, texts, 100);
    couchstore_last_os_error(NULL, texts + 100, 100);
    return NULL;
}

TEST(each_thread_has_its_own) {
    pthread_t thread;
    char texts[200];
    forget();
    CHECK_EQ_INT(pthread_create(&thread, NULL, texts_of_a_new_thread, texts), 0);
    CHECK_EQ_INT(pthread_join(thread, NULL), 0);
    CHECK_STR(texts, "''");
    CHECK_STR(texts + 100, "errno = 0: 'Success'");
}

TEST(long_names_leave_room_for_the_reason) {
    char *const name = malloc(5000);
    size_t length = (size_t)snprintf(name, 5000, "%s", path("."));
    for (int i = 0; i < 15; ++i) {
        length += (size_t)snprintf(name + length, 5000 - length, "/%0200d", i);
        CHECK_EQ_INT(mkdir(name, 0777), 0);
    }
    snprintf(name + length, 5000 - length, "/a.couch");
    FAILS(open_only(name, 0), COUCHSTORE_ERROR_NO_SUCH_FILE);
    REASON(0, "'...000", "/a.couch: open failed: ", "No such file or directory");
    CHECK(strlen(reason()) <= 251);
    free(name);
}
