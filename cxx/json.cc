// SPDX-License-Identifier: Apache-2.0
//
// Headers of files as JSON. Empty where there is no nlohmann/json.hpp.

#include <libcouchstore/json_utils.h>

#ifdef COUCHSTORE_HAS_JSON

#include <nlohmann/json.hpp>

#include <array>
#include <cinttypes>
#include <cstdio>

namespace cb::couchstore {

nlohmann::json to_json(const Header &header) {
    std::array<char, 2 + 16 + 1> position{};
    std::snprintf(position.data(), position.size(), "0x%016" PRIx64, header.headerPosition);
    return {{"version", static_cast<int>(header.version)},
            {"update_seq", header.updateSeqNum},
            {"purge_seq", header.purgeSeqNum},
            {"header_position", position.data()},
            {"timestamp", header.timestamp},
            {"filename", header.filename ? header.filename : ""},
            {"doc_count", header.docCount},
            {"deleted_count", header.deletedCount},
            {"space_used", header.spaceUsed},
            {"file_size", header.fileSize}};
}

nlohmann::json Header::to_json() const {
    return cb::couchstore::to_json(*this);
}

}  // namespace cb::couchstore

#endif
