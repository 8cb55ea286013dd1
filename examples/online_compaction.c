/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Compacts a database in its place while a thread keeps saving to it, and switches over.
 *
 *   couchstore_online_compaction FOLDER     makes example.couch in FOLDER
 *
 * Three rules make the switch-over safe:
 *
 *  - One lock covers a whole piece of the writer's work, from its first save to the end of the commit.
 *    The compaction takes the same lock at its end.
 *  - publish() opens a new handle on the name, which leads to the compacted file by then, puts it in the
 *    place of the old one, and closes the old one.
 *  - Whoever writes asks for the handle anew each time the lock is taken.
 *
 * Exit status 1 after any failure.
 */
#define _POSIX_C_SOURCE 200809L

#include <libcouchstore/couch_db.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DOCUMENTS = 2000, BATCH = 20, ROUNDS = 20, MAX_PATH = 4096 };

/* What the threads share. All of it is used under the lock, but the path, which stays the same. */
struct store {
    char path[MAX_PATH];
    pthread_mutex_t lock;
    Db *db;
    bool stop;                     /* the writer is to end */
    unsigned commits;              /* of the writer */
    unsigned revisions[DOCUMENTS]; /* what each document was saved as last */
};

/* Ends the program if a call failed, and says why. */
static void check(couchstore_error_t code, const char *what) {
    char reason[256] = "";
    if (code != COUCHSTORE_SUCCESS) {
        couchstore_last_internal_error(NULL, reason, sizeof reason);
        fprintf(stderr, "%s: %s %s\n", what, couchstore_strerror(code), reason);
        exit(1);
    }
}

/* ---- The writer ---- */

/* Saves BATCH documents, in one commit. The caller holds the lock. */
static void save_batch(struct store *store, unsigned first) {
    static char ids[BATCH][16], bodies[BATCH][64];
    Doc docs[BATCH], *doc_pointers[BATCH];
    DocInfo infos[BATCH], *info_pointers[BATCH];
    for (unsigned i = 0; i < BATCH; ++i) {
        const unsigned number = (first + i) % DOCUMENTS;
        const unsigned revision = ++store->revisions[number];
        snprintf(ids[i], sizeof ids[i], "doc-%06u", number);
        snprintf(bodies[i], sizeof bodies[i], "revision %u of document %u", revision, number);
        docs[i] = (Doc)DOC_INITIALIZER;
        docs[i].data = (sized_buf){bodies[i], strlen(bodies[i])};
        infos[i] = (DocInfo)DOC_INFO_INITIALIZER;
        infos[i].id = (sized_buf){ids[i], strlen(ids[i])};
        infos[i].rev_seq = revision;
        doc_pointers[i] = &docs[i];
        info_pointers[i] = &infos[i];
    }
    check(couchstore_save_documents(store->db, doc_pointers, info_pointers, BATCH, 0), "save");
    check(couchstore_commit(store->db), "commit");
}

