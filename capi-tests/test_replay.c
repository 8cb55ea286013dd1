/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * couchstore_replay: carrying later commits of a source over to a copy of it.
 */
#include "testlib.h"

/*
 * The source has a header with a b c(deleted) and local documents one, two; the target is a compacted
 * copy of that. Then more is committed to the source.
 */
struct pair {
    Db *source, *target;
    uint64_t base, end; /* header positions in the source */
};

static struct pair start(void) {
    struct pair p;
    Db *db = CREATE(path("source.couch"));
    CHECK_OK(put(db, "a", "A1"));
    CHECK_OK(put(db, "b", "B1"));
    CHECK_OK(put(db, "c", NULL));
    CHECK_OK(put_local(db, "_local/one", "1"));
    CHECK_OK(put_local(db, "_local/two", "2"));
    CHECK_OK(commit(db, 100));
    p.base = couchstore_get_header_position(db);
    CHECK_OK(couchstore_compact_db(db, path("target.couch")));
    CLOSE(db);
    return p;
}

/* Opens both: the source at the header that the target is based on, its end known. */
static void finish(struct pair *p) {
    p->source = OPEN(path("source.couch"), COUCHSTORE_OPEN_FLAG_RDONLY);
    p->end = couchstore_get_header_position(p->source);
    CHECK_OK(couchstore_seek_offset(p->source, (cs_off_t)p->base));
    p->target = OPEN(path("target.couch"), 0);
}

static void usual_changes(void) {
    Db *db = OPEN(path("source.couch"), 0);
    struct doc tomb = {.id = "e", .body = "with body", .deleted = 1, .meta = "me", .rev = 8};
    CHECK_OK(put(db, "a", "A2"));
    CHECK_OK(put(db, "d", "D1"));
    CHECK_OK(commit(db, 200));
    CHECK_OK(put(db, "b", NULL));
    CHECK_OK(save_docs(db, &tomb, 1, 0));
    CHECK_OK(put_local(db, "_local/one", "changed"));
    CHECK_OK(put_local(db, "_local/two", NULL));
    CHECK_OK(put_local(db, "_local/three", "3"));
    CHECK_OK(couchstore_set_purge_seq(db, 2));
    CHECK_OK(commit(db, 300));
    CLOSE(db);
}

static void check_equal(const char *first, const char *second) {
    char *expected = describe_file(first), *actual = describe_file(second);
    CHECK_STR(actual, expected);
    free(expected);
    free(actual);
}

static void close_pair(struct pair *p) {
    CLOSE(p->source);
    CLOSE(p->target);
}

struct hooks {
    char text[2000];
    size_t length;
    int skip_seq, fail_at, fail_with, precommit_result, calls, precommits;
    bool put_before; /* a document was in the target before its hook came */
};

static couchstore_error_t pre_copy(Db *source,
                                   Db *target,
                                   const DocInfo *doc,
                                   const DocInfo *local,
                                   void *ctx) {
    struct hooks *hooks = ctx;
    const DocInfo *info = doc ? doc : local;
    DocInfo *present = NULL;
    (void)source;
    ++hooks->calls;
    hooks->length +=
            (size_t)snprintf(hooks->text + hooks->length, 100, "%s%.*s%s", hooks->length ? " " : "",
                             (int)info->id.size, info->id.buf, doc ? "" : "/local");
    if (doc) {
        if (couchstore_docinfo_by_id(target, info->id.buf, info->id.size, &present) ==
            COUCHSTORE_SUCCESS) {
            hooks->put_before |= present->db_seq >= info->db_seq;
            couchstore_free_docinfo(present);
        }
    } else if (info->bp || info->db_seq || info->rev_seq || info->deleted || info->rev_meta.size) {
        hooks->length += (size_t)snprintf(hooks->text + hooks->length, 100, "?");
    } else {
        hooks->length +=
                (size_t)snprintf(hooks->text + hooks->length, 100, "/%zu", info->physical_size);
    }
    if (hooks->calls == hooks->fail_at) {
        return (couchstore_error_t)hooks->fail_with;
    }
    return (couchstore_error_t)(doc && hooks->skip_seq && (int)doc->db_seq == hooks->skip_seq);
}

static couchstore_error_t precommit(Db *source, Db *target, void *ctx) {
    struct hooks *hooks = ctx;
    (void)source, (void)target;
    ++hooks->precommits;
    return (couchstore_error_t)hooks->precommit_result;
}

