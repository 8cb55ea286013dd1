/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Who may read and write a compacted file. Other users are processes that become them, which takes root; without it,
 * or without access control lists, a case says that it was skipped.
 */
#include "testlib.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

enum { READ = 4, WRITE = 2 };

/* Version 2, then owner rw, user 8 rw, owning group none, mask rw, others none. */
static const unsigned char group_shut_out[] = {
        2,  0, 0, 0,                                                      /* */
        1,  0, 6, 0, 255, 255, 255, 255, 2,  0, 6, 0, 8,   0,   0,   0,   /* */
        4,  0, 0, 0, 255, 255, 255, 255, 16, 0, 6, 0, 255, 255, 255, 255, /* */
        32, 0, 0, 0, 255, 255, 255, 255};

/* What a user with one group can do with a file in an open folder. */
static int access_of(uid_t user, gid_t group, int folder, const char *name) {
    const pid_t child = fork();
    if (child == 0) {
        if (setgroups(0, NULL) || setgid(group) || setuid(user)) {
            _exit(99);
        }
        const int reads = openat(folder, name, O_RDONLY) >= 0 ? READ : 0;
        const int writes = openat(folder, name, O_WRONLY) >= 0 ? WRITE : 0;
        _exit(reads | writes);
    }
    int status = 0;
    CHECK_EQ_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A file of user 1001 and group 60, whose members are shut out; -1: skipped. */
static int make_source(const char *name) {
    if (geteuid() != 0) {
        printf("skipped: not root\n");
        return -1;
    }
    Db *db = CREATE(name);
    CHECK_OK(put(db, "a", "secret"));
    CHECK_OK(commit(db, 1));
    CLOSE(db);
    CHECK_EQ_INT(chown(name, 1001, 60), 0);
    if (setxattr(name, "system.posix_acl_access", group_shut_out, sizeof(group_shut_out), 0) != 0) {
        CHECK_EQ_INT(errno, EOPNOTSUPP);
        printf("skipped: no access control lists\n");
        return -1;
    }
    CHECK_EQ_INT(chmod(path("."), 0755), 0);
    const int folder = open(path("."), O_RDONLY | O_DIRECTORY);
    CHECK(folder >= 0);
    return folder;
}

TEST(a_replaced_file_is_open_to_the_same_users) {
    const char *name = path("a.couch");
    const int folder = make_source(name);
    if (folder < 0) {
        return;
    }
    couchstore_online_compact_options options = {.size = sizeof(options),
                                                 .swap = COUCHSTORE_SWAP_REPLACE};
    struct stat before, after;
    CHECK_EQ_INT(stat(name, &before), 0);
    CHECK_OK(couchstore_compact_db_online(name, NULL, &options, NULL));
    CHECK_EQ_INT(stat(name, &after), 0);
    CHECK(before.st_ino != after.st_ino);
    CHECK_EQ_INT(after.st_mode, before.st_mode);
    CHECK_EQ_INT(access_of(12345, 60, folder, "a.couch"), 0);
    CHECK_EQ_INT(access_of(12345, 61, folder, "a.couch"), 0);
    CHECK_EQ_INT(access_of(8, 8, folder, "a.couch"), READ | WRITE);
    CHECK_EQ_INT(access_of(1001, 61, folder, "a.couch"), READ | WRITE);
    close(folder);
}

TEST(a_copy_is_open_to_no_one_else) {
    const char *name = path("a.couch");
    const int folder = make_source(name);
    if (folder < 0) {
        return;
    }
    const mode_t mask = umask(022);
    Db *db = OPEN(name, 0);
    CHECK_OK(couchstore_compact_db(db, path("b.couch")));
    struct test_ops ops;
    ops_init(&ops);
    CHECK_OK(couchstore_compact_db_ex(db, path("c.couch"), 0, NULL, NULL, NULL, &ops.ops));
    CLOSE(db);
    ops_free(&ops);
    umask(mask);
    struct stat copy;
    CHECK_EQ_INT(stat(path("b.couch"), &copy), 0);
    CHECK_EQ_INT(copy.st_mode & 07777, 0600);
    /* What the caller's operations make is theirs. */
    CHECK_EQ_INT(stat(path("c.couch"), &copy), 0);
    CHECK_EQ_INT(copy.st_mode & 07777, 0644);
    close(folder);
}
