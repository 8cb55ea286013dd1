// SPDX-License-Identifier: Apache-2.0
//
// Calls that are written the same in all generations since the header is C++ only.
#pragma once

#include <libcouchstore/couch_db.h>

#include <vector>

inline int onDoc(Db *db, DocInfo *info, void *) {
    auto [code, doc] = cb::couchstore::openDocument(*db, *info);
    return code == COUCHSTORE_SUCCESS && doc->data.size == info->getTotalSize()
                   ? 0
                   : COUCHSTORE_ERROR_CANCEL;
}

inline void onSave(const DocInfo *, const DocInfo *, void *, void *) {
}

inline couchstore_error_t sameCalls(Db *db, Doc **docs, DocInfo **infos, void **requests) {
    unsigned count = 3;
    couchstore_save_documents(db, docs, infos, count,
                              COMPRESS_DOC_BODIES | COUCHSTORE_SEQUENCE_AS_IS);
    couchstore_save_documents_and_callback(db, docs, infos, requests, count, 0, onSave, nullptr);
    couchstore_commit(db);
    couchstore_commit_ex(db, 17, [](const std::system_error &) { return true; });
    couchstore_docinfos_by_id(db, &infos[0]->id, count, RANGES, onDoc, nullptr);
    couchstore_changes_since(db, 0, COUCHSTORE_NO_DELETES, onDoc, nullptr);
    auto header = cb::couchstore::getHeader(*db);
    if (header.version == cb::couchstore::Header::Version::V13) {
        cb::couchstore::seek(*db, cb::couchstore::Direction::Backward);
    }
    LocalDoc local{infos[0]->id, docs[0]->data, 0};
    std::vector<std::reference_wrapper<LocalDoc>> locals{local};
    cb::couchstore::saveLocalDocuments(*db, locals);
    const FileOpsInterface::FHStats *stats = couchstore_get_db_filestats(db);
    return stats ? couchstore_set_purge_seq(db, header.purgeSeqNum + 1) : COUCHSTORE_SUCCESS;
}

inline int onCompact(Db *, DocInfo *, sized_buf, void *) {
    return COUCHSTORE_COMPACT_KEEP_ITEM;
}
