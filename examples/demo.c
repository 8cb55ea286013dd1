/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A walk through libcouchstore.
 *
 *   couchstore_demo         makes a database in a temporary folder, fills it, changes it, reads every
 *                           document back and compares it with what was written, compacts the file
 *                           while a thread keeps saving to it, and compares again
 *   couchstore_demo FILE    shows an existing database, reads every document of it, compacts it to a
 *                           temporary file, and compares both; FILE is only read
 *
 * Progress goes to stderr, results to stdout. Exit status 1 after any failure.
 */
#define _POSIX_C_SOURCE 200809L

#include "demo_common.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    DOCUMENTS = 200000,
    BATCH = 1000,
    KEY_SIZE = 16,
    MAX_BODY_SIZE = 400,
    /* Every 10th document is updated, every 25th is deleted (and not updated). */
    UPDATE_EACH = 10,
    DELETE_EACH = 25,
    /* What the thread that keeps saving puts into each commit. */
    SAVER_BATCH = 50,
    MAX_COMMITS = 100000
};

/* ---- A database of our own ---- */

static bool is_deleted(uint32_t index) {
    return index % DELETE_EACH == 3;
}

static bool is_updated(uint32_t index) {
    return index % UPDATE_EACH == 0 && !is_deleted(index);
}

/* What each document was saved as last. */
static struct {
    unsigned revision;
    bool deleted;
} saved[DOCUMENTS];

static size_t make_key(char *key, uint32_t index) {
    return (size_t)snprintf(key, KEY_SIZE, "doc-%08" PRIu32, index);
}

/* The body of a document follows from its number and its revision, so that it can be checked later. */
static size_t make_body(char *body, uint32_t index, unsigned revision) {
    uint32_t random = index * 2654435761U + revision * 40503U + 1;
    size_t size = (size_t)snprintf(body, MAX_BODY_SIZE,
                                   "{\"number\": %" PRIu32 ", \"revision\": %u, \"text\": \"",
                                   index, revision);
    const size_t end = size + 64 + random % 200;
    while (size < end) {
        random = random * 1664525U + 1013904223U;
        body[size++] = (char)('a' + (random >> 24) % 26);
    }
    body[size++] = '"';
    body[size++] = '}';
    return size;
}

typedef struct Batch {
    char keys[BATCH][KEY_SIZE];
    char bodies[BATCH][MAX_BODY_SIZE];
    Doc docs[BATCH];
    DocInfo infos[BATCH];
    Doc *doc_pointers[BATCH];
    DocInfo *info_pointers[BATCH];
    size_t count;
} Batch;

static void add_to_batch(Batch *batch, uint32_t index, unsigned revision, bool deleted) {
    const size_t place = batch->count++;
    Doc *doc = &batch->docs[place];
    DocInfo *info = &batch->infos[place];
    saved[index].revision = revision;
    saved[index].deleted = deleted;
    memset(doc, 0, sizeof *doc);
    memset(info, 0, sizeof *info);
    doc->id.buf = batch->keys[place];
    doc->id.size = make_key(batch->keys[place], index);
    info->id = doc->id;
    info->rev_seq = revision;
    info->deleted = deleted;
    info->content_meta = COUCH_DOC_IS_JSON;
    if (!deleted) {
        doc->data.buf = batch->bodies[place];
        doc->data.size = make_body(batch->bodies[place], index, revision);
        /* Every second one is compressed. */
        if (index % 2 == 0) {
            info->content_meta |= COUCH_DOC_IS_COMPRESSED;
        }
    }
    batch->doc_pointers[place] = deleted ? NULL : doc;
    batch->info_pointers[place] = info;
}

/* Saves the batch and commits. */
static void save_batch(Db *db, Batch *batch) {
    if (batch->count == 0) {
        return;
    }
    check(couchstore_save_documents(db, batch->doc_pointers, batch->info_pointers, batch->count,
                                    COMPRESS_DOC_BODIES),
          db, "saving documents");
    check(couchstore_commit(db), db, "committing");
    batch->count = 0;
}

static void fill(Db *db, Batch *batch) {
    const double start = now();
    for (uint32_t index = 0; index < DOCUMENTS; ++index) {
        add_to_batch(batch, index, 1, false);
        if (batch->count == BATCH) {
            save_batch(db, batch);
            show_progress("saving", index + 1, DOCUMENTS);
        }
    }
    save_batch(db, batch);
    show_time("saving, a commit per 1000 documents", DOCUMENTS, now() - start);
}

