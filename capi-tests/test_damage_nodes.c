/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Files whose checksums are right but whose trees, nodes or headers are not; and what TOLERATE_CORRUPTION shows of them.
 */
#include "testlib.h"

#define CORRUPT COUCHSTORE_ERROR_CORRUPT

static void add_entry(struct bytes *node, const char *key, struct bytes value) {
    node_entry(node, key, strlen(key), &value);
    bytes_free(&value);
}

static struct bytes node(unsigned type) {
    struct bytes b = {NULL, 0};
    bytes_be(&b, type, 1);
    return b;
}

static struct bytes pointer(uint64_t position) {
    struct bytes reduce = by_id_reduce(1, 0, 13), value = pointer_value(position, 100, &reduce);
    bytes_free(&reduce);
    return value;
}

static uint64_t add_node(struct bytes *image, struct bytes content) {
    uint64_t position = image_node(image, &content);
    bytes_free(&content);
    return position;
}

/* A leaf with one document whose body is the chunk at position 1. */
static uint64_t add_leaf(struct bytes *image, const char *id) {
    struct bytes leaf = node(1);
    add_entry(&leaf, id, by_id_value(1, 13, 1, ""));
    return add_node(image, leaf);
}

static uint64_t add_parent(struct bytes *image, const char *key, uint64_t child) {
    struct bytes parent = node(0);
    add_entry(&parent, key, pointer(child));
    return add_node(image, parent);
}

static struct bytes new_image(void) {
    struct bytes image = {NULL, 0};
    CHECK_EQ_INT(image_chunk(&image, "world", 5), 1);
    return image;
}

/* Ends the image with a header whose by-id and local trees have this root, and opens it. Frees the image. */
static Db *open_image(struct bytes *image, uint64_t root) {
    const char *name = path("made.couch");
    struct bytes reduce = by_id_reduce(1, 0, 13), empty = {NULL, 0};
    struct image_header header = {.update_seq = 1};
    header.by_id = tree_root(root, 100, &reduce);
    header.local = tree_root(root, 100, &empty);
    image_add_header(image, &header);
    file_write(name, image->data, image->size);
    bytes_free(image);
    bytes_free(&reduce);
    bytes_free(&header.by_id);
    bytes_free(&header.local);
    return OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
}

static int on_walk(Db *db,
                   int depth,
                   const DocInfo *info,
                   uint64_t size,
                   const sized_buf *reduce,
                   void *ctx) {
    (void)db, (void)depth, (void)info, (void)size, (void)reduce;
    return ++*(int *)ctx > 100000 ? -1000 : 0;
}

/* All ways into the by-id and local trees of a handle give this code. Closes the handle. */
static void check_all(int line, Db *db, couchstore_error_t expected) {
    DocInfo *info = NULL;
    LocalDoc *local = NULL;
    struct scan scan = {.stop_at = 100000, .stop_with = -1000};
    sized_buf key = buf("key");
    int calls = 0;
#define SAME(...) test_equal_code(__FILE__, line, #__VA_ARGS__, __VA_ARGS__, expected)
    SAME(couchstore_docinfo_by_id(db, "key", 3, &info));
    SAME(couchstore_docinfos_by_id(db, &key, 1, 0, scan_callback, &scan));
    SAME(couchstore_docinfos_by_id(db, &key, 1, RANGES, scan_callback, &scan));
    SAME(couchstore_all_docs(db, NULL, 0, scan_callback, &scan));
    SAME(couchstore_all_docs(db, &key, COUCHSTORE_TOLERATE_CORRUPTION, scan_callback, &scan));
    SAME(couchstore_walk_id_tree(db, NULL, 0, on_walk, &calls));
    SAME(couchstore_walk_id_tree(db, NULL, COUCHSTORE_TOLERATE_CORRUPTION, on_walk, &calls));
    SAME(couchstore_open_local_document(db, "key", 3, &local));
    SAME(couchstore_scan_local_docs(db, NULL, scan_local_callback, &scan));
    SAME(couchstore_walk_local_tree(db, NULL, 0, on_walk, &calls));
    CHECK_OK(couchstore_close_file(db));
    CHECK_OK(couchstore_free_db(db));
}
#define ALL_GIVE(db, expected) check_all(__LINE__, (db), (expected))

/* ---- trees ---- */

