/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Handles are free for other threads while a callback runs; what only asks never waits. A case that hangs is ended by
 * SIGALRM.
 */
#include "testlib_callbacks.h"

#include <stdatomic.h>

/* ---- work that is handed over ---------------------------------------------- */

struct handed_over {
    struct callback_run *run;
    int calls, refused;
    couchstore_error_t failure;
};

static void note(struct handed_over *work, couchstore_error_t code) {
    ++work->calls;
    if (code == COUCHSTORE_ERROR_INVALID_ARGUMENTS) {
        ++work->refused; /* a write within a write */
    } else if (code != COUCHSTORE_SUCCESS && code != COUCHSTORE_ERROR_DOC_NOT_FOUND) {
        work->failure = code;
    }
}

static int stop_at_once(Db *db, DocInfo *info, void *ctx) {
    (void)db, (void)info, (void)ctx;
    return COUCHSTORE_ERROR_SCAN_CANCELLED;
}

/* Reads and writes with all handles of the call. */
static void *use_handles(void *ctx) {
    struct handed_over *work = ctx;
    for (int i = 0; i < work->run->in_use_count; ++i) {
        Db *db = work->run->in_use[i];
        Doc *doc = NULL;
        couchstore_file_stats stats;
        char *text = describe(db);
        note(work, strstr(text, "error") == NULL ? COUCHSTORE_SUCCESS : COUCHSTORE_ERROR_CORRUPT);
        free(text);
        note(work, couchstore_open_document(db, "doc-03", 6, &doc, 0));
        couchstore_free_document(doc);
        note(work, couchstore_get_db_filestats(db, &stats));
        const couchstore_error_t stopped = couchstore_changes_since(db, 0, 0, stop_at_once, NULL);
        note(work, stopped == COUCHSTORE_ERROR_SCAN_CANCELLED ? COUCHSTORE_SUCCESS : stopped);
        /* Sources of online compactions are open for reading only. */
        const couchstore_error_t saved = put(db, "by another thread", "body");
        note(work, saved == COUCHSTORE_ERROR_WRITE ? COUCHSTORE_SUCCESS : saved);
    }
    return NULL;
}

static void hand_over(struct callback_run *run) {
    struct handed_over *work = run->ctx;
    work->run = run;
    thread_finish(thread_start(use_handles, work));
}

TEST(callbacks_hand_over_work_and_wait) {
    alarm(900);
    for (size_t i = 0; i < callback_kind_count; ++i) {
        struct callback_run run;
        struct handed_over work = {0};
        callback_run_begin(&run, &callback_kinds[i], hand_over, &work);
        const couchstore_error_t code = callback_run_call(&run);
        if (code != COUCHSTORE_SUCCESS || work.failure != COUCHSTORE_SUCCESS) {
            test_fail(__FILE__, __LINE__, "%s: %d, and in the other thread %d", run.kind->name,
                      code, work.failure);
        }
        CHECK_EQ_INT(work.calls, 5 * run.in_use_count);
        /* Only writes are ever refused: one for each handle. */
        CHECK(work.refused <= run.in_use_count);
        callback_run_end(&run);
        char *text = describe_file(run.name);
        CHECK(strstr(text, "error") == NULL);
        free(text);
    }
}

/* ---- work that is handed over, and not waited for --------------------------- */

struct detached {
    pthread_t thread;
    bool started;
    struct handed_over work;
    struct callback_run seen; /* of the callback */
};

static void start_work(struct callback_run *run) {
    struct detached *detached = run->ctx;
    detached->seen = *run;
    detached->work.run = &detached->seen;
    detached->started = true;
    /* Those that only the callback is shown may be gone before the thread uses them. */
    detached->seen.in_use_count = (run->db != NULL) + (run->target != NULL);
    detached->thread = thread_start(use_handles, &detached->work);
}

