/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Atomic creation: the file is there, complete, or not at all, whatever fails.
 *
 * Failures come from real file systems where that can be had, else from a filter on system calls (seccomp): a child
 * process gets an errno of the test's choice from one call and all others as they are.
 */
#include "testlib_child.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define CREATE_FLAG COUCHSTORE_OPEN_FLAG_CREATE
#define EXCL_FLAG COUCHSTORE_OPEN_FLAG_EXCL
#define NEW "new.couch"

/* Opens a new file in the current folder, as the child that has set the scene. */
static void create_in_child(struct outcome *out, couchstore_open_flags flags) {
    Db *db = NULL;
    errno = 0;
    out->code = couchstore_open_db(NEW, CREATE_FLAG | flags, &db);
    out->error = errno;
    if (db != NULL) {
        (void)couchstore_close_file(db);
        (void)couchstore_free_db(db);
    }
    out->entries = dir_entries(".");
}

/* ---- checks --------------------------------------------------------------- */

static const char *folder(const char *name) {
    const char *dir = path(name);
    CHECK_EQ_INT(mkdir(dir, 0777), 0);
    return dir;
}

static const char *in(const char *dir, const char *name) {
    static char joined[2][4096];
    static int turn;
    turn = 1 - turn;
    snprintf(joined[turn], sizeof(joined[turn]), "%s/%s", dir, name);
    return joined[turn];
}

/* A failed creation left nothing. */
static void check_nothing(int line,
                          struct outcome out,
                          const char *dir,
                          couchstore_error_t code,
                          int error) {
    if (out.skipped != 0) {
        return;
    }
    test_equal_code(__FILE__, line, "code", out.code, code);
    test_equal_int(__FILE__, line, "errno", out.error, error);
    test_equal_int(__FILE__, line, "files", dir_entries(dir), 0);
}
#define NOTHING(out, dir, code, error) check_nothing(__LINE__, (out), (dir), (code), (error))

/* A complete, empty database is the only file of the folder. */
static void check_created(int line, const char *dir) {
    Db *db = OPEN(in(dir, NEW), 0);
    test_equal_int(__FILE__, line, "files", dir_entries(dir), 1);
    test_equal_int(__FILE__, line, "size", file_size(in(dir, NEW)), 48);
    test_equal_int(__FILE__, line, "sequence", (long long)last_sequence(db), 0);
    CHECK_OK(put(db, "a", "1"));
    CHECK_OK(commit(db, 1));
    CLOSE(db);
}
#define CREATED(dir) check_created(__LINE__, (dir))

/* Opens and returns the code; nothing may change but errno. */
static couchstore_error_t refused(const char *name, couchstore_open_flags flags, int *error) {
    Db *db = NULL;
    couchstore_error_t code;
    int before = open_descriptors();
    errno = 0;
    code = couchstore_open_db(name, flags, &db);
    *error = errno;
    CHECK(db == NULL);
    CHECK_EQ_INT(open_descriptors(), before);
    return code;
}
#define REFUSED(name, flags, code, error)                   \
    do {                                                    \
        int found;                                          \
        CHECK_CODE(refused((name), (flags), &found), code); \
        CHECK_EQ_INT(found, error);                         \
    } while (0)

/* ---- what is there already ------------------------------------------------ */

TEST(a_new_file) {
    const char *dir = folder("d");
    char text[100];
    Db *db = CREATE(in(dir, NEW));
    CHECK_OK(couchstore_last_os_error(db, text, sizeof(text)));
    CHECK_STR(text, "errno = 0: 'Success'");
    CHECK_EQ_INT(file_size(in(dir, NEW)), 48); /* complete before the first commit */
    CLOSE(db);
    CREATED(dir);
}

TEST(excl_refuses_an_existing_file) {
    const char *dir = folder("d");
    struct bytes before, after;
    CLOSE(OPEN(in(dir, NEW), CREATE_FLAG | EXCL_FLAG));
    before = file_read(in(dir, NEW));
    REFUSED(in(dir, NEW), CREATE_FLAG | EXCL_FLAG, COUCHSTORE_ERROR_OPEN_FILE, EEXIST);
    after = file_read(in(dir, NEW));
    CHECK_MEM(after.data, after.size, before.data, before.size);
    CHECK_EQ_INT(dir_entries(dir), 1);
    bytes_free(&before);
    bytes_free(&after);
    CREATED(dir);
}

