/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Folders and file systems that lack something, or forbid it: no /proc, no right to read the folder, no syncs of folders,
 * no links, no flags of renaming, no locks. A database is created, filled, compacted in each way, and read again.
 */
#include "testlib_child.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NEW "new.couch"
#define DOCUMENTS 200

/* ---- the life of a database ----------------------------------------------- */

/* Notes the first step that failed. */
static bool step(struct outcome *out, const char *name, couchstore_error_t code) {
    if (code != COUCHSTORE_SUCCESS) {
        out->code = code;
        out->error = errno;
        snprintf(out->text, sizeof(out->text), "%s", name);
    }
    return code == COUCHSTORE_SUCCESS;
}

static bool fill(struct outcome *out, Db *db) {
    for (int i = 0; i < DOCUMENTS; ++i) {
        char id[20];
        snprintf(id, sizeof(id), "%d", i);
        if (!step(out, "save", put(db, id, id))) {
            return false;
        }
    }
    return step(out, "commit", commit(db, 1));
}

static bool count(struct outcome *out, const char *name) {
    Db *db = NULL;
    DbInfo info;
    if (!step(out, name, couchstore_open_db(name, COUCHSTORE_OPEN_FLAG_RDONLY, &db))) {
        return false;
    }
    (void)couchstore_db_info(db, &info);
    (void)couchstore_close_file(db);
    (void)couchstore_free_db(db);
    return step(out, name,
                info.doc_count == DOCUMENTS ? COUCHSTORE_SUCCESS : COUCHSTORE_ERROR_DOC_NOT_FOUND);
}

static couchstore_error_t online(const char *source, const char *target, int swap) {
    const couchstore_online_compact_options options = {
            .size = sizeof(options), .swap = swap, .memory_budget = 1, /* sorts on disk */
    };
    return couchstore_compact_db_online(source, target, &options, NULL);
}

/* Creates, saves, compacts in all three ways, and reads what came of it. The current folder is empty at first. */
static void live(struct outcome *out) {
    Db *db = NULL;
    bool good = step(out, "create", couchstore_open_db(NEW, COUCHSTORE_OPEN_FLAG_CREATE, &db)) &&
                fill(out, db) && step(out, "compact", couchstore_compact_db(db, "plain"));
    if (db != NULL) {
        (void)couchstore_close_file(db);
        (void)couchstore_free_db(db);
    }
    if (good && step(out, "beside", online(NEW, "beside", COUCHSTORE_SWAP_NONE)) &&
        step(out, "replace", online(NEW, NULL, COUCHSTORE_SWAP_REPLACE)) && count(out, NEW) &&
        count(out, "plain") && count(out, "beside")) {
        snprintf(out->text, sizeof(out->text), "all");
    }
}

static void check_lived(int line, const char *dir, void (*body)(struct outcome *)) {
    struct outcome out = in_child(dir, body);
    if (out.skipped == 0) {
        test_equal_int(__FILE__, line, out.text, out.error, 0);
        test_equal_str(__FILE__, line, "steps", out.text, "all");
        test_equal_int(__FILE__, line, "files", dir_entries(dir), 3);
    }
}
#define LIVED(dir, body) check_lived(__LINE__, (dir), (body))

/* The first step fails and leaves nothing. */
static void check_refused(int line, const char *dir, void (*body)(struct outcome *), int error) {
    struct outcome out = in_child(dir, body);
    if (out.skipped == 0) {
        test_equal_str(__FILE__, line, "step", out.text, "create");
        test_equal_code(__FILE__, line, "code", out.code, COUCHSTORE_ERROR_OPEN_FILE);
        test_equal_int(__FILE__, line, "errno", out.error, error);
        test_equal_int(__FILE__, line, "files", dir_entries(dir), 0);
    }
}
#define REFUSED(dir, body, error) check_refused(__LINE__, (dir), (body), (error))

static const char *folder(const char *name, mode_t mode) {
    const char *dir = path(name);
    CHECK_EQ_INT(mkdir(dir, 0777), 0);
    CHECK_EQ_INT(chmod(dir, mode), 0);
    return dir;
}

/* ---- no /proc ------------------------------------------------------------- */

static bool without_proc(struct outcome *out) {
    if (chroot(".") != 0 || chdir("/") != 0) {
        out->skipped = errno;
        return false;
    }
    return true;
}

static void in_chroot(struct outcome *out) {
    if (without_proc(out)) {
        live(out);
    }
}

static void in_chroot_as_nobody(struct outcome *out) {
    if (without_proc(out) && become_nobody(out)) {
        live(out);
    }
}

/* As kernels before 6.10 do for processes without rights. */
static bool no_direct_links(struct outcome *out) {
    return deny(out, SYS_linkat, 4, 0x1000 /* AT_EMPTY_PATH */, ENOENT);
}

static void in_chroot_without_direct_links(struct outcome *out) {
    if (without_proc(out) && no_direct_links(out)) {
        live(out);
    }
}

