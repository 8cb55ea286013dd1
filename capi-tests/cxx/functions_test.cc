// SPDX-License-Identifier: Apache-2.0
//
// Every function of namespace cb::couchstore, and the functions with C linkage that have C++ types.

#include "recording_ops.h"
#include "support.h"

#include <libcouchstore/couch_latency.h>
#include <libcouchstore/json_utils.h>

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <set>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#ifdef COUCHSTORE_HAS_JSON
#include <nlohmann/json.hpp>
#endif

using namespace cb::couchstore;
using namespace testing_support;

// Not in the public headers; other programs declare it themselves.
LIBCOUCHSTORE_API FileOpsInterface *create_default_file_ops();

namespace {

using Key = cb::crypto::KeyDerivationKey;
using cb::crypto::Cipher;

EncryptionKeyGetter keyOf(std::string id, Cipher cipher = Cipher::AES_256_GCM) {
    return [=](std::string_view) {
        return std::make_shared<const Key>(id, cipher, std::string(32, 'k'));
    };
}

TEST(OpenDatabase, WithAndWithoutOps) {
    const auto name = sample();
    EXPECT_EQ(COUCHSTORE_SUCCESS, openDatabase(name, 0).first);
    EXPECT_EQ(COUCHSTORE_SUCCESS, openDatabase(name, 0, couchstore_get_default_file_ops()).first);
    std::unique_ptr<FileOpsInterface> ops(create_default_file_ops());
    EXPECT_EQ(COUCHSTORE_SUCCESS, openDatabase(name, 0, ops.get()).first);
    auto [code, db] = openDatabase(name + ".missing", 0);
    EXPECT_EQ(COUCHSTORE_ERROR_NO_SUCH_FILE, code);
    EXPECT_FALSE(db);
    Db *raw = nullptr;
    EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS,
              couchstore_open_db_ex(name.c_str(), 0, nullptr, &raw));
    EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS,
              couchstore_open_db_ex(nullptr, 0, couchstore_get_default_file_ops(), &raw));
}

TEST(OpenDatabase, FlagsMadeOfSizes) {
    const auto flags = couchstore_encode_read_buffer_flags(4096, 16) |
                       couchstore_encode_node_size_flags(2048, 1025) |
                       couchstore_encode_periodic_sync_flags(1 << 20);
    EXPECT_EQ(0x0b223200u, flags);
    EXPECT_EQ(COUCHSTORE_SUCCESS, openDatabase(sample(), flags).first);
}

TEST(OpenDatabase, WithAnOffset) {
    const auto name = sample();
    uint64_t first = 0;
    {
        auto db = open(name);
        first = getHeader(*db).headerPosition;
        put(db.get(), "later", "x");
        couchstore_commit(db.get());
    }
    auto [code, db] = openDatabase(name, 0, {}, cs_off_t(first));
    EXPECT_EQ(COUCHSTORE_SUCCESS, code);
    EXPECT_EQ(first, getHeader(*db).headerPosition);
    auto [wrong, still] = openDatabase(name, 0, nullptr, {}, cs_off_t(1));
    EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS, wrong);
    EXPECT_TRUE(still) << "the error, and the open handle";
}

TEST(OpenDatabase, ExclusiveLeavesErrno) {
    const auto name = sample();
    errno = 0;
    EXPECT_EQ(COUCHSTORE_ERROR_OPEN_FILE,
              openDatabase(name, COUCHSTORE_OPEN_FLAG_CREATE | COUCHSTORE_OPEN_FLAG_EXCL).first);
    EXPECT_EQ(EEXIST, errno);
    auto db = open(name);
    errno = 0;
    EXPECT_EQ(COUCHSTORE_ERROR_OPEN_FILE, compact(*db, name.c_str(), 0, {}, {}, nullptr));
    EXPECT_EQ(EEXIST, errno);
}

