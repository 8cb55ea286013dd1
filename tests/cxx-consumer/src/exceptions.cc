// SPDX-License-Identifier: Apache-2.0
//
// Exceptions on their way through the Rust library: what callbacks and file operations throw arrives where the
// function was called, unchanged, and the handle can still be used.

#include "../../../capi-tests/host/stats_ops.h"

#include <libcouchstore/couch_db.h>

#include <functional>
#include <map>
#include <stdexcept>
#include <string>

using namespace cb::couchstore;

namespace {

// What is thrown. Copies are counted: none may be left when it has been handled.
struct Thrown {
    explicit Thrown(int number_) : number(number_) {
        ++alive;
    }
    Thrown(const Thrown &other) : number(other.number) {
        ++alive;
    }
    ~Thrown() {
        --alive;
    }

    int number;
    static int alive;
};

int Thrown::alive = 0;

void expect(bool condition, const char *what) {
    if (!condition) {
        throw std::runtime_error(what);
    }
}

#define EXPECT(condition) expect(condition, #condition)

// Runs work, which must throw Thrown; returns its number.
int thrownBy(const std::function<void()> &work) {
    int number = -1;
    try {
        work();
    } catch (const Thrown &thrown) {
        number = thrown.number;
    }
    EXPECT(Thrown::alive == 0);
    return number;
}

sized_buf view(const std::string &text) {
    return {const_cast<char *>(text.data()), text.size()};
}

couchstore_error_t put(Db &db, const std::string &id, save_callback_fn callback = nullptr) {
    Doc doc{view(id), view(id)};
    DocInfo info;
    info.id = doc.id;
    const Doc *docs[] = {&doc};
    DocInfo *infos[] = {&info};
    return couchstore_save_documents_and_callback(&db, docs, infos, nullptr, 1, 0, callback,
                                                  nullptr);
}

UniqueDbPtr create(const char *path, FileOpsInterface *ops = nullptr) {
    auto [code, db] = openDatabase(path, COUCHSTORE_OPEN_FLAG_CREATE, ops);
    EXPECT(code == COUCHSTORE_SUCCESS);
    return std::move(db);
}

UniqueDbPtr filled(const char *path) {
    auto db = create(path);
    for (int i = 0; i < 5; ++i) {
        EXPECT(put(*db, "id-" + std::to_string(i)) == COUCHSTORE_SUCCESS);
    }
    EXPECT(couchstore_commit(db.get()) == COUCHSTORE_SUCCESS);
    return db;
}

void scans(const char *path) {
    auto db = filled(path);
    const auto callback = [](Db *, DocInfo *info, void *ctx) -> int {
        if (info->db_seq == *static_cast<uint64_t *>(ctx)) {
            throw Thrown(static_cast<int>(info->db_seq));
        }
        return 0;
    };
    for (uint64_t when : {1, 4}) {
        EXPECT(thrownBy([&] { couchstore_changes_since(db.get(), 0, 0, callback, &when); }) ==
               static_cast<int>(when));
        EXPECT(thrownBy([&] { couchstore_all_docs(db.get(), nullptr, 0, callback, &when); }) ==
               static_cast<int>(when));
    }
    uint64_t never = 99;
    EXPECT(couchstore_changes_since(db.get(), 0, 0, callback, &never) == COUCHSTORE_SUCCESS);
}

// A callback that uses the library again: each exception belongs to the call in which it was thrown.
void nested(const char *path) {
    auto db = filled(path);
    const auto inner = [](Db *, DocInfo *, void *) -> int { throw Thrown(1); };
    const auto outer = [](Db *db_, DocInfo *info, void *ctx) -> int {
        const auto callback = *static_cast<couchstore_changes_callback_fn *>(ctx);
        EXPECT(thrownBy([&] { couchstore_all_docs(db_, nullptr, 0, callback, nullptr); }) == 1);
        if (info->db_seq == 3) {
            throw Thrown(2);
        }
        return 0;
    };
    couchstore_changes_callback_fn callback = inner;
    EXPECT(thrownBy([&] { couchstore_changes_since(db.get(), 0, 0, outer, &callback); }) == 2);
}

void saves(const char *path) {
    auto db = filled(path);
    const auto callback = [](const DocInfo *, const DocInfo *, void *, void *) { throw Thrown(7); };
    EXPECT(thrownBy([&] { put(*db, "new", callback); }) == 7);
    EXPECT(openDocInfo(*db, "new").first == COUCHSTORE_ERROR_DOC_NOT_FOUND);
    EXPECT(put(*db, "new") == COUCHSTORE_SUCCESS);
    EXPECT(openDocInfo(*db, "new").second->db_seq == 6);
}

void compaction(const char *path) {
    auto db = filled(path);
    const auto target = std::string(path) + ".target";
    const auto compactWith = [&](const CompactFilterCallback &filter) {
        return compact(*db, target.c_str(), 0, filter, {}, couchstore_get_default_file_ops());
    };
    const CompactFilterCallback throwing = [](Db &, DocInfo *, sized_buf) -> int {
        throw Thrown(3);
    };
    EXPECT(thrownBy([&] { compactWith(throwing); }) == 3);
    EXPECT(openDatabase(target, 0).first == COUCHSTORE_ERROR_NO_SUCH_FILE);
    EXPECT(compactWith({}) == COUCHSTORE_SUCCESS);
    EXPECT(openDatabase(target, 0).first == COUCHSTORE_SUCCESS);
}

class ThrowingOps : public StatsOps {
public:
    using StatsOps::StatsOps;

    ssize_t pwrite(couchstore_error_info_t *errinfo,
                   couch_file_handle handle,
                   const void *buf,
                   size_t nbytes,
                   cs_off_t offset) override {
        check();
        return StatsOps::pwrite(errinfo, handle, buf, nbytes, offset);
    }

    couchstore_error_t open(couchstore_error_info_t *errinfo,
                            couch_file_handle *handle,
                            const char *path,
                            int oflag) override {
        check();
        return StatsOps::open(errinfo, handle, path, oflag);
    }

    bool armed = false;

private:
    void check() const {
        if (armed) {
            throw Thrown(5);
        }
    }
};

void fileOperations(const char *path) {
    ThrowingOps ops(couchstore_get_default_file_ops());
    auto db = create(path, &ops);
    EXPECT(put(*db, "before") == COUCHSTORE_SUCCESS);
    ops.armed = true;
    EXPECT(thrownBy([&] { couchstore_commit(db.get()); }) == 5);
    EXPECT(thrownBy([&] { openDatabase(path, 0, &ops); }) == 5);
    ops.armed = false;
    EXPECT(couchstore_commit(db.get()) == COUCHSTORE_SUCCESS);
    EXPECT(openDocInfo(*openDatabase(path, 0).second, "before").first == COUCHSTORE_SUCCESS);
}

const std::map<std::string, void (*)(const char *)> cases = {{"scans", scans},
                                                             {"nested", nested},
                                                             {"saves", saves},
                                                             {"compaction", compaction},
                                                             {"file operations", fileOperations}};

}  // namespace

extern "C" const char *consumer_exceptions(const char *name, const char *path) noexcept {
    static thread_local std::string said;
    try {
        cases.at(name)(path);
        return nullptr;
    } catch (const std::exception &error) {
        said = error.what();
    } catch (const Thrown &thrown) {
        said = "not caught: " + std::to_string(thrown.number);
    }
    return said.c_str();
}
