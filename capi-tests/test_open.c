/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Opening, creating and closing: flags, error codes, the bytes of new files.
 */
#include "testlib.h"

#include <sys/stat.h>

#define CREATE_FLAG COUCHSTORE_OPEN_FLAG_CREATE
#define RDONLY_FLAG COUCHSTORE_OPEN_FLAG_RDONLY
#define LEGACY COUCHSTORE_OPEN_WITH_LEGACY_CRC

/* Checks that opening fails with this code, leaves the handle pointer alone and leaks no descriptor. */
static void check_refused(int line,
                          const char *name,
                          couchstore_open_flags flags,
                          couchstore_error_t expected) {
    int before = open_descriptors();
    Db *const untouched = (Db *)(void *)&before;
    Db *db = untouched;
    test_equal_code(__FILE__, line, "open", couchstore_open_db(name, flags, &db), expected);
    if (db != untouched) {
        test_fail(__FILE__, line, "the handle pointer was written");
    }
    test_equal_int(__FILE__, line, "descriptors", open_descriptors(), before);
}
#define REFUSED(name, flags, expected) check_refused(__LINE__, (name), (flags), (expected))

/* A database with a document "a" committed at 4096 and a document "b" committed at 8192. */
static const char *two_commits(couchstore_open_flags flags) {
    const char *name = path("two.couch");
    Db *db = OPEN(name, CREATE_FLAG | flags);
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 10));
    CHECK_OK(put(db, "b", "2"));
    CHECK_OK(commit(db, 20));
    CHECK_EQ_INT(couchstore_get_header_position(db), 8192);
    CLOSE(db);
    return name;
}

static struct bytes new_file_bytes(unsigned version) {
    struct bytes image = {NULL, 0};
    struct image_header header = {.version = version, .previous = 0xfffffffffffe};
    CHECK_EQ_INT(image_add_header(&image, &header), 0);
    return image;
}

TEST(missing_file) {
    const char *name = path("missing.couch");
    REFUSED(name, 0, COUCHSTORE_ERROR_NO_SUCH_FILE);
    REFUSED(name, RDONLY_FLAG, COUCHSTORE_ERROR_NO_SUCH_FILE);
    REFUSED(name, COUCHSTORE_OPEN_RECOVERY_MODE, COUCHSTORE_ERROR_NO_SUCH_FILE);
    CHECK(!file_exists(name));
    REFUSED(path("no/such.couch"), CREATE_FLAG, COUCHSTORE_ERROR_NO_SUCH_FILE);
    CHECK_EQ_INT(dir_entries(path(".")), 0);
}

TEST(missing_file_sets_errno) {
    Db *db = NULL;
    couchstore_error_t code;
    int error;
    errno = 0;
    code = couchstore_open_db(path("missing.couch"), 0, &db);
    error = errno;
    CHECK_CODE(code, COUCHSTORE_ERROR_NO_SUCH_FILE);
    CHECK_EQ_INT(error, ENOENT);
}

