// SPDX-License-Identifier: Apache-2.0
//
// One kind of work at a time, as a key-value engine does it: every flush and every fetch opens the file anew, saves with
// a callback, writes a local document and commits; all file operations go through a class of the host's own. For
// scripts/counts.py, which counts its instructions and system calls.
//
//   hostwork DIRECTORY DOCUMENTS BODY make
//   hostwork DIRECTORY DOCUMENTS BODY ROW ROUNDS [SIZE]
//
// "make" writes DIRECTORY/host.couch; each row then works on that file. The same arguments do the same, bit for bit.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <unistd.h>
#include <vector>
#include <libcouchstore/couch_db.h>

namespace {

// Passes everything on, as a host's class that counts or throttles does.
class HostOps : public FileOpsInterface {
public:
    couch_file_handle constructor(couchstore_error_info_t *error) override {
        return inner->constructor(error);
    }
    couchstore_error_t open(couchstore_error_info_t *error,
                            couch_file_handle *handle,
                            const char *path,
                            int flags) override {
        return inner->open(error, handle, path, flags);
    }
    couchstore_error_t close(couchstore_error_info_t *error, couch_file_handle handle) override {
        return inner->close(error, handle);
    }
    couchstore_error_t set_periodic_sync(couch_file_handle handle, uint64_t bytes) override {
        return inner->set_periodic_sync(handle, bytes);
    }
    ssize_t pread(couchstore_error_info_t *error,
                  couch_file_handle handle,
                  void *buffer,
                  size_t length,
                  cs_off_t offset) override {
        return inner->pread(error, handle, buffer, length, offset);
    }
    ssize_t pwrite(couchstore_error_info_t *error,
                   couch_file_handle handle,
                   const void *buffer,
                   size_t length,
                   cs_off_t offset) override {
        return inner->pwrite(error, handle, buffer, length, offset);
    }
    cs_off_t goto_eof(couchstore_error_info_t *error, couch_file_handle handle) override {
        return inner->goto_eof(error, handle);
    }
    couchstore_error_t sync(couchstore_error_info_t *error, couch_file_handle handle) override {
        return inner->sync(error, handle);
    }
    couchstore_error_t advise(couchstore_error_info_t *error,
                              couch_file_handle handle,
                              cs_off_t offset,
                              cs_off_t length,
                              couchstore_file_advice_t advice) override {
        return inner->advise(error, handle, offset, length, advice);
    }
    void tag(couch_file_handle handle, FileTag tag) override {
        inner->tag(handle, tag);
    }
    FHStats *get_stats(couch_file_handle handle) override {
        return inner->get_stats(handle);
    }
    void destructor(couch_file_handle handle) override {
        inner->destructor(handle);
    }

private:
    FileOpsInterface *inner = couchstore_get_default_file_ops();
};

HostOps hostOps;
std::string path;
uint64_t documentCount;
size_t bodySize;

void must(couchstore_error_t status, const char *what) {
    if (status != COUCHSTORE_SUCCESS) {
        std::fprintf(stderr, "hostwork: %s: %s\n", what, couchstore_strerror(status));
        std::exit(1);
    }
}

// SplitMix64.
uint64_t nextRandom() {
    static uint64_t state = 1;
    uint64_t mixed = state += 0x9E3779B97F4A7C15ull;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ull;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBull;
    return mixed ^ (mixed >> 31);
}

// A collection's prefix and a name: ids in no order.
std::string idOf(uint64_t number) {
    std::array<char, 24> name;
    std::snprintf(name.data(), name.size(), "user::%016llx",
                  static_cast<unsigned long long>(number * 0x9E3779B97F4A7C15ull));
    return std::string(1, '\0') + name.data();
}

// Text that compresses as JSON does; each body is a part of it.
const std::string &material() {
    static const std::string text = [] {
        std::string made;
        while (made.size() < (1u << 20)) {
            std::array<char, 80> field;
            std::snprintf(field.data(), field.size(), "{\"name%u\":\"%016llx\",\"age\":%u},",
                          unsigned(made.size() % 89), static_cast<unsigned long long>(nextRandom()),
                          unsigned(made.size()));
            made += field.data();
        }
        return made;
    }();
    return text;
}

// A database that is open for one piece of work.
class Opened {
public:
    explicit Opened(couchstore_open_flags flags) {
        must(couchstore_open_db_ex(path.c_str(), flags, {}, &hostOps, &db), "open");
    }
    ~Opened() {
        couchstore_close_file(db);
        couchstore_free_db(db);
    }
    Opened(const Opened &) = delete;
    Opened &operator=(const Opened &) = delete;

