/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * How long the calls of libcouchstore take: a histogram for each function, over the whole process.
 * The functions may be called from any thread. In C++ the histograms are objects of the host's class,
 * see histogram_types.h.
 */
#ifndef COUCHSTORE_COUCH_LATENCY_H
#define COUCHSTORE_COUCH_LATENCY_H

#include <libcouchstore/couch_db.h>

#ifdef __cplusplus

#include <libcouchstore/histogram_types.h>

#include <functional>

using CouchLatencyHisto = MicrosecondHistogram;
using CouchLatencyMicroSec = UnsignedMicroseconds;
using CouchLatencyMicroSecRep = UnsignedMicroseconds::rep;

/** Starts collecting. */
LIBCOUCHSTORE_API void couchstore_latency_collector_start();

/** Options of couchstore_get_latency_info(): none so far. */
struct couchstore_latency_dump_options {};

/**
 * Receives the times of one function: its name without namespace, a histogram of its calls (good
 * during the callback), and how long all of them took together, in microseconds. Returns non-zero
 * to stop.
 */
using couchstore_latency_callback_fn = std::function<int(const char *stat_name,
                                                         CouchLatencyHisto *latencies,
                                                         const CouchLatencyMicroSecRep elapsed_time,
                                                         void *ctx)>;

/**
 * Reports each function that was called since collecting started; nothing if it never started.
 *
 * @param callback called once for each function
 * @param options  none so far
 * @param ctx      passed to callback
 */
LIBCOUCHSTORE_API
void couchstore_get_latency_info(couchstore_latency_callback_fn callback,
                                 couchstore_latency_dump_options options,
                                 void *ctx);

/** Stops collecting and forgets the histograms. */
LIBCOUCHSTORE_API void couchstore_latency_collector_stop();

#else

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

#endif /* __cplusplus */

#endif /* COUCHSTORE_COUCH_LATENCY_H */
