// SPDX-License-Identifier: Apache-2.0
//
// What tests of hosts use of couchstore's inside.
#pragma once

#include <libcouchstore/couch_db.h>

// Size of the blocks of a file.
#define COUCH_BLOCK_SIZE 4096

// New file operations of the default kind; the caller deletes them.
LIBCOUCHSTORE_API FileOpsInterface *create_default_file_ops();