    Db *db = nullptr;
};

// Documents to be saved, with their memory.
class Batch {
public:
    explicit Batch(const std::vector<uint64_t> &numbers) : entries(numbers.size()) {
        for (size_t at = 0; at < numbers.size(); ++at) {
            Entry &entry = entries[at];
            entry.id = idOf(numbers[at]);
            entry.body = material().substr(nextRandom() % (material().size() - bodySize), bodySize);
            entry.meta.fill(char(numbers[at]));
            entry.doc.data = {&entry.body[0], entry.body.size()};
            entry.info.id = {&entry.id[0], entry.id.size()};
            entry.info.rev_meta = {entry.meta.data(), entry.meta.size()};
            entry.info.rev_seq = 1;
            entry.info.content_meta = COUCH_DOC_IS_COMPRESSED;
            docs.push_back(&entry.doc);
            infos.push_back(&entry.info);
            requests.push_back(&entry);
        }
    }

    void save(Db *db) {
        uint64_t replaced = 0;
        must(couchstore_save_documents_and_callback(db, docs.data(), infos.data(), requests.data(),
                                                    docs.size(), COMPRESS_DOC_BODIES, count,
                                                    &replaced),
             "save");
    }

private:
    struct Entry {
        std::string id, body;
        std::array<char, 18> meta;
        Doc doc{};
        DocInfo info{};
    };

    static void count(const DocInfo *old, const DocInfo *, void *replaced, void *) {
        *static_cast<uint64_t *>(replaced) += old != nullptr;
    }

