// SPDX-License-Identifier: Apache-2.0
//
// File operations that pass everything on to the default ones, remember what they were asked, and can fail or throw
// at a chosen call.
#pragma once

#include <libcouchstore/couch_db.h>

#include <atomic>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

// Thrown by file operations that were asked to.
struct OpsError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class RecordingOps : public FileOpsInterface {
public:
    // What the k-th call of a kind does (k from 1). Codes are returned; throwing throws.
    struct Fault {
        std::string kind;
        int call = 0;
        bool throws = false;
        couchstore_error_t code = COUCHSTORE_ERROR_WRITE;
        bool always = false;  // also all later calls of the kind
        int times = 1;        // also so many calls of the kind, counted with the first
    };

    class Stats : public FHStats {
    public:
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

    explicit RecordingOps(FileOpsInterface *base_ = couchstore_get_default_file_ops())
        : base(base_) {
    }

    // The calls since the last time, as "kind" or "kind size".
    std::vector<std::string> take() {
        return std::exchange(calls, {});
    }

    int count(const std::string &kind) const {
        const auto found = counts.find(kind);
        return found == counts.end() ? 0 : found->second;
    }

    void reset() {
        calls.clear();
        counts.clear();
        hit = false;
        fault = {};
    }

    Fault fault;
    bool hit = false;
    std::vector<std::string> calls;
    std::map<std::string, int> counts;
    std::vector<FileTag> tags;
    Stats stats;
    uint64_t period = 0;
    int zeroWrites = 0;  // this many writes return 0 first
    std::atomic<int> inside{0};
    bool overlapped = false;
    int openedHandles = 0;

    couch_file_handle constructor(couchstore_error_info_t *errinfo) override {
        return call<couch_file_handle>("constructor", nullptr, [&] {
            ++openedHandles;
            return base->constructor(errinfo);
        });
    }

    couchstore_error_t open(couchstore_error_info_t *errinfo,
                            couch_file_handle *handle,
                            const char *path,
                            int oflag) override {
        return call("open", [&] { return base->open(errinfo, handle, path, oflag); });
    }

    couchstore_error_t close(couchstore_error_info_t *errinfo, couch_file_handle handle) override {
        const auto code = call("close", [&] { return base->close(errinfo, handle); });
        if (hit) {
            base->close(errinfo, handle);  // whatever was reported, no descriptor is left
        }
        return code;
    }

    couchstore_error_t set_periodic_sync(couch_file_handle handle, uint64_t bytes) override {
        period = bytes;
        return call("set_periodic_sync", [&] { return base->set_periodic_sync(handle, bytes); });
    }

    couchstore_error_t set_tracing_enabled(couch_file_handle handle) override {
        return call("set_tracing", [&] { return base->set_tracing_enabled(handle); });
    }

    couchstore_error_t set_write_validation_enabled(couch_file_handle handle) override {
        return call("set_validation", [&] { return base->set_write_validation_enabled(handle); });
    }

    couchstore_error_t set_mprotect_enabled(couch_file_handle handle) override {
        return call("set_mprotect", [&] { return base->set_mprotect_enabled(handle); });
    }

    ssize_t pread(couchstore_error_info_t *errinfo,
                  couch_file_handle handle,
                  void *buf,
                  size_t nbytes,
                  cs_off_t offset) override {
        ++stats.reads;
        return call<ssize_t>("pread", nbytes,
                             [&] { return base->pread(errinfo, handle, buf, nbytes, offset); });
    }

    ssize_t pwrite(couchstore_error_info_t *errinfo,
                   couch_file_handle handle,
                   const void *buf,
                   size_t nbytes,
                   cs_off_t offset) override {
        ++stats.writes;
        stats.bytes += nbytes;
        return call<ssize_t>("pwrite", nbytes, [&]() -> ssize_t {
            if (zeroWrites > 0) {
                --zeroWrites;
                return 0;
            }
            return base->pwrite(errinfo, handle, buf, nbytes, offset);
        });
    }

    cs_off_t goto_eof(couchstore_error_info_t *errinfo, couch_file_handle handle) override {
        return call<cs_off_t>("goto_eof", nullptr, [&] { return base->goto_eof(errinfo, handle); });
    }

    couchstore_error_t sync(couchstore_error_info_t *errinfo, couch_file_handle handle) override {
        return call("sync", [&] { return base->sync(errinfo, handle); });
    }

    couchstore_error_t advise(couchstore_error_info_t *errinfo,
                              couch_file_handle handle,
                              cs_off_t offset,
                              cs_off_t len,
                              couchstore_file_advice_t advice) override {
        return call("advise", [&] { return base->advise(errinfo, handle, offset, len, advice); });
    }

    void tag(couch_file_handle handle, FileTag tag) override {
        tags.push_back(tag);
        quietly("tag", [&] { base->tag(handle, tag); });
    }

    FHStats *get_stats(couch_file_handle) override {
        quietly("get_stats", [] {});
        return &stats;
    }

    void destructor(couch_file_handle handle) override {
        --openedHandles;
        base->destructor(handle);
        call("destructor", [] { return COUCHSTORE_SUCCESS; });
    }

    void free_buffers(couch_file_handle handle) override {
        quietly("free_buffers", [&] { base->free_buffers(handle); });
    }

private:
    template <typename Action>
    couchstore_error_t call(const std::string &kind, Action &&action) {
        return call<couchstore_error_t>(kind, nullptr, action);
    }

    template <typename Result, typename Size, typename Action>
    Result call(const std::string &kind, Size size, Action &&action) {
        if constexpr (std::is_null_pointer_v<Size>) {
            calls.push_back(kind);
        } else {
            calls.push_back(kind + " " + std::to_string(size));
        }
        if (strike(kind)) {
            if constexpr (std::is_pointer_v<Result>) {
                return nullptr;
            } else {
                return static_cast<Result>(fault.code);
            }
        }
        overlapped = overlapped || inside.fetch_add(1) != 0;
        const Result result = action();
        inside.fetch_sub(1);
        return result;
    }

    // Functions that are counted and may throw, but not listed.
    template <typename Action>
    void quietly(const std::string &kind, Action &&action) {
        strike(kind);
        action();
    }

    // Counts a call; throws, or returns true, if it is the one to fail.
    bool strike(const std::string &kind) {
        const int number = ++counts[kind];
        const bool now = fault.kind == kind && number >= fault.call &&
                         (fault.always || number < fault.call + fault.times);
        if (!now) {
            return false;
        }
        hit = true;
        if (fault.throws) {
            throw OpsError(kind);
        }
        return true;
    }

    FileOpsInterface *base;
};