static void in_chroot_without_unnamed_files(struct outcome *out) {
    if (without_proc(out) && no_unnamed_files(out)) {
        live(out);
    }
}

TEST(without_proc_all_is_as_usual) {
    LIVED(folder("root", 0755), in_chroot);
    LIVED(folder("nobody", 0777), in_chroot_as_nobody);
    LIVED(folder("indirect", 0755), in_chroot_without_direct_links);
    LIVED(folder("named", 0755), in_chroot_without_unnamed_files);
}

/* ---- folders that may not be read ----------------------------------------- */

static void as_nobody(struct outcome *out) {
    if (become_nobody(out)) {
        live(out);
    }
}

static void as_nobody_without_unnamed_files(struct outcome *out) {
    if (become_nobody(out) && no_unnamed_files(out)) {
        live(out);
    }
}

TEST(folders_that_may_not_be_read) {
    static const mode_t modes[] = {0300, 0333, 01333};
    size_t i;
    for (i = 0; i < COUNT_OF(modes); i++) {
        char name[20];
        const char *dir;
        snprintf(name, sizeof(name), "%o", (unsigned)modes[i]);
        dir = folder(name, modes[i]);
        if (modes[i] == 0300 && geteuid() == 0) {
            CHECK_EQ_INT(chown(dir, 65534, 65534), 0);
        }
        LIVED(dir, as_nobody);
        snprintf(name, sizeof(name), "named-%o", (unsigned)modes[i]);
        dir = folder(name, modes[i]);
        if (modes[i] == 0300 && geteuid() == 0) {
            CHECK_EQ_INT(chown(dir, 65534, 65534), 0);
        }
        LIVED(dir, as_nobody_without_unnamed_files);
    }
}

TEST(a_folder_that_may_not_be_written) {
    REFUSED(folder("d", 0555), as_nobody, EACCES);
}

/* ---- file systems that lack something ------------------------------------- */

/* A child for whom a system call fails, on a file system with unnamed files and on one without. */
#define WITHOUT(name, condition)                                \
    static void name(struct outcome *out) {                     \
        if (condition) {                                        \
            live(out);                                          \
        }                                                       \
    }                                                           \
    static void name##_and_unnamed_files(struct outcome *out) { \
        if (no_unnamed_files(out)) {                            \
            name(out);                                          \
        }                                                       \
    }

WITHOUT(anything_special, true)
WITHOUT(folder_syncs_einval, deny(out, SYS_fsync, 0, 0, EINVAL))
WITHOUT(folder_syncs_enotsup, deny(out, SYS_fsync, 0, 0, ENOTSUP))
WITHOUT(folder_syncs_eio, deny(out, SYS_fsync, 0, 0, EIO))
WITHOUT(folder_syncs_eintr, deny(out, SYS_fsync, 0, 0, EINTR))
WITHOUT(links_eperm, deny(out, SYS_linkat, 0, 0, EPERM))
WITHOUT(links_enotsup, deny(out, SYS_linkat, 0, 0, ENOTSUP))
WITHOUT(flags, deny(out, SYS_renameat2, 4, 3, EINVAL))
WITHOUT(flags_and_links,
        deny(out, SYS_renameat2, 4, 3, EINVAL) && deny(out, SYS_linkat, 0, 0, EPERM))
WITHOUT(locks_enolck, deny(out, SYS_flock, 0, 0, ENOLCK))
WITHOUT(locks_enosys, deny(out, SYS_flock, 0, 0, ENOSYS))

