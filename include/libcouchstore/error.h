/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The result of nearly every libcouchstore function: 0, or a negative code. couchstore_strerror()
 * gives the text of a code. The values are part of the ABI and never change.
 */
#ifndef COUCHSTORE_ERROR_H
#define COUCHSTORE_ERROR_H

/*
 * A scan returns what its callback returned, when that was negative. Callbacks may use values of
 * their own, so any int is legal in a couchstore_error_t; C++ is told so by the fixed type.
 */
enum couchstore_error_t
#ifdef __cplusplus
        : int
#endif
{
    /** All is well. */
    COUCHSTORE_SUCCESS = 0,
    /** The file could not be opened or created (it is there already, when it had to be new). */
    COUCHSTORE_ERROR_OPEN_FILE = -1,
    /** The bytes found in the file make no sense. */
    COUCHSTORE_ERROR_CORRUPT = -2,
    /** Memory could not be allocated. */
    COUCHSTORE_ERROR_ALLOC_FAIL = -3,
    /** The operating system reported a failure while reading, or the file ended too early. */
    COUCHSTORE_ERROR_READ = -4,
    /** The document is truly absent; trouble while looking for it has other codes. */
    COUCHSTORE_ERROR_DOC_NOT_FOUND = -5,
    /** The file has no (further) header. */
    COUCHSTORE_ERROR_NO_HEADER = -6,
    /** The operating system reported a failure while writing or syncing. */
    COUCHSTORE_ERROR_WRITE = -7,
    /** The header has a version that this library does not know. */
    COUCHSTORE_ERROR_HEADER_VERSION = -8,
    /** A checksum stored in the file does not match the bytes beside it. */
    COUCHSTORE_ERROR_CHECKSUM_FAIL = -9,
    /** The arguments of the call are wrong: NULL, flags that exclude each other, out of range. */
    COUCHSTORE_ERROR_INVALID_ARGUMENTS = -10,
    /** There is no file with that name. */
    COUCHSTORE_ERROR_NO_SUCH_FILE = -11,
    /** The user's callback asked to stop. */
    COUCHSTORE_ERROR_CANCEL = -12,
    /** A reduce value is too large for its field (views of older generations). */
    COUCHSTORE_ERROR_REDUCTION_TOO_LARGE = -13,
    /** A reduce function failed (views of older generations). */
    COUCHSTORE_ERROR_REDUCER_FAILURE = -14,
    /** The file of this handle is closed. */
    COUCHSTORE_ERROR_FILE_CLOSED = -15,
    /** The handle lost its place in the file and cannot be used any more. */
    COUCHSTORE_ERROR_DB_NO_LONGER_VALID = -16,
    /** Closing the file failed. */
    COUCHSTORE_ERROR_FILE_CLOSE = -17,
    /** The file operations in use, or this build of the library, do not offer what was asked for. */
    COUCHSTORE_ERROR_NOT_SUPPORTED = -18,
    /** For callbacks: stop now, the scan will be resumed. The library gives it no meaning. */
    COUCHSTORE_ERROR_SCAN_YIELD = -19,
    /** For callbacks: stop the scan for good. The library gives it no meaning. */
    COUCHSTORE_ERROR_SCAN_CANCELLED = -20,
    /** Older name of COUCHSTORE_ERROR_SCAN_CANCELLED. */
    COUCHSTORE_ERROR_SCAN_ABORTED = -20,
    /** The file is encrypted and its key was not supplied. */
    COUCHSTORE_ERROR_NO_ENCRYPTION_KEY = -21,
    /** Encrypting failed. */
    COUCHSTORE_ERROR_ENCRYPT = -22,
    /** Decrypting failed: wrong key, or the bytes were changed. */
    COUCHSTORE_ERROR_DECRYPT = -23,
    /**
     * A defect of the library itself was met and contained; couchstore_last_internal_error() has
     * its text. The handle refuses to write from now on. Close it and open the file again.
     */
    COUCHSTORE_ERROR_INTERNAL = -100
};
typedef enum couchstore_error_t couchstore_error_t;

#endif /* COUCHSTORE_ERROR_H */
