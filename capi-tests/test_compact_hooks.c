/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The hooks of compaction: what they are given, and what their results do.
 */
#include "testlib.h"

/* a@1 (deleted, no body) b@2 c@3 d@4 (deleted, with body) e@5 */
static Db *source_db(void) {
    Db *db = CREATE(path("source.couch"));
    struct doc docs[] = {{.id = "a", .meta = "ma"},
                         {.id = "b", .body = "BB", .meta = "mb", .rev = 3},
                         {.id = "c", .body = "CCC"},
                         {.id = "d", .body = "DDDD", .deleted = 1},
                         {.id = "e", .body = "", .content_meta = 3}};
    CHECK_OK(save_docs(db, docs, 5, 0));
    CHECK_OK(put_local(db, "_local/x", "X"));
    CHECK_OK(commit(db, 11));
    return db;
}

struct hook {
    char text[2000];
    size_t length;
    int (*decide)(Db *target, DocInfo *info, const sized_buf *item);
    int calls;
};

static int run_hook(Db *target, DocInfo *info, sized_buf item, void *ctx) {
    struct hook *hook = ctx;
    const char *blank = hook->length ? " " : "";
    ++hook->calls;
    if (info == NULL) {
        hook->length += (size_t)snprintf(hook->text + hook->length, 100, "%send%s", blank,
                                         item.buf == NULL && item.size == 0 ? "" : "?");
    } else if (item.buf == NULL) {
        hook->length += (size_t)snprintf(hook->text + hook->length, 100, "%s%.*s/%zx", blank,
                                         (int)info->id.size, info->id.buf, item.size);
    } else {
        hook->length +=
                (size_t)snprintf(hook->text + hook->length, 100, "%s%.*s=%.*s", blank,
                                 (int)info->id.size, info->id.buf, (int)item.size, item.buf);
    }
    return hook->decide(target, info, &item);
}

static couchstore_error_t compact_with(Db *db,
                                       struct hook *hook,
                                       couchstore_compact_flags flags,
                                       couchstore_docinfo_hook dhook) {
    hook->length = 0;
    hook->calls = 0;
    return couchstore_compact_db_ex(db, path("target.couch"), flags, run_hook, dhook, hook,
                                    couchstore_get_default_file_ops());
}

static Db *open_target(void) {
    return OPEN(path("target.couch"), 0);
}

static int keep(Db *target, DocInfo *info, const sized_buf *item) {
    (void)target, (void)info, (void)item;
    return COUCHSTORE_COMPACT_KEEP_ITEM;
}

TEST(keep_everything) {
    struct hook hook = {.decide = keep};
    Db *db = source_db();
    CHECK_OK(compact_with(db, &hook, 0, NULL));
    CHECK_STR(
            hook.text,
            "a/ffffff b/ffffff c/ffffff d/ffffff e/ffffff end"); /* by sequence; no body at first */
    CLOSE(db);
    db = open_target();
    CHECK_STR(docs_by_seq(db), "a@1- b@2 c@3 d@4- e@5");
    CHECK_STR(local_docs(db), "_local/x=X");
    CLOSE(db);
}

static int drop_even(Db *target, DocInfo *info, const sized_buf *item) {
    (void)target, (void)item;
    return info && info->db_seq % 2 == 0 ? COUCHSTORE_COMPACT_DROP_ITEM
                                         : COUCHSTORE_COMPACT_KEEP_ITEM;
}

TEST(drop_items) {
    struct hook hook = {.decide = drop_even};
    DbInfo info;
    Db *db = source_db();
    CHECK_OK(compact_with(db, &hook, 0, NULL));
    CLOSE(db);
    db = open_target();
    CHECK_STR(docs_by_seq(db), "a@1- c@3 e@5");
    CHECK_STR(docs_by_id(db), "a@1- c@3 e@5");
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_EQ_INT(info.last_sequence, 5);
    CHECK_EQ_INT(info.doc_count, 2);
    CHECK_EQ_INT(info.deleted_count, 1);
    CHECK_EQ_INT(info.purge_seq, 0);
    CLOSE(db);
}

static int drop_all(Db *target, DocInfo *info, const sized_buf *item) {
    (void)target, (void)item;
    return info ? COUCHSTORE_COMPACT_DROP_ITEM : 0;
}

TEST(drop_everything) {
    struct hook hook = {.decide = drop_all};
    Db *db = source_db();
    CHECK_OK(compact_with(db, &hook, 0, NULL));
    CLOSE(db);
    db = open_target();
    CHECK_STR(docs_by_seq(db), "");
    CHECK_STR(docs_by_id(db), "");
    CHECK_STR(local_docs(db), "_local/x=X");
    CHECK_EQ_INT(last_sequence(db), 5);
    CLOSE(db);
}

