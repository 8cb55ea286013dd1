/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Online compaction: options, figures, cancelling, the hooks that switch over, and what failures leave.
 */
#include "testlib.h"

#include <limits.h>
#include <stdarg.h>

/* What the hooks saw, and what they are to do. */
struct host {
    int locks, unlocks, publishes, progresses, all_done;
    bool locked, published_locked;
    int publish_result, progress_result;
    Db *writer; /* saves in the first call of progress */
    uint64_t source_seq, target_seq;
    char copied[200]; /* ids that pre_copy saw */
    uint64_t last_total;
};

static void lock(void *ctx) {
    struct host *host = ctx;
    ++host->locks;
    host->locked = true;
}

static void unlock(void *ctx) {
    struct host *host = ctx;
    ++host->unlocks;
    host->locked = false;
}

static couchstore_error_t publish(void *ctx, Db *source, Db *target) {
    struct host *host = ctx;
    ++host->publishes;
    host->published_locked = host->locked;
    host->source_seq = last_sequence(source);
    host->target_seq = last_sequence(target);
    return host->publish_result;
}

static int progress(void *ctx, uint64_t done, uint64_t total, uint64_t bytes) {
    struct host *host = ctx;
    (void)bytes;
    if (host->progresses++ == 0 && host->writer != NULL) {
        put(host->writer, "b", "changed");
        put(host->writer, "new", "1");
        put_local(host->writer, "_local/new", "1");
        commit(host->writer, 9);
    }
    host->last_total = total;
    return done > 0 || total == 0 ? host->progress_result : 0;
}

static int pre_copy(Db *source, Db *target, const DocInfo *info, const DocInfo *local, void *ctx) {
    struct host *host = ctx;
    const sized_buf id = info != NULL ? info->id : local->id;
    (void)source, (void)target;
    snprintf(host->copied + strlen(host->copied), 40, "%.*s ", (int)id.size, id.buf);
    return 0;
}

static couchstore_online_compact_options options_for(struct host *host) {
    return (couchstore_online_compact_options){
            .size = sizeof(couchstore_online_compact_options),
            .lock = lock,
            .unlock = unlock,
            .publish = publish,
            .progress = progress,
            .ctx = host,
    };
}

static Db *source_db(void) {
    Db *db = CREATE(path("a.couch.1"));
    struct doc docs[] = {{.id = "a", .body = "A"}, {.id = "b", .body = "B"}, {.id = "c"}};
    CHECK_OK(save_docs(db, docs, COUNT_OF(docs), 0));
    CHECK_OK(put_local(db, "_local/x", "X"));
    CHECK_OK(couchstore_set_purge_seq(db, 5));
    CHECK_OK(commit(db, 7));
    return db;
}

static couchstore_error_t compact(const couchstore_online_compact_options *options,
                                  couchstore_online_compact_stats *stats) {
    return couchstore_compact_db_online(path("a.couch.1"), path("a.couch.2"), options, stats);
}

