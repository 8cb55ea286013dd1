/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every truncation and every changed byte of a small file: no crash, and never wrong data without an error.
 */
#include "testlib.h"

#include <fcntl.h>

static char *newest, *older, *oldest; /* what the file shows at its three headers */

/* Trees of two levels, local documents, deletions, a compressed body; headers at 0, in the middle and at the end. */
static struct bytes small_file(void) {
    const char *name = path("small.couch");
    struct bytes file;
    struct doc docs[70];
    char ids[70][16], bodies[70][32];
    Db *db = OPEN(name, COUCHSTORE_OPEN_FLAG_CREATE | 0x110000);
    oldest = describe(db);
    memset(docs, 0, sizeof(docs));
    for (int i = 0; i < 70; ++i) {
        snprintf(ids[i], sizeof(ids[i]), "k%02d", i * 29 % 70);
        snprintf(bodies[i], sizeof(bodies[i]), "%d", i * i);
        docs[i].id = ids[i];
        docs[i].body = i % 10 ? bodies[i] : NULL;
        docs[i].meta = i % 3 ? "mm" : "";
        docs[i].rev = (uint64_t)i;
    }
    docs[5].body = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz";
    docs[5].content_meta = COUCH_DOC_IS_COMPRESSED;
    CHECK_OK(save_docs(db, docs, 70, COMPRESS_DOC_BODIES));
    CHECK_OK(put_local(db, "_local/a", "state"));
    CHECK_OK(commit(db, 1));
    older = describe(db);
    CHECK_OK(put(db, "k10", "changed"));
    CHECK_OK(put_local(db, "_local/b", "more"));
    CHECK_OK(commit(db, 2));
    newest = describe(db);
    CLOSE(db);
    file = file_read(name);
    unlink(name);
    return file;
}

static void forget(struct bytes *file) {
    bytes_free(file);
    free(newest);
    free(older);
    free(oldest);
}

static void check_code(int line, size_t at, int code) {
    if (code > 0 || code == COUCHSTORE_ERROR_INTERNAL ||
        strcmp(couchstore_strerror((couchstore_error_t)code),
               "couchstore_strerror unknown errcode") == 0) {
        test_fail(__FILE__, line, "at byte %zu: result %d (%s)", at, code,
                  couchstore_strerror((couchstore_error_t)code));
    }
}

static int on_walk(Db *db,
                   int depth,
                   const DocInfo *info,
                   uint64_t size,
                   const sized_buf *reduce,
                   void *ctx) {
    (void)db, (void)size, (void)reduce;
    *(uint64_t *)ctx += (uint64_t)depth + (info ? info->rev_meta.size : 1);
    return 0;
}

/* Calls all that reads. at: where the damage is, for messages. */
static void exercise(const char *name, couchstore_open_flags flags, size_t at) {
    Db *db = NULL;
    DbInfo info;
    couchstore_header_info header;
    struct scan scan = {.count = 0};
    uint64_t sum = 0, count;
    char *text;
    sized_buf ids[3] = {buf("k05"), buf("k33"), buf("k69")};
    couchstore_error_t code = couchstore_open_db(name, COUCHSTORE_OPEN_FLAG_RDONLY | flags, &db);
    check_code(__LINE__, at, code);
    if (code != COUCHSTORE_SUCCESS) {
        CHECK(db == NULL);
        return;
    }
    text = describe(db);
    /* Either a committed state, whole, or an error somewhere (the only place for a '-'). */
    if (strcmp(text, newest) != 0 && strcmp(text, older) != 0 && strcmp(text, oldest) != 0 &&
        strchr(text, '-') == NULL) {
        printf("%s\n", text);
        test_fail(__FILE__, __LINE__, "at byte %zu: wrong data without an error", at);
    }
    free(text);
    check_code(__LINE__, at, couchstore_db_info(db, &info));
    check_code(__LINE__, at, couchstore_get_header(db, &header));
    check_code(
            __LINE__, at,
            couchstore_changes_since(db, 30, COUCHSTORE_TOLERATE_CORRUPTION, scan_callback, &scan));
    check_code(
            __LINE__, at,
            couchstore_all_docs(db, &ids[1], COUCHSTORE_TOLERATE_CORRUPTION, scan_callback, &scan));
    check_code(__LINE__, at, couchstore_docinfos_by_id(db, ids, 3, 0, scan_callback, &scan));
    check_code(__LINE__, at,
               couchstore_docinfos_by_sequence(db, (uint64_t[]){3, 60}, 2, RANGES, scan_callback,
                                               &scan));
    check_code(__LINE__, at, couchstore_changes_count(db, 10, 50, &count));
    check_code(__LINE__, at, couchstore_walk_id_tree(db, NULL, 0, on_walk, &sum));
    check_code(__LINE__, at,
               couchstore_walk_seq_tree(db, 20, COUCHSTORE_TOLERATE_CORRUPTION, on_walk, &sum));
    check_code(__LINE__, at, couchstore_walk_local_tree(db, NULL, 0, on_walk, &sum));
    (void)local_of(db, "_local/b");
    check_code(__LINE__, at, couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD));
    check_code(__LINE__, at, couchstore_seek(db, COUCHSTORE_SEEK_FORWARD));
    check_code(__LINE__, at, couchstore_seek_first_header_containing(db, 1, 1));
    CLOSE(db);
}

