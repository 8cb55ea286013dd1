/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Headers of files as JSON, for C++ programs that have <nlohmann/json.hpp>. Without it this header
 * declares nothing. The library must have been built with the same major version of it.
 */
#ifndef COUCHSTORE_JSON_UTILS_H
#define COUCHSTORE_JSON_UTILS_H

#include <libcouchstore/couch_db.h>

#if defined(__cplusplus) && defined(COUCHSTORE_HAS_JSON)

namespace cb::couchstore {

/**
 * An object with the numbers version, update_seq, purge_seq, timestamp, doc_count, deleted_count,
 * space_used and file_size, the string filename, and header_position as "0x" and 16 hex digits.
 */
LIBCOUCHSTORE_API nlohmann::json to_json(const Header &header);

}  // namespace cb::couchstore

#endif

#endif /* COUCHSTORE_JSON_UTILS_H */
