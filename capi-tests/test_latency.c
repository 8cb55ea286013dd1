/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Latency statistics: which calls are counted, and that the numbers fit together.
 */
#include "testlib.h"

#include <libcouchstore/couch_latency.h>
#include <pthread.h>

struct report {
    struct {
        char name[100];
        uint64_t count;
    } rows[100];
    int count, stop_at, calls;
    bool bad;
};

static int record(const couchstore_c_latency *latency, void *ctx) {
    struct report *report = ctx;
    uint64_t sum = 0;
    for (size_t i = 0; i < latency->num_buckets; ++i) {
        sum += latency->buckets[i];
    }
    report->bad |= sum != latency->count || latency->count == 0 ||
                   latency->max_us > latency->total_us || latency->num_buckets == 0 ||
                   latency->total_us > (latency->max_us + 1) * latency->count ||
                   latency->name[0] == '\0';
    if (report->count < 100) {
        snprintf(report->rows[report->count].name, sizeof(report->rows[0].name), "%s",
                 latency->name);
        report->rows[report->count++].count = latency->count;
    }
    ++report->calls;
    return report->stop_at != 0 && report->calls >= report->stop_at;
}

static struct report report_now(void) {
    struct report report;
    memset(&report, 0, sizeof(report));
    couchstore_get_latency_info(record, &report);
    return report;
}

static uint64_t calls_of(const struct report *report, const char *name) {
    uint64_t found = 0;
    int rows = 0;
    for (int i = 0; i < report->count; ++i) {
        if (strcmp(report->rows[i].name, name) == 0) {
            found = report->rows[i].count;
            ++rows;
        }
    }
    CHECK(rows <= 1); /* one row for each function */
    return found;
}

static void use_database(const char *name, int lookups) {
    DocInfo *info = NULL;
    Db *db = OPEN_OPS(name, COUCHSTORE_OPEN_FLAG_CREATE, couchstore_get_default_file_ops());
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 1));
    for (int i = 0; i < lookups; ++i) {
        CHECK_OK(couchstore_docinfo_by_id(db, "a", 1, &info));
        couchstore_free_docinfo(info);
    }
    CLOSE(db);
}

static void start_afresh(void) {
    couchstore_latency_collector_stop(); /* should a failed case have left it running */
    couchstore_latency_collector_start();
}

TEST(nothing_before_start) {
    struct report report;
    use_database(path("a.couch"), 3);
    report = report_now();
    CHECK_EQ_INT(report.calls, 0);
    couchstore_latency_collector_stop(); /* harmless */
    couchstore_get_latency_info(NULL, NULL);
}

TEST(counts) {
    struct report report;
    start_afresh();
    report = report_now();
    CHECK_EQ_INT(report.calls, 0); /* only those with calls */
    use_database(path("a.couch"), 17);
    use_database(path("a.couch"), 25);
    report = report_now();
    CHECK(!report.bad);
    CHECK_EQ_INT(calls_of(&report, "couchstore_docinfo_by_id"), 42);
    CHECK_EQ_INT(calls_of(&report, "couchstore_open_db_ex"), 2);
    CHECK_EQ_INT(calls_of(&report, "couchstore_commit_ex"), 2);
    CHECK_EQ_INT(calls_of(&report, "couchstore_changes_since"), 0);
    couchstore_latency_collector_stop();
}

TEST(failed_calls_count_too) {
    struct report report;
    DocInfo *info = NULL;
    Db *db = CREATE(path("a.couch"));
    start_afresh();
    for (int i = 0; i < 5; ++i) {
        CHECK_CODE(couchstore_docinfo_by_id(db, "a", 1, &info), COUCHSTORE_ERROR_DOC_NOT_FOUND);
    }
    report = report_now();
    CHECK_EQ_INT(calls_of(&report, "couchstore_docinfo_by_id"), 5);
    couchstore_latency_collector_stop();
    CLOSE(db);
}

TEST(callback_stops) {
    struct report report;
    start_afresh();
    use_database(path("a.couch"), 2);
    memset(&report, 0, sizeof(report));
    report.stop_at = 1;
    couchstore_get_latency_info(record, &report);
    CHECK_EQ_INT(report.calls, 1);
    couchstore_latency_collector_stop();
}

TEST(stop_discards) {
    struct report report;
    start_afresh();
    use_database(path("a.couch"), 2);
    couchstore_latency_collector_stop();
    report = report_now();
    CHECK_EQ_INT(report.calls, 0);
    couchstore_latency_collector_start();
    report = report_now();
    CHECK_EQ_INT(report.calls, 0);
    use_database(path("a.couch"), 3);
    report = report_now();
    CHECK_EQ_INT(calls_of(&report, "couchstore_docinfo_by_id"), 3);
    couchstore_latency_collector_stop();
}

enum { THREADS = 8 };
static int calls_per_thread;

static void *look_up_often(void *db) {
    DocInfo *info = NULL;
    for (int i = 0; i < calls_per_thread; ++i) {
        if (couchstore_docinfo_by_id(db, "a", 1, &info) != COUCHSTORE_SUCCESS) {
            return db;
        }
        couchstore_free_docinfo(info);
    }
    return NULL;
}

TEST(counts_are_exact_under_threads) {
    const char *name = path("a.couch");
    pthread_t threads[THREADS];
    Db *handles[THREADS];
    struct report report;
    use_database(name, 0);
    calls_per_thread = test_small() ? 100 : 5000;
    for (int i = 0; i < THREADS; ++i) {
        handles[i] = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    }
    start_afresh();
    for (int i = 0; i < THREADS; ++i) {
        CHECK(pthread_create(&threads[i], NULL, look_up_often, handles[i]) == 0);
    }
    for (int i = 0; i < THREADS; ++i) {
        void *failed = NULL;
        CHECK(pthread_join(threads[i], &failed) == 0);
        CHECK(failed == NULL);
    }
    report = report_now();
    CHECK(!report.bad);
    CHECK_EQ_INT(calls_of(&report, "couchstore_docinfo_by_id"), THREADS * calls_per_thread);
    couchstore_latency_collector_stop();
    for (int i = 0; i < THREADS; ++i) {
        CLOSE(handles[i]);
    }
}
