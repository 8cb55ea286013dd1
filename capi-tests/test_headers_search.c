/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * couchstore_seek_first_header_containing: sequences and timestamps of headers.
 */
#include "testlib.h"

/* One header per timestamp; header i (from 1) is at i * 4096 and has update_seq i. */
static Db *with_timestamps(size_t count, const uint64_t *timestamps) {
    Db *db = CREATE(path("a.couch"));
    for (size_t i = 0; i < count; ++i) {
        char id[32];
        snprintf(id, sizeof(id), "doc%zu", i + 1);
        CHECK_OK(put(db, id, "x"));
        CHECK_OK(commit(db, timestamps[i]));
        CHECK_EQ_INT(couchstore_get_header_position(db), (i + 1) * 4096);
    }
    return db;
}
#define WITH_TIMESTAMPS(...) \
    with_timestamps(COUNT_OF(((uint64_t[]){__VA_ARGS__})), (uint64_t[]){__VA_ARGS__})

static void check_search(int line,
                         Db *db,
                         cs_off_t current,
                         uint64_t seqno,
                         uint64_t granularity,
                         uint64_t expected) {
    test_equal_code(__FILE__, line, "seek_offset", couchstore_seek_offset(db, current), 0);
    test_equal_code(__FILE__, line, "search",
                    couchstore_seek_first_header_containing(db, seqno, granularity), 0);
    test_equal_int(__FILE__, line, "header position", (long long)couchstore_get_header_position(db),
                   (long long)expected);
}
#define SEARCH(db, current, seqno, granularity, expected) \
    check_search(__LINE__, (db), (current)*4096, (seqno), (granularity), (expected)*4096)

TEST(first_header_that_contains_a_sequence) {
    Db *db = WITH_TIMESTAMPS(10, 20, 30, 40, 50, 60, 70);
    for (uint64_t current = 1; current <= 7; ++current) {
        for (uint64_t seqno = 0; seqno <= current; ++seqno) {
            SEARCH(db, (cs_off_t)current, seqno, 1, seqno);
        }
        SEARCH(db, (cs_off_t)current, current + 1, 1, current); /* none: stays at the current one */
        SEARCH(db, (cs_off_t)current, UINT64_MAX, 1, current);
    }
    CHECK_OK(couchstore_seek_offset(db, 4096 * 7));
    CHECK_OK(couchstore_seek_first_header_containing(db, 3, 1));
    CHECK_STR(docs_by_seq(db), "doc1@1 doc2@2 doc3@3");
    CLOSE(db);
}

TEST(several_headers_with_one_sequence) {
    Db *db = CREATE(path("a.couch"));
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 10));
    CHECK_OK(commit(db, 20)); /* update_seq stays 1 */
    CHECK_OK(commit(db, 30));
    CHECK_OK(put(db, "b", "2"));
    CHECK_OK(commit(db, 40));
    SEARCH(db, 4, 1, 1, 1);
    SEARCH(db, 4, 2, 1, 4);
    CLOSE(db);
}

TEST(granularity) {
    Db *db = WITH_TIMESTAMPS(10, 13, 19, 20, 25, 40);
    SEARCH(db, 6, 1, 10, 3); /* the window [10, 20): newest is 19 */
    SEARCH(db, 6, 2, 10, 3); /* 13 lies in the same window */
    SEARCH(db, 6, 3, 10, 3);
    SEARCH(db, 6, 4, 10, 5); /* [20, 30) */
    SEARCH(db, 6, 6, 10, 6);
    SEARCH(db, 6, 1, 100, 6); /* [0, 100) */
    SEARCH(db, 6, 1, 2, 1);   /* [10, 12) */
    SEARCH(db, 2, 1, 10, 2);  /* never beyond the current header */
    SEARCH(db, 6, 0, 10, 0);  /* the first header, time 0: [0, 10) */
    CLOSE(db);
}

TEST(granularity_zero) {
    Db *db = WITH_TIMESTAMPS(10, 20);
    CHECK_CODE(couchstore_seek_first_header_containing(db, 1, 0),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_EQ_INT(couchstore_get_header_position(db), 8192);
    CLOSE(db);
}

TEST(headers_far_apart) {
    /* Data blocks between the headers: the search must find its way through them. */
    Db *db = CREATE(path("a.couch"));
    static char body[30001];
    uint64_t positions[9] = {0};
    memset(body, 'x', 30000);
    for (int i = 1; i <= 8; ++i) {
        char id[20];
        snprintf(id, sizeof(id), "doc%d", i);
        body[3000 * i] = '\0';
        CHECK_OK(put(db, id, body));
        body[3000 * i] = 'x';
        CHECK_OK(commit(db, (uint64_t)i));
        positions[i] = couchstore_get_header_position(db);
    }
    for (uint64_t seqno = 0; seqno <= 8; ++seqno) {
        CHECK_OK(couchstore_seek_offset(db, (cs_off_t)positions[8]));
        CHECK_OK(couchstore_seek_first_header_containing(db, seqno, 1));
        CHECK_EQ_INT(couchstore_get_header_position(db), positions[seqno]);
    }
    CLOSE(db);
}

TEST(header_blocks_in_a_document) {
    /* A body that looks like a header must not be taken for one: its blocks are of type data. */
    const char *name = path("a.couch");
    struct bytes header = {NULL, 0}, body = {NULL, 0};
    struct image_header fields = {.update_seq = 99, .timestamp = 1};
    Db *db = CREATE(name);
    Doc doc;
    DocInfo info = {.id = buf("trap")};
    image_add_header(&header, &fields);
    for (int i = 0; i < 200; ++i) {
        bytes_add(&body, header.data, header.size);
    }
    doc.id = info.id;
    doc.data.buf = (char *)body.data;
    doc.data.size = body.size;
    CHECK_OK(couchstore_save_document(db, &doc, &info, 0));
    CHECK_OK(commit(db, 10));
    CHECK_OK(put(db, "b", "2"));
    CHECK_OK(commit(db, 20));
    CHECK_OK(couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD));
    CHECK_STR(docs_by_seq(db), "trap@1");
    CHECK_OK(couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD));
    CHECK_EQ_INT(couchstore_get_header_position(db), 0);
    CHECK_OK(couchstore_seek(db, COUCHSTORE_SEEK_FORWARD));
    CHECK_STR(docs_by_seq(db), "trap@1");
    CHECK_OK(couchstore_seek(db, COUCHSTORE_SEEK_END));
    CHECK_OK(couchstore_seek_first_header_containing(db, 1, 1));
    CHECK_STR(docs_by_seq(db), "trap@1");
    CLOSE(db);
    bytes_free(&header);
    bytes_free(&body);
}
