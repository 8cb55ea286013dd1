// SPDX-License-Identifier: Apache-2.0
//
// The functions with C linkage and C++ types, except compaction.

#include "call.h"
#include "entry.h"
#include "file_ops.h"

#include <system_error>

using namespace couchstore_shim;

couchstore_error_t couchstore_open_db_ex(const char *filename,
                                         couchstore_open_flags flags,
                                         cb::couchstore::EncryptionKeyGetter encryptionKeyCB,
                                         FileOpsInterface *ops,
                                         Db **db) {
    if (!ops) {
        return couchstore_c_open_db_ex(filename, flags, nullptr, db);  // says why not
    }
    Keys keys(encryptionKeyCB);
    return guardedResult(db, closeAndFree, [&] {
        return couchstore_private_cxx_open(filename, flags, keys.toRust(), toRust(ops), false, db);
    });
}

// Asks the callback whose address is ctx. Some callers pass no callback at all, so the address may be anything; it is
// looked at only here, when the last sync of a commit has failed.
static int retrySync(void *ctx, int os_error) noexcept {
    return caught<int>(0, [&] {
        if (Call::hasFailed()) {
            return 0;
        }
        const auto &callback = *static_cast<const SysErrorCallback *>(ctx);
        const std::system_error error(os_error, std::system_category(),
                                      "couchstore_commit_ex: Failed to sync header to disk");
        return callback && callback(error) ? 1 : 0;
    });
}

static couchstore_error_t commit(Db *db,
                                 const uint64_t *timestamp,
                                 const SysErrorCallback &callback) {
    void *const unseen = const_cast<SysErrorCallback *>(&callback);
    return guarded([&] { return couchstore_private_cxx_commit(db, timestamp, retrySync, unseen); });
}

couchstore_error_t couchstore_commit(Db *db, const SysErrorCallback &callback) {
    return commit(db, nullptr, callback);
}

couchstore_error_t couchstore_commit_ex(Db *db,
                                        uint64_t timestamp,
                                        const SysErrorCallback &callback) {
    return commit(db, &timestamp, callback);
}

FileOpsInterface::FHStats *couchstore_get_db_filestats(Db *db) {
    return guarded([&] {
        return static_cast<FileOpsInterface::FHStats *>(couchstore_private_cxx_file_stats(db));
    });
}