TEST(an_existing_empty_file_becomes_a_database) {
    const char *dir = folder("d");
    struct stat before, after;
    file_write(in(dir, NEW), "", 0);
    CHECK_EQ_INT(stat(in(dir, NEW), &before), 0);
    REFUSED(in(dir, NEW), CREATE_FLAG | EXCL_FLAG, COUCHSTORE_ERROR_OPEN_FILE, EEXIST);
    CHECK_EQ_INT(file_size(in(dir, NEW)), 0);
    CLOSE(CREATE(in(dir, NEW)));
    CHECK_EQ_INT(stat(in(dir, NEW), &after), 0);
    CHECK(before.st_ino == after.st_ino); /* in place: others may have it open */
    CREATED(dir);
}

TEST(an_existing_damaged_file_is_left_alone) {
    static const char *const contents[] = {"no database", "\1\1\1\1\1\1\1\1\1\1\1\1\1\1", "\0"};
    static const couchstore_error_t codes[] = {COUCHSTORE_ERROR_CORRUPT, COUCHSTORE_ERROR_NO_HEADER,
                                               COUCHSTORE_ERROR_NO_HEADER};
    static const size_t sizes[] = {11, 14, 1};
    const char *dir = folder("d");
    size_t i;
    for (i = 0; i < COUNT_OF(contents); i++) {
        struct bytes after;
        Db *db = NULL;
        file_write(in(dir, NEW), contents[i], sizes[i]);
        CHECK_CODE(couchstore_open_db(in(dir, NEW), CREATE_FLAG, &db), codes[i]);
        CHECK(db == NULL);
        REFUSED(in(dir, NEW), CREATE_FLAG | EXCL_FLAG, COUCHSTORE_ERROR_OPEN_FILE, EEXIST);
        after = file_read(in(dir, NEW));
        CHECK_MEM(after.data, after.size, contents[i], sizes[i]);
        CHECK_EQ_INT(dir_entries(dir), 1);
        bytes_free(&after);
    }
}

TEST(a_link_that_leads_nowhere_is_left_alone) {
    const char *dir = folder("d");
    struct stat link;
    CHECK_EQ_INT(symlink("missing", in(dir, NEW)), 0);
    REFUSED(in(dir, NEW), CREATE_FLAG | EXCL_FLAG, COUCHSTORE_ERROR_OPEN_FILE, EEXIST);
    CHECK_EQ_INT(lstat(in(dir, NEW), &link), 0);
    CHECK(S_ISLNK(link.st_mode));
    CHECK_EQ_INT(dir_entries(dir), 1);
}

/* ---- places where nothing can be created ---------------------------------- */

TEST(a_missing_directory) {
    const char *dir = folder("d");
    REFUSED(in(dir, "none/" NEW), CREATE_FLAG, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOENT);
    REFUSED(in(dir, "none/" NEW), CREATE_FLAG | EXCL_FLAG, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOENT);
    CHECK_EQ_INT(dir_entries(dir), 0);
}

TEST(a_file_for_a_directory) {
    const char *dir = folder("d");
    file_write(in(dir, "file"), "", 0);
    REFUSED(in(dir, "file/" NEW), CREATE_FLAG, COUCHSTORE_ERROR_OPEN_FILE, ENOTDIR);
    REFUSED(dir, CREATE_FLAG, COUCHSTORE_ERROR_OPEN_FILE, EISDIR);
    CHECK_EQ_INT(dir_entries(dir), 1);
}

TEST(a_name_that_is_too_long) {
    const char *dir = folder("d");
    char name[300];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    REFUSED(in(dir, name), CREATE_FLAG, COUCHSTORE_ERROR_OPEN_FILE, ENAMETOOLONG);
    REFUSED(in(dir, name), CREATE_FLAG | EXCL_FLAG, COUCHSTORE_ERROR_OPEN_FILE, ENAMETOOLONG);
    CHECK_EQ_INT(dir_entries(dir), 0);
    /* The longest name there is: no temporary name is derived from it. */
    name[255] = '\0';
    CLOSE(CREATE(in(dir, name)));
    CHECK_EQ_INT(dir_entries(dir), 1);
}

