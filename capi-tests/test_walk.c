/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The three tree walks: order, depths, sizes, reduce values, pruning, stopping.
 */
#include "testlib.h"

struct walk {
    char text[4000];
    size_t length;
    int nodes, docs, stop_at, stop_with, calls;
    /* of nodes: counts announced by the reduce values, and what was seen below them */
    int root_depth, last_depth, max_depth, leaf_doc_depth;
    bool bad_depth, bad_order, bad_node;
    char last_id[64];
    uint64_t last_seq;
    uint64_t root_size, child_sizes;
    uint64_t root_count, child_counts;
    size_t reduce_size;
    bool by_seq;
};

static uint64_t reduce_count(const struct walk *walk, const sized_buf *reduce) {
    const unsigned char *data = (const unsigned char *)reduce->buf;
    if (reduce->size == 0) {
        return 0;
    }
    return walk->by_seq ? read_be(data, 5) : read_be(data, 5) + read_be(data + 5, 5);
}

static int record(Db *db,
                  int depth,
                  const DocInfo *info,
                  uint64_t size,
                  const sized_buf *reduce,
                  void *ctx) {
    struct walk *walk = ctx;
    (void)db;
    if (info == NULL) {
        ++walk->nodes;
        walk->bad_node |= reduce == NULL || reduce->size != walk->reduce_size || size == 0;
        walk->bad_depth |= depth > walk->last_depth + 1 || depth < 0;
        if (reduce != NULL && depth == 0) {
            walk->root_size = size;
            walk->root_count = reduce_count(walk, reduce);
        } else if (reduce != NULL && depth == 1) {
            walk->child_sizes += size;
            walk->child_counts += reduce_count(walk, reduce);
        }
        walk->last_depth = depth;
        walk->leaf_doc_depth = depth + 1;
        if (walk->length < sizeof(walk->text) - 100) {
            walk->length += (size_t)snprintf(walk->text + walk->length, 50, "%s%d:node",
                                             walk->length ? " " : "", depth);
        }
    } else {
        char id[64];
        snprintf(id, sizeof(id), "%.*s", info->id.size < 60 ? (int)info->id.size : 60,
                 info->id.buf);
        ++walk->docs;
        walk->bad_node |= reduce != NULL || size != 0;
        walk->bad_depth |= depth != walk->leaf_doc_depth;
        walk->bad_order |= walk->docs > 1 && (walk->by_seq ? info->db_seq <= walk->last_seq
                                                           : strcmp(id, walk->last_id) <= 0);
        strcpy(walk->last_id, id);
        walk->last_seq = info->db_seq;
        if (walk->length < sizeof(walk->text) - 100) {
            walk->length += (size_t)snprintf(walk->text + walk->length, 100, " %d:%s", depth, id);
        }
    }
    if (depth > walk->max_depth) {
        walk->max_depth = depth;
    }
    ++walk->calls;
    return walk->stop_at > 0 && walk->calls >= walk->stop_at ? walk->stop_with : 0;
}

static void start(struct walk *walk, bool by_seq, size_t reduce_size) {
    memset(walk, 0, sizeof(*walk));
    walk->by_seq = by_seq;
    walk->reduce_size = reduce_size;
    walk->last_depth = -1;
}

static void fill(Db *db, int count) {
    for (int i = 0; i < count; ++i) {
        char id[20];
        snprintf(id, sizeof(id), "doc%06d", i * 13 % count); /* count must not be divisible by 13 */
        CHECK_OK(put(db, id, i % 5 ? "a body" : NULL));
    }
}

TEST(one_leaf) {
    Db *db = CREATE(path("a.couch"));
    struct walk walk;
    CHECK_OK(put(db, "hello", "world"));
    CHECK_OK(put(db, "bye", "world"));
    start(&walk, false, 16);
    CHECK_OK(couchstore_walk_id_tree(db, NULL, 0, record, &walk));
    CHECK_STR(walk.text, "0:node 1:bye 1:hello"); /* root first, at depth 0 */
    CHECK(!walk.bad_node && !walk.bad_depth);
    CHECK_EQ_INT(walk.root_count, 2);
    start(&walk, true, 5);
    CHECK_OK(couchstore_walk_seq_tree(db, 0, 0, record, &walk));
    CHECK_STR(walk.text, "0:node 1:hello 1:bye");
    CHECK(!walk.bad_node && !walk.bad_depth);
    CHECK_EQ_INT(walk.root_count, 2);
    CLOSE(db);
}

