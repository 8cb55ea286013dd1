// SPDX-License-Identifier: Apache-2.0
//
// The functions of the C interface whose callbacks find keys or belong to an online compaction, and the handler of
// internal errors. As in c_functions.cc, C++ callers get back what their callbacks threw.

#include "call.h"
#include "entry.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

using couchstore_shim::Call;
using couchstore_shim::caught;
using couchstore_shim::caughtCallback;
using couchstore_shim::closeAndFree;
using couchstore_shim::guarded;
using couchstore_shim::guardedResult;

extern "C" {
decltype(couchstore_open_db_with_key) couchstore_private_open_db_with_key;
decltype(couchstore_compact_db_with_key) couchstore_private_compact_db_with_key;
}

namespace {

int callKeys(couchstore_key_fn keys,
             void *ctx,
             const char *id,
             size_t size,
             couchstore_encryption_key *key) noexcept {
    return caughtCallback([&] { return keys(ctx, id, size, key); });
}

// A hook that cannot say that it failed. The other hook, which comes after it in the end, does: it is not called any
// more once something was thrown.
int callRewrite(couchstore_docinfo_hook rewrite, DocInfo **info, const sized_buf *item) noexcept {
    return Call::hasFailed() ? 0 : caught<int>(0, [&] { return rewrite(info, item); });
}

// ---- Opening and compacting with keys ----

struct Keys {
    couchstore_key_fn keys;
    void *ctx;

    static int call(void *self,
                    const char *id,
                    size_t size,
                    couchstore_encryption_key *key) noexcept {
        const auto &caller = *static_cast<Keys *>(self);
        return callKeys(caller.keys, caller.ctx, id, size, key);
    }
};

struct Hooks {
    Keys keys;
    couchstore_compact_hook hook;
    couchstore_docinfo_hook dhook;
    void *ctx;

    static int callHook(Db *target, DocInfo *info, sized_buf item, void *self) noexcept {
        const auto &caller = *static_cast<Hooks *>(self);
        return caughtCallback([&] { return caller.hook(target, info, item, caller.ctx); });
    }

    static int callDhook(DocInfo **info, const sized_buf *item) noexcept {
        return callRewrite(static_cast<Hooks *>(Call::innermostContext())->dhook, info, item);
    }
};

// ---- Online compaction ----

// The caller's options, of which its version may know a part only; Rust gets a copy with the functions below.
struct Online {
    couchstore_online_compact_options caller{};

    static const couchstore_online_compact_options &of(void *self) noexcept {
        return static_cast<Online *>(self)->caller;
    }

    static int keys(void *self,
                    const char *id,
                    size_t size,
                    couchstore_encryption_key *key) noexcept {
        return callKeys(of(self).keys, of(self).keys_ctx, id, size, key);
    }

    static int hook(Db *target, DocInfo *info, sized_buf item, void *self) noexcept {
        return caughtCallback([&] { return of(self).hook(target, info, item, of(self).hook_ctx); });
    }

    static int dhook(DocInfo **info, const sized_buf *item) noexcept {
        return callRewrite(of(Call::innermostContext()).dhook, info, item);
    }

    static couchstore_error_t preCopy(Db *source,
                                      Db *target,
                                      const DocInfo *doc,
                                      const DocInfo *local,
                                      void *self) noexcept {
        return static_cast<couchstore_error_t>(caughtCallback([&] {
            return of(self).pre_copy(source, target, doc, local, of(self).replay_ctx);
        }));
    }

    static couchstore_error_t precommit(Db *source, Db *target, void *self) noexcept {
        return static_cast<couchstore_error_t>(caughtCallback(
                [&] { return of(self).precommit(source, target, of(self).replay_ctx); }));
    }

    // What throws has not locked.
    static int tryLock(void *self) noexcept {
        return caughtCallback([&] {
            of(self).lock(of(self).ctx);
            return 0;
        });
    }

    // Also after an exception; what throws has unlocked.
    static void unlock(void *self) noexcept {
        caught<int>(0, [&] {
            of(self).unlock(of(self).ctx);
            return 0;
        });
    }

    static couchstore_error_t publish(void *self, Db *source, Db *target) noexcept {
        return static_cast<couchstore_error_t>(
                caughtCallback([&] { return of(self).publish(of(self).ctx, source, target); }));
    }