TEST(OpenDatabase, AnEmptyFileGetsItsFirstHeader) {
    for (const auto flags :
         {couchstore_open_flags(0), COUCHSTORE_OPEN_FLAG_CREATE, COUCHSTORE_OPEN_WITH_LEGACY_CRC}) {
        const auto name = freshName();
        std::fclose(std::fopen(name.c_str(), "w"));
        EXPECT_EQ(COUCHSTORE_ERROR_NO_HEADER,
                  openDatabase(name, COUCHSTORE_OPEN_FLAG_RDONLY).first);
        open(name, flags);
        open(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    }
}

TEST(Keys, GettersAndFiles) {
#ifdef COUCHSTORE_WITHOUT_ENCRYPTION
    GTEST_SKIP() << "the library was built without encryption";
#endif
    const auto name = freshName();
    const auto createWith = [&](EncryptionKeyGetter getter) {
        return openDatabase(name, COUCHSTORE_OPEN_FLAG_CREATE, std::move(getter)).first;
    };
    for (const auto &id : {std::string("an id"), std::string(255, 'i')}) {
        EXPECT_EQ(COUCHSTORE_SUCCESS, createWith(keyOf(id)));
        EXPECT_EQ(COUCHSTORE_ERROR_NO_ENCRYPTION_KEY, openDatabase(name, 0).first);
        EXPECT_EQ(COUCHSTORE_ERROR_NO_ENCRYPTION_KEY,
                  openDatabase(name, 0, keyOf("another")).first);
        EncryptionKeyGetter throwing = [](std::string_view) -> cb::crypto::SharedKeyDerivationKey {
            throw std::runtime_error("no keys");
        };
        EXPECT_EQ(COUCHSTORE_ERROR_NO_ENCRYPTION_KEY, openDatabase(name, 0, throwing).first);
        auto [code, db] = openDatabase(name, 0, keyOf(id));
        ASSERT_EQ(COUCHSTORE_SUCCESS, code);
        EXPECT_TRUE(isEncrypted(*db));
        EXPECT_EQ(id, getEncryptionKeyId(*db));
        std::remove(name.c_str());
    }
    EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS, createWith(keyOf("")));
    EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS, createWith(keyOf(std::string(256, 'i'))));
    EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS, createWith([](std::string_view) {
                  return std::make_shared<const Key>(
                          "id", Cipher::AES_256_GCM, "k",
                          cb::crypto::KeyDerivationMethod::PasswordBased);
              }));
    EXPECT_FALSE(exists(name));

    std::vector<std::string> asked;
    const auto none = [&](std::string_view id) -> cb::crypto::SharedKeyDerivationKey {
        asked.emplace_back(id);
        return {};
    };
    EXPECT_EQ(COUCHSTORE_SUCCESS, createWith(none));
    EXPECT_EQ(std::vector<std::string>{""}, asked) << "asked once, for the active key";
    EXPECT_EQ(COUCHSTORE_SUCCESS, createWith(none));
    EXPECT_EQ(1u, asked.size()) << "never asked about a file that is not encrypted";
    auto db = open(name);
    EXPECT_FALSE(isEncrypted(*db));
    EXPECT_TRUE(getEncryptionKeyId(*db).empty());
    const auto target = freshName("target");
    EXPECT_EQ(COUCHSTORE_SUCCESS, compact(*db, target.c_str(), 0, keyOf("id"), {}, {}, nullptr));
    EXPECT_EQ("id", getEncryptionKeyId(*openDatabase(target, 0, keyOf("id")).second));
    std::remove(target.c_str());
    EXPECT_EQ(COUCHSTORE_SUCCESS, compact(*db, target.c_str(), 0, none, {}, {}, nullptr));
}

