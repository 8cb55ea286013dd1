/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Flags made of sizes.
 */
#include "testlib.h"

TEST(read_buffers) {
    static const struct {
        uint64_t unit, count, flags;
    } cases[] = {
            {0, 0, 0},
            {1, 0, 0x1000},
            {1024, 0, 0x1000},
            {1025, 0, 0x2000},
            {4096, 16, 0x3200},
            {0, 1, 0x0100},
            {0, 8, 0x0100},
            {0, 9, 0x0200},
            {16 << 20, 8 << 14, 0xff00},
            {UINT64_MAX, UINT64_MAX, 0xff00},
    };
    for (size_t i = 0; i < COUNT_OF(cases); ++i) {
        CHECK_EQ_INT(couchstore_encode_read_buffer_flags(cases[i].unit, cases[i].count),
                     cases[i].flags);
    }
    CHECK_EQ_INT(couchstore_encode_read_buffer_flags(UINT64_MAX, UINT64_MAX),
                 COUCHSTORE_OPEN_WITH_CUSTOM_BUFFER);
}

TEST(sizes_of_nodes) {
    static const struct {
        uint64_t interior, leaf, flags;
    } cases[] = {
            {0, 0, 0},
            {1, 0, 0x100000},
            {0, 1024, 0x010000},
            {1025, 2048, 0x220000},
            {15 << 10, 14 << 10, 0xfe0000},
            {UINT64_MAX, UINT64_MAX, 0xff0000},
    };
    for (size_t i = 0; i < COUNT_OF(cases); ++i) {
        CHECK_EQ_INT(couchstore_encode_node_size_flags(cases[i].interior, cases[i].leaf),
                     cases[i].flags);
    }
}

static int64_t longest_read(couchstore_open_flags flags) {
    struct test_ops t;
    int64_t longest = 0;
    ops_init(&t);
    Db *db = OPEN_OPS(path("a"), COUCHSTORE_OPEN_FLAG_RDONLY | flags, &t.ops);
    CHECK_OK(couchstore_all_docs(db, NULL, 0, ignore_doc, NULL));
    for (size_t i = 0; i < t.logged; ++i) {
        if (t.log[i].kind == OP_PREAD && t.log[i].result > longest) {
            longest = t.log[i].result;
        }
    }
    CLOSE(db);
    ops_free(&t);
    return longest;
}

static int nodes(Db *db,
                 int depth,
                 const DocInfo *info,
                 uint64_t subtree_size,
                 const sized_buf *reduce_value,
                 void *ctx) {
    (void)db, (void)depth, (void)subtree_size, (void)reduce_value;
    *(int *)ctx += info == NULL;
    return 0;
}

/* The library takes the flags for what they were made of. */
TEST(what_comes_of_them) {
    enum { DOCS = 600 };
    static char ids[DOCS][16];
    static struct doc docs[DOCS];
    int counts[2] = {0, 0};
    for (int large = 0; large < 2; ++large) {
        unlink(path("a"));
        Db *db = OPEN(path("a"),
                      COUCHSTORE_OPEN_FLAG_CREATE |
                              (large ? couchstore_encode_node_size_flags(8 << 10, 8 << 10) : 0));
        for (int i = 0; i < DOCS; ++i) {
            snprintf(ids[i], sizeof ids[i], "document-%05d", i);
            docs[i] = (struct doc){.id = ids[i], .body = "body"};
        }
        CHECK_OK(save_docs(db, docs, DOCS, 0));
        CHECK_OK(commit(db, 7));
        CHECK_OK(couchstore_walk_id_tree(db, NULL, 0, nodes, &counts[large]));
        CLOSE(db);
    }
    CHECK(counts[0] > 4 * counts[1]);
    CHECK(longest_read(couchstore_encode_read_buffer_flags(1024, 8)) <= 8 * 1024);
    CHECK(longest_read(couchstore_encode_read_buffer_flags(64 << 10, 8)) > 8 * 1024);
}

/* What walk callbacks are shown, as couch_db.h lays it out. */
struct reduces {
    unsigned char bytes[3][16];
    size_t sizes[3];
    int tree;
};

