// SPDX-License-Identifier: Apache-2.0
//
// A sync is tried once, whatever ends it; and after a failed one nothing more is written. This holds for the library's
// own operations, for the default ones of C++ and for a host's class that passes everything on to those.

#include "recording_ops.h"
#include "support.h"

#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <random>
#include <sys/syscall.h>
#include <unistd.h>

LIBCOUCHSTORE_API FileOpsInterface *create_default_file_ops();

using namespace cb::couchstore;
using namespace testing_support;

namespace {

// What the system call does that the library makes: the failAt-th from now on (1 is the next; 0: none) fails.
struct {
    int failAt = 0;
    int error = EIO;
    int calls = 0;
} syncs;

void failSync(int at, int error) {
    syncs = {at, error, 0};
}

}  // namespace

// Taken instead of the C library's, by the shared library too.
extern "C" int fdatasync(int fd) {
    if (++syncs.calls == syncs.failAt) {
        errno = syncs.error;
        return -1;
    }
    return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

namespace {

// Hints to the disk, and the flags of the last one. They fail, which must not matter to anybody.
struct {
    int calls = 0;
    unsigned flags = 0;
    off_t bytes = 0;
} hints;

}  // namespace

// As above.
extern "C" int sync_file_range(int, off_t, off_t bytes, unsigned flags) {
    hints = {hints.calls + 1, flags, hints.bytes + bytes};
    errno = EIO;
    return -1;
}

namespace {

constexpr auto CREATE = COUCHSTORE_OPEN_FLAG_CREATE;

// Bytes that do not get fewer by compression, so that they do not fit into the write buffer.
std::string noise(size_t size) {
    std::mt19937 random(7);
    std::string bytes(size, 0);
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<char>(random()); });
    return bytes;
}

class Syncs : public ::testing::TestWithParam<const char *> {
protected:
    FileOpsInterface *ops() {
        const std::string kind = GetParam();
        if (kind == "library") {
            return couchstore_get_default_file_ops();
        }
        return kind == "class" ? own.get() : &forwarding;
    }

    UniqueDbPtr openOn(couchstore_open_flags flags) {
        auto [code, db] = openDatabase(name, flags, ops());
        EXPECT_EQ(COUCHSTORE_SUCCESS, code);
        return std::move(db);
    }

    // A file with one committed document.
    UniqueDbPtr begin(couchstore_open_flags flags = 0) {
        auto db = openOn(CREATE | flags);
        EXPECT_EQ(COUCHSTORE_SUCCESS, put(db.get(), "old", "old"));
        EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get()));
        return db;
    }

    // Nothing more is written through the handle, nor is the disk asked again.
    void expectLatched(Db *db, const char *what) {
        const int calls = syncs.calls;
        for (int i = 0; i < 2; ++i) {
            EXPECT_EQ(COUCHSTORE_ERROR_WRITE, put(db, "big", std::string(300000, 'x'))) << what;
            EXPECT_EQ(COUCHSTORE_ERROR_WRITE, couchstore_commit(db)) << what;
        }
        EXPECT_EQ(calls, syncs.calls) << what;
    }

    // What a new handle finds can be worked on with.
    void expectUsable(bool hasNew) {
        auto db = openOn(0);
        DocInfo *info = nullptr;
        EXPECT_EQ(hasNew ? COUCHSTORE_SUCCESS : COUCHSTORE_ERROR_DOC_NOT_FOUND,
                  couchstore_docinfo_by_id(db.get(), "new", 3, &info));
        couchstore_free_docinfo(info);
        EXPECT_EQ(COUCHSTORE_SUCCESS, put(db.get(), "further", "work"));
        EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get()));
    }

    std::string name = freshName();
    std::unique_ptr<FileOpsInterface> own{create_default_file_ops()};
    RecordingOps forwarding;
};

TEST_P(Syncs, AreTriedOnce) {
    for (const int error : {EINTR, EIO, ENOSPC, EDQUOT}) {
        for (const int at : {1, 2}) {
            name = freshName();
            auto db = begin();
            ASSERT_EQ(COUCHSTORE_SUCCESS, put(db.get(), "new", "new"));
            failSync(at, error);
            EXPECT_EQ(COUCHSTORE_ERROR_WRITE, couchstore_commit(db.get()));
            EXPECT_EQ(error, errno);
            EXPECT_EQ(at, syncs.calls) << strerror(error);
            expectLatched(db.get(), strerror(error));
            db.reset();
            expectUsable(at == 2);
        }
    }
}

