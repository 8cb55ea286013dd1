// SPDX-License-Identifier: Apache-2.0
//
// Which function a call of each generation's source means. The program is linked without the library: the
// exported functions are those of overloads_library.cc, which say which of them was called.

#include "overloads.h"

#include <libcouchstore/couch_db.h>

#include <gtest/gtest.h>

#include <string>
#include <type_traits>

using namespace cb::couchstore;

// ---- Arguments ----

namespace {

struct Mock : FileOpsInterface {
    couch_file_handle constructor(couchstore_error_info_t *) override {
        return nullptr;
    }
    couchstore_error_t open(couchstore_error_info_t *,
                            couch_file_handle *,
                            const char *,
                            int) override {
        return COUCHSTORE_SUCCESS;
    }
    couchstore_error_t close(couchstore_error_info_t *, couch_file_handle) override {
        return COUCHSTORE_SUCCESS;
    }
    ssize_t pread(couchstore_error_info_t *, couch_file_handle, void *, size_t, cs_off_t) override {
        return 0;
    }
    ssize_t pwrite(couchstore_error_info_t *,
                   couch_file_handle,
                   const void *,
                   size_t,
                   cs_off_t) override {
        return 0;
    }
    cs_off_t goto_eof(couchstore_error_info_t *, couch_file_handle) override {
        return 0;
    }
    couchstore_error_t sync(couchstore_error_info_t *, couch_file_handle) override {
        return COUCHSTORE_SUCCESS;
    }
    couchstore_error_t advise(couchstore_error_info_t *,
                              couch_file_handle,
                              cs_off_t,
                              cs_off_t,
                              couchstore_file_advice_t) override {
        return COUCHSTORE_SUCCESS;
    }
    void destructor(couch_file_handle) override {
    }
};

Mock mock;
alignas(16) char place[16];

// The arguments that make an expression depend on a template's parameter, so that an ambiguous call can be asked for.
struct Arguments {
    const char *f = "f";
    Db &r = reinterpret_cast<Db &>(place);
    Db *d = &r;
};

FileOpsInterface *ops = &mock;
Db **pd = nullptr;
void *ctx = nullptr;
uint64_t u = 4096;
std::optional<cs_off_t> off;
const auto key = [](std::string_view) -> cb::crypto::SharedKeyDerivationKey { return {}; };
const auto gkey = [](auto) -> cb::crypto::SharedKeyDerivationKey { return {}; };
const auto gkey2 = [](auto &&) { return cb::crypto::SharedKeyDerivationKey{}; };
const auto oldKey = [](std::string_view) -> cb::couchstore::SharedEncryptionKey { return {}; };
const auto oldGkey = [](auto) -> cb::couchstore::SharedEncryptionKey { return {}; };
const std::function<SharedEncryptionKey(std::string_view)> oldFunction = oldKey;
const std::function<cb::crypto::SharedKeyDerivationKey(std::string_view)> newFunction = key;
const EncryptionKeyGetter getter = oldKey;
const auto filter = [](Db &, DocInfo *, sized_buf) { return 0; };
const auto rewrite_ = [](DocInfo *&, sized_buf) { return 0; };
const auto pre = [](Db &, Db &) { return COUCHSTORE_SUCCESS; };
const auto copyh = [](Db &, Db &, const DocInfo *, const DocInfo *) { return COUCHSTORE_SUCCESS; };

int hookfn(Db *, DocInfo *, sized_buf, void *) {
    return 0;
}
int dhookfn(DocInfo **, const sized_buf *) {
    return 0;
}
int walkfn(Db *, int, const DocInfo *, uint64_t, const sized_buf *, void *) {
    return 0;
}

// ---- The table ----

template <typename Call>
constexpr bool isValid(Call) {
    return std::is_invocable_v<Call, Arguments &>;
}

#define CALL(...) [](auto &a) -> decltype(void(__VA_ARGS__)) { (void)(__VA_ARGS__); }

#define MEANS(form, ...)                                            \
    {                                                               \
        const auto call = CALL(__VA_ARGS__);                        \
        static_assert(isValid(decltype(call)(call)), #__VA_ARGS__); \
        called = Form::None;                                        \
        call(a);                                                    \
        EXPECT_EQ(Form::form, called) << #__VA_ARGS__;              \
    }

// A function with C linkage: the form follows from the number of arguments; what counts is that it is valid and that
// the arguments arrive where they belong.
#define ARRIVES(hook, ...)                                          \
    {                                                               \
        const auto call = CALL(__VA_ARGS__);                        \
        static_assert(isValid(decltype(call)(call)), #__VA_ARGS__); \
        calledOps = nullptr;                                        \
        calledHook = nullptr;                                       \
        call(a);                                                    \
        EXPECT_EQ(ops, calledOps) << #__VA_ARGS__;                  \
        EXPECT_EQ(hook, calledHook) << #__VA_ARGS__;                \
    }

#define AMBIGUOUS(...)                                               \
    {                                                                \
        const auto call = CALL(__VA_ARGS__);                         \
        static_assert(!isValid(decltype(call)(call)), #__VA_ARGS__); \
    }

constexpr couchstore_compact_hook none = nullptr;
Arguments a;

TEST(Overloads, FunctionsWithCLinkage){
        ARRIVES(none, couchstore_open_db_ex(a.f, 1, ops, pd)) ARRIVES(
                none,
                couchstore_open_db_ex(a.f,
                                      1,
                                      &mock,
                                      pd)) ARRIVES(none,
                                                   couchstore_open_db_ex(
                                                           a.f,
                                                           1,
                                                           {},
                                                           ops,
                                                           pd)) ARRIVES(none,
                                                                        couchstore_open_db_ex(
                                                                                a.f,
                                                                                1,
                                                                                nullptr,
                                                                                ops,
                                                                                pd))
                ARRIVES(none, couchstore_open_db_ex(a.f, 1, key, ops, pd)) ARRIVES(
                        none,
                        couchstore_open_db_ex(
                                a.f,
                                1,
                                gkey,
                                ops,
                                pd)) ARRIVES(none,
                                             couchstore_open_db_ex(
                                                     a.f,
                                                     1,
                                                     oldKey,
                                                     ops,
                                                     pd)) ARRIVES(none,
                                                                  couchstore_open_db_ex(a.f,
                                                                                        1,
                                                                                        oldFunction,
                                                                                        ops,
                                                                                        pd))
                        ARRIVES(none, couchstore_open_db_ex(a.f, 1, getter, ops, pd)) ARRIVES(
                                none,
                                couchstore_compact_db_ex(
                                        a.d,
                                        "f",
                                        0,
                                        nullptr,
                                        nullptr,
                                        nullptr,
                                        ops)) ARRIVES(hookfn,
                                                      couchstore_compact_db_ex(
                                                              a.d,
                                                              "f",
                                                              0,
                                                              hookfn,
                                                              nullptr,
                                                              ctx,
                                                              ops)) ARRIVES(hookfn,
                                                                            couchstore_compact_db_ex(
                                                                                    a.d,
                                                                                    "f",
                                                                                    0,
                                                                                    hookfn,
                                                                                    dhookfn,
                                                                                    ctx,
                                                                                    &mock))
                                ARRIVES(hookfn,
                                        couchstore_compact_db_ex(
                                                a.d,
                                                "f",
                                                0,
                                                hookfn,
                                                dhookfn,
                                                ctx,
                                                ops,
                                                pre)) ARRIVES(none,
                                                              couchstore_compact_db_ex(
                                                                      a.d,
                                                                      "f",
                                                                      0,
                                                                      nullptr,
                                                                      nullptr,
                                                                      nullptr,
                                                                      ops,
                                                                      pre)) ARRIVES(hookfn,
                                                                                    couchstore_compact_db_ex(
                                                                                            a.d,
                                                                                            "f",
                                                                                            0,
                                                                                            hookfn,
                                                                                            nullptr,
                                                                                            ctx,
                                                                                            ops,
                                                                                            {}))
                                        AMBIGUOUS(couchstore_compact_db_ex(
                                                a.d,
                                                "f",
                                                0,
                                                nullptr,
                                                nullptr,
                                                nullptr,
                                                ops,
                                                {})) AMBIGUOUS(couchstore_compact_db_ex(a.d,
                                                                                        "f",
                                                                                        0,
                                                                                        nullptr,
                                                                                        nullptr,
                                                                                        nullptr,
                                                                                        ops,
                                                                                        nullptr))
                                                ARRIVES(none,
                                                        couchstore_compact_db_ex(
                                                                a.d,
                                                                "f",
                                                                0,
                                                                nullptr,
                                                                nullptr,
                                                                ctx,
                                                                ops,
                                                                {})) ARRIVES(none,
                                                                             couchstore_compact_db_ex(
                                                                                     a.d,
                                                                                     "f",
                                                                                     0,
                                                                                     {},
                                                                                     nullptr,
                                                                                     nullptr,
                                                                                     nullptr,
                                                                                     &mock))
                                                        ARRIVES(hookfn,
                                                                couchstore_compact_db_ex(
                                                                        a.d,
                                                                        "f",
                                                                        0,
                                                                        {},
                                                                        hookfn,
                                                                        nullptr,
                                                                        ctx,
                                                                        ops)) ARRIVES(hookfn,
                                                                                      couchstore_compact_db_ex(
                                                                                              a.d,
                                                                                              "f",
                                                                                              0,
                                                                                              key,
                                                                                              hookfn,
                                                                                              nullptr,
                                                                                              ctx,
                                                                                              ops))
                                                                ARRIVES(hookfn,
                                                                        couchstore_compact_db_ex(
                                                                                a.d,
                                                                                "f",
                                                                                0,
                                                                                gkey,
                                                                                hookfn,
                                                                                nullptr,
                                                                                ctx,
                                                                                ops,
                                                                                pre)) ARRIVES(none,
                                                                                              couchstore_compact_db_ex(
                                                                                                      a.d,
                                                                                                      "f",
                                                                                                      0,
                                                                                                      {},
                                                                                                      nullptr,
                                                                                                      nullptr,
                                                                                                      nullptr,
                                                                                                      ops,
                                                                                                      {}))
                                                                        ARRIVES(none,
                                                                                couchstore_compact_db_ex(
                                                                                        a.d,
                                                                                        "f",
                                                                                        0,
                                                                                        {},
                                                                                        {},
                                                                                        {},
                                                                                        {},
                                                                                        ops)) MEANS(New,
                                                                                                    couchstore_walk_local_tree(
                                                                                                            a.d,
                                                                                                            nullptr,
                                                                                                            walkfn,
                                                                                                            ctx))
                                                                                MEANS(New,
                                                                                      couchstore_walk_local_tree(
                                                                                              a.d,
                                                                                              nullptr,
                                                                                              0,
                                                                                              walkfn,
                                                                                              ctx))
                                                                                        MEANS(New,
                                                                                              couchstore_walk_local_tree(
                                                                                                      a.d,
                                                                                                      nullptr,
                                                                                                      8,
                                                                                                      walkfn,
                                                                                                      ctx))}

TEST(Overloads, OpenDatabase){
        MEANS(Old, openDatabase(a.f, 1)) MEANS(Old, openDatabase(a.f, 1, {})) MEANS(
                Old,
                openDatabase(a.f, 1, nullptr)) MEANS(Old, openDatabase(a.f, 1, ops))
                MEANS(Old, openDatabase(a.f, 1, &mock)) MEANS(New, openDatabase(a.f, 1, key)) MEANS(
                        New,
                        openDatabase(a.f, 1, gkey)) MEANS(Old, openDatabase(a.f, 1, {}, off))
                        MEANS(Old,
                              openDatabase(a.f,
                                           1,
                                           {},
                                           u)) MEANS(Old, openDatabase(a.f, 1, {}, 4096))
                                AMBIGUOUS(openDatabase(a.f, 1, {}, 0)) AMBIGUOUS(openDatabase(
                                        a.f,
                                        1,
                                        nullptr,
                                        0)) MEANS(Old,
                                                  openDatabase(a.f,
                                                               1,
                                                               nullptr,
                                                               4096)) MEANS(Old,
                                                                            openDatabase(a.f,
                                                                                         1,
                                                                                         ops,
                                                                                         off))
                                        MEANS(New, openDatabase(a.f, 1, {}, ops)) MEANS(
                                                New,
                                                openDatabase(a.f,
                                                             1,
                                                             {},
                                                             nullptr)) MEANS(New,
                                                                             openDatabase(a.f,
                                                                                          1,
                                                                                          nullptr,
                                                                                          nullptr))
                                                AMBIGUOUS(openDatabase(a.f, 1, {}, {})) MEANS(
                                                        New,
                                                        openDatabase(a.f, 1, key, {}))
                                                        MEANS(New,
                                                              openDatabase(a.f,
                                                                           1,
                                                                           key,
                                                                           {},
                                                                           off)) MEANS(New,
                                                                                       openDatabase(
                                                                                               a.f,
                                                                                               1,
                                                                                               {},
                                                                                               {},
                                                                                               off))
                                                                MEANS(New,
                                                                      openDatabase(a.f,
                                                                                   1,
                                                                                   {},
                                                                                   {},
                                                                                   {}))
                                                                        MEANS(Old,
                                                                              openDatabase(
                                                                                      a.f,
                                                                                      1,
                                                                                      {},
                                                                                      std::nullopt))
        // Getters of the generation before, and getters in variables.
        MEANS(New, openDatabase(a.f, 1, oldKey)) MEANS(New, openDatabase(a.f, 1, oldGkey))
                MEANS(New, openDatabase(a.f, 1, oldFunction, ops))
                        MEANS(New, openDatabase(a.f, 1, newFunction, ops, off))
                                MEANS(New, openDatabase(a.f, 1, getter))}

TEST(Overloads, Compact){
        MEANS(Old, compact(a.r, "f", 0, filter, rewrite_, ops)) MEANS(
                Old,
                compact(a.r, "f", 0, filter, {}, ops)) MEANS(Old,
                                                             compact(a.r,
                                                                     "f",
                                                                     0,
                                                                     {},
                                                                     {},
                                                                     ops)) MEANS(Old,
                                                                                 compact(a.r,
                                                                                         "f",
                                                                                         0,
                                                                                         filter,
                                                                                         {},
                                                                                         ops,
                                                                                         pre))
                MEANS(Old, compact(a.r, "f", 0, {}, {}, ops, pre)) MEANS(
                        Old,
                        compact(a.r,
                                "f",
                                0,
                                {},
                                {},
                                ops,
                                {})) AMBIGUOUS(compact(a.r,
                                                       "f",
                                                       0,
                                                       {},
                                                       {},
                                                       {},
                                                       {})) MEANS(Old,
                                                                  compact(a.r,
                                                                          "f",
                                                                          0,
                                                                          {},
                                                                          {},
                                                                          {},
                                                                          pre))
                        MEANS(Old, compact(a.r, "f", 0, nullptr, nullptr, nullptr, pre)) MEANS(
                                New,
                                compact(a.r,
                                        "f",
                                        0,
                                        {},
                                        filter,
                                        {},
                                        ops)) MEANS(New, compact(a.r, "f", 0, {}, {}, {}, ops))
                                MEANS(New, compact(a.r, "f", 0, key, filter, rewrite_, ops)) MEANS(
                                        New,
                                        compact(a.r,
                                                "f",
                                                0,
                                                gkey,
                                                filter,
                                                {},
                                                ops,
                                                pre)) MEANS(New,
                                                            compact(a.r,
                                                                    "f",
                                                                    0,
                                                                    gkey2,
                                                                    filter,
                                                                    {},
                                                                    ops,
                                                                    pre))
                                        MEANS(New,
                                              compact(a.r,
                                                      "f",
                                                      0,
                                                      {},
                                                      filter,
                                                      {},
                                                      ops,
                                                      pre)) MEANS(New,
                                                                  compact(a.r,
                                                                          "f",
                                                                          0,
                                                                          {},
                                                                          filter,
                                                                          {},
                                                                          nullptr))
                                                MEANS(New,
                                                      compact(a.r,
                                                              "f",
                                                              0,
                                                              oldKey,
                                                              filter,
                                                              {},
                                                              ops)) MEANS(New,
                                                                          compact(a.r,
                                                                                  "f",
                                                                                  0,
                                                                                  oldGkey,
                                                                                  filter,
                                                                                  {},
                                                                                  ops,
                                                                                  pre))
                                                        MEANS(New,
                                                              compact(a.r,
                                                                      "f",
                                                                      0,
                                                                      oldFunction,
                                                                      filter,
                                                                      {},
                                                                      ops)) MEANS(PointInTime,
                                                                                  compact(a.r,
                                                                                          "f",
                                                                                          0,
                                                                                          {},
                                                                                          {},
                                                                                          {},
                                                                                          {},
                                                                                          u,
                                                                                          u,
                                                                                          {},
                                                                                          {},
                                                                                          {},
                                                                                          {}))
                                                                MEANS(PointInTime,
                                                                      compact(a.r,
                                                                              "f",
                                                                              0,
                                                                              filter,
                                                                              {},
                                                                              ops,
                                                                              pre,
                                                                              u,
                                                                              u,
                                                                              {},
                                                                              {},
                                                                              copyh,
                                                                              pre))}

TEST(Overloads, Replay) {
    MEANS(Old, replay(a.r, a.r, u, u, copyh, pre))
    MEANS(Old, replay(a.r, a.r, u, u, copyh, pre, u))
    MEANS(Old, replay(a.r, a.r, 10, u, {}, {}))
    MEANS(Old, replay(a.r, a.r, u, u, {}, pre))
    MEANS(Old, replay(a.r, a.r, u, u, {}, {}, u))
    MEANS(New, replay(a.r, a.r, u, copyh, pre))
    MEANS(New, replay(a.r, a.r, u, {}, {}))
    MEANS(New, replay(a.r, a.r, u, {}, pre))
    MEANS(New, replay(a.r, a.r, u, copyh, pre, u))
    MEANS(New, replay(a.r, a.r, u, {}, {}, u))
    AMBIGUOUS(replay(a.r, a.r, u, {}, {}, {}))
    MEANS(New, replay(a.r, a.r, u, nullptr, nullptr))
    AMBIGUOUS(replay(a.r, a.r, u, 0, {}, {}))
}

// ---- What older sources do besides ----

// kv-engine returns the result of set_purge_seq(); newer callers ignore it.
static_assert(std::is_same_v<decltype(&couchstore_set_purge_seq),
                             couchstore_error_t (*)(Db *, uint64_t)>);
static_assert(std::is_same_v<decltype(couchstore_set_purge_seq(nullptr, 0)), couchstore_error_t>);

// Counts were unsigned, and arrays of infos had or had not a const.
static_assert(std::is_invocable_v<decltype(couchstore_save_documents),
                                  Db *,
                                  Doc **,
                                  DocInfo **,
                                  unsigned,
                                  int>);
static_assert(std::is_invocable_v<decltype(couchstore_save_documents),
                                  Db *,
                                  Doc *const *,
                                  DocInfo *const *,
                                  int,
                                  uint64_t>);

// One field by two names.
static_assert(offsetof(DocInfo, size) == offsetof(DocInfo, physical_size));

static_assert(COUCHSTORE_ERROR_SCAN_ABORTED == COUCHSTORE_ERROR_SCAN_CANCELLED);

TEST(Overloads, Getters) {
    EXPECT_FALSE(EncryptionKeyGetter());
    EXPECT_FALSE(EncryptionKeyGetter(nullptr));
    EXPECT_FALSE(EncryptionKeyGetter(std::function<SharedEncryptionKey(std::string_view)>()));
    EXPECT_FALSE(EncryptionKeyGetter(
            std::function<cb::crypto::SharedKeyDerivationKey(std::string_view)>()));
    EXPECT_TRUE(EncryptionKeyGetter(key));

    const EncryptionKeyGetter converted([](std::string_view id) -> SharedEncryptionKey {
        using namespace cb::crypto;
        return std::make_shared<const DataEncryptionKey>(std::string(id), Cipher::AES_256_GCM,
                                                         "secret");
    });
    const auto found = converted("an id");
    EXPECT_EQ("an id", found->id);
    EXPECT_EQ("secret", found->derivationKey);
    EXPECT_EQ(cb::crypto::Cipher::AES_256_GCM, found->cipher);
    EXPECT_EQ(cb::crypto::KeyDerivationMethod::NoDerivation, found->derivationMethod);
}

}  // namespace
