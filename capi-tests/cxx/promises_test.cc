// SPDX-License-Identifier: Apache-2.0
//
// The two promises as C++ hosts use them: bootstrap() and compact_online(), with file operations of their own.

#include "recording_ops.h"
#include "support.h"

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <stdexcept>

using namespace cb::couchstore;
using namespace testing_support;

namespace {

// ---- bootstrap ----

TEST(Bootstrap, MakesAFileAndOpensIt) {
    const auto name = freshName();
    for (const bool first : {true, false}) {
        auto [code, db] = bootstrap(name);
        ASSERT_EQ(COUCHSTORE_SUCCESS, code);
        EXPECT_EQ(first ? 0u : 1u, getHeader(*db).docCount);
        EXPECT_EQ(COUCHSTORE_SUCCESS, put(db.get(), "a", "b"));
        EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get()));
    }
}

// Whatever call of the operations fails, or throws, there is no file, and the next one can make it.
TEST(Bootstrap, EndsInAFileOrNone) {
    RecordingOps counting;
    BootstrapOptions options;
    options.ops = &counting;
    const auto good = freshName("good");
    ASSERT_EQ(COUCHSTORE_SUCCESS, bootstrap(good, options).first);
    EXPECT_EQ(1, counting.count("sync"));
    for (const auto &[kind, calls] : std::map<std::string, int>(counting.counts)) {
        if (kind != "constructor" && kind != "open" && kind != "pwrite" && kind != "sync") {
            continue;
        }
        for (int call = 1; call <= calls; ++call) {
            for (const bool throws : {false, true}) {
                const auto name = freshName();
                RecordingOps ops;
                ops.fault = {kind, call, throws};
                options.ops = &ops;
                if (!throws && kind == "constructor") {
                    continue;  // which cannot say that it failed
                }
                if (throws) {
                    EXPECT_THROW(bootstrap(name, options), OpsError) << kind << call;
                } else {
                    EXPECT_NE(COUCHSTORE_SUCCESS, bootstrap(name, options).first) << kind << call;
                }
                EXPECT_TRUE(ops.hit) << kind << call;
                EXPECT_FALSE(exists(name)) << kind << call;
                EXPECT_EQ(0, ops.openedHandles) << kind << call;
                ops.reset();
                EXPECT_EQ(COUCHSTORE_SUCCESS, bootstrap(name, options).first) << kind << call;
            }
        }
    }
}

TEST(Bootstrap, HonoursFlags) {
    const auto name = sample();
    BootstrapOptions options;
    options.flags = COUCHSTORE_OPEN_FLAG_EXCL;
    EXPECT_EQ(COUCHSTORE_ERROR_OPEN_FILE, bootstrap(name, options).first);
    EXPECT_EQ(20u, getHeader(*open(name)).docCount) << "left alone";
}

#ifndef COUCHSTORE_WITHOUT_ENCRYPTION
TEST(Bootstrap, Encrypts) {
    const auto name = freshName();
    BootstrapOptions options;
    options.keys = [](std::string_view id) -> cb::crypto::SharedKeyDerivationKey {
        EXPECT_TRUE(id.empty() || id == "key");
        auto key = std::make_shared<cb::crypto::KeyDerivationKey>();
        key->id = "key";
        key->cipher = cb::crypto::Cipher::AES_256_GCM;
        key->derivationKey = std::string(32, 'k');
        return key;
    };
    EXPECT_EQ("key", getEncryptionKeyId(*bootstrap(name, options).second));
    EXPECT_EQ(COUCHSTORE_ERROR_NO_ENCRYPTION_KEY, bootstrap(name).first);
    EXPECT_EQ(COUCHSTORE_SUCCESS, bootstrap(name, options).first);

    // The compacted file as well.
    OnlineCompactOptions online;
    online.replaceSource = true;
    EXPECT_EQ(COUCHSTORE_ERROR_NO_ENCRYPTION_KEY, compact_online(name, {}, online));
    online.keys = options.keys;
    EXPECT_EQ(COUCHSTORE_SUCCESS, compact_online(name, {}, online));
    EXPECT_EQ("key", getEncryptionKeyId(*bootstrap(name, options).second));
}
#endif

// ---- compact_online ----

// A host with its own operations, or the default ones, that writes while its file is compacted.
class Online : public ::testing::TestWithParam<bool> {
protected:
    void SetUp() override {
        options.ops = GetParam() ? &ops : nullptr;
        options.threads = 2;
        options.lock = [this] { mutex.lock(); };
        options.unlock = [this] { mutex.unlock(); };
        options.progress = [this](uint64_t done, uint64_t total, uint64_t) {
            EXPECT_LE(done, total);
            if (!wrote) {
                wrote = true;
                EXPECT_EQ(COUCHSTORE_SUCCESS, put(writer.get(), "meanwhile", "body"));
                EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(writer.get()));
            }
            return 0;
        };
        options.publish = [this](Db &, Db &target) {
            EXPECT_FALSE(mutex.try_lock()) << "under the lock";
            published = getHeader(target).docCount;
            return COUCHSTORE_SUCCESS;
        };
    }

    RecordingOps ops;
    std::string name = sample(200);
    UniqueDbPtr writer = open(name);
    std::mutex mutex;
    OnlineCompactOptions options;
    bool wrote = false;
    uint64_t published = 0;
};

