/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Child processes for what a test cannot do to itself: other rights, another root, system calls that fail.
 */
#ifndef TESTLIB_CHILD_H
#define TESTLIB_CHILD_H

#include "testlib.h"

/* What a child has found; shared with it. */
struct outcome {
    int skipped; /* the child could not set the scene: errno */
    couchstore_error_t code;
    int error; /* errno right after the call */
    couchstore_error_t commit_code;
    char text[200]; /* couchstore_last_os_error after a failed commit */
    int entries;    /* in the folder, seen by the child */
};

/* Runs `body` in a child whose current folder is `folder`. A copy of the outcome is returned. */
struct outcome in_child(const char *folder, void (*body)(struct outcome *));

/*
 * From now on this process gets `error` from the system call; with a flag only where argument `argument` has it. False:
 * that cannot be had here, and the outcome says so.
 */
bool deny(struct outcome *out, long number, unsigned argument, unsigned flag, int error);

bool no_unnamed_files(struct outcome *out);

/* A process of root gives its rights up. */
bool become_nobody(struct outcome *out);

#endif