static void as_nobody(struct outcome *out) {
    if (become_nobody(out)) {
        create_in_child(out, 0);
    }
}

TEST(a_directory_that_is_read_only) {
    const char *dir = folder("d");
    struct outcome out;
    CHECK_EQ_INT(chmod(dir, 0555), 0);
    out = in_child(dir, as_nobody);
    CHECK_EQ_INT(chmod(dir, 0755), 0);
    NOTHING(out, dir, COUCHSTORE_ERROR_OPEN_FILE, EACCES);
}

/* ---- full disks ----------------------------------------------------------- */

static void on_full_disk(struct outcome *out) {
    int file;
    char page[4096];
    memset(page, 1, sizeof(page));
    /* A file system of one page, seen by this process only, and that page is taken. */
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, "") != 0 ||
        mount("tmpfs", ".", "tmpfs", 0, "size=4k") != 0) {
        out->skipped = errno;
        return;
    }
    /* The current folder is still the one below. */
    file = open("../d/full", O_CREAT | O_WRONLY, 0600);
    if (file < 0 || write(file, page, sizeof(page)) != (ssize_t)sizeof(page) ||
        chdir("../d") != 0) {
        out->skipped = EIO;
        return;
    }
    close(file);
    create_in_child(out, 0);
}

TEST(a_full_disk) {
    struct outcome out = in_child(folder("d"), on_full_disk);
    if (out.skipped == 0) {
        CHECK_CODE(out.code, COUCHSTORE_ERROR_WRITE);
        CHECK_EQ_INT(out.error, ENOSPC);
        CHECK_EQ_INT(out.entries, 1); /* the file that fills it */
    }
}

static void limit_files_to(rlim_t size) {
    struct rlimit limit = {size, size};
    signal(SIGXFSZ, SIG_IGN);
    (void)setrlimit(RLIMIT_FSIZE, &limit);
}

static void without_room(struct outcome *out) {
    limit_files_to(0);
    create_in_child(out, 0);
}

static void with_room_for_half_a_header(struct outcome *out) {
    limit_files_to(20);
    create_in_child(out, 0);
}

TEST(files_that_may_not_grow) {
    const char *dir = folder("d");
    NOTHING(in_child(dir, without_room), dir, COUCHSTORE_ERROR_WRITE, EFBIG);
    NOTHING(in_child(dir, with_room_for_half_a_header), dir, COUCHSTORE_ERROR_WRITE, EFBIG);
}

static void with_room_for_creation_only(struct outcome *out) {
    Db *db = NULL;
    limit_files_to(4096);
    out->code = couchstore_open_db(NEW, CREATE_FLAG, &db);
    if (db == NULL) {
        return;
    }
    out->commit_code = put(db, "a", "1");
    if (out->commit_code == COUCHSTORE_SUCCESS) {
        out->commit_code = commit(db, 1);
    }
    (void)couchstore_last_os_error(db, out->text, sizeof(out->text));
    (void)couchstore_close_file(db);
    (void)couchstore_free_db(db);
}

TEST(no_room_for_the_first_commit) {
    const char *dir = folder("d");
    struct outcome out = in_child(dir, with_room_for_creation_only);
    Db *db;
    CHECK_OK(out.code);
    CHECK_CODE(out.commit_code, COUCHSTORE_ERROR_WRITE);
    CHECK_STR(out.text, "errno = 27: 'File too large'");
    CHECK_EQ_INT(dir_entries(dir), 1);
    db = OPEN(in(dir, NEW), 0);
    CHECK_EQ_INT(last_sequence(db), 0);
    CHECK_OK(put(db, "b", "2"));
    CHECK_OK(commit(db, 2));
    CLOSE(db);
    db = OPEN(in(dir, NEW), 0);
    CHECK_STR(docs_by_id(db), "b@1");
    CLOSE(db);
}

/* ---- calls that fail ------------------------------------------------------ */

