// SPDX-License-Identifier: Apache-2.0
//
// Every callback parameter of every exported function, each with a call that makes it. (File operations are not callbacks
// here; couchstore_c_* functions take callbacks of C, which must not throw.)
#pragma once

#include "recording_ops.h"
#include "support.h"

#include <libcouchstore/couch_latency.h>

#include <fstream>
#include <stdexcept>

namespace testing_support {

using namespace cb::couchstore;

struct Thrown : std::runtime_error {
    Thrown() : std::runtime_error("thrown by a test") {
    }
};

using Handles = std::vector<Db *>;

// What a call is made on, and what its callback does.
struct World {
    std::string name = sample(12);
    std::string target = freshName("target");
    UniqueDbPtr db = open(name);
    UniqueDbPtr copy;              // of the first header, for replays
    uint64_t time{0};              // of that header
    uint64_t end{0};               // the header up to which is replayed
    bool ownHandlesAreUsed{true};  // by the call
    std::function<void(const Handles &)> inside;
    int calls{0};

    // In a callback that is shown these.
    int call(Handles shown = {}) {
        if (calls++ == 0) {
            for (const auto *own : {&db, &copy}) {
                if (*own && ownHandlesAreUsed) {
                    shown.push_back(own->get());
                }
            }
            inside(shown);
        }
        return 0;
    }

    couchstore_error_t code(Handles shown = {}) {
        call(std::move(shown));
        return COUCHSTORE_SUCCESS;
    }

    // A second header. Returns the position of the first one, on which the copy is based.
    uint64_t prepareReplay() {
        const auto base = getHeader(*db);
        time = base.timestamp;
        EXPECT_EQ(COUCHSTORE_SUCCESS, put(db.get(), "new", "body"));
        EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit_ex(db.get(), time + 1000));
        end = couchstore_get_header_position(db.get());
        return base.headerPosition;
    }

    void prepareReplayToCopy() {
        const auto copied = freshName("copy");
        EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_compact_db(db.get(), copied.c_str()));
        copy = open(copied);
        EXPECT_EQ(COUCHSTORE_SUCCESS, seek(*db, cs_off_t(prepareReplay())));
    }
};

inline World *current = nullptr;  // for hooks without a context

// ---- callbacks of C ----

inline World &of(void *ctx) {
    return *static_cast<World *>(ctx);
}

inline void onSave(const DocInfo *, const DocInfo *, void *ctx, void *) {
    of(ctx).call();
}

inline int onChange(Db *db, DocInfo *, void *ctx) {
    return of(ctx).call({db});
}

inline int onWalk(Db *db, int, const DocInfo *, uint64_t, const sized_buf *, void *ctx) {
    return of(ctx).call({db});
}

inline int onLocal(Db *db, LocalDoc *, void *ctx) {
    return of(ctx).call({db});
}

inline int onHook(Db *target, DocInfo *, sized_buf, void *ctx) {
    return of(ctx).call({target});
}

inline int keepAll(Db *, DocInfo *, sized_buf, void *) {
    return 0;
}

inline int onDhook(DocInfo **, const sized_buf *) {
    return current->call();
}

inline couchstore_error_t onPreCopy(Db *source,
                                    Db *target,
                                    const DocInfo *,
                                    const DocInfo *,
                                    void *ctx) {
    return of(ctx).code({source, target});
}

inline couchstore_error_t onPrecommit(Db *source, Db *target, void *ctx) {
    return of(ctx).code({source, target});
}

inline int onKey(void *ctx, const char *, size_t, couchstore_encryption_key *) {
    return of(ctx).call();
}

inline void onInternalError(const char *, size_t, void *ctx) {
    of(ctx).call();
}

// ---- the calls ----

using Options = couchstore_online_compact_options;

// The first time: commits something to the source.
inline int commitOnce(World &w) {
    if (w.db) {
        EXPECT_EQ(COUCHSTORE_SUCCESS, put(w.db.get(), "new", "body"));
        EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(w.db.get()));
        w.db.reset();
    }
    return 0;
}

