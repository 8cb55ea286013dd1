// SPDX-License-Identifier: Apache-2.0
//
// The default file operations for C++, called as hosts call them that wrap them.

#include "support.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

LIBCOUCHSTORE_API FileOpsInterface *create_default_file_ops();

using namespace testing_support;

namespace {

// Files whose content reads as zeros.
bool readsZeros = false;

}  // namespace

// Taken instead of the C library's, by the shared library too.
extern "C" ssize_t pread(int fd, void *buf, size_t nbytes, off_t offset) {
    const ssize_t result = ::syscall(SYS_pread64, fd, buf, nbytes, offset);
    if (readsZeros && result > 0) {
        std::memset(buf, 0, static_cast<size_t>(result));
    }
    return result;
}

namespace {

class DefaultOps : public ::testing::Test {
protected:
    void SetUp() override {
        handle = ops->constructor(&info);
    }

    void TearDown() override {
        EXPECT_EQ(COUCHSTORE_SUCCESS, ops->close(&info, handle));
        ops->destructor(handle);
    }

    couchstore_error_t open(int flags) {
        return ops->open(&info, &handle, name.c_str(), flags);
    }

    std::string name = freshName();
    couchstore_error_info_t info{};
    std::unique_ptr<FileOpsInterface> ops{create_default_file_ops()};
    couch_file_handle handle{};
};

TEST_F(DefaultOps, ReadAndWrite) {
    ASSERT_EQ(COUCHSTORE_SUCCESS, open(O_RDWR | O_CREAT | O_EXCL));
    EXPECT_EQ(5, ops->pwrite(&info, handle, "hello", 5, 10));
    EXPECT_EQ(15, ops->goto_eof(&info, handle));
    char buf[10] = {};
    EXPECT_EQ(5, ops->pread(&info, handle, buf, 10, 10));
    EXPECT_STREQ("hello", buf);
    EXPECT_EQ(0, ops->pread(&info, handle, buf, 10, 15)) << "the end of the file";
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops->sync(&info, handle));
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops->advise(&info, handle, 0, 0, COUCHSTORE_FILE_ADVICE_EVICT));
    EXPECT_EQ(nullptr, ops->get_stats(handle));
    ops->tag(handle, FileTag::BTree);
    ops->free_buffers(handle);
    { const ScopedFileTag tag(ops.get(), handle, FileTag::Document); }
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops->close(&info, handle));
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops->close(&info, handle)) << "closed already";
    EXPECT_EQ(COUCHSTORE_ERROR_READ, ops->pread(&info, handle, buf, 10, 0));
    EXPECT_EQ(EBADF, info.error);
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, ops->pwrite(&info, handle, buf, 10, 0));
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, ops->sync(&info, handle));
    EXPECT_EQ(COUCHSTORE_ERROR_READ, ops->goto_eof(&info, handle));
    EXPECT_EQ(COUCHSTORE_SUCCESS, open(O_RDONLY)) << "a handle may be opened again";
}

TEST_F(DefaultOps, Open) {
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops->close(&info, handle)) << "never opened";
    EXPECT_EQ(COUCHSTORE_ERROR_NO_SUCH_FILE, open(O_RDWR));
    EXPECT_EQ(ENOENT, info.error);
    name += "/none";
    EXPECT_EQ(COUCHSTORE_ERROR_NO_SUCH_FILE, open(O_RDWR | O_CREAT));
    name = folder();
    EXPECT_EQ(COUCHSTORE_ERROR_READ, open(O_RDONLY));
    EXPECT_EQ(EISDIR, info.error);
    EXPECT_EQ(COUCHSTORE_ERROR_OPEN_FILE, open(O_RDWR));
    EXPECT_EQ(EISDIR, info.error);
    name = "";
    EXPECT_EQ(COUCHSTORE_ERROR_NO_SUCH_FILE, open(O_RDWR | O_CREAT));
    name = sample();
    EXPECT_EQ(COUCHSTORE_ERROR_OPEN_FILE, open(O_RDWR | O_CREAT | O_EXCL));
    EXPECT_EQ(EEXIST, info.error);
}