static void without_unnamed_files(struct outcome *out) {
    if (no_unnamed_files(out)) {
        create_in_child(out, EXCL_FLAG);
    }
}

static void without_exclusive_renaming(struct outcome *out) {
    if (no_unnamed_files(out) && deny(out, SYS_renameat2, 0, 0, EINVAL)) {
        create_in_child(out, 0);
    }
}

TEST(file_systems_that_lack_something) {
    const char *dir = folder("unnamed");
    struct outcome out = in_child(dir, without_unnamed_files);
    if (out.skipped == 0) {
        CHECK_OK(out.code);
        CREATED(dir);
    }
    dir = folder("renaming");
    out = in_child(dir, without_exclusive_renaming);
    if (out.skipped == 0) {
        CHECK_OK(out.code);
        CREATED(dir);
    }
}

/* One system call fails, on a file system with unnamed files and on one without. */
#define FAILING(name, number, error)                         \
    static void name(struct outcome *out) {                  \
        if (deny(out, (number), 0, 0, (error))) {            \
            create_in_child(out, 0);                         \
        }                                                    \
    }                                                        \
    static void name##_with_temporary(struct outcome *out) { \
        if (no_unnamed_files(out)) {                         \
            name(out);                                       \
        }                                                    \
    }

FAILING(file_sync, SYS_fdatasync, EIO)
FAILING(full_file_sync, SYS_fdatasync, ENOSPC)
FAILING(directory_sync, SYS_fsync, EIO)
FAILING(linking, SYS_linkat, EIO)
FAILING(renaming, SYS_renameat2, EDQUOT)
FAILING(writing, SYS_pwrite64, EDQUOT)

TEST(system_calls_that_fail) {
    const char *dir = folder("d");
    NOTHING(in_child(dir, file_sync), dir, COUCHSTORE_ERROR_WRITE, EIO);
    NOTHING(in_child(dir, file_sync_with_temporary), dir, COUCHSTORE_ERROR_WRITE, EIO);
    NOTHING(in_child(dir, full_file_sync), dir, COUCHSTORE_ERROR_WRITE, ENOSPC);
    NOTHING(in_child(dir, full_file_sync_with_temporary), dir, COUCHSTORE_ERROR_WRITE, ENOSPC);
    NOTHING(in_child(dir, directory_sync), dir, COUCHSTORE_ERROR_OPEN_FILE, EIO);
    NOTHING(in_child(dir, directory_sync_with_temporary), dir, COUCHSTORE_ERROR_OPEN_FILE, EIO);
    NOTHING(in_child(dir, linking), dir, COUCHSTORE_ERROR_OPEN_FILE, EIO);
    NOTHING(in_child(dir, renaming_with_temporary), dir, COUCHSTORE_ERROR_OPEN_FILE, EDQUOT);
    NOTHING(in_child(dir, writing), dir, COUCHSTORE_ERROR_WRITE, EDQUOT);
    NOTHING(in_child(dir, writing_with_temporary), dir, COUCHSTORE_ERROR_WRITE, EDQUOT);
}

static void linking_refused(struct outcome *out) {
    if (deny(out, SYS_linkat, 0, 0, EMLINK)) {
        create_in_child(out, 0);
    }
}

TEST(another_way_after_a_refusal) {
    /* A file without a name that may not be linked is made again, with a temporary one. */
    const char *dir = folder("linking");
    struct outcome out = in_child(dir, linking_refused);
    if (out.skipped == 0) {
        CHECK_OK(out.code);
        CREATED(dir);
    }
}

TEST(calls_that_are_not_made) {
    /* What the other kind of file system needs is not asked for. */
    const char *dir = folder("unnamed");
    struct outcome out = in_child(dir, renaming);
    if (out.skipped == 0) {
        CHECK_OK(out.code);
        CREATED(dir);
    }
    dir = folder("temporary");
    out = in_child(dir, linking_with_temporary);
    if (out.skipped == 0) {
        CHECK_OK(out.code);
        CREATED(dir);
    }
}

/* ---- the caller's file operations ----------------------------------------- */

