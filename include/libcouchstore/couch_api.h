/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The functions of libcouchstore, in plain C. Include <libcouchstore/couch_db.h>, not this file.
 *
 * Those that have another signature in C++, couchstore_commit() among them, are described at the end.
 */
#ifndef COUCHSTORE_COUCH_DB_H
#include <libcouchstore/couch_db.h>
#endif


#ifndef COUCHSTORE_COUCH_API_H
#define COUCHSTORE_COUCH_API_H

/* Generated from src/capi with "make header". Do not edit. */

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Opens a file with the library's own file operations.
 *
 * The handle stands on the newest header. With COUCHSTORE_OPEN_FLAG_CREATE a file that does not
 * exist is created with a first header in it; an existing empty file is given one too, unless it is
 * opened read-only.
 *
 * @param filename name of the file
 * @param flags    COUCHSTORE_OPEN_* values, or-ed together; 0: an existing file, for reading and
 *                 writing
 * @param db       receives the handle, which is closed with couchstore_close_file() and freed with
 *                 couchstore_free_db(); untouched on failure
 * @return COUCHSTORE_ERROR_NO_SUCH_FILE: it does not exist; COUCHSTORE_ERROR_OPEN_FILE: it cannot be
 *         opened, is no regular file (a device, a FIFO: errno is EINVAL), or exists and
 *         COUCHSTORE_OPEN_FLAG_EXCL was given; COUCHSTORE_ERROR_NO_HEADER: it is no database;
 *         COUCHSTORE_ERROR_CORRUPT, COUCHSTORE_ERROR_CHECKSUM_FAIL, COUCHSTORE_ERROR_READ: its newest
 *         header is damaged (see COUCHSTORE_OPEN_RECOVERY_MODE); COUCHSTORE_ERROR_READ with errno
 *         EISDIR: a directory, read-only; COUCHSTORE_ERROR_HEADER_VERSION: it is of an unknown
 *         version; COUCHSTORE_ERROR_NO_ENCRYPTION_KEY: it is encrypted
 *         (COUCHSTORE_ERROR_NOT_SUPPORTED if this library was built without encryption);
 *         COUCHSTORE_ERROR_INVALID_ARGUMENTS: flags that exclude each other, or
 *         COUCHSTORE_OPEN_WITH_LEGACY_CRC for a file of version 12 or newer
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_open_db(const char *filename,
                                      couchstore_open_flags flags,
                                      Db **db);

/**
 * Opens a file with the caller's file operations or, if there is none, creates it atomically: the
 * operations write and sync a file with a temporary name in the same directory, the library gives
 * it its name and syncs the directory.
 *
 * After success the file is there, complete and durable; after a failure, or when the process dies
 * at any moment, there is no file of this name. (couchstore_open_db() promises the same with
 * COUCHSTORE_OPEN_FLAG_CREATE; couchstore_open_db_ex() creates the file in place.)
 *
 * @param flags as for couchstore_open_db(); COUCHSTORE_OPEN_FLAG_CREATE is implied
 * @param ops   as for couchstore_open_db_ex(); NULL: the default ones. They must reach the files that
 *              the operating system knows by the same names.
 * @return as couchstore_open_db_ex()
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_bootstrap_db(const char *filename,
                                           couchstore_open_flags flags,
                                           const couch_file_ops *ops,
                                           Db **db);

/**
 * Writes what is buffered and closes the file. The handle stays: it must be freed with
 * couchstore_free_db(), and until then most functions return COUCHSTORE_ERROR_FILE_CLOSED.
 *
 * Documents that were saved and not committed are lost.
 *
 * @return COUCHSTORE_SUCCESS also for a handle that is closed already. The file is closed even if an
 *         error is returned.
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_close_file(Db *db);

/**
 * Frees a handle.
 *
 * @param db closed with couchstore_close_file() before; NULL is fine
 * @return COUCHSTORE_ERROR_INVALID_ARGUMENTS: the file is not closed, or this is called from a
 *         callback of a call on the handle; then the handle stays valid
 */
LIBCOUCHSTORE_API couchstore_error_t couchstore_free_db(Db *db);

/**
 * Closes the file and frees the handle, whatever the result.
 *
 * @return what couchstore_close_file() gives. COUCHSTORE_ERROR_INVALID_ARGUMENTS: called from a
 *         callback of a call on the handle; only then it is neither closed nor freed
 */
LIBCOUCHSTORE_API couchstore_error_t couchstore_close_db(Db *db);

/**
 * Closes the file and keeps the handle, for couchstore_reopen_file(). The same as
 * couchstore_close_file().
 */
LIBCOUCHSTORE_API couchstore_error_t couchstore_drop_file(Db *db);

/**
 * Opens a file again under an existing handle, for example after it was renamed. It must have the
 * header that the handle stood on: the same sequence number at the same position.
 *
 * @param db       closed or not
 * @param filename the file's name now
 * @param flags    as for couchstore_open_db()
 * @return COUCHSTORE_ERROR_DB_NO_LONGER_VALID: it could not be opened or is another file; then the
 *         handle is closed
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_reopen_file(Db *db,
                                          const char *filename,
                                          couchstore_open_flags flags);

/**
 * The open flags that ask for a sync after every so many bytes written (the field
 * COUCHSTORE_OPEN_WITH_PERIODIC_SYNC).
 *
 * @param bytes rounded up to KiB, then down to a power of two, at most 2^40; 0 counts as 1 KiB
 * @return the bits to be or-ed into the flags
 */
