/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * File operations: how libcouchstore reaches its files. A user may bring operations of his own, in
 * C as a struct of function pointers (couch_file_ops), in C++ also as a class (FileOpsInterface).
 *
 * The contract, the same for both:
 *  - One couch_file_handle is never used by two threads at once. Different handles may be.
 *  - The handle has this life: constructor; open; any of the others; close; perhaps open again;
 *    destructor, once. The constructor may return NULL when there is nothing to remember before
 *    open. open may replace the handle.
 *  - A failing function leaves its reason (errno) in errinfo->error; couchstore_last_os_error()
 *    shows it.
 *  - pread, pwrite and goto_eof return a negative couchstore_error_t on failure
 *    (COUCHSTORE_ERROR_READ, COUCHSTORE_ERROR_WRITE, ...), which the library passes on to its
 *    caller. Mind that a bare -1 is COUCHSTORE_ERROR_OPEN_FILE.
 *  - pread and pwrite may do less than they were asked for: the library continues where they
 *    stopped. pread returning 0 is the end of the file. pwrite returning 0 is tried again, a few
 *    times.
 */
#ifndef COUCHSTORE_FILE_OPS_H
#define COUCHSTORE_FILE_OPS_H

#include <libcouchstore/couch_common.h>
#include <libcouchstore/error.h>
#include <libcouchstore/visibility.h>

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h> /* ssize_t */

#ifdef __cplusplus
extern "C" {
#endif

/** A file, as the file operations see it. The library only hands it around. */
typedef struct couch_file_handle_opaque *couch_file_handle;

/** Where a file operation leaves the reason of its failure. */
typedef struct couchstore_error_info_t {
    int error; /**< an errno value */
} couchstore_error_info_t;

/** The value of couch_file_ops::version. */
#define COUCH_FILE_OPS_VERSION 5

/**
 * File operations as function pointers. All but advise are needed; advise and cookie may be NULL.
 * The struct must stay as it is until every database opened with it is freed.
 *
 * Error codes of any function are handed on as they are, and count like the library's own: a read
 * that returns COUCHSTORE_ERROR_ALLOC_FAIL, COUCHSTORE_ERROR_HEADER_VERSION or
 * COUCHSTORE_ERROR_CANCEL ends everything at once; any other code of a read is taken for damage,
 * which scans and compactions may have been told to step over. Only open tells by
 * COUCHSTORE_ERROR_NO_SUCH_FILE that there is no file; COUCHSTORE_ERROR_DOC_NOT_FOUND and
 * COUCHSTORE_ERROR_NO_HEADER tell nothing.
 */
typedef struct couch_file_ops {
    /** COUCH_FILE_OPS_VERSION. Other versions had other layouts and are refused. */
    uint64_t version;

    /** Makes a handle that is not yet open. cookie is the one of this struct. */
    couch_file_handle (*constructor)(couchstore_error_info_t *errinfo, void *cookie);

    /** Opens a file. oflag has the O_* flags of open(2); a new file gets mode 0666 less the umask.
     */
    couchstore_error_t (*open)(couchstore_error_info_t *errinfo,
                               couch_file_handle *handle,
                               const char *path,
                               int oflag);

    /** Closes the file. The handle may be opened again afterwards. */
    void (*close)(couchstore_error_info_t *errinfo, couch_file_handle handle);

    /** Reads at an offset. Returns the number of bytes, 0 at the end, or a negative error code. */
    ssize_t (*pread)(couchstore_error_info_t *errinfo,
                     couch_file_handle handle,
                     void *buf,
                     size_t nbytes,
                     cs_off_t offset);

    /** Writes at an offset. Returns the number of bytes, or a negative error code. */
    ssize_t (*pwrite)(couchstore_error_info_t *errinfo,
                      couch_file_handle handle,
                      const void *buf,
                      size_t nbytes,
                      cs_off_t offset);

    /** Returns the size of the file, or a negative error code. */
    cs_off_t (*goto_eof)(couchstore_error_info_t *errinfo, couch_file_handle handle);

    /**
     * Returns when everything written is safe on the medium. Must not be tried again after a
     * failure, not even after EINTR: the kernel may have dropped what it did not write, and the
     * next sync says nothing of it.
     */
    couchstore_error_t (*sync)(couchstore_error_info_t *errinfo, couch_file_handle handle);

    /** A hint about len bytes at offset (0: up to the end). May do nothing. */
    couchstore_error_t (*advise)(couchstore_error_info_t *errinfo,
                                 couch_file_handle handle,
                                 cs_off_t offset,
                                 cs_off_t len,
                                 couchstore_file_advice_t advice);

    /** Frees the handle. The file is closed already. */
    void (*destructor)(couchstore_error_info_t *errinfo, couch_file_handle handle);

    /** The user's own; passed to constructor. */
    void *cookie;
} couch_file_ops;

#ifdef __cplusplus
} /* extern "C" */

#if defined(__LP64__)
static_assert(sizeof(couch_file_ops) == 88, "libcouchstore: unexpected layout");
#endif

