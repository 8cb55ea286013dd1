/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every kind of callback of the C interface, each in a call that makes it, so that a test can try something inside each
 * of them.
 */
#ifndef TESTLIB_CALLBACKS_H
#define TESTLIB_CALLBACKS_H

#include "testlib.h"

#include <pthread.h>

struct callback_kind;

struct callback_run {
    const struct callback_kind *kind;
    char name[300];  /* of the file */
    Db *db, *target; /* what the call is made on; NULL if it is made on none, or on one */
    /* Run once, in the first callback of the kind. It must not end the test case. */
    void (*inside)(struct callback_run *run);
    void *ctx; /* for inside */
    int calls; /* of the callback */
    /* While inside runs: all handles that the call uses, those too that only the callback is shown. */
    Db *in_use[4];
    int in_use_count;
    /* Its own. */
    Db *writer; /* another handle on the file, which commits while an online compaction runs */
    struct test_ops ops;
    bool with_ops;
    uint64_t end; /* of a replay; or where the damage is */
};

struct callback_kind {
    const char *name;
    void (*prepare)(struct callback_run *run);
    couchstore_error_t (*call)(struct callback_run *run);
};

extern const struct callback_kind callback_kinds[];
extern const size_t callback_kind_count;

/* Makes a file and opens what the call needs. */
void callback_run_begin(struct callback_run *run,
                        const struct callback_kind *kind,
                        void (*inside)(struct callback_run *run),
                        void *ctx);
/* Makes the call, and checks that it has called back. */
couchstore_error_t callback_run_call(struct callback_run *run);
/* Closes and frees what is still there. */
void callback_run_end(struct callback_run *run);

/* A thread for a callback, or beside one; the process ends if there is none. */
pthread_t thread_start(void *(*run)(void *), void *ctx);
void thread_finish(pthread_t thread);

#endif
