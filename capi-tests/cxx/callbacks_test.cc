// SPDX-License-Identifier: Apache-2.0
//
// What a callback throws reaches the caller of the function, or becomes a code where that is documented; a callback cannot
// free the handles of its call. All of them are tried: the list is compared with the headers.

#include "callbacks.h"

#include <regex>
#include <set>
#include <sstream>

using namespace testing_support;

namespace {

// Calls a function, and takes back what it has set in the whole process.
couchstore_error_t run(const Callback &callback, World &w) {
    current = &w;
    const auto restore = [] {
        setOnInternalError({});
        couchstore_latency_collector_stop();
    };
    try {
        const auto code = callback.call(w);
        restore();
        return code;
    } catch (...) {
        restore();
        throw;
    }
}

TEST(Callbacks, WhatTheyThrowReachesTheCaller) {
    for (const auto &callback : all()) {
        World w;
        w.inside = [](const Handles &) { throw Thrown(); };
        switch (callback.outcome) {
            case Outcome::Thrown:
                EXPECT_THROW(run(callback, w), Thrown) << callback.name;
                break;
            case Outcome::Encrypt:
                EXPECT_EQ(COUCHSTORE_ERROR_ENCRYPT, run(callback, w)) << callback.name;
                break;
            case Outcome::InvalidArguments:
                EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS, run(callback, w)) << callback.name;
                break;
        }
        EXPECT_EQ(1, w.calls) << callback.name << ": called again after it threw";
        EXPECT_FALSE(exists(w.target)) << callback.name << ": something is left";
        // The handles go on working.
        if (w.db && std::string(callback.name).find("commit") == std::string::npos) {
            EXPECT_EQ(COUCHSTORE_SUCCESS, openDocument(*w.db, "key1005").first) << callback.name;
            EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_close_file(w.db.get())) << callback.name;
        }
        auto reader = open(w.name, COUCHSTORE_OPEN_FLAG_RDONLY);
        EXPECT_EQ(COUCHSTORE_SUCCESS, openDocument(*reader, "key1005").first) << callback.name;
    }
}

TEST(Callbacks, NoneFreesTheHandlesOfItsCall) {
    int handles = 0;
    for (const auto &callback : all()) {
        World w;
        w.inside = [&](const Handles &shown) {
            for (Db *db : shown) {
                ++handles;
                const auto before = getHeader(*db);
                for (const auto free :
                     {couchstore_free_db, couchstore_close_db, couchstore_rewind_db_header,
                      couchstore_fastforward_db_header}) {
                    EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS, free(db)) << callback.name;
                }
                UniqueDbPtr owner(db);
                owner.reset();
                const auto after = getHeader(*db);
                EXPECT_EQ(before.headerPosition, after.headerPosition) << callback.name;
                EXPECT_EQ(before.fileSize, after.fileSize) << callback.name;
            }
        };
        EXPECT_EQ(COUCHSTORE_SUCCESS, run(callback, w)) << callback.name;
        EXPECT_LT(0, w.calls) << callback.name;
    }
    EXPECT_LT(50, handles);
}

// ---- the list is complete ----

std::string headerText(const char *name) {
    std::ifstream file(std::string(COUCHSTORE_INCLUDE_DIR "/libcouchstore/") + name);
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_FALSE(text.str().empty()) << name;
    return std::regex_replace(text.str(), std::regex(R"(/\*[^]*?\*/|//[^\n]*|#[^\n]*)"), " ");
}

bool takesCallback(const std::string &type) {
    static const std::regex callbacks(
            R"(\b(\w+_fn|\w+_hook|\w*Callback|\w*Hook|EncryptionKeyGetter)\b|std::function<)");
    return std::regex_search(type, callbacks);
}

// Splits at commas outside of brackets.
std::vector<std::string> parametersOf(const std::string &text) {
    std::vector<std::string> parts(1);
    int depth = 0;
    for (const char c : text) {
        depth += (c == '(' || c == '<') - (c == ')' || c == '>');
        if (c == ',' && depth == 0) {
            parts.emplace_back();
        } else {
            parts.back() += c;
        }
    }
    return parts;
}

