// SPDX-License-Identifier: Apache-2.0
//
// Namespace cb::couchstore, except compaction and replay.

#include "call.h"
#include "entry.h"
#include "file_ops.h"

#include <algorithm>
#include <array>
#include <new>
#include <stdexcept>

using couchstore_shim::guarded;

namespace cb::couchstore {

// ---- Owners ----

void DbDeleter::operator()(Db *db) {
    // Owners are destroyed while other exceptions fly: what the file operations throw is dropped.
    couchstore_shim::closeAndFree(db);
}

void DocInfoDeleter::operator()(DocInfo *info) {
    couchstore_free_docinfo(info);
}

void DocDeleter::operator()(Doc *doc) {
    couchstore_free_document(doc);
}

void LocalDocDeleter::operator()(LocalDoc *doc) {
    couchstore_free_local_document(doc);
}

// ---- Opening ----

namespace {

std::pair<couchstore_error_t, UniqueDbPtr> open(const std::string &filename,
                                                couchstore_open_flags flags,
                                                EncryptionKeyGetter getter,
                                                FileOpsInterface *fileops,
                                                std::optional<cs_off_t> offset) {
    Db *opened = nullptr;
    const auto code =
            couchstore_open_db_ex(filename.c_str(), flags, std::move(getter),
                                  fileops ? fileops : couchstore_get_default_file_ops(), &opened);
    UniqueDbPtr db(opened);
    if (code == COUCHSTORE_SUCCESS && offset) {
        const auto moved = seek(*db, *offset);
        return {moved, std::move(db)};
    }
    return {code, std::move(db)};
}

}  // namespace

// The forms of three generations, each under the name that it was exported by.

std::pair<couchstore_error_t, UniqueDbPtr> openDatabase(const std::string &filename,
                                                        couchstore_open_flags flags,
                                                        FileOpsInterface *fileops,
                                                        std::optional<cs_off_t> offset) {
    return open(filename, flags, {}, fileops, offset);
}

#ifdef COUCHSTORE_HAS_BINARY_NAMES
LIBCOUCHSTORE_API
std::pair<couchstore_error_t, UniqueDbPtr> openDatabase(
        const std::string &filename,
        couchstore_open_flags flags,
        std::function<SharedEncryptionKey(std::string_view)> getter,
        FileOpsInterface *fileops,
        std::optional<cs_off_t> offset) {
    return open(filename, flags, std::move(getter), fileops, offset);
}

LIBCOUCHSTORE_API
std::pair<couchstore_error_t, UniqueDbPtr> openDatabase(const std::string &filename,
                                                        couchstore_open_flags flags,
                                                        detail::KeyFunction getter,
                                                        FileOpsInterface *fileops,
                                                        std::optional<cs_off_t> offset) {
    return open(filename, flags, std::move(getter), fileops, offset);
}
#else
std::pair<couchstore_error_t, UniqueDbPtr> detail::openWithKeys(const std::string &filename,
                                                                couchstore_open_flags flags,
                                                                KeyFunction getter,
                                                                FileOpsInterface *fileops,
                                                                std::optional<cs_off_t> offset) {
    return open(filename, flags, std::move(getter), fileops, offset);
}
#endif

std::pair<couchstore_error_t, UniqueDbPtr> bootstrap(const std::string &filename,
                                                     BootstrapOptions options) {
    couchstore_shim::Keys keys(detail::functionOf(options.keys));
    auto *ops = options.ops ? options.ops : couchstore_get_default_file_ops();
    Db *opened = nullptr;
    const auto code = couchstore_shim::guardedResult(&opened, couchstore_shim::closeAndFree, [&] {
        return couchstore_private_cxx_open(filename.c_str(), options.flags, keys.toRust(),
                                           couchstore_shim::toRust(ops), true, &opened);
    });
    return {code, UniqueDbPtr(opened)};
}

size_t getDiskBlockSize(Db &) {
    return 4096;
}

uint32_t getFileFormatVersion() {
    return static_cast<uint32_t>(Header::Version::V14);
}

bool isEncrypted(const Db &db) {
    return couchstore_private_cxx_key_id(&db).size != 0;
}

std::string_view getEncryptionKeyId(const Db &db) {
    const auto id = couchstore_private_cxx_key_id(&db);
    return id.buf ? std::string_view(id.buf, id.size) : std::string_view();
}

// ---- Headers ----

couchstore_error_t seek(Db &db, cs_off_t offset) {
    return guarded([&] { return couchstore_private_cxx_seek_offset(&db, offset); });
}

couchstore_error_t seek(Db &db, Direction direction) {
    return guarded([&] { return couchstore_private_cxx_seek(&db, static_cast<int>(direction)); });
}

couchstore_error_t seekFirstHeaderContaining(Db &db, uint64_t seqno, uint64_t granularity) {
    const auto code =
            guarded([&] { return couchstore_private_cxx_seek_first(&db, seqno, granularity); });
    if (granularity == 0 && code == COUCHSTORE_ERROR_INVALID_ARGUMENTS) {
        throw std::invalid_argument("seekFirstHeaderContaining: granularity is 0");
    }
    return code;
}

Header getHeader(Db &db) {
    couchstore_header_info info{};
    couchstore_get_header(&db, &info);
    Header header{};
    header.version = static_cast<Header::Version>(info.version);
    header.timestamp = info.timestamp;
    header.updateSeqNum = info.update_seq;
    header.purgeSeqNum = info.purge_seq;
    header.headerPosition = info.header_position;
    header.filename = couchstore_get_db_filename(&db);
    header.docCount = info.doc_count;
    header.deletedCount = info.deleted_count;
    header.spaceUsed = info.space_used;
    header.fileSize = info.file_size;
    return header;
}

// ---- Documents ----

std::pair<couchstore_error_t, UniqueLocalDocPtr> openLocalDocument(Db &db, std::string_view id) {
    LocalDoc *doc = nullptr;
    const auto code = couchstore_open_local_document(&db, id.data(), id.size(), &doc);
    return {code, UniqueLocalDocPtr(doc)};
}

std::pair<couchstore_error_t, UniqueLocalDocPtr> openLocalDocument(Db &db, const DocInfo &docInfo) {
    return openLocalDocument(db, std::string_view(docInfo.id.buf, docInfo.id.size));
}

std::pair<couchstore_error_t, UniqueDocPtr> openDocument(Db &db, const DocInfo &docInfo) {
    Doc *doc = nullptr;
    const auto code = couchstore_open_doc_with_docinfo(&db, &docInfo, &doc, DECOMPRESS_DOC_BODIES);
    return {code, UniqueDocPtr(doc)};
}

std::pair<couchstore_error_t, UniqueDocPtr> openDocument(Db &db, std::string_view key) {
    Doc *doc = nullptr;
    const auto code =
            couchstore_open_document(&db, key.data(), key.size(), &doc, DECOMPRESS_DOC_BODIES);
    return {code, UniqueDocPtr(doc)};
}

std::pair<couchstore_error_t, UniqueDocInfoPtr> openDocInfo(Db &db, std::string_view key) {
    DocInfo *info = nullptr;
    const auto code = couchstore_docinfo_by_id(&db, key.data(), key.size(), &info);
    return {code, UniqueDocInfoPtr(info)};
}

namespace {

// A scan of local documents, and what its callback ended it with.
struct LocalScan {
    const std::function<couchstore_error_t(UniqueLocalDocPtr)> &callback;
    couchstore_error_t code{COUCHSTORE_SUCCESS};