LIBCOUCHSTORE_API couchstore_open_flags couchstore_encode_periodic_sync_flags(uint64_t bytes);

/**
 * The entry of the document with this id, also of a deleted one.
 *
 * @param id    the id
 * @param idlen its length in bytes
 * @param pInfo receives the entry, to be freed with couchstore_free_docinfo()
 * @return COUCHSTORE_ERROR_DOC_NOT_FOUND: there is none
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_docinfo_by_id(Db *db,
                                            const void *id,
                                            size_t idlen,
                                            DocInfo **pInfo);

/**
 * The entry of the document that was last changed with this sequence number.
 *
 * @param pInfo receives the entry, to be freed with couchstore_free_docinfo()
 * @return COUCHSTORE_ERROR_DOC_NOT_FOUND: there is none
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_docinfo_by_sequence(Db *db,
                                                  uint64_t sequence,
                                                  DocInfo **pInfo);

/**
 * Reads the document with this id.
 *
 * @param id      the id
 * @param idlen   its length in bytes
 * @param pDoc    set to NULL at first, then receives the document, to be freed with
 *                couchstore_free_document(). Its id points to the caller's id; an empty body is
 *                {NULL, 0}
 * @param options DECOMPRESS_DOC_BODIES, or 0 for the body as it is stored
 * @return COUCHSTORE_ERROR_DOC_NOT_FOUND: there is none, or it has no body; COUCHSTORE_ERROR_CORRUPT:
 *         a body that is not what it says
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_open_document(Db *db,
                                            const void *id,
                                            size_t idlen,
                                            Doc **pDoc,
                                            couchstore_open_options options);

/**
 * Reads the body of a document whose entry is known.
 *
 * @param docinfo an entry of this database; bp, content_meta and id are used
 * @param pDoc    set to NULL at first, then receives the document, to be freed with
 *                couchstore_free_document(). Its id points to the entry's
 * @param options as for couchstore_open_document()
 * @return as couchstore_open_document()
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_open_doc_with_docinfo(Db *db,
                                                    const DocInfo *docinfo,
                                                    Doc **pDoc,
                                                    couchstore_open_options options);

/**
 * Frees a document that the library has handed out; NULL is fine.
 */
LIBCOUCHSTORE_API void couchstore_free_document(Doc *doc);

/**
 * Makes an entry with copies of these strings, everything else being 0.
 *
 * @param id       NULL: none
 * @param rev_meta NULL: none
 * @return one block of memory, to be freed with couchstore_free_docinfo(); NULL: no memory
 */
LIBCOUCHSTORE_API DocInfo *couchstore_alloc_docinfo(const sized_buf *id, const sized_buf *rev_meta);

/**
 * Frees an entry that the library has handed out; NULL is fine.
 */
LIBCOUCHSTORE_API void couchstore_free_docinfo(DocInfo *docinfo);

/**
 * Saves one document. See couchstore_save_documents().
 *
 * @param doc  the body; NULL: the document is deleted
 * @param info everything else; db_seq is set
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_save_document(Db *db,
                                            const Doc *doc,
                                            DocInfo *info,
                                            couchstore_save_options options);

/**
 * Saves documents. Nothing is durable, or visible to other handles, before couchstore_commit().
 *
 * The documents get the next sequence numbers, in the order of the array, unless the options
 * contain COUCHSTORE_SEQUENCE_AS_IS. An existing document of the same id is replaced; if an id comes
 * twice in one call its last document counts. With COMPRESS_DOC_BODIES, bodies whose content_meta
 * has COUCH_DOC_IS_COMPRESSED are compressed; without it they are stored as given, whatever the bit.
 *
 * @param docs    the bodies (only Doc.data is read); NULL, or a NULL element: the document is
 *                deleted and has no body
 * @param infos   everything else: id, rev_seq, rev_meta, content_meta, and deleted for a deletion
 *                with a body. db_seq is set on success
 * @param numDocs number of elements of both; 0 is fine
 * @param options COMPRESS_DOC_BODIES, COUCHSTORE_SEQUENCE_AS_IS
 * @return COUCHSTORE_ERROR_INVALID_ARGUMENTS: an id of more than 4095 bytes, a body or rev_meta of
 *         about 256 MiB or more, or a next sequence number beyond 2^48 - 1; then nothing was written.
 *         COUCHSTORE_ERROR_WRITE: the file cannot be written, was opened read-only, has 2^47 bytes
 *         (errno is EFBIG: positions end there), or a sync failed before on this handle. After any
 *         failure nothing has changed.
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_save_documents(Db *db,
                                             Doc *const *docs,
                                             DocInfo *const *infos,
                                             size_t numDocs,
                                             couchstore_save_options options);

/**
 * Saves documents and tells of each what it replaced.
 *
 * As couchstore_save_documents(). The callback is called while the index is rewritten, so also if
 * the call fails in the end. It may read from the handle, not write to it.
 *
 * @param userReqs    one value for each document, passed to the callback; NULL: none
 * @param save_cb     called once for each document, in ascending order of ids; NULL: not called
 * @param save_cb_ctx passed to the callback
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_save_documents_and_callback(Db *db,
                                                          const Doc *const *docs,
                                                          DocInfo *const *infos,
                                                          void *const *userReqs,
                                                          size_t numDocs,
                                                          couchstore_save_options options,
                                                          save_callback_fn save_cb,
                                                          void *save_cb_ctx);

/**
 * Figures of the database, with what was saved on this handle and not committed.
 *
 * A closed handle gives what it knew, with file_size 0 and an empty name.
 *
 * @param info receives the figures; info->filename lives as long as the handle
 */
