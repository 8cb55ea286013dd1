/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * File operations that keep a log of their calls and fail on request.
 */
#include "testlib.h"

#include <fcntl.h>

struct test_handle {
    int fd;
    int file;
};

static struct op_entry *ops_log(struct test_ops *t,
                                enum op_kind kind,
                                couch_file_handle handle,
                                size_t length,
                                int64_t offset) {
    struct op_entry *log = realloc(t->log, (t->logged + 1) * sizeof(*log));
    if (log == NULL) {
        abort();
    }
    t->log = log;
    log += t->logged++;
    memset(log, 0, sizeof(*log));
    log->kind = kind;
    log->file = handle ? ((struct test_handle *)(void *)handle)->file : t->files;
    log->length = length;
    log->offset = offset;
    ++t->calls[kind];
    return log;
}

/* True: this call is one that fails; errno and errinfo are set. */
static bool ops_fault(struct test_ops *t, enum op_kind kind, couchstore_error_info_t *errinfo) {
    if (t->fail_at == 0 || kind != t->fail_kind || --t->fail_at > 0) {
        return false;
    }
    ++t->failed;
    if (t->fail_times < 0 || --t->fail_times > 0) {
        t->fail_at = 1;
    }
    errno = t->fail_errno;
    if (errinfo != NULL) {
        errinfo->error = t->fail_errno;
    }
    return true;
}

static struct test_handle *new_handle(struct test_ops *t) {
    struct test_handle *h = calloc(1, sizeof(*h));
    if (h == NULL) {
        abort();
    }
    h->fd = -1;
    h->file = ++t->files;
    return h;
}

static couch_file_handle ops_constructor(couchstore_error_info_t *errinfo, void *cookie) {
    struct test_ops *t = cookie;
    struct test_handle *h = NULL;
    (void)errinfo;
    if (!t->null_constructor) {
        h = new_handle(t);
    }
    ops_log(t, OP_CONSTRUCTOR, (void *)h, 0, 0);
    return (void *)h;
}

/* Only the constructor is given the cookie, so the one active object is kept here. */
static struct test_ops *active;

static couchstore_error_t ops_open(couchstore_error_info_t *errinfo,
                                   couch_file_handle *handle,
                                   const char *name,
                                   int flags) {
    struct test_ops *t = active;
    struct op_entry *entry;
    struct test_handle *h;
    if (*handle == NULL) {
        *handle = (void *)new_handle(t);
    }
    h = (void *)*handle;
    entry = ops_log(t, OP_OPEN, *handle, 0, 0);
    if (ops_fault(t, OP_OPEN, errinfo)) {
        entry->result = t->fail_code;
        return (couchstore_error_t)t->fail_code;
    }
    h->fd = open(name, flags | O_CLOEXEC, 0666);
    if (h->fd < 0) {
        errinfo->error = errno;
        entry->result =
                errno == ENOENT ? COUCHSTORE_ERROR_NO_SUCH_FILE : COUCHSTORE_ERROR_OPEN_FILE;
    }
    return (couchstore_error_t)entry->result;
}

static void ops_close(couchstore_error_info_t *errinfo, couch_file_handle handle) {
    struct test_handle *h = (void *)handle;
    (void)errinfo;
    ops_log(active, OP_CLOSE, handle, 0, 0);
    if (h != NULL && h->fd >= 0) {
        close(h->fd);
        h->fd = -1;
    }
}

static ssize_t ops_pread(couchstore_error_info_t *errinfo,
                         couch_file_handle handle,
                         void *data,
                         size_t size,
                         cs_off_t offset) {
    struct test_ops *t = active;
    struct op_entry *entry = ops_log(t, OP_PREAD, handle, size, offset);
    if (ops_fault(t, OP_PREAD, errinfo)) {
        return (ssize_t)(entry->result = t->fail_code);
    }
    if (t->max_read > 0 && size > t->max_read) {
        size = t->max_read;
    }
    entry->result = pread(((struct test_handle *)(void *)handle)->fd, data, size, offset);
    if (entry->result < 0) {
        errinfo->error = errno;
        entry->result = COUCHSTORE_ERROR_READ;
    }
    return (ssize_t)entry->result;
}

