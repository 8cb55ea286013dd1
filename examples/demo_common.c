/*
 * SPDX-License-Identifier: Apache-2.0
 */
#define _POSIX_C_SOURCE 200809L

#include "demo_common.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Failing ---- */

/* The temporary folder and what lies in it, to be removed at the end. */
static char folder[FOLDER_MAX];
char file_path[FOLDER_MAX + 32];
char compacted_path[FOLDER_MAX + 32];

void remove_folder(void) {
    if (folder[0] != '\0') {
        unlink(file_path);
        unlink(compacted_path);
        rmdir(folder);
        folder[0] = '\0';
    }
}

_Noreturn void fail(const char *format, ...) {
    va_list arguments;
    fflush(stdout);
    fprintf(stderr, "\nerror: ");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    remove_folder();
    exit(1);
}

/* Ends the program if a call failed, with all that the library says about it. */
void check(couchstore_error_t code, const Db *db, const char *what) {
    char os_error[256] = "";
    char internal_error[256] = "";
    if (code == COUCHSTORE_SUCCESS) {
        return;
    }
    if (db == NULL) {
        /* No handle to ask, but errno still has the reason. */
        if (code == COUCHSTORE_ERROR_OPEN_FILE || code == COUCHSTORE_ERROR_NO_SUCH_FILE) {
            snprintf(os_error, sizeof os_error, "%s", strerror(errno));
        }
    } else {
        couchstore_last_os_error(db, os_error, sizeof os_error);
        couchstore_last_internal_error(db, internal_error, sizeof internal_error);
    }
    fail("%s: %s (%d)%s%s%s%s", what, couchstore_strerror(code), (int)code,
         os_error[0] != '\0' ? "\n  operating system: " : "", os_error,
         internal_error[0] != '\0' ? "\n  library: " : "", internal_error);
}

/* ---- Showing ---- */

double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* A line that counts up, on a terminal; a line for each 10 % elsewhere. */
void show_progress(const char *what, uint64_t done, uint64_t total) {
    static const char *last_what;
    static uint64_t last_step;
    const bool terminal = isatty(STDERR_FILENO) != 0;
    const uint64_t steps = terminal ? 100 : 10;
    const uint64_t step = total == 0 ? steps : done * steps / total;
    if (last_what == what && last_step == step) {
        return;
    }
    if (terminal) {
        fprintf(stderr, "\r  %-34s %3" PRIu64 " %%", what, step);
        if (done >= total) {
            fprintf(stderr, "\r%-46s\r", "");
        }
    } else if (step > 0) {
        fprintf(stderr, "  %s: %" PRIu64 " %%\n", what, step * 10);
    }
    fflush(stderr);
    last_what = what;
    last_step = step;
}

/* 1234567 as "1,234,567". The text is good until the fourth next call. */
const char *number(uint64_t value) {
    static char texts[4][32];
    static unsigned turn;
    char *text = texts[turn++ % 4] + sizeof texts[0];
    int digits = 0;
    *--text = '\0';
    do {
        if (digits != 0 && digits % 3 == 0) {
            *--text = ',';
        }
        *--text = (char)('0' + value % 10);
        value /= 10;
        ++digits;
    } while (value != 0);
    return text;
}

/* A size with its unit, as "12.3 MiB". The text is good until the fourth next call. */
const char *bytes(uint64_t value) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    static char texts[4][32];
    static unsigned turn;
    char *text = texts[turn++ % 4];
    double amount = (double)value;
    size_t unit = 0;
    while (amount >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        amount /= 1024;
        ++unit;
    }
    snprintf(text, sizeof texts[0], unit == 0 ? "%.0f %s" : "%.1f %s", amount, units[unit]);
    return text;
}

void show_time(const char *what, uint64_t documents, double seconds) {
    printf("  %-34s %8.2f s", what, seconds);
    if (documents != 0 && seconds > 0) {
        printf("  %13s documents/s", number((uint64_t)((double)documents / seconds)));
    }
    printf("\n");
    fflush(stdout);
}

uint64_t size_of_file(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) {
        fail("%s: no size to be had", path);
    }
    return (uint64_t)status.st_size;
}

void show_header(const char *title, Db *db) {
    couchstore_header_info header;
    char when[64] = "not stored";
    check(couchstore_get_header(db, &header), db, "reading the header");
    if (header.timestamp != 0) {
        const time_t seconds = (time_t)(header.timestamp / 1000000000);
        struct tm parts;
        if (gmtime_r(&seconds, &parts) != NULL) {
            strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &parts);
        }
    }
    printf("\n%s\n", title);
    printf("  %-20s %16s\n", "header position", number(header.header_position));
    printf("  %-20s %16" PRIu64 "\n", "format version", header.version);
    printf("  %-20s %16s\n", "committed", when);
    printf("  %-20s %16s\n", "update sequence", number(header.update_seq));
    printf("  %-20s %16s\n", "purge sequence", number(header.purge_seq));
    printf("  %-20s %16s\n", "documents", number(header.doc_count));
    printf("  %-20s %16s\n", "deleted documents", number(header.deleted_count));
    printf("  %-20s %16s  (%s)\n", "space used", number(header.space_used),
           bytes(header.space_used));
    printf("  %-20s %16s  (%s)\n\n", "file size", number(header.file_size),
           bytes(header.file_size));
    fflush(stdout);
}

void show_sizes(uint64_t before, uint64_t after) {
    printf("\nFile size\n");
    printf("  %-20s %16s  (%s)\n", "before", number(before), bytes(before));
    printf("  %-20s %16s  (%s)\n", "after", number(after), bytes(after));
    printf("  %-20s %14.1f %%\n", "remaining",
           before == 0 ? 100.0 : 100.0 * (double)after / (double)before);
}

void make_folder(void) {
    const char *parent = getenv("TMPDIR");
    if (parent == NULL || parent[0] == '\0') {
        parent = "/tmp";
    }
    const int length = snprintf(folder, sizeof folder, "%s/couchstore-demo-XXXXXX", parent);
    if (length < 0 || (size_t)length >= sizeof folder) {
        folder[0] = '\0';
        fail("the path of the temporary folder is too long");
    }
    if (mkdtemp(folder) == NULL) {
        folder[0] = '\0';
        fail("no temporary folder in %s", parent);
    }
    snprintf(file_path, sizeof file_path, "%s/demo.couch", folder);
    snprintf(compacted_path, sizeof compacted_path, "%s/compacted.couch", folder);
}

void close_database(Db *db) {
    check(couchstore_close_file(db), db, "closing");
    check(couchstore_free_db(db), NULL, "freeing the handle");
}
