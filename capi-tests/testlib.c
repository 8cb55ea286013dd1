/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The test framework, and functions that make API calls readable.
 */
#include "testlib.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

/* ---- framework ---------------------------------------------------------- */

static struct {
    const char *name;
    void (*run)(void);
} cases[256];
static size_t case_count;
static char work_dir[PATH_MAX];
static char case_dir[PATH_MAX];
static jmp_buf end_of_case;

void test_register(const char *name, void (*run)(void)) {
    if (case_count == COUNT_OF(cases)) {
        abort();
    }
    cases[case_count].name = name;
    cases[case_count].run = run;
    ++case_count;
}

bool test_small(void) {
    const char *scale = getenv("COUCHSTORE_TEST_SCALE");
    return scale != NULL && strcmp(scale, "small") == 0;
}

void test_fail(const char *file, int line, const char *format, ...) {
    va_list arguments;
    printf("%s:%d: ", file, line);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    longjmp(end_of_case, 1);
}

void test_equal_int(const char *file,
                    int line,
                    const char *text,
                    long long actual,
                    long long expected) {
    if (actual != expected) {
        test_fail(file, line, "%s is %lld, expected %lld", text, actual, expected);
    }
}

void test_equal_code(const char *file, int line, const char *text, int actual, int expected) {
    if (actual != expected) {
        test_fail(file, line, "%s is %d (%s), expected %d (%s)", text, actual,
                  couchstore_strerror((couchstore_error_t)actual), expected,
                  couchstore_strerror((couchstore_error_t)expected));
    }
}

void test_equal_str(const char *file,
                    int line,
                    const char *text,
                    const char *actual,
                    const char *expected) {
    if (actual == NULL || strcmp(actual, expected) != 0) {
        test_fail(file, line, "%s is\n    \"%s\"\nexpected\n    \"%s\"", text,
                  actual ? actual : "(null)", expected);
    }
}

void test_equal_mem(const char *file,
                    int line,
                    const char *text,
                    const void *actual,
                    size_t actual_size,
                    const void *expected,
                    size_t expected_size) {
    const unsigned char *a = actual;
    const unsigned char *e = expected;
    size_t i = 0;
    if (actual_size != expected_size) {
        test_fail(file, line, "%s has %zu bytes, expected %zu", text, actual_size, expected_size);
    }
    while (i < actual_size && a[i] == e[i]) {
        ++i;
    }
    if (i < actual_size) {
        test_fail(file, line, "%s: byte %zu is %02x, expected %02x", text, i, a[i], e[i]);
    }
}