TEST(subtree_size_of_the_smallest_tree) {
    Db *db = CREATE(path("a.couch"));
    struct walk walk;
    CHECK_OK(put(db, "hello", "world"));
    start(&walk, false, 16);
    CHECK_OK(couchstore_walk_id_tree(db, NULL, 0, record, &walk));
    CHECK_EQ_INT(walk.root_size, 0x2b); /* 8 + 35 bytes of Snappy */
    CLOSE(db);
}

TEST(empty_trees) {
    Db *db = CREATE(path("a.couch"));
    struct walk walk;
    start(&walk, false, 16);
    CHECK_OK(couchstore_walk_id_tree(db, NULL, 0, record, &walk));
    CHECK_OK(couchstore_walk_seq_tree(db, 0, 0, record, &walk));
    CHECK_OK(couchstore_walk_local_tree(db, NULL, 0, record, &walk));
    CHECK_EQ_INT(walk.calls, 0);
    CLOSE(db);
}

TEST(deep_trees) {
    int count = test_small() ? 400 : 3000;
    Db *db = CREATE(path("a.couch"));
    struct walk walk;
    DbInfo info;
    fill(db, count);
    CHECK_OK(couchstore_db_info(db, &info));
    start(&walk, false, 16);
    CHECK_OK(couchstore_walk_id_tree(db, NULL, 0, record, &walk));
    CHECK_EQ_INT(walk.docs, count);
    CHECK(walk.max_depth >= 2);
    CHECK(!walk.bad_node && !walk.bad_depth && !walk.bad_order);
    CHECK_EQ_INT(walk.root_count, count);
    CHECK_EQ_INT(walk.child_counts, count);
    CHECK(walk.root_size > walk.child_sizes); /* its own chunk comes on top */
    CHECK(walk.root_size < info.space_used);
    start(&walk, true, 5);
    CHECK_OK(couchstore_walk_seq_tree(db, 0, 0, record, &walk));
    CHECK_EQ_INT(walk.docs, count);
    CHECK(!walk.bad_node && !walk.bad_depth && !walk.bad_order);
    CHECK_EQ_INT(walk.root_count, count);
    CHECK_EQ_INT(walk.child_counts, count);
    CLOSE(db);
}

TEST(node_size_flags_change_the_shape) {
    const couchstore_open_flags flags[] = {0, 0x110000, 0xff0000};
    int nodes[3];
    for (int i = 0; i < 3; ++i) {
        const char *name = path(i == 0 ? "a.couch" : i == 1 ? "b.couch" : "c.couch");
        Db *db = OPEN(name, COUCHSTORE_OPEN_FLAG_CREATE | flags[i]);
        struct walk walk;
        fill(db, 500);
        start(&walk, false, 16);
        CHECK_OK(couchstore_walk_id_tree(db, NULL, 0, record, &walk));
        CHECK_EQ_INT(walk.docs, 500);
        nodes[i] = walk.nodes;
        CLOSE(db);
    }
    CHECK(nodes[1] > nodes[0]);     /* 1 KiB against 1279 bytes */
    CHECK(nodes[2] < nodes[0] / 5); /* 15 KiB */
}

TEST(start_keys_prune) {
    Db *db = CREATE(path("a.couch"));
    struct walk all, some;
    sized_buf key = buf("doc000450");
    fill(db, 500);
    start(&all, false, 16);
    CHECK_OK(couchstore_walk_id_tree(db, NULL, 0, record, &all));
    start(&some, false, 16);
    CHECK_OK(couchstore_walk_id_tree(db, &key, 0, record, &some));
    CHECK_EQ_INT(some.docs, 50);
    CHECK(some.nodes < all.nodes / 2);
    CHECK(!some.bad_order);
    CHECK_EQ_INT(some.root_count, 500); /* the root is shown whole */
    start(&some, true, 5);
    CHECK_OK(couchstore_walk_seq_tree(db, 481, 0, record, &some));
    CHECK_EQ_INT(some.docs, 20);
    CHECK(!some.bad_order);
    CLOSE(db);
}

TEST(start_key_behind_everything) {
    Db *db = CREATE(path("a.couch"));
    sized_buf key = buf("zzz");
    struct walk walk;
    fill(db, 300);
    start(&walk, false, 16);
    CHECK_OK(couchstore_walk_id_tree(db, &key, 0, record, &walk));
    CHECK_STR(walk.text, "0:node"); /* the root's callback always comes */
    start(&walk, true, 5);
    CHECK_OK(couchstore_walk_seq_tree(db, 301, 0, record, &walk));
    CHECK_STR(walk.text, "0:node");
    start(&walk, true, 5);
    CHECK_OK(couchstore_walk_seq_tree(db, UINT64_MAX, 0, record, &walk));
    CHECK_STR(walk.text, "0:node");
    CLOSE(db);
}

