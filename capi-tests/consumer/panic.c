// SPDX-License-Identifier: Apache-2.0

/*
 * A defect of the library, brought about by a clock that fails: it must end as an error, however the program is linked.
 * That takes unwinding, and what unwinds comes from the compiler.
 */
#define _GNU_SOURCE
#include <libcouchstore/couch_db.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPECT(condition)                                                             \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            return 1;                                                                 \
        }                                                                             \
    } while (0)

static int clock_fails;

/* Takes the place of the C library's. */
int clock_gettime(clockid_t clock, struct timespec *time) {
    if (clock_fails) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_clock_gettime, clock, time);
}

int main(int argc, char **argv) {
    char key[] = "key";
    Db *db = NULL;
    Doc doc = DOC_INITIALIZER;
    DocInfo info = DOC_INFO_INITIALIZER;
    DbInfo figures;

    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return 2;
    }
    doc.id.buf = key;
    doc.id.size = strlen(key);
    info.id = doc.id;
    EXPECT(couchstore_open_db(argv[1], COUCHSTORE_OPEN_FLAG_CREATE, &db) == COUCHSTORE_SUCCESS);
    EXPECT(couchstore_save_document(db, &doc, &info, 0) == COUCHSTORE_SUCCESS);

    clock_fails = 1;
    EXPECT(couchstore_commit(db) == COUCHSTORE_ERROR_INTERNAL);
    clock_fails = 0;
    /* What was being done may be half done. */
    EXPECT(couchstore_commit(db) != COUCHSTORE_SUCCESS);
    couchstore_close_file(db);
    EXPECT(couchstore_free_db(db) == COUCHSTORE_SUCCESS);

    EXPECT(couchstore_open_db(argv[1], COUCHSTORE_OPEN_FLAG_RDONLY, &db) == COUCHSTORE_SUCCESS);
    EXPECT(couchstore_db_info(db, &figures) == COUCHSTORE_SUCCESS);
    EXPECT(figures.doc_count == 0);
    EXPECT(couchstore_close_db(db) == COUCHSTORE_SUCCESS);
    return 0;
}
