// SPDX-License-Identifier: Apache-2.0
//
// Functions that move the source, and fail: it stands where it stood, though reading fails on the way back, too. The
// same call again does all of its work.

#include "recording_ops.h"
#include "support.h"

#include <fstream>

using namespace cb::couchstore;
using namespace testing_support;

namespace {

constexpr auto RDONLY = COUCHSTORE_OPEN_FLAG_RDONLY;
constexpr auto UNBUFFERED = COUCHSTORE_OPEN_FLAG_UNBUFFERED;

// A file with a document and a header for each time, and a copy of its first state.
class WayBack : public ::testing::Test {
protected:
    WayBack() {
        auto db = create(name);
        for (int i = 1; i <= 6; ++i) {
            EXPECT_EQ(COUCHSTORE_SUCCESS, put(db.get(), "key" + std::to_string(i), "body"));
            EXPECT_EQ(COUCHSTORE_SUCCESS,
                      putLocal(db.get(), "_local/a", "body " + std::to_string(i)));
            EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit_ex(db.get(), uint64_t(i) * 100));
            ends.push_back(getHeader(*db).headerPosition);
        }
        auto first = open(name, RDONLY);
        EXPECT_EQ(COUCHSTORE_SUCCESS, seek(*first, cs_off_t(ends[0])));
        EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_compact_db(first.get(), copy.c_str()));
    }

    // Opens the source through operations that can fail, on one of its headers.
    UniqueDbPtr source(uint64_t position) {
        ops.reset();
        auto [code, db] = openDatabase(name, RDONLY | UNBUFFERED, &ops);
        EXPECT_EQ(COUCHSTORE_SUCCESS, code);
        EXPECT_EQ(COUCHSTORE_SUCCESS, seek(*db, cs_off_t(position)));
        return std::move(db);
    }

    std::string freshCopy() const {
        const auto target = freshName("target");
        std::ofstream(target, std::ios::binary) << std::ifstream(copy, std::ios::binary).rdbuf();
        return target;
    }

    // All that a file says, with the times of its headers.
    static std::string describe(const std::string &target) {
        auto db = open(target, RDONLY);
        std::string text = std::to_string(getHeader(*db).docCount);
        LocalDoc *local = nullptr;
        EXPECT_EQ(COUCHSTORE_SUCCESS,
                  couchstore_open_local_document(db.get(), "_local/a", 8, &local));
        if (local) {
            text += " " + std::string(local->json.buf, local->json.size);
        }
        couchstore_free_local_document(local);
        do {
            text += " " + std::to_string(getHeader(*db).timestamp);
        } while (seek(*db, Direction::Backward) == COUCHSTORE_SUCCESS);
        return text;
    }

    // The code of a call; a failure that is thrown is one of reading.
    template <typename Work>
    static couchstore_error_t codeOf(Work &&work) {
        try {
            return work();
        } catch (const std::runtime_error &) {
            return COUCHSTORE_ERROR_READ;
        }
    }

    // Does it with every read of the source, and the times - 1 after it, failing; then again.
    template <typename Work>
    void sweep(uint64_t start, int times, const std::string &expected, Work &&work) {
        for (int call = 1;; ++call) {
            const auto target = freshCopy();
            auto db = source(start);
            ops.reset();
            ops.fault = {"pread", call, false, COUCHSTORE_ERROR_READ, false, times};
            const auto code = codeOf([&] { return work(*db, target); });
            if (!ops.hit) {
                EXPECT_EQ(COUCHSTORE_SUCCESS, code);
                EXPECT_EQ(expected, describe(target));
                EXPECT_GT(call, 5);
                break;
            }
            ops.reset();
            if (code == COUCHSTORE_SUCCESS) {
                // The header before is found without its pointer, too.
                EXPECT_EQ(expected, describe(target)) << call;
                continue;
            }
            DbInfo info;
            couchstore_db_info(db.get(), &info);
            if (info.file_size == 0) {
                EXPECT_EQ(COUCHSTORE_ERROR_DB_NO_LONGER_VALID, code) << "closed: " << call;
                continue;
            }
            EXPECT_EQ(start, getHeader(*db).headerPosition) << call;
            EXPECT_EQ(COUCHSTORE_SUCCESS, codeOf([&] { return work(*db, target); })) << call;
            EXPECT_EQ(expected, describe(target)) << call;
        }
    }

    RecordingOps ops;
    std::string name = freshName();
    std::string copy = freshName("copy");
    std::vector<uint64_t> ends;
};

TEST_F(WayBack, Replay) {
    for (const int times : {1, 2}) {
        sweep(ends[0], times, "6 body 6 600 100", [&](Db &db, const std::string &target) {
            auto to = open(target);
            const size_t noThreshold = 0;
            return replay(db, *to, ends[5], {}, {}, noThreshold);
        });
    }
}

TEST_F(WayBack, CompactToAPointInTime) {
    for (const int times : {1, 2}) {
        sweep(ends[5], times, "6 body 6 600 400 300", [&](Db &db, const std::string &target) {
            std::remove(target.c_str());
            const auto code =
                    compact(db, target.c_str(), 0, {}, {}, {}, {}, 300, 250, {}, {}, {}, {});
            EXPECT_EQ(code == COUCHSTORE_SUCCESS, exists(target));
            return code;
        });
    }
}

// What is done for one interval stays done: the source stands where the target has got to.
TEST_F(WayBack, ReplayOfIntervals) {
    for (const int times : {1, 2}) {
        for (int call = 1;; ++call) {
            const auto target = freshCopy();
            auto db = source(ends[0]);
            ops.reset();
            ops.fault = {"pread", call, false, COUCHSTORE_ERROR_READ, false, times};
            const auto work = [&] {
                return codeOf([&] {
                    auto to = open(target);
                    return replay(*db, *to, 200, ends[5], {}, {});
                });
            };
            const auto code = work();
            const bool done = !ops.hit;
            ops.reset();
            DbInfo info;
            couchstore_db_info(db.get(), &info);
            if (info.file_size != 0 && !done) {
                EXPECT_NE(COUCHSTORE_SUCCESS, code) << call;
                EXPECT_EQ(getHeader(*db).timestamp, getHeader(*open(target, RDONLY)).timestamp);
                EXPECT_EQ(COUCHSTORE_SUCCESS, work()) << call;
            }
            if (info.file_size != 0) {
                EXPECT_EQ("6 body 6 600 500 300 100", describe(target)) << call;
            }
            if (done) {
                break;
            }
        }
    }
}

// The oldest header is found by what the file says, not by a code that reading has returned.
TEST_F(WayBack, ACodeOfTheOperationsIsNoEndOfTheHistory) {
    for (const auto code : {COUCHSTORE_ERROR_NO_HEADER, COUCHSTORE_ERROR_DB_NO_LONGER_VALID}) {
        for (int call = 1; call <= 3; ++call) {
            const auto target = freshName("target");
            auto db = source(ends[5]);
            ops.reset();
            // The pointer to the header before does not help, nor does the search for it.
            ops.fault = {"pread", call, false, code, false, 2};
            EXPECT_NE(COUCHSTORE_SUCCESS,
                      compact(*db, target.c_str(), 0, {}, {}, {}, {}, 50, 0, {}, {}, {}, {}));
            EXPECT_TRUE(ops.hit);
            EXPECT_FALSE(exists(target));
        }
    }
}

}  // namespace
