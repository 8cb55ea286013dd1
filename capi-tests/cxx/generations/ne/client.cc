// SPDX-License-Identifier: Apache-2.0
//
// The source of a client of generation NE.

#include "../calls.h"

#include <libcouchstore/json_utils.h>

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
    auto [code, other] = openDatabase("f", COUCHSTORE_OPEN_RECOVERY_MODE, ops);
    couchstore_open_db_ex("f", 0, ops, &db);
    compact(*db, "g", COUCHSTORE_COMPACT_FLAG_DROP_DELETES, {}, {}, ops);
    replay(
            *db, *other, 10, 8192, {}, [](Db &, Db &) { return COUCHSTORE_SUCCESS; }, 1024);
    switch (code) {
        case COUCHSTORE_ERROR_SCAN_YIELD:
        case COUCHSTORE_ERROR_SCAN_ABORTED:
            return code;
        default:
            break;
    }
#ifdef COUCHSTORE_HAS_JSON
    nlohmann::json (*json)(const Header &) = to_json;
    (void)json;
#endif
    return sameCalls(db, docs, infos, requests);
}