TEST(Headers, SeekAndGetHeader) {
    const auto name = freshName();
    auto db = create(name);
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit_ex(db.get(), 111));
    put(db.get(), "a", "1");
    couchstore_set_purge_seq(db.get(), 7);
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit_ex(db.get(), 222));
    const auto header = getHeader(*db);
    EXPECT_EQ(Header::Version::V14, header.version);
    EXPECT_EQ(222u, header.timestamp);
    EXPECT_EQ(1u, header.updateSeqNum);
    EXPECT_EQ(7u, header.purgeSeqNum);
    EXPECT_EQ(name, header.filename);
    EXPECT_EQ(1u, header.docCount);
    EXPECT_EQ(0u, header.deletedCount);
    EXPECT_LT(0u, header.spaceUsed);
    EXPECT_LT(header.headerPosition, header.fileSize);
    EXPECT_EQ(4096u, getDiskBlockSize(*db));
    EXPECT_EQ(14u, getFileFormatVersion());

    EXPECT_EQ(COUCHSTORE_SUCCESS, seek(*db, Direction::Backward));
    EXPECT_EQ(111u, getHeader(*db).timestamp);
    EXPECT_EQ(COUCHSTORE_SUCCESS, seek(*db, Direction::Forward));
    EXPECT_EQ(COUCHSTORE_ERROR_NO_HEADER, seek(*db, Direction::Forward));
    EXPECT_EQ(COUCHSTORE_SUCCESS, seek(*db, cs_off_t(0)));
    EXPECT_EQ(0u, getHeader(*db).timestamp);
    EXPECT_EQ(COUCHSTORE_ERROR_NO_HEADER, seek(*db, Direction::Backward));
    EXPECT_EQ(COUCHSTORE_SUCCESS, seek(*db, Direction::End));
    EXPECT_EQ(222u, getHeader(*db).timestamp);
    EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS, seek(*db, cs_off_t(17)));
    EXPECT_EQ(COUCHSTORE_ERROR_NO_HEADER, seek(*db, cs_off_t(1) << 40));
    EXPECT_EQ(COUCHSTORE_ERROR_NO_HEADER, seek(*db, cs_off_t(-4096)));
    EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS, seek(*db, static_cast<Direction>(3)));
    EXPECT_EQ(222u, getHeader(*db).timestamp);

    EXPECT_EQ(COUCHSTORE_SUCCESS, seekFirstHeaderContaining(*db, 1, 1));
    EXPECT_EQ(222u, getHeader(*db).timestamp);
    EXPECT_THROW(seekFirstHeaderContaining(*db, 1, 0), std::invalid_argument);

    couchstore_close_file(db.get());
    EXPECT_EQ(COUCHSTORE_ERROR_FILE_CLOSED, seek(*db, Direction::End));
    EXPECT_EQ(COUCHSTORE_ERROR_FILE_CLOSED, seek(*db, static_cast<Direction>(3)));
    EXPECT_EQ(COUCHSTORE_ERROR_FILE_CLOSED, seekFirstHeaderContaining(*db, 1, 0));
    EXPECT_EQ(222u, getHeader(*db).timestamp) << "a closed handle keeps what it knew";
}

#ifdef COUCHSTORE_HAS_JSON
TEST(Headers, Json) {
    const auto name = sample();
    auto db = open(name);
    const auto header = getHeader(*db);
    const nlohmann::json json = to_json(header);
    EXPECT_EQ(14, json["version"]);
    EXPECT_EQ(header.updateSeqNum, json["update_seq"]);
    EXPECT_EQ(header.purgeSeqNum, json["purge_seq"]);
    EXPECT_EQ(header.timestamp, json["timestamp"]);
    EXPECT_EQ(header.docCount, json["doc_count"]);
    EXPECT_EQ(header.deletedCount, json["deleted_count"]);
    EXPECT_EQ(header.spaceUsed, json["space_used"]);
    EXPECT_EQ(header.fileSize, json["file_size"]);
    EXPECT_EQ(name, json["filename"]);
    char position[20];
    std::snprintf(position, sizeof position, "0x%016llx",
                  (unsigned long long)header.headerPosition);
    EXPECT_EQ(position, json["header_position"]);
    EXPECT_EQ(10u, json.size());
    EXPECT_EQ(json, header.to_json()) << "the older form";
}
#endif

TEST(Documents, OpenInAllForms) {
    auto db = create(freshName());
    const std::string body(3000, 'x'), id = "packed";
    Doc doc{view(id), view(body)};
    DocInfo info;
    info.id = doc.id;
    info.content_meta = COUCH_DOC_IS_COMPRESSED;
    ASSERT_EQ(COUCHSTORE_SUCCESS,
              couchstore_save_document(db.get(), &doc, &info, COMPRESS_DOC_BODIES));
    auto [found, entry] = openDocInfo(*db, id);
    ASSERT_EQ(COUCHSTORE_SUCCESS, found);
    EXPECT_GT(3000u, entry->physical_size);
    for (auto &&[code, read] : {openDocument(*db, id), openDocument(*db, *entry)}) {
        EXPECT_EQ(COUCHSTORE_SUCCESS, code);
        EXPECT_EQ(body, std::string(read->data.buf, read->data.size));
    }
    EXPECT_EQ(COUCHSTORE_ERROR_DOC_NOT_FOUND, openDocument(*db, "none").first);
    EXPECT_FALSE(openDocInfo(*db, "none").second);
}