TEST(a_good_tree_made_by_hand) {
    struct bytes image = new_image();
    uint64_t leaf = add_leaf(&image, "key");
    Db *db = open_image(&image, add_parent(&image, "key", leaf));
    CHECK_STR(docs_by_id(db), "key@1");
    CHECK_STR(body_of(db, "key"), "world");
    CLOSE(db);
}

TEST(node_that_points_to_itself) {
    struct bytes image = new_image();
    ALL_GIVE(open_image(&image, add_parent(&image, "key", image.size)), CORRUPT);
}

TEST(cycle_of_two_nodes) {
    struct bytes image = new_image();
    struct bytes probe = new_image();
    uint64_t first, second;
    add_parent(&probe, "key", 1); /* to learn where the second one comes to lie */
    second = probe.size;
    bytes_free(&probe);
    first = add_parent(&image, "key", second);
    CHECK_EQ_INT(add_parent(&image, "key", first), second);
    ALL_GIVE(open_image(&image, second), CORRUPT);
}

TEST(child_behind_its_parent) {
    struct bytes image = new_image();
    struct bytes probe = new_image();
    uint64_t parent, child;
    add_parent(&probe, "key", 1);
    child = probe.size;
    bytes_free(&probe);
    parent = add_parent(&image, "key", child);
    CHECK_EQ_INT(add_leaf(&image, "key"),
                 child); /* a good leaf, but children are written before their parents */
    ALL_GIVE(open_image(&image, parent), CORRUPT);
}

TEST(child_beyond_the_file) {
    struct bytes image = new_image();
    ALL_GIVE(open_image(&image, add_parent(&image, "key", UINT64_C(1) << 40)), CORRUPT);
}

TEST(chain_of_nodes_with_one_child) {
    /* The original leaves such chains after deletions. */
    struct bytes image = new_image();
    uint64_t at = add_leaf(&image, "key");
    Db *db;
    for (int i = 0; i < 20; ++i) {
        at = add_parent(&image, "key", at);
    }
    db = open_image(&image, at);
    CHECK_STR(docs_by_id(db), "key@1");
    CHECK_STR(body_of(db, "key"), "world");
    CLOSE(db);
}

TEST(absurdly_deep_tree) {
    struct bytes image = new_image();
    uint64_t at = add_leaf(&image, "key");
    DocInfo *info = NULL;
    couchstore_error_t code;
    int calls = 0;
    Db *db;
    for (int i = 0; i < (test_small() ? 2000 : 50000); ++i) {
        at = add_parent(&image, "key", at);
    }
    db = open_image(&image, at);
    code = couchstore_docinfo_by_id(db, "key", 3,
                                    &info); /* found or refused, but no stack overflow */
    CHECK(code == COUCHSTORE_SUCCESS || code == CORRUPT);
    couchstore_free_docinfo(info);
    code = couchstore_walk_id_tree(db, NULL, 0, on_walk, &calls);
    CHECK(code == COUCHSTORE_SUCCESS || code == CORRUPT);
    CLOSE(db);
}

TEST(shared_child) {
    /* Not a tree, but it ends: children lie before their parents. */
    struct bytes image = new_image();
    uint64_t at = add_leaf(&image, "key");
    struct scan scan = {.stop_at = 1000, .stop_with = -1000};
    couchstore_error_t code;
    Db *db;
    for (int i = 0; i < 12; ++i) { /* 4096 paths to one leaf */
        struct bytes parent = node(0);
        add_entry(&parent, "kex", pointer(at));
        add_entry(&parent, "key", pointer(at));
        at = add_node(&image, parent);
    }
    db = open_image(&image, at);
    code = couchstore_all_docs(db, NULL, 0, scan_callback, &scan);
    CHECK(code == CORRUPT || (int)code == -1000);
    CLOSE(db);
}

/* ---- nodes ---- */

TEST(node_types) {
    for (unsigned type = 2; type < 256; type += 63) {
        struct bytes image = new_image(), bad = node(type);
        add_entry(&bad, "key", by_id_value(1, 13, 1, ""));
        ALL_GIVE(open_image(&image, add_node(&image, bad)), CORRUPT);
    }
}