static int other_positive(Db *target, DocInfo *info, const sized_buf *item) {
    (void)target, (void)item;
    return info ? 3 + (int)info->db_seq : 5;
}

TEST(other_positive_results_keep) {
    struct hook hook = {.decide = other_positive};
    Db *db = source_db();
    CHECK_OK(compact_with(db, &hook, 0, NULL));
    CHECK_EQ_INT(hook.calls, 6);
    CLOSE(db);
    db = open_target();
    CHECK_STR(docs_by_seq(db), "a@1- b@2 c@3 d@4- e@5");
    CLOSE(db);
}

static int ask_for_bodies(Db *target, DocInfo *info, const sized_buf *item) {
    (void)target;
    return info && item->buf == NULL && item->size == 0xffffff && info->bp != 0
                   ? COUCHSTORE_COMPACT_NEED_BODY
                   : COUCHSTORE_COMPACT_KEEP_ITEM;
}

TEST(need_body) {
    struct hook hook = {.decide = ask_for_bodies};
    Db *db = source_db();
    CHECK_OK(compact_with(db, &hook, 0, NULL));
    CHECK(strstr(hook.text, "a/ffffff b/ffffff b=BB c/ffffff c=CCC d/ffffff d=DDDD e/ffffff e") ==
          hook.text);
    CHECK_EQ_INT(hook.calls, 10); /* once more for b c d e */
    CLOSE(db);
    db = open_target();
    CHECK_STR(docs_by_seq(db), "a@1- b@2 c@3 d@4- e@5");
    CHECK_STR(body_of(db, "b"), "BB");
    CLOSE(db);
}

static int need_body_of_a(Db *target, DocInfo *info, const sized_buf *item) {
    (void)target;
    return info && info->db_seq == 1 && item->size == 0xffffff ? COUCHSTORE_COMPACT_NEED_BODY
                                                               : COUCHSTORE_COMPACT_KEEP_ITEM;
}

TEST(need_body_of_an_item_without_one) {
    struct hook hook = {.decide = need_body_of_a};
    Db *db = source_db();
    CHECK_OK(compact_with(db, &hook, 0, NULL));
    CHECK_EQ_INT(hook.calls, 7);
    CHECK(strncmp(hook.text, "a/ffffff a/0 b", 14) == 0 ||
          strncmp(hook.text, "a/ffffff a= b", 13) == 0); /* an empty body */
    CLOSE(db);
}

static int need_body_then_drop(Db *target, DocInfo *info, const sized_buf *item) {
    (void)target;
    if (info == NULL || info->bp == 0) {
        return 0;
    }
    return item->size == 0xffffff ? COUCHSTORE_COMPACT_NEED_BODY
           : item->size == 3      ? COUCHSTORE_COMPACT_DROP_ITEM
                                  : 0;
}

TEST(decide_by_the_body) {
    struct hook hook = {.decide = need_body_then_drop};
    Db *db = source_db();
    CHECK_OK(compact_with(db, &hook, 0, NULL));
    CLOSE(db);
    db = open_target();
    CHECK_STR(docs_by_seq(db), "a@1- b@2 d@4- e@5");
    CLOSE(db);
}

static int always_need_body(Db *target, DocInfo *info, const sized_buf *item) {
    (void)target, (void)item;
    return info ? COUCHSTORE_COMPACT_NEED_BODY : 0;
}

TEST(need_body_twice_is_an_error) {
    struct hook hook = {.decide = always_need_body};
    Db *db = source_db();
    CHECK((int)compact_with(db, &hook, 0, NULL) < 0);
    CHECK_EQ_INT(hook.calls, 2);
    CHECK(!file_exists(path("target.couch")));
    CHECK_STR(docs_by_seq(db), "a@1- b@2 c@3 d@4- e@5");
    CLOSE(db);
}

static int cancel_at_c(Db *target, DocInfo *info, const sized_buf *item) {
    (void)target, (void)item;
    return info && info->db_seq == 3 ? -1234 : 0;
}

TEST(negative_result_cancels) {
    const couchstore_compact_flags flags[] = {0, COUCHSTORE_COMPACT_RECOVERY_MODE,
                                              COUCHSTORE_COMPACT_FLAG_UNBUFFERED};
    Db *db = source_db();
    for (size_t i = 0; i < COUNT_OF(flags); ++i) {
        struct hook hook = {.decide = cancel_at_c};
        int descriptors = open_descriptors();
        CHECK_CODE(compact_with(db, &hook, flags[i], NULL), -1234); /* exactly that code */
        CHECK_EQ_INT(hook.calls, 3);
        CHECK_EQ_INT(dir_entries(path(".")), 1); /* the target is removed, also in recovery mode */
        CHECK_EQ_INT(open_descriptors(), descriptors);
    }
    CHECK_STR(docs_by_seq(db), "a@1- b@2 c@3 d@4- e@5");
    CHECK_OK(couchstore_compact_db(db, path("target.couch")));
    CLOSE(db);
}

