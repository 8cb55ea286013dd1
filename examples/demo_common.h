/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What both parts of the demo use: ending after a failure, showing figures, the temporary folder.
 */
#ifndef COUCHSTORE_DEMO_COMMON_H
#define COUCHSTORE_DEMO_COMMON_H

#include <libcouchstore/couch_db.h>

#include <stdint.h>

enum { FOLDER_MAX = 4096 };

/* Files in the temporary folder, once it has been made. */
extern char file_path[FOLDER_MAX + 32];
extern char compacted_path[FOLDER_MAX + 32];

/* Makes the temporary folder, and removes it with the two files. */
void make_folder(void);
void remove_folder(void);

/* Ends the program with this message. */
_Noreturn void fail(const char *format, ...);

/* Ends the program if a call failed, with all that the library says about it; db may be NULL. */
void check(couchstore_error_t code, const Db *db, const char *what);

void close_database(Db *db);

/* Seconds since some moment. */
double now(void);

/* A line that counts up, on a terminal; a line for each 10 % elsewhere. */
void show_progress(const char *what, uint64_t done, uint64_t total);
void show_time(const char *what, uint64_t documents, double seconds);
void show_header(const char *title, Db *db);
void show_sizes(uint64_t before, uint64_t after);
uint64_t size_of_file(const char *path);

/* 1234567 as "1,234,567". The text is good until the fourth next call. */
const char *number(uint64_t value);
/* A size with its unit, as "12.3 MiB". The text is good until the fourth next call. */
const char *bytes(uint64_t value);

/* demo_existing.c: reads, compacts and compares a database, which is only read. */
void demo_existing(const char *path);

#endif