TEST(callbacks_start_work_and_do_not_wait) {
    alarm(900);
    for (size_t i = 0; i < callback_kind_count; ++i) {
        struct callback_run run;
        struct detached detached;
        memset(&detached, 0, sizeof detached);
        callback_run_begin(&run, &callback_kinds[i], start_work, &detached);
        const couchstore_error_t code = callback_run_call(&run);
        thread_finish(detached.thread);
        if (code != COUCHSTORE_SUCCESS || detached.work.failure != COUCHSTORE_SUCCESS) {
            test_fail(__FILE__, __LINE__, "%s: %d, and in the other thread %d", run.kind->name,
                      code, detached.work.failure);
        }
        callback_run_end(&run);
    }
}

/* ---- a lock of the host ----------------------------------------------------- */

/* Another thread holds the host's lock and waits for the handles; the callback waits for the lock. */
struct host {
    pthread_mutex_t lock;
    pthread_barrier_t locked;
    struct callback_run *run;
    couchstore_error_t failure;
};

static void *lock_and_use(void *ctx) {
    struct host *host = ctx;
    pthread_mutex_lock(&host->lock);
    pthread_barrier_wait(&host->locked);
    for (int i = 0; i < host->run->in_use_count; ++i) {
        uint64_t count;
        const couchstore_error_t code =
                couchstore_changes_count(host->run->in_use[i], 0, 100, &count);
        host->failure = code != COUCHSTORE_SUCCESS ? code : host->failure;
    }
    pthread_mutex_unlock(&host->lock);
    return NULL;
}

static void wait_for_lock(struct callback_run *run) {
    struct host *host = run->ctx;
    host->run = run;
    const pthread_t thread = thread_start(lock_and_use, host);
    pthread_barrier_wait(&host->locked);
    pthread_mutex_lock(&host->lock);
    pthread_mutex_unlock(&host->lock);
    thread_finish(thread);
}

TEST(callbacks_wait_for_a_lock_whose_holder_waits_for_the_handle) {
    alarm(900);
    for (size_t i = 0; i < callback_kind_count; ++i) {
        struct callback_run run;
        struct host host;
        memset(&host, 0, sizeof host);
        pthread_mutex_init(&host.lock, NULL);
        pthread_barrier_init(&host.locked, NULL, 2);
        callback_run_begin(&run, &callback_kinds[i], wait_for_lock, &host);
        CHECK_OK(callback_run_call(&run));
        CHECK_OK(host.failure);
        callback_run_end(&run);
        pthread_barrier_destroy(&host.locked);
        pthread_mutex_destroy(&host.lock);
    }
}

/* ---- asking ------------------------------------------------------------------ */

static struct {
    Db *db;
    couch_file_ops ops;
    bool armed;
    int asked;
    couchstore_error_t failure;
    DbInfo info;
    uint64_t position;
    char name[300], error[100];
} asking;

/* All that only asks. */
static void *ask(void *ctx) {
    couchstore_header_info header;
    size_t length;
    int current;
    (void)ctx;
    const couchstore_error_t codes[] = {
            couchstore_db_info(asking.db, &asking.info),
            couchstore_get_header(asking.db, &header),
            couchstore_get_encryption_key_id(asking.db, NULL, 0, &length),
            couchstore_last_os_error(asking.db, asking.error, sizeof asking.error),
    };
    for (size_t i = 0; i < COUNT_OF(codes); ++i) {
        ++asking.asked;
        asking.failure = codes[i] != COUCHSTORE_SUCCESS ? codes[i] : asking.failure;
    }
    asking.position = couchstore_get_header_position(asking.db);
    snprintf(asking.name, sizeof asking.name, "%s", couchstore_get_db_filename(asking.db));
    if (couchstore_is_current(asking.db, &current) != COUCHSTORE_ERROR_NOT_SUPPORTED) {
        asking.failure = COUCHSTORE_ERROR_CORRUPT;
    }
    return NULL;
}

