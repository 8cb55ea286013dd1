// SPDX-License-Identifier: Apache-2.0
//
// Which file operations each function calls, how often and in which order: what hosts count in their own tests.

#include "recording_ops.h"
#include "support.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace cb::couchstore;
using namespace testing_support;

namespace {

using Calls = std::vector<std::string>;

// Sizes of bodies differ with compression: "pwrite *" stands for any.
void expectCalls(const Calls &expected, const Calls &actual, const char *what) {
    bool same = expected.size() == actual.size();
    for (size_t i = 0; same && i < expected.size(); ++i) {
        const auto &pattern = expected[i];
        same = pattern.back() == '*' ? actual[i].compare(0, pattern.size() - 1, pattern, 0,
                                                         pattern.size() - 1) == 0
                                     : actual[i] == pattern;
    }
    EXPECT_TRUE(same) << what << "\nexpected " << ::testing::PrintToString(expected)
                      << "\nactual   " << ::testing::PrintToString(actual);
}

constexpr auto UNBUFFERED = COUCHSTORE_OPEN_FLAG_UNBUFFERED;
constexpr auto CREATE = COUCHSTORE_OPEN_FLAG_CREATE;

UniqueDbPtr openOn(RecordingOps &ops, const std::string &name, couchstore_open_flags flags) {
    auto [code, db] = openDatabase(name, flags, &ops);
    EXPECT_EQ(COUCHSTORE_SUCCESS, code);
    return std::move(db);
}

TEST(CallTable, UnbufferedOpen) {
    RecordingOps ops;
    const auto name = freshName();
    auto db = openOn(ops, name, CREATE | UNBUFFERED);
    expectCalls({"constructor", "open", "goto_eof", "pwrite 9", "pwrite *"}, ops.take(), "new");
    db.reset();
    expectCalls({"close", "destructor"}, ops.take(), "close");

    db = openOn(ops, name, UNBUFFERED);
    expectCalls({"constructor", "open", "goto_eof", "pread 1", "pread 8", "pread *"}, ops.take(),
                "existing");
    db.reset();
    ops.reset();

    // A block without header at the end: one more try.
    const int fd = ::open(name.c_str(), O_WRONLY);
    ASSERT_EQ(0, ::ftruncate(fd, 2 * 4096 + 100));
    ::close(fd);
    db = openOn(ops, name, UNBUFFERED);
    expectCalls({"constructor", "open", "goto_eof", "pread 1", "pread 1", "pread 1", "pread 8",
                 "pread *"},
                ops.take(), "blocks without header");
}

TEST(CallTable, UnbufferedSetters) {
    RecordingOps ops;
    auto db = openOn(ops, freshName(),
                     CREATE | UNBUFFERED | COUCHSTORE_OPEN_WITH_TRACING |
                             COUCHSTORE_OPEN_WITH_WRITE_VALIDATION | COUCHSTORE_OPEN_WITH_MPROTECT |
                             couchstore_encode_periodic_sync_flags(1 << 20));
    auto calls = ops.take();
    ASSERT_EQ(9u, calls.size());
    EXPECT_EQ("open", calls[1]);
    std::sort(calls.begin() + 2, calls.begin() + 6);
    expectCalls({"set_mprotect", "set_periodic_sync", "set_tracing", "set_validation"},
                {calls.begin() + 2, calls.begin() + 6}, "between open and goto_eof");
    EXPECT_EQ("goto_eof", calls[6]);
}

TEST(CallTable, PeriodicSyncPeriods) {
    const std::pair<uint64_t, uint64_t> fields[] = {
            {1, 1024}, {11, 1 << 20}, {31, uint64_t(1) << 40}};
    for (const auto &[field, period] : fields) {
        RecordingOps ops;
        auto db = openOn(ops, freshName(), CREATE | field << 24);
        EXPECT_EQ(1, ops.count("set_periodic_sync"));
        EXPECT_EQ(period, ops.period);
        EXPECT_EQ(0, ops.count("sync"));
    }
    RecordingOps ops;
    auto db = openOn(ops, freshName(), CREATE);
    EXPECT_EQ(0, ops.count("set_periodic_sync"));
}

TEST(CallTable, UnbufferedWrites) {
    RecordingOps ops;
    const auto name = freshName();
    auto db = openOn(ops, name, CREATE | UNBUFFERED);
    ops.take();
    put(db.get(), "id", "a body of 24 bytes......");
    expectCalls({"pwrite 8", "pwrite 24", "pwrite 8", "pwrite *", "pwrite 8", "pwrite *"},
                ops.take(), "save");
    putLocal(db.get(), "_local/a", "x");
    expectCalls({"pwrite 8", "pwrite *"}, ops.take(), "local");
    LocalDoc one{view("_local/b"), view("1"), 0}, two{view("_local/c"), view("2"), 0};
    std::vector<std::reference_wrapper<LocalDoc>> locals{two, one};
    saveLocalDocuments(*db, locals);
    expectCalls({"pread 8", "pread *", "pwrite 8", "pwrite *"}, ops.take(),
                "locals: one update of the tree");
    couchstore_commit(db.get());
    expectCalls({"pwrite 9", "pwrite *", "sync", "pwrite 1", "sync"}, ops.take(), "commit");
}

TEST(CallTable, UnbufferedBodiesComeFirst) {
    RecordingOps ops;
    auto db = openOn(ops, freshName(), CREATE | UNBUFFERED);
    ops.take();
    const std::string b = "b", a = "a", long_(100, 'x'), short_(50, 'y');
    Doc docs[] = {{view(b), view(long_)}, {view(a), view(short_)}};
    DocInfo infos[2];
    infos[0].id = view(b);
    infos[1].id = view(a);
    Doc *docPointers[] = {&docs[0], &docs[1]};
    DocInfo *infoPointers[] = {&infos[0], &infos[1]};
    couchstore_save_documents(db.get(), docPointers, infoPointers, 2, 0);
    expectCalls({"pwrite 8", "pwrite 100", "pwrite 8", "pwrite 50", "pwrite 8", "pwrite *",
                 "pwrite 8", "pwrite *"},
                ops.take(), "bodies in array order, by-id, by-seq");
}

TEST(CallTable, UnbufferedBlockBoundaries) {
    RecordingOps ops;
    const auto name = freshName();
    auto db = openOn(ops, name, CREATE | UNBUFFERED);
    ops.take();
    put(db.get(), "id", std::string(6000, 'x'));
    auto calls = ops.take();
    // The body crosses one block boundary: two pieces and the byte between them.
    ASSERT_LE(4u, calls.size());
    EXPECT_EQ("pwrite 8", calls[0]);
    EXPECT_EQ("pwrite 1", calls[2]);
    const int first = std::atoi(calls[1].c_str() + 7), second = std::atoi(calls[3].c_str() + 7);
    EXPECT_EQ(6000, first + second);
    auto [code, info] = openDocInfo(*db, "id");
    ASSERT_EQ(COUCHSTORE_SUCCESS, code);
    ops.take();
    EXPECT_EQ(COUCHSTORE_SUCCESS, openDocument(*db, *info).first);
    calls = ops.take();
    expectCalls({"pread 8", "pread " + std::to_string(first), "pread " + std::to_string(second)},
                calls, "read");
}

TEST(CallTable, UnbufferedReadsEverythingEveryTime) {
    RecordingOps ops;
    auto db = openOn(ops, freshName(), CREATE | UNBUFFERED);
    put(db.get(), "id", "body");
    couchstore_commit(db.get());
    ops.take();
    for (int round = 0; round < 2; ++round) {
        DocInfo *info = nullptr;
        couchstore_docinfo_by_id(db.get(), "id", 2, &info);
        expectCalls({"pread 8", "pread *"}, ops.take(), "one leaf");
        Doc *doc = nullptr;
        couchstore_open_doc_with_docinfo(db.get(), info, &doc, 0);
        expectCalls({"pread 8", "pread 4"}, ops.take(), "body");
        couchstore_free_document(doc);
        couchstore_free_docinfo(info);
    }
}

TEST(CallTable, UnbufferedRewind) {
    RecordingOps ops;
    const auto name = freshName();
    auto db = openOn(ops, name, CREATE | UNBUFFERED);
    put(db.get(), "id", "body");
    couchstore_commit(db.get());
    put(db.get(), "id", "body 2");
    couchstore_commit(db.get());
    ops.take();
    EXPECT_EQ(COUCHSTORE_SUCCESS, seek(*db, Direction::Backward));
    expectCalls({"pread 1", "pread 8", "pread *"}, ops.take(), "seek by pointer");
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_rewind_db_header(db.get()));
    expectCalls({"pread 1", "pread 8", "pread *"}, ops.take(), "rewind by pointer");
    EXPECT_NE(COUCHSTORE_SUCCESS, seek(*db, Direction::Backward));
    expectCalls({}, ops.take(), "on the first header");
}