// The callback parameters of all functions that a header declares, as in the list above.
void collect(const std::string &text, std::set<std::string> &found) {
    static const std::regex start(R"((\w+)\s*\()");
    for (std::sregex_iterator match(text.begin(), text.end(), start), end; match != end; ++match) {
        const auto open = size_t(match->position() + match->length());
        size_t close = open;
        for (int depth = 1; depth > 0 && close < text.size(); ++close) {
            depth += (text[close] == '(') - (text[close] == ')');
        }
        const auto parameters = parametersOf(text.substr(open, close - 1 - open));
        for (auto parameter : parameters) {
            parameter = parameter.substr(0, parameter.find('='));
            std::smatch name;
            // A parameter: a type and a name; arguments of calls have no type.
            static const std::regex typeAndName(R"(^\s*([^]*[\w>&*])\s+[&*]*(\w+)\s*$)");
            if (std::regex_match(parameter, name, typeAndName) && takesCallback(name[1])) {
                found.insert((*match)[1].str() + "/" + std::to_string(parameters.size()) + "." +
                             name[2].str());
            }
        }
    }
}

// The members of a struct of couch_db_cxx.h that are callbacks, as in the list above.
void collectMembers(const std::string &type,
                    const std::string &function,
                    std::set<std::string> &found) {
    const auto text = headerText("couch_db_cxx.h");
    const auto from = text.find("struct " + type + " {");
    ASSERT_NE(std::string::npos, from) << type;
    std::stringstream members(text.substr(from, text.find("\n};", from) - from));
    int callbacks = 0;
    for (std::string member; std::getline(members, member, ';');) {
        static const std::regex typeAndName(R"(^[^]*?([\w:]+[^{]*[\w>&*])\s+(\w+)(\{\w*\})?\s*$)");
        std::smatch parts;
        if (std::regex_match(member, parts, typeAndName) && takesCallback(parts[1])) {
            found.insert(function + "." + parts[2].str());
            ++callbacks;
        }
    }
    EXPECT_LT(0, callbacks) << type;
}

TEST(Callbacks, AllAreListed) {
    std::set<std::string> declared;
    for (const char *name :
         {"couch_api.h", "couch_db_cxx.h", "couch_generations.h", "couch_latency.h"}) {
        collect(headerText(name), declared);
    }
    // Callbacks of C; the same functions under other names; a class.
    for (auto at = declared.begin(); at != declared.end();) {
        static const std::regex others(R"(couchstore_c_.*|openWithKeys.*|compactWithKeys.*)");
        at = std::regex_match(*at, others) ? declared.erase(at) : std::next(at);
    }
    // The C form of this one is a call of couchstore_c_get_latency_info().
    declared.erase("couchstore_get_latency_info/2.callback");
    // The functions in the options of online compactions.
    const auto text = headerText("couch_db.h");
    const auto from = text.find("typedef struct couchstore_online_compact_options {");
    ASSERT_NE(std::string::npos, from);
    const auto options =
            text.substr(from, text.find("} couchstore_online_compact_options", from) - from);
    static const std::regex member(R"(\(\*(\w+)\)|\b\w+_(?:fn|hook)\s+(\w+);)");
    for (std::sregex_iterator match(options.begin(), options.end(), member), end; match != end;
         ++match) {
        declared.insert("couchstore_compact_db_online." + (*match)[1].str() + (*match)[2].str());
    }

    // And those in the options of the C++ functions.
    collectMembers("OnlineCompactOptions", "compact_online", declared);
    collectMembers("BootstrapOptions", "bootstrap", declared);

    std::set<std::string> listed;
    for (const auto &callback : all()) {
        EXPECT_TRUE(listed.insert(callback.name).second) << "twice: " << callback.name;
    }
    for (const auto &name : declared) {
        EXPECT_TRUE(listed.count(name)) << "not in the list: " << name;
    }
    for (const auto &name : listed) {
        EXPECT_TRUE(declared.count(name)) << "not in the headers: " << name;
    }
}

// ---- locks ----

