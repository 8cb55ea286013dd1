// SPDX-License-Identifier: Apache-2.0
//
// What callbacks and file operations throw reaches the caller; nothing leaks, no target is left behind, and the
// handles go on working.

#include "recording_ops.h"
#include "support.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <new>
#include <system_error>

using namespace cb::couchstore;
using namespace testing_support;

namespace {

struct Thrown : std::runtime_error {
    Thrown() : std::runtime_error("thrown by a test") {
    }
};

int throwingChanges(Db *, DocInfo *, void *ctx) {
    auto &left = *static_cast<int *>(ctx);
    if (left-- == 0) {
        throw Thrown();
    }
    return 0;
}

int throwingWalk(Db *, int, const DocInfo *, uint64_t, const sized_buf *, void *ctx) {
    auto &left = *static_cast<int *>(ctx);
    if (left-- == 0) {
        throw Thrown();
    }
    return 0;
}

template <typename Call>
void expectThrown(Db *db, Call &&call) {
    for (int when : {0, 3}) {
        int left = when;
        EXPECT_THROW(call(&left), Thrown) << when;
        EXPECT_EQ(-1, left) << "called again after it threw";
    }
    uint64_t count = 0;
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_changes_count(db, 0, 100, &count));
}

TEST(Exceptions, Scans) {
    auto db = open(sample());
    const auto d = db.get();
    for (const couchstore_docinfos_options options : {0, int(COUCHSTORE_TOLERATE_CORRUPTION)}) {
        expectThrown(d, [&](int *left) {
            couchstore_changes_since(d, 0, options, throwingChanges, left);
        });
        expectThrown(d, [&](int *left) {
            couchstore_all_docs(d, nullptr, options, throwingChanges, left);
        });
        expectThrown(d, [&](int *left) {
            const std::string from = "key1000", to = "key1010";
            const sized_buf ids[] = {view(from), view(to)};
            couchstore_docinfos_by_id(d, ids, 2, RANGES | options, throwingChanges, left);
        });
        expectThrown(d, [&](int *left) {
            const uint64_t sequences[] = {1, 2, 3, 4, 5};
            couchstore_docinfos_by_sequence(d, sequences, 5, options, throwingChanges, left);
        });
        expectThrown(d, [&](int *left) {
            couchstore_walk_id_tree(d, nullptr, options, throwingWalk, left);
        });
        expectThrown(
                d, [&](int *left) { couchstore_walk_seq_tree(d, 0, options, throwingWalk, left); });
    }
    int left = 0;
    EXPECT_THROW(couchstore_walk_local_tree(d, nullptr, 0, throwingWalk, &left), Thrown);
    const auto local = [](Db *, LocalDoc *, void *) -> int { throw Thrown(); };
    EXPECT_THROW(couchstore_scan_local_docs(d, nullptr, local, nullptr), Thrown);
}

TEST(Exceptions, ScanOfLocalDocumentsGivesACode) {
    auto db = open(sample());
    const auto scan = [&](auto callback) { return scanLocalDocs(*db, {}, callback); };
    EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS,
              scan([](UniqueLocalDocPtr) -> couchstore_error_t { throw Thrown(); }));
    EXPECT_EQ(COUCHSTORE_ERROR_ALLOC_FAIL,
              scan([](UniqueLocalDocPtr) -> couchstore_error_t { throw std::bad_alloc(); }));
    EXPECT_EQ(COUCHSTORE_ERROR_SCAN_YIELD,
              scan([](UniqueLocalDocPtr) { return COUCHSTORE_ERROR_SCAN_YIELD; }));
    EXPECT_EQ(COUCHSTORE_SUCCESS, scan([](UniqueLocalDocPtr) { return COUCHSTORE_SUCCESS; }));
}

TEST(Exceptions, SaveCallbackLeavesNothingSaved) {
    auto db = create(freshName());
    ASSERT_EQ(COUCHSTORE_SUCCESS, put(db.get(), "before", "x"));
    const std::string id = "a", body = "b";
    Doc doc{view(id), view(body)};
    DocInfo info;
    info.id = doc.id;
    const Doc *docs[] = {&doc};
    DocInfo *infos[] = {&info};
    const auto callback = [](const DocInfo *, const DocInfo *, void *, void *) { throw Thrown(); };
    EXPECT_THROW(couchstore_save_documents_and_callback(db.get(), docs, infos, nullptr, 1, 0,
                                                        callback, nullptr),
                 Thrown);
    EXPECT_EQ(COUCHSTORE_ERROR_DOC_NOT_FOUND, openDocInfo(*db, id).first);
    EXPECT_EQ(1u, getHeader(*db).updateSeqNum);
    EXPECT_EQ(COUCHSTORE_SUCCESS, put(db.get(), id, body));
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get()));
}

