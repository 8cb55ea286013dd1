// SPDX-License-Identifier: Apache-2.0
//
// Tests for file operations that wrap others: whatever a wrapper adds, the wrapped operations must be asked the same,
// and their results and errors must come back. A host instantiates them with its own class, which is made from a
// std::unique_ptr<FileOpsInterface> and owns what it is given:
//
//   INSTANTIATE_TYPED_TEST_SUITE_P(MyOps, UnbufferedWrappedOpsTest, MyOps);
//
//   WrappedOpsTest             what holds for every wrapper that passes calls on
//   UnbufferedWrappedOpsTest   each call is passed on at once, with the same arguments
//   BufferedWrappedOpsTest     writes may wait until the file is synced; for wrappers that pass them on at once, too
#pragma once

#include "test_fileops.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

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
    using Mock = ::testing::NiceMock<MockOps>;

    WrappedOpsTest() : WrappedOpsTest(std::make_unique<Mock>(create_default_file_ops())) {
    }

    void open() {
        handle = ops.constructor(&errinfo);
        ASSERT_EQ(COUCHSTORE_SUCCESS, ops.open(&errinfo, &handle, file.name(), O_RDWR | O_CREAT));
    }

    void close() {
        EXPECT_EQ(COUCHSTORE_SUCCESS, ops.close(&errinfo, handle));
        ops.destructor(handle);
    }

    // Writes the text, which is all of it.
    void write(const std::string &text, cs_off_t offset) {
        EXPECT_EQ(ssize_t(text.size()),
                  ops.pwrite(&errinfo, handle, text.data(), text.size(), offset));
    }

    // What is read; the bytes that are not there are missing at the end.
    std::string read(size_t size, cs_off_t offset) {
        std::string text(size, '\0');
        const auto got = ops.pread(&errinfo, handle, &text[0], size, offset);
        EXPECT_LE(0, got);
        text.resize(size_t(got < 0 ? 0 : got));
        return text;
    }

    WrappedOpsFile file;
    couchstore_error_info_t errinfo{};
    Mock &mock;
    Wrapper ops;
    couch_file_handle handle{};

private:
    explicit WrappedOpsTest(std::unique_ptr<Mock> owned) : mock(*owned), ops(std::move(owned)) {
    }
};

template <typename Wrapper>
class UnbufferedWrappedOpsTest : public WrappedOpsTest<Wrapper> {};

template <typename Wrapper>
class BufferedWrappedOpsTest : public WrappedOpsTest<Wrapper> {};

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

TYPED_TEST_SUITE_P(UnbufferedWrappedOpsTest);

TYPED_TEST_P(UnbufferedWrappedOpsTest, CallsArePassedOnAtOnce) {
    using ::testing::_;
    using ::testing::StrEq;
    ::testing::InSequence inThisOrder;
    EXPECT_CALL(this->mock, open(_, _, StrEq(this->file.name()), O_RDWR | O_CREAT)).Times(1);
    EXPECT_CALL(this->mock, pwrite(_, _, _, 5, 3)).Times(1);
    EXPECT_CALL(this->mock, pread(_, _, _, 4, 4)).Times(1);
    EXPECT_CALL(this->mock, goto_eof(_, _)).Times(1);
    EXPECT_CALL(this->mock, sync(_, _)).Times(1);
    EXPECT_CALL(this->mock, advise(_, _, 0, 4096, COUCHSTORE_FILE_ADVICE_EVICT)).Times(1);
    EXPECT_CALL(this->mock, pread(_, _, _, 16, 8)).Times(1);
    EXPECT_CALL(this->mock, close(_, _)).Times(1);
    EXPECT_CALL(this->mock, destructor(_)).Times(1);
    this->open();
    this->write("hello", 3);
    EXPECT_EQ("ello", this->read(4, 4));
    EXPECT_EQ(8, this->ops.goto_eof(&this->errinfo, this->handle));
    EXPECT_EQ(COUCHSTORE_SUCCESS, this->ops.sync(&this->errinfo, this->handle));
    this->ops.advise(&this->errinfo, this->handle, 0, 4096, COUCHSTORE_FILE_ADVICE_EVICT);
    EXPECT_EQ("", this->read(16, 8));
    this->close();
}

TYPED_TEST_P(UnbufferedWrappedOpsTest, ShortCountsComeBack) {
    using ::testing::_;
    using ::testing::Return;
    this->open();
    EXPECT_CALL(this->mock, pwrite(_, _, _, 100, 0)).WillOnce(Return(7));
    EXPECT_CALL(this->mock, pread(_, _, _, 100, 0)).WillOnce(Return(3));
    char bytes[100] = {};
    EXPECT_EQ(7, this->ops.pwrite(&this->errinfo, this->handle, bytes, sizeof bytes, 0));
    EXPECT_EQ(3, this->ops.pread(&this->errinfo, this->handle, bytes, sizeof bytes, 0));
    this->close();
}

REGISTER_TYPED_TEST_SUITE_P(UnbufferedWrappedOpsTest, CallsArePassedOnAtOnce, ShortCountsComeBack);

TYPED_TEST_SUITE_P(BufferedWrappedOpsTest);

TYPED_TEST_P(BufferedWrappedOpsTest, WritesAreSeenAndReachTheFile) {
    this->open();
    std::string all;
    for (int i = 0; all.size() < 100000; ++i) {
        const auto text = std::to_string(i) + ';';
        this->write(text, cs_off_t(all.size()));
        all += text;
    }
    EXPECT_EQ(all.substr(70000, 5000), this->read(5000, 70000));
    this->write("####", 5000);
    all.replace(5000, 4, "####");
    EXPECT_EQ(all.substr(4990, 20), this->read(20, 4990));
    EXPECT_EQ(COUCHSTORE_SUCCESS, this->ops.sync(&this->errinfo, this->handle));
    EXPECT_EQ(cs_off_t(all.size()), this->ops.goto_eof(&this->errinfo, this->handle));
    this->close();

    this->open();
    EXPECT_EQ(all, this->read(all.size(), 0));
    this->close();
}

TYPED_TEST_P(BufferedWrappedOpsTest, ErrorsComeBackAtTheLatestFromSync) {
    using ::testing::_;
    using ::testing::Return;
    this->open();
    EXPECT_CALL(this->mock, pwrite(_, _, _, _, _)).WillRepeatedly(Return(COUCHSTORE_ERROR_WRITE));
    const auto written = this->ops.pwrite(&this->errinfo, this->handle, "hello", 5, 0);
    if (written >= 0) {
        EXPECT_EQ(COUCHSTORE_ERROR_WRITE, this->ops.sync(&this->errinfo, this->handle));
    } else {
        EXPECT_EQ(COUCHSTORE_ERROR_WRITE, written);
    }
    ::testing::Mock::VerifyAndClearExpectations(&this->mock);
    this->ops.close(&this->errinfo, this->handle);
    this->ops.destructor(this->handle);
}

REGISTER_TYPED_TEST_SUITE_P(BufferedWrappedOpsTest,
                            WritesAreSeenAndReachTheFile,
                            ErrorsComeBackAtTheLatestFromSync);
