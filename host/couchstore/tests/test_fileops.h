// SPDX-License-Identifier: Apache-2.0
//
// File operations for tests: MockOps, of which each call can be expected or replaced with GoogleMock, and LogOps,
// which writes a line for each call.
#pragma once

#include <libcouchstore/couch_db.h>

#include <gmock/gmock.h>

#include <iosfwd>
#include <memory>

// Passes every call on to the wrapped operations, which are its own from now on, unless a test says otherwise.
class MockOps : public FileOpsInterface {
public:
    explicit MockOps(FileOpsInterface *wrapped);
    explicit MockOps(std::unique_ptr<FileOpsInterface> wrapped);
    ~MockOps() override;

    MOCK_METHOD(couch_file_handle, constructor, (couchstore_error_info_t *), (override));
    MOCK_METHOD(couchstore_error_t,
                open,
                (couchstore_error_info_t *, couch_file_handle *, const char *, int),
                (override));
    MOCK_METHOD(couchstore_error_t,
                close,
                (couchstore_error_info_t *, couch_file_handle),
                (override));
    MOCK_METHOD(couchstore_error_t, set_periodic_sync, (couch_file_handle, uint64_t), (override));
    MOCK_METHOD(couchstore_error_t, set_tracing_enabled, (couch_file_handle), (override));
    MOCK_METHOD(couchstore_error_t, set_write_validation_enabled, (couch_file_handle), (override));
    MOCK_METHOD(couchstore_error_t, set_mprotect_enabled, (couch_file_handle), (override));
    MOCK_METHOD(ssize_t,
                pread,
                (couchstore_error_info_t *, couch_file_handle, void *, size_t, cs_off_t),
                (override));
    MOCK_METHOD(ssize_t,
                pwrite,
                (couchstore_error_info_t *, couch_file_handle, const void *, size_t, cs_off_t),
                (override));
    MOCK_METHOD(cs_off_t, goto_eof, (couchstore_error_info_t *, couch_file_handle), (override));
    MOCK_METHOD(couchstore_error_t,
                sync,
                (couchstore_error_info_t *, couch_file_handle),
                (override));
    MOCK_METHOD(couchstore_error_t,
                advise,
                (couchstore_error_info_t *,
                 couch_file_handle,
                 cs_off_t,
                 cs_off_t,
                 couchstore_file_advice_t),
                (override));
    MOCK_METHOD(void, tag, (couch_file_handle, FileTag), (override));
    MOCK_METHOD(FHStats *, get_stats, (couch_file_handle), (override));
    MOCK_METHOD(void, destructor, (couch_file_handle), (override));
    MOCK_METHOD(void, free_buffers, (couch_file_handle), (override));

    // Makes passing on what every call does by default, as it is from the beginning.
    void DelegateToFake();

    // The operations behind it, for tests that do something before they pass a call on.
    FileOpsInterface *get_wrapped() const {
        return wrapped_ops.get();
    }

    std::unique_ptr<FileOpsInterface> wrapped_ops;
};

// Passes every call on to the wrapped operations, which are its own from now on, and writes what was asked and what
// came back.
class LogOps : public FileOpsInterface {
public:
    explicit LogOps(FileOpsInterface *wrapped);
    LogOps(FileOpsInterface *wrapped, std::ostream &out);
    explicit LogOps(std::unique_ptr<FileOpsInterface> wrapped);

    couch_file_handle constructor(couchstore_error_info_t *errinfo) override;
    couchstore_error_t open(couchstore_error_info_t *errinfo,
                            couch_file_handle *handle,
                            const char *path,
                            int oflag) override;
    couchstore_error_t close(couchstore_error_info_t *errinfo, couch_file_handle handle) override;
    couchstore_error_t set_periodic_sync(couch_file_handle handle, uint64_t period_bytes) override;
    couchstore_error_t set_tracing_enabled(couch_file_handle handle) override;
    couchstore_error_t set_write_validation_enabled(couch_file_handle handle) override;
    couchstore_error_t set_mprotect_enabled(couch_file_handle handle) override;
    ssize_t pread(couchstore_error_info_t *errinfo,
                  couch_file_handle handle,
                  void *buf,
                  size_t nbytes,
                  cs_off_t offset) override;
    ssize_t pwrite(couchstore_error_info_t *errinfo,
                   couch_file_handle handle,
                   const void *buf,
                   size_t nbytes,
                   cs_off_t offset) override;
    cs_off_t goto_eof(couchstore_error_info_t *errinfo, couch_file_handle handle) override;
    couchstore_error_t sync(couchstore_error_info_t *errinfo, couch_file_handle handle) override;
    couchstore_error_t advise(couchstore_error_info_t *errinfo,
                              couch_file_handle handle,
                              cs_off_t offset,
                              cs_off_t len,
                              couchstore_file_advice_t advice) override;
    void tag(couch_file_handle handle, FileTag tag) override;
    FHStats *get_stats(couch_file_handle handle) override;
    void destructor(couch_file_handle handle) override;
    void free_buffers(couch_file_handle handle) override;

private:
    std::unique_ptr<FileOpsInterface> wrapped_ops;
    std::ostream &out;
};
