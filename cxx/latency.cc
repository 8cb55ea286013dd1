// SPDX-License-Identifier: Apache-2.0
//
// The times of calls, as objects of the host's histogram class.

#include "call.h"

#include <libcouchstore/couch_latency.h>

using couchstore_shim::caughtCallback;
using couchstore_shim::guarded;

namespace {

struct Report {
    const couchstore_latency_callback_fn &callback;
    void *ctx;

    static int call(const couchstore_c_latency *latency, void *self) noexcept {
        const auto &report = *static_cast<Report *>(self);
        return caughtCallback([&] {
            CouchLatencyHisto histogram;
            for (size_t i = 0; i < latency->num_buckets; ++i) {
                // A bucket's smallest value stands for all in it.
                const auto value = i == 0 ? 0 : uint64_t{1} << (i - 1);
                if (latency->buckets[i] != 0) {
                    histogram.add(UnsignedMicroseconds(value), latency->buckets[i]);
                }
            }
            return report.callback(latency->name, &histogram, latency->total_us, report.ctx);
        });
    }
};

}  // namespace

void couchstore_latency_collector_start() {
    couchstore_c_latency_collector_start();
}

void couchstore_latency_collector_stop() {
    couchstore_c_latency_collector_stop();
}

void couchstore_get_latency_info(couchstore_latency_callback_fn callback,
                                 couchstore_latency_dump_options,
                                 void *ctx) {
    if (!callback) {
        return;
    }
    Report report{callback, ctx};
    guarded([&] {
        couchstore_c_get_latency_info(Report::call, &report);
        return 0;
    });
}
