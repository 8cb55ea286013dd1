// SPDX-License-Identifier: Apache-2.0
//
// The source of a client of generation MO, with its host's header, which has no KeyDerivationKey.

#include "../calls.h"

using namespace cb::couchstore;

#ifdef COUCHSTORE_HAS_OWN_CRYPTO_TYPES
#error the header of the host should be used
#endif

struct KeyStore {
    SharedEncryptionKey lookup(std::string_view id) const;
};

couchstore_error_t client(FileOpsInterface *ops,
                          const KeyStore &keys,
                          Db *db,
                          Doc **docs,
                          DocInfo **infos,
                          void **requests);
couchstore_error_t client(FileOpsInterface *ops,
                          const KeyStore &keys,
                          Db *db,
                          Doc **docs,
                          DocInfo **infos,
                          void **requests) {
    const EncryptionKeyGetter stored = [&keys](std::string_view id) { return keys.lookup(id); };
    const std::function<SharedEncryptionKey(std::string_view)> function =
            stored ? nullptr : nullptr;
    couchstore_open_db_ex("f", COUCHSTORE_OPEN_FLAG_NO_COMMIT_AT_CREATE, stored, ops, &db);
    couchstore_open_db_ex("f", 0, {}, ops, &db);
    auto [code, other] = openDatabase(
            "f", 0, [&keys](auto id) { return keys.lookup(id); }, ops);
    openDatabase("f", 0, function, nullptr, 4096);
    const SharedEncryptionKey key = std::make_shared<const cb::crypto::DataEncryptionKey>();
    couchstore_compact_db_ex(
            db, "g", 0, [key](std::string_view) { return key; }, onCompact, nullptr, nullptr, ops);
    compact(*db, "g", 0, stored, {}, {}, ops);
    couchstore_walk_local_tree(db, nullptr, COUCHSTORE_TOLERATE_CORRUPTION, nullptr, nullptr);
    replay(*db, *other, 10, 8192, {}, [](Db &, Db &) { return COUCHSTORE_SUCCESS; });
    setOnInternalError([](std::string_view) {});
    if (isEncrypted(*db) && !getEncryptionKeyId(*db).empty()) {
        return COUCHSTORE_ERROR_NO_ENCRYPTION_KEY;
    }
    return code == COUCHSTORE_SUCCESS ? sameCalls(db, docs, infos, requests) : code;
}