TEST(Documents, Local) {
    auto db = create(freshName());
    const std::string names[] = {"_local/c", "_local/a", "not with the prefix", "_local/a"};
    const std::string bodies[] = {"1", "2", "3", "last of two"};
    std::vector<LocalDoc> docs;
    for (int i = 0; i < 4; ++i) {
        docs.push_back({view(names[i]), view(bodies[i]), 0});
    }
    std::vector<std::reference_wrapper<LocalDoc>> references(docs.begin(), docs.end());
    EXPECT_EQ(COUCHSTORE_SUCCESS, saveLocalDocuments(*db, references));
    EXPECT_EQ("_local/c", std::string(references[2].get().id.buf, 8)) << "the vector is sorted";
    std::vector<std::reference_wrapper<LocalDoc>> nothing;
    EXPECT_EQ(COUCHSTORE_SUCCESS, saveLocalDocuments(*db, nothing));
    std::vector<UniqueLocalDocPtr> kept;
    const auto keep = [&](UniqueLocalDocPtr doc) {
        kept.push_back(std::move(doc));
        return COUCHSTORE_SUCCESS;
    };
    EXPECT_EQ(COUCHSTORE_SUCCESS, scanLocalDocs(*db, "_local/b", keep));
    ASSERT_EQ(2u, kept.size());
    EXPECT_EQ("1", std::string(kept[0]->json.buf, kept[0]->json.size));
    auto [code, doc] = openLocalDocument(*db, "_local/a");
    EXPECT_EQ(COUCHSTORE_SUCCESS, code);
    EXPECT_EQ("last of two", std::string(doc->json.buf, doc->json.size));
    DocInfo entry;
    entry.id = view(names[0]);
    EXPECT_EQ(COUCHSTORE_SUCCESS, openLocalDocument(*db, entry).first);
    EXPECT_EQ(COUCHSTORE_ERROR_DOC_NOT_FOUND, openLocalDocument(*db, "_local/none").first);
    couchstore_close_file(db.get());
    EXPECT_EQ(COUCHSTORE_ERROR_FILE_CLOSED, scanLocalDocs(*db, {}, keep));
}

TEST(Commit, RetryIsAskedOncePerFailedLastSync) {
    RecordingOps ops;
    auto [code, db] = openDatabase(freshName(), COUCHSTORE_OPEN_FLAG_CREATE, &ops);
    put(db.get(), "a", "b");
    ops.reset();
    ops.fault = {"sync", 2, false, COUCHSTORE_ERROR_WRITE};
    int asked = 0;
    const SysErrorCallback again = [&](const std::system_error &error) {
        ++asked;
        EXPECT_EQ(std::system_category(), error.code().category());
        return true;
    };
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get(), again));
    EXPECT_EQ(1, asked);
    EXPECT_EQ(3, ops.count("sync"));
    ops.reset();
    ops.fault = {"sync", 1, false, COUCHSTORE_ERROR_CANCEL};
    EXPECT_EQ(COUCHSTORE_ERROR_CANCEL, couchstore_commit_ex(db.get(), 1, again))
            << "the ops' own code";
    EXPECT_EQ(1, asked) << "never for the first sync";
}

TEST(Commit, DoesNotLookAtTheCallback) {
    auto db = create(freshName());
    put(db.get(), "a", "b");
    // What a caller of the C symbol with one argument passes.
    const auto &garbage = *reinterpret_cast<const SysErrorCallback *>(uintptr_t(16));
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get(), garbage));
}