TEST(a_target_beside_the_source) {
    Db *db = source_db();
    struct host host = {.writer = db};
    couchstore_online_compact_options options = options_for(&host);
    couchstore_online_compact_stats stats;
    options.delta_bytes_for_lock = 1;
    options.pre_copy = pre_copy;
    options.replay_ctx = &host;
    CHECK_OK(compact(&options, &stats));
    CHECK_EQ_INT(host.locks, 1);
    CHECK_EQ_INT(host.unlocks, 1);
    CHECK_EQ_INT(host.publishes, 1);
    CHECK(host.published_locked);
    CHECK_EQ_INT(host.source_seq, 5);
    CHECK_EQ_INT(host.target_seq, 5);
    CHECK_EQ_INT(host.last_total, 3);
    CHECK_STR(host.copied, "_local/new b new ");
    CHECK_EQ_INT(stats.documents, 4);
    CHECK_EQ_INT((int64_t)stats.bytes, file_size(path("a.couch.2")));
    CHECK_EQ_INT(stats.rounds, 1);
    CHECK_EQ_INT(stats.restarts, 0);
    CHECK_EQ_INT(stats.locked_bytes, 0);
    CHECK(stats.lock_hold_us <= stats.total_us);
    int current = -1;
    CHECK_OK(couchstore_is_current(db, &current));
    CHECK_EQ_INT(current, 1);

    /* The same as with everything at rest. */
    CHECK_OK(couchstore_compact_db(db, path("at-rest")));
    CLOSE(db);
    char *online = describe_file(path("a.couch.2"));
    char *at_rest = describe_file(path("at-rest"));
    CHECK(online != NULL && at_rest != NULL);
    db = OPEN(path("a.couch.2"), 0);
    CHECK_STR(docs_by_seq(db), "a@1 c@3- b@4 new@5");
    CHECK_STR(body_of(db, "b"), "changed");
    CHECK_STR(local_of(db, "_local/new"), "1");
    couchstore_header_info info;
    CHECK_OK(couchstore_get_header(db, &info));
    CHECK_EQ_INT(info.purge_seq, 5);
    CHECK_EQ_INT(info.timestamp, 9);
    CLOSE(db);
    free(online);
    free(at_rest);
}

/* Switches over as couch_api.h says, and tries what it says is not to be done. */
struct switching {
    const char *name; /* which leads to the result */
    Db *old, *fresh;
    couchstore_error_t opened, freed, reopened, saved, result;
};

static couchstore_error_t switch_over(void *ctx, Db *source, Db *target) {
    struct switching *host = ctx;
    (void)source;
    host->freed = couchstore_free_db(target);
    host->opened = couchstore_open_db(host->name, 0, &host->fresh);
    if (host->result != COUCHSTORE_SUCCESS) {
        couchstore_close_db(host->fresh);
        return host->result;
    }
    host->reopened = couchstore_reopen_file(host->old, host->name, 0);
    host->saved = put(host->fresh, "d", "D");
    if (host->saved == COUCHSTORE_SUCCESS) {
        host->saved = commit(host->fresh, 8);
    }
    return COUCHSTORE_SUCCESS;
}