TEST_P(Online, GivesTheTargetItsName) {
    const auto target = freshName("target");
    couchstore_online_compact_stats stats{};
    ASSERT_EQ(COUCHSTORE_SUCCESS, compact_online(name, target, options, &stats));
    EXPECT_EQ(201u, published);
    EXPECT_EQ(201u, stats.documents);
    EXPECT_EQ(201u, getHeader(*open(target)).docCount);
    EXPECT_EQ(201u, getHeader(*open(name)).docCount);
    EXPECT_EQ(0, ops.openedHandles);
    EXPECT_EQ(0, ops.count("advise"));
    EXPECT_EQ(COUCHSTORE_ERROR_OPEN_FILE, compact_online(name, target, options)) << "exists";
}

TEST_P(Online, ReplacesTheSourceAndForgetsIt) {
    options.replaceSource = true;
    options.filter = [](Db &, DocInfo *info, sized_buf) {
        return info && std::string(info->id.buf, info->id.size) == "key1000" ? 1 : 0;
    };
    int rewritten = 0;
    options.rewrite = [&](DocInfo *&, sized_buf) { return ++rewritten, 0; };
    int copies = 0, commits = 0;
    options.preCopy = [&](Db &, Db &, const DocInfo *, const DocInfo *) {
        return ++copies, COUCHSTORE_SUCCESS;
    };
    options.precommit = [&](Db &, Db &) { return ++commits, COUCHSTORE_SUCCESS; };
    ASSERT_EQ(COUCHSTORE_SUCCESS, compact_online(name, "ignored", options));
    EXPECT_EQ(200u, getHeader(*open(name)).docCount);
    EXPECT_EQ(199, rewritten);
    EXPECT_EQ(1, copies);
    EXPECT_EQ(1, commits);
    EXPECT_EQ(0, ops.openedHandles);
    EXPECT_EQ(GetParam() ? 1 : 0, ops.count("advise")) << "of the source, once";
}

// While a second thread makes the copy.
TEST_P(Online, WhatProgressThrowsArrives) {
    for (int call = 1; call <= 2; ++call) {
        int calls = 0;
        options.progress = [&](uint64_t, uint64_t, uint64_t) {
            if (++calls == call) {
                throw std::out_of_range("wanted");
            }
            return 0;
        };
        EXPECT_THROW(compact_online(name, freshName("target"), options), std::out_of_range) << call;
        EXPECT_EQ(0, ops.openedHandles);
        EXPECT_TRUE(mutex.try_lock());
        mutex.unlock();
    }
    EXPECT_EQ(200u, getHeader(*open(name)).docCount);
}

TEST_P(Online, AnErrorOfPublishUndoesAll) {
    options.replaceSource = true;
    options.publish = [](Db &, Db &) { return COUCHSTORE_ERROR_CANCEL; };
    EXPECT_EQ(COUCHSTORE_ERROR_CANCEL, compact_online(name, {}, options));
    EXPECT_EQ(COUCHSTORE_SUCCESS, put(writer.get(), "goes on", "body"));
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(writer.get()));
    EXPECT_EQ(202u, getHeader(*open(name)).docCount);
    EXPECT_EQ(0, ops.openedHandles);
    EXPECT_EQ(0, ops.count("advise"));
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
}

// The name leads to another file before the copy is complete: that one is not replaced.
TEST_P(Online, NoticesThatTheSourceWasReplaced) {
    options.replaceSource = true;
    const auto other = sample(7);
    options.progress = [&](uint64_t, uint64_t, uint64_t) {
        std::rename(other.c_str(), name.c_str());
        return 0;
    };
    EXPECT_EQ(COUCHSTORE_ERROR_OPEN_FILE, compact_online(name, {}, options));
    EXPECT_EQ(ESTALE, errno);
    EXPECT_EQ(7u, getHeader(*open(name)).docCount);
    EXPECT_EQ(0u, published);
}

TEST_P(Online, RefusesWhatMakesNoSense) {
    options.rewrite = [](DocInfo *&, sized_buf) { return 0; };
    EXPECT_THROW(compact_online(name, freshName("target"), options), std::invalid_argument);
    options.rewrite = {};
    options.flags = uint64_t(1) << 63;
    EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS, compact_online(name, freshName("t"), options));
    EXPECT_FALSE(wrote);
}

INSTANTIATE_TEST_SUITE_P(Operations, Online, ::testing::Bool(), [](const auto &info) {
    return std::string(info.param ? "forwarding" : "default");
});

}  // namespace