TEST(callback_results) {
    Db *db = CREATE(path("a.couch"));
    struct walk walk;
    fill(db, 300);
    start(&walk, false, 16);
    walk.stop_at = 1; /* at a node */
    walk.stop_with = COUCHSTORE_ERROR_CANCEL;
    CHECK_CODE(couchstore_walk_id_tree(db, NULL, 0, record, &walk), COUCHSTORE_ERROR_CANCEL);
    CHECK_EQ_INT(walk.calls, 1);
    start(&walk, false, 16);
    walk.stop_at = 10; /* at a document */
    walk.stop_with = -4321;
    CHECK_CODE(couchstore_walk_id_tree(db, NULL, 0, record, &walk), -4321);
    CHECK_EQ_INT(walk.calls, 10);
    start(&walk, true, 5);
    walk.stop_at = 10;
    walk.stop_with = -4321;
    CHECK_CODE(couchstore_walk_seq_tree(db, 0, COUCHSTORE_TOLERATE_CORRUPTION, record, &walk),
               -4321);
    CHECK_EQ_INT(walk.calls, 10);
    CLOSE(db);
}

static int nodes_say_one(Db *db,
                         int depth,
                         const DocInfo *info,
                         uint64_t size,
                         const sized_buf *reduce,
                         void *ctx) {
    (void)db;
    (void)depth;
    (void)size;
    (void)reduce;
    *(int *)ctx += info != NULL;
    return info == NULL ? 1 : 0;
}

TEST(positive_results_of_nodes_are_ignored) {
    Db *db = CREATE(path("a.couch"));
    int docs = 0;
    fill(db, 300);
    CHECK_OK(couchstore_walk_id_tree(db, NULL, 0, nodes_say_one, &docs));
    CHECK_EQ_INT(docs, 300);
    CLOSE(db);
}

static int check_local(Db *db,
                       int depth,
                       const DocInfo *info,
                       uint64_t size,
                       const sized_buf *reduce,
                       void *ctx) {
    struct scan *scan = ctx;
    (void)db;
    if (info == NULL) {
        scan->length += (size_t)snprintf(scan->text + scan->length, 100, "%d:node/%zu%s ", depth,
                                         reduce ? reduce->size : 99, size > 0 ? "" : "?");
    } else {
        scan->length += (size_t)snprintf(
                scan->text + scan->length, 100, "%d:%.*s/%zu%s ", depth, (int)info->id.size,
                info->id.buf, info->physical_size,
                info->db_seq || info->rev_seq || info->bp || info->deleted || info->rev_meta.size
                        ? "?"
                        : "");
    }
    return 0;
}

TEST(local_tree) {
    Db *db = CREATE(path("a.couch"));
    struct scan scan = {.count = 0};
    sized_buf key = buf("_local/b");
    CHECK_OK(put_local(db, "_local/b", "12345"));
    CHECK_OK(put_local(db, "_local/a", ""));
    CHECK_OK(couchstore_walk_local_tree(db, NULL, 0, check_local, &scan));
    CHECK_STR(scan.text, "0:node/0 1:_local/a/0 1:_local/b/5 "); /* id and body length only */
    memset(&scan, 0, sizeof(scan));
    CHECK_OK(couchstore_walk_local_tree(db, &key, 0, check_local, &scan));
    CHECK_STR(scan.text, "0:node/0 1:_local/b/5 ");
    CLOSE(db);
}

TEST(sum_of_the_trees_is_the_space_used) {
    Db *db = CREATE(path("a.couch"));
    struct walk by_id, by_seq, local;
    DbInfo info;
    fill(db, 200);
    CHECK_OK(put_local(db, "_local/a", "some state"));
    CHECK_OK(couchstore_db_info(db, &info));
    start(&by_id, false, 16);
    CHECK_OK(couchstore_walk_id_tree(db, NULL, 0, record, &by_id));
    start(&by_seq, true, 5);
    CHECK_OK(couchstore_walk_seq_tree(db, 0, 0, record, &by_seq));
    start(&local, true, 0);
    CHECK_OK(couchstore_walk_local_tree(db, NULL, 0, record, &local));
    CHECK_EQ_INT(info.space_used,
                 by_id.root_size + by_seq.root_size + local.root_size + 160 * (6 + 8));
    CLOSE(db);
}