TEST(node_without_entries) {
    for (unsigned type = 0; type < 2; ++type) {
        struct bytes image = new_image();
        DocInfo *info = NULL;
        Db *db = open_image(&image, add_node(&image, node(type)));
        CHECK_STR(docs_by_id(db), ""); /* legal to read */
        CHECK_STR(local_docs(db), "");
        CHECK_CODE(couchstore_docinfo_by_id(db, "key", 3, &info), COUCHSTORE_ERROR_DOC_NOT_FOUND);
        CLOSE(db);
    }
}

TEST(node_of_zero_bytes) {
    struct bytes image = new_image(), nothing = {NULL, 0};
    ALL_GIVE(open_image(&image, add_node(&image, nothing)), CORRUPT);
}

TEST(entries_that_run_over_the_end) {
    static const struct {
        const char *bytes;
        size_t size;
    } tails[] = {
            {"\x00", 1}, /* lengths cut short */
            {"\x00\x30\x00\x00", 4},
            {"\x00\x30\x00\x00\x00ke", 7},  /* key cut short */
            {"\x00\x30\x00\x00\x01key", 8}, /* value cut short */
            {"\xff\xf0\x00\x00\x00key", 8},
            {"\x00\x3f\xff\xff\xffkey", 8},
    };
    for (size_t i = 0; i < COUNT_OF(tails); ++i) {
        struct bytes image = new_image(), bad = node(1);
        bytes_add(&bad, tails[i].bytes, tails[i].size);
        ALL_GIVE(open_image(&image, add_node(&image, bad)), CORRUPT);
    }
}

TEST(pointers_that_are_too_short) {
    for (size_t size = 0; size < 14 + 16; size += 3) {
        struct bytes image = new_image(), bad = node(0), value;
        uint64_t leaf = add_leaf(&image, "key");
        value = pointer(leaf);
        value.size = size; /* 14 bytes and a reduce value of 16 */
        add_entry(&bad, "key", value);
        ALL_GIVE(open_image(&image, add_node(&image, bad)), CORRUPT);
    }
}

TEST(chunks_that_are_no_snappy) {
    static const struct {
        const char *bytes;
        size_t size;
    } bodies[] = {
            {"", 0},
            {"\x05", 1},                         /* announces 5 bytes, holds none */
            {"\x80\x80\x80\x80\x80\x80\x80", 7}, /* a number that does not end */
            {"\xff\xff\xff\xff\x0f\x00x",
             7},                  /* announces 4 GiB: no memory must be reserved for that */
            {"\x04\x01\x00", 3},  /* a copy from before the beginning */
            {"\x02\x10hello", 7}, /* holds more than it announces */
            {"hello world, this is plain text", 31},
    };
    for (size_t i = 0; i < COUNT_OF(bodies); ++i) {
        struct bytes image = new_image();
        uint64_t root = image_chunk(&image, bodies[i].bytes, bodies[i].size);
        ALL_GIVE(open_image(&image, root), CORRUPT);
    }
}

TEST(chunk_headers) {
    static const struct {
        const char *bytes;
        couchstore_error_t code;
    } headers[] = {
            {"\xff\xff\xff\xff", COUCHSTORE_ERROR_READ}, /* 2 GiB that the file does not have */
            {"\x80\x01\x00\x00", COUCHSTORE_ERROR_READ},
            {"\x00\x00\x00\x05", CORRUPT},                        /* top bit not set */
            {"\x80\x00\x00\x04", COUCHSTORE_ERROR_CHECKSUM_FAIL}, /* one byte less */
    };
    for (size_t i = 0; i < COUNT_OF(headers); ++i) {
        struct bytes image = new_image();
        uint64_t root = image_chunk(&image, "abcde", 5);
        memcpy(image.data + root, headers[i].bytes, 4);
        ALL_GIVE(open_image(&image, root), headers[i].code);
    }
}

TEST(document_with_a_wrong_length) {
    struct bytes image = new_image();
    uint64_t leaf = add_leaf(&image, "key");
    Db *db;
    memcpy(image.data + 1, "\xff\xff\xff\xff", 4);
    db = open_image(&image, leaf);
    CHECK_STR(docs_by_id(db), "key@1");
    CHECK_STR(body_of(db, "key"), "error -4");
    CLOSE(db);
}

