// SPDX-License-Identifier: Apache-2.0

#include "stats_ops.h"

#include "src/internal.h"
#include "tests/test_fileops.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <sstream>

using namespace cb::couchstore;
using ::testing::_;
using ::testing::NiceMock;
using ::testing::Return;

TEST(Mocks, CallsCanBeReplaced) {
    const auto name = ::testing::TempDir() + "mocks.couch";
    std::remove(name.c_str());
    NiceMock<MockOps> ops(create_default_file_ops());
    EXPECT_CALL(ops, sync(_, _)).WillOnce(Return(COUCHSTORE_ERROR_WRITE));
    auto [code, db] = openDatabase(name, COUCHSTORE_OPEN_FLAG_CREATE, &ops);
    ASSERT_EQ(COUCHSTORE_SUCCESS, code);
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, couchstore_commit(db.get()));
    db.reset();
    std::remove(name.c_str());
}

// Says when it goes.
class CountedOps : public StatsOps {
public:
    explicit CountedOps(int &destroyed_)
        : StatsOps(couchstore_get_default_file_ops()), destroyed(destroyed_) {
    }

    ~CountedOps() override {
        ++destroyed;
    }

private:
    int &destroyed;
};

TEST(Mocks, OwnWhatTheyWrap) {
    int destroyed = 0;
    {
        MockOps mock(new CountedOps(destroyed));
        MockOps owner(std::make_unique<CountedOps>(destroyed));
        LogOps log(std::make_unique<MockOps>(new CountedOps(destroyed)));
        EXPECT_NE(nullptr, dynamic_cast<CountedOps *>(mock.get_wrapped()));
        EXPECT_EQ(0, destroyed);
    }
    EXPECT_EQ(3, destroyed);
}

TEST(Mocks, DelegateAgain) {
    NiceMock<MockOps> ops(create_default_file_ops());
    const auto goto_eof = [&ops](cs_off_t otherwise) {
        ON_CALL(ops, goto_eof(_, _)).WillByDefault(Return(otherwise));
        return ops.goto_eof(nullptr, nullptr);
    };
    EXPECT_EQ(17, goto_eof(17));
    ops.DelegateToFake();
    couchstore_error_info_t errinfo{};
    const auto name = ::testing::TempDir() + "delegated";
    auto handle = ops.constructor(&errinfo);
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops.open(&errinfo, &handle, name.c_str(), O_RDWR | O_CREAT));
    EXPECT_EQ(0, ops.goto_eof(&errinfo, handle));
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops.close(&errinfo, handle));
    ops.destructor(handle);
    std::remove(name.c_str());
}

TEST(Mocks, CallsCanBeLogged) {
    const auto name = ::testing::TempDir() + "logged.couch";
    std::ostringstream log;
    LogOps ops(create_default_file_ops(), log);
    EXPECT_EQ(COUCHSTORE_SUCCESS, openDatabase(name, COUCHSTORE_OPEN_FLAG_CREATE, &ops).first);
    EXPECT_NE(std::string::npos, log.str().find("goto_eof"));
    std::remove(name.c_str());
}