// An online compaction beside which something is committed, so that all hooks are called.
inline couchstore_error_t online(World &w, const std::function<void(Options &)> &set) {
    w.ownHandlesAreUsed = false;
    Options options{};
    options.size = sizeof(options);
    options.swap = COUCHSTORE_SWAP_REPLACE;
    options.ctx = options.hook_ctx = options.keys_ctx = options.replay_ctx = &w;
    options.progress = [](void *ctx, uint64_t, uint64_t, uint64_t) { return commitOnce(of(ctx)); };
    set(options);
    return couchstore_compact_db_online(w.name.c_str(), nullptr, &options, nullptr);
}

// A damaged body is read, which is an internal error.
inline couchstore_error_t readDamaged(World &w) {
    auto [code, info] = openDocInfo(*w.db, "key1000");
    EXPECT_EQ(COUCHSTORE_SUCCESS, code);
    std::fstream file(w.name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(std::streamoff(info->bp) + 9);
    file.put('\xff');
    file.close();
    w.ownHandlesAreUsed = false;
    auto reader = open(w.name, COUCHSTORE_OPEN_FLAG_RDONLY);
    EXPECT_EQ(COUCHSTORE_ERROR_CHECKSUM_FAIL, openDocument(*reader, *info).first);
    return COUCHSTORE_SUCCESS;
}

// The hooks of the C++ functions, each of which calls the world's, and those that do nothing.
struct Hooks {
    World &w;

    EncryptionKeyGetter key() const {
        return [&w = w](std::string_view) -> cb::crypto::SharedKeyDerivationKey {
            w.call();
            return nullptr;
        };
    }
    CompactFilterCallback filter() const {
        return [&w = w](Db &target, DocInfo *, sized_buf) { return w.call({&target}); };
    }
    CompactFilterCallback keep() const {
        return [](Db &, DocInfo *, sized_buf) { return 0; };
    }
    CompactRewriteDocInfoCallback rewrite() const {
        return [&w = w](DocInfo *&, sized_buf) { return w.call(); };
    }
    PrecommitHook precommit() const {
        return [&w = w](Db &source, Db &target) { return w.code({&source, &target}); };
    }
    PreCopyHook preCopy() const {
        return [&w = w](Db &source, Db &target, const DocInfo *, const DocInfo *) {
            return w.code({&source, &target});
        };
    }
    std::function<couchstore_error_t(Db &)> one() const {
        return [&w = w](Db &db) { return w.code({&db}); };
    }
};

// A compaction to the header before the newest one, from which the rest is replayed.
struct ToPoint {
    CompactFilterCallback filter;
    CompactRewriteDocInfoCallback rewrite;
    PrecommitHook precommit;
    PreCompactionCallback pre;
    PostCompactionCallback post;
    PreCopyHook preCopy;
    PrecommitHook replayPrecommit;

    couchstore_error_t run(World &w) const {
        w.prepareReplay();
        return compact(*w.db, w.target.c_str(), 0, filter, rewrite, nullptr, precommit, w.time, 0,
                       pre, post, preCopy, replayPrecommit);
    }
};

// What comes of an exception of the callback.
enum class Outcome {
    Thrown,
    Encrypt,           // COUCHSTORE_ERROR_ENCRYPT
    InvalidArguments,  // COUCHSTORE_ERROR_INVALID_ARGUMENTS
};

struct Callback {
    // Function, number of its parameters, and which of these; members of a struct of options as parameters.
    const char *name;
    std::function<couchstore_error_t(World &)> call;
    Outcome outcome = Outcome::Thrown;
};

inline std::vector<Callback> functionsOfC() {
    return {
            {"couchstore_save_documents_and_callback/8.save_cb",
             [](World &w) {
                 const std::string id = "a", body = "b";
                 const Doc doc{view(id), view(body)};
                 DocInfo info;
                 info.id = doc.id;
                 const Doc *docs[] = {&doc};
                 DocInfo *infos[] = {&info};
                 return couchstore_save_documents_and_callback(w.db.get(), docs, infos, nullptr, 1,
                                                               0, onSave, &w);
             }},
            {"couchstore_changes_since/5.callback",
             [](World &w) { return couchstore_changes_since(w.db.get(), 0, 0, onChange, &w); }},
            {"couchstore_all_docs/5.callback",
             [](World &w) { return couchstore_all_docs(w.db.get(), nullptr, 0, onChange, &w); }},
            {"couchstore_docinfos_by_id/6.callback",
             [](World &w) {
                 const std::string id = "key1003";
                 const sized_buf ids[] = {view(id)};
                 return couchstore_docinfos_by_id(w.db.get(), ids, 1, 0, onChange, &w);
             }},
            {"couchstore_docinfos_by_sequence/6.callback",
             [](World &w) {
                 const uint64_t sequences[] = {3};
                 return couchstore_docinfos_by_sequence(w.db.get(), sequences, 1, 0, onChange, &w);
             }},
            {"couchstore_walk_id_tree/5.callback",
             [](World &w) { return couchstore_walk_id_tree(w.db.get(), nullptr, 0, onWalk, &w); }},
            {"couchstore_walk_seq_tree/5.callback",
             [](World &w) { return couchstore_walk_seq_tree(w.db.get(), 0, 0, onWalk, &w); }},
            {"couchstore_walk_local_tree/5.callback",
             [](World &w) {
                 return couchstore_walk_local_tree(w.db.get(), nullptr, 0, onWalk, &w);
             }},
            {"couchstore_walk_local_tree/4.callback",
             [](World &w) { return couchstore_walk_local_tree(w.db.get(), nullptr, onWalk, &w); }},
            {"couchstore_scan_local_docs/4.callback",
             [](World &w) { return couchstore_scan_local_docs(w.db.get(), nullptr, onLocal, &w); }},
            {"couchstore_replay/7.pre_copy",
             [](World &w) {
                 w.prepareReplayToCopy();
                 return couchstore_replay(w.db.get(), w.copy.get(), w.end, onPreCopy, nullptr, &w,
                                          1);
             }},
            {"couchstore_replay/7.precommit",
             [](World &w) {
                 w.prepareReplayToCopy();
                 return couchstore_replay(w.db.get(), w.copy.get(), w.end, nullptr, onPrecommit, &w,
                                          1);
             }},
            {"couchstore_open_db_with_key/6.keys",
             [](World &w) {
                 w.ownHandlesAreUsed = false;
                 Db *db = nullptr;
                 const auto code = couchstore_open_db_with_key(
                         w.target.c_str(), COUCHSTORE_OPEN_FLAG_CREATE, nullptr, onKey, &w, &db);
                 UniqueDbPtr owner(db);
                 return code;
             }},
            {"couchstore_compact_db_with_key/9.keys",
             [](World &w) {
                 return couchstore_compact_db_with_key(w.db.get(), w.target.c_str(), 0, onKey, &w,
                                                       nullptr, nullptr, nullptr, nullptr);
             }},
            {"couchstore_compact_db_with_key/9.hook",
             [](World &w) {
                 return couchstore_compact_db_with_key(w.db.get(), w.target.c_str(), 0, nullptr,
                                                       nullptr, onHook, nullptr, &w, nullptr);
             }},
            {"couchstore_compact_db_with_key/9.dhook",
             [](World &w) {
                 return couchstore_compact_db_with_key(w.db.get(), w.target.c_str(), 0, nullptr,
                                                       nullptr, keepAll, onDhook, &w, nullptr);
             }},
            {"couchstore_set_on_internal_error/2.handler",
             [](World &w) {
                 couchstore_set_on_internal_error(onInternalError, &w);
                 return readDamaged(w);
             }},
    };
}

// The members of the options of couchstore_compact_db_online().
inline std::vector<Callback> onlineOptions() {
    const auto with = [](const char *name, const std::function<void(Options &)> &set) {
        return Callback{name, [set](World &w) { return online(w, set); }};
    };
    return {
            with("couchstore_compact_db_online.keys",
                 [](Options &o) {
                     o.keys = [](void *ctx, const char *, size_t, couchstore_encryption_key *) {
                         of(ctx).call();
                         return 0;
                     };
                 }),
            with("couchstore_compact_db_online.hook", [](Options &o) { o.hook = onHook; }),
            with("couchstore_compact_db_online.dhook",
                 [](Options &o) {
                     o.hook = keepAll;
                     o.dhook = onDhook;
                 }),
            with("couchstore_compact_db_online.pre_copy",
                 [](Options &o) { o.pre_copy = onPreCopy; }),
            with("couchstore_compact_db_online.precommit",
                 [](Options &o) { o.precommit = onPrecommit; }),
            with("couchstore_compact_db_online.lock",
                 [](Options &o) { o.lock = [](void *ctx) { of(ctx).call(); }; }),
            with("couchstore_compact_db_online.unlock",
                 [](Options &o) { o.unlock = [](void *ctx) { of(ctx).call(); }; }),
            with("couchstore_compact_db_online.publish",
                 [](Options &o) {
                     o.publish = [](void *ctx, Db *source, Db *target) {
                         return of(ctx).code({source, target});
                     };
                 }),
            with("couchstore_compact_db_online.progress",
                 [](Options &o) {
                     o.progress = [](void *ctx, uint64_t, uint64_t, uint64_t) {
                         return of(ctx).call();
                     };
                 }),
    };
}

inline std::vector<Callback> functionsWithObjects() {
    static RecordingOps ops;
    // Committing with operations whose second sync fails.
    const auto commitAndAsk = [](World &w, bool ex) {
        ops.reset();
        w.db = nullptr;
        auto [code, db] = openDatabase(w.name, 0, &ops);
        EXPECT_EQ(COUCHSTORE_SUCCESS, code);
        w.db = std::move(db);
        ops.fault = {"sync", 2, false, COUCHSTORE_ERROR_WRITE};
        const auto retry = [&w](const std::system_error &) {
            w.call();
            return true;
        };
        return ex ? couchstore_commit_ex(w.db.get(), 1, retry)
                  : couchstore_commit(w.db.get(), retry);
    };
    return {
            {"couchstore_open_db_ex/5.encryptionKeyCB",
             [](World &w) {
                 w.ownHandlesAreUsed = false;
                 Db *db = nullptr;
                 const auto code = couchstore_open_db_ex(
                         w.target.c_str(), COUCHSTORE_OPEN_FLAG_CREATE, Hooks{w}.key(),
                         couchstore_get_default_file_ops(), &db);
                 UniqueDbPtr owner(db);
                 return code;
             },
             Outcome::Encrypt},
            {"openDatabase/5.encryptionKeyCB",
             [](World &w) {
                 w.ownHandlesAreUsed = false;
                 return openDatabase(w.target, COUCHSTORE_OPEN_FLAG_CREATE, Hooks{w}.key()).first;
             },
             Outcome::Encrypt},
            {"couchstore_commit/2.callback",
             [commitAndAsk](World &w) { return commitAndAsk(w, false); }},
            {"couchstore_commit_ex/3.callback",
             [commitAndAsk](World &w) { return commitAndAsk(w, true); }},
            {"couchstore_compact_db_ex/9.targetEncrKeyCB",
             [](World &w) {
                 return couchstore_compact_db_ex(w.db.get(), w.target.c_str(), 0, Hooks{w}.key(),
                                                 nullptr, nullptr, nullptr, nullptr);
             },
             Outcome::Encrypt},
            {"couchstore_compact_db_ex/9.hook",
             [](World &w) {
                 return couchstore_compact_db_ex(w.db.get(), w.target.c_str(), 0,
                                                 EncryptionKeyGetter{}, onHook, nullptr, &w,
                                                 nullptr);
             }},
            {"couchstore_compact_db_ex/9.dhook",
             [](World &w) {
                 return couchstore_compact_db_ex(w.db.get(), w.target.c_str(), 0,
                                                 EncryptionKeyGetter{}, keepAll, onDhook, &w,
                                                 nullptr);
             }},
            {"couchstore_compact_db_ex/9.precommitHook",
             [](World &w) {
                 return couchstore_compact_db_ex(w.db.get(), w.target.c_str(), 0,
                                                 EncryptionKeyGetter{}, nullptr, nullptr, nullptr,
                                                 nullptr, Hooks{w}.precommit());
             }},
            {"couchstore_compact_db_ex/8.hook",
             [](World &w) {
                 return couchstore_compact_db_ex(w.db.get(), w.target.c_str(), 0, onHook, nullptr,
                                                 &w, nullptr);
             }},
            {"couchstore_compact_db_ex/8.dhook",
             [](World &w) {
                 return couchstore_compact_db_ex(w.db.get(), w.target.c_str(), 0, keepAll, onDhook,
                                                 &w, nullptr);
             }},
            {"couchstore_compact_db_ex/8.precommitHook",
             [](World &w) {
                 return couchstore_compact_db_ex(w.db.get(), w.target.c_str(), 0, nullptr, nullptr,
                                                 nullptr, nullptr, Hooks{w}.precommit());
             }},
            {"scanLocalDocs/3.callback",
             [](World &w) {
                 return scanLocalDocs(*w.db, {}, [&w](UniqueLocalDocPtr) { return w.code(); });
             },
             Outcome::InvalidArguments},
            {"setOnInternalError/1.handler",
             [](World &w) {
                 setOnInternalError([&w](std::string_view) { w.call(); });
                 return readDamaged(w);
             }},
            {"couchstore_get_latency_info/3.callback",
             [](World &w) {
                 w.ownHandlesAreUsed = false;
                 couchstore_latency_collector_start();
                 getHeader(*w.db);
                 const auto show = [&w](const char *, CouchLatencyHisto *,
                                        const CouchLatencyMicroSecRep, void *) { return w.call(); };
                 couchstore_get_latency_info(show, {}, nullptr);
                 couchstore_latency_collector_stop();
                 return COUCHSTORE_SUCCESS;
             }},
    };
}

inline std::vector<Callback> compactions() {
    const auto plain = [](World &w, CompactFilterCallback filter,
                          CompactRewriteDocInfoCallback rewrite, PrecommitHook precommit) {
        return compact(*w.db, w.target.c_str(), 0, filter, rewrite, nullptr, precommit);
    };
    const auto withKey = [](World &w, EncryptionKeyGetter key, CompactFilterCallback filter,
                            CompactRewriteDocInfoCallback rewrite, PrecommitHook precommit) {
        return compact(*w.db, w.target.c_str(), 0, key, filter, rewrite, nullptr, precommit);
    };
    return {
            {"compact/7.filterCallback",
             [=](World &w) { return plain(w, Hooks{w}.filter(), {}, {}); }},
            {"compact/7.rewriteDocInfoCallback",
             [=](World &w) { return plain(w, Hooks{w}.keep(), Hooks{w}.rewrite(), {}); }},
            {"compact/7.precommitHook",
             [=](World &w) { return plain(w, {}, {}, Hooks{w}.precommit()); }},
            {"compact/8.targetEncrKeyCB",
             [=](World &w) { return withKey(w, Hooks{w}.key(), {}, {}, {}); }, Outcome::Encrypt},
            {"compact/8.filterCallback",
             [=](World &w) { return withKey(w, nullptr, Hooks{w}.filter(), {}, {}); }},
            {"compact/8.rewriteDocInfoCallback",
             [=](World &w) {
                 return withKey(w, nullptr, Hooks{w}.keep(), Hooks{w}.rewrite(), {});
             }},
            {"compact/8.precommitHook",
             [=](World &w) { return withKey(w, nullptr, {}, {}, Hooks{w}.precommit()); }},
            {"compact/13.filterCallback",
             [](World &w) { return ToPoint{Hooks{w}.filter(), {}, {}, {}, {}, {}, {}}.run(w); }},
            {"compact/13.rewriteDocInfoCallback",
             [](World &w) {
                 return ToPoint{Hooks{w}.keep(), Hooks{w}.rewrite(), {}, {}, {}, {}, {}}.run(w);
             }},
            {"compact/13.precommitHook",
             [](World &w) { return ToPoint{{}, {}, Hooks{w}.precommit(), {}, {}, {}, {}}.run(w); }},
            {"compact/13.preCompactionCallback",
             [](World &w) { return ToPoint{{}, {}, {}, Hooks{w}.one(), {}, {}, {}}.run(w); }},
            {"compact/13.postCompactionCallback",
             [](World &w) { return ToPoint{{}, {}, {}, {}, Hooks{w}.one(), {}, {}}.run(w); }},
            {"compact/13.replayPreCopyHook",
             [](World &w) { return ToPoint{{}, {}, {}, {}, {}, Hooks{w}.preCopy(), {}}.run(w); }},
            {"compact/13.replayPrecommitHook",
             [](World &w) { return ToPoint{{}, {}, {}, {}, {}, {}, Hooks{w}.precommit()}.run(w); }},
            {"replay/6.preCopyHook",
             [](World &w) {
                 w.prepareReplayToCopy();
                 return replay(*w.db, *w.copy, w.end, Hooks{w}.preCopy(), PrecommitHook{});
             }},
            {"replay/6.precommitHook",
             [](World &w) {
                 w.prepareReplayToCopy();
                 return replay(*w.db, *w.copy, w.end, PreCopyHook{}, Hooks{w}.precommit());
             }},
            {"replay/7.preCopyHook",
             [](World &w) {
                 w.prepareReplayToCopy();
                 return replay(*w.db, *w.copy, 1, w.end, Hooks{w}.preCopy(), PrecommitHook{});
             }},
            {"replay/7.precommitHook",
             [](World &w) {
                 w.prepareReplayToCopy();
                 return replay(*w.db, *w.copy, 1, w.end, PreCopyHook{}, Hooks{w}.precommit());
             }},
    };
}

// The members of the options of compact_online() and bootstrap().
inline std::vector<Callback> optionsOfObjects() {
    using Set = std::function<void(OnlineCompactOptions &, World &)>;
    const auto with = [](const char *name, const Set &set, Outcome outcome = Outcome::Thrown) {
        const auto run = [set](World &w) {
            w.ownHandlesAreUsed = false;
            OnlineCompactOptions options;
            options.replaceSource = true;
            options.progress = [&w](uint64_t, uint64_t, uint64_t) { return commitOnce(w); };
            set(options, w);
            return compact_online(w.name, {}, std::move(options));
        };
        return Callback{name, run, outcome};
    };
    return {
            with(
                    "compact_online.keys",
                    [](OnlineCompactOptions &o, World &w) { o.keys = Hooks{w}.key(); },
                    Outcome::Encrypt),
            with("compact_online.filter",
                 [](OnlineCompactOptions &o, World &w) { o.filter = Hooks{w}.filter(); }),
            with("compact_online.rewrite",
                 [](OnlineCompactOptions &o, World &w) {
                     o.filter = Hooks{w}.keep();
                     o.rewrite = Hooks{w}.rewrite();
                 }),
            with("compact_online.preCopy",
                 [](OnlineCompactOptions &o, World &w) { o.preCopy = Hooks{w}.preCopy(); }),
            with("compact_online.precommit",
                 [](OnlineCompactOptions &o, World &w) { o.precommit = Hooks{w}.precommit(); }),
            with("compact_online.lock",
                 [](OnlineCompactOptions &o, World &w) { o.lock = [&w] { w.call(); }; }),
            with("compact_online.unlock",
                 [](OnlineCompactOptions &o, World &w) { o.unlock = [&w] { w.call(); }; }),
            with("compact_online.publish",
                 [](OnlineCompactOptions &o, World &w) { o.publish = Hooks{w}.precommit(); }),
            with("compact_online.progress",
                 [](OnlineCompactOptions &o, World &w) {
                     o.progress = [&w](uint64_t, uint64_t, uint64_t) { return w.call(); };
                 }),
            {"bootstrap.keys",
             [](World &w) {
                 w.ownHandlesAreUsed = false;
                 BootstrapOptions options;
                 options.keys = Hooks{w}.key();
                 return bootstrap(w.target, std::move(options)).first;
             },
             Outcome::Encrypt},
    };
}

inline std::vector<Callback> all() {
    std::vector<Callback> callbacks;
    for (const auto &part : {functionsOfC(), onlineOptions(), functionsWithObjects(), compactions(),
                             optionsOfObjects()}) {
        callbacks.insert(callbacks.end(), part.begin(), part.end());
    }
    return callbacks;
}

}  // namespace testing_support