TEST(Exceptions, CompactionHooks) {
    auto db = open(sample());
    const auto target = freshName("target");
    const auto keep = [](Db &, DocInfo *, sized_buf) { return 0; };
    const auto run = [&](CompactFilterCallback filter, CompactRewriteDocInfoCallback rewrite,
                         PrecommitHook pre) {
        RecordingOps ops;
        EXPECT_THROW(compact(*db, target.c_str(), 0, {}, filter, rewrite, &ops, pre), Thrown);
        EXPECT_FALSE(exists(target));
        EXPECT_EQ(0, ops.openedHandles);
        EXPECT_THROW(compact(*db, target.c_str(), COUCHSTORE_COMPACT_RECOVERY_MODE, {}, filter,
                             rewrite, &ops, pre),
                     Thrown);
        EXPECT_FALSE(exists(target));
    };
    run([](Db &, DocInfo *, sized_buf) -> int { throw Thrown(); }, {}, {});
    run([n = 0](Db &, DocInfo *,
                sized_buf) mutable -> int { return ++n % 5 == 0 ? throw Thrown() : 0; },
        {}, {});
    run([](Db &, DocInfo *info, sized_buf) -> int { return info ? 0 : throw Thrown(); }, {}, {});
    run(keep, [](DocInfo *&, sized_buf) -> int { throw Thrown(); }, {});
    run(keep, {}, [](Db &, Db &) -> couchstore_error_t { throw Thrown(); });

    const auto hook = [](Db *, DocInfo *, sized_buf, void *) -> int { throw Thrown(); };
    EXPECT_THROW(couchstore_compact_db_ex(db.get(), target.c_str(), 0, {}, hook, nullptr, nullptr,
                                          nullptr),
                 Thrown);
    const auto keepHook = [](Db *, DocInfo *, sized_buf, void *) { return 0; };
    const auto dhook = [](DocInfo **, const sized_buf *) -> int { throw Thrown(); };
    EXPECT_THROW(couchstore_compact_db_ex(db.get(), target.c_str(), 0, {}, keepHook, dhook, nullptr,
                                          nullptr),
                 Thrown);
    EXPECT_FALSE(exists(target));
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_compact_db(db.get(), target.c_str()));
}

TEST(Exceptions, CompactionRefusesWrongHooks) {
    auto db = open(sample());
    const auto target = freshName("target");
    const auto rewrite = [](DocInfo *&, sized_buf) { return 0; };
    EXPECT_THROW(compact(*db, target.c_str(), 0, {}, {}, rewrite, nullptr), std::invalid_argument);
    const auto dhook = [](DocInfo **, const sized_buf *) { return 0; };
    EXPECT_THROW(
            couchstore_compact_db_ex(db.get(), target.c_str(), 0, nullptr, dhook, nullptr, nullptr),
            std::invalid_argument);
    const auto greedy = [](Db &, DocInfo *, sized_buf) -> int {
        return COUCHSTORE_COMPACT_NEED_BODY;
    };
    EXPECT_THROW(compact(*db, target.c_str(), 0, greedy, {}, nullptr), std::logic_error);
    EXPECT_FALSE(exists(target));
    couchstore_close_file(db.get());
    EXPECT_THROW(compact(*db, target.c_str(), 0, {}, {}, rewrite, nullptr), std::invalid_argument);
    EXPECT_EQ(COUCHSTORE_ERROR_FILE_CLOSED, compact(*db, target.c_str(), 0, {}, {}, nullptr));
}

