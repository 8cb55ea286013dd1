// SPDX-License-Identifier: Apache-2.0
//
// A host with an allocator of its own: all memory that the library hands out is from it, and goes back to it.

#include "support.h"

#include <cstdlib>
#include <cstring>
#include <set>

namespace {
std::set<void *> blocks;
int allocations = 0;
bool noMemory = false;
}  // namespace

extern "C" {
__attribute__((visibility("default"))) void *cb_malloc(size_t size) {
    if (noMemory) {
        return nullptr;
    }
    void *block = std::malloc(size);
    ++allocations;
    blocks.insert(block);
    return block;
}

__attribute__((visibility("default"))) void cb_free(void *block) {
    EXPECT_TRUE(!block || blocks.erase(block) == 1) << "not from this allocator";
    std::free(block);
}

__attribute__((visibility("default"))) void *cb_realloc(void *block, size_t size) {
    blocks.erase(block);
    block = std::realloc(block, size);
    blocks.insert(block);
    return block;
}
}

using namespace cb::couchstore;
using namespace testing_support;

TEST(Allocator, IsTheHosts) {
    const auto name = sample();
    {
        auto db = open(name);
        auto [code, info] = openDocInfo(*db, "key1000");
        EXPECT_TRUE(blocks.count(info.get()));
        auto [read, doc] = openDocument(*db, *info);
        EXPECT_TRUE(blocks.count(doc.get()));
        auto [opened, local] = openLocalDocument(*db, "_local/a");
        EXPECT_TRUE(blocks.count(local.get()));
        const auto id = view(name);
        auto *made = couchstore_alloc_docinfo(&id, nullptr);
        EXPECT_TRUE(blocks.count(made));
        couchstore_free_docinfo(made);
        couchstore_free_docinfo(nullptr);
        const auto keep = [](Db *, DocInfo *kept, void *) {
            EXPECT_TRUE(blocks.count(kept));
            couchstore_free_docinfo(kept);
            return 1;
        };
        EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_changes_since(db.get(), 0, 0, keep, nullptr));
    }
    EXPECT_LT(20, allocations);
    EXPECT_TRUE(blocks.empty());
}

TEST(Allocator, HasNoMemory) {
    auto db = open(sample());
    auto [code, info] = openDocInfo(*db, "key1000");
    ASSERT_EQ(COUCHSTORE_SUCCESS, code);
    int shown = 0;
    const auto count = [](Db *, DocInfo *, void *ctx) { return ++*static_cast<int *>(ctx), 0; };
    const auto countLocal = [](Db *, LocalDoc *, void *ctx) {
        return ++*static_cast<int *>(ctx), 0;
    };
    const sized_buf id{info->id};
    noMemory = true;
    const couchstore_error_t codes[] = {
            openDocInfo(*db, "key1000").first,
            openDocument(*db, "key1000").first,
            openDocument(*db, *info).first,
            openLocalDocument(*db, "_local/a").first,
            couchstore_changes_since(db.get(), 0, 0, count, &shown),
            couchstore_all_docs(db.get(), nullptr, 0, count, &shown),
            couchstore_scan_local_docs(db.get(), nullptr, countLocal, &shown),
    };
    const auto *made = couchstore_alloc_docinfo(&id, nullptr);
    noMemory = false;
    for (const auto found : codes) {
        EXPECT_EQ(COUCHSTORE_ERROR_ALLOC_FAIL, found);
    }
    EXPECT_EQ(nullptr, made);
    EXPECT_EQ(0, shown);
    EXPECT_EQ(COUCHSTORE_SUCCESS, openDocument(*db, *info).first);
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_all_docs(db.get(), nullptr, 0, count, &shown));
    EXPECT_LT(0, shown);
}

TEST(Allocator, RewritingHooksMayResizeAnEntry) {
    auto db = open(sample());
    const auto target = freshName("target");
    const auto rewrite = [](DocInfo *&info, sized_buf) {
        const size_t id = info->id.size;
        const size_t room = sizeof(DocInfo) + id + 1000;
        auto *larger = static_cast<DocInfo *>(cb_realloc(info, room));
        larger->id.buf = reinterpret_cast<char *>(larger + 1);
        larger->rev_meta = {larger->id.buf + id, 1000};
        std::memset(larger->rev_meta.buf, 'm', 1000);
        info = larger;
        return 1;
    };
    const auto keep = [](Db &, DocInfo *, sized_buf) { return 0; };
    EXPECT_EQ(COUCHSTORE_SUCCESS, compact(*db, target.c_str(), 0, {}, keep, rewrite, nullptr));
    auto copy = open(target);
    EXPECT_EQ(1000u, openDocInfo(*copy, "key1005").second->rev_meta.size);
    db.reset();
    copy.reset();
    EXPECT_TRUE(blocks.empty());
}