static ssize_t ops_pwrite(couchstore_error_info_t *errinfo,
                          couch_file_handle handle,
                          const void *data,
                          size_t size,
                          cs_off_t offset) {
    struct test_ops *t = active;
    struct op_entry *entry = ops_log(t, OP_PWRITE, handle, size, offset);
    int fd = ((struct test_handle *)(void *)handle)->fd;
    entry->first_byte = size > 0 ? *(const unsigned char *)data : 0;
    if (ops_fault(t, OP_PWRITE, errinfo)) {
        if (t->fail_partial && pwrite(fd, data, size / 2, offset) < 0) {
            abort();
        }
        errno = t->fail_errno;
        return (ssize_t)(entry->result = t->fail_code);
    }
    if (t->zero_writes != 0) {
        t->zero_writes -= t->zero_writes > 0;
        return 0;
    }
    if (t->max_write > 0 && size > t->max_write) {
        size = t->max_write;
    }
    entry->result = pwrite(fd, data, size, offset);
    if (entry->result < 0) {
        errinfo->error = errno;
        entry->result = COUCHSTORE_ERROR_WRITE;
    }
    return (ssize_t)entry->result;
}

static cs_off_t ops_goto_eof(couchstore_error_info_t *errinfo, couch_file_handle handle) {
    struct test_ops *t = active;
    struct op_entry *entry = ops_log(t, OP_EOF, handle, 0, 0);
    entry->result = ops_fault(t, OP_EOF, errinfo)
                            ? t->fail_code
                            : lseek(((struct test_handle *)(void *)handle)->fd, 0, SEEK_END);
    return entry->result;
}

static couchstore_error_t ops_sync(couchstore_error_info_t *errinfo, couch_file_handle handle) {
    struct test_ops *t = active;
    struct op_entry *entry = ops_log(t, OP_SYNC, handle, 0, 0);
    if (ops_fault(t, OP_SYNC, errinfo)) {
        entry->result = t->fail_code;
    }
    return (couchstore_error_t)entry->result;
}

static couchstore_error_t ops_advise(couchstore_error_info_t *errinfo,
                                     couch_file_handle handle,
                                     cs_off_t offset,
                                     cs_off_t size,
                                     couchstore_file_advice_t advice) {
    (void)errinfo;
    (void)advice;
    ops_log(active, OP_ADVISE, handle, (size_t)size, offset);
    return COUCHSTORE_SUCCESS;
}

static void ops_destructor(couchstore_error_info_t *errinfo, couch_file_handle handle) {
    struct test_handle *h = (void *)handle;
    (void)errinfo;
    ops_log(active, OP_DESTRUCTOR, handle, 0, 0);
    if (h != NULL && h->fd >= 0) {
        close(h->fd);
    }
    free(h);
}

void ops_init(struct test_ops *t) {
    memset(t, 0, sizeof(*t));
    t->ops.version = 5;
    t->ops.constructor = ops_constructor;
    t->ops.open = ops_open;
    t->ops.close = ops_close;
    t->ops.pread = ops_pread;
    t->ops.pwrite = ops_pwrite;
    t->ops.goto_eof = ops_goto_eof;
    t->ops.sync = ops_sync;
    t->ops.advise = ops_advise;
    t->ops.destructor = ops_destructor;
    t->ops.cookie = t;
    active = t;
}

void ops_free(struct test_ops *t) {
    free(t->log);
    t->log = NULL;
    active = NULL;
}

void ops_reset(struct test_ops *t) {
    t->logged = 0;
    memset(t->calls, 0, sizeof(t->calls));
    t->fail_at = 0;
    t->failed = 0;
    t->fail_partial = false;
    t->zero_writes = 0;
    t->max_read = 0;
    t->max_write = 0;
}

void ops_fail(struct test_ops *t, enum op_kind kind, int at, int times, int code, int error) {
    t->fail_kind = kind;
    t->fail_at = at;
    t->fail_times = times;
    t->fail_code = code;
    t->fail_errno = error;
    t->failed = 0;
}

const char *ops_text(const struct test_ops *t, const char *letters) {
    static char text[65536];
    static const char names[] = "COcrwesad";
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < t->logged && length < sizeof(text) - 100; ++i) {
        const struct op_entry *entry = &t->log[i];
        char letter = names[entry->kind];
        if (strchr(letters, letter) == NULL) {
            continue;
        }
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%c", length ? " " : "",
                                   letter);
        if (letter == 'r' || letter == 'w') {
            length += (size_t)snprintf(text + length, sizeof(text) - length, "%zu@%" PRId64,
                                       entry->length, entry->offset);
        }
        if (entry->result < 0) {
            text[length++] = '!';
            text[length] = '\0';
        }
    }
    return text;
}