TEST(Compact, FiltersAndRewrites) {
    auto db = open(sample(10));
    const auto target = freshName("target");
    int documents = 0, ends = 0, bodies = 0;
    const auto filter = [&](Db &, DocInfo *info, sized_buf body) -> int {
        if (!info) {
            ++ends;
            EXPECT_EQ(nullptr, body.buf);
            return 0;
        }
        if (!body.buf) {
            EXPECT_EQ(0xffffffu, body.size);
            ++documents;
            return info->db_seq == 1   ? int(COUCHSTORE_COMPACT_NEED_BODY)
                   : info->db_seq == 2 ? 1
                                       : 0;
        }
        ++bodies;
        EXPECT_EQ("body 0", std::string(body.buf, body.size));
        return 0;
    };
    const auto rewrite = [](DocInfo *&info, sized_buf) {
        const std::string meta = "new";
        const sized_buf id = info->id, rev_meta = view(meta);
        auto *replaced = couchstore_alloc_docinfo(&id, &rev_meta);
        couchstore_free_docinfo(info);
        info = replaced;
        return -5;  // any result but 0
    };
    int committed = 0;
    const auto precommit = [&](Db &source, Db &copy) {
        ++committed;
        EXPECT_EQ(db.get(), &source);
        EXPECT_EQ(COUCHSTORE_SUCCESS, putLocal(&copy, "_local/hook", "x"));
        return COUCHSTORE_SUCCESS;
    };
    EXPECT_EQ(COUCHSTORE_SUCCESS,
              compact(*db, target.c_str(), 0, {}, filter, rewrite, nullptr, precommit));
    EXPECT_EQ(10, documents);
    EXPECT_EQ(1, bodies);
    EXPECT_EQ(1, ends);
    EXPECT_EQ(1, committed);
    auto copy = open(target);
    EXPECT_EQ(9u, getHeader(*copy).docCount);
    EXPECT_EQ(getHeader(*db).timestamp, getHeader(*copy).timestamp);
    EXPECT_EQ(COUCHSTORE_SUCCESS, openLocalDocument(*copy, "_local/hook").first);
    auto [code, info] = openDocInfo(*copy, "key1000");
    EXPECT_EQ("new", std::string(info->rev_meta.buf, info->rev_meta.size));
    EXPECT_EQ(COUCHSTORE_ERROR_NO_HEADER, seek(*copy, Direction::Backward)) << "exactly one header";
}

TEST(Compact, ResultsOfHooks) {
    auto db = open(sample(5));
    const auto target = freshName("target");
    const auto result = [&](int verdict, int end, int precommit) {
        const auto filter = [=](Db &, DocInfo *info, sized_buf) { return info ? verdict : end; };
        const auto pre = [=](Db &, Db &) { return static_cast<couchstore_error_t>(precommit); };
        const auto code = compact(*db, target.c_str(), 0, filter, {}, nullptr, pre);
        EXPECT_EQ(code == COUCHSTORE_SUCCESS, exists(target));
        std::remove(target.c_str());
        return int(code);
    };
    EXPECT_EQ(0, result(0, 0, 0));
    EXPECT_EQ(0, result(99, 5, 5)) << "positive results end nothing";
    EXPECT_EQ(-4711, result(-4711, 0, 0));
    EXPECT_EQ(-12, result(0, -12, 0));
    EXPECT_EQ(-19, result(0, 0, -19));
}

TEST(Compact, CopiesWhatIsNotCommitted) {
    auto db = open(sample(5));
    put(db.get(), "uncommitted", "x");
    const auto target = freshName("target");
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_compact_db_ex(db.get(), target.c_str(), 0, nullptr,
                                                           nullptr, nullptr, nullptr));
    EXPECT_EQ(6u, getHeader(*open(target)).docCount);
}

// A source with a header each 100 ns, and a copy made of its first one.
struct History {
    explicit History(int commits) : name(freshName("history")), copyName(freshName("copy")) {
        auto db = create(name);
        for (int i = 1; i <= commits; ++i) {
            put(db.get(), "key" + std::to_string(i), "x");
            couchstore_commit_ex(db.get(), uint64_t(i) * 100);
            ends.push_back(getHeader(*db).headerPosition);
        }
        auto first = open(name, COUCHSTORE_OPEN_FLAG_RDONLY);
        seek(*first, cs_off_t(ends[0]));
        couchstore_compact_db(first.get(), copyName.c_str());
    }

    UniqueDbPtr source() const {
        auto db = open(name, COUCHSTORE_OPEN_FLAG_RDONLY);
        seek(*db, cs_off_t(ends[0]));
        return db;
    }

