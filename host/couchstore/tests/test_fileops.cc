// SPDX-License-Identifier: Apache-2.0

#include "test_fileops.h"

#include <iostream>

using ::testing::_;
using ::testing::Invoke;

MockOps::MockOps(FileOpsInterface *wrapped) : wrapped_ops(wrapped) {
    DelegateToFake();
}

MockOps::MockOps(std::unique_ptr<FileOpsInterface> wrapped) : MockOps(wrapped.release()) {
}

MockOps::~MockOps() = default;

void MockOps::DelegateToFake() {
    auto *const wrapped = get_wrapped();
    ON_CALL(*this, constructor(_)).WillByDefault(Invoke(wrapped, &FileOpsInterface::constructor));
    ON_CALL(*this, open(_, _, _, _)).WillByDefault(Invoke(wrapped, &FileOpsInterface::open));
    ON_CALL(*this, close(_, _)).WillByDefault(Invoke(wrapped, &FileOpsInterface::close));
    ON_CALL(*this, set_periodic_sync(_, _))
            .WillByDefault(Invoke(wrapped, &FileOpsInterface::set_periodic_sync));
    ON_CALL(*this, set_tracing_enabled(_))
            .WillByDefault(Invoke(wrapped, &FileOpsInterface::set_tracing_enabled));
    ON_CALL(*this, set_write_validation_enabled(_))
            .WillByDefault(Invoke(wrapped, &FileOpsInterface::set_write_validation_enabled));
    ON_CALL(*this, set_mprotect_enabled(_))
            .WillByDefault(Invoke(wrapped, &FileOpsInterface::set_mprotect_enabled));
    ON_CALL(*this, pread(_, _, _, _, _)).WillByDefault(Invoke(wrapped, &FileOpsInterface::pread));
    ON_CALL(*this, pwrite(_, _, _, _, _)).WillByDefault(Invoke(wrapped, &FileOpsInterface::pwrite));
    ON_CALL(*this, goto_eof(_, _)).WillByDefault(Invoke(wrapped, &FileOpsInterface::goto_eof));
    ON_CALL(*this, sync(_, _)).WillByDefault(Invoke(wrapped, &FileOpsInterface::sync));
    ON_CALL(*this, advise(_, _, _, _, _)).WillByDefault(Invoke(wrapped, &FileOpsInterface::advise));
    ON_CALL(*this, tag(_, _)).WillByDefault(Invoke(wrapped, &FileOpsInterface::tag));
    ON_CALL(*this, get_stats(_)).WillByDefault(Invoke(wrapped, &FileOpsInterface::get_stats));
    ON_CALL(*this, destructor(_)).WillByDefault(Invoke(wrapped, &FileOpsInterface::destructor));
    ON_CALL(*this, free_buffers(_)).WillByDefault(Invoke(wrapped, &FileOpsInterface::free_buffers));
}

LogOps::LogOps(FileOpsInterface *wrapped) : LogOps(wrapped, std::cerr) {
}

LogOps::LogOps(FileOpsInterface *wrapped, std::ostream &out_) : wrapped_ops(wrapped), out(out_) {
}

LogOps::LogOps(std::unique_ptr<FileOpsInterface> wrapped) : LogOps(wrapped.release()) {
}

namespace {

// Writes "name(arguments) -> result".
template <typename Result, typename... Arguments>
Result logged(std::ostream &out, const char *name, Result result, const Arguments &...arguments) {
    out << name << '(';
    const char *separator = "";
    ((out << separator << arguments, separator = ", "), ...);
    out << ") -> " << result << '\n';
    return result;
}

}  // namespace

couch_file_handle LogOps::constructor(couchstore_error_info_t *errinfo) {
    return logged(out, "constructor", wrapped_ops->constructor(errinfo));
}

couchstore_error_t LogOps::open(couchstore_error_info_t *errinfo,
                                couch_file_handle *handle,
                                const char *path,
                                int oflag) {
    return logged(out, "open", wrapped_ops->open(errinfo, handle, path, oflag), *handle, path,
                  oflag);
}

couchstore_error_t LogOps::close(couchstore_error_info_t *errinfo, couch_file_handle handle) {
    return logged(out, "close", wrapped_ops->close(errinfo, handle), handle);
}

couchstore_error_t LogOps::set_periodic_sync(couch_file_handle handle, uint64_t period_bytes) {
    const auto code = wrapped_ops->set_periodic_sync(handle, period_bytes);
    return logged(out, "set_periodic_sync", code, handle, period_bytes);
}

couchstore_error_t LogOps::set_tracing_enabled(couch_file_handle handle) {
    return logged(out, "set_tracing_enabled", wrapped_ops->set_tracing_enabled(handle), handle);
}

couchstore_error_t LogOps::set_write_validation_enabled(couch_file_handle handle) {
    const auto code = wrapped_ops->set_write_validation_enabled(handle);
    return logged(out, "set_write_validation_enabled", code, handle);
}

couchstore_error_t LogOps::set_mprotect_enabled(couch_file_handle handle) {
    return logged(out, "set_mprotect_enabled", wrapped_ops->set_mprotect_enabled(handle), handle);
}

ssize_t LogOps::pread(couchstore_error_info_t *errinfo,
                      couch_file_handle handle,
                      void *buf,
                      size_t nbytes,
                      cs_off_t offset) {
    const auto result = wrapped_ops->pread(errinfo, handle, buf, nbytes, offset);
    return logged(out, "pread", result, handle, nbytes, offset);
}

ssize_t LogOps::pwrite(couchstore_error_info_t *errinfo,
                       couch_file_handle handle,
                       const void *buf,
                       size_t nbytes,
                       cs_off_t offset) {
    const auto result = wrapped_ops->pwrite(errinfo, handle, buf, nbytes, offset);
    return logged(out, "pwrite", result, handle, nbytes, offset);
}

cs_off_t LogOps::goto_eof(couchstore_error_info_t *errinfo, couch_file_handle handle) {
    return logged(out, "goto_eof", wrapped_ops->goto_eof(errinfo, handle), handle);
}

couchstore_error_t LogOps::sync(couchstore_error_info_t *errinfo, couch_file_handle handle) {
    return logged(out, "sync", wrapped_ops->sync(errinfo, handle), handle);
}

couchstore_error_t LogOps::advise(couchstore_error_info_t *errinfo,
                                  couch_file_handle handle,
                                  cs_off_t offset,
                                  cs_off_t len,
                                  couchstore_file_advice_t advice) {
    const auto code = wrapped_ops->advise(errinfo, handle, offset, len, advice);
    return logged(out, "advise", code, handle, offset, len, advice);
}

void LogOps::tag(couch_file_handle handle, FileTag tag) {
    wrapped_ops->tag(handle, tag);
    out << "tag(" << handle << ", " << int(tag) << ")\n";
}

FileOpsInterface::FHStats *LogOps::get_stats(couch_file_handle handle) {
    return logged(out, "get_stats", wrapped_ops->get_stats(handle), handle);
}

void LogOps::destructor(couch_file_handle handle) {
    wrapped_ops->destructor(handle);
    out << "destructor(" << handle << ")\n";
}

void LogOps::free_buffers(couch_file_handle handle) {
    wrapped_ops->free_buffers(handle);
    out << "free_buffers(" << handle << ")\n";
}