TEST(CallTable, NegativeSizeIsTheResult) {
    const auto name = sample();
    for (const auto flags : {couchstore_open_flags(0), UNBUFFERED}) {
        RecordingOps ops;
        ops.fault = {"goto_eof", 1, false, COUCHSTORE_ERROR_CANCEL};
        EXPECT_EQ(COUCHSTORE_ERROR_CANCEL, openDatabase(name, flags, &ops).first);
        expectCalls({"constructor", "open", "goto_eof", "close", "destructor"}, ops.take(),
                    "no read");
    }
}

TEST(CallTable, BufferedLife) {
    RecordingOps ops;
    const auto name = freshName();
    auto db = openOn(ops, name, CREATE);
    expectCalls({"constructor", "open", "goto_eof"}, ops.take(), "new: nothing is written");
    putMany(db.get(), 3);
    expectCalls({}, ops.take(), "save");
    couchstore_commit(db.get());
    expectCalls({"pwrite *", "sync", "pwrite 1", "sync"}, ops.take(), "commit");
    couchstore_commit(db.get());
    expectCalls({"pwrite *", "sync", "pwrite 1", "sync"}, ops.take(), "commit without changes");
    put(db.get(), "x", "y");
    ops.take();
    couchstore_close_file(db.get());
    expectCalls({"pwrite *", "close", "destructor"}, ops.take(),
                "close flushes, and neither syncs nor reads");

    // An uncommitted tail is behind the header: the search starts in its block, which lies in one read unit.
    auto clean = sample();
    db = openOn(ops, clean, 0);
    expectCalls({"constructor", "open", "goto_eof", "pread 4096"}, ops.take(), "existing");
}