static int note_root(Db *db,
                     int depth,
                     const DocInfo *info,
                     uint64_t subtree_size,
                     const sized_buf *reduce_value,
                     void *ctx) {
    struct reduces *found = ctx;
    (void)db, (void)subtree_size;
    if (depth == 0 && info == NULL && reduce_value->size <= 16) {
        found->sizes[found->tree] = reduce_value->size;
        memcpy(found->bytes[found->tree], reduce_value->buf, reduce_value->size);
    }
    return 1; /* positive results mean nothing */
}

TEST(reduce_values_of_walks) {
    struct reduces found = {{{0}}, {0}, 0};
    Db *db = CREATE(path("a"));
    CHECK_OK(put(db, "a", "12345"));
    CHECK_OK(put(db, "b", "1"));
    CHECK_OK(put(db, "c", NULL));
    CHECK_OK(put_local(db, "_local/x", "{}"));
    found.sizes[2] = 77;
    CHECK_OK(couchstore_walk_id_tree(db, NULL, 0, note_root, &found));
    found.tree = 1;
    CHECK_OK(couchstore_walk_seq_tree(db, 0, 0, note_root, &found));
    found.tree = 2;
    CHECK_OK(couchstore_walk_local_tree(db, NULL, 0, note_root, &found));
    CHECK_EQ_INT(found.sizes[0], 16);
    CHECK_EQ_INT(found.sizes[1], 5);
    CHECK_EQ_INT(found.sizes[2], 0);
    CHECK_EQ_INT(read_be(found.bytes[0], 5), 2);
    CHECK_EQ_INT(read_be(found.bytes[0] + 5, 5), 1);
    CHECK_EQ_INT(read_be(found.bytes[0] + 10, 6), 13 + 9); /* chunks with 8 bytes in front */
    CHECK_EQ_INT(read_be(found.bytes[1], 5), 3);
    CLOSE(db);
}

TEST(ranges_of_what_is_set) {
    DbInfo info;
    Db *db = CREATE(path("a"));
    CHECK_OK(couchstore_set_purge_seq(db, UINT64_C(1) << 48 | 5));
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_EQ_INT(info.purge_seq, 5);
    CHECK_OK(couchstore_close_file(db));
    CHECK_OK(couchstore_set_purge_seq(db, 6));
    CHECK_OK(couchstore_free_db(db));
}

/* Documents and local documents; as the id to begin with it means the beginning. */
TEST(empty_ids) {
    Db *db = CREATE(path("a"));
    DocInfo *info = NULL;
    const sized_buf range[2] = {{NULL, 0}, {(char *)"a", 1}};
    struct scan scan = {.stop_at = 0};
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(put(db, "", "2"));
    CHECK_OK(put_local(db, "", "3"));
    CHECK_OK(couchstore_docinfo_by_id(db, NULL, 0, &info));
    CHECK_EQ_INT(info->db_seq, 2);
    couchstore_free_docinfo(info);
    CHECK_STR(docs_by_id(db), "@2 a@1");
    CHECK_STR(local_of(db, ""), "3");
    CHECK_OK(couchstore_docinfos_by_id(db, range, 2, RANGES, scan_callback, &scan));
    CHECK_STR(scan.text, "@2 a@1");
    CLOSE(db);
}

/* All functions but couchstore_compact_db_online(), for which see test_online.c, take what means nothing for nothing. */
TEST(flags_that_mean_nothing) {
    Doc *doc = NULL;
    Db *db = OPEN(path("a"), COUCHSTORE_OPEN_FLAG_CREATE | UINT64_C(1) << 40 | 0xc0);
    struct doc one = {.id = "a", .body = "1"};
    struct scan scan = {.stop_at = 0};
    CHECK_OK(save_docs(db, &one, 1, UINT64_C(1) << 40));
    CHECK_OK(couchstore_open_document(db, "a", 1, &doc, UINT64_C(1) << 40));
    couchstore_free_document(doc);
    CHECK_OK(couchstore_all_docs(db, NULL, UINT64_C(1) << 40, scan_callback, &scan));
    CHECK_STR(scan.text, "a@1");
    CLOSE(db);
}