TEST(switching_over) {
    for (int swap = COUCHSTORE_SWAP_NONE; swap <= COUCHSTORE_SWAP_REPLACE; ++swap) {
        Db *db = source_db();
        for (int i = 0; i < 20; ++i) {
            CHECK_OK(put(db, "a", "A"));
            CHECK_OK(commit(db, 7));
        }
        struct switching host = {
                .name = path(swap == COUCHSTORE_SWAP_NONE ? "a.couch.2" : "a.couch.1"),
                .old = db,
                .result = -77};
        couchstore_online_compact_options options = {
                .size = sizeof options, .publish = switch_over, .ctx = &host, .swap = swap};
        /* At first it fails: all is as before. */
        CHECK_CODE(compact(&options, NULL), -77);
        CHECK_OK(host.opened);
        CHECK_EQ_INT(dir_entries(path(".")), 1);
        CHECK_OK(put(db, "b", "again"));
        CHECK_OK(commit(db, 7));
        host.result = COUCHSTORE_SUCCESS;
        CHECK_OK(compact(&options, NULL));
        CHECK_OK(host.opened);
        CHECK_OK(host.saved);
        CHECK_CODE(host.freed, COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        CHECK_CODE(host.reopened, COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
        CHECK_OK(couchstore_free_db(host.old)); /* it was closed */
        CHECK_STR(docs_by_id(host.fresh), "a@23 b@24 c@3- d@25");
        CLOSE(host.fresh);
        unlink(path("a.couch.1"));
        unlink(path("a.couch.2"));
    }
}

TEST(in_the_place_of_the_source) {
    Db *db = source_db();
    struct host host = {.writer = db};
    couchstore_online_compact_options options = options_for(&host);
    int current = -1;
    options.swap = COUCHSTORE_SWAP_REPLACE;
    /* The target's name does not matter, and the figures are not asked for. */
    CHECK_OK(couchstore_compact_db_online(path("a.couch.1"), NULL, &options, NULL));
    CHECK_OK(couchstore_is_current(db, &current));
    CHECK_EQ_INT(current, 0);
    CHECK_STR(docs_by_seq(db), "a@1 c@3- b@4 new@5");
    CLOSE(db);
    db = OPEN(path("a.couch.1"), 0);
    CHECK_OK(couchstore_is_current(db, &current));
    CHECK_EQ_INT(current, 1);
    CHECK_STR(docs_by_seq(db), "a@1 c@3- b@4 new@5");
    CLOSE(db);
    CHECK_EQ_INT(dir_entries(path(".")), 1);
}

TEST(no_hooks_at_all) {
    Db *db = source_db();
    couchstore_online_compact_options options = {.size = sizeof options};
    CHECK_OK(compact(&options, NULL));
    CHECK_OK(unlink(path("a.couch.2")));
    /* A caller that knows nothing but the size. */
    options.size = sizeof options.size;
    CHECK_OK(compact(&options, NULL));
    CLOSE(db);
}

/* The result is the same with a second thread, which a hook that decides does without. */
TEST(a_second_thread) {
    Db *db = source_db();
    char ids[300][8];
    struct doc docs[300];
    memset(docs, 0, sizeof docs);
    for (int i = 0; i < 300; ++i) {
        snprintf(ids[i], sizeof ids[i], "k%d", i * 7919 % 1009);
        docs[i].id = ids[i];
        docs[i].body = "a body";
    }
    CHECK_OK(save_docs(db, docs, COUNT_OF(docs), 0));
    CHECK_OK(commit(db, 8));
    struct bytes first = {0};
    for (size_t threads = 0; threads < 4; ++threads) {
        struct host host = {0};
        couchstore_online_compact_options options = options_for(&host);
        options.threads = threads;
        CHECK_OK(compact(&options, NULL));
        struct bytes copy = file_read(path("a.couch.2"));
        if (threads == 0) {
            first = copy;
        } else {
            CHECK(copy.size == first.size && memcmp(copy.data, first.data, copy.size) == 0);
            bytes_free(&copy);
        }
        CHECK_OK(unlink(path("a.couch.2")));
        host = (struct host){.progress_result = COUCHSTORE_ERROR_CANCEL};
        CHECK_CODE(compact(&options, NULL), COUCHSTORE_ERROR_CANCEL);
        CHECK_EQ_INT(dir_entries(path(".")), 1);
    }
    bytes_free(&first);
    CLOSE(db);
}

/* An older caller's struct is smaller; what is behind it must not be looked at. */
TEST(smaller_options) {
    Db *db = source_db();
    struct host host = {0};
    const size_t size = offsetof(couchstore_online_compact_options, swap);
    couchstore_online_compact_options all = options_for(&host);
    /* On the heap, so that valgrind sees each byte beyond. */
    void *options = malloc(size);
    all.size = size;
    memcpy(options, &all, size);
    CHECK_OK(compact(options, NULL));
    CHECK_EQ_INT(host.publishes, 1);
    free(options);
    CLOSE(db);
}

/* A newer caller's struct is larger: fine, unless it asks for something that is not known here. */
TEST(larger_options) {
    Db *db = source_db();
    struct host host = {0};
    const size_t size = sizeof(couchstore_online_compact_options) + 24;
    couchstore_online_compact_options all = options_for(&host);
    unsigned char *options = calloc(1, size);
    all.size = size;
    for (size_t known = sizeof all; known < size; ++known) {
        memcpy(options, &all, sizeof all);
        options[known] = 1;
        CHECK_CODE(compact((void *)options, NULL), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        options[known] = 0;
    }
    CHECK_EQ_INT(host.progresses, 0);
    CHECK_OK(compact((void *)options, NULL));
    CHECK_EQ_INT(host.publishes, 1);
    free(options);
    CLOSE(db);
}

/* Values that mean nothing are refused, before anything happens. */
TEST(unknown_options) {
    static const int swaps[] = {2, -1, 256, INT_MAX, INT_MIN};
    const uint64_t compact_flags =
            COUCHSTORE_COMPACT_FLAG_DROP_DELETES | COUCHSTORE_COMPACT_FLAG_UPGRADE_DB |
            COUCHSTORE_COMPACT_FLAG_UNBUFFERED | COUCHSTORE_COMPACT_RECOVERY_MODE |
            COUCHSTORE_COMPACT_WITH_PERIODIC_SYNC;
    const uint64_t open_flags =
            COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_FLAG_RDONLY |
            COUCHSTORE_OPEN_WITH_LEGACY_CRC | COUCHSTORE_OPEN_FLAG_UNBUFFERED |
            COUCHSTORE_OPEN_FLAG_EXCL | COUCHSTORE_OPEN_FLAG_NO_COMMIT_AT_CREATE |
            COUCHSTORE_OPEN_WITH_CUSTOM_BUFFER | COUCHSTORE_OPEN_WITH_CUSTOM_NODESIZE |
            COUCHSTORE_OPEN_WITH_PERIODIC_SYNC | COUCHSTORE_OPEN_WITH_TRACING |
            COUCHSTORE_OPEN_WITH_WRITE_VALIDATION | COUCHSTORE_OPEN_WITH_MPROTECT |
            COUCHSTORE_OPEN_RECOVERY_MODE;
    Db *db = source_db();
    struct host host = {0};
    for (size_t i = 0; i < COUNT_OF(swaps); ++i) {
        couchstore_online_compact_options options = options_for(&host);
        options.swap = swaps[i];
        CHECK_CODE(compact(&options, NULL), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    }
    for (int bit = 0; bit < 64; ++bit) {
        couchstore_online_compact_options options = options_for(&host);
        options.flags = UINT64_C(1) << bit;
        const bool is_known = (compact_flags & options.flags) != 0;
        const int code = compact(&options, NULL);
        CHECK_CODE(code, is_known ? COUCHSTORE_SUCCESS : COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        CHECK_EQ_INT(unlink(path("a.couch.2")), is_known ? 0 : -1);
    }
    for (int bit = 0; bit < 64; ++bit) {
        couchstore_online_compact_options options = options_for(&host);
        options.open_flags = UINT64_C(1) << bit;
        const bool is_known = (open_flags & options.open_flags) != 0;
        const int code = compact(&options, NULL);
        CHECK_CODE(code, is_known ? COUCHSTORE_SUCCESS : COUCHSTORE_ERROR_INVALID_ARGUMENTS);
        CHECK_EQ_INT(unlink(path("a.couch.2")), is_known ? 0 : -1);
    }
    /* Older functions have always ignored what they do not know. */
    const couchstore_compact_flags unknown = UINT64_C(1) << 40 | 0x10;
    CHECK_OK(couchstore_compact_db_ex(db, path("a.couch.2"), unknown, NULL, NULL, NULL, NULL));
    CLOSE(db);
}

static int count_nodes(Db *db,
                       int depth,
                       const DocInfo *info,
                       uint64_t subtree_size,
                       const sized_buf *reduce_value,
                       void *ctx) {
    (void)db, (void)depth, (void)subtree_size, (void)reduce_value;
    *(int *)ctx += info == NULL;
    return 0;
}

static int nodes_of(const char *name) {
    int nodes = 0;
    Db *db = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_OK(couchstore_walk_id_tree(db, NULL, 0, count_nodes, &nodes));
    CLOSE(db);
    return nodes;
}

/* The sizes of nodes are not in the file: the caller tells how it has opened the source. */
TEST(node_sizes_of_the_source) {
    enum { DOCS = 500 };
    const couchstore_open_flags sizes = 0x880000;
    static char ids[DOCS][16];
    static struct doc docs[DOCS];
    Db *db = OPEN(path("a.couch.1"), COUCHSTORE_OPEN_FLAG_CREATE | sizes);
    for (int i = 0; i < DOCS; ++i) {
        snprintf(ids[i], sizeof ids[i], "document-%05d", i);
        docs[i] = (struct doc){.id = ids[i], .body = "body"};
    }
    CHECK_OK(save_docs(db, docs, DOCS, 0));
    CHECK_OK(commit(db, 7));
    CHECK_OK(couchstore_compact_db(db, path("at-rest")));
    struct host host = {0};
    couchstore_online_compact_options options = options_for(&host);
    CHECK_OK(compact(&options, NULL));
    CHECK(nodes_of(path("a.couch.2")) > 2 * nodes_of(path("at-rest")));
    CHECK_OK(unlink(path("a.couch.2")));
    options.open_flags = COUCHSTORE_OPEN_FLAG_CREATE | sizes;
    CHECK_OK(compact(&options, NULL));
    CHECK_EQ_INT(nodes_of(path("a.couch.2")), nodes_of(path("at-rest")));
    CLOSE(db);
}

static couchstore_error_t change_nothing(Db *source, Db *target, void *ctx) {
    (void)source;
    (void)target;
    ++*(int *)ctx;
    return COUCHSTORE_SUCCESS;
}

/* A hook that is given takes a commit of its own, one that is not takes none. */
TEST(the_commit_of_the_last_hook) {
    Db *db = source_db();
    for (int given = 0; given < 2; ++given) {
        int calls = 0;
        struct host host = {0};
        couchstore_online_compact_options options = options_for(&host);
        options.precommit = given ? change_nothing : NULL;
        options.replay_ctx = &calls;
        CHECK_OK(compact(&options, NULL));
        CHECK_EQ_INT(calls, given);
        CHECK_EQ_INT(headers_in(path("a.couch.2")), 1 + given);
        CHECK_OK(unlink(path("a.couch.2")));
    }
    CLOSE(db);
}

static couchstore_error_t write_state(Db *source, Db *target, void *ctx) {
    (void)source;
    ++*(int *)ctx;
    return put_local(target, "_local/vbstate", "{}");
}

/* Also if nothing was committed meanwhile. */
TEST(the_hook_before_the_last_commit) {
    for (int writes = 0; writes < 2; ++writes) {
        Db *db = source_db();
        int calls = 0;
        struct host host = {.writer = writes ? db : NULL};
        couchstore_online_compact_options options = options_for(&host);
        options.precommit = write_state;
        options.replay_ctx = &calls;
        options.swap = COUCHSTORE_SWAP_REPLACE;
        CHECK_OK(compact(&options, NULL));
        CHECK_EQ_INT(calls, 1);
        CLOSE(db);
        db = OPEN(path("a.couch.1"), 0);
        CHECK_STR(local_of(db, "_local/vbstate"), "{}");
        CLOSE(db);
        CHECK_OK(unlink(path("a.couch.1")));
    }
}

/* Cancels when the copy is made, the second time that this is told. */
static int cancel_late(void *ctx, uint64_t done, uint64_t total, uint64_t bytes) {
    struct host *host = ctx;
    const int result = progress(ctx, done, total, bytes);
    return done == total && ++host->all_done == 2 ? 1 : result;
}

TEST(cancelled_while_catching_up) {
    for (int rounds = -1; rounds <= 1; ++rounds) {
        Db *db = source_db();
        struct host host = {.writer = db};
        couchstore_online_compact_options options = options_for(&host);
        options.progress = cancel_late;
        options.max_unlocked_rounds = rounds;
        CHECK_CODE(compact(&options, NULL), COUCHSTORE_ERROR_CANCEL);
        CHECK_EQ_INT(host.all_done, 2);
        CHECK_EQ_INT(host.publishes, 0);
        CHECK_EQ_INT(host.locks, host.unlocks);
        CHECK_EQ_INT(dir_entries(path(".")), 1);
        CLOSE(db);
        CHECK_OK(unlink(path("a.couch.1")));
    }
}

TEST(wrong_arguments) {
    Db *db = source_db();
    couchstore_online_compact_options options = {.size = sizeof options};
    couchstore_online_compact_stats stats = {.rounds = 77};
    int current = 77;
    CHECK_CODE(couchstore_compact_db_online(NULL, path("x"), &options, &stats),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(couchstore_compact_db_online(path("a.couch.1"), NULL, &options, &stats),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(compact(NULL, &stats), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    options.size = 0;
    CHECK_CODE(compact(&options, &stats), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    options.size = SIZE_MAX;
    CHECK_CODE(compact(&options, &stats), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    options.size = sizeof options;
    CHECK_CODE(couchstore_compact_db_online(path("missing"), path("x"), &options, &stats),
               COUCHSTORE_ERROR_NO_SUCH_FILE);
    CHECK_CODE(couchstore_is_current(NULL, &current), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(couchstore_is_current(db, NULL), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_OK(couchstore_close_file(db));
    CHECK_CODE(couchstore_is_current(db, &current), COUCHSTORE_ERROR_FILE_CLOSED);
    CHECK_OK(couchstore_free_db(db));
    CHECK_EQ_INT(stats.rounds, 77);
    CHECK_EQ_INT(current, 77);
    CHECK_EQ_INT(dir_entries(path(".")), 1);
}

TEST(the_target_exists) {
    Db *db = source_db();
    struct host host = {0};
    couchstore_online_compact_options options = options_for(&host);
    file_write(path("a.couch.2"), "mine", 4);
    errno = 0;
    CHECK_CODE(compact(&options, NULL), COUCHSTORE_ERROR_OPEN_FILE);
    CHECK_EQ_INT(errno, EEXIST);
    CHECK_EQ_INT(file_size(path("a.couch.2")), 4);
    CHECK_EQ_INT(host.locks, 0);
    CLOSE(db);
}

/* Everything is as it was before, and the lock was given back. */
static void check_undone(Db *db, const struct host *host, int descriptors) {
    int current = -1;
    CHECK_EQ_INT(host->locks, host->unlocks);
    CHECK_EQ_INT(dir_entries(path(".")), 1);
    CHECK_OK(couchstore_is_current(db, &current));
    CHECK_EQ_INT(current, 1);
    CHECK_EQ_INT(open_descriptors(), descriptors);
    Db *again = OPEN(path("a.couch.1"), COUCHSTORE_OPEN_FLAG_RDONLY);
    CHECK_STR(docs_by_seq(again), "a@1 b@2 c@3-");
    CLOSE(again);
}

TEST(cancelled_by_progress) {
    Db *db = source_db();
    const int descriptors = open_descriptors();
    for (int swap = COUCHSTORE_SWAP_NONE; swap <= COUCHSTORE_SWAP_REPLACE; ++swap) {
        static const int results[][2] = {
                {1, COUCHSTORE_ERROR_CANCEL}, {-55, -55}, {77, COUCHSTORE_ERROR_CANCEL}};
        for (size_t i = 0; i < COUNT_OF(results); ++i) {
            struct host host = {.progress_result = results[i][0]};
            couchstore_online_compact_options options = options_for(&host);
            options.swap = swap;
            CHECK_CODE(compact(&options, NULL), results[i][1]);
            CHECK_EQ_INT(host.publishes, 0);
            check_undone(db, &host, descriptors);
        }
    }
    CLOSE(db);
}

TEST(publishing_fails) {
    Db *db = source_db();
    const int descriptors = open_descriptors();
    for (int swap = COUCHSTORE_SWAP_NONE; swap <= COUCHSTORE_SWAP_REPLACE; ++swap) {
        struct host host = {.publish_result = -66};
        couchstore_online_compact_options options = options_for(&host);
        options.swap = swap;
        CHECK_CODE(compact(&options, NULL), -66);
        CHECK_EQ_INT(host.publishes, 1);
        CHECK_EQ_INT(host.locks, 1);
        check_undone(db, &host, descriptors);
        /* The next one succeeds. */
        host = (struct host){0};
        CHECK_OK(compact(&options, NULL));
        if (swap == COUCHSTORE_SWAP_NONE) {
            CHECK_OK(unlink(path("a.couch.2")));
        }
    }
    CLOSE(db);
}

/* A filter sees what is copied, pre_copy what came meanwhile. */
static int drop_a(Db *target, DocInfo *info, sized_buf item, void *ctx) {
    (void)target, (void)item;
    if (info == NULL) {
        ++*(int *)ctx;
        return 0;
    }
    return info->id.buf[0] == 'a' ? COUCHSTORE_COMPACT_DROP_ITEM : COUCHSTORE_COMPACT_KEEP_ITEM;
}

TEST(a_filter) {
    Db *db = source_db();
    int ends = 0;
    struct host host = {.writer = db};
    couchstore_online_compact_options options = options_for(&host);
    options.hook = drop_a;
    options.hook_ctx = &ends;
    options.flags = COUCHSTORE_COMPACT_FLAG_DROP_DELETES;
    CHECK_OK(compact(&options, NULL));
    CHECK_EQ_INT(ends, 1);
    CLOSE(db);
    db = OPEN(path("a.couch.2"), 0);
    CHECK_STR(docs_by_seq(db), "c@3- b@4 new@5");
    couchstore_header_info info;
    CHECK_OK(couchstore_get_header(db, &info));
    CHECK_EQ_INT(info.purge_seq, 6);
    CLOSE(db);
}

/* Tries a second compaction while the first one runs. */
static int second(void *ctx, uint64_t done, uint64_t total, uint64_t bytes) {
    int *result = ctx;
    couchstore_online_compact_options options = {.size = sizeof options};
    (void)done, (void)total, (void)bytes;
    result[0] = couchstore_compact_db_online(path("a.couch.1"), path("a.couch.3"), &options, NULL);
    result[1] = errno;
    return 0;
}

TEST(two_at_a_time) {
    Db *db = source_db();
    int result[2] = {0, 0};
    couchstore_online_compact_options options = {
            .size = sizeof options, .progress = second, .ctx = result};
    CHECK_OK(compact(&options, NULL));
    CHECK_CODE(result[0], COUCHSTORE_ERROR_OPEN_FILE);
    CHECK_EQ_INT(result[1], EBUSY);
    CHECK_EQ_INT(dir_entries(path(".")), 2);
    CLOSE(db);
}

/* Each call of the caller's file operations fails once: nothing is left over, nothing leaks. */
TEST(failing_file_operations) {
    static const enum op_kind kinds[] = {OP_CONSTRUCTOR, OP_OPEN, OP_PREAD,
                                         OP_PWRITE,      OP_EOF,  OP_SYNC};
    Db *db = source_db();
    const int descriptors = open_descriptors();
    struct test_ops t;
    int runs = 0;
    ops_init(&t);
    for (int swap = COUCHSTORE_SWAP_NONE; swap <= COUCHSTORE_SWAP_REPLACE; ++swap) {
        for (size_t kind = 0; kind < COUNT_OF(kinds); ++kind) {
            for (int at = 1;; ++at) {
                struct host host = {0};
                couchstore_online_compact_options options = options_for(&host);
                options.ops = &t.ops;
                options.swap = swap;
                ops_reset(&t);
                ops_fail(&t, kinds[kind], at, 1, -4321, EIO);
                if (compact(&options, NULL) == COUCHSTORE_SUCCESS && t.failed == 0) {
                    break; /* there are no more calls of this kind */
                }
                CHECK(t.failed > 0);
                if (file_exists(path("a.couch.2"))) {
                    CHECK_OK(unlink(path("a.couch.2"))); /* a failure that does not matter */
                }
                CHECK_EQ_INT(dir_entries(path(".")), 1);
                CHECK_EQ_INT(host.locks, host.unlocks);
                CHECK_EQ_INT(open_descriptors(), descriptors);
                ++runs;
            }
            unlink(path("a.couch.2"));
            Db *again = OPEN(path("a.couch.1"), COUCHSTORE_OPEN_FLAG_RDONLY);
            CHECK_STR(docs_by_seq(again), "a@1 b@2 c@3-");
            CLOSE(again);
        }
    }
    printf("%d runs with a failure\n", runs);
    ops_free(&t);
    CLOSE(db);
}