TEST(every_truncation) {
    const char *name = path("damaged.couch");
    struct bytes file = small_file();
    size_t step = test_small() ? 211 : 1;
    file_write(name, file.data, file.size);
    for (size_t size = file.size; size > 0; size -= size > step ? step : size) {
        file_truncate(name, (int64_t)size);
        exercise(name, 0, size);
        exercise(name, COUCHSTORE_OPEN_RECOVERY_MODE, size);
    }
    forget(&file);
}

static void change_every_byte(couchstore_open_flags flags) {
    const char *name = path("damaged.couch");
    struct bytes file = small_file();
    size_t step = test_small() ? 149 : 1;
    int fd;
    file_write(name, file.data, file.size);
    fd = open(name, O_RDWR);
    CHECK(fd >= 0);
    for (size_t at = 0; at < file.size; at += step) {
        const unsigned char others[] = {file.data[at] ^ 0xff,
                                        file.data[at] ^ (unsigned char)(1 << at % 8)};
        for (size_t i = 0; i < COUNT_OF(others); ++i) {
            CHECK(pwrite(fd, &others[i], 1, (off_t)at) == 1);
            exercise(name, flags, at);
        }
        CHECK(pwrite(fd, &file.data[at], 1, (off_t)at) == 1);
    }
    close(fd);
    exercise(name, 0, file.size);
    forget(&file);
}

TEST(every_changed_byte) {
    change_every_byte(0);
}

TEST(every_changed_byte_in_recovery_mode) {
    change_every_byte(COUCHSTORE_OPEN_RECOVERY_MODE);
}

TEST(damaged_files_are_compacted_or_refused) {
    const char *name = path("damaged.couch"), *target = path("target.couch");
    struct bytes file = small_file();
    size_t step = test_small() ? 1009 : 61;
    for (size_t at = 0; at < file.size; at += step) {
        const couchstore_compact_flags flags[] = {0, COUCHSTORE_COMPACT_RECOVERY_MODE};
        file_write(name, file.data, file.size);
        file_flip(name, (int64_t)at, 0x24);
        for (size_t i = 0; i < COUNT_OF(flags); ++i) {
            Db *db = NULL;
            couchstore_error_t code = couchstore_open_db(
                    name, COUCHSTORE_OPEN_RECOVERY_MODE | COUCHSTORE_OPEN_FLAG_RDONLY, &db);
            check_code(__LINE__, at, code);
            if (code != COUCHSTORE_SUCCESS) {
                continue;
            }
            code = couchstore_compact_db_ex(db, target, flags[i], NULL, NULL, NULL, NULL);
            check_code(__LINE__, at, code);
            CLOSE(db);
            if (code == COUCHSTORE_SUCCESS || i == 1) { /* what is there is a good database */
                char *text = describe_file(target);
                if (strchr(text, '-') != NULL) {
                    test_fail(__FILE__, __LINE__, "byte %zu, flags %d, result %d, target:\n%s", at,
                              (int)flags[i], code, text);
                }
                CHECK(code != COUCHSTORE_SUCCESS || strcmp(text, newest) == 0 ||
                      strcmp(text, older) == 0 || strcmp(text, oldest) == 0);
                free(text);
                CHECK(unlink(target) == 0);
            } else {
                CHECK(!file_exists(target));
            }
        }
    }
    forget(&file);
}

TEST(random_garbage) {
    const char *name = path("garbage");
    struct bytes file = small_file();
    uint64_t state = 20240601;
    int rounds = test_small() ? 30 : 3000;
    printf("        seed %" PRIu64 "\n", state);
    for (int round = 0; round < rounds; ++round) {
        struct bytes copy = {NULL, 0};
        bytes_add(&copy, file.data, file.size);
        for (int i = 0; i < 1 + round % 20; ++i) { /* a few runs of random bytes */
            size_t at, length;
            state = state * 6364136223846793005u + 1442695040888963407u;
            at = (state >> 33) % copy.size;
            length = (state >> 20) % 64;
            for (size_t j = at; j < copy.size && j < at + length; ++j) {
                state = state * 6364136223846793005u + 1442695040888963407u;
                copy.data[j] = (unsigned char)(state >> 56);
            }
        }
        file_write(name, copy.data, copy.size);
        bytes_free(&copy);
        exercise(name, round % 2 ? COUCHSTORE_OPEN_RECOVERY_MODE : 0, (size_t)round);
    }
    forget(&file);
}