    static std::vector<uint64_t> timestamps(Db &db) {
        std::vector<uint64_t> all{getHeader(db).timestamp};
        while (seek(db, Direction::Backward) == COUCHSTORE_SUCCESS) {
            all.insert(all.begin(), getHeader(db).timestamp);
        }
        return all;
    }

    std::string name, copyName;
    std::vector<uint64_t> ends;
};

TEST(Replay, OneHeader) {
    History history(9);
    auto source = history.source();
    auto target = open(history.copyName);
    const size_t noThreshold = 0;
    EXPECT_EQ(COUCHSTORE_SUCCESS, replay(*source, *target, history.ends[5], {}, {}, noThreshold));
    EXPECT_EQ((std::vector<uint64_t>{100, 600}), History::timestamps(*target));
    EXPECT_EQ(history.ends[5], getHeader(*source).headerPosition) << "the source is left there";
}

TEST(Replay, AHeaderForEachInterval) {
    History history(9);
    auto source = history.source();
    auto target = open(history.copyName);
    int copied = 0;
    const PreCopyHook count = [&](Db &, Db &, const DocInfo *, const DocInfo *) {
        ++copied;
        return COUCHSTORE_SUCCESS;
    };
    EXPECT_EQ(COUCHSTORE_SUCCESS, replay(*source, *target, 300, history.ends[8], count, {}));
    EXPECT_EQ(8, copied);
    EXPECT_EQ((std::vector<uint64_t>{100, 200, 500, 800, 900}), History::timestamps(*target));
    EXPECT_EQ(9u, getHeader(*open(history.copyName)).docCount);
}

TEST(Replay, CompactToAPointInTime) {
    History history(9);
    auto source = open(history.name, COUCHSTORE_OPEN_FLAG_RDONLY);
    const auto target = freshName("target");
    int before = 0, after = 0;
    const auto pre = [&](Db &db) {
        before = int(getHeader(db).timestamp);
        return COUCHSTORE_SUCCESS;
    };
    const auto post = [&](Db &db) {
        after = int(getHeader(db).docCount);
        return COUCHSTORE_SUCCESS;
    };
    const auto code =
            compact(*source, target.c_str(), 0, {}, {}, {}, {}, 450, 300, pre, post, {}, {});
    EXPECT_EQ(COUCHSTORE_SUCCESS, code);
    EXPECT_EQ(400, before);
    EXPECT_EQ(4, after);
    auto copy = open(target);
    EXPECT_EQ(9u, getHeader(*copy).docCount);
    EXPECT_EQ((std::vector<uint64_t>{400, 500, 800, 900}), History::timestamps(*copy));
}

TEST(Diagnostics, Texts) {
    const auto name = sample();
    auto db = open(name, COUCHSTORE_OPEN_FLAG_RDONLY);
    EXPECT_EQ("errno = 0: 'Success'", getLastOsError(*db));
    EXPECT_EQ("'", getLastInternalError().substr(0, 1));
    errno = 0;
    EXPECT_EQ(COUCHSTORE_ERROR_WRITE, put(db.get(), "a", "b"));
    EXPECT_EQ(EBADF, errno);
    EXPECT_EQ("errno = 9: 'Bad file descriptor'", getLastOsError(*db));
    EXPECT_EQ("'" + name + ": cannot be written, it was opened read-only'", getLastInternalError());
    std::thread([] { EXPECT_EQ("''", getLastInternalError()); }).join();
}

TEST(Diagnostics, ReasonsOfFailedOpens) {
    std::vector<std::string> told;
    setOnInternalError([&](std::string_view text) { told.emplace_back(text); });
    const auto missing = freshName("missing");
    EXPECT_EQ(COUCHSTORE_ERROR_NO_SUCH_FILE, openDatabase(missing, 0).first);
    EXPECT_EQ("'" + missing + ": open failed: No such file or directory (os error 2)'",
              getLastInternalError());
    EXPECT_TRUE(told.empty());
    const auto text = freshName("text");
    std::ofstream(text) << "text";
    EXPECT_EQ(COUCHSTORE_ERROR_CORRUPT, openDatabase(text, 0).first);
    EXPECT_EQ("'find_header_at_pos: unknown block type:116 pos:0'", getLastInternalError());
    EXPECT_EQ(std::vector<std::string>{"find_header_at_pos: unknown block type:116 pos:0"}, told);
    // Neither success nor what is not there changes it.
    auto db = open(sample());
    EXPECT_EQ(COUCHSTORE_ERROR_DOC_NOT_FOUND, openDocInfo(*db, "missing").first);
    EXPECT_EQ("'find_header_at_pos: unknown block type:116 pos:0'", getLastInternalError());
    setOnInternalError({});
    Db *none = nullptr;
    EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS,
              couchstore_open_db_ex(text.c_str(), 0, {}, nullptr, &none));
    EXPECT_EQ("'invalid arguments: expected file operations, got NULL'", getLastInternalError());
}