TEST(Exceptions, ReplayHooks) {
    const auto name = freshName();
    auto source = create(name);
    putMany(source.get(), 5);
    couchstore_commit(source.get());
    const auto copy = freshName("copy");
    ASSERT_EQ(COUCHSTORE_SUCCESS, couchstore_compact_db(source.get(), copy.c_str()));
    const auto start = couchstore_get_header_position(source.get());
    putMany(source.get(), 5, "more");
    couchstore_commit(source.get());
    const auto end = couchstore_get_header_position(source.get());
    auto target = open(copy);
    const auto rewound = [&] {
        auto reader = open(name, COUCHSTORE_OPEN_FLAG_RDONLY);
        EXPECT_EQ(COUCHSTORE_SUCCESS, seek(*reader, cs_off_t(start)));
        return reader;
    };
    const auto throwing = [](Db &, Db &, const DocInfo *, const DocInfo *) -> couchstore_error_t {
        throw Thrown();
    };
    const auto failing = [](Db &, Db &, const DocInfo *, const DocInfo *) {
        return COUCHSTORE_ERROR_CANCEL;
    };
    const auto precommit = [](Db &, Db &) -> couchstore_error_t { throw Thrown(); };
    EXPECT_THROW(replay(*rewound(), *target, end, throwing, {}), Thrown);
    EXPECT_THROW(replay(*rewound(), *target, end, {}, precommit), Thrown);
    EXPECT_THROW(replay(*rewound(), *target, end, failing, nullptr), std::runtime_error);
    EXPECT_EQ(COUCHSTORE_ERROR_NO_HEADER, replay(*rewound(), *target, end + 4096, {}, nullptr));
    const auto cHook = [](Db *, Db *, const DocInfo *, const DocInfo *,
                          void *) -> couchstore_error_t { throw Thrown(); };
    EXPECT_THROW(couchstore_replay(rewound().get(), target.get(), end, cHook, nullptr, nullptr, 1),
                 Thrown);
    EXPECT_EQ(COUCHSTORE_SUCCESS, replay(*rewound(), *target, end, {}, nullptr));
    EXPECT_EQ(10u, getHeader(*target).docCount);
}

TEST(Exceptions, RetryOfCommit) {
    RecordingOps ops;
    auto [code, db] = openDatabase(freshName(), COUCHSTORE_OPEN_FLAG_CREATE, &ops);
    ASSERT_EQ(COUCHSTORE_SUCCESS, code);
    putMany(db.get(), 1);
    ops.reset();
    ops.fault = {"sync", 2, false, COUCHSTORE_ERROR_WRITE};
    int asked = 0;
    const auto retry = [&](const std::system_error &error) -> bool {
        ++asked;
        EXPECT_NE(nullptr,
                  std::strstr(error.what(), "couchstore_commit_ex: Failed to sync header to disk"));
        throw Thrown();
    };
    EXPECT_THROW(couchstore_commit(db.get(), retry), Thrown);
    EXPECT_EQ(1, asked);
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, put(db.get(), "x", "y")) << "latched after a failed sync";
}

TEST(Exceptions, KeyGetterGivesACode) {
    const auto name = freshName();
    const auto getter = [](std::string_view) -> cb::crypto::SharedKeyDerivationKey {
        throw Thrown();
    };
    EXPECT_EQ(COUCHSTORE_ERROR_ENCRYPT,
              openDatabase(name, COUCHSTORE_OPEN_FLAG_CREATE, getter).first);
    EXPECT_FALSE(exists(name));
    auto db = open(sample());
    EXPECT_EQ(COUCHSTORE_ERROR_ENCRYPT, compact(*db, name.c_str(), 0, getter, {}, {}, nullptr));
    EXPECT_FALSE(exists(name));
}

TEST(Exceptions, InternalErrorHandler) {
    const auto name = sample(1);
    auto db = open(name);
    auto [code, info] = openDocInfo(*db, "key1000");
    ASSERT_EQ(COUCHSTORE_SUCCESS, code);
    const int fd = ::open(name.c_str(), O_WRONLY);
    ASSERT_EQ(1, ::pwrite(fd, "\xff", 1, off_t(info->bp) + 9));
    ::close(fd);
    setOnInternalError([](std::string_view) { throw Thrown(); });
    auto reader = open(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    EXPECT_THROW(openDocument(*reader, *info), Thrown);
    setOnInternalError({});
    EXPECT_EQ(COUCHSTORE_ERROR_CHECKSUM_FAIL, openDocument(*reader, *info).first);
    EXPECT_NE(std::string::npos, getLastInternalError().find("Checksum fail length:"));
}

TEST(Exceptions, NestedCallsKeepTheirOwn) {
    auto db = open(sample());
    int inner = 0;
    const auto callback = [](Db *d, DocInfo *, void *ctx) {
        int left = 0;
        try {
            couchstore_changes_since(d, 0, 0, throwingChanges, &left);
        } catch (const Thrown &) {
            ++*static_cast<int *>(ctx);
        }
        return 0;
    };
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_all_docs(db.get(), nullptr, 0, callback, &inner));
    EXPECT_EQ(20, inner);
}