#define BOTH_LIVE(name)                                                \
    do {                                                               \
        LIVED(folder(#name, 0755), name);                              \
        LIVED(folder(#name "-named", 0755), name##_and_unnamed_files); \
    } while (0)

#define BOTH_REFUSED(name, error)                                                 \
    do {                                                                          \
        REFUSED(folder(#name, 0755), name, (error));                              \
        REFUSED(folder(#name "-named", 0755), name##_and_unnamed_files, (error)); \
    } while (0)

TEST(file_systems_that_lack_something) {
    BOTH_LIVE(anything_special);
    BOTH_LIVE(folder_syncs_einval);
    BOTH_LIVE(folder_syncs_enotsup);
    BOTH_LIVE(links_eperm);
    BOTH_LIVE(links_enotsup);
    BOTH_LIVE(flags);
    BOTH_LIVE(locks_enolck);
    BOTH_LIVE(locks_enosys);
}

TEST(failures_that_are_no_lack) {
    BOTH_REFUSED(folder_syncs_eio, EIO);
    BOTH_REFUSED(folder_syncs_eintr, EINTR);
    BOTH_REFUSED(flags_and_links, EPERM);
}

/* ---- locks ---------------------------------------------------------------- */

/* As NFS answers a process that may only read the file. */
static void compact_beside_as_reader(struct outcome *out) {
    if (become_nobody(out) && deny(out, SYS_flock, 0, 0, EBADF)) {
        step(out, "beside", online(NEW, "beside", COUCHSTORE_SWAP_NONE));
    }
}

static void replace_as_reader(struct outcome *out) {
    if (become_nobody(out) && deny(out, SYS_flock, 0, 0, EBADF)) {
        step(out, "replace", online(NEW, NULL, COUCHSTORE_SWAP_REPLACE));
    }
}

static void compact_beside_as_owner(struct outcome *out) {
    if (deny(out, SYS_flock, 0, 0, EBADF)) {
        step(out, "beside", online(NEW, "beside", COUCHSTORE_SWAP_NONE));
    }
}

TEST(a_file_that_may_only_be_read_where_locks_take_more) {
    const char *dir = folder("d", 0777);
    struct outcome out;
    out = in_child(dir, live);
    CHECK_STR(out.text, "all");
    CHECK_EQ_INT(unlink(path("d/beside")), 0);
    CHECK_EQ_INT(unlink(path("d/plain")), 0);
    CHECK_EQ_INT(chmod(path("d/" NEW), 0444), 0);
    out = in_child(dir, replace_as_reader);
    if (out.skipped == 0 && geteuid() == 0) {
        CHECK_CODE(out.code, COUCHSTORE_ERROR_OPEN_FILE);
        CHECK_EQ_INT(out.error, EBADF);
        CHECK_EQ_INT(dir_entries(dir), 1);
    }
    out = in_child(dir, compact_beside_as_reader);
    CHECK_OK(out.code);
    CHECK(out.skipped != 0 || unlink(path("d/beside")) == 0);
    /* Who may write the file is not told such a thing for a good reason. */
    CHECK_EQ_INT(chmod(path("d/" NEW), 0644), 0);
    out = in_child(dir, compact_beside_as_owner);
    if (out.skipped == 0) {
        CHECK_CODE(out.code, COUCHSTORE_ERROR_OPEN_FILE);
        CHECK_EQ_INT(out.error, EBADF);
        CHECK_EQ_INT(dir_entries(dir), 1);
    }
}

/* ---- rights --------------------------------------------------------------- */

static mode_t mask;

static void with_mask(struct outcome *out) {
    umask(mask);
    live(out);
}

static void with_mask_and_without_unnamed_files(struct outcome *out) {
    if (no_unnamed_files(out)) {
        with_mask(out);
    }
}

TEST(new_files_have_the_usual_rights) {
    static const mode_t masks[] = {0, 022, 027, 077};
    static const char *const files[] = {NEW, "plain", "beside"};
    static void (*const bodies[])(struct outcome *) = {with_mask,
                                                       with_mask_and_without_unnamed_files};
    size_t i, j, k;
    for (i = 0; i < COUNT_OF(masks); i++) {
        for (j = 0; j < COUNT_OF(bodies); j++) {
            char name[20], file[40];
            struct stat found;
            mask = masks[i];
            snprintf(name, sizeof(name), "%o-%zu", (unsigned)mask, j);
            LIVED(folder(name, 0755), bodies[j]);
            for (k = 0; k < COUNT_OF(files); k++) {
                snprintf(file, sizeof(file), "%s/%s", name, files[k]);
                if (stat(path(file), &found) == 0) {
                    CHECK_EQ_INT(found.st_mode & 0777, 0666 & ~mask);
                }
            }
        }
    }
}

/* ---- processes that are killed -------------------------------------------- */

static int hook_calls;
static int killed_at; /* the last call: 0 */

static int die(Db *target, DocInfo *info, sized_buf item, void *ctx) {
    (void)target, (void)item, (void)ctx;
    if (info == NULL ? killed_at == 0 : ++hook_calls == killed_at) {
        raise(SIGKILL);
    }
    return COUCHSTORE_COMPACT_KEEP_ITEM;
}

TEST(a_killed_compaction_leaves_no_target) {
    static const int places[] = {1, DOCUMENTS / 2, 0};
    const char *dir = folder("d", 0755);
    const char *source = path("d/" NEW), *target = path("d/target");
    struct outcome out = {0};
    Db *db = CREATE(source);
    size_t i;
    CHECK(fill(&out, db));
    for (i = 0; i < COUNT_OF(places); i++) {
        int status = 0;
        pid_t child;
        fflush(NULL);
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            Db *own = NULL;
            killed_at = places[i];
            (void)couchstore_open_db(source, COUCHSTORE_OPEN_FLAG_RDONLY, &own);
            (void)couchstore_compact_db_ex(own, target, 0, die, NULL, NULL, NULL);
            _exit(0);
        }
        CHECK_EQ_INT(waitpid(child, &status, 0), child);
        CHECK(WIFSIGNALED(status));
        CHECK_EQ_INT(dir_entries(dir), 1);
        CHECK_OK(couchstore_compact_db(db, target));
        CHECK(count(&out, target));
        CHECK_EQ_INT(unlink(target), 0);
    }
    CLOSE(db);
}