LIBCOUCHSTORE_API couchstore_error_t couchstore_db_info(Db *db, DbInfo *info);

/**
 * Everything that is known of the header that the handle stands on, with what was saved since.
 *
 * @param info receives it. previous_header_position is UINT64_MAX below version 14 and in the first
 *             header of a file, and 0 in the first header of a compacted file, where no header is.
 */
LIBCOUCHSTORE_API couchstore_error_t couchstore_get_header(Db *db, couchstore_header_info *info);

/**
 * The name with which the file was opened, as it was given.
 *
 * @return lives as long as the handle; NULL for a NULL handle
 */
LIBCOUCHSTORE_API const char *couchstore_get_db_filename(Db *db);

/**
 * Position in bytes of the header that the handle stands on; 0 for a NULL handle.
 */
LIBCOUCHSTORE_API uint64_t couchstore_get_header_position(Db *db);

/**
 * Sets the purge sequence that the next commit stores: by custom, the highest sequence number of a
 * tombstone that was purged. couchstore_db_info() shows it at once.
 *
 * @param purge_seq 0 to 2^48 - 1; of larger numbers the lowest 48 bits are taken
 * @return COUCHSTORE_SUCCESS, also for a handle that is closed or may only be read from
 */
LIBCOUCHSTORE_API couchstore_error_t couchstore_set_purge_seq(Db *target, uint64_t purge_seq);

/**
 * Moves the handle to the header before the one that it stands on. Uncommitted changes are
 * discarded.
 *
 * A commit from there makes a new branch of the file's history.
 *
 * @return COUCHSTORE_ERROR_DB_NO_LONGER_VALID: there is none, or it cannot be read. Then the handle
 *         has been closed AND FREED. couchstore_seek() does the same without freeing.
 *         COUCHSTORE_ERROR_INVALID_ARGUMENTS: called from a callback of a call on the handle; nothing
 *         was done
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_rewind_db_header(Db *db);

/**
 * Moves the handle to the header behind the one that it stands on. Uncommitted changes are
 * discarded.
 *
 * @return COUCHSTORE_ERROR_DB_NO_LONGER_VALID: there is none, or it cannot be read. Then the handle
 *         has been closed AND FREED. COUCHSTORE_ERROR_INVALID_ARGUMENTS: as of
 *         couchstore_rewind_db_header()
 */
LIBCOUCHSTORE_API couchstore_error_t couchstore_fastforward_db_header(Db *db);

/**
 * Moves the handle to the header at this position. Uncommitted changes are discarded.
 *
 * After a failure the handle stands where it stood, uncommitted changes discarded.
 *
 * @param offset position of a header in bytes, for example from couchstore_get_header_position()
 * @return COUCHSTORE_ERROR_NO_HEADER: there is no header; COUCHSTORE_ERROR_INVALID_ARGUMENTS: not a
 *         multiple of 4096; COUCHSTORE_ERROR_DB_NO_LONGER_VALID: the handle's own header could not be
 *         read again either, the file has been closed
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_seek_offset(Db *db,
                                          cs_off_t offset);

/**
 * Moves the handle from header to header. Uncommitted changes are discarded; but a move backward
 * from the first header only fails, and changes nothing.
 *
 * Forward and backward stay within the size that the file had when it was opened, or at the last
 * move to the end; the handle's own commits count.
 *
 * What is saved after a move to the end may get the place of what that has discarded. So a scan, a
 * walk or a compaction that is going through uncommitted changes, and from whose callback the move
 * is made, ends with COUCHSTORE_ERROR_INVALID_ARGUMENTS when the callback returns.
 *
 * @param direction COUCHSTORE_SEEK_FORWARD, COUCHSTORE_SEEK_BACKWARD, or COUCHSTORE_SEEK_END to
 *                  look for headers that others have written meanwhile
 * @return as couchstore_seek_offset()
 */
LIBCOUCHSTORE_API couchstore_error_t couchstore_seek(Db *db, couchstore_direction direction);