static void change(Db *db, Batch *batch) {
    const double start = now();
    uint64_t changed = 0;
    for (uint32_t index = 0; index < DOCUMENTS; ++index) {
        if (is_updated(index) || is_deleted(index)) {
            add_to_batch(batch, index, 2, is_deleted(index));
            ++changed;
        }
        if (batch->count == BATCH) {
            save_batch(db, batch);
            show_progress("updating and deleting", index + 1, DOCUMENTS);
        }
    }
    save_batch(db, batch);
    show_progress("updating and deleting", DOCUMENTS, DOCUMENTS);
    show_time("updating and deleting", changed, now() - start);
}

typedef struct Verification {
    const char *what;
    uint32_t next; /* documents come in the order of their numbers */
    uint64_t live;
    uint64_t deleted;
} Verification;

static int verify_document(Db *db, DocInfo *info, void *ctx) {
    Verification *state = ctx;
    char key[KEY_SIZE];
    char body[MAX_BODY_SIZE];
    const uint32_t index = state->next++;
    const size_t key_size = make_key(key, index);
    const unsigned revision = saved[index].revision;

    if (info->id.size != key_size || memcmp(info->id.buf, key, key_size) != 0) {
        fail("found the document %.*s, expected %s", (int)info->id.size, info->id.buf, key);
    }
    if (info->rev_seq != revision || (info->deleted != 0) != saved[index].deleted) {
        fail("the document %s has an old index entry", key);
    }
    if (info->deleted) {
        ++state->deleted;
    } else {
        const size_t body_size = make_body(body, index, revision);
        Doc *doc = NULL;
        check(couchstore_open_doc_with_docinfo(db, info, &doc, DECOMPRESS_DOC_BODIES), db, key);
        if (doc->data.size != body_size || memcmp(doc->data.buf, body, body_size) != 0) {
            fail("the document %s has another body than the one that was saved", key);
        }
        couchstore_free_document(doc);
        ++state->live;
    }
    show_progress(state->what, state->next, DOCUMENTS);
    return 0;
}

static void verify(Db *db, const char *what) {
    Verification state = {what, 0, 0, 0};
    const double start = now();
    check(couchstore_all_docs(db, NULL, 0, verify_document, &state), db, "reading all documents");
    if (state.next != DOCUMENTS) {
        fail("%s documents are missing", number(DOCUMENTS - state.next));
    }
    show_time(what, DOCUMENTS, now() - start);
    printf("  every one of %s documents and %s deletions is as it was written\n",
           number(state.live), number(state.deleted));
    fflush(stdout);
}

/* ---- Compacting beside a thread that saves ---- */

/* Held from save to commit, and by the compaction while it switches files. */
static pthread_mutex_t writer_lock = PTHREAD_MUTEX_INITIALIZER;

