#ifndef COUCHSTORE_COUCH_DB_H
#include <libcouchstore/couch_db.h>
#endif

#ifndef COUCHSTORE_COUCH_API_H
#define COUCHSTORE_COUCH_API_H

#ifdef __cplusplus
extern "C" {
#endif

LIBCOUCHSTORE_API couchstore_open_flags couchstore_encode_periodic_sync_flags(uint64_t bytes);
LIBCOUCHSTORE_API couchstore_error_t couchstore_open_db(const char *filename, couchstore_open_flags flags, Db **db);
LIBCOUCHSTORE_API couchstore_error_t couchstore_c_open_db_ex(const char *filename, couchstore_open_flags flags, const couch_file_ops *ops, Db **db);
LIBCOUCHSTORE_API couchstore_error_t couchstore_close_file(Db *db);
LIBCOUCHSTORE_API couchstore_error_t couchstore_free_db(Db *db);
LIBCOUCHSTORE_API couchstore_error_t couchstore_close_db(Db *db);
LIBCOUCHSTORE_API couchstore_error_t couchstore_drop_file(Db *db);
LIBCOUCHSTORE_API couchstore_error_t couchstore_reopen_file(Db *db, const char *filename, couchstore_open_flags flags);
LIBCOUCHSTORE_API couchstore_error_t couchstore_rewind_db_header(Db *db);
LIBCOUCHSTORE_API couchstore_error_t couchstore_fastforward_db_header(Db *db);
LIBCOUCHSTORE_API couchstore_error_t couchstore_seek_offset(Db *db, cs_off_t offset);
LIBCOUCHSTORE_API couchstore_error_t couchstore_seek(Db *db, couchstore_direction direction);
LIBCOUCHSTORE_API couchstore_error_t couchstore_seek_first_header_containing(Db *db, uint64_t seqno, uint64_t granularity);
LIBCOUCHSTORE_API const couch_file_ops *couchstore_c_get_default_file_ops(void);
LIBCOUCHSTORE_API couchstore_error_t couchstore_db_info(Db *db, DbInfo *info);
LIBCOUCHSTORE_API couchstore_error_t couchstore_get_header(Db *db, couchstore_header_info *info);
LIBCOUCHSTORE_API const char *couchstore_get_db_filename(Db *db);
LIBCOUCHSTORE_API uint64_t couchstore_get_header_position(Db *db);
LIBCOUCHSTORE_API couchstore_error_t couchstore_c_get_db_filestats(Db *db, couchstore_file_stats *stats);
LIBCOUCHSTORE_API couchstore_error_t couchstore_save_document(Db *db, const Doc *doc, DocInfo *info, couchstore_save_options options);
LIBCOUCHSTORE_API couchstore_error_t couchstore_save_documents(Db *db, Doc *const docs[], DocInfo *const infos[], size_t numDocs, couchstore_save_options options);
LIBCOUCHSTORE_API couchstore_error_t couchstore_save_documents_and_callback(Db *db, const Doc *const docs[], DocInfo *const infos[], void *const userReqs[], size_t numDocs, couchstore_save_options options, save_callback_fn save_cb, void *save_cb_ctx);
LIBCOUCHSTORE_API couchstore_error_t couchstore_c_commit(Db *db);
LIBCOUCHSTORE_API couchstore_error_t couchstore_c_commit_ex(Db *db, uint64_t timestamp, couchstore_commit_retry_fn retry, void *ctx);
LIBCOUCHSTORE_API couchstore_error_t couchstore_docinfo_by_id(Db *db, const void *id, size_t idlen, DocInfo **pInfo);
LIBCOUCHSTORE_API couchstore_error_t couchstore_docinfo_by_sequence(Db *db, uint64_t sequence, DocInfo **pInfo);
LIBCOUCHSTORE_API couchstore_error_t couchstore_open_document(Db *db, const void *id, size_t idlen, Doc **pDoc, couchstore_open_options options);
LIBCOUCHSTORE_API couchstore_error_t couchstore_open_doc_with_docinfo(Db *db, const DocInfo *docinfo, Doc **pDoc, couchstore_open_options options);
LIBCOUCHSTORE_API void couchstore_free_document(Doc *doc);
LIBCOUCHSTORE_API DocInfo *couchstore_alloc_docinfo(const sized_buf *id, const sized_buf *rev_meta);
LIBCOUCHSTORE_API void couchstore_free_docinfo(DocInfo *docinfo);
LIBCOUCHSTORE_API couchstore_error_t couchstore_changes_since(Db *db, uint64_t since, couchstore_docinfos_options options, couchstore_changes_callback_fn callback, void *ctx);
LIBCOUCHSTORE_API couchstore_error_t couchstore_all_docs(Db *db, const sized_buf *startKeyPtr, couchstore_docinfos_options options, couchstore_changes_callback_fn callback, void *ctx);
LIBCOUCHSTORE_API couchstore_error_t couchstore_docinfos_by_sequence(Db *db, const uint64_t sequence[], unsigned numDocs, couchstore_docinfos_options options, couchstore_changes_callback_fn callback, void *ctx);
LIBCOUCHSTORE_API couchstore_error_t couchstore_docinfos_by_id(Db *db, const sized_buf ids[], size_t numDocs, couchstore_docinfos_options options, couchstore_changes_callback_fn callback, void *ctx);
LIBCOUCHSTORE_API couchstore_error_t couchstore_changes_count(Db *db, uint64_t min_seq, uint64_t max_seq, uint64_t *count);
LIBCOUCHSTORE_API couchstore_error_t couchstore_walk_id_tree(Db *db, const sized_buf *startDocID, couchstore_docinfos_options options, couchstore_walk_tree_callback_fn callback, void *ctx);
LIBCOUCHSTORE_API couchstore_error_t couchstore_walk_seq_tree(Db *db, uint64_t startSequence, couchstore_docinfos_options options, couchstore_walk_tree_callback_fn callback, void *ctx);
LIBCOUCHSTORE_API couchstore_error_t couchstore_walk_local_tree(Db *db, const sized_buf *startLocalID, couchstore_docinfos_options options, couchstore_walk_tree_callback_fn callback, void *ctx);
LIBCOUCHSTORE_API couchstore_error_t couchstore_open_local_document(Db *db, const void *id, size_t idlen, LocalDoc **lDoc);
LIBCOUCHSTORE_API couchstore_error_t couchstore_save_local_document(Db *db, LocalDoc *lDoc);
LIBCOUCHSTORE_API couchstore_error_t couchstore_save_local_documents(Db *db, LocalDoc *const docs[], size_t numDocs);
LIBCOUCHSTORE_API couchstore_error_t couchstore_scan_local_docs(Db *db, const sized_buf *from, couchstore_local_docs_callback_fn callback, void *ctx);
LIBCOUCHSTORE_API void couchstore_free_local_document(LocalDoc *lDoc);
LIBCOUCHSTORE_API couchstore_error_t couchstore_compact_db(Db *source, const char *target_filename);
LIBCOUCHSTORE_API couchstore_error_t couchstore_c_compact_db_ex(Db *source, const char *target_filename, couchstore_compact_flags flags, couchstore_compact_hook hook, couchstore_docinfo_hook dhook, void *hook_ctx, const couch_file_ops *ops);
LIBCOUCHSTORE_API couchstore_error_t couchstore_replay(Db *source, Db *target, uint64_t source_end_offset, couchstore_pre_copy_hook pre_copy, couchstore_precommit_hook precommit, void *hook_ctx, size_t flush_threshold);
LIBCOUCHSTORE_API couchstore_error_t couchstore_set_purge_seq(Db *target, uint64_t purge_seq);
LIBCOUCHSTORE_API const char *couchstore_strerror(couchstore_error_t errcode);
LIBCOUCHSTORE_API couchstore_error_t couchstore_last_os_error(const Db *db, char *buf, size_t size);
LIBCOUCHSTORE_API couchstore_error_t couchstore_last_internal_error(const Db *db, char *buf, size_t size);
LIBCOUCHSTORE_API void couchstore_set_on_internal_error(couchstore_internal_error_fn handler, void *ctx);
LIBCOUCHSTORE_API void couchstore_c_latency_collector_start(void);
LIBCOUCHSTORE_API void couchstore_c_latency_collector_stop(void);
LIBCOUCHSTORE_API void couchstore_c_get_latency_info(couchstore_c_latency_callback_fn callback, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