/**
 * Moves the handle to the first header, up to the one it stands on, in which the sequence number
 * seqno had been reached. If there is none the handle stays where it is.
 *
 * @param seqno       a sequence number
 * @param granularity 1, or an interval in units of the headers' timestamps: then the move goes on
 *                    to the last header of the interval that the header lies in
 * @return COUCHSTORE_ERROR_INVALID_ARGUMENTS: granularity is 0; otherwise as couchstore_seek_offset()
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_seek_first_header_containing(Db *db,
                                                           uint64_t seqno,
                                                           uint64_t granularity);

/**
 * Shows all documents with a sequence number of at least since, in order, deleted ones too.
 *
 * @param since    sequence number to begin with
 * @param options  COUCHSTORE_DELETES_ONLY, COUCHSTORE_NO_DELETES, COUCHSTORE_TOLERATE_CORRUPTION
 * @param callback called for each document; it may read from the handle
 * @param ctx      passed to the callback
 * @return what the callback returned, if negative; with COUCHSTORE_TOLERATE_CORRUPTION the last
 *         error that was stepped over
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_changes_since(Db *db,
                                            uint64_t since,
                                            couchstore_docinfos_options options,
                                            couchstore_changes_callback_fn callback,
                                            void *ctx);

/**
 * Shows all documents in order of ids, deleted ones too.
 *
 * @param startKeyPtr the id to begin with; NULL or empty: the beginning
 * @param options     as for couchstore_changes_since()
 * @param callback    called for each document; it may read from the handle
 * @param ctx         passed to the callback
 * @return as couchstore_changes_since()
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_all_docs(Db *db,
                                       const sized_buf *startKeyPtr,
                                       couchstore_docinfos_options options,
                                       couchstore_changes_callback_fn callback,
                                       void *ctx);

/**
 * Shows those of the documents with these sequence numbers that exist, in ascending order.
 *
 * @param sequence the numbers, in any order; with RANGES the first and the last of a range, both
 *                 included, or only its first
 * @param numDocs  their count
 * @param options  RANGES and those of couchstore_changes_since()
 * @param callback called for each document; it may read from the handle
 * @param ctx      passed to the callback
 * @return COUCHSTORE_ERROR_INVALID_ARGUMENTS: numDocs is 0 (COUCHSTORE_SUCCESS in an empty database);
 *         otherwise as couchstore_changes_since()
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_docinfos_by_sequence(Db *db,
                                                   const uint64_t *sequence,
                                                   unsigned int numDocs,
                                                   couchstore_docinfos_options options,
                                                   couchstore_changes_callback_fn callback,
                                                   void *ctx);

/**
 * Shows those of the documents with these ids that exist, in ascending order of ids.
 *
 * @param ids      the ids, in any order; with RANGES the first and the last of a range, both
 *                 included, or only its first
 * @param numDocs  their count
 * @param options  RANGES and those of couchstore_changes_since()
 * @param callback called for each document; it may read from the handle
 * @param ctx      passed to the callback
 * @return as couchstore_docinfos_by_sequence()
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_docinfos_by_id(Db *db,
                                             const sized_buf *ids,
                                             size_t numDocs,
                                             couchstore_docinfos_options options,
                                             couchstore_changes_callback_fn callback,
                                             void *ctx);

/**
 * Number of documents with sequence numbers from min_seq to max_seq, both included, deleted ones
 * too. Costs a few reads, whatever the number.
 *
 * @param count set to 0 at first, then receives the number
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_changes_count(Db *db,
                                            uint64_t min_seq,
                                            uint64_t max_seq,
                                            uint64_t *count);

/**
 * Walks the index by id: each node, then what is below it, down to the documents.
 *
 * @param startDocID the id to begin with; NULL or empty: the beginning. The root is always shown.
 * @param options    as for couchstore_changes_since()
 * @param callback   called for each node and each document; it may read from the handle
 * @param ctx        passed to the callback
 * @return as couchstore_changes_since()
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_walk_id_tree(Db *db,
                                           const sized_buf *startDocID,
                                           couchstore_docinfos_options options,
                                           couchstore_walk_tree_callback_fn callback,
                                           void *ctx);

/**
 * Walks the index by sequence number. As couchstore_walk_id_tree().
 *
 * @param startSequence the sequence number to begin with
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_walk_seq_tree(Db *db,
                                            uint64_t startSequence,
                                            couchstore_docinfos_options options,
                                            couchstore_walk_tree_callback_fn callback,
                                            void *ctx);

/**
 * Walks the tree of local documents. As couchstore_walk_id_tree(); the documents have only their id
 * and, as physical_size, the length of their body.
 *
 * @param startLocalID the id to begin with; NULL or empty: the beginning
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_walk_local_tree(Db *db,
                                              const sized_buf *startLocalID,
                                              couchstore_docinfos_options options,
                                              couchstore_walk_tree_callback_fn callback,
                                              void *ctx);

/**
 * Reads a local document.
 *
 * @param id    the id
 * @param idlen its length in bytes
 * @param lDoc  receives the document, to be freed with couchstore_free_local_document(); NULL if
 *              there is none
 * @return COUCHSTORE_ERROR_DOC_NOT_FOUND: there is none
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_open_local_document(Db *db,
                                                  const void *id,
                                                  size_t idlen,
                                                  LocalDoc **lDoc);

/**
 * Saves or removes a local document. It becomes durable with couchstore_commit().
 *
 * @param lDoc id and body; with a non-zero deleted it is removed, which is COUCHSTORE_SUCCESS also if
 *             there is none
 * @return COUCHSTORE_ERROR_INVALID_ARGUMENTS: an id of more than 4095 bytes or a body of 256 MiB or
 *         more; after any failure nothing has changed
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_save_local_document(Db *db,
                                                  LocalDoc *lDoc);

/**
 * Saves or removes several local documents in one change of their tree.
 *
 * @param docs    as for couchstore_save_local_document(), in any order; if an id comes twice its last
 *                document counts
 * @param numDocs their count; 0 is fine
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_save_local_documents(Db *db,
                                                   LocalDoc *const *docs,
                                                   size_t numDocs);

/**
 * Shows all local documents in order of ids.
 *
 * @param from     the id to begin with; NULL or empty: the beginning
 * @param callback called for each local document; it may read from the handle
 * @param ctx      passed to the callback
 * @return what the callback returned, if negative
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_scan_local_docs(Db *db,
                                              const sized_buf *from,
                                              couchstore_local_docs_callback_fn callback,
                                              void *ctx);

/**
 * Frees a local document that the library has handed out; NULL is fine.
 */
