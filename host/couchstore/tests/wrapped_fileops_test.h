// SPDX-License-Identifier: Apache-2.0
//
// Tests for file operations that wrap others: whatever a wrapper adds, the wrapped operations must be asked the same,
// and their results and errors must come back. A host instantiates them with its own class, which is made from a
// FileOpsInterface pointer:
//
//   INSTANTIATE_TYPED_TEST_SUITE_P(MyOps, WrappedOpsTest, MyOps);
#pragma once

#include "test_fileops.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

FileOpsInterface *create_default_file_ops();

// A name for a file in the folder for temporary files; removed before and after.
class WrappedOpsFile {
public:
    WrappedOpsFile();
    ~WrappedOpsFile();

    const char *name() const {
        return path.c_str();
    }

private:
    std::string path;
};

template <typename Wrapper>
class WrappedOpsTest : public ::testing::Test {
protected:
    void open() {
        handle = ops.constructor(&errinfo);
        ASSERT_EQ(COUCHSTORE_SUCCESS, ops.open(&errinfo, &handle, file.name(), O_RDWR | O_CREAT));
    }

    void close() {
        EXPECT_EQ(COUCHSTORE_SUCCESS, ops.close(&errinfo, handle));
        ops.destructor(handle);
    }

    WrappedOpsFile file;
    couchstore_error_info_t errinfo{};
    std::unique_ptr<FileOpsInterface> defaults{create_default_file_ops()};
    ::testing::NiceMock<MockOps> mock{defaults.get()};
    Wrapper ops{&mock};
    couch_file_handle handle{};
};

TYPED_TEST_SUITE_P(WrappedOpsTest);

TYPED_TEST_P(WrappedOpsTest, ReadsAndWrites) {
    using ::testing::_;
    EXPECT_CALL(this->mock, open(_, _, _, _)).Times(1);
    EXPECT_CALL(this->mock, pwrite(_, _, _, _, _)).Times(::testing::AtLeast(1));
    EXPECT_CALL(this->mock, sync(_, _)).Times(1);
    EXPECT_CALL(this->mock, close(_, _)).Times(1);
    this->open();
    EXPECT_EQ(5, this->ops.pwrite(&this->errinfo, this->handle, "hello", 5, 3));
    EXPECT_EQ(COUCHSTORE_SUCCESS, this->ops.sync(&this->errinfo, this->handle));
    char buf[8] = {};
    EXPECT_EQ(5, this->ops.pread(&this->errinfo, this->handle, buf, sizeof buf, 3));
    EXPECT_STREQ("hello", buf);
    EXPECT_EQ(8, this->ops.goto_eof(&this->errinfo, this->handle));
    this->close();
}

TYPED_TEST_P(WrappedOpsTest, ErrorsComeBack) {
    using ::testing::_;
    using ::testing::Return;
    this->open();
    EXPECT_CALL(this->mock, pread(_, _, _, _, _)).WillOnce(Return(COUCHSTORE_ERROR_READ));
    EXPECT_CALL(this->mock, pwrite(_, _, _, _, _)).WillOnce(Return(COUCHSTORE_ERROR_WRITE));
    EXPECT_CALL(this->mock, sync(_, _)).WillOnce(Return(COUCHSTORE_ERROR_WRITE));
    EXPECT_CALL(this->mock, goto_eof(_, _)).WillOnce(Return(COUCHSTORE_ERROR_READ));
    char byte = 0;
    EXPECT_EQ(COUCHSTORE_ERROR_READ, this->ops.pread(&this->errinfo, this->handle, &byte, 1, 0));
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, this->ops.pwrite(&this->errinfo, this->handle, &byte, 1, 0));
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, this->ops.sync(&this->errinfo, this->handle));
    EXPECT_EQ(COUCHSTORE_ERROR_READ, this->ops.goto_eof(&this->errinfo, this->handle));
    this->close();
}

TYPED_TEST_P(WrappedOpsTest, OpenMayFail) {
    this->handle = this->ops.constructor(&this->errinfo);
    EXPECT_EQ(COUCHSTORE_ERROR_NO_SUCH_FILE,
              this->ops.open(&this->errinfo, &this->handle, "/no/such/file", O_RDONLY));
    this->ops.close(&this->errinfo, this->handle);
    this->ops.destructor(this->handle);
}

REGISTER_TYPED_TEST_SUITE_P(WrappedOpsTest, ReadsAndWrites, ErrorsComeBack, OpenMayFail);