static void pause_for(long milliseconds) {
    const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

typedef struct Saver {
    Batch *batch;
    double start;
    pthread_mutex_t lock; /* for what follows */
    bool stop;
    size_t commits;
    double latencies[MAX_COMMITS]; /* seconds, with the wait for the lock */
} Saver;

static bool saver_goes_on(Saver *saver, double latency) {
    pthread_mutex_lock(&saver->lock);
    if (latency > 0 && saver->commits < MAX_COMMITS) {
        saver->latencies[saver->commits++] = latency;
    }
    const bool goes_on = !saver->stop;
    pthread_mutex_unlock(&saver->lock);
    return goes_on;
}

/* Updates documents here and there until it is stopped; follows the name to the compacted file. */
static void *save_on(void *ctx) {
    Saver *saver = ctx;
    Db *db = NULL;
    uint32_t random = 1;
    double latency = 0;
    check(couchstore_open_db(file_path, 0, &db), NULL, file_path);
    while (saver_goes_on(saver, latency)) {
        int current = 0;
        const double start = now();
        pthread_mutex_lock(&writer_lock);
        check(couchstore_is_current(db, &current), db, "looking at the name");
        if (!current) {
            close_database(db);
            check(couchstore_open_db(file_path, 0, &db), NULL, file_path);
        }
        random = random * 1664525U + 1013904223U;
        for (uint32_t i = 0; i < SAVER_BATCH; ++i) {
            const uint32_t index = ((random >> 8) + i * 31) % DOCUMENTS;
            add_to_batch(saver->batch, index, saved[index].revision + 1, false);
        }
        save_batch(db, saver->batch);
        pthread_mutex_unlock(&writer_lock);
        latency = now() - start;
        pause_for(1); /* a mutex is not fair: lets the compaction have its turn */
    }
    close_database(db);
    return NULL;
}

static int compare_numbers(const void *one, const void *other) {
    const double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

/* A line about the commits since the last call. */
static void show_commits(Saver *saver, const char *what) {
    pthread_mutex_lock(&saver->lock);
    const double seconds = now() - saver->start;
    const size_t count = saver->commits;
    qsort(saver->latencies, count, sizeof saver->latencies[0], compare_numbers);
    printf("  %-34s %8.2f s  %13s documents/s", what, seconds,
           number((uint64_t)((double)count * SAVER_BATCH / seconds)));
    if (count > 0) {
        printf("  %.1f ms per commit, 99 %% under %.1f ms", saver->latencies[count / 2] * 1e3,
               saver->latencies[(count - 1) * 99 / 100] * 1e3);
    }
    printf("\n");
    fflush(stdout);
    saver->commits = 0;
    saver->start = now();
    pthread_mutex_unlock(&saver->lock);
}

static void lock_writer(void *ctx) {
    (void)ctx;
    pthread_mutex_lock(&writer_lock);
}

static void unlock_writer(void *ctx) {
    (void)ctx;
    pthread_mutex_unlock(&writer_lock);
}

static int show_compaction(void *ctx, uint64_t done, uint64_t total, uint64_t written) {
    (void)ctx, (void)written;
    show_progress("compacting beside the saves", done, total);
    return 0;
}

/* Compacts the file under its own name while a thread saves to it. */
static void compact_beside_saves(Batch *batch) {
    couchstore_online_compact_options options = {
            .size = sizeof options,
            .swap = COUCHSTORE_SWAP_REPLACE,
            .lock = lock_writer,
            .unlock = unlock_writer,
            .progress = show_compaction,
    };
    couchstore_online_compact_stats stats;
    pthread_t thread;
    Saver *saver = calloc(1, sizeof *saver);
    if (saver == NULL) {
        fail("out of memory");
    }
    saver->batch = batch;
    saver->start = now();
    pthread_mutex_init(&saver->lock, NULL);
    if (pthread_create(&thread, NULL, save_on, saver) != 0) {
        fail("no thread to be had");
    }
    pause_for(1000);
    show_commits(saver, "updating, 50 documents per commit");
    const uint64_t before = size_of_file(file_path);
    check(couchstore_compact_db_online(file_path, NULL, &options, &stats), NULL, "compacting");
    show_commits(saver, "updating beside the compaction");
    show_time("compacting beside the saves", stats.documents, (double)stats.total_us / 1e6);
    printf("  %-34s %8.2f ms  after %" PRIu64 " rounds of catching up without it, %s left\n",
           "  writers kept out for", (double)stats.lock_hold_us / 1e3, stats.rounds,
           bytes(stats.locked_bytes));
    const uint64_t after = stats.bytes;
    pause_for(300);
    pthread_mutex_lock(&saver->lock);
    saver->stop = true;
    pthread_mutex_unlock(&saver->lock);
    pthread_join(thread, NULL);
    show_commits(saver, "updating afterwards");
    pthread_mutex_destroy(&saver->lock);
    free(saver);
    show_sizes(before, after);
    printf("\n");
    fflush(stdout);
}

static void demo_own(void) {
    Db *db = NULL;
    Batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL) {
        fail("out of memory");
    }
    make_folder();
    printf("A new database: %s\n\n", file_path);
    fflush(stdout);

    check(couchstore_open_db(file_path, COUCHSTORE_OPEN_FLAG_CREATE, &db), NULL, file_path);
    fill(db, batch);
    change(db, batch);
    close_database(db);

    /* What counts is what another process would find in the file. */
    check(couchstore_open_db(file_path, COUCHSTORE_OPEN_FLAG_RDONLY, &db), NULL, file_path);
    verify(db, "reading and comparing");
    show_header("Header", db);
    close_database(db);

    compact_beside_saves(batch);
    free(batch);

    check(couchstore_open_db(file_path, COUCHSTORE_OPEN_FLAG_RDONLY, &db), NULL, file_path);
    verify(db, "reading and comparing again");
    show_header("Header of the compacted file", db);
    close_database(db);
}

int main(int argc, char **argv) {
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        fprintf(stderr, "usage: %s [FILE]\n", argv[0]);
        return 1;
    }
    if (argc == 2) {
        demo_existing(argv[1]);
    } else {
        demo_own();
    }
    remove_folder();
    if (fflush(stdout) != 0) {
        return 1;
    }
    return 0;
}
