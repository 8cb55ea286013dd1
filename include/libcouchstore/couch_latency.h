/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * How long the calls of libcouchstore take: a histogram for each function, over the whole process.
 * The functions may be called from any thread.
 */
#ifndef COUCHSTORE_COUCH_LATENCY_H
#define COUCHSTORE_COUCH_LATENCY_H

#include <libcouchstore/couch_db.h>

/*
 * The form with the host's histogram class takes this place for C++ once the C++ layer is there;
 * until then C++ has the same functions as C.
 */

/** Starts collecting, with empty histograms. */
static inline void couchstore_latency_collector_start(void) {
    couchstore_c_latency_collector_start();
}

/** Stops collecting and forgets the histograms. */
static inline void couchstore_latency_collector_stop(void) {
    couchstore_c_latency_collector_stop();
}

/**
 * Reports each function that was called since collecting started; nothing if it never started.
 *
 * @param callback called once for each function
 * @param ctx      passed to callback
 */
static inline void couchstore_get_latency_info(couchstore_c_latency_callback_fn callback,
                                               void *ctx) {
    couchstore_c_get_latency_info(callback, ctx);
}

#endif /* COUCHSTORE_COUCH_LATENCY_H */
