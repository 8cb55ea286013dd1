// SPDX-License-Identifier: Apache-2.0
//
// A client as servers are: its own file operations around the default ones, its allocator, keys and histograms.

#include "stats_ops.h"

#include "src/crc32.h"
#include "src/internal.h"
#include "src/node_types.h"

#include <couchstore_config.h>
#include <libcouchstore/couch_latency.h>
#include <platform/cb_malloc.h>

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>

using namespace cb::couchstore;

#ifdef COUCHSTORE_HAS_OWN_CRYPTO_TYPES
#error the host's cbcrypto/common.h should be used
#endif
#ifdef COUCHSTORE_HAS_OWN_HISTOGRAM
#error the host's platform/histogram.h should be used
#endif

static const char *path;

TEST(Client, LivesOnItsOwnOps) {
    std::remove(path);
    std::unique_ptr<FileOpsInterface> defaults(create_default_file_ops());
    StatsOps ops(defaults.get());
    // The host's header is complete through couch_db.h: keys can be made.
    const EncryptionKeyGetter getter =
            [](std::string_view id) -> cb::crypto::SharedKeyDerivationKey {
        EXPECT_EQ("", id);
        return {};
    };
    auto [code, db] = openDatabase(path, COUCHSTORE_OPEN_FLAG_CREATE, getter, &ops);
    ASSERT_EQ(COUCHSTORE_SUCCESS, code);
    const std::string id = "id", body = "body";
    Doc doc;
    doc.id = {const_cast<char *>(id.data()), id.size()};
    doc.data = {const_cast<char *>(body.data()), body.size()};
    DocInfo info;
    info.id = doc.id;
    ASSERT_EQ(COUCHSTORE_SUCCESS, couchstore_save_document(db.get(), &doc, &info, 0));
    ASSERT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get()));
    EXPECT_EQ(2u, ops.stats.syncs);
    EXPECT_EQ(ops.stats.writes, couchstore_get_db_filestats(db.get())->getWriteCount());
    const auto before = cb_malloc_calls();
    EXPECT_EQ(COUCHSTORE_SUCCESS, openDocument(*db, id).first);
    EXPECT_LT(before, cb_malloc_calls()) << "the host's allocator";
    // The library knows the type of the object, and the program that of the library's.
    EXPECT_NE(nullptr, dynamic_cast<FileOpsInterface *>(couchstore_get_default_file_ops()));
    db.reset();
    EXPECT_EQ(ops.stats.opens, ops.stats.closes);
}

TEST(Client, HistogramsOfTheHost) {
    couchstore_latency_collector_start();
    EXPECT_EQ(COUCHSTORE_SUCCESS, openDatabase(path, 0).first);
    size_t total = 0;
    couchstore_get_latency_info(
            [&](const char *, MicrosecondHistogram *histogram, uint64_t, void *) {
                total += histogram->host_total();
                return 0;
            },
            {}, nullptr);
    EXPECT_LT(0u, total);
    couchstore_latency_collector_stop();
}

TEST(Client, ChecksumsAndIntegers) {
    const auto *text = reinterpret_cast<const uint8_t *>("123456789");
    EXPECT_EQ(0xcbf43926u, get_checksum(text, 9, CRC32));
    EXPECT_EQ(0xe3069283u, get_checksum(text, 9, CRC32C));
    EXPECT_TRUE(perform_integrity_check(text, 9, 0xcbf43926, CRC_UNKNOWN));
    EXPECT_FALSE(perform_integrity_check(text, 9, 0xcbf43926, CRC32C));
    raw_48 raw{};
    couchstore_encode_raw48(0x010203040506, &raw);
    EXPECT_EQ(1, raw.raw_bytes[0]);
    EXPECT_EQ(0x010203040506u, couchstore_decode_raw48p(&raw));
    EXPECT_EQ(0x1234, couchstore_decode_raw16(couchstore_encode_raw16(0x1234)));
    EXPECT_EQ(~uint64_t(0), couchstore_decode_raw64(couchstore_encode_raw64(~uint64_t(0))));
    EXPECT_EQ(4096, COUCH_BLOCK_SIZE);
}

int main(int argc, char **argv) {
    ::testing::InitGoogleTest(&argc, argv);
    path = argv[1];
    return RUN_ALL_TESTS();
}