LIBCOUCHSTORE_API void couchstore_free_local_document(LocalDoc *lDoc);

/**
 * Copies the state of a handle, uncommitted changes included, to a new file with exactly one
 * header.
 *
 * What other handles commit to the source meanwhile is not seen. The target of an encrypted source
 * is NOT encrypted. It has the source's permissions, without those that the umask takes away (with a
 * caller's operations, which couchstore_compact_db_ex() takes, those that the operations give it).
 *
 * The target gets its name when it is complete and durable: a process that dies before that, or a
 * power cut, leaves none, and whoever looks for it by name meanwhile finds nothing. A file that gets
 * the name meanwhile is left alone and found at the end.
 *
 * If the file system has no room for all bodies this is said before anything is copied:
 * COUCHSTORE_ERROR_WRITE with errno ENOSPC (see couchstore_compact_db_online()).
 *
 * @param source          stays open and unchanged
 * @param target_filename must not exist; is gone again after a failure
 * @return COUCHSTORE_ERROR_OPEN_FILE with errno EEXIST: the target exists, at the start or at the
 *         end; otherwise what reading, writing or opening gave
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_compact_db(Db *source,
                                         const char *target_filename);

/**
 * Puts into a copy what was committed to the source since: everything after the header that source
 * stands on (the one that target was copied from) up to the header at source_end_offset. Commits
 * target with that header's timestamp, and leaves source there.
 *
 * Local documents that are equal are left alone; those that are gone from the source are removed.
 *
 * @param source_end_offset position of a header of the source, in bytes, at or behind the one that
 *                          source stands on. An earlier one takes local documents back to it, but
 *                          not documents. If others have appended since source was opened, it is to
 *                          be moved with couchstore_seek() to the end and with
 *                          couchstore_seek_offset() back first: else the header is not found
 * @param pre_copy          called before each document and local document; NULL: not called
 * @param precommit         called before the commit; it may change the target; NULL: not called
 * @param hook_ctx          passed to both
 * @param flush_threshold   bytes of memory for documents that are gathered before they are saved; 0:
 *                          none are gathered, each is saved by itself
 * @return what a hook returned (any non-zero value of precommit, negative ones of pre_copy), or
 *         what reading and writing gave. COUCHSTORE_ERROR_NO_HEADER: source_end_offset is no header;
 *         COUCHSTORE_ERROR_INVALID_ARGUMENTS: it is no multiple of 4096, or 2^63 or more. After a
 *         failure source stands where it stood, and target has what it had
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_replay(Db *source,
                                     Db *target,
                                     uint64_t source_end_offset,
                                     couchstore_pre_copy_hook pre_copy,
                                     couchstore_precommit_hook precommit,
                                     void *hook_ctx,
                                     size_t flush_threshold);

/**
 * Compacts a file while others save to it.
 *
 * The source's newest state is copied without any lock, and so is most of what is committed
 * meanwhile. For the last bit options->lock is called, which keeps writers out; then the result is
 * given its name durably, options->publish is called, and options->unlock. A writer that is faster
 * than the copying is kept out for a few short times before. Of local documents only those are put
 * that the source has changed meanwhile; what the hooks write into the result stays.
 *
 * Handles that have the source open keep it, also when the result takes its name; see
 * couchstore_is_current(). Only one such compaction of a source runs at a time.
 *
 * Switching over is done in options->publish. Open a new handle there: on source_name if the result
 * has taken that name, else on target_name. Then close and free the handles on the old file, or
 * let their users do so when they have finished reading. couchstore_reopen_file() is not for this: it
 * asks for the header that the handle stood on, in the same place, which the new file does not have,
 * and closes the handle with COUCHSTORE_ERROR_DB_NO_LONGER_VALID. The new handle may be saved to as
 * soon as it is open. If publish returns an error the names are put back: before that it closes what
 * it has opened, and nothing may have been committed there. After publish has returned
 * COUCHSTORE_SUCCESS, so does this function.
 *
 * The two handles that hooks are shown are the library's own: source, for reading only, stands on the
 * header that is copied or replayed, target is the result. Hooks may read from both; only the
 * last call of options->hook, and options->precommit, save to target. They must not be closed, and
 * are gone when the hook returns.
 *
 * All hooks, lock and unlock among them, are called on the thread that has called this function, one
 * at a time, and none holds a lock of the library's: they may use any other handle. But publish, and
 * whatever else is called under the lock, must not wait for a thread that waits for the lock, and no
 * hook may wait for this compaction.
 *
 * An example of all that is examples/online_compaction.c.
 *
 * With the library's own file operations it is asked at the beginning whether the file system has room
 * for all bodies. If not, nothing is copied: COUCHSTORE_ERROR_WRITE with errno ENOSPC, and the
 * numbers of bytes in couchstore_last_internal_error(). The trees, and what sorting puts on the disk,
 * come on top. It is not asked on other file systems than ext2 to ext4, XFS and tmpfs, nor where
 * options->hook, COUCHSTORE_COMPACT_FLAG_DROP_DELETES or COUCHSTORE_COMPACT_RECOVERY_MODE may leave
 * something out.
 *
 * With COUCHSTORE_SWAP_REPLACE the result keeps owner, group, permissions and access control list of
 * the source as far as the process may, and is open to nobody to whom the source is closed. With
 * COUCHSTORE_SWAP_NONE it has permissions as after couchstore_compact_db().
 *
 * After any failure the names are as they were, nothing of the result is left, and the lock was given
 * back; unless names could not be put back, or it could not be told what they lead to: then the error
 * says that the outcome is unknown, all names stay as they are, and the host should look at them
 * before it goes on with either file.
 *
 * What a dead process has left in the result's folder (.couchstore-*) is removed, as far as nobody
 * needs it. A source whose name was taken, and to which something was committed in spite of that, is
 * kept as .couchstore-*.old.
 *
 * Tombstones that are made while the compaction runs are kept, also with
 * COUCHSTORE_COMPACT_FLAG_DROP_DELETES.
 *
 * @param source_name the file to be compacted
 * @param target_name name of the result, which must not exist; ignored (NULL is fine) if the result
 *                    takes the source's name
 * @param options     all zero but size is fine: no lock, which is right only if nobody writes
 * @param stats       receives figures; NULL: none
 * @return what a hook returned, if it is an error; COUCHSTORE_ERROR_OPEN_FILE with errno EBUSY:
 *         another one runs; COUCHSTORE_ERROR_OPEN_FILE with errno ESTALE: the source's name leads to
 *         another file by now; COUCHSTORE_ERROR_OPEN_FILE with errno EBADF: the source may only be
 *         read, its file system locks none but files that may be written, and it was to be replaced;
 *         COUCHSTORE_ERROR_INVALID_ARGUMENTS: options that this version does not know; otherwise what
 *         opening, reading or writing gave
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_compact_db_online(const char *source_name,
                                                const char *target_name,
                                                const couchstore_online_compact_options *options,
                                                couchstore_online_compact_stats *stats);

/**
 * Whether the name under which a file was opened still leads to the handle's file. It does not after
 * the file was removed, or replaced by a compaction: then opening the name again gives the new one.
 *
 * @param is_current receives 1 or 0
 * @return COUCHSTORE_ERROR_NOT_SUPPORTED: the file operations do not tell;
 *         COUCHSTORE_ERROR_OPEN_FILE: the system does not say what the name leads to
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_is_current(Db *db,
                                         int *is_current);

/**
 * Opens a file that may be encrypted, or creates one that is.
 *
 * As couchstore_open_db() or, with ops, couchstore_open_db_ex(). When a file is created keys is asked
 * for the key with the empty id, and the file is encrypted with what it gives, unless it gives none.
 * When an encrypted file is opened it is asked for the id stored there. It is not asked when a file
 * that is not encrypted is opened, nor after this call.
 *
 * @param ops      NULL: the default ones
 * @param keys     finds keys; NULL: there are none
 * @param keys_ctx passed to keys
 * @return COUCHSTORE_ERROR_NO_ENCRYPTION_KEY: the file is encrypted, and keys had no key of its id;
 *         COUCHSTORE_ERROR_DECRYPT: the key is not the right one (with a derived key that is noticed
 *         only by reading, which gives COUCHSTORE_ERROR_CHECKSUM_FAIL); COUCHSTORE_ERROR_ENCRYPT:
 *         keys failed for a new file; COUCHSTORE_ERROR_INVALID_ARGUMENTS: an id of 0 or more than 255
 *         bytes, for a new file a key of other than 32 bytes, an unknown derivation, or
 *         COUCHSTORE_OPEN_WITH_LEGACY_CRC for an encrypted file; COUCHSTORE_ERROR_NOT_SUPPORTED:
 *         encrypted in a way that this version does not know, or this library was built without
 *         encryption (of which the handler of couchstore_set_on_internal_error() is told); otherwise
 *         as couchstore_open_db_ex()
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_open_db_with_key(const char *filename,
                                               couchstore_open_flags flags,
                                               const couch_file_ops *ops,
                                               couchstore_key_fn keys,
                                               void *keys_ctx,
                                               Db **db);

/**
 * Compacts to a file that is encrypted: from one that is not, or is encrypted with another key.
 *
 * As couchstore_compact_db_ex(). What sorting puts on disk meanwhile is encrypted too.
 *
 * @param keys     asked once, for the key with the empty id: that of the target. NULL, or if it gives
 *                 none: the target is NOT encrypted
 * @param keys_ctx passed to keys
 * @return as couchstore_compact_db_ex() and, for the key, couchstore_open_db_with_key()
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_compact_db_with_key(Db *source,
                                                  const char *target_filename,
                                                  couchstore_compact_flags flags,
                                                  couchstore_key_fn keys,
                                                  void *keys_ctx,
                                                  couchstore_compact_hook hook,
                                                  couchstore_docinfo_hook dhook,
                                                  void *hook_ctx,
                                                  const couch_file_ops *ops);

/**
 * The id of the key that a file is encrypted with.
 *
 * @param buf    receives the id, cut to fit, not terminated; NULL is fine if size is 0
 * @param size   of buf in bytes; ids have at most 255
 * @param length receives the length of the id; 0: the file is not encrypted
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_get_encryption_key_id(Db *db,
                                                    char *buf,
                                                    size_t size,
                                                    size_t *length);

/**
 * The meaning of an error code, in English.
 *
 * @return a constant string, for unknown codes too
 */