// The second try of a commit's second sync is the caller's wish, and must reach the disk.
TEST_P(Syncs, TheSecondOneIsTriedAgainOnlyIfTheCallerWantsTo) {
    auto db = begin();
    failSync(2, EINTR);
    int asked = 0;
    const auto retry = [&asked](const std::system_error &error) {
        EXPECT_EQ(EINTR, error.code().value());
        return ++asked == 1;
    };
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get(), retry));
    EXPECT_EQ(1, asked);
    EXPECT_EQ(3, syncs.calls);
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get()));
}

TEST_P(Syncs, APeriodicOneThatFailsIsTheLast) {
    const auto periodic = couchstore_encode_periodic_sync_flags(1024);
    for (const auto more :
         {couchstore_open_flags(0), couchstore_open_flags(COUCHSTORE_OPEN_FLAG_UNBUFFERED)}) {
        for (const int error : {EINTR, EIO, ENOSPC}) {
            name = freshName();
            auto db = begin(periodic | more);
            failSync(1, error);
            EXPECT_EQ(COUCHSTORE_ERROR_WRITE, put(db.get(), "new", std::string(300000, 'x')));
            EXPECT_EQ(error, errno);
            EXPECT_EQ(1, syncs.calls);
            expectLatched(db.get(), strerror(error));
            EXPECT_EQ(COUCHSTORE_ERROR_WRITE, putLocal(db.get(), "_local/big", noise(300000)));
            couchstore_close_file(db.get());
            EXPECT_EQ(1, syncs.calls) << "not at close, either";
            db.reset();
            expectUsable(false);
        }
    }
}

// Small changes wait in the write buffer, but they do not get any further.
TEST_P(Syncs, APeriodicOneThatFailsInACommitIsTheLast) {
    auto db = begin(couchstore_encode_periodic_sync_flags(1024));
    ASSERT_EQ(COUCHSTORE_SUCCESS, put(db.get(), "new", std::string(5000, 'x')));
    failSync(1, EIO);
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, couchstore_commit(db.get()));
    put(db.get(), "small", "x");
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, couchstore_commit(db.get()));
    EXPECT_EQ(1, syncs.calls);
    expectLatched(db.get(), "after a commit");
    db.reset();
    expectUsable(false);
}

// The disk begins early with what a periodic sync will ask for. Nothing waits for that: it would take the error that is
// the sync's to report.
TEST_P(Syncs, PeriodicOnesAreHintedAt) {
    hints = {};
    auto unhurried = begin();
    ASSERT_EQ(COUCHSTORE_SUCCESS, putLocal(unhurried.get(), "_local/big", noise(1000000)));
    ASSERT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(unhurried.get()));
    EXPECT_EQ(0, hints.calls);

    name = freshName();
    auto db = begin(couchstore_encode_periodic_sync_flags(1 << 20));
    failSync(0, 0);
    ASSERT_EQ(COUCHSTORE_SUCCESS, putLocal(db.get(), "_local/big", noise(1000000)));
    ASSERT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get()));
    EXPECT_EQ(2, syncs.calls);
    EXPECT_GE(hints.calls, 4);
    EXPECT_LE(hints.calls, 16);
    EXPECT_GE(hints.bytes, 800000);
    EXPECT_LE(hints.bytes, 1100000);
    EXPECT_EQ(unsigned(SYNC_FILE_RANGE_WRITE), hints.flags);
    expectUsable(false);
}

TEST_P(Syncs, OfCompactionsAreTriedOnce) {
    auto db = begin();
    for (int i = 0; i < 100; ++i) {
        ASSERT_EQ(COUCHSTORE_SUCCESS, put(db.get(), std::to_string(i), std::string(4000, 'x')));
    }
    ASSERT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get()));
    const auto compactTo = [&](const std::string &target, uint64_t periodic) {
        const auto flags = periodic ? couchstore_encode_periodic_sync_flags(periodic) : 0;
        return couchstore_compact_db_ex(db.get(), target.c_str(), flags, {}, {}, {}, ops());
    };
    for (const uint64_t periodic : {0, 1024}) {
        failSync(0, 0);
        ASSERT_EQ(COUCHSTORE_SUCCESS, compactTo(freshName("good"), periodic));
        const int calls = syncs.calls;
        ASSERT_GE(calls, 1);
        for (int at = 1; at <= calls; ++at) {
            const auto target = freshName("target");
            failSync(at, EINTR);
            EXPECT_EQ(COUCHSTORE_ERROR_WRITE, compactTo(target, periodic));
            EXPECT_EQ(at, syncs.calls);
            EXPECT_FALSE(exists(target));
        }
    }
    EXPECT_EQ(COUCHSTORE_SUCCESS, put(db.get(), "new", "new"));
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get()));
}