    std::vector<Entry> entries;
    std::vector<Doc *> docs;
    std::vector<DocInfo *> infos;
    std::vector<void *> requests;
};

// Saves documents as a flusher does.
void flush(const std::vector<uint64_t> &numbers, couchstore_open_flags flags = 0) {
    Batch batch(numbers);
    const Opened opened(flags);
    batch.save(opened.db);
    std::string id = "_local/vbstate";
    std::string state(300, 's');
    LocalDoc local{};
    local.id = {&id[0], id.size()};
    local.json = {&state[0], state.size()};
    must(couchstore_save_local_document(opened.db, &local), "save a local document");
    must(couchstore_commit(opened.db), "commit");
    DbInfo info;
    must(couchstore_db_info(opened.db, &info), "ask for the state");
}

// Numbers of documents that exist, each once, in ascending order.
std::vector<uint64_t> someNumbers(size_t size) {
    std::vector<uint64_t> numbers;
    for (size_t at = 0; at < size; ++at) {
        numbers.push_back(nextRandom() % documentCount);
    }
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    return numbers;
}

int countEntry(Db *, DocInfo *, void *seen) {
    ++*static_cast<uint64_t *>(seen);
    return 0;
}

int countBody(Db *db, DocInfo *info, void *seen) {
    Doc *doc = nullptr;
    const auto status = couchstore_open_doc_with_docinfo(db, info, &doc, DECOMPRESS_DOC_BODIES);
    if (status != COUCHSTORE_SUCCESS) {
        return status;
    }
    *static_cast<uint64_t *>(seen) += doc->data.size == bodySize;
    couchstore_free_document(doc);
    return 0;
}

int keepAll(Db *, DocInfo *, sized_buf, void *) {
    return COUCHSTORE_COMPACT_KEEP_ITEM;
}

// Looks for so many random documents, which must all be there.
void fetch(Db *db, size_t size) {
    std::vector<std::string> ids;
    for (size_t at = 0; at < size; ++at) {
        ids.push_back(idOf(nextRandom() % documentCount));
    }
    std::vector<sized_buf> keys;
    for (auto &id : ids) {
        keys.push_back({&id[0], id.size()});
    }
    uint64_t seen = 0;
    must(couchstore_docinfos_by_id(db, keys.data(), unsigned(size), 0, countBody, &seen), "fetch");
    if (seen == 0) {
        must(COUCHSTORE_ERROR_DOC_NOT_FOUND, "fetch");
    }
}

void readState(Db *db) {
    LocalDoc *local = nullptr;
    must(couchstore_open_local_document(db, "_local/vbstate", 14, &local), "read a local document");
    couchstore_free_local_document(local);
}

void compact(Db *db) {
    const std::string target = path + ".compact";
    unlink(target.c_str());
    must(couchstore_compact_db_ex(db, target.c_str(), 0, {}, keepAll, nullptr, nullptr, &hostOps),
         "compact");
}

// Each document must have come once. (A reference: the scan, another argument, counts.)
void all(couchstore_error_t status, const uint64_t &seen) {
    must(status, "scan");
    if (seen != documentCount) {
        std::fprintf(stderr, "hostwork: %llu documents\n", static_cast<unsigned long long>(seen));
        std::exit(1);
    }
}

void make() {
    constexpr uint64_t LOADED = 5000, UPDATES = 50, UPDATED = 500;
    unlink(path.c_str());
    for (uint64_t first = 0; first < documentCount; first += LOADED) {
        std::vector<uint64_t> numbers;
        for (uint64_t at = first; at < std::min(documentCount, first + LOADED); ++at) {
            numbers.push_back(at);
        }
        flush(numbers, COUCHSTORE_OPEN_FLAG_CREATE);
    }
    for (uint64_t update = 0; update < UPDATES; ++update) {
        flush(someNumbers(UPDATED));
    }
}

// What one round of a row that reads does with the open database.
using Round = std::function<void(Db *, size_t)>;

const std::map<std::string, Round> readingRows = {
        {"open", [](Db *, size_t) {}},
        {"vbstate", [](Db *db, size_t) { readState(db); }},
        {"fetch", fetch},
        {"keys",
         [](Db *db, size_t) {
             uint64_t seen = 0;
             all(couchstore_all_docs(db, nullptr, 0, countEntry, &seen), seen);
         }},
        {"changes",
         [](Db *db, size_t) {
             uint64_t seen = 0;
             all(couchstore_changes_since(db, 0, 0, countEntry, &seen), seen);
         }},
        {"backfill",
         [](Db *db, size_t) {
             uint64_t seen = 0;
             all(couchstore_changes_since(db, 0, 0, countBody, &seen), seen);
         }},
        {"compact", [](Db *db, size_t) { compact(db); }},
};

}  // namespace

int main(int argc, char **argv) {
    if (argc < 5) {
        std::fprintf(stderr, "usage: hostwork DIRECTORY DOCUMENTS BODY make|ROW [ROUNDS [SIZE]]\n");
        return 2;
    }
    path = std::string(argv[1]) + "/host.couch";
    documentCount = std::strtoull(argv[2], nullptr, 10);
    bodySize = std::strtoull(argv[3], nullptr, 10);
    const std::string row = argv[4];
    const uint64_t rounds = argc > 5 ? std::strtoull(argv[5], nullptr, 10) : 0;
    const size_t size = argc > 6 ? std::strtoull(argv[6], nullptr, 10) : 1;
    material();
    if (row == "make") {
        make();
        return 0;
    }
    const auto found = readingRows.find(row);
    if (found == readingRows.end() && row != "flush") {
        std::fprintf(stderr, "hostwork: no row %s\n", row.c_str());
        return 2;
    }
    for (uint64_t round = 0; round < rounds; ++round) {
        if (row == "flush") {
            flush(someNumbers(size));
        } else {
            const Opened opened(COUCHSTORE_OPEN_FLAG_RDONLY);
            found->second(opened.db, size);
        }
    }
    return 0;
}
