// SPDX-License-Identifier: Apache-2.0
//
// The default file operations for C++: couchstore_get_default_file_ops() and create_default_file_ops().
//
// Complete in itself: system calls only, nothing of the rest of the library, because hosts link it alone and wrap it
// in operations of their own. (The library uses its own Rust code when it is given the default object itself.)

#include <libcouchstore/couch_db.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace {

// Write validation compares this many bytes of each write.
constexpr size_t validatedBytes = 8192;
// With periodic sync the disk is told of what was written once it is so much, in whole pages.
constexpr cs_off_t writeBackBytes = 64 * 1024;
constexpr cs_off_t pageBytes = 4096;

// A file; fd is -1 before open and after close.
struct File {
    int fd = -1;
    uint64_t syncPeriod = 0;
    uint64_t unsynced = 0;
    // errno of a periodic sync that has failed. Its caller has seen a failed write and may try it again; but the
    // kernel may have dropped more than that one write. So nothing is written or synced any more.
    int failedPeriodicSync = 0;
    // What was written in one piece and the disk was not told of yet.
    cs_off_t writtenFrom = 0, writtenTo = 0;
    bool validateWrites = false;
    bool readOnly = false;
};

File *fileOf(couch_file_handle handle) {
    return reinterpret_cast<File *>(handle);
}

// Lets the disk begin with what was written, so that the periodic sync finds little left to do and holds up nobody for
// long. Nothing is waited for, and errors are those of the sync.
void noteForWriteBack(File &file, cs_off_t offset, cs_off_t length) {
    if (offset != file.writtenTo) {
        file.writtenFrom = offset - offset % pageBytes;
    }
    file.writtenTo = offset + length;
    const cs_off_t wholePages = file.writtenTo - file.writtenTo % pageBytes;
    if (wholePages - file.writtenFrom >= writeBackBytes) {
#ifdef SYNC_FILE_RANGE_WRITE
        ::sync_file_range(file.fd, file.writtenFrom, wholePages - file.writtenFrom,
                          SYNC_FILE_RANGE_WRITE);
#endif
        file.writtenFrom = wholePages;
    }
}

// Repeats a system call that a signal has interrupted.
template <typename SystemCall>
auto uninterrupted(SystemCall &&call) {
    decltype(call()) result;
    do {
        result = call();
    } while (result < 0 && errno == EINTR);
    return result;
}

template <typename Code>
Code failed(couchstore_error_info_t *errinfo, Code code, int error = errno) {
    if (errinfo) {
        errinfo->error = error;
    }
    errno = error;
    return code;
}

// Why a file of this kind is refused: an errno, or 0.
int refusal(const struct stat &status) {
    if (S_ISREG(status.st_mode)) {
        return 0;
    }
    return S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
}

couchstore_error_t refused(couchstore_error_info_t *errinfo, int error, bool readOnly) {
    // A directory can be opened, but not read.
    const bool onlyReadingFails = error == EISDIR && readOnly;
    return failed(errinfo, onlyReadingFails ? COUCHSTORE_ERROR_READ : COUCHSTORE_ERROR_OPEN_FILE,
                  error);
}

// Opens a file that was a regular one a moment ago, without waiting should it be a FIFO by now. To regular files the
// flag means nothing, but for one whose owner holds a lease on it: it is waited for.
int openAtOnce(const char *path, int flags) {
    const int fd = uninterrupted([&] { return ::open(path, flags | O_NONBLOCK, 0666); });
    if (fd >= 0 || errno != EWOULDBLOCK) {
        return fd;
    }
    return uninterrupted([&] { return ::open(path, flags, 0666); });
}

// Opens without changing the access time where that is allowed: only to the owner of a file.
int openForReading(const char *path, int flags) {
#ifdef O_NOATIME
    const int fd = openAtOnce(path, flags | O_NOATIME);
    if (fd >= 0 || errno != EPERM) {
        return fd;
    }
#endif
    return openAtOnce(path, flags);
}

