/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Nodes that all handles of the process share: asked for by the environment or by a call, and seen in what is read.
 */
#include "testlib.h"

#include <sys/utsname.h>
#include <sys/vfs.h>

/* How often the file is read for one entry by a handle of its own. */
static uint64_t reads_for(const char *name, const char *id) {
    Db *db = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    DocInfo *info = NULL;
    couchstore_file_stats stats;
    CHECK_OK(couchstore_docinfo_by_id(db, id, strlen(id), &info));
    couchstore_free_docinfo(info);
    CHECK_OK(couchstore_get_db_filestats(db, &stats));
    CLOSE(db);
    return stats.read_count;
}

/* Whether changes of files here always show in their times: elsewhere nodes are shared later. */
static int has_fine_times(void) {
    struct utsname system;
    struct statfs status;
    int major = 0;
    int minor = 0;
    CHECK(uname(&system) == 0 && statfs(path("."), &status) == 0);
    sscanf(system.release, "%d.%d", &major, &minor);
    const unsigned long kind = (unsigned long)status.f_type & 0xFFFFFFFFul;
    const int is_listed =
            kind == 0xEF53 || kind == 0x58465342 || kind == 0x9123683E || kind == 0x01021994;
    return is_listed && (major > 6 || (major == 6 && minor >= 13));
}

static const char *file_of_many(void) {
    const char *name = path("many.couch");
    Db *db = CREATE(name);
    for (int number = 0; number < 500; ++number) {
        char id[32];
        snprintf(id, sizeof(id), "document %03d", number);
        CHECK_OK(put(db, id, "body"));
    }
    CHECK_OK(commit(db, 0));
    CLOSE(db);
    return name;
}

/* Before any other test opens a file: the environment is asked once. */
TEST(asked_for_by_the_environment_until_a_call_decides) {
    CHECK(setenv("COUCHSTORE_NODE_CACHE", "16M", 1) == 0);
    const char *name = file_of_many();
    const uint64_t cold = reads_for(name, "document 123");
    CHECK(cold > 2);
    if (!has_fine_times()) {
        CHECK_OK(couchstore_set_node_cache(0));
        return;
    }
    CHECK_EQ_INT(reads_for(name, "document 123"), 1); /* the header */
    CHECK_OK(couchstore_set_node_cache(0));
    CHECK_EQ_INT(reads_for(name, "document 123"), cold);
    CHECK_OK(couchstore_set_node_cache(1 << 20));
    CHECK_EQ_INT(reads_for(name, "document 123"), cold);
    CHECK_EQ_INT(reads_for(name, "document 123"), 1);
    CHECK_OK(couchstore_set_node_cache(1 << 20)); /* the same again: what is in it stays */
    CHECK_EQ_INT(reads_for(name, "document 123"), 1);
    CHECK_OK(couchstore_set_node_cache(0));
}

TEST(an_open_handle_keeps_what_it_has) {
    CHECK_OK(couchstore_set_node_cache(1 << 20));
    const char *name = file_of_many();
    const uint64_t cold = reads_for(name, "document 321");
    Db *db = OPEN(name, 0);
    CHECK_OK(couchstore_set_node_cache(0));
    couchstore_file_stats stats;
    DocInfo *info = NULL;
    CHECK_OK(couchstore_docinfo_by_id(db, "document 321", 12, &info));
    couchstore_free_docinfo(info);
    CHECK_OK(couchstore_get_db_filestats(db, &stats));
    CHECK_EQ_INT(stats.read_count, 1);
    /* What it commits is seen by those that share nothing. */
    CHECK_OK(put(db, "document 321", "another body"));
    CHECK_OK(commit(db, 0));
    CHECK(reads_for(name, "document 321") >= cold);
    CLOSE(db);
}
