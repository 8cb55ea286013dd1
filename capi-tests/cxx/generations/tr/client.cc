// SPDX-License-Identifier: Apache-2.0
//
// The source of a client of generation TR.

#include "../calls.h"

using namespace cb::couchstore;

couchstore_error_t client(FileOpsInterface *ops,
                          Db *db,
                          Doc **docs,
                          DocInfo **infos,
                          void **requests);
couchstore_error_t client(FileOpsInterface *ops,
                          Db *db,
                          Doc **docs,
                          DocInfo **infos,
                          void **requests) {
    couchstore_open_db_ex("f", COUCHSTORE_OPEN_FLAG_EXCL | COUCHSTORE_OPEN_FLAG_CREATE, ops, &db);
    std::string text = getLastOsError(*db) + getLastInternalError();
    seekFirstHeaderContaining(*db, 10, 1);
    couchstore_compact_db_ex(db, "g", 0, nullptr, nullptr, nullptr, ops);
    const auto code = static_cast<couchstore_error_t>(text.size());
    return code == COUCHSTORE_ERROR_SCAN_CANCELLED ? code : sameCalls(db, docs, infos, requests);
}
