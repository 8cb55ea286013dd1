/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Sequence numbers end at 2^48 - 1: none is given out twice, and no document is replaced by another one's number.
 */
#include "testlib.h"

#define LAST_SEQ ((UINT64_C(1) << 48) - 1)

/* Two documents, and one whose number the caller has chosen. */
static Db *with_far_document(uint64_t seq) {
    Db *db = CREATE(path("a.couch"));
    struct doc far = {.id = "far", .body = "b", .seq = seq};
    CHECK_OK(put(db, "first", "a"));
    CHECK_OK(put(db, "second", "a"));
    CHECK_OK(save_docs(db, &far, 1, COUCHSTORE_SEQUENCE_AS_IS));
    CHECK_EQ_INT(far.seq, seq);
    CHECK_OK(commit(db, 1));
    return db;
}

TEST(the_library_gives_out_no_number_beyond_the_last) {
    /* The second one is stored as 0. */
    static const uint64_t numbers[] = {LAST_SEQ, LAST_SEQ + 1, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        Db *db = with_far_document(numbers[i]);
        struct doc docs[] = {{.id = "n0", .body = "c", .seq = 77}, {.id = "n1", .seq = 78}};
        char *before = describe(db), *after;
        errno = 0;
        CHECK_CODE(save_docs(db, docs, 2, 0), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        CHECK_CODE(put(db, "n2", "c"), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        CHECK_EQ_INT(docs[0].seq, 77);
        CHECK_EQ_INT(docs[1].seq, 78);
        after = describe(db);
        CHECK_STR(after, before);
        free(after);
        CHECK_OK(commit(db, 2));
        CLOSE(db);
        /* The file knows of it, too. */
        db = OPEN(path("a.couch"), 0);
        CHECK_EQ_INT(last_sequence(db), LAST_SEQ);
        CHECK_CODE(put(db, "n2", "c"), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        CHECK_STR(docs_by_id(db) + strlen(docs_by_id(db)) - strlen("second@2"), "second@2");
        CHECK_OK(couchstore_compact_db(db, path("b.couch")));
        CLOSE(db);
        db = OPEN(path("b.couch"), 0);
        CHECK_STR(body_of(db, "first"), "a");
        CHECK_STR(body_of(db, "second"), "a");
        CHECK_STR(body_of(db, "far"), "b");
        CHECK_CODE(put(db, "n2", "c"), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        CLOSE(db);
        free(before);
        unlink(path("a.couch"));
        unlink(path("b.couch"));
    }
}

TEST(the_last_numbers_are_given_out) {
    Db *db = with_far_document(LAST_SEQ - 2);
    struct doc docs[] = {{.id = "n0", .body = "c"}, {.id = "n1", .body = "c"}, {.id = "n2"}};
    CHECK_CODE(save_docs(db, docs, 3, 0), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_OK(save_docs(db, docs, 2, 0));
    CHECK_EQ_INT(docs[0].seq, LAST_SEQ - 1);
    CHECK_EQ_INT(docs[1].seq, LAST_SEQ);
    CHECK_CODE(put(db, "n2", "c"), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_OK(commit(db, 2));
    CHECK_STR(docs_by_seq(db),
              "first@1 second@2 far@281474976710653 n0@281474976710654 "
              "n1@281474976710655");
    CLOSE(db);
}

TEST(what_callers_choose_is_cut) {
    Db *db = CREATE(path("a.couch"));
    struct doc doc = {.id = "a", .body = "1", .seq = LAST_SEQ + 43, .rev = LAST_SEQ + 4};
    DocInfo *info = NULL;
    DbInfo figures;
    CHECK_OK(save_docs(db, &doc, 1, COUCHSTORE_SEQUENCE_AS_IS));
    CHECK_EQ_INT(doc.seq, LAST_SEQ + 43);
    CHECK_OK(couchstore_docinfo_by_id(db, "a", 1, &info));
    CHECK_EQ_INT(info->db_seq, 42);
    CHECK_EQ_INT(info->rev_seq, 3);
    couchstore_free_docinfo(info);
    CHECK_OK(couchstore_set_purge_seq(db, LAST_SEQ + 6));
    CHECK_OK(couchstore_db_info(db, &figures));
    CHECK_EQ_INT(figures.purge_seq, 5);
    CLOSE(db);
}
