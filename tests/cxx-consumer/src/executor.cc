// SPDX-License-Identifier: Apache-2.0
//
// The library in C++: its classes and functions where it has its own, those of C elsewhere.

#define COUCHSTORE_OWN_CRYPTO_TYPES

#include "../../../capi-tests/host/stats_ops.h"
#include "executor_calls.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

using namespace cb::couchstore;

namespace {

// The operations that hand every call on.
FileOpsInterface *forwardingOps() {
    static StatsOps ops(couchstore_get_default_file_ops());
    return &ops;
}

FileOpsInterface *opsOf(const executor_how *how) {
    return how->forwarding ? forwardingOps() : nullptr;
}

// The getter of the key; an empty one: there is none.
EncryptionKeyGetter getterOf(const executor_how *how) {
    if (!how->key) {
        return {};
    }
    const auto *known = how->key;
    return [known](std::string_view id) -> std::shared_ptr<const cb::crypto::KeyDerivationKey> {
        const std::string name(known->id.buf, known->id.size);
        if (!id.empty() && id != name) {
            return {};
        }
        const auto method = static_cast<cb::crypto::KeyDerivationMethod>(known->derivation);
        return std::make_shared<const cb::crypto::KeyDerivationKey>(
                name, cb::crypto::Cipher::AES_256_GCM, std::string(known->key.buf, known->key.size),
                method);
    };
}

std::string_view view(const sized_buf *id) {
    return {id->buf, id->size};
}

int openFile(const char *path, const executor_how *how, Db **db) {
    auto [code, opened] = openDatabase(path, how->flags, getterOf(how), opsOf(how));
    if (code == COUCHSTORE_SUCCESS) {
        *db = opened.release();
    }
    return code;
}

int saveLocals(Db *db, LocalDoc *docs, size_t count) {
    std::vector<std::reference_wrapper<LocalDoc>> all(docs, docs + count);
    return saveLocalDocuments(*db, all);
}

int commit(Db *db, uint64_t timestamp) {
    return couchstore_commit_ex(db, timestamp);
}

int seekTo(Db *db, int direction) {
    switch (direction) {
        case COUCHSTORE_SEEK_FORWARD:
            return seek(*db, Direction::Forward);
        case COUCHSTORE_SEEK_BACKWARD:
            return seek(*db, Direction::Backward);
        default:
            return seek(*db, Direction::End);
    }
}

int seekOffset(Db *db, cs_off_t offset) {
    return seek(*db, offset);
}

int seekContaining(Db *db, uint64_t seq, uint64_t granularity) {
    return seekFirstHeaderContaining(*db, seq, granularity);
}

int bodyById(Db *db, const sized_buf *id, const executor_sink *sink) {
    auto [code, doc] = openDocument(*db, view(id));
    if (code == COUCHSTORE_SUCCESS) {
        sink->bytes(sink->ctx, &doc->id, &doc->data);
    }
    return code;
}

int byId(Db *db, const sized_buf *id, const executor_sink *sink) {
    auto [code, info] = openDocInfo(*db, view(id));
    if (code == COUCHSTORE_SUCCESS) {
        sink->info(sink->ctx, 0, info.get());
    }
    return code;
}

int local(Db *db, const sized_buf *id, const executor_sink *sink) {
    auto [code, doc] = openLocalDocument(*db, view(id));
    if (code == COUCHSTORE_SUCCESS) {
        sink->bytes(sink->ctx, &doc->id, &doc->json);
    }
    return code;
}

int locals(Db *db, const sized_buf *from, const executor_sink *sink) {
    return scanLocalDocs(*db, view(from), [sink](UniqueLocalDocPtr doc) {
        sink->bytes(sink->ctx, &doc->id, &doc->json);
        return COUCHSTORE_SUCCESS;
    });
}

int compactTo(Db *source, const char *target, const executor_how *how) {
    return compact(*source, target, how->compact_flags, getterOf(how), {}, {}, opsOf(how));
}

// Only C has this one: its operations are a struct.
int compactOnline(const char *source,
                  const char *target,
                  const executor_how *how,
                  executor_meanwhile meanwhile,
                  void *ctx) {
    return compact_beside(source, target, how, nullptr, meanwhile, ctx);
}

int replayTo(Db *source, Db *target, uint64_t end, size_t threshold) {
    return replay(*source, *target, end, {}, {}, threshold);
}

}  // namespace

extern "C" const executor *cxx_executor(void) {
    static const executor table = {
            openFile,       call_close,         call_free,   call_reopen,    call_save,
            saveLocals,     call_set_purge_seq, commit,      seekTo,         seekOffset,
            seekContaining, call_step,          call_header, call_documents, byId,
            call_by_seq,    call_body_of,       bodyById,    local,          locals,
            call_count,     call_walk,          compactTo,   compactOnline,  replayTo,
    };
    return &table;
}
