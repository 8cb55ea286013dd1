// SPDX-License-Identifier: Apache-2.0
//
// Compaction and replay with std::function hooks.

#include "call.h"
#include "entry.h"
#include "file_ops.h"

#include <stdexcept>
#include <string>

using namespace couchstore_shim;
using namespace cb::couchstore;

namespace {

// The hooks of one compaction, as Rust calls them.
struct Compaction {
    CompactFilterCallback filter;
    CompactRewriteDocInfoCallback rewrite;
    PrecommitHook precommit;

    static int callFilter(Db *target, DocInfo *info, sized_buf item, void *self) noexcept {
        const auto &hooks = *static_cast<Compaction *>(self);
        return caughtCallback([&] {
            const int verdict = hooks.filter(*target, info, item);
            // The first call for a document has no body, but the largest size.
            const bool isFirst = !item.buf && item.size == 0xffffff;
            if (info && !isFirst && verdict == COUCHSTORE_COMPACT_NEED_BODY) {
                throw std::logic_error("compact: the filter asked for a body that it had");
            }
            return verdict;
        });
    }

    // Any result but 0 says that the entry was changed.
    static int callRewrite(DocInfo **info, const sized_buf *item, void *self) noexcept {
        const auto &hooks = *static_cast<Compaction *>(self);
        return caughtCallback([&] { return hooks.rewrite(*info, *item) != 0 ? 1 : 0; });
    }

    static couchstore_error_t callPrecommit(Db *source, Db *target, void *self) noexcept {
        const auto &hooks = *static_cast<Compaction *>(self);
        return static_cast<couchstore_error_t>(
                caughtCallback([&] { return hooks.precommit(*source, *target); }));
    }

    couchstore_private_hooks toRust() {
        return {filter ? callFilter : nullptr, rewrite ? callRewrite : nullptr,
                precommit ? callPrecommit : nullptr, this};
    }
};

couchstore_error_t run(Db *source,
                       const char *target,
                       couchstore_compact_flags flags,
                       detail::KeyFunction getter,
                       Compaction hooks,
                       FileOpsInterface *ops,
                       bool isCFunction) {
    if (hooks.rewrite && !hooks.filter) {
        throw std::invalid_argument("compact: rewriting entries needs a filter");
    }
    Keys keys(getter);
    return guarded([&] {
        return couchstore_private_cxx_compact(source, target, flags, keys.toRust(),
                                              toRust(ops ? ops : couchstore_get_default_file_ops()),
                                              hooks.toRust(), isCFunction);
    });
}

// The hooks of one replay.
struct Replay {
    PreCopyHook preCopy;
    PrecommitHook precommit;

    static couchstore_error_t callPreCopy(Db *source,
                                          Db *target,
                                          const DocInfo *doc,
                                          const DocInfo *local,
                                          void *self) noexcept {
        const auto &hooks = *static_cast<Replay *>(self);
        return static_cast<couchstore_error_t>(
                caughtCallback([&] { return hooks.preCopy(*source, *target, doc, local); }));
    }

    static couchstore_error_t callPrecommit(Db *source, Db *target, void *self) noexcept {
        const auto &hooks = *static_cast<Replay *>(self);
        return static_cast<couchstore_error_t>(
                caughtCallback([&] { return hooks.precommit(*source, *target); }));
    }
};

// What the host of an online compaction does besides the hooks of copying and of replaying.
struct Host {
    OnlineCompactOptions &options;

    static const OnlineCompactOptions &of(void *self) noexcept {
        return static_cast<Host *>(self)->options;
    }

    // What throws has not locked.
    static int tryLock(void *self) noexcept {
        return caughtCallback([&] {
            of(self).lock();
            return 0;
        });
    }

    // Also after an exception; what throws has unlocked.
    static void unlock(void *self) noexcept {
        caught<int>(0, [&] {
            of(self).unlock();
            return 0;
        });
    }

    static couchstore_error_t publish(void *self, Db *source, Db *target) noexcept {
        return static_cast<couchstore_error_t>(
                caughtCallback([&] { return of(self).publish(*source, *target); }));
    }

    static int progress(void *self, uint64_t done, uint64_t total, uint64_t bytes) noexcept {
        return caughtCallback([&] { return of(self).progress(done, total, bytes); });
    }

    // The options as those of C, without what they cannot have.
    couchstore_online_compact_options toC(Compaction &compaction, Replay &replay) {
        couchstore_online_compact_options c{};
        c.size = sizeof(c);
        c.flags = options.flags;
        c.hook = compaction.filter ? Compaction::callFilter : nullptr;
        c.hook_ctx = &compaction;
        c.pre_copy = replay.preCopy ? Replay::callPreCopy : nullptr;
        c.precommit = replay.precommit ? Replay::callPrecommit : nullptr;
        c.replay_ctx = &replay;
        c.unlock = options.unlock ? unlock : nullptr;
        c.publish = options.publish ? publish : nullptr;
        c.progress = options.progress ? progress : nullptr;
        c.ctx = this;
        c.swap = options.replaceSource ? COUCHSTORE_SWAP_REPLACE : COUCHSTORE_SWAP_NONE;
        c.max_unlocked_rounds = options.maxUnlockedRounds == 0 ? -1 : options.maxUnlockedRounds;
        c.delta_bytes_for_lock = options.deltaBytesForLock;
        c.memory_budget = options.memoryBudget;
        c.open_flags = options.openFlags;
        c.threads = options.threads;
        return c;
    }
};

}  // namespace

