// SPDX-License-Identifier: Apache-2.0
//
// The functions of the Rust library that the C++ layer calls: the other half of src/capi/shim.rs and src/io/object.rs.
// None of them is exported.
//
// Functions of the public C interface that this layer defines anew have the prefix couchstore_private_ in the Rust
// library that it is linked with (its feature cxx-shim); they are declared where they are used.
#pragma once

#include <libcouchstore/couch_db.h>

extern "C" {

// FileOpsInterface, function by function.
struct couchstore_private_file_ops {
    int (*constructor)(void *object, couchstore_error_info_t *errinfo, couch_file_handle *handle);
    int (*open)(void *object,
                couchstore_error_info_t *errinfo,
                couch_file_handle *handle,
                const char *path,
                int oflag);
    int (*close)(void *object, couchstore_error_info_t *errinfo, couch_file_handle handle);
    int (*set_periodic_sync)(void *object, couch_file_handle handle, uint64_t period_bytes);
    int (*set_tracing_enabled)(void *object, couch_file_handle handle);
    int (*set_write_validation_enabled)(void *object, couch_file_handle handle);
    int (*set_mprotect_enabled)(void *object, couch_file_handle handle);
    ssize_t (*pread)(void *object,
                     couchstore_error_info_t *errinfo,
                     couch_file_handle handle,
                     void *buf,
                     size_t nbytes,
                     int64_t offset);
    ssize_t (*pwrite)(void *object,
                      couchstore_error_info_t *errinfo,
                      couch_file_handle handle,
                      const void *buf,
                      size_t nbytes,
                      int64_t offset);
    int64_t (*goto_eof)(void *object, couchstore_error_info_t *errinfo, couch_file_handle handle);
    int (*sync)(void *object, couchstore_error_info_t *errinfo, couch_file_handle handle);
    void (*evict)(void *object, couchstore_error_info_t *errinfo, couch_file_handle handle);
    void (*tag)(void *object, couch_file_handle handle, uint8_t tag);
    void *(*get_stats)(void *object, couch_file_handle handle);
    void (*destructor)(void *object, couch_file_handle handle);
    void (*free_buffers)(void *object, couch_file_handle handle);
};

// table nullptr: the library's own file operations.
struct couchstore_private_ops {
    const couchstore_private_file_ops *table;
    void *object;
};

struct couchstore_private_key {
    sized_buf id;
    sized_buf key;
    int cipher;
    int derivation;
};

// Returns 1 and fills in key; 0: there is none; negative: finding it failed. function nullptr: no getter.
struct couchstore_private_keys {
    int (*function)(void *ctx, sized_buf id, couchstore_private_key *key);
    void *ctx;
};

// bootstrap: creates the file atomically if there is none, as couchstore_bootstrap_db().
couchstore_error_t couchstore_private_cxx_open(const char *filename,
                                               couchstore_open_flags flags,
                                               couchstore_private_keys keys,
                                               couchstore_private_ops ops,
                                               bool bootstrap,
                                               Db **db);

// timestamp nullptr: the system clock.
couchstore_error_t couchstore_private_cxx_commit(Db *db,
                                                 const uint64_t *timestamp,
                                                 couchstore_commit_retry_fn retry,
                                                 void *ctx);

// A negative result of the callback ends the save.
couchstore_error_t couchstore_private_cxx_save(
        Db *db,
        const Doc *const *docs,
        DocInfo *const *infos,
        void *const *requests,
        size_t count,
        couchstore_save_options options,
        int (*on_save)(const DocInfo *old, const DocInfo *info, void *ctx, void *request),
        void *ctx);

couchstore_error_t couchstore_private_cxx_save_local(Db *db, LocalDoc *const *docs, size_t count);

// The callback owns every document that it gets.
couchstore_error_t couchstore_private_cxx_scan_local(Db *db,
                                                     sized_buf from,
                                                     couchstore_local_docs_callback_fn callback,
                                                     void *ctx);

couchstore_error_t couchstore_private_cxx_seek_offset(Db *db, cs_off_t offset);
couchstore_error_t couchstore_private_cxx_seek(Db *db, couchstore_direction direction);
couchstore_error_t couchstore_private_cxx_seek_first(Db *db, uint64_t seqno, uint64_t granularity);

// Moves back to the newest header that is not newer than timestamp, or to the oldest.
couchstore_error_t couchstore_private_cxx_seek_back_to(Db *db, uint64_t timestamp);

// Where a handle stands, with what is not committed yet.
struct couchstore_private_place;
couchstore_private_place *couchstore_private_cxx_place(const Db *db);
// From memory: it never fails.
void couchstore_private_cxx_return_to(Db *db, const couchstore_private_place *place);
void couchstore_private_cxx_free_place(couchstore_private_place *place);

// A negative result of any ends the compaction.
struct couchstore_private_hooks {
    couchstore_compact_hook filter;
    int (*rewrite)(DocInfo **docinfo, const sized_buf *item, void *ctx);
    couchstore_precommit_hook precommit;
    void *ctx;
};

couchstore_error_t couchstore_private_cxx_compact(Db *source,
                                                  const char *target_filename,
                                                  couchstore_compact_flags flags,
                                                  couchstore_private_keys keys,
                                                  couchstore_private_ops ops,
                                                  couchstore_private_hooks hooks,
                                                  bool is_c_function);

// What stands in place of members of the options of an online compaction; nullptr: as they say.
struct couchstore_private_online {
    // A negative result: it is not held. With the options' ctx.
    int (*try_lock)(void *ctx);
    // With the options' hook_ctx.
    int (*rewrite)(DocInfo **docinfo, const sized_buf *item, void *ctx);
    couchstore_private_keys keys;
    // Used if has_ops.
    couchstore_private_ops ops;
    bool has_ops;
};

couchstore_error_t couchstore_private_cxx_compact_online(
        const char *source_name,
        const char *target_name,
        const couchstore_online_compact_options *options,
        couchstore_online_compact_stats *stats,
        couchstore_private_online replaced);

// *cannot_move becomes true if the result is that of moving the source to the offset.
couchstore_error_t couchstore_private_cxx_replay(Db *source,
                                                 Db *target,
                                                 uint64_t source_end_offset,
                                                 couchstore_pre_copy_hook pre_copy,
                                                 couchstore_precommit_hook precommit,
                                                 void *ctx,
                                                 size_t flush_threshold,
                                                 bool *cannot_move);

// Between these two a call on the handle is under way: it is not freed. nullptr is fine.
void couchstore_private_cxx_begin(Db *db);
void couchstore_private_cxx_end(Db *db);

void *couchstore_private_cxx_file_stats(Db *db);

// The id of the key that the file is encrypted with; {nullptr, 0} if it is not.
sized_buf couchstore_private_cxx_key_id(const Db *db);

// Copies the last internal error of this thread, in quotes, cut to fit and terminated.
void couchstore_private_cxx_last_internal_error(char *buf, size_t size);

// destroy is called with ctx once nobody calls the handler any more. call nullptr: no handler.
void couchstore_private_cxx_on_internal_error(couchstore_internal_error_fn call,
                                              void (*destroy)(void *ctx),
                                              void *ctx);

}  // extern "C"