static couchstore_error_t bootstrap(const char *name,
                                    couchstore_open_flags flags,
                                    struct test_ops *t,
                                    int *error) {
    Db *db = NULL;
    couchstore_error_t code;
    errno = 0;
    code = couchstore_bootstrap_db(name, flags, &t->ops, &db);
    *error = errno;
    if (code == COUCHSTORE_SUCCESS) {
        CLOSE(db);
    } else {
        CHECK(db == NULL);
    }
    return code;
}

TEST(bootstrap_with_custom_operations) {
    const char *dir = folder("d");
    struct test_ops t;
    int error;
    ops_init(&t);
    CHECK_OK(bootstrap(in(dir, NEW), 0, &t, &error));
    CHECK_EQ_INT(t.calls[OP_SYNC], 1);
    CHECK_EQ_INT(t.calls[OP_CONSTRUCTOR], t.calls[OP_DESTRUCTOR]);
    CHECK_EQ_INT(dir_entries(dir), 1);
    /* The second time it is only opened. */
    ops_reset(&t);
    CHECK_OK(bootstrap(in(dir, NEW), 0, &t, &error));
    CHECK_STR(ops_text(&t, "ws"), "");
    CHECK_CODE(bootstrap(in(dir, NEW), EXCL_FLAG, &t, &error), COUCHSTORE_ERROR_OPEN_FILE);
    CHECK_EQ_INT(error, EEXIST);
    CREATED(dir);
    ops_free(&t);
}

TEST(bootstrap_without_operations_uses_the_default_ones) {
    const char *dir = folder("d");
    Db *db = NULL;
    CHECK_OK(couchstore_bootstrap_db(in(dir, NEW), EXCL_FLAG, NULL, &db));
    CLOSE(db);
    CREATED(dir);
    CHECK_CODE(couchstore_bootstrap_db(NULL, 0, NULL, &db), COUCHSTORE_ERROR_INVALID_ARGUMENTS);
    CHECK_CODE(couchstore_bootstrap_db(in(dir, NEW), 0, NULL, NULL),
               COUCHSTORE_ERROR_INVALID_ARGUMENTS);
}

TEST(bootstrap_with_custom_operations_that_fail) {
    static const enum op_kind kinds[] = {OP_PWRITE, OP_SYNC, OP_EOF};
    static const couchstore_open_flags flags[] = {0, COUCHSTORE_OPEN_FLAG_UNBUFFERED};
    const char *dir = folder("d");
    struct test_ops t;
    size_t i, j;
    int error;
    ops_init(&t);
    for (i = 0; i < COUNT_OF(kinds); i++) {
        for (j = 0; j < COUNT_OF(flags); j++) {
            ops_reset(&t);
            ops_fail(&t, kinds[i], 1, -1, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOSPC);
            t.fail_partial = true;
            /* An unusual code, which is handed on as it is, and not taken for a missing file. */
            CHECK_CODE(bootstrap(in(dir, NEW), flags[j], &t, &error),
                       COUCHSTORE_ERROR_NO_SUCH_FILE);
            CHECK_EQ_INT(error, ENOSPC);
            CHECK_EQ_INT(dir_entries(dir), 0);
            CHECK_EQ_INT(t.calls[OP_CONSTRUCTOR], t.calls[OP_DESTRUCTOR]);
        }
    }
    ops_reset(&t);
    CHECK_OK(bootstrap(in(dir, NEW), 0, &t, &error));
    CREATED(dir);
    ops_free(&t);
}

TEST(a_stale_temporary_file_disturbs_nobody) {
    const char *dir = folder("d");
    struct test_ops t;
    int error;
    file_write(in(dir, ".couchstore-1-0123456789abcdef.tmp"), "half", 4);
    CLOSE(CREATE(in(dir, NEW)));
    CHECK_EQ_INT(dir_entries(dir), 2);
    CHECK_EQ_INT(unlink(in(dir, NEW)), 0);
    ops_init(&t);
    /* Whoever makes such a file removes what nobody has locked; the folder is not read for more than that. */
    CHECK_OK(bootstrap(in(dir, NEW), 0, &t, &error));
    CHECK_EQ_INT(dir_entries(dir), 1);
    ops_free(&t);
}