TEST(everything_is_carried_over) {
    struct pair p = start();
    couchstore_header_info header;
    usual_changes();
    finish(&p);
    CHECK_OK(couchstore_replay(p.source, p.target, p.end, NULL, NULL, NULL, 100 << 20));
    CHECK_STR(docs_by_seq(p.target), "c@3- a@4 d@5 b@6- e@7-");
    CHECK_STR(local_docs(p.target), "_local/one=changed _local/three=3"); /* two is gone */
    CHECK_EQ_INT(couchstore_get_header_position(p.source), p.end); /* left at the end header */
    CHECK_OK(couchstore_get_header(p.target, &header));
    CHECK_EQ_INT(header.timestamp, 300);
    CHECK_EQ_INT(header.purge_seq, 2);
    CHECK_EQ_INT(header.update_seq, 7);
    close_pair(&p);
    check_equal(path("source.couch"), path("target.couch"));
}

TEST(up_to_a_header_in_between) {
    struct pair p = start();
    uint64_t middle;
    couchstore_header_info header;
    usual_changes();
    finish(&p);
    CHECK_OK(couchstore_seek(p.source, COUCHSTORE_SEEK_FORWARD));
    middle = couchstore_get_header_position(p.source);
    CHECK_OK(couchstore_seek_offset(p.source, (cs_off_t)p.base));
    CHECK_OK(couchstore_replay(p.source, p.target, middle, NULL, NULL, NULL, 100 << 20));
    CHECK_STR(docs_by_seq(p.target), "b@2 c@3- a@4 d@5");
    CHECK_STR(local_docs(p.target), "_local/one=1 _local/two=2");
    CHECK_OK(couchstore_get_header(p.target, &header));
    CHECK_EQ_INT(header.timestamp, 200);
    CHECK_OK(couchstore_replay(p.source, p.target, p.end, NULL, NULL, NULL,
                               100 << 20)); /* and the rest in a second step */
    close_pair(&p);
    check_equal(path("source.couch"), path("target.couch"));
}

TEST(flush_thresholds) {
    const size_t thresholds[] = {0, 1, 5, 100, SIZE_MAX};
    for (size_t i = 0; i < COUNT_OF(thresholds); ++i) {
        struct pair p = start();
        usual_changes();
        finish(&p);
        CHECK_OK(couchstore_replay(p.source, p.target, p.end, NULL, NULL, NULL, thresholds[i]));
        close_pair(&p);
        check_equal(path("source.couch"), path("target.couch"));
        unlink(path("source.couch"));
        unlink(path("target.couch"));
    }
}

TEST(order_of_the_hooks) {
    struct pair p = start();
    struct hooks hooks = {.length = 0};
    usual_changes();
    finish(&p);
    CHECK_OK(couchstore_replay(p.source, p.target, p.end, pre_copy, precommit, &hooks, 100 << 20));
    /* local documents of the end header first, with the body's length; then documents by sequence */
    CHECK_STR(hooks.text, "_local/one/local/7 _local/three/local/1 a d b e");
    CHECK(!hooks.put_before);
    CHECK_EQ_INT(hooks.precommits, 1);
    close_pair(&p);
}

TEST(hook_comes_before_the_put_for_any_threshold) {
    struct pair p = start();
    struct hooks hooks = {.length = 0};
    usual_changes();
    finish(&p);
    CHECK_OK(couchstore_replay(p.source, p.target, p.end, pre_copy, precommit, &hooks, 0));
    CHECK(!hooks.put_before);
    CHECK_EQ_INT(hooks.precommits, 1);
    close_pair(&p);
}

TEST(positive_result_skips_a_document) {
    struct pair p = start();
    struct hooks hooks = {.skip_seq = 5};
    usual_changes();
    finish(&p);
    CHECK_OK(couchstore_replay(p.source, p.target, p.end, pre_copy, precommit, &hooks, 100 << 20));
    CHECK_STR(docs_by_seq(p.target), "c@3- a@4 b@6- e@7-");
    close_pair(&p);
}