TEST(CallTable, BufferedCreateWrittenAtClose) {
    RecordingOps ops;
    auto db = openOn(ops, freshName(), CREATE);
    ops.take();
    couchstore_close_file(db.get());
    expectCalls({"pwrite *", "close", "destructor"}, ops.take(), "the first header");
    EXPECT_EQ(0, ops.count("sync"));
}

TEST(CallTable, BufferedWithAllWritesFailing) {
    RecordingOps ops;
    auto db = openOn(ops, freshName(), CREATE | COUCHSTORE_OPEN_FLAG_EXCL);
    ops.fault = {"pwrite", 1, false, COUCHSTORE_ERROR_WRITE, true};
    EXPECT_EQ(COUCHSTORE_SUCCESS, putMany(db.get(), 3));
    EXPECT_EQ(0, ops.count("pwrite"));
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, couchstore_commit(db.get()));
    EXPECT_EQ(1, ops.count("pwrite"));
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, couchstore_close_file(db.get()));
    EXPECT_EQ(2, ops.count("pwrite"));
    db.reset();
    EXPECT_EQ(2, ops.count("pwrite"));
    EXPECT_EQ(0, ops.count("sync"));
}

TEST(CallTable, BufferedNoticesATruncatedFile) {
    RecordingOps ops;
    const auto name = sample(500);
    auto db = openOn(ops, name, 0);
    ASSERT_EQ(0, ::truncate(name.c_str(), 10));
    DocInfo *info = nullptr;
    EXPECT_NE(COUCHSTORE_SUCCESS, couchstore_docinfo_by_id(db.get(), "key1000", 7, &info));
}

TEST(CallTable, WritesOfZeroBytesAreRepeated) {
    for (const auto flags : {couchstore_open_flags(0), UNBUFFERED}) {
        RecordingOps ops;
        auto db = openOn(ops, freshName(), CREATE | flags);
        putMany(db.get(), 2);
        ops.zeroWrites = 32;
        EXPECT_EQ(COUCHSTORE_SUCCESS, putMany(db.get(), 1));
        EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get()));
        EXPECT_EQ(0, ops.zeroWrites);
    }
}