int main(int argc, char **argv) {
    volatile int passed = 0;
    volatile int failed = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: %s DIR [CASE]\n", argv[0]);
        return 2;
    }
    if (realpath(argv[1], work_dir) == NULL || strlen(work_dir) > 200) {
        fprintf(stderr, "no usable directory: %s\n", argv[1]);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (volatile size_t i = 0; i < case_count; ++i) {
        if (argc > 2 && strcmp(argv[2], cases[i].name) != 0) {
            continue;
        }
        snprintf(case_dir, sizeof(case_dir), "%.200s/%.100s", work_dir, cases[i].name);
        if (mkdir(case_dir, 0777) != 0) {
            fprintf(stderr, "cannot make %s\n", case_dir);
            return 2;
        }
        if (setjmp(end_of_case) == 0) {
            cases[i].run();
            printf("ok      %s\n", cases[i].name);
            ++passed;
        } else {
            printf("FAILED  %s\n", cases[i].name);
            ++failed;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0 || passed == 0;
}

/* ---- files -------------------------------------------------------------- */

const char *path(const char *name) {
    static char results[64][600];
    static size_t used;
    char result[sizeof(results[0])];
    size_t i = 0;
    snprintf(result, sizeof(result), "%.380s/%.200s", case_dir, name);
    while (i < used && strcmp(results[i], result) != 0) {
        ++i;
    }
    if (i == used) {
        if (i > 0 && strncmp(results[0], result, strlen(case_dir) + 1) != 0) {
            i = used = 0; /* those of an earlier case */
        }
        CHECK(used < COUNT_OF(results));
        strcpy(results[used++], result);
    }
    return results[i];
}

int64_t file_size(const char *name) {
    struct stat status;
    return stat(name, &status) == 0 ? (int64_t)status.st_size : -1;
}

bool file_exists(const char *name) {
    return file_size(name) >= 0;
}

struct bytes file_read(const char *name) {
    struct bytes b = {NULL, 0};
    FILE *file = fopen(name, "rb");
    unsigned char chunk[8192];
    size_t n;
    CHECK(file != NULL);
    while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0) {
        bytes_add(&b, chunk, n);
    }
    fclose(file);
    return b;
}

void file_write(const char *name, const void *data, size_t size) {
    FILE *file = fopen(name, "wb");
    CHECK(file != NULL);
    CHECK(size == 0 || fwrite(data, 1, size, file) == size);
    CHECK(fclose(file) == 0);
}

void file_copy(const char *from, const char *to) {
    struct bytes b = file_read(from);
    file_write(to, b.data, b.size);
    bytes_free(&b);
}

void file_flip(const char *name, int64_t offset, unsigned char mask) {
    unsigned char byte;
    int fd = open(name, O_RDWR);
    CHECK(fd >= 0);
    CHECK(pread(fd, &byte, 1, offset) == 1);
    byte ^= mask;
    CHECK(pwrite(fd, &byte, 1, offset) == 1);
    close(fd);
}

void file_truncate(const char *name, int64_t size) {
    CHECK(truncate(name, size) == 0);
}

int dir_entries(const char *name) {
    int count = 0;
    struct dirent *entry;
    DIR *dir = opendir(name);
    CHECK(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(dir);
    return count;
}

int open_descriptors(void) {
    return dir_entries("/proc/self/fd");
}

void bytes_free(struct bytes *b) {
    free(b->data);
    b->data = NULL;
    b->size = 0;
}

static unsigned char *bytes_grow(struct bytes *b, size_t size) {
    unsigned char *data = realloc(b->data, b->size + size + 1);
    if (data == NULL) {
        abort();
    }
    b->data = data;
    data += b->size;
    b->size += size;
    return data;
}

void bytes_add(struct bytes *b, const void *data, size_t size) {
    unsigned char *to = bytes_grow(b, size);
    if (size > 0) {
        memcpy(to, data, size);
    }
}

void bytes_zeros(struct bytes *b, size_t size) {
    memset(bytes_grow(b, size), 0, size);
}

void bytes_be(struct bytes *b, uint64_t value, int width) {
    unsigned char *to = bytes_grow(b, (size_t)width);
    for (int i = 0; i < width; ++i) {
        to[i] = (unsigned char)(value >> (8 * (width - 1 - i)));
    }
}

uint64_t read_be(const unsigned char *data, int width) {
    uint64_t value = 0;
    for (int i = 0; i < width; ++i) {
        value = value << 8 | data[i];
    }
    return value;
}

/* ---- database handles --------------------------------------------------- */

Db *test_open(const char *file,
              int line,
              const char *name,
              couchstore_open_flags flags,
              const couch_file_ops *ops) {
    Db *db = NULL;
    couchstore_error_t code = ops == NULL ? couchstore_open_db(name, flags, &db)
                                          : couchstore_open_db_ex(name, flags, ops, &db);
    test_equal_code(file, line, "open", code, COUCHSTORE_SUCCESS);
    return db;
}

void test_close(const char *file, int line, Db *db) {
    test_equal_code(file, line, "couchstore_close_file", couchstore_close_file(db),
                    COUCHSTORE_SUCCESS);
    test_equal_code(file, line, "couchstore_free_db", couchstore_free_db(db), COUCHSTORE_SUCCESS);
}

sized_buf buf(const char *text) {
    sized_buf b;
    b.buf = (char *)(uintptr_t)text;
    b.size = text ? strlen(text) : 0;
    return b;
}

couchstore_error_t save_docs(Db *db,
                             struct doc *docs,
                             size_t count,
                             couchstore_save_options options) {
    Doc *bodies = calloc(count + 1, sizeof(Doc));
    DocInfo *infos = calloc(count + 1, sizeof(DocInfo));
    Doc **body_list = calloc(count + 1, sizeof(Doc *));
    DocInfo **info_list = calloc(count + 1, sizeof(DocInfo *));
    couchstore_error_t code;
    for (size_t i = 0; i < count; ++i) {
        infos[i].id = buf(docs[i].id);
        infos[i].rev_meta = buf(docs[i].meta);
        infos[i].db_seq = docs[i].seq;
        infos[i].rev_seq = docs[i].rev;
        infos[i].deleted = docs[i].deleted;
        infos[i].content_meta = docs[i].content_meta;
        bodies[i].id = infos[i].id;
        bodies[i].data = buf(docs[i].body);
        body_list[i] = docs[i].body ? &bodies[i] : NULL;
        info_list[i] = &infos[i];
    }
    code = couchstore_save_documents(db, body_list, info_list, count, options);
    for (size_t i = 0; i < count; ++i) {
        docs[i].seq = infos[i].db_seq;
    }
    free(bodies);
    free(infos);
    free(body_list);
    free(info_list);
    return code;
}

couchstore_error_t put(Db *db, const char *id, const char *body) {
    struct doc doc = {.id = id, .body = body, .rev = 1};
    return save_docs(db, &doc, 1, 0);
}

couchstore_error_t put_local(Db *db, const char *id, const char *json) {
    LocalDoc doc = {.id = buf(id), .json = buf(json), .deleted = json == NULL};
    return couchstore_save_local_document(db, &doc);
}

couchstore_error_t commit(Db *db, uint64_t timestamp) {
    return couchstore_commit_ex(db, timestamp, NULL, NULL);
}

static int scan_add(struct scan *scan, const char *text) {
    size_t n = strlen(text);
    if (scan->length + n + 2 < sizeof(scan->text)) {
        if (scan->length > 0) {
            scan->text[scan->length++] = ' ';
        }
        memcpy(scan->text + scan->length, text, n + 1);
        scan->length += n;
    }
    ++scan->count;
    return scan->stop_at > 0 && scan->count >= scan->stop_at ? scan->stop_with : 0;
}

int scan_callback(Db *db, DocInfo *info, void *scan) {
    char text[300];
    (void)db;
    snprintf(text, sizeof(text), "%.*s@%" PRIu64 "%s",
             info->id.size < 200 ? (int)info->id.size : 200, info->id.buf, info->db_seq,
             info->deleted ? "-" : "");
    return scan_add(scan, text);
}

int scan_local_callback(Db *db, LocalDoc *doc, void *scan) {
    char text[300];
    (void)db;
    snprintf(text, sizeof(text), "%.*s=%.*s", doc->id.size < 100 ? (int)doc->id.size : 100,
             doc->id.buf, doc->json.size < 100 ? (int)doc->json.size : 100,
             doc->json.size ? doc->json.buf : "");
    return scan_add(scan, text);
}

static const char *scan_result(struct scan *scan, couchstore_error_t code) {
    if (code != COUCHSTORE_SUCCESS) {
        snprintf(scan->text, sizeof(scan->text), "error %d", code);
    }
    return scan->text;
}

const char *docs_by_seq(Db *db) {
    static struct scan scan;
    memset(&scan, 0, sizeof(scan));
    return scan_result(&scan, couchstore_changes_since(db, 0, 0, scan_callback, &scan));
}

const char *docs_by_id(Db *db) {
    static struct scan scan;
    memset(&scan, 0, sizeof(scan));
    return scan_result(&scan, couchstore_all_docs(db, NULL, 0, scan_callback, &scan));
}

const char *local_docs(Db *db) {
    static struct scan scan;
    memset(&scan, 0, sizeof(scan));
    return scan_result(&scan, couchstore_scan_local_docs(db, NULL, scan_local_callback, &scan));
}

static const char *value_text(char *text,
                              size_t size,
                              couchstore_error_t code,
                              const sized_buf *value) {
    if (code != COUCHSTORE_SUCCESS) {
        snprintf(text, size, "error %d", code);
    } else {
        size_t n = value->size < size - 1 ? value->size : size - 1;
        if (n > 0) {
            memcpy(text, value->buf, n);
        }
        text[n] = '\0';
    }
    return text;
}

const char *body_of(Db *db, const char *id) {
    static char text[4096];
    Doc *doc = NULL;
    couchstore_error_t code =
            couchstore_open_document(db, id, strlen(id), &doc, DECOMPRESS_DOC_BODIES);
    value_text(text, sizeof(text), code, code == COUCHSTORE_SUCCESS ? &doc->data : NULL);
    couchstore_free_document(doc);
    return text;
}

const char *local_of(Db *db, const char *id) {
    static char text[4096];
    LocalDoc *doc = NULL;
    couchstore_error_t code = couchstore_open_local_document(db, id, strlen(id), &doc);
    value_text(text, sizeof(text), code, code == COUCHSTORE_SUCCESS ? &doc->json : NULL);
    couchstore_free_local_document(doc);
    return text;
}

uint64_t last_sequence(Db *db) {
    DbInfo info;
    CHECK_OK(couchstore_db_info(db, &info));
    return info.last_sequence;
}

/* FNV-1a: quick enough for large bodies under valgrind. */
static uint64_t hash(const sized_buf *value) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < value->size; ++i) {
        h = (h ^ (unsigned char)value->buf[i]) * 1099511628211u;
    }
    return h;
}