struct HostLock {
    int held = 0, locks = 0, unlocks = 0;
    int throwAtLock = 0, throwAtUnlock = 0, throwAtPublish = 0;
    bool published = false;
};

couchstore_error_t compactWithLock(const std::string &name, HostLock &lock) {
    Options options{};
    options.size = sizeof(options);
    options.swap = COUCHSTORE_SWAP_REPLACE;
    options.ctx = &lock;
    options.lock = [](void *ctx) {
        auto &host = *static_cast<HostLock *>(ctx);
        if (++host.locks == host.throwAtLock) {
            throw std::runtime_error("lock");
        }
        ++host.held;
    };
    options.unlock = [](void *ctx) {
        auto &host = *static_cast<HostLock *>(ctx);
        --host.held;
        if (++host.unlocks == host.throwAtUnlock) {
            throw std::runtime_error("unlock");
        }
    };
    options.publish = [](void *ctx, Db *, Db *) -> couchstore_error_t {
        auto &host = *static_cast<HostLock *>(ctx);
        host.published = true;
        if (host.throwAtPublish != 0) {
            throw std::runtime_error("publish");
        }
        return COUCHSTORE_SUCCESS;
    };
    return couchstore_compact_db_online(name.c_str(), nullptr, &options, nullptr);
}

std::string thrownBy(const std::string &name, HostLock &lock) {
    try {
        return "code " + std::to_string(compactWithLock(name, lock));
    } catch (const std::runtime_error &error) {
        return error.what();
    }
}

// Whether the name still leads to the handle's file; negative: an error.
int isCurrent(Db &db) {
    int current = 0;
    const auto code = couchstore_is_current(&db, &current);
    return code == COUCHSTORE_SUCCESS ? current : code;
}

TEST(Callbacks, ALockThatThrowsIsNotHeld) {
    const auto name = sample();
    auto handle = open(name);
    HostLock lock;
    lock.throwAtLock = 1;
    EXPECT_EQ("lock", thrownBy(name, lock));
    EXPECT_EQ(0, lock.unlocks);
    EXPECT_FALSE(lock.published) << "nothing is done without the lock";
    EXPECT_EQ(1, isCurrent(*handle));
}

TEST(Callbacks, AnUnlockThatThrowsHasUnlocked) {
    const auto name = sample();
    auto handle = open(name);
    HostLock lock;
    lock.throwAtUnlock = 1;
    EXPECT_EQ("unlock", thrownBy(name, lock));
    EXPECT_EQ(1, lock.unlocks);
    EXPECT_EQ(0, lock.held);
    // It was the last one: the result is in place.
    EXPECT_EQ(0, isCurrent(*handle));
}

TEST(Callbacks, TheFirstExceptionCounts) {
    const auto name = sample();
    auto handle = open(name);
    HostLock lock;
    lock.throwAtPublish = lock.throwAtUnlock = 1;
    EXPECT_EQ("publish", thrownBy(name, lock));
    EXPECT_EQ(1, lock.unlocks) << "unlocked all the same";
    EXPECT_EQ(0, lock.held);
    EXPECT_EQ(1, isCurrent(*handle)) << "undone";
}

TEST(Callbacks, OptionsOfOtherSizes) {
    const auto name = sample();
    // An older version's struct ends before the functions; what is behind it is not looked at.
    Options options{};
    options.size = offsetof(Options, hook);
    options.hook = [](Db *, DocInfo *, sized_buf, void *) -> int { throw Thrown(); };
    const auto target = freshName("target");
    EXPECT_EQ(COUCHSTORE_SUCCESS,
              couchstore_compact_db_online(name.c_str(), target.c_str(), &options, nullptr));
    for (const size_t size : {size_t(0), size_t(7)}) {
        options.size = size;
        EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS,
                  couchstore_compact_db_online(name.c_str(), target.c_str(), &options, nullptr));
    }
    EXPECT_EQ(COUCHSTORE_ERROR_INVALID_ARGUMENTS,
              couchstore_compact_db_online(name.c_str(), target.c_str(), nullptr, nullptr));
}

}  // namespace