LIBCOUCHSTORE_API const char *couchstore_strerror(couchstore_error_t errcode);

/**
 * The reason of the last failed system call on this handle: "errno = N: 'text'". N is 0 if none
 * failed.
 *
 * @param db   NULL: of the last call on this thread that failed for such a reason, with whatever
 *             handle or none; so after an open that failed
 * @param buf  receives the text, cut to fit and terminated
 * @param size of buf in bytes
 */
LIBCOUCHSTORE_API couchstore_error_t couchstore_last_os_error(const Db *db, char *buf, size_t size);

/**
 * The reason of the last call on this thread that failed, in quotes: 'text'. It says which check
 * failed where in the file, in couchstore's words where those are known; '' if there was none.
 * Success does not clear it, nor do COUCHSTORE_ERROR_DOC_NOT_FOUND and what callbacks returned
 * replace it.
 *
 * @param db   not used; NULL is fine, so after an open that failed
 * @param buf  receives the text, at most 251 bytes, cut to fit and terminated
 * @param size of buf in bytes
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_last_internal_error(const Db *db,
                                                  char *buf,
                                                  size_t size);

/**
 * Sets the function that is told of damage and defects in the process, on the thread where they are
 * found, at the end of the call or before its next callback: of what couchstore has texts for, and of
 * failures of the library itself (COUCHSTORE_ERROR_INTERNAL), of which nothing is written to standard
 * error. Other failures are texts of couchstore_last_internal_error() alone.
 *
 * @param handler may be called on several threads at once. It may use the library as callbacks may,
 *                but a call of it that meets damage calls it again. At most 1000 errors are told at a
 *                time. NULL: nobody is told
 * @param ctx     passed to handler
 */