/**
 * File operations as a class. The contract is that of couch_file_ops; the differences: close
 * reports failure, destructor takes no errinfo, and there are functions that a class may offer
 * besides.
 *
 * The order of the virtual functions is part of the ABI.
 */
class LIBCOUCHSTORE_API FileOpsInterface {
public:
    /** Counts of one file. */
    class FHStats {
    public:
        virtual ~FHStats() = default;

        /** Number of reads since the file was opened. */
        virtual size_t getReadCount() = 0;

        /** Number of writes since the file was opened. */
        virtual size_t getWriteCount() = 0;

        /** Number of bytes written since the file was opened. */
        virtual size_t getWriteBytes() = 0;
    };

    virtual ~FileOpsInterface() = default;

    /** Makes a handle that is not yet open. */
    virtual couch_file_handle constructor(couchstore_error_info_t *errinfo) = 0;

    /** Opens a file; oflag has the O_* flags of open(2). */
    virtual couchstore_error_t open(couchstore_error_info_t *errinfo,
                                    couch_file_handle *handle,
                                    const char *path,
                                    int oflag) = 0;

    /** Closes the file. The handle stays, so that the reason of a failure can still be asked for.
     */
    virtual couchstore_error_t close(couchstore_error_info_t *errinfo,
                                     couch_file_handle handle) = 0;

    /**
     * Asks for a sync after each period_bytes bytes written; 0: no more. If such a sync fails, so
     * does the pwrite it belongs to, and from then on every pwrite and sync of this handle must
     * fail: the library cannot tell it from a write that may be tried again. The default
     * operations see to that.
     */
    virtual couchstore_error_t set_periodic_sync(couch_file_handle handle, uint64_t period_bytes) {
        (void)handle;
        (void)period_bytes;
        return COUCHSTORE_ERROR_NOT_SUPPORTED;
    }

    /** Asks for traces of the operations (COUCHSTORE_OPEN_WITH_TRACING). */
    virtual couchstore_error_t set_tracing_enabled(couch_file_handle handle) {
        (void)handle;
        return COUCHSTORE_ERROR_NOT_SUPPORTED;
    }

    /** Asks that writes be read back and compared (COUCHSTORE_OPEN_WITH_WRITE_VALIDATION). */
    virtual couchstore_error_t set_write_validation_enabled(couch_file_handle handle) {
        (void)handle;
        return COUCHSTORE_ERROR_NOT_SUPPORTED;
    }

    /** Asks that write buffers be protected while not in use (COUCHSTORE_OPEN_WITH_MPROTECT). */
    virtual couchstore_error_t set_mprotect_enabled(couch_file_handle handle) {
        (void)handle;
        return COUCHSTORE_ERROR_NOT_SUPPORTED;
    }

    /** Reads at an offset. Returns the number of bytes, 0 at the end, or a negative error code. */
    virtual ssize_t pread(couchstore_error_info_t *errinfo,
                          couch_file_handle handle,
                          void *buf,
                          size_t nbytes,
                          cs_off_t offset) = 0;

    /** Writes at an offset. Returns the number of bytes, or a negative error code. */
    virtual ssize_t pwrite(couchstore_error_info_t *errinfo,
                           couch_file_handle handle,
                           const void *buf,
                           size_t nbytes,
                           cs_off_t offset) = 0;

    /** Returns the size of the file, or a negative error code. */
    virtual cs_off_t goto_eof(couchstore_error_info_t *errinfo, couch_file_handle handle) = 0;

    /** Returns when everything written is safe on the medium. */
    virtual couchstore_error_t sync(couchstore_error_info_t *errinfo, couch_file_handle handle) = 0;

    /** A hint about len bytes at offset (0: up to the end). May do nothing. */
    virtual couchstore_error_t advise(couchstore_error_info_t *errinfo,
                                      couch_file_handle handle,
                                      cs_off_t offset,
                                      cs_off_t len,
                                      couchstore_file_advice_t advice) = 0;

    /** Says what the next accesses are for. */
    virtual void tag(couch_file_handle handle, FileTag tag) {
        (void)handle;
        (void)tag;
    }

    /** Counts of this file, or nullptr if there are none. They belong to the handle. */
    virtual FHStats *get_stats(couch_file_handle handle) {
        (void)handle;
        return nullptr;
    }

    /** Frees the handle. The file is closed already. */
    virtual void destructor(couch_file_handle handle) = 0;

    /** Gives back memory that is needed only while working; called at the end of a commit. */
    virtual void free_buffers(couch_file_handle handle) {
        (void)handle;
    }
};

/** Tags a file for the length of a scope. */
class ScopedFileTag {
public:
    ScopedFileTag(FileOpsInterface *ops_, couch_file_handle handle_, FileTag tag)
        : ops(ops_), handle(handle_) {
        ops->tag(handle, tag);
    }

    ~ScopedFileTag() {
        ops->tag(handle, FileTag::Unknown);
    }

private:
    FileOpsInterface *ops;
    couch_file_handle handle;
};

#elif defined(__LP64__)
_Static_assert(sizeof(couch_file_ops) == 88, "libcouchstore: unexpected layout");
#endif

#endif /* COUCHSTORE_FILE_OPS_H */