// A descriptor that is none of the standard streams: what a program prints must not land in a database.
int aboveStandardStreams(int fd) {
    if (fd > STDERR_FILENO) {
        return fd;
    }
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    const int error = errno;
    ::close(fd);
    errno = error;
    return copy;
}

class PosixFileOps final : public FileOpsInterface {
public:
    couch_file_handle constructor(couchstore_error_info_t *) override {
        return reinterpret_cast<couch_file_handle>(new File);
    }

    couchstore_error_t open(couchstore_error_info_t *errinfo,
                            couch_file_handle *handle,
                            const char *path,
                            int oflag) override {
        File &file = *fileOf(*handle);
        if (file.fd >= 0) {
            return failed(errinfo, COUCHSTORE_ERROR_INVALID_ARGUMENTS, EBUSY);
        }
        const int flags = oflag | O_CLOEXEC;
        const bool readOnly = (oflag & O_ACCMODE) == O_RDONLY;
        // Opening something else may already do something (a device), or wait for somebody else (a FIFO).
        struct stat status;
        const bool mustBeNew = (oflag & O_CREAT) != 0 && (oflag & O_EXCL) != 0;
        if (!mustBeNew && ::stat(path, &status) == 0 && refusal(status) != 0) {
            return refused(errinfo, refusal(status), readOnly);
        }
        int fd = readOnly ? openForReading(path, flags) : openAtOnce(path, flags);
        if (fd >= 0) {
            fd = aboveStandardStreams(fd);
        }
        if (fd < 0) {
            return failed(errinfo, errno == ENOENT ? COUCHSTORE_ERROR_NO_SUCH_FILE
                                                   : COUCHSTORE_ERROR_OPEN_FILE);
        }
        file = File{};
        file.fd = fd;
        file.readOnly = readOnly;
        return COUCHSTORE_SUCCESS;
    }

    couchstore_error_t close(couchstore_error_info_t *errinfo, couch_file_handle handle) override {
        File *file = fileOf(handle);
        if (!file || file->fd < 0) {
            return COUCHSTORE_SUCCESS;
        }
        const int fd = std::exchange(file->fd, -1);
        // After EINTR the descriptor is gone on Linux; trying again could close somebody else's.
        if (::close(fd) != 0 && errno != EINTR) {
            return failed(errinfo, COUCHSTORE_ERROR_FILE_CLOSE);
        }
        return COUCHSTORE_SUCCESS;
    }

    couchstore_error_t set_periodic_sync(couch_file_handle handle, uint64_t period_bytes) override {
        fileOf(handle)->syncPeriod = period_bytes;
        fileOf(handle)->unsynced = 0;
        return COUCHSTORE_SUCCESS;
    }

    // There is nothing to trace here beyond what the operating system's own tools show.
    couchstore_error_t set_tracing_enabled(couch_file_handle) override {
        return COUCHSTORE_SUCCESS;
    }

    couchstore_error_t set_write_validation_enabled(couch_file_handle handle) override {
        fileOf(handle)->validateWrites = true;
        return COUCHSTORE_SUCCESS;
    }

    // These operations keep no buffer that could be protected.
    couchstore_error_t set_mprotect_enabled(couch_file_handle) override {
        return COUCHSTORE_SUCCESS;
    }

    ssize_t pread(couchstore_error_info_t *errinfo,
                  couch_file_handle handle,
                  void *buf,
                  size_t nbytes,
                  cs_off_t offset) override {
        const int fd = fileOf(handle)->fd;
        const ssize_t result = uninterrupted([&] { return ::pread(fd, buf, nbytes, offset); });
        return result < 0 ? failed<ssize_t>(errinfo, COUCHSTORE_ERROR_READ) : result;
    }

