// SPDX-License-Identifier: Apache-2.0
//
// The source of a client of generation CC.

#include "../calls.h"

using namespace cb::couchstore;

couchstore_error_t client(FileOpsInterface &ops,
                          Db *db,
                          Doc **docs,
                          DocInfo **infos,
                          void **requests);
couchstore_error_t client(FileOpsInterface &ops,
                          Db *db,
                          Doc **docs,
                          DocInfo **infos,
                          void **requests) {
    couchstore_open_db_ex("f", COUCHSTORE_OPEN_FLAG_CREATE, &ops, &db);
    auto [code, other] = openDatabase("f", COUCHSTORE_OPEN_FLAG_RDONLY, &ops, 4096);
    const PrecommitHook precommit = [](Db &, Db &) { return COUCHSTORE_SUCCESS; };
    couchstore_compact_db_ex(db, "g", 0, onCompact, nullptr, nullptr, &ops, precommit);
    const auto filter = [](Db &, DocInfo *, sized_buf) { return 0; };
    compact(*db, "g", 0, filter, {}, &ops, precommit);
    const PreCopyHook copy = [](Db &, Db &, const DocInfo *, const DocInfo *) {
        return COUCHSTORE_SUCCESS;
    };
    const auto around = [](Db &) { return COUCHSTORE_SUCCESS; };
    compact(*db, "g", 0, filter, {}, &ops, precommit, 1000, 10, around, around, copy, precommit);
    replay(*db, *other, 10, 8192, copy, precommit);
    couchstore_walk_local_tree(db, nullptr, nullptr, nullptr);
    char text[100];
    couchstore_last_os_error(db, text, sizeof text);
    couchstore_last_internal_error(db, text, sizeof text);
#ifdef COUCHSTORE_HAS_JSON
    auto json = &Header::to_json;
    (void)json;
#endif
    return code == COUCHSTORE_SUCCESS ? sameCalls(db, docs, infos, requests) : code;
}
