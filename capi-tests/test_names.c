/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Names that are no files' names, and things that have a name and are no files.
 */
#include "testlib.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define CREATE_FLAG COUCHSTORE_OPEN_FLAG_CREATE
#define EXCL_FLAG COUCHSTORE_OPEN_FLAG_EXCL
#define RDONLY_FLAG COUCHSTORE_OPEN_FLAG_RDONLY

/* The library's functions under another address: for the library these are a caller's operations. */
static couch_file_ops forwarding(void) {
    return *couchstore_get_default_file_ops();
}

struct refusal {
    couchstore_error_t code;
    int error;
};

static struct refusal open_name(const char *name,
                                couchstore_open_flags flags,
                                const couch_file_ops *ops) {
    struct refusal out;
    Db *db = NULL;
    errno = 0;
    out.code = ops ? couchstore_open_db_ex(name, flags, ops, &db)
                   : couchstore_open_db(name, flags, &db);
    out.error = errno;
    if (db != NULL) {
        CLOSE(db);
    }
    return out;
}

static void check_refused(int line, struct refusal actual, couchstore_error_t code, int error) {
    test_equal_code(__FILE__, line, "code", actual.code, code);
    test_equal_int(__FILE__, line, "errno", actual.error, error);
}

/* With the library's operations and with a caller's. */
#define REFUSED(name, flags, code, error)                                                      \
    do {                                                                                       \
        const couch_file_ops forwarding_ops = forwarding();                                    \
        check_refused(__LINE__, open_name((name), (flags), NULL), (code), (error));            \
        check_refused(__LINE__, open_name((name), (flags), &forwarding_ops), (code), (error)); \
    } while (0)

/* Whoever waits for the other end of a FIFO ends here. */
static void do_not_wait(void) {
    alarm(60);
}

static void make_fifo(const char *name) {
    CHECK_EQ_INT(mkfifo(name, 0600), 0);
}

static void make_socket(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char old[4096];
    CHECK(fd >= 0);
    /* The name must be short. */
    CHECK(getcwd(old, sizeof(old)) != NULL);
    CHECK_EQ_INT(chdir(path(".")), 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "socket");
    CHECK_EQ_INT(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_EQ_INT(chdir(old), 0);
    close(fd);
    CHECK(file_exists(name));
}

/* ---- names -------------------------------------------------------------------- */

TEST(the_empty_name) {
    REFUSED("", 0, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOENT);
    REFUSED("", RDONLY_FLAG, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOENT);
    REFUSED("", CREATE_FLAG, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOENT);
    REFUSED("", CREATE_FLAG | EXCL_FLAG, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOENT);
}

TEST(directories) {
    static const char *const names[] = {"sub", "sub/", "sub/.", "sub/..", "."};
    CHECK_EQ_INT(mkdir(path("sub"), 0777), 0);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *name = path(names[i]);
        REFUSED(name, 0, COUCHSTORE_ERROR_OPEN_FILE, EISDIR);
        REFUSED(name, CREATE_FLAG, COUCHSTORE_ERROR_OPEN_FILE, EISDIR);
        REFUSED(name, RDONLY_FLAG, COUCHSTORE_ERROR_READ, EISDIR);
    }
    REFUSED("/", 0, COUCHSTORE_ERROR_OPEN_FILE, EISDIR);
    REFUSED("/", CREATE_FLAG, COUCHSTORE_ERROR_OPEN_FILE, EISDIR);
    CHECK_EQ_INT(dir_entries(path(".")), 1);
}

TEST(names_that_end_like_a_directorys) {
    CLOSE(CREATE(path("file")));
    REFUSED(path("missing/."), CREATE_FLAG, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOENT);
    REFUSED(path("missing/.."), CREATE_FLAG, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOENT);
    REFUSED(path("missing/x"), CREATE_FLAG, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOENT);
    REFUSED(path("missing/new/"), CREATE_FLAG, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOENT);
    REFUSED(path("new/"), CREATE_FLAG, COUCHSTORE_ERROR_OPEN_FILE, EISDIR);
    REFUSED(path("new/"), 0, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOENT);
    REFUSED(path("file/."), CREATE_FLAG, COUCHSTORE_ERROR_OPEN_FILE, ENOTDIR);
    REFUSED(path("file/x"), CREATE_FLAG, COUCHSTORE_ERROR_OPEN_FILE, ENOTDIR);
    CHECK_EQ_INT(dir_entries(path(".")), 1);
}

