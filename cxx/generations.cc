// SPDX-License-Identifier: Apache-2.0
//
// What only older generations have: points in time to which a database can be recovered. The headers of a file were
// thinned out to one for each interval of time.

#include "entry.h"

#include <cstdio>
#include <string>

namespace cb::couchstore {

namespace {

// The last header up to end that lies in the same interval as the header after the one that the source stands on.
couchstore_error_t endOfInterval(Db &source, uint64_t delta, uint64_t end, uint64_t &last) {
    last = end;
    auto code = seek(source, Direction::Forward);
    if (code != COUCHSTORE_SUCCESS) {
        return code;
    }
    auto header = getHeader(source);
    const auto limit = header.timestamp - header.timestamp % delta + delta;
    while (header.headerPosition < end && header.timestamp < limit) {
        last = header.headerPosition;
        code = seek(source, Direction::Forward);
        if (code != COUCHSTORE_SUCCESS) {
            return code;
        }
        header = getHeader(source);
    }
    if (header.timestamp < limit) {
        last = end;
    }
    return COUCHSTORE_SUCCESS;
}

// Moves back to the newest header that is not newer than timestamp, or to the oldest one.
couchstore_error_t moveBackTo(Db &source, uint64_t timestamp) {
    while (getHeader(source).timestamp > timestamp) {
        const auto code = seek(source, Direction::Backward);
        if (code == COUCHSTORE_ERROR_NO_HEADER || code == COUCHSTORE_ERROR_DB_NO_LONGER_VALID) {
            return COUCHSTORE_SUCCESS;
        }
        if (code != COUCHSTORE_SUCCESS) {
            return code;
        }
    }
    return COUCHSTORE_SUCCESS;
}

// A call on a handle, though between those to the library the caller's functions run: what would free the handle is
// refused as long as this lives.
class Ongoing {
public:
    explicit Ongoing(Db *db_) : db(db_) {
        couchstore_private_cxx_begin(db);
    }

    ~Ongoing() {
        couchstore_private_cxx_end(db);
    }

    Ongoing(const Ongoing &) = delete;
    Ongoing &operator=(const Ongoing &) = delete;

private:
    Db *db;
};

// Removes a file unless it was finished.
class Unfinished {
public:
    explicit Unfinished(const char *name_) : name(name_) {
    }

    ~Unfinished() {
        if (!name.empty()) {
            std::remove(name.c_str());
        }
    }

    void finish() {
        name.clear();
    }

private:
    std::string name;
};

}  // namespace

couchstore_error_t replay(Db &source,
                          Db &target,
                          uint64_t delta,
                          uint64_t sourceHeaderEndOffset,
                          PreCopyHook preCopyHook,
                          PrecommitHook precommitHook,
                          size_t flushThreshold) {
    auto last = sourceHeaderEndOffset;
    do {
        const auto start = couchstore_get_header_position(&source);
        if (delta == 0 || start >= sourceHeaderEndOffset) {
            last = sourceHeaderEndOffset;
        } else {
            auto code = endOfInterval(source, delta, sourceHeaderEndOffset, last);
            if (code == COUCHSTORE_SUCCESS) {
                code = seek(source, static_cast<cs_off_t>(start));
            }
            if (code != COUCHSTORE_SUCCESS) {
                return code;
            }
        }
        const auto code = replay(source, target, last, preCopyHook, precommitHook, flushThreshold);
        if (code != COUCHSTORE_SUCCESS) {
            return code;
        }
    } while (last != sourceHeaderEndOffset);
    return COUCHSTORE_SUCCESS;
}

couchstore_error_t compact(Db &source,
                           const char *target_filename,
                           couchstore_compact_flags flags,
                           CompactFilterCallback filterCallback,
                           CompactRewriteDocInfoCallback rewriteDocInfoCallback,
                           FileOpsInterface *ops,
                           PrecommitHook precommitHook,
                           uint64_t timestamp,
                           uint64_t delta,
                           PreCompactionCallback preCompactionCallback,
                           PostCompactionCallback postCompactionCallback,
                           PreCopyHook replayPreCopyHook,
                           PrecommitHook replayPrecommitHook) {
    const Ongoing onSource(&source);
    const auto end = couchstore_get_header_position(&source);
    couchstore_error_t code;
    try {
        code = moveBackTo(source, timestamp);
        if (code == COUCHSTORE_SUCCESS && preCompactionCallback) {
            code = preCompactionCallback(source);
        }
        if (code == COUCHSTORE_SUCCESS) {
            code = compact(source, target_filename, flags, std::move(filterCallback),
                           std::move(rewriteDocInfoCallback), ops, std::move(precommitHook));
        }
    } catch (...) {
        couchstore_private_cxx_seek_offset(&source, static_cast<cs_off_t>(end));
        throw;
    }
    if (code != COUCHSTORE_SUCCESS) {
        seek(source, static_cast<cs_off_t>(end));
        return code;
    }

    Unfinished unfinished(target_filename);
    couchstore_open_flags openFlags = flags & COUCHSTORE_COMPACT_WITH_PERIODIC_SYNC;
    if ((flags & COUCHSTORE_COMPACT_FLAG_UNBUFFERED) != 0) {
        openFlags |= COUCHSTORE_OPEN_FLAG_UNBUFFERED;
    }
    auto [opened, target] = openDatabase(target_filename, openFlags, ops);
    const Ongoing onTarget(target.get());
    code = opened;
    if (code == COUCHSTORE_SUCCESS && postCompactionCallback) {
        code = postCompactionCallback(*target);
    }
    if (code == COUCHSTORE_SUCCESS && couchstore_get_header_position(&source) != end) {
        code = replay(source, *target, delta, end, std::move(replayPreCopyHook),
                      std::move(replayPrecommitHook));
    }
    if (code == COUCHSTORE_SUCCESS) {
        code = couchstore_close_file(target.get());
    }
    if (code == COUCHSTORE_SUCCESS) {
        unfinished.finish();
    }
    return code;
}

}  // namespace cb::couchstore