LIBCOUCHSTORE_API
void couchstore_set_on_internal_error(couchstore_internal_error_fn handler,
                                      void *ctx);

/**
 * Lets all handles that are opened from now on share inflated tree nodes, so that a file that is
 * opened for each fetch or flush is read again only where it has changed. Off unless this, or the
 * environment variable COUCHSTORE_NODE_CACHE (bytes, or such as 64M; asked for at the first open),
 * switches it on. Another size makes a new cache, with nothing in it; handles that are open keep the
 * one that they have, which lives as long as they do.
 *
 * Look-ups and saves put in the nodes that they read. Commits put in what was written, up to 4 MiB of
 * nodes each. Scans use what is there, but put in no leaves: they would drive out what is looked up.
 * Opening a file takes a little longer with the cache than without.
 *
 * Each open judges whether the file still is the one that nodes are from, by device, inode, birth
 * time, size, times and newest header. Damage done on the disk after a node was cached is not
 * noticed by reads that find it here. Never used by handles without buffers, of encrypted files or
 * opened for recovery, nor by compaction. A handle that seeks, rewinds or is reopened shares nothing
 * from then on, nor does one that is opened while another has written what is not committed yet.
 * Where times of files are coarse (before Linux 6.13, or on other file systems than ext4, XFS, Btrfs
 * and tmpfs) only nodes of files are shared that have not changed for two seconds, or have grown
 * since. What is remembered of up to 16384 files, about 300 bytes each, comes on top. May be called at
 * any time, on any thread.
 *
 * @param bytes memory for nodes, at most; 0: none are shared
 * @return COUCHSTORE_SUCCESS
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_set_node_cache(uint64_t bytes);

/*
 * What couch_db.h and couch_latency.h give to C programs by names without "c_": call them by those.
 */

