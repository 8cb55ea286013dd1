/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What all the C test programs share: a tiny test framework, functions that make
 * API calls readable, files built byte by byte, and file operations that count,
 * log and fail on request.
 *
 * A program is run as  test_NAME DIR [CASE]  with an empty directory DIR. Each
 * case gets a fresh sub-directory of it, and path("x") names a file there.
 * COUCHSTORE_TEST_SCALE=small shrinks the long loops (for valgrind).
 */
#ifndef TESTLIB_H
#define TESTLIB_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

/* Whether the library has ciphers, as it does unless the build says otherwise. */
#ifndef HAS_ENCRYPTION
#define HAS_ENCRYPTION 1
#endif

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libcouchstore/couch_db.h>

/* ---- framework ---------------------------------------------------------- */

/* Cases run in the order of their definition. */
#define TEST(name)                                                   \
    static void name(void);                                          \
    static void __attribute__((constructor)) register_##name(void) { \
        test_register(#name, name);                                  \
    }                                                                \
    static void name(void)

void test_register(const char *name, void (*run)(void));
bool test_small(void);

/*
 * A failing check prints file, line, expression and both values, and ends the
 * case by a long jump: do not check inside callbacks, record there and check
 * afterwards.
 */
_Noreturn void test_fail(const char *file, int line, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
void test_equal_int(const char *file,
                    int line,
                    const char *text,
                    long long actual,
                    long long expected);
void test_equal_code(const char *file, int line, const char *text, int actual, int expected);
void test_equal_str(const char *file,
                    int line,
                    const char *text,
                    const char *actual,
                    const char *expected);
void test_equal_mem(const char *file,
                    int line,
                    const char *text,
                    const void *actual,
                    size_t actual_size,
                    const void *expected,
                    size_t expected_size);

#define CHECK(condition)                                               \
    do {                                                               \
        if (!(condition)) {                                            \
            test_fail(__FILE__, __LINE__, "not true: %s", #condition); \
        }                                                              \
    } while (0)
#define CHECK_EQ_INT(actual, expected) \
    test_equal_int(__FILE__, __LINE__, #actual, (long long)(actual), (long long)(expected))
#define CHECK_CODE(actual, expected) \
    test_equal_code(__FILE__, __LINE__, #actual, (actual), (expected))
#define CHECK_OK(actual) CHECK_CODE(actual, COUCHSTORE_SUCCESS)
#define CHECK_STR(actual, expected) \
    test_equal_str(__FILE__, __LINE__, #actual, (actual), (expected))
#define CHECK_MEM(actual, actual_size, expected, expected_size)                      \
    test_equal_mem(__FILE__, __LINE__, #actual, (actual), (actual_size), (expected), \
                   (expected_size))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- files -------------------------------------------------------------- */

/* The name of a file in the case's directory; valid until the case ends, the same for the same name. */
const char *path(const char *name);
int64_t file_size(const char *name); /* -1: no such file */
bool file_exists(const char *name);
void file_write(const char *name, const void *data, size_t size);
void file_copy(const char *from, const char *to);
void file_flip(const char *name, int64_t offset, unsigned char mask);
void file_truncate(const char *name, int64_t size);
int dir_entries(const char *name);
int open_descriptors(void);

/* A growing byte string; all zero is empty. */
struct bytes {
    unsigned char *data;
    size_t size;
};
struct bytes file_read(const char *name);
void bytes_free(struct bytes *b);
void bytes_add(struct bytes *b, const void *data, size_t size);
void bytes_zeros(struct bytes *b, size_t size);
void bytes_be(struct bytes *b, uint64_t value, int width); /* big-endian, width in bytes */
uint64_t read_be(const unsigned char *data, int width);

uint32_t crc32c(const void *data, size_t size);     /* Castagnoli: versions 12 and up */
uint32_t crc32_ieee(const void *data, size_t size); /* version 11 */

/* ---- file images made by hand ------------------------------------------- */

enum { BLOCK_SIZE = 4096, DATA_BLOCK = 0, HEADER_BLOCK = 1 };

struct bytes snappy_literals(const struct bytes *plain); /* valid Snappy, nothing compressed */
struct bytes snappy_decode(const unsigned char *data, size_t size);

/* Appends a chunk with its checksum and returns its position; an empty image begins with a data block. */
uint64_t image_chunk(struct bytes *image, const void *body, size_t size);
uint64_t image_node(struct bytes *image, const struct bytes *node);
/* The uncompressed node whose chunk is at a position (chunk within one block). */
struct bytes image_read_node(const struct bytes *image, uint64_t position);

void node_entry(struct bytes *node, const void *key, size_t key_size, const struct bytes *value);
struct bytes pointer_value(uint64_t position, uint64_t subtree_size, const struct bytes *reduce);
struct bytes by_id_value(uint64_t seq, uint32_t size, uint64_t position, const char *rev_meta);
struct bytes by_seq_value(const char *id, uint32_t size, uint64_t position, const char *rev_meta);
struct bytes by_id_reduce(uint64_t live, uint64_t deleted, uint64_t size);
struct bytes by_seq_reduce(uint64_t count);
struct bytes tree_root(uint64_t position, uint64_t subtree_size, const struct bytes *reduce);

struct image_header {
    unsigned version; /* 0: 14 */
    uint64_t update_seq, purge_seq, timestamp, previous;
    struct bytes by_seq, by_id, local; /* roots, as from tree_root() */
};
/* How many blocks of a file begin with a header. */
int headers_in(const char *name);
/* Pads to the next block boundary, appends the header, and returns its position. */
uint64_t image_add_header(struct bytes *image, const struct image_header *header);

/* ---- database handles --------------------------------------------------- */

Db *test_open(const char *file,
              int line,
              const char *name,
              couchstore_open_flags flags,
              const couch_file_ops *ops);
void test_close(const char *file, int line, Db *db);
#define OPEN(name, flags) test_open(__FILE__, __LINE__, (name), (flags), NULL)
#define OPEN_OPS(name, flags, ops) test_open(__FILE__, __LINE__, (name), (flags), (ops))
#define CREATE(name) OPEN((name), COUCHSTORE_OPEN_FLAG_CREATE)
#define CLOSE(db) test_close(__FILE__, __LINE__, (db))

sized_buf buf(const char *text);

/* One document of a batch; body NULL is a deletion. seq is written back. */
struct doc {
    const char *id, *body, *meta;
    uint64_t seq, rev;
    int deleted;
    couchstore_content_meta_flags content_meta;
};
couchstore_error_t save_docs(Db *db,
                             struct doc *docs,
                             size_t count,
                             couchstore_save_options options);
couchstore_error_t put(Db *db, const char *id, const char *body);       /* body NULL: a deletion */
couchstore_error_t put_local(Db *db, const char *id, const char *json); /* json NULL: a deletion */
couchstore_error_t commit(Db *db, uint64_t timestamp);

/* Scan results as text: "id@seq", with '-' behind deleted ones, separated by blanks. */
struct scan {
    char text[4096];
    size_t length;
    int count;
    int stop_at,
            stop_with; /* from the stop_at-th call on (1, 2, ..) the callback returns stop_with */
};
int scan_callback(Db *db, DocInfo *info, void *scan);
int scan_local_callback(Db *db, LocalDoc *doc, void *scan);
/* Callbacks that do nothing. */
int ignore_doc(Db *db, DocInfo *info, void *ctx);
int ignore_local(Db *db, LocalDoc *doc, void *ctx);
int ignore_node(Db *db,
                int depth,
                const DocInfo *info,
                uint64_t size,
                const sized_buf *reduce,
                void *ctx);
/* These return a static text, valid until the next call of the same function; "error N" on failure. */
const char *docs_by_seq(Db *db);
const char *docs_by_id(Db *db);
const char *local_docs(Db *db);
const char *body_of(Db *db, const char *id);
const char *local_of(Db *db, const char *id);
uint64_t last_sequence(Db *db);
/*
 * All that a caller can see of a handle, as text to be freed: two equal texts mean equal databases. Error codes are
 * the only negative numbers in it.
 */
char *describe(Db *db);
char *describe_file(const char *name);

/* ---- file operations that log and fail ---------------------------------- */

enum op_kind {
    OP_CONSTRUCTOR,
    OP_OPEN,
    OP_CLOSE,
    OP_PREAD,
    OP_PWRITE,
    OP_EOF,
    OP_SYNC,
    OP_ADVISE,
    OP_DESTRUCTOR,
    OP_KINDS
};

struct op_entry {
    enum op_kind kind;
    int file; /* 1 for the first constructed handle, and so on */
    size_t length;
    int64_t offset;
    int64_t result;
    unsigned char first_byte; /* of a pwrite */
};

struct test_ops {
    couch_file_ops ops; /* give &t.ops to the library */
    struct op_entry *log;
    size_t logged;
    int calls[OP_KINDS];
    int files;
    /* The fail_at-th call of fail_kind from now on (1 is the next one; 0: none) fails,
     * and so do the fail_times - 1 calls of that kind after it (fail_times < 0: all of them). */
    enum op_kind fail_kind;
    int fail_at, fail_times, fail_code, fail_errno;
    int failed;                 /* how many failed */
    bool fail_partial;          /* a failing pwrite writes half of its bytes first */
    int zero_writes;            /* the next so many pwrites return 0; < 0: all */
    size_t max_read, max_write; /* 0: no limit; else calls are cut short */
    bool null_constructor;      /* constructor returns NULL, open makes the handle */
};
void ops_init(struct test_ops *t);
void ops_free(struct test_ops *t);
void ops_reset(struct test_ops *t); /* empties the log and takes all faults back */
void ops_fail(struct test_ops *t, enum op_kind kind, int at, int times, int code, int error);
/*
 * The log as text, only the kinds whose letter is in `letters`: C constructor, O open, c close, r pread, w pwrite,
 * e goto_eof, s sync, a advise, d destructor. Reads and writes look like "w9@4096"; a failed call ends in '!'.
 */
const char *ops_text(const struct test_ops *t, const char *letters);

#endif