TEST(atomic_creation_with_a_callers_operations) {
    static const char *const names[] = {"missing/.", "missing/..", ""};
    struct test_ops t;
    Db *db = NULL;
    ops_init(&t);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *name = names[i][0] != '\0' ? path(names[i]) : "";
        CHECK_CODE(couchstore_bootstrap_db(name, 0, &t.ops, &db), COUCHSTORE_ERROR_NO_SUCH_FILE);
    }
    CHECK_EQ_INT(dir_entries(path(".")), 0);
    ops_free(&t);
}

TEST(links_to_names_that_are_no_files_names) {
    CHECK_EQ_INT(symlink("missing/.", path("dangling")), 0);
    REFUSED(path("dangling"), CREATE_FLAG, COUCHSTORE_ERROR_NO_SUCH_FILE, ENOENT);
    CHECK_EQ_INT(dir_entries(path(".")), 1);
}

/* ---- no regular files ------------------------------------------------------------ */

TEST(devices_fifos_and_sockets) {
    const char *names[] = {path("fifo"), path("socket"), path("link"),
                           "/dev/null",  "/dev/zero",    "/dev/full"};
    static const couchstore_open_flags flags[] = {0, RDONLY_FLAG, CREATE_FLAG,
                                                  COUCHSTORE_OPEN_RECOVERY_MODE,
                                                  COUCHSTORE_OPEN_FLAG_UNBUFFERED};
    make_fifo(path("fifo"));
    make_socket(path("socket"));
    CHECK_EQ_INT(symlink("fifo", path("link")), 0);
    do_not_wait();
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        for (size_t j = 0; j < COUNT_OF(flags); j++) {
            REFUSED(names[i], flags[j], COUCHSTORE_ERROR_OPEN_FILE, EINVAL);
        }
        REFUSED(names[i], CREATE_FLAG | EXCL_FLAG, COUCHSTORE_ERROR_OPEN_FILE, EEXIST);
    }
    CHECK_EQ_INT(dir_entries(path(".")), 3);
    alarm(0);
}

TEST(a_handle_cannot_be_opened_again_on_one) {
    const char *name = path("a.couch");
    Db *db = CREATE(name);
    make_fifo(path("fifo"));
    do_not_wait();
    CHECK_CODE(couchstore_reopen_file(db, path("fifo"), RDONLY_FLAG),
               COUCHSTORE_ERROR_DB_NO_LONGER_VALID);
    CLOSE(db);
    alarm(0);
}

TEST(compaction_neither_reads_nor_replaces_one) {
    const char *name = path("a.couch");
    Db *db = CREATE(name);
    couchstore_online_compact_options options = {.size = sizeof(options)};
    couchstore_online_compact_stats stats;
    make_fifo(path("fifo"));
    do_not_wait();
    CHECK_CODE(couchstore_compact_db(db, path("fifo")), COUCHSTORE_ERROR_OPEN_FILE);
    CHECK_EQ_INT(errno, EEXIST);
    CHECK_CODE(couchstore_compact_db(db, path("missing/.")), COUCHSTORE_ERROR_NO_SUCH_FILE);
    CHECK_CODE(couchstore_compact_db(db, ""), COUCHSTORE_ERROR_NO_SUCH_FILE);
    CHECK_CODE(couchstore_compact_db_online("/dev/null", path("b.couch"), &options, &stats),
               COUCHSTORE_ERROR_OPEN_FILE);
    CHECK_EQ_INT(errno, EINVAL);
    CHECK_CODE(couchstore_compact_db_online(name, path("fifo"), &options, &stats),
               COUCHSTORE_ERROR_OPEN_FILE);
    CHECK_EQ_INT(errno, EEXIST);
    CLOSE(db);
    CHECK_EQ_INT(dir_entries(path(".")), 2);
    alarm(0);
}
