/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Many documents, random updates and deletions, against a model in memory. COUCHSTORE_TEST_SEED sets the seed.
 */
#include "testlib.h"

enum { BATCH = 1000 };

/* The model: documents by number; ids sort like the numbers. */
struct model {
    int count;
    uint64_t last_seq;
    struct entry {
        uint64_t seq; /* 0: never saved */
        uint64_t rev;
        uint32_t body_seed, body_size;
        bool deleted, has_body;
    } * entries;
    int *by_seq; /* scratch: entry numbers sorted by sequence */
};

static uint64_t random_state;

static uint64_t random_below(uint64_t limit) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % limit;
}

static size_t make_id(char *id, int number) {
    return (size_t)sprintf(id, "key%08d%.*s", number, number % 17, "xxxxxxxxxxxxxxxxx");
}

static void make_body(char *body, const struct entry *entry) {
    uint32_t x = entry->body_seed | 1;
    for (uint32_t i = 0; i < entry->body_size; ++i) {
        x = x * 1664525 + 1013904223;
        body[i] = (char)('a' + (x >> 28));
    }
}

static void start(struct model *model, int count) {
    const char *seed = getenv("COUCHSTORE_TEST_SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : 20240607;
    printf("        seed %" PRIu64 ", %d documents\n", random_state, count);
    model->count = count;
    model->last_seq = 0;
    model->entries = calloc((size_t)count, sizeof(*model->entries));
    model->by_seq = calloc((size_t)count, sizeof(*model->by_seq));
    CHECK(model->entries != NULL && model->by_seq != NULL);
}

static void finish(struct model *model) {
    free(model->entries);
    free(model->by_seq);
}

/* Saves a batch of documents with different numbers, chosen by the caller, and takes it into the model. */
static void save_batch(Db *db,
                       struct model *model,
                       const int *numbers,
                       size_t count,
                       bool deletions) {
    static Doc docs[BATCH];
    static DocInfo infos[BATCH];
    static Doc *doc_list[BATCH];
    static DocInfo *info_list[BATCH];
    static char ids[BATCH][40];
    static char bodies[BATCH][1024];
    for (size_t i = 0; i < count; ++i) {
        struct entry *entry = &model->entries[numbers[i]];
        unsigned kind = deletions ? (unsigned)random_below(10) : 9;
        entry->seq = ++model->last_seq;
        entry->rev = random_below(UINT64_C(1) << 47);
        entry->deleted = kind < 2;
        entry->has_body = kind != 0;
        entry->body_seed = (uint32_t)random_below(UINT32_MAX);
        entry->body_size = (uint32_t)random_below(kind == 5 ? 1024 : 60);
        memset(&infos[i], 0, sizeof(infos[i]));
        infos[i].id.buf = ids[i];
        infos[i].id.size = make_id(ids[i], numbers[i]);
        infos[i].rev_seq = entry->rev;
        infos[i].rev_meta.buf = ids[i] + 3;
        infos[i].rev_meta.size = entry->rev % 9;
        infos[i].deleted = entry->deleted;
        infos[i].content_meta = entry->rev % 2 ? COUCH_DOC_IS_COMPRESSED : COUCH_DOC_NON_JSON_MODE;
        make_body(bodies[i], entry);
        docs[i].id = infos[i].id;
        docs[i].data.buf = bodies[i];
        docs[i].data.size = entry->body_size;
        doc_list[i] = entry->has_body ? &docs[i] : NULL;
        info_list[i] = &infos[i];
    }
    CHECK_OK(couchstore_save_documents(db, doc_list, info_list, count, COMPRESS_DOC_BODIES));
    for (size_t i = 0; i < count; ++i) {
        CHECK_EQ_INT(infos[i].db_seq, model->entries[numbers[i]].seq);
    }
}

struct check {
    const struct model *model;
    Db *db;
    int next; /* place in the expected order */
    bool by_seq;
    char problem[200];
};

static int check_doc(Db *db, DocInfo *info, void *ctx) {
    struct check *check = ctx;
    const struct model *model = check->model;
    const struct entry *entry;
    char id[40], body[1024];
    size_t id_size;
    int number;
    Doc *doc = NULL;
    couchstore_error_t code;
    if (!check->by_seq) {
        while (check->next < model->count && model->entries[check->next].seq == 0) {
            ++check->next;
        }
    }
    if (check->next >= model->count || (check->by_seq && model->by_seq[check->next] < 0)) {
        snprintf(check->problem, sizeof(check->problem), "too many documents");
        return -1000;
    }
    number = check->by_seq ? model->by_seq[check->next] : check->next;
    ++check->next;
    entry = &model->entries[number];
    id_size = make_id(id, number);
    if (info->id.size != id_size || memcmp(info->id.buf, id, id_size) != 0) {
        snprintf(check->problem, sizeof(check->problem), "%.*s in place of %s", (int)info->id.size,
                 info->id.buf, id);
        return -1000;
    }
    if (info->db_seq != entry->seq || info->rev_seq != entry->rev ||
        (info->deleted != 0) != entry->deleted || (info->bp != 0) != entry->has_body ||
        info->rev_meta.size != entry->rev % 9 ||
        memcmp(info->rev_meta.buf, id + 3, info->rev_meta.size) != 0 ||
        info->content_meta !=
                (entry->rev % 2 ? COUCH_DOC_IS_COMPRESSED : COUCH_DOC_NON_JSON_MODE)) {
        snprintf(check->problem, sizeof(check->problem), "%s: a field is wrong", id);
        return -1000;
    }
    code = couchstore_open_doc_with_docinfo(db, info, &doc, DECOMPRESS_DOC_BODIES);
    if (code != (entry->has_body ? COUCHSTORE_SUCCESS : COUCHSTORE_ERROR_DOC_NOT_FOUND)) {
        snprintf(check->problem, sizeof(check->problem), "%s: body gives %d", id, code);
        return -1000;
    }
    make_body(body, entry);
    if (doc != NULL &&
        (doc->data.size != entry->body_size ||
         memcmp(entry->body_size ? doc->data.buf : "", body, entry->body_size) != 0)) {
        snprintf(check->problem, sizeof(check->problem), "%s: wrong body", id);
    }
    couchstore_free_document(doc);
    return check->problem[0] ? -1000 : 0;
}

static const struct model *sorted_model;

static int compare_seq(const void *a, const void *b) {
    uint64_t x = sorted_model->entries[*(const int *)a].seq,
             y = sorted_model->entries[*(const int *)b].seq;
    return x < y ? -1 : x > y;
}

static void check_all(Db *db, struct model *model) {
    struct check by_id = {.model = model}, by_seq = {.model = model, .by_seq = true};
    uint64_t docs = 0, deleted = 0, count = 0;
    int live = 0;
    DbInfo info;
    for (int i = 0; i < model->count; ++i) {
        if (model->entries[i].seq != 0) {
            model->by_seq[live++] = i;
            *(model->entries[i].deleted ? &deleted : &docs) += 1;
        }
    }
    sorted_model = model;
    qsort(model->by_seq, (size_t)live, sizeof(int), compare_seq);
    for (int i = live; i < model->count; ++i) {
        model->by_seq[i] = -1;
    }
    CHECK_OK(couchstore_db_info(db, &info));
    CHECK_EQ_INT(info.last_sequence, model->last_seq);
    CHECK_EQ_INT(info.doc_count, docs);
    CHECK_EQ_INT(info.deleted_count, deleted);
    CHECK_OK(couchstore_changes_count(db, 0, UINT64_MAX, &count));
    CHECK_EQ_INT(count, docs + deleted);
    couchstore_all_docs(db, NULL, 0, check_doc, &by_id);
    CHECK_STR(by_id.problem, "");
    couchstore_changes_since(db, 0, 0, check_doc, &by_seq);
    CHECK_STR(by_seq.problem, "");
    CHECK_EQ_INT(by_seq.next, live);
    while (by_id.next < model->count) { /* nothing was left out at the end */
        CHECK_EQ_INT(model->entries[by_id.next].seq, 0);
        ++by_id.next;
    }
    for (int i = 0; i < 200; ++i) { /* single look-ups of any number */
        char id[40];
        int number = (int)random_below((uint64_t)model->count);
        uint64_t seq = random_below(model->last_seq + 2), first = random_below(model->last_seq + 2),
                 in_range = 0;
        bool present = false;
        DocInfo *found = NULL;
        couchstore_error_t code = couchstore_docinfo_by_id(db, id, make_id(id, number), &found);
        CHECK_CODE(code, model->entries[number].seq ? COUCHSTORE_SUCCESS
                                                    : COUCHSTORE_ERROR_DOC_NOT_FOUND);
        if (found != NULL) {
            CHECK_EQ_INT(found->db_seq, model->entries[number].seq);
            couchstore_free_docinfo(found);
            found = NULL;
        }
        for (int j = 0; j < live && i < 20; ++j) {
            uint64_t at = model->entries[model->by_seq[j]].seq;
            present |= at == seq;
            in_range += at >= first && at <= seq;
        }
        if (i < 20) {
            code = couchstore_docinfo_by_sequence(db, seq, &found);
            CHECK_CODE(code, present ? COUCHSTORE_SUCCESS : COUCHSTORE_ERROR_DOC_NOT_FOUND);
            couchstore_free_docinfo(found);
            CHECK_OK(couchstore_changes_count(db, first, seq, &count));
            CHECK_EQ_INT(count, in_range);
        }
    }
}

/* `count` different numbers in random order. */
static void choose(int *numbers, int count, int below) {
    static unsigned char taken[100000];
    memset(taken, 0, sizeof(taken));
    for (int i = 0; i < count; ++i) {
        do {
            numbers[i] = (int)random_below((uint64_t)below);
        } while (taken[numbers[i]]);
        taken[numbers[i]] = 1;
    }
}

static void round_trip(int count, couchstore_open_flags flags) {
    const char *name = path("many.couch"), *target = path("compacted.couch");
    struct model model;
    static int numbers[BATCH];
    int *order;
    Db *db;
    start(&model, count);
    order = calloc((size_t)count, sizeof(int));
    CHECK(order != NULL);
    for (int i = 0; i < count; ++i) { /* all documents once, in random order */
        int other = (int)random_below((uint64_t)i + 1);
        order[i] = order[other];
        order[other] = i;
    }
    db = OPEN(name, COUCHSTORE_OPEN_FLAG_CREATE | flags);
    for (int i = 0; i < count; i += BATCH) {
        save_batch(db, &model, order + i, (size_t)(count - i < BATCH ? count - i : BATCH), false);
        if (i % (20 * BATCH) == 0) {
            CHECK_OK(couchstore_commit(db));
        }
    }
    free(order);
    check_all(db, &model); /* with uncommitted changes */
    CHECK_OK(couchstore_commit(db));
    CLOSE(db);
    db = OPEN(name, flags);
    check_all(db, &model);
    for (int round = 0; round < (test_small() ? 3 : 20); ++round) { /* updates and deletions */
        int n = 1 + (int)random_below(BATCH);
        choose(numbers, n, count);
        save_batch(db, &model, numbers, (size_t)n, true);
        if (round % 5 == 2) {
            CHECK_OK(couchstore_commit(db));
            CLOSE(db);
            db = OPEN(name, flags);
            CHECK_EQ_INT(last_sequence(db), model.last_seq);
        }
    }
    CHECK_OK(couchstore_commit(db));
    CLOSE(db);
    db = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY | flags);
    check_all(db, &model);
    CHECK_OK(couchstore_compact_db(db, target));
    CLOSE(db);
    db = OPEN(target, 0);
    check_all(db, &model);
    choose(numbers, count < BATCH ? count : BATCH,
           count); /* a compacted file takes updates as well */
    save_batch(db, &model, numbers, (size_t)(count < BATCH ? count : BATCH), true);
    check_all(db, &model);
    CLOSE(db);
    finish(&model);
}

TEST(round_trip_against_a_model) {
    round_trip(test_small() ? 3000 : 100000, 0);
}

TEST(round_trip_of_a_legacy_file) {
    round_trip(test_small() ? 1000 : 10000, COUCHSTORE_OPEN_WITH_LEGACY_CRC);
}

TEST(round_trip_with_small_nodes) {
    round_trip(test_small() ? 1000 : 10000, 0x110000);
}

TEST(round_trip_with_large_nodes) {
    round_trip(test_small() ? 1000 : 10000, 0xff0000);
}

TEST(round_trip_unbuffered) {
    round_trip(test_small() ? 1000 : 5000, COUCHSTORE_OPEN_FLAG_UNBUFFERED);
}