static int describe_doc(Db *db, DocInfo *info, void *ctx) {
    char line[1024], body[64];
    Doc *doc = NULL;
    couchstore_error_t code = couchstore_open_doc_with_docinfo(db, info, &doc, 0);
    if (code == COUCHSTORE_SUCCESS) {
        snprintf(body, sizeof(body), "%zu %016" PRIx64, doc->data.size, hash(&doc->data));
    } else if (code == COUCHSTORE_ERROR_DOC_NOT_FOUND && info->bp == 0) {
        strcpy(body, "none");
    } else {
        snprintf(body, sizeof(body), "error %d", code);
    }
    snprintf(line, sizeof(line),
             "%.*s seq %" PRIu64 " rev %" PRIu64 " del %d cm %u size %zu meta %.*s body %s\n",
             (int)(info->id.size < 200 ? info->id.size : 200), info->id.buf, info->db_seq,
             info->rev_seq, info->deleted, info->content_meta, info->physical_size,
             (int)(info->rev_meta.size < 200 ? info->rev_meta.size : 200), info->rev_meta.buf,
             body);
    couchstore_free_document(doc);
    bytes_add(ctx, line, strlen(line));
    return 0;
}

static int describe_local(Db *db, LocalDoc *doc, void *ctx) {
    char line[512];
    (void)db;
    snprintf(line, sizeof(line), "local %.*s %zu %016" PRIx64 "\n",
             (int)(doc->id.size < 200 ? doc->id.size : 200), doc->id.buf, doc->json.size,
             hash(&doc->json));
    bytes_add(ctx, line, strlen(line));
    return 0;
}