TEST(flags_that_exclude_each_other) {
    const char *name = path("a.couch");
    REFUSED(name, RDONLY_FLAG | CREATE_FLAG, COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REFUSED(name, COUCHSTORE_OPEN_FLAG_EXCL, COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK(!file_exists(name));
    CLOSE(CREATE(name));
    REFUSED(name, RDONLY_FLAG | CREATE_FLAG, COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REFUSED(name, COUCHSTORE_OPEN_FLAG_EXCL, COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    REFUSED(name, LEGACY, COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_EQ_INT(file_size(name), 48);
}

TEST(null_arguments) {
    Db *db = NULL;
    struct test_ops ops;
    CHECK_CODE(couchstore_open_db(NULL, CREATE_FLAG, &db), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(couchstore_open_db(path("a.couch"), CREATE_FLAG, NULL),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    ops_init(&ops);
    CHECK_CODE(couchstore_open_db_ex(NULL, CREATE_FLAG, &ops.ops, &db),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(couchstore_open_db_ex(path("a.couch"), CREATE_FLAG, &ops.ops, NULL),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(couchstore_open_db_ex(path("a.couch"), CREATE_FLAG, NULL, &db),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK(db == NULL);
    CHECK_EQ_INT(ops.logged, 0);
    CHECK_EQ_INT(dir_entries(path(".")), 0);
    ops_free(&ops);
}

TEST(new_file_is_48_bytes) {
    const char *name = path("new.couch");
    struct bytes expected = new_file_bytes(14);
    struct bytes actual;
    CHECK_EQ_INT(expected.size, 48);
    CLOSE(OPEN(name, CREATE_FLAG));
    actual = file_read(name);
    CHECK_MEM(actual.data, actual.size, expected.data, expected.size);
    bytes_free(&actual);
    bytes_free(&expected);
}

TEST(new_file_is_there_before_any_commit) {
    const char *name = path("new.couch");
    Db *db = CREATE(name);
    CHECK_EQ_INT(file_size(name), 48);
    CHECK_EQ_INT(dir_entries(path(".")), 1); /* no temporary, no lock */
    CLOSE(db);
    CHECK_EQ_INT(file_size(name), 48);
}

TEST(new_legacy_file_is_34_bytes) {
    const char *name = path("old.couch");
    struct bytes expected = new_file_bytes(11);
    struct bytes actual;
    CHECK_EQ_INT(expected.size, 34);
    CLOSE(OPEN(name, CREATE_FLAG | LEGACY));
    actual = file_read(name);
    CHECK_MEM(actual.data, actual.size, expected.data, expected.size);
    bytes_free(&actual);
    bytes_free(&expected);
}

TEST(legacy_file_stays_legacy) {
    const char *name = two_commits(LEGACY);
    struct bytes file;
    couchstore_header_info header;
    Db *db = OPEN(name, 0);
    CHECK_OK(put(db, "c", "3"));
    CHECK_OK(commit(db, 30));
    CHECK_OK(couchstore_get_header(db, &header));
    CHECK_EQ_INT(header.version, 11);
    CLOSE(db);
    db = OPEN(name, LEGACY);
    CHECK_STR(docs_by_seq(db), "a@1 b@2 c@3");
    CLOSE(db);
    file = file_read(name);
    CHECK_EQ_INT(file.data[12288], HEADER_BLOCK);
    CHECK_EQ_INT(file.data[12288 + 9], 11);
    CHECK_EQ_INT(read_be(file.data + 12293, 4), crc32_ieee(file.data + 12297, file.size - 12297));
    bytes_free(&file);
}

TEST(create_opens_an_existing_file) {
    const char *name = two_commits(0);
    int64_t size = file_size(name);
    Db *db = CREATE(name);
    CHECK_STR(docs_by_id(db), "a@1 b@2");
    CLOSE(db);
    CHECK_EQ_INT(file_size(name), size);
}

TEST(exclusive_create) {
    const char *name = path("excl.couch");
    couchstore_error_t code;
    Db *db = OPEN(name, CREATE_FLAG | COUCHSTORE_OPEN_FLAG_EXCL);
    Db *second = NULL;
    int error;
    CLOSE(db);
    REFUSED(name, CREATE_FLAG | COUCHSTORE_OPEN_FLAG_EXCL, COUCHSTORE_ERROR_OPEN_FILE);
    errno = 0;
    code = couchstore_open_db(name, CREATE_FLAG | COUCHSTORE_OPEN_FLAG_EXCL, &second);
    error = errno;
    CHECK_CODE(code, COUCHSTORE_ERROR_OPEN_FILE);
    CHECK_EQ_INT(error, EEXIST);
    CHECK_EQ_INT(file_size(name), 48);
    CHECK_EQ_INT(dir_entries(path(".")), 1);
}

TEST(exclusive_create_keeps_what_is_there) {
    const char *name = path("text");
    file_write(name, "precious", 8);
    REFUSED(name, CREATE_FLAG | COUCHSTORE_OPEN_FLAG_EXCL, COUCHSTORE_ERROR_OPEN_FILE);
    CHECK_EQ_INT(file_size(name), 8);
    file_write(name, "", 0);
    REFUSED(name, CREATE_FLAG | COUCHSTORE_OPEN_FLAG_EXCL, COUCHSTORE_ERROR_OPEN_FILE);
    CHECK_EQ_INT(file_size(name), 0);
}

TEST(empty_file) {
    const char *name = path("zero");
    const couchstore_open_flags flags[] = {0, CREATE_FLAG, LEGACY, CREATE_FLAG | LEGACY};
    for (size_t i = 0; i < COUNT_OF(flags); ++i) {
        DbInfo info;
        Db *db;
        file_write(name, "", 0);
        REFUSED(name, RDONLY_FLAG, COUCHSTORE_ERROR_NO_HEADER);
        CHECK_EQ_INT(file_size(name), 0);
        db = OPEN(name, flags[i]);
        CHECK_OK(couchstore_db_info(db, &info));
        CHECK_EQ_INT(info.header_position, 0);
        CHECK_EQ_INT(info.last_sequence, 0);
        CLOSE(db);
        CHECK_EQ_INT(file_size(name), flags[i] & LEGACY ? 34 : 48);
        CLOSE(OPEN(name, RDONLY_FLAG));
    }
}

TEST(files_without_a_header) {
    const char *name = path("bad");
    char zeros[5000] = {0};
    const couchstore_open_flags flags[] = {0, CREATE_FLAG, RDONLY_FLAG,
                                           COUCHSTORE_OPEN_RECOVERY_MODE};
    for (size_t i = 0; i < COUNT_OF(flags); ++i) {
        file_write(name, "x", 1);
        REFUSED(name, flags[i], COUCHSTORE_ERROR_NO_HEADER);
        CHECK_EQ_INT(file_size(name), 1);
        file_write(name, "just some text that is no database\n", 35);
        REFUSED(name, flags[i], COUCHSTORE_ERROR_CORRUPT);
        CHECK_EQ_INT(file_size(name), 35);
        file_write(name, zeros, sizeof(zeros));
        REFUSED(name, flags[i], COUCHSTORE_ERROR_NO_HEADER);
        CHECK_EQ_INT(file_size(name), sizeof(zeros));
    }
}

TEST(unreadable_header_at_position_0) {
    const char *name = path("bad");
    const int64_t damaged[] = {1, 6, 20}; /* length, checksum, body */
    for (size_t i = 0; i < COUNT_OF(damaged); ++i) {
        unlink(name);
        CLOSE(CREATE(name));
        file_flip(name, damaged[i], 0x40);
        REFUSED(name, 0, COUCHSTORE_ERROR_NO_HEADER);
        REFUSED(name, COUCHSTORE_OPEN_RECOVERY_MODE, COUCHSTORE_ERROR_NO_HEADER);
    }
}

TEST(damaged_newest_header) {
    static const struct {
        int64_t offset; /* from the header's position */
        unsigned char mask;
        couchstore_error_t code;
    } damages[] = {
            {0, 0x07, COUCHSTORE_ERROR_CORRUPT},       /* block type 6 */
            {1, 0x80, COUCHSTORE_ERROR_CORRUPT},       /* length */
            {3, 0x40, COUCHSTORE_ERROR_CORRUPT},       /* length over 1024 */
            {5, 0x01, COUCHSTORE_ERROR_CHECKSUM_FAIL}, /* checksum */
            {9, 0x01, COUCHSTORE_ERROR_CHECKSUM_FAIL}, /* version, checksum now wrong */
            {40, 0x10, COUCHSTORE_ERROR_CHECKSUM_FAIL},
    };
    for (size_t i = 0; i < COUNT_OF(damages); ++i) {
        const char *name = two_commits(0);
        Db *db;
        file_flip(name, 8192 + damages[i].offset, damages[i].mask);
        REFUSED(name, 0, damages[i].code);
        REFUSED(name, RDONLY_FLAG, damages[i].code);
        REFUSED(name, CREATE_FLAG, damages[i].code);
        db = OPEN(name, COUCHSTORE_OPEN_RECOVERY_MODE);
        CHECK_EQ_INT(couchstore_get_header_position(db), 4096);
        CHECK_STR(docs_by_seq(db), "a@1");
        CLOSE(db);
        unlink(name);
    }
}

TEST(truncated_newest_header) {
    const char *name = two_commits(0);
    Db *db;
    file_truncate(name, file_size(name) - 1);
    REFUSED(name, 0, COUCHSTORE_ERROR_READ);
    db = OPEN(name, RDONLY_FLAG | COUCHSTORE_OPEN_RECOVERY_MODE);
    CHECK_STR(docs_by_seq(db), "a@1");
    CLOSE(db);
    file_truncate(name, 8193); /* the search starts at the block that holds byte size - 2 */
    db = OPEN(name, RDONLY_FLAG);
    CHECK_STR(docs_by_seq(db), "a@1");
    CLOSE(db);
    file_truncate(name, 8194);
    REFUSED(name, 0, COUCHSTORE_ERROR_READ);
}

TEST(all_headers_damaged) {
    const char *name = two_commits(0);
    file_flip(name, 8192 + 40, 1);
    file_flip(name, 4096 + 1, 0x80);
    file_flip(name, 0, 0x41); /* block type 0x40 */
    REFUSED(name, 0, COUCHSTORE_ERROR_CHECKSUM_FAIL);
    REFUSED(name, COUCHSTORE_OPEN_RECOVERY_MODE,
            COUCHSTORE_ERROR_CORRUPT); /* the last error of the search */
}

TEST(commit_after_recovery) {
    const char *name = two_commits(0);
    couchstore_header_info header;
    Db *db;
    file_flip(name, 8192 + 40, 1);
    db = OPEN(name, COUCHSTORE_OPEN_RECOVERY_MODE);
    CHECK_OK(put(db, "c", "3"));
    CHECK_OK(commit(db, 30));
    /* What was saved begins in a block of its own behind the damaged header, at 12288. */
    CHECK_EQ_INT(couchstore_get_header_position(db), 16384);
    CLOSE(db);
    db = OPEN(name, RDONLY_FLAG); /* the newest header is sound again */
    CHECK_STR(docs_by_seq(db), "a@1 c@2");
    CHECK_OK(couchstore_get_header(db, &header));
    CHECK_EQ_INT(header.previous_header_position, 4096);
    CHECK_OK(couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD));
    CHECK_EQ_INT(couchstore_get_header_position(db), 4096);
    CLOSE(db);
}

TEST(unknown_header_version) {
    const char *name = two_commits(0);
    const unsigned versions[] = {0, 10, 15, 255};
    struct bytes file = file_read(name);
    for (size_t i = 0; i < COUNT_OF(versions); ++i) {
        size_t size = read_be(file.data + 8193, 4) - 4;
        uint32_t crc;
        file.data[8192 + 9] = (unsigned char)versions[i];
        crc = crc32c(file.data + 8192 + 9, size);
        for (int byte = 0; byte < 4; ++byte) {
            file.data[8192 + 5 + byte] = (unsigned char)(crc >> (24 - 8 * byte));
        }
        file_write(name, file.data, file.size);
        REFUSED(name, 0, COUCHSTORE_ERROR_HEADER_VERSION);
        REFUSED(name, COUCHSTORE_OPEN_RECOVERY_MODE, COUCHSTORE_ERROR_HEADER_VERSION);
    }
    bytes_free(&file);
}

TEST(garbage_behind_the_newest_header) {
    const char *name = two_commits(0);
    struct bytes file = file_read(name);
    Db *db;
    bytes_zeros(&file, 20000);
    file_write(name, file.data, file.size);
    db = OPEN(name, 0);
    CHECK_STR(docs_by_seq(db), "a@1 b@2");
    CHECK_OK(put(db, "c", "3"));
    CHECK_OK(commit(db, 30));
    CHECK(couchstore_get_header_position(db) >= file.size); /* appended, nothing overwritten */
    CLOSE(db);
    bytes_free(&file);
}

TEST(no_commit_at_create) {
    const char *name = path("target.couch");
    const couchstore_open_flags reopen[] = {0, CREATE_FLAG, RDONLY_FLAG,
                                            COUCHSTORE_OPEN_RECOVERY_MODE};
    struct bytes file;
    Db *db = OPEN(name, CREATE_FLAG | COUCHSTORE_OPEN_FLAG_NO_COMMIT_AT_CREATE);
    CLOSE(db);
    file = file_read(name);
    CHECK_MEM(file.data, file.size, "", 1); /* one zero byte */
    bytes_free(&file);
    for (size_t i = 0; i < COUNT_OF(reopen); ++i) {
        REFUSED(name, reopen[i], COUCHSTORE_ERROR_NO_HEADER);
    }
}

TEST(no_commit_at_create_then_commit) {
    const char *name = path("target.couch");
    struct bytes file;
    DocInfo *info = NULL;
    Db *db = OPEN(name, CREATE_FLAG | COUCHSTORE_OPEN_FLAG_NO_COMMIT_AT_CREATE);
    CHECK_OK(put(db, "hello", "world"));
    CHECK_OK(couchstore_docinfo_by_id(db, "hello", 5, &info));
    CHECK_EQ_INT(info->bp, 1); /* writing starts at offset 1: no body at position 0 */
    couchstore_free_docinfo(info);
    CHECK_OK(commit(db, 7));
    CHECK_EQ_INT(couchstore_get_header_position(db), 4096);
    CLOSE(db);
    file = file_read(name);
    CHECK_EQ_INT(file.data[0], DATA_BLOCK);
    CHECK_MEM(file.data + 1, 13, "\x80\x00\x00\x05\x31\xaa\x81\x4eworld", 13);
    CHECK_EQ_INT(file.data[4096], HEADER_BLOCK);
    CHECK_EQ_INT(read_be(file.data + 4096 + 9 + 33, 6),
                 0); /* previous header: not the all-ones of a first one */
    bytes_free(&file);
    db = OPEN(name, RDONLY_FLAG);
    CHECK_STR(body_of(db, "hello"), "world");
    CHECK_CODE(couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD), COUCHSTORE_ERROR_NO_HEADER);
    CLOSE(db);
}

TEST(closing_and_freeing) {
    Db *db = CREATE(path("a.couch"));
    CHECK_CODE(couchstore_free_db(db), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_OK(put(db, "a", "1")); /* still a good handle */
    CHECK_OK(couchstore_close_file(db));
    CHECK_OK(couchstore_close_file(db));
    CHECK_CODE(put(db, "a", "1"), COUCHSTORE_ERROR_FILE_CLOSED);
    CHECK_OK(couchstore_free_db(db));
    CHECK_OK(couchstore_free_db(NULL));
}

TEST(close_keeps_nothing_uncommitted) {
    const char *name = path("a.couch");
    Db *db = CREATE(name);
    CHECK_OK(put(db, "a", "1"));
    CLOSE(db);
    db = OPEN(name, 0);
    CHECK_STR(docs_by_id(db), "");
    CLOSE(db);
}

TEST(close_db_and_drop_file) {
    int before = open_descriptors();
    Db *db = CREATE(path("a.couch"));
    CHECK_EQ_INT(open_descriptors(), before + 1);
    CHECK_OK(couchstore_drop_file(db));
    CHECK_EQ_INT(open_descriptors(), before);
    CHECK_CODE(put(db, "a", "1"), COUCHSTORE_ERROR_FILE_CLOSED);
    CHECK_OK(couchstore_free_db(db));
    db = CREATE(path("a.couch"));
    CHECK_OK(couchstore_close_db(db));
    CHECK_EQ_INT(open_descriptors(), before);
}

TEST(reopen_file_after_rename) {
    const char *name = two_commits(0);
    Db *db = OPEN(name, 0);
    CHECK_OK(couchstore_drop_file(db));
    CHECK(rename(name, path("moved.couch")) == 0);
    CHECK_OK(couchstore_reopen_file(db, path("moved.couch"), 0));
    CHECK_STR(docs_by_seq(db), "a@1 b@2");
    CHECK_STR(couchstore_get_db_filename(db), path("moved.couch"));
    CHECK_OK(put(db, "c", "3"));
    CHECK_OK(commit(db, 30));
    CLOSE(db);
}

TEST(reopen_file_with_another_history) {
    const char *name = two_commits(0);
    const char *other = path("other.couch");
    Db *db = CREATE(other);
    CLOSE(db);
    db = OPEN(name, RDONLY_FLAG);
    CHECK_CODE(couchstore_reopen_file(db, other, RDONLY_FLAG), COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    CHECK_OK(couchstore_close_db(db));
}

TEST(file_name_is_kept_as_given) {
    char cwd[4096];
    Db *db;
    DbInfo info;
    CHECK(getcwd(cwd, sizeof(cwd)) != NULL);
    CHECK(chdir(path(".")) == 0);
    db = CREATE(".//here.couch");
    CHECK(chdir(cwd) == 0);
    CHECK_STR(couchstore_get_db_filename(db), ".//here.couch");
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_STR(info.filename, ".//here.couch");
    CLOSE(db);
}

TEST(periodic_sync_flags) {
    static const struct {
        uint64_t bytes, flags;
    } table[] = {{0, 0x1000000},
                 {1, 0x1000000},
                 {1024, 0x1000000},
                 {1025, 0x2000000},
                 {2048, 0x2000000},
                 {2049, 0x2000000},
                 {4096, 0x3000000},
                 {1 << 20, 0xb000000},
                 {1 << 24, 0xf000000},
                 {UINT64_C(1) << 40, 0x1f000000},
                 {UINT64_C(1) << 50, 0x1f000000},
                 {UINT64_MAX, 0x1f000000}};
    for (size_t i = 0; i < COUNT_OF(table); ++i) {
        CHECK_EQ_INT(couchstore_encode_periodic_sync_flags(table[i].bytes), table[i].flags);
    }
}

TEST(option_flags_with_the_default_ops) {
    const couchstore_open_flags flags[] = {
            COUCHSTORE_OPEN_FLAG_UNBUFFERED,
            COUCHSTORE_OPEN_WITH_TRACING,
            COUCHSTORE_OPEN_WITH_WRITE_VALIDATION,
            COUCHSTORE_OPEN_WITH_MPROTECT,
            couchstore_encode_periodic_sync_flags(1024),
            0x1100,
            0xff00,
            0x110000,
            0xff0000,
            COUCHSTORE_OPEN_WITH_WRITE_VALIDATION | COUCHSTORE_OPEN_FLAG_UNBUFFERED,
    };
    for (size_t i = 0; i < COUNT_OF(flags); ++i) {
        const char *name = path("flags.couch");
        Db *db = OPEN(name, CREATE_FLAG | flags[i]);
        for (int n = 0; n < 50; ++n) {
            char id[20];
            snprintf(id, sizeof(id), "doc%02d", n);
            CHECK_OK(put(db, id,
                         "some text that is long enough to fill a node after a few documents"));
        }
        CHECK_OK(commit(db, 1));
        CLOSE(db);
        db = OPEN(name, flags[i]);
        CHECK_EQ_INT(last_sequence(db), 50);
        CHECK_STR(body_of(db, "doc49"),
                  "some text that is long enough to fill a node after a few documents");
        CLOSE(db);
        unlink(name);
    }
}

TEST(many_handles_on_one_file) {
    const char *name = two_commits(0);
    int before = open_descriptors();
    Db *readers[10];
    Db *writer = OPEN(name, 0);
    for (int i = 0; i < 10; ++i) {
        readers[i] = OPEN(name, RDONLY_FLAG);
    }
    CHECK_OK(put(writer, "c", "3"));
    CHECK_OK(commit(writer, 30));
    for (int i = 0; i < 10; ++i) {
        CHECK_STR(docs_by_seq(readers[i]), "a@1 b@2"); /* the header that it opened */
        CLOSE(readers[i]);
    }
    CLOSE(writer);
    CHECK_EQ_INT(open_descriptors(), before);
}

TEST(unreadable_file) {
    const char *name = two_commits(0);
    CHECK(chmod(name, 0) == 0);
    if (geteuid() != 0) { /* root may read it all the same */
        REFUSED(name, 0, COUCHSTORE_ERROR_OPEN_FILE);
        REFUSED(name, RDONLY_FLAG, COUCHSTORE_ERROR_OPEN_FILE);
    }
    CHECK(chmod(name, 0600) == 0);
}