static int cancel_at_end(Db *target, DocInfo *info, const sized_buf *item) {
    (void)target, (void)item;
    return info ? 0 : COUCHSTORE_ERROR_CANCEL;
}

TEST(negative_result_of_the_final_call) {
    struct hook hook = {.decide = cancel_at_end};
    Db *db = source_db();
    CHECK_CODE(compact_with(db, &hook, 0, NULL), COUCHSTORE_ERROR_CANCEL);
    CHECK_EQ_INT(hook.calls, 6);
    CHECK_EQ_INT(dir_entries(path(".")), 1);
    CLOSE(db);
}

static int add_at_end(Db *target, DocInfo *info, const sized_buf *item) {
    (void)item;
    if (info == NULL) {
        put_local(target, "_local/added", "by the hook");
        couchstore_set_purge_seq(target, 77);
    }
    return 0;
}

TEST(final_call_may_add_to_the_target) {
    const couchstore_compact_flags flags[] = {0, COUCHSTORE_COMPACT_FLAG_DROP_DELETES};
    for (size_t i = 0; i < 2; ++i) {
        struct hook hook = {.decide = add_at_end};
        DbInfo info;
        Db *db = source_db();
        CHECK_OK(compact_with(db, &hook, flags[i], NULL));
        CLOSE(db);
        db = open_target();
        CHECK_STR(local_docs(db), "_local/added=by the hook _local/x=X");
        CHECK_OK(couchstore_db_info(db, &info));
        CHECK_EQ_INT(info.purge_seq, 77);
        CHECK_CODE(couchstore_seek(db, COUCHSTORE_SEEK_BACKWARD),
                   COUCHSTORE_ERROR_NO_HEADER); /* in the one header */
        CLOSE(db);
        unlink(path("source.couch"));
        unlink(path("target.couch"));
    }
}

TEST(drop_deletes_with_a_hook_only_counts) {
    struct hook hook = {.decide = keep};
    DbInfo info;
    Db *db = source_db();
    CHECK_OK(compact_with(db, &hook, COUCHSTORE_COMPACT_FLAG_DROP_DELETES, NULL));
    CHECK_EQ_INT(hook.calls, 6);
    CLOSE(db);
    db = open_target();
    CHECK_STR(docs_by_seq(db), "a@1- b@2 c@3 d@4- e@5");
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_EQ_INT(info.purge_seq, 1);
    CLOSE(db);
}

static bool target_is_given;

static int look_at_target(Db *target, DocInfo *info, const sized_buf *item) {
    const char *name = couchstore_get_db_filename(target);
    (void)info, (void)item;
    target_is_given = name != NULL && strcmp(name + strlen(name) - 12, "target.couch") == 0;
    return 0;
}

TEST(hook_is_given_the_target) {
    struct hook hook = {.decide = look_at_target};
    Db *db = source_db();
    CHECK_OK(compact_with(db, &hook, 0, NULL));
    CHECK(target_is_given);
    CLOSE(db);
}

static uint64_t sizes_seen[6];
static int sizes_count;

static int see_size(Db *target, DocInfo *info, const sized_buf *item) {
    DbInfo now;
    (void)info, (void)item;
    CHECK_OK(couchstore_db_info(target, &now));
    CHECK(sizes_count < 6);
    sizes_seen[sizes_count++] = now.file_size;
    return COUCHSTORE_COMPACT_KEEP_ITEM;
}

TEST(hook_sees_the_target_grow) {
    struct hook hook = {.decide = see_size};
    Db *db = source_db();
    CHECK_OK(compact_with(db, &hook, 0, NULL));
    CLOSE(db);
    CHECK_EQ_INT(sizes_count, 6);
    CHECK_EQ_INT(sizes_seen[1], sizes_seen[0]); /* a has no body */
    CHECK(sizes_seen[2] > sizes_seen[1]);
    CHECK(sizes_seen[3] > sizes_seen[2]);
    CHECK(sizes_seen[4] > sizes_seen[3]);
    CHECK(sizes_seen[5] > sizes_seen[4]); /* both trees */
}

/* ---- the docinfo hook ---- */

static char dhook_seen[500];