/**
 * Opens a file with the caller's file operations; in C by the name couchstore_open_db_ex().
 *
 * As couchstore_open_db(), with this difference: the first header of a new file waits in the write
 * buffer until the first commit or close (unless COUCHSTORE_OPEN_FLAG_UNBUFFERED is given).
 *
 * @param ops file operations of version 5, with all functions but advise; they must stay as they
 *            are until the handle is freed. The ones of couchstore_get_default_file_ops() are
 *            fine too.
 * @return what the operations returned, if they failed; COUCHSTORE_ERROR_INVALID_ARGUMENTS: ops is
 *         NULL or not complete; COUCHSTORE_ERROR_NOT_SUPPORTED: flags ask for what version 5 does not
 *         have (periodic sync, tracing, write validation, mprotect); otherwise as
 *         couchstore_open_db()
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_c_open_db_ex(const char *filename,
                                           couchstore_open_flags flags,
                                           const couch_file_ops *ops,
                                           Db **db);

/**
 * Makes everything that was saved on this handle durable, and visible to whoever opens the file; in
 * C by the name couchstore_commit().
 *
 * The header gets the time of the system clock, in nanoseconds since 1970.
 *
 * @return COUCHSTORE_ERROR_DB_NO_LONGER_VALID: the file was replaced, or is written by somebody else
 *         (see couch_db.h); COUCHSTORE_ERROR_WRITE, or the code of the file operations. Nothing
 *         became visible then, unless it was the very last sync that failed (see
 *         couchstore_commit_ex()). If it was a sync that failed, this handle takes no more writes
 *         (they return COUCHSTORE_ERROR_WRITE), because the operating system may have dropped what it
 *         could not write: open the file again.
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_c_commit(Db *db);

/**
 * Commits with a timestamp of the caller's; in C by the name couchstore_commit_ex().
 *
 * @param timestamp stored in the header; by custom nanoseconds since 1970
 * @param retry     asked when the last sync of the commit fails, the one that makes the header
 *                  count: non-zero has the header's mark written and synced again. NULL: never.
 *                  If the commit fails there, its outcome is open: the file may show it when it is
 *                  opened again, but only from memory, so that a power cut takes it back. It is
 *                  known after the next commit that succeeds: that one includes what it found.
 * @param ctx       passed to retry
 * @return as couchstore_commit()
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_c_commit_ex(Db *db,
                                          uint64_t timestamp,
                                          couchstore_commit_retry_fn retry,
                                          void *ctx);

/**
 * Counts of the calls of the file operations since the file was opened; in C by the name
 * couchstore_get_db_filestats().
 *
 * @param stats receives the counts
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_c_get_db_filestats(Db *db,
                                                 couchstore_file_stats *stats);

/**
 * Compacts with hooks; in C by the name couchstore_compact_db_ex().
 *
 * For each document, in order of sequence numbers, hook is called without the body, and again with
 * it if it returned COUCHSTORE_COMPACT_NEED_BODY; if the document is kept and has a body, dhook
 * may then change its rev_meta. After the last document, when local documents have been copied as
 * well, hook is called with a NULL document, and the target is committed with the timestamp of the
 * source's header.
 *
 * The target gets its name at the end, as with couchstore_compact_db(): the hooks find nothing by
 * that name. But with ops that are not the default ones it is created under its name through them,
 * at once: it is removed after every error, but a process that dies leaves it half-made.
 *
 * @param flags    COUCHSTORE_COMPACT_* values, or-ed together. With COUCHSTORE_COMPACT_RECOVERY_MODE
 *                 what cannot be read is left out, the target is completed, and the last error
 *                 returned
 * @param hook     decides about each document; NULL: all are copied
 * @param dhook    may change entries; only with hook; NULL: none is changed
 * @param hook_ctx passed to hook
 * @param ops      for the target, as for couchstore_open_db_ex(); NULL: the default ones
 * @return what a hook returned, if negative; COUCHSTORE_ERROR_INVALID_ARGUMENTS: dhook without hook,
 *         or a hook that asks for the body twice; otherwise as couchstore_compact_db()
 */
LIBCOUCHSTORE_API
couchstore_error_t couchstore_c_compact_db_ex(Db *source,
                                              const char *target_filename,
                                              couchstore_compact_flags flags,
                                              couchstore_compact_hook hook,
                                              couchstore_docinfo_hook dhook,
                                              void *hook_ctx,
                                              const couch_file_ops *ops);

/**
 * Starts to measure how long calls of the library's functions take, in the whole process. If that is
 * on already, nothing changes.
 */
LIBCOUCHSTORE_API
void couchstore_c_latency_collector_start(void);

/**
 * Stops measuring and forgets what was measured.
 */
LIBCOUCHSTORE_API void couchstore_c_latency_collector_stop(void);

/**
 * Shows the times of each function that was called since measuring was started.
 *
 * Nothing is shown when measuring is off.
 *
 * @param callback gets the figures of one function; non-zero stops
 * @param ctx      passed to callback
 */
LIBCOUCHSTORE_API
void couchstore_c_get_latency_info(couchstore_c_latency_callback_fn callback,
                                   void *ctx);

/**
 * The library's own file operations; in C by the name couchstore_get_default_file_ops(). A caller's
 * operations may call them.
 *
 * @return a constant struct, which lives as long as the library
 */
LIBCOUCHSTORE_API const couch_file_ops *couchstore_c_get_default_file_ops(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* COUCHSTORE_COUCH_API_H */
