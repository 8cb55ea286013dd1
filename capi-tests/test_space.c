/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Compactions for which the file system has too little room: what is known beforehand is said beforehand.
 */
#include "testlib_child.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { BODIES = 40, BODY = 16 * 1024 };

/* Saves documents of 640 KiB in all, each in a commit of its own, and some of them twice. */
static void make_source(const char *name) {
    char *body = malloc(BODY + 1), id[8];
    Db *db = CREATE(name);
    memset(body, 'x', BODY);
    body[BODY] = '\0';
    for (int i = 0; i < BODIES; ++i) {
        snprintf(id, sizeof id, "%d", i);
        CHECK_OK(put(db, id, body));
        CHECK_OK(commit(db, 1));
    }
    free(body);
    CLOSE(db);
}

/* In a child: a file system of 1 MiB, seen by this process only, that has the source and a little room. */
static bool small_disk(struct outcome *out) {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, "") != 0 ||
        mount("tmpfs", ".", "tmpfs", 0, "size=1m") != 0 || chdir("../d") != 0) {
        out->skipped = errno;
        return false;
    }
    make_source("source");
    return true;
}

static int progresses;

static int progress(void *ctx, uint64_t done, uint64_t total, uint64_t bytes) {
    (void)ctx, (void)done, (void)total, (void)bytes;
    ++progresses;
    return 0;
}

/* Keeps the first document alone, after having asked for its body. */
static int keep_one(Db *target, DocInfo *info, sized_buf item, void *ctx) {
    (void)target, (void)item, (void)ctx;
    return info != NULL && info->db_seq > 1 ? COUCHSTORE_COMPACT_DROP_ITEM
                                            : COUCHSTORE_COMPACT_KEEP_ITEM;
}

static void note(struct outcome *out, couchstore_error_t code) {
    out->error = errno;
    out->code = code;
    couchstore_last_internal_error(NULL, out->text, sizeof out->text);
    out->entries = dir_entries(".");
}

static void online(struct outcome *out) {
    if (small_disk(out)) {
        couchstore_online_compact_options options = {.size = sizeof options, .progress = progress};
        note(out, couchstore_compact_db_online("source", "target", &options, NULL));
        out->commit_code = progresses;
    }
}

static void in_place(struct outcome *out) {
    if (small_disk(out)) {
        couchstore_online_compact_options options = {
                .size = sizeof options, .progress = progress, .swap = COUCHSTORE_SWAP_REPLACE};
        note(out, couchstore_compact_db_online("source", NULL, &options, NULL));
        out->commit_code = progresses;
    }
}

static void plain(struct outcome *out) {
    if (small_disk(out)) {
        Db *db = OPEN("source", COUCHSTORE_OPEN_FLAG_RDONLY);
        note(out, couchstore_compact_db(db, "target"));
        CLOSE(db);
    }
}

static void check_refused(struct outcome out) {
    long needed = 0, available = 0;
    const char *text;
    if (out.skipped != 0) {
        return;
    }
    CHECK_CODE(out.code, COUCHSTORE_ERROR_WRITE);
    CHECK_EQ_INT(out.error, ENOSPC);
    CHECK_EQ_INT(out.entries, 1);     /* the source */
    CHECK_EQ_INT(out.commit_code, 0); /* nothing was begun */
    text = strstr(out.text, "not begun");
    CHECK(text != NULL);
    CHECK_EQ_INT(sscanf(text, "not begun, it needs at least %ld bytes and the file system has %ld",
                        &needed, &available),
                 2);
    CHECK(needed > 630 * 1024 && needed <= 641 * 1024);
    CHECK(available > 0 && available < 400 * 1024);
}

static const char *disk(void) {
    CHECK_EQ_INT(mkdir(path("d"), 0700), 0);
    return path("d");
}

TEST(an_online_compaction_is_not_begun) {
    check_refused(in_child(disk(), online));
}

TEST(one_in_place_is_not_begun) {
    check_refused(in_child(disk(), in_place));
}

TEST(a_plain_one_is_not_begun) {
    check_refused(in_child(disk(), plain));
}

/* Who decides what is copied may well leave enough room. */
static void with_hook(struct outcome *out) {
    if (small_disk(out)) {
        couchstore_online_compact_options options = {.size = sizeof options, .hook = keep_one};
        note(out, couchstore_compact_db_online("source", "target", &options, NULL));
    }
}

TEST(a_hook_decides_how_much_is_copied) {
    struct outcome out = in_child(disk(), with_hook);
    if (out.skipped == 0) {
        CHECK_OK(out.code);
        CHECK_EQ_INT(out.entries, 2);
    }
}

/* What is left when the rest of the disk is taken. */
static void leave(off_t room) {
    struct stat status;
    const int file = open("rest", O_CREAT | O_TRUNC | O_WRONLY, 0600);
    for (off_t size = 0; posix_fallocate(file, size, 4096) == 0; size += 4096) {
    }
    if (fstat(file, &status) != 0 || ftruncate(file, status.st_size - room) != 0) {
        abort();
    }
    close(file);
}

/* As many blocks as a copy takes, and one less. */
static void with_just_enough(struct outcome *out) {
    couchstore_online_compact_options options = {.size = sizeof options};
    struct stat status;
    if (!small_disk(out) || mount("tmpfs", ".", "tmpfs", MS_REMOUNT, "size=2m") != 0 ||
        couchstore_compact_db_online("source", "first", &options, NULL) != COUCHSTORE_SUCCESS ||
        stat("first", &status) != 0 || unlink("first") != 0) {
        out->skipped = out->skipped != 0 ? out->skipped : EIO;
        return;
    }
    leave(status.st_blocks * 512 - 4096);
    note(out, couchstore_compact_db_online("source", "target", &options, NULL));
    leave(status.st_blocks * 512);
    out->commit_code = couchstore_compact_db_online("source", "target", &options, NULL);
}

TEST(what_would_succeed_is_not_refused) {
    struct outcome out = in_child(disk(), with_just_enough);
    if (out.skipped == 0) {
        CHECK_CODE(out.code, COUCHSTORE_ERROR_WRITE);
        CHECK_EQ_INT(out.error, ENOSPC);
        CHECK(strstr(out.text, "not begun") == NULL); /* it was tried */
        CHECK_EQ_INT(out.entries, 2);                 /* the source, and what takes the room */
        CHECK_OK(out.commit_code);
    }
}