TEST(update_sequence_is_that_of_what_was_saved) {
    struct pair p = start();
    struct hooks hooks = {.skip_seq = 7}; /* the last one */
    usual_changes();
    finish(&p);
    CHECK_OK(couchstore_replay(p.source, p.target, p.end, pre_copy, precommit, &hooks, 100 << 20));
    CHECK_STR(docs_by_seq(p.target), "c@3- a@4 d@5 b@6-");
    CHECK_EQ_INT(last_sequence(p.target), 6); /* not copied from the source */
    close_pair(&p);
}

TEST(negative_results_end_it) {
    for (int at = 1; at <= 6; ++at) {
        struct pair p = start();
        struct hooks hooks = {.fail_at = at, .fail_with = -321};
        char *before = describe_file(path("target.couch")), *after;
        usual_changes();
        finish(&p);
        CHECK_CODE(couchstore_replay(p.source, p.target, p.end, pre_copy, precommit, &hooks, 0),
                   -321);
        CHECK_EQ_INT(hooks.calls, at);
        CHECK_EQ_INT(hooks.precommits, 0);
        close_pair(&p);
        after = describe_file(path("target.couch")); /* nothing was committed */
        CHECK_STR(after, before);
        free(before);
        free(after);
        unlink(path("source.couch"));
        unlink(path("target.couch"));
    }
}

TEST(any_result_of_precommit_but_success_ends_it) {
    const int results[] = {-321, COUCHSTORE_ERROR_CANCEL, 5};
    for (size_t i = 0; i < COUNT_OF(results); ++i) {
        struct pair p = start();
        struct hooks hooks = {.precommit_result = results[i]};
        char *before = describe_file(path("target.couch")), *after;
        usual_changes();
        finish(&p);
        CHECK_CODE(couchstore_replay(p.source, p.target, p.end, pre_copy, precommit, &hooks,
                                     100 << 20),
                   results[i]);
        close_pair(&p);
        after = describe_file(path("target.couch"));
        CHECK_STR(after, before);
        free(before);
        free(after);
        unlink(path("source.couch"));
        unlink(path("target.couch"));
    }
}

static couchstore_error_t override_all(Db *source, Db *target, void *ctx) {
    uint64_t *seen = ctx;
    couchstore_header_info header;
    if (couchstore_get_header(source, &header) == COUCHSTORE_SUCCESS) {
        seen[0] = header.header_position;
    }
    seen[1] = strcmp(body_of(target, "a"), "A2") ==
              0; /* the target's uncommitted state can be read */
    couchstore_set_purge_seq(target, 55);
    put_local(target, "_local/hook", "h");
    return COUCHSTORE_SUCCESS;
}

TEST(precommit_may_override) {
    struct pair p = start();
    uint64_t seen[2] = {0};
    couchstore_header_info header;
    usual_changes();
    finish(&p);
    CHECK_OK(couchstore_replay(p.source, p.target, p.end, NULL, override_all, seen, 100 << 20));
    CHECK_EQ_INT(seen[0], p.end);
    CHECK_EQ_INT(seen[1], 1);
    CHECK_OK(couchstore_get_header(p.target, &header));
    CHECK_EQ_INT(header.purge_seq, 55);
    CHECK_STR(local_of(p.target, "_local/hook"), "h");
    close_pair(&p);
}

TEST(local_documents_that_only_the_target_has_stay) {
    struct pair p = start();
    Db *db = OPEN(path("target.couch"), 0);
    CHECK_OK(put_local(db, "_local/mine", "m"));
    CHECK_OK(commit(db, 150));
    CLOSE(db);
    usual_changes();
    finish(&p);
    CHECK_OK(couchstore_replay(p.source, p.target, p.end, NULL, NULL, NULL, 100 << 20));
    CHECK_STR(local_docs(p.target), "_local/mine=m _local/one=changed _local/three=3");
    close_pair(&p);
}

TEST(only_local_documents_changed) {
    struct pair p = start();
    struct hooks hooks = {.length = 0};
    Db *db = OPEN(path("source.couch"), 0);
    CHECK_OK(put_local(db, "_local/one", "new"));
    CHECK_OK(commit(db, 400));
    CLOSE(db);
    finish(&p);
    CHECK_OK(couchstore_replay(p.source, p.target, p.end, pre_copy, precommit, &hooks, 100 << 20));
    CHECK_STR(hooks.text,
              "_local/one/local/3 _local/two/local/1"); /* equal ones are announced too */
    CHECK_EQ_INT(hooks.precommits, 1);
    close_pair(&p);
    check_equal(path("source.couch"), path("target.couch"));
}