TEST(CallTable, TagsAndBuffers) {
    RecordingOps ops;
    const auto name = sample();
    auto db = openOn(ops, name, UNBUFFERED);
    const std::vector<FileTag> open{FileTag::Empty, FileTag::Unknown, FileTag::FileHeader,
                                    FileTag::Unknown};
    EXPECT_EQ(open, ops.tags);
    auto [code, info] = openDocInfo(*db, "key1000");
    ops.tags.clear();
    EXPECT_EQ(COUCHSTORE_SUCCESS, openDocument(*db, *info).first);
    EXPECT_EQ((std::vector<FileTag>{FileTag::Document, FileTag::Unknown}), ops.tags);
    ops.tags.clear();
    putLocal(db.get(), "_local/b", "x");
    EXPECT_EQ(FileTag::BTree, ops.tags.front());
    EXPECT_EQ(FileTag::Unknown, ops.tags.back());
    EXPECT_EQ(0, ops.count("free_buffers"));
    couchstore_commit(db.get());
    EXPECT_EQ(1, ops.count("free_buffers"));
    EXPECT_EQ(&ops.stats, couchstore_get_db_filestats(db.get()));
    couchstore_close_file(db.get());
    EXPECT_EQ(nullptr, couchstore_get_db_filestats(db.get()));
}

TEST(CallTable, CompactionSharesTheObject) {
    RecordingOps ops;
    auto db = openOn(ops, sample(200), 0);
    ops.take();
    const auto target = freshName("target");
    EXPECT_EQ(COUCHSTORE_SUCCESS, compact(*db, target.c_str(), 0, {}, {}, &ops));
    EXPECT_FALSE(ops.overlapped) << "entered from two places at once";
    EXPECT_EQ(2, ops.count("constructor"));
    EXPECT_EQ(1, ops.openedHandles);
    EXPECT_EQ(2, ops.count("sync")) << "of the target's only commit";
}

TEST(CallTable, NullHandles) {
    struct NoHandle : RecordingOps {
        couch_file_handle constructor(couchstore_error_info_t *) override {
            return nullptr;
        }
        couchstore_error_t open(couchstore_error_info_t *errinfo,
                                couch_file_handle *handle,
                                const char *path,
                                int oflag) override {
            *handle = couchstore_get_default_file_ops()->constructor(errinfo);
            return couchstore_get_default_file_ops()->open(errinfo, handle, path, oflag);
        }
    } ops;
    const auto name = sample();
    EXPECT_EQ(COUCHSTORE_SUCCESS, openDatabase(name, 0, &ops).first)
            << "open may replace the handle";
    EXPECT_EQ(COUCHSTORE_ERROR_ALLOC_FAIL, openDatabase(name, UNBUFFERED, &ops).first);
}

// ---- Failures ----

struct Step {
    const char *name;
    std::function<couchstore_error_t()> run;
};

// Fails the k-th call of a kind in a row of API calls. The one in which it happens returns the code as it is, and
// makes no further call of that kind.
void failEach(const std::string &kind, couchstore_open_flags flags) {
    constexpr auto unusual = COUCHSTORE_ERROR_NO_SUCH_FILE;
    const auto name = freshName(kind);
    for (int call = 1; call < 200; call += isSmall() ? 3 : 1) {
        std::remove(name.c_str());
        RecordingOps ops;
        ops.fault = {kind, call, false, unusual};
        Db *db = nullptr;
        uint64_t n = 0;
        const Step steps[] = {
                {"open",
                 [&] { return couchstore_open_db_ex(name.c_str(), CREATE | flags, &ops, &db); }},
                {"save", [&] { return putMany(db, 2); }},
                {"local", [&] { return putLocal(db, "_local/x", "y"); }},
                {"commit", [&] { return couchstore_commit(db); }},
                {"read", [&] { return openDocument(*db, "key1001").first; }},
                {"count", [&] { return couchstore_changes_count(db, 0, 9, &n); }},
                {"close", [&] { return couchstore_close_file(db); }},
        };
        for (const auto &step : steps) {
            const auto code = step.run();
            if (ops.hit) {
                EXPECT_EQ(unusual, code) << kind << " " << call << " in " << step.name;
                EXPECT_EQ(call, ops.count(kind)) << "tried again in " << step.name;
                break;
            }
            ASSERT_EQ(COUCHSTORE_SUCCESS, code) << kind << " " << call << " in " << step.name;
        }
        if (db) {
            couchstore_close_file(db);
            couchstore_free_db(db);
        }
        EXPECT_EQ(0, ops.openedHandles);
        if (!ops.hit) {
            EXPECT_LT(1, call) << kind << " is never called";
            return;
        }
    }
}

TEST(CallTable, FailuresAreReturnedAsTheyAre) {
    for (const auto flags : {couchstore_open_flags(0), UNBUFFERED}) {
        for (const char *kind : {"open", "close", "goto_eof", "pwrite", "sync"}) {
            failEach(kind, flags);
        }
    }
    failEach("pread", UNBUFFERED);
}

}  // namespace