static void *write_on(void *ctx) {
    const struct timespec pause = {0, 1000000};
    struct store *store = ctx;
    bool stop = false;
    for (unsigned first = 0; !stop; first += BATCH) {
        pthread_mutex_lock(&store->lock);
        save_batch(store, first);
        ++store->commits;
        stop = store->stop;
        pthread_mutex_unlock(&store->lock);
        /* A mutex is not fair: who takes it again at once may keep the compaction waiting. */
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* ---- The compaction ---- */

/* These are called on the thread that compacts. */

static void lock(void *ctx) {
    pthread_mutex_lock(&((struct store *)ctx)->lock);
}

static void unlock(void *ctx) {
    pthread_mutex_unlock(&((struct store *)ctx)->lock);
}

/*
 * Under the lock, and the name leads to the compacted file. Both handles are the library's. If this
 * failed, everything would be as before, so it must not close the old handle too early.
 */
static couchstore_error_t publish(void *ctx, Db *source, Db *target) {
    struct store *store = ctx;
    Db *fresh = NULL;
    const couchstore_error_t code = couchstore_open_db(store->path, 0, &fresh);
    (void)source, (void)target;
    if (code != COUCHSTORE_SUCCESS) {
        return code;
    }
    /* Nothing waits to be committed on the old handle: the writer commits before it unlocks. */
    couchstore_close_file(store->db);
    couchstore_free_db(store->db);
    store->db = fresh;
    return COUCHSTORE_SUCCESS;
}

/* Where a host would look whether it is to shut down: non-zero cancels. */
static int progress(void *ctx, uint64_t done_docs, uint64_t total_docs, uint64_t done_bytes) {
    (void)ctx, (void)done_docs, (void)total_docs, (void)done_bytes;
    return 0;
}

static void compact(struct store *store) {
    couchstore_online_compact_stats stats;
    const couchstore_online_compact_options options = {
            .size = sizeof options,
            .lock = lock,
            .unlock = unlock,
            .publish = publish,
            .progress = progress,
            .ctx = store,
            .swap = COUCHSTORE_SWAP_REPLACE,
    };
    check(couchstore_compact_db_online(store->path, NULL, &options, &stats), "compact");
    printf("compacted to %" PRIu64 " documents, %" PRIu64 " bytes; %" PRIu64
           " rounds, the lock was held for %" PRIu64 " us\n",
           stats.documents, stats.bytes, stats.rounds, stats.lock_hold_us);
}

/* ---- Making it, and looking at it ---- */

static uint64_t size_of(Db *db) {
    DbInfo info;
    check(couchstore_db_info(db, &info), "info");
    return info.file_size;
}

/* Whatever was committed, before, during and after the compaction, is in the file. */
static void verify(struct store *store) {
    Db *db = NULL;
    check(couchstore_open_db(store->path, COUCHSTORE_OPEN_FLAG_RDONLY, &db), "open");
    for (unsigned number = 0; number < DOCUMENTS; ++number) {
        char id[16], expected[64];
        Doc *doc = NULL;
        snprintf(id, sizeof id, "doc-%06u", number);
        snprintf(expected, sizeof expected, "revision %u of document %u", store->revisions[number],
                 number);
        check(couchstore_open_document(db, id, strlen(id), &doc, 0), "get");
        if (doc->data.size != strlen(expected) ||
            memcmp(doc->data.buf, expected, doc->data.size) != 0) {
            fprintf(stderr, "%s: expected \"%s\"\n", id, expected);
            exit(1);
        }
        couchstore_free_document(doc);
    }
    couchstore_close_file(db);
    couchstore_free_db(db);
}

static void wait_for_commits(struct store *store, unsigned more) {
    const struct timespec pause = {0, 1000000};
    unsigned commits, until = 0;
    do {
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&store->lock);
        commits = store->commits;
        pthread_mutex_unlock(&store->lock);
        until = until != 0 ? until : commits + more;
    } while (commits < until);
}

int main(int argc, char **argv) {
    static struct store store;
    const couchstore_open_flags create = COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_FLAG_EXCL;
    pthread_t writer;
    uint64_t before;
    if (argc != 2 || strlen(argv[1]) > MAX_PATH - 20) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 1;
    }
    snprintf(store.path, sizeof store.path, "%s/example.couch", argv[1]);
    pthread_mutex_init(&store.lock, NULL);
    check(couchstore_open_db(store.path, create, &store.db), "create");
    for (unsigned first = 0; first < ROUNDS * DOCUMENTS / 2; first += BATCH) {
        save_batch(&store, first);
    }
    before = size_of(store.db);

    if (pthread_create(&writer, NULL, write_on, &store) != 0) {
        fprintf(stderr, "no thread\n");
        return 1;
    }
    wait_for_commits(&store, 5);
    compact(&store);
    wait_for_commits(&store, 5);

    pthread_mutex_lock(&store.lock);
    store.stop = true;
    pthread_mutex_unlock(&store.lock);
    pthread_join(writer, NULL);
    verify(&store);
    printf("%u commits beside it; %" PRIu64 " bytes before, %" PRIu64 " now\n", store.commits,
           before, size_of(store.db));
    if (size_of(store.db) >= before) {
        fprintf(stderr, "the file has not become smaller\n");
        return 1;
    }
    couchstore_close_file(store.db);
    couchstore_free_db(store.db);
    pthread_mutex_destroy(&store.lock);
    return 0;
}