TEST(values_that_are_too_short) {
    for (size_t size = 0; size < 23; ++size) {
        struct bytes image = new_image(), leaf = node(1), value = by_id_value(1, 13, 1, "");
        DocInfo *info = NULL;
        Db *db;
        value.size = size;
        add_entry(&leaf, "key", value);
        db = open_image(&image, add_node(&image, leaf));
        CHECK_CODE(couchstore_docinfo_by_id(db, "key", 3, &info), CORRUPT);
        CHECK_STR(docs_by_id(db), "error -2");
        CLOSE(db);
    }
}

/* A file with a by-sequence tree of one leaf with these entries. */
static Db *open_by_seq(const struct bytes *values, size_t count) {
    const char *name = path("made.couch");
    struct bytes image = new_image(), leaf = node(1), reduce = by_seq_reduce(count);
    struct image_header header = {.update_seq = count};
    for (size_t i = 0; i < count; ++i) {
        unsigned char key[6] = {0, 0, 0, 0, 0, (unsigned char)(i + 1)};
        node_entry(&leaf, key, 6, &values[i]);
    }
    header.by_seq = tree_root(add_node(&image, leaf), 100, &reduce);
    image_add_header(&image, &header);
    file_write(name, image.data, image.size);
    bytes_free(&image);
    bytes_free(&reduce);
    bytes_free(&header.by_seq);
    return OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
}

TEST(by_sequence_values_that_are_too_short) {
    struct bytes value = by_seq_value("hello", 13, 1, "");
    size_t whole = value.size;
    for (size_t size = 0; size <= whole; ++size) { /* 18 bytes and the id */
        DocInfo *info = NULL;
        Db *db;
        value.size = size;
        db = open_by_seq(&value, 1);
        if (size < whole) {
            CHECK_CODE(couchstore_docinfo_by_sequence(db, 1, &info), CORRUPT);
            CHECK_STR(docs_by_seq(db), "error -2");
        } else {
            CHECK_STR(docs_by_seq(db), "hello@1");
        }
        CLOSE(db);
    }
    bytes_free(&value);
}

/* ---- scans that tolerate corruption ---- */

struct shown {
    char text[500];
    size_t length;
};

static int show(Db *db, DocInfo *info, void *ctx) {
    struct shown *shown = ctx;
    (void)db;
    shown->length +=
            (size_t)snprintf(shown->text + shown->length, 100, "%.*s/%d/%zu ", (int)info->id.size,
                             info->id.buf, (int)info->db_seq, info->rev_meta.size);
    return 0;
}

static Db *three_leaves(uint64_t *middle) {
    struct bytes image = new_image(), parent = node(0);
    add_entry(&parent, "a", pointer(add_leaf(&image, "a")));
    *middle = add_leaf(&image, "b");
    add_entry(&parent, "b", pointer(*middle));
    add_entry(&parent, "c", pointer(add_leaf(&image, "c")));
    return open_image(&image, add_node(&image, parent));
}

