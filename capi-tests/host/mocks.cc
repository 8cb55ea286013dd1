// SPDX-License-Identifier: Apache-2.0

#include "src/internal.h"
#include "tests/test_fileops.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <sstream>

using namespace cb::couchstore;
using ::testing::_;
using ::testing::NiceMock;
using ::testing::Return;

TEST(Mocks, CallsCanBeReplaced) {
    const auto name = ::testing::TempDir() + "mocks.couch";
    std::remove(name.c_str());
    NiceMock<MockOps> ops(couchstore_get_default_file_ops());
    EXPECT_CALL(ops, sync(_, _)).WillOnce(Return(COUCHSTORE_ERROR_WRITE));
    auto [code, db] = openDatabase(name, COUCHSTORE_OPEN_FLAG_CREATE, &ops);
    ASSERT_EQ(COUCHSTORE_SUCCESS, code);
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, couchstore_commit(db.get()));
    db.reset();
    std::remove(name.c_str());
}

TEST(Mocks, CallsCanBeLogged) {
    const auto name = ::testing::TempDir() + "logged.couch";
    std::ostringstream log;
    LogOps ops(couchstore_get_default_file_ops(), log);
    EXPECT_EQ(COUCHSTORE_SUCCESS, openDatabase(name, COUCHSTORE_OPEN_FLAG_CREATE, &ops).first);
    EXPECT_NE(std::string::npos, log.str().find("goto_eof"));
    std::remove(name.c_str());
}