TEST(Diagnostics, InternalErrorHandler) {
    std::vector<std::string> texts;
    setOnInternalError([&](std::string_view text) { texts.emplace_back(text); });
    const auto name = sample(1);
    const auto position = getHeader(*open(name)).headerPosition;
    const int fd = ::open(name.c_str(), O_WRONLY);
    ASSERT_EQ(1, ::pwrite(fd, "\xff", 1, off_t(position) + 20));
    ::close(fd);
    EXPECT_EQ(COUCHSTORE_ERROR_CHECKSUM_FAIL, openDatabase(name, 0).first);
    ASSERT_EQ(1u, texts.size());
    EXPECT_EQ(0u, texts[0].find("Couchstore::pread_bin_internal() Checksum fail length:"));
    EXPECT_NE(std::string::npos, texts[0].find(" pos:" + std::to_string(position + 1)));
    EXPECT_EQ("'" + texts[0] + "'", getLastInternalError());
    setOnInternalError({});
    EXPECT_EQ(COUCHSTORE_ERROR_CHECKSUM_FAIL, openDatabase(name, 0).first);
    EXPECT_EQ(1u, texts.size());
}

TEST(Latency, NamesAndCounts) {
    const auto name = sample();
    std::map<std::string, size_t> counts;
    const couchstore_latency_callback_fn collect = [&](const char *what,
                                                       CouchLatencyHisto *histogram,
                                                       const CouchLatencyMicroSecRep, void *ctx) {
        EXPECT_EQ(&counts, ctx);
        counts[what] = histogram->total();
        return 0;
    };
    couchstore_get_latency_info(collect, {}, &counts);
    EXPECT_TRUE(counts.empty()) << "never started";
    couchstore_latency_collector_start();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            auto db = open(name);
            for (int j = 0; j < 50; ++j) {
                openDocInfo(*db, "key1000");
            }
            seek(*db, Direction::End);
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    const auto target = freshName("target");
    auto db = open(name);
    couchstore_commit(db.get());
    couchstore_commit_ex(db.get(), 1);
    compact(*db, target.c_str(), 0, {}, {}, nullptr);
    couchstore_get_latency_info(collect, {}, &counts);
    EXPECT_EQ(200u, counts["couchstore_docinfo_by_id"]);
    EXPECT_EQ(5u, counts["couchstore_open_db_ex"]);
    EXPECT_EQ(4u, counts["seek"]);
    EXPECT_EQ(1u, counts["compact"]);
    EXPECT_EQ(1u, counts["couchstore_commit"]);
    EXPECT_EQ(1u, counts["couchstore_commit_ex"]);
    EXPECT_EQ(0u, counts.count("couchstore_open_document"));
    int calls = 0;
    couchstore_get_latency_info(
            [&](const char *, CouchLatencyHisto *, uint64_t, void *) { return ++calls; }, {}, {});
    EXPECT_EQ(1, calls) << "a result but 0 stops";
    couchstore_latency_collector_stop();
    counts.clear();
    couchstore_get_latency_info(collect, {}, &counts);
    EXPECT_TRUE(counts.empty());
}

TEST(Files, NothingElseInTheFolder) {
    const auto directory = freshName("folder");
    ASSERT_EQ(0, ::mkdir(directory.c_str(), 0777));
    const auto name = directory + "/db.couch.1";
    auto db = create(name);
    putMany(db.get(), 100);
    couchstore_commit(db.get());
    EXPECT_EQ(-1, ::rmdir(directory.c_str()));
    std::remove(name.c_str());
    EXPECT_EQ(0, ::rmdir(directory.c_str())) << "no lock, no temporary";
}

}  // namespace