TEST(nothing_changed) {
    struct pair p = start();
    couchstore_header_info header;
    finish(&p);
    CHECK_EQ_INT(p.end, p.base);
    CHECK_OK(couchstore_replay(p.source, p.target, p.end, NULL, NULL, NULL, 100 << 20));
    CHECK_OK(couchstore_get_header(p.target, &header));
    CHECK_EQ_INT(header.timestamp, 100);
    close_pair(&p);
    check_equal(path("source.couch"), path("target.couch"));
}

TEST(bodies_stay_compressed) {
    struct pair p = start();
    char body[1001];
    struct doc packed = {.id = "packed",
                         .body = body,
                         .content_meta = COUCH_DOC_IS_COMPRESSED,
                         .meta = "m",
                         .rev = 12};
    Db *db = OPEN(path("source.couch"), 0);
    memset(body, 'z', 1000);
    body[1000] = '\0';
    CHECK_OK(save_docs(db, &packed, 1, COMPRESS_DOC_BODIES));
    CHECK_OK(commit(db, 400));
    CLOSE(db);
    finish(&p);
    CHECK_OK(couchstore_replay(p.source, p.target, p.end, NULL, NULL, NULL, 100 << 20));
    CHECK_STR(body_of(p.target, "packed"), body);
    close_pair(&p);
    check_equal(path("source.couch"), path("target.couch"));
}

TEST(wrong_end_offsets) {
    static const struct {
        uint64_t offset;
        couchstore_error_t code;
    } table[] = {{100, COUCHSTORE_ERROR_INVALID_ARGUMENTS}, {1 << 20, COUCHSTORE_ERROR_NO_HEADER}};
    for (size_t i = 0; i < COUNT_OF(table); ++i) {
        struct pair p = start();
        struct hooks hooks = {.length = 0};
        usual_changes();
        finish(&p);
        CHECK_CODE(couchstore_replay(p.source, p.target, table[i].offset, pre_copy, precommit,
                                     &hooks, 0),
                   table[i].code);
        CHECK_EQ_INT(hooks.calls + hooks.precommits, 0);
        CHECK_STR(docs_by_seq(p.target), "a@1 b@2 c@3-");
        close_pair(&p);
        unlink(path("source.couch"));
        unlink(path("target.couch"));
    }
}

TEST(damaged_source) {
    struct pair p = start();
    Db *db;
    DocInfo *info = NULL;
    uint64_t position;
    usual_changes();
    db = OPEN(path("source.couch"), 0);
    CHECK_OK(couchstore_docinfo_by_id(db, "d", 1, &info));
    position = info->bp;
    couchstore_free_docinfo(info);
    CLOSE(db);
    file_flip(path("source.couch"), (int64_t)position + 8, 1);
    finish(&p);
    CHECK_CODE(couchstore_replay(p.source, p.target, p.end, NULL, NULL, NULL, 0),
               COUCHSTORE_ERROR_CHECKSUM_FAIL);
    close_pair(&p);
    db = OPEN(path("target.couch"), 0);
    CHECK_STR(docs_by_seq(db), "a@1 b@2 c@3-");
    CLOSE(db);
}

TEST(read_only_target) {
    struct pair p = start();
    usual_changes();
    finish(&p);
    CLOSE(p.target);
    p.target = OPEN(path("target.couch"), COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_CODE(couchstore_replay(p.source, p.target, p.end, NULL, NULL, NULL, 0),
               COUCHSTORE_ERROR_WRITE);
    close_pair(&p);
}

TEST(many_changes) {
    struct pair p = start();
    int count = test_small() ? 300 : 3000;
    Db *db = OPEN(path("source.couch"), 0);
    for (int i = 0; i < count; ++i) {
        char id[24], body[40];
        snprintf(id, sizeof(id), "key%05d", i * 37 % 1000);
        snprintf(body, sizeof(body), "body %d", i);
        CHECK_OK(put(db, id, i % 11 ? body : NULL));
        if (i % 100 == 0) {
            CHECK_OK(commit(db, (uint64_t)i));
        }
    }
    CHECK_OK(commit(db, 5000));
    CLOSE(db);
    finish(&p);
    CHECK_OK(couchstore_replay(p.source, p.target, p.end, NULL, NULL, NULL, 1000));
    close_pair(&p);
    check_equal(path("source.couch"), path("target.couch"));
}