/* Gives every entry the rev_meta "<id>:<size of the body>", in a larger block made by realloc. */
static int longer_meta(DocInfo **info, const sized_buf *item) {
    DocInfo *old = *info;
    char meta[100];
    size_t length = (size_t)snprintf(meta, sizeof(meta), "%.*s:%zu", (int)old->id.size, old->id.buf,
                                     item->size);
    size_t id_size = old->id.size;
    ptrdiff_t id_offset = old->id.buf - (char *)old;
    DocInfo *new;
    snprintf(dhook_seen + strlen(dhook_seen), 50, "%.*s=%.*s ", (int)old->id.size, old->id.buf,
             (int)item->size, item->size ? item->buf : "");
    new = realloc(old, sizeof(*new) + (size_t)id_offset + id_size + length);
    if (new == NULL) {
        abort();
    }
    new->id.buf = (char *)new + id_offset;
    new->rev_meta.buf = new->id.buf + id_size;
    memcpy(new->rev_meta.buf, meta, length);
    new->rev_meta.size = length;
    new->rev_seq = 999; /* this, and all below, must not count */
    new->db_seq = 999;
    new->deleted = 1;
    new->content_meta = 99;
    *info = new;
    return 7; /* any non-zero number */
}

static int replaced_info(DocInfo **info, const sized_buf *item) {
    sized_buf meta = buf("replaced");
    DocInfo *new = couchstore_alloc_docinfo(&(*info)->id, &meta);
    (void)item;
    couchstore_free_docinfo(*info);
    *info = new;
    return 1;
}

static int unchanged(DocInfo **info, const sized_buf *item) {
    (void)item;
    return (*info)->bp == 0;
}

TEST(docinfo_hook_changes_rev_meta_only) {
    struct hook hook = {.decide = keep};
    DocInfo *info = NULL;
    Db *db = source_db();
    dhook_seen[0] = '\0';
    CHECK_OK(compact_with(db, &hook, 0, longer_meta));
    CHECK_STR(dhook_seen, "b=BB c=CCC d=DDDD e= "); /* not for the item without body */
    CLOSE(db);
    db = open_target();
    CHECK_STR(docs_by_seq(db), "a@1- b@2 c@3 d@4- e@5");
    CHECK_STR(docs_by_id(db), "a@1- b@2 c@3 d@4- e@5");
    CHECK_STR(body_of(db, "b"), "BB");
    for (int tree = 0; tree < 2; ++tree) {
        CHECK_OK(tree ? couchstore_docinfo_by_sequence(db, 2, &info)
                      : couchstore_docinfo_by_id(db, "b", 1, &info));
        CHECK_MEM(info->rev_meta.buf, info->rev_meta.size, "b:2", 3);
        CHECK_EQ_INT(info->rev_seq, 3);
        CHECK_EQ_INT(info->content_meta, 0);
        couchstore_free_docinfo(info);
    }
    CHECK_OK(couchstore_docinfo_by_id(db, "a", 1, &info));
    CHECK_MEM(info->rev_meta.buf, info->rev_meta.size, "ma", 2);
    couchstore_free_docinfo(info);
    CLOSE(db);
}

TEST(docinfo_hook_may_replace_the_info) {
    struct hook hook = {.decide = ask_for_bodies};
    DocInfo *info = NULL;
    Db *db = source_db();
    CHECK_OK(compact_with(db, &hook, 0, replaced_info));
    CLOSE(db);
    db = open_target();
    CHECK_STR(docs_by_id(db), "a@1- b@2 c@3 d@4- e@5");
    CHECK_OK(couchstore_docinfo_by_id(db, "e", 1, &info));
    CHECK_MEM(info->rev_meta.buf, info->rev_meta.size, "replaced", 8);
    CHECK_EQ_INT(info->content_meta, 3);
    couchstore_free_docinfo(info);
    CHECK_STR(body_of(db, "d"), "DDDD");
    CLOSE(db);
}

TEST(docinfo_hook_that_changes_nothing) {
    struct hook hook = {.decide = keep};
    char *expected, *actual;
    Db *db = source_db();
    expected = describe(db);
    CHECK_OK(compact_with(db, &hook, 0, unchanged));
    CLOSE(db);
    actual = describe_file(path("target.couch"));
    CHECK_STR(actual, expected);
    free(expected);
    free(actual);
}

TEST(docinfo_hook_needs_a_hook) {
    Db *db = source_db();
    CHECK_CODE(couchstore_compact_db_ex(db, path("target.couch"), 0, NULL, unchanged, NULL,
                                        couchstore_get_default_file_ops()),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK(!file_exists(path("target.couch")));
    CHECK_OK(couchstore_close_file(db));
    CHECK_CODE(couchstore_compact_db_ex(db, path("target.couch"), 0, NULL, unchanged, NULL,
                                        couchstore_get_default_file_ops()),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS); /* before anything else */
    CHECK_OK(couchstore_free_db(db));
}
