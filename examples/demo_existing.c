/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The demo on an existing database.
 */
#include "demo_common.h"

#include <stdio.h>

typedef struct Content {
    const char *what;
    uint64_t total;
    uint64_t documents;
    uint64_t deleted;
    uint64_t body_bytes;
    uint64_t hash; /* over everything of every document, in the order of their ids */
} Content;

/* FNV-1a, 64 bits. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size) {
    const unsigned char *byte = data;
    for (size_t place = 0; place < size; ++place) {
        hash = (hash ^ byte[place]) * UINT64_C(1099511628211);
    }
    return hash;
}

static uint64_t hash_range(uint64_t hash, const sized_buf *range) {
    const uint64_t size = range->size;
    hash = hash_bytes(hash, &size, sizeof size);
    return range->size == 0 ? hash : hash_bytes(hash, range->buf, range->size);
}

static int read_document(Db *db, DocInfo *info, void *ctx) {
    Content *content = ctx;
    const uint64_t figures[] = {info->db_seq, info->rev_seq, (uint64_t)(info->deleted != 0),
                                info->content_meta, info->physical_size};
    content->hash = hash_range(content->hash, &info->id);
    content->hash = hash_range(content->hash, &info->rev_meta);
    content->hash = hash_bytes(content->hash, figures, sizeof figures);
    if (info->bp != 0) {
        Doc *doc = NULL;
        /* As it is stored: the data type bits of foreign files say nothing about decompressing. */
        check(couchstore_open_doc_with_docinfo(db, info, &doc, 0), db, "reading a document");
        content->hash = hash_range(content->hash, &doc->data);
        content->body_bytes += doc->data.size;
        couchstore_free_document(doc);
    }
    ++content->documents;
    content->deleted += info->deleted != 0;
    show_progress(content->what, content->documents, content->total);
    return 0;
}

static int read_local_document(Db *db, LocalDoc *doc, void *ctx) {
    Content *content = ctx;
    (void)db;
    content->hash = hash_range(content->hash, &doc->id);
    content->hash = hash_range(content->hash, &doc->json);
    return 0;
}

static Content read_all(Db *db, const char *what) {
    Content content = {what, 0, 0, 0, 0, UINT64_C(14695981039346656037)};
    DbInfo info;
    const double start = now();
    check(couchstore_db_info(db, &info), db, "asking for the figures");
    content.total = info.doc_count + info.deleted_count;
    check(couchstore_all_docs(db, NULL, 0, read_document, &content), db, "reading all documents");
    check(couchstore_scan_local_docs(db, NULL, read_local_document, &content), db,
          "reading the local documents");
    if (content.documents != content.total) {
        fail("the header counts %s documents, the index has %s", number(content.total),
             number(content.documents));
    }
    show_time(what, content.documents, now() - start);
    printf("  %s documents, %s of them deleted, bodies of %s\n", number(content.documents),
           number(content.deleted), bytes(content.body_bytes));
    fflush(stdout);
    return content;
}

void demo_existing(const char *path) {
    Db *db = NULL;
    Db *compacted = NULL;
    printf("An existing database: %s\n", path);
    fflush(stdout);
    check(couchstore_open_db(path, COUCHSTORE_OPEN_FLAG_RDONLY, &db), NULL, path);
    show_header("Header", db);
    const uint64_t size_before = size_of_file(path);
    const Content before = read_all(db, "reading every document");

    make_folder();
    const double start = now();
    check(couchstore_compact_db(db, compacted_path), db, "compacting");
    show_time("compacting", before.documents, now() - start);
    close_database(db);

    check(couchstore_open_db(compacted_path, COUCHSTORE_OPEN_FLAG_RDONLY, &compacted), NULL,
          compacted_path);
    const Content after = read_all(compacted, "reading the compacted file");
    if (after.documents != before.documents || after.hash != before.hash) {
        fail("the compacted file differs from its source");
    }
    printf("  every document, local ones too, is the same in both files\n");
    show_header("Header of the compacted file", compacted);
    close_database(compacted);
    show_sizes(size_before, size_of_file(compacted_path));
}
