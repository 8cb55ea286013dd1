// SPDX-License-Identifier: Apache-2.0

#include "file_ops.h"

#include "call.h"

#include <libcouchstore/crypto_types.h>

namespace couchstore_shim {

__thread Call *Call::innermost = nullptr;

namespace {

FileOpsInterface &opsOf(void *object) {
    return *static_cast<FileOpsInterface *>(object);
}

int constructor(void *object, couchstore_error_info_t *errinfo, couch_file_handle *handle) {
    return caught<int>(COUCHSTORE_ERROR_OPEN_FILE, [&] {
        *handle = opsOf(object).constructor(errinfo);
        return COUCHSTORE_SUCCESS;
    });
}

int open(void *object,
         couchstore_error_info_t *errinfo,
         couch_file_handle *handle,
         const char *path,
         int oflag) {
    return caught<int>(COUCHSTORE_ERROR_OPEN_FILE,
                       [&] { return opsOf(object).open(errinfo, handle, path, oflag); });
}

int close(void *object, couchstore_error_info_t *errinfo, couch_file_handle handle) {
    return caught<int>(COUCHSTORE_ERROR_FILE_CLOSE,
                       [&] { return opsOf(object).close(errinfo, handle); });
}

int setPeriodicSync(void *object, couch_file_handle handle, uint64_t period_bytes) {
    return caught<int>(COUCHSTORE_ERROR_NOT_SUPPORTED,
                       [&] { return opsOf(object).set_periodic_sync(handle, period_bytes); });
}

int setTracingEnabled(void *object, couch_file_handle handle) {
    return caught<int>(COUCHSTORE_ERROR_NOT_SUPPORTED,
                       [&] { return opsOf(object).set_tracing_enabled(handle); });
}

int setWriteValidationEnabled(void *object, couch_file_handle handle) {
    return caught<int>(COUCHSTORE_ERROR_NOT_SUPPORTED,
                       [&] { return opsOf(object).set_write_validation_enabled(handle); });
}

int setMprotectEnabled(void *object, couch_file_handle handle) {
    return caught<int>(COUCHSTORE_ERROR_NOT_SUPPORTED,
                       [&] { return opsOf(object).set_mprotect_enabled(handle); });
}

ssize_t pread(void *object,
              couchstore_error_info_t *errinfo,
              couch_file_handle handle,
              void *buf,
              size_t nbytes,
              int64_t offset) {
    // An exception is no damage that could be stepped over.
    return caught<ssize_t>(COUCHSTORE_ERROR_CANCEL, [&] {
        return opsOf(object).pread(errinfo, handle, buf, nbytes, offset);
    });
}

ssize_t pwrite(void *object,
               couchstore_error_info_t *errinfo,
               couch_file_handle handle,
               const void *buf,
               size_t nbytes,
               int64_t offset) {
    return caught<ssize_t>(COUCHSTORE_ERROR_WRITE, [&] {
        return opsOf(object).pwrite(errinfo, handle, buf, nbytes, offset);
    });
}

int64_t gotoEof(void *object, couchstore_error_info_t *errinfo, couch_file_handle handle) {
    return caught<int64_t>(COUCHSTORE_ERROR_READ,
                           [&] { return opsOf(object).goto_eof(errinfo, handle); });
}

int sync(void *object, couchstore_error_info_t *errinfo, couch_file_handle handle) {
    return caught<int>(COUCHSTORE_ERROR_WRITE, [&] { return opsOf(object).sync(errinfo, handle); });
}

void evict(void *object, couchstore_error_info_t *errinfo, couch_file_handle handle) {
    caught<int>(0, [&] {
        return opsOf(object).advise(errinfo, handle, 0, 0, COUCHSTORE_FILE_ADVICE_EVICT);
    });
}

void tag(void *object, couch_file_handle handle, uint8_t tag) {
    caught<int>(0, [&] {
        opsOf(object).tag(handle, static_cast<FileTag>(tag));
        return 0;
    });
}

void *getStats(void *object, couch_file_handle handle) {
    return caught<void *>(nullptr, [&]() -> void * { return opsOf(object).get_stats(handle); });
}

void destructor(void *object, couch_file_handle handle) {
    caught<int>(0, [&] {
        opsOf(object).destructor(handle);
        return 0;
    });
}

void freeBuffers(void *object, couch_file_handle handle) {
    caught<int>(0, [&] {
        opsOf(object).free_buffers(handle);
        return 0;
    });
}

constexpr couchstore_private_file_ops table = {constructor,
                                               open,
                                               close,
                                               setPeriodicSync,
                                               setTracingEnabled,
                                               setWriteValidationEnabled,
                                               setMprotectEnabled,
                                               pread,
                                               pwrite,
                                               gotoEof,
                                               sync,
                                               evict,
                                               tag,
                                               getStats,
                                               destructor,
                                               freeBuffers};

}  // namespace

couchstore_private_ops toRust(FileOpsInterface *ops) {
    if (ops == couchstore_get_default_file_ops()) {
        return {nullptr, nullptr};
    }
    return {&table, ops};
}

couchstore_private_keys Keys::toRust() {
    if (!getter) {
        return {nullptr, nullptr};
    }
    return {find, this};
}

int Keys::find(void *ctx, sized_buf id, couchstore_private_key *out) noexcept {
    auto &keys = *static_cast<Keys *>(ctx);
    const auto bytes = [](const std::string &text) {
        return sized_buf{const_cast<char *>(text.data()), text.size()};
    };
    try {
        keys.key = keys.getter(std::string_view(id.buf, id.size));
        if (!keys.key) {
            return 0;
        }
        out->id = bytes(keys.key->id);
        out->key = bytes(keys.key->derivationKey);
        out->cipher = static_cast<int>(keys.key->cipher);
        out->derivation = static_cast<int>(keys.key->derivationMethod);
        return 1;
    } catch (...) {
        return COUCHSTORE_ERROR_NO_ENCRYPTION_KEY;
    }
}

}  // namespace couchstore_shim
