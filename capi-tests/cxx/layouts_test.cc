// SPDX-License-Identifier: Apache-2.0
//
// The layouts that binaries of all generations rely on. Everything here is checked by the compiler; the structs that
// C has as well are checked in couch_common.h.

#include <libcouchstore/couch_db.h>
#include <libcouchstore/couch_latency.h>

#include <gtest/gtest.h>

#include <cstddef>
#include <type_traits>

using namespace cb::couchstore;

static_assert(std::is_trivially_copyable_v<sized_buf> && std::is_trivially_copyable_v<DocInfo>);
static_assert(std::is_aggregate_v<DocInfo> && std::is_aggregate_v<LocalDoc>);
static_assert(sizeof(couchstore_error_t) == 4 && sizeof(FileTag) == 1 && sizeof(Direction) == 1);

static_assert(sizeof(Header) == 80);
static_assert(offsetof(Header, version) == 0 && offsetof(Header, timestamp) == 8);
static_assert(offsetof(Header, updateSeqNum) == 16 && offsetof(Header, purgeSeqNum) == 24);
static_assert(offsetof(Header, headerPosition) == 32 && offsetof(Header, filename) == 40);
static_assert(offsetof(Header, docCount) == 48 && offsetof(Header, deletedCount) == 56);
static_assert(offsetof(Header, spaceUsed) == 64 && offsetof(Header, fileSize) == 72);
static_assert(std::is_same_v<std::underlying_type_t<Header::Version>, int>);

static_assert(sizeof(UniqueDbPtr) == sizeof(Db *) && sizeof(UniqueDocPtr) == sizeof(Doc *));
static_assert(sizeof(EncryptionKeyGetter) == sizeof(std::function<void()>));
static_assert(sizeof(ScopedFileTag) == 2 * sizeof(void *) &&
              std::is_copy_constructible_v<ScopedFileTag>);
static_assert(sizeof(FileOpsInterface) == sizeof(void *) &&
              sizeof(FileOpsInterface::FHStats) == sizeof(void *));

static_assert(std::is_same_v<CouchLatencyMicroSecRep, uint64_t>);
static_assert(std::is_same_v<CouchLatencyMicroSec, std::chrono::duration<uint64_t, std::micro>>);

#ifdef COUCHSTORE_HAS_OWN_CRYPTO_TYPES
using namespace cb::crypto;
static_assert(sizeof(KeyDerivationKey) == 72);
static_assert(offsetof(KeyDerivationKey, id) == 0 &&
              offsetof(KeyDerivationKey, derivationKey) == 32);
static_assert(offsetof(KeyDerivationKey, cipher) == 64);
static_assert(offsetof(KeyDerivationKey, derivationMethod) == 68);
static_assert(!std::is_polymorphic_v<KeyDerivationKey>);
static_assert(sizeof(DataEncryptionKey) == 80 && std::is_final_v<DataEncryptionKey>);
static_assert(sizeof(Cipher) == 4 && sizeof(KeyDerivationMethod) == 1);
// The record that stands for a key where the host's header has none.
static_assert(sizeof(detail::KeyRecord<Cipher>) == sizeof(KeyDerivationKey));
static_assert(offsetof(detail::KeyRecord<Cipher>, derivationKey) ==
              offsetof(KeyDerivationKey, derivationKey));
static_assert(offsetof(detail::KeyRecord<Cipher>, cipher) == offsetof(KeyDerivationKey, cipher));
static_assert(offsetof(detail::KeyRecord<Cipher>, derivationMethod) ==
              offsetof(KeyDerivationKey, derivationMethod));

TEST(Layouts, OldKeys) {
    const DataEncryptionKey key("id", Cipher::AES_256_GCM, "key");
    const auto at = [&](const void *member) {
        return static_cast<const char *>(member) - reinterpret_cast<const char *>(&key);
    };
    EXPECT_EQ(8, at(&key.id));
    EXPECT_EQ(40, at(&key.cipher));
    EXPECT_EQ(48, at(&key.key));
}
#endif

TEST(Layouts, DocInfoIsZeroedAndHasItsSizeTwice) {
    DocInfo info;
    EXPECT_EQ(0u, info.physical_size);
    info.size = 7;
    EXPECT_EQ(7u, info.physical_size);
    info.id.size = 1;
    info.rev_meta.size = 2;
    EXPECT_EQ(10u, info.getTotalSize());
    const DocInfo initialized = DOC_INFO_INITIALIZER;
    EXPECT_EQ(0u, initialized.size);
}
