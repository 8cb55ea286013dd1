/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The library as a language has it, for the differential tests: a table of functions, one made of plain C and one of
 * C++. Answers go to the functions of struct sink.
 */
#ifndef EXECUTOR_H
#define EXECUTOR_H

#include <libcouchstore/couch_db.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a file is opened, or a copy made. */
struct executor_how {
    couchstore_open_flags flags;
    couchstore_compact_flags compact_flags;
    const couchstore_encryption_key *key; /* NULL: not encrypted */
    int forwarding;                       /* through operations that hand every call on */
};

/* What a question is about: one of the QUERY_ values, with two strings or numbers or with lists. */
enum { QUERY_SINCE, QUERY_FROM, QUERY_IDS, QUERY_SEQS };

struct executor_query {
    int kind;
    couchstore_docinfos_options options;
    const sized_buf *ids;
    const uint64_t *seqs;
    size_t count;
};

struct executor_sink {
    void *ctx;
    void (*info)(void *ctx, int depth, const DocInfo *info);
    void (*node)(void *ctx, int depth, uint64_t subtree_size, const sized_buf *reduce);
    void (*bytes)(void *ctx, const sized_buf *id, const sized_buf *bytes);
};

typedef void (*executor_meanwhile)(void *ctx);

/* Each function returns the library's code. */
struct executor {
    int (*open)(const char *path, const struct executor_how *how, Db **db);
    int (*close)(Db *db);
    int (*free)(Db *db);
    int (*reopen)(Db *db, const char *path, const struct executor_how *how);
    int (*save)(Db *db,
                Doc *const *docs,
                DocInfo *const *infos,
                size_t count,
                couchstore_save_options options);
    int (*save_locals)(Db *db, LocalDoc *docs, size_t count);
    int (*set_purge_seq)(Db *db, uint64_t seq);
    int (*commit)(Db *db, uint64_t timestamp);
    int (*seek)(Db *db, int direction);
    int (*seek_offset)(Db *db, cs_off_t offset);
    int (*seek_containing)(Db *db, uint64_t seq, uint64_t granularity);
    int (*step)(Db *db, int direction);
    int (*header)(Db *db, couchstore_header_info *header);
    int (*documents)(Db *db, const struct executor_query *query, const struct executor_sink *sink);
    int (*by_id)(Db *db, const sized_buf *id, const struct executor_sink *sink);
    int (*by_seq)(Db *db, uint64_t seq, const struct executor_sink *sink);
    int (*body_of)(Db *db,
                   const DocInfo *info,
                   couchstore_open_options options,
                   const struct executor_sink *sink);
    int (*body_by_id)(Db *db, const sized_buf *id, const struct executor_sink *sink);
    int (*local)(Db *db, const sized_buf *id, const struct executor_sink *sink);
    int (*locals)(Db *db, const sized_buf *from, const struct executor_sink *sink);
    int (*count)(Db *db, uint64_t min, uint64_t max, uint64_t *count);
    int (*walk)(Db *db, int tree, const struct executor_sink *sink);
    int (*compact)(Db *source, const char *target, const struct executor_how *how);
    int (*compact_online)(const char *source,
                          const char *target,
                          const struct executor_how *how,
                          executor_meanwhile meanwhile,
                          void *ctx);
    int (*replay)(Db *source, Db *target, uint64_t end, size_t threshold);
};

const struct executor *c_executor(void);
const struct executor *cxx_executor(void);

#ifdef __cplusplus
}
#endif

#endif /* EXECUTOR_H */