    ssize_t pwrite(couchstore_error_info_t *errinfo,
                   couch_file_handle handle,
                   const void *buf,
                   size_t nbytes,
                   cs_off_t offset) override {
        File &file = *fileOf(handle);
        if (file.failedPeriodicSync != 0) {
            return failed<ssize_t>(errinfo, COUCHSTORE_ERROR_WRITE, file.failedPeriodicSync);
        }
        const ssize_t result =
                uninterrupted([&] { return ::pwrite(file.fd, buf, nbytes, offset); });
        if (result < 0) {
            return failed<ssize_t>(errinfo, COUCHSTORE_ERROR_WRITE);
        }
        if (file.validateWrites) {
            const auto code = validate(errinfo, file, buf, static_cast<size_t>(result), offset);
            if (code != COUCHSTORE_SUCCESS) {
                return code;
            }
        }
        file.unsynced += static_cast<uint64_t>(result);
        if (file.syncPeriod != 0) {
            noteForWriteBack(file, offset, result);
        }
        if (file.syncPeriod != 0 && file.unsynced >= file.syncPeriod) {
            file.unsynced = 0;
            const auto code = sync(errinfo, handle);
            if (code != COUCHSTORE_SUCCESS) {
                file.failedPeriodicSync = errno;
                return code;
            }
        }
        return result;
    }

    cs_off_t goto_eof(couchstore_error_info_t *errinfo, couch_file_handle handle) override {
        const File &file = *fileOf(handle);
        struct stat status;
        if (::fstat(file.fd, &status) != 0) {
            return failed<cs_off_t>(errinfo, COUCHSTORE_ERROR_READ);
        }
        // Something else may have taken the file's place just before it was opened.
        const int error = refusal(status);
        if (error != 0) {
            return refused(errinfo, error, file.readOnly);
        }
        return status.st_size;
    }

    couchstore_error_t sync(couchstore_error_info_t *errinfo, couch_file_handle handle) override {
        const File &file = *fileOf(handle);
        if (file.failedPeriodicSync != 0) {
            return failed(errinfo, COUCHSTORE_ERROR_WRITE, file.failedPeriodicSync);
        }
        // Once, also after a signal: a second call would succeed, though the kernel may have dropped what the first
        // one did not write.
        if (::fdatasync(file.fd) != 0) {
            return failed(errinfo, COUCHSTORE_ERROR_WRITE);
        }
        return COUCHSTORE_SUCCESS;
    }

    couchstore_error_t advise(couchstore_error_info_t *errinfo,
                              couch_file_handle handle,
                              cs_off_t offset,
                              cs_off_t len,
                              couchstore_file_advice_t advice) override {
        const int error = ::posix_fadvise(fileOf(handle)->fd, offset, len, advice);
        return error == 0 ? COUCHSTORE_SUCCESS : failed(errinfo, COUCHSTORE_ERROR_WRITE, error);
    }

    void destructor(couch_file_handle handle) override {
        delete fileOf(handle);
    }

private:
    // Reads back what was written.
    static couchstore_error_t validate(couchstore_error_info_t *errinfo,
                                       const File &file,
                                       const void *written,
                                       size_t size,
                                       cs_off_t offset) {
        std::vector<char> found(std::min(size, validatedBytes));
        size_t done = 0;
        while (done < found.size()) {
            const ssize_t result = uninterrupted([&] {
                return ::pread(file.fd, found.data() + done, found.size() - done,
                               offset + static_cast<cs_off_t>(done));
            });
            if (result < 0) {
                return failed(errinfo, COUCHSTORE_ERROR_READ);
            }
            if (result == 0) {
                break;
            }
            done += static_cast<size_t>(result);
        }
        const bool same =
                done == found.size() && std::memcmp(found.data(), written, found.size()) == 0;
        return same ? COUCHSTORE_SUCCESS : failed(errinfo, COUCHSTORE_ERROR_CHECKSUM_FAIL, 0);
    }
};

}  // namespace

LIBCOUCHSTORE_API FileOpsInterface *create_default_file_ops();

FileOpsInterface *create_default_file_ops() {
    return new PosixFileOps;
}

FileOpsInterface *couchstore_get_default_file_ops() {
    // Never destroyed: other objects may close their files when the program ends.
    static FileOpsInterface *const ops = create_default_file_ops();
    return ops;
}
