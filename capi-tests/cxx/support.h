// SPDX-License-Identifier: Apache-2.0
//
// What the C++ tests share: a folder for files, documents, short names of calls.
#pragma once

#include <libcouchstore/couch_db.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace testing_support {

// The empty folder that the test program was given.
inline std::string &folder() {
    static std::string path = ".";
    return path;
}

// Whether to do less, for valgrind.
inline bool isSmall() {
    const char *scale = std::getenv("COUCHSTORE_TEST_SCALE");
    return scale && std::string(scale) == "small";
}

// A file name that no other test uses.
inline std::string freshName(const std::string &what = "db") {
    static int count = 0;
    const auto *test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = test ? std::string(test->test_suite_name()) + "." + test->name() : "none";
    std::replace(name.begin(), name.end(), '/', '.');  // of tests with parameters
    return folder() + "/" + name + "." + what + std::to_string(++count) + ".couch";
}

inline bool exists(const std::string &path) {
    FILE *file = std::fopen(path.c_str(), "rb");
    if (file) {
        std::fclose(file);
    }
    return file != nullptr;
}

inline sized_buf view(const std::string &text) {
    return {const_cast<char *>(text.data()), text.size()};
}
/** What is gone at the end of the line cannot be looked at later. */
sized_buf view(std::string &&) = delete;
/** A literal. */
inline sized_buf view(const char *text) {
    return {const_cast<char *>(text), std::strlen(text)};
}

inline couchstore_error_t put(Db *db, const std::string &id, const std::string &body) {
    Doc doc;
    doc.id = view(id);
    doc.data = view(body);
    DocInfo info;
    info.id = doc.id;
    return couchstore_save_document(db, &doc, &info, 0);
}

inline couchstore_error_t putMany(Db *db, int count, const std::string &prefix = "key") {
    for (int i = 0; i < count; ++i) {
        const auto code = put(db, prefix + std::to_string(1000 + i), "body " + std::to_string(i));
        if (code != COUCHSTORE_SUCCESS) {
            return code;
        }
    }
    return COUCHSTORE_SUCCESS;
}

inline couchstore_error_t putLocal(Db *db, const std::string &id, const std::string &body) {
    LocalDoc doc{view(id), view(body), 0};
    return couchstore_save_local_document(db, &doc);
}

// Opens with the library's own operations; the test fails if that fails.
inline cb::couchstore::UniqueDbPtr open(const std::string &name, couchstore_open_flags flags = 0) {
    auto [code, db] = cb::couchstore::openDatabase(name, flags);
    EXPECT_EQ(COUCHSTORE_SUCCESS, code) << couchstore_strerror(code);
    return std::move(db);
}

inline cb::couchstore::UniqueDbPtr create(const std::string &name) {
    return open(name, COUCHSTORE_OPEN_FLAG_CREATE);
}

// A committed file with documents and a local document.
inline std::string sample(int documents = 20) {
    const auto name = freshName("sample");
    auto db = create(name);
    EXPECT_EQ(COUCHSTORE_SUCCESS, putMany(db.get(), documents));
    EXPECT_EQ(COUCHSTORE_SUCCESS, putLocal(db.get(), "_local/a", "local body"));
    EXPECT_EQ(COUCHSTORE_SUCCESS, couchstore_commit(db.get()));
    return name;
}

}  // namespace testing_support
