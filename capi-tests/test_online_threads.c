/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Compactions beside a writer and readers, each in a thread of its own. The writer changes the file in one of several
 * ways; in the end the file holds what the writer's model says. Some files are encrypted.
 */
#include "testlib.h"

#include <pthread.h>
#include <time.h>

enum { IDS = 400, LOCALS = 8, MAX_BATCH = 50, READERS = 2 };

/* What the file should hold: revisions, 0 for what is not there. */
struct model {
    uint32_t revisions[IDS];
    bool deleted[IDS];
    uint32_t locals[LOCALS];
};

struct world {
    void (*pattern)(struct world *world);
    const char *name;
    couchstore_key_fn keys; /* NULL: it is not encrypted */

    pthread_mutex_t
            lock; /* held by the writer from save to commit, and for the end of a compaction */
    int locks, unlocks, publishes, fail_publish;

    pthread_mutex_t state_lock; /* for what follows */
    bool stop;
    char failure[200]; /* of any thread */

    /* The writer's own. */
    Db *writer;
    struct model model, previous; /* at the last header, at the one before */
    int commits_since_open;
    uint32_t random, revision;
    long commits, reopened, rewinds;
    long reads[READERS];
};

static couchstore_error_t open_file(const struct world *world,
                                    couchstore_open_flags flags,
                                    Db **db) {
    return couchstore_open_db_with_key(world->name, flags, NULL, world->keys, NULL, db);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void note(struct world *world, const char *what, int code) {
    pthread_mutex_lock(&world->state_lock);
    if (world->failure[0] == '\0') {
        snprintf(world->failure, sizeof world->failure, "%s: %d", what, code);
    }
    world->stop = true;
    pthread_mutex_unlock(&world->state_lock);
}

static bool stopped(struct world *world) {
    pthread_mutex_lock(&world->state_lock);
    const bool stop = world->stop;
    pthread_mutex_unlock(&world->state_lock);
    return stop;
}

/* ---- the writer ---------------------------------------------------------- */

static uint32_t below(struct world *world, uint32_t limit) {
    world->random = world->random * 1664525U + 1013904223U;
    return (world->random >> 8) % limit;
}

/* Saves these documents, or deletes them. The body tells the revision. */
static void save(struct world *world, uint32_t first, uint32_t count, bool delete) {
    char ids[MAX_BATCH][16], bodies[MAX_BATCH][32];
    struct doc docs[MAX_BATCH];
    memset(docs, 0, sizeof docs);
    ++world->revision;
    for (uint32_t i = 0; i < count; ++i) {
        const uint32_t index = (first + i) % IDS;
        snprintf(ids[i], sizeof ids[i], "doc-%03" PRIu32, index);
        snprintf(bodies[i], sizeof bodies[i], "revision %" PRIu32, world->revision);
        docs[i].id = ids[i];
        docs[i].body = delete ? NULL : bodies[i];
        docs[i].rev = world->revision;
        world->model.revisions[index] = world->revision;
        world->model.deleted[index] = delete;
    }
    const couchstore_error_t code = save_docs(world->writer, docs, count, 0);
    if (code != COUCHSTORE_SUCCESS) {
        note(world, "saving", code);
    }
}

static void save_local(struct world *world) {
    const uint32_t index = below(world, LOCALS);
    const bool delete = below(world, 4) == 0;
    char id[16], body[16];
    snprintf(id, sizeof id, "_local/%" PRIu32, index);
    snprintf(body, sizeof body, "%" PRIu32, ++world->revision);
    world->model.locals[index] = delete ? 0 : world->revision;
    const couchstore_error_t code = put_local(world->writer, id, delete ? NULL : body);
    if (code != COUCHSTORE_SUCCESS) {
        note(world, "saving a local document", code);
    }
}

static void inserts(struct world *world) {
    save(world, (uint32_t)world->commits * 20, 20, false);
}

static void updates(struct world *world) {
    save(world, below(world, IDS), 1 + below(world, MAX_BATCH), false);
}

static void deletions(struct world *world) {
    save(world, below(world, IDS), 1 + below(world, 20), below(world, 2) == 0);
}

static void local_documents_only(struct world *world) {
    save_local(world);
}

static void tiny_commits(struct world *world) {
    save(world, below(world, IDS), 1, below(world, 5) == 0);
}

/* Back to the header before, which the writer has committed to this file, and on from there. */
static void rewinds(struct world *world) {
    if (world->commits_since_open >= 2 && below(world, 3) == 0) {
        const couchstore_error_t code = couchstore_seek(world->writer, COUCHSTORE_SEEK_BACKWARD);
        if (code != COUCHSTORE_SUCCESS) {
            note(world, "rewinding", code);
        }
        world->model = world->previous;
        world->commits_since_open = 0;
        ++world->rewinds;
    }
    save(world, below(world, IDS), 5, below(world, 5) == 0);
    save_local(world);
}

static void reopen_if_replaced(struct world *world) {
    int current = 0;
    couchstore_error_t code = couchstore_is_current(world->writer, &current);
    if (code == COUCHSTORE_SUCCESS && !current) {
        couchstore_close_file(world->writer);
        couchstore_free_db(world->writer);
        world->writer = NULL;
        code = open_file(world, 0, &world->writer);
        world->commits_since_open = 0;
        ++world->reopened;
    }
    if (code != COUCHSTORE_SUCCESS) {
        note(world, "opening the new file", code);
    }
}

static void *write_all_the_time(void *ctx) {
    struct world *world = ctx;
    while (!stopped(world)) {
        pthread_mutex_lock(&world->lock);
        reopen_if_replaced(world);
        if (world->writer != NULL) {
            const struct model before = world->model;
            world->pattern(world);
            if (world->commits_since_open > 0) {
                world->previous = before;
            }
            const couchstore_error_t code = couchstore_commit(world->writer);
            if (code != COUCHSTORE_SUCCESS) {
                note(world, "committing", code);
            }
            ++world->commits;
            ++world->commits_since_open;
        }
        pthread_mutex_unlock(&world->lock);
        usleep(200); /* lets others have the lock */
    }
    return NULL;
}

/* ---- readers --------------------------------------------------------------- */

struct reader {
    struct world *world;
    int number;
};

/* The body of each document is that of its entry. */
static int read_document(Db *db, DocInfo *info, void *ctx) {
    struct world *world = ctx;
    Doc *doc = NULL;
    char expected[32];
    snprintf(expected, sizeof expected, "revision %" PRIu64, info->rev_seq);
    if (!info->deleted) {
        const couchstore_error_t code = couchstore_open_doc_with_docinfo(db, info, &doc, 0);
        if (code != COUCHSTORE_SUCCESS) {
            note(world, "reading a document", code);
        } else if (doc->data.size != strlen(expected) ||
                   memcmp(doc->data.buf, expected, doc->data.size) != 0) {
            note(world, "another body than the entry says", (int)info->rev_seq);
        }
        couchstore_free_document(doc);
    }
    return 0;
}

static void *read_all_the_time(void *ctx) {
    struct reader *reader = ctx;
    struct world *world = reader->world;
    while (!stopped(world)) {
        Db *db = NULL;
        couchstore_error_t code = open_file(world, COUCHSTORE_OPEN_FLAG_RDONLY, &db);
        if (code != COUCHSTORE_SUCCESS) {
            note(world, "opening for reading", code);
            break;
        }
        /* Twice: the second time the name may lead to another file already. */
        for (int pass = 0; pass < 2; ++pass) {
            code = couchstore_changes_since(db, 0, 0, read_document, world);
            if (code != COUCHSTORE_SUCCESS) {
                note(world, "reading all documents", code);
            }
        }
        couchstore_close_file(db);
        couchstore_free_db(db);
        ++world->reads[reader->number];
    }
    return NULL;
}

/* ---- compactions ------------------------------------------------------------ */

static void lock(void *ctx) {
    struct world *world = ctx;
    pthread_mutex_lock(&world->lock);
    ++world->locks;
}

static void unlock(void *ctx) {
    struct world *world = ctx;
    ++world->unlocks;
    pthread_mutex_unlock(&world->lock);
}

static couchstore_error_t publish(void *ctx, Db *source, Db *target) {
    struct world *world = ctx;
    (void)source, (void)target;
    /* Every fifth switch-over fails. */
    return ++world->publishes % 5 == 0 ? -66 : COUCHSTORE_SUCCESS;
}

/* Gives the writer time while the copy is made. */
static int slow_progress(void *ctx, uint64_t done, uint64_t total, uint64_t bytes) {
    (void)ctx, (void)done, (void)total, (void)bytes;
    usleep(20000);
    return 0;
}

static int cancel(void *ctx, uint64_t done, uint64_t total, uint64_t bytes) {
    (void)ctx, (void)total, (void)bytes;
    return done > 0;
}

/* Compares the file with the model. */
static void compare(const struct world *world) {
    Db *db = NULL;
    size_t key_id;
    couchstore_header_info header;
    CHECK_OK(open_file(world, COUCHSTORE_OPEN_FLAG_RDONLY, &db));
    CHECK_OK(couchstore_get_encryption_key_id(db, NULL, 0, &key_id));
    CHECK_EQ_INT(key_id > 0, world->keys != NULL);
    uint64_t live = 0, deleted = 0;
    for (uint32_t index = 0; index < IDS; ++index) {
        char id[16], expected[32];
        const uint32_t revision = world->model.revisions[index];
        snprintf(id, sizeof id, "doc-%03" PRIu32, index);
        snprintf(expected, sizeof expected, "revision %" PRIu32, revision);
        DocInfo *info = NULL;
        const couchstore_error_t code = couchstore_docinfo_by_id(db, id, strlen(id), &info);
        if (revision == 0) {
            CHECK_CODE(code, COUCHSTORE_ERROR_DOC_NOT_FOUND);
            continue;
        }
        CHECK_OK(code);
        CHECK_EQ_INT(info->rev_seq, revision);
        CHECK_EQ_INT(info->deleted, world->model.deleted[index]);
        if (!info->deleted) {
            CHECK_STR(body_of(db, id), expected);
        }
        live += !info->deleted;
        deleted += info->deleted != 0;
        couchstore_free_docinfo(info);
    }
    for (uint32_t index = 0; index < LOCALS; ++index) {
        char id[16], expected[16];
        snprintf(id, sizeof id, "_local/%" PRIu32, index);
        snprintf(expected, sizeof expected, "%" PRIu32, world->model.locals[index]);
        LocalDoc *local = NULL;
        const couchstore_error_t code = couchstore_open_local_document(db, id, strlen(id), &local);
        if (world->model.locals[index] == 0) {
            CHECK_CODE(code, COUCHSTORE_ERROR_DOC_NOT_FOUND);
            continue;
        }
        CHECK_OK(code);
        CHECK_MEM(local->json.buf, local->json.size, expected, strlen(expected));
        couchstore_free_local_document(local);
    }
    CHECK_OK(couchstore_get_header(db, &header));
    CHECK_EQ_INT(header.doc_count, live);
    CHECK_EQ_INT(header.deleted_count, deleted);
    CLOSE(db);
}

static void run(const char *title, void (*pattern)(struct world *world), couchstore_key_fn keys) {
    static struct world world;
    pthread_t writer, readers[READERS];
    struct reader contexts[READERS];
    memset(&world, 0, sizeof world);
    world.pattern = pattern;
    world.name = path("busy.couch.1");
    world.keys = keys;
    world.random = 12345;
    pthread_mutex_init(&world.lock, NULL);
    pthread_mutex_init(&world.state_lock, NULL);
    CHECK_OK(open_file(&world, COUCHSTORE_OPEN_FLAG_CREATE, &world.writer));
    save(&world, 0, MAX_BATCH, false);
    CHECK_OK(couchstore_commit(world.writer));
    world.previous = world.model;

    CHECK_EQ_INT(pthread_create(&writer, NULL, write_all_the_time, &world), 0);
    for (int i = 0; i < READERS; ++i) {
        contexts[i] = (struct reader){&world, i};
        CHECK_EQ_INT(pthread_create(&readers[i], NULL, read_all_the_time, &contexts[i]), 0);
    }

    const double end = now() + (test_small() ? 0.5 : 1.5);
    couchstore_online_compact_options options = {.size = sizeof options,
                                                 .lock = lock,
                                                 .unlock = unlock,
                                                 .publish = publish,
                                                 .ctx = &world,
                                                 .keys = keys,
                                                 .swap = COUCHSTORE_SWAP_REPLACE,
                                                 .delta_bytes_for_lock = 4096};
    long compactions = 0, refused = 0, cancelled = 0;
    couchstore_online_compact_stats stats, sum = {0};
    while (now() < end && !stopped(&world)) {
        options.progress = compactions % 7 == 6   ? cancel
                           : compactions % 2 == 0 ? slow_progress
                                                  : NULL;
        const couchstore_error_t code =
                couchstore_compact_db_online(world.name, NULL, &options, &stats);
        ++compactions;
        if (code == -66) {
            ++refused;
        } else if (code == COUCHSTORE_ERROR_CANCEL) {
            ++cancelled;
        } else if (code != COUCHSTORE_SUCCESS) {
            note(&world, "compacting", code);
        } else {
            sum.rounds += stats.rounds;
            sum.restarts += stats.restarts;
            sum.lock_hold_us =
                    stats.lock_hold_us > sum.lock_hold_us ? stats.lock_hold_us : sum.lock_hold_us;
        }
    }
    pthread_mutex_lock(&world.state_lock);
    world.stop = true;
    pthread_mutex_unlock(&world.state_lock);
    CHECK_EQ_INT(pthread_join(writer, NULL), 0);
    for (int i = 0; i < READERS; ++i) {
        CHECK_EQ_INT(pthread_join(readers[i], NULL), 0);
    }
    if (world.writer != NULL) {
        CLOSE(world.writer);
    }
    CHECK_STR(world.failure, "");
    CHECK_EQ_INT(world.locks, world.unlocks);
    CHECK_EQ_INT(dir_entries(path(".")), 1);
    compare(&world);
    CHECK(compactions > refused + cancelled);
    printf("%s: %ld compactions (%ld refused, %ld cancelled), %" PRIu64 " rounds, %" PRIu64
           " restarts, lock held %.1f ms at most; %ld commits, %ld times reopened, %ld rewinds, "
           "%ld reads\n",
           title, compactions, refused, cancelled, sum.rounds, sum.restarts,
           (double)sum.lock_hold_us / 1e3, world.commits, world.reopened, world.rewinds,
           world.reads[0] + world.reads[1]);
    pthread_mutex_destroy(&world.lock);
    pthread_mutex_destroy(&world.state_lock);
}

TEST(beside_inserts) {
    run("inserts", inserts, NULL);
}

TEST(beside_updates) {
    run("updates", updates, NULL);
}

TEST(beside_deletions) {
    run("deletions", deletions, NULL);
}

TEST(beside_local_documents) {
    run("local documents only", local_documents_only, NULL);
}

TEST(beside_rewinds) {
    run("rewinds", rewinds, NULL);
}

TEST(beside_tiny_commits) {
    run("tiny commits", tiny_commits, NULL);
}

#if HAS_ENCRYPTION
/* The key of encrypted files: for any thread, and nothing is written. */
static int the_key(void *ctx, const char *id, size_t id_size, couchstore_encryption_key *key) {
    static char name[] = "key", secret[32] = "0123456789abcdef0123456789abcde";
    (void)ctx, (void)id, (void)id_size;
    key->id = (sized_buf){name, sizeof name - 1};
    key->key = (sized_buf){secret, sizeof secret};
    key->derivation = COUCHSTORE_KEY_WRAPPED;
    return 1;
}

TEST(beside_updates_of_encrypted_files) {
    run("updates, encrypted", updates, the_key);
}

TEST(beside_rewinds_of_encrypted_files) {
    run("rewinds, encrypted", rewinds, the_key);
}
#endif