/* The call that writes waits until another thread has been answered. */
static ssize_t write_when_asked(couchstore_error_info_t *info,
                                couch_file_handle file,
                                const void *data,
                                size_t size,
                                cs_off_t offset) {
    if (asking.armed) {
        asking.armed = false;
        thread_finish(thread_start(ask, NULL));
    }
    return couchstore_get_default_file_ops()->pwrite(info, file, data, size, offset);
}

TEST(asking_does_not_wait_for_a_running_call) {
    alarm(900);
    memset(&asking, 0, sizeof asking);
    asking.ops = *couchstore_get_default_file_ops();
    asking.ops.pwrite = write_when_asked;
    asking.db = OPEN_OPS(path("a"), COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_FLAG_UNBUFFERED,
                         &asking.ops);
    CHECK_OK(put(asking.db, "a", "b"));
    CHECK_OK(commit(asking.db, 1));
    const uint64_t position = couchstore_get_header_position(asking.db);
    asking.armed = true;
    CHECK_OK(put(asking.db, "c", "d"));
    CHECK_EQ_INT(asking.asked, 4);
    CHECK_OK(asking.failure);
    /* As things stood before that call. */
    CHECK_EQ_INT(asking.info.last_sequence, 1);
    CHECK_EQ_INT(asking.info.doc_count, 1);
    CHECK_EQ_INT(asking.position, position);
    CHECK_STR(asking.name, path("a"));
    CHECK_STR(asking.error, "errno = 0: 'Success'");
    CHECK_EQ_INT(last_sequence(asking.db), 2);
    CLOSE(asking.db);
}

/* What the callback, and others meanwhile, are told: how things stand now, not before the call. */
static void ask_in_replay(struct callback_run *run) {
    DbInfo *info = run->ctx;
    couchstore_db_info(run->target, info);
}

TEST(callbacks_are_told_what_the_call_has_done_so_far) {
    for (size_t i = 0; i < callback_kind_count; ++i) {
        if (strcmp(callback_kinds[i].name, "precommit") == 0) {
            struct callback_run run;
            DbInfo info = {0};
            callback_run_begin(&run, &callback_kinds[i], ask_in_replay, &info);
            const uint64_t before = last_sequence(run.target);
            CHECK_OK(callback_run_call(&run));
            CHECK_EQ_INT(info.last_sequence, before + 1);
            callback_run_end(&run);
            return;
        }
    }
    CHECK(false);
}

TEST(names_are_good_as_long_as_the_handle) {
    Db *db = CREATE(path("a"));
    CHECK_OK(put(db, "a", "b"));
    CHECK_OK(commit(db, 1));
    const char *first = couchstore_get_db_filename(db);
    DbInfo info;
    CHECK_OK(couchstore_db_info(db, &info));
    for (int i = 0; i < 3; ++i) {
        file_copy(path("a"), path("b"));
        CHECK_OK(couchstore_reopen_file(db, path("b"), 0));
        CHECK_STR(couchstore_get_db_filename(db), path("b"));
        CHECK_OK(couchstore_reopen_file(db, path("a"), 0));
        CHECK_STR(couchstore_get_db_filename(db), path("a"));
    }
    CHECK_STR(first, path("a"));
    CHECK_STR(info.filename, path("a"));
    CHECK_OK(couchstore_close_file(db));
    CHECK_STR(couchstore_get_db_filename(db), path("a"));
    CHECK_OK(couchstore_free_db(db));
}

/* ---- two handles --------------------------------------------------------------- */

struct replays {
    Db *source, *target;
    int rounds;
    couchstore_error_t failure;
};

static couchstore_error_t use_both(Db *source,
                                   Db *target,
                                   const DocInfo *doc,
                                   const DocInfo *local,
                                   void *ctx) {
    uint64_t count;
    (void)doc, (void)local, (void)ctx;
    const couchstore_error_t code = couchstore_changes_count(target, 0, 100, &count);
    return code ? code : couchstore_changes_count(source, 0, 100, &count);
}

