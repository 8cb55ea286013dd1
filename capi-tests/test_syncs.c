/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A sync is tried once, whatever ends it; and after a failed one nothing more is written. This holds for the library's
 * own operations and for a caller's that pass everything on to them.
 */
#include "testlib.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- operations that pass everything on -------------------------------------- */

static int forwarded_syncs;

static couchstore_error_t forward_sync(couchstore_error_info_t *errinfo, couch_file_handle handle) {
    ++forwarded_syncs;
    return couchstore_get_default_file_ops()->sync(errinfo, handle);
}

/* All functions are those of the library, but one. */
static couch_file_ops forwarding(void) {
    couch_file_ops ops = *couchstore_get_default_file_ops();
    ops.sync = forward_sync;
    return ops;
}

/* ---- syncs that are interrupted ---------------------------------------------- */

/* From now on a signal interrupts every sync of this process: so the kernel says. */
static bool interrupt_syncs(void) {
    struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 1, 0),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINTR),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {COUNT_OF(filter), filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

struct outcome {
    couchstore_error_t commit, again, save;
    int error;
};

static struct outcome try_commit(Db *db) {
    struct outcome out;
    errno = 0;
    out.commit = couchstore_commit(db);
    out.error = errno;
    out.again = couchstore_commit(db);
    out.save = put(db, "more", "more");
    return out;
}

/* Commits in a child whose syncs are interrupted. A loop ends with SIGALRM. */
static struct outcome commit_in_child(const char *name, const couch_file_ops *ops) {
    struct outcome out;
    int ends[2], status = 0;
    pid_t child;
    CHECK_EQ_INT(pipe(ends), 0);
    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        Db *db = NULL;
        alarm(60);
        if (couchstore_open_db_ex(name, 0, ops, &db) != COUCHSTORE_SUCCESS ||
            put(db, "new", "new") != COUCHSTORE_SUCCESS || !interrupt_syncs()) {
            _exit(1);
        }
        out = try_commit(db);
        _exit(write(ends[1], &out, sizeof(out)) == sizeof(out) ? 0 : 1);
    }
    CHECK_EQ_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQ_INT(WEXITSTATUS(status), 0);
    CHECK_EQ_INT(read(ends[0], &out, sizeof(out)), sizeof(out));
    close(ends[0]);
    close(ends[1]);
    return out;
}

static void check_interrupted(const couch_file_ops *ops) {
    const char *name = path("a.couch");
    struct outcome out;
    Db *db = CREATE(name);
    CHECK_OK(put(db, "old", "old"));
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    out = commit_in_child(name, ops);
    CHECK_CODE(out.commit, COUCHSTORE_ERROR_WRITE);
    CHECK_EQ_INT(out.error, EINTR);
    CHECK_CODE(out.again, COUCHSTORE_ERROR_WRITE);
    CHECK_CODE(out.save, COUCHSTORE_ERROR_WRITE);
    db = OPEN(name, 0);
    CHECK_STR(docs_by_id(db), "old@1");
    CLOSE(db);
}

TEST(an_interrupted_sync_is_a_failed_one) {
    check_interrupted(couchstore_get_default_file_ops());
}

TEST(an_interrupted_sync_of_operations_that_forward) {
    const couch_file_ops ops = forwarding();
    check_interrupted(&ops);
}

TEST(operations_that_forward_sync_as_often_as_their_caller_wants) {
    const couch_file_ops ops = forwarding();
    Db *db = OPEN_OPS(path("a.couch"), COUCHSTORE_OPEN_FLAG_CREATE, &ops);
    CHECK_OK(put(db, "a", "a"));
    forwarded_syncs = 0;
    CHECK_OK(commit(db, 1));
    CHECK_EQ_INT(forwarded_syncs, 2);
    CLOSE(db);
}