TEST_F(DefaultOps, ReadingLeavesTheAccessTime) {
    name = sample();
    struct stat before {
    }, after{};
    const timespec old[] = {{1000, 0}, {2000, 0}};
    ASSERT_EQ(0, ::utimensat(AT_FDCWD, name.c_str(), old, 0));
    ASSERT_EQ(0, ::stat(name.c_str(), &before));
    ASSERT_EQ(COUCHSTORE_SUCCESS, open(O_RDONLY));
    char byte = 0;
    EXPECT_EQ(1, ops->pread(&info, handle, &byte, 1, 0));
    ASSERT_EQ(0, ::stat(name.c_str(), &after));
    EXPECT_EQ(before.st_atim.tv_sec, after.st_atim.tv_sec);
}

TEST_F(DefaultOps, Setters) {
    ASSERT_EQ(COUCHSTORE_SUCCESS, open(O_RDWR | O_CREAT));
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops->set_periodic_sync(handle, 1024));
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops->set_tracing_enabled(handle));
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops->set_write_validation_enabled(handle));
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops->set_mprotect_enabled(handle));
    const std::string data(100000, 'x');
    EXPECT_EQ(100000, ops->pwrite(&info, handle, data.data(), data.size(), 0));
}

TEST_F(DefaultOps, OnlyRegularFiles) {
    const auto fifo = freshName("fifo"), socket = freshName("socket");
    ASSERT_EQ(0, ::mkfifo(fifo.c_str(), 0600));
    ASSERT_EQ(0, ::mknod(socket.c_str(), S_IFSOCK | 0600, 0));
    ::alarm(60);  // for whoever waits for the other end
    for (const auto &other : {fifo, socket, std::string("/dev/null"), std::string("/dev/zero")}) {
        name = other;
        for (const int flags : {O_RDONLY, O_RDWR, O_RDWR | O_CREAT}) {
            EXPECT_EQ(COUCHSTORE_ERROR_OPEN_FILE, open(flags)) << name;
            EXPECT_EQ(EINVAL, info.error);
            EXPECT_EQ(EINVAL, errno);
        }
        EXPECT_EQ(COUCHSTORE_ERROR_OPEN_FILE, open(O_RDWR | O_CREAT | O_EXCL));
        EXPECT_EQ(EEXIST, info.error);
    }
    ::alarm(0);
}

TEST_F(DefaultOps, WhatTakesTheFilesPlaceAtTheLastMomentIsRefused) {
    name = sample();
    const int next = ::dup(0);
    ASSERT_LT(2, next);
    ::close(next);
    ASSERT_EQ(COUCHSTORE_SUCCESS, open(O_RDONLY));
    EXPECT_LT(0, ops->goto_eof(&info, handle));
    // As if the name had led there when it was opened.
    const int other = ::open("/dev/null", O_RDONLY);
    ASSERT_EQ(next, ::dup2(other, next));
    ::close(other);
    EXPECT_EQ(COUCHSTORE_ERROR_OPEN_FILE, ops->goto_eof(&info, handle));
    EXPECT_EQ(EINVAL, info.error);
}

TEST_F(DefaultOps, WriteValidationFailsTheWrite) {
    name = sample();
    ASSERT_EQ(COUCHSTORE_SUCCESS, open(O_RDWR));
    EXPECT_EQ(1, ops->pwrite(&info, handle, "x", 1, 0));
    ops->set_write_validation_enabled(handle);
    EXPECT_EQ(1, ops->pwrite(&info, handle, "x", 1, 0));
    readsZeros = true;
    EXPECT_EQ(COUCHSTORE_ERROR_CHECKSUM_FAIL, ops->pwrite(&info, handle, "x", 1, 0))
            << "it reads back something else";
    readsZeros = false;
}