    static int call(Db *, LocalDoc *doc, void *self) noexcept {
        auto &scan = *static_cast<LocalScan *>(self);
        UniqueLocalDocPtr owned(doc);
        try {
            scan.code = scan.callback(std::move(owned));
        } catch (const std::bad_alloc &) {
            scan.code = COUCHSTORE_ERROR_ALLOC_FAIL;
        } catch (...) {
            scan.code = COUCHSTORE_ERROR_INVALID_ARGUMENTS;
        }
        return scan.code == COUCHSTORE_SUCCESS ? 0 : COUCHSTORE_ERROR_CANCEL;
    }
};

}  // namespace

couchstore_error_t scanLocalDocs(
        Db &db,
        std::string_view from,
        const std::function<couchstore_error_t(UniqueLocalDocPtr)> &callback) {
    LocalScan scan{callback};
    const sized_buf start{const_cast<char *>(from.data()), from.size()};
    const auto code = guarded(
            [&] { return couchstore_private_cxx_scan_local(&db, start, LocalScan::call, &scan); });
    return scan.code != COUCHSTORE_SUCCESS ? scan.code : code;
}

couchstore_error_t saveLocalDocuments(Db &db,
                                      std::vector<std::reference_wrapper<LocalDoc>> &documents) {
    const auto id = [](const LocalDoc &doc) { return std::string_view(doc.id.buf, doc.id.size); };
    // Stable: of equal ids the last one counts.
    std::stable_sort(documents.begin(), documents.end(),
                     [&](const LocalDoc &a, const LocalDoc &b) { return id(a) < id(b); });
    std::vector<LocalDoc *> pointers;
    pointers.reserve(documents.size());
    for (LocalDoc &doc : documents) {
        pointers.push_back(&doc);
    }
    return guarded([&] {
        return couchstore_private_cxx_save_local(&db, pointers.data(), pointers.size());
    });
}

// ---- Diagnostics ----

std::string getLastOsError(const Db &db) {
    std::array<char, 512> text{};
    couchstore_last_os_error(&db, text.data(), text.size());
    return text.data();
}

std::string getLastInternalError() {
    std::array<char, 512> text{};
    couchstore_private_cxx_last_internal_error(text.data(), text.size());
    return text.data();
}

void setOnInternalError(std::function<void(std::string_view)> handler) {
    using Handler = std::function<void(std::string_view)>;
    const auto destroy = [](void *ctx) { delete static_cast<Handler *>(ctx); };
    if (!handler) {
        couchstore_private_cxx_on_internal_error(nullptr, destroy, nullptr);
        return;
    }
    const auto call = [](const char *message, size_t size, void *ctx) {
        couchstore_shim::caught<int>(0, [&] {
            (*static_cast<Handler *>(ctx))(std::string_view(message, size));
            return 0;
        });
    };
    couchstore_private_cxx_on_internal_error(call, destroy, new Handler(std::move(handler)));
}

}  // namespace cb::couchstore