INSTANTIATE_TEST_SUITE_P(Kinds,
                         Syncs,
                         ::testing::Values("library", "class", "forwarding"),
                         [](const auto &info) { return std::string(info.param); });

// The default operations for C++ themselves.
class DefaultClass : public ::testing::Test {
protected:
    void SetUp() override {
        ASSERT_EQ(COUCHSTORE_SUCCESS, open());
    }

    void TearDown() override {
        EXPECT_EQ(COUCHSTORE_SUCCESS, ops->close(&info, handle));
        ops->destructor(handle);
    }

    couchstore_error_t open() {
        return ops->open(&info, &handle, name.c_str(), O_RDWR | O_CREAT);
    }

    ssize_t write() {
        info.error = errno = 0;
        return ops->pwrite(&info, handle, "x", 1, 0);
    }

    std::string name = freshName();
    std::unique_ptr<FileOpsInterface> ops{create_default_file_ops()};
    couchstore_error_info_t info{};
    couch_file_handle handle{ops->constructor(&info)};
};

TEST_F(DefaultClass, NothingIsWrittenAfterAFailedPeriodicSync) {
    ops->set_periodic_sync(handle, 2);
    failSync(1, EDQUOT);
    EXPECT_EQ(1, write());
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, write()) << "it cannot be synced";
    EXPECT_EQ(EDQUOT, info.error);
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(COUCHSTORE_ERROR_WRITE, write()) << "what was written before may be lost";
        EXPECT_EQ(EDQUOT, info.error);
        EXPECT_EQ(EDQUOT, errno);
        EXPECT_EQ(COUCHSTORE_ERROR_WRITE, ops->sync(&info, handle));
        EXPECT_EQ(EDQUOT, info.error);
        ops->set_periodic_sync(handle, 0);
    }
    EXPECT_EQ(1, syncs.calls);
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops->close(&info, handle));
    ASSERT_EQ(COUCHSTORE_SUCCESS, open());
    EXPECT_EQ(1, write()) << "opened again";
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops->sync(&info, handle));
}

TEST_F(DefaultClass, ASyncThatTheCallerAskedForIsTheCallersAffair) {
    ops->set_periodic_sync(handle, 2);
    failSync(1, EIO);
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, ops->sync(&info, handle));
    EXPECT_EQ(EIO, info.error);
    EXPECT_EQ(1, write());
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops->sync(&info, handle));
    EXPECT_EQ(2, syncs.calls);
}

// Here the library syncs now and then by itself.
TEST(SyncsOfTheLibrary, OnlineCompaction) {
    const auto name = sample(3);
    {
        auto db = open(name);
        for (int i = 0; i < 80; ++i) {
            ASSERT_EQ(COUCHSTORE_SUCCESS,
                      put(db.get(), std::to_string(i), std::string(100000, 'x')));
        }
        ASSERT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get()));
    }
    couchstore_online_compact_options options{};
    options.size = sizeof options;
    couchstore_online_compact_stats stats{};
    failSync(0, 0);
    const auto good = freshName("good");
    ASSERT_EQ(COUCHSTORE_SUCCESS,
              couchstore_compact_db_online(name.c_str(), good.c_str(), &options, &stats));
    ASSERT_GE(syncs.calls, 3) << "8 MB";
    for (const int at : {1, 2}) {
        const auto target = freshName("target");
        failSync(at, EINTR);
        EXPECT_EQ(COUCHSTORE_ERROR_WRITE,
                  couchstore_compact_db_online(name.c_str(), target.c_str(), &options, &stats));
        EXPECT_EQ(EINTR, errno);
        EXPECT_EQ(at, syncs.calls);
        EXPECT_FALSE(exists(target));
    }
}

TEST(SyncsOfTheLibrary, Creation) {
    const auto name = freshName();
    Db *db = nullptr;
    failSync(1, EINTR);
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, couchstore_open_db(name.c_str(), CREATE, &db));
    EXPECT_EQ(EINTR, errno);
    EXPECT_EQ(1, syncs.calls);
    EXPECT_FALSE(exists(name));
}

}  // namespace