// One of each: a life of a database on the given operations. Handles are closed whatever happens.
void live(RecordingOps &ops, const std::string &name, couchstore_open_flags flags) {
    std::remove(name.c_str());
    auto [code, db] = openDatabase(
            name,
            flags | COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_WITH_TRACING |
                    COUCHSTORE_OPEN_WITH_MPROTECT | COUCHSTORE_OPEN_WITH_WRITE_VALIDATION |
                    couchstore_encode_periodic_sync_flags(1 << 20),
            &ops);
    ASSERT_EQ(COUCHSTORE_SUCCESS, code);
    ASSERT_EQ(COUCHSTORE_SUCCESS, putMany(db.get(), 3));
    ASSERT_EQ(COUCHSTORE_SUCCESS, putLocal(db.get(), "_local/x", "y"));
    ASSERT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get()));
    couchstore_get_db_filestats(db.get());
    ASSERT_EQ(COUCHSTORE_SUCCESS, openDocument(*db, "key1001").first);
    ASSERT_EQ(COUCHSTORE_SUCCESS, seek(*db, Direction::End));
    const auto target = name + ".compacted";
    std::remove(target.c_str());
    const couchstore_compact_flags unbuffered =
            flags & COUCHSTORE_OPEN_FLAG_UNBUFFERED ? COUCHSTORE_COMPACT_FLAG_UNBUFFERED : 0;
    ASSERT_EQ(COUCHSTORE_SUCCESS, compact(*db, target.c_str(), unbuffered, {}, {}, &ops));
    ASSERT_EQ(COUCHSTORE_SUCCESS, couchstore_close_file(db.get()));
}

TEST(Exceptions, EveryFileOperation) {
    const auto name = freshName();
    for (const couchstore_open_flags flags :
         {couchstore_open_flags(0), COUCHSTORE_OPEN_FLAG_UNBUFFERED}) {
        RecordingOps counting;
        live(counting, name, flags);
        ASSERT_EQ(0, counting.openedHandles);
        const auto counts = counting.counts;
        for (const auto &[kind, total] : counts) {
            const int step = isSmall() && total > 8 ? total / 8 : 1;
            for (int call = 1; call <= total; call += step) {
                RecordingOps ops;
                ops.fault = {kind, call, true};
                EXPECT_THROW(live(ops, name, flags), OpsError) << kind << " " << call;
                EXPECT_EQ(0, ops.openedHandles) << kind << " " << call;
                EXPECT_EQ(ops.count("constructor") - (kind == "constructor"),
                          ops.count("destructor"));
                if (HasFailure()) {
                    return;
                }
            }
        }
        // All but advise, which belongs to online compactions.
        for (const char *kind : {"constructor", "open", "close", "set_periodic_sync", "set_tracing",
                                 "set_validation", "set_mprotect", "pread", "pwrite", "goto_eof",
                                 "sync", "tag", "get_stats", "destructor", "free_buffers"}) {
            EXPECT_TRUE(counts.count(kind)) << kind;
        }
    }
}

// A scan that may step over damage does not step over an exception, nor does a search for headers.
TEST(Exceptions, AReadThatThrowsIsNoDamage) {
    const auto name = sample(200);
    for (const bool scans : {true, false}) {
        RecordingOps ops;
        auto [code, db] = openDatabase(name, COUCHSTORE_OPEN_FLAG_UNBUFFERED, &ops);
        ASSERT_EQ(COUCHSTORE_SUCCESS, code);
        int left = 1000;
        ops.reset();
        ops.fault = {"pread", 3, true};
        if (scans) {
            EXPECT_THROW(couchstore_changes_since(db.get(), 0, COUCHSTORE_TOLERATE_CORRUPTION,
                                                  throwingChanges, &left),
                         OpsError);
            EXPECT_EQ(3, ops.count("pread"));
        } else {
            const auto before = getHeader(*db).headerPosition;
            ASSERT_NE(0u, before);
            EXPECT_THROW(seek(*db, Direction::Backward), OpsError);
            EXPECT_EQ(before, getHeader(*db).headerPosition) << "where it stood";
        }
    }
}

}  // namespace