static void *replay_all_the_time(void *ctx) {
    struct replays *replays = ctx;
    for (int i = 0; i < replays->rounds; ++i) {
        const couchstore_error_t code = couchstore_replay(
                replays->source, replays->target, couchstore_get_header_position(replays->source),
                i % 2 ? use_both : NULL, NULL, NULL, 100);
        if (code != COUCHSTORE_SUCCESS && code != COUCHSTORE_ERROR_NO_HEADER) {
            replays->failure = code;
        }
    }
    return NULL;
}

TEST(replays_in_opposite_directions) {
    alarm(900);
    Db *a = CREATE(path("a")), *b = CREATE(path("b"));
    CHECK_OK(put(a, "a", "1"));
    CHECK_OK(put_local(a, "_local/a", "1"));
    CHECK_OK(commit(a, 1));
    CHECK_OK(put_local(b, "_local/b", "1"));
    CHECK_OK(commit(b, 1));
    const int rounds = test_small() ? 20 : 200;
    struct replays one = {a, b, rounds, COUCHSTORE_SUCCESS};
    struct replays other = {b, a, rounds, COUCHSTORE_SUCCESS};
    const pthread_t thread = thread_start(replay_all_the_time, &other);
    replay_all_the_time(&one);
    thread_finish(thread);
    CHECK_OK(one.failure);
    CHECK_OK(other.failure);
    /* In between, the end of a replay may have been a header before the one that it began at: then what the other one
     * had put there was taken for removed. Undisturbed, each gets what is the other's. */
    CHECK_OK(put_local(a, "_local/a", "1"));
    CHECK_OK(commit(a, 1));
    CHECK_OK(put_local(b, "_local/b", "1"));
    CHECK_OK(commit(b, 1));
    one.rounds = other.rounds = 1;
    replay_all_the_time(&one);
    replay_all_the_time(&other);
    CHECK_OK(one.failure);
    CHECK_OK(other.failure);
    CHECK_STR(local_of(a, "_local/b"), "1");
    CHECK_STR(local_of(b, "_local/a"), "1");
    /* One handle as both. */
    const couchstore_error_t code =
            couchstore_replay(a, a, couchstore_get_header_position(a), NULL, NULL, NULL, 100);
    CHECK(code != COUCHSTORE_ERROR_INTERNAL);
    CHECK_OK(put(a, "last", "1"));
    CHECK_OK(commit(a, 2));
    CLOSE(a);
    CLOSE(b);
}

/* ---- a writer that is asked ------------------------------------------------------ */

static struct {
    Db *db;
    atomic_bool stop;
    long asked, failed;
} writer;

static void *ask_all_the_time(void *ctx) {
    uint64_t last = 0;
    (void)ctx;
    while (!writer.stop) {
        DbInfo info;
        const couchstore_error_t code = couchstore_db_info(writer.db, &info);
        writer.failed += code != COUCHSTORE_SUCCESS || info.last_sequence < last ||
                         info.doc_count != info.last_sequence;
        last = info.last_sequence;
        ++writer.asked;
    }
    return NULL;
}

TEST(a_writer_that_is_asked_all_the_time) {
    alarm(900);
    const int documents = test_small() ? 300 : 5000;
    memset(&writer, 0, sizeof writer);
    writer.db = CREATE(path("a"));
    const pthread_t thread = thread_start(ask_all_the_time, NULL);
    int failed = 0;
    for (int i = 0; i < documents; ++i) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        failed += put(writer.db, id, "body") != COUCHSTORE_SUCCESS;
        failed += i % 500 == 0 && couchstore_commit(writer.db) != COUCHSTORE_SUCCESS;
    }
    writer.stop = true;
    thread_finish(thread);
    CHECK_EQ_INT(failed, 0);
    CHECK_EQ_INT(writer.failed, 0);
    CHECK(writer.asked > 0);
    CHECK_OK(couchstore_commit(writer.db));
    CHECK_EQ_INT(last_sequence(writer.db), documents);
    CLOSE(writer.db);
}
