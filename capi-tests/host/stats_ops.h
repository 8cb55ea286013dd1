// SPDX-License-Identifier: Apache-2.0
//
// File operations that keep statistics, as the ones of a host.
#pragma once

#include <libcouchstore/couch_db.h>

struct HostStats {
    size_t opens = 0, reads = 0, writes = 0, bytes = 0, syncs = 0, closes = 0;
};

class StatsOps : public FileOpsInterface {
public:
    explicit StatsOps(FileOpsInterface *wrapped_) : wrapped(wrapped_) {
    }

    couch_file_handle constructor(couchstore_error_info_t *errinfo) override {
        return reinterpret_cast<couch_file_handle>(new File{wrapped->constructor(errinfo), {}});
    }

    couchstore_error_t open(couchstore_error_info_t *errinfo,
                            couch_file_handle *handle,
                            const char *path,
                            int oflag) override {
        ++stats.opens;
        return wrapped->open(errinfo, &file(*handle).handle, path, oflag);
    }

    couchstore_error_t close(couchstore_error_info_t *errinfo, couch_file_handle handle) override {
        ++stats.closes;
        return wrapped->close(errinfo, file(handle).handle);
    }

    couchstore_error_t set_periodic_sync(couch_file_handle handle, uint64_t period) override {
        return wrapped->set_periodic_sync(file(handle).handle, period);
    }

    couchstore_error_t set_tracing_enabled(couch_file_handle handle) override {
        return wrapped->set_tracing_enabled(file(handle).handle);
    }

    couchstore_error_t set_write_validation_enabled(couch_file_handle handle) override {
        return wrapped->set_write_validation_enabled(file(handle).handle);
    }

    couchstore_error_t set_mprotect_enabled(couch_file_handle handle) override {
        return wrapped->set_mprotect_enabled(file(handle).handle);
    }

    ssize_t pread(couchstore_error_info_t *errinfo,
                  couch_file_handle handle,
                  void *buf,
                  size_t nbytes,
                  cs_off_t offset) override {
        ++stats.reads;
        ++file(handle).counts.reads;
        return wrapped->pread(errinfo, file(handle).handle, buf, nbytes, offset);
    }

    ssize_t pwrite(couchstore_error_info_t *errinfo,
                   couch_file_handle handle,
                   const void *buf,
                   size_t nbytes,
                   cs_off_t offset) override {
        ++stats.writes;
        ++file(handle).counts.writes;
        file(handle).counts.bytes += nbytes;
        return wrapped->pwrite(errinfo, file(handle).handle, buf, nbytes, offset);
    }

    cs_off_t goto_eof(couchstore_error_info_t *errinfo, couch_file_handle handle) override {
        return wrapped->goto_eof(errinfo, file(handle).handle);
    }

    couchstore_error_t sync(couchstore_error_info_t *errinfo, couch_file_handle handle) override {
        ++stats.syncs;
        return wrapped->sync(errinfo, file(handle).handle);
    }

    couchstore_error_t advise(couchstore_error_info_t *errinfo,
                              couch_file_handle handle,
                              cs_off_t offset,
                              cs_off_t len,
                              couchstore_file_advice_t advice) override {
        return wrapped->advise(errinfo, file(handle).handle, offset, len, advice);
    }

    void tag(couch_file_handle handle, FileTag tag) override {
        wrapped->tag(file(handle).handle, tag);
    }

    FHStats *get_stats(couch_file_handle handle) override {
        return &file(handle).counts;
    }

    void destructor(couch_file_handle handle) override {
        wrapped->destructor(file(handle).handle);
        delete &file(handle);
    }

    HostStats stats;

private:
    struct Counts : FHStats {
        size_t getReadCount() override {
            return reads;
        }
        size_t getWriteCount() override {
            return writes;
        }
        size_t getWriteBytes() override {
            return bytes;
        }
        size_t reads = 0, writes = 0, bytes = 0;
    };

    struct File {
        couch_file_handle handle;
        Counts counts;
    };

    static File &file(couch_file_handle handle) {
        return *reinterpret_cast<File *>(handle);
    }

    FileOpsInterface *wrapped;
};