char *describe(Db *db) {
    struct bytes text = {NULL, 0};
    char line[256];
    DbInfo info = {0};
    couchstore_error_t code = couchstore_db_info(db, &info);
    snprintf(line, sizeof(line),
             "info %d seq %" PRIu64 " docs %" PRIu64 " deleted %" PRIu64 " purge %" PRIu64 "\n",
             code, info.last_sequence, info.doc_count, info.deleted_count, info.purge_seq);
    bytes_add(&text, line, strlen(line));
    code = couchstore_changes_since(db, 0, 0, describe_doc, &text);
    snprintf(line, sizeof(line), "by seq %d\n", code);
    bytes_add(&text, line, strlen(line));
    code = couchstore_all_docs(db, NULL, 0, describe_doc, &text);
    snprintf(line, sizeof(line), "by id %d\n", code);
    bytes_add(&text, line, strlen(line));
    code = couchstore_scan_local_docs(db, NULL, describe_local, &text);
    snprintf(line, sizeof(line), "local %d", code);
    bytes_add(&text, line, strlen(line) + 1);
    return (char *)text.data;
}

char *describe_file(const char *name) {
    Db *db = OPEN(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    char *text = describe(db);
    CLOSE(db);
    return text;
}

int ignore_doc(Db *db, DocInfo *info, void *ctx) {
    (void)db, (void)info, (void)ctx;
    return 0;
}

int ignore_local(Db *db, LocalDoc *doc, void *ctx) {
    (void)db, (void)doc, (void)ctx;
    return 0;
}

int ignore_node(Db *db,
                int depth,
                const DocInfo *info,
                uint64_t size,
                const sized_buf *reduce,
                void *ctx) {
    (void)db, (void)depth, (void)info, (void)size, (void)reduce, (void)ctx;
    return 0;
}