    static int progress(void *self, uint64_t done, uint64_t total, uint64_t bytes) noexcept {
        return caughtCallback([&] { return of(self).progress(of(self).ctx, done, total, bytes); });
    }

    // Puts these functions in place of the caller's.
    void replaceIn(couchstore_online_compact_options &options) {
        options.keys = caller.keys ? keys : nullptr;
        options.hook = caller.hook ? hook : nullptr;
        options.dhook = caller.dhook ? dhook : nullptr;
        options.pre_copy = caller.pre_copy ? preCopy : nullptr;
        options.precommit = caller.precommit ? precommit : nullptr;
        options.unlock = caller.unlock ? unlock : nullptr;
        options.publish = caller.publish ? publish : nullptr;
        options.progress = caller.progress ? progress : nullptr;
        options.keys_ctx = options.hook_ctx = options.replay_ctx = options.ctx = this;
    }
};

// No version of the struct comes near this.
constexpr size_t largestOptions = 65536;

// ---- Internal errors ----

struct Handler {
    couchstore_internal_error_fn function;
    void *ctx;

    static void call(const char *message, size_t size, void *self) noexcept {
        caught<int>(0, [&] {
            const auto &handler = *static_cast<Handler *>(self);
            // Terminated as well as measured.
            std::string text(message, size);
            text.erase(std::remove(text.begin(), text.end(), '\0'), text.end());
            handler.function(text.c_str(), text.size(), handler.ctx);
            return 0;
        });
    }

    static void destroy(void *self) noexcept {
        delete static_cast<Handler *>(self);
    }
};

}  // namespace

couchstore_error_t couchstore_open_db_with_key(const char *filename,
                                               couchstore_open_flags flags,
                                               const couch_file_ops *ops,
                                               couchstore_key_fn keys,
                                               void *keys_ctx,
                                               Db **db) {
    Keys caller{keys, keys_ctx};
    return guardedResult(db, closeAndFree, [&] {
        return couchstore_private_open_db_with_key(filename, flags, ops,
                                                   keys ? Keys::call : nullptr, &caller, db);
    });
}

couchstore_error_t couchstore_compact_db_with_key(Db *source,
                                                  const char *target_filename,
                                                  couchstore_compact_flags flags,
                                                  couchstore_key_fn keys,
                                                  void *keys_ctx,
                                                  couchstore_compact_hook hook,
                                                  couchstore_docinfo_hook dhook,
                                                  void *hook_ctx,
                                                  const couch_file_ops *ops) {
    Hooks caller{{keys, keys_ctx}, hook, dhook, hook_ctx};
    const auto work = [&] {
        return couchstore_private_compact_db_with_key(
                source, target_filename, flags, keys ? Keys::call : nullptr, &caller.keys,
                hook ? Hooks::callHook : nullptr, dhook ? Hooks::callDhook : nullptr, &caller, ops);
    };
    return guarded(work, &caller);
}

couchstore_error_t couchstore_compact_db_online(const char *source_name,
                                                const char *target_name,
                                                const couchstore_online_compact_options *options,
                                                couchstore_online_compact_stats *stats) {
    Online online;
    // In whole words, for the alignment; at least as large as the options that are known here.
    std::vector<uint64_t> copy;
    if (options && options->size <= largestOptions) {
        const size_t size = options->size;
        copy.resize((std::max(size, sizeof(*options)) + 7) / 8);
        std::memcpy(copy.data(), options, size);
        std::memcpy(&online.caller, copy.data(), sizeof(online.caller));
        auto *replaced = reinterpret_cast<couchstore_online_compact_options *>(copy.data());
        online.replaceIn(*replaced);
        options = replaced;
    }
    const auto work = [&] {
        couchstore_private_online replaced{};
        replaced.try_lock = online.caller.lock ? Online::tryLock : nullptr;
        return couchstore_private_cxx_compact_online(source_name, target_name, options, stats,
                                                     replaced);
    };
    return guarded(work, &online);
}

void couchstore_set_on_internal_error(couchstore_internal_error_fn handler, void *ctx) {
    couchstore_private_cxx_on_internal_error(handler ? Handler::call : nullptr, Handler::destroy,
                                             handler ? new Handler{handler, ctx} : nullptr);
}