TEST_F(DefaultOps, StandardStreamsAreLeftAlone) {
    const int saved = ::dup(STDIN_FILENO);
    ::close(STDIN_FILENO);
    ASSERT_EQ(COUCHSTORE_SUCCESS, open(O_RDWR | O_CREAT));
    EXPECT_EQ(1, ops->pwrite(&info, handle, "x", 1, 0));
    EXPECT_EQ(-1, ::fcntl(STDIN_FILENO, F_GETFD)) << "the file is not on descriptor 0";
    ASSERT_EQ(STDIN_FILENO, ::dup2(saved, STDIN_FILENO));
    ::close(saved);
    EXPECT_EQ(COUCHSTORE_SUCCESS, ops->close(&info, handle));
    EXPECT_NE(-1, ::fcntl(STDIN_FILENO, F_GETFD)) << "descriptor 0 is not closed";
}

TEST(DefaultOpsObject, IsOne) {
    EXPECT_EQ(couchstore_get_default_file_ops(), couchstore_get_default_file_ops());
    std::unique_ptr<FileOpsInterface> other(create_default_file_ops());
    EXPECT_NE(couchstore_get_default_file_ops(), other.get());
}

// What a class that overrides only what it must inherits.
TEST(DefaultOpsObject, Inherited) {
    struct Least : FileOpsInterface {
        couch_file_handle constructor(couchstore_error_info_t *e) override {
            return base->constructor(e);
        }
        couchstore_error_t open(couchstore_error_info_t *e,
                                couch_file_handle *h,
                                const char *p,
                                int f) override {
            return base->open(e, h, p, f);
        }
        couchstore_error_t close(couchstore_error_info_t *e, couch_file_handle h) override {
            return base->close(e, h);
        }
        ssize_t pread(couchstore_error_info_t *e,
                      couch_file_handle h,
                      void *b,
                      size_t n,
                      cs_off_t o) override {
            return base->pread(e, h, b, n, o);
        }
        ssize_t pwrite(couchstore_error_info_t *e,
                       couch_file_handle h,
                       const void *b,
                       size_t n,
                       cs_off_t o) override {
            return base->pwrite(e, h, b, n, o);
        }
        cs_off_t goto_eof(couchstore_error_info_t *e, couch_file_handle h) override {
            return base->goto_eof(e, h);
        }
        couchstore_error_t sync(couchstore_error_info_t *e, couch_file_handle h) override {
            return base->sync(e, h);
        }
        couchstore_error_t advise(couchstore_error_info_t *,
                                  couch_file_handle,
                                  cs_off_t,
                                  cs_off_t,
                                  couchstore_file_advice_t) override {
            return COUCHSTORE_SUCCESS;
        }
        void destructor(couch_file_handle h) override {
            base->destructor(h);
        }
        FileOpsInterface *base = couchstore_get_default_file_ops();
    } ops;
    const auto name = sample();
    EXPECT_EQ(COUCHSTORE_SUCCESS, cb::couchstore::openDatabase(name, 0, &ops).first);
    for (const auto flag :
         {COUCHSTORE_OPEN_WITH_TRACING, COUCHSTORE_OPEN_WITH_WRITE_VALIDATION,
          COUCHSTORE_OPEN_WITH_MPROTECT, couchstore_encode_periodic_sync_flags(1024)}) {
        EXPECT_EQ(COUCHSTORE_ERROR_NOT_SUPPORTED,
                  cb::couchstore::openDatabase(name, flag, &ops).first);
        EXPECT_EQ(COUCHSTORE_SUCCESS, cb::couchstore::openDatabase(name, flag).first);
    }
    auto [code, db] = cb::couchstore::openDatabase(name, 0, &ops);
    EXPECT_EQ(nullptr, couchstore_get_db_filestats(db.get()));
    EXPECT_NE(nullptr, dynamic_cast<Least *>(static_cast<FileOpsInterface *>(&ops)));
}

}  // namespace