couchstore_error_t couchstore_compact_db_ex(Db *source,
                                            const char *target_filename,
                                            couchstore_compact_flags flags,
                                            EncryptionKeyGetter targetEncrKeyCB,
                                            couchstore_compact_hook hook,
                                            couchstore_docinfo_hook dhook,
                                            void *hook_ctx,
                                            FileOpsInterface *ops,
                                            PrecommitHook precommitHook) {
    Compaction hooks;
    if (hook) {
        hooks.filter = [hook, hook_ctx](Db &target, DocInfo *info, sized_buf item) {
            return hook(&target, info, item, hook_ctx);
        };
    }
    if (dhook) {
        hooks.rewrite = [dhook](DocInfo *&info, sized_buf item) { return dhook(&info, &item); };
    }
    hooks.precommit = std::move(precommitHook);
    return run(source, target_filename, flags, std::move(detail::functionOf(targetEncrKeyCB)),
               std::move(hooks), ops, true);
}

namespace cb::couchstore {

// The forms of three generations, each under the name that it was exported by.

couchstore_error_t compact(Db &source,
                           const char *target_filename,
                           couchstore_compact_flags flags,
                           CompactFilterCallback filterCallback,
                           CompactRewriteDocInfoCallback rewriteDocInfoCallback,
                           FileOpsInterface *ops,
                           PrecommitHook precommitHook) {
    Compaction hooks{std::move(filterCallback), std::move(rewriteDocInfoCallback),
                     std::move(precommitHook)};
    return run(&source, target_filename, flags, {}, std::move(hooks), ops, false);
}

#ifdef COUCHSTORE_HAS_BINARY_NAMES
LIBCOUCHSTORE_API
couchstore_error_t compact(Db &source,
                           const char *target_filename,
                           couchstore_compact_flags flags,
                           std::function<SharedEncryptionKey(std::string_view)> targetEncrKeyCB,
                           CompactFilterCallback filterCallback,
                           CompactRewriteDocInfoCallback rewriteDocInfoCallback,
                           FileOpsInterface *ops,
                           PrecommitHook precommitHook) {
    Compaction hooks{std::move(filterCallback), std::move(rewriteDocInfoCallback),
                     std::move(precommitHook)};
    EncryptionKeyGetter getter(std::move(targetEncrKeyCB));
    return run(&source, target_filename, flags, std::move(detail::functionOf(getter)),
               std::move(hooks), ops, false);
}

LIBCOUCHSTORE_API
couchstore_error_t compact(Db &source,
                           const char *target_filename,
                           couchstore_compact_flags flags,
                           detail::KeyFunction targetEncrKeyCB,
                           CompactFilterCallback filterCallback,
                           CompactRewriteDocInfoCallback rewriteDocInfoCallback,
                           FileOpsInterface *ops,
                           PrecommitHook precommitHook)
#else
couchstore_error_t detail::compactWithKeys(Db &source,
                                           const char *target_filename,
                                           couchstore_compact_flags flags,
                                           KeyFunction targetEncrKeyCB,
                                           CompactFilterCallback filterCallback,
                                           CompactRewriteDocInfoCallback rewriteDocInfoCallback,
                                           FileOpsInterface *ops,
                                           PrecommitHook precommitHook)
#endif
{
    Compaction hooks{std::move(filterCallback), std::move(rewriteDocInfoCallback),
                     std::move(precommitHook)};
    return run(&source, target_filename, flags, std::move(targetEncrKeyCB), std::move(hooks), ops,
               false);
}

couchstore_error_t compact_online(const std::string &source_name,
                                  const std::string &target_name,
                                  OnlineCompactOptions options,
                                  couchstore_online_compact_stats *stats) {
    if (options.rewrite && !options.filter) {
        throw std::invalid_argument("compact_online: rewriting entries needs a filter");
    }
    couchstore_shim::Keys keys(detail::functionOf(options.keys));
    Compaction compaction{std::move(options.filter), std::move(options.rewrite), {}};
    Replay replay{std::move(options.preCopy), std::move(options.precommit)};
    Host host{options};
    const auto c = host.toC(compaction, replay);
    couchstore_private_online replaced{};
    replaced.try_lock = options.lock ? Host::tryLock : nullptr;
    replaced.rewrite = compaction.rewrite ? Compaction::callRewrite : nullptr;
    replaced.keys = keys.toRust();
    replaced.has_ops = options.ops != nullptr;
    replaced.ops = toRust(options.ops ? options.ops : couchstore_get_default_file_ops());
    return guarded([&] {
        return couchstore_private_cxx_compact_online(source_name.c_str(), target_name.c_str(), &c,
                                                     stats, replaced);
    });
}

couchstore_error_t replay(Db &source,
                          Db &target,
                          uint64_t sourceHeaderEndOffset,
                          PreCopyHook preCopyHook,
                          PrecommitHook precommitHook,
                          size_t flushThreshold) {
    Replay hooks{std::move(preCopyHook), std::move(precommitHook)};
    bool cannotMove = false;
    const auto code = guarded([&] {
        return couchstore_private_cxx_replay(&source, &target, sourceHeaderEndOffset,
                                             hooks.preCopy ? Replay::callPreCopy : nullptr,
                                             hooks.precommit ? Replay::callPrecommit : nullptr,
                                             &hooks, flushThreshold, &cannotMove);
    });
    // Errors of moving the source are returned.
    if (code == COUCHSTORE_SUCCESS || code == COUCHSTORE_ERROR_FILE_CLOSED || cannotMove) {
        return code;
    }
    throw std::runtime_error(std::string("replay: ") + couchstore_strerror(code));
}

}  // namespace cb::couchstore