TEST(damaged_node_is_skipped) {
    uint64_t middle;
    struct shown shown = {.length = 0};
    int calls = 0;
    Db *db = three_leaves(&middle);
    CHECK_STR(docs_by_id(db), "a@1 b@1 c@1");
    CLOSE(db);
    file_flip(path("made.couch"), (int64_t)middle + 12, 1);
    db = OPEN(path("made.couch"), COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_CODE(couchstore_all_docs(db, NULL, 0, show, &shown), COUCHSTORE_ERROR_CHECKSUM_FAIL);
    CHECK_STR(shown.text, "a/1/0 ");
    shown.length = 0;
    CHECK_CODE(couchstore_all_docs(db, NULL, COUCHSTORE_TOLERATE_CORRUPTION, show, &shown),
               COUCHSTORE_ERROR_CHECKSUM_FAIL);
    CHECK_STR(shown.text, "a/1/0 c/1/0 "); /* the error comes at the end */
    CHECK_CODE(couchstore_walk_id_tree(db, NULL, 0, on_walk, &calls),
               COUCHSTORE_ERROR_CHECKSUM_FAIL);
    CHECK_EQ_INT(calls, 4); /* root, leaf, a, and the damaged leaf before it is read */
    calls = 0;
    CHECK_CODE(couchstore_walk_id_tree(db, NULL, COUCHSTORE_TOLERATE_CORRUPTION, on_walk, &calls),
               COUCHSTORE_ERROR_CHECKSUM_FAIL);
    CHECK_EQ_INT(calls, 6);
    CLOSE(db);
}

TEST(negative_result_still_stops_a_tolerant_scan) {
    uint64_t middle;
    struct scan scan = {.stop_at = 2, .stop_with = -55};
    Db *db = three_leaves(&middle);
    CLOSE(db);
    file_flip(path("made.couch"), (int64_t)middle + 12, 1);
    db = OPEN(path("made.couch"), COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_CODE(couchstore_all_docs(db, NULL, COUCHSTORE_TOLERATE_CORRUPTION, scan_callback, &scan),
               -55);
    CHECK_STR(scan.text, "a@1 c@1");
    CLOSE(db);
}

TEST(entry_that_cannot_be_decoded_is_shown_raw) {
    struct bytes image = new_image(), leaf = node(1), value = by_id_value(1, 13, 1, "");
    struct shown shown = {.length = 0};
    couchstore_error_t code;
    Db *db;
    add_entry(&leaf, "a", by_id_value(1, 13, 1, "m"));
    value.size = 7;
    add_entry(&leaf, "b", value);
    add_entry(&leaf, "c", by_id_value(3, 13, 1, "mm"));
    db = open_image(&image, add_node(&image, leaf));
    CHECK_STR(docs_by_id(db), "error -2");
    code = couchstore_all_docs(db, NULL, COUCHSTORE_TOLERATE_CORRUPTION, show, &shown);
    CHECK(code == CORRUPT || code == COUCHSTORE_SUCCESS);
    CHECK_STR(shown.text, "a/1/1 b/0/7 c/3/2 "); /* id = key, rev_meta = the raw value */
    CLOSE(db);
}

/* ---- headers ---- */

TEST(headers_that_contradict_themselves) {
    static const struct {
        size_t offset; /* in the header body */
        const char *bytes;
        size_t size;
    } changes[] = {
            {13, "\x00\x00\x00\x01\x00\x00", 6}, /* purge_ptr behind the header */
            {19, "\x00\x01", 2},                 /* by-sequence root size: the sum is wrong */
            {21, "\xff\xff", 2},
            {23, "\x00\x0b\x00", 2},             /* local root size 11 */
            {39, "\x00\x00\x00\x00\x10\x00", 6}, /* by-id root at the header's own position */
            {39, "\x00\x00\x00\xff\xff\xff", 6}, /* behind it */
    };
    for (size_t i = 0; i < COUNT_OF(changes); ++i) {
        const char *name = path("made.couch");
        struct bytes image = new_image(), file;
        uint64_t leaf = add_leaf(&image, "key");
        Db *db = open_image(&image, leaf);
        size_t size;
        uint32_t crc;
        CHECK_EQ_INT(couchstore_get_header_position(db), 4096);
        CLOSE(db);
        file = file_read(name);
        memcpy(file.data + 4105 + changes[i].offset, changes[i].bytes, changes[i].size);
        size = file.size - 4105;
        crc = crc32c(file.data + 4105, size);
        for (int byte = 0; byte < 4; ++byte) {
            file.data[4101 + byte] = (unsigned char)(crc >> (24 - 8 * byte));
        }
        file_write(name, file.data, file.size);
        bytes_free(&file);
        db = NULL;
        CHECK_CODE(couchstore_open_db(name, 0, &db), CORRUPT);
        CHECK_CODE(couchstore_open_db(name, COUCHSTORE_OPEN_RECOVERY_MODE, &db), CORRUPT);
    }
}

TEST(header_lengths) {
    static const struct {
        uint32_t length;
        couchstore_error_t code;
    } table[] = {{0, CORRUPT},          {3, CORRUPT},          {1025, CORRUPT},
                 {0x7fffffff, CORRUPT}, {0x80000058, CORRUPT}, {1024, COUCHSTORE_ERROR_READ}};
    for (size_t i = 0; i < COUNT_OF(table); ++i) {
        const char *name = path("made.couch");
        struct bytes image = new_image(), file;
        Db *db = open_image(&image, add_leaf(&image, "key"));
        CLOSE(db);
        file = file_read(name);
        for (int byte = 0; byte < 4; ++byte) {
            file.data[4097 + byte] = (unsigned char)(table[i].length >> (24 - 8 * byte));
        }
        file_write(name, file.data, file.size);
        bytes_free(&file);
        db = NULL;
        CHECK_CODE(couchstore_open_db(name, 0, &db), table[i].code);
    }
}
